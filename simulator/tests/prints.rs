//! The life of a print over real sockets: start, end screens, job object, job id, preview, bed, power.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its helpers too")]

mod common;

use std::time::Duration;

use common::{gcode, one_printer, until, until_link_state};
use printernizer_simulator::{
    Action, AfterPowerCut, Answer, Event, Fault, FaultKind, Outcome, PrintIdentity, PrinterHandle, QuestionKind,
    Simulator, StartCause,
};
use reqwest::Method;

/// Lets the print run to its end screen.
fn finish(simulator: &Simulator, printer: &PrinterHandle) {
    simulator.skip_time(Duration::from_secs(1000));
    assert_eq!(printer.state().link_state.as_deref(), Some("FINISHED"));
}

fn outcome(entry: &printernizer_simulator::Entry) -> Outcome {
    match entry.event {
        Event::PhysicalEnd { outcome, .. } => outcome,
        ref other => panic!("not an end: {other:?}"),
    }
}

#[tokio::test]
async fn a_print_goes_from_upload_to_the_end_screen_and_the_ledger_knows_its_bytes() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    let stored: serde_json::Value = buddy.upload("bracket-pz-1.gcode", gcode(1000)).await.json().await.unwrap();
    assert_eq!(stored["name"], "BRACKE~1.GCO");
    assert_eq!(stored["display_name"], "bracket-pz-1.gcode");
    assert_eq!(buddy.state().await, "IDLE");
    assert_eq!(buddy.print("bracket-pz-1.gcode").await, 204);
    assert_eq!(buddy.state().await, "PRINTING");
    let job = buddy.json("/api/v1/job").await;
    assert_eq!((&job["id"], &job["state"]), (&1.into(), &"PRINTING".into()));
    assert_eq!(job["file"]["display_name"], "bracket-pz-1.gcode");
    assert_eq!(job["file"]["path"], "/usb");
    finish(&simulator, &printer);
    let ledger = simulator.ledger();
    let starts = ledger.physical_starts("pz-1");
    assert_eq!(starts.len(), 1);
    let Event::PhysicalStart { sha256, identity, bed_occupied, cause, .. } = &starts[0].event else { panic!() };
    let expected = format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(gcode(1000)));
    let first = PrintIdentity::PrusaLink { job_id: 1 };
    assert_eq!((sha256, identity, *bed_occupied, *cause), (&expected, &first, false, StartCause::PrusaLinkPost));
    assert_eq!(outcome(&ledger.physical_ends("pz-1")[0]), Outcome::Finished);
}

#[tokio::test]
async fn the_job_vanishes_the_instant_the_print_ends_and_the_end_screen_stays() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    buddy.upload_then_print("a.gcode", 1000).await;
    finish(&simulator, &printer);
    assert!(!buddy.has_job().await);
    assert_eq!(buddy.get("/api/v1/job").await.status(), 204);
    assert!(buddy.probes(1).await && !buddy.probes(2).await && !buddy.probes(0).await);
    printer.person(&Action::LeaveEndScreen).unwrap();
    assert_eq!(buddy.state().await, "IDLE");
    assert!(buddy.probes(1).await);
}

#[tokio::test]
async fn deleting_the_file_or_uploading_another_leaves_the_end_screen() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    buddy.upload_then_print("a.gcode", 1000).await;
    finish(&simulator, &printer);
    assert_eq!(buddy.status(Method::DELETE, "/api/v1/files/usb/a.gcode").await, 204);
    assert_eq!(buddy.state().await, "IDLE");
    buddy.upload_then_print("b.gcode", 1000).await;
    finish(&simulator, &printer);
    assert_eq!(buddy.upload("c.gcode", gcode(1000)).await.status(), 201);
    assert_eq!(buddy.state().await, "IDLE");
    assert_eq!(printer.state().screen, "preview of c.gcode");
}

