//! What the person who runs the operator relies on: its rights are enough and not too many, a reader of the log that goes
//! takes nothing with it, and missing definitions are named. One operator acts on all namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod backup;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use backup::{IMAGE, Yard};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, PostParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions as _, PrintJobStatus, PrintRecord, Reason};
use printernizer_e2e::cluster::{self, Cluster, Options};
use printernizer_e2e::farm::{Farm, project};
use printernizer_e2e::{Namespace, old_record, rights, wait_until};
use printernizer_simulator::Config;
use serde_json::json;
use support::account::{as_service_account, kubectl};
use support::{SOON, Shop};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

fn run(kubeconfig: &Path, cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_printernizer"));
    command.args(["run", "--listen", "127.0.0.1:0", "--log-format", "json", "--cache-dir"]).arg(cache);
    command.env("KUBECONFIG", kubeconfig).env_remove("PRINTERNIZER_NAMESPACE").env_remove("POD_NAMESPACE");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), signal).unwrap();
}

/// The status of /readyz, as a probe sees it.
async fn readiness(address: &str) -> Result<u16, String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = ask.await.map_err(|e| e.to_string())?;
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(answer)
}

/// What the operator's account is told to do by the roles of a manifest.
fn granted(manifest: &Path) -> BTreeSet<String> {
    let roles: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&std::fs::read_to_string(manifest).unwrap()).unwrap();
    rights::granted(roles.iter().filter_map(|role| role["rules"].as_array()).flatten())
}

/// A cluster that writes down what the operator's account asks for. It ends with this process.
async fn audited(directory: &Path) -> &'static Cluster {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata", "users": ["system:serviceaccount:printernizer:printernizer"] }, { "level": "None" }],
    });
    std::fs::write(directory.join("policy"), policy.to_string()).unwrap();
    let option = |name: &str, file: &str| format!("--{name}={}", directory.join(file).display());
    let apiserver_arguments = vec![option("audit-policy-file", "policy"), option("audit-log-path", "audit")];
    Box::leak(Box::new(Cluster::start(Options { apiserver_arguments, ..Options::default() }).await.unwrap()))
}

