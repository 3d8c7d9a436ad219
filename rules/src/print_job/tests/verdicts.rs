//! Verdicts, running prints and letting go: of each rule the case beside the one it is for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{AttemptRecord, DeletionPolicy, Outcome};
use printernizer_crds::printer::{DistrustReason, StartVerdict};
use printernizer_crds::{ConditionStatus, ConditionType, Conditions as _, Reason};

use super::settle;
use crate::device::{DeviceProgress, DeviceState, Link};
use crate::plan::{DeviceCommand, Effect};
use crate::print_job::start::SendAnswer;
use crate::testing::{JOB_UID, Scene, identity};

/// A print that has ended like this, with its verdict on the Printer and in the job.
fn ended(mut s: Scene, state: DeviceState) -> Scene {
    s.shows_ours(state);
    settle(&mut s);
    s
}

#[test]
fn a_print_that_succeeded_forgives_the_one_that_failed_before() {
    let mut s = Scene::printing();
    s.printer.status.as_mut().unwrap().consecutive_failures = 1;
    assert_eq!(ended(s, DeviceState::Finished).printer_status().consecutive_failures, 0);
}

#[test]
fn a_bed_says_what_it_is_occupied_by() {
    let bed = |s: &Scene| s.reason(ConditionType::BedCleared);
    let said = |s: &Scene| {
        let conditions = s.printer_status().conditions;
        conditions.condition(ConditionType::BedCleared).unwrap().message.split(';').next().unwrap().to_owned()
    };
    assert_eq!(said(&ended(Scene::printing(), DeviceState::Finished)), "\"Bracket\" lies on the bed");
    assert_eq!(said(&ended(Scene::printing(), DeviceState::Failed)), "what was printed of \"Bracket\" lies on the bed");
    let mut new = Scene::bare();
    new.run_printer();
    assert_eq!(said(&new), "nobody has confirmed yet that the bed is clear");
    let mut foreign = Scene::waiting();
    foreign.shows_foreign(DeviceState::Finished);
    foreign.run_printer();
    assert_eq!(said(&foreign), "a print that was not started here lies, or may lie, on the bed");
    assert_eq!(bed(&ended(Scene::printing(), DeviceState::Finished)), "PartOnBed");
    assert_eq!(bed(&ended(Scene::printing(), DeviceState::Failed)), "FailedPrintOnBed");
    assert_eq!(bed(&ended(Scene::printing(), DeviceState::Stopped)), "FailedPrintOnBed");
    let mut s = Scene::asked();
    s.answer(printernizer_crds::print_job::Answer::NotPrinted);
    s.run_job();
    assert_eq!(bed(&s), "Unconfirmed");
}

#[test]
fn a_quarantine_takes_the_place_of_a_distrust_that_ends_by_itself_and_of_no_other() {
    for (before, after) in [
        (DistrustReason::StartRefused, DistrustReason::Quarantined),
        (DistrustReason::StartAborted, DistrustReason::Quarantined),
        (DistrustReason::AnotherOperator, DistrustReason::AnotherOperator),
    ] {
        let mut s = Scene::printing();
        let status = s.printer.status.as_mut().unwrap();
        status.consecutive_failures = 1;
        status.distrust =
            Some(printernizer_crds::printer::Distrust { id: "before".into(), reason: before, shown: None });
        s.shows_ours(DeviceState::Failed);
        let plan = s.job_plan();
        assert_eq!(plan.printer().unwrap().distrust.as_ref().map(|d| d.reason), Some(after), "{before:?}");
    }
}

