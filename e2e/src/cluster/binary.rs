//! Builds the control plane's program once and keeps it in the cache: etcd and Kubernetes from their Go modules, by
//! the machine's Go toolchain. The file's name holds the version of Kubernetes and a digest of everything the build
//! depends on, so a changed source is built anew and two checkouts never use each other's program.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::Error;
use crate::cache_dir;

/// The Go module.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster");
/// A first build takes about 8 CPU minutes.
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
/// No cgo: the program needs no C compiler and runs on any libc. No debug information: half the size.
const ENVIRONMENT: [(&str, &str); 4] =
    [("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off"), ("GOFLAGS", "-mod=readonly -buildvcs=false")];

/// The path of the program, built now if the cache does not have it: some minutes the first time, half a minute
/// when only our own sources changed. Blocks; `progress` gets a line for a person every few seconds. Two processes
/// that need it at once build it once.
pub fn ensure_binary(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let module = Path::new(MODULE);
    let version = kubernetes_version(module)?;
    let path = cached_path(module, &version)?;
    if path.is_file() {
        return Ok(path);
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(failed("make", directory))?;
    let _lock = lock(&directory.join("build.lock"), progress)?;
    if path.is_file() {
        return Ok(path); // built by the process we waited for
    }
    sweep(directory);
    let unfinished =
        tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(directory).map_err(failed("write to", directory))?;
    let output = unfinished.path().join("printernizer-cluster");
    build(module, &version, &output, progress)?;
    std::fs::rename(&output, &path).map_err(failed("write", &path))?;
    Ok(path)
}

/// Removes what killed builds left, and programs so old that their sources have most likely changed; each has over
/// 100 MB. Only for the holder of the lock. What cannot be removed stays: that is no reason not to build.
fn sweep(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_old = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            modified.is_ok_and(|when| when.elapsed().is_ok_and(|age| age > MAXIMUM_AGE))
        };
        if name.to_string_lossy().starts_with(UNFINISHED) {
            let _ = std::fs::remove_dir_all(entry.path());
        } else if name.to_string_lossy().starts_with("printernizer-cluster-") && is_old() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The path of the program if the cache has it.
pub(super) fn cached() -> Option<PathBuf> {
    let module = Path::new(MODULE);
    let version = kubernetes_version(module).ok()?;
    cached_path(module, &version).ok().filter(|path| path.is_file())
}

fn cached_path(module: &Path, version: &str) -> Result<PathBuf, Error> {
    let digest = digest(module, &link_flags(version))?;
    Ok(cache_dir().join("cluster").join(format!("printernizer-cluster-{version}-{digest}")))
}

/// The version of `k8s.io/kubernetes` that go.mod requires, such as `v1.36.3`.
fn kubernetes_version(module: &Path) -> Result<String, Error> {
    let path = module.join("go.mod");
    let text = std::fs::read_to_string(&path).map_err(failed("read", &path))?;
    required_version(&text).map(str::to_owned).ok_or(Error::NoVersion { path })
}

fn required_version(go_mod: &str) -> Option<&str> {
    go_mod.lines().find_map(|line| {
        let line = line.trim().trim_start_matches("require ");
        line.strip_prefix("k8s.io/kubernetes ")?.split_whitespace().next()
    })
}

/// The version that the API server, kubectl and the others report.
fn link_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut flags = "-s -w".to_owned();
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        let values = [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")];
        for (name, value) in values {
            flags.extend([" -X ", package, ".", name, "=", value]);
        }
    }
    flags
}

