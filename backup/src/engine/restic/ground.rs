//! The folder where a repository is to be made: nothing is put beside the data of others.

use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::Path;

use super::super::EngineError;
use crate::source::tree::LOST_AND_FOUND;

/// What restic makes first in a repository: folders, then the key, and the configuration last.
const FOLDERS: [&str; 5] = ["data", "index", "keys", "locks", "snapshots"];

/// Whether a repository can be made here: there is nothing but folders of an init that was ended before it was done.
pub(super) fn look(folder: &Path, location: &str) -> Result<(), EngineError> {
    let found = |name: String| EngineError::Occupied { location: location.to_owned(), found: name };
    let mut has_key = false;
    for entry in entries(folder)? {
        let name = name(&entry);
        if name == LOST_AND_FOUND {
            continue;
        }
        if !FOLDERS.contains(&name.as_str()) || !is_folder(&entry) {
            return Err(found(name));
        }
        for inner in entries(&entry.path())? {
            let inner_name = self::name(&inner);
            if name == "keys" && is_key(&inner_name) && !is_folder(&inner) {
                has_key = true;
            } else if name != "data"
                || inner_name.len() != 2
                || !is_folder(&inner)
                || !entries(&inner.path())?.is_empty()
            {
                return Err(found(format!("{name}/{inner_name}")));
            }
        }
    }
    // restic itself makes none where there is a key, and never says that this will not end.
    if has_key { Err(EngineError::Begun { location: location.to_owned() }) } else { Ok(()) }
}

/// What is in a folder, if it is there, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<DirEntry>, EngineError> {
    let read = || -> std::io::Result<Vec<DirEntry>> { std::fs::read_dir(folder)?.collect() };
    let mut entries = match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| {
            EngineError::Other(format!("cannot look into {}, so no repository was made: {error}", folder.display()))
        })?,
    };
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

fn name(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// Whether a file has the name of a key, whole or half written.
fn is_key(name: &str) -> bool {
    let id = name.split_once("-tmp-").map_or(name, |(id, _)| id);
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
}
