//! The example files a user applies first: sliced with PrusaSlicer 2.5.0 from the models in `examples/models`, those
//! for a Bambu Lab A1 packed by the script beside them.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use printernizer_printfile::{Error, Filament, Format, Limits, PrintFile, inspect, inspect_plate, models};

fn open(name: &str) -> BufReader<File> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/files").join(name);
    BufReader::new(File::open(path).unwrap())
}

fn example(name: &str) -> PrintFile {
    inspect(open(name), &Limits::default()).unwrap()
}

#[test]
fn each_example_states_what_a_scheduler_needs() {
    for (name, material, color, minutes, grams) in [
        ("cable-clip.gcode", "PLA", "#1F6FEB", 4..6, 800..1_200),
        ("label-stand.gcode", "PLA", "#1F6FEB", 20..30, 6_000..12_000),
        ("shelf-hook.gcode", "PETG", "#F5A623", 10..15, 3_000..7_000),
    ] {
        let file = example(name);
        assert_eq!(file.format, Format::Gcode, "{name}");
        assert_eq!(file.slicer.as_deref(), Some("PrusaSlicer 2.5.0"), "{name}");
        assert!(models::same(file.printer_model.as_deref().unwrap(), "Prusa CORE One"), "{name}");
        assert_eq!(file.nozzle_diameter_micrometers, Some(400), "{name}");
        assert!(minutes.contains(&(file.estimated_seconds.unwrap() / 60)), "{name}: {:?}", file.estimated_seconds);
        assert!(file.max_z_micrometers.is_some_and(|z| z > 5_000), "{name}: {:?}", file.max_z_micrometers);
        let [Filament { index: 1, material: Some(found), color: Some(shown), milligrams: Some(mass), .. }] =
            file.filaments.as_slice()
        else {
            panic!("{name}: {:?}", file.filaments);
        };
        assert_eq!((found.as_str(), shown.as_str()), (material, color), "{name}");
        assert!(grams.contains(mass), "{name}: {mass}");
    }
}

#[test]
fn each_example_for_an_a1_states_what_a_start_needs() {
    for (name, plate, minutes, milligrams, filaments, project) in [
        ("cable-clip-a1.gcode.3mf", 1, 4..6, 800..1_200, &[1][..], 1),
        ("label-stand-two-colors-a1.gcode.3mf", 1, 20..35, 6_000..12_000, &[1, 3], 3),
        ("two-plates-a1.gcode.3mf", 1, 4..6, 800..1_200, &[1], 1),
        ("two-plates-a1.gcode.3mf", 2, 20..30, 8_000..12_000, &[1], 1),
    ] {
        let file = inspect_plate(open(name), plate, &Limits::default()).unwrap();
        assert_eq!(file.format, Format::Gcode3mf, "{name}");
        assert!(models::same(file.printer_model.as_deref().unwrap(), "Bambu Lab A1"), "{name}");
        assert_eq!(file.nozzle_diameter_micrometers, Some(400), "{name}");
        assert!(minutes.contains(&(file.estimated_seconds.unwrap() / 60)), "{name}: {:?}", file.estimated_seconds);
        assert!(file.layers.is_some_and(|layers| layers > 30), "{name}: {:?}", file.layers);
        assert!(file.max_z_micrometers.is_some_and(|z| z > 10_000), "{name}: {:?}", file.max_z_micrometers);
        assert_eq!(file.filaments.iter().map(|f| f.index).collect::<Vec<_>>(), filaments, "{name}");
        assert!(file.filaments.iter().all(|f| f.material.as_deref() == Some("PLA") && f.color.is_some()), "{name}");
        let mass: u64 = file.filaments.iter().map(|f| f.milligrams.unwrap()).sum();
        assert!(milligrams.contains(&mass), "{name}: {mass}");
        assert_eq!(file.thumbnails.len(), 1, "{name}");
        let facts = file.plate.unwrap();
        assert_eq!((facts.number, facts.build_plate()), (plate, Some("Textured PEI Plate")), "{name}");
        assert_eq!(facts.project_filaments, Some(project), "{name}");
    }
    let third = inspect_plate(open("two-plates-a1.gcode.3mf"), 3, &Limits::default());
    assert!(matches!(&third, Err(Error::MissingPlate { plate: 3, present }) if *present == [1, 2]), "{third:?}");
}
