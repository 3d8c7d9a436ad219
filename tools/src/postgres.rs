//! PostgreSQL's programs, as Debian ships them: those that are installed on this machine, else Debian's packages in the
//! cache, with the libraries they need.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache_dir;

use crate::debian::{Apt, DebianError, fetch, is_library, unpacked};

/// The folder in the cache: packages with what they are.
const FOLDER: &str = "debian-postgresql";
/// What backups and their tests run.
const PROGRAMS: [&str; 5] = ["psql", "pg_dump", "pg_restore", "initdb", "postgres"];
/// Where Debian installs them, in a folder for each version.
const INSTALLED: &str = "/usr/lib/postgresql";

/// Where they are kept on a machine whose tests run as root: its server runs as another user, who does not get into root's
/// own cache.
const SHARED_CACHE: &str = "/var/cache/printernizer";

/// Starts a program of the cache with the libraries beside it.
const STARTER: &str = r#"#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
export LD_LIBRARY_PATH="$root/usr/lib/$(uname -m)-linux-gnu:$root/lib/$(uname -m)-linux-gnu"
exec "$root"/usr/lib/postgresql/*/bin/"$(basename "$0")" "$@"
"#;

/// The folder with PostgreSQL's programs, fetched now if neither the cache nor this machine has it.
pub fn postgres(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DebianError> {
    let mut installed: Vec<PathBuf> = std::fs::read_dir(INSTALLED)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    installed.sort();
    if let Some(found) = cached().into_iter().chain(installed.into_iter().rev()).find(|folder| is_whole(folder)) {
        return Ok(found);
    }
    fetched(progress)
}

fn is_whole(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

fn cached() -> Vec<PathBuf> {
    unpacked(&cache().join(FOLDER)).into_iter().map(|folder| folder.join("bin")).collect()
}

fn fetched(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DebianError> {
    progress("fetching Debian's package postgresql: 20 MB, then cached");
    let apt = Apt::default();
    let packages = apt.with_dependencies(apt.postgresql()?.into(), |name| is_library(name) && !is_installed(name))?;
    Ok(fetch(&apt, &cache().join(FOLDER), &packages, starters)?.join("bin"))
}

fn cache() -> PathBuf {
    let as_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let chosen = std::env::var_os("PRINTERNIZER_CACHE").is_some_and(|path| !path.is_empty());
    if as_root && !chosen { PathBuf::from(SHARED_CACHE) } else { cache_dir() }
}

fn starters(unpacked: &Path) -> std::io::Result<()> {
    let folder = unpacked.join("bin");
    std::fs::create_dir(&folder)?;
    // For everybody: its server runs as another user than root.
    std::fs::set_permissions(unpacked, PermissionsExt::from_mode(0o755))?;
    for program in PROGRAMS {
        let path = folder.join(program);
        std::fs::write(&path, STARTER)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

fn is_installed(package: &str) -> bool {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${db:Status-Status}", package]).stdin(Stdio::null());
    command.output().is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"installed"))
}
