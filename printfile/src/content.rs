//! Tells by content what a file is, before anything is parsed: what a person uploaded by mistake gets its own answer.
//! Never looks at names. The signatures are those of the formats' own specifications.

use std::io::{Read, Seek, SeekFrom};

use crate::{Error, Limits};

/// What to parse the file as.
pub(crate) enum Content {
    BinaryGcode { file_bytes: u64 },
    Archive { file_bytes: u64 },
    PerhapsGcode { file_bytes: u64 },
}

const RESLICE: &str = "check the source; it must be the exported G-code itself";

/// Reads the first bytes and names what cannot be printed.
pub(crate) fn recognise<R: Read + Seek>(reader: &mut R, limits: &Limits) -> Result<Content, Error> {
    let file_bytes = reader.seek(SeekFrom::End(0))?;
    if file_bytes == 0 {
        return Err(Error::NotAPrintFile { found: "an empty file", advice: "export or upload it again" });
    }
    if file_bytes > limits.file_bytes {
        return Err(Error::TooLarge { what: "the file", limit_bytes: limits.file_bytes });
    }
    let head = window(reader, 0, file_bytes.min(1024))?;
    if head.starts_with(b"GCDE") {
        return Ok(Content::BinaryGcode { file_bytes });
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Content::Archive { file_bytes });
    }
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&head).trim_ascii_start().to_ascii_lowercase();
    let starts = |signature: &str| text.starts_with(signature.as_bytes());
    if text.is_empty() {
        return Err(Error::NotAPrintFile { found: "blank text", advice: RESLICE });
    }
    if starts("<!doctype html") || starts("<html") || starts("<head") || starts("<body") {
        return Err(Error::NotAPrintFile {
            found: "a web page",
            advice: "the address answers with a page, often a login or an error; use the direct address of the file",
        });
    }
    if starts("<") {
        return Err(Error::NotAPrintFile { found: "an XML document", advice: RESLICE });
    }
    if starts("{") || starts("[") {
        return Err(Error::NotAPrintFile { found: "a JSON document", advice: RESLICE });
    }
    if starts("version https://git-lfs") {
        return Err(Error::NotAPrintFile {
            found: "a Git LFS pointer",
            advice: "the repository's server answers with the pointer; use the address of the file behind it",
        });
    }
    if starts("iso-10303-21") {
        return Err(Error::Unsliced { found: "a STEP model" });
    }
    let facet = |w: &[u8]| w == b"facet";
    if starts("solid") && text.windows(5).any(facet) || is_binary_stl(&head, file_bytes) {
        return Err(Error::Unsliced { found: "an STL model" });
    }
    if text.iter().any(|b| b.is_ascii_control() && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0C)) {
        return Err(Error::NotAPrintFile { found: "unknown binary data", advice: RESLICE });
    }
    Ok(Content::PerhapsGcode { file_bytes })
}

/// Reads `length` bytes from `offset`; both lie within the file, and the caller has bounded `length`.
pub(crate) fn window<R: Read + Seek>(reader: &mut R, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
    reader.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    reader.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(Error::Truncated { what: "it became shorter while it was read" });
    }
    Ok(bytes)
}

/// 80 bytes of header, a count, and exactly 50 bytes for each triangle.
fn is_binary_stl(head: &[u8], file_bytes: u64) -> bool {
    let Some(count) = head.get(80..84).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(u32::from_le_bytes) else {
        return false;
    };
    count > 0 && file_bytes == 84 + 50 * u64::from(count)
}
