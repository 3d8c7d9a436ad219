//! What a printer remembers, when it releases a claim, and when it lets go.

use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionStatus, ConditionType, PRINTER_FINALIZER, Reason};

use super::bed_reason;
use crate::device::DeviceState;
use crate::plan::Effect;
use crate::printer::wants_connection;
use crate::testing::{Scene, seconds};

#[test]
fn a_claim_with_a_sent_start_is_released_only_by_a_verdict() {
    let mut s = Scene::intended();
    s.job_gone = true;
    s.run_printer();
    assert!(s.printer_status().current_job.is_some());
    assert_eq!(s.verdict_written(), None);
}

#[test]
fn a_claim_before_the_intent_ends_with_its_job() {
    let mut s = Scene::uploaded();
    s.job_gone = true;
    s.run_printer();
    assert_eq!(s.printer_status().current_job, None);
}

#[test]
fn a_half_claim_waits_for_its_job_and_ends_when_the_job_is_not_wanted() {
    let mut s = Scene::waiting();
    s.claim();
    s.run_printer();
    assert!(s.printer_status().current_job.is_some());
    s.job.spec.desired_state = printernizer_crds::print_job::DesiredState::Pause;
    s.run_printer();
    assert_eq!(s.printer_status().current_job, None);
}

#[test]
fn a_start_without_a_job_is_resolved_by_a_window_of_live_reports_and_a_new_clearance() {
    let mut s = Scene::intended();
    s.job_gone = true;
    s.run_printer();
    let mut s = s.watched_in_vain();
    let mut printing = s.clone();
    printing.shows_ours(DeviceState::Printing);
    printing.run_printer();
    assert_eq!(printing.verdict_written(), None, "it still prints");
    let mut silent = s.clone();
    silent.silent_for(3600);
    silent.run_printer();
    assert_eq!(silent.verdict_written(), None);
    let commands = s.run_printer();
    assert_eq!(s.verdict_written(), Some(StartVerdict::Abandoned));
    assert_eq!(s.printer_status().current_job, None);
    assert_eq!(bed_reason(&s), "Unconfirmed");
    assert_eq!(commands, [s.delete()]);
}

#[test]
fn a_remembered_file_is_deleted_when_the_claim_of_its_attempt_is_released() {
    let mut s = Scene::printing();
    s.shows_ours(DeviceState::Finished);
    let plan = s.job_plan();
    s.apply_one(&plan.effects[0]);
    assert_eq!(s.verdict_written(), Some(StartVerdict::Succeeded));
    assert_eq!(s.run_printer(), [], "the job's half is not written: deleting would end what the device shows");
    s.run_job();
    s.run_printer();
    assert_eq!(s.printer_status().current_job, None);
    assert_eq!(s.run_printer(), [s.delete()]);
    s.deleted = vec![s.remote_name()];
    assert_eq!(s.run_printer(), []);
    s.deleted.clear();
    s.shows_foreign(DeviceState::Printing);
    assert_eq!(s.run_printer(), [], "not while something prints");
}

#[test]
fn the_finalizer_stands_while_the_printer_remembers_and_a_dead_printer_is_let_go_after_10_minutes() {
    let mut s = Scene::intended();
    s.printer.metadata.finalizers = None;
    assert!(s.printer_plan().has(&Effect::AddPrinterFinalizer));
    s.run_printer();
    s.delete_printer();
    let mut s = s.after(3600);
    s.run_printer();
    assert!(s.printer.metadata.finalizers.is_some(), "it answers, so the start can be resolved");
    s.silent_for(60);
    s.run_printer();
    assert!(s.printer.metadata.finalizers.is_none());

    let mut s = Scene::intended();
    s.delete_printer();
    s.silent_for(60);
    let mut s = s.after(599);
    s.run_printer();
    assert!(s.printer.metadata.finalizers.is_some());
    let mut s = Scene::waiting();
    s.printer.metadata.finalizers = Some(vec![PRINTER_FINALIZER.into()]);
    s.run_printer();
    assert!(s.printer.metadata.finalizers.is_none(), "nothing to remember");
}

/// The Printer was deleted and created again while a start was unresolved.
fn recreated(mut s: Scene) -> Scene {
    s.printer.metadata.uid = Some("c0ffee00-0000-4000-8000-000000000002".into());
    s.printer.status = None;
    s.orphan = true;
    s.run_printer();
    s
}

