//! What a simulation consists of: printers, time scale, timings, where control and ledger go. Also the JSON config file.
//!
//! Defaults make a farm of Core Ones on free loopback ports; every limit has the real firmware's value.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{BambuConfig, Fault, Password};

/// A whole simulation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Config {
    /// Simulated seconds per real second. 60 prints an hour's part in a minute.
    pub time_scale: f64,
    /// The address all printers listen on. Anything but loopback lets everybody in that network print.
    pub listen: Ipv4Addr,
    /// Where the control API listens: on loopback or on the printers' address; port 0 takes a free one.
    pub control: SocketAddr,
    /// Where the ledger is written as JSON lines, besides memory.
    pub ledger_file: Option<PathBuf>,
    /// The printers.
    pub printers: Vec<PrinterConfig>,
    /// Timeouts and limits of the printers' network side, in real time.
    pub network: NetworkTimings,
    /// How long the machines' own steps take, in simulated time.
    pub machine: MachineTimings,
}

/// The protocols that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PrinterKind {
    /// PrusaLink on Buddy firmware, as a Core One speaks it.
    #[default]
    PrusaLink,
    /// Bambu's LAN protocol: MQTT and FTPS, as an A1 speaks it.
    Bambu,
}

/// One printer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PrinterConfig {
    /// Unique name within the simulation, also the host name the printer shows.
    pub name: String,
    /// The protocol it speaks.
    pub kind: PrinterKind,
    /// Model as slicers call it, made from the kind if empty: `COREONE` (not shown by the protocol before firmware
    /// 6.5) or `A1`.
    pub model: String,
    /// Serial number; made from the name if empty.
    pub serial_number: String,
    /// PrusaLink password or Bambu access code; made from the name if absent, PrusaLink's login disabled if empty.
    pub password: Option<Password>,
    /// Port, of a Bambu printer's MQTT broker; 0 takes a free one.
    pub port: u16,
    /// Nozzle diameter shown, in millimeters.
    pub nozzle_diameter_millimeters: f64,
    /// PrusaLink: loaded material as shown by telemetry, `---` for none.
    pub material: String,
    /// PrusaLink: whether a multi-material unit is enabled.
    pub mmu: bool,
    /// PrusaLink: job counter in the EEPROM at the start: the id of the last job.
    pub job_counter: u16,
    /// Whether something lies on the bed at the start.
    pub bed_occupied: bool,
    /// Room on the USB drive or SD card. The files are kept in memory.
    pub usb_capacity_bytes: u64,
    /// Faults set from the start.
    pub faults: Vec<Fault>,
    /// What a Bambu printer is beyond that.
    pub bambu: BambuConfig,
}

/// Limits of the printer's HTTP server, in real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkTimings {
    /// How long a nonce stays valid.
    pub nonce_seconds: u32,
    /// When an idle kept-alive connection is closed.
    pub idle_milliseconds: u64,
    /// When a connection without traffic inside a request is given up (408).
    pub stall_milliseconds: u64,
    /// Connections served at the same time.
    pub connections: usize,
}

/// How long the machine's own steps take, in simulated milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MachineTimings {
    /// From an accepted start to the first movement; IDLE on the wire.
    pub starting_milliseconds: u64,
    /// Parking for a pause; PAUSED on the wire.
    pub pausing_milliseconds: u64,
    /// Going back to the part after a pause; PAUSED on the wire.
    pub resuming_milliseconds: u64,
    /// Parking after a stop; PRINTING on the wire.
    pub aborting_milliseconds: u64,
    /// Parking after the last layer; PRINTING on the wire.
    pub finishing_milliseconds: u64,
    /// Recovery after a power cut; BUSY on the wire.
    pub recovering_milliseconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            time_scale: 1.0,
            listen: Ipv4Addr::LOCALHOST,
            control: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ledger_file: None,
            printers: Vec::new(),
            network: NetworkTimings::default(),
            machine: MachineTimings::default(),
        }
    }
}

impl Config {
    /// `count` Core Ones named `prusa-1` and so on, on free ports.
    pub fn prusalink(count: usize) -> Self {
        Self {
            printers: (1..=count).map(|index| PrinterConfig::named(format!("prusa-{index}"))).collect(),
            ..Self::default()
        }
    }

    /// `count` A1 with AMS lite named `bambu-1` and so on, on free ports.
    pub fn bambu(count: usize) -> Self {
        Self {
            printers: (1..=count).map(|index| PrinterConfig::bambu(format!("bambu-{index}"))).collect(),
            ..Self::default()
        }
    }

    /// The same with another time scale.
    #[must_use]
    pub fn time_scale(mut self, scale: f64) -> Self {
        self.time_scale = scale;
        self
    }
}

impl Default for PrinterConfig {
    fn default() -> Self {
        Self {
            name: "prusa".to_owned(),
            kind: PrinterKind::PrusaLink,
            model: String::new(),
            serial_number: String::new(),
            password: None,
            port: 0,
            nozzle_diameter_millimeters: 0.4,
            material: "PLA".to_owned(),
            mmu: false,
            job_counter: 0,
            bed_occupied: false,
            usb_capacity_bytes: 256 * 1024 * 1024,
            faults: Vec::new(),
            bambu: BambuConfig::default(),
        }
    }
}

impl PrinterConfig {
    /// A Core One with this name and defaults for everything else.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// An A1 with this name and defaults for everything else.
    pub fn bambu(name: impl Into<String>) -> Self {
        Self { kind: PrinterKind::Bambu, ..Self::named(name) }
    }

    /// The model, made from the kind if none is set.
    pub(crate) fn effective_model(&self) -> String {
        match self.kind {
            _ if !self.model.is_empty() => self.model.clone(),
            PrinterKind::PrusaLink => "COREONE".to_owned(),
            PrinterKind::Bambu => "A1".to_owned(),
        }
    }

    /// The serial number, made from the name if none is set. A Bambu's has capital letters and digits only, 15 of them
    /// or more, and an A1's begins with 039.
    pub(crate) fn effective_serial_number(&self) -> String {
        let capitals = self.name.to_uppercase();
        match self.kind {
            _ if !self.serial_number.is_empty() => self.serial_number.clone(),
            PrinterKind::PrusaLink => format!("SIM-{capitals}"),
            PrinterKind::Bambu => {
                let name: String = capitals.chars().filter(char::is_ascii_alphanumeric).collect();
                format!("039{name:0>12}")
            }
        }
    }

    /// The password, made from the name if none is set. A Bambu's has eight digits.
    pub(crate) fn effective_password(&self) -> Password {
        let made = || match self.kind {
            PrinterKind::PrusaLink => format!("secret-of-{}", self.name),
            PrinterKind::Bambu => {
                let number = self.name.bytes().fold(7_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 90_000_000);
                (number + 10_000_000).to_string()
            }
        };
        self.password.clone().unwrap_or_else(|| Password::new(made()))
    }
}

impl Default for NetworkTimings {
    fn default() -> Self {
        Self { nonce_seconds: 300, idle_milliseconds: 60_000, stall_milliseconds: 10_000, connections: 3 }
    }
}

impl Default for MachineTimings {
    fn default() -> Self {
        Self {
            starting_milliseconds: 500,
            pausing_milliseconds: 3_000,
            resuming_milliseconds: 3_000,
            aborting_milliseconds: 5_000,
            finishing_milliseconds: 5_000,
            recovering_milliseconds: 5_000,
        }
    }
}
