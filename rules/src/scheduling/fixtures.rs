//! A small farm for the tests of this folder: a free Prusa CORE One with blue PLA, and a job that fits it.
//! A test names only what differs.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use printernizer_crds::common::Nozzle;
use printernizer_crds::print_job::{
    ColorMatch, DeletionPolicy, DesiredState, FileFilament, FileStatus, PrintJobSpec, Retry, Source,
};
use printernizer_crds::printer::{BedSpec, Capabilities as Declared, Connection, DeviceStatus, PrinterSpec, SlotSpec};
use printernizer_crds::{PrintJob, PrintJobStatus, Printer, PrinterStatus};

use super::capabilities::{Capabilities, Slot};
use super::color::Color;
use super::requirements::{FilamentNeed, Requirements};

pub const NOW: &str = "2026-11-21T10:00:00Z";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

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

pub fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("farm".into()),
        uid: Some(format!("uid-of-{name}")),
        creation_timestamp: Some(Time(at("2026-11-01T00:00:00Z"))),
        generation: Some(1),
        ..ObjectMeta::default()
    }
}

pub fn declared(slot: &str, material: &str, color: &str) -> SlotSpec {
    SlotSpec { slot: slot.into(), material: material.into(), color: Some(color.into()), ..SlotSpec::default() }
}

/// A printer that is ready, idle, clear and free.
pub fn printer(name: &str) -> Printer {
    let conditions = ["Ready", "BedCleared", "Idle"].map(|c| condition(c, "True", "2026-11-20T00:00:00Z")).to_vec();
    Printer {
        metadata: metadata(name),
        spec: PrinterSpec {
            model: "Prusa CORE One".into(),
            location: None,
            connection: Connection::default(),
            capabilities: Some(Declared {
                nozzle: Some(Nozzle { diameter_micrometers: Some(400), ..Nozzle::default() }),
                ..Declared::default()
            }),
            slots: vec![declared("Main", "PLA", "#1F6FEB")],
            bed: BedSpec::default(),
            acknowledged: None,
            unschedulable: false,
            unschedulable_reason: None,
            taints: Vec::new(),
            start_windows: Vec::new(),
            average_power_watts: None,
            machine_hour_rate: None,
        },
        status: Some(PrinterStatus {
            conditions,
            device: Some(DeviceStatus { serial_number: Some(format!("SN-{name}")), ..DeviceStatus::default() }),
            ..PrinterStatus::default()
        }),
    }
}

pub fn capable(spec: &mut PrinterSpec) -> &mut Declared {
    spec.capabilities.get_or_insert_default()
}

pub fn filament(index: i32, material: &str, color: &str, grams: &str) -> FileFilament {
    FileFilament {
        index,
        material: Some(material.into()),
        color: Some(color.into()),
        grams: Some(grams.into()),
        millimeters: None,
    }
}

/// A job that is accepted, wanted and waits for a printer.
pub fn job(name: &str) -> PrintJob {
    PrintJob {
        metadata: metadata(name),
        spec: PrintJobSpec {
            display_name: None,
            source: Source::default(),
            sha256: None,
            plate: 1,
            printer_ref: None,
            printer_selector: None,
            requirements: None,
            color_match: None,
            filaments: Vec::new(),
            options: None,
            tolerations: Vec::new(),
            priority: 0,
            run_id: String::new(),
            desired_state: DesiredState::Run,
            deletion_policy: DeletionPolicy::LetFinish,
            outcome: None,
            result: None,
            retry: Retry::default(),
            start_deadline_seconds: None,
            not_after: None,
            ttl_seconds_after_finished: None,
            order: None,
        },
        status: Some(PrintJobStatus {
            conditions: vec![condition("Accepted", "True", "2026-11-20T00:00:00Z")],
            file: Some(FileStatus {
                printer_model: Some("COREONE".into()),
                nozzle_diameter_micrometers: Some(400),
                filaments: vec![filament(1, "PLA", "#1F6FEB", "12.5")],
                ..FileStatus::default()
            }),
            queued_time: Some(Time(at("2026-11-20T00:00:00Z"))),
            ..PrintJobStatus::default()
        }),
    }
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
        material: (!material.is_empty()).then(|| (*material).into()),
        color: Color::parse(color),
        remaining_milligrams: None,
        contradicts: None,
    });
    Capabilities { slots: slots.collect(), ..super::capabilities(&printer("any")) }
}
