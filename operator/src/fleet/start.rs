//! The one try to start a print: permit, gate on what is known, new connection, gate, intent (a) and (b), second look,
//! send.
//!
//! Nothing stands between the last look at the device, the intent and the send: this session does all of it, and while
//! it does, no reconcile judges the attempt. Every step asks what may have changed; any doubt ends the try unsent. It
//! never sends twice: a second try finds the intent of the first and is refused by the gate.

mod intent;
mod objects;

use std::time::Duration;

use jiff::Timestamp;
use printernizer_rules::print_job::gate::Closed;
use printernizer_rules::print_job::start::SendAnswer;
use tokio::time::Instant;

use super::device::{Device, DeviceFault, Reported};
use super::serve::{COMMAND_LEASE, POLL_LIMIT, files, look_first, too_slow, took, within_lease};
use super::session::{Command, Session};
use super::{FleetContext, fresh_id};
use crate::api::CALL_TIMEOUT;
use crate::telemetry::metrics::{StartResult, Withheld};

use self::intent::{Try, ask};
use self::objects::{look_elsewhere, read};

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
    if let Err(closed) = &ended {
        let reason = match closed {
            Closed::Changed(_) => Withheld::Changed,
            Closed::NotNow(_) => Withheld::NotNow,
            Closed::Held => Withheld::Held,
            Closed::Everywhere(_) => Withheld::Everywhere,
            Closed::GiveBack(_) => Withheld::GiveBack,
        };
        context.metrics.start_withheld(D::KIND, reason);
    }
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
    if let Some(why) = context.definitions.too_old() {
        return Err(Closed::Everywhere(why));
    }
    // 3. Gate: leadership, a new connection, a full report over it.
    let needed = CALL_TIMEOUT + context.timing.send_timeout;
    let permit = context.api.leadership().permit(needed).map_err(|e| Closed::NotNow(e.to_string()))?;
    // No device is connected to anew for a gate that what it said last keeps closed. Only the report of the new
    // connection opens it, and only that one has to be young.
    if let Some(known) = session.with(|s| s.report.as_ref().map(|(report, _)| report.clone())) {
        let mut objects = read(context, session, &command.attempt).await?;
        ask::<D>(context, &objects, &known, Duration::ZERO, None)?;
        // It may last: a namespace that is gone comes back by a person's hand alone.
        if session.with(|s| matches!(s.closed, Some(Closed::Everywhere(_)))) {
            look_elsewhere(context, &mut objects).await?;
        }
    }
    let files = tokio::time::timeout(POLL_LIMIT, files(context, session, device, false)).await;
    let files = files.unwrap_or_else(|_| Err(too_slow())).map_err(unreachable)?;
    look_first(context, session, device).await;
    let begun = tokio::time::timeout(POLL_LIMIT, device.begin_start(files)).await;
    let (mut starting, reported) = begun.unwrap_or_else(|_| Err(too_slow())).map_err(unreachable)?;
    took(context, session, reported.clone());
    // A connection that took long to make is a gap in watching. The Printer's own pass is told of it and looks first.
    session.judged_by(reported.at + context.timing.fresh_report).await;
    let trying = Try {
        context,
        session,
        attempt: &command.attempt,
        permit: &permit,
        sender: fresh_id(),
        report: reported.report,
        at: reported.at,
    };
    let mut objects = Box::pin(trying.first_half(device)).await?;
    let Some(start) = objects.job.status.as_ref().and_then(|s| s.start.clone()) else {
        return Err(Closed::NotNow("the API server took the intent and does not show it".into()));
    };
    session.intent_recorded(&command.attempt.token, &start);
    let not_sent = |why: &str| Ok(SendAnswer::NotSent(why.to_owned()));
    if let Err(why) = trying.second_half::<D>(&mut objects).await {
        return not_sent(&why);
    }
    let (at, sender) = (trying.at, trying.sender.as_str());

    // 5. The file gets its name, the newest report is judged by the same gate, then the send.
    let remote_name = start.remote_name.as_str();
    // The rename is an effect with a limit of its own, longer than the send's.
    if context.api.leadership().still(&permit.term, COMMAND_LEASE).is_err() {
        return not_sent("leadership ended");
    }
    let ready = match within_lease(device.ready_file(&mut starting, remote_name)).await {
        Ok(()) => device.newest(&mut starting).await,
        Err(fault) => Err(fault),
    };
    let judged = match ready {
        Ok(Reported { report, at, .. }) => ask::<D>(context, &objects, &report, at.elapsed(), Some(sender)),
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
    let young = || at.elapsed() < start_deadline && Timestamp::now() < start.deadline.0;
    let before_first_byte = || young() && leadership.still(&permit.term, send_timeout).is_ok();
    let answer = device.send(&mut starting, &objects.job, before_first_byte).await;
    if matches!(answer, SendAnswer::NotSent(_)) && leadership.permit(COMMAND_LEASE).is_ok() {
        device.withdraw_file(&mut starting, remote_name).await;
    }
    Ok(answer)
}
