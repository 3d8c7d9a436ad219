//! The commands about backups against a real API server. What an operator, a controller manager and a node would write is
//! written by the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ServiceAccount};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use printernizer_crds::BackupPolicy;
use printernizer_crds::backup_policy::CONFIGURATION_VARIABLE;
use printernizer_rules::backup_policy::names::manual_job_name;
use printernizer_simulator::Config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::Bench;

/// The objects of a kind in the bench's namespace.
fn api<K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>>(bench: &Bench) -> Api<K> {
    Api::namespaced(bench.farm.client(), bench.farm.namespace())
}

async fn create<K>(bench: &Bench, object: Value) -> K
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).unwrap();
    api::<K>(bench).create(&PostParams::default(), &object).await.unwrap()
}

async fn status<K>(bench: &Bench, name: &str, status: Value)
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let patch = Patch::Merge(json!({ "status": status }));
    api::<K>(bench).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

fn said(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-22T11:48:00Z" })
}

/// A policy with what an operator would have made of it.
async fn policy(bench: &Bench, name: &str, conditions: Value) -> BackupPolicy {
    let policy = create::<BackupPolicy>(
        bench,
        json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "BackupPolicy", "metadata": { "name": name },
            "spec": {
                "schedule": "@hourly",
                "sources": { "persistentVolumeClaims": [{ "claimName": "models" }], "objects": {} },
                "target": { "persistentVolumeClaim": { "claimName": "backups" } },
                "encryption": { "passwordSecretRef": { "name": "backup", "key": "password" } },
                "retention": { "keepDaily": 30 },
                "objectives": { "recoveryPointSeconds": 3600 },
            },
        }),
    )
    .await;
    let cron_job =
        json!({ "role": "Backup", "name": format!("{name}-backup"), "schedule": "7 * * * *", "timeZone": "Etc/UTC" });
    let known = json!({ "conditions": conditions, "cronJobs": [cron_job], "snapshotCount": 30 });
    status::<BackupPolicy>(bench, name, known).await;
    let labels = json!({ "printernizer.io/backup-policy": name, "printernizer.io/backup-role": "backup" });
    let mut told = json!(policy.spec);
    told["namespace"] = json!(bench.farm.namespace());
    told["policy"] = json!(name);
    create::<CronJob>(
        bench,
        json!({
            "metadata": { "name": format!("{name}-backup") },
            "spec": { "schedule": "7 * * * *", "jobTemplate": { "metadata": { "labels": labels }, "spec": { "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{
                        "name": "backup", "image": "registry.example/backup:1", "args": ["backup"],
                        "env": [{ "name": CONFIGURATION_VARIABLE, "value": told.to_string() }],
                        "volumeMounts": [
                            { "name": "source-0", "mountPath": "/sources/volumes/models" },
                            { "name": "target", "mountPath": "/target" },
                        ],
                    }],
                    "volumes": [
                        { "name": "source-0", "persistentVolumeClaim": { "claimName": "models" } },
                        { "name": "target", "persistentVolumeClaim": { "claimName": "backups" } },
                    ],
                },
            } } } },
        }),
    )
    .await;
    policy
}

