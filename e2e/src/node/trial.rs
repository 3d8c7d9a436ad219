//! The course of a trial: the first release there could have been is installed in a cluster with a node, the examples are
//! applied, simulated printers print them, and in the middle of prints the operator is upgraded to today's, loses its leader,
//! is restarted, and its node with it. Then it is backed up. Judged by the ledgers of the machines, by what is stored before and after, and by the
//! audit of the API server. It never asks the operator whether it was right.

mod backups;
mod blow;
mod errands;
mod helm;
mod jobs;
mod judge;
mod things;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Api;
use printernizer_crds::{PrintJob, Printer};
use serde_json::Value;
use tokio::process::Command;

use super::machines::Machines;
use super::{Node, NodeError, Programs, first_release, run};
use crate::demo::examples::Examples;
use crate::demo::verdict::Verdict;
use crate::farm::project;
use crate::tools::first_release::VERSION as FIRST_VERSION;
use blow::Blow;
use errands::Rights;
use helm::{Helm, NAMESPACE, RELEASE};
use jobs::{FARM, Person};

/// Seconds that pass on the machines in one second: the longest print takes less than a minute.
const TIME_SCALE: f64 = 30.0;
/// Number of machines: those of the examples.
const MACHINES: usize = 6;
/// How long the operator may take to be there again after a loss.
const RECOVERY: Duration = Duration::from_secs(240);
/// What is said when the release is gone.
const UNINSTALLED: &str = "helm uninstall, with a policy at work: definitions, data and what the policy has made are the same as \
                           before, and nothing else is left; that goes with the policy";
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
    fn archives(&self, older: bool) -> Vec<PathBuf> {
        let file = |name: &str, version: &str| self.folder.join(format!("{name}-{version}.tar"));
        let names = ["pause", "printernizer", "printernizer-simulator", "printernizer-backup"];
        let mut archives: Vec<PathBuf> = names.iter().map(|name| file(name, &self.version)).collect();
        archives.extend(older.then(|| file("printernizer", FIRST_VERSION)));
        archives
    }

    fn simulator(&self) -> String {
        format!("localhost/printernizer-simulator:{}", self.version)
    }
}

/// How much of a trial is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// All of it.
    #[default]
    Whole,
    /// One print of each example.
    Short,
    /// That, and backups.
    Backups,
}

impl Course {
    /// Whether it begins with the first release.
    pub fn has_older(self) -> bool {
        self == Self::Whole
    }
}

/// Runs a trial inside the node's namespaces. What the operator said is left in the folder if something goes wrong.
pub async fn trial(
    folder: &Path,
    programs: Programs,
    images: &Images,
    course: Course,
    say: &dyn Fn(&str),
) -> Result<(), NodeError> {
    let begun = Instant::now();
    let say = |line: &str| say(&format!("{:6.1} s  {line}", begun.elapsed().as_secs_f64()));
    let helm = Helm::new(folder, &programs);
    let account = format!("system:serviceaccount:{NAMESPACE}:{RELEASE}");
    let node = Node::start(folder, programs, &account).await?;
    say("a node is ready");
    let mut trial = Trial::set(node, helm, images, course, &say).await?;
    let outcome = match course {
        Course::Whole => trial.course(folder, &say).await,
        Course::Short => trial.short_course(&say).await,
        Course::Backups => trial.backup_course(folder, &say).await,
    };
    if outcome.is_err() {
        trial.keep_what_was_said(&folder.join("logs")).await;
    }
    let stopped = trial.node.cluster.stop().await;
    outcome?;
    Ok(stopped?)
}

struct Trial {
    node: Node,
    helm: Helm,
    /// Version of today's images.
    version: String,
    machines: Arc<Machines>,
    examples: Value,
    jobs: Api<PrintJob>,
}

