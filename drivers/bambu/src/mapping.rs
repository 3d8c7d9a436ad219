//! From "this filament of the project is taken from that slot" to the numbers a start command wants, checked against
//! what the printer says is loaded. It matches no materials and guesses nothing: whatever is not certain is an error,
//! because a wrong number prints with the wrong filament. Numbers count from 0 in the command and from 1 in files and
//! names. Facts: OpenBambuAPI mqtt.md, Bambu Studio SelectMachine.cpp (get_ams_mapping_result); see README.md.

use std::fmt;
use std::str::FromStr;

use crate::report::{Report, Tray};

/// The most filaments of a project that are mapped.
const FILAMENTS_MAX: usize = 64;

/// Units of four trays a printer can have.
const AMS_UNITS: u8 = 4;
const AMS_TRAYS: u8 = 4;
/// "No slot" and "the external spool", as unit ids in a command. Reports call the external spool 254.
const NO_UNIT: u8 = 255;
const EXTERNAL_UNIT: u8 = 255;

/// A place that holds filament. Written `AMS1-1` to `AMS4-4` (unit, then tray) or `External`. The tray of an AMS HT is
/// none: nothing is printed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// A tray of an AMS or AMS lite; both numbers count from 0, up to 3.
    Ams {
        /// The unit.
        unit: u8,
        /// The tray in it.
        tray: u8,
    },
    /// The spool outside.
    External,
}

/// A text that names no slot of a Bambu printer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no slot of a Bambu printer: write External, or AMS1-1 to AMS4-4")]
pub struct SlotError(pub String);

impl Slot {
    /// The slot that a report means with these ids; `None` for ids that no slot of this kind of printer has.
    pub fn from_report(unit: u16, tray: u16) -> Option<Self> {
        let (unit, tray) = (u8::try_from(unit).ok()?, u8::try_from(tray).ok()?);
        (unit < AMS_UNITS && tray < AMS_TRAYS).then_some(Self::Ams { unit, tray })
    }

    /// The number in `ams_mapping`. The external spool has none there: its number in reports, 254, makes printers answer
    /// that they cannot find the mapping (0700_8012); `ams_mapping2` and `use_ams` name it.
    fn global_tray(self) -> i32 {
        match self {
            Self::Ams { unit, tray } => i32::from(unit) * i32::from(AMS_TRAYS) + i32::from(tray),
            Self::External => -1,
        }
    }

    /// The pair in `ams_mapping2`.
    fn pair(self) -> TrayPair {
        match self {
            Self::Ams { unit, tray } => TrayPair { ams_id: unit, slot_id: tray },
            Self::External => TrayPair { ams_id: EXTERNAL_UNIT, slot_id: 0 },
        }
    }

    /// What a report says about it.
    fn seen(self, report: &Report) -> Option<&Tray> {
        match self {
            Self::Ams { unit, tray } => report.ams.tray(unit.into(), tray.into()),
            Self::External => report.external.first(),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ams { unit, tray } => write!(formatter, "AMS{}-{}", unit + 1, tray + 1),
            Self::External => formatter.write_str("External"),
        }
    }
}

impl FromStr for Slot {
    type Err = SlotError;

    fn from_str(text: &str) -> Result<Self, SlotError> {
        let position = |text: &str, most: u8| match text.as_bytes() {
            [digit @ b'1'..=b'9'] if digit - b'0' <= most => Some(digit - b'1'),
            _ => None,
        };
        let slot = if text == "External" {
            Some(Self::External)
        } else {
            text.strip_prefix("AMS").and_then(|rest| rest.split_once('-')).and_then(|(unit, tray)| {
                Some(Self::Ams { unit: position(unit, AMS_UNITS)?, tray: position(tray, AMS_TRAYS)? })
            })
        };
        slot.ok_or_else(|| SlotError(text.chars().take(40).collect()))
    }
}

/// One element of `ams_mapping2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrayPair {
    /// The unit: 0 to 3, or 255 for the external spool and for "not used".
    pub ams_id: u8,
    /// The tray in it; 255 for "not used".
    pub slot_id: u8,
}

/// What a start command says about filament. Equal values mean the same spools.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AmsMapping {
    /// `use_ams`: whether filament comes from an AMS.
    pub use_ams: bool,
    /// `ams_mapping`: for each filament of the project the global number of a tray, -1 where there is none.
    pub ams_mapping: Vec<i32>,
    /// `ams_mapping2`: the same as pairs.
    pub ams_mapping2: Vec<TrayPair>,
}

