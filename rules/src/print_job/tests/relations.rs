//! How what a device shows relates to a start: each relation with the identities beside it.

use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::print_job::StartIntent;
use printernizer_crds::printer::StartVerdict;

use crate::device::DeviceState;
use crate::print_job::start::{Relation, SendAnswer, Verdict, relation};
use crate::testing::Scene;

/// What a device shows: its number, the name of the print, the file.
fn shows(id: Option<&str>, name: Option<&str>, file: Option<&str>) -> DeviceIdentity {
    let text = |t: Option<&str>| t.map(str::to_owned);
    DeviceIdentity { id: text(id), name: text(name), file: text(file) }
}

#[test]
fn what_is_shown_relates_to_the_start_as_the_identity_of_before_says() {
    let s = Scene::intended();
    let (token, ours) = (s.token(), s.remote_name());
    let ours = ours.as_str();
    let intent = |before: DeviceIdentity| {
        let mut intent: StartIntent = s.job_status().start.unwrap();
        intent.before.identity = before;
        intent
    };
    let old = || Some(intent(shows(Some("7"), Some("older.gcode"), None)));
    let none = || Some(intent(DeviceIdentity::default()));
    let erased = |our_file| Relation::Erased { our_file };
    for (before, shown, expected) in [
        (old(), shows(Some("8"), Some(ours), None), Relation::Ours),
        (old(), shows(None, None, None), erased(false)),
        (old(), shows(None, None, Some(ours)), erased(true)),
        (old(), shows(Some("7"), Some("older.gcode"), Some(ours)), Relation::OldIdentityOurFile),
        (old(), shows(Some("9"), Some("older.gcode"), Some(ours)), Relation::Third),
        (old(), shows(Some("7"), Some("vase.gcode"), Some(ours)), Relation::Third),
        (old(), shows(Some("7"), Some("older.gcode"), None), Relation::AsBefore),
        (old(), shows(Some("8"), None, None), Relation::Third),
        // Where nothing was shown before, nothing is forgotten.
        (none(), shows(None, None, None), Relation::AsBefore),
        (none(), shows(None, None, Some(ours)), Relation::OldIdentityOurFile),
        (none(), shows(Some("8"), None, None), Relation::Third),
        // Without an intent nobody has recorded what was shown before.
        (None, shows(None, None, Some(ours)), erased(true)),
        (None, shows(Some("7"), None, Some(ours)), Relation::Third),
        (None, shows(None, Some("vase.gcode"), Some(ours)), Relation::Third),
        (None, shows(None, None, None), Relation::AsBefore),
        (None, shows(Some("7"), None, None), Relation::Third),
        (None, shows(None, Some("vase.gcode"), None), Relation::Third),
        (None, shows(None, None, Some("vase.gcode")), Relation::Third),
    ] {
        assert_eq!(
            relation(&token, before.as_ref(), None, &shown),
            expected,
            "{:?}: {shown:?}",
            before.map(|b| b.before)
        );
    }
}

#[test]
fn a_start_that_was_not_sent_is_doubted_only_for_a_new_number_without_a_name() {
    // Another number and no name may be our file, started by a person, whose end nobody saw (docs/adr/0014).
    for (shown, doubted) in [
        (shows(Some("8"), None, None), true),
        // The number of before is no news.
        (shows(Some("7"), None, None), false),
        // A print with a name is somebody's, and not ours.
        (shows(Some("8"), Some("vase.gcode"), None), false),
        // No number, no print.
        (shows(None, None, None), false),
    ] {
        let mut s = Scene::intended();
        s.watch.answer = Some(SendAnswer::NotSent("the deadline had passed".into()));
        s.report.identity = shown.clone();
        s.shows(DeviceState::Finished);
        assert_eq!(s.verdict() != Verdict::NotSent, doubted, "{shown:?}");
        // Neither does what was written before stand against it.
        let mut written = s.clone();
        written.printer.status.as_mut().unwrap().last_start.as_mut().unwrap().verdict = Some(StartVerdict::NotSent);
        written.run_job();
        assert_eq!(written.verdict_written().is_none(), doubted, "{shown:?}");
    }
}

#[test]
fn a_file_that_has_landed_is_never_taken_for_a_refusal() {
    let mut s = Scene::intended();
    (s.watch.answer, s.watch.unbroken) = (Some(SendAnswer::Refused("busy".into())), true);
    s.watch.quiet = s.timing.refusal_quiet;
    assert_eq!(s.verdict(), Verdict::FailedToStart, "everything is as before");
    s.report.identity.file = Some(s.remote_name());
    assert_eq!(s.verdict(), Verdict::Wait, "our file is in the device: the start has come to something");
}

#[test]
fn a_start_that_failed_is_open_again_once_the_device_shows_that_it_printed_our_file() {
    for (state, open) in [(DeviceState::Finished, true), (DeviceState::Idle, false), (DeviceState::Stopped, false)] {
        let mut s = Scene::intended();
        s.printer.status.as_mut().unwrap().last_start.as_mut().unwrap().verdict = Some(StartVerdict::FailedToStart);
        s.shows_ours(state);
        s.run_job();
        assert_eq!(s.verdict_written().is_none(), open, "{state:?}");
    }
}
