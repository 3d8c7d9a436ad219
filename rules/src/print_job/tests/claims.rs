//! Copies, files and claims: of each rule the case beside the one it is for, where a slip would be seen by nobody else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{AttemptRecord, Outcome, Upload};
use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionStatus, ConditionType, Conditions as _, RUN_ANNOTATION, Reason};

use crate::device::DeviceState;
use crate::plan::DeviceCommand;
use crate::print_job::{UploadView, Waiting, needs_file_at_hand, run_annotation};
use crate::testing::{JOB_UID, Scene, seconds};

#[test]
fn the_run_annotation_is_the_uid_and_the_run_where_there_is_one() {
    let mut s = Scene::bare();
    assert_eq!(run_annotation(&s.job), JOB_UID);
    s.job.spec.run_id = "again".into();
    assert_eq!(run_annotation(&s.job), format!("{JOB_UID}/again"));
}

#[test]
fn a_copy_gives_up_whatever_part_of_another_ones_claim_was_copied() {
    let copied = |scene: Scene| {
        let mut s = scene;
        s.printer.status.as_mut().unwrap().current_job = None;
        s.job.metadata.annotations = Some([(RUN_ANNOTATION.into(), "the-uid-of-another".into())].into());
        s
    };
    let full = Scene::intended();
    for part in 0..3 {
        let mut s = copied(full.clone());
        let status = s.job.status.as_mut().unwrap();
        (status.printer, status.start, status.upload) = (
            status.printer.take().filter(|_| part == 0),
            status.start.take().filter(|_| part == 1),
            status.upload.take().filter(|_| part == 2),
        );
        s.run_job();
        let status = s.job_status();
        assert_eq!((status.printer, status.start, status.upload), (None, None, None), "part {part}");
        assert_eq!(s.reason(ConditionType::Accepted), "CopyOfPrintedJob");
    }
}

#[test]
fn a_job_whose_file_was_never_read_is_not_told_that_it_is_fetched_again() {
    let mut s = Scene::bare();
    (s.file, s.fetching) = (None, Some(seconds(1)));
    s.run_job();
    assert_eq!(s.message(ConditionType::Accepted), "the file is being fetched");
    // Refused for its file, which nothing binds it to: the next one is a new one.
    let mut refused = Scene::bare();
    refused.file.as_mut().unwrap().printer_model = None;
    refused.run_job();
    assert_eq!(refused.reason(ConditionType::Accepted), "MachineUnstated");
    let file = refused.job_status().file.unwrap();
    assert_eq!((file.read_for.as_str(), file.read_from.as_str()), ("", ""));
    (refused.file, refused.fetching) = (None, Some(seconds(1)));
    refused.run_job();
    assert_eq!(refused.message(ConditionType::Accepted), "the file is being fetched");
}

#[test]
fn a_refused_job_is_not_bound_to_the_file_it_was_refused_for_although_it_was_accepted_with_another() {
    let mut s = Scene::bare();
    s.run_job();
    assert!(s.is(ConditionType::Accepted));
    let file = s.file.as_mut().unwrap();
    // As a cache gives it that has what was accepted before.
    (file.read_for, file.read_from) = ("before".into(), "before".into());
    file.printer_model = None;
    s.job.metadata.generation = Some(2);
    s.run_job();
    let file = s.job_status().file.unwrap();
    assert_eq!((file.read_for.as_str(), file.read_from.as_str()), ("", ""));
}

#[test]
fn a_file_need_not_be_at_hand_for_a_job_without_a_printer_with_an_intent_or_at_its_end() {
    let claimed = Scene::claimed();
    assert!(needs_file_at_hand(&claimed.job));
    let mut intended = Scene::intended();
    intended.job.status.as_mut().unwrap().upload.as_mut().unwrap().size_verified = false;
    assert!(!needs_file_at_hand(&intended.job), "what was sent is not sent again");
    assert!(!needs_file_at_hand(&Scene::waiting().job));
    let mut started = claimed.clone();
    let at = printernizer_crds::conditions::SetAt { time: Time(started.now), generation: Some(1) };
    let conditions = &mut started.job.status.as_mut().unwrap().conditions;
    conditions.set(ConditionType::Started, ConditionStatus::True, Reason::PrintSeen, "for the test", &at);
    assert!(!needs_file_at_hand(&started.job));
    let mut over = claimed;
    let conditions = &mut over.job.status.as_mut().unwrap().conditions;
    conditions.set(ConditionType::Failed, ConditionStatus::True, Reason::Cancelled, "for the test", &at);
    assert!(!needs_file_at_hand(&over.job));
}

