//! A claimed job before its start: upload, release, what was started at the screen, deadlines, records.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::DesiredState;
use printernizer_crds::printer::{LastStart, LeftFile, StartVerdict};
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, Reason};

use super::settle;
use crate::device::DeviceState;
use crate::plan::{DeviceCommand, Effect};
use crate::print_job::gate::Closed;
use crate::print_job::{UploadView, Waiting};
use crate::testing::{JOB_UID, Scene, seconds};

#[test]
fn an_upload_is_recorded_before_its_first_byte_and_only_onto_a_cleared_bed() {
    let s = Scene::claimed();
    let plan = s.job_plan();
    let upload = plan.job().unwrap().upload.clone().unwrap();
    assert_eq!((upload.token, upload.size_verified), (s.token().to_string(), false));
    assert_eq!(upload.device_job_id.as_deref(), Some("7"));
    let send = Effect::Device(DeviceCommand::Upload { remote_name: s.remote_name() });
    assert_eq!(plan.effects.last(), Some(&send));
    assert!(matches!(plan.effects[0], Effect::WriteJob(_)));

    let mut occupied = s.clone();
    occupied.set_printer(ConditionType::BedCleared, ConditionStatus::False, Reason::PartOnBed);
    assert!(occupied.job_plan().effects.is_empty());
    let mut busy = s;
    busy.shows_foreign(DeviceState::Printing);
    assert!(busy.job_plan().effects.is_empty());
    assert!(busy.job_plan().look_again.is_some());
}

#[test]
fn nothing_is_sent_or_written_before_this_process_has_judged_what_the_printer_shows() {
    let begun = || {
        let mut s = Scene::claimed();
        s.run_job();
        s
    };
    let failed = || Scene { upload: UploadView::Failed { message: "cut".into() }, ..begun() };
    let done = || Scene { upload: UploadView::Done, ..begun() };
    let rows: [(&str, &dyn Fn() -> Scene); 5] = [
        ("a claim", &Scene::claimed),
        ("an upload that another process has begun", &begun),
        ("an upload that has failed", &failed),
        ("an upload that is not known to be whole", &done),
        ("a whole file", &Scene::uploaded),
    ];
    for (what, scene) in rows {
        let mut s = scene();
        assert_ne!(s.job_plan().effects, [], "{what}: before");
        s.watched = false;
        assert_eq!(s.job_plan().effects, [], "{what}");
        // The printer's own pass ends that, and wakes the job.
        s.run_printer();
        s.watched = true;
        assert_ne!(s.job_plan().effects, [], "{what}: after");
    }
    // What keeps a claim from its printer goes on counting, and the file is fetched meanwhile.
    let mut away = Scene { watched: false, file: None, fetching: Some(seconds(1)), ..begun() };
    assert_eq!(away.job_plan().effects, [Effect::FetchFile]);
    away.fetching = Some(away.timing.file_patience);
    assert_eq!(away.run_job(), [away.delete()]);
    let mut cancelled = Scene { watched: false, ..begun() };
    cancelled.job.spec.desired_state = DesiredState::Cancel;
    assert_eq!(cancelled.run_job(), [cancelled.delete()]);
}

