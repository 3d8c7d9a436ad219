//! What an image takes from packages, above all the shared libraries a program is linked with: as they are on this machine, so
//! that the program has the very C library it was built with, or from packages that were unpacked for it.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::layout::Entry;
use super::unpacked::Unpacked;
use super::{ask, read};
use crate::error::Error;

/// What a system says it is.
const OS_RELEASE: &str = "/etc/os-release";
/// Where programs look for their dynamic loader, and its name.
const LOADER: (&str, &str) =
    if cfg!(target_arch = "aarch64") { ("lib", "ld-linux-aarch64.so.1") } else { ("lib64", "ld-linux-x86-64.so.2") };

/// The distribution of this machine, of which the libraries are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// `debian`, `ubuntu`, ...: ID in /etc/os-release.
    pub id: String,
    /// `12`, `24.04`: VERSION_ID there. A release in the making has none.
    pub release: Option<String>,
}

/// A package of which something is in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// Of which system it is.
    pub system: System,
}

/// The files of an image, collected from this machine and from packages that were unpacked, with the packages they are from.
#[derive(Default)]
pub struct Collection {
    files: BTreeMap<String, (Vec<u8>, bool)>,
    /// Installed packages, by their names for dpkg.
    installed: BTreeSet<String>,
    packages: Vec<Package>,
}

impl Collection {
    /// Takes a file of ours.
    pub fn own(&mut self, entry: Entry) {
        self.files.insert(entry.path, (entry.bytes, entry.executable));
    }

    /// Takes files of unpacked packages.
    pub fn unpacked(&mut self, from: &Unpacked, paths: impl IntoIterator<Item = (String, bool)>) -> Result<(), Error> {
        paths.into_iter().try_for_each(|(path, executable)| self.unpacked_as(from, &path, &path, executable))
    }

    /// Takes a file of an unpacked package by another path.
    pub fn unpacked_as(&mut self, from: &Unpacked, path: &str, to: &str, executable: bool) -> Result<(), Error> {
        self.put(to, &from.folder.join(path), executable)?;
        self.tell(from, from.owner(path)?)
    }

    /// Takes what tells of an unpacked package.
    pub fn tell(&mut self, from: &Unpacked, name: &str) -> Result<(), Error> {
        if self.files.contains_key(&status_of(name)) {
            return Ok(());
        }
        let package = from.package(name)?;
        self.put(&status_of(name), &from.folder.join(status_of(name)), false)?;
        self.put(&copyright_of(name), &from.folder.join(copyright_of(name)), false)?;
        self.packages.push(package);
        Ok(())
    }

    /// Takes the libraries a program is linked with from unpacked packages. It may have been built on another system, whose C
    /// library is not newer than theirs.
    pub fn unpacked_libraries(&mut self, from: &Unpacked, program: &Path) -> Result<(), Error> {
        let libraries = Unpacked::libraries();
        let (at, name) = LOADER;
        let loader = format!("{libraries}/{name}");
        self.unpacked_as(from, &loader, &format!("{at}/{name}"), true)?;
        let folder = from.folder.join(&libraries);
        let mut command = Command::new(from.folder.join(&loader));
        command.arg("--inhibit-cache").arg("--library-path").arg(&folder).arg("--list").arg(program);
        for path in linked(&ask(&mut command)?)? {
            if let Ok(path) = Path::new(&path).strip_prefix(&from.folder) {
                self.unpacked(from, [(path.to_string_lossy().into_owned(), true)])?;
            } else if !path.ends_with(name) {
                return Err(Error::Missing(format!(
                    "a library for {} in {}: {path}",
                    program.display(),
                    folder.display()
                )));
            }
        }
        Ok(())
    }

    /// Takes the libraries a program is linked with, as they are on this machine.
    pub fn libraries(&mut self, program: &Path) -> Result<(), Error> {
        for path in linked(&ask(Command::new("ldd").arg(program))?)? {
            if self.files.contains_key(path.trim_start_matches('/')) {
                continue;
            }
            let real = canonical(Path::new(&path))?;
            self.installed.insert(package_of(&path, &real)?);
            self.put(&path, &real, true)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &str, from: &Path, executable: bool) -> Result<(), Error> {
        let path = path.trim_start_matches('/').to_owned();
        if let btree_map::Entry::Vacant(place) = self.files.entry(path) {
            place.insert((read(from)?, executable));
        }
        Ok(())
    }

    /// All files, with what tells of the packages and of the system, and the packages.
    pub fn finish(mut self) -> Result<(Vec<Entry>, Vec<Package>), Error> {
        let system = this_system()?;
        self.put(OS_RELEASE, OS_RELEASE.as_ref(), false)?;
        for name in std::mem::take(&mut self.installed) {
            let told = ask(Command::new("dpkg-query").args([
                "--show",
                "--showformat",
                "${Version}\n${Architecture}\n",
                &name,
            ]))?;
            let mut lines = told.lines().map(str::to_owned);
            let (Some(version), Some(architecture)) = (lines.next(), lines.next()) else {
                return Err(Error::Failed { program: "dpkg-query".to_owned(), told: format!("no version of {name}") });
            };
            let short = name.split(':').next().unwrap_or(&name).to_owned();
            let status = ask(Command::new("dpkg-query").args(["--status", &name]))?;
            self.files.insert(status_of(&short), (status.into_bytes(), false));
            self.put(&copyright_of(&short), &Path::new("/").join(copyright_of(&short)), false)?;
            self.packages.push(Package { name: short, version, architecture, system: system.clone() });
        }
        self.packages.sort_by(|a, b| a.name.cmp(&b.name));
        let entries = self.files.into_iter().map(|(path, (bytes, executable))| Entry { path, bytes, executable });
        Ok((entries.collect(), self.packages))
    }
}

/// Where scanners of images without a package manager look.
pub(super) fn status_of(package: &str) -> String {
    format!("var/lib/dpkg/status.d/{package}")
}

fn copyright_of(package: &str) -> String {
    format!("usr/share/doc/{package}/copyright")
}

fn canonical(path: &Path) -> Result<PathBuf, Error> {
    std::fs::canonicalize(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })
}

