//! The table of the start protocol: one test per row, in its order, each with its near misses and the row that wins
//! there instead.

use printernizer_crds::Reason;
use printernizer_crds::print_job::StartIds;

use crate::device::{DeviceState, Link};
use crate::print_job::start::{End, SendAnswer, Verdict};
use crate::testing::{SENDER, Scene, identity, seconds};

fn end(end: End, live: bool) -> Verdict {
    Verdict::Ended { end, live }
}

/// The process that sent, and has seen nothing but what the scene says since.
pub(super) fn sender() -> Scene {
    let mut s = Scene::intended();
    s.watch.answer = Some(SendAnswer::Accepted);
    s.watch.unbroken = true;
    s
}

fn refused() -> Scene {
    let mut s = sender();
    s.watch.answer = Some(SendAnswer::Refused("not in a state to print".into()));
    s
}

/// In every scene without a verdict of its own, a full window must pass, and then a person is asked.
pub(super) fn waits_then_asks(s: &Scene, reason: Reason) {
    assert_eq!(s.verdict(), Verdict::Wait);
    let mut almost = s.clone().watched_in_vain();
    almost.watch.live = seconds(299);
    assert_eq!(almost.verdict(), Verdict::Wait, "the window is not over");
    let mut early = s.clone();
    early.watch.live = s.timing.observation_window;
    assert_eq!(early.verdict(), Verdict::Wait, "the deadline is not over");
    assert_eq!(s.clone().watched_in_vain().verdict(), Verdict::Unknown(reason));
}

#[test]
fn our_identity_active_is_adopted() {
    for state in [DeviceState::Preparing, DeviceState::Printing, DeviceState::Paused] {
        let mut s = Scene::intended();
        s.shows_ours(state);
        assert_eq!(s.verdict(), Verdict::Started, "{state:?}");
        assert_eq!(s.clone().watched_in_vain().verdict(), Verdict::Started, "also after the window");
        s.watch.answer = Some(SendAnswer::Refused("no".into()));
        assert_eq!(s.verdict(), Verdict::Started, "also after a refusal");
        s.watch.answer = Some(SendAnswer::NotSent("no".into()));
        assert_eq!(s.verdict(), Verdict::Started, "also when this process believes that it did not send");
    }
}

#[test]
fn our_identity_active_is_adopted_even_if_no_upload_is_recorded() {
    let mut s = Scene::claimed();
    s.shows_ours(DeviceState::Printing);
    assert_eq!(s.verdict(), Verdict::Started);
}

#[test]
fn our_number_alone_is_our_identity() {
    let mut s = Scene::intended();
    s.report.identity = identity("4711", "something else");
    s.shows(DeviceState::Printing);
    assert_ne!(s.verdict(), Verdict::Started);
    let mut sent = s.clone();
    sent.job.status.as_mut().unwrap().start.as_mut().unwrap().ids =
        StartIds { task_id: Some(4711), device_job_id: None };
    assert_eq!(sent.verdict(), Verdict::Started, "the id the start carried");
    s.job.status.as_mut().unwrap().device_job_id = Some("4711".into());
    assert_eq!(s.verdict(), Verdict::Started, "the id stored when the print was seen");
}

#[test]
fn a_question_before_any_progress_waits_45_seconds_then_calls_a_person() {
    let mut s = sender();
    s.shows_ours(DeviceState::Attention);
    s.watch.seen_preview = true;
    s.watch.preview_for = seconds(44);
    assert_eq!(s.verdict(), Verdict::AsksBeforePrint { call: false });
    s.watch.preview_for = seconds(45);
    assert_eq!(s.verdict(), Verdict::AsksBeforePrint { call: true });
    // With progress, or after an active state, it is a question of a print that runs.
    let mut running = s.clone();
    running.report.progress.as_mut().unwrap().percent = 1;
    assert_eq!(running.verdict(), Verdict::Started);
    s.watch.seen_active = true;
    assert_eq!(s.verdict(), Verdict::Started);
}

