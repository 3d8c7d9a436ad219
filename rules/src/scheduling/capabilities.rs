//! What a printer offers: model, nozzle, plate, build volume and filament, from its spec and from what the device says.
//!
//! The device's word wins over the spec's. What neither says stays unknown, and what is unknown does not match.
//! Build volumes are those the makers publish for the models; only sure ones are listed.

use std::borrow::Cow;
use std::collections::HashMap;

use printernizer_crds::Printer;
use printernizer_crds::printer::{BuildVolume, SlotSource, SlotStatus};
use printernizer_printfile::models;

use super::color::Color;
use super::slots::{normalized_material, same_material, slots};
use crate::device::{DeviceReport, DeviceSlot};

/// What a printer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Canonical name of its model.
    pub model: Cow<'static, str>,
    /// Its model as people write it, for messages.
    pub model_shown: String,
    /// Diameter of its nozzle in micrometers.
    pub nozzle_diameter_micrometers: Option<i32>,
    /// Whether its nozzle is hardened.
    pub nozzle_hardened: Option<bool>,
    /// Whether its nozzle is a high-flow one.
    pub nozzle_high_flow: Option<bool>,
    /// Build volume.
    pub build_volume: Option<BuildVolume>,
    /// Build plate that lies on the bed, as it was declared.
    pub plate: Option<String>,
    /// Filament, sorted by slot.
    pub slots: Vec<Slot>,
}

/// What is in one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Name of the slot.
    pub slot: String,
    /// Whether the device says that nothing is in it.
    pub empty: bool,
    /// Material in upper case; `None` when the slot is empty or nobody knows.
    pub material: Option<String>,
    /// Color, where it is known.
    pub color: Option<Color>,
    /// What is left: the device's word where it gives both share and weight, else what a person declared of this spool.
    pub remaining_milligrams: Option<i64>,
    /// What the spec declares while the device reports another material or none, in upper case. Such a slot is used for
    /// nothing.
    pub contradicts: Option<String>,
}

/// What a printer offers, as its spec and the last written status say.
pub fn capabilities(printer: &Printer) -> Capabilities {
    ModelNames::default().capabilities(printer)
}

/// What a printer offers by this report of the device, for a decision that must not rely on an older status. Filament is
/// the report's alone; model and nozzle, which change seldom, are the last that were told.
pub fn capabilities_reported(printer: &Printer, report: &DeviceReport) -> Capabilities {
    let slots = slots(&printer.spec, &report.slots);
    let before = Said::in_status(printer);
    let said = Said {
        model: report.model.as_deref().or(before.model),
        nozzle_diameter_micrometers: report.nozzle_diameter_micrometers.or(before.nozzle_diameter_micrometers),
        nozzle_hardened: report.nozzle_hardened.or(before.nozzle_hardened),
    };
    build(printer, &said, &slots, &mut ModelNames::default())
}

/// What the device says of itself.
struct Said<'a> {
    model: Option<&'a str>,
    nozzle_diameter_micrometers: Option<i32>,
    nozzle_hardened: Option<bool>,
}

impl<'a> Said<'a> {
    fn in_status(printer: &'a Printer) -> Self {
        let device = printer.status.as_ref().and_then(|s| s.device.as_ref());
        Self {
            model: device.and_then(|d| d.detected_model.as_deref()),
            nozzle_diameter_micrometers: device.and_then(|d| d.nozzle_diameter_micrometers),
            nozzle_hardened: device.and_then(|d| d.nozzle_hardened),
        }
    }
}

/// How many spellings are kept: what people and slicers write may be anything.
const MAX_SPELLINGS: usize = 1000;

/// Canonical names of models, worked out once for each spelling: a farm has thousands of jobs and few spellings.
#[derive(Default)]
pub(super) struct ModelNames(HashMap<String, Cow<'static, str>>);

impl ModelNames {
    /// The canonical name.
    pub(super) fn canonical(&mut self, name: &str) -> Cow<'static, str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let canonical = models::canonical(name);
        if self.0.len() == MAX_SPELLINGS {
            self.0.clear();
        }
        self.0.insert(name.to_owned(), canonical.clone());
        canonical
    }

    /// How many spellings are kept now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// See the function of this name.
    pub(super) fn capabilities(&mut self, printer: &Printer) -> Capabilities {
        let status = printer.status.as_ref();
        // Merged again with the spec, which may be newer than the status: a slot a person has just declared anew counts.
        let reported: Vec<DeviceSlot> = status.iter().flat_map(|s| &s.slots).filter_map(as_reported).collect();
        build(printer, &Said::in_status(printer), &slots(&printer.spec, &reported), self)
    }
}

