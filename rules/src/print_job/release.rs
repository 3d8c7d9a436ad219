//! Giving a printer back before anything was printed: the file on the device goes first, then the claim. A device that
//! does not delete the file is waited for and a person is told, but not for ever: then the Printer remembers the file, and
//! deletes it at each connection and before its next start. What was or may have been sent is not let go of here.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{AvoidedPrinter, DesiredState, Outcome};
use printernizer_crds::printer::LeftFile;
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, PrintJobStatus, Reason};

use super::decide::write_if_changed;
use super::{Observed, finish, question, status};
use crate::device::Link;
use crate::plan::{DeviceCommand, Effect, Plan};
use crate::timing::elapsed;

/// Files of ours that a Printer remembers having been left on it.
const LEFT_FILES_KEPT: usize = 16;

/// What follows when a claim is given back.
pub(super) enum Next {
    /// The job is over.
    End(Reason, String),
    /// It is held.
    Hold,
    /// It goes back to the queue, free of charge, with the next attempt number and a pause.
    Queue(String),
    /// It goes back likewise, because this printer could not take it for long: another one that fits comes first.
    Elsewhere(String),
    /// Its file cannot be had, which is no fault of the printer: it waits for the file, and then for a printer, without a
    /// pause.
    Source(Reason, String),
}

/// Gives the printer back before anything was printed: deletes the file first, then unsets the claim.
pub(super) fn give_back(seen: &Observed<'_>, old: &PrintJobStatus, next: &Next) -> Plan {
    let mut plan = Plan::nothing();
    if let Some(upload) = old.upload.as_ref().filter(|_| !seen.session.as_ref().is_some_and(|s| s.file_deleted)) {
        if !may_leave_file(seen, old) {
            return delete_first(seen, old, &upload.remote_name);
        }
        plan = leave_file(seen, &upload.remote_name);
    }
    let mut new = old.clone();
    if let Next::Elsewhere(why) = next {
        let name = old.printer.as_ref().map(|p| p.name.clone()).unwrap_or_default();
        finish::record_attempt(seen, &mut new, &name, Outcome::NotStarted, why);
        let until = seen.now.checked_add(seen.timing.unready_limit).unwrap_or(seen.now);
        new.avoid = Some(AvoidedPrinter { name, until: Time(until) });
    }
    unset_claim(&mut new, seen);
    let (type_, no) = (ConditionType::Scheduled, ConditionStatus::False);
    let write = match next {
        Next::End(reason, text) => finish::end(seen, old, new, *reason, text.clone()),
        Next::Hold => {
            let text = "held back: set spec.desiredState to Run to print it";
            seen.set(&mut new, type_, no, Reason::Held, text);
            new.attempt += 1;
            write_if_changed(old, new)
        }
        Next::Source(reason, message) => {
            new.attempt += 1;
            if let Some(file) = new.file.as_mut() {
                file.read_for.clear();
            }
            // With that it waits for no printer, and says nothing of any.
            seen.set(&mut new, ConditionType::Accepted, no, *reason, message.clone());
            write_if_changed(old, new)
        }
        Next::Queue(why) | Next::Elsewhere(why) => {
            new.attempt += 1;
            new.refusals += 1;
            let pause = seen.timing.backoff(new.refusals);
            new.not_before = seen.now.checked_add(pause).ok().map(Time);
            let printer = old.printer.as_ref().map_or("its printer", |p| p.name.as_str());
            seen.set(&mut new, type_, no, Reason::ClaimReleased, format!("gave {printer} back: {why}"));
            write_if_changed(old, new)
        }
    };
    plan.effects.extend(write.effects);
    plan
}

/// Takes the claim and all that belongs to the attempt out of the status.
pub(super) fn unset_claim(new: &mut PrintJobStatus, seen: &Observed<'_>) {
    new.printer = None;
    new.upload = None;
    new.start = None;
    new.device_job_id = None;
    new.slot_mapping.clear();
    new.assigned_time = None;
    new.start_time = None;
    new.progress = None;
    question::close(seen, new);
    new.acted_on = None;
    new.paused_by_us = false;
    new.conditions.unset(ConditionType::Started);
    status::refresh(new, seen.job, seen.now);
}

