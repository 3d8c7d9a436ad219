//! One TCP connection of the printer's HTTP server: reads requests, keeps the firmware's timeouts and size limits.
//!
//! An idle kept-alive connection is closed silently; one that stalls inside a request gets 408. Request bodies are
//! never skipped: whoever does not read one closes the connection, as the firmware does.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::http::Head;
use crate::NetworkTimings;

/// Longest request head in bytes.
const HEAD_LIMIT: usize = 4096;
const HEADER_COUNT_LIMIT: usize = 32;

/// A connection and what has been read from it but not used.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    unread: BytesMut,
    idle: Duration,
    stall: Duration,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The client closed, or the connection broke, or it was idle for too long.
    Closed,
    /// No traffic inside a request for too long: 408.
    Stalled,
    /// Not HTTP: 400.
    Malformed,
    /// The head is too large: 431.
    TooLarge,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, timings: NetworkTimings) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            idle: Duration::from_millis(timings.idle_milliseconds),
            stall: Duration::from_millis(timings.stall_milliseconds),
        }
    }

    /// The next request.
    pub(crate) async fn read_head(&mut self) -> Result<Head, ReadEnd> {
        loop {
            if let Some((head, length)) = parse(&self.unread)? {
                if length > HEAD_LIMIT {
                    return Err(ReadEnd::TooLarge);
                }
                let _ = self.unread.split_to(length);
                return Ok(head);
            }
            if self.unread.len() >= HEAD_LIMIT {
                return Err(ReadEnd::TooLarge);
            }
            let (limit, at_limit) =
                if self.unread.is_empty() { (self.idle, ReadEnd::Closed) } else { (self.stall, ReadEnd::Stalled) };
            self.fill(limit, at_limit).await?;
        }
    }

    /// The next piece of a body, at most `limit` bytes and never empty.
    pub(crate) async fn read_body(&mut self, limit: u64) -> Result<Bytes, ReadEnd> {
        if self.unread.is_empty() {
            self.fill(self.stall, ReadEnd::Stalled).await?;
        }
        let length = self.unread.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(self.unread.split_to(length).freeze())
    }

    /// Writes an answer. False if the client is gone or does not take it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(64 * 1024) {
            if !matches!(timeout(self.stall, self.stream.write_all(piece)).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }

    /// Ends politely. With unread bytes the system sends a reset, as the real printer's does.
    pub(crate) async fn close(mut self) {
        let _ = timeout(self.stall, self.stream.shutdown()).await;
    }

    async fn fill(&mut self, limit: Duration, at_limit: ReadEnd) -> Result<(), ReadEnd> {
        self.unread.reserve(16 * 1024);
        match timeout(limit, self.stream.read_buf(&mut self.unread)).await {
            Err(_) => Err(at_limit),
            Ok(Ok(0) | Err(_)) => Err(ReadEnd::Closed),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, ReadEnd> {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT_LIMIT];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(ReadEnd::TooLarge),
        Err(_) => return Err(ReadEnd::Malformed),
    };
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(ReadEnd::Malformed) };
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let closes = headers.iter().any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case("close"));
    let keep_alive = request.version == Some(1) && !closes;
    Ok(Some((Head { method: method.to_owned(), target: target.to_owned(), headers, keep_alive }, length)))
}
