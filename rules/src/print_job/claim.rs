//! A job that holds, or believes to hold, a printer: completing the claim, uploading, asking for the start. How a claim
//! is given back stands in `release`.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{ClaimedPrinter, DesiredState, Upload};
use printernizer_crds::printer::CurrentJob;
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, PrintJob, PrintJobStatus, Printer, Reason};

use super::decide::{REST, missed_deadline, write_if_changed};
use super::gate::{Closed, claim_agrees, token_of};
use super::release::{Next, give_back};
use super::start::{Relation, Watch, relation};
use super::{FileView, Observed, UploadView, accept, follow, status};
use crate::device::Link;
use crate::plan::{DeviceCommand, Effect, Plan};
use crate::printer::leftovers;
use crate::timing::elapsed;

/// The claim of the printer on this job, unless it is for an attempt that was given back already: a name on the device
/// is never used twice, so such a claim is left to be released.
pub(super) fn half_claim<'a>(job: &PrintJob, printer: &'a Printer) -> Option<&'a CurrentJob> {
    let attempt = job.status.as_ref().map_or(1, |s| s.attempt.max(1));
    let held = printer.status.as_ref()?.current_job.as_ref()?;
    (Some(&held.uid) == job.metadata.uid.as_ref() && held.attempt >= attempt).then_some(held)
}

/// The second half of a claim: the printer already holds the job, now the job names the printer.
pub(super) fn complete(seen: &Observed<'_>, old: &PrintJobStatus, printer: &Printer, held: &CurrentJob) -> Plan {
    let (Some(name), Some(uid)) = (printer.metadata.name.clone(), printer.metadata.uid.clone()) else {
        return Plan::wait(REST);
    };
    let device = printer.status.as_ref().and_then(|s| s.device.as_ref());
    let Some(serial_number) = device.and_then(|d| d.serial_number.clone()) else {
        // Without a serial number nobody can say which device a start went to.
        let why = "the serial number of the printer is not known".to_owned();
        return give_back(seen, &attempted(old, held.attempt), &Next::Queue(why));
    };
    let mut new = old.clone();
    new.printer = Some(ClaimedPrinter { name: name.clone(), uid, serial_number });
    new.attempt = held.attempt;
    new.assigned_time = Some(Time(seen.now));
    (new.not_before, new.avoid) = (None, None);
    (new.upload, new.progress, new.acted_on, new.paused_by_us) = (None, None, None, false);
    match &seen.mapping {
        Some(Ok(mapping)) => new.slot_mapping.clone_from(mapping),
        // What was assigned a moment ago does not fit any more: with the next attempt number the claim is void.
        Some(Err(why)) => return give_back(seen, &attempted(old, held.attempt), &Next::Queue(why.clone())),
        None => return Plan::wait(REST),
    }
    let message = format!("given to printer {name} (attempt {})", held.attempt);
    seen.set(&mut new, ConditionType::Scheduled, ConditionStatus::True, Reason::Assigned, message);
    seen.set(&mut new, ConditionType::Started, ConditionStatus::False, Reason::UploadPending, UPLOAD_NEXT);
    Plan::of([Effect::WriteJob(Box::new(new)), Effect::FetchFile])
}

/// Whether the job's file must be at hand: it holds a printer that does not have the whole file yet.
pub fn needs_file_at_hand(job: &PrintJob) -> bool {
    job.status.as_ref().is_some_and(|s| {
        s.printer.is_some()
            && s.start.is_none()
            && !s.upload.as_ref().is_some_and(|upload| upload.size_verified)
            && !s.conditions.is_true(ConditionType::Started)
            && !status::is_terminal(s)
    })
}

