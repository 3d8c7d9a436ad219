//! Uploads: what arrives, what is left behind, and what the driver says when a printer, a network or a file misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod fake_ftps;

use std::io::Cursor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fake_ftps::{Behavior, FakeServer, SERIAL, Stor};
use printernizer_bambu::ftps::{Ftps, FtpsError, RemoteName, UploadError, Uploaded};
use tokio_util::sync::CancellationToken;

const NAME: &str = "bracket-pz-0011223344556677-1.gcode.3mf.part";
/// Larger than all buffers between here and a server that does not read.
const LARGE: usize = 8 * 1024 * 1024;

fn name() -> RemoteName {
    RemoteName::new(NAME).unwrap()
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

async fn server(stor: Stor) -> FakeServer {
    FakeServer::start(Behavior { stor, ..Behavior::default() }).await
}

async fn upload(ftps: &mut Ftps, bytes: Vec<u8>, size: usize) -> Result<Uploaded, UploadError> {
    ftps.upload(&name(), Cursor::new(bytes), size as u64, |_| {}, &CancellationToken::new()).await
}

async fn send(server: &FakeServer, size: usize) -> Result<Uploaded, UploadError> {
    upload(&mut Ftps::connect(&server.config()).await.unwrap(), content(size), size).await
}

#[tokio::test]
async fn a_file_arrives_byte_for_byte_over_a_resumed_session_and_is_counted_there() {
    for size in [1, 16 * 1024, 16 * 1024 + 1, 1_000_000] {
        let server = server(Stor::Store).await;
        let mut ftps = Ftps::connect(&server.config()).await.unwrap();
        let reported = AtomicU64::new(0);
        let progress = |bytes| {
            assert!(reported.fetch_max(bytes, Ordering::SeqCst) < bytes, "progress only grows");
        };
        let cancel = CancellationToken::new();
        let uploaded = ftps.upload(&name(), Cursor::new(content(size)), size as u64, progress, &cancel).await.unwrap();
        assert_eq!(uploaded, Uploaded { confirmed: true, session_resumed: true });
        assert_eq!(reported.load(Ordering::SeqCst), size as u64);
        assert!(server.file(NAME).unwrap() == content(size), "the file differs");
        ftps.close().await.unwrap();
        let seen = server.seen();
        let commands: Vec<&str> = seen.commands.iter().map(|(_, command)| command.as_str()).collect();
        let (size, stor) = (format!("SIZE {NAME}"), format!("STOR {NAME}"));
        assert_eq!(
            commands,
            ["USER bblp", "PASS 12ab34cd", "PBSZ 0", "PROT P", "TYPE I", &size, "PASV", &stor, &size, "QUIT"]
        );
        assert_eq!(seen.data_ends, ["closed"]);
        assert_eq!(seen.versions, [rustls::ProtocolVersion::TLSv1_2]);
        assert_eq!(seen.names, [Some(SERIAL.to_ascii_lowercase())]);
    }
}

#[tokio::test]
async fn the_address_a_printer_names_for_the_data_is_ignored() {
    for address in [[0, 0, 0, 0], [192, 0, 2, 1]] {
        let server = FakeServer::start(Behavior { passive_address: address, ..Behavior::default() }).await;
        assert!(send(&server, 5000).await.unwrap().confirmed);
    }
}

#[tokio::test]
async fn without_a_last_reply_or_with_a_wrong_one_the_size_in_the_printer_decides() {
    for (stor, sessions) in [
        (Stor::StoreInSilence, 2),
        (Stor::StoreAndClose, 2),
        (Stor::CloseAndStore, 2),
        (Stor::StoreAndSay("426 Failure reading network stream.\r\n"), 1),
        (Stor::StoreAndSay("451 something\r\n"), 1),
    ] {
        let server = server(stor).await;
        let uploaded = send(&server, 300_000).await.unwrap_or_else(|error| panic!("{stor:?}: {error:?}"));
        assert!(!uploaded.confirmed, "{stor:?}");
        assert_eq!(server.seen().versions.len(), sessions, "{stor:?}");
        assert!(server.file(NAME).unwrap() == content(300_000), "{stor:?}");
    }
}

#[tokio::test]
async fn half_a_file_never_passes_and_never_stays() {
    for stor in [Stor::Cut(299_999), Stor::CutInSilence(299_999), Stor::Cut(0)] {
        let server = server(stor).await;
        let UploadError { error, left_over } = send(&server, 300_000).await.unwrap_err();
        let FtpsError::SizeMismatch { expected_bytes, found_bytes, .. } = error else { panic!("{stor:?}: {error:?}") };
        assert_eq!((expected_bytes, left_over), (300_000, false), "{stor:?}");
        assert!(found_bytes.is_some_and(|found| found < 300_000), "{stor:?}");
        assert_eq!(server.file(NAME), None, "{stor:?}");
    }
}

#[tokio::test]
async fn a_refusal_before_the_file_says_what_to_do_and_leaves_the_session_usable() {
    for (reply, expected) in [
        ("553 Could not create file.\r\n", "StorageRefused"),
        ("452 full\r\n", "StorageRefused"),
        ("425 Failed to establish connection.\r\n", "DataConnection"),
        ("522 SSL connection failed; session reuse required\r\n", "SessionReuseRequired"),
        ("550 Permission denied.\r\n", "StorageRefused"),
        ("500 OOPS\r\n", "Refused"),
        ("226 done\r\n", "Protocol"),
    ] {
        let replies = vec![("STOR", reply)];
        let server = FakeServer::start(Behavior { replies, ..Behavior::default() }).await;
        let mut ftps = Ftps::connect(&server.config()).await.unwrap();
        let UploadError { error, left_over } = upload(&mut ftps, content(10), 10).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{reply}: {error:?}");
        assert!(!left_over, "{reply}");
        server.behave(Behavior::default());
        assert_eq!(ftps.size(&name()).await.unwrap(), None);
        assert_eq!(server.seen().versions.len(), 1, "{reply}: the session is still the first");
    }
}

#[tokio::test]
async fn a_refusal_while_the_file_is_sent_is_heard_and_what_was_stored_is_deleted() {
    let full = "552 Exceeded storage allocation.\r\n";
    for stor in [Stor::Interrupt(200_000, full), Stor::Refuse(200_000, full)] {
        let server = server(stor).await;
        let UploadError { error, left_over } = send(&server, LARGE).await.unwrap_err();
        assert!(matches!(error, FtpsError::StorageRefused { code: 552, .. }), "{stor:?}: {error:?}");
        assert!(error.to_string().contains("not full"), "{error}");
        assert_eq!((left_over, server.file(NAME)), (false, None), "{stor:?}");
    }
}

#[tokio::test]
async fn a_printer_that_wants_the_session_resumed_is_named_when_it_does_not_get_that() {
    let server = server(Stor::Store).await;
    // What the printer says when a client does not resume; the driver always does, so it is told to say it anyway.
    let stor = Stor::Interrupt(0, "522 SSL connection failed; session reuse required\r\n");
    server.behave(Behavior { stor, ..Behavior::default() });
    let UploadError { error, left_over } = send(&server, LARGE).await.unwrap_err();
    assert!(matches!(error, FtpsError::SessionReuseRequired { .. }), "{error:?}");
    assert!(!left_over);
}

#[tokio::test]
async fn an_upload_that_stands_still_ends_with_the_stall_timeout_and_is_removed() {
    let server = server(Stor::StopReading(100_000)).await;
    let began = Instant::now();
    let UploadError { error, left_over } = send(&server, LARGE).await.unwrap_err();
    let FtpsError::Stalled { sent_bytes, size_bytes, .. } = error else { panic!("{error:?}") };
    assert!(sent_bytes >= 100_000 && sent_bytes < size_bytes, "{sent_bytes}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((left_over, server.file(NAME)), (false, None));
    assert_eq!(server.seen().data_ends, ["reset"]);
}

#[tokio::test]
async fn a_cancelled_upload_stops_at_once_by_a_reset_and_is_removed() {
    let server = server(Stor::StopReading(100_000)).await;
    let mut ftps = Ftps::connect(&server.config()).await.unwrap();
    let cancel = CancellationToken::new();
    let name = name();
    let uploading = ftps.upload(&name, Cursor::new(content(LARGE)), LARGE as u64, |_| {}, &cancel);
    let cancelling = async {
        server.until_stored(NAME, 100_000).await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(uploading, cancelling);
    let UploadError { error, left_over } = outcome.unwrap_err();
    assert!(matches!(error, FtpsError::Cancelled), "{error:?}");
    assert_eq!((left_over, server.file(NAME)), (false, None));
    assert_eq!(server.seen().data_ends, ["reset"], "an orderly end would make half a file look whole");
    server.behave(Behavior::default());
    assert!(upload(&mut ftps, content(10), 10).await.unwrap().confirmed, "the next try works");
}

#[tokio::test]
async fn what_a_printer_that_hangs_may_keep_is_said() {
    let server = server(Stor::Hang(100_000)).await;
    let UploadError { error, left_over } = send(&server, LARGE).await.unwrap_err();
    assert!(matches!(error, FtpsError::Stalled { .. }), "{error:?}");
    assert!(left_over && server.file(NAME).is_some());
}

#[tokio::test]
async fn a_cancelled_upload_that_has_not_begun_sends_nothing() {
    let server = server(Stor::Store).await;
    let mut ftps = Ftps::connect(&server.config()).await.unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let outcome = ftps.upload(&name(), Cursor::new(content(10)), 10, |_| {}, &cancel).await;
    let UploadError { error, left_over } = outcome.unwrap_err();
    assert!(matches!(error, FtpsError::Cancelled) && !left_over);
    assert_eq!(server.commands(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_upload_resets_its_connections_and_the_next_call_has_a_new_session() {
    let server = server(Stor::StopReading(100_000)).await;
    let mut ftps = Ftps::connect(&server.config()).await.unwrap();
    tokio::select! {
        outcome = upload(&mut ftps, content(LARGE), LARGE) => panic!("{outcome:?}"),
        () = server.until_stored(NAME, 100_000) => {}
    }
    server.until("a reset", |seen| seen.data_ends == ["reset"]).await;
    assert!(ftps.size(&name()).await.unwrap().is_some(), "nothing was deleted");
    assert_eq!(server.seen().versions.len(), 2);
}

#[tokio::test]
async fn a_file_that_is_already_there_is_never_overwritten() {
    let server = server(Stor::Store).await;
    server.put(NAME, b"someone else's");
    let UploadError { error, left_over } = send(&server, 10).await.unwrap_err();
    assert!(matches!(error, FtpsError::FileExists { size_bytes: 14, .. }), "{error:?}");
    assert!(!left_over);
    assert_eq!(server.file(NAME).unwrap(), b"someone else's");
    assert!(!server.commands().iter().any(|command| command.starts_with("STOR")));
}

#[tokio::test]
async fn a_source_that_is_not_as_announced_is_not_left_on_the_printer() {
    for (bytes, size) in [(299_999, 300_000), (300_001, 300_000), (0, 1)] {
        let server = server(Stor::Store).await;
        let mut ftps = Ftps::connect(&server.config()).await.unwrap();
        let UploadError { error, left_over } = upload(&mut ftps, content(bytes), size).await.unwrap_err();
        assert!(matches!(error, FtpsError::Source(_)), "{error:?}");
        assert_eq!((left_over, server.file(NAME)), (false, None), "{bytes} of {size}");
    }
    let server = server(Stor::Store).await;
    let mut ftps = Ftps::connect(&server.config()).await.unwrap();
    let UploadError { error, .. } = upload(&mut ftps, Vec::new(), 0).await.unwrap_err();
    assert!(matches!(error, FtpsError::Source(_)), "{error:?}");
    let (reader, _writer) = tokio::io::duplex(16);
    let outcome = ftps.upload(&name(), reader, 10, |_| {}, &CancellationToken::new()).await;
    let error = outcome.unwrap_err().error;
    assert!(matches!(&error, FtpsError::Source(cause) if cause.kind() == std::io::ErrorKind::TimedOut), "{error:?}");
}

#[tokio::test]
async fn a_control_connection_that_is_gone_before_the_upload_says_so() {
    let server = FakeServer::start(Behavior { replies: vec![("STOR", "")], ..Behavior::default() }).await;
    let UploadError { error, left_over } = send(&server, 10).await.unwrap_err();
    assert!(matches!(error, FtpsError::NoAnswer { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("STOR {NAME}")), "{error}");
    assert!(left_over, "it is not known whether the printer began");
}
