//! Copies of SQLite databases that another program has open, with a SQLite of its own: Python's.
#![cfg(test)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use printernizer_backup::sqlite::{self, SqliteError};
use printernizer_crds::backup_policy::RunReason;
use rusqlite::Connection;
use tempfile::TempDir;

/// What every program begins with: a bank whose money neither grows nor shrinks, and a log with as many lines as the
/// counter says. What breaks a transaction in two breaks one of both.
const BANK: &str = r#"
import random, sqlite3, sys, time
path, mode = sys.argv[1], sys.argv[2]
db = sqlite3.connect(path, isolation_level=None, timeout=60)
db.execute("PRAGMA synchronous=OFF")    # nobody cuts the power here
def begin():
    db.execute(f"PRAGMA journal_mode={mode}")
    db.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER, note TEXT)")
    db.execute("CREATE TABLE counter (value INTEGER)")
    db.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, text TEXT)")
    db.execute("CREATE INDEX notes ON accounts (note)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO accounts (balance, note) VALUES (100, ?)", [(str(n) * 50,) for n in range(2000)])
    db.execute("INSERT INTO counter VALUES (0)")
    db.execute("COMMIT")
def transfer():
    db.execute("BEGIN IMMEDIATE")
    for _ in range(20):
        a, b, sum = random.randrange(1, 2001), random.randrange(1, 2001), random.randrange(50)
        db.execute("UPDATE accounts SET balance = balance - ?, note = ? WHERE id = ?", (sum, str(a) * 40, a))
        db.execute("UPDATE accounts SET balance = balance + ?, note = ? WHERE id = ?", (sum, str(b) * 40, b))
    db.execute("UPDATE counter SET value = value + 1")
    db.execute("INSERT INTO log (text) VALUES (?)", ("x" * 200,))
    db.execute("COMMIT")
"#;

struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(script: &str, database: &Path, mode: &str) -> Self {
        let mut command = Command::new("python3");
        command.arg("-c").arg(format!("{BANK}\n{script}")).arg(database).arg(mode).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line it prints.
    fn said(&mut self) -> String {
        self.lines.next().expect("the program has ended").unwrap()
    }

    /// Ends it in the middle of whatever it does.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A program that transfers money without end, and prints a line for each hundred transfers.
const WRITER: &str = r#"
begin()
print("begun", flush=True)
while True:
    for _ in range(100): transfer()
    print("on", flush=True)
"#;

fn is_one_moment(copy: &Path) -> i64 {
    let copy = Connection::open(copy).unwrap();
    let one = |query: &str| copy.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("SELECT sum(balance) FROM accounts"), 200_000);
    assert_eq!(one("SELECT count(*) FROM log"), one("SELECT value FROM counter"));
    one("SELECT value FROM counter")
}

/// Names in a folder, with a sum of what is in them.
fn files(folder: &Path) -> BTreeMap<PathBuf, (usize, u64)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    entries
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .map(|(path, b)| (path, (b.len(), sum(&b))))
        .collect()
}

fn places() -> (TempDir, PathBuf, TempDir) {
    let volume = tempfile::tempdir().unwrap();
    let database = volume.path().join("bank.db");
    (volume, database, tempfile::tempdir().unwrap())
}

fn copies_while_it_is_written(mode: &str) {
    let (_volume, database, scratch) = places();
    let mut writer = Program::start(WRITER, &database, mode);
    assert_eq!(writer.said(), "begun");
    let mut moments = Vec::new();
    for number in 0..6 {
        // It writes between two copies, or they would prove nothing.
        writer.said();
        let copy = scratch.path().join(format!("copy-{number}"));
        let proof = sqlite::copy(&database, &copy).unwrap();
        sqlite::verify(&copy, &proof).unwrap();
        moments.push(is_one_moment(&copy));
        assert_eq!(proof.rows.tables["accounts"], 2000);
        assert_eq!(proof.rows.tables["log"], u64::try_from(moments[number]).unwrap());
    }
    assert!(moments.windows(2).all(|pair| pair[0] < pair[1]), "{moments:?}");
    // And it could go on after the last.
    writer.said();
    writer.said();
    writer.kill();
}

