//! The machine's screens and what the network shows for each: the state string and whether there is a job object.
//!
//! The network shows IDLE also for the preview of an uploaded file and for the first moments of a start; PRINTING also
//! while parking after a stop or at the end. The job object exists while printing, paused or at a dialog of a print,
//! so it vanishes the instant a print ends.

use std::time::Duration;

use crate::{
    Outcome, PrintIdentity, StartCause,
    buddy::usb::FoundFile,
    fault::{Incidents, QuestionKind},
};

/// The state as PrusaLink writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    Idle,
    Busy,
    Printing,
    Paused,
    Finished,
    Stopped,
    Attention,
}

/// A dialog in the middle of a print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    FilamentRunout,
    DoorOpen,
    UsbMissing,
    PowerCut,
}

/// One print from its acceptance to its end screen.
#[derive(Debug, Clone)]
pub(crate) struct Print {
    pub(crate) job_id: u16,
    pub(crate) cause: StartCause,
    pub(crate) file: FoundFile,
    /// From the slicer's estimate, simulated.
    pub(crate) duration: Duration,
    /// Printed so far, not counting a stretch that is running.
    pub(crate) printed: Duration,
    pub(crate) incidents: Incidents,
}

/// What the machine is at. Times are simulated.
#[derive(Debug)]
pub(crate) enum Screen {
    Off { saved: Option<Box<Print>> },
    Red { file_name: String },
    Idle,
    Preview { path: Vec<String>, long_name: String },
    Starting { print: Box<Print>, until: Duration },
    Question { print: Box<Print>, question: QuestionKind, continues_at: Option<Duration> },
    Printing { print: Box<Print>, since: Duration },
    Stuck { print: Box<Print>, fails_at: Option<Duration> },
    Pausing { print: Box<Print>, until: Duration },
    Paused { print: Box<Print> },
    Resuming { print: Box<Print>, until: Duration },
    Attention { print: Box<Print>, problem: Problem },
    Recovering { print: Box<Print>, until: Duration },
    Aborting { print: Box<Print>, until: Duration, outcome: Outcome },
    Finishing { print: Box<Print>, until: Duration },
    Finished { print: Box<Print> },
    Stopped { print: Box<Print> },
}

impl LinkState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::Busy => "BUSY",
            Self::Printing => "PRINTING",
            Self::Paused => "PAUSED",
            Self::Finished => "FINISHED",
            Self::Stopped => "STOPPED",
            Self::Attention => "ATTENTION",
        }
    }
}

impl Print {
    /// How the ledger names it.
    pub(crate) fn identity(&self) -> PrintIdentity {
        PrintIdentity::PrusaLink { job_id: self.job_id }
    }

    /// Progress in percent once this much is printed.
    pub(crate) fn percent_at(&self, printed: Duration) -> u8 {
        let percent = printed.as_millis() * 100 / self.duration.as_millis().max(1);
        u8::try_from(percent.min(100)).unwrap_or(100)
    }

    /// How much must be printed for this progress.
    pub(crate) fn printed_at(&self, percent: u8) -> Duration {
        self.duration.mul_f64(f64::from(percent.min(100)) / 100.0)
    }
}

impl Screen {
    /// What the network shows, `None` while nothing answers.
    pub(crate) fn link_state(&self) -> Option<LinkState> {
        Some(match self {
            Self::Off { .. } | Self::Red { .. } => return None,
            Self::Idle | Self::Preview { .. } | Self::Starting { .. } => LinkState::Idle,
            Self::Printing { .. } | Self::Stuck { .. } | Self::Aborting { .. } | Self::Finishing { .. } => {
                LinkState::Printing
            }
            Self::Pausing { .. } | Self::Paused { .. } | Self::Resuming { .. } => LinkState::Paused,
            Self::Question { .. } | Self::Attention { .. } => LinkState::Attention,
            Self::Recovering { .. } => LinkState::Busy,
            Self::Finished { .. } => LinkState::Finished,
            Self::Stopped { .. } => LinkState::Stopped,
        })
    }

    /// The print this screen belongs to, end screens and a cut-off print included.
    pub(crate) fn print(&self) -> Option<&Print> {
        match self {
            Self::Red { .. } | Self::Idle | Self::Preview { .. } => None,
            Self::Off { saved } => saved.as_deref(),
            Self::Starting { print, .. }
            | Self::Question { print, .. }
            | Self::Printing { print, .. }
            | Self::Stuck { print, .. }
            | Self::Pausing { print, .. }
            | Self::Paused { print }
            | Self::Resuming { print, .. }
            | Self::Attention { print, .. }
            | Self::Recovering { print, .. }
            | Self::Aborting { print, .. }
            | Self::Finishing { print, .. }
            | Self::Finished { print }
            | Self::Stopped { print } => Some(print),
        }
    }

    /// Whether a print is under way: its file is busy and nothing else can be chosen at the screen.
    pub(crate) fn is_active(&self) -> bool {
        !matches!(
            self,
            Self::Off { .. }
                | Self::Red { .. }
                | Self::Idle
                | Self::Preview { .. }
                | Self::Finished { .. }
                | Self::Stopped { .. }
        )
    }

    /// Whether the network shows a job object.
    pub(crate) fn has_job(&self) -> bool {
        matches!(self.link_state(), Some(LinkState::Printing | LinkState::Paused | LinkState::Attention))
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Off { .. } => "off".to_owned(),
            Self::Red { file_name } => format!("red error screen after {file_name}"),
            Self::Idle => "idle".to_owned(),
            Self::Preview { long_name, .. } => format!("preview of {long_name}"),
            Self::Starting { .. } => "starting".to_owned(),
            Self::Question { question, .. } => format!("question {question:?}"),
            Self::Printing { .. } => "printing".to_owned(),
            Self::Stuck { .. } => "printing (stuck)".to_owned(),
            Self::Pausing { .. } => "pausing".to_owned(),
            Self::Paused { .. } => "paused".to_owned(),
            Self::Resuming { .. } => "resuming".to_owned(),
            Self::Attention { problem, .. } => format!("dialog {problem:?}"),
            Self::Recovering { .. } => "recovering".to_owned(),
            Self::Aborting { .. } => "aborting".to_owned(),
            Self::Finishing { .. } => "finishing".to_owned(),
            Self::Finished { .. } => "finished".to_owned(),
            Self::Stopped { .. } => "stopped".to_owned(),
        }
    }
}
