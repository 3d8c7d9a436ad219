//! What a simulated Bambu printer is beyond the fields all printers have. Part of the JSON configuration.
//!
//! Defaults make an A1 in LAN mode with Developer Mode on and a full AMS lite.

use serde::{Deserialize, Serialize};

use super::faults::RefusalForm;

/// The fields under `bambu` in a printer's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BambuConfig {
    /// Loopback port of the FTPS server, 0 takes a free one. The printer's `port` is the MQTT broker's.
    pub ftps_port: u16,
    /// Version of the module `ota`.
    pub firmware: String,
    /// Whether commands need no signature.
    pub developer_mode: bool,
    /// How commands are refused without Developer Mode.
    pub refusal: RefusalForm,
    /// Whether reports have the field `fun`, whose bit 29 says that signatures are required. Older protocols lack it.
    pub shows_fun: bool,
    /// Slots of the AMS lite; no AMS if empty.
    pub trays: Vec<Tray>,
    /// The external spool.
    pub external: Tray,
    /// MQTT clients connected at the same time; more are dropped.
    pub clients: usize,
    /// How often a report is sent, in real time.
    pub report_milliseconds: u64,
    /// Whether the array of trays is also sent in partial reports. An A1 sends it in full ones only.
    pub trays_in_partial_reports: bool,
    /// Whether acknowledgements repeat the field `command`. An A1's do not.
    pub acknowledges_command: bool,
    /// How long the machine's own steps take.
    pub timings: BambuTimings,
}

/// One slot of an AMS, or the external spool. In JSON: `{"material": "PLA", "color": "FFFFFFFF"}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Tray {
    /// `PLA`, `PETG`, ...; empty for an empty slot.
    pub material: String,
    /// RRGGBBAA.
    pub color: String,
}

/// Steps of the machine, in simulated milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BambuTimings {
    /// From a start command to the change of state.
    pub accepting_milliseconds: u64,
    /// Heating, homing and levelling; PREPARE on the wire.
    pub preparing_milliseconds: u64,
    /// From a pause or resume to its state.
    pub pausing_milliseconds: u64,
    /// Parking after a stop, with the error 0300_400C shown.
    pub stopping_milliseconds: u64,
    /// The end gcode after the last layer; RUNNING on the wire.
    pub finishing_milliseconds: u64,
    /// From power to the first connection that finds the machine ready to go on.
    pub recovering_milliseconds: u64,
}

impl Tray {
    /// A loaded slot.
    pub fn loaded(material: &str, color: &str) -> Self {
        Self { material: material.to_owned(), color: color.to_owned() }
    }

    /// Whether there is no filament.
    pub fn is_empty(&self) -> bool {
        self.material.is_empty()
    }
}

impl BambuTimings {
    /// Every step at once; prints still take their time.
    pub const fn instant() -> Self {
        Self {
            accepting_milliseconds: 0,
            preparing_milliseconds: 0,
            pausing_milliseconds: 0,
            stopping_milliseconds: 0,
            finishing_milliseconds: 0,
            recovering_milliseconds: 0,
        }
    }
}

impl Default for BambuTimings {
    fn default() -> Self {
        Self {
            accepting_milliseconds: 1_000,
            preparing_milliseconds: 20_000,
            pausing_milliseconds: 1_000,
            stopping_milliseconds: 2_000,
            finishing_milliseconds: 10_000,
            recovering_milliseconds: 5_000,
        }
    }
}

impl Default for BambuConfig {
    fn default() -> Self {
        Self {
            ftps_port: 0,
            firmware: "01.05.00.00".to_owned(),
            developer_mode: true,
            refusal: RefusalForm::default(),
            shows_fun: false,
            trays: vec![
                Tray::loaded("PLA", "FFFFFFFF"),
                Tray::loaded("PLA", "000000FF"),
                Tray::loaded("PETG", "FF6A13FF"),
                Tray::default(),
            ],
            external: Tray::loaded("PLA", "898989FF"),
            clients: 4,
            report_milliseconds: 1_000,
            trays_in_partial_reports: false,
            acknowledges_command: false,
            timings: BambuTimings::default(),
        }
    }
}
