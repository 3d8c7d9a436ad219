//! The archive around a sliced 3MF: every way its records can lie, and what readers of archives are attacked with.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests

mod common;

use std::io::Cursor;

use common::archive::{MD5, Own, Part, part, parts, plate_gcode, with, zip, zip_with_large_records};
use common::{Counted, damaged, read};
use printernizer_printfile::{Error, Limits, inspect};

const CONTRADICTION: &str = "the archive's directory contradicts itself";

#[test]
fn bytes_around_the_archive_are_refused() {
    let bytes = zip(&parts());
    assert!(matches!(read(&[&bytes[..], b"\n"].concat()), Err(Error::Truncated { .. })));
    assert_eq!(damaged(&[b"PK\x03\x04", &bytes[..]].concat()), CONTRADICTION);
}

#[test]
fn the_records_for_large_archives_are_read_when_they_agree() {
    let bytes = zip_with_large_records(&parts());
    assert_eq!(read(&bytes).unwrap().plates, [1]);
    let record = bytes.len() - 22 - 20 - 56;
    for at in (record..record + 12).chain(record + 16..bytes.len() - 22 - 4) {
        if (record + 60..record + 64).contains(&at) {
            continue; // the number of the disk, which no reader of single files looks at
        }
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(damaged(&changed), CONTRADICTION, "byte {at}");
    }
}

#[test]
fn a_directory_of_another_number_of_entries_is_refused() {
    let (count, bytes) = (parts().len(), zip(&parts()));
    let at = bytes.len() - 22;
    for claimed in [count - 1, count + 1, 0] {
        let mut changed = bytes.clone();
        for field in [at + 8, at + 10] {
            changed[field..field + 2].copy_from_slice(&u16::try_from(claimed).unwrap().to_le_bytes());
        }
        let result = read(&changed);
        assert!(matches!(result, Err(Error::Corrupt { what: CONTRADICTION })), "{claimed}: {result:?}");
    }
}

#[test]
fn work_is_bounded_before_it_is_begun() {
    let limits = Limits { archive_entries: 8, ..Limits::default() };
    let refused = inspect(Cursor::new(zip(&parts())), &limits);
    assert!(matches!(refused, Err(Error::TooLarge { limit_bytes: 8, .. })), "{refused:?}");
    let limits = Limits { archive_directory_bytes: 100, ..Limits::default() };
    let refused = inspect(Cursor::new(zip(&parts())), &limits);
    assert!(matches!(refused, Err(Error::TooLarge { limit_bytes: 100, .. })), "{refused:?}");
    for limits in [
        Limits { plate_gcode_bytes: 400, ..Limits::default() },
        Limits { archive_document_bytes: 50, ..Limits::default() },
        Limits { thumbnail_bytes: 10, ..Limits::default() },
    ] {
        let refused = inspect(Cursor::new(zip(&parts())), &limits);
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{limits:?}: {refused:?}");
    }
}

#[test]
fn a_bomb_is_refused_by_what_it_promises_and_by_what_it_does() {
    let honest = with(part("Metadata/top_1.png", vec![0; 4 << 20]));
    let mut reader = Counted { inner: Cursor::new(&honest), bytes_read: 0 };
    let refused = inspect(&mut reader, &Limits::default());
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    assert!(reader.bytes_read < 8_192, "{} bytes read", reader.bytes_read);

    let bomb = Part { claimed_bytes: Some(1_000), ..part("Metadata/plate_1.gcode", vec![b'\n'; 8 << 20]) };
    let claimed = "a part of the archive cannot be unpacked or does not match its checksum";
    assert_eq!(damaged(&with(bomb)), claimed);
    let settings = part("Metadata/project_settings.config", vec![b' '; 1 << 20]);
    assert_eq!(damaged(&with(Part { claimed_bytes: Some(10), ..settings })), claimed);
}

#[test]
fn wrong_sizes_and_checksums_are_seen() {
    for name in
        ["Metadata/plate_1.gcode", "Metadata/slice_info.config", "Metadata/plate_1.json", "Metadata/plate_1.png"]
    {
        let truth = parts().into_iter().find(|part| part.name == name).unwrap();
        let length = u32::try_from(truth.data.len()).unwrap();
        damaged(&with(Part { claimed_crc: Some(7), ..truth.clone() }));
        damaged(&with(Part { claimed_bytes: Some(length - 1), ..truth.clone() }));
        damaged(&with(Part { claimed_bytes: Some(length + 1), ..truth }));
    }
    let md5 = damaged(&with(part("Metadata/plate_1.gcode.md5", "0123456789abcdef0123456789abcdef")));
    assert_eq!(md5, "the G-code of the plate does not match its MD5");
    assert_eq!(damaged(&with(part("Metadata/plate_1.gcode.md5", "?"))), "the MD5 of the plate's G-code is none");
    let lower = with(part("Metadata/plate_1.gcode.md5", format!("{}\n", MD5.to_lowercase())));
    assert!(read(&lower).is_ok());
}

