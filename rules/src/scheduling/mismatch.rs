//! Why a printer does not fit a job, and the one line that tells a person so.
//!
//! A printer has one mismatch, the first in the order of checks, so the counts of an explanation add up to the number of
//! printers. Wording and order are stable: the same farm gives the same text, however its objects are listed.

use std::collections::BTreeMap;
use std::fmt;

use super::color::Color;

/// Most reasons one explanation lists; the rest is counted.
const MAX_REASONS: usize = 6;

/// Why a printer does not fit a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mismatch {
    /// The Printer is being deleted.
    BeingDeleted,
    /// Neither printerRef nor printerSelector of the job selects it.
    NotSelected,
    /// The job does not tolerate one of its taints.
    Tainted {
        /// Key of the taint.
        key: String,
    },
    /// Neither the file nor the job says for which model the file was sliced.
    ModelUnstated,
    /// It is another model.
    WrongModel {
        /// The model it is.
        has: String,
        /// The models the job is for.
        wants: String,
        /// Whether `has` is a name this version knows.
        known: bool,
    },
    /// It takes other kinds of files.
    WrongFormat {
        /// Whether it takes sliced 3MF files, and nothing else.
        takes_3mf: bool,
    },
    /// The part is larger than its build volume.
    TooSmall,
    /// It has another nozzle.
    WrongNozzle {
        /// The diameter it has, in micrometers.
        has: i32,
        /// The diameter the job wants, in micrometers.
        wants: i32,
    },
    /// Nobody says which nozzle it has.
    NozzleUnknown,
    /// Its nozzle is not known to be hardened.
    NozzleNotHardened,
    /// Its nozzle is not known to be a high-flow one.
    NotHighFlow,
    /// Its nozzle is a high-flow one, and the job asks for another.
    HighFlow,
    /// Another build plate lies on its bed, or nobody says which.
    WrongPlate {
        /// The plate it has.
        has: Option<String>,
    },
    /// The job's file names no material, so nothing can be compared.
    MaterialUnstated,
    /// The job's file names no color, and the job asks for matching ones.
    ColorUnstated,
    /// Nobody says what is loaded.
    MaterialUnknown,
    /// A material is not loaded.
    NoMaterial {
        /// The material.
        material: String,
    },
    /// The device reports another material in a slot than the spec declares.
    Contradicted {
        /// The slot.
        slot: String,
    },
    /// The material is loaded, but not in this color.
    NoColor {
        /// The material.
        material: String,
        /// The color.
        color: Color,
    },
    /// The material is loaded, but not enough of it is left.
    NotEnoughFilament {
        /// The material.
        material: String,
    },
    /// The filaments are loaded, but two of them would have to come from one slot.
    NotEnoughSlots,
    /// It has no slot of the name the job chose.
    NoSlot {
        /// The slot.
        slot: String,
    },
}

impl Mismatch {
    /// Whether it is the job that leaves something open; then no printer fits, and the advice is about the job.
    pub fn is_of_the_job(&self) -> bool {
        matches!(self, Self::ModelUnstated | Self::MaterialUnstated | Self::ColorUnstated)
    }

    /// Whether it is about something the device itself may still tell once it is connected.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::NozzleUnknown | Self::MaterialUnknown)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeingDeleted => f.write_str("being deleted"),
            Self::NotSelected => f.write_str("not selected"),
            Self::Tainted { key } => write!(f, "tainted ({key})"),
            Self::ModelUnstated => f.write_str(
                "the file does not say for which printer model it was sliced: name it in spec.requirements.models",
            ),
            Self::WrongModel { has, wants, known: true } => write!(f, "wrong model ({has}; the job is for {wants})"),
            Self::WrongModel { has, wants, known: false } => {
                write!(f, "wrong model (\"{has}\", a name this version does not know; the job is for {wants})")
            }
            Self::WrongFormat { takes_3mf: true } => {
                f.write_str("wrong file (takes .gcode.3mf only: export the plate as a sliced file)")
            }
            Self::WrongFormat { takes_3mf: false } => {
                f.write_str("wrong file (takes .gcode and .bgcode, not .gcode.3mf: export G-code)")
            }
            Self::TooSmall => f.write_str("too small"),
            Self::WrongNozzle { has, wants } => {
                write!(f, "wrong nozzle (has {} mm; the job wants {} mm)", Millimeters(*has), Millimeters(*wants))
            }
            Self::NozzleUnknown => {
                f.write_str("nozzle not known (write it in the printer's spec.capabilities.nozzle)")
            }
            Self::NozzleNotHardened => f.write_str("nozzle not hardened"),
            Self::NotHighFlow => f.write_str("no high-flow nozzle"),
            Self::HighFlow => f.write_str("high-flow nozzle"),
            Self::WrongPlate { has: Some(has) } => write!(f, "wrong plate ({has})"),
            Self::WrongPlate { has: None } => {
                f.write_str("plate not known (write it in the printer's spec.capabilities.plate)")
            }
            Self::MaterialUnstated => {
                f.write_str("the file does not say which material it needs: name it in spec.requirements.materials")
            }
            Self::ColorUnstated => f.write_str(
                "the file does not say the color of each filament: choose slots in spec.filaments, or set spec.colorMatch: \
                 Ignore",
            ),
            Self::MaterialUnknown => f.write_str("filament not known (write what is loaded in the printer's spec.slots)"),
            Self::NoMaterial { material } => write!(f, "no {material}"),
            Self::Contradicted { slot } => {
                write!(f, "device and spec.slots disagree about {slot} (correct the one that is wrong)")
            }
            Self::NoColor { material, color } => write!(f, "no {material} in {color}"),
            Self::NotEnoughFilament { material } => write!(f, "not enough {material} left"),
            Self::NotEnoughSlots => f.write_str("fewer matching slots than filaments"),
            Self::NoSlot { slot } => write!(f, "no slot {slot}"),
        }
    }
}

