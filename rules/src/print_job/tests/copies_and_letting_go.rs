//! Copies, jobs that Git creates again, deletions, and printers that do not answer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::DeletionPolicy;
use printernizer_crds::{ConditionType, PrintRecord, PrintRecordSpec, RUN_ANNOTATION};

use super::settle;
use crate::device::DeviceState;
use crate::plan::DeviceCommand;
use crate::print_job::status;
use crate::testing::Scene;

fn copied(mut s: Scene) -> Scene {
    s.job.metadata.annotations = Some([(RUN_ANNOTATION.into(), "the-uid-of-another".into())].into());
    s
}

#[test]
fn a_copy_of_a_printed_job_is_not_accepted_until_its_run_changes() {
    let mut s = copied(Scene::waiting());
    s.run_job();
    assert_eq!(s.reason(ConditionType::Accepted), "CopyOfPrintedJob");
    s.job.spec.run_id = "again".into();
    s.job.metadata.generation = Some(2);
    s.run_job();
    assert!(s.is(ConditionType::Accepted));
}

#[test]
fn a_copy_with_a_copied_claim_is_a_copy() {
    let mut s = Scene::intended();
    s.printer.status.as_mut().unwrap().current_job.as_mut().unwrap().uid = "the-uid-of-another".into();
    let mut s = copied(s);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Accepted), "CopyOfPrintedJob");
    assert!(!s.is(ConditionType::OutcomeUnknown));
    assert_eq!((s.job_status().printer, s.job_status().start), (None, None));
}

#[test]
fn the_printed_job_itself_is_no_copy() {
    let mut s = Scene::intended();
    s.job.metadata.annotations = Some([(RUN_ANNOTATION.into(), crate::print_job::run_annotation(&s.job))].into());
    s.shows_ours(DeviceState::Printing);
    s.run_job();
    assert!(s.is(ConditionType::Started));
}

#[test]
fn a_job_created_again_after_its_print_is_not_accepted() {
    let mut s = Scene::bare();
    let spec = PrintRecordSpec {
        namespace: "farm".into(),
        name: "bracket".into(),
        run_id: String::new(),
        uid: "another".into(),
        printed_on: "anna".into(),
        start_time: Time(s.now),
    };
    s.printed_before = Some(PrintRecord::new("record", spec));
    s.run_job();
    assert_eq!(s.reason(ConditionType::Accepted), "AlreadyPrinted");
}

#[test]
fn deleting_a_job_lets_a_print_finish_unless_its_policy_says_cancel() {
    let mut s = Scene::printing();
    s.delete_job();
    assert_eq!(s.clone().run_job(), []);
    s.job.spec.deletion_policy = DeletionPolicy::Cancel;
    assert_eq!(s.run_job(), [DeviceCommand::Stop]);
    let mut s = s.after(3600);
    s.run_job();
    assert!(s.job.metadata.finalizers.is_some(), "it still prints");
    s.shows_ours(DeviceState::Stopped);
    settle(&mut s);
    assert!(s.job.metadata.finalizers.is_none());
}

#[test]
fn a_deleted_job_is_let_go_after_10_minutes_of_silence_and_the_printer_remembers_its_start() {
    let mut s = Scene::intended();
    s.delete_job();
    s.silent_for(599);
    s.pass(599);
    s.run_job();
    assert!(s.job.metadata.finalizers.is_some());
    s.pass(1);
    s.run_job();
    assert!(s.job.metadata.finalizers.is_none());
    s.job_gone = true;
    s.run_printer();
    assert!(s.printer_status().current_job.is_some());
    assert_eq!(s.verdict_written(), None);
}

#[test]
fn a_deleted_job_that_was_never_sent_gives_its_printer_back_and_goes() {
    let mut s = Scene::uploaded();
    s.delete_job();
    settle(&mut s);
    assert_eq!(s.reason(ConditionType::Failed), "Cancelled");
    assert!(s.job.metadata.finalizers.is_none());
    assert_eq!(s.printer_status().current_job, None);
}

#[test]
fn an_unreachable_printer_never_ends_a_job() {
    let mut s = Scene::printing();
    s.silent_for(3600);
    s.pass(3600);
    settle(&mut s);
    assert_eq!(s.reason(ConditionType::Started), "PrinterUnreachable");
    assert_eq!(s.job_status().waiting_for.as_deref(), Some("PrinterUnreachable"));
    assert!(!status::is_terminal(&s.job_status()));
    s.link = None;
    s.run_job();
    assert_eq!(s.reason(ConditionType::Started), "PrintSeen");
}
