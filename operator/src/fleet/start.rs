//! The one try to start a print: permit, gate on what is known, new connection, gate, intent (a) and (b), second look,
//! send.
//!
//! Nothing stands between the last look at the device, the intent and the send: this session does all of it, and while
//! it does, no reconcile judges the attempt. Every step asks what may have changed; any doubt ends the try unsent. It
//! never sends twice: a second try finds the intent of the first and is refused by the gate.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::DynamicObject;
use printernizer_crds::{PrintJob, Printer};
use printernizer_rules::device::DeviceReport;
use printernizer_rules::print_job::start::SendAnswer;
use printernizer_rules::print_job::{
    self,
    gate::{self, Closed, GateView},
};
use tokio::time::Instant;

use super::device::{Device, DeviceFault, Reported};
use super::serve::{COMMAND_LEASE, POLL_LIMIT, too_slow, took, within_lease};
use super::session::{Attempt, Command, Session};
use super::{FleetContext, fresh_id};
use crate::api::{ApiError, CALL_TIMEOUT, Key};
use crate::leadership::Permit;

use crate::telemetry::metrics::StartResult;

/// How often the pause after a try in vain doubles: from one poll to eight.
const LONGEST_PAUSE_DOUBLINGS: u32 = 3;

/// Runs one try. What came of it stands in the session's state.
pub(super) async fn run<D: Device>(context: &FleetContext, session: &Session, device: &mut D, command: &Command) {
    let served = session.with(|s| {
        let served = s.attempt.as_ref() == Some(&command.attempt);
        if let Some(w) = s.watching.as_mut().filter(|_| served) {
            w.try_alive(true);
        }
        served
    });
    if !served {
        return;
    }
    let ended = attempt(context, session, device, command).await;
    let told = session.with(|s| s.closed.clone());
    session.with(|s| {
        // What came of this try is not said of another attempt.
        if s.attempt.as_ref() != Some(&command.attempt) {
            return;
        }
        if let Some(w) = s.watching.as_mut() {
            w.try_alive(false);
            if let Ok(answer) = &ended {
                w.sent(answer.clone());
            }
        }
        if ended.as_ref().is_ok_and(|answer| !matches!(answer, SendAnswer::NotSent(_))) {
            s.start_sent = Some(Instant::now());
        }
        s.try_ended(ended.as_ref().err().cloned());
        // Each try costs reads, and may cost the device a connection: not at once again, and ever more rarely. A device
        // that turns free is tried at once.
        let pause = context.timing.poll_period * (1 << s.tries_in_vain.min(LONGEST_PAUSE_DOUBLINGS));
        s.tries_in_vain = s.tries_in_vain.saturating_add(1);
        s.no_try_before = s.closed.is_some().then(|| Instant::now() + pause);
    });
    let (printer, job) = (&session.printer, &command.attempt.job);
    match ended {
        Ok(answer) => {
            let result = match &answer {
                SendAnswer::NotSent(_) => StartResult::NotSent,
                SendAnswer::Accepted => StartResult::Sent,
                SendAnswer::Refused(_) => StartResult::Refused,
                SendAnswer::Unclear => StartResult::Unclear,
            };
            context.metrics.started(D::KIND, result);
            tracing::info!(%printer, %job, ?answer, "the start was decided");
        }
        // One line for each reason, none for each try.
        Err(closed) if told.as_ref() == Some(&closed) => {
            tracing::debug!(%printer, %job, %closed, "the start still waits");
        }
        Err(closed) => tracing::info!(%printer, %job, %closed, "the start must wait"),
    }
}

struct Objects {
    job: PrintJob,
    printer: Printer,
    unresolved_elsewhere: Option<String>,
}

fn api_server(error: &ApiError) -> Closed {
    Closed::NotNow(format!("the API server: {error}"))
}

/// Quorum reads of both sides of the claim, which must still be about this attempt.
async fn read(context: &FleetContext, session: &Session, attempt: &Attempt) -> Result<Objects, Closed> {
    let (job, printer) =
        tokio::join!(context.api.get::<PrintJob>(&attempt.job), context.api.get::<Printer>(&session.printer));
    let job = job.map_err(|e| api_server(&e))?.ok_or(Closed::Changed("the job is gone"))?;
    let printer = printer.map_err(|e| api_server(&e))?.ok_or(Closed::Changed("the printer is gone"))?;
    let still_ours =
        gate::token_of(&job) == attempt.token && job.metadata.uid.as_deref() == Some(attempt.job_uid.as_str());
    if !still_ours {
        return Err(Closed::Changed("the job has moved on"));
    }
    Ok(Objects { job, printer, unresolved_elsewhere: None })
}

