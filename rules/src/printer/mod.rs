//! Printer: what is known of a machine, whether it may be used, and what lies on its bed. `decide` is the way in.

pub mod bed;
mod contradictions;
mod decide;
mod status;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::{PrintJob, Printer};

use crate::device::Link;
use crate::timing::Timing;

pub(crate) use decide::leftovers;
pub use decide::{decide, owes_verdict, wants_connection};
pub(crate) use status::DEVELOPER_MODE;
pub use status::{fault_of, serial_claimed};

/// Everything one decision about a Printer depends on.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The printer, from a quorum read.
    pub printer: &'a Printer,
    /// The connection.
    pub link: &'a Link,
    /// Address the session connects to.
    pub host: Option<&'a str>,
    /// Whether this process has watched the device without a pause since its previous report was judged. The first
    /// report of a connection was not.
    pub watched: bool,
    /// The job that holds the printer, from a quorum read; `None` when none does or the job is gone.
    pub job: Option<&'a PrintJob>,
    /// The job of `lastStart`, from a quorum read; `None` when it is gone.
    pub last_start_job: Option<&'a PrintJob>,
    /// Whether the identity the device shows belongs to a PrintJob that exists.
    pub shown_job_exists: bool,
    /// A PrintJob with an unresolved start on this device that no Printer holds, of a Printer that was created again.
    pub orphan: Option<&'a PrintJob>,
    /// Name of another Printer for the same device that comes first.
    pub duplicate_of: Option<&'a str>,
    /// Live reports counted by this process since it began to watch `lastStart`.
    pub last_start_live: Duration,
    /// Names of files that were deleted on this connection.
    pub deleted: &'a [String],
    /// Whether all starts are held.
    pub hold_starts: bool,
    /// A fresh random id, for the bed or a distrust.
    pub fresh_id: &'a str,
    /// Now.
    pub now: Timestamp,
    /// Windows.
    pub timing: &'a Timing,
}
