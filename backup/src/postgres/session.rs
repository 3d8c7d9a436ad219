//! One session with a server, by a `psql` that is told what to do on its standard input. It ends with the value that stands
//! for it, and what it has not committed is undone.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Connection, PostgresError};
use crate::rows::Counts;

/// How long the server may take for anything but counting and loading.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// How long one table may take to be counted.
const COUNT_LIMIT: Duration = Duration::from_hours(2);
/// How much of a program's standard error is kept, in bytes.
const KEPT_ERRORS: u64 = 16 * 1024;
/// Most tables that are counted: more would not fit into memory that is counted in megabytes.
const MOST_TABLES: usize = 100_000;
/// What psql says when it has done all it was told.
const DONE: &str = "printernizer-done";

/// What a session is set up with: no limits of the server's but ours, nothing of the database's in the way of names, and
/// an error instead of rows that a policy hides.
const SET_UP: &str = "SELECT count(pg_catalog.set_config(name, '0', false)) FROM pg_catalog.pg_settings WHERE name IN
  ('statement_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout');
SET search_path = ''; SET row_security = off; SET lock_timeout = '120s';
";

/// Makes a statement for each table whose rows are in a dump, which psql then runs (`\\gexec`).
const COUNT: &str = "SELECT pg_catalog.format(
    'SELECT json_build_object(''schema'', %L::text, ''table'', %L::text, ''rows'', count(*)) FROM ONLY %I.%I',
    n.nspname, c.relname, n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND (c.relpersistence = 'p' OR c.relpersistence = 'u' AND NOT pg_catalog.pg_is_in_recovery())
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
  \\gexec
";

/// A session.
pub(super) struct Session {
    connection: Connection,
    // Ends psql when it goes.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    errors: JoinHandle<String>,
}

impl Session {
    /// Connects, and sets the session up.
    pub async fn open(connection: &Connection) -> Result<Self, PostgresError> {
        let program = "psql";
        let failed = |source| PostgresError::Program { program, source };
        let mut command = connection.psql()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let (output, errors) = (BufReader::new(output).lines(), tokio::spawn(keep(errors)));
        let mut session = Self { connection: connection.clone(), _child: child, input, output, errors };
        session.run(SET_UP).await?;
        Ok(session)
    }

    /// The database.
    pub fn location(&self) -> String {
        self.connection.location()
    }

    /// Runs statements, and gives the lines they answer.
    pub async fn run(&mut self, statements: &str) -> Result<Vec<String>, PostgresError> {
        self.send(statements, ANSWER_LIMIT).await
    }

    /// How many rows each table has, by schema and name.
    pub async fn counts(&mut self) -> Result<Counts, PostgresError> {
        let lines = self.send(COUNT, COUNT_LIMIT).await?;
        let read = |line: &String| -> Option<(String, u64)> {
            let row: Value = serde_json::from_str(line).ok()?;
            Some((name(row.get("schema")?.as_str()?, row.get("table")?.as_str()?), row.get("rows")?.as_u64()?))
        };
        let counts: Option<Counts> = lines.iter().map(read).collect();
        counts.ok_or_else(|| PostgresError::Answer {
            what: "the count of rows",
            said: super::error::shown(&lines.join(" ")),
        })
    }

    /// Where a dump is written to; what psql has to say to it is dropped until [`Session::run`].
    pub async fn load(&mut self) -> Result<&mut ChildStdin, PostgresError> {
        self.run("BEGIN;\n\\o /dev/null\n").await?;
        Ok(&mut self.input)
    }

    /// Makes what was done permanent.
    pub async fn commit(mut self) -> Result<(), PostgresError> {
        self.run("COMMIT;\n").await.map(drop)
    }

    /// Sends statements and reads to the mark behind them; `limit` is for each line.
    async fn send(&mut self, statements: &str, limit: Duration) -> Result<Vec<String>, PostgresError> {
        let script = format!("\\o\n{statements}\n\\echo {DONE}\n");
        let silent = || PostgresError::Silent { what: format!("a query at {}", self.connection.location()), limit };
        // Where it has ended this fails, and so does the reading, which knows why.
        let sent = timeout(limit, self.input.write_all(script.as_bytes())).await.map_err(|_| silent())?;
        drop(sent);
        let mut lines = Vec::new();
        loop {
            let line = timeout(limit, self.output.next_line()).await.map_err(|_| silent())?;
            match line.ok().flatten() {
                Some(line) if line == DONE => return Ok(lines),
                Some(line) if lines.len() < MOST_TABLES => lines.push(line),
                Some(_) => {
                    let said = format!("more than {MOST_TABLES} tables");
                    return Err(PostgresError::Answer { what: "the count of rows", said });
                }
                None => return Err(self.ended().await),
            }
        }
    }

    /// Why psql has ended; to be asked when it has.
    pub async fn ended(&mut self) -> PostgresError {
        let errors = std::mem::replace(&mut self.errors, tokio::spawn(async { String::new() }));
        let said = timeout(ANSWER_LIMIT, errors).await.ok().and_then(Result::ok).unwrap_or_default();
        if said.trim().is_empty() {
            return PostgresError::Unreachable { location: self.location(), said: "the session ended".to_owned() };
        }
        self.connection.explain(&said)
    }
}

/// Reads a program's standard error to its end, and keeps its beginning.
pub(super) async fn keep(mut errors: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let _ = (&mut errors).take(KEPT_ERRORS).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}

/// A table as people write it; whatever it is called, no two have the same.
fn name(schema: &str, table: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let quoted = |name: &str| {
        if !name.is_empty() && name.chars().all(plain) {
            name.to_owned()
        } else {
            format!("\"{}\"", name.replace('"', "\"\""))
        }
    };
    format!("{}.{}", quoted(schema), quoted(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tables_have_the_same_name() {
        assert_eq!(name("public", "jobs_2026"), "public.jobs_2026");
        assert_ne!(name("a.b", "c"), name("a", "b.c"));
        assert_eq!(name("a", "b\"c"), "a.\"b\"\"c\"");
    }
}
