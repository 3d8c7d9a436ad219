//! From what a Bambu Lab printer reports to the device the rules see. Pure: no connection, no clock.
//!
//! An identity must not change by itself, because a bed is accounted for by it: the file's name, which these printers
//! erase some time after the end of a print, counts only where it says something that ids and name do not.

use printernizer_bambu::codes::{Consequence, PrintError, Severity};
use printernizer_bambu::mapping::Slot;
use printernizer_bambu::report::{Report, State, Storage, Tray};
use printernizer_bambu::{SerialNumber, Version};
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::printer::Fault;
use printernizer_rules::device::{Blocker, DeviceProgress, DeviceReport, DeviceSlot, DeviceState};
use printernizer_rules::identity::Token;

use crate::fleet::device::micrometers;

/// The most faults a Printer's status takes.
const FAULTS_MAX: usize = 16;

/// What a printer reported, as the rules see it. `control_allowed` is what its connection found out about that.
pub(super) fn device_report(
    report: &Report,
    version: Option<&Version>,
    control_allowed: Option<bool>,
    serial: &SerialNumber,
) -> DeviceReport {
    let state = state(report);
    let active = report.state.is_active();
    DeviceReport {
        state,
        has_print: active,
        identity: identity(report),
        error: error(report).filter(|e| e.is_error()).map(|e| e.to_string()),
        busy_with_job: error(report).is_some_and(PrintError::is_busy_with_job),
        blockers: if active { Vec::new() } else { blockers(report) },
        progress: active.then(|| progress(report)),
        slots: slots(report),
        faults: faults(report),
        serial_number: Some(serial.to_string()),
        firmware_version: version.and_then(Version::firmware).map(str::to_owned),
        model: version.and_then(|v| v.model(serial)),
        nozzle_diameter_micrometers: report.nozzle_diameter_millimeters.and_then(micrometers),
        nozzle_hardened: report.nozzle_type.as_deref().and_then(hardened),
        control_allowed,
    }
}

fn state(report: &Report) -> DeviceState {
    match report.state {
        State::Idle => DeviceState::Idle,
        State::Preparing | State::Slicing => DeviceState::Preparing,
        State::Running => DeviceState::Printing,
        State::Paused => DeviceState::Paused,
        State::Finished => DeviceState::Finished,
        // A canceled print looks like a failed one a few seconds later; the code it showed is remembered.
        State::Failed if report.latched_error.and_then(PrintError::new).is_some_and(PrintError::is_cancellation) => {
            DeviceState::Stopped
        }
        State::Failed => DeviceState::Failed,
        State::Unknown => DeviceState::Unknown,
    }
}

fn error(report: &Report) -> Option<PrintError> {
    report.print_error.and_then(PrintError::new)
}

fn identity(report: &Report) -> DeviceIdentity {
    let ids = &report.ids;
    let id = ids.subtask.clone().or_else(|| ids.task.clone()).or_else(|| ids.project.clone());
    let name = report.subtask_name.clone();
    // A path inside the printer, or a name; only its last part was ever ours.
    let file = report.gcode_file.as_deref().map(|f| f.rsplit('/').next().unwrap_or(f).to_owned());
    let token = |text: &Option<String>| text.as_deref().and_then(Token::find);
    let file = file.filter(|f| {
        let of_file = Token::find(f);
        (id.is_none() && name.is_none()) || (of_file.is_some() && of_file != token(&name))
    });
    DeviceIdentity { id, name, file }
}

fn blockers(report: &Report) -> Vec<Blocker> {
    let mut blockers = Vec::new();
    match error(report) {
        Some(error) if error.is_unfinished_print() => blockers.push(Blocker::UnfinishedPrint),
        Some(error) if error.blocks_start() => blockers.push(Blocker::Dialog),
        _ => {}
    }
    if report.upgrade.is_going_on {
        blockers.push(Blocker::FirmwareUpdate);
    }
    if report.filament_change == Some(true) {
        blockers.push(Blocker::FilamentChange);
    }
    if matches!(report.storage, Some(Storage::Missing | Storage::Abnormal | Storage::ReadOnly)) {
        blockers.push(Blocker::StorageMissing);
    }
    blockers
}

fn progress(report: &Report) -> DeviceProgress {
    DeviceProgress {
        percent: report.percent.map_or(0, i32::from),
        layer: report.layer.and_then(|n| i32::try_from(n).ok()),
        total_layers: report.total_layers.and_then(|n| i32::try_from(n).ok()),
        remaining_seconds: report.remaining_minutes.map(|m| i64::from(m) * 60),
    }
}

fn slots(report: &Report) -> Vec<DeviceSlot> {
    let mut slots: Vec<DeviceSlot> = Vec::new();
    for unit in &report.ams.units {
        for tray in &unit.trays {
            // Units that have no such name are not offered to jobs.
            if let Some(slot) = Slot::from_report(unit.id, tray.id) {
                slots.push(slot_of(slot, tray));
            }
        }
    }
    // Two external spools belong to two nozzles, and the API knows one.
    if let [tray] = report.external.as_slice() {
        slots.push(slot_of(Slot::External, tray));
    }
    slots
}

/// Whether a nozzle of this kind is hardened. Kinds this version does not know tell nothing.
fn hardened(nozzle_type: &str) -> Option<bool> {
    match nozzle_type {
        "hardened_steel" => Some(true),
        "stainless_steel" | "brass" => Some(false),
        _ => None,
    }
}

fn slot_of(slot: Slot, tray: &Tray) -> DeviceSlot {
    let color = |rgba: &String| rgba.get(..6).map(|rgb| format!("#{}", rgb.to_ascii_uppercase()));
    DeviceSlot {
        slot: slot.to_string(),
        loaded: tray.loaded,
        material: tray.material.clone(),
        subtype: None,
        color: tray.color_rgba.as_ref().and_then(color),
        remaining_percent: tray.remaining_percent.map(i32::from),
        spool_grams: tray.spool_grams.map(i32::from),
    }
}

fn faults(report: &Report) -> Vec<Fault> {
    let explained = |code: String, severity: &str, what: &str, next: &str| Fault {
        code,
        severity: severity.to_owned(),
        message: format!("{what}: {next}"),
    };
    let error = error(report).filter(|e| e.is_error()).map(|error| {
        let severity = match error.consequence() {
            Consequence::Stopped | Consequence::Paused => "Serious",
            _ => "Common",
        };
        let words = error.explain();
        explained(words.code, severity, &words.what, &words.next)
    });
    let health = report.hms.iter().map(|entry| {
        let severity = match entry.severity() {
            Severity::Fatal => "Fatal",
            Severity::Serious => "Serious",
            Severity::Common | Severity::Unknown => "Common",
            Severity::Info => "Info",
        };
        let words = entry.explain();
        explained(words.code, severity, &words.what, &words.next)
    });
    error.into_iter().chain(health).take(FAULTS_MAX).collect()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