/// What is done as long as the file is not at hand; `None` when it is. A source that is away or slow costs nobody a
/// printer: it is given back at once, or after a while.
fn without_file(seen: &Observed<'_>, old: &PrintJobStatus) -> Option<Plan> {
    let lasting = match seen.file {
        FileView::Read(_) => return None,
        FileView::Fetching { lasting } => lasting,
        FileView::Unknown | FileView::Refused { .. } => Duration::ZERO,
    };
    Some(match file_away(seen) {
        Some(next) => give_back(seen, old, &next),
        None => Plan::of([Effect::FetchFile]).again(seen.timing.file_patience.saturating_sub(lasting)),
    })
}

/// What follows where the file cannot be had, or not soon.
fn file_away(seen: &Observed<'_>) -> Option<Next> {
    match &seen.file {
        FileView::Refused { reason, message } => Some(Next::Source(*reason, message.clone())),
        FileView::Fetching { lasting } if *lasting >= seen.timing.file_patience => {
            Some(Next::Source(Reason::FetchingFile, accept::FETCHED_AGAIN.to_owned()))
        }
        _ => None,
    }
}

fn attempted(old: &PrintJobStatus, attempt: i32) -> PrintJobStatus {
    PrintJobStatus { attempt, ..old.clone() }
}

/// Decides for a job that names a printer.
pub(super) fn decide(seen: &Observed<'_>, old: &PrintJobStatus) -> Plan {
    let started = old.conditions.is_true(ConditionType::Started);
    let Some(printer) = seen.printer.filter(|p| claim_agrees(seen.job, p)) else {
        return disagreement(seen, old, started);
    };
    let token = token_of(seen.job);
    let ours = printer.status.as_ref().and_then(|s| s.last_start.as_ref()).filter(|l| l.token == token.to_string());
    if old.start.is_some() || started || ours.is_some() {
        return follow::resolve(seen, old, printer, ours);
    }
    before_intent(seen, old, printer)
}

/// Job and printer do not agree on the claim.
fn disagreement(seen: &Observed<'_>, old: &PrintJobStatus, started: bool) -> Plan {
    let unresolved = old.start.is_some() || started;
    if !unresolved {
        // With the next attempt number: a file may lie on the device, and a name is never used twice.
        return give_back(seen, old, &Next::Queue("the printer does not hold this job any more".into()));
    }
    // A re-created Printer of the same device holds the job again: the claim moves over to it.
    if let Some(printer) = seen.printer {
        let holder = printer.status.as_ref().and_then(|s| s.current_job.as_ref());
        let serial = printer.status.as_ref().and_then(|s| s.device.as_ref()).and_then(|d| d.serial_number.as_deref());
        let named = old.printer.as_ref();
        if holder.is_some_and(|h| Some(&h.uid) == seen.job.metadata.uid.as_ref())
            && named.is_some_and(|n| Some(n.serial_number.as_str()) == serial)
        {
            let mut new = old.clone();
            new.printer = named.map(|n| ClaimedPrinter {
                name: printer.metadata.name.clone().unwrap_or_default(),
                uid: printer.metadata.uid.clone().unwrap_or_default(),
                serial_number: n.serial_number.clone(),
            });
            return write_if_changed(old, new);
        }
        // The verdict was written, the claim given back, and the job's own half lost in between.
        let token = token_of(seen.job);
        let last = printer.status.as_ref().and_then(|s| s.last_start.as_ref());
        if let Some(last) = last.filter(|l| l.token == token.to_string() && l.verdict.is_some()) {
            return follow::resolve(seen, old, printer, Some(last));
        }
    }
    follow::without_device(seen, old, Reason::PrinterGone)
}

