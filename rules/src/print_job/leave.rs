//! What is left to do where nothing more is decided: a job that has ended cleans up and, in time, goes; a deleted one whose
//! print nobody can resolve is let go of, and says so.

use std::time::Duration;

use printernizer_crds::{PRINT_JOB_FINALIZER, PrintJobStatus, PrintRecordStatus, Reason};

use super::decide::{REST, write_if_changed};
use super::release::leave_file;
use super::{Observed, accept, status};
use crate::device::Link;
use crate::plan::{DeviceCommand, Effect, Plan};
use crate::timing::elapsed;

/// A deleted job whose print nobody can resolve is let go after a while. The printer keeps what it must remember.
pub(super) fn or_let_go(seen: &Observed<'_>, plan: Plan) -> Plan {
    let Some(deleted) = seen.job.metadata.deletion_timestamp.as_ref() else { return plan };
    let waited = elapsed(seen.now, deleted.0);
    match seen.timing.letting_go.checked_sub(waited) {
        Some(left) if !left.is_zero() => plan.again(left),
        _ => let_go(seen),
    }
}

/// Lets go of a deleted job, and says so before: it is the last that is heard of it.
fn let_go(seen: &Observed<'_>) -> Plan {
    let mut plan = remove_finalizer(seen);
    let Some(old) = seen.job.status.as_ref().filter(|_| !plan.effects.is_empty()) else { return plan };
    let remembers = match seen.printer.and_then(|p| p.metadata.name.as_deref()) {
        Some(name) => {
            format!(": {name} remembers the start, and takes no other job before somebody has confirmed its bed")
        }
        None => String::new(),
    };
    let text = format!("deleted, and let go of although nobody knows what became of its print{remembers}");
    let mut new = old.clone();
    seen.tell(&mut new, Reason::BeingDeleted, text);
    plan.effects.splice(..0, write_if_changed(old, new).effects);
    plan
}

/// How long a deleted job stays for a print that is not seen, as the end of a message.
pub(super) fn kept_words(seen: &Observed<'_>) -> String {
    let deleted = seen.job.metadata.deletion_timestamp.as_ref();
    let until = deleted.and_then(|at| at.0.checked_add(seen.timing.letting_go).ok());
    until.map(|until| format!(". Deleted: kept until that is known, and until {until} at most")).unwrap_or_default()
}

/// Removes our finalizer from the job, if it is there.
pub(super) fn remove_finalizer(seen: &Observed<'_>) -> Plan {
    if has_finalizer(seen) { Plan::of([Effect::RemoveJobFinalizer]) } else { Plan::nothing() }
}

fn has_finalizer(seen: &Observed<'_>) -> bool {
    seen.job.metadata.finalizers.iter().flatten().any(|f| f == PRINT_JOB_FINALIZER)
}

/// After the end: the file goes, then the finalizer, and in time the job.
pub(super) fn after_end(seen: &Observed<'_>, old: &PrintJobStatus) -> Plan {
    let deleting = seen.job.metadata.deletion_timestamp.is_some();
    let session = seen.session.as_ref();
    let reachable = session.is_some_and(|s| matches!(s.link, Link::Live { .. }));
    let mut plan = Plan::nothing();
    let remote_name = old.upload.as_ref().map(|u| u.remote_name.clone());
    if let Some(remote_name) = remote_name {
        if session.is_some_and(|s| s.file_deleted) || seen.printer.is_none() {
            let mut new = old.clone();
            new.upload = None;
            status::refresh(&mut new, seen.job, seen.now);
            return write_if_changed(old, new).again(Duration::ZERO);
        }
        plan = match session.map(|s| s.link) {
            Some(Link::Live { .. }) => {
                let delete = Effect::Device(DeviceCommand::DeleteFile { remote_name });
                plan.then(delete).again(seen.timing.poll_period)
            }
            // It is about to answer or to be given up; nobody tells a job that has ended.
            Some(Link::Connecting) => plan.again(seen.timing.poll_period),
            Some(Link::Down { .. }) | None => plan.again(seen.timing.unready_limit / 15),
        };
    }
    let held = seen.printer.and_then(|p| p.status.as_ref()).and_then(|s| s.current_job.as_ref());
    let held = held.is_some_and(|j| Some(&j.uid) == seen.job.metadata.uid.as_ref());
    if held {
        // The printer's own rules release it; what follows here waits for that.
        plan = plan.again(REST);
    }
    let has_finalizer = has_finalizer(seen);
    if let (true, Some(end_time)) = (accept::is_tracked(seen.job) && has_finalizer, old.completion_time.clone()) {
        let outcome = old.attempts.last().map(|a| a.outcome);
        plan = plan.then(Effect::FinishRecord(PrintRecordStatus { outcome, end_time: Some(end_time) }));
    }
    if has_finalizer && (!held || deleting) {
        plan = plan.then(Effect::RemoveJobFinalizer);
    }
    if deleting || accept::is_tracked(seen.job) {
        return plan;
    }
    let ttl = seen.job.spec.ttl_seconds_after_finished.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
    let ttl = ttl.unwrap_or(seen.timing.finished_ttl);
    let Some(ended) = old.completion_time.as_ref() else { return plan };
    let age = elapsed(seen.now, ended.0);
    if age < ttl {
        return plan.again(ttl.saturating_sub(age));
    }
    match old.upload.as_ref() {
        _ if held => plan,
        // A device that answers and does not delete the file is waited for, but not for ever.
        Some(_) if reachable && age < ttl.saturating_add(seen.timing.letting_go) => plan,
        Some(upload) => {
            plan.effects.extend(leave_file(seen, &upload.remote_name).effects);
            plan.then(Effect::DeleteJob)
        }
        None => plan.then(Effect::DeleteJob),
    }
}
