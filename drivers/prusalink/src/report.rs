//! What a printer says about itself, as plain data. Everything a server may leave out is an `Option`; `None` means
//! "not said", never "zero" or "idle". Shapes: OpenAPI of Prusa-Link-Web, Buddy lib/WUI/link_content/prusa_link_api_v1.cpp,
//! and answers seen from Python PrusaLink 0.8.1. Parsing itself is in parse.rs.

use std::fmt;

use crate::name::RemoteName;

/// The number of a print on one printer: 16 bit on Buddy (kept in EEPROM, wraps), wider on Python PrusaLink.
pub type JobId = u32;

/// Which server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// The firmware of Core One, MK4, XL and MINI. Files live on `usb`.
    Buddy,
    /// Python PrusaLink for MK2.5 and MK3. Files live on `local`.
    PyLink,
}

impl Flavor {
    /// The storage that files are uploaded to.
    pub fn storage_name(self) -> &'static str {
        match self {
            Self::Buddy => "usb",
            Self::PyLink => "local",
        }
    }
}

/// The printer's state (Buddy: src/state/printer_state.cpp).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// Idle; also the screen that offers to print an uploaded file.
    Idle,
    /// Occupied without a print of ours to see: calibration, filament change from the menu, crash recovery.
    Busy,
    /// Printing, and also parking before FINISHED or STOPPED.
    Printing,
    /// Pausing, paused or resuming.
    Paused,
    /// The last print ended well. Stays until the end screen is left, by a person or by the next upload or start.
    Finished,
    /// The last print was stopped. Stays like `Finished`.
    Stopped,
    /// An error screen.
    Error,
    /// A dialog waits for a person at the printer. Its text is not available over PrusaLink.
    Attention,
    /// Idle and marked ready by a person (Python PrusaLink only).
    Ready,
    /// A word this driver does not know, as sent. Never to be taken for idle.
    Unknown(String),
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Idle => "IDLE",
            Self::Busy => "BUSY",
            Self::Printing => "PRINTING",
            Self::Paused => "PAUSED",
            Self::Finished => "FINISHED",
            Self::Stopped => "STOPPED",
            Self::Error => "ERROR",
            Self::Attention => "ATTENTION",
            Self::Ready => "READY",
            Self::Unknown(word) => word,
        })
    }
}

/// `GET /api/version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Which server speaks.
    pub flavor: Flavor,
    /// The server's name and, on Python PrusaLink, version.
    pub text: String,
    /// The version of the API.
    pub api: Option<String>,
    /// Firmware version; Buddy says it only from 6.5 on.
    pub firmware: Option<String>,
    /// Printer model, where said.
    pub printer: Option<String>,
    /// The printer's host name.
    pub hostname: Option<String>,
}

/// `GET /api/v1/info`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PrinterInfo {
    /// The serial number: the stable identity of the machine.
    pub serial: Option<String>,
    /// The printer's host name.
    pub hostname: Option<String>,
    /// Diameter of the nozzle of tool 0, as configured on the printer.
    pub nozzle_diameter_millimeters: Option<f64>,
    /// Whether a multi-material unit is enabled.
    pub mmu: Option<bool>,
    /// Below this temperature the printer does not extrude.
    pub min_extrusion_temperature_celsius: Option<f64>,
    /// A name a person gave (Python PrusaLink).
    pub name: Option<String>,
    /// A location a person gave (Python PrusaLink).
    pub location: Option<String>,
}

/// `GET /api/v1/status`: the one report to poll.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusReport {
    /// The state.
    pub state: State,
    /// The print, only while there is one: the moment a print ends this is gone.
    pub job: Option<JobSummary>,
    /// Storages, usually one. Empty when none was named.
    pub storages: Vec<Storage>,
    /// A running transfer.
    pub transfer: Option<TransferSummary>,
    /// Temperatures and positions.
    pub telemetry: Telemetry,
    /// The server's words about trouble with the printer (Python PrusaLink), when it is not well.
    pub trouble: Option<String>,
}