#[test]
fn a_verdict_is_written_into_the_start_it_is_of() {
    // Its own start keeps what was recorded of it.
    let mut s = Scene::intended();
    let deadline = s.printer_status().last_start.unwrap().deadline;
    s.watch.answer = Some(SendAnswer::NotSent("the deadline had passed".into()));
    s.pass(60);
    s.run_job();
    let last = s.printer_status().last_start.unwrap();
    assert_eq!((last.verdict, last.deadline), (Some(StartVerdict::NotSent), deadline));
    // Where the second half of the intent was never written, the start of before stays what it was.
    let mut half = Scene::uploaded();
    let before = printernizer_crds::printer::LastStart {
        token: "of-another-job".into(),
        job_name: "other".into(),
        job_uid: "other".into(),
        remote_name: "other.bgcode".into(),
        deadline: Time(half.now),
        verdict: Some(StartVerdict::Failed),
    };
    half.printer.status.as_mut().unwrap().last_start = Some(before);
    half.job.status =
        Some(crate::print_job::gate::job_half(&half.gate_view(None), crate::testing::SENDER, None).unwrap());
    half.watch.answer = Some(SendAnswer::NotSent("the deadline had passed".into()));
    half.run_job();
    let last = half.printer_status().last_start.unwrap();
    assert_eq!((last.token, last.verdict), (half.token().to_string(), Some(StartVerdict::NotSent)));
    assert_eq!(last.job_uid, JOB_UID);
}

#[test]
fn a_refusal_is_explained_by_the_printers_condition_where_its_report_says_nothing() {
    let mut s = Scene::intended();
    (s.watch.answer, s.watch.unbroken) = (Some(SendAnswer::Refused("no".into())), true);
    s.watch.quiet = s.timing.refusal_quiet;
    s.set_printer(ConditionType::ControlAllowed, ConditionStatus::False, Reason::ControlRefused);
    settle(&mut s);
    let told = s.job_status().attempts[0].reason.clone();
    assert!(told.contains("Developer Mode"), "{told}");
}

#[test]
fn a_print_that_stops_is_said_to_be_stopped_by_who_asked_for_it() {
    let stopped = |deleted: bool, policy: DeletionPolicy| {
        let mut s = Scene::printing();
        s.job.spec.deletion_policy = policy;
        if deleted {
            s.delete_job();
        }
        s.shows_ours(DeviceState::Stopped);
        s.run_job();
        s.job_status().attempts[0].reason.clone()
    };
    let asked = "as the deletion of the job asks";
    assert!(stopped(true, DeletionPolicy::Cancel).contains(asked));
    for (deleted, policy) in [(true, DeletionPolicy::LetFinish), (false, DeletionPolicy::Cancel)] {
        let told = stopped(deleted, policy);
        assert!(told.contains("not from here"), "{told}");
    }
}

#[test]
fn an_attempt_is_recorded_once_and_beside_those_before_it() {
    let record = |attempt| AttemptRecord {
        attempt,
        printer: "anna".into(),
        start_time: None,
        end_time: None,
        outcome: Outcome::NotStarted,
        reason: "before".into(),
        grams_estimated: None,
    };
    for (before, reasons) in [(0, vec!["before", "printed"]), (1, vec!["before"])] {
        let mut s = Scene::printing();
        s.job.status.as_mut().unwrap().attempts = vec![record(before)];
        let attempts = ended(s, DeviceState::Finished).job_status().attempts;
        assert_eq!(attempts.iter().map(|a| a.reason.as_str()).collect::<Vec<_>>(), reasons);
    }
}

#[test]
fn a_file_that_does_not_say_its_filament_is_recorded_without_grams() {
    let mut s = Scene::printing();
    for filament in &mut s.job.status.as_mut().unwrap().file.as_mut().unwrap().filaments {
        filament.grams = None;
    }
    assert_eq!(ended(s, DeviceState::Finished).job_status().attempts[0].grams_estimated, None);
}

#[test]
fn a_print_started_at_the_screen_that_ended_unseen_has_ended() {
    let mut s = Scene::uploaded();
    s.shows_ours(DeviceState::Finished);
    s.run_job();
    let mut s = s.watched_in_vain();
    s.run_job();
    assert!(s.is(ConditionType::Complete), "its upload is recorded: {:?}", s.job_status().message);
}

