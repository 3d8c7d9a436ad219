//! The course of a trial: the chart is installed in a cluster with a node, the examples are applied, simulated printers
//! print them, and in the middle of prints the operator loses its leader, is upgraded and restarted.
//! Judged by the ledgers of the machines: every job is printed once. It never asks the operator whether it was right.

mod helm;
mod jobs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use printernizer_crds::{PrintJob, Printer};
use serde_json::Value;
use tokio::process::Command;

use super::machines::{self, Machines};
use super::{Node, NodeError, Programs, run};
use crate::demo::examples::Examples;
use crate::demo::verdict::Verdict;
use crate::farm::project;
use crate::wait_until;
use helm::{Helm, NAMESPACE, RELEASE};
use jobs::{FARM, Person};

/// Seconds that pass on the machines in one second: the longest print takes less than a minute.
const TIME_SCALE: f64 = 30.0;
/// Number of machines: those of the examples.
const MACHINES: usize = 6;
/// How long the operator may take to be there again after a loss.
const RECOVERY: Duration = Duration::from_secs(240);
/// How long kubectl may take.
const KUBECTL: Duration = Duration::from_secs(120);

/// Where the images are.
#[derive(Clone, Debug)]
pub struct Images {
    /// The folder with the archives.
    pub folder: PathBuf,
    /// Their version.
    pub version: String,
}

impl Images {
    fn archives(&self) -> [PathBuf; 3] {
        let file = |name: &str| self.folder.join(format!("{name}-{}.tar", self.version));
        [file("pause"), file("printernizer"), file("printernizer-simulator")]
    }

    fn simulator(&self) -> String {
        format!("localhost/printernizer-simulator:{}", self.version)
    }
}

/// What happens to the operator while machines print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The pod that leads is deleted with no time to end: kubelet leaves it two seconds.
    LeaderLost,
    /// The release becomes that of this chart.
    Upgrade,
    /// `kubectl rollout restart`.
    RolloutRestart,
}

impl std::fmt::Display for Blow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::LeaderLost => "loss of the pod that leads",
            Self::Upgrade => "helm upgrade",
            Self::RolloutRestart => "kubectl rollout restart",
        })
    }
}

/// Runs the whole trial inside the node's namespaces. `short` leaves out everything but one print of each example.
pub async fn trial(
    folder: &Path,
    programs: Programs,
    images: &Images,
    short: bool,
    say: &dyn Fn(&str),
) -> Result<(), NodeError> {
    let begun = Instant::now();
    let say = |line: &str| say(&format!("{:6.1} s  {line}", begun.elapsed().as_secs_f64()));
    let helm = Helm::new(folder, &programs);
    let account = format!("system:serviceaccount:{NAMESPACE}:{RELEASE}");
    let node = Node::start(folder, programs, &account).await?;
    say("a node is ready");
    let trial = Trial::set(node, helm, images, &say).await?;
    let before = trial.everything().await?;
    // The first release is the first chart there was: who has that one is to get to today's.
    let first = if short { project().join("charts/printernizer") } else { helm::first_chart(folder).await? };
    trial.install(&first, &images.version).await?;
    say("helm install: two operators are ready");
    trial.apply_examples().await?;
    let person = trial.person().await?;
    if short {
        trial.round("", &[], &say).await?;
    } else {
        trial.round("", &[Blow::LeaderLost], &say).await?;
        trial.round("-b", &[Blow::Upgrade], &say).await?;
        trial.round("-c", &[Blow::RolloutRestart], &say).await?;
    }
    drop(person);
    trial.no_request_was_refused()?;
    trial.uninstall(&before).await?;
    say("helm uninstall: definitions, printers and jobs are there, nothing else");
    if !short {
        trial.install(&project().join("charts/printernizer"), &images.version).await?;
        let person = trial.person().await?;
        trial.round("-d", &[], &say).await?;
        drop(person);
        say("installed again: the farm prints on");
    }
    trial.node.cluster.stop().await?;
    Ok(())
}

