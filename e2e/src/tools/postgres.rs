//! PostgreSQL's programs, as Debian ships them: those that are installed on this machine, else Debian's packages in the
//! cache, with the libraries they need.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache_dir;

use super::debian::{DebianError, fetch, run, unpacked, updated};

/// The package.
const NAME: &str = "postgresql";
/// The folder in the cache: packages with what they are.
const FOLDER: &str = "debian-postgresql";
/// What backups and their tests run.
pub const PROGRAMS: [&str; 5] = ["psql", "pg_dump", "pg_restore", "initdb", "postgres"];
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

/// The folder with Debian's packages, unpacked, whatever this machine has: for images.
#[allow(dead_code, reason = "who makes images has this file, too")]
pub fn postgres_packages(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DebianError> {
    let programs = cached().into_iter().find(|folder| is_whole(folder)).map_or_else(|| fetched(progress), Ok)?;
    Ok(programs.parent().unwrap_or(&programs).to_owned())
}

fn is_whole(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

fn cached() -> Vec<PathBuf> {
    unpacked(&cache().join(FOLDER)).into_iter().map(|folder| folder.join("bin")).collect()
}

fn fetched(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DebianError> {
    progress("fetching Debian's package postgresql: 20 MB, then cached");
    let packages = packages()?;
    Ok(fetch(&cache().join(FOLDER), &packages, starters)?.join("bin"))
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

/// The server and the client of Debian's version, and the libraries of theirs that this machine lacks.
fn packages() -> Result<Vec<String>, DebianError> {
    let meta = updated(|| dependencies(NAME))?;
    let server = meta.into_iter().find(|name| name.starts_with("postgresql-")).ok_or_else(|| DebianError::Command {
        command: format!("apt-cache depends {NAME}"),
        said: "it names no version".to_owned(),
    })?;
    let client = server.replacen("postgresql-", "postgresql-client-", 1);
    let mut packages = vec![server, client];
    let mut known: BTreeSet<String> = packages.iter().cloned().collect();
    let mut looked_at = 0;
    while let Some(package) = packages.get(looked_at).cloned() {
        looked_at += 1;
        for name in dependencies(&package)? {
            // LLVM, 100 MB, is only for queries that are compiled.
            let wanted = name.starts_with("lib") && !name.starts_with("libllvm");
            if wanted && known.insert(name.clone()) && !is_installed(&name) {
                packages.push(name);
            }
        }
    }
    Ok(packages)
}

/// Names of the packages that this one depends on.
fn dependencies(package: &str) -> Result<Vec<String>, DebianError> {
    let said = run(Command::new("apt-cache").args(["depends", "--important", package]))?;
    let names = said.lines().filter_map(|line| line.trim_start_matches([' ', '|']).strip_prefix("Depends: "));
    Ok(names.filter(|name| !name.starts_with('<')).map(str::to_owned).collect())
}

fn is_installed(package: &str) -> bool {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${db:Status-Status}", package]).stdin(Stdio::null());
    command.output().is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"installed"))
}
