//! Objects that come back: copies out of backups and exports, jobs that Git creates again, and what is kept of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod lifecycle;
mod support;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lifecycle::{At, Stage, answer_until_over, open, reach_all, stage};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{
    ConditionType, Conditions, PrintJobStatus, PrintRecord, PrinterStatus, RUN_ANNOTATION, Reason,
};
use printernizer_simulator::Config;
use serde_json::json;
use support::Shop;

async fn apply(shop: &Shop, name: &str, metadata: serde_json::Value, spec: serde_json::Value) {
    let mut job = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": metadata,
        "spec": { "displayName": name, "source": { "configMap": { "name": "part", "key": "part.gcode" } } },
    });
    job["metadata"]["name"] = json!(name);
    job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    shop.farm.jobs().patch(name, &PatchParams::apply("git").force(), &Patch::Apply(job)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_printed_job_does_not_print_until_it_is_told_to() {
    let shop = Shop::open("copy", Config::prusalink(1).time_scale(20.0)).await;
    let foreign = json!({ "annotations": { RUN_ANNOTATION: "11111111-2222-3333-4444-555555555555" } });
    apply(&shop, "clip", foreign.clone(), json!({})).await;
    let status = shop.job_says("clip", ConditionType::Accepted, Reason::CopyOfPrintedJob).await;
    assert_eq!(status.phase, Some(Phase::Pending));
    // It does not wait for a printer either: another job gets the printer.
    shop.print("other", json!({ "priority": -10 })).await;
    shop.phase("other", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("other", Phase::Succeeded).await;
    assert_eq!(shop.starts("clip"), 0);
    apply(&shop, "clip", foreign, json!({ "runID": "again" })).await;
    shop.clear("prusa-1").await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("clip"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_git_creates_again_is_printed_once_per_run_id() {
    let shop = Shop::open("git", Config::prusalink(1).time_scale(20.0)).await;
    let tracked = json!({ "labels": { "kustomize.toolkit.fluxcd.io/name": "farm" } });
    apply(&shop, "clip", tracked.clone(), json!({ "ttlSecondsAfterFinished": 0 })).await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    let records: Api<PrintRecord> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let record = printernizer_e2e::wait_until("the record says how it ended", support::SOON, async || {
        let all = records.list(&kube::api::ListParams::default()).await.map_err(|e| e.to_string())?;
        match all.items.as_slice() {
            [record] if record.status.as_ref().is_some_and(|s| s.end_time.is_some()) => Ok(record.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!((record.spec.name.as_str(), record.spec.printed_on.as_str()), ("clip", "prusa-1"));

    shop.farm.jobs().delete("clip", &DeleteParams::default()).await.unwrap();
    shop.job_is_gone("clip").await;
    shop.clear("prusa-1").await;
    apply(&shop, "clip", tracked.clone(), json!({})).await;
    shop.job_says("clip", ConditionType::Accepted, Reason::AlreadyPrinted).await;
    assert_eq!(shop.starts("clip"), 1);
    apply(&shop, "clip", tracked, json!({ "runID": "2026-12" })).await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("clip"), 2);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_that_nobody_tracks_goes_when_its_time_is_over() {
    let shop = Shop::open("ttl", Config::prusalink(1).time_scale(20.0)).await;
    shop.print("clip", json!({ "ttlSecondsAfterFinished": 1 })).await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.job_is_gone("clip").await;
    // What lies on the bed is remembered without the job.
    let status = shop.printer_says("prusa-1", ConditionType::BedCleared, Reason::PartOnBed).await;
    assert_eq!(status.bed.unwrap().job.as_deref(), Some("clip"));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_kept_for_ninety_days_after_the_print_and_as_long_as_its_job_exists() {
    let mut shop = Shop::empty("records", Config::prusalink(1)).await;
    let records: Api<PrintRecord> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let days_ago = |days: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days)).to_string();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    shop.print("existing", json!({})).await;
    for (name, ended) in [("old", Some(91)), ("young", Some(89)), ("existing", Some(91)), ("open", None)] {
        let record = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintRecord", "metadata": { "name": name },
            "spec": {
                "namespace": shop.farm.namespace(), "name": name, "runID": "", "uid": "11111111-2222",
                "printedOn": "prusa-1", "startTime": days_ago(100),
            },
        });
        let record: PrintRecord = serde_json::from_value(record).unwrap();
        records.create(&PostParams::default(), &record).await.unwrap();
        if let Some(days) = ended {
            let status = json!({ "status": { "outcome": "Succeeded", "endTime": days_ago(days) } });
            records.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        }
    }
    shop.operate(&[]).await;
    printernizer_e2e::wait_until("the old record is gone", support::SOON, async || {
        let all = records.list(&kube::api::ListParams::default()).await.map_err(|e| vec![e.to_string()])?;
        let mut names: Vec<String> = all.items.into_iter().filter_map(|r| r.metadata.name).collect();
        names.sort();
        if names == ["existing", "open", "young"] { Ok(()) } else { Err(names) }
    })
    .await
    .unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_restored_from_a_backup_of_its_print_does_not_print_again_and_can_be_deleted() {
    let shop = Shop::open("restored", Config::prusalink(1).time_scale(20.0)).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    // Everything of the object is in the backup: status, finalizers, annotations.
    let jobs = shop.farm.jobs();
    let backup = jobs.get("clip").await.unwrap();
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    jobs.delete("clip", &DeleteParams::default()).await.unwrap();
    shop.job_is_gone("clip").await;
    shop.clear("prusa-1").await;

    let mut restored = backup.clone();
    (restored.metadata.uid, restored.metadata.resource_version) = (None, None);
    let created = jobs.create(&PostParams::default(), &restored).await.unwrap();
    assert_eq!(created.metadata.finalizers, backup.metadata.finalizers);
    let status = json!({ "status": backup.status });
    jobs.patch_status("clip", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let status = shop.job_says("clip", ConditionType::Accepted, Reason::CopyOfPrintedJob).await;
    assert_eq!((status.printer, status.start), (None, None), "what it was restored with is not its own");
    // The printer is nobody's: another job gets it.
    shop.print("other", json!({})).await;
    shop.phase("other", Phase::Printing).await;
    assert_eq!((shop.starts("clip"), shop.starts("pz-")), (1, 2));
    jobs.delete("clip", &DeleteParams::default()).await.unwrap();
    shop.job_is_gone("clip").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_restored_to_a_time_before_the_print_asks_about_what_its_printers_show() {
    const STAGES: [Stage; 2] = [stage("clip", "prusa-1", At::Held), stage("clip-a1", "bambu-1", At::Held)];
    let mut shop = open("etcd", &STAGES).await;
    reach_all(&shop, &STAGES, &json!({})).await;
    let mut backup: Vec<(PrintJobStatus, PrinterStatus)> = Vec::new();
    for s in &STAGES {
        shop.clear(s.printer).await;
        let job = shop.farm.jobs().get(s.job).await.unwrap();
        let printer = shop.farm.printers().get(s.printer).await.unwrap();
        backup.push((job.status.unwrap(), printer.status.unwrap()));
        shop.want(s.job, "Run").await;
    }
    for s in &STAGES {
        s.prints(&shop).await;
    }
    shop.close_operator().await;
    for (s, (job_status, printer_status)) in STAGES.iter().zip(backup) {
        let (jobs, printers, post) = (shop.farm.jobs(), shop.farm.printers(), PostParams::default());
        let mut job = jobs.get(s.job).await.unwrap();
        job.status = Some(job_status);
        jobs.replace_status(s.job, &post, &job).await.unwrap();
        let mut printer = printers.get(s.printer).await.unwrap();
        printer.status = Some(printer_status);
        printers.replace_status(s.printer, &post, &printer).await.unwrap();
    }
    shop.operate(&["--hold-starts"]).await;
    for s in &STAGES {
        let status = shop.job_says(s.job, ConditionType::OutcomeUnknown, Reason::NoRecordOfUpload).await;
        assert_eq!(status.phase, Some(Phase::AttentionNeeded), "{s:?}");
        let printer = shop.printer(s.printer, "is not free", |p| p.conditions.is_false(ConditionType::Idle)).await;
        assert!(!printer.conditions.is_true(ConditionType::BedCleared), "{s:?}");
    }
    shop.finish_prints();
    for s in &STAGES {
        let status = answer_until_over(&shop, s.job, "Succeeded").await;
        assert_eq!(status.phase, Some(Phase::Succeeded), "{s:?}");
        assert_eq!((s.commands(&shop), s.starts(&shop)), (1, 1), "{s:?}");
        shop.printer(s.printer, "asks for its bed", |p| p.conditions.is_false(ConditionType::BedCleared)).await;
    }
    shop.close().await;
}
