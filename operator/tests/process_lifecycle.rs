//! A job that is cancelled, deleted or paused at every point of its life, on both kinds of printers: what was not started
//! lets go at once and leaves nothing behind, what runs is stopped or finished as asked, and what nobody knows is asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod lifecycle;
mod support;

use futures::future::join_all;
use kube::api::DeleteParams;
use lifecycle::{At, LATE, Stage, open, reach_all, stage};
use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::JobCommand;
use serde_json::json;
use support::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_at_every_point_of_its_life() {
    const STAGES: [Stage; 13] = [
        stage("pending", "prusa-1", At::Pending),
        stage("held", "prusa-2", At::Held),
        stage("assigned", "prusa-3", At::Assigned),
        stage("uploading", "prusa-4", At::Uploading),
        stage("uploading-a1", "bambu-1", At::Uploading),
        stage("starting", "prusa-5", At::Starting),
        stage("starting-a1", "bambu-2", At::Starting),
        stage("sent", "prusa-6", At::Sent),
        stage("sent-a1", "bambu-3", At::Sent),
        stage("paused", "prusa-7", At::Paused),
        stage("paused-a1", "bambu-4", At::Paused),
        stage("asking", "prusa-8", At::Asking),
        stage("asking-a1", "bambu-5", At::Asking),
    ];
    let shop = open("cancel", &STAGES).await;
    let (late, others): (Vec<_>, Vec<_>) = STAGES.into_iter().partition(|s| s.at == At::Sent);
    join_all(others.iter().map(async |s| {
        s.reach(&shop, &json!({})).await;
        shop.want(s.job, "Cancel").await;
        if s.at == At::Asking {
            // Only a person knows that there is nothing to stop.
            shop.answer(s.job, "NotPrinted").await;
        }
        let status = s.is(&shop, Phase::Cancelled).await;
        assert!(status.conditions.has_reason(ConditionType::Failed, Reason::Cancelled), "{s:?}");
        assert!(status.question.is_none() && status.conditions.condition(ConditionType::Stalled).is_none(), "{s:?}");
        let printer = s.is_released(&shop).await;
        let begun = usize::from(s.at == At::Paused);
        assert_eq!((s.starts(&shop), s.acted(&shop, JobCommand::Stop)), (begun, begun), "{s:?}");
        let clear = [At::Uploading, At::Starting].contains(&s.at);
        assert_eq!(printer.conditions.is_true(ConditionType::BedCleared), clear, "{s:?}: {:?}", printer.conditions);
    }))
    .await;

    // A cancel that comes when the start was sent and is not seen yet stops the print once it is there.
    reach_all(&shop, &late, &json!({})).await;
    for s in &late {
        shop.want(s.job, "Cancel").await;
    }
    shop.skip(LATE);
    join_all(late.iter().map(async |s| {
        s.is(&shop, Phase::Cancelled).await;
        let printer = s.is_released(&shop).await;
        assert_eq!((s.starts(&shop), s.acted(&shop, JobCommand::Stop)), (1, 1), "{s:?}");
        assert!(printer.conditions.has_reason(ConditionType::BedCleared, Reason::FailedPrintOnBed), "{s:?}");
    }))
    .await;
    shop.close().await;
}