/// How long the job has had its printer.
fn assigned_for(seen: &Observed<'_>, old: &PrintJobStatus) -> Duration {
    old.assigned_time.as_ref().map_or(Duration::ZERO, |t| elapsed(seen.now, t.0))
}

/// How long a job waits for a printer that does not delete its file; one that nobody wants any more not as long.
fn letting_go_limit(seen: &Observed<'_>) -> Duration {
    if is_leaving(seen) { seen.timing.letting_go } else { seen.timing.unready_limit }
}

/// Whether nobody wants the job any more.
pub(super) fn is_leaving(seen: &Observed<'_>) -> bool {
    seen.job.metadata.deletion_timestamp.is_some() || seen.job.spec.desired_state == DesiredState::Cancel
}

/// Whether the device was waited for long enough.
fn may_leave_file(seen: &Observed<'_>, old: &PrintJobStatus) -> bool {
    let limit = letting_go_limit(seen);
    let Some(session) = &seen.session else {
        return seen.printer.is_none() || assigned_for(seen, old) >= limit;
    };
    let silent = matches!(session.link, Link::Down { silent_for, .. } if *silent_for >= limit);
    let refused = session.undeleted.as_ref().is_some_and(|u| u.lasting >= limit);
    let deleted = seen.job.metadata.deletion_timestamp.as_ref();
    // A deletion that was asked for is waited for no longer than it takes, whatever the device says meanwhile.
    let over = deleted.is_some_and(|t| elapsed(seen.now, t.0) >= seen.timing.letting_go);
    silent || refused || (over && !matches!(session.link, Link::Down { .. }))
}

/// Asks for the deletion. Says so in the job's own status, which keeps everything else, once it takes long.
fn delete_first(seen: &Observed<'_>, old: &PrintJobStatus, remote_name: &str) -> Plan {
    let current = seen.job.status.clone().unwrap_or_default();
    // The answer that was acted on is kept before a person changes it: the deletion may take its time.
    let mut new = PrintJobStatus { answered: old.answered.clone(), ..current.clone() };
    let patience = seen.timing.refusal_quiet;
    let session = seen.session.as_ref();
    let refused = session.and_then(|s| s.undeleted.as_ref()).filter(|u| u.lasting >= patience).map(|u| &u.message);
    let silent = session.and_then(|s| match s.link {
        Link::Down { message, silent_for, .. } if *silent_for >= patience => Some(message),
        _ => None,
    });
    if let Some(why) = silent.or(refused) {
        let limit = i64::try_from(letting_go_limit(seen).as_secs()).unwrap_or(i64::MAX);
        let text = format!(
            "the printer does not delete {remote_name}: {why}. Close what its screen shows, or delete the file there; \
             {} after the first refusal the job lets go of the printer, which then deletes the file when it can",
            status::words(limit)
        );
        seen.tell(&mut new, Reason::FileNotDeleted, text);
    }
    let delete = DeviceCommand::DeleteFile { remote_name: remote_name.to_owned() };
    write_if_changed(&current, new).then(Effect::Device(delete)).again(seen.timing.poll_period)
}

/// Makes the Printer remember a file that stays on its device.
pub(super) fn leave_file(seen: &Observed<'_>, remote_name: &str) -> Plan {
    let Some(mut printer) = seen.printer.and_then(|p| p.status.clone()) else { return Plan::nothing() };
    if printer.left_files.iter().any(|f| f.remote_name == remote_name) {
        return Plan::nothing();
    }
    printer.left_files.push(LeftFile {
        remote_name: remote_name.to_owned(),
        job_name: seen.job.metadata.name.clone().unwrap_or_default(),
        job_uid: seen.job.metadata.uid.clone().unwrap_or_default(),
    });
    let surplus = printer.left_files.len().saturating_sub(LEFT_FILES_KEPT);
    printer.left_files.drain(..surplus);
    Plan::of([Effect::WritePrinter(Box::new(printer))])
}
