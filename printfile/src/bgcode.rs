//! Binary G-code: facts from the metadata blocks, and the proof that the blocks reach exactly to the file's end.
//! Verifies the checksum of every block; the G-code itself is read through a small buffer and never unpacked.
//! Rules from Prusa's libbgcode specification: little-endian, file header of 10 bytes, then blocks of header, parameters,
//! data and (optionally) CRC-32 over all three.

use std::io::{Read, Seek, SeekFrom};

use flate2::read::ZlibDecoder;

use crate::content::window;
use crate::heatshrink;
use crate::metadata::Metadata;
use crate::quantity::name;
use crate::{Error, Format, Limits, PrintFile, Thumbnail, ThumbnailFormat};

const FILE_HEADER_BYTES: u64 = 10;
const GCODE_BUFFER_BYTES: usize = 64 * 1024;
const CUT: &str = "its last block is cut off";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    FileMetadata,
    Gcode,
    SlicerMetadata,
    PrinterMetadata,
    PrintMetadata,
    Thumbnail,
}

#[derive(Debug)]
struct Block {
    kind: Kind,
    compression: u16,
    unpacked_bytes: u32,
    offset: u64,
    header_bytes: u64,
    parameter_bytes: u64,
    data_bytes: u64,
    checksum_bytes: u64,
}

impl Block {
    fn data_offset(&self) -> u64 {
        self.offset + self.header_bytes + self.parameter_bytes
    }

    fn end(&self) -> u64 {
        self.data_offset() + self.data_bytes + self.checksum_bytes
    }

    /// Reads the header at `offset`; the block is known to lie within the file.
    fn read<R: Read + Seek>(reader: &mut R, offset: u64, file_bytes: u64, checksums: bool) -> Result<Self, Error> {
        reader.seek(SeekFrom::Start(offset))?;
        let kind = match read_u16(reader)? {
            0 => Kind::FileMetadata,
            1 => Kind::Gcode,
            2 => Kind::SlicerMetadata,
            3 => Kind::PrinterMetadata,
            4 => Kind::PrintMetadata,
            5 => Kind::Thumbnail,
            _ => return Err(Error::Corrupt { what: "a block of an unknown type" }),
        };
        let compression = read_u16(reader)?;
        let unpacked_bytes = read_u32(reader)?;
        let (header_bytes, data_bytes) = match compression {
            0 => (8, unpacked_bytes),
            1..=3 => (12, read_u32(reader)?),
            _ => return Err(Error::Corrupt { what: "a block with an unknown compression" }),
        };
        let block = Self {
            kind,
            compression,
            unpacked_bytes,
            offset,
            header_bytes,
            parameter_bytes: if kind == Kind::Thumbnail { 6 } else { 2 },
            data_bytes: u64::from(data_bytes),
            checksum_bytes: if checksums { 4 } else { 0 },
        };
        if block.end() > file_bytes { Err(Error::Truncated { what: CUT }) } else { Ok(block) }
    }
}

/// Inspects a file that begins with the magic number.
pub(crate) fn inspect<R: Read + Seek>(reader: &mut R, file_bytes: u64, limits: &Limits) -> Result<PrintFile, Error> {
    let checksums = file_header(reader)?;
    let mut metadata = Metadata::default();
    let mut slicer = None;
    let mut thumbnails = Vec::new();
    let mut gcode_blocks: u32 = 0;
    let mut header_blocks: u32 = 0;
    let mut buffer = Vec::new();
    let mut offset = FILE_HEADER_BYTES;
    while offset < file_bytes {
        let block = Block::read(reader, offset, file_bytes, checksums)?;
        offset = block.end();
        if block.kind == Kind::Gcode {
            gcode_blocks += 1;
            if gcode_blocks > limits.blocks {
                return Err(Error::TooLarge { what: "the number of blocks", limit_bytes: u64::from(limits.blocks) });
            }
            verify_gcode(reader, &block, &mut buffer)?;
            continue;
        }
        if gcode_blocks > 0 {
            return Err(Error::Corrupt { what: "a metadata block after the G-code" });
        }
        header_blocks += 1;
        if header_blocks > limits.header_blocks {
            let limit_bytes = u64::from(limits.header_blocks);
            return Err(Error::TooLarge { what: "the number of blocks before the G-code", limit_bytes });
        }
        if block.kind == Kind::Thumbnail {
            thumbnails.extend(thumbnail(reader, &block, limits)?);
            continue;
        }
        let text = metadata_text(reader, &block, limits)?;
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            if block.kind != Kind::FileMetadata {
                metadata.offer(key, value);
            } else if key.trim() == "Producer" {
                slicer = slicer.or_else(|| name(value));
            }
        }
    }
    if gcode_blocks == 0 {
        return Err(Error::Truncated { what: "it has no G-code block" });
    }
    metadata.facts(Format::BinaryGcode, slicer, None, thumbnails)
}

/// Whether blocks carry checksums.
fn file_header<R: Read + Seek>(reader: &mut R) -> Result<bool, Error> {
    reader.seek(SeekFrom::Start(4))?;
    if read_u32(reader)? != 1 {
        return Err(Error::Unsupported {
            what: "this version of binary G-code",
            advice: "export with a current PrusaSlicer, or as plain G-code",
        });
    }
    match read_u16(reader)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::Corrupt { what: "an unknown kind of checksum" }),
    }
}

