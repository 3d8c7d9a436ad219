//! A whole cluster with one node, so that pods run: the control plane of [`crate::cluster`], and containerd, kubelet and
//! kube-proxy in namespaces of their own ([`Cell`]). Takes root. However it ends, no process, mount or network is left; the
//! folder and the empty control groups of one that was killed are removed by the next. What stays are an empty lock file,
//! and the programs in the cache. All its addresses are in a network that it made itself, without a way out.

mod cell;
mod error;
mod machines;
mod programs;
mod runtime;
mod trial;

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::Api;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::cluster::{Cluster, Options};
use crate::wait_until;
pub use cell::{Cell, Inmate, end_with_stdin};
pub use error::NodeError;
pub use programs::{Programs, first_release};
use runtime::Runtime;
pub use trial::{Course, Images, trial};

/// How long the node may take to be ready.
const READY: Duration = Duration::from_secs(180);

/// A cluster with one node.
pub struct Node {
    cluster: Cluster,
    runtime: Runtime,
    folder: PathBuf,
}

impl Node {
    /// Starts everything, in the namespaces that this process is in, and returns when pods can run. `audited` is the user
    /// whose requests are written down.
    pub async fn start(folder: &Path, programs: Programs, audited: &str) -> Result<Self, NodeError> {
        for arguments in [
            ["link", "add", "node0", "type", "bridge"].as_slice(),
            ["address", "add", &format!("{}/32", runtime::ADDRESS), "dev", "node0"].as_slice(),
            ["link", "set", "node0", "up"].as_slice(),
        ] {
            run(Command::new("ip").args(arguments), runtime::CALL).await?;
        }
        let policy = serde_json::json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{ "level": "Metadata", "users": [audited] }, { "level": "None" }],
        });
        let path = folder.join("audit-policy.json");
        std::fs::write(&path, policy.to_string()).map_err(NodeError::file("write", &path))?;
        let arguments = [
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={}", runtime::ADDRESS),
            // With a node there are those who read where the API server is.
            "--endpoint-reconciler-type=lease".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--audit-policy-file={}", path.display()),
            format!("--audit-log-path={}", folder.join("audit.log").display()),
        ];
        let cluster = Cluster::start(Options {
            controller_manager: true,
            scheduler: true,
            apiserver_arguments: arguments.into(),
            directory: Some(folder.join("cluster")),
            ..Options::default()
        })
        .await?;
        let mut runtime = Runtime::prepare(folder, programs, cluster.kubeconfig().to_owned())?;
        runtime.start_containerd().await?;
        runtime.start_kubernetes()?;
        let node = Self { cluster, runtime, folder: folder.to_owned() };
        node.ready().await?;
        Ok(node)
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Loads an OCI archive, so that its image needs no registry.
    pub async fn load(&self, archive: &Path) -> Result<(), NodeError> {
        self.runtime.load(archive).await
    }

    /// The processes of the pods in this namespace.
    pub async fn processes_in(&self, namespace: &str) -> Result<Vec<Pid>, NodeError> {
        self.processes(namespace, None).await
    }

    /// The processes of this pod.
    pub async fn processes_of(&self, namespace: &str, pod: &str) -> Result<Vec<Pid>, NodeError> {
        self.processes(namespace, Some(pod)).await
    }

    async fn processes(&self, namespace: &str, pod: Option<&str>) -> Result<Vec<Pid>, NodeError> {
        let processes = self.runtime.processes_in(namespace, pod).await?;
        if processes.is_empty() {
            return Err(NodeError::Wrong(format!("no process runs for {namespace}")));
        }
        Ok(processes)
    }

    /// Restarts the node as a power cut does, as far as that can be had: containerd, kubelet, kube-proxy and these processes
    /// of pods are killed. Then containerd, kubelet and kube-proxy are started again. Other pods, and the control plane,
    /// live on.
    pub async fn restart(&mut self, processes: &[Pid]) -> Result<(), NodeError> {
        self.runtime.kill().await?;
        end(processes)?;
        self.runtime.start_containerd().await?;
        self.runtime.start_kubernetes()?;
        self.ready().await
    }

    /// Waits until kubelet says that pods can run.
    async fn ready(&self) -> Result<(), NodeError> {
        let nodes: Api<core::Node> = Api::all(self.cluster.client().await?);
        wait_until("the node to be ready", READY, async || {
            let node = nodes.get(cell::NAME).await.map_err(|error| error.to_string())?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
            match ready {
                Some(condition) if condition.status == "True" => Ok(()),
                Some(condition) => Err(condition.message.unwrap_or_default()),
                None => Err("no condition yet".to_owned()),
            }
        })
        .await?;
        Ok(())
    }

    /// What the API server has written down.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }
}

/// Kills processes.
pub(super) fn end(processes: &[Pid]) -> Result<(), NodeError> {
    for process in processes {
        kill(*process, Signal::SIGKILL)
            .map_err(|error| NodeError::Wrong(format!("process {process} cannot be ended: {error}")))?;
    }
    Ok(())
}

/// Runs a program to its end and gives what it says on standard output.
async fn run(command: &mut Command, limit: Duration) -> Result<String, NodeError> {
    let text = {
        let command = command.as_std();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(limit, command.output()).await {
        Ok(output) => output.map_err(|source| NodeError::Run { program: text.clone(), source })?,
        Err(_) => {
            return Err(NodeError::Failed { command: text, told: format!("no end within {} s", limit.as_secs()) });
        }
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Err(NodeError::Failed { command: text, told })
}