/// A claimed job before its intent.
fn before_intent(seen: &Observed<'_>, old: &PrintJobStatus, printer: &Printer) -> Plan {
    let token = token_of(seen.job);
    let quiet = Watch::default();
    let connecting = Link::Connecting;
    let session = seen.session.as_ref();
    let link = session.map_or(&connecting, |s| s.link);
    let watch = session.map_or(&quiet, |s| s.watch);
    if watch.try_alive {
        return Plan::wait(REST);
    }
    // Started at the screen: the device shows our identity although no intent was written. The attempt is used.
    let report = link.report_within(seen.timing.stale_after);
    let device_job_id = old.device_job_id.as_deref();
    if watch.seen_active || report.is_some_and(|r| relation(&token, None, device_job_id, &r.identity) == Relation::Ours)
    {
        return follow::adopt_without_intent(seen, old, printer);
    }

    let job_status = |reason, text: String, new: &mut PrintJobStatus| {
        seen.set(new, ConditionType::Started, ConditionStatus::False, reason, text);
    };
    let deleting = seen.job.metadata.deletion_timestamp.is_some();
    let desired = seen.job.spec.desired_state;
    if deleting || desired == DesiredState::Cancel {
        return give_back(seen, old, &Next::End(Reason::Cancelled, "cancelled before the print was started".into()));
    }
    if let Some(missed) = missed_deadline(seen.job, old, seen.now) {
        return give_back(seen, old, &Next::End(Reason::DeadlineExceeded, missed));
    }
    if desired == DesiredState::Pause {
        return give_back(seen, old, &Next::Hold);
    }
    if let Some(Closed::GiveBack(why)) = session.and_then(|s| s.closed.as_ref()) {
        return give_back(seen, old, &Next::Queue(why.clone()));
    }
    if let Some(why) = closed_too_long(seen) {
        return give_back(seen, old, &Next::Elsewhere(why));
    }
    if unjudged_for(seen, old) >= seen.timing.unready_limit {
        // Of a printer that is away nothing is to be stored.
        let why = match report {
            Some(_) => "what the printer shows could not be stored in its status for too long",
            None => NOT_READY,
        };
        return give_back(seen, old, &Next::Elsewhere(why.to_owned()));
    }
    let device = printer.status.as_ref().and_then(|s| s.device.as_ref()).and_then(|d| d.serial_number.as_ref());
    if device.is_some_and(|serial| old.printer.as_ref().is_some_and(|claimed| claimed.serial_number != *serial)) {
        return give_back(seen, old, &Next::Queue("another machine stands behind the printer now".into()));
    }
    // Without a rename the file lies there ready to be started by anyone: it is not carried on, and does not stay, where
    // nobody has said that the bed is clear.
    let bed_cleared = printer.status.as_ref().is_some_and(|s| s.conditions.is_true(ConditionType::BedCleared));
    if old.upload.is_some() && !bed_cleared {
        return give_back(seen, old, &Next::Queue("the bed is not clear any more".into()));
    }
    if old.upload.is_some() && session.is_some_and(|s| s.file_deleted) {
        // Also as the first step of giving it back.
        let away = file_away(seen).filter(|_| needs_file_at_hand(seen.job));
        let next = away.unwrap_or_else(|| Next::Queue("its file was deleted from the printer".into()));
        return give_back(seen, old, &next);
    }
    if unready_for(seen, old, printer) >= seen.timing.unready_limit {
        return give_back(seen, old, &Next::Elsewhere(NOT_READY.to_owned()));
    }

    let name = token.to_string();
    match &old.upload {
        _ if !session.is_some_and(|s| s.judged) => until_judged(seen, old, printer, link),
        Some(upload) if upload.token == name && upload.size_verified => {
            let mut new = old.clone();
            let text = match session.and_then(|s| s.closed.as_ref()) {
                Some(closed) => format!("waiting to start: {closed}"),
                None => "the file is on the printer; the start is next".to_owned(),
            };
            job_status(Reason::StartPending, text, &mut new);
            // What earlier jobs have left on the device goes first.
            let left = printer.status.iter().flat_map(leftovers).filter(|left| *left != upload.remote_name);
            let delete = |left: &str| Effect::Device(DeviceCommand::DeleteFile { remote_name: left.to_owned() });
            let plan = left.map(delete).fold(write_if_changed(old, new), Plan::then);
            plan.then(Effect::Device(DeviceCommand::Start)).again(seen.timing.poll_period)
        }
        Some(upload) if upload.token == name => {
            let mut new = old.clone();
            let remote_name = upload.remote_name.clone();
            match session.map(|s| &s.upload) {
                Some(UploadView::Done) => {
                    if let Some(upload) = new.upload.as_mut() {
                        upload.size_verified = true;
                    }
                    let text = "the file is on the printer; the start is next".to_owned();
                    job_status(Reason::StartPending, text, &mut new);
                    write_if_changed(old, new)
                }
                Some(UploadView::Running { .. }) => {
                    uploading(seen, &remote_name, &mut new);
                    write_if_changed(old, new).again(REST)
                }
                Some(UploadView::Failed { message }) => without_file(seen, old).unwrap_or_else(|| {
                    let text = format!("{UPLOAD_FAILED}{message}");
                    job_status(Reason::UploadFailed, text, &mut new);
                    write_if_changed(old, new)
                        .then(Effect::Device(DeviceCommand::Upload { remote_name }))
                        .again(seen.timing.poll_period)
                }),
                Some(UploadView::Idle) | None => without_file(seen, old).unwrap_or_else(|| {
                    uploading(seen, &remote_name, &mut new);
                    write_if_changed(old, new).then(Effect::Device(DeviceCommand::Upload { remote_name })).again(REST)
                }),
            }
        }
        _ => without_file(seen, old).unwrap_or_else(|| record_upload(seen, old, printer, &token, link)),
    }
}

