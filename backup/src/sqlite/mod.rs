//! SQLite databases: copied while the program that owns them writes, checked, compared after a restore.
//!
//! The database's own directory is never written to by a backup, not even SQLite's helper files: a `-shm` file that we had
//! made would belong to us, and the program that owns the database could not write to it afterwards. So a database is
//! opened read-only and its shared memory too (`readonly_shm`), and one that nobody has open, which SQLite could only open
//! by making such files or by rolling back, is copied as files and brought to order in the copy.
//!
//! Sources: <https://sqlite.org/backup.html> (the online backup, and that it begins again when another process writes),
//! <https://sqlite.org/wal.html> (read-only databases), <https://sqlite.org/security.html> (databases of others).

mod at_rest;
mod error;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde::{Deserialize, Serialize};

use crate::rows::{Counts, Others, Rows};
pub use error::SqliteError;

/// How long a database may be locked by its program before the backup gives up.
const BUSY_LIMIT: Duration = Duration::from_secs(30);
/// How long a step waits for a lock before it looks at the time.
const BUSY_STEP: Duration = Duration::from_secs(1);
/// Pages of one step of a copy: a few milliseconds in which the program that owns the database waits.
const STEP_PAGES: i32 = 256;
/// How often a copy in steps may begin again because the database was written to, before it is made in one step.
const RESTARTS: u32 = 4;
/// How many complaints of SQLite's integrity check are told.
const COMPLAINTS: u32 = 3;

/// What proves a copy: recorded when it is made, compared when it is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqliteProof {
    /// Size of the copy in bytes.
    pub bytes: u64,
    /// Rows of its tables. Virtual tables are not counted: theirs are in the ordinary tables beneath them.
    pub rows: Rows,
}

/// Copies a database to a file that does not exist yet, while others write to it, and checks the copy: SQLite's integrity
/// check, and the rows of each table. The copy is what the database was at one moment.
///
/// Blocks, for as long as reading the database takes. In journal mode WAL nobody waits for it. In the others writers wait
/// for single steps; where they write all the time, for the whole copy.
pub fn copy(database: &Path, into: &Path) -> Result<SqliteProof, SqliteError> {
    copy_within(BUSY_LIMIT, database, into)
}

fn copy_within(limit: Duration, database: &Path, into: &Path) -> Result<SqliteProof, SqliteError> {
    let metadata = std::fs::metadata(database).map_err(|source| SqliteError::missing(database, source))?;
    if !metadata.is_file() {
        return Err(SqliteError::NotAFile { path: database.to_owned() });
    }
    let copied = if at_rest::is(database)? { Ok(false) } else { online(limit, database, into).map(|()| true) };
    match copied {
        Ok(true) => {}
        Err(error) if !error.needs_a_copy_at_rest() => return Err(error),
        Ok(false) | Err(_) => {
            discard(into)?;
            at_rest::copy(database, into)?;
        }
    }
    prove(into, database)
}