async fn trigger(bench: &Bench, name: &str) -> Option<String> {
    api::<BackupPolicy>(bench).get(name).await.unwrap().spec.trigger.and_then(|trigger| trigger.manual)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_could_be_lost_and_has_a_backup_made_now() {
    let bench = Bench::open("backups", Config::prusalink(0)).await;
    bench.run(&["backups"]).await.with(0, &["There are no backup policies in namespace backups-"]);
    bench.run(&["backup-now", "--all"]).await.with(3, &["there are no backup policies"]);
    let late = json!([
        said("Ready", "True", "PolicyReady", "runs"),
        said("RecoveryPointObjectiveMet", "False", "ObjectiveMissed", "five hours could be lost"),
    ]);
    let shop = policy(&bench, "shop", late).await;
    policy(&bench, "files", json!([said("Ready", "False", "SecretNotFound", "create the Secret backup")])).await;
    let table = bench.run(&["backups"]).await.with(0, &["POLICY", "ObjectiveMissed: five hours could be lost"]);
    assert!(table.out.contains("SecretNotFound: create the Secret backup"), "{table:?}");
    bench.run(&["backups", "-A", "-o", "name"]).await.with(0, &["backuppolicy.printernizer.io/shop\n"]);
    let needs = bench.run(&["status"]).await.with(0, &["2 things wait for a person", "backup policy shop"]);
    assert!(needs.out.contains(&bench.proposed("backup-now shop")), "{needs:?}");

    let asked = bench.run(&["backup-now", "shop"]).await.with(0, &[]);
    assert_eq!(asked.out, "backuppolicy.printernizer.io/shop asked for a backup\n");
    let first = trigger(&bench, "shop").await.unwrap();
    bench.run(&["backup-now", "bkp/shop"]).await.with(0, &["asked for a backup already"]);
    assert_eq!(trigger(&bench, "shop").await.as_ref(), Some(&first), "one is on its way");
    bench
        .run(&["backup-now", "files", "nowhere"])
        .await
        .with(1, &["and waits: SecretNotFound", "there is no backup policy nowhere"]);
    bench.run(&["backup-now"]).await.with(2, &["--all"]);

    // The operator takes it, and the run ends; another one in between is not taken for it.
    let ended = |trigger: &str, job: &str, reason: &str| {
        json!({ "lastManualTrigger": trigger, "lastBackup": {
            "jobName": job, "jobUid": job, "reason": reason, "message": "what became of it", "snapshot": "4f2a91c0",
            "startTime": "2026-11-22T12:00:00Z", "endTime": "2026-11-22T12:01:00Z" } })
    };
    let job = |trigger: &str| manual_job_name("shop", &shop.uid().unwrap(), trigger);
    status::<BackupPolicy>(&bench, "shop", ended(&first, "shop-backup-29400000", "Failed")).await;
    for (reason, code, words) in [
        ("Succeeded", 0, "backed up: recovery point 4f2a91c0: what became of it"),
        ("TargetFull", 1, "the backup of shop has failed: TargetFull: what became of it"),
    ] {
        let before = trigger(&bench, "shop").await;
        let operator = async {
            let new = bench
                .until("it is asked for", async || {
                    trigger(&bench, "shop").await.filter(|new| Some(new) != before.as_ref())
                })
                .await;
            status::<BackupPolicy>(&bench, "shop", ended(&new, &job(&new), reason)).await;
        };
        let (told, ()) = tokio::join!(bench.run(&["backup-now", "shop", "--wait", "10m"]), operator);
        told.with(code, &[words]);
    }
    bench.run(&["backup-now", "shop", "--wait", "1s"]).await.with(1, &["has not ended within 1s"]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_into_a_volume_that_nobody_uses_and_tells_its_end() {
    let bench = Bench::open("restore", Config::prusalink(0)).await;
    policy(&bench, "shop", json!([said("Ready", "True", "PolicyReady", "runs")])).await;
    let into = |more: &[&'static str]| [&["restore", "shop", "--volume", "models=new"], more].concat();
    bench.run(&into(&["--yes"])).await.with(1, &["there is no PersistentVolumeClaim new"]);
    let claim = json!({ "metadata": { "name": "new" }, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
    create::<PersistentVolumeClaim>(&bench, claim).await;
    bench.run(&["restore", "shop", "--volume", "models=backups", "--yes"]).await.with(2, &["the backups themselves"]);
    let shown = bench.run(&into(&[])).await.with(2, &["volume models", "volume new", "--yes"]);
    assert!(shown.err.contains("Backups go on meanwhile"), "{shown:?}");

    // Somebody has it.
    let user = json!({ "metadata": { "name": "user" }, "spec": {
        "containers": [{ "name": "a", "image": "registry.example/a" }],
        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "new" } }] } });
    let accounts = api::<ServiceAccount>(&bench);
    bench.until("pods have an account", async || accounts.get_opt("default").await.unwrap()).await;
    create::<Pod>(&bench, user).await;
    bench.run(&into(&["--yes"])).await.with(3, &["in use: new by pod user", "--even-if-mounted"]);
    let jobs = api::<Job>(&bench);
    assert_eq!(jobs.list(&ListParams::default()).await.unwrap().items, [], "nothing was written");
    let printed = bench.run(&into(&["--dry-run"])).await.with(0, &["kind: Job", "mountPath: /restore/new"]);
    assert!(printed.out.contains(bench.farm.namespace()), "{printed:?}");
    status::<Pod>(&bench, "user", json!({ "phase": "Succeeded" })).await;

    let made = bench.run(&into(&["--yes", "-o", "name"])).await.with(0, &["logs -f job/shop-restore-"]);
    let name = made.out.trim().strip_prefix("job.batch/").unwrap().to_owned();
    let job = serde_json::to_value(jobs.get(&name).await.unwrap()).unwrap();
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["args"], json!(["restore", "--point", "latest", "--volume", "models=new"]));
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 2, "the target and the destination: {pod}");
    assert_eq!(job["metadata"]["labels"]["printernizer.io/backup-role"], "restore");
    pod_of(&bench, &name).await;
    bench.run(&into(&["--yes"])).await.with(3, &["in use: new by pod shop-restore-"]);
    ended(&bench, &name, "Succeeded").await;

    for (reason, code, words) in [
        ("Succeeded", 0, "done: 3 files restored"),
        ("NoRecoveryPoint", 1, "has failed: NoRecoveryPoint: 3 files restored"),
    ] {
        let before: Vec<String> = names(&jobs).await;
        let node = async {
            let new = bench
                .until("the Job is there", async || names(&jobs).await.into_iter().find(|name| !before.contains(name)))
                .await;
            ended(&bench, &new, reason).await;
        };
        let waits = into(&["--yes", "--wait", "10m"]);
        let (told, ()) = tokio::join!(bench.run(&waits), node);
        told.with(code, &[words]);
    }
    bench.close().await;
}

async fn names(jobs: &Api<Job>) -> Vec<String> {
    jobs.list(&ListParams::default()).await.unwrap().items.iter().map(ResourceExt::name_any).collect()
}

/// The pod that the controller manager has made of a Job.
async fn pod_of(bench: &Bench, job: &str) -> Pod {
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
    let pods = api::<Pod>(bench);
    bench.until("it has a pod", async || pods.list(&of_job).await.unwrap().items.into_iter().next()).await
}

/// What a node makes of it.
async fn ended(bench: &Bench, job: &str, reason: &str) {
    let pod = pod_of(bench, job).await;
    let report = json!({ "role": "Restore", "reason": reason, "message": "3 files restored",
        "startTime": "2026-11-22T12:00:00Z", "endTime": "2026-11-22T12:00:01Z" });
    let good = reason == "Succeeded";
    let container = json!({ "name": "backup", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": i32::from(!good), "message": report.to_string() } } });
    let phase = if good { "Succeeded" } else { "Failed" };
    status::<Pod>(bench, &pod.name_any(), json!({ "phase": phase, "containerStatuses": [container] })).await;
}
