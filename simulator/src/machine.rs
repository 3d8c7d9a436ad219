//! What every kind of simulated printer offers to the simulator and its control API, independent of protocol.
//!
//! A new kind of printer is a sibling folder of `buddy` that implements [`Machine`].

use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{ActError, Action, CommandGuard, Fault, FaultKind, Password, PrintErrorCode, PrinterKind, Tray};

/// How to reach a simulated printer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrinterInfo {
    /// Unique name within the simulation.
    pub name: String,
    /// The protocol it speaks.
    pub kind: PrinterKind,
    /// `http://ADDRESS:PORT`, or `mqtts://` for a Bambu printer.
    pub url: String,
    /// The machine's serial number.
    pub serial_number: String,
    /// The user name: for digest, or for MQTT and FTPS.
    pub username: String,
    /// The password: also the `X-Api-Key`, or a Bambu printer's access code.
    pub password: Password,
    /// Model as slicers call it.
    pub model: String,
    /// What more it takes to reach a Bambu printer.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub bambu: Option<BambuInfo>,
}

/// How to reach a simulated Bambu printer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BambuInfo {
    /// Its address.
    pub host: String,
    /// Port of the MQTT broker.
    pub mqtt_port: u16,
    /// Port of the FTPS server.
    pub ftps_port: u16,
    /// The code on its screen.
    pub access_code: Password,
    /// Certificate of the authority that signed the printer's certificate, PEM.
    pub certificate_authority_pem: String,
    /// SHA-256 of the printer's public key (its DER SubjectPublicKeyInfo), lower-case hex.
    pub public_key_sha256: String,
}

/// What a Bambu printer shows and holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub struct BambuState {
    pub task_id: String,
    pub subtask_id: String,
    pub project_id: String,
    pub subtask_name: String,
    pub gcode_file: String,
    pub print_error: PrintErrorCode,
    /// Slots of the AMS.
    pub trays: Vec<Tray>,
    /// The external spool.
    pub external: Tray,
    /// MQTT clients that are logged in.
    pub clients: usize,
    /// MQTT clients that have logged in since the simulator began.
    pub logins: u64,
}

/// What a machine is really doing, beyond what the network shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrinterState {
    /// How to reach it.
    #[serde(flatten)]
    pub info: PrinterInfo,
    /// What the screen shows, for people: `printing`, `preview of part.gcode`, ...
    pub screen: String,
    /// The state the network shows, `None` while nothing answers.
    pub link_state: Option<String>,
    /// The job's id while the network shows a job.
    pub job_id: Option<u16>,
    /// The counter in the EEPROM: the id of the current or last job.
    pub last_job_id: u16,
    /// Long name of the file being printed or just ended.
    pub file_name: Option<String>,
    /// Progress of that print.
    pub progress_percent: Option<u8>,
    /// Whether something lies on the bed.
    pub bed_occupied: bool,
    /// Whether the machine has power.
    pub powered: bool,
    /// Whether a USB drive is plugged in.
    pub usb_inserted: bool,
    /// Long names of all files on the drive, with folders.
    pub files: Vec<String>,
    /// The faults set now.
    pub faults: Vec<Fault>,
    /// What only a Bambu printer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bambu: Option<BambuState>,
}

/// A simulated printer of any kind.
pub(crate) trait Machine: Send + Sync {
    /// How to reach it.
    fn info(&self) -> PrinterInfo;
    /// What it is really doing.
    fn state(&self) -> PrinterState;
    /// HTTP requests or messages read since the start, refused ones too.
    fn requests(&self) -> u64;
    /// Plays a person at the machine.
    fn person(&self, action: &Action) -> Result<(), ActError>;
    /// Whoever holds the commands of the clients that connect from now on; false where commands cannot be held.
    fn set_guard(&self, _guard: Arc<dyn CommandGuard>) -> bool {
        false
    }
    /// Adds a fault to those set.
    fn add_fault(&self, fault: Fault);
    /// Waits until the network side shows what was last done to the machine.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// Changes with each request, act, fault and step of the machine.
    fn changes(&self) -> watch::Receiver<u64>;
    /// Looks at the clock again, after it jumped.
    fn wake(&self);
    /// Whether this kind of printer can have such a fault.
    fn knows_fault(&self, kind: &FaultKind) -> bool;
    /// Replaces all faults; an empty list clears them.
    fn replace_faults(&self, faults: Vec<Fault>);
}