#[test]
fn a_claim_whose_printer_s_status_cannot_be_stored_says_so_and_leaves_for_another_printer() {
    let scenes: [(fn() -> Scene, Reason); 2] =
        [(Scene::claimed, Reason::UploadPending), (Scene::uploaded, Reason::StartPending)];
    for (scene, reason) in scenes {
        let mut s = scene();
        let (patience, limit) = (s.timing.stale_after, s.timing.unready_limit);
        s.pass(patience.as_secs());
        s.watched = false;
        s.unjudged_for = patience.saturating_sub(seconds(1));
        assert_eq!((s.job_plan().effects, s.job_plan().look_again), (vec![], Some(seconds(1))), "a moment is no news");
        s.unjudged_for = patience;
        assert_eq!(s.run_job(), []);
        let told = s.job_status().conditions.condition(ConditionType::Started).unwrap().clone();
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", reason.as_str()));
        assert!(
            told.message.contains("events of Printer anna") && told.message.contains("printers/status"),
            "{told:?}"
        );
        assert_eq!(s.job_plan().effects, [], "once");
        assert!(s.job_plan().look_again.is_some_and(|again| again <= limit));
        // It counts from the claim, however long the printer was so before.
        s.unjudged_for = limit * 2;
        assert_eq!(s.job_plan().effects, []);
        s.pass(limit.as_secs());
        if s.job_status().upload.is_some() {
            assert_eq!(s.run_job(), [s.delete()]);
            s.file_deleted = true;
        }
        s.run_job();
        let status = s.job_status();
        assert!(status.printer.is_none() && status.attempt == 2, "{status:?}");
        assert!(status.avoid.is_some_and(|a| a.name == "anna") && status.attempts[0].reason.contains("stored"));
    }
}

#[test]
fn of_a_printer_that_is_not_heard_of_a_job_does_not_say_that_it_cannot_be_stored() {
    let mut s = Scene { watched: false, unjudged_for: seconds(60), ..Scene::uploaded() };
    s.pass(60);
    s.silent_for(60);
    assert_eq!(s.job_plan().effects, []);
}

#[test]
fn a_job_does_not_go_on_saying_that_its_printer_cannot_be_stored_when_it_is() {
    let mut s = Scene { watched: false, unjudged_for: seconds(60), ..Scene::claimed() };
    s.pass(60);
    s.run_job();
    (s.watched, s.unjudged_for) = (true, seconds(0));
    s.shows_foreign(DeviceState::Printing);
    s.run_job();
    let told = s.job_status().conditions.condition(ConditionType::Started).unwrap().message.clone();
    assert_eq!(told, "the file is uploaded next");
}

#[test]
fn a_printer_that_shows_no_print_gets_no_file_after_a_change_of_leaders_until_a_person_has_looked() {
    let mut s = Scene::claimed();
    s.shows_nothing();
    s.run_printer();
    assert!(!s.job_plan().effects.is_empty(), "it was watched, so it is clear");
    // Somebody prints and leaves the end screen while nobody leads.
    s.watched = false;
    assert_eq!(s.job_plan().effects, []);
    s.run_printer();
    s.watched = true;
    assert_eq!(s.reason(ConditionType::BedCleared), Reason::Unconfirmed.as_str());
    assert_eq!(s.job_plan().effects, []);
    s.clear_bed();
    s.run_printer();
    assert_eq!(s.run_job(), [DeviceCommand::Upload { remote_name: s.remote_name() }]);
}

#[test]
fn a_start_is_asked_for_only_when_the_whole_file_is_there() {
    let mut s = Scene::claimed();
    s.run_job();
    s.upload = UploadView::Running { percent: 99 };
    assert!(!s.run_job().contains(&DeviceCommand::Start));
    s.upload = UploadView::Failed { message: "cut".into() };
    assert!(!s.run_job().contains(&DeviceCommand::Start));
    s.upload = UploadView::Done;
    s.run_job();
    assert_eq!(s.run_job(), [DeviceCommand::Start]);
}

#[test]
fn every_release_deletes_the_file_first_and_takes_the_next_attempt() {
    let changes: [fn(&mut Scene); 3] = [
        |s| s.closed = Some(Closed::GiveBack("the bed is not clear".into())),
        |s| s.job.spec.desired_state = DesiredState::Pause,
        |s| s.file = None,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut s = Scene::uploaded();
        change(&mut s);
        if n == 2 {
            s.set_printer(ConditionType::Ready, ConditionStatus::False, Reason::Unreachable);
            s.pass(900);
        }
        let before = s.job_status();
        assert_eq!(s.run_job(), [s.delete()], "{n}");
        assert_eq!(s.job_status(), before, "nothing is given back before the file is gone");
        s.file_deleted = true;
        s.run_job();
        assert_eq!((s.job_status().printer, s.job_status().attempt), (None, 2), "{n}");
        s.run_printer();
        assert_eq!(s.printer_status().current_job, None);
    }
}