impl Trial {
    async fn set(
        node: Node,
        helm: Helm,
        images: &Images,
        course: Course,
        say: &dyn Fn(&str),
    ) -> Result<Self, NodeError> {
        for archive in images.archives(course.has_older()) {
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
        Ok(Self { node, helm, version: images.version.clone(), machines: Arc::new(machines), examples, jobs })
    }

    /// Install, print, remove.
    async fn short_course(&mut self, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let before = self.things().await?;
        self.install(&today(), &self.version).await?;
        say("helm install: two operators are ready");
        self.apply_examples().await?;
        let person = self.person().await?;
        self.round("", None, say).await?;
        drop(person);
        self.nothing_was_refused(0)?;
        self.uninstall(&before).await?;
        say(UNINSTALLED);
        Ok(())
    }

    /// Install, print, and all about backups.
    async fn backup_course(&mut self, folder: &Path, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        self.install(&today(), &self.version).await?;
        say("helm install: two operators are ready");
        self.apply_examples().await?;
        let person = self.person().await?;
        self.round("", None, say).await?;
        drop(person);
        self.backups(folder, say).await?;
        self.nothing_was_refused(0)?;
        say(&format!("audit: nothing was refused; {}", self.every_right_was_used(Rights::OfBackups, None).await?));
        Ok(())
    }

    async fn course(&mut self, folder: &Path, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let before = self.things().await?;
        // Who has the first release there could have been is to get to today's.
        self.install(&first_release()?.join("charts/printernizer"), FIRST_VERSION).await?;
        say(&format!("helm install of {FIRST_VERSION}: two operators are ready"));
        self.apply_examples().await?;
        let older = common(&self.operators().await?);
        let person = self.person().await?;
        for (end, blow) in
            [("", Blow::Upgrade), ("-b", Blow::LeaderLost), ("-c", Blow::RolloutRestart), ("-d", Blow::NodeRestart)]
        {
            self.round(end, Some(blow), say).await?;
        }
        drop(person);
        self.nothing_was_refused(0)?;
        self.uninstall(&before).await?;
        say(UNINSTALLED);
        // A pod that ends with its release is refused its Lease: the rights go first, and are no loss then.
        let until_then = self.errands_before().await?;
        self.install(&today(), &self.version).await?;
        let person = self.person().await?;
        let brief = self.errands().await?;
        self.round("-e", None, say).await?;
        self.errands_done(&brief, "-e").await?;
        drop(person);
        say("installed again: the farm prints on");
        self.backups(folder, say).await?;
        self.nothing_was_refused(until_then)?;
        say(&format!("audit: nothing was refused; {}", self.every_right_was_used(Rights::All, Some(&older)).await?));
        Ok(())
    }

    async fn install(&self, chart: &Path, version: &str) -> Result<(), NodeError> {
        self.helm.install(self.node.cluster.kubeconfig(), chart, version).await
    }

    /// A person who clears beds and answers questions, as long as this is held.
    async fn person(&self) -> Result<Person, NodeError> {
        let printers: Api<Printer> = Api::namespaced(self.node.cluster.client().await?, FARM);
        Ok(Person::begin(printers, self.jobs.clone(), Arc::clone(&self.machines)))
    }

    /// The examples' printers, files and Secrets.
    async fn apply_examples(&self) -> Result<(), NodeError> {
        let objects = jobs::list(&self.examples, |object| (object["kind"] != "PrintJob").then(|| object.clone()));
        jobs::apply(&self.node.cluster, &objects).await
    }

    /// Prints every job of the examples, under names with this end, and lets something happen in the middle.
    async fn round(&mut self, end: &str, blow: Option<Blow>, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let wanted = jobs::list(&self.examples, |object| jobs::renamed(object, end).map(errands::tracked));
        let names: BTreeSet<String> = jobs::names(&wanted);
        jobs::apply(&self.node.cluster, &wanted).await?;
        let mut then = Vec::new();
        if let Some(blow) = blow {
            // First, so that between what follows and the blow no time passes with looking for whom it will meet.
            jobs::in_the_middle(&self.jobs, &names, blow.middle()).await?;
            let target = self.aim().await?;
            then = jobs::in_the_middle(&self.jobs, &names, blow.middle()).await?;
            say(&format!("{blow}, while {}", jobs::phases(&then)));
            self.strike(blow, target).await?;
            say(&format!("after {blow} the operator is there again"));
        }
        let ended = jobs::all_ended(&self.jobs, &names).await?;
        let ledger = self.machines.ledger().await?;
        let verdict = Verdict::of(&ended, &ledger);
        if !verdict.is_good() {
            return Err(NodeError::Wrong(verdict.in_short()));
        }
        judge::printed_once(&ended, &ledger).and_then(|()| judge::went_on(&then, &ended)).map_err(NodeError::Wrong)?;
        self.was_restarted(blow.map_or(0, Blow::restarts)).await?;
        let asked = ended.iter().filter(|job| job.spec.outcome.is_some()).count();
        say(&format!(
            "{} jobs have ended, each printed once; asked about: {asked}. {}",
            names.len(),
            verdict.in_short()
        ));
        Ok(())
    }

    /// Writes down what the operator said and what is stored, for the person who asks why. Nothing here may hide the error.
    async fn keep_what_was_said(&self, folder: &Path) {
        let logs = [
            "--namespace",
            NAMESPACE,
            "logs",
            "--selector=app.kubernetes.io/name=printernizer",
            "--prefix",
            "--tail=-1",
        ];
        let before = [logs.as_slice(), &["--previous"]].concat();
        let stored =
            ["--namespace", FARM, "get", "printers,printjobs,printrecords,backuppolicies,jobs", "--output=yaml"];
        let runs = [
            "--namespace",
            FARM,
            "logs",
            "--selector=app.kubernetes.io/name=printernizer-backup",
            "--prefix",
            "--tail=-1",
        ];
        let runs = [runs.as_slice(), &["--max-log-requests=50"]].concat();
        let pods = ["get", "pods", "--all-namespaces", "--output=yaml"];
        for (name, arguments) in [
            ("operator.log", logs.as_slice()),
            ("operator-before.log", &before),
            ("farm.yaml", &stored),
            ("backups.log", &runs),
            ("pods.yaml", &pods),
        ] {
            let text = self.kubectl(arguments).await.unwrap_or_else(|error| error.to_string());
            let _ = std::fs::write(folder.join(name), text);
        }
        if let Ok(ledger) = self.machines.ledger().await {
            let _ =
                std::fs::write(folder.join("ledger.json"), serde_json::to_string_pretty(&ledger).unwrap_or_default());
        }
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String, NodeError> {
        node_kubectl(&self.node, arguments).await
    }
}

/// Today's chart.
fn today() -> PathBuf {
    project().join("charts/printernizer")
}

/// What the names of the pods of one ReplicaSet begin with: all but what Kubernetes adds for each.
fn common(pods: &[String]) -> String {
    let stem = |name: &str| name.rsplit_once('-').map(|(stem, _)| format!("{stem}-"));
    pods.first().and_then(|name| stem(name)).unwrap_or_default()
}

async fn node_kubectl(node: &Node, arguments: &[&str]) -> Result<String, NodeError> {
    run(Command::from(node.cluster.kubectl()).args(arguments), KUBECTL.max(RECOVERY)).await
}
