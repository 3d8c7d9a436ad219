//! How long a print file takes, from the slicer's own estimate.
//!
//! Reads `estimated printing time (normal mode)`: a comment near the end of ASCII gcode, or a line of the print
//! metadata block of binary gcode (blocks: u16 type, u16 compression, u32 sizes, parameters, data, CRC32; little-endian;
//! type 4 is print metadata; compression 1 is zlib). Without an estimate the size decides. Never runs the gcode.

use std::{io::Read, time::Duration};

const KEY: &str = "estimated printing time (normal mode)";
/// Slicers write the comment within this distance of either end.
const SEARCHED_BYTES: usize = 256 * 1024;
/// No metadata block is larger.
const METADATA_LIMIT_BYTES: u64 = 1024 * 1024;
/// Without an estimate: one second for this many bytes, and never less than a minute.
const FALLBACK_BYTES_PER_SECOND: u64 = 4096;
const FALLBACK_LEAST_SECONDS: u64 = 60;

/// How long printing this file takes, in simulated time. At least a second.
pub(crate) fn print_duration(file: &[u8]) -> Duration {
    let estimate = if file.starts_with(b"GCDE") { binary_estimate(file) } else { ascii_estimate(file) };
    estimate.filter(|duration| !duration.is_zero()).unwrap_or_else(|| {
        let size = u64::try_from(file.len()).unwrap_or(u64::MAX);
        Duration::from_secs((size / FALLBACK_BYTES_PER_SECOND).max(FALLBACK_LEAST_SECONDS))
    })
}

fn ascii_estimate(file: &[u8]) -> Option<Duration> {
    let tail = file.get(file.len().saturating_sub(SEARCHED_BYTES)..)?;
    let head = file.get(..file.len().min(SEARCHED_BYTES))?;
    estimate_in_text(&String::from_utf8_lossy(tail)).or_else(|| estimate_in_text(&String::from_utf8_lossy(head)))
}

fn binary_estimate(file: &[u8]) -> Option<Duration> {
    let checksum_length = if little_endian_u16(file, 8)? == 1 { 4 } else { 0 };
    let mut offset = 10;
    loop {
        let block_type = little_endian_u16(file, offset)?;
        let compression = little_endian_u16(file, offset + 2)?;
        let uncompressed_length = little_endian_u32(file, offset + 4)?;
        let (header_length, data_length) = match compression {
            0 => (8, uncompressed_length),
            _ => (12, little_endian_u32(file, offset + 8)?),
        };
        if block_type == 1 {
            return None;
        }
        let parameters_length = if block_type == 5 { 6 } else { 2 };
        let start = offset + header_length + parameters_length;
        let end = start.checked_add(data_length)?;
        let data = file.get(start..end)?;
        if block_type == 4 {
            return match compression {
                0 => estimate_in_text(&String::from_utf8_lossy(data)),
                1 => {
                    let mut text = Vec::new();
                    flate2::read::ZlibDecoder::new(data).take(METADATA_LIMIT_BYTES).read_to_end(&mut text).ok()?;
                    estimate_in_text(&String::from_utf8_lossy(&text))
                }
                _ => None,
            };
        }
        offset = end.checked_add(checksum_length)?;
    }
}

fn estimate_in_text(text: &str) -> Option<Duration> {
    text.lines().find_map(|line| {
        let value = line.trim_start_matches([';', ' ']).strip_prefix(KEY)?.trim_start().strip_prefix('=')?;
        parse_duration(value.trim())
    })
}

/// `1d 2h 3m 4s`, any part may be absent.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    for part in text.split_whitespace() {
        let (number, unit) = part.split_at(part.find(|character: char| !character.is_ascii_digit())?);
        let unit_seconds = match unit {
            "d" => 86_400,
            "h" => 3_600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(unit_seconds)?)?;
    }
    Some(Duration::from_secs(seconds))
}

/// Two bytes of a file as a number; nothing beyond its end.
pub(crate) fn little_endian_u16(file: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(file.get(offset..offset.checked_add(2)?)?.try_into().ok()?))
}

/// Four bytes of a file as a number; nothing beyond its end.
pub(crate) fn little_endian_u32(file: &[u8], offset: usize) -> Option<usize> {
    let bytes = file.get(offset..offset.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn block(block_type: u16, text: &str, compressed: bool) -> Vec<u8> {
        let mut data = text.as_bytes().to_vec();
        if compressed {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&data).unwrap();
            data = encoder.finish().unwrap();
        }
        let mut block = Vec::new();
        block.extend(block_type.to_le_bytes());
        block.extend(u16::from(compressed).to_le_bytes());
        block.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        if compressed {
            block.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        }
        block.extend([0, 0]);
        block.extend(data);
        block.extend([0xde, 0xad, 0xbe, 0xef]);
        block
    }

    fn binary(blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut file = b"GCDE\x01\0\0\0\x01\0".to_vec();
        file.extend(blocks.iter().flatten());
        file
    }

    #[test]
    fn the_slicers_comment_decides() {
        let file = b"G28\n; filament used [g] = 3\n; estimated printing time (normal mode) = 1d 2h 3m 4s\n; x = y\n";
        assert_eq!(print_duration(file), Duration::from_secs(93_784));
    }

    #[test]
    fn the_print_metadata_block_decides_compressed_or_not() {
        for compressed in [false, true] {
            let file = binary(&[
                block(3, "printer_model=COREONE\n", false),
                block(4, "filament cost=1\nestimated printing time (normal mode)=2m 5s\n", compressed),
                block(1, "", false),
            ]);
            assert_eq!(print_duration(&file), Duration::from_secs(125), "compressed: {compressed}");
        }
    }

    #[test]
    fn without_an_estimate_the_size_decides() {
        assert_eq!(print_duration(b"G28\n"), Duration::from_mins(1));
        assert_eq!(print_duration(&vec![b'\n'; 4096 * 100]), Duration::from_secs(100));
    }

    #[test]
    fn a_damaged_binary_file_falls_back_to_its_size() {
        let mut file = binary(&[block(4, "estimated printing time (normal mode)=2m 5s\n", true)]);
        file.truncate(20);
        assert_eq!(print_duration(&file), Duration::from_mins(1));
    }
}
