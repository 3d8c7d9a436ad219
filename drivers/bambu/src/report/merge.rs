//! The state of a printer, put together from full and partial reports. A full report replaces everything; a partial
//! one changes what it names. Objects merge by key, arrays are replaced whole, AMS units and trays merge by number.
//! Answers to commands never come here: they may repeat every parameter of the command. Facts: OpenBambuAPI mqtt.md.

use serde_json::{Map, Value};

use super::filament::{self, Ams};
use super::lenient::{bits32, boolean, hexadecimal, identity, number, small, word};
use super::{CANCELLED_CODES, Hms, Ids, Report, Storage, Tray, Upgrade};

/// The most entries of the health management system kept.
const HMS_MAX: usize = 64;
/// `fun`: commands must be signed.
const SIGNATURE_REQUIRED_BIT: u64 = 0x2000_0000;

/// What the reports of one connection amount to.
#[derive(Debug, Default)]
pub(crate) struct State {
    fields: Fields,
    /// Bits about the card, from the last full report.
    storage: Option<Storage>,
    latched_error: Option<u32>,
    was_active: bool,
}

/// Everything that a report can set, in the printer's terms.
#[derive(Debug, Default)]
struct Fields {
    state: super::State,
    ids: Ids,
    subtask_name: Option<String>,
    gcode_file: Option<String>,
    print_error: Option<u32>,
    hms: Vec<Hms>,
    percent: Option<u8>,
    remaining_minutes: Option<u32>,
    layer: Option<u32>,
    total_layers: Option<u32>,
    stage: Option<i32>,
    nozzle_diameter_millimeters: Option<f64>,
    nozzle_type: Option<String>,
    ams: Ams,
    vt_tray: Vec<Tray>,
    vir_slot: Vec<Tray>,
    filament_change: Option<bool>,
    home_flag: Option<u32>,
    sdcard: Option<bool>,
    aux: Option<u64>,
    fun: Option<u64>,
    upgrade_status: Option<String>,
}

impl State {
    /// Takes over one report: the members of its `print` object. Gives whether something has changed, on a printer that
    /// does not print, of which a partial report tells only a part: what is in a tray, or whether there is a card.
    pub(crate) fn merge(&mut self, print: &Map<String, Value>, full: bool) -> bool {
        let before = (self.fields.ids.clone(), self.fields.subtask_name.clone());
        let (ams, sdcard) = (self.fields.ams.clone(), self.fields.sdcard);
        if full {
            self.fields = Fields::default();
        }
        for (key, value) in print {
            self.fields.set(key, value);
        }
        if full {
            self.storage = self.fields.storage();
        }
        self.latch(before != (self.fields.ids.clone(), self.fields.subtask_name.clone()));
        let changed = self.fields.ams.has_changed_since(&ams) || self.fields.sdcard != sdcard;
        !full && changed && !self.fields.state.is_active()
    }

    /// Keeps the error of a print that the printer withdraws. Cancelling shows its code for about two seconds, then
    /// the state is FAILED without one, as after a failure.
    fn latch(&mut self, other_print: bool) {
        let active = self.fields.state.is_active();
        if other_print || (active && !self.was_active) {
            self.latched_error = None;
        }
        self.was_active = active;
        let cancelled = |error: &u32| CANCELLED_CODES.contains(error);
        match self.fields.print_error {
            Some(0) | None => {
                // It goes on without the error: a pause was resumed, a warning has gone.
                if active && !self.latched_error.as_ref().is_some_and(cancelled) {
                    self.latched_error = None;
                }
            }
            Some(error) => {
                if cancelled(&error) || !self.latched_error.as_ref().is_some_and(cancelled) {
                    self.latched_error = Some(error);
                }
            }
        }
    }