/// Micrometers as millimeters without trailing zeros: 600 is 0.6.
pub(crate) struct Millimeters(pub(crate) i32);

impl fmt::Display for Millimeters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{}.{:03}", self.0 / 1000, (self.0 % 1000).abs());
        f.write_str(digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// One line for the mismatches of all printers of a namespace: `3 printers: 2 no PETG, 1 tainted (night)`. The most
/// frequent reason comes first, equal ones in the order of checks; the length is bounded.
pub fn explain<'a>(mismatches: impl IntoIterator<Item = &'a Mismatch>) -> String {
    let mut counts: BTreeMap<&Mismatch, usize> = BTreeMap::new();
    for mismatch in mismatches {
        *counts.entry(mismatch).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    if let Some(mismatch) = counts.keys().find(|m| m.is_of_the_job()) {
        return mismatch.to_string();
    }
    let mut reasons: Vec<_> = counts.into_iter().collect();
    reasons.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
    let mut texts: Vec<_> = reasons.iter().take(MAX_REASONS).map(|(m, count)| format!("{count} {m}")).collect();
    match reasons.iter().skip(MAX_REASONS).map(|(_, count)| count).sum::<usize>() {
        0 => {}
        others => texts.push(format!("{others} for other reasons")),
    }
    match total {
        0 => "no printer in this namespace".to_owned(),
        1 => format!("1 printer: {}", texts.join(", ")),
        _ => format!("{total} printers: {}", texts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no(material: &str) -> Mismatch {
        Mismatch::NoMaterial { material: material.into() }
    }

    #[test]
    fn an_explanation_counts_what_excluded_how_many() {
        let nozzle = Mismatch::WrongNozzle { has: 600, wants: 400 };
        assert_eq!(
            explain(&[no("PETG"), nozzle.clone(), nozzle.clone()]),
            "3 printers: 2 wrong nozzle (has 0.6 mm; the job wants 0.4 mm), 1 no PETG"
        );
        assert_eq!(explain(&[no("PETG")]), "1 printer: 1 no PETG");
        assert_eq!(
            explain(&[no("PETG"), nozzle]),
            "2 printers: 1 wrong nozzle (has 0.6 mm; the job wants 0.4 mm), 1 no PETG",
            "in the order of checks"
        );
        assert_eq!(explain(&[]), "no printer in this namespace");
    }

    #[test]
    fn what_the_job_leaves_open_is_told_as_advice_on_the_job() {
        let text = explain(&[Mismatch::NotSelected, Mismatch::MaterialUnstated]);
        assert_eq!(text, "the file does not say which material it needs: name it in spec.requirements.materials");
    }

    #[test]
    fn an_explanation_fits_into_a_condition() {
        let long = "X".repeat(63);
        let many: Vec<_> = (0..100).map(|n| no(&format!("{long}{n:02}"))).collect();
        let text = explain(&many);
        assert!(text.len() < printernizer_crds::conditions::MAX_MESSAGE_BYTES / 2, "{}", text.len());
        assert!(text.ends_with(", 94 for other reasons"), "{text}");
    }

    #[test]
    fn diameters_read_as_people_write_them() {
        for (micrometers, text) in [(400, "0.4"), (250, "0.25"), (1000, "1")] {
            assert_eq!(Millimeters(micrometers).to_string(), text);
        }
    }

    #[test]
    fn both_sides_of_a_mismatch_are_named() {
        let model = |has: &str, known| Mismatch::WrongModel { has: has.into(), wants: "Prusa CORE One".into(), known };
        let a1 = model("Bambu Lab A1", true).to_string();
        assert_eq!(a1, "wrong model (Bambu Lab A1; the job is for Prusa CORE One)");
        let typo = model("Prusa Core-2", false).to_string();
        assert_eq!(
            typo,
            "wrong model (\"Prusa Core-2\", a name this version does not know; the job is for Prusa CORE One)"
        );
    }
}
