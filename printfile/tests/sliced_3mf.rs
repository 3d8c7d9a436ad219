//! Sliced 3MF: what is read from a plate, and every way its parts can contradict each other. How the archive around them
//! can lie is in `archives.rs`.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests

mod common;

use std::fmt::Write as _;
use std::io::Cursor;

use common::archive::{MD5, PLATE_1, PNG, Part, end, part, parts, plate_gcode, slice_info, with, without, zip};
use common::{damaged, gcode, read};
use printernizer_printfile::{Error, Format, Limits, PrintFile, ThumbnailFormat, inspect, inspect_plate};

fn read_plate(bytes: &[u8], plate: u32) -> Result<PrintFile, Error> {
    inspect_plate(Cursor::new(bytes), plate, &Limits::default())
}

/// The file with a changed G-code, which then has no MD5 beside it.
fn with_gcode(gcode: impl AsRef<[u8]>) -> Vec<u8> {
    let parts = parts().into_iter().filter(|part| !part.name.ends_with("md5"));
    let is_gcode = |part: &Part| part.name == "Metadata/plate_1.gcode";
    let replaced = |part: Part| if is_gcode(&part) { self::part(&part.name, &gcode) } else { part };
    zip(&parts.map(replaced).collect::<Vec<_>>())
}

fn with_plate_list(plates: &[&str]) -> Vec<u8> {
    with(part("Metadata/slice_info.config", slice_info(plates)))
}

#[test]
fn every_fact_of_a_plate_is_read() {
    let bytes = zip(&parts());
    let file = read(&bytes).unwrap();
    assert_eq!(file.format, Format::Gcode3mf);
    assert_eq!(file.slicer.as_deref(), Some("BambuStudio 01.09.00.60"));
    assert_eq!(file.printer_model.as_deref(), Some("N2S"), "the code the printer goes by");
    assert_eq!(file.nozzle_diameter_micrometers, Some(400));
    assert_eq!((file.estimated_seconds, file.layers, file.max_z_micrometers), (Some(91), Some(2), Some(400)));
    let [blue, orange] = file.filaments.as_slice() else { panic!("{:?}", file.filaments) };
    assert_eq!((blue.index, blue.material.as_deref(), blue.color.as_deref()), (1, Some("PLA"), Some("#1F6FEB")));
    assert_eq!((blue.milligrams, blue.millimeters, blue.profile_id.as_deref()), (Some(30), Some(10), Some("GFA00")));
    assert_eq!((orange.index, orange.material.as_deref(), orange.color.as_deref()), (3, Some("PETG"), Some("#F5A623")));
    let [picture] = file.thumbnails.as_slice() else { panic!("{:?}", file.thumbnails) };
    assert_eq!((picture.format, picture.width, picture.height), (ThumbnailFormat::Png, 16, 17));
    let at = usize::try_from(picture.offset_bytes).unwrap();
    assert_eq!(&bytes[at..at + usize::try_from(picture.length_bytes).unwrap()], PNG);
    assert!(!picture.packed);
    assert_eq!(file.plates, [1]);
    let plate = file.plate.unwrap();
    assert_eq!((plate.number, plate.gcode_entry().as_str()), (1, "Metadata/plate_1.gcode"));
    assert_eq!((plate.bed_type.as_deref(), plate.build_plate()), (Some("textured_plate"), Some("Textured PEI Plate")));
    assert_eq!(plate.project_filaments, Some(3), "also the one this plate does not use");
    assert_eq!(plate.gcode_md5, MD5);
}

#[test]
fn what_an_export_may_leave_out_is_not_needed() {
    let optional = ["1.png", "1.json", "project_settings.config", "1.gcode.md5", "[Content_Types].xml", "_rels/.rels"];
    let needed = |part: &Part| !optional.iter().any(|end| part.name.ends_with(end));
    let file = read(&zip(&parts().into_iter().filter(needed).collect::<Vec<_>>())).unwrap();
    let plate = file.plate.unwrap();
    assert_eq!(plate.project_filaments, Some(3), "from the settings block of the G-code");
    assert_eq!((plate.bed_type.as_deref(), plate.gcode_md5.as_str()), (None, MD5));
    assert!(file.thumbnails.is_empty());
}

