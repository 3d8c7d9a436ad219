//! A policy and what Kubernetes holds of it, as plain data; effects of a decision are carried out in it, so that each test goes
//! on from what the rules themselves have made.

mod bad_input;
mod damage;
mod losses;
mod objectives;
mod objects;
mod reports;
mod schedules;
mod targets;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use printernizer_crds::backup_policy::{BackupPolicyStatus, Report, Role, RunReason};
use printernizer_crds::{BackupPolicy, ConditionType, Conditions as _, Reason};
use serde_json::{Value, json};

use super::needs::{ClaimFacts, Found, SecretFacts};
use super::{Access, Effect, Image, Observed, Plan, decide};
use crate::testing::documented::assert_documented;

pub const UID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
/// A Sunday, at nine in Berlin.
pub const START: &str = "2026-11-22T08:00:00Z";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn secs(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

/// Everything a decision depends on.
#[derive(Clone, Debug)]
pub struct Scene {
    pub policy: BackupPolicy,
    pub image: Option<Image>,
    pub cron_jobs: Vec<CronJob>,
    pub jobs: Vec<Job>,
    pub pods: Vec<Pod>,
    pub access: Access,
    pub found: Found,
    pub now: Timestamp,
    ids: u32,
    begun: u32,
}

/// A policy of a volume, to a bucket, nightly at three; with what is merged into its spec.
pub fn scene(spec: &Value) -> Scene {
    let mut object = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "BackupPolicy",
        "metadata": { "name": "farm", "namespace": "shop", "uid": UID, "generation": 1, "creationTimestamp": START },
        "spec": {
            "schedule": "0 3 * * *",
            "sources": { "persistentVolumeClaims": [{ "claimName": "files" }] },
            "target": { "s3": { "bucket": "backups", "credentialsSecretRef": { "name": "target" } } },
            "encryption": { "passwordSecretRef": { "name": "password", "key": "password" } },
            "retention": { "keepDaily": 30, "pruneSchedule": "0 5 * * 0" },
        },
    });
    merge(&mut object["spec"], spec);
    let secret = |keys: &[&str]| {
        Some(SecretFacts { usage: Some("backup".into()), keys: keys.iter().map(|k| (*k).to_owned()).collect() })
    };
    let mut found = Found::default();
    found.secrets.insert("target".into(), secret(&["accessKeyID", "secretAccessKey"]));
    found.secrets.insert("password".into(), secret(&["password"]));
    found.claims.insert("files".into(), Some(claim("ReadWriteMany")));
    Scene {
        policy: serde_json::from_value(object).unwrap(),
        image: Some(Image { name: "backup:1".into(), pull_policy: "IfNotPresent".into() }),
        cron_jobs: Vec::new(),
        jobs: Vec::new(),
        pods: Vec::new(),
        access: Access::default(),
        found,
        now: at(START),
        ids: 0,
        begun: 0,
    }
}

pub fn claim(mode: &str) -> ClaimFacts {
    ClaimFacts { access_modes: BTreeSet::from([mode.to_owned()]), ..ClaimFacts::default() }
}

/// A JSON merge patch.
pub fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (name, field) in fields {
                if field.is_null() {
                    into.as_object_mut().unwrap().remove(name);
                } else {
                    merge(&mut into[name], field);
                }
            }
        }
        other => *into = other.clone(),
    }
}

impl Scene {
    /// Changes the spec as a person does.
    pub fn write(&mut self, spec: &Value) {
        let mut object = serde_json::to_value(&self.policy).unwrap();
        merge(&mut object["spec"], spec);
        self.policy = serde_json::from_value(object).unwrap();
        self.policy.metadata.generation = self.policy.metadata.generation.map(|g| g + 1);
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now += secs(seconds);
    }

    /// Decides, and changes nothing.
    pub fn decide(&self) -> Plan {
        let id = format!("id-{}", self.ids);
        decide(&Observed {
            policy: &self.policy,
            image: self.image.as_ref(),
            cron_jobs: &self.cron_jobs,
            jobs: &self.jobs,
            pods: &self.pods,
            access: &self.access,
            found: &self.found,
            fresh_id: &id,
            now: self.now,
        })
    }

