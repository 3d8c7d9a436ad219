//! Each fault does on the wire what it says, and the ledger tells what really happened behind it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its helpers too")]

mod common;

use std::time::Duration;

use common::{PATIENCE, gcode, one_printer, until, until_link_state};
use printernizer_simulator::{Action, AfterPowerCut, Event, Fault, FaultKind, Ledger, UnreachableManner};
use reqwest::Method;

const FILE: &str = "/api/v1/files/usb/a.gcode";

/// Answer and acceptance of the only start command.
fn command(ledger: &Ledger) -> (Option<u16>, bool) {
    let commands = ledger.start_commands("");
    assert_eq!(commands.len(), 1, "{commands:?}");
    match commands[0].event {
        Event::StartCommand { answer, accepted, .. } => (answer, accepted),
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_client_sees_of_a_start_says_nothing_about_what_the_machine_does() {
    // fault, status the client gets, whether the machine prints
    let table = [
        (FaultKind::DropBeforeHandling, None, false),
        (FaultKind::DropAfterHandling, None, true),
        (FaultKind::Answer { status: 503 }, Some(503), false),
        (FaultKind::HandleThenAnswer { status: 404 }, Some(404), true),
        (FaultKind::HandleThenAnswer { status: 409 }, Some(409), true),
        (FaultKind::AcceptWithoutStarting, Some(204), false),
        (FaultKind::DelayAnswer { milliseconds: 1 }, Some(204), true),
    ];
    for (kind, status, prints) in table {
        let (simulator, printer, buddy) = one_printer(1.0).await;
        assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
        printer.fault(Fault::once(kind.clone()).on("POST", "/usb/"));
        assert_eq!(buddy.get("/api/v1/status").await.status(), 200, "{kind:?} is for POST only");
        let response = buddy.request(Method::POST, FILE).send().await;
        assert_eq!(response.ok().map(|response| response.status().as_u16()), status, "{kind:?}");
        assert_eq!(command(&simulator.ledger()), (status, prints), "{kind:?}");
        simulator.skip_time(Duration::from_secs(1));
        assert_eq!(simulator.ledger().physical_starts("a.gcode").len(), usize::from(prints), "{kind:?}");
        assert_eq!(printer.state().last_job_id, u16::from(prints), "{kind:?}");
        assert!(printer.state().faults.is_empty(), "{kind:?} was for once");
    }
}

#[tokio::test]
async fn a_start_whose_client_has_given_up_still_happens_later() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
    printer.fault(Fault::once(FaultKind::DelayHandling { milliseconds: 300 }).on("POST", "/usb/"));
    let given_up = buddy.request(Method::POST, FILE).timeout(Duration::from_millis(50)).send().await;
    assert!(given_up.unwrap_err().is_timeout());
    assert!(simulator.ledger().physical_starts("").is_empty());
    until_link_state(&printer, "PRINTING").await;
    assert_eq!(simulator.ledger().physical_starts("a.gcode").len(), 1);
}

#[tokio::test]
async fn a_fault_with_a_count_ends_and_a_lasting_one_is_cleared() {
    let (_simulator, printer, buddy) = one_printer(1.0).await;
    printer.fault(Fault { count: Some(2), ..Fault::lasting(FaultKind::Answer { status: 500 }) });
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(buddy.get("/api/v1/status").await.status().as_u16());
    }
    assert_eq!(seen, [500, 500, 200]);
    printer.fault(Fault::lasting(FaultKind::Busy));
    assert_eq!(buddy.state().await, "BUSY");
    printer.clear_faults();
    assert_eq!(buddy.state().await, "IDLE");
}

