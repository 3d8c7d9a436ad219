//! The shared libraries a program is linked with, as they are on this machine, and the packages of dpkg they are from:
//! the program then has the very C library it was built with.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::layout::Entry;
use super::{ask, read};
use crate::error::Error;

/// What a system says it is.
const OS_RELEASE: &str = "/etc/os-release";

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
}

/// What a program takes from the machine it is built on.
pub struct Libraries {
    /// The files, among them what tells of their packages and licences.
    pub entries: Vec<Entry>,
    /// Where they are from.
    pub system: System,
    /// The packages.
    pub packages: Vec<Package>,
}

/// The libraries of a program.
pub fn of(program: &Path) -> Result<Libraries, Error> {
    let mut entries = Vec::new();
    let mut names = BTreeSet::new();
    for path in linked(&ask(Command::new("ldd").arg(program))?)? {
        let real = std::fs::canonicalize(&path).map_err(|cause| Error::Read { path: path.clone().into(), cause })?;
        names.insert(package_of(&path, &real)?);
        entries.push(Entry { path: path.trim_start_matches('/').to_owned(), bytes: read(&real)?, executable: true });
    }
    let mut packages = Vec::new();
    for name in names {
        let told =
            ask(Command::new("dpkg-query").args(["--show", "--showformat", "${Version}\n${Architecture}\n", &name]))?;
        let mut lines = told.lines().map(str::to_owned);
        let (Some(version), Some(architecture)) = (lines.next(), lines.next()) else {
            return Err(Error::Failed { program: "dpkg-query".to_owned(), told: format!("no version of {name}") });
        };
        let short = name.split(':').next().unwrap_or(&name).to_owned();
        // Where scanners of images without a package manager look.
        let status = ask(Command::new("dpkg-query").args(["--status", &name]))?;
        entries.push(Entry {
            path: format!("var/lib/dpkg/status.d/{short}"),
            bytes: status.into_bytes(),
            executable: false,
        });
        let copyright = format!("usr/share/doc/{short}/copyright");
        entries.push(Entry { bytes: read(&Path::new("/").join(&copyright))?, path: copyright, executable: false });
        packages.push(Package { name: short, version, architecture });
    }
    let bytes = read(OS_RELEASE.as_ref())?;
    let system = system(&String::from_utf8_lossy(&bytes))?;
    entries.push(Entry { path: OS_RELEASE.trim_start_matches('/').to_owned(), bytes, executable: false });
    Ok(Libraries { entries, system, packages })
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
