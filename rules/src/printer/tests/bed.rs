//! The bed, sentence by sentence: what occupies it, what clears it, and what it survives.

use printernizer_crds::ConditionType;
use printernizer_crds::printer::{BedClearing, StartVerdict};

use super::{bed_reason, occupancy};
use crate::device::{DeviceState, Link};
use crate::testing::{Scene, identity, seconds};

#[test]
fn a_new_printer_is_occupied_until_a_person_says_otherwise() {
    let mut s = Scene::bare();
    s.link = Some(Link::Connecting);
    s.run_printer();
    assert_eq!(bed_reason(&s), "NeverConfirmed");
    assert!(occupancy(&s).is_some());
    s.clear_bed();
    s.run_printer();
    assert!(!s.printer_is(ConditionType::BedCleared), "nobody looked at the device yet");
    // Somebody may have printed since, and left the part: what the device shows then is of nobody's knowing.
    (s.link, s.watched) = (None, false);
    s.run_printer();
    assert_eq!(bed_reason(&s), "Unconfirmed");
    s.watched = true;
    s.run_printer();
    assert!(!s.printer_is(ConditionType::BedCleared), "the clearance was for another id");
    s.clear_bed();
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
}

#[test]
fn a_new_printer_that_is_confirmed_after_the_first_look_is_confirmed_once() {
    let mut s = Scene::bare();
    s.link = Some(Link::Connecting);
    s.run_printer();
    let asked = occupancy(&s);
    (s.link, s.watched) = (None, false);
    s.run_printer();
    assert_eq!(occupancy(&s), asked, "nobody has said anything yet: it stays what it is");
    s.clear_bed();
    s.watched = true;
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
}

#[test]
fn another_id_clears_nothing() {
    let mut s = Scene::bare();
    s.run_printer();
    s.printer.spec.bed.cleared_for = Some("id-of-yesterday".into());
    s.run_printer();
    assert!(!s.printer_is(ConditionType::BedCleared));
}

#[test]
fn every_end_of_any_print_occupies_the_bed_with_a_new_id() {
    for state in [DeviceState::Finished, DeviceState::Failed, DeviceState::Stopped, DeviceState::Idle] {
        let mut s = Scene::waiting();
        s.shows_foreign(DeviceState::Printing);
        s.run_printer();
        assert_eq!(bed_reason(&s), "PrintInProgress");
        let while_printing = occupancy(&s);
        s.clear_bed();
        s.run_printer();
        assert!(!s.printer_is(ConditionType::BedCleared), "nothing clears a bed while a print runs");
        s.shows_foreign(state);
        s.run_printer();
        assert_eq!(bed_reason(&s), "ForeignPrintOnBed", "{state:?}");
        assert_ne!(occupancy(&s), while_printing);
        s.run_printer();
        assert!(!s.printer_is(ConditionType::BedCleared), "the clearance was for another id");
        s.clear_bed();
        s.run_printer();
        assert!(s.printer_is(ConditionType::BedCleared));
    }
}

#[test]
fn an_identity_the_bed_does_not_account_for_occupies_it() {
    let mut s = Scene::waiting();
    s.shows_foreign(DeviceState::Finished);
    s.run_printer();
    assert_eq!(bed_reason(&s), "ForeignPrintOnBed");
    let first = occupancy(&s);
    s.run_printer();
    assert_eq!(occupancy(&s), first, "once");
}

#[test]
fn an_identity_erased_before_our_eyes_changes_nothing_and_unwatched_it_occupies() {
    let mut s = Scene::waiting();
    s.shows_nothing();
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
    s.report.identity = identity("7", "older.gcode");
    s.run_printer();
    assert!(!s.printer_is(ConditionType::BedCleared), "what comes back is not accounted for");

    let mut s = Scene::waiting();
    s.shows_nothing();
    s.watched = false;
    s.run_printer();
    assert_eq!(bed_reason(&s), "Unconfirmed");
}

