//! What a job tells people while it waits, prints, is not seen, is deleted or has ended.

use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::print_job::{
    Answer, DesiredState, OutcomeAnswer, Phase, PrinterReference, Progress, Requirements,
};
use printernizer_crds::{ConditionType, Conditions, Reason};

use super::settle;
use crate::device::{Blocker, DeviceProgress, DeviceState, Link};
use crate::plan::{Effect, NO_EFFECT};
use crate::print_job::Waiting;
use crate::print_job::start::SendAnswer;
use crate::testing::{Scene, seconds};

fn message(s: &Scene, type_: ConditionType) -> String {
    s.job_status().conditions.condition(type_).map(|c| c.message.clone()).unwrap_or_default()
}

/// A file that says nothing of the machine it is for.
fn silent_file() -> Scene {
    let mut s = Scene::bare();
    let file = s.file.as_mut().unwrap();
    (file.printer_model, file.nozzle_diameter_micrometers) = (None, None);
    file.filaments.clear();
    s
}

#[test]
fn a_file_that_names_no_machine_is_accepted_only_for_machines_the_job_names() {
    let mut s = silent_file();
    s.run_job();
    assert_eq!(s.reason(ConditionType::Accepted), "MachineUnstated");
    assert_eq!(s.reason(ConditionType::Stalled), "MachineUnstated", "nothing changes without a person");
    assert!(message(&s, ConditionType::Accepted).contains("spec.requirements.models"));
    assert!(s.job_plan().job().is_none(), "told once");
    s.waiting = Some(Waiting { reason: Reason::Queued, message: "waits".into() });
    assert!(s.job_plan().job().is_none());

    let mut named = s.clone();
    named.job.spec.printer_ref = Some(PrinterReference { name: "anna".into() });
    named.job.metadata.generation = Some(2);
    named.run_job();
    assert!(named.is(ConditionType::Accepted));
    let told = message(&named, ConditionType::Accepted);
    assert_eq!(told, "the file names no printer model; printed on anna as the job says");

    let mut asked = s;
    asked.job.spec.requirements = Some(Requirements { models: vec!["COREONE".into()], ..Requirements::default() });
    asked.job.metadata.generation = Some(2);
    asked.run_job();
    assert!(asked.is(ConditionType::Accepted) && message(&asked, ConditionType::Accepted).contains("COREONE"));
    // Whoever takes the name away again gets no print on just any printer.
    asked.job.spec.requirements = None;
    asked.job.metadata.generation = Some(3);
    asked.run_job();
    assert_eq!(asked.reason(ConditionType::Accepted), "MachineUnstated");
}

#[test]
fn the_table_tells_in_words_what_a_job_waits_for_and_why_it_ended() {
    let mut s = Scene::bare();
    s.waiting = Some(Waiting { reason: Reason::NoMatchingPrinter, message: "1 printer: 1 no PETG".into() });
    s.run_job();
    s.run_job();
    let told = |s: &Scene| (s.job_status().waiting_for, s.job_status().message);
    assert_eq!(told(&s), (Some("NoMatchingPrinter".into()), Some("1 printer: 1 no PETG".into())));
    s.job.spec.desired_state = DesiredState::Pause;
    s.run_job();
    let held = "held back: set spec.desiredState to Run to print it";
    assert_eq!(told(&s), (Some("Held".into()), Some(held.into())));
    s.job.spec.desired_state = DesiredState::Cancel;
    s.run_job();
    assert_eq!(told(&s), (None, Some("cancelled before it was given a printer".into())));

    let printing = Scene::printing().job_status();
    assert_eq!((printing.phase, printing.message), (Some(Phase::Printing), None));
}

#[test]
fn a_job_that_is_accepted_no_more_is_not_told_what_it_waited_for_before() {
    let mut s = Scene::bare();
    s.waiting = Some(Waiting { reason: Reason::NoMatchingPrinter, message: "no printer in this namespace".into() });
    s.run_job();
    s.run_job();
    assert_eq!(s.reason(ConditionType::Scheduled), "NoMatchingPrinter");
    // Another source, where nothing is: a new job of that spec would never have asked for a printer.
    s.job.spec.plate = 2;
    s.job.metadata.generation = Some(2);
    s.file_refused = Some(Reason::MissingPlate);
    s.run_job();
    assert_eq!(s.reason(ConditionType::Accepted), "MissingPlate");
    assert!(s.job_status().conditions.condition(ConditionType::Scheduled).is_none());
}