    /// Decides, carries it out as Kubernetes does, and sees that then nothing is left to do.
    pub fn look(&mut self) -> Plan {
        let plan = self.decide();
        self.ids += 1;
        for effect in plan.effects.clone() {
            self.carry_out(effect);
        }
        if plan.effects.iter().any(|effect| matches!(effect, Effect::DeleteCronJob(_))) {
            // Its Jobs go with it, which is seen again.
            let then = self.decide();
            assert!(matches!(then.effects.as_slice(), [] | [Effect::WriteStatus(_)]), "{then:?}");
            then.effects.into_iter().for_each(|effect| self.carry_out(effect));
        }
        let then = self.decide();
        assert_eq!(then.effects, [], "a second look writes again");
        assert_documented("BackupPolicy", &ready(&self.status()));
        plan
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::ApplyAccount(object) => self.access.account = Some(*object),
            Effect::ApplyRole(object) => self.access.role = Some(*object),
            Effect::ApplyBinding(object) => self.access.binding = Some(*object),
            Effect::ApplyCronJob(object) => {
                let name = object.metadata.name.clone();
                let old = self.cron_jobs.iter().position(|c| c.metadata.name == name);
                let mut new = *object;
                // What the API server adds.
                new.metadata.uid = Some(format!("uid of {}", name.unwrap()));
                new.metadata.resource_version = Some("7".into());
                new.spec.job_template.spec.as_mut().unwrap().completions = Some(1);
                match old {
                    Some(old) => {
                        new.status = self.cron_jobs[old].status.clone();
                        self.cron_jobs[old] = new;
                    }
                    None => self.cron_jobs.push(new),
                }
            }
            Effect::Suspend(name) => self.cron_job_mut(&name).spec.suspend = Some(true),
            Effect::CreateJob(job) => {
                let mut job = *job;
                job.metadata.uid = Some(format!("uid of {}", job.metadata.name.as_deref().unwrap()));
                assert!(!self.jobs.iter().any(|j| j.metadata.name == job.metadata.name), "made twice");
                self.jobs.push(job);
            }
            Effect::WriteStatus(status) => self.policy.status = Some(*status),
            Effect::DeleteCronJob(c) => {
                self.cron_jobs.retain(|other| other.metadata.uid != c.metadata.uid);
                self.jobs.retain(|job| super::runs::controller_of(&job.metadata) != c.metadata.uid.as_deref());
            }
        }
    }

    pub fn cron_job(&self, name: &str) -> &CronJob {
        self.cron_jobs.iter().find(|c| c.metadata.name.as_deref() == Some(name)).unwrap()
    }

    pub fn cron_job_mut(&mut self, name: &str) -> &mut CronJob {
        self.cron_jobs.iter_mut().find(|c| c.metadata.name.as_deref() == Some(name)).unwrap()
    }

    pub fn status(&self) -> BackupPolicyStatus {
        self.policy.status.clone().unwrap_or_default()
    }

    pub fn says(&self, type_: ConditionType) -> (String, String, String) {
        let condition = self.status().conditions.condition(type_).unwrap().clone();
        (condition.status, condition.reason, condition.message)
    }

    #[track_caller]
    pub fn assert_says(&self, type_: ConditionType, status: &str, reason: Reason) -> String {
        let (is, why, text) = self.says(type_);
        assert_eq!((is.as_str(), why.as_str()), (status, reason.as_str()), "{type_}: {text}");
        text
    }

    /// A Job of a CronJob begins now: as the CronJob controller makes it.
    pub fn begin(&mut self, cron_job: &str) -> String {
        let now = self.now;
        self.begun += 1;
        let name = format!("{cron_job}-{}", self.begun);
        let of = self.cron_job_mut(cron_job);
        of.status.get_or_insert_default().last_schedule_time = Some(time(now));
        let mut job = json!({ "metadata": of.spec.job_template.metadata, "spec": of.spec.job_template.spec });
        job["metadata"]["name"] = json!(name);
        job["metadata"]["uid"] = json!(format!("uid of {name}"));
        job["metadata"]["ownerReferences"] = json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": cron_job, "uid": of.metadata.uid, "controller": true }]);
        job["status"] = json!({ "startTime": time(now), "active": 1 });
        self.jobs.push(serde_json::from_value(job).unwrap());
        name
    }

    /// The Job ends now, with a pod that left this message.
    pub fn end_with(&mut self, job: &str, good: bool, message: Option<&str>) {
        let now = time(self.now);
        let found = self.jobs.iter_mut().find(|j| j.metadata.name.as_deref() == Some(job)).unwrap();
        let status = found.status.get_or_insert_default();
        status.start_time.get_or_insert(now.clone());
        let (type_, reason) =
            if good { ("Complete", "CompletionsReached") } else { ("Failed", "BackoffLimitExceeded") };
        let conditions = json!([{ "type": type_, "status": "True", "reason": reason, "message": "of the Job", "lastTransitionTime": now }]);
        status.conditions = Some(serde_json::from_value(conditions).unwrap());
        status.completion_time = good.then(|| now.clone());
        let code = i32::from(!good);
        self.pod(
            job,
            &json!({ "phase": if good { "Succeeded" } else { "Failed" }, "containerStatuses": [{
            "name": "backup", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": code, "finishedAt": now, "message": message } },
        }] }),
        );
    }

    /// Kubernetes, or kubectl, says something of a Job.
    pub fn annotate(&mut self, job: &str, name: &str, value: &str) {
        let job = self.jobs.iter_mut().find(|j| j.metadata.name.as_deref() == Some(job)).unwrap();
        job.metadata.annotations.get_or_insert_default().insert(name.to_owned(), value.to_owned());
    }

    /// A pod of a Job with this status.
    pub fn pod(&mut self, job: &str, status: &Value) {
        let uid = self.jobs.iter().find(|j| j.metadata.name.as_deref() == Some(job)).unwrap().metadata.uid.clone();
        let name = format!("{job}-{}", self.pods.len());
        self.pods.push(
            serde_json::from_value(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": name, "creationTimestamp": time(self.now), "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid, "controller": true }] },
                "status": status,
            }))
            .unwrap(),
        );
    }

    /// A run of a CronJob that takes ten minutes and ends so.
    pub fn run(&mut self, cron_job: &str, reason: RunReason) -> String {
        let job = self.begin(cron_job);
        let begun = self.now;
        self.pass(600);
        self.end(&job, begun, reason);
        job
    }

    /// The same, with what is merged into its report.
    pub fn run_that_says(&mut self, cron_job: &str, reason: RunReason, more: &Value) -> String {
        let job = self.begin(cron_job);
        let begun = self.now;
        self.pass(600);
        self.end_saying(&job, begun, reason, more);
        job
    }

    /// The Job that began then ends now.
    pub fn end(&mut self, job: &str, begun: Timestamp, reason: RunReason) {
        self.end_saying(job, begun, reason, &json!({}));
    }

    /// The same, with what is merged into its report.
    pub fn end_saying(&mut self, job: &str, begun: Timestamp, reason: RunReason, more: &Value) {
        let role =
            super::runs::role_of(&self.jobs.iter().find(|j| j.metadata.name.as_deref() == Some(job)).unwrap().metadata);
        let mut report = serde_json::to_value(report(role.unwrap(), reason, begun, self.now)).unwrap();
        merge(&mut report, more);
        self.end_with(job, reason == RunReason::Succeeded, Some(&report.to_string()));
    }
}