/// Quorum reads of everything else that may stand for this device, in all namespaces this process works in: other
/// Printers, and PrintJobs with an unresolved start. Costs two lists, and is asked only where nothing else stands
/// against the start.
async fn look_elsewhere(context: &FleetContext, objects: &mut Objects) -> Result<(), Closed> {
    let scope = context.namespace.as_deref();
    let Objects { job, printer, .. } = &*objects;
    let serial = job.status.as_ref().and_then(|s| s.printer.as_ref()).map(|p| p.serial_number.as_str());
    let unresolved = |other: DynamicObject| {
        let counts = other.metadata.uid != job.metadata.uid && may_be_unresolved(&other.data, serial);
        counts.then(|| Key::of(&other))
    };
    let in_the_way = |other: DynamicObject| stands_before(printer, &other).then(|| Key::of(&other));
    let (jobs, printers) =
        tokio::join!(context.api.unfinished_jobs(scope, unresolved), context.api.printers(scope, in_the_way));
    if let Some(other) = printers.map_err(|e| api_server(&e))?.first() {
        return Err(Closed::GiveBack(format!("Printer {other} stands for the same device and comes first")));
    }
    objects.unresolved_elsewhere = jobs.map_err(|e| api_server(&e))?.first().map(Key::to_string);
    Ok(())
}

/// Whether a PrintJob has an unresolved start on the device with this serial number, or prints on it without one. One
/// that cannot be read counts if it names the device and a start: what became of it cannot be known.
fn may_be_unresolved(job: &serde_json::Value, serial: Option<&str>) -> bool {
    let status = &job["status"];
    let ended = || serde_json::from_value(status.clone()).is_ok_and(|s| print_job::status::is_terminal(&s));
    let started = !status["start"].is_null() || !status["startTime"].is_null();
    started && status["printer"]["serialNumber"].as_str() == serial && !ended()
}

/// Whether another Printer stands for the same device and comes before this one. One that cannot be read has no
/// session, and comes first only if it remembers a start without a verdict.
fn stands_before(printer: &Printer, other: &DynamicObject) -> bool {
    if other.metadata.uid == printer.metadata.uid {
        return false;
    }
    if let Ok(other) = other.clone().try_parse::<Printer>() {
        return crate::printer::comes_before(&other, printer);
    }
    let status = &other.data["status"];
    let unresolved = !status["lastStart"].is_null() && status["lastStart"]["verdict"].is_null();
    let serial = printernizer_rules::printer::serial_claimed(printer);
    let pinned = status["device"]["serialNumber"].as_str();
    unresolved && serial.is_some() && pinned == serial
}

/// Asks the gate. The mapping is computed again from this very report.
fn ask<D: Device>(
    context: &FleetContext,
    objects: &Objects,
    report: &DeviceReport,
    age: Duration,
    sender: Option<&str>,
) -> Result<(), Closed> {
    let mapping = crate::scheduling::mapping(&objects.job, &objects.printer, Some(report));
    let mapping = mapping.as_ref().map(Vec::as_slice).map_err(String::as_str);
    gate::check(&GateView {
        job: &objects.job,
        printer: &objects.printer,
        kind: D::KIND,
        report,
        report_age: age,
        unresolved_elsewhere: objects.unresolved_elsewhere.as_deref(),
        mapping,
        hold_starts: context.hold_starts,
        sender,
        now: Timestamp::now(),
        timing: &context.timing,
    })
}

fn may(context: &FleetContext, permit: &Permit) -> Result<(), Closed> {
    context.api.leadership().still(&permit.term, context.timing.send_timeout).map_err(|e| Closed::NotNow(e.to_string()))
}