#[test]
fn what_readers_of_archives_are_attacked_with_is_refused() {
    for name in ["../../etc/passwd", "/etc/passwd", "Metadata/../plate_1.gcode", "C:/x", "Metadata\\x", "a//b", "a\0b"]
    {
        assert_eq!(
            damaged(&with(part(name, "x"))),
            "a name in the archive leads out of it or is ambiguous",
            "{name:?}"
        );
    }
    let mut twice = parts();
    twice.push(part("Metadata/plate_1.gcode", "G1 X1\n"));
    assert_eq!(damaged(&zip(&twice)), "two entries of the archive have the same name");
    let other_case = with(part("metadata/PLATE_1.gcode", "G1 X1\n"));
    assert_eq!(damaged(&other_case), "two entries of the archive have the same name");
    for unsupported in [
        Part { flags: 1, ..part("Auxiliaries/x", "x") },
        Part { flags: 1 << 6, ..part("Auxiliaries/x", "x") },
        Part { flags: 1 << 13, ..part("Auxiliaries/x", "x") },
        Part { claimed_method: Some(12), ..part("Auxiliaries/x", "x") },
        part("Auxiliaries/more.zip", "x"),
        part("Auxiliaries/More.3MF", "x"),
    ] {
        let refused = read(&with(unsupported));
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
}

#[test]
fn sizes_in_an_entrys_own_header_are_those_of_the_directory() {
    let gcode = || part("Metadata/plate_1.gcode", plate_gcode());
    let own = |own: Own| with(Part { own: Some(own), ..gcode() });
    let truth = Own::of(&gcode());
    assert!(read(&own(truth.clone())).is_ok());
    for lie in [
        Own { checksum: 7, ..truth.clone() },
        Own { packed_bytes: truth.packed_bytes + 1, ..truth.clone() },
        Own { unpacked_bytes: 1, ..truth.clone() },
        Own { checksum: 0, packed_bytes: 0, unpacked_bytes: 0, ..truth.clone() },
        Own { packed_bytes: u32::MAX, unpacked_bytes: u32::MAX, ..truth.clone() },
        Own { flags: 1, ..truth.clone() },
        Own { flags: 8, ..truth.clone() },
    ] {
        assert_eq!(damaged(&own(lie.clone())), CONTRADICTION, "{lie:?}");
    }
}

#[test]
fn sizes_that_follow_the_data_or_stand_in_the_field_for_large_files_are_accepted_when_true() {
    let gcode = || part("Metadata/plate_1.gcode", plate_gcode());
    let truth = Own::of(&gcode());
    let own = |flags, own: Own| with(Part { flags, own: Some(Own { flags, ..own }), ..gcode() });
    let none = Own { checksum: 0, packed_bytes: 0, unpacked_bytes: 0, ..truth.clone() };
    assert!(read(&own(8, none.clone())).is_ok(), "as Bambu Studio writes them");
    assert_eq!(damaged(&own(8, Own { unpacked_bytes: 1, ..none })), CONTRADICTION);

    let field = |unpacked: u32, packed: u32| {
        let mut extra = [1_u16.to_le_bytes(), 16_u16.to_le_bytes()].concat();
        extra.extend([u64::from(unpacked), u64::from(packed)].iter().flat_map(|size| size.to_le_bytes()));
        Own { packed_bytes: u32::MAX, unpacked_bytes: u32::MAX, extra, ..truth.clone() }
    };
    let large = |unpacked, packed| own(0, field(unpacked, packed));
    assert!(read(&large(truth.unpacked_bytes, truth.packed_bytes)).is_ok());
    for (unpacked, packed) in [(1, truth.packed_bytes), (truth.unpacked_bytes, 1), (u32::MAX, u32::MAX)] {
        assert_eq!(damaged(&large(unpacked, packed)), CONTRADICTION);
    }
    let cut = |length: usize| {
        let mut own = field(truth.unpacked_bytes, truth.packed_bytes);
        own.extra.truncate(length);
        damaged(&with(Part { own: Some(own), ..gcode() }))
    };
    for length in [0, 1, 3, 4, 12, 19] {
        assert_eq!(cut(length), CONTRADICTION, "{length}");
    }
}

#[test]
fn no_entry_is_another_one_for_another_reader() {
    let gcode = || part("Metadata/plate_1.gcode", plate_gcode());
    let own = Part { own_name: Some("Metadata/plate_2.gcode".into()), ..gcode() };
    assert_eq!(damaged(&with(own)), CONTRADICTION);
    assert_eq!(damaged(&with(Part { claimed_offset: Some(0), ..gcode() })), CONTRADICTION);
    assert_eq!(damaged(&with(Part { claimed_offset: Some(u32::MAX - 1), ..gcode() })), CONTRADICTION);
    // Two entries that share their bytes: the second header stands inside the first one's data.
    let inner = zip(&[part("b", "same")]);
    let shared = Part { stored: true, ..part("a", &inner) };
    let inside = Part { claimed_offset: Some(31), ..part("b", "same") };
    let mut overlapping = vec![shared, inside];
    overlapping.extend(parts());
    assert_eq!(damaged(&zip(&overlapping)), CONTRADICTION);
    // An extra field that gives the entry another name.
    let name = b"Metadata/plate_9.gcode";
    let checksum = crc32fast::hash(b"Metadata/x");
    let length = u16::try_from(5 + name.len()).unwrap();
    let extra = [&0x7075_u16.to_le_bytes()[..], &length.to_le_bytes(), &[1], &checksum.to_le_bytes(), name].concat();
    assert_eq!(damaged(&with(Part { extra, ..part("Metadata/x", "x") })), CONTRADICTION);
}
