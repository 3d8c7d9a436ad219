//! A real Prometheus reads a running operator while a part is printed: every panel of the dashboards gets data, every alert
//! is evaluated, every metric they ask for is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{BackupPolicy, ConditionType, Printer, Reason};
use printernizer_e2e::monitoring::{Query, alerts, alerts_file, dashboards, metric_names, queries};
use printernizer_e2e::servers::{PrometheusServer, Sample};
use printernizer_e2e::{tools, wait_until};
use printernizer_simulator::Config;
use serde_json::json;
use support::{PRINT, SOON, Shop, part};

/// Waits until the expression comes to something that is wanted.
async fn shows(prometheus: &PrometheusServer, expression: &str, wanted: impl Fn(&[Sample]) -> bool) {
    let shown = wait_until(expression, SOON, async || {
        let samples = prometheus.query(expression).await.map_err(|error| error.to_string())?;
        if wanted(&samples) { Ok(()) } else { Err(format!("{samples:?}")) }
    });
    shown.await.unwrap_or_else(|error| panic!("{error}"));
}

/// Waits until it comes to exactly one series, of this value.
async fn is(prometheus: &PrometheusServer, expression: &str, value: f64) {
    shows(prometheus, expression, |samples| matches!(samples, [one] if (one.value - value).abs() < 1e-9)).await;
}

fn policies(shop: &Shop) -> Api<BackupPolicy> {
    Api::namespaced(shop.farm.client(), shop.farm.namespace())
}

