//! The programs of a node. Kubernetes' own and containerd are built from their Go modules into the cache; what Debian
//! ships (runc, the CNI plugins, nft, ip) is looked for.

use std::path::{Path, PathBuf};

use super::NodeError;
use crate::cache_dir;
use crate::cluster::{self, Own};
use crate::servers::{ServerError, s3};
use crate::tools::first_release::{self, COMMIT};
use crate::tools::go::{self, Module};
use crate::tools::{self, Tool};

/// kubelet and kube-proxy.
const NODE: Own = Own {
    what: "the node",
    module: concat!(env!("CARGO_MANIFEST_DIR"), "/node"),
    name: "printernizer-node",
    folder: "node",
};

/// Debian 12's containerd is too old for this kubelet.
const CONTAINERD: &str = "v2.4.2";

const fn of_containerd(name: &'static str, package: &'static str) -> Module {
    Module { what: "containerd", name, package, version: CONTAINERD, takes: "a minute or two" }
}

const MODULES: [Module; 3] = [
    of_containerd("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    of_containerd("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
    of_containerd("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
];

/// Where runc is: of Debian's package, or of Docker's, beside which Debian's cannot be.
const RUNC: &[&str] = &["/usr/sbin/runc", "/usr/bin/runc"];

/// What else comes from Debian: the file, and its package.
const DEBIAN: [(&str, &str); 3] =
    [("/usr/lib/cni/bridge", "containernetworking-plugins"), ("/usr/sbin/nft", "nftables"), ("/sbin/ip", "iproute2")];

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// kubelet and kube-proxy, as sub-commands.
    pub kubernetes: PathBuf,
    /// helm.
    pub helm: PathBuf,
    /// runc.
    pub runc: &'static Path,
    /// Programs of containerd, with the names by which they call each other.
    pub containerd: Vec<(&'static str, PathBuf)>,
}

impl Programs {
    /// What of them is not there yet; an error if it is something that this cannot build.
    pub fn missing() -> Result<Vec<&'static str>, NodeError> {
        from_debian()?;
        let of_modules = MODULES.iter().map(|module| (module.name, module.path().is_file()));
        let others = [
            ("kubelet", NODE.cached().is_some()),
            ("helm", Tool::Helm.is_cached()),
            ("versitygw", s3::is_built()),
            ("the first release", first_release().is_ok()),
        ];
        Ok(of_modules.chain(others).filter_map(|(name, is_there)| (!is_there).then_some(name)).collect())
    }

    /// Builds what the cache does not have, the control plane among them. Blocks; `progress` gets a line for a person
    /// every few seconds.
    pub fn ensure(progress: &mut dyn FnMut(&str)) -> Result<Self, NodeError> {
        let runc = from_debian()?;
        cluster::ensure_binary(progress)?;
        let kubernetes = cluster::ensure(&NODE, progress)?;
        let helm = Tool::Helm.ensure(progress)?;
        s3::ensure_binary(progress)?;
        // Where the node is, nothing more can be fetched.
        tools::postgres(progress).map_err(ServerError::from)?;
        tools::restic(progress).map_err(|error| NodeError::Wrong(error.to_string()))?;
        let mut containerd = Vec::new();
        for module in &MODULES {
            containerd.push((module.name, go::install(module, progress)?));
        }
        Ok(Self { kubernetes, helm, runc, containerd })
    }
}

/// The folder of the first release; an error if nobody has built it.
pub fn first_release() -> Result<PathBuf, NodeError> {
    let place = first_release::place(&cache_dir());
    if place.is_dir() {
        return Ok(place);
    }
    let what = format!("the first release (commit {COMMIT}, expected in {})", place.display());
    Err(NodeError::Missing { what, advice: "cargo xtask e2e builds it".to_owned() })
}

/// runc; an error if it or anything else of Debian's is not there.
fn from_debian() -> Result<&'static Path, NodeError> {
    for (file, package) in &DEBIAN {
        found(&[file], package)?;
    }
    found(RUNC, "runc")
}

/// The first of these files that is there; otherwise what to install.
fn found(files: &[&'static str], package: &str) -> Result<&'static Path, NodeError> {
    files.iter().copied().map(Path::new).find(|file| file.exists()).ok_or_else(|| NodeError::Missing {
        what: files.join(" or "),
        advice: format!("apt-get install --no-remove {package}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_in_any_of_its_places_and_a_missing_one_is_told_with_its_package() {
        assert_eq!(found(&["/no/such/file", "/proc"], "a").unwrap(), Path::new("/proc"));
        let told = found(&["/no/such/file", "/none"], "runc").unwrap_err().to_string();
        assert_eq!(told, "/no/such/file or /none is missing; apt-get install --no-remove runc");
    }

    /// A kubelet may be older than its API server but not newer, and they are built of the same modules.
    #[test]
    fn the_node_is_of_the_same_version_as_its_control_plane() {
        let versions = |module: &str| {
            let path = format!("{}/{module}/go.mod", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let replaced = text.lines().filter(|line| line.contains("=>")).map(str::to_owned).collect::<Vec<_>>();
            let kubernetes = text.lines().find(|line| line.trim().starts_with("k8s.io/kubernetes ")).unwrap();
            (kubernetes.to_owned(), replaced)
        };
        let (cluster, node) = (versions("cluster"), versions("node"));
        assert!(!node.1.is_empty());
        assert_eq!(node, cluster);
    }
}
