use printernizer_bambu::report::{Ams, AmsUnit, Hms, Ids, Upgrade};
use printernizer_rules::print_job::start::{Relation, relation};

use super::*;

const UID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

fn seen(report: &Report) -> DeviceReport {
    device_report(report, None, None, &SerialNumber::new("03919A3B0100254").unwrap())
}

fn ids(id: &str) -> Ids {
    let id = Some(id.to_owned());
    Ids { task: id.clone(), subtask: id.clone(), project: id }
}

#[test]
fn every_state_has_its_word_and_a_canceled_print_is_no_failed_one() {
    let cases = [
        (State::Idle, DeviceState::Idle, false),
        (State::Preparing, DeviceState::Preparing, true),
        (State::Slicing, DeviceState::Preparing, true),
        (State::Running, DeviceState::Printing, true),
        (State::Paused, DeviceState::Paused, true),
        (State::Finished, DeviceState::Finished, false),
        (State::Failed, DeviceState::Failed, false),
        (State::Unknown, DeviceState::Unknown, false),
    ];
    for (state, expected, active) in cases {
        let report = seen(&Report { state: state.clone(), ..Report::default() });
        assert_eq!((report.state, report.is_active(), report.has_print), (expected, active, active), "{state:?}");
    }
    let canceled = Report { state: State::Failed, latched_error: Some(0x0300_400C), ..Report::default() };
    assert_eq!(seen(&canceled).state, DeviceState::Stopped);
    let broken = Report { state: State::Failed, latched_error: Some(0x0300_8004), ..Report::default() };
    assert_eq!(seen(&broken).state, DeviceState::Failed);
}

#[test]
fn an_identity_stays_the_same_when_the_file_name_is_erased_after_the_end() {
    let token = Token::new(UID, 1);
    let name = token.remote_name("part", "gcode.3mf");
    let running = Report {
        state: State::Running,
        ids: ids("7"),
        subtask_name: Some(name.trim_end_matches(".gcode.3mf").to_owned()),
        gcode_file: Some(format!("/data/{name}")),
        ..Report::default()
    };
    let ended = Report { state: State::Finished, gcode_file: None, ..running.clone() };
    assert_eq!(seen(&running).identity, seen(&ended).identity);
    assert_eq!(relation(&token, None, None, &seen(&ended).identity), Relation::Ours);
}

#[test]
fn a_file_of_ours_under_an_old_identity_is_told_and_so_is_any_file_without_one() {
    let file = Some(Token::new(UID, 2).remote_name("part", "gcode.3mf"));
    let old = Report {
        ids: ids("7"),
        subtask_name: Some(Token::new(UID, 1).remote_name("part", "x")),
        gcode_file: file.clone(),
        ..Report::default()
    };
    assert_eq!(seen(&old).identity.file, file);
    let erased = Report { gcode_file: Some("cube.gcode.3mf".into()), ..Report::default() };
    assert_eq!(seen(&erased).identity.file.as_deref(), Some("cube.gcode.3mf"));
    assert!(seen(&Report::default()).identity.is_erased());
}

#[test]
fn whatever_stands_on_the_screen_keeps_an_idle_printer_from_a_start() {
    let idle = Report { state: State::Idle, ..Report::default() };
    assert!(seen(&idle).is_free());
    let cases = [
        (Report { print_error: Some(0x0300_8007), ..idle.clone() }, Blocker::UnfinishedPrint),
        (Report { print_error: Some(0x0500_C010), ..idle.clone() }, Blocker::Dialog),
        (Report { filament_change: Some(true), ..idle.clone() }, Blocker::FilamentChange),
        (Report { storage: Some(Storage::Missing), ..idle.clone() }, Blocker::StorageMissing),
        (Report { storage: Some(Storage::ReadOnly), ..idle.clone() }, Blocker::StorageMissing),
        (Report { upgrade: Upgrade { status: None, is_going_on: true }, ..idle.clone() }, Blocker::FirmwareUpdate),
    ];
    for (report, blocker) in cases {
        assert_eq!(seen(&report).blockers, [blocker]);
        assert!(!seen(&report).is_free());
    }
    // A number below 0x4000 says what the printer does; an HMS entry alone blocks nothing.
    let harmless = Report { print_error: Some(0x0300_0001), hms: vec![Hms::VERIFY_FAILED], ..idle };
    assert!(seen(&harmless).is_free() && seen(&harmless).error.is_none());
}

#[test]
fn only_the_code_for_it_says_that_a_printer_is_busy_with_a_job() {
    for (code, busy) in [(Some(0x0500_4004), true), (Some(0x0500_4003), false), (Some(0), false), (None, false)] {
        assert_eq!(seen(&Report { print_error: code, ..Report::default() }).busy_with_job, busy, "{code:?}");
    }
}

#[test]
fn slots_have_the_names_of_the_api_and_those_it_has_no_name_for_are_left_out() {
    let tray = |id| Tray {
        id,
        loaded: Some(id != 1),
        material: Some("PLA".into()),
        color_rgba: Some("ff6a13FF".into()),
        remaining_percent: Some(40),
        spool_grams: Some(250),
    };
    let unit = |id, trays| AmsUnit { id, trays };
    let mut ams = Ams::default();
    ams.units = vec![unit(0, vec![tray(0), tray(1)]), unit(1, vec![tray(3)]), unit(128, vec![tray(0)])];
    let report = Report { ams, external: vec![Tray { id: 254, ..Tray::default() }], ..Report::default() };
    let slots = seen(&report).slots;
    let told: Vec<_> = slots.iter().map(|s| (s.slot.as_str(), s.loaded)).collect();
    let expected = [("AMS1-1", Some(true)), ("AMS1-2", Some(false)), ("AMS2-4", Some(true)), ("External", None)];
    assert_eq!(told, expected);
    assert_eq!(slots[0].color.as_deref(), Some("#FF6A13"));
    assert_eq!((slots[0].remaining_percent, slots[0].spool_grams), (Some(40), Some(250)));
}

#[test]
fn a_nozzle_is_hardened_or_not_only_where_its_kind_is_known() {
    for (kind, hardened) in [
        (Some("hardened_steel"), Some(true)),
        (Some("stainless_steel"), Some(false)),
        (Some("HX99"), None),
        (None, None),
    ] {
        let report = Report { nozzle_type: kind.map(str::to_owned), ..Report::default() };
        assert_eq!(seen(&report).nozzle_hardened, hardened, "{kind:?}");
    }
}

#[test]
fn errors_and_entries_become_faults_in_plain_words_sixteen_at_most() {
    let entry = |n: u32| Hms { attr: 0x0700_2000 + n, code: 0x0002_0001 };
    let report = Report { print_error: Some(0x0500_4003), hms: (0..40_u32).map(entry).collect(), ..Report::default() };
    let told = seen(&report);
    assert_eq!(told.error.as_deref(), Some("0500_4003"));
    assert_eq!(told.faults.len(), FAULTS_MAX);
    assert_eq!((told.faults[0].code.as_str(), told.faults[0].severity.as_str()), ("0500_4003", "Serious"));
    assert!(told.faults.iter().all(|f| f.message.len() > 20), "{:?}", told.faults);
}
