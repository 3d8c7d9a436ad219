//! Debian's packages for an image, of its release 13 whatever this machine is: what is made with them is the same everywhere.

use std::path::PathBuf;

use printernizer_tools::cache_dir;
use printernizer_tools::debian::{Apt, DebianError, fetch, is_library, unpacked};

/// The folder in the cache.
const FOLDER: &str = "debian-13-backup";
/// What is wanted beside PostgreSQL, and the libraries of all of it.
const PACKAGES: [&str; 7] = ["restic", "dash", "tzdata", "tzdata-legacy", "ca-certificates", "base-files", "libc6"];
/// What tells of a library's licence may be in another package: `gcc-14-base`.
const COPYRIGHT: (&str, &str) = ("gcc-", "-base");

/// The folder with what the image of backups holds, unpacked; fetched now if the cache does not have it.
pub fn backup_packages(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DebianError> {
    let cache = cache_dir().join(FOLDER);
    if let Some(found) = unpacked(&cache).into_iter().next() {
        return Ok(found);
    }
    progress("fetching Debian 13's restic and PostgreSQL: 50 MB, then cached");
    let apt = Apt::of_debian_13()?;
    let mut packages = Vec::from(apt.postgresql()?);
    packages.extend(PACKAGES.map(str::to_owned));
    let wanted = |name: &str| {
        let copyright = name.starts_with(COPYRIGHT.0) && name.ends_with(COPYRIGHT.1);
        is_library(name) || name.starts_with("zlib") || copyright
    };
    let packages = apt.with_dependencies(packages, wanted)?;
    fetch(&apt, &cache, &packages, |_| Ok(()))
}
