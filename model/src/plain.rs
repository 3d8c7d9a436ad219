//! Statuses without what is only said to people: texts, reasons that no rule reads, what a machine shows, when an
//! attempt of the list began and ended, and how far a print is. No rule decides by any of it, so states that differ in nothing else are one state.
//!
//! A write that would only say something new is not made. What it does otherwise is to turn a pass away that is half-way,
//! and that pass may as well never have been begun.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use printernizer_crds::{ConditionType, PrintJobStatus, PrinterStatus};
use printernizer_rules::print_job::gate::Closed;
use printernizer_rules::print_job::start::SendAnswer;

use crate::kept::Kept;

/// A job's status.
pub fn job(mut status: PrintJobStatus) -> Kept<PrintJobStatus> {
    (status.message, status.phase, status.waiting_for, status.progress) = (None, None, None, None);
    // How often it was refused says how long it pauses; whether it pauses stands beside it.
    status.refusals = 0;
    for attempt in &mut status.attempts {
        attempt.reason.clear();
        (attempt.start_time, attempt.end_time) = (None, None);
    }
    let derived = [ConditionType::Stalled, ConditionType::Reconciling].map(ConditionType::as_str);
    status.conditions.retain(|c| !derived.contains(&c.type_.as_str()));
    let told = [ConditionType::Scheduled, ConditionType::Started].map(ConditionType::as_str);
    for condition in &mut status.conditions {
        // What was said of an answer is read again: whether there is anything new to say of it.
        let asks = condition.type_ == ConditionType::OutcomeUnknown.as_str() && condition.status == "True";
        if asks || told.contains(&condition.type_.as_str()) {
            say_nothing(condition);
        }
    }
    status.conditions.sort_by(|one, other| one.type_.cmp(&other.type_));
    Kept::new(status)
}

/// A printer's status.
pub fn printer(mut status: PrinterStatus) -> Kept<PrinterStatus> {
    status.state = None;
    if let Some(bed) = &mut status.bed {
        (bed.job, bed.display_name, bed.cleared_for) = (None, None, None);
    }
    status.conditions.iter_mut().for_each(say_nothing);
    status.conditions.sort_by(|one, other| one.type_.cmp(&other.type_));
    Kept::new(status)
}

/// What closed the gate, without its reason.
pub fn closed(closed: &Closed) -> Kept<Closed> {
    Kept::new(match closed {
        Closed::NotNow(_) => Closed::NotNow("not now".into()),
        Closed::GiveBack(_) => Closed::GiveBack("not on this printer".into()),
        Closed::Changed(_) => Closed::Changed("job or claim has changed"),
        Closed::Held => Closed::Held,
        Closed::Everywhere(_) => Closed::Everywhere("cannot be read".into()),
    })
}

/// An answer, without its words.
pub fn answer(answer: SendAnswer) -> SendAnswer {
    match answer {
        SendAnswer::NotSent(_) => SendAnswer::NotSent("not sent".into()),
        SendAnswer::Refused(_) => SendAnswer::Refused("refused".into()),
        SendAnswer::Accepted | SendAnswer::Unclear => answer,
    }
}

fn say_nothing(condition: &mut Condition) {
    condition.reason.clear();
    condition.message.clear();
}