const WRONG_CHECKSUM: Error = Error::Corrupt { what: "a block does not match its checksum" };

/// Verifies a block of G-code, however large, through `buffer`.
fn verify_gcode<R: Read + Seek>(reader: &mut R, block: &Block, buffer: &mut Vec<u8>) -> Result<(), Error> {
    reader.seek(SeekFrom::Start(block.data_offset() - block.parameter_bytes))?;
    // No encoding, MeatPack, MeatPack that keeps comments.
    if read_u16(reader)? > 2 {
        return Err(Error::Corrupt { what: "G-code in an unknown encoding" });
    }
    if block.checksum_bytes == 0 {
        return Ok(());
    }
    reader.seek(SeekFrom::Start(block.offset))?;
    buffer.resize(GCODE_BUFFER_BYTES, 0);
    let mut checksum = crc32fast::Hasher::new();
    let mut left = block.end() - block.offset - block.checksum_bytes;
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        reader.read_exact(part).map_err(|e| Error::read_or_truncated(e, CUT))?;
        checksum.update(part);
        left -= wanted as u64;
    }
    if read_u32(reader)? == checksum.finalize() { Ok(()) } else { Err(WRONG_CHECKSUM) }
}

/// Header, parameters and data of a block, its checksum verified. The caller has bounded its size.
fn verified<R: Read + Seek>(reader: &mut R, block: &Block) -> Result<Vec<u8>, Error> {
    let length = block.end() - block.offset - block.checksum_bytes;
    let bytes = window(reader, block.offset, length)?;
    if block.checksum_bytes > 0 && read_u32(reader)? != crc32fast::hash(&bytes) {
        return Err(WRONG_CHECKSUM);
    }
    Ok(bytes)
}

fn metadata_text<R: Read + Seek>(reader: &mut R, block: &Block, limits: &Limits) -> Result<String, Error> {
    let limit_bytes = limits.metadata_block_bytes;
    if block.data_bytes > limit_bytes || u64::from(block.unpacked_bytes) > limit_bytes {
        return Err(Error::TooLarge { what: "a metadata block", limit_bytes });
    }
    let bytes = verified(reader, block)?;
    let at = usize::try_from(block.header_bytes).unwrap_or_default();
    if bytes.get(at..at + 2) != Some(&[0, 0]) {
        return Err(Error::Corrupt { what: "metadata in an unknown encoding" });
    }
    let data = bytes.get(at + 2..).unwrap_or_default();
    let text = match block.compression {
        0 => data.to_vec(),
        1 => unpacked(data, block.unpacked_bytes)?,
        packing => {
            let window_bits = if packing == 2 { 11 } else { 12 };
            heatshrink::unpack(data, window_bits, block.unpacked_bytes)
                .ok_or(Error::Corrupt { what: "packed metadata cannot be unpacked" })?
        }
    };
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Unpacks to exactly the promised size and never one byte further.
fn unpacked(data: &[u8], promised_bytes: u32) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    ZlibDecoder::new(data)
        .take(u64::from(promised_bytes) + 1)
        .read_to_end(&mut text)
        .map_err(|_| Error::Corrupt { what: "packed metadata cannot be unpacked" })?;
    if text.len() as u64 == u64::from(promised_bytes) {
        Ok(text)
    } else {
        Err(Error::Corrupt { what: "packed metadata is not as long as it says" })
    }
}

fn thumbnail<R: Read + Seek>(reader: &mut R, block: &Block, limits: &Limits) -> Result<Option<Thumbnail>, Error> {
    if block.data_bytes > limits.thumbnail_bytes {
        return Err(Error::TooLarge { what: "a picture", limit_bytes: limits.thumbnail_bytes });
    }
    let bytes = verified(reader, block)?;
    let parameter = |index: usize| {
        let at = usize::try_from(block.header_bytes).unwrap_or_default() + 2 * index;
        bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes)
    };
    let (Some(format), Some(width), Some(height)) = (parameter(0), parameter(1), parameter(2)) else {
        return Err(Error::Truncated { what: CUT });
    };
    let format = match format {
        0 => ThumbnailFormat::Png,
        1 => ThumbnailFormat::Jpg,
        2 => ThumbnailFormat::Qoi,
        _ => return Ok(None), // a picture nobody here can show is no reason not to print
    };
    Ok(Some(Thumbnail {
        format,
        width: u32::from(width),
        height: u32::from(height),
        offset_bytes: block.data_offset(),
        length_bytes: block.data_bytes,
        packed: false,
    }))
}

fn read_u16<R: Read>(reader: &mut R) -> Result<u16, Error> {
    let mut bytes = [0; 2];
    reader.read_exact(&mut bytes).map_err(|e| Error::read_or_truncated(e, CUT))?;
    Ok(u16::from_le_bytes(bytes))
}

fn read_u32<R: Read>(reader: &mut R) -> Result<u32, Error> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes).map_err(|e| Error::read_or_truncated(e, CUT))?;
    Ok(u32::from_le_bytes(bytes))
}