#[tokio::test]
async fn a_start_is_taken_from_end_screens_and_preview_and_refused_while_printing() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    for name in ["a.gcode", "b.gcode"] {
        assert_eq!(buddy.upload(name, gcode(1000)).await.status(), 201);
    }
    assert_eq!(printer.state().screen, "preview of b.gcode");
    assert_eq!(buddy.print("a.gcode").await, 204);
    assert_eq!(buddy.print("b.gcode").await, 409);
    assert_eq!(buddy.print("missing.gcode").await, 404);
    assert_eq!(buddy.status(Method::DELETE, "/api/v1/job/1").await, 204);
    until_link_state(&printer, "STOPPED").await;
    assert_eq!(buddy.print("B~1.GCO").await, 204);
    let answers: Vec<_> = simulator
        .ledger()
        .start_commands("")
        .into_iter()
        .map(|entry| match entry.event {
            Event::StartCommand { answer, accepted, .. } => (answer, accepted),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answers, [(Some(204), true), (Some(409), false), (Some(404), false), (Some(204), true)]);
    assert_eq!(simulator.ledger().physical_starts("").len(), 2);
}

#[tokio::test]
async fn a_print_on_an_occupied_bed_happens_and_the_ledger_says_so() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    buddy.upload_then_print("a.gcode", 1000).await;
    finish(&simulator, &printer);
    assert_eq!(buddy.print("a.gcode").await, 204);
    finish(&simulator, &printer);
    printer.person(&Action::TakePartOff).unwrap();
    assert_eq!(buddy.print("a.gcode").await, 204);
    assert_eq!(simulator.ledger().physical_starts("").len(), 3);
    assert_eq!(simulator.ledger().starts_on_occupied_bed().len(), 1);
}

#[tokio::test]
async fn print_after_upload_prints_when_ready_and_only_stores_when_not() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    assert_eq!(buddy.upload_and_print("a.gcode", gcode(1000)).await.status(), 201);
    until_link_state(&printer, "PRINTING").await;
    let refused = buddy.upload_and_print("b.gcode", gcode(1000)).await;
    assert_eq!(refused.status(), 409);
    assert_eq!(refused.text().await.unwrap(), "Can't print right now");
    assert_eq!(buddy.status(Method::HEAD, "/api/v1/files/usb/b.gcode").await, 200);
    let starts = simulator.ledger().physical_starts("");
    assert_eq!(starts.len(), 1);
    assert!(matches!(starts[0].event, Event::PhysicalStart { cause: StartCause::PrintAfterUpload, .. }));
}

#[tokio::test]
async fn a_person_can_print_from_the_preview_and_print_a_foreign_file() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    assert!(printer.person(&Action::PressPrint).is_err(), "there is no preview yet");
    assert_eq!(buddy.upload("ours.gcode", gcode(1000)).await.status(), 201);
    printer.person(&Action::PressPrint).unwrap();
    finish(&simulator, &printer);
    let file_name = "theirs.gcode".to_owned();
    printer.person(&Action::PrintForeignFile { file_name, duration_seconds: 1000 }).unwrap();
    until(&printer, "second id", |state| state.last_job_id == 2).await;
    finish(&simulator, &printer);
    let starts = simulator.ledger().physical_starts("");
    assert!(starts.iter().all(|entry| matches!(entry.event, Event::PhysicalStart { cause: StartCause::Screen, .. })));
    assert_eq!(starts.len(), 2);
    assert!(simulator.ledger().start_commands("").is_empty());
}

