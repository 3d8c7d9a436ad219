//! One file on its way to the printer: STOR, the data connection, its end, and the proof that all of it is there.
//! It overwrites nothing, tries nothing twice, and believes no reply: the size the printer then reports decides, also
//! where the last reply is missing or an error (seen on P2S and H2D: bambuddy). Giving up resets the data connection
//! first and removes what was stored second, because after an orderly end a server takes half a file for a whole one.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::HandshakeKind;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::control::Control;
use super::error::{FtpsError, described};
use super::name::RemoteName;
use super::reply::Reply;
use super::{delete, size};
use crate::config::Config;
use crate::error::Error;

const CHUNK_BYTES: u64 = 16 * 1024;
/// The slowest upload that is waited for: a third of what printers reach on bad Wi-Fi.
const SLOWEST_BYTES_PER_SECOND: u64 = 25_000;
/// The least time an upload has.
const SHORTEST_LIMIT: Duration = Duration::from_secs(600);
/// How long tidying up after a failed upload may take, unless a reply has even less time.
const TIDY_UP: Duration = Duration::from_secs(10);

/// How long an upload of this size may take.
pub(super) fn time_limit(size_bytes: u64) -> Duration {
    Duration::from_secs(size_bytes / SLOWEST_BYTES_PER_SECOND).max(SHORTEST_LIMIT)
}

/// A file that is on the printer whole: it reports the size that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Whether the printer said that the upload is complete. Some never do, although it is.
    pub confirmed: bool,
    /// Whether the data connection resumed the TLS session of the control connection, as some printers demand.
    pub session_resumed: bool,
}

/// How far a transfer has come. What may be left on the printer follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of the file can be there.
    Before,
    /// STOR was sent: something of the file may be there.
    Begun,
}

/// One upload. It outlives its own future, and then knows what there is to tidy up.
pub(super) struct Transfer<'a> {
    config: &'a Config,
    name: &'a RemoteName,
    size_bytes: u64,
    control: Option<Control>,
    sent_bytes: AtomicU64,
    stage: Stage,
}

/// How sending the bytes ended.
enum Sent {
    /// All of them, and the end of the data.
    All,
    /// The printer said its last word before that.
    Interrupted(Reply),
}

/// Why sending the bytes failed.
enum Failure {
    Source(io::Error),
    Stalled,
    Network(io::Error),
}

impl<'a> Transfer<'a> {
    pub fn new(config: &'a Config, name: &'a RemoteName, size_bytes: u64, control: Option<Control>) -> Self {
        Self { config, name, size_bytes, control, sent_bytes: AtomicU64::new(0), stage: Stage::Before }
    }

    /// Bytes of the file handed to the network.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// The session, if it can be used again.
    pub fn into_control(self) -> Option<Control> {
        self.control.filter(Control::in_step)
    }