#[test]
fn a_copy_taken_while_another_program_writes_in_wal_mode_is_one_moment() {
    copies_while_it_is_written("wal");
}

#[test]
fn a_copy_taken_while_another_program_writes_with_a_rollback_journal_is_one_moment() {
    copies_while_it_is_written("delete");
}

#[test]
fn a_copy_of_a_database_nobody_has_open_writes_nothing_beside_it() {
    for mode in ["wal", "delete"] {
        let (volume, database, scratch) = places();
        let mut program =
            Program::start("begin()\nfor _ in range(7): transfer()\ndb.close()\nprint('closed')", &database, mode);
        assert_eq!(program.said(), "closed");
        program.child.wait().unwrap();
        let before = files(volume.path());
        assert_eq!(before.len(), 1, "a clean end leaves one file");
        let copy = scratch.path().join("copy");
        sqlite::copy(&database, &copy).unwrap();
        assert_eq!(is_one_moment(&copy), 7);
        assert_eq!(files(volume.path()), before, "{mode}");
        assert_eq!(files(scratch.path()).len(), 1, "the copy is one file");
    }
}

#[test]
fn what_a_killed_program_had_committed_is_in_the_copy_and_what_it_had_begun_is_not() {
    // With so small a cache what is not committed is in the file already.
    let half = "begin()\nfor _ in range(7): transfer()\ndb.execute('PRAGMA cache_size=5')\ndb.execute('BEGIN')\n\
                db.execute(\"UPDATE accounts SET balance = balance + 1, note = hex(randomblob(100))\")\n\
                print('half', flush=True)\ntime.sleep(3600)";
    for mode in ["wal", "delete", "truncate", "persist"] {
        let (volume, database, scratch) = places();
        let mut program = Program::start(half, &database, mode);
        assert_eq!(program.said(), "half");
        program.kill();
        let before = files(volume.path());
        assert!(before.len() > 1, "{mode}: a killed program leaves its journal");
        let copy = scratch.path().join("copy");
        sqlite::copy(&database, &copy).unwrap();
        assert_eq!(is_one_moment(&copy), 7, "{mode}");
        assert_eq!(files(volume.path()), before, "{mode}");
    }
}

#[test]
fn a_damaged_database_is_found_and_not_backed_up() {
    let (_volume, database, scratch) = places();
    let mut program = Program::start("begin()\ndb.close()\nprint('closed')", &database, "delete");
    program.said();
    program.child.wait().unwrap();
    let mut bytes = std::fs::read(&database).unwrap();
    // One page in the middle: the file still opens, and most of it can be read.
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    std::fs::write(&database, bytes).unwrap();
    let error = sqlite::copy(&database, &scratch.path().join("copy")).unwrap_err();
    assert_eq!(error.reason(), RunReason::SourceDamaged, "{error}");
    assert!(error.to_string().contains("bank.db is damaged"), "{error}");
}

#[test]
fn a_restored_copy_that_misses_rows_or_bytes_is_found() {
    let (_volume, database, scratch) = places();
    let mut program = Program::start("begin()\ntransfer()\ndb.close()\nprint('closed')", &database, "delete");
    program.said();
    program.child.wait().unwrap();
    let copy = scratch.path().join("copy");
    let proof = sqlite::copy(&database, &copy).unwrap();
    Connection::open(&copy).unwrap().execute("DELETE FROM accounts WHERE id = 77", []).unwrap();
    let error = sqlite::verify(&copy, &proof).unwrap_err();
    assert_eq!(error.reason(), RunReason::RestoreDiffers);
    assert!(error.to_string().contains("table accounts has 1999 rows instead of 2000"), "{error}");
    let file = std::fs::OpenOptions::new().write(true).open(&copy).unwrap();
    file.set_len(proof.bytes - 4096).unwrap();
    assert!(matches!(sqlite::verify(&copy, &proof), Err(SqliteError::Size { .. })));
}
