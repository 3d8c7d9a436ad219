//! Entries of an archive whose directory was found exact: looked up by their one name, unpacked under a limit.
//! Never unpacks more than it was asked for, never to a place on disk. Sizes and CRC-32 are those of the directory, and
//! an entry that breaks them is damaged.

use std::io::{self, Read, Seek};

use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::directory;
use crate::{Error, Limits};

/// G-code packs to a quarter of its size, settings to a tenth. What promises more than this is not an export.
const MOST_RATIO: u64 = 200;
/// Small entries may pack better than that: a picture of nothing, a file of zeros.
const RATIO_FREE_BYTES: u64 = 1 << 20;
const CHUNK_BYTES: usize = 64 * 1024;

/// An archive that is a 3MF package.
pub(super) struct Archive<'r, R> {
    zip: ZipArchive<&'r mut R>,
}

/// Where the data of an entry stands in the file.
pub(super) struct Place {
    pub(super) offset_bytes: u64,
    pub(super) length_bytes: u64,
    pub(super) packed: bool,
}

impl<'r, R: Read + Seek> Archive<'r, R> {
    pub(super) fn open(reader: &'r mut R, file_bytes: u64, limits: &Limits) -> Result<Self, Error> {
        let entries = directory::read(reader, file_bytes, limits)?;
        if !entries.iter().any(|entry| entry.name == b"3D/3dmodel.model" || plate_of(&entry.name).is_some()) {
            return Err(Error::NotAPrintFile { found: "a ZIP archive", advice: "use the file inside it" });
        }
        directory::check(reader, &entries)?;
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut zip = ZipArchive::with_config(config, reader).map_err(contradicts)?;
        // Extra fields can give an entry another name; then two readers would find two things.
        let same_names = zip.file_names_raw().eq(entries.iter().map(|entry| entry.name.as_slice()));
        if !same_names || zip.has_overlapping_entries().map_err(contradicts)? {
            return Err(Error::Corrupt { what: "the archive's directory contradicts itself" });
        }
        let metadata = zip.metadata();
        for index in 0..metadata.len() {
            let entry = metadata.entry(index).map_err(contradicts)?;
            if entry.size() > RATIO_FREE_BYTES && entry.size() / MOST_RATIO > entry.compressed_size() {
                return Err(Error::Corrupt { what: "a part of the archive unpacks to far more than any export" });
            }
        }
        Ok(Self { zip })
    }

    /// The numbers of the plates with G-code, rising.
    pub(super) fn plates(&self) -> Vec<u32> {
        let mut plates: Vec<u32> = self.zip.file_names_raw().filter_map(plate_of).collect();
        plates.sort_unstable();
        plates
    }

    /// The whole content of an entry, `None` when there is none of this name.
    pub(super) fn document(&mut self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut content = Vec::new();
        let place = self.unpack(name, "a description in the archive", limit_bytes, |chunk| content.extend(chunk))?;
        Ok(place.map(|_| content))
    }

    /// Unpacks an entry in chunks and verifies its size and checksum; `None` when there is none of this name.
    pub(super) fn unpack(
        &mut self,
        name: &str,
        what: &'static str,
        limit_bytes: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Option<Place>, Error> {
        let Some(index) = self.zip.index_for_name_raw(name.as_bytes()) else { return Ok(None) };
        let mut entry = self.zip.by_index(index).map_err(contradicts)?;
        if entry.size() > limit_bytes {
            return Err(Error::TooLarge { what, limit_bytes });
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut unpacked: u64 = 0;
        loop {
            // The library ends with an error past the promised size, and at the end when the checksum is another.
            match entry.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => {
                    unpacked += length as u64;
                    take(chunk.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unpacking(error)),
            }
        }
        if unpacked != entry.size() {
            return Err(Error::Corrupt { what: "a part of the archive is not as long as it says" });
        }
        Ok(Some(place_of(&entry)))
    }
}

/// The plate whose G-code an entry is: the N of `Metadata/plate_N.gcode`, written as slicers do.
fn plate_of(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"Metadata/plate_")?.strip_suffix(b".gcode")?;
    let canonical = matches!(digits.len(), 1..=3) && digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0';
    canonical.then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

fn place_of<R: Read>(entry: &zip::read::ZipFile<'_, R>) -> Place {
    Place {
        offset_bytes: entry.data_start().unwrap_or_default(),
        length_bytes: entry.compressed_size(),
        packed: entry.compression() != CompressionMethod::Stored,
    }
}

fn contradicts(error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => unpacking(error),
        _ => Error::Corrupt { what: "the archive's directory contradicts itself" },
    }
}

/// A failure of the disk says nothing about the file; a failure to make sense of the bytes does.
fn unpacking(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::Corrupt { what: "a part of the archive cannot be unpacked or does not match its checksum" }
        }
        _ => Error::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::plate_of;

    #[test]
    fn only_names_a_slicer_writes_are_plates() {
        assert_eq!(plate_of(b"Metadata/plate_1.gcode"), Some(1));
        assert_eq!(plate_of(b"Metadata/plate_36.gcode"), Some(36));
        for name in ["plate_1.gcode", "Metadata/plate_.gcode", "Metadata/plate_0.gcode", "Metadata/plate_01.gcode"] {
            assert_eq!(plate_of(name.as_bytes()), None, "{name}");
        }
        for name in ["Metadata/plate_1.gcode.md5", "Metadata/plate_1000.gcode", "Metadata/plate_+1.gcode"] {
            assert_eq!(plate_of(name.as_bytes()), None, "{name}");
        }
    }
}
