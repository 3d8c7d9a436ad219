//! What happens only now and then in a farm, so that today's operator uses every right it is given; and the comparison of
//! both, by the audit of the API server.

use std::collections::BTreeSet;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use printernizer_crds::{PrintJob, PrintRecord};
use serde_json::{Value, json};

use super::super::NodeError;
use super::helm::{NAMESPACE, RELEASE};
use super::jobs::{self, FARM};
use super::{RECOVERY, Trial, judge};
use crate::{old_record, rights, wait_until};

/// A printer that is taken out of the farm and put back.
const TAKEN_OUT: &str = "a1-4";
/// A job that a Git tool has made.
const TRACKED: &str = "cable-clip-1";
/// The label by which it says so.
const TRACKED_BY: (&str, &str) = ("argocd.argoproj.io/instance", "farm");
/// A job that is deleted as soon as it has ended.
const BRIEF: &str = "brief";

/// The resources that only backups are for: what a course without the errands here has to use all the same.
const OF_BACKUPS: [&str; 9] = [
    "backuppolicies.printernizer.io/",
    "backuppolicies.printernizer.io/status",
    "cronjobs.batch/",
    "jobs.batch/",
    "persistentvolumeclaims./",
    "pods./",
    "rolebindings.rbac.authorization.k8s.io/",
    "roles.rbac.authorization.k8s.io/",
    "serviceaccounts./",
];

/// Which rights a course must have used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// All.
    All,
    /// Those that only backups are for.
    OfBackups,
}

impl Trial {
    /// Before today's operator is installed: nobody has led here, and a record is left of a print of long ago. Gives the number
    /// of requests until then.
    pub(super) async fn errands_before(&self) -> Result<usize, NodeError> {
        let client = self.node.cluster().client().await?;
        let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
        leases.delete(RELEASE, &DeleteParams::default()).await?;
        old_record(client, FARM).await?;
        Ok(self.requests()?.len())
    }

    /// None of these requests, after so many others, was refused.
    pub(super) fn nothing_was_refused(&self, after: usize) -> Result<(), NodeError> {
        match self.requests()?.iter().skip(after).find(|request| request["responseStatus"]["code"] == 403) {
            Some(request) => Err(NodeError::Wrong(format!(
                "the operator was refused {} {}: the chart gives too few rights",
                request["verb"], request["requestURI"]
            ))),
            None => Ok(()),
        }
    }

    /// What the operator has asked for until now.
    fn requests(&self) -> Result<Vec<Value>, NodeError> {
        let path = self.node.audit_log();
        rights::requests(&path).map_err(NodeError::file("read", &path))
    }

    /// While nothing prints: a printer is taken out of the farm and put back, and a job comes that is not to stay. Gives it.
    pub(super) async fn errands(&self) -> Result<PrintJob, NodeError> {
        // kubectl waits until it is gone.
        self.kubectl(&["--namespace", FARM, "delete", "printer", TAKEN_OUT]).await?;
        self.apply_examples().await?;
        let is_job = |object: &Value| object["kind"] == "PrintJob" && object["metadata"]["name"] == TRACKED;
        let brief = jobs::list(&self.examples, |object| is_job(object).then(|| brief(object)));
        jobs::apply(self.node.cluster(), &brief).await?;
        Ok(self.jobs.get(BRIEF).await?)
    }