#[test]
fn a_printer_that_is_silent_while_it_prints_is_told_once_and_without_a_time_left() {
    let mut s = Scene::printing();
    s.report.progress = Some(DeviceProgress { percent: 42, remaining_seconds: Some(600), ..DeviceProgress::default() });
    s.pass(60);
    s.run_job();
    let remaining = |s: &Scene| s.job_status().progress.and_then(|p: Progress| p.remaining);
    assert!(remaining(&s).is_some());
    s.silent_for(9);
    assert!(s.job_plan().job().is_none(), "a missed poll is nothing to tell");
    s.silent_for(12);
    let since = s.now.checked_sub(seconds(12)).unwrap();
    s.run_job();
    assert_eq!(s.reason(ConditionType::Started), "PrinterSilent");
    let told = message(&s, ConditionType::Started);
    let expected =
        format!("anna has not answered since {since}; it was last seen at 42 %; the job goes on when it does");
    assert_eq!(told, expected);
    let status = s.job_status();
    assert_eq!((status.phase, status.waiting_for.as_deref()), (Some(Phase::Printing), Some("PrinterSilent")));
    assert_eq!(remaining(&s), None);
    s.pass(5);
    // Reckoned anew, the moment of its last answer may come out otherwise.
    s.silent_for(19);
    assert!(s.job_plan().job().is_none(), "once");
    // A new process has not asked the printer yet: that is no news either.
    s.link = Some(Link::Connecting);
    assert!(s.job_plan().job().is_none());
    s.link = None;
    s.run_job();
    assert_eq!(s.reason(ConditionType::Started), "PrintSeen");
    assert!(remaining(&s).is_some() && s.job_status().waiting_for.is_none());
}

#[test]
fn a_print_that_is_not_shown_any_more_is_watched_until_a_time_that_is_told() {
    let mut s = Scene::printing();
    s.shows_nothing();
    s.watch.live = seconds(60);
    s.run_job();
    let until = s.now.checked_add(seconds(240)).unwrap();
    assert_eq!(s.reason(ConditionType::Started), "NotShown");
    assert!(message(&s, ConditionType::Started).contains(&format!("until {until} at least")), "{s:?}");
    assert_eq!(s.job_status().waiting_for.as_deref(), Some("NotShown"));
    s.pass(2);
    assert!(s.job_plan().job().is_none(), "told once");

    let mut sent = Scene::intended();
    sent.run_job();
    let until = sent.now.checked_add(seconds(300)).unwrap();
    assert_eq!(sent.reason(ConditionType::Started), "StartSent");
    assert!(message(&sent, ConditionType::Started).contains(&format!("until {until} at least")));
    sent.pass(2);
    assert!(sent.job_plan().job().is_none());
}

#[test]
fn a_deleted_job_that_prints_says_how_long_it_stays() {
    let mut s = Scene::printing();
    s.delete_job();
    s.run_job();
    assert_eq!(s.reason(ConditionType::Started), "BeingDeleted");
    assert!(message(&s, ConditionType::Started).contains("kept until the print has ended"));
    assert_eq!(s.job_status().phase, Some(Phase::Printing));
}

/// A start that its printer asks something about.
fn asking() -> Scene {
    let mut s = Scene::intended();
    (s.watch.answer, s.watch.unbroken, s.watch.seen_preview) = (Some(SendAnswer::Accepted), true, true);
    s.shows_ours(DeviceState::Attention);
    s.run_job();
    s
}

#[test]
fn a_start_that_is_given_up_at_the_screen_is_not_called_a_refusal() {
    let mut s = asking();
    assert_eq!(s.reason(ConditionType::Started), "PrinterAsks");
    assert!(message(&s, ConditionType::Started).contains("answer at its screen"));
    assert_eq!(s.job_status().phase, Some(Phase::Starting), "a note goes away by itself");
    s.shows_ours(DeviceState::Idle);
    s.watch.idle_for = Some(seconds(4));
    settle(&mut s);
    assert_eq!(s.reason(ConditionType::Trusted), "StartAborted");
    assert_eq!(s.job_status().attempts[0].reason, "the start was given up at the printer's screen");
    assert!(message(&s, ConditionType::Scheduled).contains("given up at the printer's screen"));
    let id = s.printer_status().distrust.unwrap().id;
    s.printer.spec.acknowledged = Some(id);
    s.run_printer();
    assert!(s.printer_is(ConditionType::Trusted));
}

