//! A PostgreSQL server of our own, for one verification: in a directory below the scratch folder, reached by a socket there
//! and by nothing else, in nobody's way. It is ended and its directory removed when the value goes, whatever happened.
//!
//! It asks for no password: nobody but its own user (and root) can enter the directory of its socket. Its superuser makes the
//! database, its roles and its extensions and then logs in no more; all that comes out of a dump is the business of a role
//! that can run no program and reach no file.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::load::not_restored;
use super::session::{ANSWER_LIMIT, Session};
use super::{Connection, Extension, PostgresError, PostgresProof, Programs, error};

/// How long the server may take to be made, and to start.
const START_LIMIT: Duration = Duration::from_mins(5);
/// How long it may take to end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How often it is looked whether it has started, or ended.
const LOOK: Duration = Duration::from_millis(50);
/// PostgreSQL refuses to run as root; what was started as root runs it as `nobody`.
const NOBODY: u32 = 65534;
/// The server's superuser.
const SUPERUSER: &str = "printernizer";
/// Who loads the dump, and owns the database. Row security hides nothing of it from whoever counts.
const LOADER: &str = "printernizer_loader";
/// The database that is restored into.
const DATABASE: &str = "restored";
/// A socket's address has room for 107 bytes: the directory, `/.s.PGSQL.5432`, and its lock.
const LONGEST_DIRECTORY: usize = 80;
/// What pg_restore makes a list of.
const LIST: &str = "contents.list";
/// How much of its log is read when it has failed.
const TOLD_LOG: u64 = 8 * 1024;

/// Everything that makes a server safe against a power cut is off: it holds a copy. What needs shared memory beyond the
/// little a pod has is off, too.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "archive_mode=off",
    "autovacuum=off",
    "jit=off",
    "max_connections=10",
    "max_locks_per_transaction=2048",
    "max_parallel_workers=0",
    "max_parallel_maintenance_workers=0",
    "shared_buffers=32MB",
    "logging_collector=off",
    "log_destination=stderr",
    "log_min_messages=fatal",
    "log_min_error_statement=panic",
];

/// A running server.
pub(super) struct Scratch {
    server: Option<Child>,
    // After the server in `drop`: it is ended before its directory is removed.
    directory: Option<TempDir>,
    path: PathBuf,
    programs: Programs,
    as_root: bool,
}

impl Scratch {
    /// Makes and starts a server.
    pub async fn start(programs: &Programs, folder: &Path) -> Result<Self, PostgresError> {
        let failed = |said: String| PostgresError::Scratch { directory: folder.to_owned(), said };
        let file = |source: std::io::Error| failed(source.to_string());
        let directory = tempfile::Builder::new().prefix("pg-").rand_bytes(6).tempdir_in(folder).map_err(file)?;
        let path = directory.path().to_owned();
        // What we have just made belongs to whom we run as.
        let as_root = std::fs::metadata(&path).map_err(file)?.uid() == 0;
        let mut scratch = Self { server: None, directory: Some(directory), path, programs: programs.clone(), as_root };
        if scratch.path.as_os_str().len() > LONGEST_DIRECTORY {
            return Err(failed("its path is too long for a socket; use a shorter one".to_owned()));
        }
        std::fs::set_permissions(&scratch.path, PermissionsExt::from_mode(0o700)).map_err(file)?;
        if as_root {
            chown(&scratch.path, Some(NOBODY), Some(NOBODY)).map_err(file)?;
        }
        scratch.initialize().await?;
        scratch.serve().await?;
        Ok(scratch)
    }

