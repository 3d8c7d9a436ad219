//! What can be done to a request, and which request is meant; both read as text and from text, so that whatever failed
//! can be asked for again by name.

use std::fmt;
use std::str::FromStr;

/// What is done to a request. All but the first two leave the process alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// The life ends before the request is forwarded.
    StopBefore,
    /// The life ends after the request was carried out; its answer is not delivered.
    StopAfter,
    /// Its connection ends, and it is not carried out.
    DropBefore,
    /// It is carried out; its connection ends instead of an answer.
    DropAfter,
    /// It is carried out after its sender has given it up. Only in front of the API server.
    Late,
    /// It is carried out at once, and answered when its sender has given it up.
    AnswerLate,
    /// It is answered with this HTTP status, and not carried out.
    Refuse(u16),
    /// The watches that are open end in the middle of the next line.
    CutWatches,
    /// The watches that are open end with 410: what they knew is too old.
    ExpireWatches,
    /// The watches that are open tell nothing for a while, then everything.
    FreezeWatches,
    /// As `StopAfter`; what the next life lists first, it is shown as it was right before this write, and its watches
    /// begin late.
    StaleAfter,
    /// The same, as it was at the first write of all.
    AncientAfter,
    /// It is held before it is carried out, while something is done to the process or the printer.
    HoldBefore(Deed),
    /// It is carried out, and its answer is held meanwhile.
    HoldAfter(Deed),
}

/// What is done while a request is held; by whoever runs the process and the printers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// The process is stopped (`SIGSTOP`) for longer than a lease, and goes on.
    Freeze,
    /// The process's wall clock jumps ahead by an hour.
    ClockAhead,
    /// Its wall clock jumps back by an hour.
    ClockBack,
    /// The printer is switched off and on, and forgets what it was printing.
    Reboot,
    /// The printer cannot be reached for a while.
    Unreachable,
    /// The printer is silent for a while, and its connections stay open.
    Silent,
}

/// Every hook with its name in texts.
const NAMES: [(&str, Hook); 29] = [
    ("before", Hook::StopBefore),
    ("after", Hook::StopAfter),
    ("drop-before", Hook::DropBefore),
    ("drop-after", Hook::DropAfter),
    ("late", Hook::Late),
    ("answer-late", Hook::AnswerLate),
    ("answer-409", Hook::Refuse(409)),
    ("answer-429", Hook::Refuse(429)),
    ("answer-500", Hook::Refuse(500)),
    ("answer-503", Hook::Refuse(503)),
    ("answer-404", Hook::Refuse(404)),
    ("cut-watches-before", Hook::CutWatches),
    ("expire-watches-before", Hook::ExpireWatches),
    ("freeze-watches-before", Hook::FreezeWatches),
    ("stale-after", Hook::StaleAfter),
    ("ancient-after", Hook::AncientAfter),
    ("sigstop-before", Hook::HoldBefore(Deed::Freeze)),
    ("sigstop-after", Hook::HoldAfter(Deed::Freeze)),
    ("clock-ahead-before", Hook::HoldBefore(Deed::ClockAhead)),
    ("clock-ahead-after", Hook::HoldAfter(Deed::ClockAhead)),
    ("clock-back-before", Hook::HoldBefore(Deed::ClockBack)),
    ("clock-back-after", Hook::HoldAfter(Deed::ClockBack)),
    ("reboot-before", Hook::HoldBefore(Deed::Reboot)),
    ("reboot-after", Hook::HoldAfter(Deed::Reboot)),
    ("unreachable-before", Hook::HoldBefore(Deed::Unreachable)),
    ("unreachable-after", Hook::HoldAfter(Deed::Unreachable)),
    ("silent-before", Hook::HoldBefore(Deed::Silent)),
    ("silent-after", Hook::HoldAfter(Deed::Silent)),
    ("answer-504", Hook::Refuse(504)),
];

impl Hook {
    /// All hooks.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(_, hook)| *hook)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (NAMES.iter().find(|(_, hook)| hook == self), self) {
            (Some((name, _)), _) => formatter.write_str(name),
            (None, other) => write!(formatter, "{other:?}"),
        }
    }
}

/// Which request is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The n-th write of this name, see [`super::Write::name`].
    Named {
        /// The name.
        name: String,
        /// n, from 1, over all lives.
        occurrence: usize,
    },
    /// The n-th write of a life, whatever it is.
    OfLife {
        /// The life, from 0.
        life: u64,
        /// n, from 1.
        nth: usize,
    },
    /// The n-th read of this name since a write: reads alone are too many and too much alike.
    Since {
        /// The name of the read.
        name: String,
        /// n, from 1.
        nth: usize,
        /// The name of the write.
        write: String,
        /// Its place among the writes of that name, from 1.
        occurrence: usize,
    },
}

impl fmt::Display for Which {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { name, occurrence } => write!(formatter, "{name} #{occurrence}"),
            Self::OfLife { life, nth } => write!(formatter, "write {nth} of life {life}"),
            Self::Since { name, nth, write, occurrence } => {
                write!(formatter, "{name} #{nth} since {write} #{occurrence}")
            }
        }
    }
}

/// One row of the table: which request, and what happens to it. A row is used once. Reads as text, and from text, as
/// `after prusa-1 POST start #1`, `before write 3 of life 1` or `drop-after GET printers/prusa-1 #2 since POST
/// printrecords #1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Which request.
    pub which: Which,
    /// What happens.
    pub hook: Hook,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.hook, self.which)
    }
}

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no row: write `HOOK <name of the write> #<which>`, `HOOK write <which> of life <n>` or `HOOK <name of the \
     read> #<which> since <name of a write> #<which>`, with `before`, `after`, `drop-before` or another HOOK"
)]
pub struct NoRule(String);

impl FromStr for Rule {
    type Err = NoRule;

    fn from_str(text: &str) -> Result<Self, NoRule> {
        let wrong = || NoRule(text.to_owned());
        let (hook, rest) = text.split_once(' ').ok_or_else(wrong)?;
        let hook = NAMES.iter().find(|(name, _)| *name == hook).map(|(_, hook)| *hook).ok_or_else(wrong)?;
        let numbered = |text: &str| {
            let (name, number) = text.rsplit_once(" #")?;
            Some((name.to_owned(), number.parse().ok()?))
        };
        let which = if let Some((nth, life)) = rest.strip_prefix("write ").and_then(|r| r.split_once(" of life ")) {
            Which::OfLife { life: life.parse().map_err(|_| wrong())?, nth: nth.parse().map_err(|_| wrong())? }
        } else if let Some((read, write)) = rest.split_once(" since ") {
            let ((name, nth), (write, occurrence)) =
                (numbered(read).ok_or_else(wrong)?, numbered(write).ok_or_else(wrong)?);
            Which::Since { name, nth, write, occurrence }
        } else {
            let (name, occurrence) = numbered(rest).ok_or_else(wrong)?;
            Which::Named { name, occurrence }
        };
        Ok(Self { which, hook })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_and_every_way_to_mean_a_request_reads_as_it_is_written() {
        for hook in Hook::all() {
            for which in
                ["PUT printjobs/clip-1/status Assigned claim #2", "write 3 of life 1", "GET a/b #2 since PUT c #1"]
            {
                let text = format!("{hook} {which}");
                assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
            }
        }
        for text in [
            "",
            "before",
            "during prusa-1 POST start #1",
            "after prusa-1 POST start",
            "after write x of life 1",
            "late GET a/b #1 since PUT c",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
