//! Login, sizes, renames and deletions, with a server that says yes, no, nonsense or nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod fake_ftps;

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Duration;

use fake_ftps::{Behavior, CODE, FakeServer};
use printernizer_bambu::ftps::{Deleted, Ftps, FtpsError, RemoteName, Renamed};
use printernizer_bambu::{Error, SerialNumber, Timeouts, Trust};

fn name() -> RemoteName {
    RemoteName::new("bracket-pz-0011223344556677-1.gcode.3mf").unwrap()
}

async fn server(replies: &[(&'static str, &'static str)]) -> FakeServer {
    FakeServer::start(Behavior { replies: replies.to_vec(), ..Behavior::default() }).await
}

async fn connected(server: &FakeServer) -> Ftps {
    Ftps::connect(&server.config()).await.unwrap()
}

/// An error with all its causes, as a log would show it.
fn whole(error: &FtpsError) -> String {
    let mut text = format!("{error} / {error:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        write!(text, " / {inner}").unwrap();
        cause = inner.source();
    }
    text
}

#[tokio::test]
async fn a_wrong_code_is_refused_once_and_stays_secret() {
    let server = server(&[]).await;
    let mut config = server.config();
    config.access_code = "wrong-42".to_owned().into();
    let error = Ftps::connect(&config).await.unwrap_err();
    assert!(matches!(error, FtpsError::AccessCodeRefused), "{error:?}");
    assert!(error.to_string().contains("printer's screen"), "{error}");
    assert!(!whole(&error).contains("wrong-42"));
    let passwords = server.seen().commands.iter().filter(|c| c.1.starts_with("PASS")).count();
    assert_eq!(passwords, 1);
}

#[tokio::test]
async fn the_code_is_told_to_no_one_but_the_printer() {
    let server = server(&[]).await;
    let other = SerialNumber::new("03919A3B0100255").unwrap();
    let wrong_key = Trust::PinnedKey([7; 32]);
    for config in [
        printernizer_bambu::Config { serial_number: other, ..server.config() },
        printernizer_bambu::Config { trust: wrong_key, ..server.config() },
        printernizer_bambu::Config { trust: Trust::BambuCa, ..server.config() },
    ] {
        let error = Ftps::connect(&config).await.unwrap_err();
        assert!(matches!(error, FtpsError::Connect(Error::Untrusted { .. })), "{error:?}");
    }
    assert!(server.seen().commands.is_empty(), "{:?}", server.seen());
}

#[tokio::test]
async fn whatever_answers_is_believed_neither_in_form_nor_in_length() {
    for (greeting, expected) in [
        ("421 Too many users.\r\n".to_owned(), "SessionEnded"),
        ("500 OOPS: vsftpd: broken\r\n".to_owned(), "Refused"),
        ("HTTP/1.1 400 Bad Request\r\n".to_owned(), "Protocol"),
        ("220 ".to_owned() + &"x".repeat(100_000), "Protocol"),
        ("220-x\r\n".repeat(10_000), "Protocol"),
        (String::new(), "NoAnswer"),
        ("120 soon\r\n".to_owned(), "NoAnswer"),
        ("530 no\r\n".to_owned(), "AccessCodeRefused"),
    ] {
        let server = FakeServer::start(Behavior { greeting: greeting.clone(), ..Behavior::default() }).await;
        let error = Ftps::connect(&server.config()).await.unwrap_err();
        let beginning: String = greeting.chars().take(30).collect();
        assert!(format!("{error:?}").starts_with(expected), "{beginning}: {error:?}");
        assert!(whole(&error).len() < 1500, "{beginning}");
        assert!(server.seen().commands.is_empty(), "{beginning}");
    }
}

