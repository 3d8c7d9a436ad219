//! What a decision asks for, as data: an ordered list of effects, carried out in this order or not at all.
//!
//! Each write is a replace with the resourceVersion the decision was made on, so that a decision made on old facts
//! changes nothing. After the first effect that fails the rest is dropped and everything is observed again.

use std::time::Duration;

use printernizer_crds::{PrintJobStatus, PrintRecordStatus, PrinterStatus};

/// Marks, in the message of a condition, what a person wrote and what changes nothing.
pub const NO_EFFECT: &str = "has no effect";

/// What a person is told whose id is not the one that is asked for.
pub(crate) fn without_effect(field: &str, written: &str, wanted: &str) -> String {
    format!(". {field} is {written}, which is not {wanted} and {NO_EFFECT}")
}

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Replace the status of the Printer that was observed.
    WritePrinter(Box<PrinterStatus>),
    /// Replace the status of the PrintJob that was observed.
    WriteJob(Box<PrintJobStatus>),
    /// Remove our finalizer from the observed Printer.
    RemovePrinterFinalizer,
    /// Put our finalizer on the observed Printer.
    AddPrinterFinalizer,
    /// Remove our finalizer from the observed PrintJob.
    RemoveJobFinalizer,
    /// Remember the end of the print in its PrintRecord, if there is one.
    FinishRecord(PrintRecordStatus),
    /// Delete the PrintJob, whose time-to-live is over.
    DeleteJob,
    /// Fetch and read the job's file.
    FetchFile,
    /// Hand a command to the printer's session. It is carried out there, one at a time; asking again changes nothing.
    Device(DeviceCommand),
}

/// A command to a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeviceCommand {
    /// Upload the job's file under this name and verify its size.
    Upload {
        /// Name on the device.
        remote_name: String,
    },
    /// Take a start permit and try to start: gate, intent, send.
    Start,
    /// Pause the print.
    Pause,
    /// Resume the print.
    Resume,
    /// Stop the print.
    Stop,
    /// Delete a file; absent is fine.
    DeleteFile {
        /// Name on the device.
        remote_name: String,
    },
}

/// What to do now, and when to look again even if nothing happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Effects in their order.
    pub effects: Vec<Effect>,
    /// Look again after this time at the latest.
    pub look_again: Option<Duration>,
}

impl Plan {
    /// Nothing to do.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Nothing to do now; look again after this time.
    pub fn wait(after: Duration) -> Self {
        Self { effects: Vec::new(), look_again: Some(after) }
    }

    /// These effects.
    pub fn of(effects: impl IntoIterator<Item = Effect>) -> Self {
        Self { effects: effects.into_iter().collect(), look_again: None }
    }

    /// The same plan, looked at again after this time at the latest.
    #[must_use]
    pub fn again(mut self, after: Duration) -> Self {
        self.look_again = Some(self.look_again.map_or(after, |t| t.min(after)));
        self
    }

    /// The same plan with one more effect at its end.
    #[must_use]
    pub fn then(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}
