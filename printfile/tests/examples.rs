//! The example files a user applies first: sliced with PrusaSlicer 2.5.0 from the models in `examples/models`.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use printernizer_printfile::{Filament, Format, Limits, PrintFile, inspect, models};

fn example(name: &str) -> PrintFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/files").join(name);
    inspect(BufReader::new(File::open(path).unwrap()), &Limits::default()).unwrap()
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
