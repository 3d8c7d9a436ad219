//! A connection from its opening to its end, with a broker that misbehaves as told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;

use std::time::Duration;

use common::certificates::Draft;
use common::{ACCESS_CODE, Broker, SERIAL, idle, short, soon};
use printernizer_bambu::report::{RefusalKind, State, Storage};
use printernizer_bambu::{Answered, CertificateProblem, Connection, Error, Timeouts, Trust};
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_connection_logs_in_subscribes_to_one_topic_and_begins_with_the_first_full_report() {
    let broker = Broker::start().await;
    let serve = async {
        let mut session = broker.accept().await.unwrap();
        let connect = session.log_in(ConnectReturnCode::Success).await;
        assert!(connect.clean_session && connect.last_will.is_none());
        assert!(connect.login.unwrap().validate("bblp", ACCESS_CODE));
        let Some(Packet::Subscribe(subscribe)) = session.packet().await else { panic!("a subscription") };
        let granted = vec![rumqttc::mqttbytes::v4::SubscribeReasonCode::Success(rumqttc::mqttbytes::QoS::AtMostOnce)];
        session.send(&Packet::SubAck(rumqttc::mqttbytes::v4::SubAck::new(subscribe.pkid, granted))).await;
        session.report(1, json!({"gcode_state": "RUNNING", "mc_percent": 99})).await;
        session.answer_questions(idle()).await;
        session
    };
    let (connection, _session) = soon(async { tokio::join!(Connection::open(&broker.config), serve) }).await;
    let snapshot = connection.unwrap().report();
    assert_eq!(snapshot.report.state, State::Idle);
    assert_eq!(snapshot.report.percent, None, "a partial report before the full one says nothing");
    assert_eq!(snapshot.report.storage, Some(Storage::Normal));
    assert!(snapshot.fit_for_commands);
    let version = snapshot.version.clone().unwrap();
    assert_eq!(version.firmware(), Some("01.05.00.00"));
    assert_eq!(snapshot.control_allowed, None, "an A1 does not say whether Developer Mode is on");
}

#[tokio::test]
async fn a_refused_access_code_is_told_from_other_refusals() {
    for (code, is_access_code) in [
        (ConnectReturnCode::BadUserNamePassword, true),
        (ConnectReturnCode::NotAuthorized, true),
        (ConnectReturnCode::ServiceUnavailable, false),
    ] {
        let broker = Broker::start().await;
        let serve = async { broker.accept().await.unwrap().log_in(code).await };
        let (error, _) = soon(async { tokio::join!(Connection::open(&broker.config), serve) }).await;
        let error = error.unwrap_err();
        assert_eq!(matches!(error, Error::AccessCodeRefused), is_access_code, "{error:?}");
        assert_eq!(matches!(error, Error::Refused { code: 3 }), !is_access_code, "{error:?}");
        assert!(!format!("{error:?} {error}").contains(ACCESS_CODE));
    }
}

#[tokio::test]
async fn a_broker_that_stays_silent_has_another_serial_number_or_too_many_clients() {
    let broker = Broker::start().await;
    let serve = async {
        let mut session = broker.subscribed().await;
        session.answer_version().await;
        session
    };
    let (error, _session) = soon(async { tokio::join!(Connection::open(&broker.config), serve) }).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::WrongSerialOrBusy { .. }), "{error:?}");
    assert!(error.to_string().contains("serial number"), "{error}");
}

#[tokio::test]
async fn another_printer_never_sees_the_access_code() {
    let broker = Broker::with(&Draft::of("03919A3B0100255"), short()).await;
    let (error, session) = soon(async { tokio::join!(Connection::open(&broker.config), broker.accept()) }).await;
    let Err(Error::Untrusted { problem, .. }) = error else { panic!("{error:?}") };
    assert_eq!(problem, CertificateProblem::OtherPrinter { found: "03919A3B0100255".into(), expected: SERIAL.into() });
    if let Some(mut session) = session {
        assert_eq!(session.packet().await, None);
    }
}

