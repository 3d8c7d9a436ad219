//! What the image of the backup program holds beside it, all of it from Debian 13: restic, PostgreSQL's programs, what they
//! read, certificate authorities, time zones, and a shell.

use std::path::Path;

use super::layout::Entry;
use super::libraries::Collection;
use super::read;
use super::tools;
use super::unpacked::Unpacked;
use crate::error::Error;
use crate::process::say;

/// What backups and drills run of PostgreSQL.
const PROGRAMS: [&str; 5] = ["psql", "pg_dump", "pg_restore", "initdb", "postgres"];
/// Authorities as their package has them, and where restic looks for them.
const AUTHORITIES: &str = "usr/share/ca-certificates/mozilla";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// Time zones. Debian's PostgreSQL has none of its own.
const ZONES: &str = "usr/share/zoneinfo";
/// What is twice in there, and what is a machine's choice.
const NO_ZONES: [&str; 3] = ["posix", "right", "localtime"];
/// `initdb` starts the server it makes a database with through a shell.
const SHELL: (&str, &str) = ("usr/bin/dash", "bin/sh");
/// What tells scanners which system they look at.
const OS_RELEASE: (&str, &str) = ("usr/lib/os-release", "etc/os-release");
/// Where PostgreSQL's programs of some version are.
const POSTGRES: &str = "usr/lib/postgresql";

/// Adds it, and gives the folders in which programs are looked for. `program` is the backup program itself, which takes its
/// libraries from there, too.
pub fn add(program: &Path, files: &mut Collection) -> Result<String, Error> {
    let folder =
        tools::backup_packages(&mut |line: &str| say(line)).map_err(|error| Error::Missing(error.to_string()))?;
    let folder = folder.canonicalize().map_err(|cause| Error::Read { path: folder, cause })?;
    let debian = Unpacked::read(folder)?;
    let version = version(&debian)?;
    let mut programs = vec!["usr/bin/restic".to_owned()];
    programs.extend(PROGRAMS.map(|program| format!("{POSTGRES}/{version}/bin/{program}")));
    files.unpacked(&debian, programs.iter().map(|program| (program.clone(), true)))?;
    // Queries are compiled by none of ours, and what does it has 100 MB.
    let wanted = |path: &String| {
        let path = Path::new(path);
        path.extension().is_some_and(|end| end == "so") && path.file_stem().is_some_and(|name| name != "llvmjit")
    };
    let loaded = debian.below(&format!("{POSTGRES}/{version}/lib"), &["pgxs", "bitcode"])?;
    let loaded: Vec<String> = loaded.into_iter().filter(wanted).collect();
    files.unpacked(&debian, loaded.iter().map(|library| (library.clone(), true)))?;

    files.unpacked_libraries(&debian, program)?;
    for linked in programs.iter().chain(&loaded).map(String::as_str).chain([SHELL.0]) {
        files.unpacked_libraries(&debian, &debian.folder.join(linked))?;
    }
    files.unpacked_as(&debian, SHELL.0, SHELL.1, true)?;
    files.unpacked_as(&debian, OS_RELEASE.0, OS_RELEASE.1, false)?;
    for (shared, without) in [(format!("usr/share/postgresql/{version}").as_str(), &["man"][..]), (ZONES, &NO_ZONES)] {
        files.unpacked(&debian, debian.below(shared, without)?.into_iter().map(|path| (path, false)))?;
    }
    files.tell(&debian, "ca-certificates")?;
    files.own(authorities(&debian)?);
    Ok(format!("/{POSTGRES}/{version}/bin:/usr/bin"))
}

/// The version of PostgreSQL in these packages.
fn version(debian: &Unpacked) -> Result<String, Error> {
    let server = debian.below(POSTGRES, &[])?.into_iter().find(|path| path.ends_with("/bin/postgres"));
    let missing = || Error::Missing(format!("bin/postgres in {}; remove it", debian.folder.display()));
    let server = server.ok_or_else(missing)?;
    server.split('/').nth(3).map(str::to_owned).ok_or_else(missing)
}

/// All authorities in one file.
fn authorities(debian: &Unpacked) -> Result<Entry, Error> {
    let mut bytes = Vec::new();
    for path in debian.below(AUTHORITIES, &[])? {
        bytes.extend(read(&debian.folder.join(path))?);
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
    }
    Ok(Entry { path: BUNDLE.to_owned(), bytes, executable: false })
}
