//! Traces of devices in which an earlier reading of the table printed twice or told a person something wrong. Each is
//! told report by report.

use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionType, Reason};

use super::table::{sender, waits_then_asks};
use crate::device::DeviceState;
use crate::print_job::start::{End, SendAnswer, Verdict};
use crate::testing::{Scene, seconds};

/// Our start is taken, and its ids are shown while the state is still the old one, as was seen for 48 to 55 s on H2D and
/// for 135 s on P1P. In this time another program sends a start of its own. The printer is busy with ours and refuses
/// theirs: 0500_4004 stands beside our ids for a moment, in IDLE. Judged by that report, our job had failed to start and
/// was printed a second time by the next printer.
#[test]
fn an_error_of_a_moment_before_the_print_is_no_failure_of_it() {
    let mut s = sender();
    let mut shows = |state, error: Option<&str>, after: u64| {
        s.shows_ours(state);
        s.report.error = error.map(str::to_owned);
        s.watch.report(&s.report, true, Some(seconds(after)), s.timing.report_gap);
        s.verdict()
    };
    assert_eq!(shows(DeviceState::Idle, None, 2), Verdict::Wait);
    assert_eq!(shows(DeviceState::Idle, Some("0500_4004"), 20), Verdict::Wait);
    assert_eq!(shows(DeviceState::Idle, Some("0500_4004"), 2), Verdict::Wait);
    assert_eq!(shows(DeviceState::Idle, None, 2), Verdict::Wait);
    assert_eq!(shows(DeviceState::Idle, None, 25), Verdict::Wait);
    assert_eq!(shows(DeviceState::Preparing, None, 2), Verdict::Started);
}

/// The same, on a printer whose screen keeps showing the code until somebody takes it away. It stood for 30 s beside our
/// ids, while our print was still to come: our job had failed to start, its file was deleted, and the next printer printed
/// it; this one did, too. Nothing tells this from a start of ours that was refused, so it is put before a person.
#[test]
fn busy_with_a_job_is_never_said_of_ours_however_long_it_stands() {
    let shown_until = |last: u64| {
        let mut s = sender();
        for _ in (0..=last).step_by(2) {
            s.shows_ours(DeviceState::Idle);
            (s.report.error, s.report.busy_with_job) = (Some("0500_4004".into()), true);
            s.watch.report(&s.report, true, Some(seconds(2)), s.timing.report_gap);
            assert_eq!(s.verdict(), Verdict::Wait);
        }
        s
    };
    let mut s = shown_until(210);
    waits_then_asks(&s, Reason::NoSignOfStart);
    s.report.busy_with_job = false;
    assert_eq!(s.verdict(), Verdict::FailedToStart, "were it any other error");
    s.shows_ours(DeviceState::Preparing);
    s.watch.report(&s.report, true, Some(seconds(2)), s.timing.report_gap);
    assert_eq!(s.verdict(), Verdict::Started);
}

/// A printer that has never shown a print shows the first one, which is seen running, and is switched off and on: it shows
/// nothing again, as before the start. Judged by that alone, "everything as before", a person was told that there was no
/// sign of a start, in front of half a part.
#[test]
fn a_first_print_that_was_seen_and_is_forgotten_is_not_one_that_never_came() {
    let mut s = sender();
    s.job.status.as_mut().unwrap().start.as_mut().unwrap().before.identity = DeviceIdentity::default();
    s.shows_nothing();
    waits_then_asks(&s, Reason::NoSignOfStart);
    s.watch.seen_active = true;
    waits_then_asks(&s, Reason::IdentityErased);
}

/// The same printer goes on with its print when the power comes back. It was taken for a print that has only landed, and
/// after the window a person was asked what had become of it while it was still being printed.
#[test]
fn a_first_print_that_goes_on_after_a_power_cut_is_ours_and_runs() {
    let mut s = sender();
    s.job.status.as_mut().unwrap().start.as_mut().unwrap().before.identity = DeviceIdentity::default();
    s.shows_nothing();
    s.report.identity.file = Some(s.remote_name());
    s.shows(DeviceState::Printing);
    waits_then_asks(&s, Reason::EndNotSeen);
    s.watch.seen_active = true;
    assert_eq!(s.verdict(), Verdict::StartedAnonymously);
    let mut foreign: Scene = s.clone();
    foreign.report.identity.file = Some("vase.gcode".into());
    waits_then_asks(&foreign, Reason::IdentityErased);
    s.shows(DeviceState::Finished);
    waits_then_asks(&s, Reason::IdentityErased);
}

