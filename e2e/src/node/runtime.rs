//! What makes a machine a node: containerd, kubelet and kube-proxy, as they are configured and started here. Why each
//! setting: the machine may have control groups of version 1, no swap accounting, a nearly full disk, and may not let us
//! change what the out-of-memory killer prefers. A profile of AppArmor would be the whole machine's, and stay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;
use serde_json::json;
use tokio::process::{Child, Command};

use super::cell::NAME;
use super::{NodeError, Programs, run};
use crate::wait_until;

/// Where containerd listens.
const SOCKET: &str = "/run/containerd/containerd.sock";
/// Where pods are, in the test's own network.
const PODS: &str = "10.244.0.0/24";
/// The address of the node: shared address space of carriers (RFC 6598), that no farm's network uses. It must not be
/// loopback, for pods reach the API server there.
pub(super) const ADDRESS: &str = "100.64.0.1";
/// What containerd says when all its services are ready.
const BOOTED: &str = "containerd successfully booted";
/// Longest time for one of these programs to begin its work.
const START: Duration = Duration::from_secs(120);
/// Longest time for an answer of containerd.
pub(super) const CALL: Duration = Duration::from_secs(120);

/// containerd, kubelet and kube-proxy.
pub(super) struct Runtime {
    folder: PathBuf,
    programs: Programs,
    kubeconfig: PathBuf,
    /// Those that run, in the order in which they were started.
    running: Vec<Child>,
}

impl Runtime {
    /// Writes the configuration into the folder.
    pub(super) fn prepare(folder: &Path, programs: Programs, kubeconfig: PathBuf) -> Result<Self, NodeError> {
        let runtime = Self { folder: folder.to_owned(), programs, kubeconfig, running: Vec::new() };
        for name in ["bin", "cni", "logs", "kubelet"] {
            let path = runtime.path(name);
            fs::create_dir_all(&path).map_err(NodeError::file("make", &path))?;
        }
        for (name, program) in &runtime.programs.containerd {
            let link = runtime.path("bin").join(name);
            std::os::unix::fs::symlink(program, &link).map_err(NodeError::file("make", &link))?;
        }
        runtime.write("containerd.toml", &runtime.containerd())?;
        runtime.write("kubelet.json", &runtime.kubelet().to_string())?;
        runtime.write("cni/pods.conflist", &network().to_string())?;
        // Nothing in these pods asks for a name: printers have addresses, and the API server's is in their environment.
        runtime.write("resolv.conf", "")?;
        Ok(runtime)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), NodeError> {
        let path = self.path(name);
        fs::write(&path, text).map_err(NodeError::file("write", &path))
    }

