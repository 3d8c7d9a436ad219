//! What a printer says about itself, in words that do not depend on model and firmware. Everything here is what was
//! reported, nothing is concluded: a value that was not reported, or makes no sense, is `None`. Facts: OpenBambuAPI
//! mqtt.md, ha-bambulab pybambu/const.py and models.py; the table in this folder's README.md.

mod filament;
pub(crate) mod lenient;
mod merge;
#[cfg(test)]
mod merge_tests;
mod message;

pub use filament::{Ams, AmsUnit, Tray};
pub(crate) use merge::State as Merged;
pub(crate) use message::{Answer, Incoming, read};
pub use message::{Refusal, RefusalKind};

/// The error a printer shows while and after a person cancels a print, at the screen or by command.
pub(crate) const CANCELLED_CODES: [u32; 2] = [0x0300_400C, 0x0500_400E];

/// `gcode_state`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// Waiting for work.
    Idle,
    /// A print has been taken up and is being prepared.
    Preparing,
    /// A print is being sliced, on the printer's side.
    Slicing,
    /// Printing.
    Running,
    /// A print is paused.
    Paused,
    /// The last print ended well. Stays until the next one, a dismissal or a reboot.
    Finished,
    /// The last print failed or was cancelled. Stays likewise.
    Failed,
    /// Another word (OFFLINE, INIT, ...), or none yet.
    #[default]
    Unknown,
}

impl State {
    fn read(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "IDLE" => Self::Idle,
            "PREPARE" => Self::Preparing,
            "SLICING" => Self::Slicing,
            "RUNNING" => Self::Running,
            "PAUSE" => Self::Paused,
            "FINISH" => Self::Finished,
            "FAILED" => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// Whether a print is going on.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Preparing | Self::Slicing | Self::Running | Self::Paused)
    }
}

/// Which print the printer does, or did last. `None` is how printers write "none": absent, empty or "0".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ids {
    /// `task_id`.
    pub task: Option<String>,
    /// `subtask_id`.
    pub subtask: Option<String>,
    /// `project_id`.
    pub project: Option<String>,
}

/// One entry of the health management system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hms {
    /// Module and part; the module is the highest byte.
    pub attr: u32,
    /// Severity (upper half) and number.
    pub code: u32,
}

impl Hms {
    /// The refusal of a command that is not signed: Developer Mode is off.
    pub const VERIFY_FAILED: Self = Self { attr: 0x0500_0500, code: 0x0001_0007 };
}

/// The card or stick that files are stored on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// None is there.
    Missing,
    /// It is there and fine.
    Normal,
    /// It is there and cannot be used.
    Abnormal,
    /// It cannot be written.
    ReadOnly,
}

/// The firmware update a printer is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upgrade {
    /// The printer's word, for example IDLE, DOWNLOADING, FLASHING.
    pub status: Option<String>,
    /// Whether an update is going on. A word that is not known counts as one.
    pub is_going_on: bool,
}

/// A whole report: the last full one with every partial one since.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// State.
    pub state: State,
    /// Which print.
    pub ids: Ids,
    /// Name of the print, as sent with its start.
    pub subtask_name: Option<String>,
    /// The file: its name, or a path inside the printer. Empty on some models when no print is going on.
    pub gcode_file: Option<String>,
    /// `print_error`: module (upper half) and code; 0 is none. Codes below 0x4000 are a status, not an error.
    pub print_error: Option<u32>,
    /// The last error of this print, kept after the printer has withdrawn it: a cancelled print shows its code for two
    /// seconds only. `None` once another print begins.
    pub latched_error: Option<u32>,
    /// Entries of the health management system.
    pub hms: Vec<Hms>,
    /// Percent done, 0 to 100. May stay at 100 or return to 0 after the end.
    pub percent: Option<u8>,
    /// Minutes left.
    pub remaining_minutes: Option<u32>,
    /// Layer being printed.
    pub layer: Option<u32>,
    /// Number of layers; `None` for 0, which some models report after the end.
    pub total_layers: Option<u32>,
    /// What is being done (`stg_cur`), while a print is going on; otherwise the number means nothing.
    pub stage: Option<i32>,
    /// Nozzle diameter in millimeters.
    pub nozzle_diameter_millimeters: Option<f64>,
    /// What its nozzle is made of, in its own word: `stainless_steel`, `hardened_steel`; newer models use codes.
    pub nozzle_type: Option<String>,
    /// AMS units.
    pub ams: Ams,
    /// External spools: one, or two with two nozzles.
    pub external: Vec<Tray>,
    /// Whether filament is being changed.
    pub filament_change: Option<bool>,
    /// Storage, from the last full report: partial ones clear its bits now and then without a reason.
    pub storage: Option<Storage>,
    /// Whether commands must be signed (Developer Mode off), where the printer tells; A1 and P1 do not.
    pub signature_required: Option<bool>,
    /// Firmware update.
    pub upgrade: Upgrade,
}
