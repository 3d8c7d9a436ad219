//! Uploads by PUT: one at a time, real bytes, in place only when complete.
//!
//! What is wrong with a request is said before its body is read, and then the connection ends. Errors are always plain
//! text. `Print-After-Upload` on a printer that is not ready stores the file and answers 409.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Printer,
    connection::{Connection, ReadEnd},
    files::usb_path,
    http::{Head, Reply},
    render,
    routes::refused_start,
    usb::{UsbError, UsbFile, is_print_file},
};
use crate::{Event, StartCause, fault::RequestFaults};

/// An upload under way.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(super) id: u32,
    pub(super) path: Vec<String>,
    pub(super) size_bytes: u64,
    pub(super) transferred_bytes: u64,
    pub(super) began: Instant,
    pub(super) to_print: bool,
}

impl Transfer {
    pub(super) fn is_to(&self, path: &[String]) -> bool {
        self.path == path
    }
}

/// Frees the upload slot however the upload ends.
struct Slot<'a> {
    printer: &'a Printer,
    path: String,
    to_print: bool,
    ended: bool,
}

impl Slot<'_> {
    /// The upload ended without a stored file.
    fn failed(&mut self, answer: Option<u16>) {
        self.ended = true;
        self.printer.life.change(|inner, _| {
            let size_bytes = inner.transfer.take().map_or(0, |transfer| transfer.transferred_bytes);
            let file_name = self.path.clone();
            let event =
                Event::Upload { file_name, size_bytes, sha256: None, print_after_upload: self.to_print, answer };
            self.printer.life.record(inner, event);
        });
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.failed(None);
        }
    }
}

/// `PUT` of a file or folder. `rest` begins at the storage. `None`: the connection ends without an answer.
pub(super) async fn put(
    printer: &Arc<Printer>,
    connection: &mut Connection,
    head: &Head,
    rest: &str,
    faults: &RequestFaults,
) -> Option<Reply> {
    let to_print = head.is_true("print-after-upload");
    let refuse = |status: u16, message: &str| {
        let cause = to_print.then_some(StartCause::PrintAfterUpload);
        refused_start(printer, head, cause, Some(status), message);
        Some(Reply::text_error(head, status, message).closing())
    };
    let path = match usb_path(rest) {
        Ok(path) => path,
        Err(status) => return refuse(status, "No such storage or path"),
    };
    if head.is_true("create-folder") {
        let created = printer.life.change(|inner, _| inner.firmware.usb.create_folder(&path));
        return match created {
            Ok(()) => Some(Reply::empty(201).closing()),
            Err(error) => refuse(refusal_status(error), &error.to_string()),
        };
    }
    let size_bytes = match head.content_length() {
        _ if head.header("transfer-encoding").is_some() => return refuse(411, "Length required"),
        None => return refuse(411, "Length required"),
        Some(0) => return refuse(501, "Empty upload"),
        Some(size_bytes) => size_bytes,
    };
    if !path.last().is_some_and(|name| is_print_file(name)) {
        return refuse(415, "Not a GCODE");
    }
    let replace = head.is_true("overwrite");
    if let Err((status, message)) = begin(printer, &path, size_bytes, replace, to_print) {
        return refuse(status, &message);
    }
    let mut slot = Slot { printer: printer.as_ref(), path: path.join("/"), to_print, ended: false };
    let data = match receive(printer, connection, size_bytes, faults).await {
        Ok(data) => data,
        Err(Interrupted::Read(ReadEnd::Stalled)) => {
            slot.failed(Some(408));
            return refuse(408, "Upload stalled");
        }
        Err(Interrupted::Read(_)) => {
            slot.failed(Some(400));
            return refuse(400, "Upload truncated");
        }
        Err(Interrupted::ByFault) => {
            slot.failed(None);
            refused_start(printer, head, to_print.then_some(StartCause::PrintAfterUpload), None, "fault: truncated");
            return None;
        }
    };
    slot.ended = true;
    let file = UsbFile::new(data, Timestamp::now().as_second());
    let reply = finish(printer, head, &path, file, replace, to_print, faults);
    if reply.status == 201 && to_print {
        printer.wait_until_started().await;
    }
    Some(reply)
}

