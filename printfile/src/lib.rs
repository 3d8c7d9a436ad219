//! What a print file asks of a printer and promises about the print: model, nozzle, filaments, time, grams.
//! Judges by content, never by name; reads windows and block headers, never the whole file into memory; never panics
//! on any input and never writes. Formats: plain G-code (comments of PrusaSlicer, OrcaSlicer, Bambu Studio), binary G-code
//! (Prusa's libbgcode specification) and Bambu Lab's sliced 3MF (the layout Bambu Studio and OrcaSlicer export).

use std::io::{Read, Seek};

mod ascii;
mod bgcode;
mod content;
mod error;
mod facts;
mod heatshrink;
mod metadata;
pub mod models;
mod quantity;
mod sliced_3mf;

pub use error::Error;
pub use facts::{Filament, Format, Plate, PrintFile, Thumbnail, ThumbnailFormat};

/// Upper bounds on the work one inspection may cause. All sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file accepted at all.
    pub file_bytes: u64,
    /// How much of the beginning of a plain G-code file may be read: pictures, header, first commands.
    pub head_bytes: u64,
    /// How much of the end of a plain G-code file may be read: totals and the slicer's settings.
    pub tail_bytes: u64,
    /// Largest metadata block of a binary G-code file, packed and unpacked.
    pub metadata_block_bytes: u64,
    /// Largest picture of a binary G-code file.
    pub thumbnail_bytes: u64,
    /// How many blocks may stand before the first G-code block of a binary file.
    pub header_blocks: u32,
    /// How many blocks a binary G-code file may have in all (one holds up to 64 KiB of G-code).
    pub blocks: u32,
    /// How many entries the archive of a sliced 3MF may have.
    pub archive_entries: u32,
    /// Largest directory of such an archive.
    pub archive_directory_bytes: u64,
    /// Largest description in such an archive, unpacked: the plate list, the settings.
    pub archive_document_bytes: u64,
    /// Largest G-code of a plate, unpacked. All of it is unpacked, to verify its checksums, and none of it kept but
    /// windows of `head_bytes` and `tail_bytes`.
    pub plate_gcode_bytes: u64,
}

impl Default for Limits {
    /// Generous for real files, small for a machine: at most about 20 MiB of memory.
    fn default() -> Self {
        Self {
            file_bytes: 2 << 30,
            head_bytes: 4 << 20,
            tail_bytes: 4 << 20,
            metadata_block_bytes: 2 << 20,
            thumbnail_bytes: 8 << 20,
            header_blocks: 64,
            blocks: 250_000,
            archive_entries: 4_096,
            archive_directory_bytes: 1 << 20,
            archive_document_bytes: 4 << 20,
            plate_gcode_bytes: 1 << 30,
        }
    }
}

/// Reads what the file asks for and promises; of a file with several plates, its first sliced one.
///
/// The reader may stand anywhere; it is read from its beginning. Memory and work are bounded by `limits` whatever the
/// bytes say. A file that is returned as `Ok` is complete as far as its format lets one see: a binary file's blocks
/// reach exactly to its end, a PrusaSlicer or OrcaSlicer file carries its closing settings block, an archive ends with
/// its directory and the plate's G-code matches its checksums.
///
/// # Errors
/// [`Error`] says what is wrong and what a person can do about it.
pub fn inspect<R: Read + Seek>(reader: R, limits: &Limits) -> Result<PrintFile, Error> {
    inspect_any(reader, None, limits)
}

/// As [`inspect`], for one plate, counted from 1. A file without plates is its own plate 1.
///
/// # Errors
/// [`Error::MissingPlate`] when the file has G-code for other plates only; otherwise as [`inspect`].
pub fn inspect_plate<R: Read + Seek>(reader: R, plate: u32, limits: &Limits) -> Result<PrintFile, Error> {
    inspect_any(reader, Some(plate), limits)
}

fn inspect_any<R: Read + Seek>(mut reader: R, plate: Option<u32>, limits: &Limits) -> Result<PrintFile, Error> {
    let content = content::recognise(&mut reader, limits)?;
    let file = match content {
        content::Content::Archive { file_bytes } => sliced_3mf::inspect(&mut reader, file_bytes, plate, limits)?,
        content::Content::BinaryGcode { file_bytes } => bgcode::inspect(&mut reader, file_bytes, limits)?,
        content::Content::PerhapsGcode { file_bytes } => ascii::inspect(&mut reader, file_bytes, limits)?,
    };
    match plate {
        Some(plate) if plate != 1 && file.format != Format::Gcode3mf => {
            Err(Error::MissingPlate { plate, present: vec![1] })
        }
        _ => Ok(file),
    }
}
