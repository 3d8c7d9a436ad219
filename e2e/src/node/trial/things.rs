//! Everything in the cluster, to see what a release brings and leaves behind.

use std::collections::BTreeSet;

use super::super::NodeError;
use super::Trial;
use super::helm::{NAMESPACE, RELEASE};
use super::jobs::FARM;
use crate::wait_until;

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

    /// Whether it must outlive the release: what is in the farm, and the definitions of that.
    fn is_data(&self) -> bool {
        self.namespace == FARM || (self.kind == "CustomResourceDefinition" && self.is_ours())
    }

    fn is_ours(&self) -> bool {
        self.name.ends_with(".printernizer.io")
    }

    /// Whether it may outlive the release as well: what the API server makes of definitions, and the Lease, which the operator
    /// has made.
    fn may_stay(&self) -> bool {
        let is_lease = self.kind == "Lease" && self.namespace == NAMESPACE && self.name == RELEASE;
        is_lease || (self.kind == "APIService" && self.is_ours())
    }
}

impl std::fmt::Display for Thing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}/{} ({})", self.kind, self.namespace, self.name, self.uid)
    }
}

/// What is wrong after a release was removed: what there was before it was installed, before it was removed, and is now.
fn trouble(installed: &BTreeSet<Thing>, removed: &BTreeSet<Thing>, now: &BTreeSet<Thing>) -> Vec<String> {
    let left = now.difference(installed).filter(|thing| !thing.is_data() && !thing.may_stay());
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
        let removed = self.things().await?;
        if !removed.iter().any(|thing| thing.kind == "PrintJob" && thing.namespace == FARM) {
            return Err(NodeError::Wrong("there is nothing in the farm that could be lost".to_owned()));
        }
        self.helm.uninstall(self.node.cluster().kubeconfig()).await?;
        wait_until(
            "nothing but definitions and data to be left, and these as they were",
            super::RECOVERY,
            async || {
                let now = self.things().await.map_err(|error| error.to_string())?;
                let trouble = trouble(installed, &removed, &now);
                if trouble.is_empty() { Ok(()) } else { Err(trouble.join(", ")) }
            },
        )
        .await?;
        Ok(())
    }
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
    }
}
