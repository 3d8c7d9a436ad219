//! Why a printer does not fit a job, and the one line that tells a person so.
//!
//! A printer has one mismatch, the first in the order of checks, so the counts of an explanation add up to the number of
//! printers. Wording and order are stable: the same farm gives the same text, however its objects are listed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use printernizer_crds::printer::BuildVolume;
use printernizer_printfile::models;

use super::color::Color;

/// Most reasons one explanation lists; the rest is counted.
const MAX_REASONS: usize = 6;
/// Most models of a job that a mismatch names.
const MAX_MODELS: usize = 3;

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
        wants: Vec<Cow<'static, str>>,
    },
    /// It takes other kinds of files.
    WrongFormat {
        /// Whether it takes sliced 3MF files, and nothing else.
        takes_3mf: bool,
    },
    /// Its build volume is smaller than a person asks for.
    TooSmall {
        /// The volume it has.
        has: BuildVolume,
        /// The volume the job wants.
        wants: BuildVolume,
    },
    /// A person asks for a build volume, and nobody says which it has.
    VolumeUnknown,
    /// The part is higher than its build volume.
    TooLow {
        /// The height it has, in millimeters.
        has: i32,
    },
    /// It has another nozzle.
    WrongNozzle {
        /// The diameter it has, in micrometers.
        has: i32,
        /// The diameter the job wants, in micrometers.
        wants: i32,
    },
    /// Nobody says which nozzle it has.
    NozzleUnknown,
    /// Its nozzle is not hardened.
    NozzleNotHardened {
        /// Whether it is the filament that needs it, as the file says; else a person does.
        abrasive: bool,
    },
    /// A person asks for a hardened nozzle, and nobody says whether it has one.
    HardeningUnknown,
    /// Its nozzle is not a high-flow one.
    NotHighFlow,
    /// A person asks for a high-flow nozzle, and nobody says whether it has one.
    FlowUnknown,
    /// Its nozzle is a high-flow one, and a person asks for another.
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
    /// The slot the job chose holds another material.
    WrongMaterial {
        /// The slot.
        slot: String,
        /// The material in it.
        has: String,
        /// The material of the filament.
        wants: String,
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
    /// Nothing is in the slot the job chose.
    SlotEmpty {
        /// The slot.
        slot: String,
    },
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
            Self::NotSelected => f.write_str("without the labels of spec.printerSelector"),
            Self::Tainted { key } => write!(f, "tainted ({key}, which the job does not tolerate)"),
            Self::ModelUnstated => f.write_str(
                "the file does not say for which printer model it was sliced: name it in spec.requirements.models",
            ),
            Self::WrongModel { has, wants } => {
                let more = if wants.len() > MAX_MODELS { " or others" } else { "" };
                let wants: Vec<_> = wants.iter().take(MAX_MODELS).map(|model| model_words(model)).collect();
                write!(f, "wrong model ({}; the job is for {}{more})", model_words(has), wants.join(" or "))
            }
            Self::WrongFormat { takes_3mf: true } => {
                f.write_str("wrong file (takes .gcode.3mf only: export the plate as a sliced file)")
            }
            Self::WrongFormat { takes_3mf: false } => {
                f.write_str("wrong file (takes .gcode and .bgcode, not .gcode.3mf: export G-code)")
            }
            Self::TooSmall { has, wants } => {
                write!(f, "too small (has {}; the job wants {})", Volume(*has), Volume(*wants))
            }
            Self::VolumeUnknown => f.write_str(
                "build volume not known (write it in the printer's spec.capabilities.buildVolumeMillimeters)",
            ),
            Self::TooLow { has } => write!(f, "too low for the part (has {has} mm)"),
            Self::WrongNozzle { has, wants } => {
                write!(f, "wrong nozzle (has {} mm; the job wants {} mm)", Millimeters(*has), Millimeters(*wants))
            }
            Self::NozzleUnknown => {
                f.write_str("nozzle not known (write it in the printer's spec.capabilities.nozzle)")
            }
            Self::NozzleNotHardened { abrasive: true } => f.write_str("nozzle not hardened (the filament is abrasive)"),
            Self::NozzleNotHardened { abrasive: false } => f.write_str("nozzle not hardened"),
            Self::HardeningUnknown => {
                f.write_str("nozzle not known to be hardened (write it in the printer's spec.capabilities.nozzle)")
            }
            Self::NotHighFlow => f.write_str("no high-flow nozzle"),
            Self::FlowUnknown => {
                f.write_str("nozzle not known to be high-flow (write it in the printer's spec.capabilities.nozzle)")
            }
            Self::HighFlow => f.write_str("high-flow nozzle (the job wants none)"),
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
            Self::WrongMaterial { slot, has, wants } => {
                write!(f, "slot {slot} holds {has}, not {wants} (load it, or choose another in spec.filaments)")
            }
            Self::NoColor { material, color } => {
                let any = "spec.colorMatch: Ignore takes any color";
                write!(f, "no {material} in {color} (loaded in another color, or in none that is known; {any})")
            }
            Self::NotEnoughFilament { material } => write!(f, "not enough {material} left"),
            Self::NotEnoughSlots => f.write_str("fewer matching slots than filaments"),
            Self::SlotEmpty { slot } => write!(f, "slot {slot} empty (load it, or choose another in spec.filaments)"),
            Self::NoSlot { slot } => write!(f, "no slot {slot}"),
        }
    }
}