/// The report a slot in status was made of. Of a declared one the device may have told what is left. `None` where it told
/// nothing.
fn as_reported(slot: &SlotStatus) -> Option<DeviceSlot> {
    let left = DeviceSlot {
        slot: slot.slot.clone(),
        remaining_percent: slot.remaining_percent,
        spool_grams: slot.spool_grams,
        ..DeviceSlot::default()
    };
    match slot.source {
        SlotSource::Declared => (slot.remaining_percent.is_some() || slot.spool_grams.is_some()).then_some(left),
        SlotSource::Device => Some(DeviceSlot {
            loaded: slot.empty.then_some(false),
            material: slot.material.clone(),
            subtype: slot.subtype.clone(),
            color: slot.color.clone(),
            ..left
        }),
    }
}

fn build(printer: &Printer, said: &Said<'_>, slots: &[SlotStatus], names: &mut ModelNames) -> Capabilities {
    let declared = printer.spec.capabilities.as_ref();
    let nozzle = declared.and_then(|c| c.nozzle.as_ref());
    // A device may announce a name nobody has listed yet: then the spec's stays.
    let model_shown = said.model.filter(|m| models::display_name(m).is_some()).unwrap_or(&printer.spec.model);
    let model = names.canonical(model_shown);
    Capabilities {
        model_shown: models::display_name(model_shown).unwrap_or(model_shown).to_owned(),
        nozzle_diameter_micrometers: said
            .nozzle_diameter_micrometers
            .or_else(|| nozzle.and_then(|n| n.diameter_micrometers)),
        nozzle_hardened: said.nozzle_hardened.or_else(|| nozzle.and_then(|n| n.hardened)),
        nozzle_high_flow: nozzle.and_then(|n| n.high_flow),
        build_volume: declared.and_then(|c| c.build_volume_millimeters).or_else(|| build_volume(&model)),
        plate: declared.and_then(|c| c.plate.clone()),
        slots: slots.iter().map(|slot| as_slot(printer, slot)).collect(),
        model,
    }
}

fn as_slot(printer: &Printer, slot: &SlotStatus) -> Slot {
    let material = slot.material.as_deref().and_then(normalized_material);
    let declared = printer.spec.slots.iter().find(|s| s.slot == slot.slot);
    let agrees = |m: &String| declared.is_none_or(|d| same_material(m, &d.material));
    let contradicts = match &material {
        Some(material) if agrees(material) => None,
        _ => declared.and_then(|d| normalized_material(&d.material)),
    };
    Slot {
        slot: slot.slot.clone(),
        empty: slot.empty,
        color: slot.color.as_deref().and_then(Color::parse),
        // A declaration the device contradicts, if only in color, is of another spool.
        remaining_milligrams: reported_milligrams(slot).or_else(|| {
            let declared = declared.filter(|_| slot.contradiction.is_none())?;
            declared.remaining_grams.map(|grams| i64::from(grams) * 1000)
        }),
        material,
        contradicts,
    }
}

/// What the device says is left. Devices without an estimate say 0 percent, so that one counts for nothing.
fn reported_milligrams(slot: &SlotStatus) -> Option<i64> {
    let percent = slot.remaining_percent.filter(|percent| *percent > 0)?;
    slot.spool_grams.filter(|grams| *grams > 0).map(|grams| i64::from(percent) * i64::from(grams) * 10)
}

