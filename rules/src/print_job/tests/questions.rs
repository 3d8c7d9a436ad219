//! Questions to a person: when they are asked, which answers count, what follows from them.

use printernizer_crds::print_job::{Answer, OutcomeAnswer};
use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionType, Conditions as _, Reason};

use super::settle;
use crate::device::DeviceState;
use crate::print_job::{UploadView, Waiting};
use crate::testing::{Scene, seconds};

#[test]
fn a_question_says_how_to_answer_and_keeps_its_id_while_the_device_shows_the_same() {
    let mut s = Scene::asked();
    let first = s.job_status().question.unwrap();
    s.run_job();
    assert_eq!(s.job_status().question.as_ref(), Some(&first));
    s.shows_foreign(DeviceState::Printing);
    s.run_job();
    assert_ne!(s.job_status().question.unwrap().id, first.id);
}

#[test]
fn an_answer_counts_only_for_the_open_question_and_while_the_device_shows_what_was_asked_about() {
    let asked = Scene::asked();
    let mut wrong = asked.clone();
    wrong.job.spec.outcome = Some(OutcomeAnswer { question_id: "another".into(), answer: Answer::Succeeded });
    wrong.run_job();
    assert!(wrong.is(ConditionType::OutcomeUnknown));
    let mut stale = asked.clone();
    stale.answer(Answer::Succeeded);
    stale.shows_foreign(DeviceState::Idle);
    stale.run_job();
    stale.run_job();
    assert!(stale.is(ConditionType::OutcomeUnknown), "a new question, and the old answer is not to it");
    let mut silent = asked.clone();
    silent.answer(Answer::Succeeded);
    silent.silent_for(10);
    silent.run_job();
    assert!(silent.is(ConditionType::OutcomeUnknown));
    let mut s = asked;
    s.answer(Answer::Succeeded);
    settle(&mut s);
    assert_eq!(s.reason(ConditionType::Complete), "PrintSucceeded");
    assert_eq!(s.reason(ConditionType::OutcomeUnknown), "AnsweredByPerson");
    assert!(!s.printer_is(ConditionType::BedCleared), "after every answer the bed is occupied");
    assert_eq!(s.verdict_written(), Some(StartVerdict::Succeeded));
}

#[test]
fn an_answer_waits_for_a_fresh_report_and_not_for_long() {
    let mut forgotten = forgotten();
    forgotten.answer(Answer::Succeeded);
    let mut asked = Scene::asked();
    asked.answer(Answer::Succeeded);
    for mut s in [Box::new(asked), Box::new(forgotten)] {
        let question = s.job_status().question;
        for too_old in [6, 10, 11] {
            s.age = seconds(too_old);
            let soon = s.job_plan().look_again;
            assert!(soon.is_some_and(|after| after <= s.timing.poll_period), "{too_old} s: {soon:?}");
            s.run_job();
            assert_eq!(s.job_status().question, question, "{too_old} s: it may show something else by now");
        }
        s.age = s.timing.fresh_report;
        settle(&mut s);
        assert_eq!(s.reason(ConditionType::Complete), "PrintSucceeded");
    }
}

#[test]
fn not_printed_deletes_the_file_and_lets_the_next_attempt_start() {
    let mut s = Scene::asked();
    s.answer(Answer::NotPrinted);
    let old_file = s.delete();
    assert!(s.run_job().contains(&old_file));
    s.file_deleted = true;
    settle(&mut s);
    assert_eq!((s.job_status().attempt, s.job_status().printer), (2, None));
    assert!(!s.is(ConditionType::OutcomeUnknown), "otherwise the gate stays closed for ever");
    s.clear_bed();
    s.run_printer();
    s.claim();
    (s.file_deleted, s.watch) = (false, crate::print_job::Watch::default());
    s.run_job();
    s.run_job();
    s.upload = UploadView::Done;
    s.run_job();
    assert_eq!(s.gate(), Ok(()));
}

#[test]
fn the_answer_that_was_acted_on_is_kept_although_another_is_written_while_the_file_is_deleted() {
    let mut s = Scene::asked();
    s.answer(Answer::NotPrinted);
    s.run_job();
    s.run_job();
    s.answer(Answer::Succeeded);
    s.file_deleted = true;
    settle(&mut s);
    let status = s.job_status();
    assert_eq!((status.attempt, status.answered.map(|given| given.answer)), (2, Some(Answer::NotPrinted)));
    let told = s.job.status.as_ref().unwrap().conditions.condition(ConditionType::OutcomeUnknown).unwrap();
    assert!(told.message.contains("NotPrinted") && told.message.contains("no effect"), "{}", told.message);
}

