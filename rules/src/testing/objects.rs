//! Printers and jobs as an API server would give them out, from which all tests of this crate build theirs. Nothing here
//! says more than a valid object must; a test adds what it is about.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use printernizer_crds::print_job::{FileFilament, FileStatus, PrintJobSpec, Source};
use printernizer_crds::printer::{Connection, PrinterSpec};
use printernizer_crds::{PrintJob, Printer};

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn metadata(name: &str, uid: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("farm".into()),
        uid: Some(uid.into()),
        generation: Some(1),
        creation_timestamp: Some(Time(at("2026-11-01T00:00:00Z"))),
        ..ObjectMeta::default()
    }
}

/// A Prusa CORE One nobody has connected to yet.
pub fn printer(name: &str, uid: &str) -> Printer {
    let spec = PrinterSpec::new("Prusa CORE One", Connection::default());
    Printer { metadata: metadata(name, uid), spec, status: None }
}

/// A job nobody has looked at.
pub fn job(name: &str, uid: &str) -> PrintJob {
    let spec = PrintJobSpec::new(Source::default());
    PrintJob { metadata: metadata(name, uid), spec, status: None }
}

/// A filament of a file.
pub fn filament(index: i32, material: &str, color: &str, grams: &str) -> FileFilament {
    FileFilament {
        index,
        material: Some(material.into()),
        color: Some(color.into()),
        grams: Some(grams.into()),
        millimeters: None,
    }
}

/// A file that was sliced for that printer.
pub fn file(filaments: Vec<FileFilament>) -> FileStatus {
    FileStatus {
        sha256: "0".repeat(64),
        size_bytes: 1_000_000,
        format: "BinaryGcode".into(),
        printer_model: Some("COREONE".into()),
        nozzle_diameter_micrometers: Some(400),
        estimated_seconds: Some(3600),
        filaments,
        ..FileStatus::default()
    }
}