pub fn time(moment: Timestamp) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(moment)
}

/// The report of a run.
pub fn report(role: Role, reason: RunReason, begun: Timestamp, ended: Timestamp) -> Report {
    use RunReason::{CopyFailed, NoRecoveryPoint, RepositoryDamaged, RestoreDiffers, Succeeded};
    // Whoever did not get as far as the repository knows nothing of it.
    let looked = matches!(reason, Succeeded | CopyFailed | RestoreDiffers | RepositoryDamaged | NoRecoveryPoint);
    let repository = looked.then(|| {
        json!({ "id": "repository-1", "snapshotCount": 5, "oldestRecoveryPoint": "2026-11-01T02:00:00Z",
            "newestRecoveryPoint": time(begun), "sizeBytes": 5000 })
    });
    serde_json::from_value(json!({
        "role": role, "reason": reason, "message": "as reported", "startTime": time(begun), "endTime": time(ended),
        "snapshot": "0a1b2c3d", "bytes": 1000, "bytesChanged": 10,
        "restoreSeconds": if role == Role::RestoreDrill { Some(600) } else { None },
        "recoveryPointTime": if role == Role::RestoreDrill { Some("2026-11-22T02:00:00Z") } else { None },
        "repository": repository,
    }))
    .unwrap()
}

/// Conditions that repeat no other one's reason.
fn ready(status: &BackupPolicyStatus) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    status.conditions.iter().filter(|c| c.type_ == "Ready").cloned().collect()
}

/// What a plan does, beside writing the status.
pub fn done(plan: &Plan) -> Vec<String> {
    let name = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| meta.name.clone().unwrap();
    plan.effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::ApplyAccount(o) => Some(format!("apply ServiceAccount {}", name(&o.metadata))),
            Effect::ApplyRole(o) => Some(format!("apply Role {}", name(&o.metadata))),
            Effect::ApplyBinding(o) => Some(format!("apply RoleBinding {}", name(&o.metadata))),
            Effect::ApplyCronJob(o) => Some(format!("apply {}", name(&o.metadata))),
            Effect::Suspend(name) => Some(format!("suspend {name}")),
            Effect::CreateJob(o) => Some(format!("create {}", name(&o.metadata))),
            Effect::DeleteCronJob(o) => Some(format!("delete {}", name(&o.metadata))),
            Effect::WriteStatus(_) => None,
        })
        .collect()
}