#[test]
fn the_number_of_our_print_is_kept_and_no_other_is_taken_for_it() {
    let mut s = Scene::printing();
    assert_eq!(s.job_status().device_job_id.as_deref(), Some("8"));
    s.job.status.as_mut().unwrap().device_job_id = None;
    s.report.identity = identity("8", &s.remote_name());
    s.report.identity.id = None;
    s.run_job();
    assert_eq!(s.job_status().device_job_id, None, "a device that names it gives no number");
    s.job.status.as_mut().unwrap().device_job_id = Some("8".into());
    s.run_job();
    assert_eq!(s.job_status().device_job_id.as_deref(), Some("8"), "what was known is not forgotten");
}

#[test]
fn a_running_print_says_what_the_printer_does() {
    for (state, reason, says) in [
        (DeviceState::Preparing, "PrintSeen", "the printer prepares the print"),
        (DeviceState::Printing, "PrintSeen", "printing"),
        (DeviceState::Attention, "Attention", "the printer asks something: look at its screen"),
        (DeviceState::Paused, "PausedAtPrinter", "paused by the printer or at its screen: resume it there"),
    ] {
        let mut s = Scene::printing();
        s.shows_ours(state);
        s.run_job();
        assert_eq!(
            (s.reason(ConditionType::Started).as_str(), s.message(ConditionType::Started).as_str()),
            (reason, says)
        );
    }
}

#[test]
fn progress_is_written_with_a_change_of_phase_and_not_with_each_report() {
    let mut s = Scene::printing();
    s.report.progress = Some(DeviceProgress { percent: 11, ..DeviceProgress::default() });
    s.pass(2);
    assert!(s.job_plan().job().is_none(), "a moment later");
    s.report.state = DeviceState::Paused;
    s.run_job();
    assert_eq!(s.job_status().progress.map(|p| p.percent), Some(11), "where it stands still");
}

#[test]
fn a_pause_of_ours_is_forgotten_once_the_print_moves() {
    let mut s = Scene::printing();
    s.job.status.as_mut().unwrap().paused_by_us = true;
    s.run_job();
    assert!(!s.job_status().paused_by_us);
    s.job.status.as_mut().unwrap().paused_by_us = true;
    s.shows_ours(DeviceState::Paused);
    s.run_job();
    assert!(s.job_status().paused_by_us, "it stands still");
}

#[test]
fn a_deleted_job_waits_for_its_printer_and_for_the_file_of_nobody_else() {
    // The claim is another job's: nothing is waited for.
    let mut s = ended(Scene::printing(), DeviceState::Finished);
    s.file_deleted = true;
    settle(&mut s);
    s.claim();
    s.printer.status.as_mut().unwrap().current_job.as_mut().unwrap().uid = "another".into();
    s.job.metadata.finalizers = Some(vec![printernizer_crds::PRINT_JOB_FINALIZER.into()]);
    assert!(s.job_plan().has(&Effect::RemoveJobFinalizer));
    s.printer.status.as_mut().unwrap().current_job.as_mut().unwrap().uid = JOB_UID.into();
    assert!(!s.job_plan().has(&Effect::RemoveJobFinalizer), "the printer's own rules release it first");
    s.delete_job();
    assert!(s.job_plan().has(&Effect::RemoveJobFinalizer));
    s.job.metadata.finalizers = None;
    assert!(!s.job_plan().has(&Effect::RemoveJobFinalizer), "there is none");
}

#[test]
fn an_expired_job_stays_as_long_as_the_printer_holds_it() {
    let mut s = ended(Scene::printing(), DeviceState::Finished);
    s.file_deleted = true;
    settle(&mut s);
    s.pass(31 * 24 * 3600);
    assert!(s.job_plan().has(&Effect::DeleteJob));
    s.claim();
    assert!(!s.job_plan().has(&Effect::DeleteJob));
}

