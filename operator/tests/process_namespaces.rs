//! An operator of all namespaces, and one of two: there is one device behind a serial number, whichever of them its jobs and
//! Printers are in, and what is in no namespace of the operator's is nothing to it. The first acts on everything in its
//! cluster, so these are alone in their file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod backup;
mod support;

use backup::Yard;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, PrintJob, Printer, Reason};
use printernizer_e2e::cluster::{self, Cluster, Options};
use printernizer_e2e::farm::project;
use printernizer_e2e::{Namespace, wait_until};
use printernizer_simulator::{Config, PrinterInfo};
use serde_json::{Value, json};
use support::account::{as_service_account, kubectl};
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

/// Waits until this job tells that the one in that namespace keeps it from being started.
async fn waits_for_elsewhere(shop: &Shop, job: &str, namespace: &str) {
    let waits = format!("the start of {namespace}/elsewhere on this device is not resolved");
    let says = |status: &printernizer_crds::PrintJobStatus| {
        status.conditions.condition(ConditionType::Started).is_some_and(|c| c.message.contains(&waits))
    };
    shop.job(job, &waits, says).await;
}

/// A person says that the print of it has failed, after this was looked at.
async fn resolve(jobs: &Api<PrintJob>, look: impl Fn()) {
    let asked = wait_until("the job over there asks a person", SOON, async || {
        let job = jobs.get("elsewhere").await.map_err(|e| e.to_string())?;
        let question = job.status.as_ref().and_then(|s| s.question.as_ref()).map(|q| q.id.clone());
        question.ok_or_else(|| printernizer_e2e::farm::in_short(&job))
    });
    let id = asked.await.unwrap();
    look();
    let answer = json!({ "spec": { "outcome": { "questionID": id, "answer": "Failed" } } });
    jobs.patch("elsewhere", &PatchParams::default(), &Patch::Merge(answer)).await.unwrap();
}

/// A second Printer for the device of this one.
async fn add_twin(printers: &Api<Printer>, mut twin: Printer) {
    twin.metadata = ObjectMeta { name: Some("twin".into()), ..ObjectMeta::default() };
    twin.status = None;
    printers.create(&PostParams::default(), &twin).await.unwrap();
}

async fn is_one_too_many(printers: &Api<Printer>) {
    wait_until("the second Printer is one too many", SOON, async || {
        let twin = printers.get("twin").await.map_err(|e| e.to_string())?;
        let conditions = twin.status.map(|s| s.conditions).unwrap_or_default();
        let extra = conditions.has_reason(ConditionType::Trusted, Reason::DuplicateDevice);
        if extra { Ok(()) } else { Err(format!("{conditions:?}")) }
    })
    .await
    .unwrap();
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
    waits_for_elsewhere(&shop, "clip", there.name()).await;
    resolve(&jobs_there, || assert_eq!(shop.starts("pz-"), 0)).await;
    shop.phase("clip", Phase::Printing).await;

    // A second Printer for the device, over there, is one too many.
    let printers_there: Api<Printer> = Api::namespaced(shop.farm.client(), there.name());
    let twin = shop.farm.printers().get("prusa-1").await.unwrap();
    add_twin(&printers_there, twin).await;
    is_one_too_many(&printers_there).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 1);
    operator.kill().await.unwrap();
    there.delete().await.unwrap();
    shop.close().await;
}

/// What the chart renders for two namespaces, with these instead of the ones of the example.
fn rendered_for(namespaces: [&str; 2]) -> Vec<Value> {
    let mut text =
        std::fs::read_to_string(project().join("charts/printernizer/ci/golden/two-namespaces.yaml")).unwrap();
    for (example, name) in ["workshop", "laboratory"].iter().zip(namespaces) {
        assert!(text.contains(example));
        text = text.replace(example, name);
    }
    serde_saphyr::from_multiple(&text).unwrap()
}

