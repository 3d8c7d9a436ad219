//! Why a run failed, for a machine (the reason) and for a person (what to do).

use printernizer_crds::backup_policy::RunReason;

use crate::engine::EngineError;

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The reason, part of the API.
    pub reason: RunReason,
    /// What a person has to know, and to do.
    pub message: String,
}

impl Failure {
    /// A failure with this reason and message.
    pub fn new(reason: RunReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// A source that is not there or cannot be read.
    pub fn source_unavailable(message: impl Into<String>) -> Self {
        Self::new(RunReason::SourceUnavailable, message)
    }

    /// What the run was told cannot be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RunReason::InvalidConfiguration, message)
    }

    /// Anything that has no reason of its own.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(RunReason::Failed, message)
    }

    /// The run was told to stop.
    pub fn interrupted() -> Self {
        Self::new(
            RunReason::Interrupted,
            "the run was told to stop before it was done, as when its pod is deleted, its node is drained or \
             jobTemplate.activeDeadlineSeconds is over; nothing it left counts as a recovery point",
        )
    }

    /// A file of the run's own scratch space could not be used.
    pub fn scratch(path: &std::path::Path, error: &std::io::Error) -> Self {
        let advice = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ": the scratch space is full; give the pods more ephemeral storage, or the drill a scratchSize that holds \
                 everything that is backed up"
            }
            _ => "",
        };
        Self::other(format!("cannot use {}: {error}{advice}", path.display()))
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}
