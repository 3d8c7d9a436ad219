//! Why a SQLite database could not be backed up, verified or restored, in words for the person who has to act.

use std::path::{Path, PathBuf};

use printernizer_crds::backup_policy::RunReason;
use rusqlite::ErrorCode;

use crate::rows::RowsDiffer;

/// Longest text of SQLite's in a message, in characters.
const TOLD: usize = 300;

/// Why a SQLite database could not be backed up, verified or restored.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// It is not there, or not for us to see.
    #[error(
        "the SQLite database {path} cannot be read: {source}; check claimName and path, and that the backup's user may read it"
    )]
    Missing {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is a directory or something else.
    #[error("{path} is not a file; path must name the SQLite database itself")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is no database, or a damaged one.
    #[error("the SQLite database {path} is damaged: {said}; restore it from an older recovery point")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        said: String,
    },
    /// The program that owns it kept it locked.
    #[error(
        "the SQLite database {path} stayed locked by its program; if that keeps it locked all the time (locking_mode=EXCLUSIVE), stop it for the backup"
    )]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// It was written to while it was copied as a file.
    #[error(
        "the SQLite database {path} changed while it was copied, again and again; its program has no -shm file beside it, as if it did not run"
    )]
    Changing {
        /// The database.
        path: PathBuf,
    },
    /// It needs something that only the program that owns it has.
    #[error(
        "the SQLite database {path} cannot be checked: {said}; it needs an extension of its own program, so back its files up while that program is stopped"
    )]
    Unsupported {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        said: String,
    },
    /// There is no room for the copy.
    #[error("no room for {path}: {said}; give the scratch space at least the size of the database")]
    Full {
        /// The file that was written.
        path: PathBuf,
        /// What SQLite said.
        said: String,
    },
    /// A restored one has not the size of the copy.
    #[error("the restored SQLite database {path} has {found} bytes instead of {expected}")]
    Size {
        /// The restored file.
        path: PathBuf,
        /// What was backed up.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A restored one has not the rows of the copy.
    #[error("the restored SQLite database {path} differs from what was backed up: {source}")]
    Differs {
        /// The restored file.
        path: PathBuf,
        /// Where.
        #[source]
        source: RowsDiffer,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Anything else that SQLite says.
    #[error("SQLite on {path}: {}", shown(&source.to_string()))]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
}

impl SqliteError {
    /// How a run ends that meets this.
    pub fn reason(&self) -> RunReason {
        match self {
            Self::Missing { .. } | Self::Busy { .. } | Self::Changing { .. } => RunReason::SourceUnavailable,
            Self::NotAFile { .. } | Self::Unsupported { .. } => RunReason::InvalidConfiguration,
            Self::Damaged { .. } => RunReason::SourceDamaged,
            Self::Size { .. } | Self::Differs { .. } => RunReason::RestoreDiffers,
            Self::Full { .. } | Self::File { .. } | Self::Sqlite { .. } => RunReason::Failed,
        }
    }

    pub(super) fn missing(path: &Path, source: std::io::Error) -> Self {
        Self::Missing { path: path.to_owned(), source }
    }

    /// What SQLite's answer means.
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let said = shown(&source.to_string());
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                Self::Damaged { path, said: format!("{said} (or it is encrypted by its program)") }
            }
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, said },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::Full { path, said },
            Some(ErrorCode::Unknown)
                if ["no such collation", "no such module", "no such function"]
                    .iter()
                    .any(|what| said.contains(what)) =>
            {
                Self::Unsupported { path, said }
            }
            _ => Self::Sqlite { path, source },
        }
    }

    /// Whether the database could not be opened without writing beside it: then it is copied as files.
    pub(super) fn needs_a_copy_at_rest(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => source.sqlite_error_code().is_some_and(super::cannot_be_read_alone),
            _ => false,
        }
    }
}

/// What SQLite says, which may hold what others wrote into a database: without control characters, and not endless.
pub(super) fn shown(said: &str) -> String {
    said.chars().take(TOLD).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
