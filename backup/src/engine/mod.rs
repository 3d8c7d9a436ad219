//! What a run asks of a repository of backups, whatever keeps it. `restic` is the one there is: it drives the command line.

mod bucket;
mod classify;
mod location;
mod restic;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use printernizer_crds::backup_policy::{Retention, RunReason};

pub use location::Location;
pub use restic::{Restic, Settings};

/// Why the engine did not do what it was asked to. Messages are for a person: they say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing is at the location.
    #[error(
        "no backup repository is at {0}, where the backups of this policy were: look whether bucket, prefix or volume were \
         emptied or replaced; nothing was written. To begin anew there, change the target or delete and make the policy anew"
    )]
    Missing(String),
    /// The password is wrong.
    #[error(
        "the password does not open the repository at {0}: it was changed in the Secret, or the repository is somebody \
         else's; put the former password back (restic key passwd changes the repository's own)"
    )]
    WrongPassword(String),
    /// Another run holds it.
    #[error("another run holds the repository at {0} and did not let go in time; the next run tries again")]
    Locked(String),
    /// A lock that nobody replaces, and that does not look old.
    #[error(
        "a lock is on the repository at {0} that nobody has replaced for a long time and that restic takes for a young one: the \
         clock of the run that wrote it was ahead; when no run is at work there, type restic unlock --remove-all"
    )]
    DeadLock(String),
    /// It does not answer.
    #[error("{location} does not answer: {said}{advice}")]
    Unreachable {
        /// Where.
        location: String,
        /// What was said of it.
        said: String,
        /// What a person may do.
        advice: String,
    },
    /// It answers and refuses.
    #[error("{location} refuses: {said}{advice}")]
    Refused {
        /// Where.
        location: String,
        /// What was said of it.
        said: String,
        /// What a person may do.
        advice: String,
    },
    /// Bucket or volume is not there.
    #[error("{location} is not there: {said}{advice}")]
    NotFound {
        /// Where.
        location: String,
        /// What was said of it.
        said: String,
        /// What a person may do.
        advice: String,
    },
    /// It is full.
    #[error("{location} is full: {said}; make room there, or keep less (spec.retention)")]
    Full {
        /// Where.
        location: String,
        /// What was said of it.
        said: String,
    },
    /// It is damaged.
    #[error(
        "the repository at {location} is damaged: {said}. Do not delete anything; restore from a copy if there is one, and \
         follow https://restic.readthedocs.io/en/stable/077_troubleshooting.html"
    )]
    Damaged {
        /// Where.
        location: String,
        /// What was said of it.
        said: String,
    },
    /// Something else is where it is to be made.
    #[error(
        "{location} holds something else ({found}), so no repository was made in it: name another volume, or a folder of it that is \
         empty or not there (subPath)"
    )]
    Occupied {
        /// Where.
        location: String,
        /// One of the things that are there.
        found: String,
    },
    /// A repository was begun there, and whoever did was ended before it was one.
    #[error(
        "a repository was begun at {location} and not finished, and nothing is stored in it: empty the folder, and the next backup makes one"
    )]
    Begun {
        /// Where.
        location: String,
    },
    /// Files could not be read, or the command that makes the data failed.
    #[error("{0}")]
    Source(String),
    /// The run was told to stop.
    #[error("the run was told to stop before it was done; nothing it left counts as a recovery point")]
    Interrupted,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl EngineError {
    /// The reason it is in the API.
    pub fn reason(&self) -> RunReason {
        match self {
            Self::Missing(_) => RunReason::RepositoryMissing,
            Self::WrongPassword(_) => RunReason::WrongPassword,
            Self::Locked(_) | Self::DeadLock(_) => RunReason::RepositoryLocked,
            Self::Unreachable { .. } => RunReason::TargetUnreachable,
            Self::Refused { .. } => RunReason::TargetRefused,
            Self::NotFound { .. } => RunReason::TargetNotFound,
            Self::Full { .. } => RunReason::TargetFull,
            Self::Damaged { .. } => RunReason::RepositoryDamaged,
            Self::Occupied { .. } | Self::Begun { .. } => RunReason::InvalidConfiguration,
            Self::Source(_) => RunReason::SourceUnavailable,
            Self::Interrupted => RunReason::Interrupted,
            Self::Other(_) => RunReason::Failed,
        }
    }
}

