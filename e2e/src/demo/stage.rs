//! Sets the stage of the demo and takes it down: control plane, definitions, machines, operator, manifests. A control
//! plane of our own ends with the demo; in an existing cluster only the demo's namespace is made and removed.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::Kubeconfig;
use printernizer_simulator::{Config, Simulator};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::examples::Examples;
use super::screen::Screen;
use super::{DemoError, Options};
use crate::Namespace;
use crate::cluster::{self, Cluster};
use crate::farm::{Farm, FarmError, Operator, OperatorOptions, project};

/// How long applying the manifests, and letting go of them, may take.
const APPLY: Duration = Duration::from_secs(60);

/// Everything that runs.
pub struct Stage {
    cluster: Cluster,
    /// Printers and jobs.
    pub farm: Farm,
    /// The operator.
    pub operator: Operator,
    /// Number of jobs.
    pub jobs: usize,
    /// What a person types to see the farm.
    pub reach: String,
    namespace: Option<Namespace>,
    directory: tempfile::TempDir,
}

impl Stage {
    /// Starts everything and applies the manifests.
    pub async fn set(options: &Options, begun: Instant) -> Result<Self, DemoError> {
        let at = || format!("{:5.1} s  ", begun.elapsed().as_secs_f64());
        let directory = tempfile::Builder::new().prefix("printernizer-demo-").tempdir().map_err(FarmError::Files)?;
        let examples = Examples::read(&project().join("examples"), options.printers)?;

        let plane = cluster::Options { controller_manager: true, ..cluster::Options::default() };
        let cluster =
            Cluster::existing_or_start(options.context.as_deref(), plane).await.map_err(FarmError::Cluster)?;
        let which = if cluster.is_existing() { "existing cluster" } else { "control plane" };
        Screen::say(&format!("{}{which} at {}", at(), cluster.server()))?;
        let client = cluster.client().await.map_err(FarmError::Cluster)?;
        Farm::define(&cluster).await?;
        let namespace = if cluster.is_existing() {
            Some(Namespace::create(&client, "printernizer-demo").await.map_err(FarmError::Namespace)?)
        } else {
            None
        };
        let name = namespace.as_ref().map_or("default", Namespace::name).to_owned();
        let machines = Config { printers: examples.machines(), ..Config::default() }.time_scale(options.time_scale);
        let simulator = Simulator::start(machines).await.map_err(FarmError::Simulator)?;
        let jobs = examples.jobs();
        let infos = simulator.printers();
        Screen::say(&format!("{}definitions applied, {} simulated printers switched on", at(), infos.len()))?;

        let operator = Operator::start(&OperatorOptions {
            program: options.operator.clone(),
            kubeconfig: kubeconfig(&cluster, directory.path())?,
            directory: directory.path().to_owned(),
            namespace: name.clone(),
            simulated_time: 1,
            arguments: Vec::new(),
        })
        .await?;
        Screen::say(&format!("{}operator started, with the timings of production", at()))?;
        apply(&cluster, &name, &examples.at(&infos)).await?;
        Screen::say(&format!("{}kubectl apply: examples/, with the addresses of the simulated printers\n", at()))?;
        let reach = reach(&cluster, namespace.as_ref().map(Namespace::name), options.person);
        Ok(Self { farm: Farm::new(client, name, simulator), cluster, operator, jobs, reach, namespace, directory })
    }

    /// Where the operator's log is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends everything: operator, namespace, control plane. Says the first thing that went wrong, but ends all.
    pub async fn strike(self, limit: Duration, keep_log: bool) -> Result<(), DemoError> {
        let operator = self.operator.terminate(limit).await.map(drop);
        let namespace = match self.namespace {
            Some(namespace) => remove(&self.farm, namespace).await,
            None => Ok(()),
        };
        drop(self.farm);
        let cluster = self.cluster.stop().await.map_err(FarmError::Cluster);
        if keep_log {
            let _kept = self.directory.keep();
        }
        operator?;
        namespace?;
        Ok(cluster?)
    }
}

