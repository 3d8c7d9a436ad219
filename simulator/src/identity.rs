//! Which print an entry of the ledger is about, in the terms of each kind of printer, and what it was printed with.
//!
//! Plain data for tests and the control API.

use serde::{Deserialize, Serialize};

/// Which print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PrintIdentity {
    /// PrusaLink: the number the firmware gave it.
    PrusaLink {
        /// The job's id.
        #[serde(rename = "jobId")]
        job_id: u16,
    },
    /// Bambu: what the client gave it.
    Bambu(BambuIdentity),
}

/// What a client calls its print, as the printer keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub struct BambuIdentity {
    /// Number of the plate in the file, 0 if the request named none.
    pub plate: u32,
    pub task_id: String,
    pub subtask_id: String,
    pub project_id: String,
    pub subtask_name: String,
}

/// Where a filament of a print came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilamentUse {
    /// Number within the project, from 1.
    pub filament: usize,
    /// Material the file was sliced for.
    pub wanted_material: String,
    /// Slot of the AMS from 0, or 254 for the external spool.
    pub tray: u8,
    /// Material that was in it when the print began.
    pub material: String,
    /// RRGGBBAA.
    pub color: String,
}

impl PrintIdentity {
    /// What a Bambu printer knows of the print.
    pub fn bambu(&self) -> Option<&BambuIdentity> {
        match self {
            Self::Bambu(identity) => Some(identity),
            Self::PrusaLink { .. } => None,
        }
    }
}
