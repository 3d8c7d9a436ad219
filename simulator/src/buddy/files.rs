//! Files on the USB drive over HTTP: list, look, download, start, delete.
//!
//! Only the storage `usb` is served. A path longer than the firmware's buffer is cut silently, which usually costs
//! the extension. A start is answered when the preview has been prepared, and then the connection ends.

use std::sync::Arc;

use md5::{Digest, Md5};

use super::{
    Printer,
    firmware::StartRefusal,
    http::{Head, Reply},
    render,
    usb::{Content, UsbError},
};
use crate::{Event, StartCause, fault::RequestFaults, hex::hex};

/// Longest decoded path in bytes, `/usb/` included.
const PATH_LIMIT: usize = 103;

/// The names below `/usb`, or the status that refuses the path. `rest` begins at the storage: `/usb/folder/file`.
pub(super) fn usb_path(rest: &str) -> Result<Vec<String>, u16> {
    let mut cut = rest.len().min(PATH_LIMIT);
    while !rest.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut names = rest[..cut].split('/').filter(|name| !name.is_empty());
    match names.next() {
        Some("usb") => {}
        None => return Err(404),
        Some(_) => return Err(403),
    }
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.iter().any(|name| name == "..") { Err(404) } else { Ok(names) }
}

/// `GET` and `HEAD` of a file or folder.
pub(super) fn get(printer: &Printer, head: &Head, rest: &str) -> Reply {
    let path = match usb_path(rest) {
        Ok(path) => path,
        Err(status) => return Reply::error(head, status, "No such storage or path"),
    };
    let found = printer.life.look(|inner, _| {
        let usb = &inner.firmware.usb;
        if let Some(children) = usb.folder(&path) {
            return Some((render::folder(&path, usb.node(&path), children), false));
        }
        let file = usb.find(&path)?;
        let printing = inner.firmware.is_printing_file(&file.long_path);
        Some((render::file(&file), printing))
    });
    let Some((body, printing)) = found else { return Reply::error(head, 404, "File not found") };
    let tag = format!("\"{}\"", hex(&Md5::digest(body.as_bytes())));
    if head.header("if-none-match").is_some_and(|known| known.trim() == tag) {
        return Reply::empty(304).with_header("ETag", tag);
    }
    let reply = Reply::json(body).with_header("ETag", tag);
    if head.method != "HEAD" {
        return reply;
    }
    reply.with_header("Read-Only", "false".to_owned()).with_header("Currently-Printing", printing.to_string())
}

/// `GET /usb/...`: the file itself, always whole.
pub(super) fn download(printer: &Printer, head: &Head, path: &str) -> Reply {
    let found = usb_path(path).ok().and_then(|path| printer.life.look(|inner, _| inner.firmware.usb.find(&path)));
    match found {
        Some(found) => Reply {
            status: 200,
            headers: vec![("Content-Type", "application/octet-stream".to_owned())],
            body: found.file.data.to_vec(),
            close: false,
        },
        None => Reply::error(head, 404, "File not found"),
    }
}

/// `POST`: start the print of a stored file.
pub(super) async fn post(printer: &Arc<Printer>, head: &Head, rest: &str, faults: &RequestFaults) -> Option<Reply> {
    let path = match usb_path(rest) {
        Ok(path) => path,
        Err(status) => {
            super::routes::refused_start(printer, head, Some(StartCause::PrusaLinkPost), Some(status), "bad path");
            return Some(Reply::error(head, status, "No such storage or path"));
        }
    };
    let verdict =
        printer.life.change(|inner, now| printer.command_start(inner, now, &path, StartCause::PrusaLinkPost, faults));
    let reply = match verdict {
        Ok(()) => {
            printer.wait_until_started().await;
            Reply::empty(204)
        }
        Err(refusal @ StartRefusal::NoSuchFile) => Reply::error(head, 404, &refusal.to_string()),
        Err(refusal @ StartRefusal::NotReady) => Reply::error(head, 409, &refusal.to_string()),
    };
    Some(reply.closing())
}

/// `DELETE` of a file or empty folder.
pub(super) fn delete(printer: &Printer, head: &Head, rest: &str) -> Reply {
    let path = match usb_path(rest) {
        Ok(path) => path,
        Err(status) => return Reply::error(head, status, "No such storage or path"),
    };
    let (status, message) = printer.life.change(|inner, _| {
        let found = inner.firmware.usb.find(&path);
        let transferred = inner.transfer.as_ref().is_some_and(|transfer| transfer.is_to(&path));
        let busy = found.as_ref().is_some_and(|found| inner.firmware.is_printing_file(&found.long_path));
        let result = if busy || transferred {
            (409, "File is busy".to_owned())
        } else {
            match inner.firmware.remove(&path) {
                Ok(()) => (204, String::new()),
                Err(error @ UsbError::NotEmpty) => (409, error.to_string()),
                Err(error) => (404, error.to_string()),
            }
        };
        let file_name = found.map_or_else(|| path.join("/"), |found| found.long_path);
        printer.life.record(inner, Event::Delete { file_name, answer: result.0 });
        result
    });
    if status == 204 { Reply::empty(204) } else { Reply::error(head, status, &message) }
}

/// Whether this entry is shown as a print file, a firmware, another file or a folder.
pub(super) fn type_name(name: &str, content: &Content) -> &'static str {
    match content {
        Content::Folder(_) => "FOLDER",
        Content::File(_) if super::usb::is_print_file(name) => "PRINT_FILE",
        Content::File(_) if name.to_ascii_lowercase().ends_with(".bbf") => "FIRMWARE",
        Content::File(_) => "FILE",
    }
}
