//! What is in a printer's slots: the device's report and what a person declared, merged.
//!
//! The device wins where it says something; a declaration fills in where it is silent. When both name different
//! materials nobody knows what is loaded: the contradiction is shown, and the slot is used for nothing until a person
//! has looked. A different color is shown too, but only the material can ruin a print.

use printernizer_crds::PrinterSpec;
use printernizer_crds::printer::{SlotSource, SlotSpec, SlotStatus};

use super::color::Color;
use crate::device::DeviceSlot;

/// Most slots a Printer's status holds: four units of four, and one external spool.
const MAX_SLOTS: usize = 17;

/// A material for comparison: `PETG` for ` petg `. `None` when nothing is left.
pub(super) fn normalized_material(text: &str) -> Option<String> {
    let material = text.trim().to_uppercase();
    (!material.is_empty()).then_some(material)
}

/// Whether two names mean the same material; case and surrounding spaces do not count.
pub(super) fn same_material(one: &str, other: &str) -> bool {
    normalized_material(one) == normalized_material(other)
}

/// Merges declared and reported slots, sorted by name, at most 17. `source` is `Device` where the device says what is
/// loaded, or that nothing is; `contradiction` says what it reports and the spec denies.
pub fn slots(spec: &PrinterSpec, report: &[DeviceSlot]) -> Vec<SlotStatus> {
    let declared = |slot: &str| spec.slots.iter().find(|s| s.slot == slot);
    let mut merged: Vec<SlotStatus> = report.iter().map(|seen| merge(seen, declared(&seen.slot))).collect();
    merged.extend(
        spec.slots.iter().filter(|s| !report.iter().any(|seen| seen.slot == s.slot)).map(|s| as_declared(s, None)),
    );
    merged.sort_by(|a, b| a.slot.cmp(&b.slot));
    merged.dedup_by(|a, b| a.slot == b.slot);
    merged.truncate(MAX_SLOTS);
    merged
}

/// A declared slot; what is left of a spool may be told by the device all the same.
fn as_declared(declared: &SlotSpec, seen: Option<&DeviceSlot>) -> SlotStatus {
    SlotStatus {
        slot: declared.slot.clone(),
        empty: false,
        material: Some(declared.material.clone()),
        subtype: declared.subtype.clone(),
        color: declared.color.clone(),
        remaining_percent: seen.and_then(|s| s.remaining_percent),
        spool_grams: seen.and_then(|s| s.spool_grams),
        source: SlotSource::Declared,
        contradiction: None,
    }
}

fn merge(seen: &DeviceSlot, declared: Option<&SlotSpec>) -> SlotStatus {
    if seen.loaded == Some(false) {
        // What a device may still say of the filament that was there is not said of any that is.
        let contradiction =
            declared.map(|d| format!("the device reports the slot empty, spec.slots declares {}", d.material));
        let slot = seen.slot.clone();
        return SlotStatus { slot, empty: true, source: SlotSource::Device, contradiction, ..SlotStatus::default() };
    }
    let reported = SlotStatus {
        slot: seen.slot.clone(),
        empty: false,
        material: seen.material.clone().filter(|m| normalized_material(m).is_some()),
        subtype: seen.subtype.clone(),
        color: seen.color.clone(),
        remaining_percent: seen.remaining_percent,
        spool_grams: seen.spool_grams,
        source: SlotSource::Device,
        contradiction: None,
    };
    let Some(declared) = declared else { return reported };
    let Some(material) = &reported.material else { return as_declared(declared, Some(seen)) };
    if !same_material(material, &declared.material) {
        let contradiction = format!("the device reports {material}, spec.slots declares {}", declared.material);
        return SlotStatus { contradiction: Some(contradiction), ..reported };
    }
    let contradiction = match (color(seen.color.as_deref()), color(declared.color.as_deref())) {
        (Some(device), Some(spec)) if !device.is_near(spec) => {
            Some(format!("the device reports the color {device}, spec.slots declares {spec}"))
        }
        _ => None,
    };
    SlotStatus {
        subtype: reported.subtype.or_else(|| declared.subtype.clone()),
        color: reported.color.or_else(|| declared.color.clone()),
        contradiction,
        ..reported
    }
}

