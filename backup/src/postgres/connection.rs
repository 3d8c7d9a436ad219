//! How a database is reached: what goes into arguments, and what only into the environment.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::Command;

use super::programs::{self, Programs};
use super::{PostgresError, error};

/// How long the server may take to answer a connection, in seconds.
const CONNECT_SECONDS: u32 = 15;
/// When a silent connection counts as dead: a probe after 30 s, then three every 10 s; and a minute for what we sent.
const KEEPALIVE: &str =
    "keepalives=1 keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000";
/// How long the dump waits for a table that somebody changes, as PostgreSQL writes it.
const LOCK_WAIT: &str = "120s";

/// How a database is reached.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Host name or address of the server, or the absolute path of the directory of its socket.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: Option<SecretString>,
    /// The PEM certificates the server's is checked against; with them the connection is encrypted, and the server must
    /// prove its name.
    pub authority: Option<PathBuf>,
    /// PostgreSQL's programs.
    pub programs: Programs,
}

/// The program that writes a dump to its standard output, for `restic backup --stdin-from-command`.
pub struct Dump {
    /// `pg_dump`.
    pub program: PathBuf,
    /// Its arguments, without secrets.
    pub arguments: Vec<OsString>,
    /// Variables it needs beyond those every program has; the password among them.
    pub environment: Vec<(OsString, OsString)>,
}

impl fmt::Debug for Dump {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Dump")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// The database as people name it.
    pub fn location(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.database)
    }

    /// What a program of PostgreSQL that ended with this on its standard error means, restic's words around it or not.
    pub fn explain(&self, stderr: &str) -> PostgresError {
        error::classify(self, stderr)
    }

    /// The name of the database with what has no environment variable.
    fn database_argument(&self) -> OsString {
        let quoted = self.database.replace('\\', "\\\\").replace('\'', "\\'");
        format!("--dbname=dbname='{quoted}' {KEEPALIVE}").into()
    }

    /// Everything else.
    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables: Vec<(OsString, OsString)> = [
            ("PGHOST", self.host.as_str()),
            ("PGPORT", &self.port.to_string()),
            ("PGUSER", &self.username),
            ("PGAPPNAME", "printernizer-backup"),
            ("PGCONNECT_TIMEOUT", &CONNECT_SECONDS.to_string()),
            ("PGSSLMODE", if self.authority.is_some() { "verify-full" } else { "prefer" }),
            // Neither a ticket nor a file of the user we happen to be.
            ("PGGSSENCMODE", "disable"),
            ("PGPASSFILE", "/dev/null"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let authority = self.authority.as_ref().map(|path| ("PGSSLROOTCERT".into(), path.clone().into()));
        let password = self.password.as_ref().map(|p| ("PGPASSWORD".into(), p.expose_secret().into()));
        // Who has not proven to be the server may be anybody: nobody of them gets the password itself.
        // libpq before 16 does not know the variable, and tells it.
        let methods = self.authority.is_none().then(|| ("PGREQUIREAUTH".into(), "!password".into()));
        variables.extend(authority.into_iter().chain(password).chain(methods));
        variables
    }

    /// `psql`, which reads commands from its standard input and ends at the first that fails.
    pub(super) fn psql(&self) -> Result<Command, PostgresError> {
        let mut command = self.programs.command("psql")?;
        command.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]);
        command.args(["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose"]).arg(self.database_argument());
        // What psql writes and reads, whatever the database's encoding.
        command.envs(self.environment()).env("PGCLIENTENCODING", "UTF8");
        Ok(command)
    }

    /// The dump as of an exported snapshot.
    pub(super) fn dump(&self, snapshot: &str) -> Result<Dump, PostgresError> {
        // Not compressed: restic does that, after it has found what is not new.
        let mut arguments: Vec<OsString> = ["--format=custom", "--compress=0", "--no-password"].map(Into::into).into();
        arguments.push(format!("--lock-wait-timeout={LOCK_WAIT}").into());
        arguments.push(format!("--snapshot={snapshot}").into());
        arguments.push(self.database_argument());
        let environment = programs::environment().into_iter().chain(self.environment()).collect();
        Ok(Dump { program: self.programs.find("pg_dump")?, arguments, environment })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn connection(authority: Option<PathBuf>) -> Connection {
        Connection {
            host: "db.example.com".to_owned(),
            port: 5432,
            database: r"it's\db".to_owned(),
            username: "reader".to_owned(),
            password: Some("dont-tell".into()),
            authority,
            programs: Programs::in_folder(Path::new("/bin")),
        }
    }

    fn variable(connection: &Connection, name: &str) -> Option<String> {
        let found = connection.environment().into_iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_string().unwrap())
    }

    #[test]
    fn the_password_is_in_the_environment_and_in_no_argument_or_text() {
        let connection = connection(None);
        assert_eq!(variable(&connection, "PGPASSWORD").as_deref(), Some("dont-tell"));
        assert!(!connection.database_argument().to_string_lossy().contains("dont-tell"));
        assert!(!format!("{connection:?}").contains("dont-tell"));
    }

    #[test]
    fn with_an_authority_the_server_must_prove_its_name() {
        let with = connection(Some("/certificates/postgres-0/ca.pem".into()));
        assert_eq!(variable(&with, "PGSSLMODE").as_deref(), Some("verify-full"));
        assert_eq!(variable(&with, "PGSSLROOTCERT").as_deref(), Some("/certificates/postgres-0/ca.pem"));
        assert_eq!(variable(&connection(None), "PGSSLMODE").as_deref(), Some("prefer"));
    }

    #[test]
    fn only_a_server_that_proves_its_name_gets_the_password_in_clear() {
        assert_eq!(variable(&connection(None), "PGREQUIREAUTH").as_deref(), Some("!password"));
        let with = connection(Some("/certificates/postgres-0/ca.pem".into()));
        assert_eq!(variable(&with, "PGREQUIREAUTH"), None);
    }

    #[test]
    fn no_name_of_a_database_becomes_another_setting() {
        let argument = connection(None).database_argument().into_string().unwrap();
        assert!(argument.starts_with(r"--dbname=dbname='it\'s\\db' keepalives=1"), "{argument}");
    }
}