/// Why a claim is given back whose printer is away, or cannot be used.
const NOT_READY: &str = "the printer was not ready for too long";

/// What is said of a claim before its upload.
const UPLOAD_NEXT: &str = "the file is uploaded next";

/// How the message of an upload begins that has failed.
const UPLOAD_FAILED: &str = "the upload failed and is tried again: ";

/// Says that the file is on its way; of an upload that has failed before, what went wrong stays said until it succeeds.
fn uploading(seen: &Observed<'_>, remote_name: &str, new: &mut PrintJobStatus) {
    let before = new.conditions.condition(ConditionType::Started);
    let (reason, text) = match before.filter(|c| c.reason == Reason::UploadFailed.as_str()) {
        Some(failed) => (Reason::UploadFailed, failed.message.clone()),
        None => (Reason::Uploading, format!("uploading as {remote_name}")),
    };
    seen.set(new, ConditionType::Started, ConditionStatus::False, reason, text);
}

/// Why no try to start has got through the gate of this printer for too long.
fn closed_too_long(seen: &Observed<'_>) -> Option<String> {
    let session = seen.session.as_ref().filter(|s| s.closed_for >= seen.timing.unready_limit)?;
    let closed = session.closed.as_ref().filter(|closed| !closed.is_of_all())?;
    Some(format!("the print could not be started for too long: {closed}"))
}

/// How long this claim has been held by a printer that is not Ready, or does not take the file; zero when it does.
fn unready_for(seen: &Observed<'_>, old: &PrintJobStatus, printer: &Printer) -> Duration {
    let Some(assigned) = old.assigned_time.as_ref() else { return Duration::ZERO };
    let ready = printer.status.as_ref().and_then(|s| s.conditions.condition(ConditionType::Ready));
    let session = seen.session.as_ref();
    let failing = matches!(session.map(|s| &s.upload), Some(UploadView::Failed { .. }));
    let since = match ready {
        _ if failing || session.is_none() => assigned.0,
        Some(ready) if ready.status == "True" => return Duration::ZERO,
        Some(ready) => assigned.0.max(ready.last_transition_time.0),
        None => assigned.0,
    };
    elapsed(seen.now, since)
}

/// How long this claim has been held by a printer of which nobody has stored what it shows.
fn unjudged_for(seen: &Observed<'_>, old: &PrintJobStatus) -> Duration {
    let Some(session) = seen.session.as_ref().filter(|s| !s.judged) else { return Duration::ZERO };
    let held = old.assigned_time.as_ref().map_or(Duration::ZERO, |at| elapsed(seen.now, at.0));
    session.unjudged_for.min(held)
}