/// The file was uploaded, and the first half of the intent written; the operator ended there. Somebody started the file at
/// the printer's screen, and it was printed. The next operator found an intent of which the printer knew nothing, judged
/// "not sent" although the printer showed the end of this very print, and printed the job again.
#[test]
fn an_unsent_start_of_which_the_printer_shows_the_end_was_printed() {
    for answer in [None, Some(SendAnswer::NotSent("the printer is busy".into()))] {
        let mut s = Scene::uploaded();
        let knew = s.printer_status();
        s.write_intent();
        s.printer.status = Some(knew);
        s.watch.answer = answer;
        assert_eq!(s.verdict(), Verdict::NotSent);
        s.shows_ours(DeviceState::Finished);
        assert_eq!(s.verdict(), Verdict::Wait);
        let s = s.watched_in_vain();
        assert_eq!(s.verdict(), Verdict::Ended { end: End::Succeeded, live: false });
    }
}

/// "Not sent" was written, and was true. Before the file was deleted, somebody started it at the screen; the operator heard
/// of it only when the print had ended, gave the printer back as if nothing had been, and printed the job again.
#[test]
fn a_print_that_ended_before_its_unsent_start_was_let_go_is_followed_to_its_end() {
    for seen_active in [false, true] {
        let mut s = Scene::intended();
        s.watch.answer = Some(SendAnswer::NotSent("the printer is busy".into()));
        s.run_job();
        assert_eq!(s.verdict_written(), Some(StartVerdict::NotSent));
        s.watch.seen_active = seen_active;
        s.shows_ours(DeviceState::Finished);
        s.run_job();
        assert_eq!((s.verdict_written(), s.job_status().attempt), (None, 1));
        let mut s = s.watched_in_vain();
        s.run_job();
        assert_eq!(s.verdict_written(), Some(StartVerdict::Succeeded));
    }
}

/// The device refused our start because a person had just begun another print. That one ended, and before the printer's own
/// pass had seen it, our start was judged failed: what the device showed was accounted for with it, the bed still counted
/// as clear, and the next start printed onto the part.
#[test]
fn a_failed_start_does_not_account_for_another_print() {
    let mut s = sender();
    s.watch.sent(SendAnswer::Refused("not in a state to print".into()));
    s.shows_foreign(DeviceState::Finished);
    s.watch.report(&s.report, false, Some(seconds(30)), s.timing.report_gap);
    s.run_job();
    assert_eq!(s.verdict_written(), Some(StartVerdict::FailedToStart));
    s.run_printer();
    assert!(!s.printer_is(ConditionType::BedCleared));
}

/// PrusaLink names a print only while it is on the screen. The operator ended after the first half of the intent, somebody
/// started the uploaded file at the screen, and its end screen was left before the next operator came. That one saw a print
/// with the next number and no name, judged "not sent", and printed the job again.
#[test]
fn an_unsent_start_after_which_a_print_ran_that_nobody_can_name_is_asked_about() {
    for answer in [None, Some(SendAnswer::NotSent("the printer is busy".into()))] {
        let mut s = Scene::uploaded();
        let knew = s.printer_status();
        s.write_intent();
        s.printer.status = Some(knew);
        s.watch.answer = answer;
        s.report.identity = DeviceIdentity { id: Some("9".into()), ..DeviceIdentity::default() };
        s.shows(DeviceState::Finished);
        assert_eq!(s.verdict(), Verdict::Wait);
        waits_then_asks(&s, Reason::EndNotSeen);
        // While something runs it has a name, and another one than ours says that ours was not started.
        s.shows_foreign(DeviceState::Printing);
        assert_eq!(s.verdict(), Verdict::NotSent);
    }
}

/// "Not sent" was written, and somebody had started the file at the screen; only a number without a name is left of it.
#[test]
fn a_print_without_a_name_takes_back_that_nothing_was_sent() {
    let mut s = Scene::intended();
    s.watch.answer = Some(SendAnswer::NotSent("the printer is busy".into()));
    s.run_job();
    assert_eq!(s.verdict_written(), Some(StartVerdict::NotSent));
    s.report.identity = DeviceIdentity { id: Some("9".into()), ..DeviceIdentity::default() };
    s.shows(DeviceState::Idle);
    s.run_job();
    assert_eq!((s.verdict_written(), s.job_status().attempt), (None, 1));
    waits_then_asks(&s, Reason::EndNotSeen);
}

/// The end of our print was seen, which nobody had sent. The person took the part and began another print before the
/// window was over: with that, "nothing was sent" was said again, and the job was printed twice.
#[test]
fn another_print_does_not_hide_that_ours_was_seen() {
    let mut s = Scene::uploaded();
    let knew = s.printer_status();
    s.write_intent();
    s.printer.status = Some(knew);
    s.shows_ours(DeviceState::Finished);
    s.watch.report(&s.report, true, Some(seconds(2)), s.timing.report_gap);
    assert_eq!(s.verdict(), Verdict::Wait);
    s.shows_foreign(DeviceState::Printing);
    s.watch.report(&s.report, false, Some(seconds(2)), s.timing.report_gap);
    waits_then_asks(&s, Reason::ForeignPrint);
}
