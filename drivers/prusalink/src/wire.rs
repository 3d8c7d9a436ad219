//! The TCP connection under HTTP. It counts the bytes the kernel took, so that "not one byte left" is a fact and no
//! guess; it asks a gate before the first byte of a start command; and it closes abortively (RST) while a request is
//! open, so that nothing queued in the kernel can reach the printer after we gave up. It never connects anywhere but
//! to the address it was given.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

/// Small, so that progress and stalls of an upload are seen within a few seconds even at 30 kB/s.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

const GATE_OPEN: u8 = 0;
const GATE_ARMED: u8 = 1;
const GATE_ASKED: u8 = 2;
const GATE_REFUSED: u8 = 3;

/// What is known about a connection from outside the HTTP machinery that owns it.
#[derive(Debug, Default)]
pub(crate) struct WireState {
    written_bytes: AtomicU64,
    progressed: Notify,
    in_flight: AtomicBool,
    write_failed: AtomicBool,
    gate: AtomicU8,
    gate_asked: Notify,
}

impl WireState {
    /// Bytes the kernel has taken so far.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::SeqCst)
    }

    /// Waits until the kernel takes at least one more byte than at the last wake-up.
    pub(crate) async fn progressed(&self) {
        self.progressed.notified().await;
    }

    /// A request begins: from now on the connection closes abortively. With `gated`, no byte is written before
    /// [`Self::gate_asked`] was answered by [`Self::answer_gate`].
    pub(crate) fn begin(&self, gated: bool) {
        self.gate.store(if gated { GATE_ARMED } else { GATE_OPEN }, Ordering::SeqCst);
        self.in_flight.store(true, Ordering::SeqCst);
    }

    /// The request and its answer are complete; closing is orderly again.
    pub(crate) fn end(&self) {
        self.in_flight.store(false, Ordering::SeqCst);
    }

    /// Waits until the first byte stands before the gate.
    pub(crate) async fn gate_asked(&self) {
        self.gate_asked.notified().await;
    }

    /// Opens the gate, or makes the write fail with nothing written. The task that answers also drives the
    /// connection and polls it again at once, hence no waker is kept.
    pub(crate) fn answer_gate(&self, allowed: bool) {
        self.gate.store(if allowed { GATE_OPEN } else { GATE_REFUSED }, Ordering::SeqCst);
    }
}

/// A TCP stream with a byte counter and a gate.
pub(crate) struct Wire {
    stream: TcpStream,
    state: Arc<WireState>,
}

impl Wire {
    /// Connects to exactly this address. `user_timeout` is how long sent bytes may stay unacknowledged before the
    /// kernel gives the connection up.
    pub(crate) async fn connect(
        address: SocketAddr,
        connect_timeout: Duration,
        user_timeout: Duration,
    ) -> io::Result<(Self, Arc<WireState>)> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_nodelay(true)?;
        socket.set_zero_linger()?;
        let options = SockRef::from(&socket);
        options.set_tcp_user_timeout(Some(user_timeout))?;
        options.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let stream = tokio::time::timeout(connect_timeout, socket.connect(address))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer to the connection request in time"))??;
        let state = Arc::new(WireState::default());
        Ok((Self { stream, state: Arc::clone(&state) }, state))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.state.in_flight.load(Ordering::SeqCst) {
            // Nothing is open: leave in the orderly way. If this fails, the close is abortive, which is safe too.
            let _ = SockRef::from(&self.stream).set_linger(None);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.state.gate.load(Ordering::SeqCst) {
            GATE_ARMED => {
                self.state.gate.store(GATE_ASKED, Ordering::SeqCst);
                self.state.gate_asked.notify_one();
                return Poll::Pending;
            }
            GATE_ASKED => return Poll::Pending,
            GATE_REFUSED => return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into())),
            _ => {}
        }
        if self.state.write_failed.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(count)) => {
                self.state.written_bytes.fetch_add(count as u64, Ordering::SeqCst);
                self.state.progressed.notify_one();
                Poll::Ready(Ok(count))
            }
            // A printer that refuses an upload answers and closes without reading the rest. Our write then fails while
            // its answer waits in the receive buffer: stop writing, keep reading; the read ends with the answer or the
            // error. Before the first byte there is no answer to wait for.
            Poll::Ready(Err(_)) if self.state.written_bytes() > 0 => {
                self.state.write_failed.store(true, Ordering::SeqCst);
                Poll::Pending
            }
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
