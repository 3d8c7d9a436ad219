//! What can go wrong in a project command, each with its cause and with what to do about it.

use std::path::PathBuf;

/// Why a command could not do its work. A test that fails is no error: it is a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be started.
    #[error("{program} could not be started; {advice}")]
    Start {
        /// The program.
        program: String,
        /// What to do about it.
        advice: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The output of a program could not be read, or its end not waited for.
    #[error("lost contact with {program}")]
    Lost {
        /// The program.
        program: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A program that tells about the workspace ended badly or told something else.
    #[error("{program} did not describe the workspace: {told}")]
    Metadata {
        /// The program.
        program: String,
        /// What it said.
        told: String,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}; check that the folder exists and is yours", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A program could not do what it was asked for.
    #[error("{program} failed: {told}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        told: String,
    },
    /// A definition cannot be written as YAML or JSON.
    #[error("the definition of {kind} cannot be written")]
    Yaml {
        /// Kind of the definition.
        kind: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something the tests need is missing and cannot be installed from here.
    #[error("missing: {0}")]
    Missing(String),
}
