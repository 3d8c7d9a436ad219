//! The TCP connection under TLS. It counts the bytes the kernel took, so that "not one byte left" is a fact and no
//! guess, and it can be cut: from that moment no byte leaves, and closing it is abortive (RST), so that nothing queued
//! in the kernel reaches the printer later. It never connects anywhere but to the address it was given.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Small: a command and a few requests are all that is ever sent.
const SEND_BUFFER_BYTES: usize = 32 * 1024;

#[derive(Debug, Default)]
struct Ledger {
    written_bytes: u64,
    cut: bool,
}

/// What is known about a connection, and can be done to it, from outside the TLS machinery that owns it.
#[derive(Debug)]
pub(super) struct WireState {
    ledger: Mutex<Ledger>,
    stream: Weak<TcpStream>,
    /// Cancelled when the connection is cut.
    pub(super) was_cut: CancellationToken,
}

impl WireState {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes the kernel has taken so far.
    pub(super) fn written_bytes(&self) -> u64 {
        self.ledger().written_bytes
    }

    /// From now on no byte leaves. Returns the bytes the kernel had taken by then.
    pub(super) fn cut(&self) -> u64 {
        let mut ledger = self.ledger();
        ledger.cut = true;
        self.was_cut.cancel();
        ledger.written_bytes
    }

    pub(super) fn is_cut(&self) -> bool {
        self.ledger().cut
    }

    /// How long sent bytes may stay unacknowledged before the kernel gives the connection up and forgets them.
    pub(super) fn set_user_timeout(&self, timeout: Duration) -> io::Result<()> {
        let stream = self.stream.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        SockRef::from(stream.as_ref()).set_tcp_user_timeout(Some(timeout))
    }

    /// Closing is orderly from now on: what was written is still delivered.
    pub(super) fn leave_in_order(&self) {
        if let Some(stream) = self.stream.upgrade() {
            // If this fails the close is abortive, which is safe too.
            let _ = SockRef::from(stream.as_ref()).set_linger(None);
        }
    }
}

/// A TCP stream with a byte counter.
pub(super) struct Wire {
    stream: Arc<TcpStream>,
    state: Arc<WireState>,
}

impl Wire {
    /// Connects to exactly this address.
    pub(super) async fn connect(
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
        let stream = Arc::new(stream);
        let state = Arc::new(WireState {
            ledger: Mutex::default(),
            stream: Arc::downgrade(&stream),
            was_cut: CancellationToken::new(),
        });
        Ok((Self { stream, state: Arc::clone(&state) }, state))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            // Held while the kernel is asked: after `cut` has returned, nothing more can be taken.
            let mut ledger = self.state.ledger();
            if ledger.cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            match self.stream.try_write(bytes) {
                Ok(count) => {
                    ledger.written_bytes += count as u64;
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.stream.as_ref()).shutdown(std::net::Shutdown::Write))
    }
}
