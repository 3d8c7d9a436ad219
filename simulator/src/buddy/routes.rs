//! What the printer's HTTP server does with a request: length, login, faults, then the endpoint.
//!
//! Faults act here, around the endpoint, so that no endpoint knows of them. A request that has begun is carried out
//! even if its client is gone, as on the machine.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Printer,
    connection::{Connection, ReadEnd},
    digest::Verdict,
    files,
    firmware::{CommandRefusal, TookEffect},
    http::{Head, Reply},
    render, upload,
};
use crate::{
    Event, JobCommand, StartCause,
    endpoint::Link,
    fault::{RequestFaults, RequestKind},
};

/// Longest request target in characters, as encoded.
const TARGET_LIMIT: usize = 168;
pub(super) const FILES: &str = "/api/v1/files";

/// Answers requests on one connection until it ends, or the power-up it was made in does.
pub(crate) async fn serve(printer: &Arc<Printer>, connection: &mut Connection, boots: u32) {
    loop {
        let head = match connection.read_head().await {
            Ok(head) => head,
            Err(end) => return refuse_unreadable(connection, end).await,
        };
        printer.requests.fetch_add(1, Ordering::Relaxed);
        match printer.link() {
            Link::Up(now) if now == boots => {}
            Link::Silent(now) if now == boots => return stay_silent(printer).await,
            _ => return,
        }
        let Some(mut reply) = handle(printer, connection, &head).await else { return };
        if matches!(printer.link(), Link::Silent(_)) {
            return stay_silent(printer).await;
        }
        reply.close |= !head.keep_alive;
        if !connection.write(&reply.encode(head.method == "HEAD")).await || reply.close {
            return;
        }
    }
}

async fn refuse_unreadable(connection: &mut Connection, end: ReadEnd) {
    let status = match end {
        ReadEnd::Closed => return,
        ReadEnd::Stalled => 408,
        ReadEnd::Malformed => 400,
        ReadEnd::TooLarge => 431,
    };
    connection.write(&Reply::empty(status).closing().encode(false)).await;
}

/// Says nothing until the printer speaks again; then the old connection is worth nothing.
async fn stay_silent(printer: &Printer) {
    let mut changed = printer.life.changes();
    while matches!(printer.link(), Link::Silent(_)) {
        if changed.changed().await.is_err() {
            return;
        }
    }
}

/// `None`: the connection ends without an answer.
async fn handle(printer: &Arc<Printer>, connection: &mut Connection, head: &Head) -> Option<Reply> {
    if head.target.len() > TARGET_LIMIT {
        return Some(Reply::error(head, 414, "URI too long").closing());
    }
    let start = start_cause(head);
    let is_upload = head.method == "PUT" && head.target.starts_with(FILES);
    let kind = RequestKind { method: &head.method, target: &head.target, is_start: start.is_some(), is_upload };
    let login = printer.life.change(|inner, _| match inner.login.judge(head) {
        Verdict::Pass => Ok(inner.faults.draw_for_request(kind)),
        Verdict::Challenge(challenge) => Err(challenge),
    });
    let faults = match login {
        Ok(faults) => faults,
        Err(challenge) => {
            refused_start(printer, head, start, Some(401), "not logged in");
            return Some(Reply::error(head, 401, "").with_header("WWW-Authenticate", challenge));
        }
    };
    if let Some(delay) = faults.delay_handling {
        tokio::time::sleep(delay).await;
    }
    if faults.drop_before {
        refused_start(printer, head, start, None, "fault: dropped before handling");
        return None;
    }
    if let Some(status) = faults.answer {
        refused_start(printer, head, start, Some(status), "fault: answered without handling");
        return Some(Reply::error(head, status, ""));
    }
    let mut reply = endpoint(printer, connection, head, &faults).await?;
    if let Some(delay) = faults.delay_answer {
        tokio::time::sleep(delay).await;
    }
    if faults.drop_after {
        return None;
    }
    if let Some(status) = faults.handle_then_answer {
        reply = Reply::error(head, status, "");
    }
    // A body nobody read would be taken for the next request.
    reply.close |= !is_upload && head.content_length().is_some_and(|length| length > 0);
    reply.close |= !is_upload && head.header("transfer-encoding").is_some();
    Some(reply)
}

/// What kind of start this request asks for, if any.
fn start_cause(head: &Head) -> Option<StartCause> {
    match head.method.as_str() {
        "POST" if head.target.starts_with(FILES) => Some(StartCause::PrusaLinkPost),
        "PUT" if head.target.starts_with(FILES) && head.is_true("print-after-upload") => {
            Some(StartCause::PrintAfterUpload)
        }
        _ => None,
    }
}