/// What is stored as one snapshot.
#[derive(Debug)]
pub enum Data {
    /// Files and folders, without what the patterns exclude.
    Files {
        /// Absolute paths.
        paths: Vec<PathBuf>,
        /// Patterns as the engine knows them.
        excludes: Vec<String>,
    },
    /// One file, by this name in the snapshot.
    File {
        /// Where it is now.
        from: PathBuf,
        /// Its path in the snapshot, from `/` on.
        name: String,
    },
    /// These bytes, by this name.
    Bytes {
        /// What they are.
        bytes: Vec<u8>,
        /// Their path in the snapshot, from `/` on.
        name: String,
    },
    /// What a command writes, which must succeed, by this name.
    Command {
        /// The program.
        program: PathBuf,
        /// Its arguments; no secrets.
        arguments: Vec<OsString>,
        /// Its environment, which may hold secrets.
        environment: Environment,
        /// The path in the snapshot, from `/` on.
        name: String,
    },
}

/// Variables of a command; may hold secrets, so that they do not show themselves.
#[derive(Clone, Default)]
pub struct Environment(pub Vec<(OsString, OsString)>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What stands at a snapshot.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Whose it is.
    pub host: String,
    /// What it is found by.
    pub tags: Vec<String>,
    /// When its run began.
    pub time: Timestamp,
}

/// A snapshot that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub snapshot: String,
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes that were new and written.
    pub bytes_added: u64,
}

/// A snapshot in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// The id it had where it was made, if this is a copy.
    pub original: Option<String>,
    /// When its run began.
    pub time: Timestamp,
    /// SHA-256 over everything in it.
    pub tree: String,
    /// Its tags.
    pub tags: Vec<String>,
}

impl Snapshot {
    /// Whether it is the snapshot with this id, or a copy of it.
    pub fn is(&self, id: &str) -> bool {
        self.id == id || self.original.as_deref() == Some(id)
    }

    /// The id it had where it was made.
    pub fn origin(&self) -> &str {
        self.original.as_deref().unwrap_or(&self.id)
    }

    /// The value of the tag `key=value`.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))
    }
}

/// An entry of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the folder that was asked for, from `/` on.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// When it was changed, in whole seconds.
    pub modified_unix_seconds: i64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, a pipe or a device.
    Other,
}

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How much of the data a check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// So many percent, chosen anew each time.
    Percent(u8),
    /// One of so many parts, counted from 1: the same each time, and together everything.
    Part(u16, u16),
}

/// The most parts there can be.
pub const MOST_PARTS: u16 = 256;

/// A repository of backups.
#[allow(async_fn_in_trait, reason = "runs live on one thread")]
pub trait Engine {
    /// Where it is, for a person.
    fn location(&self) -> String;

    /// Its id, or None if there is none yet. The first thing that is asked: whether it answers at all, and the password.
    async fn open(&self) -> Result<Option<String>, EngineError>;

    /// Makes it; with the chunking of another one, so that copies from there share what they have in common. Gives its id.
    async fn create(&self, like: Option<&Self>) -> Result<String, EngineError>;

    /// Stores a snapshot.
    async fn store(&self, data: &Data, marks: &Marks) -> Result<Stored, EngineError>;

    /// All snapshots of a host. Fails where any snapshot of the repository cannot be loaded: it could be one of them.
    async fn snapshots(&self, host: &str) -> Result<Vec<Snapshot>, EngineError>;

    /// The snapshots of a host that can be loaded, and what is wrong if others cannot: for people who look for one of them.
    async fn loadable(&self, host: &str) -> Result<(Vec<Snapshot>, Option<EngineError>), EngineError>;

    /// Every entry below a folder of a snapshot, folders before what is in them, in the order of their names.
    async fn list(&self, snapshot: &str, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), EngineError>;

    /// A file of a snapshot, at most so many bytes.
    async fn read(&self, snapshot: &str, file: &str, at_most: usize) -> Result<Vec<u8>, EngineError>;

    /// Writes a file of a snapshot into one of this machine.
    async fn extract(&self, snapshot: &str, file: &str, into: &Path) -> Result<(), EngineError>;

    /// Restores a folder of a snapshot into an empty one, and reads everything back once it is written.
    async fn restore(&self, snapshot: &str, folder: &str, into: &Path) -> Result<Restored, EngineError>;

    /// Which snapshots with the tag these rules do not keep.
    async fn expired(&self, host: &str, tag: &str, retention: &Retention) -> Result<Vec<String>, EngineError>;

    /// Forgets snapshots.
    async fn forget(&self, snapshots: &[String]) -> Result<(), EngineError>;

    /// Deletes what no snapshot needs.
    async fn prune(&self) -> Result<(), EngineError>;

    /// Checks structure, and this much of the data.
    async fn check(&self, sample: Sample) -> Result<(), EngineError>;

    /// Bytes that all snapshots need, everybody's.
    async fn size_bytes(&self) -> Result<u64, EngineError>;

    /// Copies snapshots that are not here yet from another repository.
    async fn copy(&self, from: &Self, snapshots: &[String]) -> Result<(), EngineError>;
}
