//! The SD card: folders and files with real bytes under absolute paths (`/part.gcode.3mf`), as FTP shows them.
//!
//! A file that is being uploaded exists with what has arrived, and cannot be printed before it is closed. Pure data:
//! no clock, no sockets. The folders of a fresh card are those an A1 makes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::hex::hex;

const FOLDERS: [&str; 6] = ["/cache", "/image", "/ipcam", "/logger", "/model", "/timelapse"];
/// Names longer than this are refused.
const PATH_LIMIT_BYTES: usize = 255;

/// A stored file.
#[derive(Debug, Clone)]
pub(crate) struct CardFile {
    pub(crate) data: Bytes,
    /// Lower-case hex, of the bytes stored.
    pub(crate) sha256: String,
    /// An upload still writes to it.
    pub(crate) open: bool,
}

/// The card.
#[derive(Debug)]
pub(crate) struct Card {
    files: BTreeMap<String, CardFile>,
    folders: BTreeSet<String>,
    capacity_bytes: u64,
    pub(crate) inserted: bool,
    /// A person filled it with other things.
    pub(crate) filled: bool,
}

impl CardFile {
    pub(crate) fn new(data: Bytes) -> Self {
        let sha256 = hex(&Sha256::digest(&data));
        Self { data, sha256, open: false }
    }

    /// Upper-case hex, as slicers write it.
    pub(crate) fn md5(&self) -> String {
        hex(&Md5::digest(&self.data)).to_uppercase()
    }
}

impl Card {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let folders = FOLDERS.iter().map(|&folder| folder.to_owned()).collect();
        Self { files: BTreeMap::new(), folders, capacity_bytes, inserted: true, filled: false }
    }

    /// A file by its absolute path; none while the card is out.
    pub(crate) fn find(&self, path: &str) -> Option<&CardFile> {
        self.files.get(path).filter(|_| self.inserted)
    }

    /// Room left for a file at this path, its present content counted as room. `None`: nothing can be written there.
    pub(crate) fn room_bytes(&self, path: &str) -> Option<u64> {
        let parent = parent(path)?;
        let folder_exists = parent == "/" || self.folders.contains(parent);
        if !self.inserted || self.filled || !folder_exists || self.folders.contains(path) {
            return None;
        }
        let size = |file: &CardFile| u64::try_from(file.data.len()).unwrap_or(u64::MAX);
        let others = self.files.iter().filter(|(other, _)| other.as_str() != path);
        let used = others.map(|(_, file)| size(file)).fold(0, u64::saturating_add);
        Some(self.capacity_bytes.saturating_sub(used))
    }

    /// Puts a file in place, replacing one.
    pub(crate) fn put(&mut self, path: &str, file: CardFile) {
        self.files.insert(path.to_owned(), file);
    }

    /// True if there was such a file.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        self.inserted && self.files.remove(path).is_some()
    }

    /// True if the file is now under its new name. A file in the way is replaced.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> bool {
        if self.room_bytes(to).is_none() {
            return false;
        }
        match self.files.remove(from) {
            Some(file) => {
                self.put(to, file);
                true
            }
            None => false,
        }
    }

    pub(crate) fn create_folder(&mut self, path: &str) -> bool {
        self.room_bytes(path).is_some() && !self.files.contains_key(path) && self.folders.insert(path.to_owned())
    }

    pub(crate) fn is_folder(&self, path: &str) -> bool {
        self.inserted && (path == "/" || self.folders.contains(path))
    }

    /// Names in a folder: folders first, then files.
    pub(crate) fn list(&self, folder: &str) -> (Vec<&str>, Vec<(&str, &CardFile)>) {
        if !self.inserted {
            return (Vec::new(), Vec::new());
        }
        let name = |path: &'_ str| path.rfind('/').map_or(0, |at| at + 1);
        let within = |path: &str| parent(path) == Some(folder);
        let folders = self.folders.iter().filter(|path| within(path)).map(|path| &path[name(path)..]).collect();
        let files = self
            .files
            .iter()
            .filter(|(path, _)| within(path))
            .map(|(path, file)| (&path[name(path)..], file))
            .collect();
        (folders, files)
    }

    /// Absolute paths of all files.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    /// The file a printer may start by itself when it powers up: a sliced one in the root, under a name it knows. A
    /// `.part` file is none.
    pub(crate) fn leftover(&self) -> Option<String> {
        let printable = |path: &&String| parent(path) == Some("/") && path.to_lowercase().ends_with(".gcode.3mf");
        self.files
            .iter()
            .filter(|_| self.inserted)
            .find(|(path, file)| printable(path) && !file.open)
            .map(|f| f.0.clone())
    }
}

/// The absolute form of a path given to FTP; `None` if it leaves the card or is too long.
pub(crate) fn absolute(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { folder };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let path = format!("/{}", parts.join("/"));
    (path.len() <= PATH_LIMIT_BYTES && !path.chars().any(char::is_control)).then_some(path)
}

fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() > 1 => Some("/"),
        0 => None,
        at => Some(&path[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: usize) -> CardFile {
        CardFile::new(Bytes::from(vec![0; size]))
    }

    #[test]
    fn paths_stay_on_the_card() {
        let table = [
            ("/", "a", Some("/a")),
            ("/model", "a", Some("/model/a")),
            ("/model", "/a", Some("/a")),
            ("/model", "../a", Some("/a")),
            ("/", "..", None),
            ("/", "//a//b/", Some("/a/b")),
            ("/", "a\r", None),
        ];
        for (folder, path, expected) in table {
            assert_eq!(absolute(folder, path).as_deref(), expected, "{folder} {path}");
        }
    }

    #[test]
    fn room_counts_the_other_files_and_needs_a_folder() {
        let mut card = Card::new(10);
        card.put("/a", file(6));
        assert_eq!(card.room_bytes("/b"), Some(4));
        assert_eq!(card.room_bytes("/a"), Some(10));
        assert_eq!(card.room_bytes("/model/b"), Some(4));
        assert_eq!(card.room_bytes("/nowhere/b"), None);
        assert_eq!(card.room_bytes("/model"), None);
        card.inserted = false;
        assert_eq!(card.room_bytes("/b"), None);
    }

    #[test]
    fn only_a_finished_sliced_file_in_the_root_is_a_leftover() {
        let mut card = Card::new(100);
        card.put("/a.gcode.3mf.part", file(1));
        card.put("/model/b.gcode.3mf", file(1));
        card.put("/c.gcode.3mf", CardFile { open: true, ..file(1) });
        assert_eq!(card.leftover(), None);
        assert!(card.rename("/a.gcode.3mf.part", "/a.gcode.3mf"));
        assert_eq!(card.leftover().as_deref(), Some("/a.gcode.3mf"));
    }
}
