//! Ends of prints: verdicts and their order, attempts, retries, quarantine, cleaning up, time-to-live.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::ConditionType;
use printernizer_crds::print_job::{Answer, Outcome, Upload};
use printernizer_crds::printer::StartVerdict;

use super::settle;
use crate::device::{DeviceState, Link};
use crate::plan::Effect;
use crate::print_job::start::SendAnswer;
use crate::print_job::{Watch, status};
use crate::testing::{Scene, seconds};

#[test]
fn a_verdict_stands_on_the_printer_first_and_a_crash_in_between_loses_nothing() {
    let mut s = Scene::printing();
    s.shows_ours(DeviceState::Finished);
    let plan = s.job_plan();
    assert!(matches!(plan.effects[..], [Effect::WritePrinter(_), Effect::WriteJob(_)]));
    s.apply_one(&plan.effects[0]);
    // A new process, and the end screen is gone.
    s.watch = Watch::default();
    s.shows_foreign(DeviceState::Printing);
    s.run_printer();
    assert!(s.printer_status().current_job.is_some(), "the job still names the printer");
    s.run_job();
    assert_eq!(s.reason(ConditionType::Complete), "PrintSucceeded");
    s.run_printer();
    assert_eq!(s.printer_status().current_job, None);
}

#[test]
fn the_grams_of_all_filaments_are_recorded() {
    let mut s = Scene::printing();
    s.shows_ours(DeviceState::Finished);
    s.run_job();
    let attempts = s.job_status().attempts;
    assert_eq!(attempts[0].grams_estimated.as_deref(), Some("15.34"));
    assert_eq!(attempts[0].outcome, Outcome::Succeeded);
}

#[test]
fn hours_that_nobody_saw_are_not_booked_as_print_time() {
    let ended = |s: &mut Scene| {
        settle(s);
        let attempts = s.job_status().attempts;
        assert_eq!((attempts.len(), attempts[0].outcome), (1, Outcome::Succeeded));
        attempts[0].end_time.clone()
    };
    let mut seen = Scene::printing().after(3600);
    seen.shows_ours(DeviceState::Finished);
    assert_eq!(ended(&mut seen), Some(Time(seen.now)));
    // The printer was away for two days, and shows the end of its print now.
    let mut away = Scene::printing();
    away.silent_for(60);
    away.run_job();
    away.link = None;
    away.pass(2 * 86_400);
    away.shows_ours(DeviceState::Finished);
    assert_eq!(ended(&mut away), None);
    // Nobody was there, and a new process finds the end.
    let mut unwatched = Scene::printing().after(2 * 86_400);
    unwatched.watch = Watch::default();
    unwatched.watch.live = unwatched.timing.observation_window;
    unwatched.shows_ours(DeviceState::Finished);
    assert_eq!(ended(&mut unwatched), None);
    // A person is asked on Friday and answers on Monday.
    let mut asked = Scene::printing();
    asked.shows_nothing();
    let mut asked = asked.watched_in_vain();
    asked.run_job();
    asked.pass(3 * 86_400);
    asked.answer(Answer::Succeeded);
    assert_eq!(ended(&mut asked), None);
    assert!(asked.job_status().completion_time.is_some(), "the job has ended all the same");
}

#[test]
fn a_job_that_proved_not_sent_goes_back_free_of_charge() {
    let mut s = Scene::intended();
    s.watch.answer = Some(SendAnswer::NotSent("the deadline had passed".into()));
    settle(&mut s);
    let status = s.job_status();
    assert_eq!(s.verdict_written(), Some(StartVerdict::NotSent));
    assert_eq!((status.printer, status.start, status.attempt, status.failed_prints), (None, None, 2, 0));
    assert_eq!(status.not_before, Some(Time(s.now.checked_add(seconds(10)).unwrap())));
    assert!(s.printer_is(ConditionType::Trusted) && s.printer_is(ConditionType::BedCleared));
    assert_eq!(s.printer_status().current_job, None);
}

#[test]
fn a_failed_print_is_printed_again_as_often_as_allowed() {
    let fail = |limit| {
        let mut s = Scene::printing();
        s.job.spec.retry.limit = limit;
        s.shows_ours(DeviceState::Failed);
        settle(&mut s);
        s
    };
    let s = fail(1);
    let status = s.job_status();
    assert_eq!((status.attempt, status.failed_prints, status.refusals), (2, 1, 1));
    assert!(!status::is_terminal(&status));
    assert!(status::is_terminal(&fail(0).job_status()));
    assert_eq!(s.printer_status().consecutive_failures, 1);
}

