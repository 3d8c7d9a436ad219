//! The first release there could have been: its chart and its operator, taken out of the history and built once, into the
//! cache. The trial on a real node begins with it, so that today's operator reads what that one has stored.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use printernizer_tools::cache_dir;
use printernizer_tools::first_release::{COMMIT, place};

use crate::error::Error;
use crate::process::{quietly, say, succeed};
use crate::workspace::{cargo, root};

pub use printernizer_tools::first_release::VERSION;

/// The operator in this folder.
pub fn operator(place: &Path) -> PathBuf {
    place.join("printernizer")
}

/// The folder with both, made now if the cache does not have it. Of two processes that need it at once, one makes it.
pub fn ensure() -> Result<PathBuf, Error> {
    let place = place(&cache_dir());
    let folder = place.parent().unwrap_or(&place);
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let path = folder.join("build.lock");
    let lock = File::options().create(true).append(true).open(&path).map_err(failed(&path))?;
    // The kernel releases it when its holder ends.
    lock.lock().map_err(failed(&path))?;
    if place.is_dir() {
        return Ok(place);
    }
    is_in(&root())?;
    say(&format!("building the operator of the first release ({VERSION}): some minutes, then cached"));
    // What a killed build has left is built anew.
    let building = folder.join("building");
    if building.exists() {
        fs::remove_dir_all(&building).map_err(failed(&building))?;
    }
    let (sources, made) = (building.join("sources"), building.join("made"));
    for folder in [&sources, &made] {
        fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    unpack(None, &sources, &building)?;
    unpack(Some("charts/printernizer"), &made, &building)?;
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "printernizer", "--bin", "printernizer", "--target-dir"]);
    build.arg(building.join("target")).current_dir(&sources);
    // What is needed to debug it is three quarters of it.
    build.envs([
        ("CARGO_INCREMENTAL", "0"),
        ("CARGO_PROFILE_DEV_DEBUG", "0"),
        ("CARGO_PROFILE_DEV_STRIP", "debuginfo"),
    ]);
    succeed(&mut build)?;
    fs::rename(building.join("target/debug/printernizer"), operator(&made)).map_err(failed(&made))?;
    fs::rename(&made, &place).map_err(failed(&place))?;
    fs::remove_dir_all(&building).map_err(failed(&building))?;
    Ok(place)
}

/// Whether the history of this folder goes back so far; the error says what to do.
fn is_in(folder: &Path) -> Result<(), Error> {
    let mut ask = Command::new("git");
    ask.arg("-C").arg(folder).args(["cat-file", "-e", &format!("{COMMIT}^{{commit}}")]);
    if quietly(&mut ask)?.status.success() {
        return Ok(());
    }
    Err(Error::Missing(format!(
        "commit {COMMIT}, which the trial upgrades from. This clone does not have the whole history: git fetch --unshallow. \
         cargo xtask e2e --short does without"
    )))
}

/// Takes this path of the commit, or everything, out of the history.
fn unpack(path: Option<&str>, to: &Path, folder: &Path) -> Result<(), Error> {
    let archive = folder.join("archive.tar");
    let mut take = Command::new("git");
    take.arg("-C").arg(root()).args(["archive", "--format=tar", "--output"]).arg(&archive).arg(COMMIT).args(path);
    succeed(&mut take)?;
    let file = File::open(&archive).map_err(|cause| Error::Read { path: archive, cause })?;
    tar::Archive::new(file).unpack(to).map_err(failed(to))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |cause| Error::Write { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_without_the_history_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let git =
            |arguments: &[&str]| Command::new("git").arg("-C").arg(folder.path()).args(arguments).output().unwrap();
        assert!(git(&["init"]).status.success());
        let told = is_in(folder.path()).unwrap_err().to_string();
        assert!(told.contains("git fetch --unshallow") && told.contains("--short"), "{told}");
    }

    #[test]
    fn the_tag_names_the_commit() {
        assert!(VERSION.ends_with(&COMMIT[..12]), "{VERSION}");
    }
}
