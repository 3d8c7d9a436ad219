//! Prometheus and promtool, from Debian's package: downloaded by apt-get and unpacked into the cache, never installed,
//! which would bring ten times as much and start a service. Where both are on the PATH those are used.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache_dir;

/// The Debian package.
const PACKAGE: &str = "prometheus";

/// The two programs.
#[derive(Clone, Debug)]
pub struct Prometheus {
    /// The server.
    pub server: PathBuf,
    /// What checks and tests rules.
    pub promtool: PathBuf,
}

/// Why they could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// A command could not be run, or did not succeed.
    #[error(
        "Prometheus is neither on the PATH nor could it be had from Debian; install prometheus and promtool and put them \
         on the PATH, or run apt-get update as root. `{command}`: {said}"
    )]
    Command {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// A file could not be read or written.
    #[error("cannot write {path}; set PRINTERNIZER_CACHE to a directory with room")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Prometheus {
    fn in_folder(folder: &Path) -> Option<Self> {
        let found = Self { server: folder.join("prometheus"), promtool: folder.join("promtool") };
        (found.server.is_file() && found.promtool.is_file()).then_some(found)
    }
}

/// Both programs, fetched now if neither the cache nor the PATH has them.
pub fn prometheus(progress: &mut dyn FnMut(&str)) -> Result<Prometheus, DebianError> {
    let cache = cache_dir().join(PACKAGE);
    let mut versions: Vec<PathBuf> = std::fs::read_dir(&cache)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("usr/bin"))).collect())
        .unwrap_or_default();
    versions.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let places = versions.into_iter().rev().chain(std::env::split_paths(&on_path));
    if let Some(found) = places.into_iter().find_map(|folder| Prometheus::in_folder(&folder)) {
        return Ok(found);
    }
    progress("fetching Debian's package prometheus: 20 MB, then cached");
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| DebianError::File { path, source }
    };
    std::fs::create_dir_all(&cache).map_err(file(&cache))?;
    let work = tempfile::Builder::new().prefix(".fetching-").tempdir_in(&cache).map_err(file(&cache))?;
    let download = || run(Command::new("apt-get").args(["download", PACKAGE]).current_dir(work.path()));
    // A fresh container knows no packages.
    download().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|()| download()))?;
    let entries = std::fs::read_dir(work.path()).map_err(file(work.path()))?;
    let package = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let Some((package, version)) = package.and_then(|path| Some((path.clone(), version(&path)?))) else {
        let said = "it downloaded no package".to_owned();
        return Err(DebianError::Command { command: format!("apt-get download {PACKAGE}"), said });
    };
    let unpacked = work.path().join("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&unpacked))?;
    let place = cache.join(version);
    // Another process may have been quicker; what it has is the same.
    if let Err(source) = std::fs::rename(&unpacked, &place)
        && !place.is_dir()
    {
        return Err(DebianError::File { path: place, source });
    }
    Prometheus::in_folder(&place.join("usr/bin")).ok_or_else(|| DebianError::Command {
        command: format!("dpkg-deb --extract {}", package.display()),
        said: "the package has no usr/bin/prometheus and usr/bin/promtool".to_owned(),
    })
}

/// Version and architecture of a package, from the name Debian gives its file: `NAME_VERSION_ARCHITECTURE.deb`.
fn version(package: &Path) -> Option<String> {
    let (_, version) = package.file_stem()?.to_str()?.split_once('_')?;
    let known = |c: char| c.is_ascii_alphanumeric() || "._+-~%".contains(c);
    (!version.starts_with('.') && version.chars().all(known)).then(|| version.to_owned())
}

fn run(command: &mut Command) -> Result<(), DebianError> {
    let failed = |said: String, command: &Command| DebianError::Command { command: format!("{command:?}"), said };
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
            Err(failed(said, command))
        }
        Err(error) => Err(failed(error.to_string(), command)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_a_folder_of_its_own_and_no_name_leads_elsewhere() {
        let of = |name: &str| version(Path::new(name));
        assert_eq!(of("prometheus_2.42.0+ds-5+deb12u1_amd64.deb").as_deref(), Some("2.42.0+ds-5+deb12u1_amd64"));
        assert_eq!(of("prometheus_1%3a2.53.3-1_arm64.deb").as_deref(), Some("1%3a2.53.3-1_arm64"));
        assert_eq!(of("prometheus_.._amd64.deb"), None);
        assert_eq!(of("prometheus.deb"), None);
    }
}
