//! The way in: which part of a job's life it is in, and so which rules speak.

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::print_job::{DesiredState, Outcome, PrintJobStatus};
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, PrintJob, Reason};

use super::gate::claim_agrees;
use super::{Observed, Waiting, accept, claim, finish, follow, leave, question, status};
use crate::plan::{Effect, Plan};

/// How long a decision may rest when only time can change it and no moment is known.
pub(super) const REST: Duration = Duration::from_mins(5);

/// Decides what to do about a PrintJob now.
pub fn decide(seen: &Observed<'_>) -> Plan {
    let old = seen.job.status.clone().unwrap_or_default();
    // A try to start that is alive writes this status itself.
    if !seen.session.as_ref().is_some_and(|s| s.watch.try_alive)
        && let Some(plan) = question::tell_late(seen, &old)
    {
        return plan;
    }
    if status::is_terminal(&old) {
        return leave::after_end(seen, &old);
    }
    let holds = seen.printer.is_some_and(|p| claim_agrees(seen.job, p));
    if accept::is_copy(seen.job) && !holds && seen.job.metadata.deletion_timestamp.is_none() {
        return accept::refuse_copy(seen, &old);
    }
    if old.printer.is_some() {
        return claim::decide(seen, &old);
    }
    if seen.job.metadata.deletion_timestamp.is_some() {
        return leave::remove_finalizer(seen);
    }
    if let Some(link) = seen.shown_on {
        return follow::shown_without_record(seen, &old, link);
    }
    if seen.job.spec.desired_state == DesiredState::Cancel {
        return finish::end_unprinted(seen, &old, Reason::Cancelled, "cancelled before it was given a printer");
    }
    if old.conditions.is_true(ConditionType::OutcomeUnknown) {
        return follow::without_device(seen, &old, Reason::NoRecordOfUpload);
    }
    if let Some(missed) = missed_deadline(seen.job, &old, seen.now) {
        return finish::end_unprinted(seen, &old, Reason::DeadlineExceeded, &missed);
    }
    if let Some(plan) = accept::decide(seen, &old) {
        return again_before_deadline(plan, seen, &old);
    }
    if let Some(printer) = seen.printer.filter(|_| seen.job.spec.desired_state == DesiredState::Run)
        && let Some(held) = claim::half_claim(seen.job, printer)
    {
        return claim::complete(seen, &old, printer, held);
    }
    again_before_deadline(wait(seen, &old), seen, &old)
}

/// A job that waits: says why.
fn wait(seen: &Observed<'_>, old: &PrintJobStatus) -> Plan {
    let mut new = old.clone();
    let (reason, message) = match (&seen.waiting, seen.job.spec.desired_state) {
        (_, DesiredState::Pause) => (Reason::Held, "held back: set spec.desiredState to Run to print it".to_owned()),
        (Some(waiting), _) => (waiting.reason, waiting_words(old, waiting)),
        // The scheduler has not looked yet.
        (None, _) => return Plan::wait(REST),
    };
    seen.set(&mut new, ConditionType::Scheduled, ConditionStatus::False, reason, message);
    write_if_changed(old, new).again(REST)
}

/// What a job that waits is told; while it pauses, also why its last attempt came to nothing.
fn waiting_words(old: &PrintJobStatus, waiting: &Waiting) -> String {
    let last = old.attempts.last().filter(|a| a.outcome == Outcome::NotStarted && a.attempt + 1 == old.attempt);
    match last.filter(|_| waiting.reason == Reason::BackingOff) {
        Some(last) => format!("{}; on {}: {}", waiting.message, last.printer, last.reason),
        None => waiting.message.clone(),
    }
}

/// The deadline the job has missed, if it has not started, and what kept it last: that says whether a later one helps.
pub(super) fn missed_deadline(job: &PrintJob, old: &PrintJobStatus, now: Timestamp) -> Option<String> {
    if old.start.is_some() || old.conditions.is_true(ConditionType::Started) {
        return None;
    }
    let after = |limit: Option<Timestamp>| limit.is_some_and(|limit| now >= limit);
    let missed = if after(start_deadline(job)) {
        "not started within spec.startDeadlineSeconds; create the job again with a longer deadline"
    } else if after(job.spec.not_after.as_ref().map(|t| t.0)) {
        "not started by spec.notAfter; create the job again with a later time"
    } else {
        return None;
    };
    Some(match (&old.waiting_for, &old.message) {
        (Some(reason), Some(why)) => format!("{missed}. What kept it last: {reason}, {why}"),
        _ => missed.to_owned(),
    })
}

fn start_deadline(job: &PrintJob) -> Option<Timestamp> {
    let seconds = u64::try_from(job.spec.start_deadline_seconds?).ok()?;
    job.metadata.creation_timestamp.as_ref()?.0.checked_add(Duration::from_secs(seconds)).ok()
}

/// Looks again at the very moment a deadline passes.
fn again_before_deadline(plan: Plan, seen: &Observed<'_>, old: &PrintJobStatus) -> Plan {
    let limits = [start_deadline(seen.job), seen.job.spec.not_after.as_ref().map(|t| t.0)];
    let held = [old.not_before.as_ref().map(|t| t.0)];
    limits.into_iter().chain(held).flatten().filter(|t| *t > seen.now).fold(plan, |plan, limit| {
        let left = limit.duration_since(seen.now).unsigned_abs();
        plan.again(left + Duration::from_millis(1))
    })
}

/// The one write of a job's status, unless it would say the same.
pub(super) fn write_if_changed(old: &PrintJobStatus, new: PrintJobStatus) -> Plan {
    if *old == new { Plan::nothing() } else { Plan::of([Effect::WriteJob(Box::new(new))]) }
}