/// A farm of one simulated printer of this name, with a file.
async fn farm_of(cluster: &'static Cluster, printer: &str) -> Shop {
    let mut config = Config::prusalink(1).time_scale(20.0);
    printer.clone_into(&mut config.printers[0].name);
    let shop = Shop::empty_in(cluster, "farm-of", config).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    shop.print("clip", json!({})).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_rights_of_the_chart_an_operator_of_two_namespaces_serves_both_and_reads_no_secret_of_a_third() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(Options::default()).await.unwrap()));
    let one = farm_of(cluster, "core-1").await;
    let other = farm_of(cluster, "core-2").await;
    let third = farm_of(cluster, "core-3").await;
    let directory = tempfile::tempdir().unwrap();
    let rendered = rendered_for([one.farm.namespace(), other.farm.namespace()]);
    let kinds = ["ServiceAccount", "Role", "RoleBinding"];
    let account: Vec<&Value> = rendered.iter().filter(|o| kinds.iter().any(|kind| o["kind"] == *kind)).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": account });
    let manifest = directory.path().join("account.json");
    std::fs::write(&manifest, list.to_string()).unwrap();
    kubectl(cluster, &["create", "namespace", "printernizer"]).await;
    kubectl(cluster, &["apply", "-f", manifest.to_str().unwrap()]).await;
    // All that the chart gives is given here: there is nothing for the whole cluster.
    assert!(!rendered.iter().any(|object| object["kind"] == "ClusterRoleBinding"));
    let kubeconfig = as_service_account(cluster, directory.path()).await;
    let deployment = rendered.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    let namespaces = arguments.iter().filter_map(Value::as_str).find(|a| a.starts_with("--namespace=")).unwrap();
    let log = directory.path().join("log");
    let mut operator = tokio::process::Command::new(env!("CARGO_BIN_EXE_printernizer"))
        .args(["run", "--listen", "127.0.0.1:0", "--allow-loopback", "--lease-namespace", "printernizer", namespaces])
        .args(["--simulated-time", &support::FACTOR.to_string(), "--cache-dir"])
        .arg(directory.path().join("cache"))
        .env("KUBECONFIG", &kubeconfig)
        .env_remove("PRINTERNIZER_NAMESPACE")
        .stdout(std::fs::File::create(&log).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    for (shop, printer) in [(&one, "core-1"), (&other, "core-2")] {
        shop.clear(printer).await;
        shop.phase("clip", Phase::Printing).await;
    }
    // Without an image for backups their objects are neither made nor looked at; a policy says so.
    let yard = Yard::of(&other);
    yard.policy("farm", &json!({})).await;
    yard.says("farm", ConditionType::Ready, "False", Reason::BackupImageUnset).await;
    // One device is one device in both of them, whichever a second Printer is in.
    let first = one.farm.printers().get("core-1").await.unwrap();
    add_twin(&other.farm.printers(), first).await;
    is_one_too_many(&other.farm.printers()).await;
    for shop in [&one, &other] {
        shop.finish_prints();
        shop.phase("clip", Phase::Succeeded).await;
        assert_eq!(shop.starts("pz-"), 1);
    }

    let printer = third.farm.printers().get("core-3").await.unwrap();
    assert!(printer.status.is_none() && printer.metadata.finalizers.is_none(), "{printer:?}");
    let job = third.farm.jobs().get("clip").await.unwrap();
    assert!(job.status.is_none() && job.metadata.finalizers.is_none(), "{job:?}");
    let config = Kubeconfig::read_from(&kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let account = Client::try_from(config).unwrap();
    let secrets = |shop: &Shop| Api::<Secret>::namespaced(account.clone(), shop.farm.namespace());
    let forbidden =
        |answer: Result<(), kube::Error>| matches!(answer, Err(kube::Error::Api(status)) if status.code == 403);
    assert!(secrets(&one).get("core-1").await.is_ok() && secrets(&other).get("core-2").await.is_ok());
    assert!(forbidden(secrets(&third).get("core-3").await.map(drop)));
    assert!(forbidden(secrets(&one).list(&ListParams::default()).await.map(drop)));
    assert!(forbidden(Api::<Printer>::all(account.clone()).list(&ListParams::default()).await.map(drop)));
    assert!(forbidden(
        Api::<Pod>::namespaced(account, other.farm.namespace()).list(&ListParams::default()).await.map(drop)
    ));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("forbidden"), "{text}");

    // A start that nobody has judged is found wherever it is.
    let info = one.farm.simulator().printers().remove(0);
    unresolved_job(&other.farm.jobs(), &info).await;
    one.clear("core-1").await;
    one.print("next", json!({})).await;
    waits_for_elsewhere(&one, "next", other.farm.namespace()).await;
    resolve(&other.farm.jobs(), || assert_eq!(one.starts("next"), 0)).await;
    one.phase("next", Phase::Printing).await;
    one.finish_prints();
    one.phase("next", Phase::Succeeded).await;

    // What may be printing there on this device cannot be known any more: nothing is started in the other one either.
    kubectl(cluster, &["delete", "rolebinding", "printernizer", "--namespace", other.farm.namespace()]).await;
    one.clear("core-1").await;
    one.print("late", json!({})).await;
    let told = "User \"system:serviceaccount:printernizer:printernizer\" cannot list resource";
    let says = |s: &printernizer_crds::PrintJobStatus| s.conditions.iter().any(|c| c.message.contains(told));
    one.job("late", "waits for a right", says).await;
    assert_eq!(one.starts("late"), 0);
    kubectl(cluster, &["apply", "-f", manifest.to_str().unwrap()]).await;
    one.phase("late", Phase::Printing).await;
    operator.kill().await.unwrap();
    for shop in [one, other, third] {
        shop.close().await;
    }
}