/// Waits until what the printer shows is judged, which wakes the job: what is stored of the bed is not known to be true, for
/// somebody may have printed meanwhile. That takes a moment, of which nothing is said; where it takes longer, a person is told.
fn until_judged(seen: &Observed<'_>, old: &PrintJobStatus, printer: &Printer, link: &Link) -> Plan {
    if needs_file_at_hand(seen.job)
        && let Some(fetched) = without_file(seen, old)
    {
        return fetched;
    }
    let (lasting, patience) = (unjudged_for(seen, old), seen.timing.stale_after);
    if lasting < patience {
        return Plan::wait(patience.saturating_sub(lasting));
    }
    let mut new = old.clone();
    // Of a printer that is not heard of the Printer itself tells.
    if link.report_within(seen.timing.stale_after).is_some() {
        let name = printer.metadata.name.as_deref().unwrap_or_default();
        let verified = old.upload.as_ref().is_some_and(|upload| upload.size_verified);
        let reason = if verified { Reason::StartPending } else { Reason::UploadPending };
        let text = format!("{UNSTORED}{name} {UNSTORED_ADVICE}");
        seen.set(&mut new, ConditionType::Started, ConditionStatus::False, reason, text);
    }
    write_if_changed(old, new).again(seen.timing.unready_limit.saturating_sub(lasting).min(REST))
}

/// How the message begins of a job whose printer has no status that says what it shows, and how it goes on.
const UNSTORED: &str =
    "waiting until what the printer shows is stored in its status, which fails now: the events of Printer ";
const UNSTORED_ADVICE: &str = "and the operator's log say why. The operator must be allowed to update printers/status, and \
                               the definitions must be as new as the operator";

/// Records the name of the file on the device before its first byte is sent.
fn record_upload(
    seen: &Observed<'_>,
    old: &PrintJobStatus,
    printer: &Printer,
    token: &crate::identity::Token,
    link: &Link,
) -> Plan {
    // Without a rename the file lies there ready to be started by anyone: only onto a cleared bed.
    let cleared = printer.status.as_ref().is_some_and(|s| s.conditions.is_true(ConditionType::BedCleared));
    let Some(report) = link.report_within(seen.timing.stale_after).filter(|r| cleared && r.is_free()) else {
        let assigned = old.assigned_time.as_ref().map_or(seen.now, |t| t.0);
        if elapsed(seen.now, assigned) >= seen.timing.unready_limit {
            return give_back(seen, old, &Next::Elsewhere("the printer was not free for too long".into()));
        }
        let mut new = old.clone();
        let told = old.conditions.condition(ConditionType::Started).is_some_and(|c| c.message.starts_with(UNSTORED));
        if told {
            // That is over; what is in the way now, the printer tells.
            seen.set(&mut new, ConditionType::Started, ConditionStatus::False, Reason::UploadPending, UPLOAD_NEXT);
        }
        return write_if_changed(old, new).again(seen.timing.poll_period);
    };
    let display_name = seen.job.spec.display_name.as_deref().or(seen.job.metadata.name.as_deref()).unwrap_or("part");
    let format = old.file.as_ref().map_or("Gcode", |f| f.format.as_str());
    let extension = match format {
        "BinaryGcode" => "bgcode",
        "Gcode3mf" => "gcode.3mf",
        _ => "gcode",
    };
    let remote_name = token.remote_name(display_name, extension);
    let mut new = old.clone();
    new.upload = Some(Upload {
        token: token.to_string(),
        remote_name: remote_name.clone(),
        size_verified: false,
        device_job_id: report.identity.id.clone(),
    });
    let text = format!("uploading as {remote_name}");
    seen.set(&mut new, ConditionType::Started, ConditionStatus::False, Reason::Uploading, text);
    Plan::of([Effect::WriteJob(Box::new(new)), Effect::Device(DeviceCommand::Upload { remote_name })])
}
