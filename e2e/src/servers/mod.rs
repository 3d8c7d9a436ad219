//! Servers as others wrote them: nginx and the S3 server versitygw for print files, Prometheus for metrics,
//! PostgreSQL for backups; each on
//! loopback, or where pods reach it, in a directory of its own, for one test. They end with the value that stands for them.

mod certificate;
mod postgres;
mod prometheus;
pub mod s3;
mod web;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::{BuildError, wait_until};
pub use certificate::Certificate;
pub use postgres::PostgresServer;
pub use prometheus::{PrometheusServer, Sample};
pub use s3::S3Server;
pub use web::WebServer;

/// Longest wait for a server that was started, on a machine that is busy with other things.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServerError {
    /// It could not be built.
    #[error("versitygw cannot be built")]
    Build(#[from] BuildError),
    /// Prometheus or PostgreSQL cannot be had.
    #[error(transparent)]
    Debian(#[from] crate::tools::DebianError),
    /// A certificate could not be made.
    #[error("no certificate could be made")]
    Certificate(#[from] rcgen::Error),
    /// A file could not be written.
    #[error("files of a server")]
    Files(#[from] std::io::Error),
    /// It could not be executed.
    #[error("{program} cannot be started; `cargo xtask test` installs what tests need")]
    Program {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It does not serve.
    #[error("{0}")]
    Start(String),
}

/// A server's process and its directory.
#[derive(Debug)]
struct Server {
    // Before the directory: it is killed before that is removed.
    process: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Server {
    /// Starts the program, and waits until it takes connections at the address.
    async fn start(command: Command, directory: TempDir, address: SocketAddr) -> Result<Self, ServerError> {
        let process = listening(command, directory.path(), address).await?;
        Ok(Self { process, directory, address })
    }

    /// Starts a program in the place of the one that has ended.
    async fn start_again(&mut self, command: Command) -> Result<(), ServerError> {
        self.process = listening(command, self.directory.path(), self.address).await?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| ServerError::Start("it has ended".to_owned()))?;
        kill(Pid::from_raw(id), signal).map_err(|error| ServerError::Start(format!("{signal}: {error}")))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A process of this program that takes connections.
async fn listening(mut command: Command, directory: &Path, address: SocketAddr) -> Result<Child, ServerError> {
    let log = directory.join("output.log");
    let output = File::options().create(true).append(true).open(&log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
    let program = PathBuf::from(command.as_std().get_program());
    let mut process = command.spawn().map_err(|source| ServerError::Program { program, source })?;
    let listening =
        wait_until("the server takes connections", START_LIMIT, async || TcpStream::connect(address).await.map(drop));
    let ended = tokio::select! {
        listening = listening => listening.err().map(|error| error.to_string()),
        status = process.wait() => Some(format!("it ended: {status:?}")),
    };
    match ended {
        None => Ok(process),
        Some(why) => {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            Err(ServerError::Start(format!("{}: {why}\n{said}", log.display())))
        }
    }
}

fn directory() -> Result<TempDir, ServerError> {
    Ok(tempfile::Builder::new().prefix("printernizer-server-").tempdir()?)
}

/// An address of this machine that is free now, on loopback where no host is named.
fn free_address(host: Option<Ipv4Addr>) -> Result<SocketAddr, ServerError> {
    Ok(TcpListener::bind((host.unwrap_or(Ipv4Addr::LOCALHOST), 0))?.local_addr()?)
}
