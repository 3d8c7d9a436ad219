//! Everything in the cluster, to see what a release brings and leaves behind.

use std::collections::BTreeSet;

use printernizer_crds::ConditionType;
use serde_json::{Value, json};

use super::super::NodeError;
use super::helm::{NAMESPACE, RELEASE};
use super::jobs::{self, FARM};
use super::{RECOVERY, Trial};
use crate::wait_until;

/// What outlives a release.
struct Stays {
    kind: &'static str,
    namespace: &'static str,
    /// What its name ends with.
    name: &'static str,
    /// Whether it must stay, and as the same object.
    must: bool,
}

/// What has no namespace, in a row of kubectl's.
const CLUSTER: &str = "<none>";
/// What the names of our definitions end with.
const OURS: &str = ".printernizer.io";

/// Everything that outlives a release. Of any other kind, or in any other place, nothing may be left.
const STAYS: [Stays; 13] = [
    // What people have written; and what Kubernetes puts into each namespace.
    of_farm("Printer"),
    of_farm("PrintJob"),
    of_farm("BackupPolicy"),
    of_farm("Secret"),
    of_farm("ConfigMap"),
    of_farm("ServiceAccount"),
    // What the operator remembers of prints.
    of_farm("PrintRecord"),
    // What a policy has made, beside a ServiceAccount, belongs to the policy: backups go on until somebody ends them.
    of_farm("CronJob"),
    of_farm("Role"),
    of_farm("RoleBinding"),
    // The farm would go with it.
    Stays { kind: "CustomResourceDefinition", namespace: CLUSTER, name: OURS, must: true },
    // The API server makes and removes it by the definitions, when it likes.
    Stays { kind: "APIService", namespace: CLUSTER, name: OURS, must: false },
    // Helm removes what it has made. This was made by the first operator, and the next one takes it.
    Stays { kind: "Lease", namespace: NAMESPACE, name: RELEASE, must: false },
];

const fn of_farm(kind: &'static str) -> Stays {
    Stays { kind, namespace: FARM, name: "", must: true }
}

/// Name of a policy that is at work when the release is removed.
const POLICY: &str = "kept";
/// What it has made by then.
const OF_POLICY: [&str; 3] = ["CronJob", "Role", "RoleBinding"];

/// What one object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Thing {
    kind: String,
    namespace: String,
    name: String,
    /// Which of those that have had this name.
    uid: String,
}

impl Thing {
    /// Of a row of kubectl's.
    fn of(row: &str) -> Option<Self> {
        let mut words = row.split_whitespace().map(str::to_owned);
        let (Some(kind), Some(namespace), Some(name), Some(uid), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return None;
        };
        Some(Self { kind, namespace, name, uid })
    }

    /// Whether it comes and goes by itself: in Kubernetes' own namespaces.
    fn is_of_kubernetes(&self) -> bool {
        self.namespace.starts_with("kube-")
    }

    fn stays(&self) -> Option<&'static Stays> {
        STAYS.iter().find(|s| s.kind == self.kind && s.namespace == self.namespace && self.name.ends_with(s.name))
    }

    /// Whether it must outlive the release.
    fn is_data(&self) -> bool {
        self.stays().is_some_and(|stays| stays.must)
    }
}

impl std::fmt::Display for Thing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}/{} ({})", self.kind, self.namespace, self.name, self.uid)
    }
}

/// What is wrong after a release was removed: what there was before it was installed, before it was removed, and is now.
fn trouble(installed: &BTreeSet<Thing>, removed: &BTreeSet<Thing>, now: &BTreeSet<Thing>) -> Vec<String> {
    let left = now.difference(installed).filter(|thing| thing.stays().is_none());
    let gone = installed.difference(now);
    let data = removed.iter().filter(|thing| thing.is_data()).filter(|thing| !now.contains(thing));
    let new = now.difference(removed).filter(|thing| thing.is_data());
    let told = left.map(|thing| format!("left: {thing}"));
    let told = told.chain(gone.map(|thing| format!("gone with it: {thing}")));
    let told = told.chain(data.map(|thing| format!("lost: {thing}")));
    told.chain(new.map(|thing| format!("another than before: {thing}"))).collect()
}

