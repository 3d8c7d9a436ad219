//! restic in the version backups are made with, from the package of Debian 13 (trixie): downloaded by apt's own helper, which
//! compares it with the checksum here, and unpacked into the cache. One of the same minor version on the PATH is used as it
//! is; where neither is possible a person is told what to install.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache_dir;
use crate::debian::unpack;

/// The version of the package.
const PACKAGE: &str = "0.18.0-1+b4";
/// What such a program says of itself.
const VERSION: &str = "restic 0.18.";
/// Debian's names of architectures, and the SHA-256 of the package for each.
const CHECKSUMS: [(&str, &str, &str); 2] = [
    ("x86_64", "amd64", "4888fb20b272a28b84ac39171b7d7f0d9a58c2aeae51ec28e54684648d66e12c"),
    ("aarch64", "arm64", "3877c6ef8efe052e80a6417b0ac0a672e644fd8bf5ef14e8b803ab6744e43be2"),
];
/// Where packages of Debian are, and where they stay when Debian has newer ones.
const SERVERS: [&str; 2] =
    ["http://deb.debian.org/debian", "https://snapshot.debian.org/archive/debian/20250901T000000Z"];
/// Apt's program that downloads a file and compares its checksum.
const HELPER: &str = "/usr/lib/apt/apt-helper";

/// Why there is no restic.
#[derive(Debug, thiserror::Error)]
pub enum ResticError {
    /// It could not be had.
    #[error(
        "restic 0.18 is neither on the PATH nor could it be had from Debian; install it and put it on the PATH. {0}"
    )]
    Missing(String),
    /// A file could not be read or written.
    #[error("cannot use {path}; set PRINTERNIZER_CACHE to a directory with room")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Where the program is in its package.
const PROGRAM: &str = "usr/bin/restic";

/// The program, fetched now if neither the cache nor the PATH has it.
pub fn restic(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ResticError> {
    let cached = place().join(PROGRAM);
    if cached.is_file() {
        return Ok(cached);
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&on_path).map(|folder| folder.join("restic")).find(|path| suffices(path));
    if let Some(found) = found {
        return Ok(found);
    }
    Ok(restic_package(progress)?.join(PROGRAM))
}

fn place() -> PathBuf {
    cache_dir().join("debian-restic").join(format!("{PACKAGE}-{}", std::env::consts::ARCH))
}

/// The folder with Debian's package, unpacked.
fn restic_package(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ResticError> {
    let place = place();
    let cache = place.parent().unwrap_or(&place).to_owned();
    if place.join(PROGRAM).is_file() {
        return Ok(place);
    }
    let Some((_, architecture, checksum)) = CHECKSUMS.iter().find(|(name, ..)| *name == std::env::consts::ARCH) else {
        return Err(ResticError::Missing(format!("No package is known for {}.", std::env::consts::ARCH)));
    };
    progress("fetching Debian's package restic: 8 MB, then cached");
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| ResticError::File { path, source }
    };
    std::fs::create_dir_all(&cache).map_err(file(&cache))?;
    let work = tempfile::Builder::new().prefix(".fetching-").tempdir_in(&cache).map_err(file(&cache))?;
    let package = work.path().join("restic.deb");
    let name = format!("pool/main/r/restic/restic_{PACKAGE}_{architecture}.deb");
    let download = |server: &str| {
        let mut command = Command::new(HELPER);
        run(command
            .args(["download-file", &format!("{server}/{name}")])
            .arg(&package)
            .arg(format!("SHA256:{checksum}")))
    };
    download(SERVERS[0]).or_else(|first| download(SERVERS[1]).map_err(|_| first))?;
    let unpacked = work.path().join("unpacked");
    unpack(&package, &unpacked).map_err(|error| ResticError::Missing(error.to_string()))?;
    // Another process may have been quicker; what it has is the same.
    if let Err(source) = std::fs::rename(&unpacked, &place)
        && !place.is_dir()
    {
        return Err(ResticError::File { path: place, source });
    }
    if place.join(PROGRAM).is_file() {
        Ok(place)
    } else {
        Err(ResticError::Missing("The package has no usr/bin/restic.".to_owned()))
    }
}

fn suffices(program: &Path) -> bool {
    let said = Command::new(program).arg("version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    said.is_ok_and(|output| output.stdout.starts_with(VERSION.as_bytes()))
}

fn run(command: &mut Command) -> Result<(), ResticError> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(ResticError::Missing(format!("`{command:?}`: {}\n{said}", output.status)))
        }
        Err(error) => Err(ResticError::Missing(format!("`{command:?}`: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_another_version_does_not_suffice() {
        let folder = tempfile::tempdir().unwrap();
        let program = |says: &str| {
            let path = folder.path().join(says);
            std::fs::write(&path, format!("#!/bin/sh\necho '{says} compiled with go1'\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            path
        };
        assert!(suffices(&program("restic 0.18.1")));
        assert!(!suffices(&program("restic 0.14.0")));
        assert!(!suffices(Path::new("/no/such/restic")));
    }
}
