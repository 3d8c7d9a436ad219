//! The control connection of one FTPS session: TLS first, then login, then one command and its reply at a time.
//! It never sends a second command before the reply to the first, repeats nothing, and does not say what a refusal
//! means for a file. A session that is not known to be in step is never used again: dropping it resets the connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use secrecy::ExposeSecret;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use super::error::{FtpsError, described};
use super::reply::{Replies, Reply, ReplyError, passive_port};
use crate::config::Config;
use crate::error::Error;
use crate::tls;

/// The only user there is.
const USER: &str = "bblp";
const READ_BYTES: usize = 2048;
/// Small, so that progress and stalls of an upload are seen within seconds even at 25 kB/s.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Keeps routers from forgetting the control connection, which is silent while a file is sent.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A session: logged in, binary, data connections encrypted.
pub(super) struct Control {
    stream: Box<TlsStream<TcpStream>>,
    replies: Replies,
    /// What the last read brought, before it is looked at.
    buffer: Vec<u8>,
    address: SocketAddr,
    /// Shared with the data connections, so that they resume this connection's TLS session.
    tls: Arc<ClientConfig>,
    /// Whether every command sent has its reply.
    in_step: bool,
}

impl Control {
    /// Connects, proves who the printer is, logs in and prepares for binary files over encrypted connections.
    pub async fn open(config: &Config) -> Result<Self, FtpsError> {
        // A resumed session skips the check of the certificate, so each session begins with a configuration of its own.
        let tls = tls::client_config(&config.serial_number, &config.trust)?;
        let stream = connect(config.ftps, config).await?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        // Without keep-alive a long upload may lose its control connection; the size then decides. No reason to fail.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let timeout = config.timeouts.handshake;
        // Boxed, like everything that lives long and holds TLS: futures of a few KiB are cheap to hand around.
        let handshake = Box::pin(tls::handshake(stream, Arc::clone(&tls), &config.serial_number, config.ftps, timeout));
        let stream = Box::new(handshake.await?);
        let mut control = Self {
            stream,
            replies: Replies::default(),
            buffer: vec![0; READ_BYTES],
            address: config.ftps,
            tls,
            in_step: false,
        };
        control.log_in(config).await?;
        Ok(control)
    }

    async fn log_in(&mut self, config: &Config) -> Result<(), FtpsError> {
        let limit = config.timeouts.transfer_reply;
        let greeting = self.last_reply("the greeting", limit).await?;
        if !greeting.is_success() {
            return Err(FtpsError::refused("the greeting", None, &greeting));
        }
        let mut reply = self.command("USER", Some(USER), limit).await?;
        if reply.code == 331 {
            self.send(&format!("PASS {}\r\n", config.access_code.expose_secret()))
                .await
                .map_err(|e| lost("PASS", e))?;
            reply = self.last_reply("PASS", limit).await?;
        }
        if !reply.is_success() {
            return Err(FtpsError::refused("login", None, &reply));
        }
        for (command, argument) in [("PBSZ", "0"), ("PROT", "P"), ("TYPE", "I")] {
            let reply = self.command(command, Some(argument), limit).await?;
            if !reply.is_success() {
                return Err(FtpsError::refused(command, None, &reply));
            }
        }
        Ok(())
    }

    /// One command and its last reply. Neither the argument nor the command may have a line break.
    pub async fn command(
        &mut self,
        command: &'static str,
        argument: Option<&str>,
        limit: Duration,
    ) -> Result<Reply, FtpsError> {
        self.begin(command, argument).await?;
        let about = argument.filter(|_| !matches!(command, "USER" | "PBSZ" | "PROT" | "TYPE"));
        self.last_reply(&described(command, about), limit).await
    }

    /// Sends a command whose replies are then read one by one.
    pub async fn begin(&mut self, command: &'static str, argument: Option<&str>) -> Result<(), FtpsError> {
        if !self.replies.is_empty() {
            // The only thing a server may say unasked is that it ends the session.
            return match self.replies.next() {
                Ok(Some(reply)) if reply.code == 421 => Err(FtpsError::refused(command, None, &reply)),
                _ => Err(FtpsError::protocol(command, "the printer answered something that was not asked")),
            };
        }
        self.send(&format!("{}\r\n", argument.map_or_else(|| command.to_owned(), |a| format!("{command} {a}"))))
            .await
            .map_err(|error| lost(&described(command, argument), error))
    }

