//! Sends one file to a printer on a connection of its own: streamed with Content-Length, watched for stalls, cut at
//! once when cancelled, checked for its size afterwards. It never overwrites, never asks to print after the upload,
//! never repeats. Buddy: lib/WUI (no chunked bodies; the file appears under its name only when complete; error answers
//! come before the body is read). Python PrusaLink needs the content type below (another one leads to a 500).

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{self, file_path};
use crate::error::Error;
use crate::http::{Answer, FailureKind, RequestBody};
use crate::link::{Link, Shared, refused};
use crate::name::RemoteName;
use crate::parse;
use crate::report::FileInfo;

const CHUNK_BYTES: u64 = 16 * 1024;
/// How often an uploaded file is looked for until it is listed.
const LISTED_POLL: Duration = Duration::from_millis(250);
const GCODE: HeaderValue = HeaderValue::from_static("text/x.gcode");

/// Uploads one file. From [`crate::Client::uploader`].
pub struct Uploader {
    link: Link,
}

impl fmt::Debug for Uploader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Uploader").field("address", &self.link.shared.config.address).finish_non_exhaustive()
    }
}

impl Uploader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let user_timeout = shared.config.timeouts.upload_stall;
        Self { link: Link::new(shared, user_timeout) }
    }

    /// Sends `size_bytes` bytes of `reader` and returns what the printer then says about the file, with the size equal.
    ///
    /// `progress` is called with the bytes of the file handed to the network so far, which can be up to some 100 KiB
    /// ahead of the printer. There is no limit for the whole time. When `cancel` is triggered, or the future is
    /// dropped, the connection is cut and the printer drops what it has. After an error without a word from the printer
    /// ([`Error::ConnectionLost`], [`Error::Stalled`], [`Error::NoAnswer`]) the file may be there all the same:
    /// [`crate::Client::file`] tells.
    pub async fn upload(
        mut self,
        name: &RemoteName,
        reader: impl AsyncRead + Send + Unpin,
        size_bytes: u64,
        progress: impl Fn(u64) + Send + Sync,
        cancel: &CancellationToken,
    ) -> Result<FileInfo, Error> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            outcome = async {
                self.send(name, reader, size_bytes, progress).await?;
                self.check(name, size_bytes).await
            } => outcome,
        }
    }

    async fn send(
        &mut self,
        name: &RemoteName,
        reader: impl AsyncRead + Send + Unpin,
        size_bytes: u64,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(), Error> {
        if size_bytes == 0 {
            return Err(Error::Source(io::Error::new(io::ErrorKind::InvalidInput, "the file is empty")));
        }
        let path = file_path(self.link.flavor().await?, name);
        let described = format!("PUT {path}");
        self.link.prepare_login().await?;
        let (_, login) = self.link.shared.auth().header(&Method::PUT, &path)?;

        let (chunks_in, chunks) = mpsc::channel(1);
        let taken_bytes = Arc::new(AtomicU64::new(0));
        let body = RequestBody::Stream { chunks, remaining_bytes: size_bytes, taken_bytes: Arc::clone(&taken_bytes) };
        let mut request = self.link.request(&Method::PUT, &path, login)?.map(|_| body);
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size_bytes));
        request.headers_mut().insert(CONTENT_TYPE, GCODE);

        self.link.connection = None;
        let connection = self.link.connect().await?;
        let wire = connection.wire();
        let stall = self.link.shared.config.timeouts.upload_stall;
        let watch = async {
            while tokio::time::timeout(stall, wire.progressed()).await.is_ok() {
                progress(taken_bytes.load(Ordering::SeqCst));
            }
            FailureKind::Stalled
        };
        let give_up = first_of(pump(reader, size_bytes, chunks_in, stall), watch);
        match connection.exchange(request, give_up, None::<fn() -> bool>).await {
            Ok((answer, _)) => judge(described, name, &answer),
            Err(failure) if matches!(failure.kind, FailureKind::Stalled) => Err(Error::Stalled {
                seconds: stall.as_secs_f64(),
                sent_bytes: taken_bytes.load(Ordering::SeqCst),
                size_bytes,
            }),
            Err(failure) => Err(failure.into_error(described, stall)),
        }
    }

    /// Python PrusaLink lists a new file up to a second after its 201; a file that stays absent is an error.
    async fn check(&mut self, name: &RemoteName, size_bytes: u64) -> Result<FileInfo, Error> {
        let deadline = Instant::now() + self.link.shared.config.timeouts.request;
        let found = loop {
            let found = client::file(&mut self.link, name).await?;
            if found.is_some() || Instant::now() >= deadline {
                break found;
            }
            tokio::time::sleep(LISTED_POLL).await;
        };
        let found_bytes = found.as_ref().and_then(|file| file.size_bytes);
        match found {
            Some(file) if found_bytes == Some(size_bytes) => Ok(file),
            _ => Err(Error::SizeMismatch { name: name.to_string(), expected_bytes: size_bytes, found_bytes }),
        }
    }
}

async fn first_of<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        outcome = one => outcome,
        outcome = other => outcome,
    }
}

/// Moves the file into the request. Returns only when the source fails; the answer ends the exchange otherwise.
async fn pump(
    mut reader: impl AsyncRead + Send + Unpin,
    size_bytes: u64,
    chunks: mpsc::Sender<Bytes>,
    stall: Duration,
) -> FailureKind {
    let mut left_bytes = size_bytes;
    while left_bytes > 0 {
        let wanted = usize::try_from(left_bytes.min(CHUNK_BYTES)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; wanted];
        match read(&mut reader, &mut chunk, stall).await {
            Ok(0) => return FailureKind::Source(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                chunk.truncate(count);
                left_bytes -= count as u64;
            }
            Err(error) => return FailureKind::Source(error),
        }
        // Before the last chunk leaves, the file must be over: a longer one would arrive cut and look complete.
        if left_bytes == 0 {
            match read(&mut reader, &mut [0], stall).await {
                Ok(0) => {}
                Ok(_) => return FailureKind::Source(io::Error::other("the file is longer than announced")),
                Err(error) => return FailureKind::Source(error),
            }
        }
        if chunks.send(chunk.into()).await.is_err() {
            break;
        }
    }
    pending().await
}

async fn read(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8], stall: Duration) -> io::Result<usize> {
    tokio::time::timeout(stall, reader.read(buffer))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the source of the file delivers nothing"))?
}

fn judge(request: String, name: &RemoteName, answer: &Answer) -> Result<(), Error> {
    if answer.status.is_success() {
        return Ok(());
    }
    let message = parse::refusal(&answer.body);
    let says = |word: &str| message.to_ascii_lowercase().contains(word);
    Err(match answer.status {
        StatusCode::UNAUTHORIZED => Error::Unauthorized,
        StatusCode::INSUFFICIENT_STORAGE => Error::StorageFull { message },
        // Buddy stores the file first and says this about printing it, which nobody asked for. The size check decides.
        StatusCode::CONFLICT if says("can't print right now") => return Ok(()),
        StatusCode::CONFLICT if says("exists") => Error::FileExists { name: name.to_string() },
        StatusCode::CONFLICT if says("transfer") => Error::TransferBusy { message },
        _ => refused(request, answer),
    })
}