#[test]
fn a_record_is_finished_only_of_a_job_that_a_tool_keeps_and_while_it_can_be_lost() {
    let mut s = ended(Scene::printing(), DeviceState::Finished);
    s.job.metadata.finalizers = Some(vec![printernizer_crds::PRINT_JOB_FINALIZER.into()]);
    let finishes = |s: &Scene| s.job_plan().effects.iter().any(|e| matches!(e, Effect::FinishRecord(_)));
    assert!(!finishes(&s), "nobody creates it again");
    s.job.metadata.labels = Some([("argocd.argoproj.io/instance".into(), "farm".into())].into());
    assert!(finishes(&s));
    s.job.metadata.finalizers = None;
    assert!(!finishes(&s), "it is finished");
}

#[test]
fn a_file_is_waited_for_as_long_as_its_printer_may_delete_it() {
    let bare = |n: u64| {
        let mut s = Scene::uploaded();
        s.job.spec.desired_state = printernizer_crds::print_job::DesiredState::Cancel;
        s.session_gone = true;
        s.after(n)
    };
    // Nobody has a session with it: the job's own time counts.
    assert!(!bare(500).job_plan().has(&Effect::RemoveJobFinalizer) && bare(500).job_plan().job().is_none());
    assert!(bare(601).job_plan().job().is_some_and(|j| j.printer.is_none()));
    // Deleted for long: what the device says meanwhile is not waited for, as long as it says anything.
    let deleted = |n: u64, link: Option<Link>| {
        let mut s = Scene::uploaded();
        s.delete_job();
        s.link = link;
        s.after(n)
    };
    assert!(deleted(599, None).job_plan().job().is_none());
    assert!(deleted(600, None).job_plan().job().is_some_and(|j| j.printer.is_none()));
    assert!(deleted(600, Some(Link::Connecting)).job_plan().job().is_some_and(|j| j.printer.is_none()));
    let mut silent = deleted(600, None);
    silent.silent_for(10);
    assert!(silent.job_plan().job().is_none(), "its silence is what is waited for");
}

#[test]
fn a_printer_that_misses_a_few_answers_is_not_said_to_keep_the_file() {
    let mut s = Scene::uploaded();
    s.job.spec.desired_state = printernizer_crds::print_job::DesiredState::Cancel;
    s.silent_for(29);
    assert_eq!(s.run_job(), [s.delete()]);
    assert_ne!(s.reason(ConditionType::Started), "FileNotDeleted");
    s.silent_for(30);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Started), "FileNotDeleted");
}

#[test]
fn a_file_that_stays_is_remembered_once_and_beside_others() {
    let mut s = Scene::uploaded();
    s.job.spec.desired_state = printernizer_crds::print_job::DesiredState::Cancel;
    s.refuses_deletion(600);
    let left = |name: &str| printernizer_crds::printer::LeftFile {
        remote_name: name.into(),
        job_name: "other".into(),
        job_uid: "other".into(),
    };
    s.printer.status.as_mut().unwrap().left_files = vec![left("other.bgcode")];
    let plan = s.job_plan();
    let names: Vec<_> = plan.printer().unwrap().left_files.iter().map(|f| f.remote_name.clone()).collect();
    assert_eq!(names, ["other.bgcode".to_owned(), s.remote_name()]);
    s.printer.status.as_mut().unwrap().left_files = vec![left(&s.remote_name())];
    assert!(s.job_plan().printer().is_none());
}

#[test]
fn a_start_waits_until_what_others_left_is_asked_to_go() {
    let mut s = Scene::uploaded();
    s.printer.status.as_mut().unwrap().left_files = vec![printernizer_crds::printer::LeftFile {
        remote_name: "other.bgcode".into(),
        job_name: "other".into(),
        job_uid: "other".into(),
    }];
    let commands = s.job_plan().commands();
    let deletes = DeviceCommand::DeleteFile { remote_name: "other.bgcode".into() };
    assert_eq!(commands, [deletes, DeviceCommand::Start]);
}