#[test]
fn two_failed_prints_in_a_row_quarantine_the_printer() {
    let mut s = Scene::printing();
    s.printer.status.as_mut().unwrap().consecutive_failures = 1;
    s.shows_ours(DeviceState::Failed);
    settle(&mut s);
    assert_eq!(s.reason(ConditionType::Trusted), "Quarantined");
    s.printer.spec.acknowledged = s.printer_status().distrust.map(|d| d.id);
    settle(&mut s);
    assert!(s.printer_is(ConditionType::Trusted));
    assert_eq!(s.printer_status().consecutive_failures, 0);
}

#[test]
fn an_ended_job_cleans_up_and_expires_and_a_tracked_one_does_not() {
    let mut s = Scene::printing();
    s.shows_ours(DeviceState::Finished);
    s.run_job();
    assert_eq!(s.run_job(), [s.delete()]);
    s.run_printer();
    s.file_deleted = true;
    settle(&mut s);
    assert_eq!(s.job_status().upload, None);
    assert!(s.job.metadata.finalizers.is_none());
    let mut tracked = s.clone();
    tracked.job.metadata.labels = Some([("argocd.argoproj.io/instance".into(), "farm".into())].into());
    for s in [&mut s, &mut tracked] {
        s.pass(30 * 24 * 3600 - 1);
        assert!(!s.job_plan().has(&Effect::DeleteJob));
        s.pass(1);
    }
    assert!(s.job_plan().has(&Effect::DeleteJob));
    assert!(!tracked.job_plan().has(&Effect::DeleteJob));
}

#[test]
fn the_record_of_a_tracked_job_is_finished_before_its_finalizer_goes() {
    let mut s = Scene::printing();
    s.job.metadata.labels = Some([("argocd.argoproj.io/instance".into(), "farm".into())].into());
    s.shows_ours(DeviceState::Finished);
    s.run_job();
    s.run_printer();
    let effects = s.job_plan().effects;
    let finish = effects.iter().position(|e| matches!(e, Effect::FinishRecord(r) if r.outcome.is_some()));
    let remove = effects.iter().position(|e| *e == Effect::RemoveJobFinalizer);
    assert!(finish.is_some() && finish < remove, "{effects:?}");
}

#[test]
fn a_verdict_that_is_written_holds_unless_it_said_that_nothing_ran() {
    let answered = |answer| {
        let mut s = Scene::asked();
        s.answer(answer);
        let plan = s.job_plan();
        s.apply_one(&plan.effects[0]);
        s.shows_ours(DeviceState::Printing);
        s.run_job();
        s
    };
    let s = answered(Answer::Succeeded);
    assert_eq!(s.verdict_written(), Some(StartVerdict::Succeeded));
    assert!(s.is(ConditionType::Complete));

    let mut s = Scene::intended();
    s.watch.answer = Some(SendAnswer::NotSent("the deadline had passed".into()));
    s.run_job();
    assert_eq!(s.verdict_written(), Some(StartVerdict::NotSent));
    s.shows_ours(DeviceState::Printing);
    s.run_job();
    assert_eq!(s.verdict_written(), None, "it runs: the memory of it is open again");
    assert!(s.is(ConditionType::Started));
}

#[test]
fn an_ended_job_looks_again_soon_while_its_printer_connects_and_is_not_kept_for_ever_by_its_file() {
    let mut s = Scene::printing();
    s.shows_ours(DeviceState::Finished);
    settle(&mut s);
    s.job.status.as_mut().unwrap().upload = Some(Upload { remote_name: s.remote_name(), ..Upload::default() });
    s.file_deleted = false;
    s.link = Some(Link::Connecting);
    assert_eq!(s.job_plan().look_again, Some(s.timing.poll_period));
    s.silent_for(60);
    assert_eq!(s.job_plan().look_again, Some(seconds(60)), "it may come back");
    s.link = None;
    s.pass(30 * 24 * 3600);
    assert!(!s.job_plan().has(&Effect::DeleteJob), "its file goes first");
    s.pass(600);
    let plan = s.job_plan();
    assert!(plan.has(&Effect::DeleteJob));
    assert_eq!(plan.printer().unwrap().left_files[0].remote_name, s.remote_name());
}