#[test]
fn the_table_keeps_running_while_a_question_is_open() {
    let mut s = Scene::asked();
    s.shows_ours(DeviceState::Printing);
    s.watch.seen_active = true;
    s.run_job();
    assert!(s.is(ConditionType::Started) && !s.is(ConditionType::OutcomeUnknown));
    assert_eq!(s.job_status().question, None);
    let mut s = Scene::asked();
    s.shows_ours(DeviceState::Finished);
    settle(&mut s);
    assert_eq!(s.job_status().attempts[0].reason, "printed", "the device said it, not a person");
}

#[test]
fn an_answer_about_a_printer_that_is_gone_ends_the_job() {
    let mut s = Scene::intended();
    s.printer_gone = true;
    s.run_job();
    assert_eq!(s.reason(ConditionType::OutcomeUnknown), "PrinterGone");
    s.answer(Answer::Failed);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Failed), "PrintFailed");
}

#[test]
fn an_answer_about_a_forgotten_print_ends_a_job_that_waits_for_a_printer() {
    for (answer, reason) in [(Answer::Succeeded, "PrintSucceeded"), (Answer::Failed, "PrintFailed")] {
        let mut s = Scene::waiting();
        s.waiting = Some(Waiting { reason: Reason::Queued, message: "waits".into() });
        s.run_job();
        assert_eq!(s.reason(ConditionType::Scheduled), "Queued");
        s.report.identity = crate::testing::identity("8", &s.remote_name());
        s.shown_on = true;
        s.run_job();
        s.answer(answer);
        s.run_job();
        assert_eq!(s.reason(ConditionType::Scheduled), reason);
    }
}

#[test]
fn a_print_this_cluster_forgot_is_asked_about_and_never_repeated_under_its_name() {
    let mut s = forgotten();
    assert_eq!(s.reason(ConditionType::OutcomeUnknown), "NoRecordOfUpload");
    let mut claimed = s.clone();
    claimed.claim();
    claimed.run_job();
    assert_eq!(claimed.job_status().printer, None, "a job before a person takes no printer");
    s.answer(Answer::NotPrinted);
    s.run_job();
    assert_eq!(s.job_status().attempt, 4);
    assert!(!s.is(ConditionType::OutcomeUnknown));
}

/// A print of a later attempt than any this cluster knows of lies on a device, and a person was asked.
fn forgotten() -> Scene {
    let mut s = Scene::waiting();
    s.report.identity = crate::testing::identity("8", &s.remote_name().replace("-1.bgcode", "-3.bgcode"));
    s.shows(DeviceState::Finished);
    s.shown_on = true;
    s.run_job();
    s
}

#[test]
fn a_question_about_a_forgotten_print_is_asked_anew_when_no_device_shows_it_any_more_and_can_then_be_answered() {
    let mut s = forgotten();
    let first = s.job_status().question.unwrap();
    s.answer(Answer::NotPrinted);
    (s.shown_on, s.report.identity) = (false, crate::testing::identity("9", "vase.gcode"));
    s.run_job();
    assert!(s.is(ConditionType::OutcomeUnknown), "the answer was to what is not shown any more");
    let second = s.job_status().question.unwrap();
    assert_ne!(second.id, first.id);
    assert!(s.job_plan().effects.is_empty(), "asked once");
    let mut comes_back = s.clone();
    comes_back.answer(Answer::NotPrinted);
    s.answer(Answer::NotPrinted);
    s.run_job();
    assert!(!s.is(ConditionType::OutcomeUnknown));
    assert_eq!(s.job_status().attempt, 4, "the name on the device is not used again");
    // Shown again, it is a question of its own again.
    (comes_back.shown_on, comes_back.report) = (true, forgotten().report);
    comes_back.run_job();
    assert!(comes_back.is(ConditionType::OutcomeUnknown));
    assert_ne!(comes_back.job_status().question.unwrap().id, second.id);
}

#[test]
fn a_question_about_a_forgotten_print_waits_while_its_device_is_silent() {
    let mut s = forgotten();
    let first = s.job_status().question;
    s.answer(Answer::Succeeded);
    s.silent_for(60);
    assert!(s.job_plan().effects.is_empty(), "the device may show something else by now");
    assert!(s.job_plan().look_again.is_some());
    s.link = None;
    assert_eq!(s.job_status().question, first);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Complete), "PrintSucceeded");
    // Where nothing is asked yet, a silent device that showed the print keeps the job from being printed elsewhere.
    let mut s = Scene::waiting();
    s.shown_on = true;
    s.silent_for(60);
    s.run_job();
    assert_eq!(s.reason(ConditionType::OutcomeUnknown), "NoRecordOfUpload");
}