async fn attempt<D: Device>(
    context: &FleetContext,
    session: &Session,
    device: &mut D,
    command: &Command,
) -> Result<SendAnswer, Closed> {
    let unreachable = |fault: DeviceFault| {
        session.command_failed(&fault);
        Closed::NotNow(fault.message)
    };
    if context.hold_starts {
        // The gate says so too; the device need not be asked for that.
        return Err(Closed::Held);
    }
    // 3. Gate: leadership, a new connection, a full report over it.
    let needed = CALL_TIMEOUT + context.timing.send_timeout;
    let permit = context.api.leadership().permit(needed).map_err(|e| Closed::NotNow(e.to_string()))?;
    // No device is connected to anew for a gate that what it said last keeps closed. Only the report of the new
    // connection opens it, and only that one has to be young.
    if let Some(known) = session.with(|s| s.report.as_ref().map(|(report, _)| report.clone())) {
        let objects = read(context, session, &command.attempt).await?;
        ask::<D>(context, &objects, &known, Duration::ZERO, None)?;
    }
    let begun = tokio::time::timeout(POLL_LIMIT, device.begin_start()).await;
    let (mut starting, reported) = begun.unwrap_or_else(|_| Err(too_slow())).map_err(unreachable)?;
    took(context, session, reported.clone());
    let Reported { report, at, .. } = reported;
    let mut objects = read(context, session, &command.attempt).await?;
    ask::<D>(context, &objects, &report, at.elapsed(), None)?;
    if let Some(why) = device.unfit(&objects.job) {
        return Err(Closed::GiveBack(why));
    }
    look_elsewhere(context, &mut objects).await?;
    ask::<D>(context, &objects, &report, at.elapsed(), None)?;

    // A job that Git may create again leaves its record before anything can be sent.
    if let Some(spec) = gate::record(&objects.job, &objects.printer, Timestamp::now()) {
        may(context, &permit)?;
        let written = context.api.create_record(&crate::print_job::record_of(spec)).await;
        written.map_err(|e| Closed::NotNow(format!("the API server: {e}")))?;
    }

    // 4. Intent, (a) then (b), both by replace with the versions the gate read.
    let sender = fresh_id();
    let print_id = device.print_id(&command.attempt.token);
    let gate_view = GateView {
        job: &objects.job,
        printer: &objects.printer,
        kind: D::KIND,
        report: &report,
        report_age: at.elapsed(),
        unresolved_elsewhere: None,
        mapping: Ok(&[]),
        hold_starts: context.hold_starts,
        sender: None,
        now: Timestamp::now(),
        timing: &context.timing,
    };
    let (job_half, printer_half) =
        gate::intent(&gate_view, &sender, print_id).ok_or(Closed::Changed("the job is not ready to start"))?;
    let deadline = job_half.start.as_ref().map(|s| s.deadline.0);
    may(context, &permit)?;
    let job = match context.api.replace_status(&objects.job, job_half).await {
        Ok(job) => job,
        Err(ApiError::Conflict) => return Err(Closed::Changed("the job changed before the intent")),
        Err(error) => {
            // On an unclear answer read back: only the sender named there may send.
            let read = context.api.get::<PrintJob>(&command.attempt.job).await.ok().flatten();
            read.filter(|j| named_sender(j) == Some(&sender)).ok_or(Closed::NotNow(error.to_string()))?
        }
    };
    if let Some(intent) = job.status.as_ref().and_then(|s| s.start.as_ref()) {
        session.intent_recorded(&command.attempt.token, intent);
    }
    let token = command.attempt.token.to_string();
    let not_sent = |why: &str| Ok(SendAnswer::NotSent(why.to_owned()));
    if may(context, &permit).is_err() {
        return not_sent("leadership ended");
    }
    let printer = match context.api.replace_status(&objects.printer, printer_half).await {
        Ok(printer) => printer,
        Err(ApiError::Conflict) => return not_sent("the printer changed before the intent was whole"),
        Err(error) => {
            let read = context.api.get::<Printer>(&session.printer).await.ok().flatten();
            let written = |p: &Printer| {
                let last = p.status.as_ref().and_then(|s| s.last_start.as_ref());
                last.is_some_and(|l| l.token == token && l.verdict.is_none() && Some(l.deadline.0) == deadline)
            };
            match read.filter(written) {
                Some(printer) => printer,
                // Written or not: nothing is sent without knowing that it is.
                None => return not_sent(&format!("the intent could not be confirmed: {error}")),
            }
        }
    };

    // 5. The file gets its name, the newest report is judged by the same gate, then the send.
    let objects = Objects { job, printer, unresolved_elsewhere: None };
    let start = objects.job.status.as_ref().and_then(|s| s.start.as_ref());
    let Some(remote_name) = start.map(|s| s.remote_name.as_str()) else {
        return not_sent("the intent names no file");
    };
    // The rename is an effect with a limit of its own, longer than the send's.
    if context.api.leadership().still(&permit.term, COMMAND_LEASE).is_err() {
        return not_sent("leadership ended");
    }
    let ready = match within_lease(device.ready_file(&mut starting, remote_name)).await {
        Ok(()) => device.newest(&mut starting).await,
        Err(fault) => Err(fault),
    };
    let judged = match ready {
        Ok(Reported { report, at, .. }) => ask::<D>(context, &objects, &report, at.elapsed(), Some(&sender)),
        Err(fault) => Err(unreachable(fault)),
    };
    let leadership = context.api.leadership();
    if let Err(closed) = judged {
        if leadership.permit(COMMAND_LEASE).is_ok() {
            device.withdraw_file(&mut starting, remote_name).await;
        }
        return not_sent(&closed.to_string());
    }
    let (send_timeout, start_deadline) = (context.timing.send_timeout, context.timing.start_deadline);
    // The deadline by both clocks: the wall clock may have been set back meanwhile.
    let young = move || at.elapsed() < start_deadline && deadline.is_some_and(|d| Timestamp::now() < d);
    let before_first_byte = || young() && leadership.still(&permit.term, send_timeout).is_ok();
    let answer = device.send(&mut starting, &objects.job, before_first_byte).await;
    if matches!(answer, SendAnswer::NotSent(_)) && leadership.permit(COMMAND_LEASE).is_ok() {
        device.withdraw_file(&mut starting, remote_name).await;
    }
    Ok(answer)
}

