//! How long a job that has a printer waits for it: for a machine that does not let it start, and for one that does not
//! delete its file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use printernizer_crds::print_job::{Outcome, Phase};
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{Config, Fault, FaultKind, PrinterConfig};
use serde_json::json;
use support::Shop;

/// A job whose file lies on a machine that somebody keeps busy at its screen.
async fn kept_waiting(name: &str) -> Shop {
    let shop = Shop::open(name, Config::prusalink(1).time_scale(20.0)).await;
    let machine = shop.machine("prusa-1");
    machine.fault(Fault::once(FaultKind::StallUpload { after_bytes: 16, milliseconds: 10_000 }));
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Uploading).await;
    machine.fault(Fault::lasting(FaultKind::Busy));
    shop.job("clip", "waits to start", |s| {
        s.conditions.condition(ConditionType::Started).is_some_and(|c| c.message.contains("waiting to start"))
    })
    .await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_stays_busy_loses_its_job_to_another_one_that_fits() {
    let shop = kept_waiting("elsewhere").await;
    let second = shop.farm.simulator().add_printer(&PrinterConfig::named("prusa-2")).unwrap();
    shop.farm.add_printer(&second, &second.url, json!({})).await.unwrap();
    shop.clear("prusa-2").await;
    let status = shop.phase("clip", Phase::Printing).await;
    assert_eq!((status.printer.unwrap().name.as_str(), status.attempt), ("prusa-2", 2));
    let first = &status.attempts[0];
    assert_eq!((first.printer.as_str(), first.outcome), ("prusa-1", Outcome::NotStarted));
    assert!(first.reason.contains("busy"), "{}", first.reason);
    shop.machine_shows("prusa-1", "no file", |m| m.files.is_empty()).await;
    let printer = shop.printer("prusa-1", "is released", |s| s.current_job.is_none()).await;
    assert!(printer.conditions.is_true(ConditionType::Ready), "it was ready all the time");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_not_kept_for_ever_by_a_printer_that_does_not_delete_its_file() {
    let shop = kept_waiting("undeleted").await;
    let machine = shop.machine("prusa-1");
    machine.fault(Fault::lasting(FaultKind::Answer { status: 409 }).on("DELETE", "/usb/"));
    shop.want("clip", "Cancel").await;
    let status = shop.job_says("clip", ConditionType::Started, Reason::FileNotDeleted).await;
    assert_eq!(status.phase, Some(Phase::AttentionNeeded));
    assert!(status.printer.is_some(), "it waits a while");
    shop.phase("clip", Phase::Cancelled).await;
    let printer = shop.printer("prusa-1", "is released", |s| s.current_job.is_none()).await;
    assert_eq!(printer.left_files.len(), 1);
    assert!(!machine.state().files.is_empty());
    machine.clear_faults();
    shop.machine_shows("prusa-1", "no file", |m| m.files.is_empty()).await;
    shop.printer("prusa-1", "remembers no file", |s| s.left_files.is_empty()).await;
    assert_eq!(shop.starts("pz-"), 0);
    shop.close().await;
}