#[test]
fn a_file_on_the_device_ends_as_its_format_says() {
    for (format, ending) in [("BinaryGcode", ".bgcode"), ("Gcode3mf", ".gcode.3mf"), ("Gcode", "-1.gcode")] {
        let mut s = Scene::claimed();
        s.job.status.as_mut().unwrap().file.as_mut().unwrap().format = format.into();
        s.run_job();
        let name = s.job_status().upload.unwrap().remote_name;
        assert!(name.ends_with(ending), "{format}: {name}");
    }
}

#[test]
fn a_claim_that_does_not_fit_any_more_is_void_with_the_attempt_it_was_made_for() {
    for unfit in ["mapping", "serial number"] {
        let mut s = Scene::waiting();
        s.claim();
        s.printer.status.as_mut().unwrap().current_job.as_mut().unwrap().attempt = 4;
        match unfit {
            "mapping" => s.mapping = Err("the filament has changed".into()),
            _ => s.printer.status.as_mut().unwrap().device.as_mut().unwrap().serial_number = None,
        }
        let before = s.job_status();
        s.run_job();
        let status = s.job_status();
        assert_eq!((status.attempt, status.printer), (5, None), "{unfit}: that attempt's name is not used");
        assert_eq!(status.queued_time, before.queued_time, "{unfit}: everything else stays");
        assert!(status.file.is_some());
    }
}

#[test]
fn a_recreated_printer_takes_over_a_print_only_if_it_is_the_same_machine_and_holds_the_job() {
    let moved = |same_machine: bool, holds: bool| {
        let mut s = Scene::printing();
        s.printer.metadata.uid = Some("the-uid-of-the-new-object".into());
        // It is looked at because it holds the job, or because the job names it.
        if !holds {
            s.printer.status.as_mut().unwrap().current_job = None;
            s.job.status.as_mut().unwrap().printer.as_mut().unwrap().uid = "the-uid-of-the-new-object".into();
        }
        if !same_machine {
            let device = s.printer.status.as_mut().unwrap().device.as_mut().unwrap();
            device.serial_number = Some("another".into());
        }
        s.printer.status.as_mut().unwrap().last_start = None;
        s.run_job();
        let asked = s.is(ConditionType::OutcomeUnknown);
        (s.job_status().printer.unwrap().uid == "the-uid-of-the-new-object" && !asked, asked)
    };
    assert_eq!(moved(true, true), (true, false));
    assert_eq!(moved(false, true), (false, true), "another machine does not print it");
    assert_eq!(moved(true, false), (false, true), "the Printer has forgotten the job");
}

#[test]
fn a_job_whose_printer_was_given_back_takes_the_verdict_of_its_own_start_alone() {
    let given_back = |token: Option<&str>, verdict: Option<StartVerdict>| {
        let mut s = Scene::intended();
        let status = s.printer.status.as_mut().unwrap();
        status.current_job = None;
        let last = status.last_start.as_mut().unwrap();
        last.verdict = verdict;
        if let Some(token) = token {
            last.token = token.into();
        }
        s.run_job();
        s
    };
    assert!(given_back(None, Some(StartVerdict::Succeeded)).is(ConditionType::Complete));
    let another = given_back(Some("of-another-job"), Some(StartVerdict::Succeeded));
    assert!(!another.is(ConditionType::Complete) && another.is(ConditionType::OutcomeUnknown));
    let open = given_back(None, None);
    assert!(open.is(ConditionType::OutcomeUnknown), "nothing is known of it");
}

#[test]
fn an_upload_of_another_attempt_is_not_taken_for_this_ones() {
    let mut s = Scene::claimed();
    let other = Upload { token: "of-another-attempt".into(), remote_name: "x.bgcode".into(), ..Upload::default() };
    s.job.status.as_mut().unwrap().upload = Some(other);
    s.upload = UploadView::Done;
    s.run_job();
    let upload = s.job_status().upload.unwrap();
    assert_eq!((upload.token, upload.size_verified), (s.token().to_string(), false));
}