#[test]
fn a_refusal_for_want_of_developer_mode_tells_the_refused_job_what_to_switch_on() {
    let mut s = Scene::intended();
    (s.watch.answer, s.watch.unbroken) = (Some(SendAnswer::Refused("no".into())), true);
    s.watch.quiet = s.timing.refusal_quiet;
    s.report.control_allowed = Some(false);
    let mut other = s.clone();
    settle(&mut s);
    assert_eq!((s.job_status().attempt, s.reason(ConditionType::Scheduled).as_str()), (2, "ClaimReleased"));
    for told in [message(&s, ConditionType::Scheduled), s.job_status().attempts[0].reason.clone()] {
        assert!(told.contains("refused the start") && told.contains("switch on Developer Mode"), "{told}");
    }
    assert!(s.job_status().message.unwrap().starts_with("gave anna back: "), "which printer");
    // While it pauses, it says so on.
    s.waiting = Some(Waiting { reason: Reason::BackingOff, message: "later".into() });
    s.run_job();
    let told = message(&s, ConditionType::Scheduled);
    assert!(told.starts_with("later; on anna: ") && told.contains("Developer Mode"), "{told}");
    // Another refusal says nothing of it.
    other.report.control_allowed = None;
    settle(&mut other);
    assert_eq!(other.job_status().attempts[0].reason, "the printer refused the start");
}

#[test]
fn a_question_about_a_start_on_a_printer_that_lets_nobody_control_it_says_what_to_switch_on() {
    let mut s = Scene::intended();
    s.report.control_allowed = Some(false);
    let mut s = s.watched_in_vain();
    s.run_job();
    let told = message(&s, ConditionType::OutcomeUnknown);
    assert!(told.contains("spec.outcome") && told.contains("switch on Developer Mode"), "{told}");
    assert!(!message(&Scene::asked(), ConditionType::OutcomeUnknown).contains("Developer Mode"));
}

#[test]
fn a_printer_that_offers_to_resume_after_a_power_cut_calls_a_person_at_once() {
    let mut s = Scene::printing();
    s.shows_nothing();
    s.report.blockers = vec![Blocker::UnfinishedPrint];
    s.run_job();
    let status = s.job_status();
    assert_eq!((s.reason(ConditionType::Started).as_str(), status.phase), ("Attention", Some(Phase::AttentionNeeded)));
    let told = status.message.unwrap();
    assert!(told.contains("offers to resume") && told.contains("decide at its screen"), "{told}");
    s.pass(2);
    assert!(s.job_plan().job().is_none(), "told once");
    let mut asked = s.clone().watched_in_vain();
    asked.run_job();
    let told = message(&asked, ConditionType::OutcomeUnknown);
    assert!(told.contains("Decide at its screen first"), "{told}");
    // Whoever says no there is told what is watched for.
    s.report.blockers.clear();
    s.run_job();
    assert_eq!((s.reason(ConditionType::Started).as_str(), s.job_status().phase), ("NotShown", Some(Phase::Printing)));
}

#[test]
fn a_print_that_goes_on_after_a_power_cut_says_what_the_printer_has_forgotten_and_what_that_means() {
    let mut s = Scene::printing();
    s.report.identity = DeviceIdentity { file: Some(s.remote_name()), ..DeviceIdentity::default() };
    s.shows(DeviceState::Printing);
    s.run_job();
    let told = message(&s, ConditionType::Started);
    assert!(told.contains("after a restart") && told.contains("at its end you are asked"), "{told}");
    assert_eq!(s.job_status().phase, Some(Phase::Printing));
    assert!(s.job_plan().job().is_none(), "told once");
    // Nothing is sent to a print that is not surely ours, so nothing else is promised.
    for (desired, advice) in [(DesiredState::Pause, "pause it at"), (DesiredState::Cancel, "stop it at")] {
        let mut s = s.clone();
        s.job.spec.desired_state = desired;
        assert_eq!(s.run_job(), []);
        assert!(message(&s, ConditionType::Started).contains(advice), "{desired:?}");
    }
    s.shows(DeviceState::Finished);
    s.report.identity = DeviceIdentity::default();
    let mut s = s.watched_in_vain();
    s.run_job();
    let told = message(&s, ConditionType::OutcomeUnknown);
    assert!(told.contains("does not say any more which print it shows the end of"), "{told}");
}

#[test]
fn an_answer_that_comes_after_the_one_that_was_acted_on_is_told_to_have_no_effect() {
    let mut s = Scene::asked();
    s.answer(Answer::Succeeded);
    let first = s.job.spec.outcome.clone();
    settle(&mut s);
    assert_eq!((s.job_status().phase, s.job_status().answered), (Some(Phase::Succeeded), first.clone()));
    let counts = message(&s, ConditionType::OutcomeUnknown);
    assert!(counts.contains("answered Succeeded") && !counts.contains(NO_EFFECT), "{counts}");
    let asked = first.clone().unwrap().question_id;
    s.job.spec.outcome = Some(OutcomeAnswer { question_id: asked.clone(), answer: Answer::Failed });
    s.run_job();
    let told = message(&s, ConditionType::OutcomeUnknown);
    assert!(told.starts_with(&counts) && told.contains(NO_EFFECT), "what counts: {told}");
    assert!(told.contains(&format!("spec.outcome is Failed to question {asked}")), "{told}");
    assert_eq!(s.job_status().phase, Some(Phase::Succeeded), "terminal is final");
    assert!(s.job_plan().job().is_none(), "told once");
    s.job.spec.outcome = first;
    s.run_job();
    assert_eq!(message(&s, ConditionType::OutcomeUnknown), counts, "what is taken back is not held against anybody");
}