impl Trial {
    /// Every object in the cluster that does not come and go by itself.
    pub(super) async fn things(&self) -> Result<BTreeSet<Thing>, NodeError> {
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "--output=name"]).await?;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let columns = "--output=custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name,U:.metadata.uid";
        let text = self.kubectl(&["get", &kinds.join(","), "--all-namespaces", "--no-headers", columns]).await?;
        Ok(text.lines().filter_map(Thing::of).filter(|thing| !thing.is_of_kubernetes()).collect())
    }

    /// Removes the release, and sees to it that definitions and data are the same as before, and nothing else is left of
    /// it. `installed` is what there was before it was installed.
    pub(super) async fn uninstall(&self, installed: &BTreeSet<Thing>) -> Result<(), NodeError> {
        jobs::apply(self.node.cluster(), &policy()).await?;
        self.backups_say(POLICY, ConditionType::Ready, "True").await?;
        let removed = self.things().await?;
        let is_there = |kind: &str| removed.iter().any(|thing| thing.kind == kind && thing.namespace == FARM);
        if let Some(kind) = OF_POLICY.iter().chain(&["PrintJob"]).find(|kind| !is_there(kind)) {
            return Err(NodeError::Wrong(format!("there is no {kind} in the farm that could be lost")));
        }
        self.helm.uninstall(self.node.cluster().kubeconfig()).await?;
        wait_until("nothing but definitions and data to be left, and these as they were", RECOVERY, async || {
            let now = self.things().await.map_err(|error| error.to_string())?;
            let trouble = trouble(installed, &removed, &now);
            if trouble.is_empty() { Ok(()) } else { Err(trouble.join(", ")) }
        })
        .await?;
        // Without an operator, too, a policy takes along what it has made.
        self.kubectl(&["--namespace", FARM, "delete", "backuppolicy", POLICY]).await?;
        wait_until("nothing to be left of the policy", RECOVERY, async || {
            let now = self.things().await.map_err(|error| error.to_string())?;
            let is_left = |thing: &&Thing| thing.namespace == FARM && OF_POLICY.contains(&thing.kind.as_str());
            now.iter().find(is_left).map_or(Ok(()), |thing| Err(thing.to_string()))
        })
        .await?;
        Ok(())
    }
}

/// A policy of the farm's objects, which is never due, and its Secret.
fn policy() -> Value {
    const NEW_YEAR: &str = "0 0 1 1 *";
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": POLICY, "labels": { "printernizer.io/usage": "backup" } },
            "stringData": { "password": "p", "accessKeyID": "a", "secretAccessKey": "s" },
        },
        {
            "apiVersion": "printernizer.io/v1alpha1", "kind": "BackupPolicy", "metadata": { "name": POLICY },
            "spec": {
                "schedule": NEW_YEAR,
                "sources": { "objects": {} },
                "target": { "s3": { "bucket": "nowhere", "credentialsSecretRef": { "name": POLICY } } },
                "encryption": { "passwordSecretRef": { "name": POLICY, "key": "password" } },
                "retention": { "keepLast": 1, "pruneSchedule": NEW_YEAR },
                "verification": { "check": { "schedule": NEW_YEAR }, "restoreDrill": { "schedule": NEW_YEAR } },
            },
        },
    ] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rows: &[&str]) -> BTreeSet<Thing> {
        rows.iter().map(|row| Thing::of(row).unwrap()).collect()
    }

    #[test]
    fn what_is_left_lost_or_made_anew_is_told() {
        const NODE: &str = "Node <none> n 1";
        const DEFINITION: &str = "CustomResourceDefinition <none> printers.printernizer.io 2";
        const PRINTER: &str = "Printer farm a1-1 3";
        const LEASE: &str = "Lease printernizer printernizer 4";
        const POD: &str = "Pod printernizer printernizer-x 5";
        let (installed, removed) = (set(&[NODE]), set(&[NODE, DEFINITION, PRINTER, LEASE, POD]));
        let told = |rows: &[&str]| trouble(&installed, &removed, &set(rows)).join(", ");
        assert_eq!(told(&[NODE, DEFINITION, PRINTER, LEASE]), "");
        assert_eq!(told(&[NODE, DEFINITION, PRINTER, POD]), "left: Pod printernizer/printernizer-x (5)");
        assert_eq!(told(&[NODE, DEFINITION]), "lost: Printer farm/a1-1 (3)");
        assert_eq!(told(&[DEFINITION, PRINTER]), "gone with it: Node <none>/n (1)");
        let anew = told(&[NODE, DEFINITION, "Printer farm a1-1 9"]);
        assert_eq!(anew, "lost: Printer farm/a1-1 (3), another than before: Printer farm/a1-1 (9)");
        assert!(told(&[NODE, PRINTER]).starts_with("lost: CustomResourceDefinition"));
        // What the release leaves in the farm is told as well, but for what belongs to a policy.
        let stays = [NODE, DEFINITION, PRINTER];
        assert_eq!(told(&[&stays[..], &["Service farm x 6"]].concat()), "left: Service farm/x (6)");
        let more = ["CronJob farm kept-backup 7", "Role farm kept 8"];
        let (with, without) = (set(&[&stays[..], &more].concat()), set(&stays));
        assert_eq!(trouble(&installed, &with, &with), [] as [&str; 0]);
        let lost = trouble(&installed, &with, &without);
        assert_eq!(lost, ["lost: CronJob farm/kept-backup (7)", "lost: Role farm/kept (8)"]);
        assert!(told(&[&stays[..], &["CronJob printernizer x 9"]].concat()).starts_with("left: CronJob"));
    }
}
