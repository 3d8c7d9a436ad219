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

impl Proof {
    /// What there is nothing of, where there is nothing.
    pub fn lacks(&self) -> Option<&'static str> {
        let (count, what) = match self {
            Self::Files(files) => (files.files, "files"),
            Self::Objects(objects) => (objects.count, "objects"),
            Self::Sqlite(database) => (database.rows.row_count(), "rows"),
            Self::Postgres(database) => (database.rows.row_count(), "rows"),
        };
        (count == 0).then_some(what)
    }
}