#[test]
fn a_clearance_from_before_a_print_that_nobody_saw_does_not_count_where_the_device_shows_none() {
    let mut s = Scene::waiting();
    s.shows_nothing();
    s.watched = false;
    s.run_printer();
    let asked = s.printer_status().bed.unwrap().occupancy_id;
    // It is cleared, then somebody prints, and nobody watches either.
    s.printer.spec.bed.cleared_for.clone_from(&asked);
    s.run_printer();
    assert_eq!(bed_reason(&s), "Unconfirmed");
    let again = s.printer_status().bed.unwrap().occupancy_id;
    assert!(again.is_some() && again != asked, "{again:?}");
    s.watched = true;
    s.run_printer();
    assert!(!s.printer_is(ConditionType::BedCleared));
    s.clear_bed();
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
    // A device that shows its last print tells by that whether there was another one.
    let mut s = Scene::waiting();
    s.report.identity = identity("8", "another.gcode");
    s.run_printer();
    s.printer.spec.bed.cleared_for = s.printer_status().bed.unwrap().occupancy_id;
    s.watched = false;
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
}

#[test]
fn held_starts_make_every_printer_unconfirmed_at_its_first_report() {
    let mut s = Scene::waiting();
    (s.hold_starts, s.watched) = (true, false);
    s.run_printer();
    assert_eq!(bed_reason(&s), "NeverConfirmed");
    s.watched = true;
    s.clear_bed();
    s.run_printer();
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
}

#[test]
fn a_start_aborted_in_the_preview_leaves_the_bed_as_it_was() {
    let mut s = Scene::intended();
    s.watch.answer = Some(crate::print_job::start::SendAnswer::Accepted);
    s.watch.unbroken = true;
    s.shows_ours(DeviceState::Attention);
    s.watch.seen_preview = true;
    s.run_printer();
    s.run_job();
    assert!(s.printer_is(ConditionType::BedCleared));
    s.shows_ours(DeviceState::Idle);
    s.watch.idle_for = Some(seconds(4));
    s.run_printer();
    s.run_job();
    s.run_printer();
    assert_eq!(s.verdict_written(), Some(StartVerdict::FailedToStart));
    assert!(s.printer_is(ConditionType::BedCleared));
}

#[test]
fn automatic_clearing_counts_only_for_a_success_seen_live() {
    let run = |state, live| {
        let mut s = Scene::printing();
        s.printer.spec.bed.clearing = BedClearing::Automatic;
        s.watch.seen_active = live;
        s.shows_ours(state);
        s.run_job();
        s.run_printer();
        s.printer_is(ConditionType::BedCleared)
    };
    assert!(run(DeviceState::Finished, true));
    assert!(!run(DeviceState::Finished, false));
    assert!(!run(DeviceState::Failed, true));
    assert!(!run(DeviceState::Stopped, true));
}

#[test]
fn nothing_clears_the_bed_while_a_start_is_unresolved() {
    let mut s = Scene::intended();
    s.shows_foreign(DeviceState::Finished);
    s.run_printer();
    s.clear_bed();
    s.run_printer();
    assert!(!s.printer_is(ConditionType::BedCleared));
}

#[test]
fn the_bed_survives_silence() {
    let mut s = Scene::waiting();
    s.silent_for(3600);
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
    assert!(!s.printer_is(ConditionType::Ready));
}

#[test]
fn another_machine_behind_a_printer_has_a_bed_that_nobody_has_confirmed() {
    // The trace: the bed of machine A is confirmed clear; B, with a part on its bed, takes A's place, and the serial number
    // in the spec is corrected to B's; what was confirmed of A must not let a start onto B.
    let mut s = Scene::waiting();
    s.report.serial_number = Some("10589-9999".into());
    s.run_printer();
    assert_eq!(bed_reason(&s), "NeverConfirmed");
    let device = s.printer_status().device.unwrap();
    assert_eq!(device.serial_number.as_deref(), Some("10589-9999"), "claims name the machine that is there");
    s.run_printer();
    assert!(!s.printer_is(ConditionType::BedCleared), "the clearance was for the other machine");
    s.clear_bed();
    s.run_printer();
    assert!(s.printer_is(ConditionType::BedCleared));
}
