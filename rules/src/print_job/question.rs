//! What a person is asked where nothing is proven, which answers count, and what is said of those that do not.
//!
//! An answer counts for the open question alone, and while the device shows what it was asked about. It is acted on once:
//! what is written into the spec later is told to have no effect.

use std::fmt::Write as _;
use std::time::Duration;

use printernizer_crds::print_job::{Answer, Question};
use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, PrintJobStatus, Reason};

use super::decide::{REST, write_if_changed};
use super::start::still_shows;
use super::{Observed, leave};
use crate::device::{Blocker, DeviceReport, DeviceState, Link};
use crate::plan::{NO_EFFECT, Plan, without_effect};
use crate::printer::DEVELOPER_MODE;

/// A person's answer, if it is to the open question and a fresh report still shows what was asked about.
pub(super) fn answer(seen: &Observed<'_>, old: &PrintJobStatus, link: &Link) -> Option<Answer> {
    let question = old.question.as_ref()?;
    let given = answer_of_person(seen, old)?;
    let report = link.report_within(seen.timing.fresh_report)?;
    still_shows(&question.shown, report).then_some(given)
}

/// How long to rest with this status: a fresh report is no news by itself, and an answer may be waiting for one.
pub(super) fn rest(seen: &Observed<'_>, status: &PrintJobStatus, otherwise: Duration) -> Duration {
    let live = matches!(seen.shown_on.or(seen.session.as_ref().map(|s| s.link)), Some(Link::Live { .. }));
    if live && answer_of_person(seen, status).is_some() { seen.timing.poll_period } else { otherwise }
}

/// Nothing is proven: a person must say what became of the print. `new` is the status with what else is new in it.
pub(super) fn ask(
    seen: &Observed<'_>,
    old: &PrintJobStatus,
    mut new: PrintJobStatus,
    report: Option<&DeviceReport>,
    reason: Reason,
) -> Plan {
    let shown = report.map(DeviceReport::shown).unwrap_or_default();
    let open = old.question.as_ref().filter(|q| q.shown == shown && q.reason == reason.as_str());
    let id = open.map_or_else(|| seen.fresh_id.to_owned(), |q| q.id.clone());
    new.question = Some(Question { id: id.clone(), reason: reason.as_str().to_owned(), shown });
    let what = match reason {
        Reason::NoSignOfStart => "the start was sent or may have been, and the printer shows no sign of it",
        Reason::ForeignPrint => "another print runs on the printer",
        Reason::IdentityErased if report.is_some_and(offers_to_resume) => {
            "the printer was restarted and offers to resume an unfinished print. Decide at its screen first: if it \
             prints on, so does this job, and this question is over"
        }
        Reason::IdentityErased if report.is_some_and(|r| r.state != DeviceState::Idle) => {
            "the printer was restarted, and does not say any more which print it shows the end of"
        }
        Reason::IdentityErased => "the printer was restarted and has forgotten what it was doing",
        Reason::NoRecordOfUpload if report.is_some() => {
            "a printer shows this job's file, but this cluster has no record of sending it"
        }
        Reason::NoRecordOfUpload => {
            "a printer has shown this job's file, of which this cluster has no record, and does not show it now"
        }
        Reason::PrinterGone => "the Printer object is gone",
        _ => "the end of the print was not seen",
    };
    // Whoever has seen it printing is not asked whether it was printed at all.
    let answers = match &new.start_time {
        Some(_) => "Succeeded | Failed}",
        None => "Succeeded | Failed | NotPrinted}; NotPrinted prints the job again",
    };
    let mut text =
        format!("{what}. Look at the printer, then set spec.outcome to {{questionID: {id}, answer: {answers}");
    match seen.job.spec.outcome.as_ref() {
        Some(given) if given.question_id != id => {
            text += &without_effect("spec.outcome.questionID", &given.question_id, "the id of this question");
        }
        Some(given) if given.answer == Answer::NotPrinted && new.start_time.is_some() => {
            text +=
                &without_effect("spec.outcome.answer", "NotPrinted", "one of these, for the print was seen running,");
        }
        _ => {}
    }
    if reason == Reason::NoSignOfStart && report.is_some_and(|r| r.control_allowed == Some(false)) {
        let refuses = "The printer refuses to be controlled over the network: before the next start";
        let _ = write!(text, ". {refuses} {DEVELOPER_MODE}");
    }
    text += &leave::kept_words(seen);
    seen.set(&mut new, ConditionType::OutcomeUnknown, ConditionStatus::True, reason, text);
    let rest = rest(seen, &new, REST);
    leave::or_let_go(seen, write_if_changed(old, new).again(rest))
}