#[test]
fn a_claim_that_was_given_back_is_not_taken_up_again() {
    let mut s = Scene::uploaded();
    s.closed = Some(Closed::GiveBack("the bed is not clear".into()));
    s.file_deleted = true;
    s.run_job();
    (s.closed, s.file_deleted) = (None, false);
    assert!(s.printer_status().current_job.is_some(), "the printer has not released it yet");
    s.run_job();
    assert_eq!(s.job_status().printer, None);
}

#[test]
fn a_lost_claim_is_unset_with_the_next_attempt_number() {
    let mut s = Scene::uploaded();
    s.printer.status.as_mut().unwrap().current_job = None;
    assert_eq!(s.run_job(), [s.delete()]);
    s.file_deleted = true;
    s.run_job();
    assert_eq!((s.job_status().printer, s.job_status().attempt), (None, 2));
    // A Printer that is gone, or has another UID, cannot be asked to delete anything.
    let mut s = Scene::uploaded();
    s.printer_gone = true;
    s.run_job();
    assert_eq!((s.job_status().printer, s.job_status().attempt), (None, 2));
}

#[test]
fn a_claim_on_a_printer_not_ready_for_15_minutes_is_released_and_not_earlier() {
    let mut s = Scene::claimed();
    s.run_job();
    s.pass(3600);
    s.set_printer(ConditionType::Ready, ConditionStatus::False, Reason::Unreachable);
    s.silent_for(60);
    s.pass(899);
    s.run_job();
    assert!(s.job_status().printer.is_some(), "it was ready until 15 minutes ago");
    s.pass(1);
    s.silent_for(900);
    s.run_job();
    assert_eq!(s.job_status().printer, None);
}

#[test]
fn a_start_that_is_tried_in_vain_for_15_minutes_gives_the_printer_back_and_not_earlier() {
    for closed in [Closed::NotNow("a dialog waits on its screen".into()), Closed::Changed("the printer changed")] {
        let mut s = Scene::uploaded();
        s.closed(closed.clone(), 899);
        assert_eq!(s.run_job(), [DeviceCommand::Start]);
        s.closed(closed.clone(), 900);
        assert_eq!(s.run_job(), [s.delete()], "the file goes first");
        assert!(s.job_status().printer.is_some());
        s.file_deleted = true;
        s.run_job();
        let status = s.job_status();
        assert_eq!((status.printer, status.attempt, status.refusals), (None, 2, 1));
        assert_eq!(s.reason(ConditionType::Scheduled), "ClaimReleased");
        assert_eq!((status.attempts[0].printer.as_str(), status.attempts[0].attempt), ("anna", 1));
        assert!(status.attempts[0].reason.contains(&closed.to_string()), "{}", status.attempts[0].reason);
        let avoid = status.avoid.unwrap();
        assert_eq!((avoid.name.as_str(), avoid.until.0), ("anna", s.now.checked_add(seconds(900)).unwrap()));
        s.run_printer();
        assert_eq!(s.printer_status().current_job, None);
        // The next claim is a new beginning.
        (s.closed, s.closed_for, s.file_deleted) = (None, seconds(0), false);
        s.claim();
        s.run_job();
        assert_eq!((s.job_status().attempt, s.job_status().avoid), (2, None));
    }
}

#[test]
fn what_closes_the_gates_of_all_printers_keeps_a_job_at_its_own() {
    for closed in [Closed::Held, Closed::Everywhere("forbidden".into())] {
        let mut s = Scene::uploaded();
        s.closed(closed.clone(), 36_000);
        assert_eq!(s.run_job(), [DeviceCommand::Start], "{closed}");
        assert!(s.job_status().printer.is_some(), "{closed}");
    }
}

