//! Starts whose answer is lost, late or a lie: whatever a printer answers, a file is started once, and what cannot be
//! known is asked of a person.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{Config, Fault, FaultKind};
use serde_json::json;
use support::Shop;

const FILES: &str = "/api/v1/files/usb/";

async fn with(name: &str, fault: FaultKind) -> Shop {
    let shop = Shop::open(name, Config::prusalink(1).time_scale(20.0)).await;
    shop.machine("prusa-1").fault(Fault::once(fault).on("POST", FILES));
    shop.print("clip", json!({})).await;
    shop
}

async fn prints_to_its_end(shop: Shop, attempt: i32) {
    let status = shop.phase("clip", Phase::Printing).await;
    assert_eq!(status.attempt, attempt);
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_answer_is_lost_is_adopted() {
    let shop = with("lostanswer", FaultKind::DropAfterHandling).await;
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_answered_with_an_error_and_made_all_the_same_is_adopted() {
    for status in [404, 409, 500] {
        let shop = with("liar", FaultKind::HandleThenAnswer { status }).await;
        prints_to_its_end(shop, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_comes_late_is_waited_for() {
    let shop = with("late", FaultKind::StartLate { seconds: 60 }).await;
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_start_is_never_sent_again_without_the_word_of_a_person() {
    let shop = with("lost", FaultKind::DropBeforeHandling).await;
    let id = shop.question("clip").await;
    let status = shop.phase("clip", Phase::AttentionNeeded).await;
    let condition = status.conditions.condition(ConditionType::OutcomeUnknown).unwrap();
    assert!(condition.message.contains(&id) && condition.message.contains("NotPrinted"), "{}", condition.message);
    assert_eq!(shop.starts("pz-"), 0);
    // An answer to another question is no answer.
    let stale = json!({ "outcome": { "questionID": "0000000000", "answer": "NotPrinted" } });
    let generation = shop.farm.change_job("clip", stale).await.unwrap().metadata.generation;
    let status = shop.job("clip", "has read the answer", |s| s.observed_generation == generation).await;
    assert_eq!(status.question.map(|q| q.id), Some(id));
    shop.answer("clip", "NotPrinted").await;
    // Only a person knows what lies on the bed now.
    shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::Unconfirmed).await;
    shop.clear("prusa-1").await;
    let status = shop.phase("clip", Phase::Printing).await;
    assert_eq!((status.attempt, status.attempts.len()), (2, 1));
    prints_to_its_end(shop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_accepted_and_never_happens_is_asked_about() {
    let shop = with("nothing", FaultKind::AcceptWithoutStarting).await;
    shop.question("clip").await;
    assert_eq!(shop.farm.simulator().ledger().start_commands("pz-").len(), 1);
    shop.answer("clip", "Failed").await;
    let status = shop.phase("clip", Phase::Failed).await;
    assert!(!status.conditions.is_true(ConditionType::OutcomeUnknown));
    assert_eq!(shop.starts("pz-"), 0);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_that_begins_after_the_question_closes_the_question() {
    let shop = with("verylate", FaultKind::StartLate { seconds: 100_000 }).await;
    shop.question("clip").await;
    shop.skip(100_000);
    let status = shop.phase("clip", Phase::Printing).await;
    assert!(status.question.is_none() && !status.conditions.is_true(ConditionType::OutcomeUnknown));
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_start_is_free_and_the_printer_gets_no_more_jobs_until_a_person_has_looked() {
    let shop = with("refused", FaultKind::Answer { status: 409 }).await;
    let printer = shop.printer_says("prusa-1", ConditionType::Trusted, Reason::StartRefused).await;
    let status = shop.job("clip", "waits again", |s| s.attempt == 2 && s.printer.is_none()).await;
    assert_eq!(status.failed_prints, 0);
    // Nothing was printed: the bed is as clear as it was.
    assert!(printer.conditions.is_true(ConditionType::BedCleared), "{:?}", printer.conditions);
    assert_eq!(shop.farm.simulator().ledger().start_commands("pz-").len(), 1);
    let id = printer.distrust.unwrap().id;
    let message = &printer.conditions.condition(ConditionType::Trusted).unwrap().message;
    assert!(message.contains(&id), "{message}");
    shop.farm.change_printer("prusa-1", json!({ "acknowledged": id })).await.unwrap();
    prints_to_its_end(shop, 2).await;
}
