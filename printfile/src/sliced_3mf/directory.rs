//! The directory at the end of a ZIP file, read before anything else touches the archive.
//! Accepts only archives that every reader understands alike: the end record is the last thing in the file, the directory
//! stands right before it and holds exactly the promised entries, and each entry's own header says the same. Rules from
//! the ZIP file format specification (APPNOTE 6.3.10, sections 4.3.7 to 4.3.16).

use std::collections::HashSet;
use std::io::{Read, Seek};

use crate::content::window;
use crate::{Error, Limits};

const END_BYTES: u64 = 22;
const LARGE_END_BYTES: usize = 56;
const LARGE_LOCATOR_BYTES: usize = 20;
const ENTRY_BYTES: usize = 46;
const HEADER_BYTES: usize = 30;
/// Encrypted, strongly encrypted, or with an encrypted directory.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Checksum and sizes follow the data; the own header may leave them out.
const SIZES_FOLLOW: u16 = 1 << 3;
/// Stands for a size that is in the extra field for large files.
const LARGE: u32 = u32::MAX;
const LARGE_FIELD: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const NO_END: Error = Error::Truncated { what: "the archive does not end with its directory" };
const CONTRADICTION: Error = Error::Corrupt { what: "the archive's directory contradicts itself" };
const UNSAFE_NAME: Error = Error::Corrupt { what: "a name in the archive leads out of it or is ambiguous" };

/// One line of the directory.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    flags: u16,
    method: u16,
    checksum: u32,
    packed_bytes: u32,
    unpacked_bytes: u32,
    header_at: u64,
}

/// Reads the directory; the work is bounded by the limits on its size and on the number of its entries.
pub(super) fn read<R: Read + Seek>(reader: &mut R, file_bytes: u64, limits: &Limits) -> Result<Vec<Entry>, Error> {
    let end_at = file_bytes.checked_sub(END_BYTES).ok_or(NO_END)?;
    let end = window(reader, end_at, END_BYTES)?;
    let comment_bytes = number16(&end, 20)?;
    if !end.starts_with(b"PK\x05\x06") || comment_bytes != 0 {
        return Err(NO_END);
    }
    let (disk, first_disk) = (number16(&end, 4)?, number16(&end, 6)?);
    let (here, count) = (number16(&end, 8)?, number16(&end, 10)?);
    let (size, at) = (u64::from(number32(&end, 12)?), u64::from(number32(&end, 16)?));
    if u32::from(count) > limits.archive_entries {
        let limit_bytes = u64::from(limits.archive_entries);
        return Err(Error::TooLarge { what: "the number of entries in the archive", limit_bytes });
    }
    if size > limits.archive_directory_bytes {
        return Err(Error::TooLarge { what: "the archive's directory", limit_bytes: limits.archive_directory_bytes });
    }
    if disk != 0 || first_disk != 0 || here != count || at + size > end_at {
        return Err(CONTRADICTION);
    }
    if at + size != end_at {
        large_end(reader, end_at, (u64::from(count), size, at))?;
    }
    entries(&window(reader, at, size)?, count)
}

/// Between directory and end record only the records for large archives may stand, which some writers add to small
/// ones; they must say the same.
fn large_end<R: Read + Seek>(reader: &mut R, end_at: u64, promised: (u64, u64, u64)) -> Result<(), Error> {
    let (count, size, at) = promised;
    let record_at = at + size;
    let length = (LARGE_END_BYTES + LARGE_LOCATOR_BYTES) as u64;
    if record_at + length != end_at {
        return Err(CONTRADICTION);
    }
    let bytes = window(reader, record_at, length)?;
    let (record, locator) = bytes.split_at_checked(LARGE_END_BYTES).ok_or(CONTRADICTION)?;
    let agrees = record.starts_with(b"PK\x06\x06")
        && number64(record, 4)? == LARGE_END_BYTES as u64 - 12
        && (number32(record, 16)?, number32(record, 20)?) == (0, 0)
        && (number64(record, 24)?, number64(record, 32)?) == (count, count)
        && (number64(record, 40)?, number64(record, 48)?) == (size, at)
        && locator.starts_with(b"PK\x06\x07")
        && number64(locator, 8)? == record_at;
    if agrees { Ok(()) } else { Err(CONTRADICTION) }
}

/// Walks the directory, which must hold exactly `count` entries and nothing else.
fn entries(directory: &[u8], count: u16) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::with_capacity(usize::from(count));
    let mut rest = directory;
    while !rest.is_empty() {
        let (fixed, variable) = rest.split_at_checked(ENTRY_BYTES).ok_or(CONTRADICTION)?;
        if !fixed.starts_with(b"PK\x01\x02") || entries.len() == usize::from(count) {
            return Err(CONTRADICTION);
        }
        let name_bytes = usize::from(number16(fixed, 28)?);
        let more_bytes = usize::from(number16(fixed, 30)?) + usize::from(number16(fixed, 32)?);
        entries.push(Entry {
            name: variable.get(..name_bytes).ok_or(CONTRADICTION)?.to_vec(),
            flags: number16(fixed, 8)?,
            method: number16(fixed, 10)?,
            checksum: number32(fixed, 16)?,
            packed_bytes: number32(fixed, 20)?,
            unpacked_bytes: number32(fixed, 24)?,
            header_at: u64::from(number32(fixed, 42)?),
        });
        rest = variable.get(name_bytes + more_bytes..).ok_or(CONTRADICTION)?;
    }
    if entries.len() == usize::from(count) { Ok(entries) } else { Err(CONTRADICTION) }
}

