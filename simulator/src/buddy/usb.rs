//! The USB drive: folders and files with real bytes, long names and the 8.3 names FAT gives them.
//!
//! Names match without regard to case, by either form, as on FAT. A file appears only when its upload is complete
//! (data goes to a temporary file that is renamed at the end). Pure data: no clock, no sockets.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// Extensions the firmware takes for print files, any case.
const PRINT_EXTENSIONS: [&str; 6] = ["g", "gc", "gco", "gcode", "bgcode", "bgc"];
/// Characters FAT forbids in names.
const FORBIDDEN: [char; 9] = ['\\', ':', '*', '?', '"', '<', '>', '|', '\u{7f}'];

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsbFile {
    pub(crate) data: Bytes,
    /// Lower-case hex.
    pub(crate) sha256: String,
    pub(crate) modified_unix_seconds: i64,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    File(UsbFile),
    Folder(Vec<Node>),
}

/// One directory entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) long_name: String,
    pub(crate) short_name: String,
    pub(crate) content: Content,
}

/// A file found by its path, with everything a print needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundFile {
    /// Long names joined by `/`, without `/usb/`.
    pub(crate) long_path: String,
    pub(crate) long_name: String,
    pub(crate) short_name: String,
    /// `/usb` or `/usb/FOLDER`, 8.3 names.
    pub(crate) short_folder: String,
    pub(crate) file: UsbFile,
}

/// Why the drive refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsbError {
    #[error("File already exists")]
    Exists,
    #[error("Is a directory or ongoing transfer")]
    IsFolder,
    #[error("Parent is not a directory")]
    ParentIsFile,
    #[error("Name contains forbidden characters")]
    ForbiddenName,
    #[error("USB drive full")]
    Full,
    #[error("USB drive missing")]
    Missing,
    #[error("Folder not empty")]
    NotEmpty,
    #[error("No such file")]
    NotFound,
}

/// The drive.
#[derive(Debug)]
pub(crate) struct Usb {
    root: Vec<Node>,
    capacity_bytes: u64,
    pub(crate) inserted: bool,
    /// A person filled it with other things.
    pub(crate) filled: bool,
}

impl UsbFile {
    pub(crate) fn new(data: Bytes, modified_unix_seconds: i64) -> Self {
        let sha256 = hex(&Sha256::digest(&data));
        Self { data, sha256, modified_unix_seconds }
    }
}

impl Node {
    fn is_named(&self, name: &str) -> bool {
        self.long_name.eq_ignore_ascii_case(name) || self.short_name.eq_ignore_ascii_case(name)
    }
}

