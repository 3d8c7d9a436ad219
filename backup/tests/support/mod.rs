//! A pod without a cluster: the program as a process, with its mounts in a temporary directory, and stock restic beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use printernizer_crds::backup_policy::{Report, RunReason};
use printernizer_e2e::servers::Certificate;
use printernizer_e2e::servers::s3::{S3Options, S3Server};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// The repository's password in these tests.
pub const PASSWORD: &str = "a-password-nobody-may-see";
/// Most memory the program may have had, whatever it does, in kB.
pub const MOST_MEMORY: u64 = 30_000;
/// Longest wait for something that must happen.
pub const SOON: Duration = Duration::from_secs(120);

/// Where restic is, fetched if need be.
pub fn restic() -> PathBuf {
    printernizer_e2e::tools::restic(&mut |_| {}).unwrap()
}

/// A pod of a policy.
pub struct Pod {
    pub root: TempDir,
    pub configuration: Value,
    pub environment: BTreeMap<String, String>,
    pub user: Option<u32>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub report: Report,
    pub success: bool,
    pub output: String,
    /// The most memory the program had, in kB, without restic and its like.
    pub peak_kilobytes: u64,
}

impl Pod {
    /// A pod that backs up the volume `models` into the volume `disk`.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["target", "scratch", "sources/volumes/models"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let configuration = json!({
            "namespace": "farm", "policy": "nightly",
            "sources": {"persistentVolumeClaims": [{"claimName": "models"}]},
            "target": {"persistentVolumeClaim": {"claimName": "disk"}},
            "encryption": {"passwordSecretRef": {"name": "backup-password", "key": "password"}},
            "retention": {"keepLast": 1},
            "verification": {"check": {"schedule": "@weekly", "readDataPercent": 100}},
        });
        let environment = BTreeMap::from([("PRINTERNIZER_BACKUP_PASSWORD".to_owned(), PASSWORD.to_owned())]);
        Self { root, configuration, environment, user: None }
    }

    /// A path below the mounts.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Writes a file of a volume that is backed up.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path("sources/volumes").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Lets the backups go into a bucket of this server.
    pub fn use_bucket(&mut self, shop: &Bucket) {
        self.configuration["target"] = shop.target();
        std::fs::create_dir_all(self.path("certificates/target")).unwrap();
        std::fs::write(self.path("certificates/target/ca.pem"), &shop.authority).unwrap();
        let (id, secret) = shop.server.root();
        self.set("PRINTERNIZER_BACKUP_TARGET_ACCESS_KEY_ID", id);
        self.set("PRINTERNIZER_BACKUP_TARGET_SECRET_ACCESS_KEY", secret);
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// The command that runs the program.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_printernizer-backup"));
        let path = format!("{}:/usr/bin:/bin", restic().parent().unwrap().display());
        command.env_clear().env("PATH", path);
        command.env("PRINTERNIZER_BACKUP", self.configuration.to_string());
        command.env("PRINTERNIZER_BACKUP_ROOT", self.root.path());
        command.env("PRINTERNIZER_BACKUP_REPORT", self.path("report.json"));
        command.envs(&self.environment).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end, and sees that it needs little memory.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let (output, peak) = std::thread::scope(|threads| {
            let peak = threads.spawn(|| {
                let mut most = 0;
                while let Some(peak) = peak_of(pid) {
                    most = most.max(peak);
                    std::thread::sleep(Duration::from_millis(5));
                }
                most
            });
            (child.wait_with_output().unwrap(), peak.join().unwrap())
        });
        assert!(peak < MOST_MEMORY, "{arguments:?} had {peak} kB");
        Ended { peak_kilobytes: peak, ..self.ended(output) }
    }

    /// Starts the program in a process group of its own, as a container is one.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What a run left.
    pub fn ended(&self, output: Output) -> Ended {
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let report = std::fs::read(self.path("report.json")).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let report = serde_json::from_slice(&report).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Ended { report, success: output.status.success(), output: text, peak_kilobytes: 0 }
    }

    /// Runs the program, which must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Report {
        let ended = self.run(arguments);
        assert!(ended.success && ended.report.succeeded(), "{arguments:?}: {ended:#?}");
        ended.report
    }

    /// Runs the program, which must fail for this reason; gives the message.
    pub fn fail(&self, arguments: &[&str], reason: RunReason) -> String {
        let ended = self.run(arguments);
        assert_eq!((ended.report.reason, ended.success), (reason, false), "{arguments:?}: {ended:#?}");
        ended.report.message
    }

    /// Runs stock restic on the repository of the volume target, as a person would; gives what it says.
    pub fn by_hand(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(restic());
        command.env("RESTIC_REPOSITORY", self.path("target")).env("RESTIC_PASSWORD", PASSWORD);
        finish(command.env("RESTIC_CACHE_DIR", self.path("scratch/cache")).args(arguments))
    }
}

