//! Packages of Debian 13 that were unpacked into the cache, with what each of their files is from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::libraries::{Package, System, status_of};
use super::read;
use crate::error::Error;

/// A folder with unpacked packages.
pub struct Unpacked {
    /// The folder.
    pub folder: PathBuf,
    /// The package of each file.
    owners: BTreeMap<String, String>,
}

impl Unpacked {
    /// What is in this folder.
    pub fn read(folder: PathBuf) -> Result<Self, Error> {
        let mut owners = BTreeMap::new();
        let lists = folder.join(status_of(""));
        for name in names(&lists)? {
            let Some(package) = name.strip_suffix(".md5sums") else { continue };
            let text = read(&lists.join(&name))?;
            let files = String::from_utf8_lossy(&text).into_owned();
            owners.extend(files.lines().filter_map(file_in).map(|file| (file.to_owned(), package.to_owned())));
        }
        if owners.is_empty() {
            return Err(Error::Missing(format!("packages in {}; remove it", folder.display())));
        }
        Ok(Self { folder, owners })
    }

    /// The package of this file. A link is of the package of what it leads to.
    pub fn owner(&self, path: &str) -> Result<&str, Error> {
        let real = std::fs::canonicalize(self.folder.join(path)).ok();
        let real = real.as_deref().and_then(|real| real.strip_prefix(&self.folder).ok()).map(Path::to_string_lossy);
        let found = self.owners.get(path).or_else(|| self.owners.get(real?.as_ref()));
        let unknown = || Error::Missing(format!("a package with {path} in {}; remove it", self.folder.display()));
        found.map(String::as_str).ok_or_else(unknown)
    }

    /// What a package says of itself.
    pub fn package(&self, name: &str) -> Result<Package, Error> {
        let text = read(&self.folder.join(status_of(name)))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let field = |field: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
            value.map(str::to_owned).ok_or_else(|| Error::Missing(format!("{field} of the package {name}")))
        };
        let (version, architecture) = (field("Version")?, field("Architecture")?);
        let system = System { id: "debian".to_owned(), release: Some("13".to_owned()) };
        Ok(Package { name: name.to_owned(), version, architecture, system })
    }

    /// The folder with libraries, in this one.
    pub fn libraries() -> String {
        format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)
    }

    /// The files below this path and the links to files, without those in these folders of it.
    pub fn below(&self, path: &str, without: &[&str]) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for name in names(&self.folder.join(path))? {
            if without.contains(&name.as_str()) {
                continue;
            }
            let inside = format!("{path}/{name}");
            let place = self.folder.join(&inside);
            if place.is_dir() && !place.is_symlink() {
                found.extend(self.below(&inside, &[])?);
            } else if place.is_file() {
                found.push(inside);
            }
        }
        found.sort();
        Ok(found)
    }
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |cause| Error::Read { path: folder.to_owned(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// The path in a line of a package's list of files: `SUM  usr/bin/restic`.
fn file_in(line: &str) -> Option<&str> {
    line.split_once("  ").map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_file_is_of_its_package_and_a_link_of_that_of_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        fs::create_dir_all(at.join("var/lib/dpkg/status.d")).unwrap();
        fs::create_dir_all(at.join("usr/lib/a/man")).unwrap();
        fs::write(at.join(status_of("liba")), "Package: liba\nVersion: 1.0-1\nArchitecture: amd64\n").unwrap();
        fs::write(at.join(status_of("liba.md5sums")), "0  usr/lib/a/x.so.1\n0  usr/lib/a/man/x\n").unwrap();
        fs::write(at.join("usr/lib/a/x.so.1"), "").unwrap();
        std::os::unix::fs::symlink("x.so.1", at.join("usr/lib/a/x.so")).unwrap();
        let found = Unpacked::read(at.clone()).unwrap();
        assert_eq!(found.owner("usr/lib/a/x.so").unwrap(), "liba");
        assert!(found.owner("usr/lib/a/y").unwrap_err().to_string().contains("usr/lib/a/y"));
        assert_eq!(found.below("usr/lib/a", &["man"]).unwrap(), ["usr/lib/a/x.so", "usr/lib/a/x.so.1"]);
        assert!(found.below("usr/li", &[]).is_err(), "no folder");
        let package = found.package("liba").unwrap();
        assert_eq!((package.version.as_str(), package.system.release.as_deref()), ("1.0-1", Some("13")));
        fs::remove_file(at.join(status_of("liba.md5sums"))).unwrap();
        assert!(Unpacked::read(at).is_err(), "nothing says what it holds");
    }
}
