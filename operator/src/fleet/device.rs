//! What a session needs of a driver, whatever the protocol. One implementation for each kind of connection.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use printernizer_rules::device::{DeviceKind, DeviceReport, LinkFault};
use printernizer_rules::print_job::start::SendAnswer;
use thiserror::Error;
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
    /// Cuts the connection.
    pub cancel: CancellationToken,
}

/// Uploads one file.
pub type Uploader = Box<dyn FnOnce(UploadJob) -> BoxFuture<'static, Result<(), DeviceFault>> + Send>;

/// One device, and the connection to it. One call at a time; every call has its own time limit.
pub trait Device: Send + 'static {
    /// Kind of the device.
    const KIND: DeviceKind;
    /// A new connection that is about to carry a start.
    type Starting: Send;

    /// A whole report. `own_upload` says that a transfer on the device is ours.
    fn poll(&mut self, own_upload: bool) -> impl Future<Output = Result<DeviceReport, DeviceFault>> + Send;

    /// Replaces the connection and takes a full report over the new one.
    fn begin_start(&mut self) -> impl Future<Output = Result<(Self::Starting, DeviceReport), DeviceFault>> + Send;

    /// The newest report, on the connection that is about to carry the start.
    fn newest(
        &mut self,
        starting: &mut Self::Starting,
    ) -> impl Future<Output = Result<DeviceReport, DeviceFault>> + Send;

    /// Sends the start. `may` is asked directly before the first byte.
    fn send(
        &mut self,
        starting: Self::Starting,
        remote_name: &str,
        may: impl FnOnce() -> bool + Send,
    ) -> impl Future<Output = SendAnswer> + Send;

    /// Something that uploads over a connection of its own, without the device.
    fn uploader(&self) -> Uploader;

    /// Deletes a file; absent is fine.
    fn delete(&mut self, remote_name: &str) -> impl Future<Output = Result<(), DeviceFault>> + Send;

    /// Asks to pause the print with this number.
    fn pause(&mut self, id: &str) -> impl Future<Output = Result<(), DeviceFault>> + Send;

    /// Asks to resume the print with this number.
    fn resume(&mut self, id: &str) -> impl Future<Output = Result<(), DeviceFault>> + Send;

    /// Asks to stop the print with this number.
    fn stop(&mut self, id: &str) -> impl Future<Output = Result<(), DeviceFault>> + Send;
}