    /// What must have come of it when all have printed.
    pub(super) async fn errands_done(&self, brief: &PrintJob, end: &str) -> Result<(), NodeError> {
        wait_until("the job that was not to stay to be deleted", RECOVERY, async || {
            match self.jobs.get_opt(BRIEF).await.map_err(|error| error.to_string())? {
                Some(job) => Err(crate::farm::in_short(&job)),
                None => Ok(()),
            }
        })
        .await?;
        let count = judge::starts(brief, &self.machines.ledger().await?);
        if count != 1 {
            return Err(NodeError::Wrong(format!("{BRIEF} was started {count} times")));
        }
        let records: Api<PrintRecord> = Api::namespaced(self.node.cluster().client().await?, FARM);
        let tracked = format!("{TRACKED}{end}");
        wait_until("the record of the tracked job to be complete, and the old one deleted", RECOVERY, async || {
            let all = records.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
            let is_complete = |record: &PrintRecord| record.status.as_ref().is_some_and(|s| s.end_time.is_some());
            let complete = all.iter().any(|record| record.spec.name == tracked && is_complete(record));
            let old = all.iter().any(|record| record.name_any() == "old");
            if complete && !old { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .await?;
        Ok(())
    }

    /// The operators of today's release have used every right that it gives, and no other; says so. `older` begins the names of the pods of the release before.
    pub(super) async fn every_right_was_used(&self, rights: Rights, older: Option<&str>) -> Result<String, NodeError> {
        let granted = self.granted().await?;
        if granted.is_empty() {
            return Err(NodeError::Wrong("the operator's account has no rights at all".to_owned()));
        }
        // A right may be used a moment later.
        let compared = wait_until("what was used to be what was granted", RECOVERY, async || {
            let requests = self.requests().map_err(|error| error.to_string())?;
            if let Some(request) = requests.iter().find(|request| pod(request).is_empty()) {
                return Err(format!("from no pod: {} {}", request["verb"], request["requestURI"]));
            }
            let of_today =
                requests.iter().filter(|request| !older.is_some_and(|older| pod(request).starts_with(older)));
            let used = rights::used(of_today);
            rights::compare(&expected(rights, &granted, &used), &used).map(|()| used.len())
        });
        let (used, all) = (compared.await?, granted.len());
        Ok(format!("{used} of {all} rights were used, nothing else was asked for"))
    }

    /// What the roles that are bound to the operator's account allow.
    async fn granted(&self) -> Result<BTreeSet<String>, NodeError> {
        let client = self.node.cluster().client().await?;
        let everything = ListParams::default();
        let mut rules: Vec<PolicyRule> = Vec::new();
        let of_cluster: Api<ClusterRole> = Api::all(client.clone());
        for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&everything).await? {
            if is_ours(binding.subjects.as_deref()) {
                rules.extend(of_cluster.get(&binding.role_ref.name).await?.rules.unwrap_or_default());
            }
        }
        for binding in Api::<RoleBinding>::all(client.clone()).list(&everything).await? {
            let namespace = binding.namespace().unwrap_or_default();
            match &binding.role_ref {
                _ if !is_ours(binding.subjects.as_deref()) => {}
                RoleRef { kind, name, .. } if kind == "Role" => {
                    let of_namespace: Api<Role> = Api::namespaced(client.clone(), &namespace);
                    rules.extend(of_namespace.get(name).await?.rules.unwrap_or_default());
                }
                RoleRef { name, .. } => rules.extend(of_cluster.get(name).await?.rules.unwrap_or_default()),
            }
        }
        let rules = serde_json::to_value(rules).map_err(|error| NodeError::Wrong(error.to_string()))?;
        Ok(rights::granted(rules.as_array().into_iter().flatten()))
    }
}

/// What must have been used, if this was granted and this used.
fn expected(rights: Rights, granted: &BTreeSet<String>, used: &BTreeSet<String>) -> BTreeSet<String> {
    let must = |right: &str| {
        let resource = right.split_once(' ').map_or(right, |(_, resource)| resource);
        rights == Rights::All || OF_BACKUPS.contains(&resource)
    };
    granted.iter().filter(|right| used.contains(*right) || must(right)).cloned().collect()
}

/// The pod that a request came from: its name is in the token.
fn pod(request: &Value) -> &str {
    request["user"]["extra"]["authentication.kubernetes.io/pod-name"][0].as_str().unwrap_or_default()
}

fn is_ours(subjects: Option<&[Subject]>) -> bool {
    let ours = |subject: &Subject| {
        subject.kind == "ServiceAccount" && subject.name == RELEASE && subject.namespace.as_deref() == Some(NAMESPACE)
    };
    subjects.unwrap_or_default().iter().any(ours)
}

/// This job as one that is not to stay.
fn brief(job: &Value) -> Value {
    let mut job = job.clone();
    job["metadata"] = json!({ "name": BRIEF });
    job["spec"]["ttlSecondsAfterFinished"] = json!(1);
    job
}

/// Marks the job that a Git tool is to have made.
pub(super) fn tracked(mut job: Value) -> Value {
    if job["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(TRACKED)) {
        job["metadata"]["labels"][TRACKED_BY.0] = json!(TRACKED_BY.1);
    }
    job
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_not_used_is_told_and_a_course_of_backups_has_to_use_those_of_backups() {
        let set = |rights: &[&str]| rights.iter().map(|&right| right.to_owned()).collect::<BTreeSet<_>>();
        let told = |rights, granted: &[&str], used: &[&str]| {
            let (granted, used) = (set(granted), set(used));
            rights::compare(&expected(rights, &granted, &used), &used)
        };
        let granted = ["get secrets./", "create cronjobs.batch/"];
        assert_eq!(told(Rights::All, &granted, &granted), Ok(()));
        assert!(
            told(Rights::All, &granted, &granted[1..]).is_err() && told(Rights::All, &granted, &granted[..1]).is_err()
        );
        assert_eq!(told(Rights::OfBackups, &granted, &granted[1..]), Ok(()));
        assert!(told(Rights::OfBackups, &granted, &granted[..1]).is_err());
        assert!(told(Rights::OfBackups, &[], &["list cronjobs.batch/"]).is_err(), "what is used must be granted");
    }
}
