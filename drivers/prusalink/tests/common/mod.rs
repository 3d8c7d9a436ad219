//! A scripted printer on loopback: it does what a test tells it, wrong things too, and remembers every request. It has
//! no state of a printer and judges nothing; the tests do, by what it saw.

#![allow(dead_code, reason = "each test file uses its own part of this vocabulary")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use printernizer_prusalink::{BaseUrl, Client, Config, Credentials, RemoteName, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[path = "../wait/mod.rs"]
mod wait;
use wait::wait_until;

pub(crate) const VERSION: &str = r#"{"api":"2.0.0","server":"2.1.2","text":"PrusaLink","hostname":"core-one"}"#;
pub(crate) const IDLE: &str =
    r#"{"storage":{"path":"/usb/","name":"usb","read_only":false},"printer":{"state":"IDLE"}}"#;

/// A request as it arrived. The body is what was read of it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What the printer does with a request.
pub(crate) enum Reply {
    /// Reads the body, answers, keeps the connection.
    Say(&'static str, String),
    /// Reads the body, answers with these header lines as well, closes.
    SayAndClose(&'static str, &'static str, String),
    /// Answers as if to keep the connection, and closes it a little later, when nothing looks at it.
    SayThenClose(&'static str, String),
    /// Answers without reading the body, and closes with it unread.
    Unread(&'static str, String),
    /// Answers in HTTP/1.0 and closes.
    Old(&'static str, String),
    /// Reads so many bytes of the body, then does nothing more, but keeps the connection.
    Hang(usize),
    /// Closes without an answer.
    Vanish,
}

pub(crate) fn ok(body: &str) -> Reply {
    Reply::Say("200 OK", body.into())
}

/// The digest challenge of Buddy firmware.
pub(crate) fn challenge(nonce: &str, stale: bool) -> Reply {
    Reply::Say(
        "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"Printer API\", nonce=\"NONCE\", stale=STALE",
        String::new(),
    )
    .with(nonce, stale)
}

impl Reply {
    fn with(self, nonce: &str, stale: bool) -> Self {
        match self {
            Self::Say(status, _) => {
                let status = status.replace("NONCE", nonce).replace("STALE", if stale { "true" } else { "false" });
                Self::Say(Box::leak(status.into_boxed_str()), "{}".into())
            }
            other => other,
        }
    }
}

/// Asks for a login first and then answers `/api/version`; everything else is the test's.
pub(crate) fn with_login(seen: &Seen, route: impl FnOnce(&Seen) -> Reply) -> Reply {
    if seen.header("authorization").is_none() {
        return challenge("0123456789abcdef", false);
    }
    if seen.path == "/api/version" { ok(VERSION) } else { route(seen) }
}

#[derive(Default)]
struct Memory {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    resets: AtomicUsize,
    stray_bytes: AtomicUsize,
    ended: AtomicUsize,
}

pub(crate) struct FakePrinter {
    pub(crate) address: SocketAddr,
    memory: Arc<Memory>,
    listening: JoinHandle<()>,
}

impl Drop for FakePrinter {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl FakePrinter {
    pub(crate) async fn start(route: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Memory::default());
        let route = Arc::new(route);
        let listening = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let number = memory.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let (memory, route) = (Arc::clone(&memory), Arc::clone(&route));
                    tokio::spawn(async move {
                        if let Err(error) = serve(stream, number, &memory, &*route).await
                            && error.kind() == std::io::ErrorKind::ConnectionReset
                        {
                            memory.resets.fetch_add(1, Ordering::SeqCst);
                        }
                        memory.ended.fetch_add(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Self { address, memory, listening }
    }

    /// Stops accepting connections.
    pub(crate) async fn stop(&self) {
        self.listening.abort();
        self.until(|_| self.listening.is_finished()).await;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.memory.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.memory.connections.load(Ordering::SeqCst)
    }

    /// Connections that ended with a reset from our side.
    pub(crate) fn resets(&self) -> usize {
        self.memory.resets.load(Ordering::SeqCst)
    }

    /// Bytes that arrived and did not make up a whole request head.
    pub(crate) fn stray_bytes(&self) -> usize {
        self.memory.stray_bytes.load(Ordering::SeqCst)
    }

    /// Waits until this many connections have ended.
    pub(crate) async fn ended(&self, count: usize) {
        self.until(|memory| memory.ended.load(Ordering::SeqCst) >= count).await;
    }

    /// Waits until a request with this method has arrived.
    pub(crate) async fn arrived(&self, method: &str) {
        self.until(|memory| memory.seen.lock().unwrap().iter().any(|seen| seen.method == method)).await;
    }

    async fn until(&self, condition: impl Fn(&Memory) -> bool) {
        let look =
            async || if condition(&self.memory) { Ok(()) } else { Err(self.memory.seen.lock().unwrap().clone()) };
        wait_until("the printer has seen what the test waits for", look).await;
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(Timeouts::default())
    }

    pub(crate) fn client_with(&self, timeouts: Timeouts) -> Client {
        client(self.address, timeouts)
    }
}

pub(crate) fn client(address: SocketAddr, timeouts: Timeouts) -> Client {
    let base_url = BaseUrl::parse(&format!("http://{address}")).unwrap();
    let credentials = Credentials { username: "maker".into(), password: "secret".to_owned().into() };
    Client::new(Config { base_url, address, credentials, timeouts }).unwrap()
}

pub(crate) fn name() -> RemoteName {
    RemoteName::new("bracket-pz-0011223344556677-1.bgcode").unwrap()
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    memory: &Memory,
    route: &(impl Fn(&Seen) -> Reply + Sync),
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let head_length = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await.inspect_err(|_| note_stray(memory, &buffer))? == 0 {
                note_stray(memory, &buffer);
                return Ok(());
            }
        };
        let head = String::from_utf8(buffer.drain(..head_length).collect()).unwrap();
        let mut lines = head.lines();
        let mut words = lines.next().unwrap().split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let mut seen = Seen { connection, method, path, headers, body: Vec::new() };
        let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
        memory.seen.lock().unwrap().push(seen.clone());
        match route(&seen) {
            Reply::Say(status, body) => {
                read_body(&mut stream, &mut buffer, length, &mut seen, memory).await?;
                stream.write_all(answer("HTTP/1.1", status, "", &body).as_bytes()).await?;
            }
            Reply::SayThenClose(status, body) => {
                stream.write_all(answer("HTTP/1.1", status, "", &body).as_bytes()).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Ok(());
            }
            Reply::SayAndClose(status, more, body) => {
                read_body(&mut stream, &mut buffer, length, &mut seen, memory).await?;
                let more = format!("{more}Connection: close\r\n");
                stream.write_all(answer("HTTP/1.1", status, &more, &body).as_bytes()).await?;
                return Ok(());
            }
            Reply::Old(status, body) => {
                stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n{body}").as_bytes()).await?;
                return Ok(());
            }
            Reply::Unread(status, body) => {
                stream.write_all(answer("HTTP/1.1", status, "Connection: close\r\n", &body).as_bytes()).await?;
                return Ok(());
            }
            Reply::Hang(bytes) => {
                read_body(&mut stream, &mut buffer, bytes, &mut seen, memory).await?;
                // Only the end of the connection is of interest now; what arrives stays in the kernel.
                loop {
                    let ready = stream.ready(tokio::io::Interest::ERROR | tokio::io::Interest::READABLE).await?;
                    if ready.is_read_closed() || ready.is_error() {
                        let mut rest = vec![0; 64 * 1024];
                        loop {
                            if stream.read(&mut rest).await? == 0 {
                                return Ok(());
                            }
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Reply::Vanish => return Ok(()),
        }
    }
}

fn note_stray(memory: &Memory, buffer: &[u8]) {
    memory.stray_bytes.fetch_add(buffer.len(), Ordering::SeqCst);
}

async fn read_body(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    length: usize,
    seen: &mut Seen,
    memory: &Memory,
) -> std::io::Result<()> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            break;
        }
    }
    seen.body = buffer.drain(..length.min(buffer.len())).collect();
    let mut all = memory.seen.lock().unwrap();
    if let Some(entry) = all.iter_mut().rev().find(|entry| entry.connection == seen.connection) {
        entry.body.clone_from(&seen.body);
    }
    Ok(())
}

fn answer(version: &str, status: &str, more: &str, body: &str) -> String {
    let has_body = !status.starts_with("204");
    let length = if has_body { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    format!("{version} {status}\r\n{length}{more}\r\n{}", if has_body { body } else { "" })
}