/// Compares a restored copy with what was recorded when it was made. Does not change it.
pub fn verify(restored: &Path, expected: &SqliteProof) -> Result<(), SqliteError> {
    let metadata = std::fs::metadata(restored).map_err(|source| SqliteError::missing(restored, source))?;
    if metadata.len() != expected.bytes {
        let (path, found) = (restored.to_owned(), metadata.len());
        return Err(SqliteError::Size { path, expected: expected.bytes, found });
    }
    let connection = open(restored, "immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check(&connection, restored)?;
    let found = count(&connection, restored)?;
    let path = restored.to_owned();
    expected.rows.compare(found, Others::None).map_err(|source| SqliteError::Differs { path, source })
}

/// The copy by the online backup of a database that can be opened as it is.
fn online(limit: Duration, database: &Path, into: &Path) -> Result<(), SqliteError> {
    let from = open(database, "mode=ro&readonly_shm=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    from.busy_timeout(limit).map_err(|source| SqliteError::of(database, source))?;
    let failed = |source| SqliteError::of(database, source);
    // Only reading the file tells what the file is.
    from.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map_err(failed)?;
    let journal: String = from.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(failed)?;
    let write = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let to = open(into, "mode=rwc", write)?;
    // A reader in WAL mode keeps nobody from writing, so it reads everything at once, as of one moment.
    let pages = if journal.eq_ignore_ascii_case("wal") { i32::MAX } else { STEP_PAGES };
    run(limit, &from, to, database, pages)
}

/// Runs a copy from one connection into another.
fn run(
    limit: Duration,
    from: &Connection,
    mut to: Connection,
    named: &Path,
    mut pages: i32,
) -> Result<(), SqliteError> {
    let failed = |source| SqliteError::of(named, source);
    from.busy_timeout(limit.min(BUSY_STEP)).map_err(failed)?;
    to.busy_timeout(limit.min(BUSY_STEP)).map_err(failed)?;
    let backup = Backup::new(from, &mut to).map_err(failed)?;
    let (mut remaining, mut restarts) = (i32::MAX, 0);
    let mut waiting_since = Instant::now();
    loop {
        match backup.step(pages).map_err(failed)? {
            StepResult::Done => break,
            StepResult::Busy | StepResult::Locked if waiting_since.elapsed() < limit => {
                // A lock of a program that is about to write is told at once, without waiting for it.
                std::thread::sleep(Duration::from_millis(20));
            }
            StepResult::Busy | StepResult::Locked => return Err(SqliteError::Busy { path: named.to_owned() }),
            _ => {
                waiting_since = Instant::now();
                let left = backup.progress().remaining;
                if left >= remaining {
                    restarts += 1;
                    // It would never come to its end while others write: now they wait until it is there.
                    pages = if restarts > RESTARTS { i32::MAX } else { pages };
                }
                remaining = left;
            }
        }
    }
    drop(backup);
    to.close().map_err(|(_, source)| failed(source))
}

/// Checks a copy that was just made; its trouble is the database's.
fn prove(copy: &Path, database: &Path) -> Result<SqliteProof, SqliteError> {
    let connection = open(copy, "immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check(&connection, database)?;
    let rows = Rows::record(count(&connection, database)?);
    drop(connection);
    let metadata = std::fs::metadata(copy).map_err(|source| SqliteError::missing(copy, source))?;
    Ok(SqliteProof { bytes: metadata.len(), rows })
}

fn check(connection: &Connection, named: &Path) -> Result<(), SqliteError> {
    let failed = |source| SqliteError::of(named, source);
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({COMPLAINTS})")).map_err(failed)?;
    let complaints = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
    let complaints: Vec<String> = complaints.collect::<Result<_, _>>().map_err(failed)?;
    if complaints == ["ok"] {
        return Ok(());
    }
    Err(SqliteError::Damaged { path: named.to_owned(), said: error::shown(&complaints.join("; ")) })
}

fn count(connection: &Connection, named: &Path) -> Result<Counts, SqliteError> {
    let failed = |source| SqliteError::of(named, source);
    let mut statement = connection
        .prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')")
        .map_err(failed)?;
    let tables = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
    let mut counts = Counts::new();
    for table in tables {
        let table = table.map_err(failed)?;
        let quoted = table.replace('"', "\"\"");
        let rows: i64 = connection
            .query_row(&format!("SELECT count(*) FROM main.\"{quoted}\""), [], |row| row.get(0))
            .map_err(failed)?;
        counts.insert(table, u64::try_from(rows).unwrap_or_default());
    }
    Ok(counts)
}

/// Opens a database of others: nothing in it is run or trusted.
fn open(path: &Path, parameters: &str, flags: OpenFlags) -> Result<Connection, SqliteError> {
    let failed = |source| SqliteError::of(path, source);
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, parameters), flags).map_err(failed)?;
    connection.busy_timeout(BUSY_LIMIT).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(failed)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(failed)?;
    Ok(connection)
}

/// A file as SQLite's URI: every byte that may mean something else is escaped.
fn uri(path: &Path, parameters: &str) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri + "?" + parameters
}

/// The name of a file that SQLite keeps beside a database.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes what an attempt has left of a copy.
fn discard(copy: &Path) -> Result<(), SqliteError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = beside(copy, suffix);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SqliteError::File { path, source: error });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether SQLite could not open a database without writing beside it.
fn cannot_be_read_alone(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::CannotOpen | ErrorCode::ReadOnly)
}

#[cfg(test)]
mod tests {
    use printernizer_crds::backup_policy::RunReason;

    use super::*;

    fn database(folder: &Path) -> (PathBuf, Connection) {
        let path = folder.join("shop.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE parts (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO parts (name) VALUES ('a'), ('b')",
            )
            .unwrap();
        (path, connection)
    }

    #[test]
    fn a_database_that_stays_locked_is_told_and_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let (path, owner) = database(folder.path());
        owner.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let error = copy_within(Duration::from_millis(200), &path, &folder.path().join("copy")).unwrap_err();
        assert_eq!(error.reason(), RunReason::SourceUnavailable, "{error}");
        assert!(error.to_string().contains("stayed locked by its program"), "{error}");
    }

    #[test]
    fn what_is_missing_no_file_or_no_database_has_its_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let copied = |name: &str| copy(&folder.path().join(name), &folder.path().join("copy")).unwrap_err();
        assert_eq!(copied("none.db").reason(), RunReason::SourceUnavailable);
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(copied("folder").reason(), RunReason::InvalidConfiguration);
        std::fs::write(folder.path().join("letter.txt"), "dear database, ".repeat(1000)).unwrap();
        let error = copied("letter.txt");
        assert_eq!(error.reason(), RunReason::SourceDamaged);
        assert!(error.to_string().contains("encrypted"), "{error}");
    }

    #[test]
    fn a_name_with_every_kind_of_byte_is_copied_and_not_read_as_options() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (path, owner) = database(folder.path());
        owner.close().unwrap();
        let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"a?mode=memory&b#c%41 \xff.db"));
        std::fs::rename(&path, &odd).unwrap();
        let proof = copy(&odd, &folder.path().join("copy")).unwrap();
        assert_eq!(proof.rows.tables["parts"], 2);
    }
}
