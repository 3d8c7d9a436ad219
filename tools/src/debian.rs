//! Programs from Debian's packages: downloaded by apt-get and unpacked into the cache, never installed, which would bring
//! ten times as much and start a service. Here Prometheus and promtool; where both are on the PATH those are used.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache_dir;

/// The Debian package.
const PACKAGE: &str = "prometheus";
/// Whom packages of Debian are signed by, as its package debian-archive-keyring has it.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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
    let place = fetch(&Apt::default(), &cache, &[PACKAGE.to_owned()], |_| Ok(()))?;
    Prometheus::in_folder(&place.join("usr/bin")).ok_or_else(|| DebianError::Command {
        command: format!("dpkg-deb --extract {PACKAGE}"),
        said: "the package has no usr/bin/prometheus and usr/bin/promtool".to_owned(),
    })
}

/// What this folder of the cache has, the newest version first.
pub fn unpacked(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache);
    let mut versions: Vec<PathBuf> =
        entries.map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect()).unwrap_or_default();
    // What is not finished begins with a dot.
    versions.retain(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| !n.starts_with('.')));
    versions.sort();
    versions.reverse();
    versions
}

/// Whose packages apt is asked for: by default those of this machine's release.
#[derive(Debug, Default)]
pub struct Apt {
    /// The configuration of another release, and all that apt knows of it.
    other: Option<tempfile::TempDir>,
}

impl Apt {
    /// Asks for the packages of Debian 13, whatever this machine is and has installed.
    pub fn of_debian_13() -> Result<Self, DebianError> {
        let place = std::env::temp_dir();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DebianError::File { path, source }
        };
        let folder = tempfile::Builder::new().prefix("printernizer-apt-").tempdir().map_err(failed(&place))?;
        let at = |name: &str| folder.path().join(name);
        for name in ["state/lists/partial", "cache/archives/partial", "empty"] {
            std::fs::create_dir_all(at(name)).map_err(failed(&at(name)))?;
        }
        let root = folder.path().display();
        let configuration = format!(
            "Dir::State \"{root}/state\";\nDir::State::status \"{root}/status\";\nDir::Cache \"{root}/cache\";\n\
             Dir::Etc::SourceList \"{root}/sources.list\";\nDir::Etc::SourceParts \"{root}/empty\";\n\
             Dir::Etc::PreferencesParts \"{root}/empty\";\nDir::Etc::Preferences \"{root}/none\";\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
        );
        let source = |archive: &str, suite: &str| {
            format!("deb [signed-by={DEBIAN_KEYS}] http://deb.debian.org/{archive} {suite} main\n")
        };
        let sources = [("debian", "trixie"), ("debian", "trixie-updates"), ("debian-security", "trixie-security")];
        let sources: String = sources.into_iter().map(|(archive, suite)| source(archive, suite)).collect();
        for (name, text) in [("apt.conf", configuration), ("sources.list", sources), ("status", String::new())] {
            std::fs::write(at(name), text).map_err(failed(&at(name)))?;
        }
        Ok(Self { other: Some(folder) })
    }

    /// One of apt's programs.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        if let Some(folder) = &self.other {
            command.env("APT_CONFIG", folder.path().join("apt.conf"));
        }
        command
    }

    /// Asks once more after an update if apt does not know: a fresh container knows no packages.
    pub fn updated<T>(&self, mut ask: impl FnMut() -> Result<T, DebianError>) -> Result<T, DebianError> {
        ask().or_else(|_| run(self.program("apt-get").arg("update")).and_then(|_| ask()))
    }

    /// Names of the packages that this one depends on.
    pub fn dependencies(&self, package: &str) -> Result<Vec<String>, DebianError> {
        let said = run(self.program("apt-cache").args(["depends", "--important", package]))?;
        let names = said.lines().filter_map(|line| line.trim_start_matches([' ', '|']).strip_prefix("Depends: "));
        Ok(names.filter(|name| !name.starts_with('<')).map(str::to_owned).collect())
    }

    /// These packages and those of what they depend on, directly or not, that are wanted.
    pub fn with_dependencies(
        &self,
        mut packages: Vec<String>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, DebianError> {
        let mut known: BTreeSet<String> = packages.iter().cloned().collect();
        let mut looked_at = 0;
        while let Some(package) = packages.get(looked_at).cloned() {
            looked_at += 1;
            for name in self.dependencies(&package)? {
                if wanted(&name) && known.insert(name.clone()) {
                    packages.push(name);
                }
            }
        }
        Ok(packages)
    }

    /// The newest PostgreSQL of the release: its server and its client.
    pub fn postgresql(&self) -> Result<[String; 2], DebianError> {
        const NAME: &str = "postgresql";
        let meta = self.updated(|| self.dependencies(NAME))?;
        let server = meta.into_iter().find(|name| name.starts_with("postgresql-"));
        let server = server.ok_or_else(|| DebianError::Command {
            command: format!("apt-cache depends {NAME}"),
            said: "it names no version".to_owned(),
        })?;
        let client = server.replacen("postgresql-", "postgresql-client-", 1);
        Ok([server, client])
    }
}

/// A library. LLVM, 100 MB, is only for queries that are compiled.
pub fn is_library(package: &str) -> bool {
    package.starts_with("lib") && !package.starts_with("libllvm")
}

/// Downloads packages, whose signatures and checksums apt-get verifies, and unpacks them together into a folder of the cache's
/// that has the version of the first. `finish` may add to it.
pub fn fetch(
    apt: &Apt,
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
    apt.updated(|| run(apt.program("apt-get").arg("download").args(packages).current_dir(work.path())))?;
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
pub fn unpack(package: &Path, to: &Path) -> Result<(), DebianError> {
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

/// Version and architecture of a package, from the name Debian gives its file: `NAME_VERSION_ARCHITECTURE.deb`.
fn version(package: &Path) -> Option<String> {
    let (_, version) = package.file_stem()?.to_str()?.split_once('_')?;
    let known = |c: char| c.is_ascii_alphanumeric() || "._+-~%".contains(c);
    (!version.starts_with('.') && version.chars().all(known)).then(|| version.to_owned())
}

/// What a command says on its standard output.
fn run(command: &mut Command) -> Result<String, DebianError> {
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