#[test]
fn an_answer_that_is_changed_between_the_two_halves_of_its_verdict_is_not_called_the_one_that_counted() {
    let mut s = Scene::asked();
    s.answer(Answer::Failed);
    let plan = s.job_plan();
    // The Printer has its half; then the process ends, and the person changes his mind.
    let printer = plan.effects.iter().find(|e| matches!(e, Effect::WritePrinter(_))).unwrap();
    s.apply_one(printer);
    s.answer(Answer::Succeeded);
    settle(&mut s);
    assert_eq!(s.job_status().phase, Some(Phase::Failed), "the first one was acted on");
    let told = message(&s, ConditionType::OutcomeUnknown);
    assert!(told.contains("spec.outcome is Succeeded") && told.contains(NO_EFFECT), "{told}");
    assert_eq!(s.job_status().answered, None);
}

#[test]
fn an_answer_about_a_print_that_is_seen_after_all_is_told_to_have_no_effect() {
    let mut s = Scene::asked();
    s.answer(Answer::NotPrinted);
    s.shows_ours(DeviceState::Printing);
    s.watch.seen_active = true;
    s.run_job();
    assert_eq!(s.reason(ConditionType::OutcomeUnknown), "OutcomeKnown");
    let told = message(&s, ConditionType::OutcomeUnknown);
    assert!(told.contains("spec.outcome is NotPrinted") && told.contains(NO_EFFECT), "{told}");
}

#[test]
fn an_answer_to_another_question_is_told_to_have_no_effect() {
    let mut s = Scene::asked();
    assert!(!message(&s, ConditionType::OutcomeUnknown).contains(NO_EFFECT));
    s.job.spec.outcome = Some(OutcomeAnswer { question_id: "deadbeef".into(), answer: Answer::Succeeded });
    s.run_job();
    let told = message(&s, ConditionType::OutcomeUnknown);
    assert!(told.contains("spec.outcome.questionID is deadbeef") && told.contains(NO_EFFECT), "{told}");
    assert!(told.contains(&s.job_status().question.unwrap().id));
    assert!(s.job_plan().effects.is_empty(), "told once");
}

#[test]
fn who_saw_it_printing_is_not_asked_whether_it_was_printed() {
    assert!(message(&Scene::asked(), ConditionType::OutcomeUnknown).contains("NotPrinted"));
    let mut s = Scene::printing();
    s.shows_nothing();
    let mut s = s.watched_in_vain();
    s.run_job();
    let told = message(&s, ConditionType::OutcomeUnknown);
    assert!(told.contains("answer: Succeeded | Failed}") && !told.contains("NotPrinted"), "{told}");
    s.answer(Answer::NotPrinted);
    s.run_job();
    let told = message(&s, ConditionType::OutcomeUnknown);
    assert!(told.contains("spec.outcome.answer is NotPrinted, which is not one of these"), "{told}");
    assert!(told.contains(NO_EFFECT) && s.verdict_written().is_none(), "it would be printed a second time: {told}");
    assert!(s.job_plan().effects.is_empty(), "told once");
    s.answer(Answer::Failed);
    settle(&mut s);
    assert_eq!(s.reason(ConditionType::Failed), "PrintFailed");
}

#[test]
fn what_has_ended_says_nothing_of_how_it_went_on() {
    let mut held = Scene::waiting();
    held.job.spec.desired_state = DesiredState::Pause;
    held.run_job();
    assert_eq!(held.reason(ConditionType::Scheduled), "Held");
    held.job.spec.desired_state = DesiredState::Cancel;
    held.run_job();
    assert_eq!(held.job_status().phase, Some(Phase::Cancelled));
    assert_eq!(held.reason(ConditionType::Scheduled), "Cancelled");
    assert_eq!(message(&held, ConditionType::Scheduled), "ended before it was given a printer");

    let mut s = Scene::printing();
    s.job.spec.desired_state = DesiredState::Cancel;
    s.run_job();
    assert_eq!(message(&s, ConditionType::Started), "stopping");
    s.shows_ours(DeviceState::Stopped);
    settle(&mut s);
    assert_eq!(s.job_status().phase, Some(Phase::Cancelled));
    assert_eq!(message(&s, ConditionType::Started), "the print has ended");
    assert!(s.is(ConditionType::Started), "it did start");
}