    fn containerd(&self) -> String {
        let (root, cni) = (self.path("containerd"), self.path("cni"));
        format!(
            r#"version = 3
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{cni}"
[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = false
"#,
            root = root.display(),
            cni = cni.display(),
            runc = self.programs.runc.display(),
        )
    }

    fn kubelet(&self) -> serde_json::Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ADDRESS,
            // Only what is in this network namespace reaches it.
            "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{NAME}"),
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "evictionHard": {
                "memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%",
                "imagefs.available": "1%", "imagefs.inodesFree": "1%",
            },
            "failCgroupV1": false,
            "failSwapOn": false,
            "imageGCHighThresholdPercent": 100,
            "resolvConf": self.path("resolv.conf"),
        })
    }

    /// Starts containerd, and waits until it serves all it has. It answers a second earlier, but not what kubelet asks, and
    /// kubelet ends then.
    pub(super) async fn start_containerd(&mut self) -> Result<(), NodeError> {
        let config = self.path("containerd.toml");
        let mut command = Command::new(self.path("bin/containerd"));
        command.arg("--config").arg(config);
        let log = self.path("logs/containerd.log");
        // It may have been started before.
        let booted = || fs::read_to_string(&log).unwrap_or_default().matches(BOOTED).count();
        let before = booted();
        self.start("containerd", command)?;
        wait_until("containerd to serve", START, async || if booted() > before { Ok(()) } else { Err("not yet") })
            .await?;
        run(&mut self.ctr(&["version"]), CALL).await.map(drop)
    }

    /// Loads an OCI archive.
    pub(super) async fn load(&self, archive: &Path) -> Result<(), NodeError> {
        let mut command = self.ctr(&["images", "import"]);
        run(command.arg(archive), CALL).await.map(drop)
    }

    /// Starts kubelet and kube-proxy. containerd must run.
    pub(super) fn start_kubernetes(&mut self) -> Result<(), NodeError> {
        let node_name = format!("--hostname-override={NAME}");
        let mut kubelet = Command::new(&self.programs.kubernetes);
        kubelet.arg("kubelet").arg(format!("--config={}", self.path("kubelet.json").display()));
        kubelet.arg(format!("--kubeconfig={}", self.kubeconfig.display())).arg(&node_name);
        kubelet.arg(format!("--root-dir={}", self.path("kubelet").display()));
        kubelet.arg(format!("--cert-dir={}", self.path("kubelet/pki").display()));
        kubelet.arg(format!("--node-ip={ADDRESS}"));
        self.start("kubelet", kubelet)?;
        let mut proxy = Command::new(&self.programs.kubernetes);
        proxy.args(["kube-proxy", "--proxy-mode=nftables", &node_name, &format!("--cluster-cidr={PODS}")]);
        proxy.arg(format!("--kubeconfig={}", self.kubeconfig.display()));
        // The limits of connection tracking are the machine's.
        proxy.args(["--conntrack-max-per-core=0", "--conntrack-min=0"]);
        proxy.args(["--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"]);
        self.start("kube-proxy", proxy)
    }

    /// Kills containerd, kubelet and kube-proxy. What runs in pods stays.
    pub(super) async fn kill(&mut self) -> Result<(), NodeError> {
        for mut program in self.running.drain(..).rev() {
            let failed = |source| NodeError::Run { program: "kill".to_owned(), source };
            program.kill().await.map_err(failed)?;
        }
        Ok(())
    }

    /// The first processes of the containers, pods' own among them, that belong to pods in this namespace, or to this one of
    /// them.
    pub(super) async fn processes_in(&self, namespace: &str, pod: Option<&str>) -> Result<Vec<Pid>, NodeError> {
        let of = |label: &str, value: &str| format!("labels.\"io.kubernetes.pod.{label}\"=={value}");
        let labels = [Some(of("namespace", namespace)), pod.map(|pod| of("name", pod))];
        let filter = labels.into_iter().flatten().collect::<Vec<_>>().join(",");
        let ids = run(&mut self.ctr(&["containers", "list", "--quiet", &filter]), CALL).await?;
        let tasks = run(&mut self.ctr(&["tasks", "list"]), CALL).await?;
        Ok(running(&tasks, &ids))
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("bin/ctr"));
        command.args(["--address", SOCKET, "--namespace", "k8s.io"]).args(arguments);
        command
    }

    fn start(&mut self, name: &str, mut command: Command) -> Result<(), NodeError> {
        let path = self.path("logs").join(format!("{name}.log"));
        let log = fs::File::options().create(true).append(true).open(&path).map_err(NodeError::file("write", &path))?;
        let other = log.try_clone().map_err(NodeError::file("write", &path))?;
        let found = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin:{found}", self.path("bin").display()));
        command.stdin(Stdio::null()).stdout(log).stderr(other).kill_on_drop(true);
        let failed = |source| NodeError::Run { program: name.to_owned(), source };
        self.running.push(command.spawn().map_err(failed)?);
        Ok(())
    }
}

/// The processes of these containers that run, by what `ctr tasks list` says: `TASK PID STATUS`.
fn running(tasks: &str, ids: &str) -> Vec<Pid> {
    let of_task = |line: &str| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [id, process, "RUNNING"] if ids.lines().any(|line| line.trim() == *id) => process.parse().ok(),
        _ => None,
    };
    tasks.lines().filter_map(of_task).map(Pid::from_raw).collect()
}

/// The image of the container that holds a pod's network.
const PAUSE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// Pods on one bridge, reached from the node without translation of addresses. This plugin knows no network policies.
fn network() -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
            "ipam": { "type": "host-local", "ranges": [[{ "subnet": PODS }]], "routes": [{ "dst": "0.0.0.0/0" }] },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_that_run_in_these_containers_are_named() {
        let tasks =
            "TASK    PID     STATUS\naaa     12      RUNNING\nbbb     13      STOPPED\nccc     14      RUNNING\n";
        assert_eq!(running(tasks, "aaa\nbbb\n"), [Pid::from_raw(12)]);
        assert_eq!(running(tasks, ""), []);
    }
}
