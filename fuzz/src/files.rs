//! Print files. Checksums would stop a fuzzer at the first changed byte, so that the code behind them would never see
//! anything; where a format has some, the input is also tried with true ones.

use crate::common::archive::{Part, part, parts, zip};
use crate::common::invariants::checked_twice;

/// Parts of an archive that [`plate`] can replace.
const NAMES: [&str; 8] = [
    "Metadata/plate_1.gcode",
    "Metadata/plate_1.gcode.md5",
    "Metadata/plate_1.json",
    "Metadata/plate_1.png",
    "Metadata/plate_2.gcode",
    "Metadata/project_settings.config",
    "Metadata/slice_info.config",
    "3D/3dmodel.model",
];

/// Any bytes at all, most of them text.
pub fn gcode(bytes: &[u8]) {
    checked_twice(bytes);
}

/// Binary G-code, as it is and with true checksums.
pub fn bgcode(bytes: &[u8]) {
    checked_twice(bytes);
    checked_twice(&with_true_checksums(bytes));
}

/// An archive as it is.
pub fn archive(bytes: &[u8]) {
    checked_twice(bytes);
}

/// A sound archive, some of whose parts are those in `bytes`: for each a byte for name and packing, a byte for the number
/// of 16-byte pieces, and the content.
pub fn plate(bytes: &[u8]) {
    let mut changed: Vec<Part> = Vec::new();
    let mut rest = bytes;
    while let [which, pieces, more @ ..] = rest {
        let (content, left) = more.split_at(more.len().min(usize::from(*pieces) * 16));
        let name = NAMES[usize::from(*which) % NAMES.len()];
        if changed.iter().all(|part| part.name != name) {
            changed.push(Part { stored: which & 0x80 == 0, ..part(name, content) });
        }
        rest = left;
    }
    let kept = parts().into_iter().filter(|part| changed.iter().all(|new| new.name != part.name));
    let kept = kept.map(|part| Part { stored: true, ..part });
    checked_twice(&zip(&kept.chain(changed.iter().cloned()).collect::<Vec<_>>()));
}

/// A plate list in an archive that is sound but for it.
pub fn slice_info(bytes: &[u8]) {
    let all = parts().into_iter().map(|part| match part.name.as_str() {
        "Metadata/slice_info.config" => Part { stored: true, data: bytes.to_vec(), ..part },
        _ => Part { stored: true, ..part },
    });
    checked_twice(&zip(&all.collect::<Vec<_>>()));
}

/// The input of [`plate`] that replaces one part.
pub(crate) fn replacing(name: &str, content: &[u8]) -> Vec<u8> {
    let which = NAMES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok()).unwrap_or_default();
    let pieces = u8::try_from(content.len().div_ceil(16)).unwrap_or(u8::MAX);
    [&[which, pieces], content].concat()
}

/// The file with the checksum of each block set right, as far as its blocks can be followed.
fn with_true_checksums(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let number = |file: &[u8], at: usize| {
        file.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(|bytes| u32::from_le_bytes(bytes) as usize)
    };
    let mut at: usize = 10;
    while let (Some(kinds), Some(unpacked)) = (number(&file, at), number(&file, at + 4)) {
        let (kind, compression) = (kinds & 0xFFFF, kinds >> 16);
        let (header, data) = match compression {
            0 => (8, unpacked),
            _ => (12, number(&file, at + 8).unwrap_or_default()),
        };
        let end = at + header + if kind == 5 { 6 } else { 2 } + data;
        let Some(checksum) = file.get(at..end).map(crc32fast::hash) else { break };
        let Some(place) = file.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&checksum.to_le_bytes());
        at = end + 4;
    }
    file
}
