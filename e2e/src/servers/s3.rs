//! versitygw, an S3 server that keeps its buckets in a directory: built once from its Go module into the cache.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::process::Command;

use super::{Certificate, Server, ServerError, directory, free_address};
use crate::tools::go::{self, Module};

/// The program; a package of its module.
const VERSITYGW: Module = Module {
    what: "the S3 server versitygw",
    name: "versitygw",
    package: "github.com/versity/versitygw/cmd/versitygw",
    version: "v1.8.0",
    takes: "about a minute and a half",
};

/// Keys of the user who may do everything.
const ROOT: (&str, &str) = ("farm-root", "root-secret-of-a-test");

/// The path of the program, built now if the cache does not have it: about a minute and a half. Blocks; `progress` gets a
/// line for a person every few seconds.
pub fn ensure_binary(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ServerError> {
    Ok(go::install(&VERSITYGW, progress)?)
}

/// Whether the cache has it.
pub fn is_built() -> bool {
    VERSITYGW.path().is_file()
}

/// How an S3 server is started.
#[derive(Clone, Debug, Default)]
pub struct S3Options {
    /// With TLS, by this certificate.
    pub certificate: Option<Certificate>,
    /// The domain before which it takes names of buckets.
    pub domain: Option<String>,
    /// The region it is in; us-east-1 where none is named.
    pub region: Option<String>,
    /// Where it listens; loopback where nothing is named. The certificate must be for it.
    pub host: Option<Ipv4Addr>,
    /// Where its buckets are; a directory of its own where none is named.
    pub buckets: Option<PathBuf>,
}

/// A running S3 server. Dropping it ends it.
#[derive(Debug)]
pub struct S3Server {
    server: Server,
    options: S3Options,
    program: PathBuf,
    scheme: &'static str,
    region: String,
}

impl S3Server {
    /// Starts a server without buckets.
    pub async fn start(options: S3Options) -> Result<Self, ServerError> {
        let building = tokio::task::spawn_blocking(|| ensure_binary(&mut |_| {}));
        let program = building.await.map_err(|error| ServerError::Start(error.to_string()))??;
        let (directory, address) = (directory()?, free_address(options.host)?);
        for name in ["buckets", "metadata", "users"] {
            std::fs::create_dir(directory.path().join(name))?;
        }
        let region = options.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        let scheme = if options.certificate.is_some() { "https" } else { "http" };
        let command = command(&program, &options, &region, directory.path(), address)?;
        let server = Server::start(command, directory, address).await?;
        Ok(Self { server, options, program, scheme, region })
    }

    /// Ends it. What it stores stays.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        Ok(self.server.process.kill().await?)
    }

    /// Starts it again where it was, with what it had.
    pub async fn start_again(&mut self) -> Result<(), ServerError> {
        let (directory, address) = (self.server.path(), self.server.address);
        let command = command(&self.program, &self.options, &self.region, directory, address)?;
        self.server.start_again(command).await
    }

    /// Lets it answer nothing, and lose nothing, until it goes on.
    pub fn pause(&self) -> Result<(), ServerError> {
        self.server.signal(Signal::SIGSTOP)
    }

    /// Goes on after a pause.
    pub fn go_on(&self) -> Result<(), ServerError> {
        self.server.signal(Signal::SIGCONT)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Its address as a source names it, for example `http://127.0.0.1:41234`.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.server.address)
    }

    /// The region it is in.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Id and secret of the access key that may do everything.
    pub fn root(&self) -> (&'static str, &'static str) {
        ROOT
    }

    /// Adds a user with an access key, who may read nothing that is not his.
    pub async fn add_user(&self, id: &str, secret: &str) -> Result<(), ServerError> {
        let user = ["create-user", "--access", id, "--secret", secret, "--role", "user"];
        self.admin(&user).await
    }

    /// Adds a bucket that belongs to the user with this access key.
    pub async fn add_bucket(&self, name: &str, owner: &str) -> Result<(), ServerError> {
        self.admin(&["create-bucket", "--bucket", name, "--owner", owner]).await
    }

    /// The names of all buckets.
    pub fn buckets(&self) -> Vec<String> {
        let entries = std::fs::read_dir(buckets(&self.options, self.server.path()));
        let names = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        // No bucket's name begins with a dot; its own folders' do.
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    async fn admin(&self, arguments: &[&str]) -> Result<(), ServerError> {
        let mut command = Command::new(&self.program);
        command.env_clear().env("ADMIN_ACCESS_KEY", ROOT.0).env("ADMIN_SECRET_KEY", ROOT.1).stdin(Stdio::null());
        command.args(["admin", "--allow-insecure", "--region", &self.region, "--endpoint-url", &self.endpoint()]);
        let output = command.args(arguments).kill_on_drop(true).output().await?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        Err(ServerError::Start(format!("versitygw admin {}: {said}", arguments.join(" "))))
    }
}

fn buckets(options: &S3Options, directory: &Path) -> PathBuf {
    options.buckets.clone().unwrap_or_else(|| directory.join("buckets"))
}

fn command(
    program: &Path,
    options: &S3Options,
    region: &str,
    directory: &Path,
    address: SocketAddr,
) -> Result<Command, ServerError> {
    let mut command = Command::new(program);
    // Its settings can come from the environment, and those of this machine are not meant.
    command.env_clear().env("ROOT_ACCESS_KEY", ROOT.0).env("ROOT_SECRET_KEY", ROOT.1);
    command.args(["--quiet", "--iam-cache-disable", "--region", region, "--port", &address.to_string()]);
    command.arg("--iam-dir").arg(directory.join("users"));
    if let Some(certificate) = &options.certificate {
        let (chain, key) = certificate.write(directory)?;
        command.arg("--cert").arg(chain).arg("--key").arg(key);
    }
    if let Some(domain) = &options.domain {
        command.args(["--virtual-domain", domain]);
    }
    command.arg("posix").arg("--sidecar").arg(directory.join("metadata")).arg(buckets(options, directory));
    Ok(command)
}