/// Removes the demo's namespace. Whatever still holds a printer is let go first: the operator that would do it has ended,
/// and the machines are simulated.
async fn remove(farm: &Farm, namespace: Namespace) -> Result<(), FarmError> {
    let let_go = async {
        let (params, none) = (PatchParams::default(), Patch::Merge(json!({ "metadata": { "finalizers": null } })));
        for printer in farm.printers().list(&ListParams::default()).await? {
            farm.printers().patch(&printer.name_any(), &params, &none).await?;
        }
        for job in farm.jobs().list(&ListParams::default()).await? {
            farm.jobs().patch(&job.name_any(), &params, &none).await?;
        }
        Ok::<_, kube::Error>(())
    };
    let let_go = match tokio::time::timeout(APPLY, let_go).await {
        Ok(done) => done.map_err(FarmError::Api),
        Err(_) => Err(FarmError::Waited(format!("no answer from the API server within {} s", APPLY.as_secs()))),
    };
    namespace.delete().await?;
    let_go
}

/// The kubeconfig for a program that takes no context: the cluster's own, or a copy in which the context is chosen.
fn kubeconfig(cluster: &Cluster, directory: &Path) -> Result<PathBuf, DemoError> {
    let Some(context) = cluster.context() else { return Ok(cluster.kubeconfig().to_owned()) };
    let told = |error: &dyn std::error::Error| DemoError::Told(format!("the kubeconfig cannot be used: {error}"));
    let mut merged = Kubeconfig::default();
    for path in std::env::split_paths(cluster.kubeconfig()).filter(|p| !p.as_os_str().is_empty()) {
        merged = Kubeconfig::read_from(path).and_then(|next| merged.merge(next)).map_err(|e| told(&e))?;
    }
    merged.current_context = Some(context.to_owned());
    let path = directory.join("kubeconfig");
    let text = serde_json::to_vec(&merged).map_err(|e| told(&e))?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut f| f.write_all(&text)).map_err(|source| DemoError::Write { path: path.clone(), source })?;
    Ok(path)
}

/// `kubectl apply -f -`, as a person would.
async fn apply(cluster: &Cluster, namespace: &str, objects: &serde_json::Value) -> Result<(), DemoError> {
    let mut command = tokio::process::Command::from(cluster.kubectl());
    command.args(["apply", "--namespace", namespace, "-f", "-"]).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(DemoError::NoKubectl)?;
    let mut input = child.stdin.take();
    let text = objects.to_string();
    let talk = async {
        if let Some(mut pipe) = input.take() {
            // kubectl that does not read to the end says why itself.
            let _ = pipe.write_all(text.as_bytes()).await;
            let _ = pipe.shutdown().await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(APPLY, talk)
        .await
        .map_err(|_| DemoError::Kubectl(format!("no end within {} s", APPLY.as_secs())))?
        .map_err(DemoError::NoKubectl)?;
    if output.status.success() {
        return Ok(());
    }
    Err(DemoError::Kubectl(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// What a person types to see the farm and to play with it. A few short lines: the table above needs its place.
fn reach(cluster: &Cluster, namespace: Option<&str>, person: bool) -> String {
    let namespace = namespace.map(|n| format!(" --namespace {n}")).unwrap_or_default();
    let mut lines = vec![format!("k() {{ {}{namespace} \"$@\"; }}", cluster.kubectl_line())];
    if !cluster.is_existing() {
        let kubeconfig = cluster.kubeconfig().display();
        lines.push(format!("# or for a kubectl of your own: export KUBECONFIG={kubeconfig}    (unset it afterwards)"));
    }
    lines.push("k create -f examples/more/label-stand.yaml; k get printjobs --watch    # one print more".to_owned());
    lines.push(
        "k patch printjob NAME --type merge -p '{\"spec\":{\"desiredState\":\"Pause\"}}'    # Run, Cancel".to_owned(),
    );
    lines.push(if person {
        "# to clear the beds yourself: cargo xtask demo --no-person".to_owned()
    } else {
        "id=$(k get printer NAME -o jsonpath='{.status.bed.occupancyID}')    # after looking at the bed\n\
         k patch printer NAME --type merge -p '{\"spec\":{\"bed\":{\"clearedFor\":\"'$id'\"}}}'"
            .to_owned()
    });
    lines.push(
        "# the same in one word each, with the plugin of docs/kubectl.md: kubectl printernizer status".to_owned(),
    );
    lines.join("\n")
}
