//! The start command: what is certain afterwards, in each way a printer or a network can behave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{FakePrinter, IDLE, Reply, challenge, name, ok, with_login};
use printernizer_prusalink::{Error, NotSent, StartOutcome, State, Timeouts};

/// A printer that is idle and treats the start command as told.
async fn printer(on_start: impl Fn() -> Reply + Send + Sync + 'static) -> FakePrinter {
    FakePrinter::start(move |seen| with_login(seen, |seen| if seen.method == "POST" { on_start() } else { ok(IDLE) }))
        .await
}

fn quick() -> Timeouts {
    Timeouts { send: Duration::from_millis(400), ..Timeouts::default() }
}

async fn start(printer: &FakePrinter) -> StartOutcome {
    let mut client = printer.client_with(quick());
    let (mut connection, report) = client.fresh_start_connection().await.unwrap();
    assert_eq!(report.state, State::Idle);
    connection.start(&name(), || true).await
}

#[tokio::test]
async fn a_queued_start_goes_over_the_connection_that_carried_the_report() {
    let printer = printer(|| Reply::SayAndClose("204 No Content", "", String::new())).await;
    let mut client = printer.client();
    client.status().await.unwrap();
    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    let asked = AtomicUsize::new(0);
    let outcome = connection
        .start(&name(), || {
            asked.fetch_add(1, Ordering::SeqCst);
            true
        })
        .await;
    assert!(matches!(outcome, StartOutcome::Accepted), "{outcome:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let seen = printer.seen();
    let [.., report, post] = seen.as_slice() else { panic!("two requests") };
    assert_eq!((report.line().as_str(), report.connection), ("GET /api/v1/status", post.connection));
    assert_eq!(post.line(), format!("POST /api/v1/files/usb/{}", name()));
    assert!(post.header("authorization").is_some() && post.body.is_empty());
    assert_ne!(seen[0].connection, post.connection, "the poller's connection was replaced");
    // Buddy closes after a start: that is said, and observing goes on with new connections.
    assert!(!connection.is_open());
    assert!(matches!(connection.status().await, Err(Error::ConnectionLost { .. })));
    assert_eq!(connection.into_client().status().await.unwrap().state, State::Idle);
    assert_eq!(printer.count("POST"), 1);
}

#[tokio::test]
async fn a_kept_connection_carries_the_reports_after_the_start() {
    let printer = printer(|| Reply::Say("204 No Content", String::new())).await;
    let (mut connection, _) = printer.client().fresh_start_connection().await.unwrap();
    assert!(matches!(connection.start(&name(), || true).await, StartOutcome::Accepted));
    assert!(connection.is_open());
    connection.status().await.unwrap();
    let seen = printer.seen();
    assert_eq!(seen[seen.len() - 1].connection, seen[seen.len() - 2].connection);
}

#[tokio::test]
async fn a_withheld_start_sends_no_byte() {
    let printer = printer(|| panic!("a start command arrived")).await;
    let mut client = printer.client_with(quick());
    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    let outcome = connection.start(&name(), || false).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::Withheld)), "{outcome:?}");
    drop((connection, client));
    // Only after the printer saw the end of every connection is it certain that nothing more comes.
    printer.ended(printer.connections()).await;
    assert_eq!((printer.count("POST"), printer.stray_bytes()), (0, 0));
}

