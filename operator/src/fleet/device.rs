//! What a session needs of a driver, whatever the protocol. One implementation for each kind of connection.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use printernizer_crds::PrintJob;
use printernizer_rules::device::{DeviceKind, DeviceReport, LinkFault};
use printernizer_rules::identity::Token;
use printernizer_rules::print_job::start::SendAnswer;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why a device could not be asked, or did not do what it was asked.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct DeviceFault {
    /// Which kind of fault.
    pub cause: LinkFault,
    /// For people: what happened, and what to do.
    pub message: String,
}

/// What is said when a command is not carried out because another process leads.
pub(super) fn not_leading() -> DeviceFault {
    local(&"this operator does not lead any more")
}

/// A fault on this side of the connection, or one of which nothing but its words is known.
pub(super) fn local(message: &dyn std::fmt::Display) -> DeviceFault {
    DeviceFault { cause: LinkFault::Unreachable, message: message.to_string() }
}

/// A nozzle's diameter in the unit of the API; `None` for one that cannot be.
#[allow(clippy::cast_possible_truncation, reason = "bounded before the cast")]
pub(super) fn micrometers(millimeters: f64) -> Option<i32> {
    (0.05..=10.0).contains(&millimeters).then(|| (millimeters * 1000.0).round() as i32)
}

/// A report, and how much it is worth.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The report.
    pub report: DeviceReport,
    /// When the device said it, or was asked for it, whichever is earlier.
    pub at: Instant,
    /// The words of a refusal of the start that was sent over this connection, if one came later than its answer.
    pub refused: Option<String>,
}

impl Reported {
    /// A report that was asked for at this time.
    pub fn asked(report: DeviceReport, at: Instant) -> Self {
        Self { report, at, refused: None }
    }
}

/// What a device said to a pause, resume or stop that it did not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It took the command.
    Confirmed,
    /// Nothing: it may have taken the command, or never got it.
    Unanswered,
}

/// An upload, detached from the session so that polling goes on.
pub struct UploadJob {
    /// Name on the device.
    pub remote_name: String,
    /// The verified file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Told about bytes sent.
    pub progress: Arc<dyn Fn(u64) + Send + Sync>,
    /// Ends the upload: the transfer is cut, what has arrived is removed as far as possible, and the uploader returns.
    /// One that is dropped instead cuts its connections and removes nothing.
    pub cancel: CancellationToken,
}

/// Uploads one file.
pub type Uploader = Box<dyn FnOnce(UploadJob) -> BoxFuture<'static, Result<(), DeviceFault>> + Send>;

/// One device, and the connection to it. One call at a time; every call has its own time limit.
pub trait Device: Send + 'static {
    /// Kind of the device.
    const KIND: DeviceKind;
    /// Whether a pause, resume or stop names the device's own number of the print.
    const COMMANDS_BY_NUMBER: bool;
    /// A session with the device's storage, where it is reached by one. Dropping it ends that.
    type Files: Send;
    /// What one try to start holds of the device. Dropping it ends that.
    type Starting: Send;

    /// A whole report. `own_upload` says that a transfer on the device is ours.
    fn poll(&mut self, own_upload: bool) -> impl Future<Output = Result<Reported, DeviceFault>> + Send;

    /// A whole report that is young enough to command by, over a connection that is not known to lose commands.
    fn fresh(&mut self) -> impl Future<Output = Result<Reported, DeviceFault>> + Send {
        self.poll(false)
    }

    /// Waits until the device has said something by itself; one that only answers never does.
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Whether the connection has ended for good, so that a new one is needed.
    fn is_over(&self) -> bool {
        false
    }

    /// The number to send with a start of this attempt, where the device takes one from us.
    fn print_id(&self, _token: &Token) -> Option<i64> {
        None
    }

    /// Why this device can never be sent a start of this job as it stands; asked before anything is written.
    fn unfit(&self, _job: &PrintJob) -> Option<String> {
        None
    }

    /// Opens a session with the storage. Detached from the device, because that may take longer than anybody may look away.
    fn files(&self) -> BoxFuture<'static, Result<Self::Files, DeviceFault>>;

    /// Replaces the connection and takes a full report over the new one.
    fn begin_start(
        &mut self,
        files: Self::Files,
    ) -> impl Future<Output = Result<(Self::Starting, Reported), DeviceFault>> + Send;

    /// Gives the uploaded file the name under which it can be started, where it has another one until then.
    fn ready_file(
        &mut self,
        _starting: &mut Self::Starting,
        _remote_name: &str,
    ) -> impl Future<Output = Result<(), DeviceFault>> + Send {
        std::future::ready(Ok(()))
    }

    /// Takes that name from the file again, because the start was not sent after all; as far as that is possible.
    fn withdraw_file(&mut self, _starting: &mut Self::Starting, _remote_name: &str) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// The newest report, on the connection that is about to carry the start.
    fn newest(&mut self, starting: &mut Self::Starting) -> impl Future<Output = Result<Reported, DeviceFault>> + Send;

    /// Sends the start that is recorded in the job's status. `may` is asked directly before the first byte.
    fn send(
        &mut self,
        starting: &mut Self::Starting,
        job: &PrintJob,
        may: impl FnOnce() -> bool + Send,
    ) -> impl Future<Output = SendAnswer> + Send;

    /// Something that uploads over a connection of its own, without the device.
    fn uploader(&self) -> Uploader;

    /// Deletes a file under every name it may have; absent is fine. `may` is asked before each command.
    fn delete(
        &mut self,
        files: Self::Files,
        remote_name: &str,
        may: &(dyn Fn() -> bool + Sync),
    ) -> impl Future<Output = Result<(), DeviceFault>> + Send;

    /// Asks to pause the print; the one with this number where the device wants one.
    fn pause(&mut self, id: Option<&str>) -> impl Future<Output = Result<Taken, DeviceFault>> + Send;

    /// Asks to resume the print, likewise.
    fn resume(&mut self, id: Option<&str>) -> impl Future<Output = Result<Taken, DeviceFault>> + Send;

    /// Asks to stop the print, likewise.
    fn stop(&mut self, id: Option<&str>) -> impl Future<Output = Result<Taken, DeviceFault>> + Send;
}
