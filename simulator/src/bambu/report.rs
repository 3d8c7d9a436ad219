//! Reports as the printer sends them: full ones, and partial ones with what changed since the last.
//!
//! Full and partial both say `push_status`; `msg` tells them apart (0 full, 1 partial). Objects are sent by changed key,
//! arrays whole. On an A1 a partial report never has the array of AMS units, only the AMS object's plain fields.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::firmware::{Firmware, Phase};
use crate::Tray;

/// What an A1 repeats of the AMS in partial reports.
const AMS_PLAIN_FIELDS: [&str; 4] = ["tray_now", "tray_pre", "tray_tar", "version"];
/// Stands where bytes that are no UTF-8 go.
const BAD_BYTES_MARK: &[u8] = b"~~~~";

/// How reports are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) numbers_as_strings: bool,
    pub(crate) invalid_utf8: bool,
    pub(crate) least_bytes: usize,
}

/// What was reported last, and the counter of reports.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    last: Map<String, Value>,
    sequence: u32,
    /// A client asked to stop the stream.
    pub(crate) stopped: bool,
}

impl Reporter {
    /// The printer was switched on: it forgets what it told.
    pub(crate) fn reboot(&mut self, firmware: &Firmware, now: Duration) {
        *self = Self { last: fields(firmware, now), sequence: 0, stopped: false };
    }

    /// A full report.
    pub(crate) fn full(&mut self, firmware: &Firmware, now: Duration, style: Style) -> Vec<u8> {
        self.last = fields(firmware, now);
        let mut report = self.last.clone();
        report.insert("command".to_owned(), json!("push_status"));
        report.insert("msg".to_owned(), json!(0));
        self.finish(report, style)
    }

    /// A partial report. `None` if nothing but noise changed and `regular` is not set.
    pub(crate) fn partial(
        &mut self,
        firmware: &Firmware,
        now: Duration,
        style: Style,
        regular: bool,
    ) -> Option<Vec<u8>> {
        let current = fields(firmware, now);
        let mut report = difference(&self.last, &current);
        if !firmware.config().trays_in_partial_reports
            && let Some(Value::Object(ams)) = report.get_mut("ams")
        {
            ams.remove("ams");
            for field in AMS_PLAIN_FIELDS {
                if let Some(value) = current["ams"].get(field) {
                    ams.insert(field.to_owned(), value.clone());
                }
            }
        }
        if report.is_empty() && !regular {
            return None;
        }
        self.last = current;
        let noise = 40 + self.sequence % 7;
        report.insert("wifi_signal".to_owned(), json!(format!("-{noise}dBm")));
        report.insert("command".to_owned(), json!("push_status"));
        report.insert("msg".to_owned(), json!(1));
        Some(self.finish(report, Style { least_bytes: 0, ..style }))
    }

    fn finish(&mut self, mut report: Map<String, Value>, style: Style) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        report.insert("sequence_id".to_owned(), json!(self.sequence.to_string()));
        if style.numbers_as_strings {
            swap_numbers(&mut report);
        }
        if style.invalid_utf8 {
            report.insert("net".to_owned(), json!({ "conf": 16, "note": "~~~~" }));
        }
        let mut bytes = json!({ "print": report }).to_string().into_bytes();
        if bytes.len() < style.least_bytes {
            let padding = "0".repeat(style.least_bytes - bytes.len());
            report.insert("filam_bak_log".to_owned(), json!(padding));
            bytes = json!({ "print": report }).to_string().into_bytes();
        }
        if style.invalid_utf8
            && let Some(at) = bytes.windows(BAD_BYTES_MARK.len()).position(|window| window == BAD_BYTES_MARK)
        {
            bytes[at..at + BAD_BYTES_MARK.len()].copy_from_slice(&[0xff, 0xfe, 0xc3, 0x28]);
        }
        bytes
    }
}

