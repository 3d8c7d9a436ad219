//! What tests of bad inputs share: a web server that can be told what to answer and counts who asks, a way to a printer
//! that counts who comes, and what an object costs while nothing about it changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use printernizer_crds::ConditionType;
use printernizer_simulator::{Config, PrinterConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// So many CORE One and so many A1, whose steps take fractions of a second.
pub fn both(prusas: usize, bambus: usize) -> Config {
    let mut config = Config::prusalink(prusas).time_scale(20.0);
    config.printers.extend((1..=bambus).map(|number| {
        let mut printer = PrinterConfig::bambu(format!("bambu-{number}"));
        printer.bambu.report_milliseconds = 200;
        printer
    }));
    config
}

/// The message of a condition; empty where there is none.
pub fn message(conditions: &[Condition], type_: ConditionType) -> String {
    conditions.iter().find(|c| c.type_ == type_.as_str()).map(|c| c.message.clone()).unwrap_or_default()
}

/// Passes connections on to `target`, and counts them.
pub async fn counting(target: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(target).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (address, count)
}

/// An address on this machine where packets are dropped, as by a firewall, for as long as this is kept: the queue of who
/// wants to connect is full, and nobody is taken out of it.
pub struct BlackHole {
    pub address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    pub async fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        // A connection is made at once on this machine, or not at all.
        while let Ok(connected) = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(address)).await {
            queue.push(connected.unwrap());
        }
        Self { address, _listener: listener, _queue: queue }
    }
}

/// How many tries fit into this time if the pause after each is twice the one before, and one more for the clock.
pub fn tries(elapsed: Duration, first_pause: Duration) -> usize {
    let (mut count, mut at) = (2, first_pause);
    while at <= elapsed {
        (count, at) = (count + 1, at * 2 + first_pause);
    }
    count
}

/// What a web server answers for one path.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The file.
    File(Vec<u8>),
    /// 404.
    Absent,
    /// A redirect to there.
    Redirect(String),
    /// A file said to be this large.
    Large(u64),
    /// The first half of the file, then the connection ends.
    Half(Vec<u8>),
    /// This status, with these lines of a head, and this body.
    Refusal { status: &'static str, head: String, body: String },
}

/// A web server.
#[derive(Clone)]
pub struct WebServer {
    address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, (Answer, usize)>>>,
}

impl WebServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), answers: Arc::default() };
        let answers = Arc::clone(&server.answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answers)));
            }
        });
        server
    }

    /// Answers so for this name from now on; gives its address.
    pub fn answer(&self, name: &str, answer: Answer) -> String {
        let mut answers = self.answers.lock().unwrap();
        let asked = answers.get(name).map_or(0, |(_, asked)| *asked);
        answers.insert(name.to_owned(), (answer, asked));
        format!("http://{}/{name}", self.address)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often it was asked for this name.
    pub fn asked(&self, name: &str) -> usize {
        self.answers.lock().unwrap().get(name).map_or(0, |(_, asked)| *asked)
    }
}

async fn serve(mut stream: TcpStream, answers: Arc<Mutex<HashMap<String, (Answer, usize)>>>) {
    let mut request = vec![0; 4096];
    let Ok(length) = stream.read(&mut request).await else { return };
    let text = String::from_utf8_lossy(&request[..length]).into_owned();
    let target = text.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().trim_start_matches('/').to_owned();
    let answer = answers.lock().unwrap().get_mut(&path).map(|(answer, asked)| {
        *asked += 1;
        answer.clone()
    });
    let with = |status: &str, more: &str, size: u64, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {size}\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let bytes = match answer.unwrap_or(Answer::Absent) {
        Answer::File(body) => with("200 OK", "", body.len() as u64, &body),
        Answer::Absent => with("404 Not Found", "", 0, &[]),
        Answer::Redirect(to) => with("302 Found", &format!("Location: {to}\r\n"), 0, &[]),
        Answer::Large(size) => with("200 OK", "", size, b"G28\n"),
        Answer::Refusal { status, head, body } => with(status, &head, body.len() as u64, body.as_bytes()),
        Answer::Half(body) => with("200 OK", "", body.len() as u64, &body[..body.len() / 2]),
    };
    let _ = stream.write_all(&bytes).await;
}