/// The print in a status report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobSummary {
    /// The number of the print.
    pub id: Option<JobId>,
    /// 0 to 100.
    pub progress_percent: Option<f64>,
    /// Time left, when known.
    pub time_remaining_seconds: Option<u64>,
    /// Time printed. May still be the previous print's value while a question is open (Buddy issue 5488).
    pub time_printing_seconds: Option<u64>,
    /// Time to the next filament change, when known.
    pub filament_change_in_seconds: Option<u64>,
}

/// A running transfer in a status report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TransferSummary {
    /// The number of the transfer.
    pub id: Option<u64>,
    /// 0 to 100.
    pub progress_percent: Option<f64>,
    /// Bytes so far.
    pub transferred_bytes: Option<u64>,
    /// Time so far.
    pub time_transferring_seconds: Option<u64>,
}

/// Numbers for people; nothing is decided on them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Telemetry {
    /// Nozzle temperature.
    pub nozzle_celsius: Option<f64>,
    /// Wanted nozzle temperature.
    pub nozzle_target_celsius: Option<f64>,
    /// Bed temperature.
    pub bed_celsius: Option<f64>,
    /// Wanted bed temperature.
    pub bed_target_celsius: Option<f64>,
    /// Height of the nozzle.
    pub axis_z_millimeters: Option<f64>,
    /// Print speed in percent of the file's.
    pub speed_percent: Option<f64>,
    /// Flow in percent of the file's.
    pub flow_percent: Option<f64>,
}

/// `GET /api/v1/job`.
#[derive(Debug, Clone, PartialEq)]
pub struct JobReport {
    /// The number of the print.
    pub id: Option<JobId>,
    /// The state of the print; ATTENTION shows as PAUSED here on Buddy, so judge by the status report.
    pub state: State,
    /// 0 to 100.
    pub progress_percent: Option<f64>,
    /// Time left, when known.
    pub time_remaining_seconds: Option<u64>,
    /// Time printed.
    pub time_printing_seconds: Option<u64>,
    /// The file that is printed.
    pub file: Option<JobFile>,
}

impl JobReport {
    /// The long name of the file, as it was uploaded.
    pub fn file_name(&self) -> Option<&str> {
        let file = self.file.as_ref()?;
        file.display_name.as_deref().or(file.name.as_deref())
    }

    /// Whether the file that is printed has this name.
    pub fn prints(&self, name: &RemoteName) -> bool {
        self.file_name() == Some(name.as_str())
    }
}

/// The file of a print.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFile {
    /// On Buddy the short 8.3 name.
    pub name: Option<String>,
    /// The long name, exact.
    pub display_name: Option<String>,
    /// The folder (Buddy) or path (Python PrusaLink).
    pub path: Option<String>,
    /// Size of the file.
    pub size_bytes: Option<u64>,
}

/// One storage of `GET /api/v1/storage` or of a status report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storage {
    /// `/usb/`, `/local`, `/sdcard`.
    pub path: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// `USB`, `LOCAL`, `SDCARD`.
    pub kind: Option<String>,
    /// Whether nothing can be written.
    pub read_only: Option<bool>,
    /// Whether a medium is there.
    pub available: Option<bool>,
    /// Free space; Buddy does not say it.
    pub free_bytes: Option<u64>,
    /// Whole space; Buddy does not say it.
    pub total_bytes: Option<u64>,
}

/// `GET /api/v1/files/...`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileInfo {
    /// On Buddy the short 8.3 name.
    pub name: Option<String>,
    /// The long name.
    pub display_name: Option<String>,
    /// `PRINT_FILE`, `FIRMWARE`, `FILE`, `FOLDER`.
    pub kind: Option<String>,
    /// Size of the file.
    pub size_bytes: Option<u64>,
    /// Modification time, seconds since 1970 by the printer's clock.
    pub modified_unix_seconds: Option<u64>,
}