/// All fields of `print`, without the envelope's.
fn fields(firmware: &Firmware, now: Duration) -> Map<String, Value> {
    let phase = firmware.phase();
    let shown = firmware.shown();
    let active = phase.is_active();
    let print = phase.print().filter(|_| active || matches!(phase, Phase::Ended { .. }));
    let percent = match phase {
        Phase::Ended { failed: false, .. } | Phase::Finishing { .. } => 100,
        _ => print.map_or(0, |print| print.percent_at(firmware.printed(now))),
    };
    let left =
        print.filter(|_| active).map_or(0, |print| print.duration.saturating_sub(firmware.printed(now)).as_secs());
    let layers = print.map_or(0, |print| print.layers);
    let hot = active && !matches!(phase, Phase::Paused { .. });
    let stage = match phase {
        Phase::Preparing { .. } => 2,
        Phase::Paused { why, .. } => why.stage(),
        _ if active => 0,
        _ if firmware.changes_filament() => 24,
        // Idle is 255 on P1 and A1.
        _ => 255,
    };
    let hms: Vec<Value> = firmware.hms().iter().map(|(attr, code)| json!({ "attr": attr, "code": code })).collect();
    let error = firmware.print_error();
    let job = json!({
        "gcode_state": phase.gcode_state().unwrap_or("IDLE"),
        "mc_percent": percent,
        // Minutes.
        "mc_remaining_time": left.div_ceil(60),
        "layer_num": u64::from(layers) * u64::from(percent) / 100,
        "total_layer_num": layers,
        "gcode_file": shown.gcode_file,
        "gcode_file_prepare_percent": if active { "100" } else { "0" },
        "gcode_start_time": "0",
        "subtask_name": shown.subtask_name,
        "subtask_id": shown.subtask_id,
        "task_id": shown.task_id,
        "project_id": shown.project_id,
        "profile_id": "0",
        "print_type": if active { "local" } else { "idle" },
        "mc_print_stage": if active { "2" } else { "1" },
        "stg_cur": stage,
    });
    let trouble = json!({
        "print_error": error,
        "mc_print_error_code": (error & 0xffff).to_string(),
        "fail_reason": "0",
        "hms": hms,
        "home_flag": home_flag(firmware),
        "sdcard": firmware.card.inserted,
        "ams": ams(firmware),
        "vt_tray": tray(254, firmware.external(), true),
        "ams_status": if firmware.changes_filament() { 0x0102 } else { 0 },
        "ams_rfid_status": 0,
        "upgrade_state": upgrade_state(firmware),
    });
    let speed = [50, 100, 124, 166][usize::from(firmware.speed_level().clamp(1, 4) - 1)];
    let machine = json!({
        "nozzle_temper": if hot { 220.0 } else { 24.5 },
        "nozzle_target_temper": if hot { 220.0 } else { 0.0 },
        "bed_temper": if active { 65.0 } else { 23.0 },
        "bed_target_temper": if active { 65.0 } else { 0.0 },
        "chamber_temper": 5.0,
        "cooling_fan_speed": if hot { "15" } else { "0" },
        "heatbreak_fan_speed": if hot { "15" } else { "0" },
        "nozzle_diameter": firmware.nozzle_diameter(),
        "nozzle_type": "stainless_steel",
        "spd_lvl": firmware.speed_level(),
        "spd_mag": speed,
        "lights_report": [{ "node": "chamber_light", "mode": if firmware.light_on() { "on" } else { "off" } }],
    });
    let constants = json!({
        "big_fan1_speed": "0",
        "big_fan2_speed": "0",
        "stg": [],
        "mc_print_sub_stage": 0,
        "online": { "ahb": false, "rfid": false, "version": 1 },
        "ipcam": { "ipcam_dev": "1", "ipcam_record": "enable", "timelapse": "disable", "resolution": "1080p" },
        "s_obj": [],
        "queue_number": 0,
        "lifecycle": "product",
        "force_upgrade": false,
    });
    let mut fields = Map::new();
    for part in [job, trouble, machine, constants] {
        if let Value::Object(part) = part {
            fields.extend(part);
        }
    }
    if firmware.config().shows_fun {
        // Bit 29 says that commands must be signed.
        let developer_mode = firmware.config().developer_mode;
        fields.insert("fun".to_owned(), json!(if developer_mode { "3EC18FFF9CFF" } else { "3EC1AFFF9CFF" }));
    }
    fields
}

