//! What can go wrong with a control plane, and what a person can do about it.

use std::path::PathBuf;

use crate::BuildError;

/// Why there is no control plane to use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be built.
    #[error("the control plane cannot be built; set KUBECONFIG to use an existing cluster instead")]
    Build(#[from] BuildError),
    /// A file could not be read or written.
    #[error("cannot {action} {path}; set PRINTERNIZER_CACHE to a directory with 1 GB of free space if it is the cache")]
    File {
        /// `read`, `write`, `lock`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The Go module does not name the version of Kubernetes.
    #[error("{path} does not require k8s.io/kubernetes in a version")]
    NoVersion {
        /// The go.mod.
        path: PathBuf,
    },
    /// The program could not be executed.
    #[error("cannot run {program}; delete it to have it built again")]
    Run {
        /// The program.
        program: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The control plane ended instead of becoming ready; the reason has the end of the log of what failed.
    #[error("the control plane did not start:\n{reason}")]
    Start {
        /// What the supervisor said.
        reason: String,
    },
    /// The control plane did not end well, or a part of it had died before it was asked to end.
    #[error("the control plane did not end well:\n{reason}")]
    Stop {
        /// What the supervisor said.
        reason: String,
    },
    /// A kubeconfig cannot be used.
    #[error(
        "cannot use the kubeconfig {kubeconfig}; check KUBECONFIG and the name of the context, or unset KUBECONFIG to \
             start a control plane instead"
    )]
    Kubeconfig {
        /// The value of `KUBECONFIG`.
        kubeconfig: PathBuf,
        /// The cause.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// No client could be made from a kubeconfig.
    #[error("cannot make a client from the kubeconfig")]
    Client(#[source] Box<kube::Error>),
    /// An existing cluster refuses us or cannot be reached.
    #[error("the cluster at {server} does not answer as it should; unset KUBECONFIG to start a control plane instead")]
    Unreachable {
        /// Its URL.
        server: String,
        /// What the client saw.
        #[source]
        source: Box<kube::Error>,
    },
    /// An existing cluster does not answer.
    #[error(
        "no answer from the cluster at {server} within {seconds} s; unset KUBECONFIG to start a control plane instead"
    )]
    NoAnswer {
        /// Its URL.
        server: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The thread that did the work ended early, by a panic or because the runtime shut down.
    #[error("the work on the control plane was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}