/// The most memory a process had so far, in kB; None once it has ended.
pub fn peak_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Runs a command that must succeed; gives what it says.
pub fn finish(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A bucket on a server with TLS, by an authority nobody knows.
pub struct Bucket {
    pub server: S3Server,
    pub authority: String,
}

impl Bucket {
    /// A server with the bucket `backups`.
    pub async fn start() -> Self {
        let certificate = Certificate::new(&[]).unwrap();
        let authority = certificate.authority.clone();
        let options = S3Options { certificate: Some(certificate), ..S3Options::default() };
        let server = S3Server::start(options).await.unwrap();
        server.add_user("owner", "secret-of-the-owner").await.unwrap();
        server.add_bucket("backups", "owner").await.unwrap();
        Self { server, authority }
    }

    /// The target a policy has for it.
    pub fn target(&self) -> Value {
        json!({"s3": {
            "bucket": "backups", "prefix": "farms/one", "endpoint": self.server.endpoint(), "forcePathStyle": true,
            "credentialsSecretRef": {"name": "s3-keys"}, "caBundleConfigMapRef": {"name": "authority", "key": "ca.pem"},
        }})
    }
}

/// Bytes that neither compress nor repeat, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Path and SHA-256 of every file below a folder.
pub fn hashes(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            if entry.file_type().unwrap().is_dir() {
                found.insert(name, "folder".to_owned());
                folders.push(path);
            } else if entry.file_type().unwrap().is_symlink() {
                found.insert(name, format!("-> {}", std::fs::read_link(&path).unwrap().display()));
            } else {
                found.insert(name, format!("{:x}", Sha256::digest(std::fs::read(&path).unwrap())));
            }
        }
    }
    found
}

/// Number of entries in a folder, 0 if it is not there.
pub fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Looks until it is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < end, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Every file below a folder.
pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    found.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Changes a byte in the middle of the largest pack of a repository.
pub fn spoil_a_pack(repository: &Path) {
    let packs = walk(&repository.join("data"));
    let largest = packs.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::set_permissions(largest, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(largest, bytes).unwrap();
}

/// A restic that has the repository of the volume target for itself and keeps still.
pub fn hold(pod: &Pod) -> Child {
    let mut holder = Command::new(restic());
    holder.env("RESTIC_REPOSITORY", pod.path("target")).env("RESTIC_PASSWORD", PASSWORD).arg("check").arg("--no-cache");
    let holder = holder.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // While it is written it has another name.
    let whole = |path: PathBuf| !path.to_string_lossy().contains("-tmp-");
    until("the lock of a check", || walk(&pod.path("target/locks")).into_iter().any(whole));
    kill(Pid::from_raw(holder.id().cast_signed()), Signal::SIGSTOP).unwrap();
    holder
}

/// Types the command that takes a point away, as a message tells it.
pub fn type_what_is_told(pod: &Pod, told: &str) {
    let (_, command) = told.split_once("restic forget").unwrap();
    let (command, _) = command.split_once("remove-all").unwrap();
    let command = format!("forget{command}remove-all");
    pod.by_hand(&command.split_whitespace().collect::<Vec<_>>());
}

/// Lets the pod find a script in the place of restic; `REAL` in it is restic.
pub fn replace_restic(pod: &mut Pod, script: &str) {
    let folder = pod.path("programs");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("restic");
    let script = format!("#!/bin/sh\n{}\n", script.replace("REAL", &restic().display().to_string()));
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    pod.set("PATH", &format!("{}:/usr/bin:/bin", folder.display()));
}
