//! Binary G-code: what is read from it, and every way it can lie.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use std::io::Cursor;

use common::heatshrink::heatshrink;
use common::{Block, Counted, PRINTER, bgcode, gcode_block, header, metadata, packed_block, read};
use printernizer_printfile::{Error, Format, Limits, ThumbnailFormat, inspect};

fn refused(bytes: &[u8]) -> Error {
    read(bytes).unwrap_err()
}

#[test]
fn every_fact_of_a_binary_file_is_read() {
    let bytes = bgcode();
    let file = read(&bytes).unwrap();
    assert_eq!(file.format, Format::BinaryGcode);
    assert_eq!(file.slicer.as_deref(), Some("PrusaSlicer 2.9.4"));
    assert_eq!(file.printer_model.as_deref(), Some("COREONE"), "the printer's block comes first");
    assert_eq!(file.nozzle_diameter_micrometers, Some(400));
    assert_eq!((file.nozzle_high_flow, file.filament_abrasive), (Some(true), Some(false)));
    assert_eq!((file.estimated_seconds, file.max_z_micrometers), (Some(662), Some(12_000)));
    let [filament] = file.filaments.as_slice() else { panic!("{:?}", file.filaments) };
    assert_eq!((filament.index, filament.material.as_deref()), (1, Some("PETG")));
    assert_eq!(filament.color.as_deref(), Some("#F5A623"));
    assert_eq!((filament.milligrams, filament.millimeters), (Some(4_440), Some(1_454)));
    let [picture] = file.thumbnails.as_slice() else { panic!("{:?}", file.thumbnails) };
    assert_eq!((picture.format, picture.width, picture.height), (ThumbnailFormat::Png, 16, 17));
    let at = usize::try_from(picture.offset_bytes).unwrap();
    assert_eq!(&bytes[at..at + usize::try_from(picture.length_bytes).unwrap()], b"\x89PNG");
}

#[test]
fn a_file_without_checksums_is_read_too() {
    let mut plain = header();
    plain[8] = 0;
    for block in [metadata(3, PRINTER, true), gcode_block(b"G1 X1\n")] {
        plain.extend(&block[..block.len() - 4]);
    }
    assert_eq!(read(&plain).unwrap().printer_model.as_deref(), Some("COREONE"));
}

#[test]
fn no_shortened_file_passes_as_whole() {
    let bytes = bgcode();
    let last_block = bytes.len() - gcode_block(b"M84\n").len();
    for length in 4..bytes.len() {
        let result = read(&bytes[..length]);
        if length == last_block {
            // The format has no count of blocks: a cut exactly between two G-code blocks cannot be seen.
            assert!(result.is_ok());
        } else {
            assert!(matches!(result, Err(Error::Truncated { .. })), "{length}: {result:?}");
        }
    }
}

#[test]
fn no_changed_bit_before_the_gcode_goes_unnoticed() {
    let bytes = bgcode();
    let whole = read(&bytes).unwrap();
    let gcode_at = bytes.len() - gcode_block(b"G28\nG1 X1\n").len() - gcode_block(b"M84\n").len();
    for at in 10..gcode_at {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(read(&changed).is_err(), "byte {at} bit {bit}");
        }
    }
    assert_eq!(read(&bytes).unwrap(), whole);
}

#[test]
fn bytes_after_the_last_block_are_refused() {
    let mut bytes = bgcode();
    bytes.extend([0xFF; 16]);
    assert!(matches!(refused(&bytes), Error::Corrupt { .. }));
}

#[test]
fn a_bomb_is_refused_by_its_promise_before_it_is_unpacked() {
    let zeros = vec![b'\n'; 8 << 20];
    let bomb = Block { kind: 2, parameters: &[0, 0], data: &zeros, packed: true, ..Block::default() };
    let file = [header(), bomb.bytes(), gcode_block(b"G1 X1\n")].concat();
    assert!(file.len() < 100_000);
    assert!(matches!(refused(&file), Error::TooLarge { .. }));
    for claimed in [0, 1, 1_000, 2 << 20] {
        let liar = Block { claimed_unpacked_bytes: Some(claimed), ..bomb };
        let file = [header(), liar.bytes(), gcode_block(b"G1 X1\n")].concat();
        assert!(matches!(refused(&file), Error::Corrupt { .. }), "{claimed}");
    }
}

#[test]
fn a_promise_larger_than_the_data_is_refused() {
    let liar = Block { kind: 3, parameters: &[0, 0], data: PRINTER.as_bytes(), packed: true, ..Block::default() };
    let unpacked = Block { claimed_unpacked_bytes: Some(1_000_000), ..liar };
    let file = [header(), unpacked.bytes(), gcode_block(b"G1 X1\n")].concat();
    assert!(matches!(refused(&file), Error::Corrupt { .. }));
    let packed = Block { claimed_packed_bytes: Some(u32::MAX), ..liar };
    let file = [header(), packed.bytes(), gcode_block(b"G1 X1\n")].concat();
    assert!(matches!(refused(&file), Error::Truncated { .. }));
}

