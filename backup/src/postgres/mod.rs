//! PostgreSQL databases: dumped by `pg_dump`, proven by a restore into a server of our own, put back.
//!
//! PostgreSQL's own programs do the work (`psql`, `pg_dump`, `pg_restore`, `initdb`, `postgres`): they know every version of
//! the server and every way to authenticate, and no other client would see exactly what `pg_dump` sees. They are found on
//! the PATH, their environment holds what they need and nothing else, and no password is ever an argument.
//!
//! Before a dump a session exports its snapshot. The dump reads that snapshot, and so do the counts of the rows, so that
//! what a restore is compared with is exactly what was dumped, however much is written meanwhile.
//!
//! Sources: <https://www.postgresql.org/docs/current/app-pgdump.html>, `app-pgrestore.html`, `libpq-envars.html`,
//! `functions-admin.html` (`pg_export_snapshot`).

mod connection;
mod error;
mod load;
mod programs;
mod scratch;
mod session;
mod snapshot;

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use crate::rows::{Others, Rows};
pub use connection::{Connection, Dump};
pub use error::PostgresError;
pub use programs::Programs;
pub use snapshot::Snapshot;

use load::Load;
use scratch::Scratch;
use session::Session;

/// What proves a dump: taken in the dump's own snapshot, compared when it is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresProof {
    /// Version of the server, for example 17.6.
    pub server_version: String,
    /// Encoding of the database, for example UTF8.
    pub encoding: String,
    /// Rows of its tables, those of partitions each. Not of tables that belong to extensions, foreign tables and
    /// materialized views: what they hold is not in a dump, or only follows from it.
    pub rows: Rows,
    /// Roles that its row security policies name, which must be there before it is restored. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_roles: Vec<String>,
    /// Its extensions, each after those it needs. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

/// An extension of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// The schema its objects are in.
    pub schema: String,
}

/// Restores a dump into a server of our own below the scratch folder, and compares its tables with what was recorded. The
/// server is ended and its directory removed whatever happens, also when the future is dropped.
///
/// What the authors of the database wrote runs in there, and they are not who may read the repository: it is loaded by a role
/// that can neither run programs nor reach files, and event triggers, which are a superuser's, are left out. So are
/// comments, owners, privileges, publications and subscriptions, which name what other servers have.
pub async fn verify(
    programs: &Programs,
    scratch: &Path,
    dump: File,
    expected: &PostgresProof,
) -> Result<(), PostgresError> {
    let server = Scratch::start(programs, scratch).await?;
    let restored = server.database(expected).await?;
    let session = Session::open(&restored).await?;
    let list = server.list(&dump, expected).await?;
    let session = Load::listed(&restored, list).run(session, dump.into()).await?;
    compare(session, expected, Others::None).await.map(drop)
}

/// Restores a dump into a database of a person's choosing, as one transaction that is only committed when the tables have
/// the rows that were recorded. A database that has tables is refused, unless what the dump holds is to replace what has the
/// same name there (`overwrite`); everything else in it stays.
///
/// All of it belongs to the user of the connection. Privileges, publications and subscriptions are left out.
pub async fn restore(
    connection: &Connection,
    dump: Stdio,
    expected: &PostgresProof,
    overwrite: bool,
) -> Result<(), PostgresError> {
    let mut session = Session::open(connection).await?;
    let tables = session.counts().await?.len();
    if tables > 0 && !overwrite {
        return Err(PostgresError::NotEmpty { location: connection.location(), tables });
    }
    let load = if overwrite { Load::replacing(connection) } else { Load::new(connection) };
    let session = load.run(session, dump).await?;
    let others = if overwrite { Others::Allowed } else { Others::None };
    compare(session, expected, others).await?.commit().await
}

async fn compare(mut session: Session, expected: &PostgresProof, others: Others) -> Result<Session, PostgresError> {
    let found = session.counts().await?;
    expected
        .rows
        .compare(found, others)
        .map_err(|source| PostgresError::Differs { location: session.location(), source })?;
    Ok(session)
}
