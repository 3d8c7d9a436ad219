//! Builds programs from Go modules by the machine's Go toolchain and keeps them in the cache: each is built once, however
//! many processes need it at the same time, and what a killed build left is removed by the next.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::cache_dir;

/// A first build of the control plane takes about 8 CPU minutes.
const BUILD_TIMEOUT: Duration = Duration::from_hours(1);
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// How often another process's lock is looked at.
const LOCK_INTERVAL: Duration = Duration::from_millis(500);
/// What a build that is not finished is called.
const UNFINISHED: &str = ".building-";
/// Programs of other versions are removed when they are older than this.
const MAXIMUM_AGE: Duration = Duration::from_hours(30 * 24);
/// How many lines of a failed build are shown.
const SHOWN_LINES: usize = 30;

/// Why a program could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no Go toolchain.
    #[error("Go was not found, which is needed once to build {what}; install Go >= 1.26 from https://go.dev/dl/")]
    GoMissing {
        /// What was to be built.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The Go build failed.
    #[error(
        "building {what} failed ({status}); it needs Go >= 1.26 and the Go module proxy (see GOPROXY). The end of its \
         output:\n{output}"
    )]
    Failed {
        /// What was to be built.
        what: &'static str,
        /// How it ended.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// The build, or another process's build we waited for, took too long.
    #[error("{what} was not built within {minutes} minutes; {hint}")]
    Timeout {
        /// What was to be built.
        what: &'static str,
        /// How long we waited.
        minutes: u64,
        /// What to do about it.
        hint: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}; set PRINTERNIZER_CACHE to a directory with 1 GB of free space if it is the cache")]
    File {
        /// `read`, `write`, `lock`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Go could not be executed.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// A program to be built.
pub struct Program<'a> {
    /// What it is, for people.
    pub what: &'static str,
    /// Where it is to be. Its name names its version, so that another version is another file.
    pub path: &'a Path,
    /// What the names of its other versions begin with.
    pub prefix: &'a str,
    /// What is told before the build.
    pub announcement: String,
}

/// A program of others, in one version.
pub struct Module {
    /// What it is, for people.
    pub what: &'static str,
    /// Name of the program that Go makes of it.
    pub name: &'static str,
    /// Its package.
    pub package: &'static str,
    /// Its version. Go checks it against the public checksum database.
    pub version: &'static str,
    /// How long a first build takes, for people.
    pub takes: &'static str,
}

impl Module {
    /// Where the program is, or is to be.
    pub fn path(&self) -> PathBuf {
        let Self { name, version, .. } = self;
        cache_dir().join(name).join(format!("{name}-{version}-{}", std::env::consts::ARCH))
    }
}

/// The program of a Go module, built now if the cache does not have it.
pub fn install(module: &Module, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, BuildError> {
    let Module { what, name, package, version, takes } = *module;
    let path = module.path();
    let program = Program {
        what,
        path: &path,
        prefix: &format!("{name}-"),
        announcement: format!("building {name} {version} from its Go module: {takes}, then cached"),
    };
    let command = |directory: &Path| {
        let mut command = Command::new(go());
        command.args(["install", "-trimpath", "-v", "-ldflags", "-s -w"]).arg(format!("{package}@{version}"));
        command.envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off"), ("GOFLAGS", "")]);
        command.env("GOBIN", directory).current_dir(directory);
        (command, directory.join(name))
    };
    ensure(&program, command, progress)?;
    Ok(path)
}

/// Builds the program unless it is there. `command` gets an empty directory and gives the `go` command that writes the
/// program into it (`go build -v` or `go install -v`), and the file it will be. Blocks; `progress` gets a line for a
/// person every few seconds.
pub fn ensure(
    program: &Program<'_>,
    command: impl FnOnce(&Path) -> (Command, PathBuf),
    progress: &mut dyn FnMut(&str),
) -> Result<(), BuildError> {
    let Program { what, path, prefix, .. } = *program;
    if path.is_file() {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(failed("make", directory))?;
    let _lock = lock(what, &directory.join("build.lock"), progress)?;
    if path.is_file() {
        return Ok(()); // built by the process we waited for
    }
    sweep(directory, prefix);
    let unfinished =
        tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(directory).map_err(failed("write to", directory))?;
    progress(&program.announcement);
    let (mut command, output) = command(unfinished.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|source| match source.kind() {
        ErrorKind::NotFound => BuildError::GoMissing { what, source },
        _ => BuildError::Run { program: go(), source },
    })?;
    follow(what, child, progress)?;
    std::fs::rename(&output, path).map_err(failed("write", path))
}

/// Removes what killed builds left, and programs so old that their sources have most likely changed; each has over
/// 100 MB. Only for the holder of the lock. What cannot be removed stays: that is no reason not to build.
fn sweep(directory: &Path, prefix: &str) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_old = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            modified.is_ok_and(|when| when.elapsed().is_ok_and(|age| age > MAXIMUM_AGE))
        };
        if name.to_string_lossy().starts_with(UNFINISHED) {
            let _ = std::fs::remove_dir_all(entry.path());
        } else if name.to_string_lossy().starts_with(prefix) && is_old() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Waits for the lock. The kernel releases it when its holder ends, so a killed build blocks nobody.
fn lock(what: &'static str, path: &Path, progress: &mut dyn FnMut(&str)) -> Result<File, BuildError> {
    let file = File::options().create(true).append(true).open(path).map_err(failed("write", path))?;
    let start = Instant::now();
    let mut told = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed("lock", path)(source)),
        }
        if start.elapsed() > BUILD_TIMEOUT {
            let hint = format!("another process holds {}; end it if it hangs", path.display());
            return Err(BuildError::Timeout { what, minutes: BUILD_TIMEOUT.as_secs() / 60, hint });
        }
        if told.is_none_or(|when: Instant| when.elapsed() > PROGRESS_INTERVAL) {
            progress(&format!("another process builds {what}; waiting for {} s", start.elapsed().as_secs()));
            told = Some(Instant::now());
        }
        std::thread::sleep(LOCK_INTERVAL);
    }
}

