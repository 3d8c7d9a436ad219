//! The one try to start a print: permit, new connection, gate, intent (a) and (b), second look, send.
//!
//! Nothing stands between the last look at the device, the intent and the send: this session does all of it, and while
//! it does, no reconcile judges the attempt. Every step asks what may have changed; any doubt ends the try unsent. It
//! never sends twice: a second try finds the intent of the first and is refused by the gate.

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::{PrintJob, Printer};
use printernizer_rules::device::{DeviceKind, DeviceReport};
use printernizer_rules::print_job::start::SendAnswer;
use printernizer_rules::print_job::{
    self,
    gate::{self, Closed, GateView},
};
use tokio::time::Instant;

use super::device::Device;
use super::serve::took;
use super::session::{Command, Session};
use super::{FleetContext, fresh_id};
use crate::api::{ApiError, CALL_TIMEOUT, Key};
use crate::leadership::Permit;

/// How often the pause after a try in vain doubles: from one poll to eight.
const LONGEST_PAUSE_DOUBLINGS: u32 = 3;
use crate::telemetry::metrics::{DeviceKind as KindLabel, StartResult};

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
        s.try_ended(ended.as_ref().err().cloned());
        // Each try costs the device a connection and the API server a list: not at once again, and ever more rarely.
        let pause = context.timing.poll_period * (1 << s.tries_in_vain.min(LONGEST_PAUSE_DOUBLINGS));
        s.tries_in_vain = s.tries_in_vain.saturating_add(1);
        s.no_try_before = s.closed.is_some().then(|| Instant::now() + pause);
    });
    let (printer, job) = (&session.printer, &command.attempt.job);
    match ended {
        Ok(answer) => {
            let label = match D::KIND {
                DeviceKind::PrusaLink => KindLabel::PrusaLink,
                DeviceKind::Bambu => KindLabel::Bambu,
            };
            let result = match &answer {
                SendAnswer::NotSent(_) => StartResult::NotSent,
                SendAnswer::Accepted => StartResult::Sent,
                SendAnswer::Refused(_) => StartResult::Refused,
                SendAnswer::Unclear => StartResult::Unclear,
            };
            context.metrics.started(label, result);
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

/// Quorum reads of everything the gate asks about.
async fn read(context: &FleetContext, session: &Session, job_key: &Key) -> Result<Objects, Closed> {
    let failed = |e: ApiError| Closed::NotNow(format!("the API server: {e}"));
    let (job, printer, all) = tokio::join!(
        context.api.get::<PrintJob>(job_key),
        context.api.get::<Printer>(&session.printer),
        context.api.jobs_in(&job_key.namespace),
    );
    let job = job.map_err(failed)?.ok_or(Closed::Changed("the job is gone"))?;
    let printer = printer.map_err(failed)?.ok_or(Closed::Changed("the printer is gone"))?;
    let serial = job.status.as_ref().and_then(|s| s.printer.as_ref()).map(|p| p.serial_number.as_str());
    let others = all.map_err(failed)?.into_iter().filter(|other| other.metadata.uid != job.metadata.uid);
    let unresolved_elsewhere =
        others.filter(|other| may_be_unresolved(&other.data, serial)).find_map(|other| other.metadata.name);
    Ok(Objects { job, printer, unresolved_elsewhere })
}

/// Whether a PrintJob has an unresolved start on the device with this serial number. One that cannot be read counts if
/// it names the device and an intent: what became of it cannot be known.
fn may_be_unresolved(job: &serde_json::Value, serial: Option<&str>) -> bool {
    let status = &job["status"];
    let ended = || serde_json::from_value(status.clone()).is_ok_and(|s| print_job::status::is_terminal(&s));
    !status["start"].is_null() && status["printer"]["serialNumber"].as_str() == serial && !ended()
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
    let unreachable = |fault: super::device::DeviceFault| Closed::NotNow(fault.message);
    if context.hold_starts {
        // The gate says so too; the device need not be asked for that.
        return Err(Closed::Held);
    }
    // 3. Gate: leadership, a new connection, a full report over it.
    let needed = CALL_TIMEOUT + context.timing.send_timeout;
    let permit = context.api.leadership().permit(needed).map_err(|e| Closed::NotNow(e.to_string()))?;
    let asked = Instant::now();
    let (mut starting, report) = device.begin_start().await.map_err(unreachable)?;
    took(context, session, report.clone());
    let objects = read(context, session, &command.attempt.job).await?;
    let still_ours = gate::token_of(&objects.job) == command.attempt.token
        && objects.job.metadata.uid.as_deref() == Some(command.attempt.job_uid.as_str());
    if !still_ours {
        return Err(Closed::Changed("the job has moved on"));
    }
    ask::<D>(context, &objects, &report, asked.elapsed(), None)?;

    // A job that Git may create again leaves its record before anything can be sent.
    if let Some(spec) = gate::record(&objects.job, &objects.printer, Timestamp::now()) {
        may(context, &permit)?;
        let written = context.api.create_record(&crate::print_job::record_of(spec)).await;
        written.map_err(|e| Closed::NotNow(format!("the API server: {e}")))?;
    }

    // 4. Intent, (a) then (b), both by replace with the versions the gate read.
    let sender = fresh_id();
    let view_age = asked.elapsed();
    let gate_view = GateView {
        job: &objects.job,
        printer: &objects.printer,
        kind: D::KIND,
        report: &report,
        report_age: view_age,
        unresolved_elsewhere: None,
        mapping: Ok(&[]),
        hold_starts: context.hold_starts,
        sender: None,
        now: Timestamp::now(),
        timing: &context.timing,
    };
    let (job_half, printer_half) =
        gate::intent(&gate_view, &sender, None).ok_or(Closed::Changed("the job is not ready to start"))?;
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

    // 5. The newest report, judged by the same gate, then the send.
    let objects = Objects { job, printer, unresolved_elsewhere: None };
    let asked = Instant::now();
    let newest = match device.newest(&mut starting).await {
        Ok(newest) => newest,
        Err(fault) => return not_sent(&fault.message),
    };
    if let Err(closed) = ask::<D>(context, &objects, &newest, asked.elapsed(), Some(&sender)) {
        return not_sent(&closed.to_string());
    }
    let Some(remote_name) = objects.job.status.as_ref().and_then(|s| s.start.as_ref()).map(|s| s.remote_name.clone())
    else {
        return not_sent("the intent names no file");
    };
    let leadership = context.api.leadership().clone();
    let send_timeout = context.timing.send_timeout;
    // Wall clock here; the Lease's own deadline, checked on both clocks, is shorter than any jump that matters.
    let before_first_byte =
        move || deadline.is_some_and(|d| Timestamp::now() < d) && leadership.still(&permit.term, send_timeout).is_ok();
    Ok(device.send(starting, &remote_name, before_first_byte).await)
}

fn named_sender(job: &PrintJob) -> Option<&String> {
    job.status.as_ref().and_then(|s| s.start.as_ref()).map(|s| &s.sender)
}