#[tokio::test]
async fn a_printer_that_does_not_encrypt_data_gets_none() {
    for command in ["PBSZ", "PROT", "TYPE"] {
        let server = server(&[(command, "502 not implemented\r\n")]).await;
        let error = Ftps::connect(&server.config()).await.unwrap_err();
        assert!(matches!(error, FtpsError::Refused { code: 502, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_printer_that_is_not_there_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = server(&[]).await.config();
    config.ftps = listener.local_addr().unwrap();
    drop(listener);
    let error = Ftps::connect(&config).await.unwrap_err();
    assert!(matches!(error, FtpsError::Connect(Error::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn sizes_are_numbers_none_or_an_error() {
    let server = server(&[]).await;
    let mut ftps = connected(&server).await;
    assert_eq!(ftps.size(&name()).await.unwrap(), None);
    server.put(name().as_str(), &[0; 4321]);
    assert_eq!(ftps.size(&name()).await.unwrap(), Some(4321));
    for reply in ["213 -1\r\n", "213 many\r\n", "213\r\n", "213 99999999999999999999999\r\n"] {
        server.behave(Behavior { replies: vec![("SIZE", reply)], ..Behavior::default() });
        let error = ftps.size(&name()).await.unwrap_err();
        assert!(matches!(error, FtpsError::Protocol { .. }), "{reply}: {error:?}");
    }
    server.behave(Behavior { replies: vec![("SIZE", "502 no\r\n")], ..Behavior::default() });
    let error = ftps.size(&name()).await.unwrap_err();
    assert!(matches!(error, FtpsError::Refused { code: 502, .. }), "{error:?}");
}

#[tokio::test]
async fn a_rename_is_done_or_known_not_to_be_supported_or_an_error() {
    let (part, ready) = (name().part(), name());
    let not_supported = |code| format!("Ok(NotSupported {{ code: {code}, ");
    for (replies, there, expected) in [
        (&[][..], true, "Ok(Done)".to_owned()),
        (&[("RNFR", "502 not implemented\r\n")], true, not_supported(502)),
        (&[("RNFR", "550 denied\r\n")], true, not_supported(550)),
        (&[("RNTO", "502 not implemented\r\n")], true, not_supported(502)),
        (&[("RNTO", "550 Rename failed.\r\n")], true, not_supported(550)),
        (&[("RNTO", "553 name\r\n")], true, not_supported(553)),
        (&[], false, "Err(Missing".to_owned()),
        (&[("RNFR", "502 not implemented\r\n")], false, "Err(Missing".to_owned()),
        (&[("RNTO", "450 busy\r\n")], true, "Err(Refused { command: \"RNTO ".to_owned()),
        (&[("RNTO", "")], true, "Err(NoAnswer".to_owned()),
        (&[("RNFR", "421 Timeout.\r\n")], true, "Err(SessionEnded".to_owned()),
    ] {
        let server = server(replies).await;
        if there {
            server.put(part.as_str(), b"file");
        }
        let outcome = connected(&server).await.rename(&part, &ready).await;
        assert!(format!("{outcome:?}").starts_with(&expected), "{replies:?} {there}: {outcome:?}");
        let is_done = matches!(outcome, Ok(Renamed::Done));
        assert_eq!(server.file(ready.as_str()).is_some(), is_done);
        assert_eq!(server.file(part.as_str()).is_some(), there && !is_done);
    }
}

#[tokio::test]
async fn a_deletion_ends_with_the_file_gone_or_an_error() {
    let server = server(&[]).await;
    let mut ftps = connected(&server).await;
    server.put(name().as_str(), b"file");
    assert_eq!(ftps.delete(&name()).await.unwrap(), Deleted::Removed);
    assert_eq!(server.file(name().as_str()), None);
    assert_eq!(ftps.delete(&name()).await.unwrap(), Deleted::Absent);
    server.put(name().as_str(), b"file");
    server.behave(Behavior { replies: vec![("DELE", "550 Delete operation failed.\r\n")], ..Behavior::default() });
    let error = ftps.delete(&name()).await.unwrap_err();
    assert!(matches!(error, FtpsError::Refused { code: 550, .. }), "it is still there: {error:?}");
}

#[tokio::test]
async fn a_session_that_is_out_of_step_is_never_used_again() {
    let server = server(&[("SIZE", "")]).await;
    let mut ftps = connected(&server).await;
    let error = ftps.size(&name()).await.unwrap_err();
    assert!(matches!(error, FtpsError::NoAnswer { .. }), "{error:?}");
    server.behave(Behavior::default());
    server.put(name().as_str(), b"file");
    assert_eq!(ftps.size(&name()).await.unwrap(), Some(4));
    let over: Vec<usize> = server.seen().commands.iter().filter(|c| c.1.starts_with("SIZE")).map(|c| c.0).collect();
    assert_eq!(over, [1, 2], "each over its own connection");
}

#[tokio::test]
async fn a_dropped_call_leaves_no_reply_for_the_next_one() {
    let server = server(&[("DELE", "")]).await;
    let mut ftps = connected(&server).await;
    let name = name();
    tokio::select! {
        outcome = ftps.delete(&name) => panic!("{outcome:?}"),
        () = server.until("DELE", |seen| seen.commands.iter().any(|c| c.1.starts_with("DELE"))) => {}
    }
    assert_eq!(ftps.size(&name).await.unwrap(), None);
    assert_eq!(server.seen().versions.len(), 2);
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_not_taken_for_the_next_one() {
    let server = server(&[("SIZE", "550 no such file\r\n226 done\r\n")]).await;
    let mut ftps = connected(&server).await;
    assert_eq!(ftps.size(&name()).await.unwrap(), None);
    server.put(name().as_str(), b"file");
    let error = ftps.delete(&name()).await.unwrap_err();
    assert!(matches!(error, FtpsError::Protocol { .. }), "{error:?}");
    assert!(server.file(name().as_str()).is_some(), "226 did not pass for a deletion");
}

#[tokio::test]
async fn a_session_the_printer_ended_is_an_error_once() {
    let server = server(&[("SIZE", "421 Timeout.\r\n")]).await;
    let mut ftps = connected(&server).await;
    let error = ftps.size(&name()).await.unwrap_err();
    assert!(matches!(error, FtpsError::SessionEnded { .. }), "{error:?}");
    server.behave(Behavior::default());
    assert_eq!(ftps.size(&name()).await.unwrap(), None);
}

#[tokio::test]
async fn the_code_is_in_no_text_about_a_session() {
    let server = server(&[("PASS", "")]).await;
    let mut config = server.config();
    config.timeouts = Timeouts { transfer_reply: Duration::from_millis(200), ..config.timeouts };
    let error = Ftps::connect(&config).await.unwrap_err();
    assert!(matches!(error, FtpsError::NoAnswer { .. }), "{error:?}");
    assert!(!whole(&error).contains(CODE), "{}", whole(&error));
    server.behave(Behavior::default());
    let ftps = Ftps::connect(&config).await.unwrap();
    assert!(!format!("{ftps:?}").contains(CODE));
}