#[test]
fn a_preview_that_went_idle_failed_to_start() {
    let mut s = sender();
    s.watch.seen_preview = true;
    s.shows_ours(DeviceState::Idle);
    // The moment between the answer at the screen and the print looks the same.
    for moment in [None, Some(seconds(0)), Some(seconds(3))] {
        s.watch.idle_for = moment;
        waits_then_asks(&s, Reason::EndNotSeen);
    }
    s.watch.idle_for = Some(seconds(4));
    assert_eq!(s.verdict(), Verdict::FailedToStart);
    // Only the process that sent, on the connection it sent on, may say so.
    let mut broken = s.clone();
    broken.watch.unbroken = false;
    waits_then_asks(&broken, Reason::EndNotSeen);
    let mut other_process = s.clone();
    other_process.watch.answer = None;
    waits_then_asks(&other_process, Reason::EndNotSeen);
    // And never once an active state was seen.
    s.watch.seen_active = true;
    waits_then_asks(&s, Reason::EndNotSeen);
}

#[test]
fn our_identity_ended_after_an_active_state_was_seen_has_ended() {
    let ends = [
        (DeviceState::Finished, End::Succeeded),
        (DeviceState::Failed, End::Failed),
        (DeviceState::Stopped, End::Cancelled),
    ];
    for (state, how) in ends {
        let mut s = Scene::printing();
        s.shows_ours(state);
        assert_eq!(s.verdict(), end(how, true), "{state:?}");
        s.watch.seen_active = false;
        assert_eq!(s.verdict(), end(how, false), "seen running by an earlier process only");
    }
    // An end screen that is gone says nothing about how it ended.
    let mut s = Scene::printing();
    s.shows_ours(DeviceState::Idle);
    waits_then_asks(&s, Reason::EndNotSeen);
}

#[test]
fn our_identity_ended_without_being_seen_active_has_ended_after_the_window() {
    let mut s = Scene::intended();
    s.shows_ours(DeviceState::Finished);
    assert_eq!(s.verdict(), Verdict::Wait);
    assert_eq!(s.clone().watched_in_vain().verdict(), end(End::Succeeded, false));
    // An end state that was there before the start may be the one of before.
    s.job.status.as_mut().unwrap().start.as_mut().unwrap().before.state = s.report.printer_state();
    waits_then_asks(&s, Reason::NoSignOfStart);
}

#[test]
fn our_identity_idle_with_an_error_or_a_refusal_for_30_seconds_failed_to_start() {
    let mut s = sender();
    s.shows_ours(DeviceState::Idle);
    s.report.error = Some("0500_C010".into());
    for lasting in [0, 29] {
        s.watch.standing_error = Some(("0500_C010".into(), seconds(lasting)));
        waits_then_asks(&s, Reason::NoSignOfStart);
    }
    s.watch.standing_error = Some(("0500_C010".into(), seconds(30)));
    assert_eq!(s.verdict(), Verdict::FailedToStart);
    let mut other_process = s.clone();
    other_process.watch.answer = None;
    waits_then_asks(&other_process, Reason::NoSignOfStart);
    let mut another_error = s.clone();
    another_error.report.error = Some("0500_4003".into());
    waits_then_asks(&another_error, Reason::NoSignOfStart);

    let mut s = refused();
    s.shows_ours(DeviceState::Idle);
    s.watch.quiet = seconds(29);
    waits_then_asks(&s, Reason::NoSignOfStart);
    s.watch.quiet = seconds(30);
    assert_eq!(s.verdict(), Verdict::FailedToStart);
}

#[test]
fn an_error_that_stood_there_before_the_start_is_no_error_of_the_start() {
    let mut s = sender();
    s.shows_ours(DeviceState::Idle);
    s.report.error = Some("0300_400C".into());
    s.watch.standing_error = Some(("0300_400C".into(), seconds(30)));
    assert_eq!(s.verdict(), Verdict::FailedToStart, "were it new");
    s.job.status.as_mut().unwrap().start.as_mut().unwrap().before.error = Some("0300_400C".into());
    waits_then_asks(&s, Reason::NoSignOfStart);
}

#[test]
fn our_identity_idle_or_as_before_waits() {
    let mut s = sender();
    s.shows_ours(DeviceState::Idle);
    waits_then_asks(&s, Reason::NoSignOfStart);
    // The identity comes before the state: an end screen of before with our identity and an old error is no refusal.
    s.shows_ours(DeviceState::Finished);
    s.report.error = Some("0500_4003".into());
    s.job.status.as_mut().unwrap().start.as_mut().unwrap().before.state = s.report.printer_state();
    waits_then_asks(&s, Reason::NoSignOfStart);
}

