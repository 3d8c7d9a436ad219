//! Decides about a Printer: its conditions, its bed, whom it trusts, when a claim is released and what it remembers.
//!
//! Rules of the bed come from the start protocol: whatever the device shows that the bed does not account for makes it
//! occupied, with an id of its own; a claim with a sent start is released only by a verdict.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::print_job::PrintJobStatus;
use printernizer_crds::printer::{CurrentJob, Distrust, DistrustReason, LastStart, StartVerdict};
use printernizer_crds::{PRINTER_FINALIZER, PrintJob, Printer, PrinterStatus, Reason};

use super::{Observed, bed, status};
use crate::device::{DeviceReport, DeviceState, Link};
use crate::identity::Token;
use crate::plan::{DeviceCommand, Effect, Plan};
use crate::print_job::gate::token_of;
use crate::print_job::start::asks_first;
use crate::print_job::status::is_terminal;
use crate::scheduling::is_waiting_for_a_printer;
use crate::timing::elapsed;

/// Whether a session should be kept for the printer. A deleted one is kept until its finalizer has gone.
pub fn wants_connection(printer: &Printer) -> bool {
    printer.metadata.deletion_timestamp.is_none()
        || printer.metadata.finalizers.iter().flatten().any(|f| f == PRINTER_FINALIZER)
}

/// Decides what to do about a Printer now.
pub fn decide(seen: &Observed<'_>) -> Plan {
    let old = seen.printer.status.clone().unwrap_or_default();
    let mut new = old.clone();
    status::connection(seen, &mut new);
    let report = match seen.link {
        Link::Live { report, .. } => Some(report),
        _ => None,
    };
    reclaim(seen, &mut new);
    if let Some(report) = report {
        if is_another_device(&new, report) {
            forget_device(&mut new);
        }
        status::device(seen, &mut new, report);
        distrust(seen, &mut new, report);
    }
    release_distrust(seen, &mut new);
    bed_rules(seen, &mut new, report);
    // The end screen of a print is seen a moment before its job has said what became of it.
    let shown = report.filter(|r| r.is_active() || r.state == DeviceState::Idle).map(DeviceReport::is_active);
    bed::tell(seen.printer, &mut new, shown, seen.now);
    abandon(seen, &mut new, report);
    release_claim(seen, &mut new);
    let cleaning = clean_up(seen, &mut new, report);
    status::activity(seen, &mut new);
    status::trust_and_ready(seen, &mut new);

    let mut plan = Plan::nothing();
    let remembers = new.current_job.is_some() || unresolved(&new);
    let has_finalizer = seen.printer.metadata.finalizers.iter().flatten().any(|f| f == PRINTER_FINALIZER);
    if remembers && !has_finalizer && seen.printer.metadata.deletion_timestamp.is_none() {
        plan = plan.then(Effect::AddPrinterFinalizer);
    }
    if unresolved(&new) && seen.last_start_job.is_none() && report.is_some_and(|r| !r.is_active()) {
        // Nothing else may happen until the window is over.
        let left = seen.timing.observation_window.saturating_sub(seen.last_start_live);
        plan = plan.again(left.max(seen.timing.poll_period));
    }
    let let_go = deleted_for_too_long(seen, report);
    if new != old {
        plan = plan.then(Effect::WritePrinter(Box::new(new)));
    }
    for command in cleaning {
        plan = plan.then(Effect::Device(command)).again(seen.timing.poll_period);
    }
    if has_finalizer && (!remembers || let_go) {
        plan = plan.then(Effect::RemovePrinterFinalizer);
    } else if seen.printer.metadata.deletion_timestamp.is_some() {
        plan = plan.again(seen.timing.letting_go / 10);
    }
    plan
}

pub(super) fn unresolved(status: &PrinterStatus) -> bool {
    status.last_start.as_ref().is_some_and(|l| l.verdict.is_none())
}

/// A deleted Printer waits for its start to be resolved; a dead one not for ever.
fn deleted_for_too_long(seen: &Observed<'_>, report: Option<&DeviceReport>) -> bool {
    let Some(deleted) = seen.printer.metadata.deletion_timestamp.as_ref() else { return false };
    report.is_none() && elapsed(seen.now, deleted.0) >= seen.timing.letting_go
}

