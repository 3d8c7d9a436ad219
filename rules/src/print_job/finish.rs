//! Ends: verdicts are written to the Printer first, with the bed, then to the PrintJob; then the claim is released by the
//! Printer's own rules.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{AttemptRecord, DeletionPolicy, DesiredState, Outcome};
use printernizer_crds::printer::{BedClearing, Distrust, DistrustReason, LastStart, StartVerdict};
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, PrintJobStatus, Printer, PrinterStatus, Reason};

use super::decide::{REST, write_if_changed};
use super::release::{Next, give_back, is_leaving, leave_file, unset_claim};
use super::start::{End, shows_attempt};
use super::{Observed, question, status};
use crate::device::DeviceReport;
use crate::plan::{Effect, Plan};
use crate::printer::{DEVELOPER_MODE, bed};
use crate::scheduling::requirements;

/// Failed prints in a row after which a printer gets no more jobs.
const QUARANTINE_AFTER: i32 = 2;
/// Attempts kept in status.
const ATTEMPTS_KEPT: usize = 10;

/// The print has ended.
pub(super) fn ended(
    seen: &Observed<'_>,
    old: &PrintJobStatus,
    printer: &Printer,
    report: Option<&DeviceReport>,
    end: End,
    live: bool,
) -> Plan {
    let verdict = match end {
        End::Succeeded => StartVerdict::Succeeded,
        End::Failed => StartVerdict::Failed,
        End::Cancelled => StartVerdict::Cancelled,
    };
    let ejected = live && verdict == StartVerdict::Succeeded && printer.spec.bed.clearing == BedClearing::Automatic;
    write_verdict(seen, old, printer, report, verdict, ejected)
}

/// Both halves of a verdict on a print that ran or may have run: the printer's, with its bed, then the job's.
pub(super) fn write_verdict(
    seen: &Observed<'_>,
    old: &PrintJobStatus,
    printer: &Printer,
    report: Option<&DeviceReport>,
    verdict: StartVerdict,
    ejected: bool,
) -> Plan {
    let Some(mut new) = printer.status.clone() else { return Plan::wait(REST) };
    resolve_last_start(seen, &mut new, verdict);
    match verdict {
        StartVerdict::Failed => new.consecutive_failures += 1,
        StartVerdict::Succeeded => new.consecutive_failures = 0,
        _ => {}
    }
    let refused_only = new.distrust.as_ref().is_none_or(|d| may_be_replaced(d.reason));
    if new.consecutive_failures >= QUARANTINE_AFTER && refused_only {
        new.distrust =
            Some(Distrust { id: seen.fresh_id.to_owned(), reason: DistrustReason::Quarantined, shown: None });
    }
    let identity = report.map(|r| r.identity.clone());
    if ejected {
        bed::clear(printer, &mut new, identity, seen.now, "the printer ejected the part");
    } else {
        let reason = match verdict {
            StartVerdict::Succeeded => Reason::PartOnBed,
            StartVerdict::NotPrinted => Reason::Unconfirmed,
            _ => Reason::FailedPrintOnBed,
        };
        let part = bed::Part {
            job: seen.job.metadata.name.clone(),
            display_name: seen.job.spec.display_name.clone().or_else(|| seen.job.metadata.name.clone()),
        };
        bed::occupy(printer, &mut new, identity, seen.now, seen.fresh_id, reason, part);
    }
    let mut plan = Plan::of([Effect::WritePrinter(Box::new(new))]);
    let carried = carry_over(seen, old, printer, verdict).effects;
    // What else is to be written to the Printer was decided without the verdict: it is decided again with it.
    if !carried.iter().any(|e| matches!(e, Effect::WritePrinter(_))) {
        plan.effects.extend(carried);
    }
    plan.again(seen.timing.poll_period)
}

/// Whether this distrust, which ends by itself, gives way to one that does not.
fn may_be_replaced(reason: DistrustReason) -> bool {
    matches!(reason, DistrustReason::StartRefused | DistrustReason::StartAborted)
}