/// Refuses what no slicer writes and what readers of archives are attacked with.
pub(super) fn check<R: Read + Seek>(reader: &mut R, entries: &[Entry]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for entry in entries {
        if !is_safe(&entry.name) {
            return Err(UNSAFE_NAME);
        }
        // Names of a 3MF package differ in more than case.
        let folded = entry.name.to_ascii_lowercase();
        if [".3mf", ".zip", ".7z", ".rar", ".gz", ".tar"].iter().any(|end| folded.ends_with(end.as_bytes())) {
            return Err(Error::Unsupported {
                what: "an archive inside a 3MF",
                advice: "export the sliced plate alone",
            });
        }
        if !seen.insert(folded) {
            return Err(Error::Corrupt { what: "two entries of the archive have the same name" });
        }
        if entry.flags & ENCRYPTED != 0 {
            return Err(Error::Unsupported { what: "an encrypted archive", advice: "export it without a password" });
        }
        if !matches!(entry.method, STORED | DEFLATED) {
            return Err(Error::Unsupported {
                what: "this compression of a 3MF",
                advice: "export it from Bambu Studio or OrcaSlicer and do not pack it again",
            });
        }
        own_header(reader, entry)?;
    }
    Ok(())
}

/// A reader that goes by the entry's own header must find the same entry.
fn own_header<R: Read + Seek>(reader: &mut R, entry: &Entry) -> Result<(), Error> {
    let length = (HEADER_BYTES + entry.name.len()) as u64;
    let bytes = window(reader, entry.header_at, length).map_err(within)?;
    let (fixed, name) = bytes.split_at_checked(HEADER_BYTES).ok_or(CONTRADICTION)?;
    let flags = number16(fixed, 6)?;
    let agrees = fixed.starts_with(b"PK\x03\x04")
        && flags & ENCRYPTED == 0
        && flags & SIZES_FOLLOW == entry.flags & SIZES_FOLLOW
        && number16(fixed, 8)? == entry.method
        && usize::from(number16(fixed, 26)?) == entry.name.len()
        && name == entry.name;
    if !agrees {
        return Err(CONTRADICTION);
    }
    let own = (number32(fixed, 14)?, number32(fixed, 18)?, number32(fixed, 22)?);
    let listed = (entry.checksum, entry.packed_bytes, entry.unpacked_bytes);
    if own == listed {
        return Ok(());
    }
    let left_out = [(0, 0, 0), (0, LARGE, LARGE)].contains(&own);
    if flags & SIZES_FOLLOW != 0 && left_out {
        return Ok(());
    }
    if own != (entry.checksum, LARGE, LARGE) {
        return Err(CONTRADICTION);
    }
    let extra = window(reader, entry.header_at + length, u64::from(number16(fixed, 28)?)).map_err(within)?;
    let sizes = (u64::from(entry.unpacked_bytes), u64::from(entry.packed_bytes));
    if large_sizes(&extra)? == Some(sizes) { Ok(()) } else { Err(CONTRADICTION) }
}

/// An own header that reaches past the end of the file.
fn within(error: Error) -> Error {
    match error {
        Error::Truncated { .. } => CONTRADICTION,
        other => other,
    }
}

/// The sizes, unpacked and packed, in the extra field for large files, which some writers add to small ones too.
fn large_sizes(extra: &[u8]) -> Result<Option<(u64, u64)>, Error> {
    let mut rest = extra;
    while !rest.is_empty() {
        let (id, length) = (number16(rest, 0)?, usize::from(number16(rest, 2)?));
        let field = rest.get(4..4 + length).ok_or(CONTRADICTION)?;
        if id == LARGE_FIELD {
            return Ok(Some((number64(field, 0)?, number64(field, 8)?)));
        }
        rest = rest.get(4 + length..).unwrap_or_default();
    }
    Ok(None)
}

/// Whether a name means one place below the archive's root on every system.
fn is_safe(name: &[u8]) -> bool {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    !name.is_empty()
        && !name.iter().any(|byte| byte.is_ascii_control() || matches!(byte, b'\\' | b':'))
        && name.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

fn number16(bytes: &[u8], at: usize) -> Result<u16, Error> {
    field(bytes, at).map(u16::from_le_bytes)
}

fn number32(bytes: &[u8], at: usize) -> Result<u32, Error> {
    field(bytes, at).map(u32::from_le_bytes)
}

fn number64(bytes: &[u8], at: usize) -> Result<u64, Error> {
    field(bytes, at).map(u64::from_le_bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes.get(at..at + N).and_then(|field| field.try_into().ok()).ok_or(CONTRADICTION)
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn only_plain_relative_names_are_safe() {
        for name in ["Metadata/plate_1.gcode", "[Content_Types].xml", "_rels/.rels", "3D/", "a..b", "Ö/ü"] {
            assert!(is_safe(name.as_bytes()), "{name}");
        }
        for name in ["", "/", "/etc/passwd", "../x", "a/../b", "a/..", "./a", "a//b", "C:/x", "a\\b", "a\0b", "a\nb"] {
            assert!(!is_safe(name.as_bytes()), "{name}");
        }
    }
}
