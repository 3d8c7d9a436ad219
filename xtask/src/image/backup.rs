//! What the image of the backup program holds beside it: restic, PostgreSQL's programs with what they read, certificate
//! authorities, time zones, and a shell.

use std::fs;
use std::path::Path;

use super::layout::Entry;
use super::libraries::{Collection, System, this_system};
use super::read;
use super::tools;
use super::unpacked::Unpacked;
use crate::error::Error;
use crate::process::say;

/// Authorities as their package has them, without those that this machine trusts beside them.
const AUTHORITIES: &str = "/usr/share/ca-certificates/mozilla";
/// Where restic looks for them.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// Time zones. Debian's PostgreSQL has none of its own.
const ZONES: &str = "/usr/share/zoneinfo";
/// What is twice in there, and what is this machine's choice.
const NO_ZONES: [&str; 3] = ["posix", "right", "localtime"];
/// `initdb` starts the server it makes a database with through it.
const SHELL: (&str, &str) = ("/bin/sh", "dash");
/// Where PostgreSQL's programs of some version are.
const POSTGRES: &str = "usr/lib/postgresql";

/// Adds it, and gives the folders in which programs are looked for.
pub fn add(files: &mut Collection) -> Result<String, Error> {
    let mut progress = |line: &str| say(line);
    let had = |error: String| Error::Missing(error);
    let restic = tools::restic_package(&mut progress).map_err(|error| had(error.to_string()))?;
    // As its version there says: it is of Debian 13, whatever this machine is.
    let trixie = System { id: "debian".to_owned(), release: Some("13".to_owned()) };
    let restic = Unpacked::read(restic, trixie)?;
    files.unpacked(&restic, [("usr/bin/restic".to_owned(), true)])?;
    files.libraries(&restic.folder.join("usr/bin/restic"), None)?;

    let postgres = tools::postgres_packages(&mut progress).map_err(|error| had(error.to_string()))?;
    let folder = postgres.canonicalize().map_err(|cause| Error::Read { path: postgres, cause })?;
    let postgres = Unpacked::read(folder, this_system()?)?;
    let version = version(&postgres)?;
    let (programs, libraries) = (format!("{POSTGRES}/{version}/bin"), format!("{POSTGRES}/{version}/lib"));
    for program in tools::PROGRAMS.map(|program| format!("{programs}/{program}")) {
        files.libraries(&postgres.folder.join(&program), Some(&postgres))?;
        files.unpacked(&postgres, [(program, true)])?;
    }
    // Queries are compiled by none of ours, and what does it has 100 MB.
    let wanted = |path: &String| {
        let path = Path::new(path);
        path.extension().is_some_and(|end| end == "so") && path.file_stem().is_some_and(|name| name != "llvmjit")
    };
    for library in postgres.below(&libraries, &["pgxs", "bitcode"]).into_iter().filter(wanted) {
        files.libraries(&postgres.folder.join(&library), Some(&postgres))?;
        files.unpacked(&postgres, [(library, true)])?;
    }
    let shared = postgres.below(&format!("usr/share/postgresql/{version}"), &["man"]);
    files.unpacked(&postgres, shared.into_iter().map(|path| (path, false)))?;

    files.installed(SHELL.0.as_ref(), SHELL.1, true)?;
    files.libraries(SHELL.0.as_ref(), None)?;
    zones(ZONES.as_ref(), &NO_ZONES, files)?;
    files.own(authorities()?);
    Ok(format!("/{programs}:/usr/bin"))
}

/// The version of PostgreSQL in these packages.
fn version(postgres: &Unpacked) -> Result<String, Error> {
    let server = postgres.below(POSTGRES, &[]).into_iter().find(|path| path.ends_with("/bin/postgres"));
    let missing = || Error::Missing(format!("bin/postgres in {}; remove it", postgres.folder.display()));
    let server = server.ok_or_else(missing)?;
    server.split('/').nth(3).map(str::to_owned).ok_or_else(missing)
}

fn zones(folder: &Path, without: &[&str], files: &mut Collection) -> Result<(), Error> {
    let failed = |cause| Error::Read { path: folder.to_owned(), cause };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if without.iter().any(|name| *name == entry.file_name()) {
            continue;
        }
        if path.is_dir() {
            zones(&path, &[], files)?;
        } else {
            files.installed(&path, "tzdata", false)?;
        }
    }
    Ok(())
}

/// All authorities in one file.
fn authorities() -> Result<Entry, Error> {
    let folder = Path::new(AUTHORITIES);
    let failed = |cause| Error::Read { path: folder.to_owned(), cause };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let mut bytes = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "crt")) {
        bytes.extend(read(path)?);
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
    }
    Ok(Entry { path: BUNDLE.to_owned(), bytes, executable: false })
}