#[test]
fn an_old_identity_with_our_file_has_landed_and_waits() {
    let mut s = sender();
    s.report.identity.file = Some(s.remote_name());
    waits_then_asks(&s, Reason::EndNotSeen);
}

#[test]
fn active_with_the_identity_of_before_waits() {
    let mut s = sender();
    s.shows(DeviceState::Printing);
    waits_then_asks(&s, Reason::NoSignOfStart);
}

#[test]
fn a_third_identity_active_is_foreign_and_ours_waits() {
    let mut s = sender();
    s.shows_foreign(DeviceState::Printing);
    waits_then_asks(&s, Reason::ForeignPrint);
    // Also with a refusal: what runs now may have come after ours.
    let mut s = refused();
    s.shows_foreign(DeviceState::Printing);
    s.watch.quiet = seconds(300);
    waits_then_asks(&s, Reason::ForeignPrint);
    // And with our file under an identity of its own.
    s.report.identity.file = Some(s.remote_name());
    waits_then_asks(&s, Reason::ForeignPrint);
}

#[test]
fn a_refusal_without_an_active_state_for_30_seconds_failed_to_start() {
    let mut s = refused();
    s.watch.quiet = seconds(29);
    assert_eq!(s.verdict(), Verdict::Wait);
    s.watch.quiet = seconds(30);
    assert_eq!(s.verdict(), Verdict::FailedToStart);
    let mut active = s.clone();
    active.shows(DeviceState::Printing);
    assert_eq!(active.verdict(), Verdict::Wait, "active with the identity of before wins");
    let mut broken = s.clone();
    broken.watch.unbroken = false;
    waits_then_asks(&broken, Reason::NoSignOfStart);
    s.watch.seen_active = true;
    waits_then_asks(&s, Reason::NoSignOfStart);
}

#[test]
fn everything_as_before_is_put_before_a_person_after_the_window() {
    waits_then_asks(&sender(), Reason::NoSignOfStart);
    waits_then_asks(&Scene::intended(), Reason::NoSignOfStart);
}

#[test]
fn erased_identities_on_an_idle_device_wait() {
    let mut s = sender();
    s.shows_nothing();
    waits_then_asks(&s, Reason::IdentityErased);
    // Erased already before the start: that is as before.
    s.job.status.as_mut().unwrap().start.as_mut().unwrap().before.identity = s.report.identity.clone();
    waits_then_asks(&s, Reason::NoSignOfStart);
}

#[test]
fn erased_identities_then_active_with_our_file_is_ours_resumed() {
    let mut s = Scene::printing();
    s.shows_nothing();
    s.report.identity.file = Some(s.remote_name());
    s.shows(DeviceState::Printing);
    assert_eq!(s.verdict(), Verdict::StartedAnonymously);
    // At its end a person must say.
    s.shows(DeviceState::Finished);
    waits_then_asks(&s, Reason::IdentityErased);
    // Without our file it is nobody's.
    s.report.identity.file = Some("vase.gcode".into());
    s.shows(DeviceState::Printing);
    waits_then_asks(&s, Reason::IdentityErased);
}

#[test]
fn our_identity_active_without_an_intent_was_started_at_the_screen() {
    let mut s = Scene::uploaded();
    s.shows_ours(DeviceState::Printing);
    assert_eq!(s.verdict(), Verdict::Started);
    s.shows_foreign(DeviceState::Printing);
    assert_eq!(s.clone().watched_in_vain().verdict(), Verdict::Wait, "a foreign print is nothing of ours");
}

#[test]
fn an_identity_of_an_older_attempt_is_never_adopted() {
    let mut s = sender();
    let older = s.remote_name().replace("-1.bgcode", "-9.bgcode");
    assert_ne!(older, s.remote_name());
    s.report.identity = identity("8", &older);
    s.shows(DeviceState::Printing);
    waits_then_asks(&s, Reason::ForeignPrint);
}