#[test]
fn a_job_that_pauses_after_an_attempt_in_vain_says_why() {
    let mut s = Scene::uploaded();
    s.closed(Closed::NotNow("a dialog waits on its screen".into()), 900);
    s.file_deleted = true;
    s.run_job();
    s.run_printer();
    s.waiting = Some(Waiting { reason: Reason::BackingOff, message: "later".into() });
    s.run_job();
    let message = |s: &Scene| s.job_status().conditions.condition(ConditionType::Scheduled).unwrap().message.clone();
    assert!(message(&s).starts_with("later; on anna: ") && message(&s).contains("a dialog waits"), "{}", message(&s));
    assert!(s.job_plan().effects.is_empty(), "said once");
    s.waiting = Some(Waiting { reason: Reason::Queued, message: "waits".into() });
    s.run_job();
    assert_eq!(message(&s), "waits", "thousands of jobs say the same");
}

#[test]
fn what_earlier_jobs_left_on_the_device_goes_before_the_start() {
    let mut s = Scene::uploaded();
    let mut last = Scene::intended().printer_status().last_start.unwrap();
    (last.token, last.remote_name) = ("1111111111111111-1".into(), "clip-pz-1111111111111111-1.gcode".into());
    let printer = s.printer.status.as_mut().unwrap();
    let left = |name: &str| LeftFile { remote_name: name.into(), ..LeftFile::default() };
    let own = s.job.status.as_ref().unwrap().upload.as_ref().unwrap().remote_name.clone();
    printer.left_files = vec![left("vase-pz-2222222222222222-3.gcode"), left(&own)];
    printer.last_start = Some(last.clone());
    let delete = |name: &str| DeviceCommand::DeleteFile { remote_name: name.into() };
    let files = [delete("vase-pz-2222222222222222-3.gcode"), DeviceCommand::Start];
    assert_eq!(s.run_job(), files, "the start of that one is not resolved, and its own file is needed");
    s.printer.status.as_mut().unwrap().last_start = Some(LastStart { verdict: Some(StartVerdict::Succeeded), ..last });
    let [first, start] = files;
    assert_eq!(s.run_job(), [delete("clip-pz-1111111111111111-1.gcode"), first, start]);
}

#[test]
fn nothing_is_decided_while_a_try_to_start_is_alive() {
    for mut s in [Box::new(Scene::uploaded()), Box::new(Scene::intended().watched_in_vain())] {
        s.watch.try_alive = true;
        s.job.spec.desired_state = DesiredState::Cancel;
        s.closed = Some(Closed::GiveBack("the bed is not clear".into()));
        assert!(s.job_plan().effects.is_empty());
        assert!(s.job_plan().look_again.is_some());
    }
}

#[test]
fn a_file_that_was_deleted_is_not_started() {
    let mut s = Scene::uploaded();
    s.file_deleted = true;
    assert_eq!(s.run_job(), []);
    assert_eq!(s.job_status().attempt, 2);
}

#[test]
fn what_was_started_at_the_screen_uses_the_attempt_whatever_it_shows_now() {
    for state in [DeviceState::Printing, DeviceState::Attention, DeviceState::Finished, DeviceState::Idle] {
        let mut s = Scene::uploaded();
        s.shows_ours(state);
        let plan = s.job_plan();
        assert!(matches!(plan.effects[..], [Effect::WritePrinter(_), Effect::WriteJob(_)]), "{state:?}");
        s.apply(&plan);
        let last = s.printer_status().last_start.unwrap();
        assert_eq!((last.token, last.verdict), (s.token().to_string(), None));
        assert_eq!(s.is(ConditionType::Started), state == DeviceState::Printing);
        assert!(!s.run_job().contains(&DeviceCommand::Start));
    }
}

#[test]
fn a_print_that_runs_is_adopted_even_when_a_backup_forgot_its_upload() {
    let mut s = Scene::claimed();
    s.shows_ours(DeviceState::Printing);
    s.run_job();
    assert!(s.is(ConditionType::Started));
    assert_eq!(s.printer_status().last_start.unwrap().remote_name, s.remote_name());
}