    /// An empty database that takes what the dump holds: its encoding, the roles its policies name, and its extensions.
    pub async fn database(&self, expected: &PostgresProof) -> Result<Connection, PostgresError> {
        let mut session = Session::open(&self.connection("postgres", SUPERUSER)).await?;
        session.run(&format!("CREATE ROLE {LOADER} LOGIN BYPASSRLS;")).await?;
        for role in expected.policy_roles.iter().filter(|role| ![SUPERUSER, LOADER].contains(&role.as_str())) {
            session.run(&format!("CREATE ROLE {};", quoted(role))).await?;
        }
        let encoding = match &expected.encoding {
            known if known.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => known,
            other => {
                return Err(PostgresError::Answer { what: "the encoding in the manifest", said: error::shown(other) });
            }
        };
        // Letters beyond ASCII are letters in checks of the database only where the locale knows them.
        let locale = if encoding == "UTF8" { "LOCALE_PROVIDER icu ICU_LOCALE 'und'" } else { "" };
        let create = format!(
            "CREATE DATABASE {DATABASE} OWNER {LOADER} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' \
             {locale};"
        );
        session.run(&create).await?;
        let mut inside = Session::open(&self.connection(DATABASE, SUPERUSER)).await?;
        for extension in &expected.extensions {
            self.extend(&mut inside, extension).await?;
        }
        session.run(&format!("ALTER ROLE {SUPERUSER} NOLOGIN;")).await?;
        Ok(self.connection(DATABASE, LOADER))
    }

    /// Makes an extension, which many may only be by a superuser, before anything of the dump is there.
    async fn extend(&self, session: &mut Session, extension: &Extension) -> Result<(), PostgresError> {
        let (name, schema) = (quoted(&extension.name), quoted(&extension.schema));
        let wrappers = "SELECT pg_catalog.format('GRANT USAGE ON FOREIGN DATA WRAPPER %I TO ', fdwname)";
        let make_schema = if extension.schema.starts_with("pg_") {
            String::new()
        } else {
            format!("CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {LOADER};")
        };
        let statements = format!(
            "SET client_min_messages = warning; {make_schema}
             CREATE EXTENSION IF NOT EXISTS {name} SCHEMA {schema};
             {wrappers} || '{LOADER}' FROM pg_catalog.pg_foreign_data_wrapper \\gexec"
        );
        let made = session.run(&statements).await;
        made.map(drop).map_err(|error| not_restored(session.location(), error))
    }

    /// The contents of a dump as pg_restore lists them, without what is there already and what only a superuser may make.
    /// The dump is at its beginning again afterwards.
    pub async fn list(&self, mut dump: &File, expected: &PostgresProof) -> Result<PathBuf, PostgresError> {
        let program = "pg_restore";
        let failed = |source| PostgresError::Program { program, source };
        let mut command = self.programs.command(program)?;
        command.arg("--list").stdin(dump.try_clone().map_err(failed)?);
        let output = timeout(ANSWER_LIMIT, command.output()).await;
        let output =
            output.map_err(|_| PostgresError::Silent { what: "pg_restore --list".to_owned(), limit: ANSWER_LIMIT })?;
        let output = output.map_err(failed)?;
        if !output.status.success() {
            return Err(PostgresError::DumpDamaged { said: error::shown(&String::from_utf8_lossy(&output.stderr)) });
        }
        let mut list = Vec::with_capacity(output.stdout.len());
        for line in output.stdout.split_inclusive(|byte| *byte == b'\n') {
            if !is_left_out(&String::from_utf8_lossy(line), &expected.extensions) {
                list.extend_from_slice(line);
            }
        }
        let path = self.path.join(LIST);
        std::fs::write(&path, list).map_err(|source| self.failed(&source.to_string()))?;
        dump.rewind().map_err(failed)?;
        Ok(path)
    }

    fn connection(&self, database: &str, role: &str) -> Connection {
        Connection {
            host: self.path.display().to_string(),
            port: 5432,
            database: database.to_owned(),
            username: role.to_owned(),
            password: None,
            authority: None,
            programs: self.programs.clone(),
        }
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    async fn initialize(&self) -> Result<(), PostgresError> {
        let program = "initdb";
        let mut command = self.programs.command(program)?;
        command.args(["--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync", "--no-instructions"]);
        command.arg(format!("--username={SUPERUSER}")).arg("--pgdata").arg(self.data()).current_dir(&self.path);
        if self.as_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = timeout(START_LIMIT, command.output()).await;
        let output = output.map_err(|_| PostgresError::Silent { what: program.to_owned(), limit: START_LIMIT })?;
        let output = output.map_err(|source| PostgresError::Program { program, source })?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.failed(&String::from_utf8_lossy(&output.stderr)))
    }