#[test]
fn our_name_on_the_device_without_a_recorded_upload_is_put_before_a_person() {
    let mut s = Scene::intended();
    let status = s.job.status.as_mut().unwrap();
    (status.upload, status.start) = (None, None);
    s.shows_ours(DeviceState::Finished);
    assert_eq!(s.clone().watched_in_vain().verdict(), Verdict::Unknown(Reason::NoRecordOfUpload));
}

#[test]
fn the_next_number_without_a_name_is_decided_by_the_stored_number_alone() {
    let mut s = sender();
    s.report.identity = identity("8", "x");
    s.report.identity.name = None;
    s.shows(DeviceState::Finished);
    waits_then_asks(&s, Reason::EndNotSeen);
    s.job.status.as_mut().unwrap().device_job_id = Some("8".into());
    s.watch.seen_active = true;
    assert_eq!(s.verdict(), end(End::Succeeded, true));
}

#[test]
fn an_unreachable_printer_gives_no_verdict_and_after_15_minutes_calls_a_person() {
    let mut s = Scene::printing().watched_in_vain();
    s.shows_ours(DeviceState::Finished);
    s.silent_for(899);
    assert_eq!(s.verdict(), Verdict::Silent { call: false });
    s.silent_for(900);
    assert_eq!(s.verdict(), Verdict::Silent { call: true });
    s.link = Some(Link::Connecting);
    assert_eq!(s.verdict(), Verdict::Silent { call: false });
    s.link = None;
    s.age = seconds(11);
    assert_eq!(s.verdict(), Verdict::Silent { call: false }, "an old report is silence");
}

/// Only the first half of the intent was written when the process that tried ended.
fn half_an_intent() -> Scene {
    let mut s = Scene::uploaded();
    let printer = s.printer.status.clone();
    s.write_intent();
    s.printer.status = printer;
    s.after(1)
}

#[test]
fn half_an_intent_was_not_sent() {
    let s = half_an_intent();
    assert_eq!(s.job_status().start.unwrap().sender, SENDER);
    assert_eq!(s.verdict(), Verdict::NotSent);
    // Both halves: it may have been sent.
    assert_eq!(Scene::intended().verdict(), Verdict::Wait);
    // The try is alive: it may still write the other half and send.
    let mut alive = s.clone();
    alive.watch.try_alive = true;
    assert_eq!(alive.verdict(), Verdict::Wait);
    // It was seen running all the same.
    let mut runs = s.clone();
    runs.shows_ours(DeviceState::Printing);
    assert_eq!(runs.verdict(), Verdict::Started);
    let mut ran = s.clone();
    ran.shows_ours(DeviceState::Finished);
    ran.watch.seen_active = true;
    assert_eq!(ran.verdict(), end(End::Succeeded, true));
    // Nothing is said while the device is silent.
    let mut silent = s;
    silent.silent_for(10);
    assert_eq!(silent.verdict(), Verdict::Silent { call: false });
}

#[test]
fn a_process_that_knows_that_no_byte_left_says_not_sent() {
    let mut s = sender();
    s.watch.answer = Some(SendAnswer::NotSent("the deadline had passed".into()));
    assert_eq!(s.verdict(), Verdict::NotSent);
}

#[test]
fn anything_else_waits() {
    let mut s = sender();
    s.shows_foreign(DeviceState::Finished);
    waits_then_asks(&s, Reason::EndNotSeen);
    let mut s = sender();
    s.report.state = DeviceState::Busy;
    waits_then_asks(&s, Reason::EndNotSeen);
    s.report.state = DeviceState::Unknown;
    waits_then_asks(&s, Reason::EndNotSeen);
}

#[test]
fn before_an_intent_and_without_our_identity_there_is_nothing_to_judge() {
    let mut s = Scene::uploaded();
    assert_eq!(s.clone().watched_in_vain().verdict(), Verdict::Wait);
    s.shows_nothing();
    assert_eq!(s.clone().watched_in_vain().verdict(), Verdict::Wait);
}

#[test]
fn a_start_the_printer_alone_remembers_ends_before_a_person() {
    let mut s = Scene::intended();
    s.job.status.as_mut().unwrap().start = None;
    s.shows_nothing();
    let mut s = s.watched_in_vain();
    s.shows_foreign(DeviceState::Idle);
    assert_eq!(s.verdict(), Verdict::Unknown(Reason::EndNotSeen));
}
