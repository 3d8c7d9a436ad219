//! Runs of a policy: how they are begun, and their ends waited for.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use printernizer_crds::backup_policy::{POLICY_LABEL, RunReason, RunStatus};
use printernizer_rules::backup_policy::names::manual_job_name;
use serde_json::Value;

use super::super::super::NodeError;
use super::super::jobs::FARM;
use super::super::{RECOVERY, Trial};
use super::yard::Yard;
use crate::wait_until;

impl Trial {
    /// The pods of a policy's runs.
    async fn run_pods(&self, policy: &str) -> Result<Vec<Pod>, NodeError> {
        let pods: Api<Pod> = Api::namespaced(self.node.cluster().client().await?, FARM);
        Ok(pods.list(&ListParams::default().labels(&format!("{POLICY_LABEL}={policy}"))).await?.items)
    }

    /// Waits until the newest pod of a policy runs, or has run, since no other does any more; gives it.
    pub(super) async fn pod_runs(&self, policy: &str) -> Result<Pod, NodeError> {
        let what = format!("a pod of {policy} to run");
        let found = wait_until(&what, RECOVERY, async || {
            let pods = self.run_pods(policy).await.map_err(|error| error.to_string())?;
            let newest = pods.into_iter().max_by_key(|pod| pod.metadata.creation_timestamp.clone().map(|time| time.0));
            let status = newest.as_ref().and_then(|pod| pod.status.clone()).unwrap_or_default();
            let begun = status.container_statuses.iter().flatten().filter_map(|of| of.state.as_ref());
            let runs = begun.into_iter().any(|state| state.running.is_some() || state.terminated.is_some());
            newest.filter(|_| runs).ok_or(format!("{:?}", status.phase))
        });
        Ok(found.await?)
    }

    /// Asks for a backup, and waits for its end, which must be good, or bad.
    pub(super) async fn backup(&self, policy: &str, good: bool) -> Result<RunStatus, NodeError> {
        self.plugin(&["backup-now", policy]).await?;
        self.run_status(policy, good).await
    }

    /// Waits for the end of the backup that a person asked for last; in words.
    pub(super) async fn run_ended(&self, policy: &str, good: bool) -> Result<String, NodeError> {
        let run = self.run_status(policy, good).await?;
        Ok(format!("{:?}: {}", run.reason, run.message))
    }

    pub(super) async fn run_status(&self, policy: &str, good: bool) -> Result<RunStatus, NodeError> {
        let what = format!("the backup of {policy} to end");
        let found = wait_until(&what, RECOVERY, async || {
            let now = self.policy(policy).await.map_err(|error| error.to_string())?;
            let status = now.status.unwrap_or_default();
            let asked = now.spec.trigger.and_then(|trigger| trigger.manual);
            let begun = asked.is_some() && asked == status.last_manual_trigger;
            let uid = now.metadata.uid.unwrap_or_default();
            let job = manual_job_name(policy, &uid, asked.as_deref().unwrap_or_default());
            match status.last_backup {
                Some(run) if begun && run.job_name == job => Ok(run),
                other => Err(format!("asked for {asked:?}, of which {job} is to be; last is {other:?}")),
            }
        });
        let run = found.await?;
        if (run.reason == RunReason::Succeeded) == good {
            return Ok(run);
        }
        let wanted = if good { "be good" } else { "fail" };
        Err(NodeError::Wrong(format!("the backup of {policy} was to {wanted}: {run:?}")))
    }

    /// Makes a Job of the CronJob of a role, as a person does who cannot wait; gives its name.
    pub(super) async fn role_begins(&self, policy: &str, role: &str, end: &str) -> Result<String, NodeError> {
        let name = format!("{policy}-{role}-{end}");
        let from = format!("--from=cronjob/{policy}-{role}");
        self.kubectl(&["--namespace", FARM, "create", "job", &name, &from]).await?;
        Ok(name)
    }

    /// Does that, and waits until it has done its work.
    pub(super) async fn role_run(&self, policy: &str, role: &str, end: &str) -> Result<(), NodeError> {
        let name = self.role_begins(policy, role, end).await?;
        self.job_succeeds(&name).await
    }

    /// Waits until a Job is complete.
    pub(super) async fn job_succeeds(&self, name: &str) -> Result<(), NodeError> {
        let jobs: Api<Job> = Api::namespaced(self.node.cluster().client().await?, FARM);
        wait_until(&format!("the Job {name} to succeed"), RECOVERY, async || {
            let status = jobs.get(name).await.map_err(|error| error.to_string())?.status.unwrap_or_default();
            if status.succeeded == Some(1) { Ok(()) } else { Err(format!("{:?}", status.conditions)) }
        })
        .await?;
        Ok(())
    }

    /// How many pods a policy's newest run has had.
    pub(super) async fn pods_of_newest(&self, policy: &str) -> Result<usize, NodeError> {
        let pods = self.run_pods(policy).await?;
        let job = |pod: &Pod| pod.labels().get("batch.kubernetes.io/job-name").cloned();
        let newest = pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.clone().map(|time| time.0));
        match newest.and_then(job) {
            Some(newest) => self.pods_of(policy, &newest).await,
            None => Ok(0),
        }
    }

    /// How many pods this run of a policy has had.
    pub(super) async fn pods_of(&self, policy: &str, job: &str) -> Result<usize, NodeError> {
        let of = |pod: &Pod| pod.labels().get("batch.kubernetes.io/job-name").is_some_and(|name| name == job);
        Ok(self.run_pods(policy).await?.iter().filter(|pod| of(pod)).count())
    }
}

impl Yard {
    /// The recovery points that stock restic finds, the oldest first.
    pub(super) async fn points(&self, policy: &str) -> Result<Vec<String>, NodeError> {
        let host = format!("{policy}.{FARM}");
        let arguments = ["snapshots", "--no-lock", "--json", "--host", &host, "--tag", "manifest"];
        let said = self.by_hand(policy, &arguments).await?;
        points(&said).map_err(|error| NodeError::Wrong(format!("{error}: {said}")))
    }

    /// Every one of these is there still.
    pub(super) async fn still_has(&self, policy: &str, before: &[String]) -> Result<Vec<String>, NodeError> {
        let now = self.points(policy).await?;
        let lost: BTreeSet<&String> = before.iter().filter(|point| !now.contains(point)).collect();
        if lost.is_empty() { Ok(now) } else { Err(NodeError::Wrong(format!("{policy} has lost {lost:?}: {now:?}"))) }
    }
}

fn points(said: &str) -> Result<Vec<String>, serde_json::Error> {
    let snapshots: Vec<Value> = serde_json::from_str(said)?;
    let run = |snapshot: &Value| {
        let mut tags = snapshot["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        tags.find_map(|tag| tag.strip_prefix("run=")).map(str::to_owned)
    };
    Ok(snapshots.iter().filter_map(run).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_from_the_tags_of_manifests() {
        let said =
            r#"[{"tags":["run=a-1","manifest","parts=2"]},{"tags":["other"]},{},{"tags":["manifest","run=b-2"]}]"#;
        assert_eq!(points(said).unwrap(), ["a-1", "b-2"]);
        assert!(points("Fatal: no repository").is_err());
    }
}