    async fn send(&mut self, line: &str) -> io::Result<()> {
        self.in_step = false;
        self.stream.write_all(line.as_bytes()).await?;
        // Bounded by the kernel: unacknowledged bytes end the connection (TCP_USER_TIMEOUT), and so does the caller's
        // limit for the reply, because lines are far smaller than the send buffer.
        self.stream.flush().await
    }

    /// The next reply, preliminary or not. Dropping the future loses nothing of it.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            match self.replies.next() {
                Ok(Some(reply)) => {
                    // After 421 the server closes.
                    self.in_step = !reply.is_preliminary() && reply.code != 421;
                    return Ok(reply);
                }
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            let count = self.stream.read(&mut self.buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.replies.push(&self.buffer[..count]);
        }
    }

    /// The next reply, preliminary or not, within a time.
    pub async fn next_reply(&mut self, command: &str, limit: Duration) -> Result<Reply, FtpsError> {
        match tokio::time::timeout(limit, self.reply()).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(lost(command, error)),
            Err(_) => Err(FtpsError::NoAnswer { command: command.to_owned(), seconds: limit.as_secs_f64() }),
        }
    }

    /// The last reply to the command sent, within a time.
    pub async fn last_reply(&mut self, command: &str, limit: Duration) -> Result<Reply, FtpsError> {
        let all = async {
            loop {
                let reply = self.reply().await?;
                if !reply.is_preliminary() {
                    return Ok(reply);
                }
            }
        };
        match tokio::time::timeout(limit, all).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(lost(command, error)),
            Err(_) => Err(FtpsError::NoAnswer { command: command.to_owned(), seconds: limit.as_secs_f64() }),
        }
    }

    /// Asks for a data connection and opens it, to the address of this connection whatever the printer names. TLS
    /// follows with [`Self::secure`], because the server takes the connection only with the command that uses it.
    pub async fn data_connection(&mut self, config: &Config) -> Result<TcpStream, FtpsError> {
        let reply = self.command("PASV", None, config.timeouts.transfer_reply).await?;
        if !reply.is_success() {
            return Err(FtpsError::refused("PASV", None, &reply));
        }
        let port = passive_port(&reply.text)
            .filter(|_| reply.code == 227)
            .ok_or_else(|| FtpsError::protocol("PASV", format!("no port in \"{}\"", reply.text)))?;
        Ok(connect(SocketAddr::new(self.address.ip(), port), config).await?)
    }

    /// The TLS handshake on a data connection.
    pub async fn secure(&self, stream: TcpStream, config: &Config) -> Result<Box<TlsStream<TcpStream>>, Error> {
        let (tls, timeout) = (Arc::clone(&self.tls), config.timeouts.handshake);
        let handshake = Box::pin(tls::handshake(stream, tls, &config.serial_number, self.address, timeout));
        Ok(Box::new(handshake.await?))
    }

    /// Whether the next command's reply will be the next reply to come.
    pub fn in_step(&self) -> bool {
        self.in_step
    }

    /// Leaves in the orderly way.
    pub async fn close(mut self, limit: Duration) -> Result<(), FtpsError> {
        if self.in_step {
            self.command("QUIT", None, limit).await?;
        }
        SockRef::from(self.stream.get_ref().0).set_linger(None).map_err(|error| lost("QUIT", error))?;
        // The session is over; whether the printer hears the last word of TLS changes nothing.
        let _ = tokio::time::timeout(limit, self.stream.shutdown()).await;
        Ok(())
    }
}

/// A TCP connection that dies with what it carries: dropped before it was closed in the orderly way, it is reset, and
/// nothing that waits in the kernel reaches the printer any more.
async fn connect(address: SocketAddr, config: &Config) -> Result<TcpStream, Error> {
    let unreachable = |source| Error::Unreachable { address, source };
    let prepared = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_nodelay(true)?;
        socket.set_zero_linger()?;
        let options = SockRef::from(&socket);
        options.set_tcp_user_timeout(Some(config.timeouts.transfer_stall))?;
        options.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        Ok(socket)
    };
    let socket = prepared().map_err(unreachable)?;
    tokio::time::timeout(config.timeouts.connect, socket.connect(address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer to the connection request in time"))
        .and_then(|outcome| outcome)
        .map_err(unreachable)
}

/// What ended a command: a broken connection, or something that is no reply.
fn lost(command: &str, error: io::Error) -> FtpsError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ReplyError>()) {
        Some(reply) => FtpsError::protocol(command, reply.to_string()),
        None => FtpsError::ConnectionLost { command: command.to_owned(), source: error.into() },
    }
}