#[test]
fn a_printer_that_is_ready_and_takes_the_file_is_not_given_back_however_long_it_takes() {
    let mut s = Scene::claimed();
    s.run_job();
    s.upload = UploadView::Running { percent: 10 };
    s.run_printer();
    assert!(s.printer_is(ConditionType::Ready));
    let limit = s.timing.unready_limit.as_secs();
    let slow = s.clone().after(limit + 1);
    let stays = |s: &Scene| !s.job_plan().commands().contains(&s.delete());
    assert!(stays(&slow), "a slow upload is no reason");
    // Not ready since a moment ago, and claimed long before that: the moment counts.
    let mut fresh = slow.clone();
    fresh.set_printer(ConditionType::Ready, ConditionStatus::False, Reason::PrinterUnreachable);
    assert!(stays(&fresh));
    fresh.pass(limit);
    assert!(!stays(&fresh));
    // Ready, and its upload has failed all the while.
    let mut failing = slow.clone();
    failing.upload = UploadView::Failed { message: "disk full".into() };
    assert!(!stays(&failing));
    // Ready as it is written, and nobody has a session with it.
    let mut alone = slow;
    alone.session_gone = true;
    assert!(alone.job_plan().job().is_some_and(|j| j.printer.is_none()));
}

#[test]
fn a_start_that_only_the_printer_remembers_is_followed_and_not_made_again() {
    // What the job says of its own start was lost, as after a restore of an older state.
    let mut s = Scene::intended();
    let status = s.job.status.as_mut().unwrap();
    status.start = None;
    assert_eq!(s.run_job(), [], "nothing is sent");
    assert!(s.verdict_written().is_none() && s.job_status().printer.is_some());
    // Nor where the job alone knows: of its intent, or that it was seen running.
    let mut intent = Scene::intended();
    intent.printer.status.as_mut().unwrap().last_start = None;
    intent.watch.try_alive = false;
    intent.shows_ours(DeviceState::Idle);
    assert!(!intent.run_job().contains(&DeviceCommand::Start));
    let mut seen = Scene::printing();
    seen.printer.status.as_mut().unwrap().last_start = None;
    seen.job.status.as_mut().unwrap().start = None;
    seen.shows_ours(DeviceState::Idle);
    assert!(!seen.run_job().contains(&DeviceCommand::Start));
}

#[test]
fn a_job_that_waits_is_told_why_its_last_attempt_came_to_nothing_and_not_an_earlier_one() {
    let waits = |attempt: i32, outcome: Outcome| {
        let mut s = Scene::waiting();
        let status = s.job.status.as_mut().unwrap();
        status.attempt = 3;
        status.attempts = vec![AttemptRecord {
            attempt,
            printer: "anna".into(),
            start_time: None,
            end_time: None,
            outcome,
            reason: "the printer refused the start".into(),
            grams_estimated: None,
        }];
        s.waiting = Some(Waiting { reason: Reason::BackingOff, message: "later".into() });
        s.run_job();
        s.message(ConditionType::Scheduled)
    };
    assert_eq!(waits(2, Outcome::NotStarted), "later; on anna: the printer refused the start");
    assert_eq!(waits(1, Outcome::NotStarted), "later", "the one between is not recorded");
    assert_eq!(waits(2, Outcome::Failed), "later");
}

#[test]
fn a_deadline_does_not_end_a_job_whose_start_may_have_been_sent() {
    let late = |scene: Scene| {
        let mut s = scene;
        s.job.spec.not_after = Some(Time(s.now));
        s.pass(1);
        s.run_job();
        s
    };
    assert_eq!(late(Scene::waiting()).reason(ConditionType::Failed), "DeadlineExceeded");
    assert!(!late(Scene::intended()).is(ConditionType::Failed));
    let mut started = Scene::printing();
    started.job.status.as_mut().unwrap().start = None;
    assert!(!late(started).is(ConditionType::Failed), "seen running");
}

#[test]
fn a_gate_is_open_on_a_report_that_is_just_young_enough_and_to_the_try_whose_intent_stands() {
    let mut s = Scene::uploaded();
    s.age = s.timing.fresh_report;
    assert_eq!(s.gate(), Ok(()));
    s.age = s.timing.fresh_report + seconds(1);
    assert!(s.gate().is_err());
    // An unresolved start is this try's own only if it is of this attempt and somebody is asking for it.
    let mut s = Scene::uploaded();
    s.write_intent();
    let sender = Some(crate::testing::SENDER);
    assert_eq!(crate::print_job::gate::check(&s.gate_view(sender)), Ok(()));
    s.printer.status.as_mut().unwrap().last_start.as_mut().unwrap().token = "of-another-job".into();
    assert!(crate::print_job::gate::check(&s.gate_view(sender)).is_err());
    let mut unsent = Scene::uploaded();
    unsent.write_intent();
    unsent.job.status.as_mut().unwrap().start = None;
    assert!(unsent.gate().is_err(), "the printer remembers a start of this attempt, and nobody says whose it is");
}
