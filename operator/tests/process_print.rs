//! One part, from `kubectl apply` to a finished print: the real operator as a process, a real API server, a printer
//! that speaks the real protocol. The other tests of this kind say what may happen on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Reason};
use printernizer_e2e::farm::project;
use printernizer_simulator::Config;
use serde_json::json;
use support::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_printed_once_and_the_bed_waits_for_a_person() {
    let mut shop = Shop::empty("print", Config::prusalink(1).time_scale(60.0)).await;
    shop.farm.add_printers().await.unwrap();
    let clip = std::fs::read(project().join("examples/files/cable-clip.gcode")).unwrap();
    shop.farm.add_file("clip", clip).await.unwrap();
    shop.farm.print("clip-1", "clip", json!({})).await.unwrap();
    shop.operate(&[]).await;

    // Nobody has said that the bed is clear: nothing starts.
    shop.job_says("clip-1", ConditionType::Scheduled, Reason::WaitingForBed).await;
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::NeverConfirmed).await;
    assert_eq!(shop.starts("pz-"), 0);
    shop.clear("prusa-1").await;

    let status = shop.phase("clip-1", Phase::Succeeded).await;
    assert_eq!((status.attempt, status.attempts.len()), (1, 1));
    assert_eq!(shop.starts("pz-"), 1);
    let printer = shop.printer("prusa-1", "is released", |s| s.current_job.is_none()).await;
    let bed = printer.bed.unwrap();
    assert_eq!(bed.job.as_deref(), Some("clip-1"));
    assert!(bed.occupancy_id.is_some());
    shop.close().await;
}