/// A policy's whole life: its account, its CronJobs, a Job that a person asks for, a schedule that goes.
async fn backups(yard: &Yard<'_>) {
    let more = json!({
        "sources": { "persistentVolumeClaims": [{ "claimName": "files" }], "objects": {} },
        "additionalSchedules": [{ "name": "noon", "schedule": "0 12 * * *" }],
    });
    yard.policy("farm", &more).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
    yard.asked_for("farm", "now").await;
    yard.write("farm", json!({ "additionalSchedules": [] })).await;
    wait_until("the schedule's CronJob is gone", SOON, async || {
        match yard.api::<CronJob>().get_opt("farm-backup-noon").await.map_err(|e| e.to_string())? {
            None => Ok(()),
            Some(_) => Err("it is there".to_owned()),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_print_and_a_backup_use_every_right_that_the_operator_is_given_and_no_other() {
    let directory = TempDir::new().unwrap();
    let cluster = audited(directory.path()).await;
    let shop = Shop::empty_in(cluster, "rights", Config::prusalink(1).time_scale(20.0)).await;
    let manifest = project().join("examples/operator/rbac.yaml");
    kubectl(shop.cluster, &["apply", "-f", manifest.to_str().unwrap()]).await;
    old_record(shop.farm.client(), shop.farm.namespace()).await.unwrap();
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    let kubeconfig = as_service_account(shop.cluster, directory.path()).await;
    let log = directory.path().join("log");
    let mut operator = run(&kubeconfig, &directory.path().join("cache"))
        .args(["--allow-loopback", "--lease-namespace", "printernizer", IMAGE])
        .args(["--simulated-time", &support::FACTOR.to_string()])
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();

    let yard = Yard::of(&shop);
    yard.furnish().await;
    backups(&yard).await;
    shop.clear("prusa-1").await;
    // A job of a Git tool gets a record.
    let tracked = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
        "metadata": { "name": "tracked", "labels": { "argocd.argoproj.io/instance": "farm" } },
        "spec": { "source": { "configMap": { "name": "part", "key": "part.gcode" } } },
    });
    let tracked = serde_json::from_value(tracked).unwrap();
    shop.farm.jobs().create(&PostParams::default(), &tracked).await.unwrap();
    shop.phase("tracked", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("tracked", Phase::Succeeded).await;
    let everything = ListParams::default();
    let records: Api<PrintRecord> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    wait_until("the record has its end, and the old one is gone", SOON, async || {
        let records = records.list(&everything).await.map_err(|e| e.to_string())?.items;
        let ended = records.iter().all(|r| r.status.as_ref().is_some_and(|s| s.end_time.is_some()));
        let names: Vec<_> = records.iter().filter_map(|r| r.metadata.name.as_deref()).collect();
        if ended && names.len() == 1 && names != ["old"] { Ok(()) } else { Err(format!("{records:?}")) }
    })
    .await
    .unwrap();
    let events: Api<Event> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    assert!(!events.list(&everything).await.unwrap().items.is_empty());
    // Another one is deleted when its time is over.
    shop.clear("prusa-1").await;
    shop.print("clip", json!({ "ttlSecondsAfterFinished": 1 })).await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.job_is_gone("clip").await;

    signal(&operator, Signal::SIGTERM);
    let ended = tokio::time::timeout(SOON, operator.wait()).await.expect("it ends").unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(ended.success(), "{ended}\n{text}");
    assert!(!text.contains("forbidden"), "{text}");
    let (audit, granted) = (directory.path().join("audit"), granted(&manifest));
    wait_until("what was used is what was granted", SOON, async || {
        let requests = rights::requests(&audit).map_err(|e| e.to_string())?;
        rights::compare(&granted, &rights::used(&requests))
    })
    .await
    .unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_goes_takes_nothing_with_it() {
    let cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    let client = cluster.client().await.unwrap();
    let namespace = Namespace::create(&client, "unread").await.unwrap();
    let directory = TempDir::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut operator = run(cluster.kubeconfig(), directory.path())
        .args(["--namespace", namespace.name(), "--lease-namespace", namespace.name()])
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    let leases: Api<Lease> = Api::namespaced(client, namespace.name());
    let holder = async || {
        let lease = leases.get_opt("printernizer").await.map_err(|e| e.to_string())?;
        Ok::<_, String>(lease.and_then(|l| l.spec?.holder_identity).filter(|h| !h.is_empty()))
    };
    wait_until("it leads", SOON, async || holder().await?.ok_or_else(|| "nobody holds the Lease".to_owned()))
        .await
        .unwrap();
    assert!(operator.try_wait().unwrap().is_none(), "it runs");
    signal(&operator, Signal::SIGINT);
    let ended = tokio::time::timeout(SOON, operator.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
    assert_eq!(holder().await.unwrap(), None, "the Lease was given back");
    namespace.delete().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_cannot_read_its_lease_is_not_ready() {
    let directory = TempDir::new().unwrap();
    let nobody_listens = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{nobody_listens}") } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "users": [{ "name": "u", "user": {} }],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let log = directory.path().join("log");
    let mut operator =
        run(&kubeconfig, &directory.path().join("cache")).stdout(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let address = wait_until("it has asked for its Lease", SOON, async || {
        let text = std::fs::read_to_string(&log).unwrap();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let address = lines.find_map(|line| Some(line["address"].as_str()?.to_owned()));
        address.filter(|_| text.contains("lease_unreachable")).ok_or(text)
    });
    let address = address.await.unwrap();
    let status = tokio::time::timeout(SOON, readiness(&address)).await.unwrap();
    assert_eq!(status, Ok(503));
    signal(&operator, Signal::SIGTERM);
    let ended = tokio::time::timeout(SOON, operator.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}

/// What `helm rollback` makes of a cluster: older definitions, which do not know what this operator writes.
#[tokio::test(flavor = "multi_thread")]
async fn what_older_definitions_do_not_keep_is_named_and_nothing_is_started_without_it() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(Options::default()).await.unwrap()));
    let mut shop = Shop::empty_in(cluster, "older", Config::prusalink(1)).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    shop.operate(&[]).await;
    shop.clear_all().await;
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/lastStart";
    let older = json!([{ "op": "remove", "path": field }]).to_string();
    kubectl(cluster, &["patch", "crd", "printers.printernizer.io", "--type=json", "--patch", &older]).await;
    let start =
        json!({ "token": "t", "jobName": "j", "jobUID": "u", "remoteName": "r", "deadline": "2026-11-22T12:00:00Z" });
    let tried = json!({ "status": { "lastStart": start } }).to_string();
    let namespace = shop.farm.namespace().to_owned();
    let try_it =
        ["patch", "printer", "prusa-1", "--subresource=status", "--type=merge", "--dry-run=server", "--output=json"];
    wait_until("the API server drops the field", SOON, async || {
        let kept = kubectl(cluster, &[&try_it[..], &["--namespace", &namespace, "--patch", &tried]].concat()).await;
        if kept.contains("lastStart") { Err(kept) } else { Ok(()) }
    })
    .await
    .unwrap();

    // It is noticed before anything is written.
    let log = || shop.operator.as_ref().unwrap().tail();
    wait_until("the log names the field", SOON, async || {
        let text = log();
        let named = text.contains("does not know Printer.status.lastStart") && text.contains("printernizer crds");
        if named { Ok(()) } else { Err(text) }
    })
    .await
    .unwrap();
    shop.print("early", json!({})).await;
    let waits = |s: &PrintJobStatus| s.conditions.is_true(ConditionType::Accepted);
    let status = shop.job("early", "is accepted", waits).await;
    assert_eq!((status.printer, shop.starts("pz-")), (None, 0), "{}", log());
    Farm::define(cluster).await.unwrap();
    shop.phase("early", Phase::Printing).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.finish_prints();
    shop.phase("early", Phase::Succeeded).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_definitions_are_named_and_make_it_unready_until_they_are_there() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    let mut operator = run(cluster.kubeconfig(), &directory.path().join("cache"))
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    };
    let address = wait_until("it says that the definitions are missing", SOON, async || {
        let lines = lines();
        let told = lines.iter().any(|l| l.to_string().contains("printernizer crds | kubectl apply -f -"));
        let address = lines.iter().find_map(|l| Some(l["address"].as_str()?.to_owned()));
        address.filter(|_| told).ok_or_else(|| format!("{lines:?}"))
    });
    let address = address.await.unwrap();
    let status = async || tokio::time::timeout(SOON, readiness(&address)).await.map_err(|e| e.to_string())?;
    assert_eq!(status().await.unwrap(), 503);
    Farm::define(&cluster).await.unwrap();
    let becomes = async |wanted: u16| {
        wait_until(&format!("/readyz answers {wanted}"), SOON, async || match status().await? {
            found if found == wanted => Ok(()),
            found => Err(found.to_string()),
        })
        .await
        .unwrap_or_else(|e| panic!("{e}\n{}", std::fs::read_to_string(&log).unwrap()));
    };
    becomes(200).await;
    kubectl(&cluster, &["delete", "crd", "printers.printernizer.io"]).await;
    becomes(503).await;
    Farm::define(&cluster).await.unwrap();
    becomes(200).await;
    // Told, but not at every try.
    let told = lines().iter().filter(|l| l.to_string().contains("definitions are missing")).count();
    assert!(told <= 18, "told {told} times");
    signal(&operator, Signal::SIGTERM);
    let ended = tokio::time::timeout(SOON, operator.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}
