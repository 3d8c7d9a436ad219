//! What a job says while it only waits to go, and at its end: what it waits for, who stopped its print, how far it came.

use printernizer_crds::print_job::{Answer, DeletionPolicy, DesiredState, Phase};
use printernizer_crds::{ConditionType, Conditions, Reason};

use super::settle;
use crate::device::{DeviceProgress, DeviceState};
use crate::plan::Effect;
use crate::print_job::Waiting;
use crate::testing::{Scene, seconds};

fn message(s: &Scene, type_: ConditionType) -> String {
    s.job_status().conditions.condition(type_).map(|c| c.message.clone()).unwrap_or_default()
}

#[test]
fn a_deleted_job_says_in_the_table_what_it_waits_for() {
    for (policy, words) in
        [(DeletionPolicy::LetFinish, "kept until the print has ended"), (DeletionPolicy::Cancel, "stopping the print")]
    {
        let mut s = Scene::printing();
        s.job.spec.deletion_policy = policy;
        s.delete_job();
        s.run_job();
        let status = s.job_status();
        assert_eq!((status.phase, status.waiting_for.as_deref()), (Some(Phase::Printing), Some("BeingDeleted")));
        assert!(status.message.is_some_and(|m| m.contains(words)), "{policy:?}");
    }
}

/// A deleted job whose print is not seen: because its printer is silent, for a while or for long, because the printer
/// shows nothing of it, and while a person is asked.
fn deleted_and_not_seen() -> Vec<(&'static str, Scene)> {
    let (mut silent, mut unreachable, mut erased) = (Scene::printing(), Scene::printing(), Scene::printing());
    silent.silent_for(60);
    unreachable.silent_for(3600);
    erased.shows_nothing();
    let mut asked_in_silence = Scene::asked();
    asked_in_silence.silent_for(3600);
    vec![
        ("PrinterSilent", silent),
        ("PrinterUnreachable", unreachable),
        ("NotShown", erased),
        ("asked", Scene::asked()),
        ("asked, and silent since", asked_in_silence),
    ]
}

#[test]
fn a_deleted_job_whose_print_is_not_seen_says_how_long_it_stays_at_most_and_says_it_once() {
    for (what, mut s) in deleted_and_not_seen() {
        s.run_job();
        assert!(!s.job_status().message.unwrap().contains("Deleted"), "{what}");
        s.delete_job();
        let until = s.now.checked_add(s.timing.letting_go).unwrap().to_string();
        s.run_job();
        let told = s.job_status().message.unwrap();
        assert!(told.ends_with(&format!("and until {until} at most")), "{what}: {told}");
        s.pass(5);
        assert!(s.job_plan().job().is_none(), "{what}");
    }
}

#[test]
fn a_job_that_is_let_go_of_says_so_before_it_is_gone() {
    for (what, mut s) in deleted_and_not_seen() {
        s.delete_job();
        s.pass(600);
        let plan = s.job_plan();
        assert!(matches!(plan.effects[..], [Effect::WriteJob(_), Effect::RemoveJobFinalizer]), "{what}: {plan:?}");
        s.apply(&plan);
        assert_eq!(s.reason(ConditionType::Started), "BeingDeleted", "a change of the reason is an event");
        let told = message(&s, ConditionType::Started);
        assert!(told.contains("let go of") && told.contains("anna remembers the start"), "{what}: {told}");
        assert_eq!(s.job_plan().effects, [], "{what}");
    }
}

