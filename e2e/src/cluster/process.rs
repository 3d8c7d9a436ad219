//! The process that runs a control plane: `up` of the Go program in `e2e/cluster/`, whose children are etcd and the
//! Kubernetes programs. What keeps it alive is the pipe to its standard input: it ends when that is closed, which
//! the kernel does for us when this process dies. Nothing here is bound to a tokio runtime, because a control plane
//! outlives the runtimes of the tests that share it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::{Error, Options};

/// How long a start may take; the program is told the same and then says what it waited for.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// How much longer than that the program gets to say so.
const START_GRACE: Duration = Duration::from_secs(15);
/// How long the end may take. Ending means killing four processes and removing a directory.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// With `keep_data` each of four processes gets 10 s to end by itself.
const STOP_TIMEOUT_KEEPING_DATA: Duration = Duration::from_mins(1);
/// What is kept of the program's complaints.
const MAXIMUM_PROBLEM_BYTES: u64 = 64 * 1024;

/// What the program tells about a control plane that is ready.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ready {
    /// A shell script that calls kubectl for this cluster.
    pub(super) kubectl: PathBuf,
    /// The kubeconfig of an administrator.
    pub(super) kubeconfig: PathBuf,
    /// The URL of the API server.
    pub(super) server: String,
    /// Where logs, certificates and data are.
    pub(super) directory: PathBuf,
    /// Process ids by program.
    pub(super) children: BTreeMap<String, u32>,
}

/// The running program.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Child,
    /// Open as long as the control plane is to run.
    stdin: Option<ChildStdin>,
    /// Receives everything the program wrote to standard error, once it has ended. The mutex only makes it `Sync`.
    problems: Mutex<Receiver<String>>,
    ready: Ready,
    /// Whether what is left of the directory is ours to remove: not before the program has accepted a directory
    /// that somebody else named, because it refuses one that has content.
    remove_directory: bool,
    keep_data: bool,
}

impl Supervisor {
    /// Blocks until the control plane is ready or has failed.
    pub(super) fn start(program: &Path, options: &Options) -> Result<Self, Error> {
        let directory = match &options.directory {
            Some(directory) => directory.clone(),
            None => tempfile::Builder::new()
                .prefix("printernizer-cluster-")
                .tempdir()
                .map_err(|source| Error::File { action: "make a directory in", path: std::env::temp_dir(), source })?
                .keep(),
        };
        let mut child = command(program, &directory, options)
            .spawn()
            .map_err(|source| Error::Run { program: program.to_owned(), source })?;
        let stdin = child.stdin.take();
        let first_line = read_in_background(child.stdout.take(), |stdout| {
            let mut line = String::new();
            // A line that cannot be read is an empty one: the program then says what is wrong on standard error.
            let _ = BufReader::new(stdout.take(MAXIMUM_PROBLEM_BYTES)).read_line(&mut line);
            line
        });
        let problems = read_in_background(child.stderr.take(), |mut stderr| {
            let mut kept = Vec::new();
            let _ = stderr.by_ref().take(MAXIMUM_PROBLEM_BYTES).read_to_end(&mut kept);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            String::from_utf8_lossy(&kept).trim_end().to_owned()
        });
        let line = first_line.recv_timeout(START_TIMEOUT + START_GRACE).unwrap_or_default();
        let placeholder = Ready {
            kubectl: PathBuf::new(),
            kubeconfig: PathBuf::new(),
            server: String::new(),
            directory,
            children: BTreeMap::new(),
        };
        let mut supervisor = Self {
            child,
            stdin,
            problems: Mutex::new(problems),
            ready: placeholder,
            remove_directory: options.directory.is_none() && !options.keep_data,
            keep_data: options.keep_data,
        };
        if let Ok(ready) = serde_json::from_str(&line) {
            supervisor.ready = ready;
            supervisor.remove_directory = !options.keep_data;
            return Ok(supervisor);
        }
        let (status, said) = supervisor.end();
        Err(Error::Start { reason: reason(status, &said) })
    }

    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Blocks until the control plane is gone.
    pub(super) fn stop(mut self) -> Result<(), Error> {
        match self.end() {
            (Some(status), _) if status.success() => Ok(()),
            (status, said) => Err(Error::Stop { reason: reason(status, &said) }),
        }
    }

    /// Asks the program to end and makes it end where it does not. Its children die with it.
    fn end(&mut self) -> (Option<ExitStatus>, String) {
        drop(self.stdin.take());
        let patience = if self.keep_data { STOP_TIMEOUT_KEEPING_DATA } else { STOP_TIMEOUT };
        // Only the program itself holds its standard error, so the end of that is the end of the program.
        let problems = self.problems.get_mut().unwrap_or_else(PoisonError::into_inner);
        let said = match problems.recv_timeout(patience) {
            Ok(said) => said,
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                format!("it did not end within {} s and was killed", patience.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => String::new(),
        };
        let status = self.child.wait().ok();
        if self.remove_directory {
            // Normally gone by now: the program removes it, unless it was killed.
            let _ = std::fs::remove_dir_all(&self.ready.directory);
        }
        (status, said)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.stdin.is_some() {
            self.end();
        }
    }
}

fn command(program: &Path, directory: &Path, options: &Options) -> Command {
    let mut command = Command::new(program);
    command.arg("up").arg("--dir").arg(directory);
    command.arg(format!("--start-timeout={}s", START_TIMEOUT.as_secs()));
    command.arg(format!("--apiserver-port={}", options.apiserver_port));
    command.arg(format!("--controller-manager={}", options.controller_manager));
    command.arg(format!("--scheduler={}", options.scheduler));
    command.arg(format!("--keep-data={}", options.keep_data));
    command.args(options.apiserver_arguments.iter().map(|argument| format!("--apiserver-arg={argument}")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C in a terminal goes to a whole process group; ours decides itself when the control plane ends.
    command.process_group(0);
    command
}

/// Reads a pipe in a thread of its own, so that nothing waits on it without a limit. A missing pipe is an empty one.
fn read_in_background<P: Read + Send + 'static>(
    pipe: Option<P>,
    read: impl FnOnce(P) -> String + Send + 'static,
) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        if let Some(pipe) = pipe {
            // The receiver may have given up.
            let _ = sender.send(read(pipe));
        }
    });
    receiver
}

fn reason(status: Option<ExitStatus>, said: &str) -> String {
    match (said.is_empty(), status) {
        (false, _) => said.to_owned(),
        (true, Some(status)) => format!("{status}, without a word"),
        (true, None) => "it could not be waited for".to_owned(),
    }
}