/// Whether the device asks at its screen whether to go on with a print that was cut off.
pub(super) fn offers_to_resume(report: &DeviceReport) -> bool {
    report.blockers.contains(&Blocker::UnfinishedPrint)
}

/// A person's answer to the open question. Of a print that was seen running nobody can say that it was not printed: it
/// would be printed a second time.
pub(super) fn answer_of_person(seen: &Observed<'_>, old: &PrintJobStatus) -> Option<Answer> {
    let question = old.question.as_ref()?;
    let given = seen.job.spec.outcome.as_ref().filter(|o| o.question_id == question.id)?;
    (given.answer != Answer::NotPrinted || old.start_time.is_none()).then_some(given.answer)
}

/// Nothing is asked any more: an answer was given, or the device has shown what became of the print.
pub(super) fn close(seen: &Observed<'_>, new: &mut PrintJobStatus) {
    let reason = if is_answered(new) { Reason::AnsweredByPerson } else { Reason::OutcomeKnown };
    new.question = None;
    if new.conditions.is_true(ConditionType::OutcomeUnknown) {
        let text = words_on_answer(seen, new, reason);
        seen.set(new, ConditionType::OutcomeUnknown, ConditionStatus::False, reason, text);
    }
}

/// The status with the answer this verdict was made of, if it was a person's. By now another answer may be written: that is
/// not the one that was acted on.
pub(super) fn with_answer(seen: &Observed<'_>, old: &PrintJobStatus, verdict: StartVerdict) -> PrintJobStatus {
    let acted = answer_of_person(seen, old).is_some_and(|given| verdict_of(given) == verdict);
    let answered = if acted { seen.job.spec.outcome.clone() } else { old.answered.clone() };
    PrintJobStatus { answered, ..old.clone() }
}

/// Whether the open question has the answer that is acted on.
pub(super) fn is_answered(status: &PrintJobStatus) -> bool {
    matches!((&status.question, &status.answered), (Some(asked), Some(given)) if asked.id == given.question_id)
}

/// The verdict a person's answer makes.
pub(super) fn verdict_of(answer: Answer) -> StartVerdict {
    match answer {
        Answer::Succeeded => StartVerdict::Succeeded,
        Answer::Failed => StartVerdict::Failed,
        Answer::NotPrinted => StartVerdict::NotPrinted,
    }
}

/// What is said where nothing is asked any more: which answer counts, and that another one changes nothing.
fn words_on_answer(seen: &Observed<'_>, status: &PrintJobStatus, reason: Reason) -> String {
    let counts = status.answered.as_ref().filter(|_| reason == Reason::AnsweredByPerson);
    let mut text = match counts {
        Some(given) => format!("a person answered {:?} to question {}", given.answer, given.question_id),
        None => "it is known what became of the print".to_owned(),
    };
    if let Some(written) = seen.job.spec.outcome.as_ref().filter(|w| status.answered.as_ref() != Some(*w)) {
        let why = if counts.is_some() { "the answer that was acted on counts" } else { "nothing is asked any more" };
        let _ = write!(
            text,
            ". spec.outcome is {:?} to question {} now, which {NO_EFFECT}: {why}",
            written.answer, written.question_id
        );
    }
    text
}

/// Says what came of another answer than the one that was acted on; `None` where nothing new is to be said.
pub(super) fn tell_late(seen: &Observed<'_>, old: &PrintJobStatus) -> Option<Plan> {
    let told = old.conditions.condition(ConditionType::OutcomeUnknown).filter(|c| c.status == "False")?;
    let reason = [Reason::AnsweredByPerson, Reason::OutcomeKnown].into_iter().find(|r| r.as_str() == told.reason)?;
    let text = words_on_answer(seen, old, reason);
    if told.message == text {
        return None;
    }
    let mut new = old.clone();
    seen.set(&mut new, ConditionType::OutcomeUnknown, ConditionStatus::False, reason, text);
    Some(write_if_changed(old, new).again(Duration::ZERO))
}