#[tokio::test]
async fn who_has_copied_the_certificate_but_not_the_key_is_no_printer() {
    let mut broker = Broker::impostor().await;
    for pinned in [false, true] {
        if pinned {
            broker.config.trust = Trust::BambuCa;
            let (error, _) = soon(async { tokio::join!(Connection::open(&broker.config), broker.accept()) }).await;
            broker.config.trust = Trust::PinnedKey(key_named_by(error.map(drop)));
        }
        let (error, _) = soon(async { tokio::join!(Connection::open(&broker.config), broker.accept()) }).await;
        let Err(Error::Untrusted { problem, .. }) = error else { panic!("{error:?}") };
        assert_eq!(problem, CertificateProblem::NotItsKey);
    }
}

/// The key that an error about an unknown authority offers to pin.
fn key_named_by(outcome: Result<(), Error>) -> [u8; 32] {
    let Err(Error::Untrusted { problem: CertificateProblem::UnknownIssuer { public_key_sha256, .. }, .. }) = outcome
    else {
        panic!("{outcome:?}")
    };
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(public_key_sha256.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    }
    hash
}

#[tokio::test]
async fn a_printer_of_an_unknown_authority_can_be_pinned_by_the_key_that_the_error_names() {
    let mut broker = Broker::start().await;
    broker.config.trust = Trust::BambuCa;
    let (error, _) = soon(async { tokio::join!(Connection::open(&broker.config), broker.accept()) }).await;
    broker.config.trust = Trust::PinnedKey(key_named_by(error.map(drop)));
    broker.connected(idle()).await;
}

