//! Filament as a printer reports it: AMS units with their trays, and external spools. The list of units comes in full
//! reports only on some models, so a partial report without it leaves it as it was; the bits that say which trays hold
//! something come more often and count for more. It guesses no material. Facts: OpenBambuAPI mqtt.md; ha-bambulab
//! pybambu/models.py (tray_exist_bits, a tray with only an id is empty).

use serde_json::{Map, Value};

use super::lenient::{hexadecimal, integer, number, small, text, word};

/// The most AMS units and trays kept; the largest printer takes 4 units of 4 trays and 8 of one.
const UNITS_MAX: usize = 16;
const TRAYS_MAX: usize = 8;
/// The first id of an AMS HT, which has one tray.
const FIRST_HT_ID: u16 = 128;

/// The AMS units of a printer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ams {
    /// Units, in the printer's order. Empty where there are none, or before a full report.
    pub units: Vec<AmsUnit>,
    /// The tray in use: unit * 4 + tray, the id of an AMS HT (128 and up), 254 the external spool, 255 none.
    pub active_tray: Option<u16>,
    /// Which trays hold something: bit unit * 4 + tray.
    tray_exists: Option<u64>,
}

/// One AMS unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AmsUnit {
    /// 0 to 3, or 128 and up for an AMS HT.
    pub id: u16,
    /// Trays, in the printer's order.
    pub trays: Vec<Tray>,
}

/// One tray of an AMS, or an external spool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tray {
    /// 0 to 3 in an AMS; 254 or 255 for an external spool.
    pub id: u16,
    /// Whether filament is in it; `None` where the printer cannot tell, as with external spools.
    pub loaded: Option<bool>,
    /// Material as slicers write it, for example `PLA`.
    pub material: Option<String>,
    /// Color as 8 hexadecimal digits, red green blue alpha.
    pub color_rgba: Option<String>,
    /// Filament left in percent; only for spools with a tag.
    pub remaining_percent: Option<u8>,
}

impl Ams {
    /// Takes over what an `ams` object says.
    pub(super) fn merge(&mut self, ams: &Map<String, Value>) {
        for (key, value) in ams {
            match key.as_str() {
                "ams" => self.units = units(value),
                "tray_now" => self.active_tray = small(value),
                "tray_exist_bits" => self.tray_exists = hexadecimal(value),
                _ => {}
            }
        }
    }

    /// With what is known about each tray by now.
    pub(super) fn settled(&self) -> Self {
        let mut ams = self.clone();
        for unit in &mut ams.units {
            for tray in &mut unit.trays {
                let bit = (unit.id < FIRST_HT_ID).then(|| u32::from(unit.id) * 4 + u32::from(tray.id));
                if let (Some(bits), Some(bit)) = (self.tray_exists, bit.filter(|bit| *bit < u64::BITS)) {
                    tray.loaded = Some(bits >> bit & 1 == 1);
                }
            }
        }
        ams
    }

    /// The tray with this unit and number.
    pub fn tray(&self, unit: u16, tray: u16) -> Option<&Tray> {
        self.units.iter().find(|u| u.id == unit)?.trays.iter().find(|t| t.id == tray)
    }
}

fn units(value: &Value) -> Vec<AmsUnit> {
    let read = |unit: &Value| {
        let unit = unit.as_object()?;
        let trays = unit.get("tray").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Some(AmsUnit {
            id: unit.get("id").and_then(small)?,
            trays: trays.iter().take(TRAYS_MAX).filter_map(|tray| read_tray(tray, true)).collect(),
        })
    };
    value.as_array().map_or(&[][..], Vec::as_slice).iter().take(UNITS_MAX).filter_map(read).collect()
}

/// External spools: `vt_tray` is one, `vir_slot` a list.
pub(super) fn external(value: &Value) -> Vec<Tray> {
    match value {
        Value::Array(list) => list.iter().take(TRAYS_MAX).filter_map(|tray| read_tray(tray, false)).collect(),
        tray => read_tray(tray, false).into_iter().collect(),
    }
}

fn read_tray(tray: &Value, can_tell: bool) -> Option<Tray> {
    let tray = tray.as_object()?;
    let get = |key: &str| tray.get(key);
    let state = get("state").and_then(integer);
    let material = get("tray_type").and_then(word);
    let loaded = if !can_tell {
        None
    } else if tray.len() == 1 || state == Some(9) {
        Some(false)
    } else if material.is_some() || matches!(state, Some(10 | 11)) {
        Some(true)
    } else {
        None
    };
    let is_color = |color: &String| color.len() == 8 && color.bytes().all(|b| b.is_ascii_hexdigit());
    Some(Tray {
        id: get("id").and_then(small)?,
        loaded,
        material,
        color_rgba: get("tray_color").and_then(text).filter(is_color),
        remaining_percent: get("remain").and_then(percent),
    })
}

fn percent(value: &Value) -> Option<u8> {
    let value = number(value).filter(|n| (0.0..=100.0).contains(n))?;
    small(&Value::from(value.round()))
}

/// Whether a filament is being changed: the upper byte of `ams_status` is 1.
pub(super) fn changes(ams_status: &Value) -> Option<bool> {
    small::<u16>(ams_status).map(|status| status >> 8 == 1)
}
