//! Where a node runs: namespaces of its own for processes, mounts and network, a folder, and a control group. The
//! kernel ends and removes what is in the namespaces with their first process, so that a node that is killed leaves no
//! process, bridge, rule or mount behind; the folder and the empty control groups are removed by the next one.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, ChildStdin, Command};

use super::NodeError;

/// The folder's name, and the control group's.
pub(super) const NAME: &str = "printernizer-node";
/// Where the folder is: only root makes something there. The places that get a file system of their own below would hide it.
const PLACE: &str = "/var/cache";
/// Where its lock is, likewise.
const LOCKS: &str = "/run";
/// Where control groups are.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// The user who may make namespaces.
const ROOT: u32 = 0;
/// How long the kernel may take to end the processes of a node.
const DYING: Duration = Duration::from_secs(30);

/// What the first process of the namespaces does. containerd, its shims and kubelet write to places that no option
/// moves: those get file systems of their own. The kernel's settings are those of the whole machine and stay as they
/// are, while kubelet, which does not run without its own, sees them as it wants them. It then waits for the program, and for every process that has lost its parent.
const FIRST: &str = r#"
set -e
for place in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs "$place"; done
# Nobody would remove what is left in that of the machine.
mkdir -m 1777 /run/tmp
export TMPDIR=/run/tmp
for place in kernel vm; do
    mount --bind "/proc/sys/$place" "/proc/sys/$place"
    mount -o remount,bind,ro "/proc/sys/$place"
done
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=/run/$(echo "${setting%=*}" | tr / -)
    echo "${setting#*=}" > "$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
set +e
"$@"
exit $?
"#;

/// The namespaces of a node.
const NAMESPACES: [&str; 7] = ["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"];

/// The place of one node. Only one exists on a machine.
pub struct Cell {
    folder: PathBuf,
    /// Held as long as the cell is.
    _lock: File,
}

impl Cell {
    /// Whether there can be one: an error says why not. Starts nothing but a process in empty namespaces.
    pub fn possible() -> Result<(), NodeError> {
        must_be_root()?;
        let mut command = std::process::Command::new("unshare");
        let output = command.args(NAMESPACES).arg("true").output().map_err(unshare_failed)?;
        if output.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(NodeError::Failed { command: "unshare".to_owned(), told })
    }

    /// Takes the place, and removes what a node that was killed has left there.
    pub fn take() -> Result<Self, NodeError> {
        must_be_root()?;
        let folder = Path::new(PLACE).join(NAME);
        let path = Path::new(LOCKS).join(NAME).with_extension("lock");
        let lock = File::options().create(true).append(true).mode(0o600).open(&path);
        let lock = lock.map_err(NodeError::file("write", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NodeError::Busy { lock: path }),
            Err(TryLockError::Error(source)) => return Err(NodeError::File { action: "lock", path, source }),
        }
        let cell = Self { folder, _lock: lock };
        is_of(&cell.folder, ROOT)?;
        cell.sweep()?;
        // In it are the keys of a cluster. Somebody who is faster than this makes it fail.
        fs::DirBuilder::new().mode(0o700).create(&cell.folder).map_err(NodeError::file("make", &cell.folder))?;
        for group in control_groups() {
            // One that is no control group of processes (a link, another kind of file) is none of ours.
            let _ = fs::create_dir(group.join(NAME));
        }
        Ok(cell)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a program in namespaces of its own. It must end when its standard input is closed, as [`end_with_stdin`]
    /// sees to it; everything it has started ends with it.
    pub fn start(&self, program: &Path, arguments: &[std::ffi::OsString]) -> Result<Inmate, NodeError> {
        let mut command = std::process::Command::new("unshare");
        command.args(NAMESPACES);
        command.args(["sh", "-c", FIRST, "first"]).arg(program).args(arguments);
        // Ctrl-C is for the one outside, who then ends this in order.
        command.stdin(Stdio::piped()).process_group(0);
        let mut child = Command::from(command).kill_on_drop(true).spawn().map_err(unshare_failed)?;
        // Waiting for a child closes its standard input, so that is kept apart.
        Ok(Inmate { stdin: child.stdin.take(), child })
    }

    /// Removes folder and control groups. What ran in them has ended, or is ending.
    pub fn sweep(&self) -> Result<(), NodeError> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).map_err(NodeError::file("remove", &self.folder))?;
        }
        for group in control_groups() {
            let group = group.join(NAME);
            let begun = Instant::now();
            while group.exists() {
                match remove_group(&group) {
                    Ok(()) => {}
                    // The last processes of a node that was killed a moment ago.
                    Err(error) if error.kind() == ErrorKind::ResourceBusy && begun.elapsed() < DYING => {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    Err(source) => return Err(NodeError::File { action: "remove", path: group, source }),
                }
            }
        }
        Ok(())
    }
}

/// A program in a cell.
pub struct Inmate {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Inmate {
    /// Waits for its end.
    pub async fn ended(&mut self) -> Result<ExitStatus, NodeError> {
        self.child.wait().await.map_err(unshare_failed)
    }

    /// Asks it to end, and waits until it, and all it has started, is gone.
    pub async fn end(mut self) -> Result<ExitStatus, NodeError> {
        drop(self.stdin.take());
        self.ended().await
    }
}

fn must_be_root() -> Result<(), NodeError> {
    // A process's entry belongs to the user it acts for.
    let process = Path::new("/proc/self");
    let user = fs::metadata(process).map_err(NodeError::file("read", process))?.uid();
    if user == ROOT { Ok(()) } else { Err(NodeError::NotRoot) }
}

/// An error if something stands at this place that is no folder of this user: then it is nothing that a node has left.
fn is_of(place: &Path, user: u32) -> Result<(), NodeError> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() && found.uid() == user => Ok(()),
        Ok(found) => Err(NodeError::Foreign { place: place.to_owned(), user: found.uid() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(NodeError::File { action: "read", path: place.to_owned(), source }),
    }
}

fn unshare_failed(source: std::io::Error) -> NodeError {
    NodeError::Run { program: "unshare".to_owned(), source }
}

/// Ends this process when its standard input is closed: the one outside is gone, or wants it to end.
pub fn end_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1)
    });
}

/// The hierarchies: one (version 2), or one for each controller (version 1).
fn control_groups() -> Vec<PathBuf> {
    let top = Path::new(CONTROL_GROUPS);
    if top.join("cgroup.controllers").exists() {
        return vec![top.to_owned()];
    }
    let folders = fs::read_dir(top).into_iter().flatten().flatten();
    folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// A group is a folder that is removed when those in it are; the files in it are the kernel's.
fn remove_group(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_somebody_else_has_taken_is_refused() {
        let ours = tempfile::tempdir().unwrap();
        let user = fs::metadata(ours.path()).unwrap().uid();
        let (nothing, file, link) = (ours.path().join("none"), ours.path().join("file"), ours.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(ours.path(), &link).unwrap();
        assert!(is_of(ours.path(), user).is_ok() && is_of(&nothing, user).is_ok());
        assert!(is_of(ours.path(), user + 1).is_err(), "of somebody else");
        assert!(is_of(&file, user).is_err(), "no folder");
        let told = is_of(&link, user).unwrap_err().to_string();
        assert!(told.contains("link") && told.contains("remove it"), "{told}");
    }
}
