//! Uploads: what arrives, and what the driver says when a printer, a network or a file misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;

use std::io::Cursor;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use common::{FakePrinter, Reply, name, ok, with_login};
use printernizer_prusalink::{Error, Timeouts};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Larger than all buffers between here and a printer that does not read.
const LARGE: usize = 2 * 1024 * 1024;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

fn stored(size: usize) -> String {
    format!(r#"{{"name":"BRACKE~1.BGC","display_name":"{}","size":{size},"type":"PRINT_FILE","ro":false}}"#, name())
}

/// A printer that treats the upload as told and afterwards reports a file of this size.
async fn printer(size: usize, on_put: impl Fn() -> Reply + Send + Sync + 'static) -> FakePrinter {
    FakePrinter::start(move |seen| {
        with_login(seen, |seen| if seen.method == "PUT" { on_put() } else { ok(&stored(size)) })
    })
    .await
}

fn created(size: usize) -> Reply {
    Reply::SayAndClose("201 Created", "", stored(size))
}

fn quick() -> Timeouts {
    Timeouts { upload_stall: Duration::from_millis(400), ..Timeouts::default() }
}

async fn upload(printer: &FakePrinter, bytes: Vec<u8>, size: usize) -> Result<(), Error> {
    let client = printer.client_with(quick());
    let cancel = CancellationToken::new();
    let reader = Cursor::new(bytes);
    client.uploader().upload(&name(), reader, size as u64, |_| {}, &cancel).await.map(|_| ())
}

#[tokio::test]
async fn a_file_arrives_byte_for_byte_with_its_length_and_without_side_effects() {
    for size in [1, 16 * 1024, 16 * 1024 + 1, 1_000_000] {
        let printer = printer(size, move || created(size)).await;
        let client = printer.client();
        let reported = AtomicU64::new(0);
        let cancel = CancellationToken::new();
        let progress = |bytes| {
            assert!(reported.fetch_max(bytes, Ordering::SeqCst) <= bytes, "progress never goes back");
        };
        let file = client.uploader().upload(&name(), Cursor::new(content(size)), size as u64, progress, &cancel).await;
        assert_eq!(file.unwrap().size_bytes, Some(size as u64));
        assert!(reported.load(Ordering::SeqCst) <= size as u64);
        assert!(size < 100_000 || reported.load(Ordering::SeqCst) > 0);
        let seen = printer.seen();
        let put = seen.iter().find(|seen| seen.method == "PUT").unwrap();
        assert_eq!(put.path, format!("/api/v1/files/usb/{}", name()));
        assert!(put.body == content(size), "the body differs");
        assert_eq!(put.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(put.header("content-type"), Some("text/x.gcode"));
        for absent in ["overwrite", "print-after-upload", "transfer-encoding", "expect"] {
            assert_eq!(put.header(absent), None, "{absent}");
        }
        let before = seen.iter().filter(|seen| seen.connection == put.connection).count();
        assert_eq!(before, 1, "the upload has a connection of its own");
        assert_eq!(seen.last().unwrap().line(), format!("GET /api/v1/files/usb/{}", name()));
    }
}

#[tokio::test]
async fn an_answer_before_the_body_was_read_is_heard() {
    for (status, text, expected) in [
        ("409 Conflict", "409: File already exists", "FileExists"),
        ("409 Conflict", "409: Another transfer in progress", "TransferBusy"),
        ("409 Conflict", "409: File is busy", "Refused"),
        ("507 Insufficient Storage", "507: USB drive full", "StorageFull"),
        ("401 Unauthorized", "401", "Unauthorized"),
        ("422 Unprocessable Entity", "422: Forbidden characters", "Refused"),
    ] {
        let printer = printer(LARGE, move || Reply::Unread(status, text.into())).await;
        let error = upload(&printer, content(LARGE), LARGE).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{status} {text}: {error:?}");
        assert_eq!(printer.count("PUT"), 1);
    }
}

/// With the printer on other threads its answer and its reset fall into any moment of a write.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_early_refusal_is_heard_every_time() {
    let printer = printer(LARGE, || Reply::Unread("409 Conflict", "409: File already exists".into())).await;
    let bytes = content(LARGE);
    for round in 0..300 {
        let error = upload(&printer, bytes.clone(), LARGE).await.unwrap_err();
        assert!(matches!(error, Error::FileExists { .. }), "round {round}: {error:?}");
    }
}

#[tokio::test]
async fn an_upload_that_stands_still_ends_with_the_stall_timeout() {
    let printer = printer(LARGE, || Reply::Hang(100_000)).await;
    let began = Instant::now();
    let error = upload(&printer, content(LARGE), LARGE).await.unwrap_err();
    let Error::Stalled { sent_bytes, size_bytes, .. } = error else { panic!("{error:?}") };
    assert!(sent_bytes >= 100_000 && sent_bytes < size_bytes, "{sent_bytes}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    printer.ended(printer.connections()).await;
    assert_eq!(printer.resets(), 1);
}

#[tokio::test]
async fn a_missing_answer_to_a_complete_upload_is_a_stall_too() {
    let printer = printer(10, || Reply::Hang(10)).await;
    let error = upload(&printer, content(10), 10).await.unwrap_err();
    assert!(matches!(error, Error::Stalled { sent_bytes: 10, size_bytes: 10, .. }), "{error:?}");
}

#[tokio::test]
async fn an_upload_that_moves_slowly_does_not_stall() {
    let size = 40_000;
    let stall = Duration::from_secs(1);
    let printer = printer(size, move || created(size)).await;
    // Every piece takes a tenth of the stall timeout, the whole longer than it.
    let reader = Dripping { left: content(size), piece: 2_500, pause: stall / 10, sleep: None };
    let client = printer.client_with(Timeouts { upload_stall: stall, ..Timeouts::default() });
    let began = Instant::now();
    client.uploader().upload(&name(), reader, size as u64, |_| {}, &CancellationToken::new()).await.unwrap();
    assert!(began.elapsed() > stall);
}

#[tokio::test]
async fn cancelling_cuts_the_connection_at_once() {
    let printer = printer(LARGE, || Reply::Hang(100_000)).await;
    let client = printer.client();
    let cancel = CancellationToken::new();
    let name = name();
    let upload = client.uploader().upload(&name, Cursor::new(content(LARGE)), LARGE as u64, |_| {}, &cancel);
    tokio::pin!(upload);
    tokio::select! {
        outcome = &mut upload => panic!("{outcome:?}"),
        () = printer.arrived("PUT") => {}
    }
    let began = Instant::now();
    cancel.cancel();
    assert!(matches!(upload.await, Err(Error::Cancelled)));
    printer.ended(printer.connections()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(printer.resets(), 1);
}

#[tokio::test]
async fn a_lost_connection_is_said() {
    let printer = printer(LARGE, || Reply::Vanish).await;
    let error = upload(&printer, content(LARGE), LARGE).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert_eq!(printer.count("PUT"), 1);
}

#[tokio::test]
async fn a_file_that_is_not_as_long_as_announced_never_looks_complete() {
    for (announced, real) in [(50_000, 49_999), (50_000, 50_001), (10, 0), (10, 11)] {
        let printer = printer(announced, move || created(announced)).await;
        let error = upload(&printer, content(real), announced).await.unwrap_err();
        assert!(matches!(error, Error::Source(_)), "{announced} {real}: {error:?}");
        printer.ended(printer.connections()).await;
        let complete = printer.seen().iter().any(|seen| seen.method == "PUT" && seen.body.len() == announced);
        assert!(!complete, "{announced} {real}");
    }
    let printer = printer(0, || created(0)).await;
    assert!(matches!(upload(&printer, Vec::new(), 0).await, Err(Error::Source(_))));
    assert_eq!(printer.seen().len(), 0, "an empty file is not worth a request");
}

#[tokio::test]
async fn a_source_that_delivers_nothing_is_named_as_such() {
    let printer = printer(50_000, || created(50_000)).await;
    let reader = Dripping { left: content(50_000), piece: 1_000, pause: Duration::from_mins(1), sleep: None };
    let client = printer.client_with(quick());
    let outcome = client.uploader().upload(&name(), reader, 50_000, |_| {}, &CancellationToken::new()).await;
    assert!(matches!(outcome, Err(Error::Source(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_cut_file_on_the_printer_is_found_out() {
    let printer = printer(999, || created(1000)).await;
    let error = upload(&printer, content(1000), 1000).await.unwrap_err();
    assert!(matches!(error, Error::SizeMismatch { expected_bytes: 1000, found_bytes: Some(999), .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_listed_late_is_waited_for_and_a_missing_one_is_not_taken_for_stored() {
    for (lists, expected) in [(true, Some(10)), (false, None)] {
        let looked = AtomicU64::new(0);
        let printer = FakePrinter::start(move |seen| {
            with_login(seen, |seen| match seen.method.as_str() {
                "PUT" => created(10),
                _ if looked.fetch_add(1, Ordering::SeqCst) >= 2 && lists => ok(&stored(10)),
                _ => Reply::Say("404 Not Found", "{}".into()),
            })
        })
        .await;
        let client = printer.client_with(Timeouts { request: Duration::from_secs(1), ..Timeouts::default() });
        let cancel = CancellationToken::new();
        let outcome = client.uploader().upload(&name(), Cursor::new(content(10)), 10, |_| {}, &cancel).await;
        match outcome {
            Ok(file) => assert_eq!(file.size_bytes, expected),
            Err(Error::SizeMismatch { found_bytes: None, .. }) => assert_eq!(expected, None),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_stored_file_that_cannot_be_printed_now_is_stored() {
    let text = "409: Conflict\n\nCan't print right now\n";
    let stored = printer(1000, || Reply::SayAndClose("409 Conflict", "", text.into())).await;
    upload(&stored, content(1000), 1000).await.unwrap();
    let cut = printer(999, || Reply::SayAndClose("409 Conflict", "", text.into())).await;
    assert!(matches!(upload(&cut, content(1000), 1000).await, Err(Error::SizeMismatch { .. })));
}

#[tokio::test]
async fn a_poller_works_beside_an_upload() {
    let printer = printer(LARGE, || Reply::Hang(100_000)).await;
    let mut client = printer.client();
    let cancel = CancellationToken::new();
    let name = name();
    let upload = client.uploader().upload(&name, Cursor::new(content(LARGE)), LARGE as u64, |_| {}, &cancel);
    let poll = async {
        printer.arrived("PUT").await;
        client.file(&name).await.unwrap();
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(upload, poll);
    assert!(matches!(outcome, Err(Error::Cancelled)));
}

/// Delivers a piece after each pause.
struct Dripping {
    left: Vec<u8>,
    piece: usize,
    pause: Duration,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl AsyncRead for Dripping {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let pause = this.pause;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.sleep = None;
        let count = this.piece.min(this.left.len()).min(buffer.remaining());
        buffer.put_slice(&this.left[..count]);
        this.left.drain(..count);
        Poll::Ready(Ok(()))
    }
}

#[test]
fn calls_can_run_on_any_thread() {
    fn sendable<T: Send>(_: &T) {}
    fn check(mut client: printernizer_prusalink::Client, mut start: printernizer_prusalink::StartConnection) {
        let cancel = CancellationToken::new();
        let (name, other) = (name(), name());
        sendable(&client.uploader().upload(&name, Cursor::new(Vec::new()), 0, |_| {}, &cancel));
        sendable(&client.status());
        sendable(&client.last_job_is(1));
        sendable(&client.delete_file(&other));
        sendable(&client.fresh_start_connection());
        sendable(&start.start(&other, || true));
    }
    let _ = check;
}