fn color(text: Option<&str>) -> Option<Color> {
    text.and_then(Color::parse)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{declared, printer};
    use super::*;

    fn reported(material: Option<&str>, color: Option<&str>) -> DeviceSlot {
        DeviceSlot {
            slot: "Main".into(),
            material: material.map(Into::into),
            color: color.map(Into::into),
            ..DeviceSlot::default()
        }
    }

    fn merged(spec: &[SlotSpec], report: &[DeviceSlot]) -> SlotStatus {
        let mut printer = printer("one");
        printer.spec.slots = spec.to_vec();
        let all = slots(&printer.spec, report);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    #[test]
    fn a_silent_device_leaves_what_was_declared() {
        for report in [&[][..], &[reported(None, None)], &[reported(Some("  "), None)]] {
            let slot = merged(&[declared("Main", "PLA", "#1F6FEB")], report);
            assert_eq!((slot.material.as_deref(), slot.source), (Some("PLA"), SlotSource::Declared));
            assert_eq!(slot.color.as_deref(), Some("#1F6FEB"));
            assert_eq!(slot.contradiction, None);
        }
    }

    #[test]
    fn the_device_wins_and_the_declaration_adds_what_it_does_not_say() {
        let mut spec = declared("Main", "pla", "#1F6FEB");
        spec.subtype = Some("Matte".into());
        let slot = merged(&[spec.clone()], &[reported(Some("PLA"), None)]);
        assert_eq!((slot.material.as_deref(), slot.source), (Some("PLA"), SlotSource::Device));
        assert_eq!(slot.subtype.as_deref(), Some("Matte"));
        let silk = DeviceSlot { subtype: Some("Silk".into()), ..reported(Some("PLA"), None) };
        assert_eq!(merged(&[spec], std::slice::from_ref(&silk)).subtype.as_deref(), Some("Silk"));
        assert_eq!(merged(&[], &[silk]).subtype.as_deref(), Some("Silk"));
        let slot = merged(&[declared("Main", "pla", "#1F6FEB")], &[reported(Some("PLA"), None)]);
        assert_eq!(slot.color.as_deref(), Some("#1F6FEB"));
        assert_eq!(slot.contradiction, None);
    }

    #[test]
    fn contradictions_are_told() {
        let spec = [declared("Main", "PLA", "#1F6FEB")];
        let slot = merged(&spec, &[reported(Some("PETG"), None)]);
        assert_eq!(slot.contradiction.as_deref(), Some("the device reports PETG, spec.slots declares PLA"));
        assert_eq!(
            (slot.material.as_deref(), slot.color),
            (Some("PETG"), None),
            "a declared color is of the other spool"
        );

        let slot = merged(&spec, &[reported(Some("PLA"), Some("#FF0000"))]);
        assert_eq!(slot.color.as_deref(), Some("#FF0000"));
        assert_eq!(
            slot.contradiction.as_deref(),
            Some("the device reports the color #FF0000, spec.slots declares #1F6FEB")
        );

        let slot = merged(&spec, &[DeviceSlot { loaded: Some(false), ..reported(None, None) }]);
        assert_eq!(slot.contradiction.as_deref(), Some("the device reports the slot empty, spec.slots declares PLA"));
        assert_eq!((slot.material, slot.source), (None, SlotSource::Device));
    }

    #[test]
    fn an_empty_slot_keeps_nothing_of_what_was_in_it() {
        let empty = DeviceSlot { loaded: Some(false), ..reported(Some("PLA"), Some("#FF0000")) };
        let slot = merged(&[], &[empty]);
        let nothing =
            SlotStatus { slot: "Main".into(), empty: true, source: SlotSource::Device, ..SlotStatus::default() };
        assert_eq!(slot, nothing);
    }

    #[test]
    fn what_the_device_does_not_report_stays_as_declared_beside_what_it_does() {
        let mut printer = printer("one");
        printer.spec.slots = vec![declared("Main", "PLA", "#1F6FEB"), declared("External", "TPU", "#000000")];
        let all = slots(&printer.spec, &[reported(Some("PLA"), None)]);
        let told: Vec<_> = all.iter().map(|s| (s.slot.as_str(), s.material.as_deref(), s.source)).collect();
        assert_eq!(told, [("External", Some("TPU"), SlotSource::Declared), ("Main", Some("PLA"), SlotSource::Device)]);
    }

    #[test]
    fn all_slots_come_in_one_order_and_in_bounded_number() {
        let mut printer = printer("one");
        printer.spec.slots = vec![declared("External", "TPU", "#000000")];
        let report: Vec<_> = (0..40)
            .rev()
            .map(|n| DeviceSlot { slot: format!("AMS{}-{}", n / 4 + 1, n % 4 + 1), ..DeviceSlot::default() })
            .collect();
        let all = slots(&printer.spec, &report);
        assert_eq!(all.len(), 17);
        assert!(all.is_sorted_by(|a, b| a.slot < b.slot), "{all:?}");
    }
}
