//! What happens at the machine while a job is there: questions, faults, power cuts, a person at the screen, and an
//! operator that was away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{Action, AfterPowerCut, Answer, Config, Fault, FaultKind, QuestionKind};
use serde_json::json;
use support::Shop;

async fn with(name: &str, fault: FaultKind) -> Shop {
    let shop = Shop::open(name, Config::prusalink(1).time_scale(20.0)).await;
    shop.machine("prusa-1").fault(Fault::once(fault));
    shop.print("clip", json!({})).await;
    shop
}

async fn printing(name: &str) -> Shop {
    let shop = Shop::open(name, Config::prusalink(1).time_scale(20.0)).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop
}

async fn succeeds(shop: Shop) {
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_of_the_firmware_that_vanishes_by_itself_calls_nobody() {
    let question = QuestionKind::NewFirmware;
    let shop = with("note", FaultKind::Question { question, auto_continue_seconds: Some(8) }).await;
    shop.phase("clip", Phase::Printing).await;
    let events: Api<Event> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let events = events.list(&ListParams::default()).await.unwrap();
    let called = events.items.iter().filter(|e| e.reason.as_deref() == Some("WaitingAtPrinter")).count();
    assert_eq!(called, 0);
    succeeds(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_before_the_print_calls_a_person_and_an_abort_leaves_the_bed_clear() {
    let question = QuestionKind::WrongFilament;
    let shop = with("question", FaultKind::Question { question, auto_continue_seconds: None }).await;
    shop.job_says("clip", ConditionType::Started, Reason::WaitingAtPrinter).await;
    let status = shop.phase("clip", Phase::AttentionNeeded).await;
    assert!(!status.conditions.is_true(ConditionType::Started));
    shop.machine("prusa-1").person(&Action::AnswerDialog { answer: Answer::Abort }).unwrap();
    let printer = shop.printer_says("prusa-1", ConditionType::Trusted, Reason::StartAborted).await;
    shop.job("clip", "waits again", |s| s.attempt == 2 && s.printer.is_none()).await;
    let printer_now = shop.printer("prusa-1", "is released", |s| s.current_job.is_none()).await;
    assert!(printer_now.conditions.is_true(ConditionType::BedCleared), "{:?}", printer_now.conditions);
    assert_eq!(shop.starts("pz-"), 0);
    let id = printer.distrust.unwrap().id;
    shop.farm.change_printer("prusa-1", json!({ "acknowledged": id })).await.unwrap();
    succeeds(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_a_person_answers_goes_on_to_the_print() {
    let question = QuestionKind::FilamentNotInserted;
    let shop = with("answered", FaultKind::Question { question, auto_continue_seconds: None }).await;
    shop.phase("clip", Phase::AttentionNeeded).await;
    shop.machine("prusa-1").person(&Action::AnswerDialog { answer: Answer::Continue }).unwrap();
    succeeds(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filament_that_runs_out_calls_a_person_and_the_print_goes_on() {
    let shop = with("runout", FaultKind::FilamentRunout { after_percent: 1 }).await;
    let status = shop.phase("clip", Phase::AttentionNeeded).await;
    assert!(status.conditions.has_reason(ConditionType::Started, Reason::Attention), "{:?}", status.conditions);
    shop.printer_says("prusa-1", ConditionType::Idle, Reason::Attention).await;
    shop.machine("prusa-1").person(&Action::AnswerDialog { answer: Answer::Continue }).unwrap();
    succeeds(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_that_is_resumed_after_a_power_cut_is_one_print() {
    let shop = printing("resumed").await;
    let machine = shop.machine("prusa-1");
    machine.person(&Action::CutPower).unwrap();
    shop.printer_says("prusa-1", ConditionType::Reachable, Reason::Unreachable).await;
    // An unreachable printer never ends a job.
    let status = shop.phase("clip", Phase::Printing).await;
    assert!(status.conditions.is_true(ConditionType::Started));
    machine.person(&Action::RestorePower { job: AfterPowerCut::Resume }).unwrap();
    shop.printer_says("prusa-1", ConditionType::Reachable, Reason::Connected).await;
    succeeds(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_that_waits_after_a_power_cut_is_a_persons_to_resume() {
    let shop = printing("ask").await;
    let machine = shop.machine("prusa-1");
    machine.person(&Action::Reboot { job: AfterPowerCut::Ask }).unwrap();
    shop.job_says("clip", ConditionType::Started, Reason::Attention).await;
    machine.person(&Action::AnswerDialog { answer: Answer::Continue }).unwrap();
    succeeds(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_the_machine_forgot_in_a_power_cut_is_asked_about() {
    let shop = printing("forgot").await;
    shop.machine("prusa-1").person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    shop.question("clip").await;
    shop.answer("clip", "Failed").await;
    let status = shop.phase("clip", Phase::Failed).await;
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::FailedPrintOnBed).await;
    assert_eq!(shop.starts("pz-"), 1);
    // Who changes his mind by then is told which answer counts.
    let id = status.answered.unwrap().question_id;
    let late = json!({ "outcome": { "questionID": id, "answer": "Succeeded" } });
    shop.farm.change_job("clip", late).await.unwrap();
    let told = |s: &printernizer_crds::PrintJobStatus| {
        let answered = s.conditions.condition(ConditionType::OutcomeUnknown);
        answered.is_some_and(|c| c.message.contains("answered Failed") && c.message.contains("has no effect"))
    };
    let status = shop.job("clip", "says that the first answer counts", told).await;
    assert_eq!(status.phase, Some(Phase::Failed));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_nobody_saw_is_asked_about() {
    let mut shop = printing("unseen").await;
    // Its number is what the next operator knows it by; the Printer has it a moment after the job says that it prints.
    let remembers = |s: &printernizer_crds::PrinterStatus| s.bed.as_ref().is_some_and(|bed| bed.print_in_progress);
    shop.printer("prusa-1", "remembers the print", remembers).await;
    shop.close_operator().await;
    shop.finish_prints();
    shop.machine_shows("prusa-1", "the end", |m| m.link_state.as_deref() == Some("FINISHED")).await;
    shop.machine("prusa-1").person(&Action::LeaveEndScreen).unwrap();
    shop.operate(&[]).await;
    let id = shop.question("clip").await;
    let status = shop.phase("clip", Phase::AttentionNeeded).await;
    assert!(status.conditions.has_reason(ConditionType::OutcomeUnknown, Reason::EndNotSeen), "{:?}", status.conditions);
    // The question stays the same over a restart.
    shop.close_operator().await;
    shop.operate(&[]).await;
    shop.printer_says("prusa-1", ConditionType::Ready, Reason::PrinterReady).await;
    assert_eq!(shop.question("clip").await, id);
    shop.answer("clip", "Succeeded").await;
    shop.phase("clip", Phase::Succeeded).await;
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::PartOnBed).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_still_shown_is_taken_up_after_a_restart() {
    let mut shop = printing("shown").await;
    shop.close_operator().await;
    shop.finish_prints();
    shop.machine_shows("prusa-1", "the end", |m| m.link_state.as_deref() == Some("FINISHED")).await;
    shop.operate(&[]).await;
    shop.phase("clip", Phase::Succeeded).await;
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::PartOnBed).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_operator_follows_the_print_of_a_killed_one() {
    let mut shop = printing("killed").await;
    shop.kill_operator().await;
    shop.operate(&[]).await;
    shop.printer_says("prusa-1", ConditionType::Idle, Reason::Printing).await;
    succeeds(shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_stopped_at_the_screen_is_cancelled() {
    let shop = printing("stopped").await;
    shop.machine("prusa-1").person(&Action::Stop).unwrap();
    shop.phase("clip", Phase::Cancelled).await;
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::FailedPrintOnBed).await;
    shop.close().await;
}
