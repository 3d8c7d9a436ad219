//! Derived parts of a PrintJob's status: phase, what it waits for, progress worth writing. No decisions.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::conditions::SetAt;
use printernizer_crds::print_job::{DesiredState, Phase, Progress};
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, PrintJob, PrintJobStatus, Reason};

use crate::device::DeviceProgress;
use crate::timing::{Timing, elapsed};

/// Percentage points after which progress is written even before `Timing::progress_period` is over: in a print of five
/// minutes or longer they take longer than that, so that it is written at most once a minute; a shorter one is written
/// three times more at most.
const PROGRESS_STEP_PERCENT: i32 = 25;

/// When and for which generation conditions of this job are set.
pub fn at(job: &PrintJob, now: Timestamp) -> SetAt {
    SetAt { time: Time(now), generation: job.metadata.generation }
}

/// Sets one condition of the job and brings what follows from it up to date.
pub fn set(
    status: &mut PrintJobStatus,
    job: &PrintJob,
    now: Timestamp,
    type_: ConditionType,
    is: ConditionStatus,
    reason: Reason,
    message: impl Into<String>,
) {
    status.conditions.set(type_, is, reason, message, &at(job, now));
    refresh(status, job, now);
}

/// Brings phase, waitingFor, message, observedGeneration and the kstatus conditions up to date with the rest.
pub fn refresh(status: &mut PrintJobStatus, job: &PrintJob, now: Timestamp) {
    status.observed_generation = job.metadata.generation;
    let phase = phase(status, job.spec.desired_state);
    status.phase = Some(phase);
    status.waiting_for = waiting_for(status, phase);
    status.message = told_by(status, phase)
        .and_then(|type_| status.conditions.condition(type_))
        .map(|c| c.message.clone())
        .filter(|message| !message.is_empty());
    if is_terminal(status)
        && let Some(progress) = &mut status.progress
    {
        // What has ended has no time left, also when it ended early.
        (progress.remaining, progress.remaining_seconds, progress.estimated_end_time) = (None, None, None);
    }
    if status.conditions.is_false(ConditionType::Accepted) && matches!(phase, Phase::Pending | Phase::Held) {
        // What it waited for while it was accepted is no longer so.
        status.conditions.unset(ConditionType::Scheduled);
    }
    let at = at(job, now);
    if status.conditions.is_false(ConditionType::Accepted) && phase == Phase::Pending {
        let (reason, message) = reason_of(status, ConditionType::Accepted);
        if reason == Reason::FetchingFile.as_str() {
            status.conditions.unset(ConditionType::Stalled);
        } else {
            status.conditions.set(ConditionType::Stalled, ConditionStatus::True, Reason::NotSupported, message, &at);
            if let Some(c) = status.conditions.iter_mut().find(|c| c.type_ == ConditionType::Stalled.as_str()) {
                c.reason = reason;
            }
        }
    } else if phase == Phase::Failed {
        let (reason, message) = reason_of(status, ConditionType::Failed);
        status.conditions.set(ConditionType::Stalled, ConditionStatus::True, Reason::PrintFailed, message, &at);
        if let Some(c) = status.conditions.iter_mut().find(|c| c.type_ == ConditionType::Stalled.as_str()) {
            c.reason = reason;
        }
    } else {
        status.conditions.unset(ConditionType::Stalled);
    }
    if status.conditions.condition(ConditionType::Accepted).is_none_or(|c| c.reason == Reason::FetchingFile.as_str())
        && !is_terminal(status)
    {
        let message = "the job's file is being read";
        status.conditions.set(ConditionType::Reconciling, ConditionStatus::True, Reason::FetchingFile, message, &at);
    } else {
        status.conditions.unset(ConditionType::Reconciling);
    }
}

fn reason_of(status: &PrintJobStatus, type_: ConditionType) -> (String, String) {
    status.conditions.condition(type_).map(|c| (c.reason.clone(), c.message.clone())).unwrap_or_default()
}

/// Whether the job has ended.
pub fn is_terminal(status: &PrintJobStatus) -> bool {
    status.conditions.is_true(ConditionType::Complete) || status.conditions.is_true(ConditionType::Failed)
}

/// The phase, from the conditions.
pub fn phase(status: &PrintJobStatus, desired: DesiredState) -> Phase {
    let conditions = &status.conditions;
    if conditions.is_true(ConditionType::Complete) {
        return Phase::Succeeded;
    }
    if conditions.is_true(ConditionType::Failed) {
        let cancelled = conditions.has_reason(ConditionType::Failed, Reason::Cancelled);
        return if cancelled { Phase::Cancelled } else { Phase::Failed };
    }
    if conditions.is_true(ConditionType::OutcomeUnknown) {
        return Phase::AttentionNeeded;
    }
    let started = conditions.condition(ConditionType::Started);
    let reason = started.map_or("", |c| c.reason.as_str());
    let calls = [Reason::WaitingAtPrinter, Reason::PrinterUnreachable, Reason::Attention, Reason::FileNotDeleted];
    if calls.iter().any(|r| r.as_str() == reason) {
        return Phase::AttentionNeeded;
    }
    if conditions.is_true(ConditionType::Started) {
        let paused = [Reason::PausedAsAsked, Reason::PausedAtPrinter].iter().any(|r| r.as_str() == reason);
        return if paused { Phase::Paused } else { Phase::Printing };
    }
    match status {
        s if s.start.is_some() => Phase::Starting,
        s if s.upload.as_ref().is_some_and(|u| u.size_verified) => Phase::Starting,
        s if s.upload.is_some() => Phase::Uploading,
        s if s.printer.is_some() => Phase::Assigned,
        _ if desired == DesiredState::Pause => Phase::Held,
        _ => Phase::Pending,
    }
}