#[tokio::test]
async fn refusals_of_this_command_are_certain() {
    for (status, code) in
        [("401 Unauthorized", 401), ("403 Forbidden", 403), ("409 Conflict", 409), ("415 Unsupported Media Type", 415)]
    {
        let printer =
            printer(move || Reply::SayAndClose(status, "", r#"{"message":"Not ready to print"}"#.into())).await;
        let outcome = start(&printer).await;
        let StartOutcome::Refused { status, message } = outcome else { panic!("{outcome:?}") };
        assert_eq!((status, message.as_str()), (code, "Not ready to print"));
        assert_eq!(printer.count("POST"), 1);
    }
}

#[tokio::test]
async fn a_stale_nonce_does_not_repeat_a_start() {
    let printer = printer(|| challenge("ffffffffffffffff", true)).await;
    let outcome = start(&printer).await;
    assert!(matches!(outcome, StartOutcome::Refused { status: 401, .. }), "{outcome:?}");
    assert_eq!(printer.count("POST"), 1);
}

#[tokio::test]
async fn other_answers_prove_nothing() {
    for status in
        ["200 OK", "302 Found", "404 Not Found", "408 Request Timeout", "500 Internal Server Error", "503 Busy"]
    {
        let printer = printer(move || Reply::SayAndClose(status, "", "{}".into())).await;
        let outcome = start(&printer).await;
        assert!(matches!(outcome, StartOutcome::Unclear(Error::Protocol { .. })), "{status}: {outcome:?}");
        assert_eq!(printer.count("POST"), 1);
    }
}

#[tokio::test]
async fn a_lost_answer_is_unclear_and_nothing_is_repeated() {
    let printer = printer(|| Reply::Vanish).await;
    let outcome = start(&printer).await;
    assert!(matches!(outcome, StartOutcome::Unclear(Error::ConnectionLost { .. })), "{outcome:?}");
    printer.ended(1).await;
    assert_eq!(printer.count("POST"), 1);
}

#[tokio::test]
async fn silence_is_unclear_within_the_send_timeout_and_cuts_the_connection() {
    let printer = printer(|| Reply::Hang(0)).await;
    let began = Instant::now();
    let outcome = start(&printer).await;
    assert!(matches!(outcome, StartOutcome::Unclear(Error::NoAnswer { .. })), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    printer.ended(printer.connections()).await;
    assert_eq!((printer.count("POST"), printer.resets()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_ended_after_its_report_sends_nothing() {
    let closing = Arc::new(AtomicBool::new(false));
    let printer = FakePrinter::start({
        let closing = Arc::clone(&closing);
        move |seen| {
            with_login(seen, |seen| {
                assert_eq!(seen.method, "GET", "no command may arrive");
                if closing.load(Ordering::SeqCst) { Reply::SayThenClose("200 OK", IDLE.into()) } else { ok(IDLE) }
            })
        }
    })
    .await;
    let mut client = printer.client();
    client.version().await.unwrap();
    closing.store(true, Ordering::SeqCst);
    // The printer keeps the connection by its words and then closes it without a word.
    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    printer.ended(printer.connections()).await;
    let outcome = connection.start(&name(), || true).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::ConnectionEnded)), "{outcome:?}");
    assert_eq!((printer.count("POST"), printer.stray_bytes()), (0, 0));
}

#[tokio::test]
async fn a_server_that_always_closes_gets_the_command_on_a_new_connection() {
    const PYTHON: &str = r#"{"text":"PrusaLink 0.8.1","original":"PrusaLink I3MK3S"}"#;
    let printer = FakePrinter::start(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("POST", _) => Reply::Old("204 No Content", String::new()),
        (_, "/api/version") => Reply::Old("200 OK", PYTHON.into()),
        _ => Reply::Old("200 OK", IDLE.into()),
    })
    .await;
    let (mut connection, _) = printer.client().fresh_start_connection().await.unwrap();
    assert!(connection.server_closes_always());
    assert!(matches!(connection.start(&name(), || true).await, StartOutcome::Accepted));
    assert_eq!(printer.lines().last().unwrap(), &format!("POST /api/v1/files/local/{}", name()));
    connection.status().await.unwrap();

    let (mut connection, _) = printer.client().fresh_start_connection().await.unwrap();
    let outcome = connection.start(&name(), || false).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::Withheld)), "{outcome:?}");
    drop(connection);
    printer.ended(printer.connections()).await;
    assert_eq!((printer.count("POST"), printer.stray_bytes()), (1, 0));
}

#[tokio::test]
async fn a_printer_that_is_gone_by_then_got_nothing() {
    let printer =
        FakePrinter::start(|_| Reply::Old("200 OK", IDLE.replace('{', r#"{"text":"PrusaLink 0.8.1","#))).await;
    let mut client = printer.client_with(quick());
    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    printer.stop().await;
    let outcome = connection.start(&name(), || panic!("nothing to permit")).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::Failed(Error::Unreachable { .. }))), "{outcome:?}");
}

#[tokio::test]
async fn a_start_begun_before_is_cut_when_its_future_is_dropped() {
    let printer = printer(|| Reply::Hang(0)).await;
    let mut client = printer.client();
    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    let name = name();
    tokio::select! {
        outcome = connection.start(&name, || true) => panic!("{outcome:?}"),
        () = printer.arrived("POST") => {}
    }
    printer.ended(printer.connections()).await;
    assert_eq!((printer.count("POST"), printer.resets()), (1, 1));
}
