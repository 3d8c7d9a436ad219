//! Why a PostgreSQL database could not be backed up, verified or restored, in words for the person who has to act.

use std::path::PathBuf;
use std::time::Duration;

use printernizer_crds::backup_policy::RunReason;
use secrecy::{ExposeSecret as _, SecretString};

use super::Connection;
use crate::rows::RowsDiffer;

/// Longest text of PostgreSQL's in a message, in characters.
const TOLD: usize = 400;

/// Why a PostgreSQL database could not be backed up, verified or restored.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// A program is not there.
    #[error("{program} is not on the PATH; the image of the backup's pods must have PostgreSQL's programs")]
    ProgramMissing {
        /// Its name.
        program: &'static str,
    },
    /// A program could not be started or waited for.
    #[error("cannot run {program}: {source}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something took too long.
    #[error("{what} was not done after {} s; look whether the server is overloaded or a table is locked", limit.as_secs())]
    Silent {
        /// What.
        what: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// Something was answered that makes no sense.
    #[error("{what} answered what cannot be understood: {said}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// The answer.
        said: String,
    },
    /// The server cannot be reached.
    #[error(
        "the PostgreSQL server of {location} cannot be reached: {said}; check host and port, and that it runs and lets the backup's pods in"
    )]
    Unreachable {
        /// The database.
        location: String,
        /// What PostgreSQL's client said.
        said: String,
    },
    /// The server is not who it should be.
    #[error(
        "the PostgreSQL server of {location} does not prove who it is: {said}; check that caBundleConfigMapRef holds the authority that signed its certificate, and that host is a name in it"
    )]
    Certificate {
        /// The database.
        location: String,
        /// What PostgreSQL's client said.
        said: String,
    },
    /// User or password are wrong, or the server lets the user not in.
    #[error(
        "the PostgreSQL server of {location} does not let user {username} in: {said}; check username and password in the Secret, and pg_hba.conf"
    )]
    Refused {
        /// The database.
        location: String,
        /// The user.
        username: String,
        /// What the server said.
        said: String,
    },
    /// The server wants the password itself, and does not prove who it is.
    #[error(
        "the PostgreSQL server of {location} asks for the password in clear, and does not prove that it is that server, so it was not told; name the authority of its certificate in caBundleConfigMapRef, or let it ask by scram-sha-256 (pg_hba.conf)"
    )]
    Cleartext {
        /// The database.
        location: String,
    },
    /// There is no such database.
    #[error("there is no database {location}; check its name and its server")]
    NoDatabase {
        /// The database.
        location: String,
    },
    /// The user may not read all of it.
    #[error(
        "user {username} may not read all of {location}: {said}; grant it the role pg_read_all_data, and BYPASSRLS if tables have row security"
    )]
    Denied {
        /// The database.
        location: String,
        /// The user.
        username: String,
        /// What the server said.
        said: String,
    },
    /// The server is newer than `pg_dump`.
    #[error(
        "the PostgreSQL server of {location} has version {server}, and pg_dump is of version {dump}, which cannot dump newer servers; use an image for backups with PostgreSQL {server} or newer (--backup-image of the operator)"
    )]
    TooNew {
        /// The database.
        location: String,
        /// Major version of the server.
        server: u32,
        /// Major version of `pg_dump`.
        dump: u32,
    },
    /// The database's files are damaged.
    #[error("the PostgreSQL database {location} is damaged: {said}; restore it from an older recovery point")]
    Damaged {
        /// The database.
        location: String,
        /// What the server said.
        said: String,
    },
    /// The server failed otherwise.
    #[error("PostgreSQL at {location}: {said}")]
    Server {
        /// The database.
        location: String,
        /// What it said.
        said: String,
    },
    /// What pg_restore writes could command psql.
    #[error(
        "pg_restore does not keep psql from taking commands out of a dump, as it does from 18.0, 17.6, 16.10, 15.14, 14.19 and 13.22 on; use a newer image for backups (--backup-image of the operator)"
    )]
    Unrestricted,
    /// A dump cannot be read.
    #[error("the dump cannot be read to its end: {said}; use another recovery point")]
    DumpDamaged {
        /// What `pg_restore` said.
        said: String,
    },
    /// The server did not take what was restored.
    #[error("the dump cannot be restored into {location}: {said}{}", load_advice(said))]
    NotRestored {
        /// The database.
        location: String,
        /// What the server said.
        said: String,
    },
    /// There is something in the database that is to be restored into.
    #[error(
        "{location} has tables already ({tables}); restore into an empty database, or say that what has the same name is to be overwritten"
    )]
    NotEmpty {
        /// The database.
        location: String,
        /// How many.
        tables: usize,
    },
    /// What was restored has not the rows that were dumped.
    #[error("what was restored into {location} differs from what was backed up: {source}")]
    Differs {
        /// The database.
        location: String,
        /// Where.
        #[source]
        source: RowsDiffer,
    },
    /// The server for the verification could not be started.
    #[error("the PostgreSQL server for the verification cannot be started in {directory}: {said}")]
    Scratch {
        /// Where.
        directory: PathBuf,
        /// Why.
        said: String,
    },
}