/// The reason why the job is not printing, not seen printing, or not gone; absent while it prints and after its end.
fn waiting_for(status: &PrintJobStatus, phase: Phase) -> Option<String> {
    match phase {
        Phase::Failed | Phase::Cancelled => None,
        Phase::Held => Some(Reason::Held.as_str().to_owned()),
        _ => status.conditions.condition(told_by(status, phase)?).map(|c| c.reason.clone()),
    }
}

/// The condition that says why the job is not printing, is not seen printing, stays although it was deleted, or ended
/// without a part.
fn told_by(status: &PrintJobStatus, phase: Phase) -> Option<ConditionType> {
    match phase {
        Phase::Printing => {
            let started = status.conditions.condition(ConditionType::Started)?;
            let tells = [Reason::PrinterSilent, Reason::NotShown, Reason::BeingDeleted];
            tells.iter().any(|r| r.as_str() == started.reason).then_some(ConditionType::Started)
        }
        Phase::Succeeded => None,
        Phase::Failed | Phase::Cancelled => Some(ConditionType::Failed),
        Phase::AttentionNeeded if status.conditions.is_true(ConditionType::OutcomeUnknown) => {
            Some(ConditionType::OutcomeUnknown)
        }
        Phase::Held | Phase::Pending if !status.conditions.is_true(ConditionType::Accepted) => {
            Some(ConditionType::Accepted)
        }
        Phase::Held | Phase::Pending => Some(ConditionType::Scheduled),
        _ => Some(ConditionType::Started),
    }
}

/// Progress as it is written: the device's, with the words for the table.
pub fn progress(now: Timestamp, seen: &DeviceProgress) -> Progress {
    let remaining = seen.remaining_seconds;
    Progress {
        percent: seen.percent,
        summary: Some(format!("{}%", seen.percent)),
        layer: seen.layer,
        total_layers: seen.total_layers,
        remaining_seconds: remaining,
        remaining: remaining.map(words),
        estimated_end_time: remaining
            .and_then(|s| now.checked_add(Duration::from_secs(u64::try_from(s).unwrap_or(0))).ok())
            .map(Time),
        observed_time: Some(Time(now)),
    }
}

/// Whether progress is to be written: something new and the period over, or a quarter of the print on.
pub fn progress_is_due(written: Option<&Progress>, seen: &DeviceProgress, now: Timestamp, timing: &Timing) -> bool {
    let Some(written) = written else { return true };
    if (seen.percent - written.percent).abs() >= PROGRESS_STEP_PERCENT {
        return true;
    }
    let age = written.observed_time.as_ref().map(|t| elapsed(now, t.0));
    let changed = seen.percent != written.percent
        || seen.layer != written.layer
        || seen.remaining_seconds != written.remaining_seconds;
    changed && age.is_none_or(|age| age >= timing.progress_period)
}

/// A span in words as kubectl writes ages: `2h5m`, `3m10s`, `9s`.
pub fn words(seconds: i64) -> String {
    let s = seconds.max(0);
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m @ 0..10, s) => format!("{m}m{s}s"),
        (0, m, _) => format!("{m}m"),
        (h, m, _) => format!("{h}h{m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_kubectl_writes_ages() {
        let spans = [(-5, "0s"), (9, "9s"), (190, "3m10s"), (601, "10m"), (7500, "2h5m")];
        for (seconds, text) in spans {
            assert_eq!(words(seconds), text);
        }
    }

    #[test]
    fn progress_is_written_once_a_minute_or_at_each_quarter_and_only_when_it_has_changed() {
        let timing = Timing::default();
        let start: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at = |percent| DeviceProgress { percent, ..DeviceProgress::default() };
        let after = |n| start.checked_add(Duration::from_secs(n)).unwrap();
        let written = progress(start, &at(10));
        assert!(progress_is_due(None, &at(0), start, &timing));
        assert!(!progress_is_due(Some(&written), &at(14), after(59), &timing));
        assert!(progress_is_due(Some(&written), &at(14), after(60), &timing));
        assert!(!progress_is_due(Some(&written), &at(34), after(59), &timing));
        assert!(progress_is_due(Some(&written), &at(35), after(1), &timing));
        assert!(!progress_is_due(Some(&written), &at(10), after(3600), &timing));
    }
}
