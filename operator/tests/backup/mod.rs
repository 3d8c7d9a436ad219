//! A namespace with what a policy backs up, and the part of Kubernetes that no control plane has: a kubelet that lets pods end
//! as a test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use printernizer_crds::backup_policy::BackupPolicyStatus;
use printernizer_crds::{BackupPolicy, ConditionType, Conditions as _, Reason};
use printernizer_e2e::wait_until;
use serde_json::{Value, json};

use crate::support::{SOON, Shop};

/// The image, which nobody ever pulls.
pub const IMAGE: &str = "--backup-image=registry.example.com/printernizer-backup:test";

/// A namespace with policies, beside whatever else is in it.
pub struct Yard<'a> {
    shop: &'a Shop,
}

impl<'a> Yard<'a> {
    pub fn of(shop: &'a Shop) -> Self {
        Self { shop }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.shop.farm.client(), self.shop.farm.namespace())
    }

    /// The Secrets and the volume a policy names, as [`policy`] does.
    pub async fn furnish(&self) {
        self.secret("backup-target", json!({ "accessKeyID": "a", "secretAccessKey": "b" })).await;
        self.secret("backup-password", json!({ "password": "c" })).await;
        self.volume("files", "ReadWriteOnce").await;
    }

    pub async fn secret(&self, name: &str, data: Value) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "labels": { "printernizer.io/usage": "backup" } }, "stringData": data,
        });
        let secret: Secret = serde_json::from_value(secret).unwrap();
        self.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    }

    pub async fn volume(&self, name: &str, mode: &str) {
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name },
            "spec": { "accessModes": [mode], "storageClassName": "none", "resources": { "requests": { "storage": "1Gi" } } },
        });
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
        self.api::<PersistentVolumeClaim>().create(&PostParams::default(), &claim).await.unwrap();
    }

    /// Writes a policy of the volume and the printers, to a bucket, nightly at three.
    pub async fn policy(&self, name: &str, more: &Value) -> BackupPolicy {
        let mut policy = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "BackupPolicy", "metadata": { "name": name },
            "spec": {
                "schedule": "0 3 * * *",
                "sources": { "persistentVolumeClaims": [{ "claimName": "files" }] },
                "target": { "s3": { "bucket": "backups", "credentialsSecretRef": { "name": "backup-target" } } },
                "encryption": { "passwordSecretRef": { "name": "backup-password", "key": "password" } },
                "retention": { "keepDaily": 30 },
            },
        });
        for (field, value) in more.as_object().unwrap() {
            policy["spec"][field] = value.clone();
        }
        let policy: BackupPolicy = serde_json::from_value(policy).unwrap();
        self.api::<BackupPolicy>().create(&PostParams::default(), &policy).await.unwrap()
    }

    /// Changes its spec as a person does.
    pub async fn write(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.api::<BackupPolicy>().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until the status of a policy is as wanted.
    pub async fn status(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&BackupPolicyStatus) -> bool,
    ) -> BackupPolicyStatus {
        let api = self.api::<BackupPolicy>();
        let what = format!("{name} {what}");
        let found = wait_until(&what, SOON, async || {
            let policy = api.get(name).await.map_err(|e| e.to_string())?;
            let status = policy.status.unwrap_or_default();
            // What was decided on an older spec says nothing of this one.
            let current = status.observed_generation == policy.metadata.generation;
            if current && wanted(&status) { Ok(status) } else { Err(format!("{status:?}")) }
        });
        let log = || self.shop.operator.as_ref().map(printernizer_e2e::farm::Operator::tail).unwrap_or_default();
        found.await.unwrap_or_else(|e| panic!("{e}\n--- log\n{}", log()))
    }

    /// Waits until the condition of a policy has this status and reason; gives its message.
    pub async fn says(&self, name: &str, type_: ConditionType, status: &str, reason: Reason) -> String {
        let is = |s: &BackupPolicyStatus| {
            s.conditions.condition(type_).is_some_and(|c| c.status == status && c.reason == reason.as_str())
        };
        let found = self.status(name, &format!("says {type_}={status} {reason}"), is).await;
        found.conditions.condition(type_).unwrap().message.clone()
    }

    /// The CronJobs there are, by name.
    pub async fn cron_jobs(&self) -> Vec<CronJob> {
        let mut all = self.api::<CronJob>().list(&ListParams::default()).await.unwrap().items;
        all.sort_by_key(|c| c.metadata.name.clone());
        all
    }

    pub async fn jobs(&self) -> Vec<Job> {
        self.api::<Job>().list(&ListParams::default()).await.unwrap().items
    }

    /// The Job of a run that a person asked for with this text.
    pub async fn asked_for(&self, name: &str, trigger: &str) -> Job {
        self.write(name, json!({ "trigger": { "manual": trigger } })).await;
        self.status(name, "has begun what was asked for", |s| s.last_manual_trigger.as_deref() == Some(trigger)).await;
        let mut jobs = self.jobs().await;
        jobs.sort_by_key(|job| job.metadata.creation_timestamp.as_ref().map(|t| t.0));
        jobs.retain(|job| job.status.as_ref().is_none_or(|s| s.completion_time.is_none()));
        jobs.pop().expect("a Job that runs")
    }

    /// Makes a Job of a CronJob, as `kubectl create job --from` does.
    pub async fn by_hand(&self, cron_job: &str, name: &str) -> String {
        let of = self.api::<CronJob>().get(cron_job).await.unwrap();
        let mut job = json!({ "metadata": of.spec.job_template.metadata, "spec": of.spec.job_template.spec });
        job["metadata"]["name"] = json!(name);
        job["metadata"]["annotations"] = json!({ "cronjob.kubernetes.io/instantiate": "manual" });
        job["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "batch/v1", "kind": "CronJob", "name": cron_job, "uid": of.metadata.uid, "controller": true,
        }]);
        let job: Job = serde_json::from_value(job).unwrap();
        self.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
        name.to_owned()
    }

    /// The pod of a Job ends as a kubelet would let it: with this exit code and message.
    pub async fn end_pod_of(&self, job: &str, code: i32, report: &Value) {
        let pods = self.api::<Pod>();
        let of = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
        let what = format!("{job} has a pod");
        let pod = wait_until(&what, SOON, async || {
            let found = pods.list(&of).await.map_err(|e| e.to_string())?.items;
            let waits = |pod: &Pod| pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Pending"));
            found.into_iter().find(waits).and_then(|pod| pod.metadata.name).ok_or("none that waits".to_owned())
        });
        let name = pod.await.unwrap();
        let now = Timestamp::now().to_string();
        let status = json!({ "status": {
            "phase": if code == 0 { "Succeeded" } else { "Failed" },
            "containerStatuses": [{
                "name": "backup", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": code, "reason": "Completed", "startedAt": now, "finishedAt": now, "message": report.to_string() } },
            }],
        } });
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }
}

/// A report as the program in the pods writes it.
pub fn report(role: &str, reason: &str, began: Timestamp) -> Value {
    let facts = json!({
        "id": "repository-1", "snapshotCount": 7, "oldestRecoveryPoint": "2026-11-01T02:00:00Z",
        "newestRecoveryPoint": began.to_string(), "sizeBytes": 5000,
    });
    json!({
        "role": role, "reason": reason, "message": "as reported", "startTime": began.to_string(),
        "endTime": Timestamp::now().to_string(), "snapshot": "0a1b2c3d", "bytes": 1000, "bytesChanged": 10,
        "repository": if reason == "Succeeded" { facts } else { Value::Null },
    })
}