/// The maker's figure for a model; `None` where this version knows none.
fn build_volume(model: &str) -> Option<BuildVolume> {
    let (x, y, z) = match model {
        "COREONE" | "COREONEMMU3" => (250, 220, 270),
        "COREONEL" => (300, 300, 330),
        "MK4" | "MK4MMU3" | "MK4S" | "MK4SMMU3" | "MK3.9" | "MK3.9MMU3" | "MK3.9S" | "MK3.9SMMU3" => (250, 210, 220),
        "MK3" | "MK3S" | "MK3SMMU3" | "MK3SMMU2S" => (250, 210, 210),
        "MINI" | "N1" => (180, 180, 180),
        "XL" | "XL2" | "XL5" => (360, 360, 360),
        "N2S" | "C11" | "C12" | "C13" | "BL-P001" | "BL-P002" | "N7" => (256, 256, 256),
        _ => return None,
    };
    Some(BuildVolume { x, y, z })
}

#[cfg(test)]
mod tests {
    use printernizer_crds::common::Nozzle;
    use printernizer_crds::printer::{Capabilities as Declared, DeviceStatus};

    use super::super::fixtures::{declared, printer};
    use super::*;

    #[test]
    fn whatever_models_are_called_no_more_than_so_many_spellings_are_kept() {
        let mut names = ModelNames::default();
        for number in 0..=MAX_SPELLINGS {
            let name = format!("Voron {number}");
            assert_eq!(names.canonical(&name), models::canonical(&name));
        }
        assert!((1..=MAX_SPELLINGS).contains(&names.len()), "{}", names.len());
        assert_eq!(names.canonical("Voron 0"), models::canonical("Voron 0"));
    }

    #[test]
    fn every_listed_build_volume_is_of_a_known_model() {
        let volume = |name: &str| build_volume(&models::canonical(name));
        assert_eq!(volume("Prusa CORE One"), Some(BuildVolume { x: 250, y: 220, z: 270 }));
        assert_eq!(volume("Bambu Lab A1 mini"), Some(BuildVolume { x: 180, y: 180, z: 180 }));
        assert_eq!(volume("Voron 2.4"), None);
        // A code that is spelled otherwise than `models` does would never be found.
        for code in ["COREONEMMU3", "COREONEL", "MK4SMMU3", "MK3.9SMMU3", "MK3SMMU2S", "XL5", "N7", "BL-P002", "C13"] {
            assert_eq!(models::canonical(code), code);
            assert!(build_volume(code).is_some(), "{code}");
        }
    }

    #[test]
    fn the_devices_nozzle_and_model_win_over_the_spec() {
        let mut printer = printer("one");
        printer.spec.capabilities = Some(Declared {
            nozzle: Some(Nozzle { diameter_micrometers: Some(400), hardened: Some(true), high_flow: Some(true) }),
            ..Declared::default()
        });
        assert_eq!(capabilities(&printer).nozzle_diameter_micrometers, Some(400));
        let mut status = printer.status.clone().unwrap();
        status.device = Some(DeviceStatus {
            nozzle_diameter_micrometers: Some(600),
            detected_model: Some("MK4S".into()),
            ..DeviceStatus::default()
        });
        printer.status = Some(status);
        let found = capabilities(&printer);
        assert_eq!(found.nozzle_diameter_micrometers, Some(600));
        assert_eq!((found.nozzle_hardened, found.nozzle_high_flow), (Some(true), Some(true)));
        assert_eq!((found.model.as_ref(), found.model_shown.as_str()), ("MK4S", "Original Prusa MK4S"));
        let silent = capabilities_reported(&printer, &DeviceReport::default());
        assert_eq!((silent.nozzle_diameter_micrometers, silent.model.as_ref()), (Some(600), "MK4S"), "as told before");
        let report = DeviceReport {
            model: Some("Frobnicator 9".into()),
            nozzle_diameter_micrometers: Some(800),
            nozzle_hardened: Some(false),
            ..DeviceReport::default()
        };
        let found = capabilities_reported(&printer, &report);
        assert_eq!(
            (found.nozzle_diameter_micrometers, found.model.as_ref()),
            (Some(800), "COREONE"),
            "unlisted: the spec's"
        );
        assert_eq!(found.nozzle_hardened, Some(false));
        printer.status.as_mut().unwrap().device.as_mut().unwrap().nozzle_hardened = Some(false);
        assert_eq!(capabilities(&printer).nozzle_hardened, Some(false));
        assert_eq!(capabilities_reported(&printer, &DeviceReport::default()).nozzle_hardened, Some(false));
    }

