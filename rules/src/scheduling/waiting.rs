//! Which jobs wait for a printer, and what they are told. All that wait share one constant text, so that thousands of them
//! are not written again whenever a printer changes; only the job that is next for a printer is told what keeps that
//! printer from it.
//!
//! What passes by itself (a print that runs, a connection being made) is not told: it changes too often.

use std::fmt::Write as _;

use jiff::Timestamp;
use printernizer_crds::print_job::DesiredState;
use printernizer_crds::{ConditionType, Conditions, PrintJob, Printer, PrinterStatus, Reason};

use super::free::NotFree;
use crate::print_job::is_copy;

/// The one message of every job that waits for a printer that could print it.
pub const QUEUED_MESSAGE: &str =
    "waiting for a printer that fits and is free; `kubectl get printers` shows beds to clear";
/// The one message of every job that no printer is known to fit, but one that was never connected may.
const UNCONNECTED_MESSAGE: &str =
    "no printer is known to fit; one that has never been connected may: `kubectl get printers` shows what keeps it";
/// The message of a job whose file keeps it from a free printer. It names no other job and no time: both change.
const FOR_FILE_MESSAGE: &str = "a printer is free, but the file has left the operator's cache, and another job just failed \
     to get its file from the same source or into the cache: `kubectl get printjobs` shows it, with the reason. This one \
     tries within 5 minutes, and at once when a file comes; other jobs print meanwhile";
/// Most printers a job is told of by name. A job that is next for more of them is told nothing of any: which those are
/// changes all the time in a large farm.
pub const MAX_NEXT_FOR: usize = 3;

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// For a printer that fits to become free.
    Queued,
    /// For a printer to be connected for the first time: what it has then may fit.
    Unconnected,
    /// Likewise, and it is the next for these printers, each of which needs something first.
    NextFor(Vec<NextFor>),
    /// For someone to change a printer or the job; the text says what excluded how many.
    NoMatchingPrinter(String),
    /// For its file, which is not at hand and cannot be had at present, with a printer free that fits.
    ForFile,
    /// Until its next attempt.
    BackingOff(Timestamp),
}

/// A printer that would take the job, and what keeps it from that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextFor {
    /// Name of the Printer.
    pub printer: String,
    /// What keeps it.
    pub obstacle: Obstacle,
}

/// What keeps a printer from its next job and does not pass by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody has confirmed that its bed is clear.
    Bed,
    /// Anything else, for people.
    Other(String),
}

/// Whether the job is one the scheduler looks at: accepted with the facts of its file, wanted, without printer, and
/// neither started, ended nor before a person.
pub fn is_waiting_for_a_printer(job: &PrintJob) -> bool {
    let Some(status) = job.status.as_ref() else { return false };
    let over = [ConditionType::Complete, ConditionType::Failed, ConditionType::Started, ConditionType::OutcomeUnknown];
    job.metadata.deletion_timestamp.is_none()
        && job.spec.desired_state == DesiredState::Run
        && status.conditions.is_true(ConditionType::Accepted)
        && !over.into_iter().any(|c| status.conditions.is_true(c))
        && status.file.is_some()
        && status.printer.is_none()
        && status.start.is_none()
        && !is_copy(job)
}

impl Waiting {
    /// Reason for the condition Scheduled.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Queued | Self::Unconnected => Reason::Queued,
            Self::NextFor(next) if next.iter().any(|n| n.obstacle == Obstacle::Bed) => Reason::WaitingForBed,
            Self::NextFor(_) => Reason::WaitingForPrinter,
            Self::NoMatchingPrinter(_) => Reason::NoMatchingPrinter,
            Self::ForFile => Reason::WaitingForFile,
            Self::BackingOff(_) => Reason::BackingOff,
        }
    }

    /// Message for the condition Scheduled. It stays the same while the cause does.
    pub fn message(&self) -> String {
        match self {
            Self::Queued => QUEUED_MESSAGE.to_owned(),
            Self::Unconnected => UNCONNECTED_MESSAGE.to_owned(),
            Self::NextFor(next) => next_for(next),
            Self::NoMatchingPrinter(text) => text.clone(),
            Self::ForFile => FOR_FILE_MESSAGE.to_owned(),
            Self::BackingOff(until) => format!("the next attempt is made after {until}"),
        }
    }
}

fn next_for(next: &[NextFor]) -> String {
    let mut text = "the next job for ".to_owned();
    for (at, NextFor { printer, obstacle }) in next.iter().enumerate() {
        let between = if at == 0 { "" } else { " or " };
        let what = match obstacle {
            Obstacle::Bed => "bed not confirmed clear",
            Obstacle::Other(what) => what,
        };
        let _ = write!(text, "{between}{printer} ({what})");
    }
    let names: Vec<_> = next.iter().map(|n| n.printer.as_str()).collect();
    let _ = write!(text, "; `kubectl describe printer {}` says what to do", names.join(" "));
    text
}

/// What a person, or a moment that is known, must do before this printer takes its next job; `None` where that passes by
/// itself, or is not known yet.
pub(super) fn obstacle(printer: &Printer, not_free: &NotFree) -> Option<Obstacle> {
    let status = printer.status.as_ref()?;
    match not_free {
        NotFree::BeingDeleted | NotFree::Claimed { .. } | NotFree::StartUnresolved { .. } => None,
        NotFree::Unschedulable => Some(Obstacle::Other("unschedulable".into())),
        NotFree::NotReady => {
            let ready = status.conditions.condition(ConditionType::Ready).filter(|c| c.status == "False")?;
            let refuses = ready.reason == Reason::ControlRefused.as_str();
            let what = if refuses { &ready.message } else { &ready.reason };
            Some(Obstacle::Other(format!("not ready: {what}")))
        }
        NotFree::BedNotCleared => {
            let bed = status.conditions.condition(ConditionType::BedCleared)?;
            if bed.reason == Reason::PrintInProgress.as_str() { busy(status) } else { Some(Obstacle::Bed) }
        }
        NotFree::NotIdle => busy(status),
        NotFree::UnreadableWindow(what) => Some(Obstacle::Other(format!("spec.startWindows cannot be read: {what}"))),
        NotFree::OutsideStartWindows { opens: Some(at) } => {
            Some(Obstacle::Other(format!("prints may start from {at} on")))
        }
        NotFree::OutsideStartWindows { opens: None } => Some(Obstacle::Other("no start window opens any more".into())),
    }
}

/// What a printer does that was not started here.
fn busy(status: &PrinterStatus) -> Option<Obstacle> {
    let idle = status.conditions.condition(ConditionType::Idle).filter(|c| c.status == "False")?;
    let foreign = [Reason::Occupied, Reason::Attention].iter().any(|r| r.as_str() == idle.reason);
    foreign.then(|| Obstacle::Other(format!("not idle: {}", idle.reason)))
}
