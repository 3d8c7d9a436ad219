//! Where a node runs: namespaces of its own for processes, mounts and network, a folder, and a control group. The
//! kernel ends and removes what is in the namespaces with their first process, so that a node that is killed leaves no
//! process, bridge, rule or mount behind; the folder and the empty control groups are removed by the next one.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, ChildStdin, Command};

use super::NodeError;

/// The folder's name, and the control group's.
pub(super) const NAME: &str = "printernizer-node";
/// Where control groups are.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// How long the kernel may take to end the processes of a node.
const DYING: Duration = Duration::from_secs(30);

/// What the first process of the namespaces does. containerd, its shims and kubelet write to places that no option
/// moves: those get file systems of their own. The kernel's settings are those of the whole machine and stay as they
/// are, while kubelet, which does not run without its own, sees them as it wants them. It then waits for the program, and for every process that has lost its parent.
const FIRST: &str = r#"
set -e
for place in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs "$place"; done
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

/// The place of one node. Only one exists on a machine.
pub struct Cell {
    folder: PathBuf,
    /// Held as long as the cell is.
    _lock: File,
}

impl Cell {
    /// Takes the place, and removes what a node that was killed has left there.
    pub fn take() -> Result<Self, NodeError> {
        // A process's entry belongs to the user it acts for.
        let process = Path::new("/proc/self");
        if fs::metadata(process).map_err(NodeError::file("read", process))?.uid() != 0 {
            return Err(NodeError::NotRoot);
        }
        let folder = std::env::temp_dir().join(NAME);
        let path = folder.with_extension("lock");
        let lock = File::options().create(true).append(true).open(&path).map_err(NodeError::file("write", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NodeError::Busy { lock: path }),
            Err(TryLockError::Error(source)) => return Err(NodeError::File { action: "lock", path, source }),
        }
        let cell = Self { folder, _lock: lock };
        cell.sweep()?;
        fs::create_dir_all(&cell.folder).map_err(NodeError::file("make", &cell.folder))?;
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
        command.args(["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"]);
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
