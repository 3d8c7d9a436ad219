//! A small farm for the tests of this folder: a free Prusa CORE One with blue PLA, and a job that fits it.
//! A test names only what differs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use printernizer_crds::common::Nozzle;
use printernizer_crds::print_job::ColorMatch;
use printernizer_crds::printer::{Capabilities as Declared, DeviceStatus, PrinterSpec, SlotSpec};
use printernizer_crds::{PrintJob, PrintJobStatus, Printer, PrinterStatus};

use super::capabilities::{Capabilities, Slot};
use super::color::Color;
use super::requirements::{FilamentNeed, Requirements};
use crate::testing::objects;
pub use crate::testing::objects::{at, filament};

pub const NOW: &str = "2026-11-21T10:00:00Z";

pub fn condition(type_: &str, status: &str, since: &str) -> Condition {
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: "Test".into(),
        message: String::new(),
        last_transition_time: Time(at(since)),
        observed_generation: Some(1),
    }
}

pub fn declared(slot: &str, material: &str, color: &str) -> SlotSpec {
    SlotSpec { slot: slot.into(), material: material.into(), color: Some(color.into()), ..SlotSpec::default() }
}

/// A printer that is ready, idle, clear and free.
pub fn printer(name: &str) -> Printer {
    let conditions = ["Ready", "BedCleared", "Idle"].map(|c| condition(c, "True", "2026-11-20T00:00:00Z")).to_vec();
    let mut printer = objects::printer(name, &format!("uid-of-{name}"));
    let nozzle = Some(Nozzle { diameter_micrometers: Some(400), ..Nozzle::default() });
    printer.spec.capabilities = Some(Declared { nozzle, ..Declared::default() });
    printer.spec.slots = vec![declared("Main", "PLA", "#1F6FEB")];
    let device = DeviceStatus { serial_number: Some(format!("SN-{name}")), ..DeviceStatus::default() };
    printer.status = Some(PrinterStatus { conditions, device: Some(device), ..PrinterStatus::default() });
    printer
}

pub fn capable(spec: &mut PrinterSpec) -> &mut Declared {
    spec.capabilities.get_or_insert_default()
}

/// A job that is accepted, wanted and waits for a printer.
pub fn job(name: &str) -> PrintJob {
    let mut job = objects::job(name, &format!("uid-of-{name}"));
    job.status = Some(PrintJobStatus {
        conditions: vec![condition("Accepted", "True", "2026-11-20T00:00:00Z")],
        file: Some(objects::file(vec![filament(1, "PLA", "#1F6FEB", "12.5")])),
        queued_time: Some(Time(at("2026-11-20T00:00:00Z"))),
        ..PrintJobStatus::default()
    });
    job
}

/// A filament; an empty text means that the file does not say.
pub fn need(index: i32, material: &str, color: &str) -> FilamentNeed {
    FilamentNeed {
        index,
        material: (!material.is_empty()).then(|| material.into()),
        color: Color::parse(color),
        milligrams: 0,
        slot: None,
    }
}

/// Requirements that ask for nothing but these filaments, with the color rule a job has by default.
pub fn requirements_of(filaments: Vec<FilamentNeed>) -> Requirements {
    Requirements {
        color_match: if filaments.len() > 1 { ColorMatch::Near } else { ColorMatch::Ignore },
        filaments,
        materials: Vec::new(),
        ..super::requirements(&job("any"))
    }
}

/// A printer with these slots (name, material, color); an empty text means that nobody knows.
pub fn capabilities_with(slots: &[(&str, &str, &str)]) -> Capabilities {
    let slots = slots.iter().map(|(slot, material, color)| Slot {
        slot: (*slot).into(),
        empty: false,
        material: (!material.is_empty()).then(|| (*material).into()),
        color: Color::parse(color),
        remaining_milligrams: None,
        contradicts: None,
    });
    Capabilities { slots: slots.collect(), ..super::capabilities(&printer("any")) }
}
