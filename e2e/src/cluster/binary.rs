//! Builds the programs made of Kubernetes once and keeps them in the cache: from their Go modules, by the machine's Go
//! toolchain. The file's name holds the version of Kubernetes and a digest of everything the build depends on, so a
//! changed source is built anew and two checkouts never use each other's program.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::Error;
use crate::cache_dir;
use crate::tools::go::{self, Program, failed};

/// A program of ours that is made of Kubernetes.
pub(crate) struct Own {
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// Its Go module.
    pub(crate) module: &'static str,
    /// The program's name, and what the names of its versions begin with.
    pub(crate) name: &'static str,
    /// Its folder in the cache.
    pub(crate) folder: &'static str,
}

const CONTROL_PLANE: Own = Own {
    what: "the control plane",
    module: concat!(env!("CARGO_MANIFEST_DIR"), "/cluster"),
    name: "printernizer-cluster",
    folder: "cluster",
};
/// No cgo: the program needs no C compiler and runs on any libc. No debug information: half the size.
const ENVIRONMENT: [(&str, &str); 4] =
    [("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off"), ("GOFLAGS", "-mod=readonly -buildvcs=false")];

/// The path of the program, built now if the cache does not have it: some minutes the first time, half a minute
/// when only our own sources changed. Blocks; `progress` gets a line for a person every few seconds. Two processes
/// that need it at once build it once.
pub fn ensure_binary(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    ensure(&CONTROL_PLANE, progress)
}

/// The same for any of our programs.
pub(crate) fn ensure(own: &Own, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let module = Path::new(own.module);
    let version = kubernetes_version(module)?;
    let path = cached_path(own, &version)?;
    let program = Program {
        what: own.what,
        path: &path,
        prefix: &format!("{}-", own.name),
        announcement: format!(
            "building {} of Kubernetes {version} from its Go modules: some minutes the first time, then cached",
            own.what
        ),
    };
    let command = |directory: &Path| {
        let output = directory.join(own.name);
        let mut command = Command::new(go::go());
        command
            .args(["build", "-trimpath", "-v", "-ldflags"])
            .arg(link_flags(&version))
            .arg("-o")
            .arg(&output)
            .arg(".");
        command.envs(ENVIRONMENT).current_dir(module);
        (command, output)
    };
    go::ensure(&program, command, progress)?;
    Ok(path)
}

/// The path of the control plane's program if the cache has it.
pub(super) fn cached() -> Option<PathBuf> {
    CONTROL_PLANE.cached()
}

impl Own {
    /// The path of the program if the cache has it.
    pub(crate) fn cached(&self) -> Option<PathBuf> {
        let version = kubernetes_version(self.module.as_ref()).ok()?;
        cached_path(self, &version).ok().filter(|path| path.is_file())
    }
}

fn cached_path(own: &Own, version: &str) -> Result<PathBuf, Error> {
    let digest = digest(own.module.as_ref(), &link_flags(version))?;
    Ok(cache_dir().join(own.folder).join(format!("{}-{version}-{digest}", own.name)))
}

/// The version of `k8s.io/kubernetes` that go.mod requires, such as `v1.36.3`.
fn kubernetes_version(module: &Path) -> Result<String, Error> {
    let path = module.join("go.mod");
    let text = std::fs::read_to_string(&path).map_err(failed("read", &path))?;
    required_version(&text).map(str::to_owned).ok_or(Error::NoVersion { path })
}

fn required_version(go_mod: &str) -> Option<&str> {
    go_mod.lines().find_map(|line| {
        let line = line.trim().trim_start_matches("require ");
        line.strip_prefix("k8s.io/kubernetes ")?.split_whitespace().next()
    })
}

/// The version that the API server, kubectl and the others report.
fn link_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut flags = "-s -w".to_owned();
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        let values = [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")];
        for (name, value) in values {
            flags.extend([" -X ", package, ".", name, "=", value]);
        }
    }
    flags
}

/// A digest of the module's sources (not its tests) and of how they are built.
fn digest(module: &Path, link_flags: &str) -> Result<String, Error> {
    let mut files = Vec::new();
    source_files(module, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for part in [std::env::consts::OS, std::env::consts::ARCH, link_flags] {
        hash.update(part);
        hash.update([0]);
    }
    for (name, value) in ENVIRONMENT {
        hash.update(format!("{name}={value}\0"));
    }
    for file in files {
        let content = std::fs::read(&file).map_err(failed("read", &file))?;
        hash.update(file.strip_prefix(module).unwrap_or(&file).as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    let hashed = hash.finalize();
    let short: [u8; 8] = std::array::from_fn(|index| hashed[index]);
    Ok(format!("{:012x}", u64::from_be_bytes(short) >> 16))
}

fn source_files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(directory).map_err(failed("read", directory))? {
        let path = entry.map_err(failed("read", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_source = path.extension().is_some_and(|extension| extension == "go") && !name.ends_with("_test.go");
        if path.is_dir() {
            source_files(&path, found)?;
        } else if is_source || name == "go.mod" || name == "go.sum" {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_go_mod_requires() {
        let text = "module x\n\nrequire (\n\tk8s.io/kubectl v0.36.3\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";
        assert_eq!(required_version(text), Some("v1.36.3"));
        assert_eq!(required_version("require k8s.io/kubernetes v1.2.3\n"), Some("v1.2.3"));
        assert_eq!(required_version("replace k8s.io/kubernetes => ../kubernetes\n"), None);
        assert!(kubernetes_version(CONTROL_PLANE.module.as_ref()).unwrap().starts_with("v1."));
    }

    #[test]
    fn the_digest_changes_with_sources_and_flags_but_not_with_tests() {
        let module = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(module.path().join(name), text).unwrap();
        std::fs::create_dir(module.path().join("inner")).unwrap();
        write("go.mod", "module x");
        write("inner/main.go", "package main");
        let before = digest(module.path(), "-s").unwrap();
        write("inner/main_test.go", "package main");
        write("README.md", "text");
        assert_eq!(digest(module.path(), "-s").unwrap(), before);
        assert_ne!(digest(module.path(), "-w").unwrap(), before);
        write("inner/main.go", "package main // changed");
        assert_ne!(digest(module.path(), "-s").unwrap(), before);
    }

    #[test]
    fn the_version_is_stamped_into_server_and_client() {
        let flags = link_flags("v1.36.3");
        for expected in ["component-base/version.gitMinor=36", "client-go/pkg/version.gitVersion=v1.36.3"] {
            assert!(flags.contains(expected), "{flags}");
        }
    }
}