struct Trial {
    node: Node,
    helm: Helm,
    machines: Arc<Machines>,
    examples: Value,
    jobs: Api<PrintJob>,
}

impl Trial {
    async fn set(node: Node, helm: Helm, images: &Images, say: &dyn Fn(&str)) -> Result<Self, NodeError> {
        for archive in images.archives() {
            node.load(&archive).await?;
        }
        let client = node.cluster.client().await?;
        for namespace in [NAMESPACE, FARM] {
            node_kubectl(&node, &["create", "namespace", namespace]).await?;
        }
        // As the installation guide says.
        let label = "pod-security.kubernetes.io/enforce=restricted";
        node_kubectl(&node, &["label", "namespace", NAMESPACE, label]).await?;
        let examples = Examples::read(&project().join("examples"), MACHINES)?;
        let machines = Machines::start(&client, &images.simulator(), examples.machines(), TIME_SCALE).await?;
        say(&format!("{} simulated printers run as pods", machines.infos().len()));
        let examples = examples.at(machines.infos());
        let jobs = Api::namespaced(client, FARM);
        Ok(Self { node, helm, machines: Arc::new(machines), examples, jobs })
    }

    async fn install(&self, chart: &Path, version: &str) -> Result<(), NodeError> {
        self.helm.install(self.node.cluster.kubeconfig(), chart, version).await
    }

    /// A person who clears beds, as long as this is held.
    async fn person(&self) -> Result<Person, NodeError> {
        let printers: Api<Printer> = Api::namespaced(self.node.cluster.client().await?, FARM);
        Ok(Person::begin(printers, Arc::clone(&self.machines)))
    }

    async fn apply_examples(&self) -> Result<(), NodeError> {
        jobs::apply(&self.node.cluster, &self.without_jobs()).await
    }

    /// The examples' printers, files and Secrets.
    fn without_jobs(&self) -> Value {
        jobs::list(&self.examples, |object| (object["kind"] != "PrintJob").then(|| object.clone()))
    }

    /// Prints every job of the examples, under names with this end, and lets something happen in the middle.
    async fn round(&self, end: &str, blows: &[Blow], say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let wanted = jobs::list(&self.examples, |object| jobs::renamed(object, end));
        let names: BTreeSet<String> = jobs::names(&wanted);
        jobs::apply(&self.node.cluster, &wanted).await?;
        for blow in blows {
            let (printing, waiting) = jobs::in_the_middle(&self.jobs, &names).await?;
            say(&format!("{blow}, while {printing} machines print and {waiting} jobs have yet to"));
            self.strike(*blow).await?;
            say(&format!("after {blow} the operator is there again"));
        }
        let ended = jobs::all_ended(&self.jobs, &names).await?;
        let verdict = Verdict::of(&ended, &self.machines.ledger().await?);
        if !verdict.is_good() {
            return Err(NodeError::Wrong(verdict.in_short()));
        }
        say(&format!("{} jobs have ended. {}", names.len(), verdict.in_short()));
        Ok(())
    }

    async fn strike(&self, blow: Blow) -> Result<(), NodeError> {
        let pods: Api<Pod> = Api::namespaced(self.node.cluster.client().await?, NAMESPACE);
        let before = self.leader().await?;
        match blow {
            Blow::LeaderLost => {
                let at_once = DeleteParams::default().grace_period(0);
                pods.delete(&before, &at_once).await?;
            }
            Blow::Upgrade => {
                let (kubeconfig, chart) = (self.node.cluster.kubeconfig(), project().join("charts/printernizer"));
                // What only the new chart writes; a release that stays the old one would pass unseen.
                self.helm.upgrade(kubeconfig, &chart).await?;
            }
            Blow::RolloutRestart => {
                let deployment = format!("deployment/{RELEASE}");
                self.kubectl(&["--namespace", NAMESPACE, "rollout", "restart", &deployment]).await?;
            }
        }
        let deployment = format!("deployment/{RELEASE}");
        let limit = format!("--timeout={}s", RECOVERY.as_secs());
        self.kubectl(&["--namespace", NAMESPACE, "rollout", "status", &deployment, &limit]).await?;
        // The pod that led is gone, so that another one must lead now.
        wait_until("another pod to lead", RECOVERY, async || {
            let now = self.leader().await.map_err(|error| error.to_string())?;
            if now == before { Err(format!("{now} leads still")) } else { Ok(()) }
        })
        .await?;
        Ok(())
    }

