//! Limits a person sets on a job: until when it may start, how often it is tried again; and what two failures in a row mean
//! for a printer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod lifecycle;
mod support;

use futures::future::join_all;
use lifecycle::{At, Stage, open, reach_all, stage};
use printernizer_crds::print_job::{Outcome, Phase};
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{BambuFault, Fault, FaultKind, JobCommand, PrintErrorCode};
use serde_json::json;

/// Long enough for a print to begin on a busy machine; the others wait for it to pass.
const DEADLINE_SECONDS: i64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_not_started_in_time_fails_and_one_that_has_prints_on() {
    const STAGES: [Stage; 6] = [
        stage("printing", "prusa-1", At::Printing),
        stage("printing-a1", "bambu-1", At::Printing),
        stage("pending", "prusa-2", At::Pending),
        stage("held", "prusa-3", At::Held),
        stage("starting", "prusa-4", At::Starting),
        stage("starting-a1", "bambu-2", At::Starting),
    ];
    let shop = open("deadline", &STAGES).await;
    // All have the same deadline, written in both ways.
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(DEADLINE_SECONDS);
    let (ways, seconds): (Vec<_>, Vec<_>) = STAGES.into_iter().partition(|s| s.is_bambu() || s.at == At::Printing);
    let (not_after, in_seconds) =
        (json!({ "notAfter": until.to_string() }), json!({ "startDeadlineSeconds": DEADLINE_SECONDS }));
    tokio::join!(reach_all(&shop, &ways, &not_after), reach_all(&shop, &seconds, &in_seconds));
    let (begun, late): (Vec<_>, Vec<_>) = STAGES.into_iter().partition(|s| s.at == At::Printing);
    join_all(late.iter().map(async |s| {
        let status = s.is(&shop, Phase::Failed).await;
        let failed = status.conditions.condition(ConditionType::Failed).unwrap();
        let field = if s.is_bambu() { "spec.notAfter" } else { "spec.startDeadlineSeconds" };
        assert_eq!(failed.reason, Reason::DeadlineExceeded.as_str(), "{s:?}");
        assert!(failed.message.contains(field), "{s:?}: {}", failed.message);
        // The API server knows whole seconds.
        let second = jiff::SignedDuration::from_secs(1);
        assert!(jiff::Timestamp::now() + second >= until, "{s:?}: too early");
        s.is_released(&shop).await;
        assert_eq!(s.commands(&shop), 0, "{s:?}");
    }))
    .await;
    for s in &begun {
        s.is(&shop, Phase::Printing).await;
    }
    shop.finish_prints();
    for s in &begun {
        s.is(&shop, Phase::Succeeded).await;
        assert_eq!(s.acted(&shop, JobCommand::Stop), 0);
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_print_is_tried_again_as_often_as_asked_and_then_the_printer_is_put_into_quarantine() {
    const JOB: Stage = stage("clip", "bambu-1", At::Printing);
    let shop = open("retry", &[JOB]).await;
    let fails = FaultKind::Bambu(BambuFault::PrintFails { after_percent: 1, code: PrintErrorCode(0x0300_800b) });
    shop.machine(JOB.printer).fault(Fault { count: Some(2), ..Fault::once(fails) });
    JOB.reach(&shop, &json!({ "retry": { "limit": 1 } })).await;
    shop.skip(600);
    let status = shop.job("clip", "waits for its second print", |s| s.failed_prints == 1 && s.printer.is_none()).await;
    assert_eq!((status.attempt, status.attempts[0].outcome), (2, Outcome::Failed));
    shop.printer_says(JOB.printer, ConditionType::BedCleared, Reason::FailedPrintOnBed).await;
    shop.clear(JOB.printer).await;
    JOB.prints(&shop).await;
    shop.skip(600);
    let status = JOB.is(&shop, Phase::Failed).await;
    assert!(status.conditions.has_reason(ConditionType::Failed, Reason::PrintFailed), "{:?}", status.conditions);
    assert_eq!((status.attempts.len(), JOB.starts(&shop)), (2, 2));

    // The next job waits until a person has looked at the printer, and cleared its bed.
    let printer = shop.printer_says(JOB.printer, ConditionType::Trusted, Reason::Quarantined).await;
    let id = printer.distrust.unwrap().id;
    shop.farm.print("next", "sliced", json!({})).await.unwrap();
    let status = shop.job_says("next", ConditionType::Scheduled, Reason::WaitingForPrinter).await;
    let told = &status.conditions.condition(ConditionType::Scheduled).unwrap().message;
    assert!(told.contains("Quarantined"), "{told}");
    shop.farm.change_printer(JOB.printer, json!({ "acknowledged": id })).await.unwrap();
    shop.printer_says(JOB.printer, ConditionType::Trusted, Reason::NoDistrust).await;
    shop.job_says("next", ConditionType::Scheduled, Reason::WaitingForBed).await;
    shop.clear(JOB.printer).await;
    shop.phase("next", Phase::Printing).await;
    shop.close().await;
}
