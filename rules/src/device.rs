//! A device as the rules see it: one normalised snapshot, whatever protocol it came by.
//!
//! Drivers know protocols, sessions translate; a rule never asks which maker a printer is from, except where the start
//! protocol itself differs (`DeviceKind`).

use std::time::Duration;

use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::print_job::Shown;
use printernizer_crds::printer::{Fault, PrinterState};

/// Kinds of devices whose start protocols differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// PrusaLink: the device numbers its prints itself and has no rename.
    PrusaLink,
    /// Bambu Lab: the start carries our ids; files can be renamed.
    Bambu,
}

/// State of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DeviceState {
    /// Waiting for work.
    Idle,
    /// A print has been taken up and is being prepared (heating, leveling, slicing).
    Preparing,
    /// Printing.
    Printing,
    /// A print is paused.
    Paused,
    /// Asks a person something.
    Attention,
    /// A print has ended well and is still shown.
    Finished,
    /// A print was stopped and is still shown.
    Stopped,
    /// A print failed and is still shown.
    Failed,
    /// Busy with something that is no print (self-test, filament change, calibration).
    Busy,
    /// Says something this version does not know, or has not said anything yet.
    #[default]
    Unknown,
}

/// What keeps an idle device from taking a print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Blocker {
    /// A dialog waits on its screen.
    Dialog,
    /// It offers to resume an unfinished print.
    UnfinishedPrint,
    /// Filament is being changed.
    FilamentChange,
    /// Firmware is being updated.
    FirmwareUpdate,
    /// Its storage is missing or read-only.
    StorageMissing,
    /// Its storage is full.
    StorageFull,
    /// A file is being transferred to it by someone else.
    Transfer,
}

impl Blocker {
    /// What a person has to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Dialog => "a dialog waits on the printer's screen: answer it there",
            Self::UnfinishedPrint => "the printer offers to resume an unfinished print: decide at its screen",
            Self::FilamentChange => "filament is being changed",
            Self::FirmwareUpdate => "the firmware is being updated",
            Self::StorageMissing => "the printer's storage is missing or read-only: insert a USB drive or card",
            Self::StorageFull => "the printer's storage is full: delete files on it",
            Self::Transfer => "another program is transferring a file to the printer",
        }
    }
}

/// Filament in one slot, as the device reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSlot {
    /// Which slot: Main, External, AMS1-1 to AMS4-4.
    pub slot: String,
    /// Whether filament is in it; `None` where the device cannot tell.
    pub loaded: Option<bool>,
    /// Material, as slicers write it.
    pub material: Option<String>,
    /// Variant of the material.
    pub subtype: Option<String>,
    /// Color as #RRGGBB.
    pub color: Option<String>,
    /// Filament left, in percent of a full spool.
    pub remaining_percent: Option<i32>,
    /// Filament on a full spool of this kind, in grams.
    pub spool_grams: Option<i32>,
}

/// How far a print is, as the device reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceProgress {
    /// Percent done, 0 to 100.
    pub percent: i32,
    /// Layer being printed.
    pub layer: Option<i32>,
    /// Number of layers.
    pub total_layers: Option<i32>,
    /// Seconds left.
    pub remaining_seconds: Option<i64>,
}

/// One whole report of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceReport {
    /// State of the device.
    pub state: DeviceState,
    /// Whether the device itself says that a print exists right now. Decides what `Attention` belongs to.
    pub has_print: bool,
    /// Identity of the print it does, or did last.
    pub identity: DeviceIdentity,
    /// Error code it shows.
    pub error: Option<String>,
    /// Whether that error says that it refused a start because it is busy with a job. Whose start, and which job, it does
    /// not say.
    pub busy_with_job: bool,
    /// What keeps it from taking a print.
    pub blockers: Vec<Blocker>,
    /// How far its print is.
    pub progress: Option<DeviceProgress>,
    /// Filament in its slots; empty where it cannot tell.
    pub slots: Vec<DeviceSlot>,
    /// Faults it reports.
    pub faults: Vec<Fault>,
    /// Serial number.
    pub serial_number: Option<String>,
    /// Firmware version.
    pub firmware_version: Option<String>,
    /// Model it reports.
    pub model: Option<String>,
    /// Nozzle diameter in micrometers.
    pub nozzle_diameter_micrometers: Option<i32>,
    /// Whether the nozzle is hardened, where the device tells of what it is made.
    pub nozzle_hardened: Option<bool>,
    /// Whether it lets itself be controlled, where it tells.
    pub control_allowed: Option<bool>,
}

impl DeviceReport {
    /// Whether a print is going on: being prepared, printed, paused, or asking about itself.
    pub fn is_active(&self) -> bool {
        match self.state {
            DeviceState::Preparing | DeviceState::Printing | DeviceState::Paused => true,
            DeviceState::Attention => self.has_print,
            _ => false,
        }
    }

    /// Whether the device could take a print: idle, or showing the end of one, and nothing in the way.
    pub fn is_free(&self) -> bool {
        matches!(self.state, DeviceState::Idle | DeviceState::Finished | DeviceState::Stopped | DeviceState::Failed)
            && !self.has_print
            && self.blockers.is_empty()
    }

    /// State as it stands in the API.
    pub fn printer_state(&self) -> PrinterState {
        match self.state {
            DeviceState::Idle => PrinterState::Idle,
            DeviceState::Preparing | DeviceState::Busy => PrinterState::Preparing,
            DeviceState::Printing => PrinterState::Printing,
            DeviceState::Paused => PrinterState::Paused,
            DeviceState::Attention => PrinterState::Attention,
            DeviceState::Finished => PrinterState::Finished,
            DeviceState::Stopped | DeviceState::Failed => PrinterState::Failed,
            DeviceState::Unknown => PrinterState::Unknown,
        }
    }

    /// What the device shows, as it is recorded with an intent or a question.
    pub fn shown(&self) -> Shown {
        Shown { state: self.printer_state(), identity: self.identity.clone(), error: self.error.clone() }
    }
}

/// The connection to a device, as its session has it.
#[allow(clippy::large_enum_variant, reason = "there is one per printer, and nearly always it is the large one")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The first connection is still being made.
    Connecting,
    /// Connected; the newest report is this old.
    Live {
        /// The newest report.
        report: DeviceReport,
        /// Its age.
        age: Duration,
    },
    /// Connected before, or never; why not now, and for how long.
    Down {
        /// Why.
        cause: LinkFault,
        /// What a person can do about it.
        message: String,
        /// How long there has been no report.
        silent_for: Duration,
    },
}

impl Link {
    /// The newest report, unless it is older than `max_age`.
    pub fn report_within(&self, max_age: Duration) -> Option<&DeviceReport> {
        match self {
            Self::Live { report, age } if *age <= max_age => Some(report),
            _ => None,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkFault {
    /// The device does not answer.
    Unreachable,
    /// Its address is not on the list of allowed ones.
    AddressForbidden,
    /// The spec names something that cannot be; nothing was tried.
    InvalidSpec,
    /// What answers is not the kind of device the spec names.
    WrongProtocol,
    /// The code or password is refused.
    CredentialsRefused,
    /// The Secret is missing.
    SecretNotFound,
    /// The Secret lacks a key.
    SecretKeyMissing,
    /// The Secret lacks the usage label.
    SecretNotLabeled,
    /// Another serial number than the pinned one.
    WrongSerialNumber,
    /// This version has no driver for the connection.
    NotSupported,
}
