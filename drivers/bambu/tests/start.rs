//! The start command: written once or not at all, and what is certain afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;

use std::time::Duration;

use common::certificates::Draft;
use common::{Broker, SERIAL, Session, idle, project_file, short, soon};
use printernizer_bambu::report::RefusalKind;
use printernizer_bambu::{Error, NotSent, StartAnswer, StartOutcome, Timeouts};
use serde_json::{Value, json};

/// Long enough that it does not fit into the buffers between two programs.
const LONG: usize = 75_000;

fn answer(start: &Value, rest: &Value) -> String {
    let mut print = json!({"sequence_id": start["sequence_id"], "command": "project_file"});
    print.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    json!({"print": print}).to_string()
}

async fn refuse(session: &mut Session, start: &Value) {
    let refusal = json!({"result": "failed", "reason": "mqtt message verify failed", "err_code": "84033543"});
    session.publish(answer(start, &refusal)).await;
}

#[tokio::test]
async fn a_start_is_written_once_with_our_ids_and_the_answer_is_told() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let serve = async {
        let start = session.expect("print", "project_file").await;
        assert_eq!(start["task_id"], "4711");
        assert_eq!(start["url"], "ftp:///bracket-pz-0011223344556677-1.gcode.3mf");
        session.publish(answer(&start, &json!({"result": "SUCCESS"}))).await;
    };
    let command = project_file(1);
    let (outcome, ()) = soon(async { tokio::join!(connection.start(&command, || true), serve) }).await;
    assert!(matches!(outcome, StartOutcome::Sent { acknowledged: true }), "{outcome:?}");
    assert_eq!(connection.report().start_answer, Some(StartAnswer::Taken));

    let again = soon(connection.start(&project_file(1), || panic!("nobody is asked"))).await;
    assert!(matches!(again, StartOutcome::NotSent(NotSent::AlreadyUsed)), "{again:?}");
    connection.close().await;
    assert_eq!(session.request().await, None, "nothing else was written");
}

#[tokio::test]
async fn a_printer_that_does_not_answer_has_got_the_start() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let outcome = soon(connection.start(&project_file(1), || true)).await;
    assert!(matches!(outcome, StartOutcome::Sent { acknowledged: false }), "{outcome:?}");
    let start = session.expect("print", "project_file").await;
    // A refusal that comes late still counts, and an answer after it does not take it back.
    refuse(&mut session, &start).await;
    session.publish(answer(&start, &json!({}))).await;
    session.report(1, json!({"mc_percent": 1})).await;
    while connection.report().report.percent.is_none() {
        soon(connection.changed()).await.unwrap();
    }
    let snapshot = connection.report();
    let Some(StartAnswer::Refused(refusal)) = &snapshot.start_answer else { panic!("{snapshot:?}") };
    assert_eq!(refusal.kind, RefusalKind::VerifyFailed);
    assert_eq!(snapshot.control_allowed, Some(false));
}

#[tokio::test]
async fn a_refused_start_is_told_with_the_reason() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let serve = async {
        let start = session.expect("print", "project_file").await;
        session.publish(r#"{"print":{"command":"project_file","sequence_id":"20000","result":"success"}}"#).await;
        session
            .publish(answer(
                &start,
                &json!({"param": "Metadata/plate_1.gcode", "result": "fail",
                                               "reason": "busy", "err_code": 83_902_468}),
            ))
            .await;
    };
    let command = project_file(1);
    let (outcome, ()) = soon(async { tokio::join!(connection.start(&command, || true), serve) }).await;
    let StartOutcome::Refused(refusal) = outcome else { panic!("{outcome:?}") };
    assert_eq!((refusal.kind, refusal.code), (RefusalKind::Busy, Some(0x0500_4004)));
}

#[tokio::test]
async fn a_start_that_is_withheld_at_the_last_moment_leaves_nothing_on_the_wire() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let outcome = soon(connection.start(&project_file(1), || false)).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::Withheld)), "{outcome:?}");
    // The connection is as good as before, and the next thing on it is another command.
    let (paused, command) = soon(async { tokio::join!(connection.pause(), session.expect("print", "pause")) }).await;
    paused.unwrap();
    assert_eq!(command["param"], "");
    let command = project_file(1);
    let (outcome, _) =
        soon(async { tokio::join!(connection.start(&command, || true), session.expect("print", "project_file")) })
            .await;
    assert!(matches!(outcome, StartOutcome::Sent { .. }), "{outcome:?}");
}

#[tokio::test]
async fn over_a_connection_that_has_ended_nothing_is_started() {
    let broker = Broker::start().await;
    let (mut connection, session) = broker.connected(idle()).await;
    drop(session);
    while soon(connection.changed()).await.is_ok() {}
    let outcome = soon(connection.start(&project_file(1), || panic!("nobody is asked"))).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::ConnectionEnded)), "{outcome:?}");
}

#[tokio::test]
async fn to_a_printer_that_does_not_hear_us_nothing_is_started() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let deaf = async {
        session.expect("info", "get_version").await;
        session.expect("pushing", "pushall").await;
        session.report(1, json!({})).await;
    };
    let (report, ()) = soon(async { tokio::join!(connection.full_report(), deaf) }).await;
    assert!(matches!(report, Err(Error::CommandsSwallowed)), "{report:?}");
    let outcome = soon(connection.start(&project_file(1), || panic!("nobody is asked"))).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::NotFit)), "{outcome:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_start_leaves_the_outcome_open() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let serve = async move {
        session.expect("print", "project_file").await;
        drop(session);
    };
    let command = project_file(1);
    let (outcome, ()) = soon(async { tokio::join!(connection.start(&command, || true), serve) }).await;
    assert!(matches!(outcome, StartOutcome::Unclear(Error::ConnectionLost { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_start_that_does_not_leave_in_time_is_cut_off_and_never_arrives_whole() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let outcome = soon(connection.start(&project_file(LONG), || true)).await;
    assert!(matches!(outcome, StartOutcome::Unclear(Error::NoAnswer { .. })), "{outcome:?}");
    assert_eq!(session.request().await, None, "the rest was forgotten with the connection");
    assert!(soon(connection.changed()).await.is_err());
}

#[tokio::test]
async fn who_goes_away_in_the_middle_of_a_start_cuts_the_connection_at_once() {
    // Not the kernel ends it, which would take the send timeout.
    let timeouts = Timeouts { send: Duration::from_secs(60), ..short() };
    let broker = Broker::with(&Draft::of(SERIAL), timeouts).await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let start = project_file(LONG);
    let impatient = tokio::time::timeout(Duration::from_millis(100), connection.start(&start, || true)).await;
    assert!(impatient.is_err(), "{impatient:?}");
    let error = loop {
        if let Err(error) = soon(connection.changed()).await {
            break error;
        }
    };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert_eq!(session.request().await, None);
    let outcome = soon(connection.start(&project_file(1), || panic!("nobody is asked"))).await;
    assert!(matches!(outcome, StartOutcome::NotSent(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_start_too_long_for_a_packet_is_not_begun() {
    let broker = Broker::start().await;
    let (mut connection, _session) = broker.connected(idle()).await;
    let outcome = soon(connection.start(&project_file(100_000), || panic!("nobody is asked"))).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::Failed(_))), "{outcome:?}");
}
