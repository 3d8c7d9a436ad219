//! Error codes of a printer as people can use them: what happened, where, how bad, what to do next, and the few
//! distinctions a start depends on. Pure. It never decides whether a print failed, and guesses nothing about a code it
//! does not know. How codes are put together: ha-bambulab (pybambu), Bambu Studio and bambuddy; see README.md.

mod texts;

use std::fmt;

use texts::{HMS, PRINT_ERRORS, Row};

use crate::report::{CANCELLED_CODES, Hms};

/// Error numbers below this are states, not errors.
const FIRST_ERROR: u32 = 0x4000;
/// A start was refused, because there is a job already.
pub(crate) const BUSY_WITH_JOB: u32 = 0x0500_4004;
/// The low half of a unit in codes of the AMS that means the external spool, of either nozzle.
const EXTERNAL_UNITS: [u8; 2] = [0xFE, 0xFF];

/// The code in `print.print_error` of a report, when it is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrintError(u32);

/// The part of the printer a code is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Axes, heaters, fans.
    MotionController,
    /// Files, network, jobs.
    Mainboard,
    /// An AMS, AMS lite or AMS HT; the first has number 1.
    Ams(u8),
    /// The external spool.
    ExternalSpool,
    /// The toolhead.
    Toolhead,
    /// The camera and what it watches.
    Camera,
    /// Any other, by its number.
    Other(u8),
}

/// How bad an HMS entry is, in the printer's opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing works any more.
    Fatal,
    /// The print suffers.
    Serious,
    /// Should be looked at.
    Common,
    /// For information.
    Info,
    /// The printer does not say.
    Unknown,
}

/// What the printer does about a print error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing: a state, not an error.
    None,
    /// The job was stopped.
    Stopped,
    /// The job was paused.
    Paused,
    /// The screen asks something.
    Asks,
    /// The code does not tell.
    Unknown,
}

/// A code in plain words. `Display` is one sentence, the code, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The code as the printer's screen shows it.
    pub code: String,
    /// What happened.
    pub what: String,
    /// What a person can do.
    pub next: String,
    /// Whether the code is one of those explained here.
    pub known: bool,
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}): {}", self.what, self.code, self.next)
    }
}

impl PrintError {
    /// The code, or `None` for 0, which means that there is none.
    pub fn new(code: u32) -> Option<Self> {
        (code != 0).then_some(Self(code))
    }

    /// Where it comes from.
    pub fn part(self) -> Part {
        part(self.0)
    }

    /// Whether this is an error at all. Some numbers only say what the printer is doing.
    pub fn is_error(self) -> bool {
        self.0 & 0xFFFF >= FIRST_ERROR
    }

    /// What the printer does about it. The first digit of the number tells (bambuddy#2728).
    pub fn consequence(self) -> Consequence {
        match (self.0 >> 12) & 0xF {
            0..4 => Consequence::None,
            4 => Consequence::Stopped,
            8 => Consequence::Paused,
            0xC => Consequence::Asks,
            _ => Consequence::Unknown,
        }
    }

    /// Whether nothing may be started while it stands: every error does, because it is shown on the screen until a
    /// person has answered it. A start into an interrupted print (0300_8007) could be taken for the answer.
    pub fn blocks_start(self) -> bool {
        self.is_error()
    }

    /// Whether it says that a power loss interrupted a print that the printer offers to resume.
    pub fn is_unfinished_print(self) -> bool {
        self.0 == 0x0300_8007
    }

    /// Whether it says that a start was refused because the printer is busy with a job. It stands on the screen and says
    /// neither whose start that was nor which job: a start of another program is refused so because of ours, too
    /// (bambuddy#2598).
    pub fn is_busy_with_job(self) -> bool {
        self.0 == BUSY_WITH_JOB
    }

    /// Whether it says that a print was canceled. It stands for about two seconds; afterwards a canceled print looks
    /// like a failed one.
    pub fn is_cancellation(self) -> bool {
        CANCELLED_CODES.contains(&self.0)
    }

    /// In plain words.
    pub fn explain(self) -> Explanation {
        let (code, part) = (self.to_string(), self.part());
        match find(self.0) {
            Some(row) => Explanation { code, what: placed(part, row.what), next: row.next.to_owned(), known: true },
            None => unknown(code, part, &format!("{:08X}", self.0)),
        }
    }
}

impl fmt::Display for PrintError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04X}_{:04X}", self.0 >> 16, self.0 & 0xFFFF)
    }
}

impl Hms {
    /// Where it comes from.
    pub fn part(self) -> Part {
        part(self.attr)
    }

    /// How bad it is. A printer without internet calls that serious: severity alone blocks nothing.
    pub fn severity(self) -> Severity {
        match self.code >> 16 {
            1 => Severity::Fatal,
            2 => Severity::Serious,
            3 => Severity::Common,
            4 => Severity::Info,
            _ => Severity::Unknown,
        }
    }

    /// In plain words.
    pub fn explain(self) -> Explanation {
        let (code, part) = (self.to_string(), self.part());
        let number = u64::from(first_unit(self.attr)) << 32 | u64::from(self.code);
        match HMS.iter().find(|row| row.0 == number) {
            Some((_, what, next)) => {
                Explanation { code, what: placed(part, what), next: (*next).to_owned(), known: true }
            }
            None => unknown(code, part, &format!("{:08X}{:08X}", self.attr, self.code)),
        }
    }
}

impl fmt::Display for Hms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attr, code } = self;
        write!(formatter, "{:04X}_{:04X}_{:04X}_{:04X}", attr >> 16, attr & 0xFFFF, code >> 16, code & 0xFFFF)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MotionController => formatter.write_str("motion controller"),
            Self::Mainboard => formatter.write_str("mainboard"),
            Self::Ams(unit) => write!(formatter, "AMS {unit}"),
            Self::ExternalSpool => formatter.write_str("external spool"),
            Self::Toolhead => formatter.write_str("toolhead"),
            Self::Camera => formatter.write_str("camera"),
            Self::Other(number) => write!(formatter, "module {number:02X}"),
        }
    }
}

/// The module in the first byte, and for an AMS the unit in the second. 07 is an AMS, 12 an AMS lite, 18 an AMS HT.
fn part(word: u32) -> Part {
    let [module, unit, ..] = word.to_be_bytes();
    match module {
        0x03 => Part::MotionController,
        0x05 => Part::Mainboard,
        0x07 | 0x12 | 0x18 if EXTERNAL_UNITS.contains(&unit) => Part::ExternalSpool,
        0x07 | 0x12 | 0x18 => Part::Ams((unit & 0x7F).saturating_add(1)),
        0x08 => Part::Toolhead,
        0x0C => Part::Camera,
        other => Part::Other(other),
    }
}

/// The same word about the first AMS, for the tables.
fn first_unit(word: u32) -> u32 {
    match part(word) {
        Part::Ams(_) | Part::ExternalSpool => 0x0700_0000 | (word & 0xFFFF),
        _ => word,
    }
}

fn find(code: u32) -> Option<&'static Row> {
    let code = first_unit(code);
    PRINT_ERRORS.iter().find(|row| row.code == code)
}

fn placed(part: Part, what: &str) -> String {
    match part {
        Part::Ams(_) | Part::ExternalSpool => format!("{part}: {what}"),
        _ => what.to_owned(),
    }
}

fn unknown(code: String, part: Part, digits: &str) -> Explanation {
    Explanation {
        code,
        what: format!("the printer reports an error of its {part}"),
        next: format!("see https://e.bambulab.com/?e={digits} for what it means"),
        known: false,
    }
}

#[cfg(test)]
mod tests;
