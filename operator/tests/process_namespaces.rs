//! An operator that works in all namespaces: there is one device behind a serial number, whichever namespace its jobs
//! and Printers are in. It acts on everything in its cluster, so it is alone in its file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use kube::Api;
use kube::api::{Patch, PatchParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, PrintJob, Printer, Reason};
use printernizer_e2e::{Namespace, cluster, wait_until};
use printernizer_simulator::{Config, PrinterInfo};
use serde_json::json;
use support::{SOON, Shop};

/// A PrintJob whose start on this device nobody can judge any more: its Printer is gone.
async fn unresolved_job(jobs: &Api<PrintJob>, info: &PrinterInfo) {
    let job = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "elsewhere" },
        "spec": { "source": { "configMap": { "name": "part", "key": "part.gcode" } } },
    });
    let job = jobs.patch("elsewhere", &PatchParams::apply("farm"), &Patch::Apply(job)).await.unwrap();
    let token = format!("{}-1", &job.metadata.uid.unwrap().replace('-', "")[..16]);
    let remote_name = format!("elsewhere-pz-{token}.gcode");
    let status = json!({ "status": {
        "attempt": 1,
        "phase": "Starting",
        "printer": { "name": "gone", "uid": "gone", "serialNumber": info.serial_number },
        "upload": { "token": token, "remoteName": remote_name, "sizeVerified": true },
        "start": {
            "protocol": 1, "token": token, "remoteName": remote_name, "ids": {}, "sender": "0123456789",
            "deadline": "2026-01-01T00:00:10Z", "before": { "state": "Idle" },
        },
    } });
    jobs.patch_status("elsewhere", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_one_device_in_all_namespaces() {
    assert!(
        !cluster::shared().await.unwrap().is_existing(),
        "this operator acts on everything in its cluster: not on an existing one"
    );
    let shop = Shop::empty("here", Config::prusalink(1).time_scale(20.0)).await;
    let info = shop.farm.simulator().printers().remove(0);
    let there = Namespace::create(&shop.farm.client(), "there").await.unwrap();
    let jobs_there: Api<PrintJob> = Api::namespaced(shop.farm.client(), there.name());
    unresolved_job(&jobs_there, &info).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut operator = tokio::process::Command::new(env!("CARGO_BIN_EXE_printernizer"))
        .args(["run", "--listen", "127.0.0.1:0", "--allow-loopback", "--simulated-time", &support::FACTOR.to_string()])
        .args(["--lease-namespace", shop.farm.namespace(), "--cache-dir"])
        .arg(directory.path().join("cache"))
        .env("KUBECONFIG", shop.cluster.kubeconfig())
        .env_remove("PRINTERNIZER_NAMESPACE")
        .stdout(std::fs::File::create(directory.path().join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    // The job over there may be printed on this device: nothing is started here until a person has said what became of it.
    shop.clear("prusa-1").await;
    shop.print("clip", json!({})).await;
    let waits = format!("the start of {}/elsewhere on this device is not resolved", there.name());
    let says = |status: &printernizer_crds::PrintJobStatus| {
        status.conditions.condition(ConditionType::Started).is_some_and(|c| c.message.contains(&waits))
    };
    shop.job("clip", &waits, says).await;
    let asked = wait_until("the job over there asks a person", SOON, async || {
        let job = jobs_there.get("elsewhere").await.map_err(|e| e.to_string())?;
        let question = job.status.as_ref().and_then(|s| s.question.as_ref()).map(|q| q.id.clone());
        question.ok_or_else(|| printernizer_e2e::farm::in_short(&job))
    });
    let id = asked.await.unwrap();
    assert_eq!(shop.starts("pz-"), 0);
    let answer = json!({ "spec": { "outcome": { "questionID": id, "answer": "Failed" } } });
    jobs_there.patch("elsewhere", &PatchParams::default(), &Patch::Merge(answer)).await.unwrap();
    shop.phase("clip", Phase::Printing).await;

    // A second Printer for the device, over there, is one too many.
    let client = shop.farm.client();
    let printers_there: Api<Printer> = Api::namespaced(client.clone(), there.name());
    let mut twin = shop.farm.printers().get("prusa-1").await.unwrap();
    twin.metadata = kube::api::ObjectMeta { name: Some("twin".into()), ..kube::api::ObjectMeta::default() };
    twin.status = None;
    printers_there.create(&kube::api::PostParams::default(), &twin).await.unwrap();
    wait_until("the Printer over there is one too many", SOON, async || {
        let twin = printers_there.get("twin").await.map_err(|e| e.to_string())?;
        let conditions = twin.status.map(|s| s.conditions).unwrap_or_default();
        let extra = conditions.has_reason(ConditionType::Trusted, Reason::DuplicateDevice);
        if extra { Ok(()) } else { Err(format!("{conditions:?}")) }
    })
    .await
    .unwrap();
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 1);
    operator.kill().await.unwrap();
    there.delete().await.unwrap();
    shop.close().await;
}