/// A digest of the module's sources (not its tests) and of how they are built.
fn digest(module: &Path, link_flags: &str) -> Result<String, Error> {
    let mut files = Vec::new();
    source_files(module, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for part in [std::env::consts::OS, std::env::consts::ARCH, link_flags] {
        hash.update(part);
        hash.update([0]);
    }
    for (name, value) in ENVIRONMENT {
        hash.update(format!("{name}={value}\0"));
    }
    for file in files {
        let content = std::fs::read(&file).map_err(failed("read", &file))?;
        hash.update(file.strip_prefix(module).unwrap_or(&file).as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    let hashed = hash.finalize();
    let short: [u8; 8] = std::array::from_fn(|index| hashed[index]);
    Ok(format!("{:012x}", u64::from_be_bytes(short) >> 16))
}

fn source_files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(directory).map_err(failed("read", directory))? {
        let path = entry.map_err(failed("read", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_source = path.extension().is_some_and(|extension| extension == "go") && !name.ends_with("_test.go");
        if path.is_dir() {
            source_files(&path, found)?;
        } else if is_source || name == "go.mod" || name == "go.sum" {
            found.push(path);
        }
    }
    Ok(())
}

/// Waits for the lock. The kernel releases it when its holder ends, so a killed build blocks nobody.
fn lock(path: &Path, progress: &mut dyn FnMut(&str)) -> Result<File, Error> {
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
            return Err(Error::BuildTimeout { minutes: BUILD_TIMEOUT.as_secs() / 60, hint });
        }
        if told.is_none_or(|when: Instant| when.elapsed() > PROGRESS_INTERVAL) {
            progress(&format!("another process builds the control plane; waiting for {} s", start.elapsed().as_secs()));
            told = Some(Instant::now());
        }
        std::thread::sleep(LOCK_INTERVAL);
    }
}

fn build(module: &Path, version: &str, output: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), Error> {
    progress(&format!("building Kubernetes {version} from its Go modules: some minutes the first time, then cached"));
    let mut command = Command::new(go());
    command.args(["build", "-trimpath", "-v", "-ldflags"]).arg(link_flags(version)).arg("-o").arg(output).arg(".");
    command.envs(ENVIRONMENT).current_dir(module);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::GoMissing(source),
        _ => Error::Run { program: go(), source },
    })?;
    follow(child, progress)
}

/// Tells the progress of `go build -v`, which writes one line for each module it fetches and each package it
/// compiles, and nothing for what its own cache has.
fn follow(mut child: Child, progress: &mut dyn FnMut(&str)) -> Result<(), Error> {
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
            return Err(Error::BuildTimeout { minutes: BUILD_TIMEOUT.as_secs() / 60, hint });
        }
    }
    let status = child.wait().map_err(failed("wait for", Path::new("go build")))?;
    if status.success() {
        progress(&format!("  built in {} s", start.elapsed().as_secs()));
        return Ok(());
    }
    Err(Error::Build { status: status.to_string(), output: Vec::from(last_lines).join("\n") })
}

/// Go on the PATH, or where its own installer puts it.
fn go() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|directory| directory.join("go").is_file()));
    let usual = Path::new("/usr/local/go/bin/go");
    if !on_path && usual.is_file() { usual.to_owned() } else { PathBuf::from("go") }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_go_mod_requires() {
        let text = "module x\n\nrequire (\n\tk8s.io/kubectl v0.36.3\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";
        assert_eq!(required_version(text), Some("v1.36.3"));
        assert_eq!(required_version("require k8s.io/kubernetes v1.2.3\n"), Some("v1.2.3"));
        assert_eq!(required_version("replace k8s.io/kubernetes => ../kubernetes\n"), None);
        assert!(kubernetes_version(Path::new(MODULE)).unwrap().starts_with("v1."));
    }

    #[test]
    fn the_digest_changes_with_sources_and_flags_but_not_with_tests() {
        let module = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(module.path().join(name), text).unwrap();
        std::fs::create_dir(module.path().join("inner")).unwrap();
        write("go.mod", "module x");
        write("inner/main.go", "package main");
        let before = digest(module.path(), "-s").unwrap();
        write("inner/main_test.go", "package main");
        write("README.md", "text");
        assert_eq!(digest(module.path(), "-s").unwrap(), before);
        assert_ne!(digest(module.path(), "-w").unwrap(), before);
        write("inner/main.go", "package main // changed");
        assert_ne!(digest(module.path(), "-s").unwrap(), before);
    }

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
        sweep(directory.path());
        let mut left: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["build.lock", "printernizer-cluster-new"]);
    }

    #[test]
    fn the_version_is_stamped_into_server_and_client() {
        let flags = link_flags("v1.36.3");
        for expected in ["component-base/version.gitMinor=36", "client-go/pkg/version.gitVersion=v1.36.3"] {
            assert!(flags.contains(expected), "{flags}");
        }
    }

    #[test]
    fn a_failed_build_shows_the_end_of_its_output() {
        let child = Command::new("sh")
            .args(["-c", "for i in $(seq 100); do echo line $i >&2; done; exit 3"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let error = follow(child, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("line 100"), "{error}");
        assert!(!error.contains("line 1\n"), "{error}");
    }

    #[test]
    fn a_lock_held_by_another_is_waited_for_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build.lock");
        let held = lock(&path, &mut |_| {}).unwrap();
        let (told, progress) = channel();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || lock(&path, &mut |line| told.send(line.to_owned()).unwrap()).is_ok()
        });
        assert!(progress.recv_timeout(Duration::from_secs(20)).unwrap().contains("another process"));
        drop(held);
        assert!(waiting.join().unwrap());
    }
}
