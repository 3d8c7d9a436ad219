//! What is backed up, and what proves that a restore brought it back.

pub mod files;
pub mod objects;
pub mod tree;

use serde::{Deserialize, Serialize};

use crate::postgres::PostgresProof;
use crate::sqlite::SqliteProof;
pub use objects::ObjectsProof;
pub use tree::FilesProof;

/// What a restore is compared with. Recorded when the backup is made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Proof {
    /// Files of a volume.
    Files(FilesProof),
    /// Objects of Kubernetes.
    Objects(ObjectsProof),
    /// A SQLite database.
    Sqlite(SqliteProof),
    /// A PostgreSQL database.
    Postgres(PostgresProof),
}