/// A Printer that was created again takes over what its device still owes: the claim and the memory of the start.
fn reclaim(seen: &Observed<'_>, new: &mut PrinterStatus) {
    let Some(job) = seen.orphan.filter(|_| new.current_job.is_none()) else { return };
    let (Some(name), Some(uid)) = (job.metadata.name.clone(), job.metadata.uid.clone()) else { return };
    let another = new.last_start.as_ref().is_some_and(|l| l.verdict.is_none() && l.job_uid != uid);
    let Some(status) = job.status.as_ref().filter(|_| !another) else { return };
    new.current_job = Some(CurrentJob { name: name.clone(), uid: uid.clone(), attempt: status.attempt });
    let token = token_of(job).to_string();
    if new.last_start.as_ref().is_some_and(|l| l.token == token) {
        return;
    }
    // A print started at the screen has no intent; it is remembered all the same.
    let uploaded = status.upload.as_ref().map(|u| u.remote_name.clone()).unwrap_or_default();
    let (remote_name, deadline) =
        status.start.as_ref().map_or((uploaded, Time(seen.now)), |s| (s.remote_name.clone(), s.deadline.clone()));
    new.last_start = Some(LastStart { token, job_name: name, job_uid: uid, remote_name, deadline, verdict: None });
}

/// Whether another machine answers than the one this status tells of: a session reports only what has the serial number
/// that is asked for, so a person has written another one.
fn is_another_device(known: &PrinterStatus, report: &DeviceReport) -> bool {
    let known = known.device.as_ref().and_then(|d| d.serial_number.as_ref());
    known.is_some() && report.serial_number.is_some() && known != report.serial_number.as_ref()
}

/// What was known of the machine before says nothing of the one that stands there now, and least of all what lies on its
/// bed. A start that is not resolved stays: its job is asked about.
fn forget_device(new: &mut PrinterStatus) {
    (new.device, new.bed, new.distrust, new.consecutive_failures) = (None, None, None, 0);
}

/// A print of this kind of operator that this cluster knows nothing of.
fn distrust(seen: &Observed<'_>, new: &mut PrinterStatus, report: &DeviceReport) {
    let Some(token) = shown_token(&report.identity) else { return };
    let started = new.last_start.as_ref().is_some_and(|l| Token::parse(&l.token).as_ref() == Some(&token));
    let remembered = started || new.left_files.iter().any(|f| Token::find(&f.remote_name).as_ref() == Some(&token));
    let accounted = new.bed.as_ref().and_then(|b| b.accounted_identity.as_ref());
    let accounted = accounted.and_then(shown_token).as_ref() == Some(&token);
    // It weighs more than any other distrust: those end by themselves or with a look at the machine.
    let known = new.distrust.as_ref().is_some_and(|d| d.reason == DistrustReason::AnotherOperator);
    if remembered || accounted || seen.shown_job_exists || known {
        return;
    }
    let (id, shown) = (seen.fresh_id.to_owned(), Some(report.identity.clone()));
    new.distrust = Some(Distrust { id, reason: DistrustReason::AnotherOperator, shown });
}

/// Distrust ends when a person has looked, or, after a refusal, when the device's state has changed.
fn release_distrust(seen: &Observed<'_>, new: &mut PrinterStatus) {
    let Some(distrust) = &new.distrust else { return };
    let acknowledged = seen.printer.spec.acknowledged.as_ref() == Some(&distrust.id);
    let changed = matches!(distrust.reason, DistrustReason::StartRefused | DistrustReason::StartAborted)
        && seen.printer.status.as_ref().is_some_and(|s| s.distrust.is_some())
        && match (seen.link, &distrust.shown) {
            (Link::Live { report, .. }, Some(shown)) => report.identity != *shown && !report.identity.is_erased(),
            _ => false,
        };
    if acknowledged || changed {
        if distrust.reason == DistrustReason::Quarantined {
            new.consecutive_failures = 0;
        }
        new.distrust = None;
    }
}

