//! The copy of a database that nobody has open, as files: the database with its journal or write-ahead log. Taken only if
//! none of them changed meanwhile, it is what the file system would hold after a crash at that moment, which SQLite brings
//! to order when the copy is opened.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rusqlite::OpenFlags;

use super::{SqliteError, beside, discard, open};

/// How often it is tried before the database counts as one that is written to.
const ATTEMPTS: u32 = 3;
/// What belongs to a database beside itself. Not the shared memory: that is only of use to those who have it open.
const PARTS: [&str; 3] = ["", "-wal", "-journal"];

/// What changes when a file is written to.
#[derive(PartialEq, Eq)]
struct Fingerprint(u64, u64, i64, i64, i64, i64);

impl Fingerprint {
    fn of(file: &Metadata) -> Self {
        Self(file.ino(), file.size(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec())
    }
}

/// Where the file says whether a write-ahead log belongs to it, and what it says then (<https://sqlite.org/fileformat.html>).
const READ_VERSION: u64 = 19;
const READ_VERSION_WAL: u8 = 2;

/// Whether nobody has a database with a write-ahead log open: the last to close it removes the files beside it. SQLite would
/// make them anew, also for a reader.
pub fn is(database: &Path) -> Result<bool, SqliteError> {
    let file = |source| SqliteError::missing(database, source);
    let mut version = [0];
    let read = File::open(database).map_err(file)?.read_at(&mut version, READ_VERSION).map_err(file)?;
    if read == 0 || version != [READ_VERSION_WAL] {
        return Ok(false);
    }
    let is_there = |suffix| beside(database, suffix).try_exists().map_err(file);
    Ok(!is_there("-shm")? || !is_there("-wal")?)
}

/// Makes the copy and brings it to order.
pub fn copy(database: &Path, into: &Path) -> Result<(), SqliteError> {
    for _ in 0..ATTEMPTS {
        let before = fingerprints(database)?;
        for (suffix, fingerprint) in PARTS.iter().zip(&before) {
            if fingerprint.is_some() {
                let (from, to) = (beside(database, suffix), beside(into, suffix));
                duplicate(&from, &to).map_err(|source| SqliteError::File { path: from, source })?;
            }
        }
        if fingerprints(database)? == before {
            return settle(into, database);
        }
        discard(into)?;
    }
    Err(SqliteError::Changing { path: database.to_owned() })
}

/// Copies the content alone: the copy is ours to write to.
fn duplicate(from: &Path, to: &Path) -> std::io::Result<u64> {
    std::io::copy(&mut File::open(from)?, &mut File::create_new(to)?)
}

fn fingerprints(database: &Path) -> Result<Vec<Option<Fingerprint>>, SqliteError> {
    let of = |suffix: &&str| {
        let path = beside(database, suffix);
        match std::fs::metadata(&path) {
            Ok(file) => Ok(Some(Fingerprint::of(&file))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SqliteError::File { path, source }),
        }
    };
    PARTS.iter().map(of).collect()
}

/// Lets SQLite roll back what was not finished and take over what stands in the log, so that the copy is one file.
fn settle(copy: &Path, database: &Path) -> Result<(), SqliteError> {
    let failed = |source| SqliteError::of(database, source);
    let connection = open(copy, "mode=rw", OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map_err(failed)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))
}
