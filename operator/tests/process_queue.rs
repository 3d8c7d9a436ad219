//! Several printers and several jobs: who gets which printer, what a print of somebody else means, and that nothing is
//! printed onto a bed nobody cleared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{Action, Config, Event};
use serde_json::json;
use support::Shop;

fn two() -> Config {
    Config::prusalink(2).time_scale(20.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_more_urgent_jobs_go_first_and_the_third_waits_for_a_bed() {
    let mut shop = Shop::empty("queue", two()).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    for (job, priority) in [("low", 0), ("high", 10), ("middle", 5)] {
        shop.print(job, json!({ "priority": priority })).await;
    }
    shop.operate(&[]).await;
    // Only the job that is next is told of the beds.
    let high = shop.job_says("high", ConditionType::Scheduled, Reason::WaitingForBed).await;
    let told = &high.conditions.condition(ConditionType::Scheduled).unwrap().message;
    assert!(told.contains("prusa-1 (bed not confirmed clear)") || told.contains("prusa-2 (bed"), "{told}");
    for job in ["low", "middle"] {
        shop.job_says(job, ConditionType::Scheduled, Reason::Queued).await;
    }
    shop.clear_all().await;
    let high = shop.phase("high", Phase::Printing).await;
    let middle = shop.phase("middle", Phase::Printing).await;
    let on = |s: &printernizer_crds::PrintJobStatus| s.printer.as_ref().map(|p| p.name.clone()).unwrap();
    assert_ne!(on(&high), on(&middle), "one job per printer");
    shop.job_says("low", ConditionType::Scheduled, Reason::Queued).await;

    shop.finish_prints();
    shop.phase("high", Phase::Succeeded).await;
    shop.phase("middle", Phase::Succeeded).await;
    for name in ["prusa-1", "prusa-2"] {
        shop.printer_says(name, ConditionType::BedCleared, Reason::PartOnBed).await;
        shop.printer(name, "is released", |s| s.current_job.is_none()).await;
    }
    // Both printers are free, and both have a part on their bed.
    shop.job_says("low", ConditionType::Scheduled, Reason::WaitingForBed).await;
    assert_eq!(shop.starts("low"), 0);
    shop.clear(&on(&middle)).await;
    let low = shop.phase("low", Phase::Printing).await;
    assert_eq!(on(&low), on(&middle));
    shop.finish_prints();
    shop.phase("low", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 3);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_started_at_the_screen_occupies_printer_and_bed() {
    let shop = Shop::open("foreign", Config::prusalink(1).time_scale(20.0)).await;
    let machine = shop.machine("prusa-1");
    machine.person(&Action::PrintForeignFile { file_name: "MYTHING.GCO".into(), duration_seconds: 900 }).unwrap();
    shop.printer_says("prusa-1", ConditionType::Idle, Reason::Occupied).await;
    shop.print("clip", json!({})).await;
    shop.job_says("clip", ConditionType::Scheduled, Reason::WaitingForPrinter).await;
    shop.skip(900);
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::ForeignPrintOnBed).await;
    shop.job_says("clip", ConditionType::Scheduled, Reason::WaitingForBed).await;
    assert_eq!(shop.starts("pz-"), 0);
    shop.clear("prusa-1").await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_print_nobody_watched_occupies_the_bed() {
    let mut shop = Shop::open("unseen", Config::prusalink(1).time_scale(20.0)).await;
    // The printer has numbered one print before, so that the number of the next one tells.
    shop.print("first", json!({})).await;
    shop.phase("first", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("first", Phase::Succeeded).await;
    shop.clear("prusa-1").await;
    shop.close_operator().await;
    let machine = shop.machine("prusa-1");
    machine.person(&Action::PrintForeignFile { file_name: "MYTHING.GCO".into(), duration_seconds: 60 }).unwrap();
    shop.ledger_shows("the foreign print", |e| {
        e.iter().any(|e| matches!(&e.event, Event::PhysicalStart { file_name, .. } if file_name == "MYTHING.GCO"))
    })
    .await;
    shop.skip(120);
    shop.ledger_shows("its end", |e| {
        e.iter().any(|e| matches!(&e.event, Event::PhysicalEnd { file_name, .. } if file_name == "MYTHING.GCO"))
    })
    .await;
    shop.print("clip", json!({})).await;
    shop.operate(&[]).await;
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::ForeignPrintOnBed).await;
    shop.job_says("clip", ConditionType::Scheduled, Reason::WaitingForBed).await;
    assert_eq!(shop.starts("clip"), 0);
    shop.clear("prusa-1").await;
    shop.phase("clip", Phase::Printing).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_no_printer_can_print_says_why() {
    let shop = Shop::open("misfit", two()).await;
    shop.farm.add_file("petg", support::part_of("PETG", support::PRINT)).await.unwrap();
    shop.farm.print("clip", "petg", json!({})).await.unwrap();
    let status = shop.job_says("clip", ConditionType::Scheduled, Reason::NoMatchingPrinter).await;
    let condition = status.conditions.condition(ConditionType::Scheduled).unwrap();
    assert!(condition.message.contains("2 printers") && condition.message.contains("PETG"), "{}", condition.message);
    // Once a printer has it, the job is printed.
    shop.machine("prusa-2").person(&Action::LoadFilament { material: "PETG".into() }).unwrap();
    shop.farm.change_printer("prusa-2", json!({ "slots": [{ "slot": "Main", "material": "PETG" }] })).await.unwrap();
    let status = shop.phase("clip", Phase::Printing).await;
    assert_eq!(status.printer.unwrap().name, "prusa-2");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_starts_start_nothing_and_follow_what_runs() {
    let mut shop = Shop::open("held", two()).await;
    shop.print("running", json!({ "printerRef": { "name": "prusa-1" } })).await;
    shop.phase("running", Phase::Printing).await;
    shop.close_operator().await;
    shop.print("next", json!({ "printerRef": { "name": "prusa-2" } })).await;
    shop.operate(&["--hold-starts"]).await;
    // Beds that nobody watched are not taken for clear.
    shop.printer("prusa-2", "asks for its bed", |s| s.conditions.is_false(ConditionType::BedCleared)).await;
    shop.job_says("next", ConditionType::Scheduled, Reason::WaitingForBed).await;
    shop.clear("prusa-2").await;
    let next = shop.job_says("next", ConditionType::Scheduled, Reason::WaitingForPrinter).await;
    let told = &next.conditions.condition(ConditionType::Scheduled).unwrap().message;
    assert!(told.contains("--hold-starts"), "{told}");
    shop.finish_prints();
    shop.phase("running", Phase::Succeeded).await;
    assert_eq!(shop.starts("next"), 0);
    shop.close_operator().await;
    shop.operate(&[]).await;
    // This device has never numbered a print: after a time unwatched nothing but a look says what lies on its bed.
    shop.printer_says("prusa-2", ConditionType::BedCleared, Reason::Unconfirmed).await;
    shop.clear("prusa-2").await;
    shop.phase("next", Phase::Printing).await;
    shop.close().await;
}
