//! What proves a volume's files: their number, their bytes, and a digest over the listing of the snapshot.
//!
//! Files change while they are read, so the proof is of what was stored, not of what was there. When the backup is made, the
//! engine lists the snapshot it has just stored; path, kind, size and time of each entry go into a SHA-256. A drill restores
//! the snapshot and makes the same digest of what then lies on the disk, with this program's own walk. Together with the
//! engine's comparison of all restored bytes with the SHA-256 of each piece (`restic restore --verify`) this proves: every
//! file that was stored is back, with its content and its time, and nothing else is there. It does not prove that the files
//! were consistent with each other when they were read, nor owners, permissions and extended attributes.

use std::ffi::OsStr;
use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::engine::{Entry, EntryKind};

/// The folder a file system has of its own, at its root: never backed up, never looked at.
pub const LOST_AND_FOUND: &str = "lost+found";

/// What a restore of files is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesProof {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 over path, kind, size and time of every entry, in hexadecimal.
    pub digest: String,
}

impl std::fmt::Display for FilesProof {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} files with {} bytes", self.files, self.bytes)
    }
}

/// Makes the proof, entry by entry in the order of a listing.
#[derive(Default)]
pub struct Prover {
    files: u64,
    bytes: u64,
    digest: Sha256,
}

impl Prover {
    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        let (kind, size, time) = match entry.kind {
            EntryKind::File(size) => {
                self.files += 1;
                self.bytes += size;
                ('f', size, entry.modified_unix_seconds)
            }
            // The time of a folder changes with what is written into it, that of a link nobody can set everywhere.
            EntryKind::Folder => ('d', 0, 0),
            EntryKind::Link => ('l', 0, 0),
            // Only root can make them again, and nothing is in them.
            EntryKind::Other => return,
        };
        self.digest.update(format!("{kind} {size} {time} {}\0", entry.path));
    }

    /// The proof of all that was added.
    pub fn finish(self) -> FilesProof {
        FilesProof { files: self.files, bytes: self.bytes, digest: hexadecimal(&self.digest.finalize()) }
    }
}

/// The bytes in hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Removes a folder with all that is in it, also where folders were restored without the right to write into them.
pub fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(folder)?;
            std::fs::remove_dir_all(folder)
        }
        done => done,
    }
}

fn make_writable(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

/// The proof of what lies below a folder now.
pub fn walk(folder: &Path) -> io::Result<FilesProof> {
    let mut prover = Prover::default();
    below(folder, "", &mut prover)?;
    Ok(prover.finish())
}

fn below(folder: &Path, path: &str, prover: &mut Prover) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name().into_vec());
    }
    names.sort();
    for name in names {
        if path.is_empty() && name == LOST_AND_FOUND.as_bytes() {
            continue;
        }
        let name = OsStr::from_bytes(&name);
        let place: PathBuf = folder.join(name);
        let metadata = std::fs::symlink_metadata(&place)?;
        let path = format!("{path}/{}", shown(name));
        prover.add(&Entry { path: path.clone(), kind: kind(&metadata), modified_unix_seconds: metadata.mtime() });
        if metadata.is_dir() {
            below(&place, &path, prover)?;
        }
    }
    Ok(())
}

fn kind(metadata: &Metadata) -> EntryKind {
    let kind = metadata.file_type();
    if kind.is_file() {
        EntryKind::File(metadata.len())
    } else if kind.is_dir() {
        EntryKind::Folder
    } else if kind.is_symlink() {
        EntryKind::Link
    } else {
        EntryKind::Other
    }
}

/// A name as a listing in JSON has it: each byte that is no UTF-8 is one replacement character.
fn shown(name: &OsStr) -> String {
    name.as_bytes().utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        text
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("b/empty")).unwrap();
        fs::write(path.join("a"), "seven..").unwrap();
        fs::write(path.join("b/c"), "").unwrap();
        fs::write(path.join("b-before-slash"), "x").unwrap();
        symlink("a", path.join("link")).unwrap();
        for file in ["a", "b/c", "b-before-slash"] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
            fs::File::options().write(true).open(path.join(file)).unwrap().set_modified(time).unwrap();
        }
        folder
    }

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry { path: path.to_owned(), kind, modified_unix_seconds: 1_700_000_000 }
    }

    #[test]
    fn a_walk_proves_the_listing_of_the_same_files() {
        let folder = folder();
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        let mut listing = Prover::default();
        for (path, kind) in [
            ("/a", EntryKind::File(7)),
            ("/b", EntryKind::Folder),
            ("/b/c", EntryKind::File(0)),
            ("/b/empty", EntryKind::Folder),
            ("/b-before-slash", EntryKind::File(1)),
            ("/link", EntryKind::Link),
            ("/socket", EntryKind::Other),
        ] {
            listing.add(&entry(path, kind));
        }
        let proof = listing.finish();
        assert_eq!((proof.files, proof.bytes), (3, 8));
        assert_eq!(walk(folder.path()).unwrap(), proof);
    }

    type Change = (&'static str, fn(&Path));

    #[test]
    fn each_difference_changes_the_digest() {
        let changes: [Change; 7] = [
            ("another size", |p| fs::write(p.join("a"), "eight...").unwrap()),
            ("another time", |p| fs::write(p.join("a"), "seven..").unwrap()),
            ("another name", |p| fs::rename(p.join("a"), p.join("A")).unwrap()),
            ("one more folder", |p| fs::create_dir(p.join("new")).unwrap()),
            ("a folder of that name below", |p| fs::create_dir(p.join("b/lost+found")).unwrap()),
            ("one file less", |p| fs::remove_file(p.join("b/c")).unwrap()),
            ("a folder instead of a link", |p| {
                fs::remove_file(p.join("link")).unwrap();
                fs::create_dir(p.join("link")).unwrap();
            }),
        ];
        let expected = walk(folder().path()).unwrap();
        for (what, change) in changes {
            let folder = folder();
            assert_eq!(walk(folder.path()).unwrap(), expected);
            change(folder.path());
            assert_ne!(walk(folder.path()).unwrap().digest, expected.digest, "{what}");
        }
    }

    #[test]
    fn names_that_are_no_text_are_shown_as_in_json() {
        assert_eq!(shown(OsStr::from_bytes(b"a\xe2\x82b\xff")), "a\u{fffd}\u{fffd}b\u{fffd}");
    }
}