/// Why there is no certain mapping. Filaments are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The plate uses none.
    #[error("the file does not say which filaments the plate uses: slice it again")]
    NoFilaments,
    /// More than anybody has.
    #[error("the project has {count} filaments: at most {FILAMENTS_MAX} can be mapped")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A number that the project does not have.
    #[error("filament {filament} is none of the project's {count}: check the filaments of the job against the file")]
    NoSuchFilament {
        /// Its number.
        filament: u32,
        /// Filaments of the project.
        count: usize,
    },
    /// Nobody said where it comes from.
    #[error("no slot is chosen for filament {filament}: load it, or name its slot in the job")]
    Unresolved {
        /// Its number.
        filament: u32,
    },
    /// Two slots are chosen.
    #[error("two slots are chosen for filament {filament}: name one")]
    Twice {
        /// Its number.
        filament: u32,
    },
    /// The printer has no such slot.
    #[error("the printer reports no slot {slot} for filament {filament}: check its AMS, or name another slot")]
    NoSuchSlot {
        /// Its number.
        filament: u32,
        /// The slot chosen.
        slot: Slot,
    },
    /// Nothing is in it, or the printer does not say that something is.
    #[error("slot {slot} for filament {filament} is empty: load it, or name another slot")]
    Empty {
        /// Its number.
        filament: u32,
        /// The slot chosen.
        slot: Slot,
    },
    /// The external spool together with others.
    #[error(
        "filament {filament} is to come from the external spool and another one too: print all from the AMS, or use one filament"
    )]
    ExternalNotAlone {
        /// The filament of the external spool.
        filament: u32,
    },
    /// More than one external spool.
    #[error(
        "the printer has {count} external spools: name slots of an AMS, printers with two nozzles are not supported otherwise"
    )]
    SeveralExternal {
        /// How many.
        count: usize,
    },
}

impl AmsMapping {
    /// The mapping for a plate.
    ///
    /// `project_filaments` counts all filaments of the project: every plate's arrays have that length. `used` are those
    /// of the plate, and `choices` the slot of each, by numbers that count from 1 as in slice_info.config. Choices for
    /// filaments that the plate does not use are left out. `report` must hold a full report.
    pub fn new(
        project_filaments: usize,
        used: &[u32],
        choices: &[(u32, Slot)],
        report: &Report,
    ) -> Result<Self, MappingError> {
        let count = project_filaments;
        if count > FILAMENTS_MAX {
            return Err(MappingError::TooMany { count });
        }
        if used.is_empty() {
            return Err(MappingError::NoFilaments);
        }
        for filament in used.iter().copied().chain(choices.iter().map(|choice| choice.0)) {
            let exists = usize::try_from(filament).is_ok_and(|filament| (1..=count).contains(&filament));
            if !exists {
                return Err(MappingError::NoSuchFilament { filament, count });
            }
        }
        let mut slots = vec![None; count];
        for (slot, filament) in slots.iter_mut().zip(1u32..).filter(|(_, filament)| used.contains(filament)) {
            *slot = Some(chosen(filament, choices, report)?);
        }
        let external = slots.iter().position(|slot| *slot == Some(Slot::External));
        if let Some(index) = external.filter(|_| slots.iter().flatten().count() > 1) {
            return Err(MappingError::ExternalNotAlone { filament: u32::try_from(index + 1).unwrap_or(u32::MAX) });
        }
        let unused = TrayPair { ams_id: NO_UNIT, slot_id: NO_UNIT };
        Ok(Self {
            use_ams: external.is_none(),
            ams_mapping: slots.iter().map(|slot| slot.map_or(-1, Slot::global_tray)).collect(),
            ams_mapping2: slots.iter().map(|slot| slot.map_or(unused, Slot::pair)).collect(),
        })
    }
}

/// The one slot chosen for a filament, if the printer has it and it holds filament.
fn chosen(filament: u32, choices: &[(u32, Slot)], report: &Report) -> Result<Slot, MappingError> {
    let mut of_filament = choices.iter().filter(|choice| choice.0 == filament).map(|choice| choice.1);
    let slot = of_filament.next().ok_or(MappingError::Unresolved { filament })?;
    if of_filament.next().is_some() {
        return Err(MappingError::Twice { filament });
    }
    if slot == Slot::External && report.external.len() > 1 {
        return Err(MappingError::SeveralExternal { count: report.external.len() });
    }
    let tray = slot.seen(report).ok_or(MappingError::NoSuchSlot { filament, slot })?;
    // No printer can tell whether there is an external spool; a person said so by choosing it.
    if tray.loaded == Some(true) || (slot == Slot::External && tray.loaded.is_none()) {
        Ok(slot)
    } else {
        Err(MappingError::Empty { filament, slot })
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