#[tokio::test]
async fn what_does_not_speak_tls_or_does_not_answer_is_no_printer() {
    let broker = Broker::start().await;
    let plain = async { broker.tcp().await.write_all(b"220 welcome to a server of another kind\r\n").await };
    let (error, _) = soon(async { tokio::join!(Connection::open(&broker.config), plain) }).await;
    assert!(matches!(error, Err(Error::NotTls { .. })), "{error:?}");

    let closes = async { drop(broker.tcp().await) };
    let (error, ()) = soon(async { tokio::join!(Connection::open(&broker.config), closes) }).await;
    assert!(matches!(error, Err(Error::Tls { .. })), "{error:?}");

    let says_nothing = broker.tcp();
    let (error, _open) = soon(async { tokio::join!(Connection::open(&broker.config), says_nothing) }).await;
    assert!(matches!(error, Err(Error::NoAnswer { .. })), "{error:?}");

    let config = broker.config.clone();
    drop(broker);
    let error = soon(Connection::open(&config)).await;
    assert!(matches!(error, Err(Error::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn partial_reports_change_what_they_name_and_answers_change_nothing() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    session.publish(r#"{"print":{"command":"push_status","msg":1,"result":"success","gcode_state":"FAILED"}}"#).await;
    session.publish(r#"{"print":{"command":"project_file","sequence_id":"20000","subtask_name":"theirs"}}"#).await;
    session.publish("not even JSON").await;
    session.report(1, json!({"mc_percent": "42"})).await;
    while connection.report().report.percent.is_none() {
        soon(connection.changed()).await.unwrap();
    }
    let snapshot = connection.report();
    assert_eq!(snapshot.report.percent, Some(42));
    assert_eq!(snapshot.report.state, State::Idle);
    assert_eq!(snapshot.report.subtask_name, None);
    assert_eq!(snapshot.damaged_messages, 1);
    assert!(snapshot.arrived > snapshot.full_arrived);
}

#[tokio::test]
async fn a_long_report_with_bytes_that_are_no_text_is_read_and_an_endless_one_ends_the_connection() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let mut long = br#"{"print":{"command":"push_status","msg":1,"mc_percent":7,"junk":""#.to_vec();
    long.extend(std::iter::repeat_n(0xff_u8, 40_000));
    long.extend(br#""}}"#);
    session.publish(long).await;
    while connection.report().report.percent != Some(7) {
        soon(connection.changed()).await.unwrap();
    }
    assert_eq!(connection.report().damaged_messages, 1);
    session.publish(vec![b' '; 300_000]).await;
    let error = loop {
        if let Err(error) = soon(connection.changed()).await {
            break error;
        }
    };
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_report_is_asked_for_and_counts_only_with_the_proof_that_we_are_heard() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let mut finished = idle();
    finished["gcode_state"] = "FINISH".into();
    let (snapshot, ()) =
        soon(async { tokio::join!(connection.full_report(), session.answer_questions(finished)) }).await;
    assert_eq!(snapshot.unwrap().report.state, State::Finished);

    // The answer to the question of another program, or to an older one, is no proof.
    let serve = async {
        session.expect("info", "get_version").await;
        session.expect("pushing", "pushall").await;
        session.publish(r#"{"info":{"command":"get_version","sequence_id":"20000","module":[]}}"#).await;
        session.report(0, idle()).await;
    };
    let (error, ()) = soon(async { tokio::join!(connection.full_report(), serve) }).await;
    assert!(matches!(error, Err(Error::CommandsSwallowed)), "{error:?}");
    while connection.report().fit_for_commands {
        soon(connection.changed()).await.unwrap();
    }
    assert_eq!(connection.report().report.state, State::Idle, "reports go on");
}

#[tokio::test]
async fn a_printer_that_falls_silent_is_asked_once_and_then_given_up() {
    let timeouts = Timeouts { silence: Duration::from_millis(1200), ..short() };
    let broker = Broker::with(&Draft::of(SERIAL), timeouts).await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let silent = async {
        session.expect("info", "get_version").await;
        session.expect("pushing", "pushall").await;
        assert_eq!(session.request().await, None, "nothing more is asked");
    };
    let ended = async {
        loop {
            if let Err(error) = connection.changed().await {
                break error;
            }
        }
    };
    let (error, ()) = soon(async { tokio::join!(ended, silent) }).await;
    assert!(matches!(error, Error::Silent { .. }), "{error:?}");
    assert!(matches!(soon(connection.changed()).await, Err(Error::Ended)), "it is told once");
}

#[tokio::test]
async fn pings_keep_a_quiet_connection_and_a_dead_one_is_noticed() {
    let timeouts = Timeouts { keep_alive: Duration::from_millis(600), ..short() };
    let broker = Broker::with(&Draft::of(SERIAL), timeouts).await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    for _ in 0..2 {
        assert_eq!(session.packet().await, Some(Packet::PingReq));
        session.send(&Packet::PingResp).await;
    }
    let error = loop {
        if let Err(error) = soon(connection.changed()).await {
            break error;
        }
    };
    assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn pause_resume_and_stop_are_sent_once_and_a_refusal_is_told() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let serve = async {
        let pause = session.expect("print", "pause").await;
        assert_eq!(pause["param"], "");
        // Of another program, with another number; then ours, as an A1 mini answers.
        session.publish(r#"{"print":{"command":"pause","sequence_id":"20000","result":"fail"}}"#).await;
        session.publish(json!({"print": {"sequence_id": pause["sequence_id"], "result": "success"}}).to_string()).await;
        session.expect("print", "resume").await;
        let stop = session.expect("print", "stop").await;
        let refused = json!({"print": {"sequence_id": stop["sequence_id"], "command": "stop", "result": "failed",
                                       "reason": "mqtt message verify failed", "err_code": 84_033_543}});
        session.publish(refused.to_string()).await;
    };
    let act = async {
        assert_eq!(connection.pause().await.unwrap(), Answered::Yes);
        assert_eq!(connection.resume().await.unwrap(), Answered::No, "who does not answer has not refused");
        let Err(Error::CommandRefused(refusal)) = connection.stop().await else { panic!("a refusal") };
        assert_eq!((refusal.kind, refusal.code), (RefusalKind::VerifyFailed, Some(0x0502_4007)));
        assert!(refusal.to_string().contains("Developer Mode"), "{refusal}");
    };
    soon(async { tokio::join!(act, serve) }).await;
    while connection.report().control_allowed.is_none() {
        soon(connection.changed()).await.unwrap();
    }
    assert_eq!(connection.report().control_allowed, Some(false));
}

async fn refuse_stop(session: &mut common::Session) {
    let stop = session.expect("print", "stop").await;
    let refused = json!({"print": {"sequence_id": stop["sequence_id"], "command": "stop", "result": "failed",
                                   "err_code": 84_033_543}});
    session.publish(refused.to_string()).await;
}

#[tokio::test]
async fn a_refusal_is_over_when_developer_mode_is_on_also_if_a_report_in_between_does_not_say_so() {
    let broker = Broker::start().await;
    let with = |bits: &str| {
        let mut report = idle();
        report["fun"] = bits.into();
        report
    };
    let (mut connection, mut session) = broker.connected(with("3EC1AFFF9CFF")).await;
    let serve = async {
        refuse_stop(&mut session).await;
        session.report(0, idle()).await;
    };
    let (stopped, ()) = soon(async { tokio::join!(connection.stop(), serve) }).await;
    assert!(matches!(stopped, Err(Error::CommandRefused(_))), "{stopped:?}");
    while connection.report().report.signature_required.is_some() {
        soon(connection.changed()).await.unwrap();
    }
    assert_eq!(connection.report().control_allowed, Some(false), "it says nothing, so what it did counts");
    session.report(0, with("3EC18FFF9CFF")).await;
    while connection.report().report.signature_required.is_none() {
        soon(connection.changed()).await.unwrap();
    }
    assert_eq!(connection.report().control_allowed, Some(true));
    // That it goes on saying so takes no later refusal back.
    let serve = async {
        refuse_stop(&mut session).await;
        session.report(0, idle()).await;
        let mut last = with("3EC18FFF9CFF");
        last["mc_percent"] = 7.into();
        session.report(0, last).await;
    };
    let (stopped, ()) = soon(async { tokio::join!(connection.stop(), serve) }).await;
    assert!(matches!(stopped, Err(Error::CommandRefused(_))), "{stopped:?}");
    while connection.report().report.percent.is_none() {
        soon(connection.changed()).await.unwrap();
    }
    assert_eq!(connection.report().control_allowed, Some(false));
}

#[tokio::test]
async fn closing_says_goodbye_and_dropping_hangs_up_at_once() {
    let broker = Broker::start().await;
    let (connection, mut session) = broker.connected(idle()).await;
    let (goodbye, ()) = soon(async { tokio::join!(session.packet(), connection.close()) }).await;
    assert_eq!(goodbye, Some(Packet::Disconnect));
    assert_eq!(session.packet().await, None);

    let (connection, mut session) = broker.connected(idle()).await;
    drop(connection);
    assert_eq!(session.packet().await, None);
}

#[tokio::test]
async fn a_broker_that_hangs_up_ends_the_connection_and_what_was_known_stays_readable() {
    let broker = Broker::start().await;
    let (mut connection, session) = broker.connected(idle()).await;
    drop(session);
    let error = loop {
        if let Err(error) = soon(connection.changed()).await {
            break error;
        }
    };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert_eq!(connection.report().report.state, State::Idle);
    assert!(matches!(soon(connection.full_report()).await, Err(Error::Ended)));
    assert!(matches!(soon(connection.pause()).await, Err(Error::Ended)));
}

#[tokio::test]
async fn a_command_whose_answer_can_no_longer_come_has_failed() {
    let broker = Broker::start().await;
    let (mut connection, mut session) = broker.connected(idle()).await;
    let serve = async move {
        session.expect("print", "pause").await;
        drop(session);
    };
    let (paused, ()) = soon(async { tokio::join!(connection.pause(), serve) }).await;
    assert!(matches!(paused, Err(Error::ConnectionLost { .. })), "{paused:?}");
}

#[tokio::test]
async fn a_plain_stream_of_bytes_after_tls_is_no_broker() {
    let broker = Broker::start().await;
    let serve = async {
        let mut session = broker.accept().await.unwrap();
        session.packet().await;
        session.send(&Packet::PingResp).await;
    };
    let (error, ()) = soon(async { tokio::join!(Connection::open(&broker.config), serve) }).await;
    assert!(matches!(error, Err(Error::Protocol { .. })), "{error:?}");
    let mut nothing = [0; 1];
    let never_asked = async { broker.tcp().await.read(&mut nothing).await };
    assert!(tokio::time::timeout(Duration::from_millis(300), never_asked).await.is_err(), "it does not try again");
}
