//! What a person is asked, word by word, and how soon the question is looked at again.

use printernizer_crds::print_job::Answer;
use printernizer_crds::{ConditionType, Conditions as _};

use crate::device::DeviceState;
use crate::plan::NO_EFFECT;
use crate::testing::{Scene, identity, seconds};

/// What is asked once this scene is decided.
fn asked(mut s: Scene) -> String {
    s.run_job();
    let status = s.job_status();
    let asked = status.conditions.condition(ConditionType::OutcomeUnknown).filter(|c| c.status == "True");
    asked.unwrap_or_else(|| panic!("nothing is asked: {:?}", status.message)).message.clone()
}

/// A device shows our file, and nothing is recorded of it.
fn forgotten() -> Scene {
    let mut s = Scene::waiting();
    s.report.identity = identity("8", &s.remote_name());
    s.shows(DeviceState::Finished);
    s.shown_on = true;
    s
}

#[test]
fn each_question_says_what_is_known() {
    let no_sign = Scene::intended().watched_in_vain();
    let mut foreign = Scene::intended().watched_in_vain();
    foreign.shows_foreign(DeviceState::Printing);
    let mut erased = Scene::printing().watched_in_vain();
    erased.shows_nothing();
    let mut silent = forgotten();
    silent.silent_for(60);
    let mut gone = Scene::intended();
    gone.printer_gone = true;
    let mut not_seen = Scene::printing().watched_in_vain();
    not_seen.shows_ours(DeviceState::Idle);
    let asked_of = vec![
        (no_sign, "the start was sent or may have been, and the printer shows no sign of it. "),
        (foreign, "another print runs on the printer. "),
        (erased, "the printer was restarted and has forgotten what it was doing. "),
        (forgotten(), "a printer shows this job's file, but this cluster has no record of sending it. "),
        (
            silent,
            "a printer has shown this job's file, of which this cluster has no record, and does not show it now. ",
        ),
        (gone, "the Printer object is gone. "),
        (not_seen, "the end of the print was not seen. "),
    ];
    for (scene, says) in asked_of {
        let asked = asked(scene);
        assert!(asked.starts_with(says), "{asked}");
        assert!(asked.contains("set spec.outcome to {questionID: id-"), "{asked}");
    }
}

#[test]
fn an_answer_that_waits_for_a_fresh_report_is_not_told_to_have_no_effect() {
    for answer in [Answer::Succeeded, Answer::NotPrinted] {
        let mut s = Scene::asked();
        s.answer(answer);
        s.age = seconds(6);
        assert!(!asked(s).contains(NO_EFFECT), "{answer:?}");
    }
    // Of a print that was seen running nobody can say that it was not printed; that it succeeded, anybody.
    let mut seen = Scene::printing().watched_in_vain();
    seen.shows_nothing();
    seen.run_job();
    for (answer, without_effect) in [(Answer::Succeeded, false), (Answer::NotPrinted, true)] {
        let mut s = seen.clone();
        s.answer(answer);
        s.age = seconds(6);
        assert_eq!(asked(s).contains(NO_EFFECT), without_effect, "{answer:?}");
    }
}

#[test]
fn a_question_is_looked_at_again_soon_only_while_its_answer_waits_for_a_report() {
    let open = Scene::asked();
    assert_eq!(open.job_plan().look_again, Some(seconds(300)), "nothing but an answer or a report changes it");
    let mut silent = open.clone();
    silent.silent_for(60);
    assert_eq!(silent.job_plan().look_again, Some(seconds(60)));
    silent.answer(Answer::Succeeded);
    assert_eq!(silent.job_plan().look_again, Some(seconds(60)), "its report is not a moment away");
    let mut answered = open;
    answered.answer(Answer::Succeeded);
    answered.age = seconds(6);
    assert_eq!(answered.job_plan().look_again, Some(answered.timing.poll_period));
}