    /// What the printer has said until now.
    pub(crate) fn report(&self) -> Report {
        let fields = &self.fields;
        let active = fields.state.is_active();
        let external = if fields.vir_slot.is_empty() { &fields.vt_tray } else { &fields.vir_slot };
        let idle_words = ["IDLE", "UPGRADE_SUCCESS", "UPGRADE_FAIL"];
        let is_idle = |status: &String| idle_words.iter().any(|word| status.eq_ignore_ascii_case(word));
        Report {
            state: fields.state.clone(),
            ids: fields.ids.clone(),
            subtask_name: fields.subtask_name.clone(),
            gcode_file: fields.gcode_file.clone(),
            print_error: fields.print_error,
            latched_error: self.latched_error,
            hms: fields.hms.clone(),
            percent: fields.percent.filter(|percent| *percent <= 100),
            remaining_minutes: fields.remaining_minutes,
            layer: fields.layer,
            total_layers: fields.total_layers.filter(|layers| *layers > 0),
            stage: fields.stage.filter(|_| active),
            nozzle_diameter_millimeters: fields.nozzle_diameter_millimeters.filter(|d| *d > 0.0),
            nozzle_type: fields.nozzle_type.clone(),
            ams: fields.ams.clone(),
            external: external.clone(),
            filament_change: fields.filament_change,
            storage: self.storage,
            signature_required: fields.fun.map(|bits| bits & SIGNATURE_REQUIRED_BIT != 0),
            upgrade: Upgrade {
                is_going_on: fields.upgrade_status.as_ref().is_some_and(|status| !is_idle(status)),
                status: fields.upgrade_status.clone(),
            },
        }
    }
}

impl Fields {
    fn set(&mut self, key: &str, value: &Value) {
        match key {
            "gcode_state" => self.state = word(value).map_or(super::State::Unknown, |word| super::State::read(&word)),
            "task_id" => self.ids.task = identity(value),
            "subtask_id" => self.ids.subtask = identity(value),
            "project_id" => self.ids.project = identity(value),
            "subtask_name" => self.subtask_name = word(value),
            "gcode_file" => self.gcode_file = word(value),
            "print_error" => self.print_error = bits32(value),
            "hms" => self.hms = hms(value),
            "mc_percent" => self.percent = small(value),
            "mc_remaining_time" => self.remaining_minutes = small(value),
            "layer_num" => self.layer = small(value),
            "total_layer_num" => self.total_layers = small(value),
            "stg_cur" => self.stage = small(value),
            "nozzle_diameter" => self.nozzle_diameter_millimeters = number(value),
            "nozzle_type" => self.nozzle_type = word(value),
            "ams" => {
                if let Some(ams) = value.as_object() {
                    self.ams.merge(ams);
                }
            }
            "vt_tray" => self.vt_tray = filament::external(value),
            "vir_slot" => self.vir_slot = filament::external(value),
            "ams_status" => self.filament_change = filament::changes(value),
            "home_flag" => self.home_flag = bits32(value),
            "sdcard" => self.sdcard = boolean(value),
            "aux" => self.aux = hexadecimal(value),
            "fun" => self.fun = hexadecimal(value),
            "upgrade_state" => {
                if let Some(status) = value.get("status") {
                    self.upgrade_status = word(status);
                }
            }
            _ => {}
        }
    }

    /// Bits 8 and 9 of `home_flag`, bits 12 and 13 of `aux` on newer models; a contradiction is unknown.
    fn storage(&self) -> Option<Storage> {
        let bits = match (self.home_flag, self.aux) {
            (Some(flag), _) => u64::from(flag >> 8),
            (None, Some(aux)) => aux >> 12,
            (None, None) => {
                return self.sdcard.map(|there| if there { Storage::Normal } else { Storage::Missing });
            }
        };
        match (bits & 3, self.sdcard) {
            (0, Some(true)) | (1 | 3, Some(false)) => None,
            (0, _) => Some(Storage::Missing),
            (1, _) => Some(Storage::Normal),
            (2, _) => Some(Storage::Abnormal),
            _ => Some(Storage::ReadOnly),
        }
    }
}

fn hms(value: &Value) -> Vec<Hms> {
    let read =
        |entry: &Value| Some(Hms { attr: bits32(entry.get("attr")?)?, code: entry.get("code").and_then(bits32)? });
    value.as_array().map_or(&[][..], Vec::as_slice).iter().take(HMS_MAX).filter_map(read).collect()
}