#[tokio::test]
async fn a_truncated_upload_stores_nothing_and_a_stalled_one_takes_its_time() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    printer.fault(Fault::once(FaultKind::TruncateUpload { after_bytes: 5 }));
    assert!(buddy.request(Method::PUT, FILE).body(gcode(1000)).send().await.is_err());
    let ended = |entries: &[printernizer_simulator::Entry]| {
        entries.iter().any(|entry| matches!(entry.event, Event::Upload { size_bytes: 5, sha256: None, .. }))
    };
    assert!(simulator.ledger().wait_for(PATIENCE, ended).await);
    assert!(printer.state().files.is_empty());
    printer.fault(Fault::once(FaultKind::StallUpload { after_bytes: 5, milliseconds: 200 }));
    let began = std::time::Instant::now();
    assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn an_unreachable_printer_refuses_or_is_silent_and_prints_on() {
    for manner in [UnreachableManner::Refuse, UnreachableManner::Silent] {
        let (simulator, printer, buddy) = one_printer(1.0).await;
        buddy.upload_then_print("a.gcode", 1000).await;
        printer.fault(Fault::lasting(FaultKind::Unreachable { manner }));
        printer.settled().await;
        let error = match manner {
            UnreachableManner::Refuse => {
                buddy.request(Method::GET, "/api/v1/status").send().await.unwrap_err().is_connect()
            }
            UnreachableManner::Silent => {
                let request = buddy.request(Method::GET, "/api/v1/status").timeout(Duration::from_millis(200));
                request.send().await.unwrap_err().is_timeout()
            }
        };
        assert!(error, "{manner:?}");
        simulator.skip_time(Duration::from_secs(1000));
        assert_eq!(simulator.ledger().physical_ends("").len(), 1, "{manner:?}");
        printer.clear_faults();
        printer.settled().await;
        assert_eq!(buddy.state().await, "FINISHED", "{manner:?}");
    }
}

#[tokio::test]
async fn mishaps_reach_the_wire() {
    // fault, state after the whole print time
    let table = [
        (FaultKind::FilamentRunout { after_percent: 40 }, Some("ATTENTION")),
        (FaultKind::DoorOpen { after_percent: 40 }, Some("ATTENTION")),
        (FaultKind::Stuck { after_percent: 40, fails_after_seconds: Some(1) }, Some("STOPPED")),
        (FaultKind::Stuck { after_percent: 40, fails_after_seconds: None }, Some("PRINTING")),
        (FaultKind::RedScreen { after_percent: 40 }, None),
    ];
    for (kind, state) in table {
        let (simulator, printer, buddy) = one_printer(1.0).await;
        printer.fault(Fault::once(kind.clone()));
        buddy.upload_then_print("a.gcode", 1000).await;
        until(&printer, "printing", |state| state.screen == "printing").await;
        simulator.skip_time(Duration::from_secs(1000));
        assert_eq!(printer.state().link_state.as_deref(), state, "{kind:?}");
        if let Some(state) = state {
            assert_eq!(buddy.state().await, state, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_start_answered_well_can_happen_much_later_or_be_lost_with_the_power() {
    for power_fails in [false, true] {
        let (simulator, printer, buddy) = one_printer(1.0).await;
        assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
        printer.fault(Fault::once(FaultKind::StartLate { seconds: 600 }));
        assert_eq!(buddy.print("a.gcode").await, 204);
        assert_eq!((buddy.state().await.as_str(), printer.state().last_job_id), ("IDLE", 0));
        simulator.skip_time(Duration::from_secs(590));
        assert!(simulator.ledger().physical_starts("").is_empty());
        if power_fails {
            printer.person(&Action::Reboot { job: AfterPowerCut::Ask }).unwrap();
        }
        simulator.skip_time(Duration::from_secs(10));
        assert_eq!(simulator.ledger().physical_starts("").len(), usize::from(!power_fails));
    }
}

#[tokio::test]
async fn a_late_start_is_dropped_if_the_machine_prints_something_else_by_then() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
    printer.fault(Fault::once(FaultKind::StartLate { seconds: 600 }));
    assert_eq!(buddy.print("a.gcode").await, 204);
    let file_name = "theirs.gcode".to_owned();
    printer.person(&Action::PrintForeignFile { file_name, duration_seconds: 1000 }).unwrap();
    simulator.skip_time(Duration::from_secs(5000));
    let starts = simulator.ledger().physical_starts("");
    assert!(
        matches!(&starts[..], [only] if matches!(&only.event, Event::PhysicalStart { file_name, .. } if file_name == "theirs.gcode"))
    );
}
