//! What can go wrong in the demo, each with its cause and with what to do about it.

use std::path::PathBuf;

use crate::farm::FarmError;

/// Why the demo could not go on. A job that fails is no error: it is told, and the exit code says so.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The farm around the printers.
    #[error(transparent)]
    Farm(#[from] FarmError),
    /// An example cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An example is no YAML.
    #[error("{} is not YAML that Kubernetes could read", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What and where in the text.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// There are no printers to copy from.
    #[error("{} names no Printer with a prusaLink connection and its Secret", path.display())]
    NoPrinters {
        /// The folder of the examples.
        path: PathBuf,
    },
    /// kubectl cannot be run.
    #[error("kubectl cannot be run; install it, or leave out --context and KUBECONFIG")]
    NoKubectl(#[source] std::io::Error),
    /// kubectl does not do what it is told.
    #[error("kubectl apply did not succeed: {0}")]
    Kubectl(String),
    /// The operator has ended although nobody asked it to.
    #[error("the operator ended by itself ({status}). The end of its log:\n{tail}")]
    OperatorEnded {
        /// How.
        status: String,
        /// The end of its log.
        tail: String,
    },
    /// A file of the demo itself cannot be written.
    #[error("cannot write {}; check that the folder exists and is yours", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The screen is gone.
    #[error("cannot write to the terminal")]
    Screen(#[source] std::io::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
    /// Told elsewhere with its causes.
    #[error("{0}")]
    Told(String),
}
