//! Copies, jobs that Git creates again, deletions, and printers that do not answer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{Answer, DeletionPolicy, DesiredState, Phase};
use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionType, Conditions, PrintRecord, PrintRecordSpec, RUN_ANNOTATION};

use super::settle;
use crate::device::DeviceState;
use crate::plan::{DeviceCommand, Effect};
use crate::print_job::gate::Closed;
use crate::print_job::start::SendAnswer;
use crate::print_job::status;
use crate::testing::{JOB_UID, Scene, identity};

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

/// Jobs nobody wants any more, or that go elsewhere, and how long each waits for the deletion of its file.
fn leaving() -> Vec<(Scene, u64)> {
    let (mut cancelled, mut given_back) = (Scene::uploaded(), Scene::uploaded());
    cancelled.job.spec.desired_state = DesiredState::Cancel;
    given_back.closed = Some(Closed::GiveBack("the bed is not clear".into()));
    let mut failed = Scene::intended();
    failed.watch.answer = Some(SendAnswer::NotSent("the deadline had passed".into()));
    failed.run_job();
    vec![(cancelled, 600), (given_back, 900), (failed, 900)]
}

#[test]
fn a_device_that_does_not_delete_a_file_is_waited_for_and_a_person_is_told() {
    for (mut s, limit) in leaving() {
        s.refuses_deletion(29);
        assert_eq!(s.run_job(), [s.delete()]);
        assert_ne!(s.reason(ConditionType::Started), "FileNotDeleted", "that may pass");
        s.refuses_deletion(limit - 1);
        assert_eq!(s.run_job(), [s.delete()]);
        let status = s.job_status();
        assert_eq!(s.reason(ConditionType::Started), "FileNotDeleted");
        assert_eq!(
            (status.phase, status.waiting_for.as_deref()),
            (Some(Phase::AttentionNeeded), Some("FileNotDeleted"))
        );
        let message = status.conditions.condition(ConditionType::Started).unwrap().message.clone();
        assert!(message.contains(&s.remote_name()) && message.contains("is being read"), "{message}");
        assert!(status.printer.is_some() && status.attempts.is_empty(), "nothing else is written");
        assert!(s.job_plan().job().is_none(), "said once");
    }
}

#[test]
fn a_file_that_stays_on_its_device_is_remembered_by_the_printer_and_deleted_when_that_is_possible() {
    for (mut s, limit) in leaving() {
        let name = s.remote_name();
        let delete = s.delete();
        s.refuses_deletion(limit);
        let plan = s.job_plan();
        assert!(matches!(plan.effects[..], [Effect::WritePrinter(_), Effect::WriteJob(_)]), "the printer's half first");
        s.apply(&plan);
        assert_eq!((s.job_status().printer, s.job_status().upload), (None, None));
        let left = s.printer_status().left_files;
        assert_eq!(
            left.iter().map(|f| (f.remote_name.as_str(), f.job_uid.as_str())).collect::<Vec<_>>(),
            [(name.as_str(), JOB_UID)]
        );
        assert!(s.run_printer().contains(&delete));
        assert_eq!(s.printer_status().current_job, None);
        // Nobody takes it for the print of another operator, should it run one day.
        s.report.identity = identity("8", &name);
        s.shows(DeviceState::Printing);
        assert_eq!(s.run_printer(), [], "not while something prints");
        assert!(s.printer_is(ConditionType::Trusted));
        s.shows(DeviceState::Stopped);
        assert!(s.run_printer().contains(&delete), "at each connection");
        s.deleted = vec![name];
        assert_eq!(s.run_printer(), []);
        assert_eq!(s.printer_status().left_files, []);
    }
}

#[test]
fn a_verdict_and_a_file_that_stays_are_two_writes_of_the_printer() {
    let mut s = Scene::asked();
    s.answer(Answer::NotPrinted);
    s.refuses_deletion(900);
    s.run_job();
    assert_eq!(s.verdict_written(), Some(StartVerdict::NotPrinted));
    s.run_job();
    assert_eq!(s.verdict_written(), Some(StartVerdict::NotPrinted), "the second does not undo the first");
    assert_eq!((s.printer_status().left_files.len(), s.job_status().attempt), (1, 2));
}

#[test]
fn a_dead_printer_is_named_as_the_reason_why_a_cancelled_job_does_not_end() {
    let mut s = Scene::uploaded();
    s.job.spec.desired_state = DesiredState::Cancel;
    s.silent_for(599);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Started), "FileNotDeleted");
    s.silent_for(600);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Failed), "Cancelled");
    assert_eq!(s.printer_status().left_files.len(), 1);
}