#[test]
fn the_g_code_fills_in_what_the_plate_list_leaves_out() {
    let bare = "<metadata key=\"index\" value=\"1\"/><metadata key=\"printer_model_id\" value=\"\"/>";
    let file = read(&with_plate_list(&[bare])).unwrap();
    assert_eq!(file.printer_model.as_deref(), Some("Bambu Lab A1"));
    assert_eq!((file.nozzle_diameter_micrometers, file.estimated_seconds), (Some(400), Some(90)));
    let numbers: Vec<u32> = file.filaments.iter().map(|filament| filament.index).collect();
    assert_eq!(numbers, [1, 3]);
}

#[test]
fn the_facts_are_those_of_the_chosen_plate() {
    let second = PLATE_1.replace("index\" value=\"1\"", "index\" value=\"2\"").replace("value=\"91\"", "value=\"777\"");
    let mut both = parts();
    both.push(part("Metadata/plate_2.gcode", plate_gcode()));
    both[4] = part("Metadata/slice_info.config", slice_info(&[PLATE_1, &second]));
    let bytes = zip(&both);
    for (plate, seconds) in [(1, 91), (2, 777)] {
        let file = read_plate(&bytes, plate).unwrap();
        assert_eq!((file.plate.map(|plate| plate.number), file.estimated_seconds), (Some(plate), Some(seconds)));
        assert_eq!(file.plates, [1, 2]);
    }
    assert_eq!(read(&bytes).unwrap(), read_plate(&bytes, 1).unwrap(), "the first one when none is asked for");
}

#[test]
fn a_missing_plate_names_those_that_are_there() {
    let error = read_plate(&zip(&parts()), 2).unwrap_err();
    assert!(matches!(&error, Error::MissingPlate { plate: 2, present } if *present == [1]), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the file has no sliced plate 2, only 1: choose one of these, or slice that plate and export again"
    );
    let plain = gcode(5, 0);
    assert!(read_plate(plain.as_bytes(), 1).is_ok());
    assert!(matches!(read_plate(plain.as_bytes(), 2), Err(Error::MissingPlate { plate: 2, .. })));
    assert!(matches!(read_plate(b"<html>", 2), Err(Error::NotAPrintFile { .. })), "first things first");
}

#[test]
fn archives_are_told_apart_by_what_is_in_them() {
    let project = without("Metadata/plate_1.gcode");
    assert!(matches!(read(&project), Err(Error::Unsliced { found: "a 3MF project" })));
    assert!(matches!(read_plate(&project, 3), Err(Error::Unsliced { .. })));
    for other in [zip(&[part("readme.txt", "hello")]), end(0, 0, 0)] {
        assert!(matches!(read(&other), Err(Error::NotAPrintFile { found: "a ZIP archive", .. })));
    }
    assert!(matches!(read(b"PK\x03\x04 and nothing more"), Err(Error::Truncated { .. })));
}

#[test]
fn no_shortened_file_passes_as_whole() {
    let bytes = zip(&parts());
    assert!(read(&bytes).is_ok());
    for length in 4..bytes.len() {
        let result = read(&bytes[..length]);
        assert!(matches!(result, Err(Error::Truncated { .. })), "{length}: {result:?}");
    }
}

#[test]
fn no_changed_bit_changes_a_fact_unnoticed() {
    let bytes = zip(&parts());
    let whole = read(&bytes).unwrap();
    let mut noticed = 0;
    for at in 4..bytes.len() {
        for flipped in [1 << (at % 8), 0xFF] {
            let mut changed = bytes.clone();
            changed[at] ^= flipped;
            match read(&changed) {
                Ok(file) => assert_eq!(file, whole, "byte {at} by {flipped:#x}"),
                Err(_) => noticed += 1,
            }
        }
    }
    assert!(noticed > bytes.len(), "{noticed} of {} changes", bytes.len() * 2);
}

