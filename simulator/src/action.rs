//! What a person can do at the machine, as data shared by the library and the control API.
//!
//! An action is instantaneous; conditions that last or wait for a request are faults (see `fault`).

use serde::{Deserialize, Serialize};

use crate::Password;

/// One act of a person at the machine. In JSON: `{"action": "answerDialog", "answer": "continue"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Answers the dialog on the screen: a question at the preview, or a fault during the print.
    AnswerDialog {
        /// The button pressed.
        answer: Answer,
    },
    /// Pauses the running print at the screen.
    Pause,
    /// Resumes the paused print at the screen.
    Resume,
    /// Stops the print at the screen.
    Stop,
    /// Presses Print in the preview of the last uploaded file.
    PressPrint,
    /// Chooses a file from the USB drive at the screen and prints it.
    PrintFile {
        /// Long or 8.3 name, with folders if any (`folder/part.gcode`).
        file_name: String,
    },
    /// Brings an own file on the USB drive and prints it: a print nobody ordered over the network.
    PrintForeignFile {
        /// The file's name, created or replaced.
        file_name: String,
        /// How long the print takes, in simulated seconds.
        duration_seconds: u64,
    },
    /// Leaves the end screen or the preview.
    LeaveEndScreen,
    /// Takes whatever is on the bed away.
    TakePartOff,
    /// Puts something on the bed, or leaves an earlier part on it.
    ObstructBed,
    /// Cuts the power. Connections end, the port refuses.
    CutPower,
    /// Restores the power.
    RestorePower {
        /// What becomes of the print that was cut off.
        #[serde(default)]
        job: AfterPowerCut,
    },
    /// Presses reset: a power cut and its end in one.
    Reboot {
        /// What becomes of the print that was cut off.
        #[serde(default)]
        job: AfterPowerCut,
    },
    /// Fills the USB drive: every upload gets 507.
    FillUsb,
    /// Makes room on the USB drive again.
    FreeUsb,
    /// Pulls the USB drive. A running print stops with a warning dialog.
    RemoveUsb,
    /// Plugs the USB drive in again, with its files.
    InsertUsb,
    /// Opens the door. A running print stops with a warning dialog.
    OpenDoor,
    /// Takes the filament out of a running print.
    RunOutOfFilament,
    /// Loads a filament at the screen.
    LoadFilament {
        /// Its name as shown by telemetry, `---` for none.
        material: String,
    },
    /// Resets the EEPROM: the job counter starts anew.
    ResetEeprom {
        /// The counter's new value.
        #[serde(default)]
        job_counter: u16,
    },
    /// Sets another password at the screen. Empty disables the login: every request gets 401.
    ChangePassword {
        /// The new password.
        password: Password,
    },
    /// Puts another spool into a slot of the AMS. Bambu only.
    ChangeTray {
        /// Slot from 0, or 254 for the external spool.
        tray: u8,
        /// `PLA`, `PETG`, ...; empty to take the spool out.
        material: String,
        /// RRGGBBAA.
        #[serde(default)]
        color: String,
    },
    /// Begins to load or unload filament at the screen: a start meanwhile is refused. Bambu only.
    ChangeFilament {
        /// How long it takes, in simulated time.
        seconds: u64,
    },
    /// Begins a firmware update, which ends with a reboot. Bambu only.
    UpdateFirmware {
        /// The new version.
        version: String,
        /// How long it takes, in simulated time.
        seconds: u64,
    },
    /// Switches Developer Mode: without it commands must be signed. Bambu only.
    SetDeveloperMode {
        /// On or off.
        enabled: bool,
    },
    /// Puts another machine in this one's place, under the same address.
    ReplaceDevice {
        /// The other machine's serial number.
        serial_number: String,
    },
}

/// A button in a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Go on with the print.
    Continue,
    /// Give the print up.
    Abort,
}

/// What a printer does with a cut-off print when power returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AfterPowerCut {
    /// Asks at the screen (ATTENTION) and keeps the job id.
    #[default]
    Ask,
    /// Goes on by itself after a short BUSY and keeps the job id.
    Resume,
    /// Forgets the print: IDLE, no job.
    Lose,
}

impl Action {
    /// Whether it starts a print if it succeeds, so that the print's incidents must be drawn first.
    pub(crate) fn starts_print(&self) -> bool {
        matches!(self, Self::PressPrint | Self::PrintFile { .. } | Self::PrintForeignFile { .. })
    }

    /// The action as the ledger may keep it: without the password.
    pub(crate) fn without_secret(&self) -> Self {
        match self {
            Self::ChangePassword { .. } => Self::ChangePassword { password: Password::new("(hidden)") },
            other => other.clone(),
        }
    }
}
