//! PrintJob: from acceptance to its end. `decide` is the way in; `start` holds the table of the start protocol.

mod accept;
mod claim;
mod decide;
mod finish;
mod follow;
pub mod gate;
mod leave;
mod question;
mod release;
pub mod start;
pub mod status;
#[cfg(test)]
mod tests;
mod watch;

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::print_job::{FileStatus, SlotChoice};
use printernizer_crds::{
    ConditionStatus, ConditionType, Conditions, PrintJob, PrintJobStatus, PrintRecord, Printer, Reason,
};

use crate::device::Link;
use crate::timing::Timing;

pub(crate) use accept::is_copy;
pub use accept::{is_tracked, kept_sha256, place_of_file, run_annotation};
pub use claim::needs_file_at_hand;
pub use decide::decide;
pub use start::Watch;

/// Everything one decision about a PrintJob depends on.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The job, from a quorum read.
    pub job: &'a PrintJob,
    /// The printer the job names or is held by, from a quorum read; `None` when it names none or the printer is gone.
    pub printer: Option<&'a Printer>,
    /// The session of that printer in this process, if there is one.
    pub session: Option<SessionView<'a>>,
    /// What is known of the job's file. For a job that [needs it at hand](needs_file_at_hand), `Read` means that it is.
    pub file: FileView<'a>,
    /// A record of an earlier print of a job with the same namespace, name and runID, but another UID.
    pub printed_before: Option<&'a PrintRecord>,
    /// The connection to a device that shows an attempt of this job although nothing is recorded of it, or did so when it
    /// was last heard; `None` once every such device shows something else, or is gone.
    pub shown_on: Option<&'a Link>,
    /// The mapping of filaments to the slots of `printer`, or why there is none.
    pub mapping: Option<Result<Vec<SlotChoice>, String>>,
    /// The scheduler's word on a job that waits.
    pub waiting: Option<Waiting>,
    /// A fresh random id, for a question or the bed.
    pub fresh_id: &'a str,
    /// Now.
    pub now: Timestamp,
    /// Windows.
    pub timing: &'a Timing,
}

impl Observed<'_> {
    /// Sets one condition in a status of this job.
    fn set(
        &self,
        status: &mut PrintJobStatus,
        type_: ConditionType,
        is: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
    ) {
        status::set(status, self.job, self.now, type_, is, reason, message);
    }

    /// Says in the condition Started how the start stands, without changing whether it has happened.
    fn tell(&self, status: &mut PrintJobStatus, reason: Reason, message: impl Into<String>) {
        let started = status.conditions.is_true(ConditionType::Started);
        let is = if started { ConditionStatus::True } else { ConditionStatus::False };
        self.set(status, ConditionType::Started, is, reason, message);
    }
}

/// Why a job waits for a printer, as the scheduler says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `Queued`, `NoMatchingPrinter`, `BackingOff` or another one that stands under `Scheduled`.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// What the printer's session says about this job.
#[derive(Clone, Debug)]
pub struct SessionView<'a> {
    /// The connection.
    pub link: &'a Link,
    /// Whether the Printer's own pass has judged what this connection shows now, and `printer` was read after it had stored
    /// what that meant. Until then what is stored of the bed was said by a process before this one, or before a gap.
    pub judged: bool,
    /// How long it has not: because nothing is heard of the device, or because what it shows cannot be stored.
    pub unjudged_for: Duration,
    /// What it has seen of this attempt.
    pub watch: &'a Watch,
    /// How the upload stands.
    pub upload: UploadView,
    /// Why the last try to start did not get through the gate.
    pub closed: Option<gate::Closed>,
    /// How long no try has got through it.
    pub closed_for: Duration,
    /// Whether this file is known to be gone from the device.
    pub file_deleted: bool,
    /// That the device has not deleted this file although it was asked to.
    pub undeleted: Option<Undeleted>,
    /// A pause was sent on this connection and not yet answered by the device's state.
    pub pause_sent: bool,
}

/// A deletion the device has refused or not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undeleted {
    /// How long it has not succeeded.
    pub lasting: Duration,
    /// What the device said last, for people.
    pub message: String,
}

/// How an upload stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UploadView {
    /// Not begun in this process.
    #[default]
    Idle,
    /// Under way.
    Running {
        /// Percent sent.
        percent: i32,
    },
    /// Sent, and the device confirmed the whole size.
    Done,
    /// Not successful.
    Failed {
        /// For people.
        message: String,
    },
}

/// What is known of a job's file.
#[derive(Clone, Debug)]
pub enum FileView<'a> {
    /// Nothing yet.
    Unknown,
    /// It is being fetched.
    Fetching {
        /// For how long.
        lasting: Duration,
    },
    /// It was read; its facts.
    Read(&'a FileStatus),
    /// It cannot be had or used. It is tried again when that is asked for, after a pause, or when the spec changes.
    Refused {
        /// Why.
        reason: Reason,
        /// What to do.
        message: String,
    },
}
