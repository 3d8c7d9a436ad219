//! A file server on loopback that does as a test tells it: implicit TLS with a certificate of the printer, files in
//! memory, and the misbehavior of real printers. It records every command and how every data connection ended. Written
//! from RFC 959 and RFC 4217; it shares no code with the driver.

#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "../../../prusalink/tests/wait/mod.rs"]
mod wait;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use printernizer_bambu::{Config, SerialNumber, Timeouts, Trust};
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};
use rustls::pki_types::PrivateKeyDer;
use rustls::{HandshakeKind, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wait::wait_until;

pub const SERIAL: &str = "03919A3B0100254";
pub const CODE: &str = "12ab34cd";

/// What becomes of an upload.
#[derive(Clone, Copy, Debug, Default)]
pub enum Stor {
    /// It is stored and confirmed.
    #[default]
    Store,
    /// It is stored; the control connection says nothing more.
    StoreInSilence,
    /// It is stored; the control connection is closed instead of a last reply.
    StoreAndClose,
    /// The control connection is closed as soon as the data connection is open; it is stored.
    CloseAndStore,
    /// It is stored; this is the last reply.
    StoreAndSay(&'static str),
    /// Only so many bytes are stored, with a confirmation.
    Cut(usize),
    /// Only so many bytes are stored, without a last reply.
    CutInSilence(usize),
    /// After so many bytes this is the last reply; the data connection is closed.
    Interrupt(usize, &'static str),
    /// The same, but the data connection stays open, unread.
    Refuse(usize, &'static str),
    /// After so many bytes nothing is read any more, but a broken connection is noticed.
    StopReading(usize),
    /// The same, and the control connection answers nothing any more either.
    Hang(usize),
}

/// How the server behaves. The default is a good server.
#[derive(Clone, Debug)]
pub struct Behavior {
    /// Replies instead of the usual ones, by the beginning of the command. An empty reply says nothing at all.
    pub replies: Vec<(&'static str, &'static str)>,
    /// What is said first.
    pub greeting: String,
    /// The address in replies to PASV.
    pub passive_address: [u8; 4],
    /// Uploads.
    pub stor: Stor,
    /// Whether the data connection must resume the control connection's session.
    pub require_reuse: bool,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            replies: Vec::new(),
            greeting: "220 ready\r\n".into(),
            passive_address: [127, 0, 0, 1],
            stor: Stor::Store,
            require_reuse: true,
        }
    }
}

/// What the server saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Commands with the number of the control connection they came over, from 1.
    pub commands: Vec<(usize, String)>,
    /// How each data connection ended: "closed" after an end of TLS, else "reset" or "torn".
    pub data_ends: Vec<&'static str>,
    /// Whether each data connection resumed a session.
    pub resumed: Vec<bool>,
    /// TLS versions of control connections.
    pub versions: Vec<rustls::ProtocolVersion>,
    /// Server names the client sent.
    pub names: Vec<Option<String>>,
}

pub struct FakeServer {
    pub address: SocketAddr,
    pub files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    seen: Arc<Mutex<Seen>>,
    behavior: Arc<Mutex<Behavior>>,
    key_sha256: [u8; 32],
}

impl FakeServer {
    pub async fn start(behavior: Behavior) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, SERIAL);
        params.distinguished_name.remove(DnType::CountryName);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key_sha256 = Sha256::digest(key.subject_public_key_info()).into();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], private)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            address,
            files: Arc::default(),
            seen: Arc::default(),
            behavior: Arc::new(Mutex::new(behavior)),
            key_sha256,
        };
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (files, seen, behavior) =
            (Arc::clone(&server.files), Arc::clone(&server.seen), Arc::clone(&server.behavior));
        tokio::spawn(async move {
            for number in 1.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let session = Session {
                    number,
                    acceptor: acceptor.clone(),
                    files: Arc::clone(&files),
                    seen: Arc::clone(&seen),
                    behavior: Arc::clone(&behavior),
                };
                // A session that ends with an error is one that the client or the test cut.
                tokio::spawn(async move { Box::pin(session.serve(stream)).await.ok() });
            }
        });
        server
    }

    pub fn config(&self) -> Config {
        Config {
            mqtt: "127.0.0.1:1".parse().unwrap(),
            ftps: self.address,
            serial_number: SerialNumber::new(SERIAL).unwrap(),
            access_code: CODE.to_owned().into(),
            trust: Trust::PinnedKey(self.key_sha256),
            timeouts: Timeouts {
                transfer_reply: Duration::from_millis(1500),
                transfer_stall: Duration::from_millis(700),
                transfer_end: Duration::from_millis(700),
                ..Timeouts::default()
            },
        }
    }

    pub fn behave(&self, behavior: Behavior) {
        *self.behavior.lock().unwrap() = behavior;
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Commands of all connections, without those of the login.
    pub fn commands(&self) -> Vec<String> {
        let login = ["USER ", "PASS ", "PBSZ ", "PROT ", "TYPE "];
        let seen = self.seen();
        seen.commands.into_iter().map(|c| c.1).filter(|c| !login.iter().any(|l| c.starts_with(l))).collect()
    }

    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.files.lock().unwrap().get(name).cloned()
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.files.lock().unwrap().insert(name.into(), bytes.to_vec());
    }

    /// Waits until so many bytes of a file are stored: an upload that is going on.
    pub async fn until_stored(&self, name: &str, size: usize) {
        wait_until(&format!("{size} bytes of {name} to be stored"), async || {
            let stored = self.file(name).map(|bytes| bytes.len());
            if stored >= Some(size) { Ok(()) } else { Err((stored, self.seen())) }
        })
        .await;
    }

    /// Waits until something is seen.
    pub async fn until(&self, what: &str, is: impl Fn(&Seen) -> bool) {
        wait_until(what, async || {
            let seen = self.seen();
            if is(&seen) { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

struct Session {
    number: usize,
    acceptor: TlsAcceptor,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    seen: Arc<Mutex<Seen>>,
    behavior: Arc<Mutex<Behavior>>,
}

type Control = BufReader<TlsStream<TcpStream>>;

async fn say(control: &mut Control, text: &str) -> std::io::Result<()> {
    control.write_all(text.as_bytes()).await?;
    control.flush().await
}

impl Session {
    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let stream = self.acceptor.accept(stream).await?;
        {
            let mut seen = self.seen.lock().unwrap();
            seen.versions.extend(stream.get_ref().1.protocol_version());
            seen.names.push(stream.get_ref().1.server_name().map(str::to_owned));
        }
        let mut control = BufReader::new(stream);
        let greeting = self.behavior.lock().unwrap().greeting.clone();
        say(&mut control, &greeting).await?;
        let mut listener = None;
        let mut renamed = None;
        loop {
            let mut line = String::new();
            if control.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_owned();
            self.seen.lock().unwrap().commands.push((self.number, line.clone()));
            let behavior = self.behavior.lock().unwrap().clone();
            if let Some((_, reply)) = behavior.replies.iter().find(|(command, _)| line.starts_with(command)) {
                say(&mut control, reply).await?;
                continue;
            }
            let (command, argument) = line.split_once(' ').unwrap_or((&line, ""));
            match command {
                "USER" => say(&mut control, "331 password\r\n").await?,
                "PASS" if argument == CODE => say(&mut control, "230-welcome\r\n230 in\r\n").await?,
                "PASS" => say(&mut control, "530 Login incorrect.\r\n").await?,
                "PBSZ" | "PROT" | "TYPE" => say(&mut control, "200 fine\r\n").await?,
                "PASV" => {
                    let data = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                    let [high, low] = data.local_addr()?.port().to_be_bytes();
                    let [a, b, c, d] = behavior.passive_address;
                    say(&mut control, &format!("227 Entering Passive Mode ({a},{b},{c},{d},{high},{low}).\r\n"))
                        .await?;
                    listener = Some(data);
                }
                "STOR" => match listener.take() {
                    Some(listener) => control = Box::pin(self.store(control, &listener, argument, behavior)).await?,
                    None => say(&mut control, "425 Use PASV first.\r\n").await?,
                },
                "SIZE" => {
                    let size = self.files.lock().unwrap().get(argument).map(Vec::len);
                    let reply = size.map_or("550 no such file\r\n".to_owned(), |size| format!("213 {size}\r\n"));
                    say(&mut control, &reply).await?;
                }
                "DELE" => {
                    let removed = self.files.lock().unwrap().remove(argument).is_some();
                    say(&mut control, if removed { "250 deleted\r\n" } else { "550 no such file\r\n" }).await?;
                }
                "RNFR" => {
                    let found = self.files.lock().unwrap().contains_key(argument);
                    say(&mut control, if found { "350 to what?\r\n" } else { "550 no such file\r\n" }).await?;
                    renamed = found.then(|| argument.to_owned());
                }
                "RNTO" => {
                    let bytes = renamed.take().and_then(|from| self.files.lock().unwrap().remove(&from)).unwrap();
                    self.files.lock().unwrap().insert(argument.into(), bytes);
                    say(&mut control, "250 renamed\r\n").await?;
                }
                "QUIT" => return say(&mut control, "221 bye\r\n").await,
                _ => say(&mut control, "502 not implemented\r\n").await?,
            }
        }
    }

    async fn store(
        &self,
        mut control: Control,
        listener: &TcpListener,
        name: &str,
        behavior: Behavior,
    ) -> std::io::Result<Control> {
        let (stream, _) = listener.accept().await?;
        say(&mut control, "150 go\r\n").await?;
        // A client that gives up at once may do so before its last word of the handshake is read.
        let Ok(mut data) = self.acceptor.accept(stream).await else {
            say(&mut control, "426 connection broken\r\n").await?;
            return Ok(control);
        };
        let resumed = data.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        self.seen.lock().unwrap().resumed.push(resumed);
        if behavior.require_reuse && !resumed {
            say(&mut control, "522 session reuse required\r\n").await?;
            return Ok(control);
        }
        if matches!(behavior.stor, Stor::CloseAndStore) {
            control.get_mut().shutdown().await?;
        }
        let limit = match behavior.stor {
            Stor::Interrupt(limit, _) | Stor::Refuse(limit, _) | Stor::StopReading(limit) | Stor::Hang(limit) => limit,
            _ => usize::MAX,
        };
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        let end = loop {
            if bytes.len() >= limit {
                break "unread";
            }
            match data.read(&mut buffer).await {
                Ok(0) => break "closed",
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break "torn",
                Err(_) => break "reset",
            }
            // As a printer does, which writes what it has to its storage.
            self.files.lock().unwrap().insert(name.into(), bytes.clone());
        };
        let store = |length: usize| {
            bytes.truncate(length);
            self.files.lock().unwrap().insert(name.into(), bytes);
        };
        let ended = |end| self.seen.lock().unwrap().data_ends.push(end);
        match behavior.stor {
            _ if end == "reset" || end == "torn" => {
                ended(end);
                say(&mut control, "426 connection broken\r\n").await?;
            }
            Stor::Store | Stor::StoreAndSay(_) => {
                store(usize::MAX);
                ended(end);
                let reply = if let Stor::StoreAndSay(reply) = behavior.stor { reply } else { "226 done\r\n" };
                say(&mut control, reply).await?;
            }
            Stor::StoreInSilence | Stor::CloseAndStore => {
                store(usize::MAX);
                ended(end);
            }
            Stor::StoreAndClose => {
                store(usize::MAX);
                ended(end);
                control.get_mut().shutdown().await?;
            }
            Stor::Cut(length) => {
                store(length);
                ended(end);
                say(&mut control, "226 done\r\n").await?;
            }
            Stor::CutInSilence(length) => {
                store(length);
                ended(end);
            }
            Stor::Interrupt(_, reply) => {
                say(&mut control, reply).await?;
                drop(data);
            }
            Stor::Refuse(_, reply) => {
                say(&mut control, reply).await?;
                tokio::spawn(broken(data));
            }
            Stor::StopReading(_) => {
                ended(broken(data).await);
                say(&mut control, "426 connection broken\r\n").await?;
            }
            Stor::Hang(_) => {
                ended(broken(data).await);
                std::future::pending::<()>().await;
            }
        }
        Ok(control)
    }
}

/// Waits until the client breaks a connection that is not read, and tells how.
async fn broken(data: TlsStream<TcpStream>) -> &'static str {
    let (stream, _) = data.into_inner();
    stream.ready(Interest::ERROR).await.unwrap();
    "reset"
}