/// What to do where a server of our own lacks something.
fn load_advice(said: &str) -> &'static str {
    if said.contains("extension") && (said.contains("is not available") || said.contains("could not open extension")) {
        "; the server has not this extension: use one that has it (for drills, an image with it by --backup-image)"
    } else if ["permission denied", "must be superuser", "must be owner"].iter().any(|words| said.contains(words)) {
        "; who restores has not this right. A drill restores as a role that runs no programs and reaches no files; a database \
         that needs more is restored by hand, by who may"
    } else {
        ""
    }
}

impl PostgresError {
    /// How a run ends that meets this.
    pub fn reason(&self) -> RunReason {
        match self {
            Self::Silent { .. }
            | Self::Unreachable { .. }
            | Self::Certificate { .. }
            | Self::Refused { .. }
            | Self::Cleartext { .. }
            | Self::NoDatabase { .. }
            | Self::Denied { .. }
            | Self::TooNew { .. }
            | Self::Server { .. } => RunReason::SourceUnavailable,
            Self::Damaged { .. } => RunReason::SourceDamaged,
            Self::DumpDamaged { .. } | Self::Differs { .. } => RunReason::RestoreDiffers,
            Self::NotEmpty { .. } => RunReason::InvalidConfiguration,
            Self::ProgramMissing { .. }
            | Self::Program { .. }
            | Self::Answer { .. }
            | Self::NotRestored { .. }
            | Self::Unrestricted
            | Self::Scratch { .. } => RunReason::Failed,
        }
    }
}

/// What a program's standard error means. The words are those of PostgreSQL 13 to 18 in English; a server that speaks
/// another language still gets its own words into the message.
pub(super) fn classify(connection: &Connection, stderr: &str) -> PostgresError {
    let (location, username) = (connection.location(), connection.username.clone());
    let said = essence(&redacted(connection, stderr));
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if any(&["aborting because of server version mismatch"]) {
        return PostgresError::Server { location, said };
    }
    if any(&[
        "invalid page in block",
        "could not read block",
        "missing chunk number",
        "compressed data is corrupt",
        "XX001",
        "XX002",
    ]) {
        return PostgresError::Damaged { location, said };
    }
    let certificate = ["certificate verify failed", "server certificate", "SSL was required", "root certificate file"];
    // Of an authority with the right name and another key it only says that.
    if any(&certificate) || (said.contains("SSL error") && connection.authority.is_some()) {
        return PostgresError::Certificate { location, said };
    }
    if any(&["server requested a cleartext password"]) {
        return PostgresError::Cleartext { location };
    }
    if any(&["authentication failed", "no password supplied", "no pg_hba.conf entry", "is not permitted to log in"])
        || (said.contains("role \"") && said.contains("does not exist") && said.contains("FATAL"))
    {
        return PostgresError::Refused { location, username, said };
    }
    if said.contains("database \"") && said.contains("does not exist") && said.contains("FATAL") {
        return PostgresError::NoDatabase { location };
    }
    if any(&["permission denied", "row-level security policy"]) {
        return PostgresError::Denied { location, username, said };
    }
    if any(&[
        "connection to server",
        "could not translate host name",
        "server closed the connection",
        "terminating connection",
        "the database system is",
        "SSL SYSCALL error",
        "connection to server was lost",
    ]) {
        return PostgresError::Unreachable { location, said };
    }
    PostgresError::Server { location, said }
}

