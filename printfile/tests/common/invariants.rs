//! What must hold for any input, checked in property tests and by the fuzzers.

use std::io::{Cursor, Read, Seek, SeekFrom};

use printernizer_printfile::{Error, Limits, PrintFile, inspect};

use super::Counted;

/// So small that generated input reaches every limit.
pub const SMALL: Limits = Limits {
    file_bytes: 1 << 20,
    head_bytes: 4_096,
    tail_bytes: 4_096,
    metadata_block_bytes: 2_048,
    thumbnail_bytes: 1_024,
    header_blocks: 8,
    blocks: 16,
    archive_entries: 32,
    archive_directory_bytes: 4_096,
    archive_document_bytes: 2_048,
    plate_gcode_bytes: 4_096,
};

/// Inspects and checks what must hold for any input.
pub fn checked(bytes: &[u8]) -> Result<PrintFile, Error> {
    let mut reader = Counted { inner: Cursor::new(bytes), bytes_read: 0 };
    let result = inspect(&mut reader, &SMALL);
    let most = 1_024 + SMALL.head_bytes + SMALL.tail_bytes + 256 * 1024;
    assert!(reader.bytes_read <= most, "read {} bytes", reader.bytes_read);
    match &result {
        Ok(file) => {
            for text in
                file.filaments.iter().filter_map(|f| f.material.as_ref()).chain(&file.printer_model).chain(&file.slicer)
            {
                assert!(text.chars().count() <= 64 && !text.chars().any(char::is_control), "{text:?}");
            }
            assert!(file.filaments.len() <= 64 && file.thumbnails.len() <= 32);
            let rising = |pair: &[printernizer_printfile::Filament]| pair[0].index < pair[1].index;
            assert!(file.filaments.windows(2).all(rising), "{:?}", file.filaments);
            for picture in &file.thumbnails {
                let end = picture.offset_bytes.checked_add(picture.length_bytes).unwrap();
                assert!(end <= bytes.len() as u64, "{picture:?} of {}", bytes.len());
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(error.is_about_the_file() && text.len() < 250 && text.contains(':'), "{text}");
        }
    }
    result
}

/// A reader that gives few bytes at a time, as a file may.
struct Slow<'a>(Cursor<&'a [u8]>);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(61);
        self.0.read(&mut buffer[..most])
    }
}

impl Seek for Slow<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

/// As [`checked`], and that the answer does not depend on how the bytes arrive.
pub fn checked_twice(bytes: &[u8]) {
    let whole = checked(bytes);
    let slow = inspect(Slow(Cursor::new(bytes)), &SMALL);
    match (whole, slow) {
        (Ok(whole), Ok(slow)) => assert_eq!(whole, slow),
        (Err(whole), Err(slow)) => assert_eq!(whole.to_string(), slow.to_string()),
        (whole, slow) => assert!(whole.is_ok() == slow.is_ok(), "{whole:?} but {slow:?}"),
    }
}
