//! The manifest of a recovery point: what belongs to it, and what proves each part after a restore. It is stored last, as a
//! snapshot of its own; a run without one is no recovery point.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::source::Proof;

/// Path of the manifest within its snapshot.
pub const MANIFEST_PATH: &str = "/manifest.json";
/// Largest manifest that is read, in bytes. One of 25 sources with 10,000 tables each has half of it.
pub const MAX_MANIFEST_BYTES: usize = 8 << 20;
/// The version that is written.
const VERSION: u32 = 1;

/// What belongs to a recovery point.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Version of this format.
    pub version: u32,
    /// Id of the run, and of the recovery point.
    pub run: String,
    /// The policy.
    pub policy: String,
    /// Its namespace.
    pub namespace: String,
    /// When the run began (UTC).
    pub start_time: Timestamp,
    /// When its last source was stored (UTC).
    pub end_time: Timestamp,
    /// What it is made of.
    pub parts: Vec<Part>,
}

/// One source in a recovery point.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// What it is.
    pub source: PartSource,
    /// The snapshot it is in.
    pub snapshot: String,
    /// The root of that snapshot: SHA-256 over all names, times, sizes and contents in it.
    pub tree: String,
    /// Path within the snapshot: the folder of a volume, the file of everything else.
    pub path: String,
    /// What was read of it, in bytes.
    pub bytes: u64,
    /// What a restore of it is compared with.
    pub proof: Proof,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum PartSource {
    /// Files of a volume.
    Volume {
        /// Its claim.
        claim_name: String,
    },
    /// A SQLite database.
    Sqlite {
        /// The claim it is in.
        claim_name: String,
        /// Its path there.
        path: String,
    },
    /// A PostgreSQL database.
    Postgres {
        /// Its server.
        host: String,
        /// The server's port.
        port: i32,
        /// Its name.
        database: String,
    },
    /// Objects of Kubernetes.
    Objects,
}

impl std::fmt::Display for PartSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volume { claim_name } => write!(formatter, "volume {claim_name}"),
            Self::Sqlite { claim_name, path } => write!(formatter, "SQLite database {path} in volume {claim_name}"),
            Self::Postgres { host, port, database } => {
                write!(formatter, "PostgreSQL database {database} at {host}:{port}")
            }
            Self::Objects => formatter.write_str("Kubernetes objects"),
        }
    }
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no manifest.
    #[error("the manifest cannot be read")]
    Json(#[from] serde_json::Error),
    /// Something newer wrote it.
    #[error(
        "the manifest has version {0}, which a newer Printernizer has written: restore with that one, or by hand with restic"
    )]
    Version(u32),
    /// It would never be read again.
    #[error(
        "the manifest would have {0} bytes, more than the {MAX_MANIFEST_BYTES} that are read again: give this policy fewer \
         sources, and the others to a second one"
    )]
    TooLarge(usize),
}

impl Manifest {
    /// A manifest of this version.
    pub fn new(
        run: &str,
        policy: &str,
        namespace: &str,
        start_time: Timestamp,
        end_time: Timestamp,
        parts: Vec<Part>,
    ) -> Self {
        let [run, policy, namespace] = [run, policy, namespace].map(str::to_owned);
        Self { version: VERSION, run, policy, namespace, start_time, end_time, parts }
    }

    /// The manifest as it is stored; only one that can be read again.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let bytes = serde_json::to_vec_pretty(self)?;
        // Its last line gets an end when it is read.
        if bytes.len() < MAX_MANIFEST_BYTES { Ok(bytes) } else { Err(ManifestError::TooLarge(bytes.len())) }
    }

    /// The manifest that is stored here.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        match serde_json::from_slice::<Versioned>(bytes)?.version {
            VERSION => Ok(serde_json::from_slice(bytes)?),
            other => Err(ManifestError::Version(other)),
        }
    }

    /// What was read of all sources, in bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FilesProof;

    fn manifest() -> Manifest {
        let proof = Proof::Files(FilesProof { files: 2, bytes: 30, digest: "ab".to_owned() });
        let part = |source| Part {
            source,
            snapshot: "s".to_owned(),
            tree: "t".to_owned(),
            path: "/p".to_owned(),
            bytes: 30,
            proof: proof.clone(),
        };
        let parts = vec![
            part(PartSource::Volume { claim_name: "models".to_owned() }),
            part(PartSource::Sqlite { claim_name: "models".to_owned(), path: "a.db".to_owned() }),
            part(PartSource::Objects),
        ];
        Manifest::new("r", "p", "n", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, parts)
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let stored = manifest().encode().unwrap();
        assert_eq!(Manifest::decode(&stored).unwrap(), manifest());
        assert_eq!(manifest().bytes(), 90);
    }

    #[test]
    fn a_manifest_that_could_not_be_read_again_is_not_written() {
        let mut large = manifest();
        large.parts[0].path = "p".repeat(MAX_MANIFEST_BYTES);
        let error = large.encode().unwrap_err();
        assert!(error.to_string().contains("fewer sources"), "{error}");
    }

    #[test]
    fn a_manifest_of_a_newer_version_is_not_guessed_at() {
        let mut newer = serde_json::to_value(manifest()).unwrap();
        newer["version"] = 2.into();
        newer["parts"] = "quite different".into();
        let error = Manifest::decode(newer.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        assert!(Manifest::decode(b"{}").is_err());
    }
}