impl Usb {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        Self { root: Vec::new(), capacity_bytes, inserted: true, filled: false }
    }

    /// The children of a folder; the root's for an empty path. A missing drive looks like an empty root.
    pub(crate) fn folder(&self, path: &[String]) -> Option<&[Node]> {
        if !self.inserted {
            return path.is_empty().then_some(&[]);
        }
        let mut children: &[Node] = &self.root;
        for name in path {
            match &children.iter().find(|node| node.is_named(name))?.content {
                Content::Folder(inner) => children = inner,
                Content::File(_) => return None,
            }
        }
        Some(children)
    }

    /// The entry at a path (not the root).
    pub(crate) fn node(&self, path: &[String]) -> Option<&Node> {
        let (name, parents) = path.split_last()?;
        self.folder(parents)?.iter().find(|node| node.is_named(name))
    }

    /// The file at a path, by long or 8.3 names.
    pub(crate) fn find(&self, path: &[String]) -> Option<FoundFile> {
        let node = self.node(path)?;
        let Content::File(file) = &node.content else { return None };
        let parents = &path[..path.len() - 1];
        let mut long_path = String::new();
        let mut short_folder = "/usb".to_owned();
        for depth in 1..=parents.len() {
            let parent = self.node(&parents[..depth])?;
            long_path = long_path + &parent.long_name + "/";
            short_folder = short_folder + "/" + &parent.short_name;
        }
        Some(FoundFile {
            long_path: long_path + &node.long_name,
            long_name: node.long_name.clone(),
            short_name: node.short_name.clone(),
            short_folder,
            file: file.clone(),
        })
    }

    /// Whether a file of this size could be written here. `replace` allows an existing file.
    pub(crate) fn check_room(&self, path: &[String], size_bytes: u64, replace: bool) -> Result<(), UsbError> {
        self.check_path(path)?;
        match self.node(path).map(|node| &node.content) {
            Some(Content::Folder(_)) => return Err(UsbError::IsFolder),
            Some(Content::File(_)) if !replace => return Err(UsbError::Exists),
            _ => {}
        }
        if self.filled || self.used_bytes().saturating_add(size_bytes) > self.capacity_bytes {
            return Err(UsbError::Full);
        }
        Ok(())
    }

    /// Puts a complete file in place, with its missing parent folders.
    pub(crate) fn put(&mut self, path: &[String], file: UsbFile, replace: bool) -> Result<(), UsbError> {
        self.check_room(path, u64::try_from(file.data.len()).unwrap_or(u64::MAX), replace)?;
        let (name, parents) = path.split_last().ok_or(UsbError::IsFolder)?;
        let children = make_folders(&mut self.root, parents)?;
        if let Some(node) = children.iter_mut().find(|node| node.is_named(name)) {
            node.content = Content::File(file);
        } else {
            let short_name = short_name(name, children);
            children.push(Node { long_name: name.clone(), short_name, content: Content::File(file) });
        }
        Ok(())
    }

    /// Makes a folder and its missing parents.
    pub(crate) fn create_folder(&mut self, path: &[String]) -> Result<(), UsbError> {
        self.check_path(path)?;
        if path.is_empty() || self.node(path).is_some() {
            return Err(UsbError::Exists);
        }
        make_folders(&mut self.root, path).map(|_| ())
    }

    /// Removes a file or an empty folder.
    pub(crate) fn remove(&mut self, path: &[String]) -> Result<(), UsbError> {
        if !self.inserted {
            return Err(UsbError::NotFound);
        }
        let (name, parents) = path.split_last().ok_or(UsbError::NotFound)?;
        let mut children = &mut self.root;
        for parent in parents {
            match children.iter_mut().find(|node| node.is_named(parent)).map(|node| &mut node.content) {
                Some(Content::Folder(inner)) => children = inner,
                _ => return Err(UsbError::NotFound),
            }
        }
        let index = children.iter().position(|node| node.is_named(name)).ok_or(UsbError::NotFound)?;
        if matches!(&children[index].content, Content::Folder(inner) if !inner.is_empty()) {
            return Err(UsbError::NotEmpty);
        }
        children.remove(index);
        Ok(())
    }

    /// Long paths of all files.
    pub(crate) fn long_paths(&self) -> Vec<String> {
        fn walk(children: &[Node], prefix: &str, paths: &mut Vec<String>) {
            for node in children {
                match &node.content {
                    Content::File(_) => paths.push(format!("{prefix}{}", node.long_name)),
                    Content::Folder(inner) => walk(inner, &format!("{prefix}{}/", node.long_name), paths),
                }
            }
        }
        let mut paths = Vec::new();
        walk(&self.root, "", &mut paths);
        paths
    }

    fn used_bytes(&self) -> u64 {
        fn sum(children: &[Node]) -> u64 {
            children
                .iter()
                .map(|node| match &node.content {
                    Content::File(file) => u64::try_from(file.data.len()).unwrap_or(u64::MAX),
                    Content::Folder(inner) => sum(inner),
                })
                .fold(0, u64::saturating_add)
        }
        sum(&self.root)
    }

    fn check_path(&self, path: &[String]) -> Result<(), UsbError> {
        if !self.inserted {
            return Err(UsbError::Missing);
        }
        if path.iter().any(|name| name.chars().any(|c| FORBIDDEN.contains(&c) || c.is_control())) {
            return Err(UsbError::ForbiddenName);
        }
        for depth in 1..path.len() {
            if matches!(self.node(&path[..depth]), Some(Node { content: Content::File(_), .. })) {
                return Err(UsbError::ParentIsFile);
            }
        }
        Ok(())
    }
}

fn make_folders<'a>(mut children: &'a mut Vec<Node>, path: &[String]) -> Result<&'a mut Vec<Node>, UsbError> {
    for name in path {
        let index = if let Some(index) = children.iter().position(|node| node.is_named(name)) {
            index
        } else {
            let short_name = short_name(name, children);
            children.push(Node { long_name: name.clone(), short_name, content: Content::Folder(Vec::new()) });
            children.len() - 1
        };
        match &mut children[index].content {
            Content::Folder(inner) => children = inner,
            Content::File(_) => return Err(UsbError::ParentIsFile),
        }
    }
    Ok(children)
}

