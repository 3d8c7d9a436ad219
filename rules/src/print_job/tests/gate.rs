//! The gate: one test per clause of step 3, each closing a gate that is otherwise open.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{DesiredState, SlotChoice};
use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionStatus, ConditionType, Reason};

use crate::device::{Blocker, DeviceKind, DeviceState};
use crate::print_job::UploadView;
use crate::print_job::gate::{Closed, check};
use crate::testing::{SENDER, Scene, identity, seconds};

/// A row: what differs from an open gate, how the gate closes, and a word of what it says.
type Row = (fn(&mut Scene), fn(&Closed) -> bool, &'static str);

fn changed(closed: &Closed) -> bool {
    matches!(closed, Closed::Changed(_))
}

fn not_now(closed: &Closed) -> bool {
    matches!(closed, Closed::NotNow(_))
}

fn give_back(closed: &Closed) -> bool {
    matches!(closed, Closed::GiveBack(_))
}

fn closes(rows: &[Row]) {
    for (n, (change, kind, word)) in rows.iter().enumerate() {
        let mut s = Scene::uploaded();
        assert_eq!(s.gate(), Ok(()));
        change(&mut s);
        let closed = s.gate().expect_err(&format!("row {n} ({word}) leaves the gate open"));
        assert!(kind(&closed), "row {n} ({word}): {closed:?}");
        assert!(closed.to_string().contains(word), "row {n}: {closed} does not say {word}");
    }
}

fn job(s: &mut Scene) -> &mut printernizer_crds::PrintJobStatus {
    s.job.status.as_mut().unwrap()
}

fn printer(s: &mut Scene) -> &mut printernizer_crds::PrinterStatus {
    s.printer.status.as_mut().unwrap()
}

#[test]
fn an_idle_device_or_one_that_shows_an_end_may_start() {
    let mut s = Scene::uploaded();
    for state in [DeviceState::Idle, DeviceState::Finished, DeviceState::Failed, DeviceState::Stopped] {
        s.report.state = state;
        assert_eq!(s.gate(), Ok(()), "{state:?}");
    }
}

#[test]
fn the_job_must_be_wanted() {
    closes(&[
        (|s| s.job.spec.desired_state = DesiredState::Pause, changed, "not wanted"),
        (|s| s.job.spec.desired_state = DesiredState::Cancel, changed, "not wanted"),
        (Scene::delete_job, changed, "not wanted"),
    ]);
}

#[test]
fn both_sides_must_agree() {
    closes(&[
        (|s| job(s).printer = None, changed, "does not hold"),
        (|s| job(s).printer.as_mut().unwrap().uid = "another".into(), changed, "does not hold"),
        (|s| printer(s).current_job = None, changed, "does not hold"),
        (|s| printer(s).current_job.as_mut().unwrap().uid = "another".into(), changed, "does not hold"),
    ]);
}

#[test]
fn the_printer_must_be_schedulable_and_trusted() {
    fn set(s: &mut Scene, type_: ConditionType) {
        s.set_printer(type_, ConditionStatus::False, Reason::Quarantined);
    }
    closes(&[
        (|s| s.printer.spec.unschedulable = true, give_back, "no new prints"),
        (Scene::delete_printer, give_back, "no new prints"),
        (|s| set(s, ConditionType::Trusted), give_back, "for the test"),
        (|s| set(s, ConditionType::Authorized), give_back, "for the test"),
        (|s| set(s, ConditionType::ControlAllowed), give_back, "for the test"),
    ]);
}

#[test]
fn starts_must_not_be_held() {
    closes(&[(|s| s.hold_starts = true, |closed| *closed == Closed::Held, "--hold-starts")]);
}

#[test]
fn a_job_that_started_ended_or_stands_before_a_person_never_starts_again() {
    fn set(s: &mut Scene, type_: ConditionType) {
        let (job, now) = (s.job.clone(), s.now);
        let status = s.job.status.as_mut().unwrap();
        crate::print_job::status::set(status, &job, now, type_, ConditionStatus::True, Reason::PrintSeen, "x");
    }
    closes(&[
        (|s| set(s, ConditionType::Started), changed, "started"),
        (|s| set(s, ConditionType::Complete), changed, "started"),
        (|s| set(s, ConditionType::Failed), changed, "started"),
        (|s| set(s, ConditionType::OutcomeUnknown), changed, "started"),
    ]);
}

#[test]
fn an_intent_of_another_try_closes_the_gate() {
    closes(&[(Scene::write_intent, changed, "another try")]);
    let s = Scene::intended();
    assert_eq!(check(&s.gate_view(Some(SENDER))), Ok(()), "the try that wrote it may send");
    assert!(matches!(check(&s.gate_view(Some("another"))), Err(Closed::Changed(_))));
    assert!(matches!(Scene::uploaded().gate_view(Some(SENDER)), view if check(&view).is_err()), "nothing was written");
}

#[test]
fn the_second_look_ends_at_the_deadline() {
    let mut s = Scene::intended();
    s.now = s.job_status().start.unwrap().deadline.0;
    assert!(matches!(check(&s.gate_view(Some(SENDER))), Err(Closed::NotNow(_))));
}

#[test]
fn nothing_starts_while_a_start_is_unresolved_on_the_printer_or_its_device() {
    closes(&[
        (
            |s| {
                let other = Scene::intended().printer_status().last_start.unwrap();
                printer(s).last_start = Some(printernizer_crds::printer::LastStart { token: "x".into(), ..other });
            },
            not_now,
            "not resolved",
        ),
        (|s| s.unresolved_elsewhere = Some("clip"), not_now, "clip"),
    ]);
    let mut s = Scene::uploaded();
    let mut last = Scene::intended().printer_status().last_start.unwrap();
    last.verdict = Some(StartVerdict::Succeeded);
    printer(&mut s).last_start = Some(last);
    assert_eq!(s.gate(), Ok(()));
}

#[test]
fn the_upload_must_be_verified_and_of_this_attempt() {
    closes(&[
        (|s| job(s).upload = None, changed, "not verified"),
        (|s| job(s).upload.as_mut().unwrap().size_verified = false, changed, "not verified"),
        (|s| job(s).attempt = 2, changed, "not verified"),
    ]);
}

#[test]
fn what_the_printer_shows_must_have_been_judged_by_this_process() {
    closes(&[(|s| s.watched = false, not_now, "not been judged")]);
    // An identity that says nothing is as accounted: nothing else would close the gate.
    let mut s = Scene::claimed();
    s.shows_nothing();
    s.run_printer();
    s.run_job();
    s.upload = UploadView::Done;
    s.run_job();
    assert_eq!(s.gate(), Ok(()));
    s.watched = false;
    assert!(s.gate().is_err());
}

#[test]
fn the_report_must_be_young_and_of_the_claimed_device() {
    closes(&[
        (|s| s.age = seconds(6), not_now, "too old"),
        (|s| s.report.serial_number = Some("another".into()), not_now, "serial number"),
        (|s| s.report.serial_number = None, not_now, "serial number"),
    ]);
}

#[test]
fn the_device_must_be_free_and_nothing_in_its_way() {
    closes(&[
        (|s| s.shows(DeviceState::Printing), not_now, "busy"),
        (|s| s.shows(DeviceState::Preparing), not_now, "busy"),
        (|s| s.shows(DeviceState::Paused), not_now, "busy"),
        (|s| s.report.state = DeviceState::Attention, not_now, "busy"),
        (|s| s.report.state = DeviceState::Busy, not_now, "busy"),
        (|s| s.report.state = DeviceState::Unknown, not_now, "busy"),
        (|s| s.report.has_print = true, not_now, "busy"),
        (|s| s.report.blockers = vec![Blocker::Dialog], not_now, "dialog"),
        (|s| s.report.blockers = vec![Blocker::UnfinishedPrint], not_now, "unfinished"),
        (|s| s.report.blockers = vec![Blocker::FilamentChange], not_now, "filament"),
        (|s| s.report.blockers = vec![Blocker::FirmwareUpdate], not_now, "firmware"),
        (|s| s.report.blockers = vec![Blocker::StorageMissing], not_now, "missing"),
        (|s| s.report.blockers = vec![Blocker::StorageFull], not_now, "full"),
        (|s| s.report.blockers = vec![Blocker::Transfer], not_now, "transferring"),
    ]);
}

#[test]
fn the_device_must_not_show_this_print_in_any_state() {
    for state in [DeviceState::Idle, DeviceState::Finished, DeviceState::Stopped, DeviceState::Failed] {
        let mut s = Scene::uploaded();
        s.shows_ours(state);
        printer(&mut s).bed.as_mut().unwrap().accounted_identity = Some(s.report.identity.clone());
        job(&mut s).upload.as_mut().unwrap().device_job_id = s.report.identity.id.clone();
        assert_eq!(s.gate(), Err(Closed::NotNow("the device already shows this print".into())), "{state:?}");
    }
}

#[test]
fn on_prusalink_no_print_may_have_run_since_the_upload() {
    closes(&[(|s| job(s).upload.as_mut().unwrap().device_job_id = Some("6".into()), give_back, "since the upload")]);
    let mut s = Scene::uploaded();
    job(&mut s).upload.as_mut().unwrap().device_job_id = Some("6".into());
    let mut view = s.gate_view(None);
    view.kind = DeviceKind::Bambu;
    assert_eq!(check(&view), Ok(()), "elsewhere the number is our own");
}

#[test]
fn the_bed_must_be_clear_and_account_for_what_the_device_shows() {
    closes(&[
        (|s| printer(s).bed = None, not_now, "never confirmed"),
        (|s| printer(s).bed.as_mut().unwrap().occupancy_id = Some("x".into()), give_back, "not clear"),
        (|s| printer(s).bed.as_mut().unwrap().print_in_progress = true, give_back, "not clear"),
        (
            |s| printer(s).bed.as_mut().unwrap().accounted_identity = Some(identity("7", "another.gcode")),
            give_back,
            "account",
        ),
    ]);
}

#[test]
fn the_filament_must_be_where_it_was_chosen() {
    closes(&[
        (|s| s.mapping = Err("no PLA is loaded".into()), give_back, "no PLA"),
        (|s| s.mapping = Ok(vec![SlotChoice { index: 1, slot: "AMS1-1".into() }]), give_back, "changed"),
    ]);
}

#[test]
fn the_intent_names_the_device_as_it_was_and_ends_ten_seconds_after_its_report() {
    let s = Scene::uploaded();
    let mut written = s.clone();
    written.write_intent();
    let start = written.job_status().start.unwrap();
    let last = written.printer_status().last_start.unwrap();
    let reported: Timestamp = s.now.checked_sub(s.age).unwrap();
    assert_eq!(start.deadline, Time(reported.checked_add(seconds(10)).unwrap()));
    assert_eq!((start.protocol, start.before, start.sender.as_str()), (1, s.report.shown(), SENDER));
    assert_eq!((last.token, last.remote_name, last.deadline), (start.token, start.remote_name, start.deadline));
    assert_eq!(last.verdict, None);
}