async fn delete(shop: &Shop, stage: &Stage) {
    shop.farm.jobs().delete(stage.job, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_deleted_at_every_point_of_its_life() {
    const STAGES: [Stage; 14] = [
        stage("pending", "prusa-1", At::Pending),
        stage("held", "prusa-2", At::Held),
        stage("assigned", "prusa-3", At::Assigned),
        stage("uploading", "prusa-4", At::Uploading),
        stage("uploading-a1", "bambu-1", At::Uploading),
        stage("starting", "prusa-5", At::Starting),
        stage("starting-a1", "bambu-2", At::Starting),
        stage("asking", "prusa-6", At::Asking),
        stage("asking-a1", "bambu-3", At::Asking),
        stage("sent", "prusa-7", At::Sent),
        stage("sent-a1", "bambu-4", At::Sent),
        stage("paused", "prusa-8", At::Paused),
        stage("paused-a1", "bambu-5", At::Paused),
        stage("succeeded", "prusa-9", At::Succeeded),
    ];
    let shop = open("delete", &STAGES).await;
    let begun = |s: &Stage| [At::Sent, At::Paused, At::Succeeded].contains(&s.at);
    let (late, others): (Vec<_>, Vec<_>) = STAGES.into_iter().partition(begun);
    join_all(others.iter().map(async |s| {
        s.reach(&shop, &json!({})).await;
        delete(&shop, s).await;
        shop.job_is_gone(s.job).await;
        if s.at == At::Asking {
            // Nobody has answered: the printer keeps the start in mind, watches, and then asks for its bed.
            let abandoned = |p: &printernizer_crds::PrinterStatus| {
                p.last_start.as_ref().is_some_and(|l| l.verdict == Some(StartVerdict::Abandoned))
            };
            shop.printer(s.printer, "has watched in vain", abandoned).await;
            let printer = s.is_released(&shop).await;
            let asks = printer.conditions.has_reason(ConditionType::BedCleared, Reason::Unconfirmed);
            assert!(asks && printer.bed.unwrap().occupancy_id.is_some(), "{s:?}");
            assert_eq!(s.commands(&shop), 1, "{s:?}");
            return;
        }
        s.is_released(&shop).await;
        assert_eq!((s.commands(&shop), s.starts(&shop)), (0, 0), "{s:?}");
    }))
    .await;

    // What runs, or may run, is finished, and its bed waits for a person.
    let (over, late): (Vec<_>, Vec<_>) = late.into_iter().partition(|s| s.at == At::Succeeded);
    let (paused, sent): (Vec<_>, Vec<_>) = late.into_iter().partition(|s| s.at == At::Paused);
    for stages in [&over, &paused, &sent] {
        reach_all(&shop, stages, &json!({})).await;
    }
    for s in over.iter().chain(&paused).chain(&sent) {
        delete(&shop, s).await;
    }
    shop.skip(LATE);
    for s in &paused {
        s.is(&shop, Phase::Paused).await;
        shop.want(s.job, "Run").await;
    }
    for s in sent.iter().chain(&paused) {
        s.prints(&shop).await;
    }
    shop.finish_prints();
    join_all(over.iter().chain(&paused).chain(&sent).map(async |s| {
        shop.job_is_gone(s.job).await;
        let printer = s.is_released(&shop).await;
        assert_eq!((s.starts(&shop), s.acted(&shop, JobCommand::Stop)), (1, 0), "{s:?}");
        assert!(printer.conditions.has_reason(ConditionType::BedCleared, Reason::PartOnBed), "{s:?}");
        assert_eq!(printer.bed.unwrap().job.as_deref(), Some(s.job));
    }))
    .await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_job_that_asks_for_it_is_stopped_wherever_its_print_is() {
    const STAGES: [Stage; 5] = [
        stage("printing-a1", "bambu-1", At::Printing),
        stage("paused", "prusa-1", At::Paused),
        stage("paused-a1", "bambu-2", At::Paused),
        stage("sent", "prusa-2", At::Sent),
        stage("sent-a1", "bambu-3", At::Sent),
    ];
    let shop = open("stop", &STAGES).await;
    reach_all(&shop, &STAGES, &json!({ "deletionPolicy": "Cancel" })).await;
    for s in &STAGES {
        delete(&shop, s).await;
    }
    shop.skip(LATE);
    join_all(STAGES.iter().map(async |s| {
        shop.job_is_gone(s.job).await;
        let printer = s.is_released(&shop).await;
        assert_eq!((s.starts(&shop), s.acted(&shop, JobCommand::Stop)), (1, 1), "{s:?}");
        assert!(printer.conditions.has_reason(ConditionType::BedCleared, Reason::FailedPrintOnBed), "{s:?}");
    }))
    .await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_held_before_its_start_and_paused_after_it_and_goes_on_when_it_is_wanted_again() {
    const STAGES: [Stage; 9] = [
        stage("pending", "prusa-1", At::Pending),
        stage("assigned", "prusa-2", At::Assigned),
        stage("uploading", "prusa-3", At::Uploading),
        stage("uploading-a1", "bambu-1", At::Uploading),
        stage("starting", "prusa-4", At::Starting),
        stage("starting-a1", "bambu-2", At::Starting),
        stage("sent", "prusa-5", At::Sent),
        stage("sent-a1", "bambu-3", At::Sent),
        stage("succeeded", "prusa-6", At::Succeeded),
    ];
    let shop = open("hold", &STAGES).await;
    let before = |s: &Stage| ![At::Sent, At::Succeeded].contains(&s.at);
    let (held, begun): (Vec<_>, Vec<_>) = STAGES.into_iter().partition(before);
    let (sent, over): (Vec<_>, Vec<_>) = begun.into_iter().partition(|s| s.at == At::Sent);
    reach_all(&shop, &over, &json!({})).await;
    // What is over stays so, whatever is wanted of it.
    shop.want("succeeded", "Pause").await;
    join_all(held.iter().map(async |s| {
        s.reach(&shop, &json!({})).await;
        shop.want(s.job, "Pause").await;
        let status =
            shop.job(s.job, "is held without a printer", |s| s.phase == Some(Phase::Held) && s.printer.is_none());
        let attempt = status.await.attempt;
        // A name on the device is never used twice.
        let expected = if s.at == At::Pending { attempt } else { 2 };
        assert_eq!(attempt, expected, "{s:?}");
        s.is_released(&shop).await;
        assert_eq!(s.commands(&shop), 0, "{s:?}");
        s.free(&shop);
        shop.want(s.job, "Run").await;
        if [At::Pending, At::Assigned].contains(&s.at) {
            shop.clear(s.printer).await;
        }
        s.prints(&shop).await;
        assert_eq!((s.commands(&shop), s.starts(&shop)), (1, 1), "{s:?}");
    }))
    .await;

    // The start is under way: the pause meets the print.
    shop.want("succeeded", "Cancel").await;
    reach_all(&shop, &sent, &json!({})).await;
    for s in &sent {
        shop.want(s.job, "Pause").await;
    }
    shop.skip(LATE);
    join_all(sent.iter().map(async |s| {
        let status = s.is(&shop, Phase::Paused).await;
        assert!(status.conditions.has_reason(ConditionType::Started, Reason::PausedAsAsked), "{s:?}");
        shop.want(s.job, "Run").await;
        s.prints(&shop).await;
        let acted = [JobCommand::Pause, JobCommand::Resume].map(|c| s.acted(&shop, c));
        assert_eq!((acted, s.starts(&shop)), ([1, 1], 1), "{s:?}");
    }))
    .await;
    let over = shop.farm.jobs().get("succeeded").await.unwrap().status.unwrap();
    assert_eq!((over.phase, over.attempt), (Some(Phase::Succeeded), 1));
    shop.close().await;
}