/// Whether the firmware takes this for a print file.
pub(crate) fn is_print_file(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| PRINT_EXTENSIONS.iter().any(|accepted| accepted.eq_ignore_ascii_case(extension)))
}

/// The 8.3 name FAT gives a long name among its siblings: upper case, the first letters, `~` and a number if the name
/// does not fit or is taken, and three letters of extension.
fn short_name(long_name: &str, siblings: &[Node]) -> String {
    let (stem, extension) = long_name.rsplit_once('.').unwrap_or((long_name, ""));
    let letters = |text: &str| -> String {
        let kept = text.chars().filter(|c| !matches!(c, '.' | ' '));
        kept.map(
            |c| if c.is_ascii_alphanumeric() || "-_!#$%&'()@^`{}~".contains(c) { c.to_ascii_uppercase() } else { '_' },
        )
        .collect()
    };
    let (short_stem, short_extension) = (letters(stem), letters(extension));
    let extension: String = short_extension.chars().take(3).collect();
    let join = |stem: &str| if extension.is_empty() { stem.to_owned() } else { format!("{stem}.{extension}") };
    let taken = |name: &str| siblings.iter().any(|node| node.short_name == name);
    let plain = join(&short_stem);
    if short_stem.len() <= 8 && short_extension.len() <= 3 && short_stem == stem.to_ascii_uppercase() && !taken(&plain)
    {
        return plain;
    }
    for number in 1_u32.. {
        let tail = format!("~{number}");
        let head: String = short_stem.chars().take(8 - tail.len()).collect();
        let name = join(&(head + &tail));
        if !taken(&name) {
            return name;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    fn file(size: usize) -> UsbFile {
        UsbFile::new(Bytes::from(vec![0; size]), 0)
    }

    #[test]
    fn long_names_get_distinct_8_3_names_and_both_find_the_file() {
        let mut usb = Usb::new(1000);
        for name in ["bracket-one.bgcode", "bracket-two.bgcode", "BOX.GCO"] {
            usb.put(&path(name), file(1), false).unwrap();
        }
        let short: Vec<_> = usb.folder(&[]).unwrap().iter().map(|node| node.short_name.as_str()).collect();
        assert_eq!(short, ["BRACKE~1.BGC", "BRACKE~2.BGC", "BOX.GCO"]);
        assert_eq!(usb.find(&path("bracke~2.bgc")).unwrap().long_name, "bracket-two.bgcode");
        assert_eq!(usb.find(&path("Bracket-Two.bgcode")).unwrap().short_name, "BRACKE~2.BGC");
    }

    #[test]
    fn parents_are_created_and_shown_with_both_names() {
        let mut usb = Usb::new(1000);
        usb.put(&path("long folder name/part.gcode"), file(1), false).unwrap();
        let found = usb.find(&path("LONGFO~1/PART~1.GCO")).unwrap();
        assert_eq!(found.long_path, "long folder name/part.gcode");
        assert_eq!(found.short_folder, "/usb/LONGFO~1");
        assert_eq!(usb.remove(&path("LONGFO~1")), Err(UsbError::NotEmpty));
    }

    #[test]
    fn what_the_drive_refuses() {
        let mut usb = Usb::new(10);
        usb.put(&path("a.gcode"), file(6), false).unwrap();
        usb.create_folder(&path("f")).unwrap();
        let cases = [
            ("a.gcode", 1, false, UsbError::Exists),
            ("f", 1, true, UsbError::IsFolder),
            ("a.gcode/b.gcode", 1, false, UsbError::ParentIsFile),
            ("b?.gcode", 1, false, UsbError::ForbiddenName),
            ("b.gcode", 5, false, UsbError::Full),
        ];
        for (name, size, replace, error) in cases {
            assert_eq!(usb.put(&path(name), file(size), replace), Err(error), "{name}");
        }
        usb.inserted = false;
        assert_eq!(usb.put(&path("c.gcode"), file(1), false), Err(UsbError::Missing));
        assert_eq!(usb.folder(&[]).unwrap().len(), 0);
    }
}