/// The text without the password, should it ever be in there.
fn redacted(connection: &Connection, text: &str) -> String {
    match connection.password.as_ref().map(SecretString::expose_secret) {
        Some(password) if password.len() >= 4 => text.replace(password, "***"),
        _ => text.to_owned(),
    }
}

/// The lines that say what went wrong, without the statement they are about, which may hold data.
fn essence(stderr: &str) -> String {
    let noise = ["STATEMENT:", "CONTEXT:", "LOCATION:", "QUERY:", "Command was:", "LINE ", "NOTICE:", "WARNING:"];
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.filter(|line| !noise.iter().any(|word| line.contains(word))).collect();
    let telling = |line: &&&str| ["FATAL", "ERROR", "error:", "failed"].iter().any(|word| line.contains(word));
    let chosen: Vec<&str> = lines.iter().filter(telling).copied().take(3).collect();
    shown(&if chosen.is_empty() { lines.join("; ") } else { chosen.join("; ") })
}

/// A text of others for people: without control characters, and not endless.
pub(super) fn shown(said: &str) -> String {
    said.trim().chars().take(TOLD).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::postgres::Programs;

    fn explained(stderr: &str) -> PostgresError {
        Connection {
            host: "db".to_owned(),
            port: 5432,
            database: "shop".to_owned(),
            username: "reader".to_owned(),
            password: Some("hunter22".into()),
            authority: None,
            programs: Programs::in_folder(Path::new("/bin")),
        }
        .explain(stderr)
    }

    #[test]
    fn each_kind_of_trouble_is_told_apart() {
        let refused = "connection to server at \"db\" (10.0.0.7), port 5432 failed: ";
        let kind = |words: &str| format!("{:?}", explained(words)).split([' ', '{']).next().unwrap().to_owned();
        let rows = [
            ("Connection refused\n\tIs the server running on that host?", "Unreachable"),
            ("FATAL:  password authentication failed for user \"reader\"", "Refused"),
            ("FATAL:  no pg_hba.conf entry for host \"10.0.0.9\", user \"reader\"", "Refused"),
            ("fe_sendauth: no password supplied", "Refused"),
            ("FATAL:  role \"reader\" does not exist", "Refused"),
            (
                "authentication method requirement \"!password\" failed: server requested a cleartext password",
                "Cleartext",
            ),
            ("FATAL:  database \"shop\" does not exist", "NoDatabase"),
            ("SSL error: certificate verify failed", "Certificate"),
            ("server certificate for \"a\" does not match host name \"b\"", "Certificate"),
            ("server does not support SSL, but SSL was required", "Certificate"),
            ("FATAL:  the database system is starting up", "Unreachable"),
        ];
        for (words, expected) in rows {
            assert_eq!(kind(&format!("psql: error: {refused}{words}")), expected, "{words}");
        }
        assert_eq!(kind("pg_dump: error: query failed: ERROR:  permission denied for table prices"), "Denied");
        assert_eq!(
            kind(
                "pg_dump: error: query failed: ERROR:  query would be affected by row-level security policy for table \"a\""
            ),
            "Denied"
        );
        assert_eq!(
            kind("pg_dump: error: Error message from server: ERROR:  invalid page in block 7 of relation base/5/1"),
            "Damaged"
        );
        assert_eq!(kind("pg_dump: error: Dumping failed: server closed the connection unexpectedly"), "Unreachable");
        assert_eq!(kind("pg_dump: error: canceling statement due to lock timeout"), "Server");
    }

    #[test]
    fn a_message_holds_neither_password_nor_statement() {
        let text =
            explained("psql: error: FATAL:  odd hunter22\nSTATEMENT:  INSERT INTO prices VALUES (7)\n").to_string();
        assert!(text.contains("odd ***") && !text.contains("hunter22") && !text.contains("INSERT"), "{text}");
    }

    #[test]
    fn an_extension_the_server_lacks_has_its_advice() {
        let said = "ERROR:  extension \"postgis\" is not available".to_owned();
        let text = PostgresError::NotRestored { location: "a".to_owned(), said }.to_string();
        assert!(text.contains("--backup-image"), "{text}");
    }
}
