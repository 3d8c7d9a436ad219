//! Dead printers, deleted objects and devices that show what nobody here knows of: what is let go, what is remembered,
//! and what a person is asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use kube::api::{DeleteParams, ListParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Printer, Reason};
use printernizer_simulator::{
    Action, AfterPowerCut, Config, Event, Fault, FaultKind, PrinterConfig, UnreachableManner,
};
use serde_json::json;
use support::{SOON, Shop};

async fn printing(name: &str) -> Shop {
    let shop = Shop::open(name, Config::prusalink(1).time_scale(20.0)).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop
}

fn cut_off(shop: &Shop) {
    let manner = UnreachableManner::Refuse;
    shop.machine("prusa-1").fault(Fault::lasting(FaultKind::Unreachable { manner }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_deleted_with_a_dead_printer_goes_and_the_printer_remembers_the_print() {
    let shop = printing("deadjob").await;
    cut_off(&shop);
    shop.printer_says("prusa-1", ConditionType::Reachable, Reason::Unreachable).await;
    shop.farm.jobs().delete("clip", &DeleteParams::default()).await.unwrap();
    shop.job_is_gone("clip").await;
    let status = shop.printer("prusa-1", "remembers the start", |s| s.last_start.is_some()).await;
    assert!(status.last_start.unwrap().verdict.is_none(), "nobody knows what became of it");
    // The next job does not get the printer before the print has ended and somebody has looked at the bed.
    shop.print("next", json!({})).await;
    shop.machine("prusa-1").clear_faults();
    shop.printer_says("prusa-1", ConditionType::Reachable, Reason::Connected).await;
    shop.job_says("next", ConditionType::Scheduled, Reason::Queued).await;
    shop.finish_prints();
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::Unconfirmed).await;
    assert_eq!(shop.starts("next"), 0);
    shop.clear("prusa-1").await;
    shop.phase("next", Phase::Printing).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_printer_that_is_deleted_leaves_a_question_and_takes_its_print_up_when_it_comes_back() {
    let shop = printing("deadprinter").await;
    cut_off(&shop);
    shop.printer_says("prusa-1", ConditionType::Reachable, Reason::Unreachable).await;
    shop.farm.printers().delete("prusa-1", &DeleteParams::default()).await.unwrap();
    shop.printer_is_gone("prusa-1").await;
    shop.question("clip").await;
    shop.job_says("clip", ConditionType::OutcomeUnknown, Reason::PrinterGone).await;
    // The same device under a Printer that is created again: its print is taken up before anything else.
    shop.machine("prusa-1").clear_faults();
    shop.farm.add_printers().await.unwrap();
    let status = shop.phase("clip", Phase::Printing).await;
    assert!(!status.conditions.is_true(ConditionType::OutcomeUnknown));
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::PartOnBed).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_a_printer_that_is_gone_can_be_answered() {
    let shop = printing("gone").await;
    cut_off(&shop);
    shop.printer_says("prusa-1", ConditionType::Reachable, Reason::Unreachable).await;
    shop.farm.printers().delete("prusa-1", &DeleteParams::default()).await.unwrap();
    shop.printer_is_gone("prusa-1").await;
    shop.job_says("clip", ConditionType::OutcomeUnknown, Reason::PrinterGone).await;
    shop.answer("clip", "Succeeded").await;
    shop.phase("clip", Phase::Succeeded).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_printers_of_one_device_are_one_too_many() {
    let shop = Shop::open("twice", Config::prusalink(1).time_scale(20.0)).await;
    let info = shop.farm.simulator().printers().remove(0);
    let twin = printernizer_simulator::PrinterInfo { name: "twin".into(), ..info.clone() };
    shop.farm.add_printer(&twin, &info.url, json!({})).await.unwrap();
    // The older one stays, or, of two of the same second, the one with the smaller UID.
    let printers = shop.farm.printers();
    let distrusted = printernizer_e2e::wait_until("one of them is one too many", SOON, async || {
        let all = printers.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let extra = |p: &&Printer| {
            p.status.as_ref().is_some_and(|s| s.conditions.has_reason(ConditionType::Trusted, Reason::DuplicateDevice))
        };
        let found: Vec<String> = all.iter().filter(extra).filter_map(|p| p.metadata.name.clone()).collect();
        if let [name] = found.as_slice() { Ok(name.clone()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    let kept = if distrusted == "twin" { "prusa-1" } else { "twin" };
    let status = shop.printer(&distrusted, "is not ready", |s| s.conditions.is_false(ConditionType::Ready)).await;
    assert_eq!(status.current_job, None);
    // Without the other one it is the device's only Printer.
    printers.delete(kept, &DeleteParams::default()).await.unwrap();
    shop.printer_says(&distrusted, ConditionType::Ready, Reason::PrinterReady).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_print_of_another_operator_makes_a_printer_distrusted_until_a_person_has_looked() {
    let shop = Shop::open("another", Config::prusalink(1).time_scale(20.0)).await;
    let file_name = "bracket-pz-0123456789abcdef-1.gcode".to_owned();
    let act = Action::PrintForeignFile { file_name, duration_seconds: 300 };
    shop.machine("prusa-1").person(&act).unwrap();
    let status = shop.printer_says("prusa-1", ConditionType::Trusted, Reason::AnotherOperator).await;
    let id = status.distrust.unwrap().id;
    shop.print("clip", json!({})).await;
    shop.skip(300);
    // The print is over, and still the printer gets no job.
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::ForeignPrintOnBed).await;
    shop.job_says("clip", ConditionType::Scheduled, Reason::WaitingForPrinter).await;
    shop.farm.change_printer("prusa-1", json!({ "acknowledged": id })).await.unwrap();
    shop.printer_says("prusa-1", ConditionType::Trusted, Reason::NoDistrust).await;
    assert_eq!(shop.starts("clip"), 0);
    shop.clear("prusa-1").await;
    shop.phase("clip", Phase::Printing).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_failed_prints_in_a_row_quarantine_the_printer() {
    let shop = Shop::open("quarantine", Config::prusalink(1).time_scale(20.0)).await;
    shop.print("clip", json!({ "retry": { "limit": 3 } })).await;
    for failed in 1..=2 {
        shop.phase("clip", Phase::Printing).await;
        shop.machine("prusa-1").person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
        shop.answer("clip", "Failed").await;
        shop.job("clip", "has failed and waits", |s| s.failed_prints == failed && s.printer.is_none()).await;
        if failed == 1 {
            shop.clear("prusa-1").await;
        }
    }
    let printer = shop.printer_says("prusa-1", ConditionType::Trusted, Reason::Quarantined).await;
    let id = printer.distrust.unwrap().id;
    shop.farm.change_printer("prusa-1", json!({ "acknowledged": id })).await.unwrap();
    shop.clear("prusa-1").await;
    let status = shop.phase("clip", Phase::Printing).await;
    assert_eq!((status.attempt, status.attempts.len()), (3, 2));
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 3);
    shop.close().await;
}

/// A job whose file is being uploaded, slowly.
async fn uploading(name: &str) -> Shop {
    let shop = Shop::open(name, Config::prusalink(1).time_scale(20.0)).await;
    let slow = FaultKind::StallUpload { after_bytes: 16, milliseconds: 10_000 };
    shop.machine("prusa-1").fault(Fault::once(slow));
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Uploading).await;
    shop
}

/// A job whose file is on the printer, and an operator that cannot take its last look before a start.
async fn waiting_to_start(name: &str) -> Shop {
    let shop = Shop::open(name, Config::prusalink(1).time_scale(20.0)).await;
    shop.machine("prusa-1").fault(Fault::lasting(FaultKind::Answer { status: 500 }).on("GET", "/api/version"));
    shop.print("clip", json!({})).await;
    shop.job("clip", "waits to start", |s| {
        s.conditions.condition(ConditionType::Started).is_some_and(|c| c.message.contains("waiting to start"))
    })
    .await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_not_carried_on_where_nobody_has_confirmed_the_bed() {
    let mut shop = uploading("unconfirmed").await;
    shop.close_operator().await;
    shop.operate(&["--hold-starts"]).await;
    shop.printer("prusa-1", "asks for its bed", |s| s.conditions.is_false(ConditionType::BedCleared)).await;
    shop.job("clip", "has given its printer back", |s| s.printer.is_none() && s.attempt == 2).await;
    shop.machine_shows("prusa-1", "no file", |m| m.files.is_empty()).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_started_at_the_screen_is_adopted_and_not_started_again() {
    let shop = waiting_to_start("screen").await;
    let machine = shop.machine("prusa-1");
    // A person at the screen is faster.
    machine.person(&Action::PressPrint).unwrap();
    shop.ledger_shows("the start", |e| e.iter().any(|e| matches!(e.event, Event::PhysicalStart { .. }))).await;
    machine.clear_faults();
    let status = shop.phase("clip", Phase::Printing).await;
    assert_eq!((status.attempt, status.start.is_some()), (1, false));
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 1);
    assert_eq!(shop.farm.simulator().ledger().start_commands("pz-"), []);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_must_wait_is_not_tried_all_the_time() {
    let shop = waiting_to_start("patience").await;
    let machine = shop.machine("prusa-1");
    let (since, requests) = (std::time::Instant::now(), machine.requests());
    // Something else that takes its seconds: a print on another printer, asked for and made.
    let second = shop.farm.simulator().add_printer(&PrinterConfig::named("prusa-2")).unwrap();
    shop.farm.add_printer(&second, &second.url, json!({})).await.unwrap();
    shop.clear("prusa-2").await;
    shop.print("other", json!({ "printerRef": { "name": "prusa-2" } })).await;
    shop.phase("other", Phase::Printing).await;
    // Ten polls a second, and a try in vain now and then; without a pause between two tries there would be hundreds.
    let rate = f64::from(u32::try_from(machine.requests() - requests).unwrap()) / since.elapsed().as_secs_f64();
    assert!(rate < 30.0, "{rate:.0} requests a second");
    let log = std::fs::read_to_string(shop.operator.as_ref().unwrap().log()).unwrap();
    let reasons: Vec<String> = log
        .lines()
        .filter(|l| l.contains("the start must wait"))
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["closed"].to_string())
        .collect();
    assert!(
        !reasons.is_empty() && reasons.windows(2).all(|pair| pair[0] != pair[1]),
        "one line for one reason: {reasons:?}"
    );
    machine.clear_faults();
    shop.phase("clip", Phase::Printing).await;
    shop.close().await;
}
