//! One HTTP/1.1 connection: at most one request in flight, never a redirect, never a retry, answers capped.
//! It is driven by the task that waits for the answer, so dropping that task cuts the connection and nothing lingers.
//! Limits of the servers behind it: Buddy lib/WUI (three connections, no chunked bodies), Python PrusaLink (HTTP/1.0).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HeaderMap};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::Cause;
use crate::wire::{Wire, WireState};

/// The longest answer read. The largest real one is a folder listing; a status report has under 2 KiB.
pub(crate) const ANSWER_MAX_BYTES: usize = 256 * 1024;
/// How much hyper buffers in each direction; also the cap for the head of an answer.
const BUFFER_MAX_BYTES: usize = 32 * 1024;
/// How long an answered connection may take to become usable again; it is a matter of polling, not of the network.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(200);

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The server said that it closes the connection now.
    pub(crate) closes: bool,
}

/// Why there is no complete answer, and whether the printer can have seen anything of the request.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Bytes of this request that the kernel took. 0 means: it certainly never left.
    pub(crate) written_bytes: u64,
    pub(crate) kind: FailureKind,
}

#[derive(Debug)]
pub(crate) enum FailureKind {
    Timeout,
    Stalled,
    GateRefused,
    AnswerTooLong,
    Source(io::Error),
    Broken(Cause),
}

/// The body of a request: nothing, or a file that arrives through a channel.
pub(crate) enum RequestBody {
    Empty,
    Stream { chunks: mpsc::Receiver<Bytes>, remaining_bytes: u64, taken_bytes: Arc<AtomicU64> },
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Empty | Self::Stream { remaining_bytes: 0, .. } => Poll::Ready(None),
            Self::Stream { chunks, remaining_bytes, taken_bytes } => chunks.poll_recv(cx).map(|chunk| {
                // The channel only closes early when the upload gives up: the request must break, not end.
                let chunk = chunk.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
                Some(chunk.map(|chunk| {
                    let length = chunk.len() as u64;
                    *remaining_bytes = remaining_bytes.saturating_sub(length);
                    taken_bytes.fetch_add(length, Ordering::SeqCst);
                    Frame::data(chunk)
                }))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty | Self::Stream { remaining_bytes: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { remaining_bytes, .. } => SizeHint::with_exact(*remaining_bytes),
        }
    }
}

/// What moves the bytes while it is polled.
type Driver = Pin<Box<http1::Connection<TokioIo<Wire>, RequestBody>>>;

/// An open connection without a request in flight.
pub(crate) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    /// `None` when it has ended. It is dropped then, because it holds the queue in which a request may still wait.
    driver: Option<Driver>,
    wire: Arc<WireState>,
    used_at: Instant,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, connect: Duration, user_timeout: Duration) -> io::Result<Self> {
        let (wire, state) = Wire::connect(address, connect, user_timeout).await?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(BUFFER_MAX_BYTES)
            // Small servers are tried with the spelling that browsers and slicers send.
            .title_case_headers(true)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(io::Error::other)?;
        Ok(Self { sender, driver: Some(Box::pin(driver)), wire: state, used_at: Instant::now() })
    }

    /// When the last answer on this connection was complete.
    pub(crate) fn used_at(&self) -> Instant {
        self.used_at
    }

    pub(crate) fn wire(&self) -> Arc<WireState> {
        Arc::clone(&self.wire)
    }

    /// Sends one request and reads its answer. `give_up` runs beside it and ends it when it resolves. `gate`, if given,
    /// is asked directly before the first byte is written. Returns the connection if it can carry another request.
    /// A connection that is not returned was closed, abortively unless the exchange was complete.
    pub(crate) async fn exchange(
        mut self,
        request: Request<RequestBody>,
        give_up: impl Future<Output = FailureKind>,
        gate: Option<impl FnOnce() -> bool>,
    ) -> Result<(Answer, Option<Self>), Failure> {
        let written_before = self.wire.written_bytes();
        let has_body = !request.body().is_end_stream();
        self.wire.begin(gate.is_some());
        let outcome = drive(&mut self, request, give_up, gate).await;
        let written_bytes = self.wire.written_bytes() - written_before;
        match outcome {
            Ok(answer) => {
                let reusable = !answer.closes && self.settle().await;
                // A body may be answered before it was read; then its rest must not trickle on.
                if reusable || !has_body {
                    self.wire.end();
                }
                self.used_at = Instant::now();
                Ok((answer, reusable.then_some(self)))
            }
            Err(kind) => Err(Failure { written_bytes, kind }),
        }
    }

    /// Lets the connection finish its bookkeeping; says whether it is ready for another request.
    async fn settle(&mut self) -> bool {
        let ready = async {
            tokio::select! {
                biased;
                () = ended(&mut self.driver) => false,
                ready = self.sender.ready() => ready.is_ok(),
            }
        };
        tokio::time::timeout(SETTLE_TIMEOUT, ready).await.unwrap_or(false)
    }
}

async fn drive(
    connection: &mut Connection,
    request: Request<RequestBody>,
    give_up: impl Future<Output = FailureKind>,
    mut gate: Option<impl FnOnce() -> bool>,
) -> Result<Answer, FailureKind> {
    let Connection { sender, driver, wire, .. } = connection;
    let sent = sender.send_request(request);
    let answer = async move {
        let response = sent.await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { FailureKind::AnswerTooLong } else { FailureKind::Broken(error) }
        })?;
        let closes = says_close(head.version, &head.headers);
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), closes })
    };
    tokio::pin!(answer, give_up);
    let mut refused = false;
    loop {
        tokio::select! {
            biased;
            outcome = &mut answer => {
                return match outcome {
                    Err(_) if refused => Err(FailureKind::GateRefused),
                    outcome => outcome,
                };
            }
            // Its error reaches `answer`, which knows what was missing.
            () = ended(driver), if driver.is_some() => {}
            () = wire.gate_asked(), if gate.is_some() => {
                if let Some(gate) = gate.take() {
                    let allowed = gate();
                    refused = !allowed;
                    wire.answer_gate(allowed);
                }
            }
            kind = &mut give_up => return Err(kind),
        }
    }
}

/// Drives the connection until it ends, and drops it then. Resolves at once when it has ended before.
async fn ended(driver: &mut Option<Driver>) {
    if let Some(running) = driver {
        let _ = running.as_mut().await;
        *driver = None;
    }
}

fn broken(error: hyper::Error) -> FailureKind {
    FailureKind::Broken(error.into())
}

fn says_close(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word)))
    };
    says("close") || (version < Version::HTTP_11 && !says("keep-alive"))
}
