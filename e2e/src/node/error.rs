//! What can go wrong around a node, and what a person can do about it.

use std::path::PathBuf;

/// Why a node, or something on it, does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It takes root.
    #[error("a node takes root: run this as root, or with sudo --preserve-env; nothing was started")]
    NotRoot,
    /// Another node runs.
    #[error("another node runs on this machine, which holds {}; wait for its end", lock.display())]
    Busy {
        /// The file that is locked.
        lock: PathBuf,
    },
    /// Something else stands where the node is to be.
    #[error("{} is no folder that a node has left (it belongs to user {user}); look at it, remove it, and start again", place.display())]
    Foreign {
        /// The place.
        place: PathBuf,
        /// Number of the user it belongs to.
        user: u32,
    },
    /// Something the node needs is not there.
    #[error("{what} is missing; {advice}")]
    Missing {
        /// What.
        what: String,
        /// What to do.
        advice: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A program did not do what it was asked for.
    #[error("{command}: {told}")]
    Failed {
        /// What was run.
        command: String,
        /// What it said.
        told: String,
    },
    /// A program of the node could not be built.
    #[error(transparent)]
    Build(#[from] crate::BuildError),
    /// The control plane, or a program made of Kubernetes.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::Error),
    /// The API server.
    #[error("the API server does not do what it was asked for")]
    Api(#[from] kube::Error),
    /// A server of others.
    #[error(transparent)]
    Server(#[from] crate::servers::ServerError),
    /// A simulated printer.
    #[error(transparent)]
    Farm(#[from] crate::farm::FarmError),
    /// The examples.
    #[error(transparent)]
    Examples(#[from] crate::demo::DemoError),
    /// Something did not happen in time.
    #[error(transparent)]
    Waited(#[from] crate::WaitTimeout),
    /// Something is not as it must be.
    #[error("{0}")]
    Wrong(String),
}

impl NodeError {
    /// For `map_err`.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
