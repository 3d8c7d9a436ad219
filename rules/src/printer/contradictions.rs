//! Where a Printer's spec says one thing and its device another, in one condition, so that nobody learns of it only when a
//! job does not print. Which side counts is decided in `scheduling`; here both are told.

use printernizer_crds::{ConditionStatus, ConditionType, Conditions, Printer, PrinterStatus, Reason};
use printernizer_printfile::models;

use super::Observed;
use super::status::at;
use crate::scheduling::Millimeters;

/// Sets the condition `SpecMatchesDevice`. `new` holds what the device has told.
pub(super) fn tell(seen: &Observed<'_>, new: &mut PrinterStatus) {
    let found = contradictions(seen.printer, new);
    let (is, reason, text) = if found.is_empty() {
        (
            ConditionStatus::True,
            Reason::NoContradiction,
            "spec and device agree, as far as both say something".to_owned(),
        )
    } else {
        let text = format!("{}; correct the one that is wrong", found.join("; "));
        (ConditionStatus::False, Reason::Contradicted, text)
    };
    new.conditions.set(ConditionType::SpecMatchesDevice, is, reason, text, &at(seen.printer, seen.now));
}

fn contradictions(printer: &Printer, status: &PrinterStatus) -> Vec<String> {
    let spec = &printer.spec;
    let device = status.device.as_ref();
    let mut found = Vec::new();
    // A device may announce a name nobody has listed yet: that is no contradiction.
    let detected = device.and_then(|d| d.detected_model.as_deref());
    if let Some(detected) = detected.and_then(models::display_name).filter(|d| !models::same(d, &spec.model)) {
        found.push(format!("model: the spec says {}, the printer is a {detected}, which counts", spec.model));
    }
    let nozzle = spec.capabilities.as_ref().and_then(|c| c.nozzle.as_ref());
    let declared = nozzle.and_then(|n| n.diameter_micrometers);
    let reported = device.and_then(|d| d.nozzle_diameter_micrometers);
    if let (Some(declared), Some(reported)) = (declared, reported)
        && declared != reported
    {
        let (declared, reported) = (Millimeters(declared), Millimeters(reported));
        found.push(format!("nozzle: the spec says {declared} mm, the printer {reported} mm, which counts"));
    }
    let word = |hardened| if hardened { "hardened" } else { "not hardened" };
    if let (Some(declared), Some(reported)) = (nozzle.and_then(|n| n.hardened), device.and_then(|d| d.nozzle_hardened))
        && declared != reported
    {
        let (declared, reported) = (word(declared), word(reported));
        found.push(format!("nozzle: the spec says {declared}, the printer {reported}, which counts"));
    }
    for slot in &status.slots {
        if let Some(contradiction) = &slot.contradiction {
            found.push(format!("slot {}: {contradiction}", slot.slot));
        }
    }
    found
}