/// Tells the progress of `go build -v`, which writes one line for each module it fetches and each package it
/// compiles, and nothing for what its own cache has.
fn follow(what: &'static str, mut child: Child, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let (sender, lines) = channel();
    if let Some(stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    } else {
        drop(sender);
    }
    let start = Instant::now();
    let (mut fetched, mut compiled, mut told) = (0, 0, start);
    let mut last_lines = std::collections::VecDeque::new();
    loop {
        match lines.recv_timeout(PROGRESS_INTERVAL) {
            Ok(line) => {
                *(if line.starts_with("go: downloading") { &mut fetched } else { &mut compiled }) += 1;
                if last_lines.len() == SHOWN_LINES {
                    last_lines.pop_front();
                }
                last_lines.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if told.elapsed() >= PROGRESS_INTERVAL {
            let seconds = start.elapsed().as_secs();
            progress(&format!("  {seconds} s: {fetched} modules fetched, {compiled} packages compiled"));
            told = Instant::now();
        }
        if start.elapsed() > BUILD_TIMEOUT {
            let _ = child.kill();
            let _ = child.wait();
            let hint = "try again: what is compiled so far is kept".to_owned();
            return Err(BuildError::Timeout { what, minutes: BUILD_TIMEOUT.as_secs() / 60, hint });
        }
    }
    let status = child.wait().map_err(failed("wait for", Path::new("go build")))?;
    if status.success() {
        progress(&format!("  built in {} s", start.elapsed().as_secs()));
        return Ok(());
    }
    Err(BuildError::Failed { what, status: status.to_string(), output: Vec::from(last_lines).join("\n") })
}

/// Go on the PATH, or where its own installer puts it.
pub fn go() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|directory| directory.join("go").is_file()));
    let usual = Path::new("/usr/local/go/bin/go");
    if !on_path && usual.is_file() { usual.to_owned() } else { PathBuf::from("go") }
}

/// The error of a file that could not be read or written.
pub fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_and_old_programs_are_swept_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path(".building-x")).unwrap();
        std::fs::write(path(".building-x/program"), "").unwrap();
        for name in ["printernizer-cluster-new", "printernizer-cluster-old", "build.lock"] {
            let file = File::create(path(name)).unwrap();
            let age = if name.ends_with("new") { Duration::ZERO } else { MAXIMUM_AGE + Duration::from_hours(1) };
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
        }
        sweep(directory.path(), "printernizer-cluster-");
        let mut left: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["build.lock", "printernizer-cluster-new"]);
    }

    #[test]
    fn a_failed_build_shows_the_end_of_its_output() {
        let child = Command::new("sh")
            .args(["-c", "for i in $(seq 100); do echo line $i >&2; done; exit 3"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let error = follow("a program", child, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("line 100"), "{error}");
        assert!(!error.contains("line 1\n"), "{error}");
    }

    #[test]
    fn a_lock_held_by_another_is_waited_for_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build.lock");
        let held = lock("a program", &path, &mut |_| {}).unwrap();
        let (told, progress) = channel();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || lock("a program", &path, &mut |line| told.send(line.to_owned()).unwrap()).is_ok()
        });
        assert!(progress.recv_timeout(Duration::from_secs(20)).unwrap().contains("another process"));
        drop(held);
        assert!(waiting.join().unwrap());
    }
}