#[test]
fn a_plate_list_that_is_missing_or_does_not_fit_is_refused() {
    assert!(damaged(&without("Metadata/slice_info.config")).contains("missing"));
    let other = PLATE_1.replace("index\" value=\"1\"", "index\" value=\"2\"");
    assert_eq!(damaged(&with_plate_list(&[&other])), "its plate list does not have the plate");
    assert_eq!(damaged(&with_plate_list(&[PLATE_1, PLATE_1])), "its plate list has the plate twice");
    let deep = format!("{}{}", "<a>".repeat(1 << 17), "</a>".repeat(1 << 17));
    assert_eq!(damaged(&with_plate_list(&[&deep])), "its plate list is nested too deeply");
    let entity = format!("<!DOCTYPE config [<!ENTITY a \"aaaa\">]>{}", slice_info(&[PLATE_1]));
    assert!(damaged(&with(part("Metadata/slice_info.config", entity))).contains("document type"));
}

#[test]
fn contradictions_about_printer_nozzle_and_filaments_are_refused() {
    let changed = |from: &str, to: &str| {
        assert!(PLATE_1.contains(from));
        read(&with_plate_list(&[&PLATE_1.replace(from, to)]))
    };
    assert!(matches!(changed("\"N2S\"", "\"N1\""), Err(Error::Corrupt { .. })), "A1 mini and A1");
    assert_eq!(changed("\"N2S\"", "\"N99\"").unwrap().printer_model.as_deref(), Some("N99"), "not known yet");
    assert!(matches!(changed("\"0.4\"", "\"0.6\""), Err(Error::Corrupt { .. })));
    assert!(matches!(changed("\"0.4\"", "\"0.4,0.6\""), Err(Error::Unsupported { .. })));
    assert_eq!(changed("\"0.4\"", "\"0.4,0.4\"").unwrap().nozzle_diameter_micrometers, Some(400));
    assert!(matches!(changed("filament id=\"3\"", "filament id=\"4\""), Err(Error::Corrupt { .. })), "of three");
    let two = with(part("Metadata/project_settings.config", "{\"filament_colour\":[\"#111111\",\"#222222\"]}"));
    assert!(damaged(&two).contains("count the project's filaments differently"));
    for broken in ["{\"filament_colour\":3}", "{", "\u{0}"] {
        let settings = with(part("Metadata/project_settings.config", broken));
        assert!(damaged(&settings).contains("JSON"), "{broken}");
    }
    let deep = "[".repeat(1 << 19);
    assert!(damaged(&with(part("Metadata/plate_1.json", format!("{{\"x\":{deep}")))).contains("JSON"));
}

#[test]
fn g_code_a_printer_would_hang_on_is_refused() {
    for missing in ["; HEADER_BLOCK_END\n", "; CONFIG_BLOCK_END\n", "; EXECUTABLE_BLOCK_START\n"] {
        let refused = read(&with_gcode(plate_gcode().replace(missing, "")));
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{missing}: {refused:?}");
    }
    let cut = read(&with_gcode(plate_gcode().replace("; EXECUTABLE_BLOCK_END\n", "")));
    assert!(matches!(cut, Err(Error::Truncated { .. })), "{cut:?}");
    let nothing = read(&with_gcode(""));
    assert!(matches!(nothing, Err(Error::NotAPrintFile { .. })), "{nothing:?}");
}

#[test]
fn a_long_print_is_read_through_small_windows() {
    let mut moves = String::new();
    for at in 0..200_000 {
        writeln!(moves, "G1 X{} Y{}", at * 7 % 256, at * 13 % 256).unwrap();
    }
    let long = with_gcode(plate_gcode().replace("G28\n", &moves));
    let limits = Limits { head_bytes: 8_192, tail_bytes: 4_096, ..Limits::default() };
    let file = inspect(Cursor::new(&long), &limits).unwrap();
    assert_eq!((file.layers, file.plates.as_slice()), (Some(2), &[1][..]));
}

#[test]
fn the_json_of_a_plate_is_in_camel_case() {
    let json = serde_json::to_value(read(&zip(&parts())).unwrap()).unwrap();
    assert_eq!(json["format"], "Gcode3mf");
    assert_eq!(json["plate"]["projectFilaments"], 3);
    assert_eq!(json["plate"]["bedType"], "textured_plate");
    assert_eq!(json["filaments"][1]["profileID"], "GFG99");
    assert_eq!(json["plates"], serde_json::json!([1]));
}