#[test]
fn a_printer_created_again_takes_over_the_claim_and_the_memory_of_the_start() {
    let before = Scene::intended();
    let mut s = recreated(before.clone());
    let (old, new) = (before.printer_status(), s.printer_status());
    assert_eq!(new.last_start, old.last_start);
    assert_eq!(new.current_job, old.current_job);
    s.run_job();
    assert_eq!(s.job_status().printer.unwrap().uid, "c0ffee00-0000-4000-8000-000000000002");
    s.orphan = false;
    s.run_printer();
    assert_eq!(s.printer_status().last_start, old.last_start);
    s.shows_ours(DeviceState::Printing);
    s.run_job();
    assert!(s.is(ConditionType::Started));
}

#[test]
fn a_printer_created_again_remembers_a_print_that_was_started_at_the_screen_too() {
    let mut s = Scene::uploaded();
    s.shows_ours(DeviceState::Printing);
    s.run_job();
    assert!(s.is(ConditionType::Started));
    let s = recreated(s);
    let last = s.printer_status().last_start.unwrap();
    assert_eq!((last.token, last.verdict), (s.token().to_string(), None));
}

#[test]
fn a_start_that_is_resolved_is_no_reason_to_hold_a_printer_back() {
    let mut s = Scene::waiting();
    s.set_printer(ConditionType::Ready, ConditionStatus::False, Reason::Unreachable);
    s.run_printer();
    assert!(s.printer_is(ConditionType::Ready));
}

#[test]
fn a_half_claim_of_a_job_that_is_not_accepted_any_more_is_released() {
    let mut s = Scene::waiting();
    s.claim();
    s.job.spec.source.config_map.get_or_insert_default().key = "another".into();
    s.job.metadata.generation = Some(2);
    (s.file, s.file_refused) = (None, Some(Reason::Unsliced));
    s.run_job();
    assert_eq!(s.reason(ConditionType::Accepted), "Unsliced");
    s.run_printer();
    assert_eq!(s.printer_status().current_job, None);
}

#[test]
fn a_start_its_job_knows_nothing_of_any_more_is_resolved_like_one_without_a_job() {
    let mut s = Scene::intended();
    let job = s.job.status.as_mut().unwrap();
    (job.attempt, job.start, job.upload, job.printer) = (3, None, None, None);
    s.run_printer();
    assert_eq!(s.verdict_written(), None);
    let mut s = s.watched_in_vain();
    s.run_printer();
    assert_eq!(s.verdict_written(), Some(StartVerdict::Abandoned));
    assert!(!s.printer_is(ConditionType::BedCleared));
}

#[test]
fn a_printer_is_connected_to_until_nothing_of_ours_holds_it() {
    let mut s = Scene::bare();
    assert!(wants_connection(&s.printer));
    s.delete_printer();
    assert!(!wants_connection(&s.printer));
    s.printer.metadata.finalizers = Some(vec!["example.com/another".into()]);
    assert!(!wants_connection(&s.printer), "it is kept for somebody else");
    s.printer.metadata.finalizers = Some(vec![PRINTER_FINALIZER.into()]);
    assert!(wants_connection(&s.printer));
}

#[test]
fn whatever_a_printer_must_remember_keeps_it_from_being_deleted() {
    let adds = |s: &Scene| s.printer_plan().has(&Effect::AddPrinterFinalizer);
    let bare = |scene: Scene| {
        let mut s = scene;
        s.printer.metadata.finalizers = None;
        s
    };
    assert!(!adds(&bare(Scene::waiting())), "it has nothing to remember");
    assert!(adds(&bare(Scene::claimed())));
    let mut start = bare(Scene::intended());
    start.printer.status.as_mut().unwrap().current_job = None;
    assert!(adds(&start), "a start without a verdict");
    assert!(!adds(&Scene::intended()), "it has it");
    start.delete_printer();
    assert!(!adds(&start), "the API server takes no new one then");
}

#[test]
fn a_start_whose_job_is_gone_is_looked_at_again_when_its_window_is_over() {
    let mut s = Scene::intended();
    s.job_gone = true;
    s.run_printer();
    s.last_start_live = seconds(100);
    assert_eq!(s.printer_plan().look_again, Some(seconds(200)));
    s.last_start_live = seconds(299);
    assert_eq!(s.printer_plan().look_again, Some(s.timing.poll_period), "and not without pause");
    s.shows_ours(DeviceState::Printing);
    s.run_printer();
    assert_ne!(s.printer_plan().look_again, Some(s.timing.poll_period), "it prints: its end is waited for");
}