    /// The pod that leads.
    async fn leader(&self) -> Result<String, NodeError> {
        let leases: Api<Lease> = Api::namespaced(self.node.cluster.client().await?, NAMESPACE);
        let lease = leases.get(RELEASE).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.node.cluster.client().await?, NAMESPACE);
        let names = pods.list(&ListParams::default()).await?.items.into_iter().map(|pod| pod.name_any());
        let mut found = names.filter(|name| holder.starts_with(name.as_str()));
        found.next().ok_or_else(|| NodeError::Wrong(format!("the Lease is held by {holder:?}, which is no pod")))
    }

    /// The audit of the API server: the rights that the chart gives suffice.
    fn no_request_was_refused(&self) -> Result<(), NodeError> {
        let path = self.node.audit_log();
        let text = std::fs::read_to_string(&path).map_err(NodeError::file("read", &path))?;
        // The last line may be half written.
        let requests: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if requests.is_empty() {
            return Err(NodeError::Wrong("the operator has asked the API server for nothing".to_owned()));
        }
        let refused = |request: &&Value| request["responseStatus"]["code"] == 403;
        match requests.iter().find(refused) {
            Some(request) => Err(NodeError::Wrong(format!(
                "the operator was refused {} {}: the chart gives too few rights",
                request["verb"], request["requestURI"]
            ))),
            None => Ok(()),
        }
    }

    /// Removes the release, and sees to it that what is there then was there before, but for what must stay.
    async fn uninstall(&self, before: &BTreeSet<String>) -> Result<(), NodeError> {
        let jobs = self.jobs.list(&ListParams::default()).await?.items.len();
        self.helm.uninstall(self.node.cluster.kubeconfig()).await?;
        wait_until("nothing but definitions and data to be left", RECOVERY, async || {
            let now = self.everything().await.map_err(|error| error.to_string())?;
            let left: Vec<String> = now.difference(before).filter(|name| !may_stay(name)).cloned().collect();
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        })
        .await?;
        let now = self.jobs.list(&ListParams::default()).await?.items.len();
        if now != jobs {
            return Err(NodeError::Wrong(format!("there were {jobs} jobs, and after helm uninstall there are {now}")));
        }
        Ok(())
    }

    /// Every object in the cluster, as `kind namespace/name`; not those of the farm, of the machines, and in Kubernetes' own
    /// namespaces, which come when they come.
    async fn everything(&self) -> Result<BTreeSet<String>, NodeError> {
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "--output=name"]).await?;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let columns = "--output=custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name";
        let text = self.kubectl(&["get", &kinds.join(","), "--all-namespaces", "--no-headers", columns]).await?;
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let elsewhere = |place: &str| place == FARM || place == machines::NAMESPACE || place.starts_with("kube-");
        let rows = rows.filter(|row| row.len() == 3 && !elsewhere(row[1]));
        Ok(rows.map(|row| format!("{} {}/{}", row[0], row[1], row[2])).collect())
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String, NodeError> {
        node_kubectl(&self.node, arguments).await
    }
}

/// What stays on purpose: the definitions, and what the API server makes of them; the Lease, which the operator has made.
fn may_stay(name: &str) -> bool {
    let lease = format!("Lease {NAMESPACE}/{RELEASE}");
    let definitions = name.ends_with(".printernizer.io");
    (definitions && (name.starts_with("CustomResourceDefinition ") || name.starts_with("APIService "))) || name == lease
}

async fn node_kubectl(node: &Node, arguments: &[&str]) -> Result<String, NodeError> {
    run(Command::from(node.cluster.kubectl()).args(arguments), KUBECTL.max(RECOVERY)).await
}