#[test]
fn a_missed_deadline_ends_a_job_that_has_not_started_and_no_other() {
    let expire = |mut s: Scene| {
        s.job.spec.start_deadline_seconds = Some(60);
        s.pass(7200);
        settle(&mut s);
        s.reason(ConditionType::Failed)
    };
    assert_eq!(expire(Scene::waiting()), "DeadlineExceeded");
    assert_eq!(expire(Scene::uploaded()), "DeadlineExceeded");
    assert_eq!(expire(Scene::intended()), "");
    assert_eq!(expire(Scene::printing()), "");
    let mut s = Scene::waiting();
    s.job.spec.not_after = Some(Time(s.now.checked_add(seconds(90)).unwrap()));
    assert_eq!(s.job_plan().look_again, Some(std::time::Duration::from_millis(90_001)));
    s.pass(90);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Failed), "DeadlineExceeded");
}

#[test]
fn only_a_job_that_git_may_create_again_leaves_a_record() {
    let mut s = Scene::uploaded();
    assert_eq!(crate::print_job::gate::record(&s.job, &s.printer, s.now), None);
    // With Argo CD's tracking by label no record was left: the finished job was deleted after 30 days, created again from
    // Git, and printed again.
    for (labels, annotations) in [
        ("app.kubernetes.io/instance", ""),
        ("argocd.argoproj.io/instance", ""),
        ("helm.toolkit.fluxcd.io/name", ""),
        ("kustomize.toolkit.fluxcd.io/name", ""),
        ("", "argocd.argoproj.io/tracking-id"),
        ("", "meta.helm.sh/release-name"),
    ] {
        let marked = |mark: &str| Some([(mark.to_owned(), "x".to_owned())].into());
        (s.job.metadata.labels, s.job.metadata.annotations) = (marked(labels), marked(annotations));
        let record = crate::print_job::gate::record(&s.job, &s.printer, s.now).expect(labels);
        assert_eq!((record.uid.as_str(), record.printed_on), (JOB_UID, s.printer.metadata.name.clone().unwrap()));
    }
}

#[test]
fn a_claim_on_a_machine_that_was_exchanged_is_given_back() {
    let mut s = Scene::claimed();
    s.report.serial_number = Some("10589-9999".into());
    s.run_printer();
    s.run_job();
    let status = s.job_status();
    assert_eq!((status.printer, status.attempt), (None, 2));
    let told = status.conditions.condition(ConditionType::Scheduled).unwrap();
    assert!(told.message.contains("another machine"), "{}", told.message);
}

#[test]
fn a_job_keeps_to_the_file_it_was_accepted_with_until_its_source_is_changed() {
    let mut s = Scene::waiting();
    let read = s.job_status().file.unwrap();
    // A new process that has read nothing yet, and a source nobody can ask.
    s.file = None;
    s.job.spec.priority = 7;
    s.job.metadata.generation = Some(2);
    let plan = s.job_plan();
    assert!(!plan.effects.contains(&Effect::FetchFile), "{plan:?}");
    s.run_job();
    let status = s.job_status();
    let accepted = status.conditions.condition(ConditionType::Accepted).unwrap();
    assert_eq!((accepted.status.as_str(), accepted.observed_generation), ("True", Some(2)));
    assert_eq!(status.file.as_ref(), Some(&read));

    let changes: [fn(&mut Scene); 3] = [
        |s| s.job.spec.source.config_map.get_or_insert_default().key = "another".into(),
        |s| s.job.spec.sha256 = Some("1".repeat(64)),
        |s| s.job.spec.plate = 2,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut s = s.clone();
        change(&mut s);
        s.job.metadata.generation = Some(3);
        assert!(s.job_plan().effects.contains(&Effect::FetchFile), "{n}");
        s.run_job();
        assert!(s.job_status().conditions.is_false(ConditionType::Accepted), "{n}");
    }
}
