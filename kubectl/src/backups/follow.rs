//! Waiting for what a cluster does in its own time: a policy's run, a Job's pod; and what that pod has said.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::wait::{Error as WaitError, await_condition};
use kube::{Api, ResourceExt};
use printernizer_crds::BackupPolicy;
use printernizer_crds::backup_policy::Report;

use crate::cluster::{Cluster, Object};
use crate::error::Error;
use crate::run::Session;

/// The object once it is as wanted, or `None` where it is not in time.
async fn until<K: Object>(
    cluster: &Cluster,
    name: &str,
    limit: Duration,
    wanted: impl Fn(&K) -> bool,
) -> Result<Option<K>, Error> {
    let api: Api<K> = Api::namespaced(cluster.client(), cluster.namespace());
    let is = |object: Option<&K>| object.is_none_or(&wanted);
    match tokio::time::timeout(limit, await_condition(api, name, is)).await {
        Ok(Ok(Some(object))) => Ok(Some(object)),
        Ok(Ok(None)) => Err(Error::NotNow(format!("{} {name} was deleted meanwhile", K::WORD))),
        Ok(Err(WaitError::ProbeFailed(source))) => {
            Err(Error::Unwatched { what: format!("{} {name}", K::WORD), source: Box::new(source) })
        }
        Err(_) => Ok(None),
    }
}

/// The policy once it is as wanted.
pub(super) async fn policy(
    session: &Session<'_>,
    policy: &BackupPolicy,
    limit: Duration,
    wanted: impl Fn(&BackupPolicy) -> bool,
) -> Result<Option<BackupPolicy>, Error> {
    until(&session.cluster, &policy.name_any(), limit, wanted).await
}

/// What a Job says of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Complete,
    /// With why.
    Failed(String),
}

/// How a Job ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// What its pod reported.
    pub(super) report: Option<Report>,
    /// Whether the Job is complete; if not, why it failed.
    pub(super) failed: Option<String>,
    /// The pod, where there is one.
    pub(super) pod: Option<String>,
}

/// Waits for the end of a Job; `None` where it does not come in time.
pub(super) async fn job(session: &Session<'_>, name: &str, limit: Duration) -> Result<Option<Ended>, Error> {
    let Some(job) = until::<Job>(&session.cluster, name, limit, |job| end_of(job).is_some()).await? else {
        return Ok(None);
    };
    let pods = pods(session, name).await?;
    let newest = pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.clone().map(|time| time.0));
    let failed = match end_of(&job) {
        Some(End::Failed(why)) => Some(why),
        _ => None,
    };
    Ok(Some(Ended { report: newest.and_then(report), failed, pod: newest.map(ResourceExt::name_any) }))
}

/// How the Job has ended, if it has.
fn end_of(job: &Job) -> Option<End> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.status == "True").find_map(|condition| match condition.type_.as_str() {
        "Complete" => Some(End::Complete),
        "Failed" => Some(End::Failed(
            [&condition.reason, &condition.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": "),
        )),
        _ => None,
    })
}

async fn pods(session: &Session<'_>, job: &str) -> Result<Vec<Pod>, Error> {
    session.cluster.list(false, Some(&format!("batch.kubernetes.io/job-name={job}"))).await
}

/// What the pod has reported at its end.
fn report(pod: &Pod) -> Option<Report> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let message = statuses.iter().find_map(|status| status.state.as_ref()?.terminated.as_ref()?.message.as_ref())?;
    serde_json::from_str(message).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_has_ended_when_it_says_so_and_not_when_its_pod_has_failed_once() {
        let with = |type_: &str, status: &str| -> Job {
            serde_json::from_value(json!({ "status": { "failed": 1, "conditions": [
                { "type": type_, "status": status, "reason": "DeadlineExceeded", "message": "too long" }] } }))
            .unwrap()
        };
        assert_eq!(end_of(&with("Complete", "True")), Some(End::Complete));
        assert_eq!(end_of(&with("Failed", "True")), Some(End::Failed("DeadlineExceeded: too long".to_owned())));
        assert_eq!(end_of(&with("FailureTarget", "True")), None);
        assert_eq!(end_of(&with("Complete", "False")), None);
        assert_eq!(end_of(&Job::default()), None);
    }

    #[test]
    fn the_report_of_a_pod_is_its_termination_message() {
        let with = |message: &str| -> Pod {
            serde_json::from_value(json!({ "status": { "containerStatuses": [{
                "name": "backup", "ready": false, "restartCount": 0, "image": "x", "imageID": "x",
                "state": { "terminated": { "exitCode": 1, "message": message } },
            }] } }))
            .unwrap()
        };
        let said = json!({ "role": "Restore", "reason": "NoRecoveryPoint", "message": "there is none",
                           "startTime": "2026-11-22T12:00:00Z", "endTime": "2026-11-22T12:00:01Z" });
        assert_eq!(report(&with(&said.to_string())).unwrap().message, "there is none");
        assert!(report(&with("Killed")).is_none() && report(&Pod::default()).is_none());
    }
}
