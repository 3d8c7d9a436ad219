//! The operator as a process of its own: started, asked, ended in every way a process can end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::FarmError;
use crate::wait_until;

/// Longest wait for a process that was started, on a machine that is busy with other things.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How the operator is started.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The program.
    pub program: PathBuf,
    /// The kubeconfig it uses.
    pub kubeconfig: PathBuf,
    /// Directory for its cache and log.
    pub directory: PathBuf,
    /// Namespace it works in and has its Lease in.
    pub namespace: String,
    /// How many times as fast its windows run.
    pub simulated_time: u32,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// What is around the process: nothing special, for most.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// A program, and its arguments, that becomes the operator's: they are given to it after these.
    pub wrapper: Vec<String>,
    /// Further variables of its environment.
    pub environment: Vec<(String, std::ffi::OsString)>,
}

/// A running operator. Dropping it kills it.
#[derive(Debug)]
pub struct Operator {
    child: Child,
    log: PathBuf,
    address: SocketAddr,
}

impl Operator {
    /// Starts the operator and waits until it serves its health.
    pub async fn start(options: &OperatorOptions) -> Result<Self, FarmError> {
        Self::start_in(options, &Surroundings::default()).await
    }

    /// The same in other surroundings.
    pub async fn start_in(options: &OperatorOptions, around: &Surroundings) -> Result<Self, FarmError> {
        let number = std::fs::read_dir(&options.directory).map(Iterator::count).unwrap_or_default();
        let log = options.directory.join(format!("operator-{number}.log"));
        let file = std::fs::File::create(&log).map_err(FarmError::Files)?;
        let mut command = match around.wrapper.split_first() {
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(&options.program);
                command
            }
            None => Command::new(&options.program),
        };
        let child = command
            .envs(around.environment.iter().map(|(name, value)| (name, value)))
            .arg("run")
            .args(["--listen", "127.0.0.1:0", "--log-format", "json", "--allow-loopback"])
            .args(["--namespace", &options.namespace, "--lease-namespace", &options.namespace])
            .args(["--simulated-time", &options.simulated_time.to_string()])
            .arg("--cache-dir")
            .arg(options.directory.join("cache"))
            .args(&options.arguments)
            .env("KUBECONFIG", &options.kubeconfig)
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(FarmError::Files)?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| FarmError::Program { program: options.program.clone(), source })?;
        let mut operator = Self { child, log, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let found = wait_until("the operator says where it listens", START_LIMIT, async || {
            operator.listening().ok_or("no address in the log yet")
        })
        .await;
        operator.address = found.map_err(|e| FarmError::Waited(format!("{e}\n{}", operator.tail())))?;
        Ok(operator)
    }

    fn listening(&self) -> Option<SocketAddr> {
        let text = std::fs::read_to_string(&self.log).ok()?;
        text.lines().find_map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            find_string(&value, "address")?.parse().ok()
        })
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where it writes its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of its log, for the message of a failed test.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Address of its metrics and health, for example `http://127.0.0.1:41234`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same without the scheme.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its metrics, as Prometheus reads them.
    pub async fn metrics(&self) -> Result<String, FarmError> {
        super::http_get(&format!("{}/metrics", self.url())).await
    }

    /// One value of its metrics, summed over labels.
    pub async fn metric(&self, name: &str) -> Result<f64, FarmError> {
        let text = self.metrics().await?;
        let values = text.lines().filter(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        Ok(values.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Memory the process holds, in bytes.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    }

    /// Processor time it has used since its start, to a hundredth of a second.
    pub fn cpu_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?)).ok()?;
        // After the name, which may hold anything: user and system time are the 12th and 13th field, in ticks, of which
        // Linux shows programs 100 a second on every architecture.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 10))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), FarmError> {
        let Some(pid) = self.pid().and_then(|p| i32::try_from(p).ok()) else { return Ok(()) };
        nix::sys::signal::kill(Pid::from_raw(pid), signal).map_err(|e| FarmError::Files(std::io::Error::from(e)))
    }

    /// Kills it as a lost machine would: no signal handler, no goodbye.
    pub async fn kill(mut self) -> Result<(), FarmError> {
        self.child.kill().await.map_err(FarmError::Files)
    }

    /// Asks it to end, as Kubernetes does, and waits; gives its exit status.
    pub async fn terminate(mut self, limit: Duration) -> Result<ExitStatus, FarmError> {
        self.signal(Signal::SIGTERM)?;
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.map_err(FarmError::Files),
            Err(_) => Err(FarmError::Waited(format!("the operator did not end within {limit:?}\n{}", self.tail()))),
        }
    }

    /// Waits until it has ended by itself or was ended by somebody else.
    pub async fn ended(&mut self) -> Result<ExitStatus, FarmError> {
        self.child.wait().await.map_err(FarmError::Files)
    }
}

fn find_string<'a>(value: &'a serde_json::Value, key: &str) -> Option<&'a str> {
    match value {
        serde_json::Value::Object(map) => {
            map.get(key).and_then(|v| v.as_str()).or_else(|| map.values().find_map(|v| find_string(v, key)))
        }
        _ => None,
    }
}