#[tokio::test]
async fn a_question_given_up_uses_the_id_and_prints_nothing() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    let question = FaultKind::Question { question: QuestionKind::WrongFilament, auto_continue_seconds: None };
    printer.fault(Fault::once(question));
    buddy.upload_then_print("a.gcode", 1000).await;
    until_link_state(&printer, "ATTENTION").await;
    let job = buddy.json("/api/v1/job").await;
    assert_eq!((&job["state"], &job["progress"]), (&"PAUSED".into(), &0.0.into()));
    assert_eq!(buddy.status(Method::PUT, "/api/v1/job/1/resume").await, 409);
    printer.person(&Action::AnswerDialog { answer: Answer::Abort }).unwrap();
    assert_eq!(buddy.state().await, "IDLE");
    assert!(buddy.probes(1).await);
    assert!(simulator.ledger().physical_starts("").is_empty());
    assert_eq!(buddy.print("a.gcode").await, 204);
    finish(&simulator, &printer);
    assert_eq!(printer.state().last_job_id, 2);
}

#[tokio::test]
async fn a_power_cut_drops_everything_and_the_resumed_print_keeps_its_id() {
    for (job, wanted) in
        [(AfterPowerCut::Ask, "ATTENTION"), (AfterPowerCut::Resume, "PRINTING"), (AfterPowerCut::Lose, "IDLE")]
    {
        let (simulator, printer, buddy) = one_printer(1.0).await;
        buddy.upload_then_print("a.gcode", 1000).await;
        until_link_state(&printer, "PRINTING").await;
        printer.person(&Action::CutPower).unwrap();
        printer.settled().await;
        let refused = buddy.request(Method::GET, "/api/v1/status").send().await;
        assert!(refused.unwrap_err().is_connect());
        printer.person(&Action::RestorePower { job }).unwrap();
        until_link_state(&printer, wanted).await;
        printer.settled().await;
        assert_eq!(buddy.state().await, wanted);
        assert_eq!(buddy.has_job().await, job != AfterPowerCut::Lose);
        assert!(buddy.probes(1).await);
        assert_eq!(simulator.ledger().physical_starts("").len(), 1, "a resume is no start");
        assert_eq!(simulator.ledger().physical_ends("").len(), usize::from(job == AfterPowerCut::Lose));
    }
}

#[tokio::test]
async fn the_job_counter_wraps() {
    let mut config = printernizer_simulator::Config { machine: common::instant(), ..Default::default() };
    let printer = printernizer_simulator::PrinterConfig::named("prusa-1");
    config.printers.push(printernizer_simulator::PrinterConfig { job_counter: u16::MAX, ..printer });
    let (_simulator, printer, buddy) = common::start(config).await;
    assert!(buddy.probes(u16::MAX).await);
    buddy.upload_then_print("a.gcode", 1000).await;
    until_link_state(&printer, "PRINTING").await;
    assert_eq!(buddy.json("/api/v1/job").await["id"], 0);
}

#[tokio::test]
async fn pause_resume_and_stop_are_judged_by_the_shown_state() {
    let (_simulator, printer, buddy) = one_printer(1.0).await;
    assert_eq!(buddy.status(Method::DELETE, "/api/v1/job/0").await, 409);
    buddy.upload_then_print("a.gcode", 1000).await;
    until_link_state(&printer, "PRINTING").await;
    let cases = [
        (Method::PUT, "/api/v1/job/1/resume", 409),
        (Method::PUT, "/api/v1/job/7/pause", 404),
        (Method::PUT, "/api/v1/job/one/pause", 400),
        (Method::PUT, "/api/v1/job/1/continue", 400),
        (Method::PUT, "/api/v1/job/1/pause", 204),
    ];
    for (method, target, status) in cases {
        assert_eq!(buddy.status(method, target).await, status, "{target}");
    }
    until(&printer, "paused", |state| state.screen == "paused").await;
    assert_eq!(buddy.status(Method::PUT, "/api/v1/job/1/pause").await, 409);
    assert_eq!(buddy.status(Method::PUT, "/api/v1/job/1/resume").await, 204);
    until_link_state(&printer, "PRINTING").await;
    assert_eq!(buddy.status(Method::DELETE, "/api/v1/job/1").await, 204);
    until_link_state(&printer, "STOPPED").await;
}
