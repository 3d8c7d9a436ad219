//! Logins, connections and plain requests against a scripted printer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{FakePrinter, IDLE, Reply, challenge, client, name, ok, with_login};
use printernizer_prusalink::{Error, Flavor, State, Timeouts};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_poller_asks_for_the_nonce_once_and_stays_on_one_connection() {
    let printer = FakePrinter::start(|seen| with_login(seen, |_| ok(IDLE))).await;
    let mut client = printer.client();
    for _ in 0..3 {
        assert_eq!(client.status().await.unwrap().state, State::Idle);
    }
    let logins: Vec<bool> = printer.seen().iter().map(|seen| seen.header("authorization").is_some()).collect();
    assert_eq!(logins, [false, true, true, true]);
    assert_eq!(printer.connections(), 1);
    let first = &printer.seen()[0];
    assert_eq!((first.header("accept"), first.header("user-agent")), (Some("application/json"), Some("printernizer")));
    assert_eq!(first.header("host"), Some(printer.address.to_string().as_str()));
}

#[tokio::test]
async fn a_stale_nonce_costs_one_more_request() {
    let printer = FakePrinter::start(|seen| match seen.header("authorization") {
        None => challenge("00000000000000a1", false),
        Some(login) if login.contains("00000000000000a1") => challenge("00000000000000b2", true),
        Some(_) => ok(IDLE),
    })
    .await;
    printer.client().status().await.unwrap();
    assert_eq!(printer.seen().len(), 3);
}