    async fn serve(&mut self) -> Result<(), PostgresError> {
        let program = "postgres";
        let log = self.path.join("server.log");
        let output = File::create(&log).map_err(|source| self.failed(&source.to_string()))?;
        let mut command: Command = self.programs.command(program)?.into_std();
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.path).current_dir(&self.path);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if self.as_root {
            use std::os::unix::process::CommandExt as _;
            command.uid(NOBODY).gid(NOBODY);
        }
        command.stdout(Stdio::null()).stderr(output);
        self.server = Some(command.spawn().map_err(|source| PostgresError::Program { program, source })?);
        let begun = Instant::now();
        while !self.is_ready() {
            if self.server.as_mut().is_none_or(|server| !matches!(server.try_wait(), Ok(None))) {
                return Err(self.failed(&tail(&log)));
            }
            if begun.elapsed() > START_LIMIT {
                return Err(PostgresError::Silent { what: "the start of postgres".to_owned(), limit: START_LIMIT });
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whether it takes connections: the eighth line of its file says so, which is where `pg_ctl` looks, too.
    fn is_ready(&self) -> bool {
        let status = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        status.lines().nth(7).is_some_and(|line| line.trim() == "ready")
    }

    fn failed(&self, said: &str) -> PostgresError {
        let advice = match said {
            // initdb asks for the name of the user it runs as.
            _ if said.contains("could not look up effective user ID") => {
                "; the image knows no user with this id, so leave out jobTemplate.runAsUser where PostgreSQL is backed up"
            }
            _ if said.contains("No space left on device") => "; give the drill a larger scratchSize",
            _ => "",
        };
        PostgresError::Scratch { directory: self.path.clone(), said: error::shown(said) + advice }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            end(&mut server);
        }
        // What remains is in the pod's scratch space, and goes with it.
        drop(self.directory.take().map(TempDir::close));
    }
}

/// Ends a server at once, with all its processes; it has nothing that anybody needs.
fn end(server: &mut Child) {
    let begun = Instant::now();
    if let Ok(id) = i32::try_from(server.id()) {
        // "Immediate shutdown": it ends its processes and itself, and writes nothing more.
        let _ = kill(Pid::from_raw(id), Signal::SIGQUIT);
    }
    while begun.elapsed() < END_LIMIT {
        if !matches!(server.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    let _ = server.kill();
    let _ = server.wait();
}

fn tail(log: &Path) -> String {
    let mut text = String::new();
    let _ = File::open(log).and_then(|file| file.take(TOLD_LOG).read_to_string(&mut text));
    text
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether a line of pg_restore's list, `217; 1259 16389 TABLE public parts owner`, is left out of a verification: event
/// triggers, and schemas that were made with their extension.
fn is_left_out(line: &str, extensions: &[Extension]) -> bool {
    let Some((_, entry)) = line.split_once("; ") else { return false };
    let entry = entry.splitn(3, ' ').nth(2).unwrap_or_default();
    let is_schema = |extension: &Extension| {
        let schema = entry.strip_prefix("SCHEMA - ").and_then(|rest| rest.strip_prefix(extension.schema.as_str()));
        schema.is_some_and(|rest| rest.starts_with(' '))
    };
    entry.starts_with("EVENT TRIGGER ") || extensions.iter().any(is_schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_triggers_and_schemas_of_extensions_are_left_out_and_nothing_else() {
        let extensions = [Extension { name: "cube".to_owned(), schema: "measures".to_owned() }];
        for line in ["3012; 3466 16400 EVENT TRIGGER - watch farm\n", "7; 2615 16385 SCHEMA - measures farm\n"] {
            assert!(is_left_out(line, &extensions), "{line}");
        }
        for line in [
            "; Archive created at 2026-11-22\n",
            ";     dbname: EVENT TRIGGER - \n",
            "7; 2615 16385 SCHEMA - measures_of_ours farm\n",
            "9; 1259 16389 TABLE measures SCHEMA farm\n",
            "9; 1259 16389 TABLE - SCHEMA - measures farm\n",
        ] {
            assert!(!is_left_out(line, &extensions), "{line}");
        }
    }
}