    #[test]
    fn what_is_left_is_the_devices_word_where_it_has_one() {
        let left = |percent, spool_grams, color: &str, declared_grams| {
            let mut printer = printer("one");
            printer.spec.slots = vec![declared("Main", "PLA", "#1F6FEB")];
            printer.spec.slots[0].remaining_grams = declared_grams;
            let slot = DeviceSlot {
                slot: "Main".into(),
                material: Some("PLA".into()),
                color: Some(color.into()),
                remaining_percent: percent,
                spool_grams,
                ..DeviceSlot::default()
            };
            let report = DeviceReport { slots: vec![slot], ..DeviceReport::default() };
            let found = capabilities_reported(&printer, &report).slots[0].clone();
            assert_eq!(found.contradicts, None);
            found.remaining_milligrams
        };
        let blue = "#1F6FEB";
        assert_eq!(left(Some(40), Some(250), blue, Some(900)), Some(100_000));
        assert_eq!(left(Some(100), Some(1000), blue, None), Some(1_000_000));
        assert_eq!(left(Some(40), None, blue, Some(900)), Some(900_000), "a share of nobody knows what");
        assert_eq!(left(None, Some(1000), blue, Some(900)), Some(900_000));
        assert_eq!(left(Some(0), Some(1000), blue, Some(900)), Some(900_000), "as devices say that cannot tell");
        assert_eq!(left(Some(40), Some(0), blue, None), None);
        assert_eq!(left(None, None, "#FF0000", Some(900)), None, "declared of the blue spool");
    }

    /// Otherwise the scheduler gives a printer what its gate then refuses, again and again.
    #[test]
    fn what_the_device_says_is_left_of_a_declared_spool_counts_in_the_status_as_in_the_report() {
        let mut printer = printer("one");
        printer.spec.slots = vec![declared("Main", "PLA", "#1F6FEB")];
        let slot = DeviceSlot {
            slot: "Main".into(),
            remaining_percent: Some(1),
            spool_grams: Some(250),
            ..DeviceSlot::default()
        };
        let mut status = printer.status.clone().unwrap();
        status.slots = slots(&printer.spec, std::slice::from_ref(&slot));
        printer.status = Some(status);
        let report = DeviceReport { slots: vec![slot], ..DeviceReport::default() };
        for found in [capabilities(&printer), capabilities_reported(&printer, &report)] {
            assert_eq!(found.slots[0].remaining_milligrams, Some(2_500));
            assert_eq!(found.slots[0].material.as_deref(), Some("PLA"));
        }
    }

    #[test]
    fn a_slot_declared_after_the_last_status_counts() {
        let mut printer = printer("one");
        let mut status = printer.status.clone().unwrap();
        status.slots = slots(&printer.spec, &[]);
        printer.status = Some(status);
        printer.spec.slots = vec![declared("Main", "petg", "#F5A623")];
        let found = capabilities(&printer);
        assert_eq!(found.slots[0].material.as_deref(), Some("PETG"));
        assert_eq!(found.slots[0].contradicts, None);
    }

    #[test]
    fn status_and_report_give_the_same_slots() {
        let empty = DeviceSlot { slot: "Main".into(), loaded: Some(false), ..DeviceSlot::default() };
        let other = DeviceSlot { slot: "Main".into(), material: Some("PETG".into()), ..DeviceSlot::default() };
        let unknown = DeviceSlot { slot: "Main".into(), ..DeviceSlot::default() };
        let undeclared = DeviceSlot { slot: "AMS1-1".into(), ..empty.clone() };
        for (slot, contradicts) in [(empty, true), (undeclared, false), (other, true), (unknown, false)] {
            let mut printer = printer("one");
            let is_empty = slot.loaded == Some(false);
            let report = DeviceReport { slots: vec![slot], ..DeviceReport::default() };
            let mut status = printer.status.clone().unwrap();
            status.slots = slots(&printer.spec, &report.slots);
            printer.status = Some(status);
            let found = capabilities_reported(&printer, &report).slots;
            assert_eq!(found, capabilities(&printer).slots);
            assert_eq!((found[0].contradicts.is_some(), found[0].empty), (contradicts, is_empty), "{found:?}");
        }
    }
}