#[test]
fn metadata_that_is_no_zlib_stream_is_refused() {
    let mut block = Block { kind: 3, parameters: &[0, 0], data: b"not packed", ..Block::default() }.bytes();
    block[2] = 1; // says deflate
    block.splice(8..8, 10_u32.to_le_bytes());
    let end = block.len() - 4;
    let checksum = crc32fast::hash(&block[..end]).to_le_bytes();
    block[end..].copy_from_slice(&checksum);
    assert!(matches!(refused(&[header(), block, gcode_block(b"G1 X1\n")].concat()), Error::Corrupt { .. }));
}

#[test]
fn unknown_versions_encodings_and_packings_say_what_to_do() {
    let mut version = bgcode();
    version[4] = 2;
    assert!(matches!(refused(&version), Error::Unsupported { .. }));
    let encoding = Block { kind: 3, parameters: &[7, 0], data: b"a=b\n", ..Block::default() };
    assert!(matches!(refused(&[header(), encoding.bytes()].concat()), Error::Corrupt { .. }));
    let unknown = Block { kind: 9, parameters: &[0, 0], ..Block::default() };
    assert!(matches!(refused(&[header(), unknown.bytes()].concat()), Error::Corrupt { .. }));
}

#[test]
fn blocks_are_counted_and_ordered() {
    let late = [bgcode(), metadata(3, PRINTER, false)].concat();
    assert!(matches!(refused(&late), Error::Corrupt { .. }));
    let many = [header(), metadata(0, "a=b\n", false).repeat(65), gcode_block(b"G1 X1\n")].concat();
    assert!(matches!(refused(&many), Error::TooLarge { .. }));
    let only_metadata = [header(), metadata(3, PRINTER, false)].concat();
    assert!(matches!(refused(&only_metadata), Error::Truncated { .. }));
    let limits = Limits { blocks: 1, ..Limits::default() };
    assert!(matches!(inspect(Cursor::new(bgcode()), &limits), Err(Error::TooLarge { .. })));
}

#[test]
fn the_gcode_of_a_large_file_is_read_once_and_not_kept() {
    let block = gcode_block(&vec![b'x'; 65_536]);
    let file = [header(), metadata(3, PRINTER, true), block.repeat(300)].concat();
    let size = file.len() as u64;
    let mut reader = Counted { inner: Cursor::new(file), bytes_read: 0 };
    inspect(&mut reader, &Limits::default()).unwrap();
    // Headers and encodings are read once more than the data.
    assert!((size..size + 20_000).contains(&reader.bytes_read), "{} of {size}", reader.bytes_read);
}

#[test]
fn no_changed_bit_of_the_gcode_goes_unnoticed() {
    let bytes = bgcode();
    let gcode_at = bytes.len() - gcode_block(b"G28\nG1 X1\n").len() - gcode_block(b"M84\n").len();
    for at in gcode_at..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(read(&changed).is_err(), "byte {at} bit {bit}");
        }
    }
    let encoding = Block { kind: 1, parameters: &[3, 0], data: b"G1 X1\n", ..Block::default() };
    assert!(matches!(refused(&[header(), encoding.bytes()].concat()), Error::Corrupt { .. }));
}

#[test]
fn metadata_packed_with_heatshrink_is_read() {
    let plain = read(&[header(), metadata(3, PRINTER, false), gcode_block(b"G1 X1\n")].concat()).unwrap();
    for (compression, window_bits) in [(2, 11), (3, 12)] {
        // Long enough that copies reach as far as the window does.
        let text = format!("{PRINTER}notes={}\n{PRINTER}", "abcdefghij0123456789".repeat(150));
        let data = heatshrink(text.as_bytes(), window_bits);
        assert!(data.len() < text.len() / 4, "{} of {}", data.len(), text.len());
        let block = packed_block(3, compression, text.len(), &data);
        let file = read(&[header(), block.clone(), gcode_block(b"G1 X1\n")].concat()).unwrap();
        assert_eq!(file, plain);
        for (promised, kept) in
            [(text.len() + 1, data.len()), (text.len() - 9, data.len()), (text.len(), data.len() - 2)]
        {
            let liar = packed_block(3, compression, promised, &data[..kept]);
            assert!(matches!(refused(&[header(), liar, gcode_block(b"G1 X1\n")].concat()), Error::Corrupt { .. }));
        }
        let bomb = packed_block(3, compression, 3 << 20, &data);
        assert!(matches!(refused(&[header(), bomb, gcode_block(b"G1 X1\n")].concat()), Error::TooLarge { .. }));
    }
}
