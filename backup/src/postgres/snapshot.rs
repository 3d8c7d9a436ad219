//! The moment a database is dumped as of: a session that exports its snapshot, and holds it while the dump begins.

use serde_json::Value;

use super::session::Session;
use super::{Connection, Dump, Extension, PostgresError, PostgresProof, error};
use crate::rows::Rows;

/// Begins what everything of one dump reads from.
const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT json_build_object('snapshot', pg_catalog.pg_export_snapshot(), 'version', current_setting('server_version'),
  'number', current_setting('server_version_num')::int, 'encoding', pg_catalog.getdatabaseencoding(),
  'roles', (SELECT coalesce(json_agg(r.rolname), '[]'::json) FROM (SELECT DISTINCT a.rolname FROM pg_catalog.pg_policy p
    JOIN pg_catalog.pg_roles a ON a.oid = ANY (p.polroles) ORDER BY 1 LIMIT 100) r),
  'extensions', (SELECT coalesce(json_agg(json_build_object('name', x.extname, 'schema', x.nspname)), '[]'::json)
    FROM (SELECT e.extname, n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n
      ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY e.oid LIMIT 100) x));
";

/// What is dumped, and proven: the database at one moment. Kept until the dump has ended.
pub struct Snapshot {
    connection: Connection,
    session: Session,
    id: String,
    server_version: String,
    encoding: String,
    policy_roles: Vec<String>,
    extensions: Vec<Extension>,
}

impl Snapshot {
    /// Takes the snapshot. A server that is newer than `pg_dump` is refused here, before anything is read.
    pub async fn take(connection: &Connection) -> Result<Self, PostgresError> {
        let dump = connection.programs.dump_version().await?;
        let mut session = Session::open(connection).await?;
        let lines = session.run(BEGIN).await?;
        let unclear = || PostgresError::Answer { what: "the snapshot", said: error::shown(&lines.join(" ")) };
        let answer: Value = lines.last().and_then(|line| serde_json::from_str(line).ok()).ok_or_else(unclear)?;
        let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(unclear);
        let number = answer.get("number").and_then(Value::as_u64).ok_or_else(unclear)?;
        // 17.6 is 170006, 9.6.24 is 90624.
        let server = u32::try_from(number / 10_000).map_err(|_| unclear())?;
        if server > dump {
            return Err(PostgresError::TooNew { location: connection.location(), server, dump });
        }
        let id = text("snapshot")?;
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            return Err(unclear());
        }
        let roles = answer.get("roles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let policy_roles = roles.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let extensions = answer.get("extensions").cloned().unwrap_or_default();
        let extensions = serde_json::from_value(extensions).map_err(|_| unclear())?;
        let (server_version, encoding) = (text("version")?, text("encoding")?);
        Ok(Self { connection: connection.clone(), session, id, server_version, encoding, policy_roles, extensions })
    }

    /// The program that dumps the database as of this snapshot, while this value lives.
    pub fn dump(&self) -> Result<Dump, PostgresError> {
        self.connection.dump(&self.id)
    }

    /// What proves the dump: counts the rows of each table, which takes as long as reading them all.
    pub async fn proof(&mut self) -> Result<PostgresProof, PostgresError> {
        let rows = Rows::record(self.session.counts().await?);
        let (server_version, encoding) = (self.server_version.clone(), self.encoding.clone());
        let (policy_roles, extensions) = (self.policy_roles.clone(), self.extensions.clone());
        Ok(PostgresProof { server_version, encoding, rows, policy_roles, extensions })
    }
}
