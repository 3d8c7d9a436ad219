//! Whether a fresh clone would build: Cargo.lock as committed knows every package of the manifests as committed. The
//! working tree says nothing about that, because cargo completes its lock file by the way. Takes about a second, changes
//! nothing; without git, or outside a clone, the working tree is looked at.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::process::describe;
use crate::workspace::{cargo, root};

/// What mends it.
pub const ADVICE: &str = "Cargo.lock as committed does not fit the manifests, so a fresh clone does not build: run `cargo check --workspace` \
     and commit Cargo.lock";

/// The folder of the commit's files, removed when dropped.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        // A leftover in the temporary directory harms nobody.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// None if the lock file is complete; else what cargo says.
pub fn trouble() -> Result<Option<String>, Error> {
    let folder = std::env::temp_dir().join(format!("printernizer-lock-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|cause| Error::Write { path: folder.clone(), cause })?;
    let copy = Copy(folder);
    let committed = extract(&root(), &copy.0)?;
    check(if committed { &copy.0 } else { Path::new(".") })
}

/// Puts the files of the commit into a folder; false where there is no commit to take them from.
fn extract(project: &Path, folder: &Path) -> Result<bool, Error> {
    let mut archive = Command::new("git");
    archive.args(["archive", "--format=tar", "HEAD"]).current_dir(project);
    let Ok(mut git) = archive.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
        return Ok(false);
    };
    let mut unpack = Command::new("tar");
    unpack.args(["-x", "-C"]).arg(folder).stderr(Stdio::null());
    if let Some(pipe) = git.stdout.take() {
        unpack.stdin(pipe);
    }
    let unpacked = unpack.status().map_err(|cause| Error::Start {
        program: describe(&unpack),
        advice: "install tar".to_owned(),
        cause,
    })?;
    let archived = git.wait().map_err(|cause| Error::Lost { program: describe(&archive), cause })?;
    Ok(archived.success() && unpacked.success())
}

fn check(project: &Path) -> Result<Option<String>, Error> {
    let mut command = cargo();
    command.args(["metadata", "--locked", "--format-version", "1", "--manifest-path"]).arg(project.join("Cargo.toml"));
    let output = command.stdout(Stdio::null()).output().map_err(|cause| Error::Start {
        program: describe(&command),
        advice: "install Rust with rustup".to_owned(),
        cause,
    })?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(lock: &str) -> Copy {
        let folder = std::env::temp_dir().join(format!("printernizer-lock-test-{}-{}", std::process::id(), lock.len()));
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(folder.join("src/lib.rs"), "").unwrap();
        let manifest = "[package]\nname = \"part\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
        std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        std::fs::write(folder.join("Cargo.lock"), lock).unwrap();
        Copy(folder)
    }

    #[test]
    fn a_lock_file_that_lacks_a_package_is_found() {
        let lacking = project("version = 4\n");
        let told = check(&lacking.0).unwrap();
        assert!(told.as_deref().is_some_and(|t| t.contains("--locked")), "{told:?}");
        let whole = project("version = 4\n\n[[package]]\nname = \"part\"\nversion = \"0.1.0\"\n");
        assert_eq!(check(&whole.0).unwrap(), None);
    }

    #[test]
    fn the_commit_counts_and_not_the_working_tree() {
        let copy = project("version = 4\n\n\n");
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
            let status =
                Command::new("git").args(identity).args(arguments).current_dir(&copy.0).output().unwrap().status;
            assert!(status.success(), "{arguments:?}");
        };
        git(&["init", "--quiet"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "a lock file that lacks the package"]);
        let whole = "version = 4\n\n[[package]]\nname = \"part\"\nversion = \"0.1.0\"\n";
        std::fs::write(copy.0.join("Cargo.lock"), whole).unwrap();
        assert_eq!(check(&copy.0).unwrap(), None);
        let committed = Copy(copy.0.join("committed"));
        std::fs::create_dir(&committed.0).unwrap();
        assert!(extract(&copy.0, &committed.0).unwrap());
        assert!(check(&committed.0).unwrap().is_some());
    }

    #[test]
    fn without_a_commit_nothing_is_taken_from_one() {
        let copy = project("version = 4\n\n\n\n");
        let nowhere = Copy(copy.0.join("nowhere"));
        std::fs::create_dir(&nowhere.0).unwrap();
        assert!(!extract(Path::new("/proc"), &nowhere.0).unwrap());
    }
}
