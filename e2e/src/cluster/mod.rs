//! A Kubernetes control plane for tests and for the demo: one of our own on loopback, started in seconds and
//! always taken down, or an existing one, which is never taken down. No nodes run, so no pods run either.
//! Builds the control plane with [`ensure_binary`] where the cache does not have it.

mod binary;
mod error;
mod process;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::OnceCell;
use tokio::time::timeout;

pub use binary::ensure_binary;
pub(crate) use binary::{Own, ensure};
pub use error::Error;
use process::Supervisor;

/// The context of `KUBECONFIG` that [`shared`] uses instead of starting a control plane.
pub const CONTEXT_VARIABLE: &str = "PRINTERNIZER_CONTEXT";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What to start. The default is etcd and the API server alone.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Run kube-controller-manager: CronJob, Job, HPA, garbage collection and the deletion of namespaces.
    pub controller_manager: bool,
    /// Run kube-scheduler. Without nodes it has nowhere to put a pod, but it says so in events.
    pub scheduler: bool,
    /// The API server's port on 127.0.0.1; 0 takes a free one.
    pub apiserver_port: u16,
    /// Further arguments of kube-apiserver, such as `--audit-log-path=/tmp/audit.log`; they win over ours.
    pub apiserver_arguments: Vec<String>,
    /// Where certificates, logs and data go: a directory that is empty or does not exist, and is removed at the
    /// end. Default: a new one in the system's temporary directory.
    pub directory: Option<PathBuf>,
    /// Leave the directory at the end, to look at logs.
    pub keep_data: bool,
}

/// A control plane that answers. Dropping it takes a control plane of our own down and waits for that; when this
/// process dies instead, however it dies, the control plane notices and takes itself down.
#[derive(Debug)]
pub struct Cluster {
    /// The value of the variable `KUBECONFIG`: one path, or several for an existing cluster.
    kubeconfig: PathBuf,
    context: Option<String>,
    server: String,
    kubectl: Kubectl,
    own: Option<Supervisor>,
}

#[derive(Debug)]
enum Kubectl {
    /// The script a control plane of our own writes, which knows its cluster.
    Script(PathBuf),
    /// The sub-command `kubectl` of this program.
    Ours(PathBuf),
    /// The `kubectl` of the machine.
    Installed,
}

impl Cluster {
    /// Starts a control plane and returns when it is ready, with a controller-manager also when that works. Builds
    /// the program first where it is missing, and tells about that on standard error; call [`ensure_binary`] before
    /// to show the progress elsewhere.
    pub async fn start(options: Options) -> Result<Self, Error> {
        tokio::task::spawn_blocking(move || {
            let program = ensure_binary(&mut tell)?;
            let supervisor = Supervisor::start(&program, &options)?;
            let ready = supervisor.ready();
            Ok(Self {
                kubeconfig: ready.kubeconfig.clone(),
                context: None,
                server: ready.server.clone(),
                kubectl: Kubectl::Script(ready.kubectl.clone()),
                own: Some(supervisor),
            })
        })
        .await
        .map_err(Error::Interrupted)?
    }

    /// Uses a cluster that is there: `kubeconfig`, or the variable `KUBECONFIG` (which may list several files), or
    /// `~/.kube/config`; in it `context`, or its current one. Asks it for its version, so that a wrong choice fails
    /// here. Such a cluster is never taken down.
    pub async fn existing(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, Error> {
        let kubeconfig = match kubeconfig {
            Some(path) => path.to_owned(),
            None => chosen_kubeconfig(),
        };
        let config = configuration(&kubeconfig, context).await?;
        let cluster = Self {
            server: config.cluster_url.to_string(),
            kubeconfig,
            context: context.map(str::to_owned),
            kubectl: binary::cached().map_or(Kubectl::Installed, Kubectl::Ours),
            own: None,
        };
        let client = cluster.client().await?;
        match timeout(CALL_TIMEOUT, client.apiserver_version()).await {
            Ok(Ok(_)) => Ok(cluster),
            Ok(Err(source)) => Err(Error::Unreachable { server: cluster.server, source: Box::new(source) }),
            Err(_) => Err(Error::NoAnswer { server: cluster.server, seconds: CALL_TIMEOUT.as_secs() }),
        }
    }

    /// [`Cluster::existing`] where the caller names a context or the variable `KUBECONFIG` is set, otherwise
    /// [`Cluster::start`].
    pub async fn existing_or_start(context: Option<&str>, options: Options) -> Result<Self, Error> {
        let named = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
        if context.is_some() || named { Self::existing(None, context).await } else { Self::start(options).await }
    }

    /// The kubeconfig, as a value for the variable `KUBECONFIG`: one path for a control plane of our own.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The context in the kubeconfig, where it is not the current one.
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// The URL of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whether this is an existing cluster, which stays when we end.
    pub fn is_existing(&self) -> bool {
        self.own.is_none()
    }

    /// The directory of logs, certificates and data of a control plane of our own.
    pub fn directory(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.ready().directory.as_path())
    }