fn begin(
    printer: &Printer,
    path: &[String],
    size_bytes: u64,
    replace: bool,
    to_print: bool,
) -> Result<(), (u16, String)> {
    printer.life.change(|inner, _| {
        if inner.transfer.is_some() {
            return Err((409, "Another transfer in progress".to_owned()));
        }
        let existing = inner.firmware.usb.find(path);
        if replace && existing.is_some_and(|found| inner.firmware.is_printing_file(&found.long_path)) {
            return Err((409, "File is busy".to_owned()));
        }
        let room = inner.firmware.check_room(path, size_bytes, replace);
        room.map_err(|error| (refusal_status(error), error.to_string()))?;
        inner.last_transfer_id = inner.last_transfer_id.wrapping_add(1);
        inner.transfer = Some(Transfer {
            id: inner.last_transfer_id,
            path: path.to_vec(),
            size_bytes,
            transferred_bytes: 0,
            began: Instant::now(),
            to_print,
        });
        Ok(())
    })
}

enum Interrupted {
    Read(ReadEnd),
    ByFault,
}

async fn receive(
    printer: &Printer,
    connection: &mut Connection,
    size_bytes: u64,
    faults: &RequestFaults,
) -> Result<bytes::Bytes, Interrupted> {
    let mut data = BytesMut::new();
    let mut stall = faults.stall_upload;
    let mut remaining = size_bytes;
    while remaining > 0 {
        let received = size_bytes - remaining;
        if faults.truncate_upload.is_some_and(|after| received >= after) {
            return Err(Interrupted::ByFault);
        }
        if let Some((_, pause)) = stall.take_if(|(after, _)| received >= *after) {
            tokio::time::sleep(pause).await;
        }
        let next_fault = [faults.truncate_upload, stall.map(|(after, _)| after)].into_iter().flatten().min();
        let limit = next_fault.map_or(remaining, |after| (after - received).min(remaining));
        let piece = connection.read_body(limit).await.map_err(Interrupted::Read)?;
        remaining -= u64::try_from(piece.len()).unwrap_or(remaining);
        data.extend_from_slice(&piece);
        printer.look_transfer(size_bytes - remaining);
    }
    Ok(data.freeze())
}

fn finish(
    printer: &Printer,
    head: &Head,
    path: &[String],
    file: UsbFile,
    replace: bool,
    to_print: bool,
    faults: &RequestFaults,
) -> Reply {
    let size_bytes = u64::try_from(file.data.len()).unwrap_or(u64::MAX);
    let sha256 = file.sha256.clone();
    printer.life.change(|inner, now| {
        inner.transfer = None;
        let stored = inner.firmware.store_upload(path, file, replace, !to_print);
        let verdict = stored.map_err(|error| (refusal_status(error), error.to_string()));
        let upload = |answer: u16, sha256: Option<String>| Event::Upload {
            file_name: path.join("/"),
            size_bytes,
            sha256,
            print_after_upload: to_print,
            answer: Some(answer),
        };
        let found = match verdict {
            Ok(found) => found,
            Err((status, message)) => {
                printer.life.record(inner, upload(status, None));
                return Reply::text_error(head, status, &message).closing();
            }
        };
        let ready = !to_print || inner.firmware.check_start(path).is_ok();
        printer.life.record(inner, upload(if ready { 201 } else { 409 }, Some(sha256)));
        if to_print && let Err(refusal) = printer.command_start(inner, now, path, StartCause::PrintAfterUpload, faults)
        {
            return Reply::text_error(head, 409, &refusal.to_string()).closing();
        }
        let mut reply = Reply::json(render::file(&found)).closing();
        reply.status = 201;
        reply
    })
}

fn refusal_status(error: UsbError) -> u16 {
    match error {
        UsbError::Exists | UsbError::IsFolder | UsbError::NotEmpty => 409,
        UsbError::ParentIsFile | UsbError::NotFound => 404,
        UsbError::ForbiddenName => 422,
        UsbError::Full | UsbError::Missing => 507,
    }
}

impl Printer {
    /// Keeps the progress of the upload that holds the slot.
    fn look_transfer(&self, transferred_bytes: u64) {
        self.life.keep(|inner, _| {
            if let Some(transfer) = &mut inner.transfer {
                transfer.transferred_bytes = transferred_bytes;
            }
        });
    }
}

/// How long an upload has been under way.
pub(super) fn elapsed(transfer: &Transfer) -> Duration {
    transfer.began.elapsed()
}