/// The system of this machine.
pub fn this_system() -> Result<System, Error> {
    system(&String::from_utf8_lossy(&read(OS_RELEASE.as_ref())?))
}

/// What `/etc/os-release` says, as os-release(5) has it: `ID=debian`, `VERSION_ID="12"`.
fn system(told: &str) -> Result<System, Error> {
    let value = |name: &str| {
        let found = told.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
        Some(found.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    let id = value("ID").ok_or(Error::Failed { program: OS_RELEASE.to_owned(), told: "it has no ID".to_owned() })?;
    Ok(System { id, release: value("VERSION_ID") })
}

/// The paths in what `ldd` says: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, and the loader's without a
/// name before it. What the kernel provides (linux-vdso) has no path.
fn linked(told: &str) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for line in told.lines() {
        if line.contains("not found") {
            return Err(Error::Failed { program: "ldd".to_owned(), told: line.trim().to_owned() });
        }
        found.extend(line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned));
    }
    found.sort();
    Ok(found)
}

/// The package that a library belongs to. Packages list it where it was before `/lib` became a link to `/usr/lib`, or
/// where it is since.
fn package_of(path: &str, real: &Path) -> Result<String, Error> {
    let real = real.to_string_lossy();
    let mut told = None;
    for path in [path, &real, real.strip_prefix("/usr").unwrap_or(&real)] {
        match ask(Command::new("dpkg-query").args(["--search", path])) {
            Ok(text) => return owner(&text).ok_or(Error::Failed { program: "dpkg-query".to_owned(), told: text }),
            Err(error) => told = Some(error),
        }
    }
    Err(told.unwrap_or(Error::Missing("dpkg-query".to_owned())))
}

/// The package in `libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6`. Before it stand files that were moved for another one
/// (`diversion by libc6 from: ...`, `local diversion to: ...`), as where `/lib` has become a link.
fn owner(told: &str) -> Option<String> {
    let diversion = |line: &&str| line.starts_with("diversion by ") || line.starts_with("local diversion ");
    let (owner, _) = told.lines().find(|line| !diversion(line))?.rsplit_once(": ")?;
    (!owner.contains(", ")).then(|| owner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_libraries_are_read_and_a_missing_one_is_told() {
        let told = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(linked(told).unwrap(), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert!(linked("\tlibx.so => not found\n").unwrap_err().to_string().contains("libx.so"));
    }

    #[test]
    fn the_owner_of_a_library_is_read() {
        assert_eq!(owner("libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6\n").as_deref(), Some("libc6:amd64"));
        assert_eq!(owner("a:amd64, b:amd64: /lib/x\n"), None);
    }

    #[test]
    fn a_file_that_was_moved_for_another_one_is_no_owner() {
        let moved = "diversion by base from: /lib/x\ndiversion by base to: /lib/x.old\nlocal diversion from: /lib/x\n";
        assert_eq!(owner(&format!("{moved}libc6:amd64: /lib/x\n")).as_deref(), Some("libc6:amd64"));
        assert_eq!(owner(moved), None);
    }

    #[test]
    fn the_system_is_what_it_says_it_is() {
        let of = |id: &str, release: Option<&str>| System { id: id.into(), release: release.map(str::to_owned) };
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!(system(debian).unwrap(), of("debian", Some("12")));
        let ubuntu = "VERSION_ID='24.04'\nUBUNTU_CODENAME=noble\nID_LIKE=debian\nID=ubuntu\n";
        assert_eq!(system(ubuntu).unwrap(), of("ubuntu", Some("24.04")));
        assert_eq!(system("ID=debian\n").unwrap(), of("debian", None), "a release in the making has no number");
        assert!(system("NAME=Debian\n").unwrap_err().to_string().contains("no ID"));
    }
}