#[tokio::test]
async fn nonces_that_are_always_stale_do_not_loop() {
    let printer = FakePrinter::start(|_| challenge("00000000000000a1", true)).await;
    assert!(matches!(printer.client().status().await, Err(Error::Unauthorized)));
    assert_eq!(printer.seen().len(), 3);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_per_call() {
    let printer = FakePrinter::start(|_| challenge("0123456789abcdef", false)).await;
    let mut client = printer.client();
    assert!(matches!(client.status().await, Err(Error::Unauthorized)));
    assert_eq!(printer.seen().iter().filter(|seen| seen.header("authorization").is_some()).count(), 1);
    assert!(matches!(client.pause(1).await, Err(Error::Unauthorized)));
    assert_eq!(printer.count("PUT"), 0);
}

#[tokio::test]
async fn a_server_without_digest_gets_the_password_as_api_key() {
    let printer = FakePrinter::start(|seen| match seen.header("x-api-key") {
        Some("secret") => ok(IDLE),
        _ => Reply::Say("401 Unauthorized\r\nWWW-Authenticate: ApiKey realm=\"Printer API\"", "{}".into()),
    })
    .await;
    assert_eq!(printer.client().status().await.unwrap().state, State::Idle);
    assert!(printer.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn a_get_survives_that_the_printer_closed_the_idle_connection() {
    let answered = Arc::new(AtomicUsize::new(0));
    let printer = FakePrinter::start({
        let answered = Arc::clone(&answered);
        move |seen| {
            with_login(seen, |_| match answered.fetch_add(1, Ordering::SeqCst) {
                // The second request on the connection dies, as if it had met the closing of an idle connection.
                1 => Reply::Vanish,
                _ => ok(IDLE),
            })
        }
    })
    .await;
    let mut client = printer.client();
    client.status().await.unwrap();
    client.status().await.unwrap();
    assert_eq!((printer.connections(), printer.seen().len()), (2, 4));
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_is_noticed_at_once() {
    let printer = FakePrinter::start(|seen| with_login(seen, |_| Reply::SayThenClose("200 OK", IDLE.into()))).await;
    let mut client = printer.client();
    client.status().await.unwrap();
    printer.ended(1).await;
    let began = Instant::now();
    client.status().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((printer.connections(), printer.stray_bytes()), (2, 0));
}

#[tokio::test]
async fn a_get_on_a_new_connection_is_not_repeated() {
    let printer = FakePrinter::start(|_| Reply::Vanish).await;
    assert!(matches!(printer.client().status().await, Err(Error::ConnectionLost { .. })));
    assert_eq!(printer.seen().len(), 1);
}

#[tokio::test]
async fn a_command_is_never_sent_twice() {
    for method in ["PUT", "DELETE"] {
        let printer = FakePrinter::start(|seen| with_login(seen, |_| Reply::Vanish)).await;
        let mut client = printer.client();
        let outcome = if method == "PUT" { client.pause(7).await } else { client.stop(7).await };
        assert!(matches!(outcome, Err(Error::ConnectionLost { .. })), "{outcome:?}");
        assert_eq!(printer.count(method), 1);
    }
}

#[tokio::test]
async fn commands_get_their_nonce_from_a_get() {
    let printer = FakePrinter::start(|seen| with_login(seen, |_| Reply::Say("204 No Content", String::new()))).await;
    let mut client = printer.client();
    client.pause(7).await.unwrap();
    client.resume(7).await.unwrap();
    client.stop(7).await.unwrap();
    let expected = [
        "GET /api/version",
        "GET /api/version",
        "PUT /api/v1/job/7/pause",
        "PUT /api/v1/job/7/resume",
        "DELETE /api/v1/job/7",
    ];
    assert_eq!(printer.lines(), expected);
    assert_eq!(printer.seen()[2].header("content-length"), Some("0"));
}

#[tokio::test]
async fn a_refused_command_carries_the_printers_words() {
    let printer = FakePrinter::start(|seen| {
        let body = r#"{"title":"409: Conflict","message":"Not\u0007 in a state to pause"}"#;
        with_login(seen, |_| Reply::SayAndClose("409 Conflict", "", body.into()))
    })
    .await;
    let error = printer.client().pause(7).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { status: 409, message, .. } if message == "Not in a state to pause"),
        "{error}"
    );
}

#[tokio::test]
async fn the_id_probe_tells_current_or_last_from_others() {
    let printer = FakePrinter::start(|seen| {
        with_login(seen, |seen| {
            let status = match seen.path.as_str() {
                "/api/v1/job/41/x" => "400 Bad Request",
                "/api/v1/job/42/x" => "500 Internal Server Error",
                _ => "404 Not Found",
            };
            Reply::SayAndClose(status, "", "{}".into())
        })
    })
    .await;
    let mut client = printer.client();
    assert!(client.last_job_is(41).await.unwrap());
    assert!(!client.last_job_is(40).await.unwrap());
    assert!(matches!(client.last_job_is(42).await, Err(Error::Refused { status: 500, .. })));
    let before = printer.seen().len();
    assert!(!client.last_job_is(65_536 + 41).await.unwrap(), "a number beyond 16 bit cannot be a Buddy's");
    assert_eq!(printer.seen().len(), before);
}

#[tokio::test]
async fn a_file_counts_as_absent_only_if_it_cannot_be_read_either() {
    for (get, expected) in [("404 Not Found", Some(false)), ("200 OK", None)] {
        let printer = FakePrinter::start(move |seen| {
            with_login(seen, |seen| match seen.method.as_str() {
                "DELETE" => Reply::SayAndClose("404 Not Found", "", "{}".into()),
                _ => Reply::Say(get, r#"{"name":"X.BGC","size":5}"#.into()),
            })
        })
        .await;
        let outcome = printer.client().delete_file(&name()).await;
        assert_eq!(outcome.as_ref().ok().copied(), expected, "{outcome:?}");
    }
    let printer = FakePrinter::start(|seen| with_login(seen, |_| Reply::Say("204 No Content", String::new()))).await;
    assert!(printer.client().delete_file(&name()).await.unwrap());
    assert_eq!(printer.lines().last().unwrap(), &format!("DELETE /api/v1/files/usb/{}", name()));
}

#[tokio::test]
async fn no_job_is_none_and_the_flavor_is_remembered() {
    let printer = FakePrinter::start(|seen| with_login(seen, |_| Reply::Say("204 No Content", String::new()))).await;
    let mut client = printer.client();
    assert_eq!(client.flavor(), None);
    assert!(client.job().await.unwrap().is_none());
    client.version().await.unwrap();
    assert_eq!(client.flavor(), Some(Flavor::Buddy));
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let printer = FakePrinter::start(|seen| with_login(seen, |_| ok(&"x".repeat(300 * 1024)))).await;
    let error = printer.client().status().await.unwrap_err();
    assert!(matches!(&error, Error::Protocol { detail, .. } if detail.contains("too long")), "{error:?}");
    let printer = FakePrinter::start(|seen| {
        with_login(seen, |_| {
            Reply::SayAndClose(
                "200 OK",
                Box::leak(format!("X: {}\r\n", "y".repeat(100_000)).into_boxed_str()),
                "{}".into(),
            )
        })
    })
    .await;
    assert!(matches!(printer.client().status().await, Err(Error::ConnectionLost { .. })));
}

#[tokio::test]
async fn redirects_and_web_pages_are_no_printers() {
    let elsewhere = FakePrinter::start(|_| ok(IDLE)).await;
    let location: &'static str = Box::leak(format!("Location: http://{}/\r\n", elsewhere.address).into_boxed_str());
    let printer = FakePrinter::start(move |_| Reply::SayAndClose("302 Found", location, String::new())).await;
    assert!(matches!(printer.client().status().await, Err(Error::NotPrusaLink { .. })));
    assert_eq!(elsewhere.connections(), 0);
    let printer = FakePrinter::start(|_| ok("<!DOCTYPE html><html></html>")).await;
    assert!(matches!(printer.client().version().await, Err(Error::NotPrusaLink { .. })));
}

#[tokio::test]
async fn silence_ends_with_the_request_timeout_and_cuts_the_connection() {
    let printer = FakePrinter::start(|_| Reply::Hang(0)).await;
    let timeouts = Timeouts { request: Duration::from_millis(200), ..Timeouts::default() };
    let began = Instant::now();
    let error = printer.client_with(timeouts).status().await.unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    printer.ended(1).await;
    assert_eq!(printer.resets(), 1);
}

#[tokio::test]
async fn a_dropped_call_cuts_its_connection_and_the_next_call_works() {
    let calls = Arc::new(AtomicUsize::new(0));
    let printer = FakePrinter::start(move |seen| {
        with_login(seen, |_| if calls.fetch_add(1, Ordering::SeqCst) == 0 { Reply::Hang(0) } else { ok(IDLE) })
    })
    .await;
    let mut client = printer.client();
    assert!(tokio::time::timeout(Duration::from_millis(200), client.status()).await.is_err());
    printer.ended(1).await;
    assert_eq!(printer.resets(), 1);
    assert_eq!(client.status().await.unwrap().state, State::Idle);
}

#[tokio::test]
async fn a_closed_port_is_unreachable_with_its_cause_and_no_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    let mut client = client(address, Timeouts::default());
    let error = client.status().await.unwrap_err();
    assert!(std::error::Error::source(&error).is_some() && error.to_string().contains(&address.to_string()), "{error}");
    assert!(!format!("{client:?} {error:?}").contains("secret\""));
}

#[tokio::test]
async fn an_orderly_end_is_no_reset() {
    let printer = FakePrinter::start(|seen| with_login(seen, |_| ok(IDLE))).await;
    let mut client = printer.client();
    client.status().await.unwrap();
    client.disconnect();
    printer.ended(1).await;
    assert_eq!((printer.resets(), printer.stray_bytes()), (0, 0));
}
