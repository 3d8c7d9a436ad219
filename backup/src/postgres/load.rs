//! Puts a dump into a database: `pg_restore` makes statements of it, a session runs them in one transaction.
//!
//! Not by `pg_restore` alone, which connects by itself: version 17 and newer then set `transaction_timeout`, which servers
//! before 17 do not know, and nothing could be restored into the server it came from. Here that line is left out, the
//! session has set it where it is known.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::session::{ANSWER_LIMIT, Session, keep};
use super::{Connection, PostgresError, error};

/// What only servers of version 17 and newer take.
const UNKNOWN_TO_OLDER: &[u8] = b"SET transaction_timeout = 0;\n";
/// The first line after those that may have to be left out.
const SETTINGS_END: &[u8] = b"SET client_encoding";
/// What keeps psql from taking commands of its own out of the statements.
const RESTRICT: &[u8] = b"\\restrict ";
/// How far it is looked for, in lines and bytes.
const SETTINGS_LINES: usize = 64;
const SETTINGS_LINE_BYTES: u64 = 4096;

/// How a dump is loaded.
pub(super) struct Load<'a> {
    connection: &'a Connection,
    replace: bool,
    list: Option<PathBuf>,
}

impl<'a> Load<'a> {
    /// Into a database that has nothing of it.
    pub fn new(connection: &'a Connection) -> Self {
        Self { connection, replace: false, list: None }
    }

    /// In place of what has the same names.
    pub fn replacing(connection: &'a Connection) -> Self {
        Self { connection, replace: true, list: None }
    }

    /// What this list names of the dump, without comments.
    pub fn listed(connection: &'a Connection, list: PathBuf) -> Self {
        Self { connection, replace: false, list: Some(list) }
    }

    /// Loads the dump. The session that comes back has all of it, in a transaction that is not committed.
    pub async fn run(&self, mut session: Session, dump: Stdio) -> Result<Session, PostgresError> {
        let program = "pg_restore";
        let failed = |source| PostgresError::Program { program, source };
        let mut command = self.connection.programs.command(program)?;
        command.args(["--file=-", "--exit-on-error", "--no-owner", "--no-privileges", "--no-tablespaces"]);
        command.args(["--no-publications", "--no-subscriptions", "--no-security-labels"]);
        if self.replace {
            command.args(["--clean", "--if-exists"]);
        }
        if let Some(list) = &self.list {
            command.arg("--no-comments").arg("--use-list").arg(list);
        }
        let mut child = command.stdin(dump).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let (Some(statements), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let errors = tokio::spawn(keep(errors));
        let location = session.location();
        let mut statements = BufReader::with_capacity(64 * 1024, statements);
        let settings = settings(&mut statements).await.map_err(failed)?;
        // Whoever owns the server that was dumped must not command the pod of a drill. Nothing at all is a dump that is damaged.
        if self.list.is_some() && !settings.is_empty() && !settings.iter().any(|line| line.starts_with(RESTRICT)) {
            return Err(PostgresError::Unrestricted);
        }
        if pump(&settings, statements, session.load().await?).await.is_err() {
            // psql takes no more: it has met an error and ended.
            return Err(not_restored(location, session.ended().await));
        }
        let status = timeout(ANSWER_LIMIT, child.wait()).await;
        let status =
            status.map_err(|_| PostgresError::Silent { what: "pg_restore".to_owned(), limit: ANSWER_LIMIT })?;
        if !status.map_err(failed)?.success() {
            // The session goes, and with it everything that was loaded.
            let said = error::shown(&errors.await.unwrap_or_default());
            return Err(PostgresError::DumpDamaged { said });
        }
        match session.run("").await {
            Ok(_) => Ok(session),
            Err(error) => Err(not_restored(location, error)),
        }
    }
}

/// What a server meant that did not take what it was given.
pub(super) fn not_restored(location: String, error: PostgresError) -> PostgresError {
    match error {
        PostgresError::Server { said, .. } | PostgresError::Denied { said, .. } => {
            PostgresError::NotRestored { location, said }
        }
        other => other,
    }
}

/// The lines before the first statement of the dump.
async fn settings(statements: &mut BufReader<ChildStdout>) -> std::io::Result<Vec<Vec<u8>>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    while lines.len() < SETTINGS_LINES && !lines.last().is_some_and(|line| line.starts_with(SETTINGS_END)) {
        let mut line = Vec::new();
        if (&mut *statements).take(SETTINGS_LINE_BYTES).read_until(b'\n', &mut line).await? == 0 {
            break;
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Copies the statements to psql, without those an older server does not know.
async fn pump(
    settings: &[Vec<u8>],
    mut statements: BufReader<ChildStdout>,
    input: &mut ChildStdin,
) -> std::io::Result<()> {
    for line in settings.iter().filter(|line| *line != UNKNOWN_TO_OLDER) {
        input.write_all(line).await?;
    }
    tokio::io::copy_buf(&mut statements, input).await?;
    input.flush().await
}