fn named_sender(job: &PrintJob) -> Option<&String> {
    job.status.as_ref().and_then(|s| s.start.as_ref()).map(|s| &s.sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_start_counts_as_unresolved_until_its_job_has_ended() {
        let job = |start: serde_json::Value, serial: &str, conditions: serde_json::Value| {
            json!({ "status": {
                "start": start, "printer": { "name": "p", "uid": "u", "serialNumber": serial }, "conditions": conditions,
            } })
        };
        let intent = json!({
            "protocol": 1, "token": "3f2504e04f8941d3-1", "remoteName": "a", "ids": {}, "sender": "s",
            "deadline": "2026-11-21T12:00:00Z", "before": { "state": "Idle" },
        });
        let failed = json!([{ "type": "Failed", "status": "True", "reason": "PrintFailed", "message": "",
            "lastTransitionTime": "2026-11-21T12:00:00Z" }]);
        let unresolved = |job: &serde_json::Value| may_be_unresolved(job, Some("SN-1"));
        assert!(unresolved(&job(intent.clone(), "SN-1", json!([]))));
        assert!(!unresolved(&job(intent.clone(), "SN-1", failed)), "ended");
        assert!(!unresolved(&job(intent.clone(), "SN-2", json!([]))), "another device");
        assert!(!unresolved(&job(json!(null), "SN-1", json!([]))), "nothing was started");
        assert!(unresolved(&job(intent, "SN-1", json!("unreadable"))), "nobody knows");
        let mut at_the_screen = job(json!(null), "SN-1", json!([]));
        at_the_screen["status"]["startTime"] = json!("2026-11-21T12:00:00Z");
        assert!(unresolved(&at_the_screen), "started by a person, and known");
        assert!(!may_be_unresolved(&json!({}), Some("SN-1")), "a new job");
    }

    #[test]
    fn a_printer_that_cannot_be_read_comes_first_only_with_an_unresolved_start() {
        let own: Printer = serde_json::from_value(json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": "own", "uid": "1" },
            "spec": { "model": "Prusa CORE One", "connection": {} }, "status": { "device": { "serialNumber": "SN-1" } },
        }))
        .unwrap();
        let other = |status: serde_json::Value| -> DynamicObject {
            let spec = json!({ "connection": [1, 2, 3] });
            serde_json::from_value(
                json!({ "metadata": { "name": "other", "uid": "2" }, "spec": spec, "status": status }),
            )
            .unwrap()
        };
        let device = json!({ "serialNumber": "SN-1" });
        assert!(!stands_before(&own, &other(json!({ "device": device }))));
        assert!(!stands_before(&own, &other(json!({ "device": device, "lastStart": { "verdict": "Succeeded" } }))));
        assert!(stands_before(&own, &other(json!({ "device": device, "lastStart": { "token": "t" } }))));
        let elsewhere = json!({ "device": { "serialNumber": "SN-2" }, "lastStart": { "token": "t" } });
        assert!(!stands_before(&own, &other(elsewhere)));
    }
}