    /// Process ids by program (`etcd`, `kube-apiserver`, ...); empty for an existing cluster. A control plane ends
    /// as a whole when one of them dies.
    pub fn children(&self) -> BTreeMap<String, u32> {
        self.own.as_ref().map(|own| own.ready().children.clone()).unwrap_or_default()
    }

    /// A new client. It belongs to the tokio runtime it is made in, so each test makes its own. It connects within
    /// 5 s and retries nothing, so that a test sees every answer the server gives; how long an answer may take is
    /// for the caller to bound, because watches stay open.
    pub async fn client(&self) -> Result<kube::Client, Error> {
        let config = configuration(&self.kubeconfig, self.context.as_deref()).await?;
        kube::Client::try_from(config).map_err(|source| Error::Client(Box::new(source)))
    }

    /// kubectl for this cluster, ready for further arguments.
    pub fn kubectl(&self) -> Command {
        let mut command = match &self.kubectl {
            Kubectl::Script(script) => return Command::new(script),
            Kubectl::Ours(program) => {
                let mut command = Command::new(program);
                command.arg("kubectl");
                command
            }
            Kubectl::Installed => Command::new("kubectl"),
        };
        command.env("KUBECONFIG", &self.kubeconfig);
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        command
    }

    /// What a person types before `get pods` to talk to this cluster, for an instruction on the screen.
    pub fn kubectl_line(&self) -> String {
        match (&self.kubectl, &self.context) {
            (Kubectl::Script(script), _) => script.display().to_string(),
            (_, Some(context)) => format!("kubectl --context {context}"),
            (_, None) => "kubectl".to_owned(),
        }
    }

    /// Takes a control plane of our own down, waits until it is gone, and tells if it had not ended well or had
    /// died before. Does nothing to an existing cluster.
    pub async fn stop(mut self) -> Result<(), Error> {
        let Some(own) = self.own.take() else { return Ok(()) };
        tokio::task::spawn_blocking(move || own.stop()).await.map_err(Error::Interrupted)?
    }
}

/// The cluster all tests of this process share: an existing one where `KUBECONFIG` or `PRINTERNIZER_CONTEXT` says
/// so, otherwise one of our own with a controller-manager, which ends with the process. Tests keep out of each
/// other's way with [`crate::Namespace`]; objects without a namespace, such as CRDs, are the same for all.
pub async fn shared() -> Result<&'static Cluster, Error> {
    // Never dropped: the pipe to the control plane closes with the process, which takes it down.
    static SHARED: OnceCell<Cluster> = OnceCell::const_new();
    SHARED
        .get_or_try_init(|| async {
            let context = std::env::var(CONTEXT_VARIABLE).ok().filter(|value| !value.is_empty());
            let options = Options { controller_manager: true, ..Options::default() };
            let cluster = Cluster::existing_or_start(context.as_deref(), options).await?;
            if cluster.is_existing() {
                tell(&format!("tests use the existing cluster {}", cluster.server()));
            }
            Ok(cluster)
        })
        .await
}

async fn configuration(kubeconfig: &Path, context: Option<&str>) -> Result<kube::Config, Error> {
    let wrong = |source| Error::Kubeconfig { kubeconfig: kubeconfig.to_owned(), source: Box::new(source) };
    let mut merged = Kubeconfig::default();
    for path in std::env::split_paths(kubeconfig).filter(|path| !path.as_os_str().is_empty()) {
        merged = Kubeconfig::read_from(path).and_then(|next| merged.merge(next)).map_err(wrong)?;
    }
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = kube::Config::from_custom_kubeconfig(merged, &options).await.map_err(wrong)?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.default_retry = false;
    Ok(config)
}

fn chosen_kubeconfig() -> PathBuf {
    match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(value) => PathBuf::from(value),
        None => std::env::home_dir().unwrap_or_default().join(".kube").join("config"),
    }
}

/// Progress for a person who waits. Standard error that cannot be written to is no reason to fail.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
