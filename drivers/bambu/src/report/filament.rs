//! Filament as a printer reports it: AMS units with their trays, and external spools. On A1 the list of units comes in
//! full reports only. Other models also send parts of it in partial ones: units without trays, single trays, single
//! fields of a tray. So a partial report changes what it names, down to the field; a full one replaces everything. The
//! bits that say which trays hold something come more often and count for more. It guesses no material. Facts:
//! OpenBambuAPI mqtt.md; ha-bambulab pybambu/models.py and pull request 1857; BambuStudio StatusPanel.cpp (update_ams).

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
    /// What changes with the trays.
    marks: Marks,
}

/// The numbers from which slicers conclude that something has changed in the trays.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Marks {
    /// Which trays hold something: bit unit * 4 + tray.
    tray_exists: Option<u64>,
    /// Which units there are.
    unit_exists: Option<u64>,
    /// Which spools have a tag of the maker.
    is_bambu: Option<u64>,
    /// Which spools' tags were read.
    read: Option<u64>,
    /// A counter.
    version: Option<i64>,
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
    /// Filament on a full spool of this kind, in grams; only for spools with a tag.
    pub spool_grams: Option<u16>,
}

impl Ams {
    /// Takes over what an `ams` object says.
    pub(super) fn merge(&mut self, ams: &Map<String, Value>) {
        // The bits of the same report count for more than its list, those of an earlier one for less.
        if let Some(list) = ams.get("ams") {
            self.take_units(list);
        }
        for (key, value) in ams {
            match key.as_str() {
                "tray_now" => self.active_tray = small(value),
                "tray_exist_bits" => {
                    self.marks.tray_exists = hexadecimal(value);
                    self.settle();
                }
                "ams_exist_bits" => self.marks.unit_exists = hexadecimal(value),
                "tray_is_bbl_bits" => self.marks.is_bambu = hexadecimal(value),
                "tray_read_done_bits" => self.marks.read = hexadecimal(value),
                "version" => self.marks.version = integer(value),
                _ => {}
            }
        }
    }

    fn take_units(&mut self, list: &Value) {
        for unit in objects(list, UNITS_MAX) {
            let Some(id) = unit.get("id").and_then(small) else { continue };
            let Some(known) =
                entry(&mut self.units, UNITS_MAX, |u| u.id == id, || AmsUnit { id, ..AmsUnit::default() })
            else {
                continue;
            };
            for tray in unit.get("tray").into_iter().flat_map(|list| objects(list, TRAYS_MAX)) {
                let Some(id) = tray.get("id").and_then(small) else { continue };
                if let Some(known) =
                    entry(&mut known.trays, TRAYS_MAX, |t| t.id == id, || Tray { id, ..Tray::default() })
                {
                    known.merge(tray);
                }
            }
        }
    }

    /// The bits say of each tray whether it holds something.
    fn settle(&mut self) {
        let Some(bits) = self.marks.tray_exists else { return };
        for unit in self.units.iter_mut().filter(|unit| unit.id < FIRST_HT_ID) {
            for tray in &mut unit.trays {
                let bit = u32::from(unit.id) * 4 + u32::from(tray.id);
                if bit < u64::BITS {
                    tray.loaded = Some(bits >> bit & 1 == 1);
                }
            }
        }
    }

    /// Whether this is so different from what was known before that only a full report tells the whole of it.
    pub(super) fn has_changed_since(&self, before: &Self) -> bool {
        let filament = |ams: &Self| -> Vec<_> {
            let trays = ams.units.iter().flat_map(|unit| unit.trays.iter().map(move |tray| (unit.id, tray)));
            trays.map(|(unit, t)| (unit, t.id, t.loaded, t.material.clone(), t.color_rgba.clone())).collect()
        };
        self.marks != before.marks || filament(self) != filament(before)
    }

    /// The tray with this unit and number.
    pub fn tray(&self, unit: u16, tray: u16) -> Option<&Tray> {
        self.units.iter().find(|u| u.id == unit)?.trays.iter().find(|t| t.id == tray)
    }
}

/// The objects of a list.
fn objects(list: &Value, most: usize) -> impl Iterator<Item = &Map<String, Value>> {
    list.as_array().map_or(&[][..], Vec::as_slice).iter().take(most).filter_map(Value::as_object)
}

/// The one of a list that fits, or a new one at its end; none if the list is full.
fn entry<T>(list: &mut Vec<T>, most: usize, fits: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> Option<&mut T> {
    let at = list.iter().position(fits).unwrap_or(list.len());
    if at == list.len() && at < most {
        list.push(new());
    }
    list.get_mut(at)
}

/// External spools: `vt_tray` is one, `vir_slot` a list.
pub(super) fn external(value: &Value) -> Vec<Tray> {
    match value {
        Value::Array(list) => list.iter().take(TRAYS_MAX).filter_map(external_spool).collect(),
        tray => external_spool(tray).into_iter().collect(),
    }
}

/// A spool of which the printer cannot tell whether it is there.
fn external_spool(tray: &Value) -> Option<Tray> {
    let tray = tray.as_object()?;
    let mut spool = Tray { id: tray.get("id").and_then(small)?, ..Tray::default() };
    spool.merge(tray);
    Some(Tray { loaded: None, ..spool })
}

impl Tray {
    /// Takes over what is said of this tray.
    fn merge(&mut self, tray: &Map<String, Value>) {
        let state = tray.get("state").and_then(integer);
        // Nothing but number and state is how an empty tray is told, unless the state says otherwise.
        let holds = matches!(state, Some(10 | 11));
        if state == Some(9) || (!holds && tray.keys().all(|key| key == "id" || key == "state")) {
            *self = Self { id: self.id, loaded: Some(false), ..Self::default() };
            return;
        }
        if holds {
            self.loaded = Some(true);
        }
        if let Some(material) = tray.get("tray_type") {
            self.material = word(material);
            self.loaded = if self.material.is_some() { Some(true) } else { self.loaded };
        }
        if let Some(color) = tray.get("tray_color") {
            let is_color = |color: &String| color.len() == 8 && color.bytes().all(|b| b.is_ascii_hexdigit());
            self.color_rgba = text(color).filter(is_color);
        }
        if let Some(remain) = tray.get("remain") {
            self.remaining_percent = percent(remain);
        }
        if let Some(weight) = tray.get("tray_weight") {
            self.spool_grams = small(weight).filter(|grams| *grams > 0);
        }
    }
}

fn percent(value: &Value) -> Option<u8> {
    let value = number(value).filter(|n| (0.0..=100.0).contains(n))?;
    small(&Value::from(value.round()))
}

/// Whether a filament is being changed: the upper byte of `ams_status` is 1.
pub(super) fn changes(ams_status: &Value) -> Option<bool> {
    small::<u16>(ams_status).map(|status| status >> 8 == 1)
}