/// Tells the ledger of a start that never got to the firmware.
pub(super) fn refused_start(
    printer: &Printer,
    head: &Head,
    cause: Option<StartCause>,
    answer: Option<u16>,
    reason: &str,
) {
    let Some(cause) = cause else { return };
    let path = head.decoded_path().unwrap_or_else(|| head.target.clone());
    let file_name = path.trim_start_matches(FILES).trim_start_matches("/usb/").to_owned();
    let event = Event::StartCommand {
        cause,
        file_name,
        answer,
        acknowledgement: None,
        identity: None,
        accepted: false,
        reason: reason.to_owned(),
    };
    printer.life.look(|inner, _| printer.life.record(inner, event));
}

async fn endpoint(
    printer: &Arc<Printer>,
    connection: &mut Connection,
    head: &Head,
    faults: &RequestFaults,
) -> Option<Reply> {
    let Some(path) = head.decoded_path() else { return Some(Reply::error(head, 400, "Bad path").closing()) };
    if let Some(rest) = path.strip_prefix(FILES).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        return match head.method.as_str() {
            "PUT" => upload::put(printer, connection, head, rest, faults).await,
            "POST" => files::post(printer, head, rest, faults).await,
            "GET" | "HEAD" => Some(files::get(printer, head, rest)),
            "DELETE" => Some(files::delete(printer, head, rest)),
            _ => Some(Reply::error(head, 405, "")),
        };
    }
    if let Some(rest) = path.strip_prefix("/api/v1/job/") {
        return Some(job_command(printer, head, rest));
    }
    if path.starts_with("/usb/") && head.method == "GET" {
        return Some(files::download(printer, head, &path));
    }
    if path.starts_with("/api/files/") && head.method == "POST" {
        return Some(Reply::error(head, 410, "Upload by PUT to /api/v1/files instead"));
    }
    let reply = match (head.method.as_str(), path.as_str()) {
        ("GET", "/api/version") => Reply::json(render::version(printer)),
        ("GET", "/api/v1/info") => Reply::json(printer.life.look(|inner, _| render::info(printer, inner))),
        ("GET", "/api/v1/status") => Reply::json(printer.life.look(render::status)),
        ("GET", "/api/v1/job") => printer
            .life
            .look(|inner, now| inner.firmware.job(now).as_ref().map(render::job))
            .map_or_else(|| Reply::empty(204), Reply::json),
        ("GET", "/api/v1/storage") => Reply::json(printer.life.look(|inner, _| render::storage(inner))),
        ("GET", "/api/v1/transfer") => printer
            .life
            .look(|inner, _| inner.transfer.as_ref().map(render::transfer))
            .map_or_else(|| Reply::empty(204), Reply::json),
        ("GET", "/api/printer") => Reply::json(printer.life.look(render::legacy_printer)),
        (
            _,
            "/api/version" | "/api/v1/info" | "/api/v1/status" | "/api/v1/job" | "/api/v1/storage" | "/api/v1/transfer"
            | "/api/printer",
        ) => Reply::error(head, 405, ""),
        _ => Reply::error(head, 404, "Not found"),
    };
    Some(reply)
}

/// `DELETE /api/v1/job/{id}` and `PUT /api/v1/job/{id}/{command}`.
fn job_command(printer: &Printer, head: &Head, rest: &str) -> Reply {
    let (id, word) = rest.split_once('/').map_or((rest, None), |(id, word)| (id, Some(word)));
    let Ok(id) = id.parse::<u64>() else { return Reply::error(head, 400, "Job id is not a number") };
    let Ok(job_id) = u16::try_from(id) else { return Reply::error(head, 404, "No such job") };
    let command = match (head.method.as_str(), word) {
        ("DELETE", None) => JobCommand::Stop,
        ("PUT", Some("pause")) => JobCommand::Pause,
        ("PUT", Some("resume")) => JobCommand::Resume,
        ("PUT", Some(_)) => {
            // The undocumented probe: an unknown command tells whether the id is the current or last one.
            let known = printer.life.look(|inner, _| inner.firmware.knows_job(job_id));
            let (status, message) = if known { (400, "Unknown command") } else { (404, "No such job") };
            return Reply::error(head, status, message);
        }
        _ => return Reply::error(head, 405, ""),
    };
    printer.life.change(|inner, now| {
        let verdict = match command {
            JobCommand::Stop => inner.firmware.stop(now, job_id),
            JobCommand::Pause => inner.firmware.pause(now, job_id),
            JobCommand::Resume => inner.firmware.resume(now, job_id),
        };
        let (answer, took_effect) = match verdict {
            Ok(effect) => (204, effect == TookEffect::Yes),
            Err(CommandRefusal::UnknownJob) => (404, false),
            Err(CommandRefusal::WrongState) => (409, false),
        };
        printer
            .life
            .record(inner, Event::JobCommand { command, job_id: Some(job_id), answer: Some(answer), took_effect });
        match verdict {
            Ok(_) => Reply::empty(204),
            Err(refusal) => Reply::error(head, answer, &refusal.to_string()),
        }
    })
}
