//! A running print and the person who wants something of it: pause, resume, cancel, delete; at the machine and by spec.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use kube::api::DeleteParams;
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{Action, Config, Fault, FaultKind, JobCommand, Outcome};
use serde_json::json;
use support::Shop;

/// The machines' own steps take a fraction of a second.
fn slow() -> Config {
    Config::prusalink(1).time_scale(20.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_by_spec_is_ended_by_spec_and_the_print_goes_on() {
    let shop = Shop::open("pause", slow()).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop.want("clip", "Pause").await;
    let status = shop.phase("clip", Phase::Paused).await;
    assert!(status.conditions.has_reason(ConditionType::Started, Reason::PausedAsAsked), "{:?}", status.conditions);
    shop.want("clip", "Run").await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!((shop.effects(JobCommand::Pause), shop.effects(JobCommand::Resume)), (1, 1), "{:?}", shop.ledger());
    // A resume that met a machine still parking is repeated after a while, not at every poll.
    assert!(shop.commands(JobCommand::Pause) <= 2 && shop.commands(JobCommand::Resume) <= 3, "{:?}", shop.ledger());
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_at_the_screen_is_not_ended_by_spec() {
    let shop = Shop::open("screen", slow()).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop.machine("prusa-1").person(&Action::Pause).unwrap();
    shop.job_says("clip", ConditionType::Started, Reason::PausedAtPrinter).await;
    // Asking for Pause and then for Run does not make this pause ours.
    shop.want("clip", "Pause").await;
    shop.job("clip", "takes note", |s| s.acted_on.is_some_and(|a| format!("{a:?}") == "Pause")).await;
    shop.want("clip", "Run").await;
    shop.job("clip", "takes note", |s| s.acted_on.is_some_and(|a| format!("{a:?}") == "Run")).await;
    shop.job_says("clip", ConditionType::Started, Reason::PausedAtPrinter).await;
    assert_eq!((shop.commands(JobCommand::Pause), shop.commands(JobCommand::Resume)), (0, 0));

    shop.machine("prusa-1").person(&Action::Resume).unwrap();
    shop.phase("clip", Phase::Printing).await;
    // A pause of our own that was ended at the screen leaves no right to end the next one.
    shop.want("clip", "Pause").await;
    shop.job_says("clip", ConditionType::Started, Reason::PausedAsAsked).await;
    let machine = shop.machine("prusa-1");
    shop.machine_shows("prusa-1", "paused", |m| m.screen.contains("paused")).await;
    machine.person(&Action::Resume).unwrap();
    shop.phase("clip", Phase::Printing).await;
    shop.want("clip", "Run").await;
    shop.job("clip", "takes note", |s| s.acted_on.is_some_and(|a| format!("{a:?}") == "Run")).await;
    machine.person(&Action::Pause).unwrap();
    shop.job_says("clip", ConditionType::Started, Reason::PausedAtPrinter).await;
    shop.want("clip", "Pause").await;
    shop.job("clip", "takes note", |s| s.acted_on.is_some_and(|a| format!("{a:?}") == "Pause")).await;
    shop.want("clip", "Run").await;
    shop.job("clip", "takes note", |s| s.acted_on.is_some_and(|a| format!("{a:?}") == "Run")).await;
    machine.person(&Action::Resume).unwrap();
    shop.skip(support::PRINT + 300);
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!((shop.commands(JobCommand::Pause), shop.commands(JobCommand::Resume)), (1, 0));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_print_is_stopped_and_its_bed_waits_for_a_person() {
    let shop = Shop::open("cancel", slow()).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop.want("clip", "Cancel").await;
    let status = shop.phase("clip", Phase::Cancelled).await;
    assert!(status.conditions.has_reason(ConditionType::Failed, Reason::Cancelled));
    let ends = shop.farm.simulator().ledger().physical_ends("pz-");
    assert!(format!("{ends:?}").contains(&format!("{:?}", Outcome::Stopped)), "{ends:?}");
    let printer = shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::FailedPrintOnBed).await;
    assert_eq!(printer.bed.unwrap().job.as_deref(), Some("clip"));
    shop.printer("prusa-1", "is released", |s| s.current_job.is_none()).await;
    // Nothing of the job stays on the device.
    shop.machine_shows("prusa-1", "no file", |m| m.files.is_empty()).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_printing_job_lets_it_finish_and_then_lets_go() {
    let shop = Shop::open("finish", slow()).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop.farm.jobs().delete("clip", &DeleteParams::default()).await.unwrap();
    shop.job("clip", "is kept while it prints", |s| s.phase == Some(Phase::Printing)).await;
    shop.finish_prints();
    shop.job_is_gone("clip").await;
    assert_eq!(shop.commands(JobCommand::Stop), 0);
    let printer = shop.printer("prusa-1", "is released", |s| s.current_job.is_none()).await;
    assert!(printer.conditions.has_reason(ConditionType::BedCleared, Reason::PartOnBed), "{:?}", printer.conditions);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_job_that_asks_for_it_cancels_its_print() {
    let shop = Shop::open("drop", slow()).await;
    shop.print("clip", json!({ "deletionPolicy": "Cancel" })).await;
    shop.phase("clip", Phase::Printing).await;
    shop.farm.jobs().delete("clip", &DeleteParams::default()).await.unwrap();
    shop.job_is_gone("clip").await;
    assert_eq!(shop.effects(JobCommand::Stop), 1);
    let printer = shop.printer("prusa-1", "is released", |s| s.current_job.is_none()).await;
    assert!(printer.conditions.has_reason(ConditionType::BedCleared, Reason::FailedPrintOnBed));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_jobs_that_have_not_started_lets_go_at_once_under_either_policy() {
    let shop = Shop::open("unstarted", slow()).await;
    let machine = shop.machine("prusa-1");
    machine.fault(Fault::lasting(FaultKind::StallUpload { after_bytes: 16, milliseconds: 10_000 }));
    for policy in ["Cancel", "LetFinish"] {
        let name = format!("up-{}", policy.to_lowercase());
        shop.print(&name, json!({ "deletionPolicy": policy })).await;
        shop.phase(&name, Phase::Uploading).await;
        shop.farm.jobs().delete(&name, &DeleteParams::default()).await.unwrap();
        shop.job_is_gone(&name).await;
        shop.printer("prusa-1", "is released", |s| s.current_job.is_none()).await;
    }
    machine.clear_faults();
    // Waiting for a printer: the bed is never cleared for it.
    shop.print("first", json!({})).await;
    shop.phase("first", Phase::Printing).await;
    for policy in ["Cancel", "LetFinish"] {
        let name = format!("wait-{}", policy.to_lowercase());
        shop.print(&name, json!({ "deletionPolicy": policy })).await;
        shop.job_says(&name, ConditionType::Scheduled, Reason::Queued).await;
        shop.farm.jobs().delete(&name, &DeleteParams::default()).await.unwrap();
        shop.job_is_gone(&name).await;
    }
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_deleted_while_it_prints_stays_until_its_print_is_resolved() {
    let shop = Shop::open("remove", slow()).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop.farm.printers().delete("prusa-1", &DeleteParams::default()).await.unwrap();
    shop.printer("prusa-1", "is kept", |s| s.current_job.is_some()).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    shop.printer_is_gone("prusa-1").await;
    shop.close().await;
}
