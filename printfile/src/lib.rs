//! What a print file asks of a printer and promises about the print: model, nozzle, filaments, time, grams.
//! Judges by content, never by name; reads windows and block headers, never the whole file into memory; never panics
//! on any input and never writes. Formats: plain G-code (comments of PrusaSlicer, OrcaSlicer, Bambu Studio) and binary G-code
//! (Prusa's libbgcode specification). A sliced `.gcode.3mf` is recognised and refused.

use std::io::{Read, Seek};

mod ascii;
mod bgcode;
mod content;
mod error;
mod facts;
mod metadata;
pub mod models;
mod quantity;

pub use error::Error;
pub use facts::{Filament, Format, PrintFile, Thumbnail, ThumbnailFormat};

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
}

impl Default for Limits {
    /// Generous for real files, small for a machine: at most about 16 MiB of memory.
    fn default() -> Self {
        Self {
            file_bytes: 2 << 30,
            head_bytes: 4 << 20,
            tail_bytes: 4 << 20,
            metadata_block_bytes: 2 << 20,
            thumbnail_bytes: 8 << 20,
            header_blocks: 64,
            blocks: 250_000,
        }
    }
}

/// Reads what the file asks for and promises.
///
/// The reader may stand anywhere; it is read from its beginning. Memory and work are bounded by `limits` whatever the
/// bytes say. A file that is returned as `Ok` is complete as far as its format lets one see: a binary file's blocks
/// reach exactly to its end, a PrusaSlicer or OrcaSlicer file carries its closing settings block.
///
/// # Errors
/// [`Error`] says what is wrong and what a person can do about it.
pub fn inspect<R: Read + Seek>(mut reader: R, limits: &Limits) -> Result<PrintFile, Error> {
    match content::recognise(&mut reader, limits)? {
        content::Content::BinaryGcode { file_bytes } => bgcode::inspect(&mut reader, file_bytes, limits),
        content::Content::PerhapsGcode { file_bytes } => ascii::inspect(&mut reader, file_bytes, limits),
    }
}