/// Keeps the bed true: new printers, prints that run, prints that ended, clearances.
fn bed_rules(seen: &Observed<'_>, new: &mut PrinterStatus, report: Option<&DeviceReport>) {
    let (printer, now, id) = (seen.printer, seen.now, seen.fresh_id);
    let Some(known) = new.bed.clone() else {
        let identity = report.map(|r| r.identity.clone());
        return bed::occupy(printer, new, identity, now, id, Reason::NeverConfirmed, bed::Part::default());
    };
    let Some(report) = report else { return };
    let accounted = known.accounted_identity.clone().unwrap_or_default();
    let differs = report.identity != accounted;
    let erased = report.identity.is_erased();
    let ours = unresolved(new) && is_last_start(new, &report.identity);
    if ours && asks_before_print(seen, report) {
        // A start aborted in the preview leaves the bed as it was.
        return;
    }
    if report.is_active() {
        if !known.print_in_progress || (differs && !erased) {
            bed::in_use(printer, new, report.identity.clone(), now, id);
        }
        return;
    }
    if known.print_in_progress {
        // The end of our own print is judged with its job, which then says what lies there.
        if !unresolved(new) || !ours {
            // While a start is unresolved, nobody knows yet whose print that was.
            let reason = if unresolved(new) { Reason::Unconfirmed } else { Reason::ForeignPrintOnBed };
            bed::occupy(printer, new, Some(report.identity.clone()), now, id, reason, bed::Part::default());
        }
        return;
    }
    let is_cleared = known.occupancy_id.is_some() && known.occupancy_id == printer.spec.bed.cleared_for;
    // What a person said of the bed while nobody watched may be older than a print that nobody saw.
    let said_before = known.occupancy_id.is_none() || is_cleared;
    // Nor is it about this machine as it is now, where nobody had looked at it when it was said.
    let never_seen = known.accounted_identity.is_none();
    if !seen.watched && said_before && (never_seen || (erased && accounted.is_erased())) {
        // A device that has no identity to show says nothing of what happened while nobody watched.
        let identity = Some(report.identity.clone());
        bed::occupy(printer, new, identity, now, id, Reason::Unconfirmed, bed::Part::default());
        return;
    }
    if seen.hold_starts && !seen.watched && said_before {
        let identity = Some(report.identity.clone());
        bed::occupy(printer, new, identity, now, id, Reason::NeverConfirmed, bed::Part::default());
        return;
    }
    if known.accounted_identity.is_none() || (differs && erased && seen.watched) {
        if let Some(bed) = new.bed.as_mut() {
            bed.accounted_identity = Some(report.identity.clone());
        }
    } else if differs && (erased || !ours) {
        // Forgotten while nobody watched: anything may have been printed in between.
        let reason = if erased { Reason::Unconfirmed } else { Reason::ForeignPrintOnBed };
        bed::occupy(printer, new, Some(report.identity.clone()), now, id, reason, bed::Part::default());
        return;
    }
    if is_cleared && !unresolved(new) {
        bed::clear(printer, new, Some(report.identity.clone()), now, "cleared by a person");
    }
}

/// Whether the device asks something before a print of ours has begun.
fn asks_before_print(seen: &Observed<'_>, report: &DeviceReport) -> bool {
    let started = seen.last_start_job.and_then(|j| j.status.as_ref()).is_some_and(|s| s.start_time.is_some());
    asks_first(report) && !started
}

/// The token a device shows, in the name of its print or of the file.
fn shown_token(identity: &DeviceIdentity) -> Option<Token> {
    [&identity.name, &identity.file].into_iter().flatten().find_map(|n| Token::find(n))
}

/// Whether the identity is that of the start the printer remembers.
fn is_last_start(status: &PrinterStatus, identity: &DeviceIdentity) -> bool {
    let Some(last) = status.last_start.as_ref() else { return false };
    let token = Token::parse(&last.token);
    [&identity.name, &identity.file].into_iter().flatten().any(|n| token.is_some() && Token::find(n) == token)
}