/// A start that proved not to have printed: the printer's half. The job's follows once its file is deleted.
pub(super) fn not_printed(
    seen: &Observed<'_>,
    printer: &Printer,
    report: Option<&DeviceReport>,
    verdict: StartVerdict,
) -> Plan {
    let Some(mut new) = printer.status.clone() else { return Plan::wait(REST) };
    resolve_last_start(seen, &mut new, verdict);
    if verdict == StartVerdict::FailedToStart {
        // A start aborted in the preview leaves the bed as it was, but the device may have numbered it. Another print that
        // is shown by now is not accounted for by that: it may have left a part.
        let ours = report.filter(|r| shows_attempt(seen.job, r));
        if let (Some(bed), Some(report)) = (new.bed.as_mut(), ours) {
            bed.accounted_identity = Some(report.identity.clone());
        }
        let shown = report.map(|r| r.identity.clone());
        // What was asked before the print was answered with no, at the screen.
        let asked = seen.session.as_ref().is_some_and(|s| s.watch.seen_preview);
        let reason = if asked { DistrustReason::StartAborted } else { DistrustReason::StartRefused };
        new.distrust.get_or_insert(Distrust { id: seen.fresh_id.to_owned(), reason, shown });
    }
    Plan::of([Effect::WritePrinter(Box::new(new))]).again(Duration::ZERO)
}

/// Gives the printer's memory of the start its verdict. Where the second half of the intent was never written, it is
/// written now, with the verdict: so a late write of it meets a conflict.
fn resolve_last_start(seen: &Observed<'_>, new: &mut PrinterStatus, verdict: StartVerdict) {
    let token = super::gate::token_of(seen.job).to_string();
    if let Some(last) = new.last_start.as_mut().filter(|l| l.token == token) {
        last.verdict = Some(verdict);
        return;
    }
    let old = seen.job.status.as_ref();
    let intended = old.and_then(|s| s.start.as_ref()).map(|i| &i.remote_name);
    let uploaded = old.and_then(|s| s.upload.as_ref()).map(|u| &u.remote_name);
    new.last_start = Some(LastStart {
        token,
        job_name: seen.job.metadata.name.clone().unwrap_or_default(),
        job_uid: seen.job.metadata.uid.clone().unwrap_or_default(),
        remote_name: intended.or(uploaded).cloned().unwrap_or_default(),
        deadline: Time(seen.now),
        verdict: Some(verdict),
    });
}

/// The job's half of a verdict that stands on the printer.
pub(super) fn carry_over(seen: &Observed<'_>, old: &PrintJobStatus, printer: &Printer, verdict: StartVerdict) -> Plan {
    let on = printer.metadata.name.clone().unwrap_or_default();
    let old = &question::with_answer(seen, old, verdict);
    match verdict {
        StartVerdict::NotSent | StartVerdict::FailedToStart | StartVerdict::NotPrinted => {
            let distrust = printer.status.as_ref().and_then(|s| s.distrust.as_ref()).map(|d| d.reason);
            let words = match (verdict, distrust) {
                (StartVerdict::FailedToStart, Some(DistrustReason::StartAborted)) => {
                    "the start was given up at the printer's screen".to_owned()
                }
                (StartVerdict::FailedToStart, _) if refuses_control(seen, printer) => {
                    format!(
                        "the printer refused the start, as it refuses all control over the network: {DEVELOPER_MODE}"
                    )
                }
                _ => words_of(verdict).to_owned(),
            };
            let next = if is_leaving(seen) {
                Next::End(Reason::Cancelled, "cancelled; nothing was printed".into())
            } else {
                Next::Queue(words.clone())
            };
            let mut with_record = old.clone();
            record_attempt(seen, &mut with_record, &on, Outcome::NotStarted, &words);
            give_back(seen, &with_record, &next)
        }
        StartVerdict::Succeeded => finish_attempt(seen, old, &on, Outcome::Succeeded, verdict),
        StartVerdict::Failed => finish_attempt(seen, old, &on, Outcome::Failed, verdict),
        StartVerdict::Cancelled => finish_attempt(seen, old, &on, Outcome::Cancelled, verdict),
        StartVerdict::Abandoned => finish_attempt(seen, old, &on, Outcome::Unknown, verdict),
    }
}