    /// Sends the file and proves that it is there.
    pub async fn run(
        &mut self,
        reader: impl AsyncRead + Send + Unpin,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Uploaded, FtpsError> {
        let (last_reply, session_resumed) = self.store(reader, progress).await?;
        let confirmed = last_reply.as_ref().is_some_and(Reply::is_success);
        let (name, limit) = (self.name, self.config.timeouts.transfer_reply);
        let found_bytes = size(self.control().await?, name, limit).await?;
        match last_reply {
            _ if found_bytes == Some(self.size_bytes) => Ok(Uploaded { confirmed, session_resumed }),
            Some(refusal) if !confirmed => Err(FtpsError::refused("STOR", Some(self.name.as_str()), &refusal)),
            _ => Err(FtpsError::SizeMismatch {
                name: self.name.to_string(),
                expected_bytes: self.size_bytes,
                found_bytes,
            }),
        }
    }

    /// A session in which the next reply belongs to the next command: the one there is, or a new one.
    async fn control(&mut self) -> Result<&mut Control, FtpsError> {
        let control = match self.control.take().filter(Control::in_step) {
            Some(control) => control,
            None => Control::open(self.config).await?,
        };
        Ok(self.control.insert(control))
    }

    /// Sends the file. Gives the printer's last reply, if there was one, and whether the TLS session was resumed.
    async fn store(
        &mut self,
        reader: impl AsyncRead + Send + Unpin,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(Option<Reply>, bool), FtpsError> {
        let (config, name) = (self.config, self.name);
        let limit = config.timeouts.transfer_reply;
        let command = described("STOR", Some(name.as_str()));
        self.control().await?;
        let Some(control) = &mut self.control else { return Err(Error::Ended.into()) };

        let reply = control.command("SIZE", Some(name.as_str()), limit).await?;
        match reply.code {
            550 => {}
            213 => {
                let size_bytes = reply.text.parse().unwrap_or(0);
                return Err(FtpsError::FileExists { name: name.to_string(), size_bytes });
            }
            // Whether a file is there must be known: what is there after this is ours, and is deleted if it is not whole.
            _ => return Err(FtpsError::refused("SIZE", Some(name.as_str()), &reply)),
        }
        let data = control.data_connection(config).await?;
        self.stage = Stage::Begun;
        control.begin("STOR", Some(name.as_str())).await?;
        let reply = control.next_reply(&command, limit).await?;
        if !reply.is_preliminary() {
            if reply.is_success() {
                return Err(FtpsError::protocol(&command, "the printer calls an upload complete that did not begin"));
            }
            // Also after a refusal there may be an empty file: vsftpd makes it before it takes the data connection.
            return Err(FtpsError::refused("STOR", Some(name.as_str()), &reply));
        }

        let mut data = match control.secure(data, config).await {
            Ok(data) => data,
            Err(error @ Error::Untrusted { .. }) => return Err(error.into()),
            Err(error) => return Err(explained(control, name, limit, error.into()).await),
        };
        let session_resumed = data.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let stall = config.timeouts.transfer_stall;
        let sending = send(&mut *data, reader, self.size_bytes, &self.sent_bytes, &progress, stall);
        let sent = tokio::select! {
            biased;
            reply = interruption(control) => Ok(Sent::Interrupted(reply)),
            outcome = sending => outcome.map(|()| Sent::All),
        };
        match sent {
            Ok(Sent::All) => {}
            Ok(Sent::Interrupted(reply)) if reply.is_success() => {
                return Err(FtpsError::protocol(&command, "the printer calls an upload complete that is not"));
            }
            Ok(Sent::Interrupted(reply)) => return Err(FtpsError::refused("STOR", Some(name.as_str()), &reply)),
            Err(Failure::Source(error)) => return Err(FtpsError::Source(error)),
            Err(Failure::Stalled) => {
                return Err(FtpsError::Stalled {
                    seconds: stall.as_secs_f64(),
                    sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
                    size_bytes: self.size_bytes,
                });
            }
            Err(Failure::Network(error)) => {
                drop(data);
                let error = FtpsError::ConnectionLost { command, source: error.into() };
                return Err(explained(control, name, limit, error).await);
            }
        }
        // The data connection stays open until the printer has said that it has everything.
        let last_reply = control.last_reply(&command, config.timeouts.transfer_end).await.ok();
        if last_reply.is_some() {
            // Everything has been read at the other end: nothing is left that a reset would have to stop.
            let _ = SockRef::from(data.get_ref().0).set_linger(None);
        }
        Ok((last_reply, session_resumed))
    }

    /// After a failed upload: deletes what was stored, if that can be done soon. Returns whether something may be left.
    pub async fn tidy_up(&mut self) -> bool {
        let limit = TIDY_UP.min(self.config.timeouts.transfer_reply);
        self.stage == Stage::Begun && !matches!(timeout(limit, self.remove(limit)).await, Ok(Ok(())))
    }

    /// Ends the command in this session and deletes the file, in a new session if this one was lost. A printer that
    /// merely keeps silent gets no second session beside the first.
    async fn remove(&mut self, limit: Duration) -> Result<(), FtpsError> {
        let lost =
            |error: &FtpsError| matches!(error, FtpsError::ConnectionLost { .. } | FtpsError::SessionEnded { .. });
        if let Some(mut control) = self.control.take() {
            let ended = if control.in_step() { Ok(()) } else { control.last_reply("STOR", limit).await.map(drop) };
            let removed = match ended {
                Ok(()) => delete(&mut control, self.name, limit).await.map(drop),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if lost(&error) => {}
                outcome => {
                    self.control = Some(control);
                    return outcome;
                }
            }
        }
        let control = self.control.insert(Control::open(self.config).await?);
        delete(control, self.name, limit).await.map(drop)
    }
}

/// What really went wrong with a data connection: the reply that follows says it better than the broken connection.
/// It must be read in any case, or the session would be out of step.
async fn explained(control: &mut Control, name: &RemoteName, limit: Duration, error: FtpsError) -> FtpsError {
    match control.last_reply("STOR", limit).await {
        // 426 says only that the connection broke, which is known, and with more detail.
        Ok(reply) if !reply.is_success() && reply.code != 426 => {
            FtpsError::refused("STOR", Some(name.as_str()), &reply)
        }
        _ => error,
    }
}

/// Waits for a last reply while the file is still being sent. A control connection that is lost meanwhile ends nothing:
/// the data goes on, and in the end a new session asks for the size.
async fn interruption(control: &mut Control) -> Reply {
    loop {
        match control.reply().await {
            Ok(reply) if reply.is_preliminary() => {}
            Ok(reply) => return reply,
            Err(_) => pending().await,
        }
    }
}

/// Moves the file into the data connection and ends it.
async fn send(
    data: &mut (impl AsyncWrite + Unpin),
    mut reader: impl AsyncRead + Send + Unpin,
    size_bytes: u64,
    sent_bytes: &AtomicU64,
    progress: &(impl Fn(u64) + Send + Sync),
    stall: Duration,
) -> Result<(), Failure> {
    let mut buffer = vec![0; usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX)];
    let mut left_bytes = size_bytes;
    while left_bytes > 0 {
        let wanted = usize::try_from(left_bytes.min(CHUNK_BYTES)).unwrap_or(usize::MAX);
        let count = read(&mut reader, &mut buffer[..wanted], stall).await?;
        if count == 0 {
            return Err(Failure::Source(io::ErrorKind::UnexpectedEof.into()));
        }
        left_bytes -= count as u64;
        // Before the last chunk leaves, the file must be over: a longer one would arrive cut and look complete.
        if left_bytes == 0 && read(&mut reader, &mut [0], stall).await? > 0 {
            return Err(Failure::Source(io::Error::other("the file is longer than announced")));
        }
        let written = async {
            data.write_all(&buffer[..count]).await?;
            data.flush().await
        };
        timeout(stall, written).await.map_err(|_| Failure::Stalled)?.map_err(Failure::Network)?;
        progress(sent_bytes.fetch_add(count as u64, Ordering::Relaxed) + count as u64);
    }
    // All bytes are on their way. If the other end is faster in closing, the size will tell.
    let _ = timeout(stall, data.shutdown()).await.map_err(|_| Failure::Stalled)?;
    Ok(())
}

async fn read(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8], stall: Duration) -> Result<usize, Failure> {
    match timeout(stall, reader.read(buffer)).await {
        Ok(Ok(count)) => Ok(count),
        Ok(Err(error)) => Err(Failure::Source(error)),
        Err(_) => {
            Err(Failure::Source(io::Error::new(io::ErrorKind::TimedOut, "the source of the file delivers nothing")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_ten_minutes_or_what_a_slow_network_needs() {
        assert_eq!(time_limit(1), Duration::from_secs(600));
        assert_eq!(time_limit(15_000_000), Duration::from_secs(600));
        assert_eq!(time_limit(100_000_000), Duration::from_secs(4000));
    }
}