/// Whether the job will still say what became of this start: it has not ended and is at this very attempt.
pub fn owes_verdict(job: &PrintJob, last: &LastStart) -> bool {
    !job.status.as_ref().is_some_and(is_terminal) && token_of(job).to_string() == last.token
}

/// The files on the device that no job needs any more, as far as the Printer remembers: that of the last start, and those
/// that could not be deleted when their jobs let go.
pub(crate) fn leftovers(status: &PrinterStatus) -> impl Iterator<Item = &str> {
    let started = status.last_start.as_ref().filter(|l| l.verdict.is_some()).map(|l| l.remote_name.as_str());
    let left = status.left_files.iter().map(|f| f.remote_name.as_str()).filter(move |name| Some(*name) != started);
    started.into_iter().chain(left).filter(|name| !name.is_empty())
}

/// Forgets the left files that are gone, and names what is still to be deleted: once on each connection, because absent is
/// fine, and not while the device prints.
fn clean_up(seen: &Observed<'_>, new: &mut PrinterStatus, report: Option<&DeviceReport>) -> Vec<DeviceCommand> {
    new.left_files.retain(|f| !seen.deleted.contains(&f.remote_name));
    if report.is_none_or(DeviceReport::is_active) {
        return Vec::new();
    }
    // The job's half of a verdict is stored when the claim of that attempt is released: on some devices the deletion also
    // ends what they show of the print.
    let held = new.current_job.as_ref().map(|c| Token::new(&c.uid, c.attempt));
    leftovers(new)
        .filter(|name| !seen.deleted.iter().any(|d| d == name))
        .filter(|name| held.is_none() || Token::find(name) != held)
        .map(|name| DeviceCommand::DeleteFile { remote_name: name.to_owned() })
        .collect()
}

/// A start whose job is gone, or knows of it no more: after a full window of live reports the memory of it ends, its file
/// goes, and a clearance that was given before does not count.
fn abandon(seen: &Observed<'_>, new: &mut PrinterStatus, report: Option<&DeviceReport>) {
    let Some(last) = new.last_start.clone().filter(|l| l.verdict.is_none()) else { return };
    let Some(report) = report.filter(|r| !r.is_active()) else { return };
    let over = seen.last_start_live >= seen.timing.observation_window && seen.now >= last.deadline.0;
    if seen.last_start_job.is_some_and(|job| owes_verdict(job, &last)) || !over {
        return;
    }
    if let Some(last) = new.last_start.as_mut() {
        last.verdict = Some(StartVerdict::Abandoned);
    }
    let part = bed::Part { job: Some(last.job_name.clone()), display_name: None };
    let (id, identity) = (seen.fresh_id, Some(report.identity.clone()));
    bed::occupy(seen.printer, new, identity, seen.now, id, Reason::Unconfirmed, part);
}

/// Releases the claim of a job that is over, gone, or does not name this printer.
fn release_claim(seen: &Observed<'_>, new: &mut PrinterStatus) {
    let Some(claim) = new.current_job.clone() else { return };
    if seen.orphan.is_some_and(|o| o.metadata.uid.as_ref() == Some(&claim.uid)) {
        return;
    }
    let sent_unresolved = new.last_start.as_ref().is_some_and(|l| l.verdict.is_none() && l.job_uid == claim.uid);
    if sent_unresolved {
        return;
    }
    let Some(job) = seen.job.filter(|j| j.metadata.uid.as_ref() == Some(&claim.uid)) else {
        new.current_job = None;
        return;
    };
    let none = PrintJobStatus::default();
    let status = job.status.as_ref().unwrap_or(&none);
    let names_us = status.printer.as_ref().is_some_and(|p| Some(&p.uid) == seen.printer.metadata.uid.as_ref());
    let stale_attempt = names_us && status.attempt != claim.attempt;
    let may_still_name_us = is_waiting_for_a_printer(job) && claim.attempt >= status.attempt.max(1);
    let over = is_terminal(status) || stale_attempt || (!names_us && !may_still_name_us);
    if over {
        new.current_job = None;
    }
}