/// A policy that has backed up and drilled, and was missed once; its Secret has gone since, and nobody has ever checked.
async fn backed_up(shop: &Shop) {
    let policy: BackupPolicy = serde_json::from_value(json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "BackupPolicy", "metadata": { "name": "nightly" },
        "spec": {
            "schedule": "0 3 1 1 *", "sources": { "objects": {} },
            "target": { "persistentVolumeClaim": { "claimName": "backups" } },
            "encryption": { "passwordSecretRef": { "name": "no-such-secret", "key": "password" } },
            "retention": { "keepDaily": 30 }, "objectives": { "recoveryPointSeconds": 86400 },
            "verification": { "restoreDrill": { "schedule": "0 4 1 1 *" } },
        },
    }))
    .unwrap();
    policies(shop).create(&PostParams::default(), &policy).await.unwrap();
    let now = Timestamp::now();
    let ago = |minutes: i64| now.checked_sub(SignedDuration::from_mins(minutes)).unwrap().to_string();
    let run = |minutes: i64, restore_seconds: Option<i64>| {
        json!({ "jobName": "j", "jobUid": "u", "startTime": ago(minutes), "endTime": ago(minutes - 2),
                "reason": "Succeeded", "restoreSeconds": restore_seconds })
    };
    let status = json!({ "status": {
        "lastBackup": run(30, None), "lastSuccessfulTime": ago(30), "lastMissedTime": ago(600),
        "lastRestoreDrill": run(20, Some(61)), "snapshotCount": 30, "repositorySizeBytes": 5_000_000_000_i64,
        "repository": { "location": "pvc:backups", "id": "0123456789" },
    } });
    policies(shop).patch_status("nightly", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Fails if promtool finds a name, a type or a help text that Prometheus' rules speak against.
fn assert_well_formed(metrics: &str) {
    let promtool = tools::prometheus(&mut |_| {}).unwrap().promtool;
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = check.spawn().unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_every_alert_works_on_what_a_running_operator_shows() {
    let mut shop = Shop::empty("monitoring", Config::prusalink(1).time_scale(20.0)).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", part(PRINT)).await.unwrap();
    backed_up(&shop).await;
    shop.operate(&["--metrics-per-printer"]).await;
    let address = shop.operator.as_ref().unwrap().address();
    let prometheus =
        PrometheusServer::start(&[address], ("printernizer", "printernizer"), &alerts_file()).await.unwrap();
    // An increase is seen between two readings.
    is(&prometheus, "sum(printernizer_leader)", 1.0).await;
    is(&prometheus, "sum(count_over_time(printernizer_leader[5m])) > bool 1", 1.0).await;

    // A part is printed; another one has no file; a printer has no Secret.
    shop.clear_all().await;
    shop.print("clip", json!({})).await;
    shop.farm.print("nowhere", "no-such-file", json!({})).await.unwrap();
    let secretless: Printer = serde_json::from_value(json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": "secretless" },
        "spec": { "model": "Prusa CORE One", "connection": { "prusaLink": {
            "url": "http://127.0.0.1:1", "credentialsSecretRef": { "name": "no-such-secret" } } } },
    }))
    .unwrap();
    shop.farm.printers().create(&PostParams::default(), &secretless).await.unwrap();
    shop.phase("clip", Phase::Printing).await;
    shop.job_says("nowhere", ConditionType::Accepted, Reason::FileNotFound).await;
    shop.printer_says("secretless", ConditionType::Ready, Reason::SecretNotFound).await;
    // Times in a status are whole seconds: a print that is over within one of them took none.
    shows(
        &prometheus,
        "count_over_time((sum(printernizer_printers{state=\"Printing\"}) > 0)[1m:1s])",
        |samples| matches!(samples, [one] if one.value >= 3.0),
    )
    .await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;

    let boards = dashboards().unwrap();
    let panels: Vec<Query> = boards.values().flat_map(queries).collect();
    for query in &panels {
        shows(&prometheus, &query.expression, |samples| samples.iter().any(|sample| sample.value.is_finite())).await;
    }
    for counter in [
        "attempts_total{outcome=\"Succeeded\"}",
        "filament_grams_total{material=\"PLA\"}",
        "print_seconds_total",
        "job_wait_seconds_count",
        "job_refusals_total{reason=\"FileNotFound\"}",
        "starts_total{kind=\"prusalink\",result=\"sent\"}",
        "session_connect_failures_total{cause=\"secret_not_found\"}",
        "queue_wait_seconds_count{controller=\"print_job\"}",
        "api_requests_total{resource=\"leases\",verb=\"update\",code=\"2xx\"}",
        "api_requests_total{resource=\"secrets\",verb=\"get\",code=\"4xx\"}",
    ] {
        let grown = format!("sum(increase(printernizer_{counter}[15m]))");
        shows(&prometheus, &grown, |samples| matches!(samples, [one] if one.value > 0.0)).await;
    }
    is(&prometheus, "sum(printernizer_backup_recovery_points{policy=\"nightly\"})", 30.0).await;
    let known = "printernizer_backup_policy_condition{policy=\"nightly\",type=\"RestoreVerified\",status=\"True\"}";
    is(&prometheus, &format!("sum({known})"), 1.0).await;
    is(&prometheus, "sum(printernizer_sessions_connected)", 1.0).await;
    is(&prometheus, "sum(printernizer_printers)", 2.0).await;
    is(&prometheus, "time() - sum(printernizer_lease_renewed_timestamp_seconds) < bool 15", 1.0).await;
    let ready = "printernizer_printer_status_condition{printer=\"prusa-1\",type=\"Ready\",status=\"True\"}";
    is(&prometheus, &format!("sum({ready})"), 1.0).await;

    // What is wrong in this farm is about to be told, and nothing else, but what a slow machine may bring.
    let slow = ["PrinternizerApiErrors", "PrinternizerQueueSlow", "PrinternizerStatusLate"];
    shows(&prometheus, "sum by (alertname) (ALERTS)", |samples| {
        let told = samples.iter().flat_map(|sample| &sample.labels).map(|(_, alert)| alert.as_str());
        let told: BTreeSet<&str> = told.filter(|alert| !slow.contains(alert)).collect();
        told == BTreeSet::from([
            "PrinternizerBackupNotProven",
            "PrinternizerBackupPolicyNotReady",
            "PrinternizerJobNotAccepted",
            "PrinternizerPrinterNotUsable",
        ])
    })
    .await;
    let alerts = alerts().unwrap();
    let names: BTreeSet<String> = alerts.iter().map(|alert| alert.place.clone()).collect();
    let evaluated = prometheus.rules().await.unwrap();
    assert_eq!(evaluated.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), names);
    assert!(evaluated.iter().all(|(_, error)| error.is_none()), "{evaluated:?}");

    let known: BTreeSet<String> = prometheus.names().await.unwrap().into_iter().collect();
    for query in panels.iter().chain(&alerts) {
        let missing: Vec<String> = metric_names(&query.expression).difference(&known).cloned().collect();
        assert!(missing.is_empty(), "{}: {missing:?}", query.place);
    }
    assert_well_formed(&shop.operator.as_ref().unwrap().metrics().await.unwrap());

    // Another process begins to count anew, and knows the farm all the same.
    shop.close_operator().await;
    shop.operate(&[]).await;
    let operator = shop.operator.as_ref().unwrap();
    let counted = wait_until("the farm is counted anew", SOON, async || {
        let ended = operator.metric("printernizer_jobs{phase=\"Succeeded\"}").await.map_err(|e| e.to_string())?;
        if (ended - 1.0).abs() < 1e-9 { Ok(()) } else { Err(format!("{ended} ended jobs")) }
    });
    counted.await.unwrap();
    // Of backups it shows what the one before has written.
    let points = wait_until("backups are shown anew", SOON, async || {
        let points = operator.metric("printernizer_backup_recovery_points").await.map_err(|e| e.to_string())?;
        if (points - 30.0).abs() < 1e-9 { Ok(()) } else { Err(format!("{points} recovery points")) }
    });
    points.await.unwrap();
    // And nothing any more of one that is gone.
    policies(&shop).delete("nightly", &DeleteParams::default()).await.unwrap();
    let gone = wait_until("it is forgotten", SOON, async || {
        let text = operator.metrics().await.map_err(|e| e.to_string())?;
        if text.contains("policy=\"nightly\"") { Err(text) } else { Ok(()) }
    });
    gone.await.unwrap();
    assert!(operator.metric("printernizer_attempts_total").await.unwrap().abs() < 1e-9);
    assert!(
        operator.metric("printernizer_printer_status_condition").await.unwrap().abs() < 1e-9,
        "nobody asked for it"
    );
    shop.close().await;
}