#[test]
fn a_job_that_missed_its_deadline_says_what_kept_it_last() {
    let expire = |mut s: Scene| {
        s.job.spec.start_deadline_seconds = Some(60);
        s.pass(7200);
        settle(&mut s);
        s.job_status().message.unwrap()
    };
    let mut unmatched = Scene::waiting();
    unmatched.waiting = Some(Waiting { reason: Reason::NoMatchingPrinter, message: "1 printer: 1 no PETG".into() });
    unmatched.run_job();
    let told = expire(unmatched);
    assert!(told.contains("create the job again with a longer deadline"), "{told}");
    assert!(told.ends_with("What kept it last: NoMatchingPrinter, 1 printer: 1 no PETG"), "{told}");
    let mut fileless = Scene::bare();
    fileless.file_refused = Some(Reason::FileNotFound);
    fileless.run_job();
    let told = expire(fileless);
    assert!(told.ends_with("What kept it last: FileNotFound, for the test"), "{told}");
    let mut closed = Scene::uploaded();
    closed.closed(crate::print_job::gate::Closed::Held, 10);
    closed.run_job();
    closed.file_deleted = true;
    let told = expire(closed);
    assert!(told.contains("What kept it last: StartPending, waiting to start: "), "{told}");
    assert!(!expire(Scene::bare()).contains("What kept it last"), "nobody has looked at it before");
}

/// A print that was last written at 10 % and last seen at 40 %.
fn at_40_percent() -> Scene {
    let mut s = Scene::printing();
    assert_eq!(s.job_status().progress.unwrap().percent, 10);
    s.watch.progress = Some(DeviceProgress { percent: 40, remaining_seconds: Some(60), ..DeviceProgress::default() });
    s
}

#[test]
fn a_print_that_was_stopped_says_how_far_it_came_and_by_whom_it_was_stopped() {
    let stopped = |change: &dyn Fn(&mut Scene), who: &str| {
        let mut s = at_40_percent();
        change(&mut s);
        s.shows_ours(DeviceState::Stopped);
        settle(&mut s);
        let status = s.job_status();
        assert_eq!(status.message.as_deref(), Some(format!("the print was stopped at 40 % {who}").as_str()));
        assert_eq!(status.attempts[0].reason, status.message.unwrap());
        let progress = status.progress.unwrap();
        assert_eq!((progress.percent, progress.summary.as_deref(), progress.remaining), (40, Some("40%"), None));
    };
    stopped(&|s| s.job.spec.desired_state = DesiredState::Cancel, "as spec.desiredState asks");
    let deleted = |s: &mut Scene| {
        s.job.spec.deletion_policy = DeletionPolicy::Cancel;
        s.delete_job();
    };
    stopped(&deleted, "as the deletion of the job asks (deletionPolicy: Cancel)");
    stopped(&|_| {}, "at the printer's screen or by another program, not from here");
}

#[test]
fn a_print_that_failed_says_how_far_it_came_unless_a_person_says_what_became_of_it() {
    let mut failed = at_40_percent();
    failed.shows_ours(DeviceState::Failed);
    settle(&mut failed);
    assert_eq!(message(&failed, ConditionType::Failed), "the print failed at 40 %");
    let mut succeeded = at_40_percent();
    succeeded.shows_ours(DeviceState::Finished);
    settle(&mut succeeded);
    assert_eq!(succeeded.job_status().progress.unwrap().percent, 100);
    let mut answered = at_40_percent();
    answered.shows_nothing();
    let mut answered = answered.watched_in_vain();
    answered.run_job();
    answered.answer(Answer::Failed);
    settle(&mut answered);
    assert_eq!(message(&answered, ConditionType::Failed), "the print failed, as a person says");
    assert_eq!(answered.job_status().progress.unwrap().percent, 40, "as it was seen");
}

#[test]
fn how_far_a_print_came_is_what_was_last_seen_of_it_active() {
    let mut s = Scene::intended();
    let mut reports = |state, percent: Option<i32>| {
        s.shows_ours(state);
        s.report.progress = percent.map(|percent| DeviceProgress { percent, ..DeviceProgress::default() });
        s.watch.report(&s.report, true, Some(seconds(2)), seconds(30));
        s.watch.progress.map(|p| p.percent)
    };
    assert_eq!(reports(DeviceState::Attention, Some(0)), None, "a question before the print is no print");
    assert_eq!(reports(DeviceState::Printing, Some(40)), Some(40));
    assert_eq!(reports(DeviceState::Paused, None), Some(40));
    assert_eq!(reports(DeviceState::Stopped, Some(0)), Some(40), "an end screen may show nothing of it");
}