/// Whether the device lets nobody control it over the network, as its newest report or its Printer says.
fn refuses_control(seen: &Observed<'_>, printer: &Printer) -> bool {
    let report = seen.session.as_ref().and_then(|s| s.link.report_within(seen.timing.stale_after));
    let told = printer.status.as_ref().is_some_and(|s| s.conditions.is_false(ConditionType::ControlAllowed));
    told || report.is_some_and(|r| r.control_allowed == Some(false))
}

fn words_of(verdict: StartVerdict) -> &'static str {
    match verdict {
        StartVerdict::NotSent => "the start was not sent",
        StartVerdict::FailedToStart => "the printer refused the start",
        StartVerdict::NotPrinted => "a person says that nothing was printed",
        StartVerdict::Succeeded => "printed",
        StartVerdict::Failed => "the print failed",
        StartVerdict::Cancelled => "the print was stopped",
        StartVerdict::Abandoned => "nobody knows what became of the print",
    }
}

/// Who has stopped a print, as far as that is known.
fn who_stopped(seen: &Observed<'_>) -> &'static str {
    if seen.job.spec.desired_state == DesiredState::Cancel {
        "as spec.desiredState asks"
    } else if is_leaving(seen) && seen.job.spec.deletion_policy == DeletionPolicy::Cancel {
        "as the deletion of the job asks (deletionPolicy: Cancel)"
    } else {
        "at the printer's screen or by another program, not from here"
    }
}

/// An attempt that ran has ended: the job is over, or tries again.
fn finish_attempt(
    seen: &Observed<'_>,
    old: &PrintJobStatus,
    on: &str,
    outcome: Outcome,
    verdict: StartVerdict,
) -> Plan {
    let mut new = old.clone();
    // It is written seldom: what was seen last is how far the print came.
    let last = seen.session.as_ref().and_then(|s| s.watch.progress);
    if let (Some(written), Some(last)) = (new.progress.as_mut(), last) {
        *written = status::progress(seen.now, &last);
    }
    let text = if question::is_answered(old) {
        format!("{}, as a person says", words_of(verdict))
    } else {
        let at = last.map(|p| format!(" at {} %", p.percent)).unwrap_or_default();
        match verdict {
            StartVerdict::Cancelled => format!("{}{at} {}", words_of(verdict), who_stopped(seen)),
            StartVerdict::Failed => format!("{}{at}", words_of(verdict)),
            _ => words_of(verdict).to_owned(),
        }
    };
    record_attempt(seen, &mut new, on, outcome, &text);
    new.refusals = 0;
    if outcome == Outcome::Failed {
        new.failed_prints += 1;
        if !is_leaving(seen) && new.failed_prints <= seen.job.spec.retry.limit {
            return give_back(seen, &new, &Next::Queue(text));
        }
    }
    let reason = match outcome {
        Outcome::Succeeded => Reason::PrintSucceeded,
        Outcome::Cancelled => Reason::Cancelled,
        _ => Reason::PrintFailed,
    };
    end(seen, old, new, reason, text)
}

pub(super) fn record_attempt(seen: &Observed<'_>, new: &mut PrintJobStatus, on: &str, outcome: Outcome, reason: &str) {
    if new.attempts.iter().any(|a| a.attempt == new.attempt) {
        return;
    }
    let printed = matches!(outcome, Outcome::Succeeded | Outcome::Failed | Outcome::Cancelled);
    let known = outcome == Outcome::NotStarted || saw_the_end(seen, new, outcome);
    let grams = printed.then(|| grams_of(seen)).flatten();
    new.attempts.push(AttemptRecord {
        attempt: new.attempt,
        printer: on.to_owned(),
        start_time: new.start_time.clone(),
        end_time: known.then_some(Time(seen.now)),
        outcome,
        reason: reason.to_owned(),
        grams_estimated: grams,
    });
    let surplus = new.attempts.len().saturating_sub(ATTEMPTS_KEPT);
    new.attempts.drain(..surplus);
}

/// Whether the print ended before the eyes of this process: else nobody knows when, and no hours are made up.
fn saw_the_end(seen: &Observed<'_>, status: &PrintJobStatus, outcome: Outcome) -> bool {
    let silent = [Reason::PrinterSilent, Reason::PrinterUnreachable]
        .into_iter()
        .any(|r| status.conditions.has_reason(ConditionType::Started, r));
    let watched = seen.session.as_ref().is_some_and(|s| s.watch.seen_active);
    outcome != Outcome::Unknown && watched && !silent && status.question.is_none()
}

/// Grams of all filaments the print uses, as a decimal string; `None` where the file does not say.
fn grams_of(seen: &Observed<'_>) -> Option<String> {
    let milligrams: i64 = requirements(seen.job).filaments.iter().map(|f| f.milligrams).sum();
    let text = format!("{}.{:03}", milligrams / 1000, milligrams % 1000);
    (milligrams > 0).then(|| text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// Ends a job that nothing was printed of.
pub(super) fn end_unprinted(seen: &Observed<'_>, old: &PrintJobStatus, reason: Reason, text: &str) -> Plan {
    end(seen, old, old.clone(), reason, text.to_owned())
}

/// Ends the job for good.
pub(super) fn end(
    seen: &Observed<'_>,
    old: &PrintJobStatus,
    mut new: PrintJobStatus,
    reason: Reason,
    text: String,
) -> Plan {
    new.completion_time.get_or_insert(Time(seen.now));
    (new.paused_by_us, new.avoid) = (false, None);
    question::close(seen, &mut new);
    // What it waited for, and how its print went on, is over.
    if new.conditions.is_false(ConditionType::Scheduled) {
        let text = "ended before it was given a printer";
        seen.set(&mut new, ConditionType::Scheduled, ConditionStatus::False, reason, text);
    }
    if new.conditions.condition(ConditionType::Started).is_some() {
        let ran = new.conditions.is_true(ConditionType::Started);
        let text = if ran { "the print has ended" } else { "the print was not seen running" };
        seen.tell(&mut new, reason, text);
    }
    if reason == Reason::PrintSucceeded {
        if let Some(progress) = new.progress.as_mut() {
            progress.percent = 100;
            progress.summary = Some("100%".into());
            (progress.remaining_seconds, progress.remaining) = (Some(0), Some("0s".into()));
        }
        seen.set(&mut new, ConditionType::Complete, ConditionStatus::True, reason, text);
    } else {
        seen.set(&mut new, ConditionType::Failed, ConditionStatus::True, reason, text);
    }
    write_if_changed(old, new)
}

/// A person's answer about a print whose Printer cannot be asked any more. `used` is the last attempt known to be used.
pub(super) fn end_by_answer(seen: &Observed<'_>, old: &PrintJobStatus, verdict: StartVerdict, used: i32) -> Plan {
    let old = &question::with_answer(seen, old, verdict);
    let mut new = old.clone();
    let on = old.printer.as_ref().map(|p| p.name.clone()).unwrap_or_default();
    let outcome = match verdict {
        StartVerdict::Succeeded => Outcome::Succeeded,
        StartVerdict::Failed => Outcome::Failed,
        _ => {
            record_attempt(seen, &mut new, &on, Outcome::NotStarted, words_of(verdict));
            unset_claim(&mut new, seen);
            new.attempt = used.max(1) + 1;
            let text = "waits for a printer again";
            let (type_, no) = (ConditionType::Scheduled, ConditionStatus::False);
            seen.set(&mut new, type_, no, Reason::Queued, text);
            let mut plan = old.upload.as_ref().map_or_else(Plan::nothing, |u| leave_file(seen, &u.remote_name));
            plan.effects.extend(write_if_changed(old, new).effects);
            return plan;
        }
    };
    finish_attempt(seen, old, &on, outcome, verdict)
}
