//! Programs from Debian's packages: downloaded by apt-get and unpacked into the cache, never installed, which would bring
//! ten times as much and start a service. Here Prometheus and promtool; where both are on the PATH those are used.

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
        "what the tests need is neither on this machine nor could it be had from Debian; install Debian's packages \
         prometheus and postgresql, or run apt-get update as root. `{command}`: {said}"
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
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let cache = cache_dir().join(PACKAGE);
    let cached = unpacked(&cache).into_iter().map(|folder| folder.join("usr/bin"));
    let places = cached.chain(std::env::split_paths(&on_path));
    if let Some(found) = places.into_iter().find_map(|folder| Prometheus::in_folder(&folder)) {
        return Ok(found);
    }
    progress("fetching Debian's package prometheus: 20 MB, then cached");
    let place = fetch(&cache, &[PACKAGE.to_owned()], |_| Ok(()))?;
    Prometheus::in_folder(&place.join("usr/bin")).ok_or_else(|| DebianError::Command {
        command: format!("dpkg-deb --extract {PACKAGE}"),
        said: "the package has no usr/bin/prometheus and usr/bin/promtool".to_owned(),
    })
}

/// What this folder of the cache has, the newest version first.
pub(super) fn unpacked(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache);
    let mut versions: Vec<PathBuf> =
        entries.map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect()).unwrap_or_default();
    // What is not finished begins with a dot.
    versions.retain(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| !n.starts_with('.')));
    versions.sort();
    versions.reverse();
    versions
}

/// Downloads packages, whose signatures and checksums apt-get verifies, and unpacks them together into a folder of the cache's
/// that has the version of the first. `finish` may add to it.
pub(super) fn fetch(
    cache: &Path,
    packages: &[String],
    finish: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<PathBuf, DebianError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| DebianError::File { path, source }
    };
    std::fs::create_dir_all(cache).map_err(file(cache))?;
    let work = tempfile::Builder::new().prefix(".fetching-").tempdir_in(cache).map_err(file(cache))?;
    updated(|| run(Command::new("apt-get").arg("download").args(packages).current_dir(work.path())))?;
    let entries = std::fs::read_dir(work.path()).map_err(file(work.path()))?;
    let downloaded: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    let first = packages.first().map(|package| format!("{package}_")).unwrap_or_default();
    let of_first = |path: &&PathBuf| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(&first));
    let Some(version) = downloaded.iter().find(of_first).and_then(|path| version(path)) else {
        let said = "it downloaded no package".to_owned();
        return Err(DebianError::Command { command: format!("apt-get download {}", packages.join(" ")), said });
    };
    let unpacked = work.path().join("unpacked");
    for package in &downloaded {
        unpack(package, &unpacked)?;
    }
    finish(&unpacked).map_err(file(&unpacked))?;
    let place = cache.join(version);
    // Another process may have been quicker; what it has is the same.
    if let Err(source) = std::fs::rename(&unpacked, &place)
        && !place.is_dir()
    {
        return Err(DebianError::File { path: place, source });
    }
    Ok(place)
}

/// Where an image without a package manager says which packages are in it: `NAME`, and `NAME.md5sums` with their files.
const ORIGIN: &str = "var/lib/dpkg/status.d";

/// Unpacks a package, and writes down what it is and which files it has.
pub(super) fn unpack(package: &Path, to: &Path) -> Result<(), DebianError> {
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(to))?;
    let field = |names: &[&str]| run(Command::new("dpkg-deb").arg("--field").arg(package).args(names));
    let name = field(&["Package"])?.trim().to_owned();
    let files = run(Command::new("dpkg-deb").arg("--info").arg(package).arg("md5sums"))?;
    let folder = to.join(ORIGIN);
    let failed = |source| DebianError::File { path: folder.clone(), source };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::write(folder.join(&name), field(&[])?).map_err(failed)?;
    std::fs::write(folder.join(format!("{name}.md5sums")), files).map_err(failed)
}

/// Asks apt once more after an update if it does not know: a fresh container knows no packages.
pub(super) fn updated<T>(mut ask: impl FnMut() -> Result<T, DebianError>) -> Result<T, DebianError> {
    ask().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|_| ask()))
}

/// Version and architecture of a package, from the name Debian gives its file: `NAME_VERSION_ARCHITECTURE.deb`.
fn version(package: &Path) -> Option<String> {
    let (_, version) = package.file_stem()?.to_str()?.split_once('_')?;
    let known = |c: char| c.is_ascii_alphanumeric() || "._+-~%".contains(c);
    (!version.starts_with('.') && version.chars().all(known)).then(|| version.to_owned())
}

/// What a command says on its standard output.
pub(super) fn run(command: &mut Command) -> Result<String, DebianError> {
    let failed = |said: String, command: &Command| DebianError::Command { command: format!("{command:?}"), said };
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
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
