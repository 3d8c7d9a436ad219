//! The printer's file server: FTP with TLS from the first byte (implicit FTPS). A client of our own for the few
//! commands that are needed; why is told in docs/adr. It decides nothing, retries nothing, resolves no names and goes
//! to no other address than the one it was given, whatever the printer answers to PASV.

mod control;
mod error;
mod name;
pub(crate) mod reply;
mod upload;

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use control::Control;
pub use error::{FtpsError, UploadError};
pub use name::{REMOTE_NAME_MAX_BYTES, RemoteName, RemoteNameError};
use reply::Reply;
pub use upload::Uploaded;
use upload::{Transfer, time_limit};

/// One session with a printer's file server. A printer serves one at a time and ends idle ones after about 5 minutes:
/// open it, use it, [`close`](Self::close) it. Dropped instead, it is reset.
///
/// After an error the session may be gone; the next call then opens a new one.
pub struct Ftps {
    config: Config,
    control: Option<Control>,
}

/// What became of a rename.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    /// The file has the new name.
    Done,
    /// The printer does not rename files; the file still has its old name. Several models are said not to.
    NotSupported {
        /// The refusal's code, mostly 502 or 550.
        code: u16,
        /// The printer's words, shortened.
        message: String,
    },
}

/// What became of a deletion. Either way the file is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It was there and is deleted.
    Removed,
    /// It was not there.
    Absent,
}

impl fmt::Debug for Ftps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ftps").field("address", &self.config.ftps).finish_non_exhaustive()
    }
}

impl Ftps {
    /// Connects to `config.ftps`, checks who answers, and logs in.
    pub async fn connect(config: &Config) -> Result<Self, FtpsError> {
        Ok(Self { config: config.clone(), control: Some(Control::open(config).await?) })
    }

    /// Sends `size_bytes` bytes of `reader` into the root of the printer's storage and returns when the printer reports
    /// a file of that size. A file that is already there is never overwritten: [`FtpsError::FileExists`].
    ///
    /// `progress` is called with the bytes of the file handed to the network so far, which can be some 100 KiB ahead of
    /// the printer. The whole has 600 s, or the time its size takes at 25 kB/s. When `cancel` is triggered, the data
    /// connection is reset at once; then, as after every error, what was stored is deleted if that is possible within
    /// 10 s, and [`UploadError::left_over`] says whether it was. Dropping the future resets everything and deletes
    /// nothing.
    pub async fn upload(
        &mut self,
        name: &RemoteName,
        reader: impl AsyncRead + Send + Unpin,
        size_bytes: u64,
        progress: impl Fn(u64) + Send + Sync,
        cancel: &CancellationToken,
    ) -> Result<Uploaded, UploadError> {
        if size_bytes == 0 {
            let error = FtpsError::Source(io::Error::new(io::ErrorKind::InvalidInput, "the file is empty"));
            return Err(UploadError { error, left_over: false });
        }
        let limit = time_limit(size_bytes);
        let mut transfer = Transfer::new(&self.config, name, size_bytes, self.control.take());
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(FtpsError::Cancelled),
            () = tokio::time::sleep(limit) => {
                Err(FtpsError::TooSlow { seconds: limit.as_secs_f64(), sent_bytes: 0, size_bytes })
            }
            outcome = transfer.run(reader, progress) => outcome,
        };
        let outcome = match outcome {
            Ok(uploaded) => Ok(uploaded),
            Err(mut error) => {
                if let FtpsError::TooSlow { sent_bytes, .. } = &mut error {
                    *sent_bytes = transfer.sent_bytes();
                }
                let left_over = transfer.tidy_up().await;
                Err(UploadError { error, left_over })
            }
        };
        self.control = transfer.into_control();
        outcome
    }

    /// The size of a file in bytes; `None` when there is none of this name.
    pub async fn size(&mut self, name: &RemoteName) -> Result<Option<u64>, FtpsError> {
        let mut control = self.take().await?;
        let outcome = size(&mut control, name, self.limit()).await;
        self.keep(control);
        outcome
    }

    /// Gives a file another name. The new name must not be taken: what a printer does then differs. After
    /// [`FtpsError::ConnectionLost`] or [`FtpsError::NoAnswer`] the file may have either name; [`Self::size`] tells.
    pub async fn rename(&mut self, from: &RemoteName, to: &RemoteName) -> Result<Renamed, FtpsError> {
        let mut control = self.take().await?;
        let outcome = rename(&mut control, from, to, self.limit()).await;
        self.keep(control);
        outcome
    }

    /// Deletes a file. That it is absent is fine.
    pub async fn delete(&mut self, name: &RemoteName) -> Result<Deleted, FtpsError> {
        let mut control = self.take().await?;
        let outcome = delete(&mut control, name, self.limit()).await;
        self.keep(control);
        outcome
    }

    /// Leaves in the orderly way. An error changes nothing about what was done before.
    pub async fn close(self) -> Result<(), FtpsError> {
        let limit = self.limit();
        match self.control {
            Some(control) => control.close(limit).await,
            None => Ok(()),
        }
    }

    fn limit(&self) -> Duration {
        self.config.timeouts.transfer_reply
    }

    /// The session for one call. While the call runs it is not in `self`: a dropped call leaves nothing out of step.
    async fn take(&mut self) -> Result<Control, FtpsError> {
        match self.control.take() {
            Some(control) => Ok(control),
            None => Control::open(&self.config).await,
        }
    }

    fn keep(&mut self, control: Control) {
        self.control = Some(control).filter(Control::in_step);
    }
}

async fn size(control: &mut Control, name: &RemoteName, limit: Duration) -> Result<Option<u64>, FtpsError> {
    let reply = control.command("SIZE", Some(name.as_str()), limit).await?;
    match reply.code {
        213 => match reply.text.trim().parse() {
            Ok(size_bytes) => Ok(Some(size_bytes)),
            Err(_) => Err(FtpsError::protocol("SIZE", format!("\"{}\" is no size", reply.text))),
        },
        550 => Ok(None),
        _ => Err(FtpsError::refused("SIZE", Some(name.as_str()), &reply)),
    }
}

async fn rename(
    control: &mut Control,
    from: &RemoteName,
    to: &RemoteName,
    limit: Duration,
) -> Result<Renamed, FtpsError> {
    let asked = control.command("RNFR", Some(from.as_str()), limit).await?;
    let (command, name, reply) = if (300..400).contains(&asked.code) {
        ("RNTO", to, control.command("RNTO", Some(to.as_str()), limit).await?)
    } else {
        ("RNFR", from, asked)
    };
    if command == "RNTO" && reply.is_success() {
        return Ok(Renamed::Done);
    }
    let Reply { code, text: message } = reply.clone();
    if !(500..600).contains(&code) || code == 530 {
        return Err(FtpsError::refused(command, Some(name.as_str()), &reply));
    }
    // 550 is said by servers that cannot rename, and about files that are not there.
    match size(control, from, limit).await? {
        Some(_) => Ok(Renamed::NotSupported { code, message }),
        None => Err(FtpsError::Missing { name: from.to_string(), message }),
    }
}

async fn delete(control: &mut Control, name: &RemoteName, limit: Duration) -> Result<Deleted, FtpsError> {
    let reply = control.command("DELE", Some(name.as_str()), limit).await?;
    if reply.is_success() {
        return Ok(Deleted::Removed);
    }
    // 550 is said about files that are not there, and about those that cannot be deleted.
    if reply.code == 550 && size(control, name, limit).await?.is_none() {
        return Ok(Deleted::Absent);
    }
    Err(FtpsError::refused("DELE", Some(name.as_str()), &reply))
}