/// A model for people. A name this version does not know stands in quotes, with the known one it may be meant for.
fn model_words(model: &str) -> String {
    if let Some(name) = models::display_name(model) {
        return name.to_owned();
    }
    let asked = nearest(model).map(|name| format!(": did you mean {name}?")).unwrap_or_default();
    format!("{model:?}, a name this version does not know{asked}")
}

/// The known model whose name differs from this one in few letters.
fn nearest(model: &str) -> Option<&'static str> {
    let folded = |name: &str| -> Vec<char> {
        let letters: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let maker = ["original", "prusa", "bambulab", "bambu"];
        maker.into_iter().fold(letters.as_str(), |rest, word| rest.strip_prefix(word).unwrap_or(rest)).chars().collect()
    };
    let wanted = folded(model);
    let far = 1 + wanted.len() / 4;
    models::display_names()
        .map(|name| (distance(&wanted, &folded(name)), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= far)
        .map(|(_, name)| name)
}

/// How many letters are to be added, left out or changed to make one of the other (Levenshtein's distance).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (done, letter) in one.iter().enumerate() {
        let mut next = vec![done + 1];
        for (at, against) in other.iter().enumerate() {
            let changed = row[at] + usize::from(letter != against);
            next.push(changed.min(row[at + 1] + 1).min(next[at] + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// A build volume as people write it: `250 x 220 x 270 mm`.
struct Volume(BuildVolume);

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {} mm", self.0.x, self.0.y, self.0.z)
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
    fn a_misspelt_model_is_asked_after() {
        for (name, meant) in [
            ("Prusa CORE Onne", Some("Prusa CORE One")),
            ("coreon", Some("Prusa CORE One")),
            ("cxrexne", Some("Prusa CORE One")),
            ("cxrexnx", None),
            ("BambuLab A1-minni", Some("Bambu Lab A1 mini")),
            ("Original Prusa MK4SS", Some("Original Prusa MK4S")),
            ("X1 Karbon", Some("Bambu Lab X1 Carbon")),
            ("Frobnicator 9", None),
            ("", None),
        ] {
            assert_eq!(nearest(name), meant, "{name}");
        }
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        for (one, other, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0), ("ab", "ba", 2)] {
            assert_eq!(distance(&letters(one), &letters(other)), expected);
            assert_eq!(distance(&letters(other), &letters(one)), expected);
        }
    }

    #[test]
    fn both_sides_of_a_mismatch_are_named() {
        let model = |has: &str, wants: &[&'static str]| {
            let wants = wants.iter().map(|m| Cow::Borrowed(*m)).collect();
            Mismatch::WrongModel { has: has.into(), wants }.to_string()
        };
        assert_eq!(model("N2S", &["COREONE"]), "wrong model (Bambu Lab A1; the job is for Prusa CORE One)");
        assert_eq!(
            model("Prusa Core-1", &["COREONE"]),
            "wrong model (\"Prusa Core-1\", a name this version does not know; the job is for Prusa CORE One)"
        );
        assert_eq!(
            model("COREONE", &["corone", "voron24"]),
            "wrong model (Prusa CORE One; the job is for \"corone\", a name this version does not know: did you mean Prusa \
             CORE One? or \"voron24\", a name this version does not know)"
        );
        assert!(model("N1", &["MK4", "MK4S", "XL"]).ends_with("Original Prusa XL)"));
        assert!(model("N1", &["MK4", "MK4S", "XL", "XL5"]).ends_with("Original Prusa XL or others)"));
        let volume = |x, y, z| BuildVolume { x, y, z };
        assert_eq!(
            Mismatch::TooSmall { has: volume(250, 220, 270), wants: volume(300, 1, 1) }.to_string(),
            "too small (has 250 x 220 x 270 mm; the job wants 300 x 1 x 1 mm)"
        );
    }
}
