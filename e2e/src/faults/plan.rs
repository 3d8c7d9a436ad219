//! What goes wrong in one life, as data and as the name by which it is asked for again.

use std::fmt;
use std::str::FromStr;

use printernizer_simulator::Fault;

use crate::life::{Course, Life, Maker, Step};

/// Between the things that go wrong.
const THEN: &str = ", then ";
const TWO: &str = "with two operators";
const CANCELED: &str = "canceled";
const DISK_FULL: &str = "disk-full";
const PRINTER: &str = "printer ";

/// One life, and what goes wrong in it. Reads as text, and from text, as
/// `prusa: drop-after prusa-1 POST start #1` or `bambu, with two operators: sigstop-before PUT ... #1, then ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The life.
    pub life: Life,
    /// What goes wrong.
    pub steps: Vec<Step>,
}

/// A text that names no plan.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no plan: write `prusa|bambu[, with two operators][, canceled]: WHAT[, then WHAT]`; --list shows many"
)]
pub struct NoPlan(String);

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Life { maker, course, operators } = self.life;
        formatter.write_str(match maker {
            Maker::Prusa => "prusa",
            Maker::Bambu => "bambu",
        })?;
        if operators > 1 {
            write!(formatter, ", {TWO}")?;
        }
        if course == Course::Canceled {
            write!(formatter, ", {CANCELED}")?;
        }
        formatter.write_str(": ")?;
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                formatter.write_str(THEN)?;
            }
            match step {
                Step::Request(rule) => write!(formatter, "{rule}")?,
                Step::Printer(fault) => {
                    let text = serde_json::to_string(fault).map_err(|_| fmt::Error)?;
                    write!(formatter, "{PRINTER}{text}")?;
                }
                Step::DiskFull => formatter.write_str(DISK_FULL)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = NoPlan;

    fn from_str(text: &str) -> Result<Self, NoPlan> {
        let wrong = || NoPlan(text.to_owned());
        let (head, steps) = text.split_once(": ").ok_or_else(wrong)?;
        let mut words = head.split(", ");
        let maker = match words.next() {
            Some("prusa") => Maker::Prusa,
            Some("bambu") => Maker::Bambu,
            _ => return Err(wrong()),
        };
        let mut life = Life::new(maker, Course::Printed);
        for word in words {
            match word {
                TWO => life.operators = 2,
                CANCELED => life.course = Course::Canceled,
                _ => return Err(wrong()),
            }
        }
        let step = |text: &str| match text.strip_prefix(PRINTER) {
            _ if text == DISK_FULL => Ok(Step::DiskFull),
            Some(json) => serde_json::from_str::<Fault>(json).map(Step::Printer).map_err(|_| wrong()),
            None => text.parse().map(Step::Request).map_err(|_| wrong()),
        };
        Ok(Self { life, steps: steps.split(THEN).map(step).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_as_it_is_written() {
        for text in [
            "prusa: drop-after prusa-1 POST start #1",
            "bambu, with two operators, canceled: sigstop-before PUT printers/bambu-1/status Idle intent clear #1, then disk-full",
            "prusa: printer {\"kind\":{\"answer\":{\"status\":500}},\"method\":\"POST\",\"count\":1}",
            "bambu: late GET printers/bambu-1 #1 since PATCH printjobs/clip-1 with finalizer #1",
        ] {
            assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
        }
        for text in ["", "voron: disk-full", "prusa: ", "prusa, at night: disk-full", "prusa: printer {}"] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