fn upgrade_state(firmware: &Firmware) -> Value {
    let updating = firmware.is_updating();
    json!({
        "status": if updating { "FLASHING" } else { "IDLE" },
        "progress": if updating { "30" } else { "0" },
        "dis_state": i32::from(updating),
        "err_code": 0,
        "force_upgrade": false,
        "new_version_state": 2,
        "new_ver_list": [],
    })
}

/// Bits 0 to 2: axes homed; 8 and 9: card (0 none, 1 normal, 2 abnormal, 3 read-only); 11: keeps sent files.
fn home_flag(firmware: &Firmware) -> i32 {
    let conditions = firmware.conditions();
    let card = match () {
        () if !firmware.card.inserted => 0,
        () if conditions.card_abnormal => 2,
        () if conditions.card_read_only => 3,
        () => 1,
    };
    7 | card << 8 | 1 << 11
}

fn ams(firmware: &Firmware) -> Value {
    let trays = firmware.trays();
    if trays.is_empty() {
        return json!({ "ams": [], "ams_exist_bits": "0", "tray_exist_bits": "0", "tray_now": "255", "version": 1 });
    }
    let bits =
        trays.iter().enumerate().filter(|(_, tray)| !tray.is_empty()).fold(0_u32, |bits, (slot, _)| bits | 1 << slot);
    let slots: Vec<Value> = trays.iter().enumerate().map(|(slot, loaded)| tray(slot, loaded, false)).collect();
    let now = firmware.tray_now().to_string();
    json!({
        "ams": [{ "id": "0", "humidity": "5", "temp": "0.0", "tray": slots }],
        "ams_exist_bits": "1",
        "tray_exist_bits": format!("{bits:x}"),
        "tray_is_bbl_bits": "0",
        "tray_read_done_bits": format!("{bits:x}"),
        "tray_reading_bits": "0",
        "tray_now": now,
        "tray_pre": now,
        "tray_tar": now,
        "version": firmware.ams_version(),
        "insert_flag": false,
        "power_on_flag": false,
    })
}

/// An empty slot of an AMS has nothing but its id.
fn tray(id: usize, tray: &Tray, external: bool) -> Value {
    if tray.is_empty() && !external {
        return json!({ "id": id.to_string() });
    }
    json!({
        "id": id.to_string(),
        "tag_uid": "0000000000000000",
        "tray_id_name": "",
        "tray_info_idx": info_index(&tray.material),
        "tray_type": tray.material,
        "tray_sub_brands": "",
        "tray_color": if tray.color.is_empty() { "00000000" } else { tray.color.as_str() },
        "tray_weight": "0",
        "tray_diameter": "0.00",
        "bed_temp": "0",
        "nozzle_temp_max": "240",
        "nozzle_temp_min": "190",
        "remain": -1,
        "tray_uuid": "00000000000000000000000000000000",
        "cols": [tray.color],
        "ctype": 0,
        "k": 0.02,
        "n": 1,
    })
}

/// The generic profile of a material.
fn info_index(material: &str) -> &'static str {
    match material {
        "" => "",
        "PETG" => "GFG99",
        "ABS" => "GFB99",
        "ASA" => "GFB98",
        "TPU" => "GFU99",
        _ => "GFL99",
    }
}

fn difference(before: &Map<String, Value>, now: &Map<String, Value>) -> Map<String, Value> {
    let mut changed = Map::new();
    for (key, value) in now {
        match (before.get(key), value) {
            (Some(old), value) if old == value => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                changed.insert(key.clone(), Value::Object(difference(old, new)));
            }
            _ => {
                changed.insert(key.clone(), value.clone());
            }
        }
    }
    changed
}

fn swap_numbers(report: &mut Map<String, Value>) {
    for field in
        ["mc_percent", "mc_remaining_time", "layer_num", "total_layer_num", "print_error", "stg_cur", "spd_lvl"]
    {
        if let Some(value) = report.get_mut(field) {
            *value = Value::String(value.to_string());
        }
    }
    for field in ["subtask_id", "task_id", "project_id"] {
        if let Some(value) = report.get_mut(field)
            && let Some(number) = value.as_str().and_then(|text| text.parse::<i64>().ok())
        {
            *value = json!(number);
        }
    }
}
