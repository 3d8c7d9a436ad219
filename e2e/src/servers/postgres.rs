//! PostgreSQL, with TLS and passwords: Debian's, on loopback, with a superuser of its own.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use super::{Certificate, START_LIMIT, Server, ServerError, directory, free_address};
use crate::{tools, wait_until};

/// PostgreSQL does not run as root; there it runs as nobody.
const NOBODY: u32 = 65534;
/// The user who may do everything, and the password for connections over TCP.
const SUPERUSER: (&str, &str) = ("farm_root", "root-password-of-a-test");
/// How long its end is waited for.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A running PostgreSQL server. Dropping it ends it.
#[derive(Debug)]
pub struct PostgresServer {
    server: Server,
    programs: PathBuf,
}

impl PostgresServer {
    /// Starts an empty server that asks for passwords (scram-sha-256), with TLS if it has a certificate.
    pub async fn start(certificate: Option<&Certificate>) -> Result<Self, ServerError> {
        Self::start_at(None, certificate).await
    }

    /// The same at an address of this machine that others reach, who must use TLS.
    pub async fn start_at(host: Option<Ipv4Addr>, certificate: Option<&Certificate>) -> Result<Self, ServerError> {
        let fetching = tokio::task::spawn_blocking(|| tools::postgres(&mut |_| {}));
        let programs = fetching.await.map_err(|error| ServerError::Start(error.to_string()))??;
        let (directory, address) = (directory()?, free_address(host)?);
        let path = directory.path().to_owned();
        std::fs::write(path.join("password"), SUPERUSER.1)?;
        let mut owned = vec![path.clone(), path.join("password")];
        // What we have just made belongs to whom we run as.
        let as_root = std::fs::metadata(&path)?.uid() == 0;
        let mut command = own(&programs, "postgres", as_root);
        if let Some(certificate) = certificate {
            let (chain, key) = certificate.write(&path)?;
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600))?;
            command.args(["-c", "ssl=on"]).arg("-c").arg(format!("ssl_cert_file={}", chain.display()));
            command.arg("-c").arg(format!("ssl_key_file={}", key.display()));
            owned.extend([chain, key]);
        }
        if as_root {
            for path in owned {
                chown(path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let mut initialize = own(&programs, "initdb", as_root);
        initialize.args([
            "--encoding=UTF8",
            "--locale=C",
            "--auth-host=scram-sha-256",
            "--auth-local=trust",
            "--no-sync",
        ]);
        initialize.arg(format!("--username={}", SUPERUSER.0)).arg("--pwfile").arg(path.join("password"));
        run(initialize.arg("--pgdata").arg(path.join("data")).current_dir(&path)).await?;
        if host.is_some() {
            let mut rules = File::options().append(true).open(path.join("data/pg_hba.conf"))?;
            writeln!(rules, "hostssl all all all scram-sha-256")?;
        }
        command.arg("-D").arg(path.join("data")).arg("-k").arg(&path).current_dir(&path);
        for setting in ["fsync=off", "jit=off", "max_connections=20"] {
            command.args(["-c", setting]);
        }
        command.arg("-c").arg(format!("listen_addresses={}", address.ip()));
        command.arg("-c").arg(format!("port={}", address.port()));
        let started = Self { server: Server::start(command, directory, address).await?, programs };
        wait_until("PostgreSQL takes queries", START_LIMIT, async || started.execute("postgres", "SELECT 1").await)
            .await
            .map_err(|error| ServerError::Start(error.to_string()))?;
        Ok(started)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Name and password of the user who may do everything.
    pub fn superuser(&self) -> (&'static str, &'static str) {
        SUPERUSER
    }

    /// The folder with its programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Id of its first process, the parent of all others.
    pub fn process_id(&self) -> Option<u32> {
        self.server.process.id()
    }

    /// Runs statements as the user who may do everything, and gives what they answer.
    pub async fn execute(&self, database: &str, statements: &str) -> Result<String, ServerError> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        command.arg("--host").arg(self.server.path()).arg(format!("--port={}", self.server.address.port()));
        command.args(["--username", SUPERUSER.0, "--dbname", database, "--command", statements]);
        run(&mut command).await
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let id = self.server.process.id().and_then(|id| i32::try_from(id).ok());
        // Killed, it would leave its shared memory to the machine.
        let told = id.is_some_and(|id| kill(Pid::from_raw(id), Signal::SIGQUIT).is_ok());
        let begun = Instant::now();
        while told && begun.elapsed() < END_LIMIT && matches!(self.server.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A program of PostgreSQL's, which is not run as root.
fn own(programs: &Path, program: &str, as_root: bool) -> Command {
    let mut command = Command::new(programs.join(program));
    if as_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

async fn run(command: &mut Command) -> Result<String, ServerError> {
    let program = PathBuf::from(command.as_std().get_program());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|source| ServerError::Program { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(ServerError::Start(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr))))
}
