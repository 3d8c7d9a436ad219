//! The driver against a broker that others wrote: Debian's mosquitto over TLS, with a certificate as printers have it
//! (X.509 version 1, RSA, the serial number as its only name) and a password file. It catches what driver and scripted
//! broker could misread alike. Keys are made by openssl. Both must be installed; without them these tests fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;
#[path = "../../prusalink/tests/wait/mod.rs"]
mod wait;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use common::certificates::{Authority, Draft, names};
use common::{ACCESS_CODE, SERIAL, idle, project_file, short, soon};
use printernizer_bambu::report::State;
use printernizer_bambu::{CertificateProblem, Config, Connection, Error, SerialNumber, StartOutcome, Timeouts, Trust};
use rcgen::KeyPair;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, Packet, Publish, Subscribe};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wait::wait_until;

/// Where Debian puts it; not on everybody's PATH.
const MOSQUITTO: &str = "/usr/sbin/mosquitto";

/// A running mosquitto; it ends with this value.
struct Mosquitto {
    child: Child,
    folder: TempDir,
    port: u16,
    /// Without TLS and password, for the printer's side of the tests.
    plain_port: u16,
    authority: Vec<u8>,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?} cannot be run ({error}): install mosquitto and openssl, for example with apt-get")
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// An RSA key of 2048 bits, as in printers.
fn rsa_key() -> KeyPair {
    let pem =
        succeeds(Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]));
    KeyPair::from_pem(&String::from_utf8(pem).unwrap()).unwrap()
}

fn pem(der: &[u8], folder: &Path, name: &str) {
    let (from, to) = (folder.join(format!("{name}.der")), folder.join(name));
    fs::write(&from, der).unwrap();
    succeeds(Command::new("openssl").args(["x509", "-inform", "der", "-in"]).arg(from).arg("-out").arg(to));
}

impl Mosquitto {
    async fn start(name_in_certificate: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let place = folder.path();
        // mosquitto gives up root's rights before it reads some of its files.
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
        let authority = Authority { name: names(&["Test CA"]), key: rsa_key() };
        let key = rsa_key();
        pem(&Draft::of(name_in_certificate).signed(&key, &authority), place, "printer.pem");
        let text =
            succeeds(Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(place.join("printer.pem")));
        assert!(String::from_utf8_lossy(&text).contains("Version: 1"), "as openssl sees it, too");
        fs::write(place.join("printer.key"), key.serialize_pem()).unwrap();
        fs::write(place.join("passwords"), "").unwrap();
        succeeds(Command::new("mosquitto_passwd").arg("-b").arg(place.join("passwords")).args(["bblp", ACCESS_CODE]));
        for file in ["printer.key", "passwords"] {
            fs::set_permissions(place.join(file), fs::Permissions::from_mode(0o644)).unwrap();
        }
        let (port, plain_port) = (free_port(), free_port());
        let at = place.display();
        let configuration = format!(
            "per_listener_settings true\n\
             listener {plain_port} 127.0.0.1\nallow_anonymous true\n\
             listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {at}/passwords\n\
             certfile {at}/printer.pem\nkeyfile {at}/printer.key\ntls_version tlsv1.2\n"
        );
        fs::write(place.join("mosquitto.conf"), configuration).unwrap();
        let child = Self::spawn(place);
        let mosquitto = Self { child, port, plain_port, authority: authority.certificate(), folder };
        mosquitto.wait_until_it_listens().await;
        mosquitto
    }

    fn spawn(place: &Path) -> Child {
        let log = fs::File::create(place.join("log")).unwrap();
        Command::new(MOSQUITTO)
            .arg("-v")
            .arg("-c")
            .arg(place.join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("mosquitto cannot be run ({error}): install it, for example with apt-get"))
    }

    async fn wait_until_it_listens(&self) {
        wait_until("mosquitto to listen", async || {
            TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|error| (error, self.log()))
        })
        .await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(self.folder.path());
        self.wait_until_it_listens().await;
    }

    fn config(&self) -> Config {
        Config {
            mqtt: SocketAddr::from(([127, 0, 0, 1], self.port)),
            ftps: SocketAddr::from(([127, 0, 0, 1], 9)),
            serial_number: SerialNumber::new(SERIAL).unwrap(),
            access_code: ACCESS_CODE.to_owned().into(),
            trust: Trust::Authorities(vec![CertificateDer::from(self.authority.clone())]),
            timeouts: Timeouts { full_report: Duration::from_secs(5), echo: Duration::from_secs(4), ..short() },
        }
    }

    /// A printer behind this broker that answers questions with this report and keeps what it was told.
    async fn printer(&self, report: Value) -> Printer {
        let stream = TcpStream::connect(("127.0.0.1", self.plain_port)).await.unwrap();
        let mut client = Client { stream, buffer: BytesMut::new() };
        client.send(&Packet::Connect(Connect::new("printer"))).await;
        assert!(matches!(client.packet().await, Some(Packet::ConnAck(_))));
        let topic = format!("device/{SERIAL}/request");
        let mut subscribe = Subscribe::new(topic, QoS::AtMostOnce);
        subscribe.pkid = 1;
        client.send(&Packet::Subscribe(subscribe)).await;
        assert!(matches!(client.packet().await, Some(Packet::SubAck(_))));
        let (tell, told) = mpsc::unbounded_channel();
        let (say, mut said) = mpsc::unbounded_channel::<String>();
        let task = tokio::spawn(async move {
            loop {
                let request: Value = tokio::select! {
                    packet = client.packet() => match packet {
                        Some(Packet::Publish(message)) => serde_json::from_slice(&message.payload).unwrap(),
                        Some(_) => continue,
                        None => break,
                    },
                    Some(text) = said.recv() => {
                        client.publish(&text).await;
                        continue;
                    }
                };
                if request["info"]["command"] == "get_version" {
                    let id = &request["info"]["sequence_id"];
                    let answer = json!({"info": {"command": "get_version", "sequence_id": id, "module": []}});
                    client.publish(&answer.to_string()).await;
                } else if request["pushing"]["command"] == "pushall" {
                    let mut full = report.clone();
                    full["command"] = "push_status".into();
                    full["msg"] = 0.into();
                    client.publish(&json!({"print": full}).to_string()).await;
                }
                // Nobody may be interested any more.
                let _ = tell.send(request);
            }
        });
        Printer { told, say, task }
    }
}

/// A client of the plain listener.
struct Client {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Client {
    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, 1024 * 1024).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn publish(&mut self, text: &str) {
        let topic = format!("device/{SERIAL}/report");
        self.send(&Packet::Publish(Publish::new(topic, QoS::AtMostOnce, text))).await;
    }

    /// The next packet; dropping the future loses nothing.
    async fn packet(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.buffer, 1024 * 1024) {
                Ok(packet) => return Some(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error}"),
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

struct Printer {
    told: mpsc::UnboundedReceiver<Value>,
    say: mpsc::UnboundedSender<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Printer {
    /// The next command, questions aside.
    async fn command(&mut self) -> Value {
        loop {
            let request = soon(self.told.recv()).await.expect("the printer listens");
            if request.get("print").is_some() {
                return request["print"].clone();
            }
        }
    }

    /// Commands told until now.
    fn commands(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.told.try_recv().ok()).filter(|request| request.get("print").is_some()).collect()
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_printer_behind_mosquitto_reports_long_and_takes_commands() {
    let broker = Mosquitto::start(SERIAL).await;
    let mut long = idle();
    long["junk"] = "x".repeat(40_000).into();
    let mut printer = broker.printer(long).await;
    let mut connection =
        soon(Connection::open(&broker.config())).await.unwrap_or_else(|e| panic!("{e:?}\n{}", broker.log()));
    assert_eq!(connection.report().report.state, State::Idle);
    let finished = r#"{"print":{"command":"push_status","msg":1,"gcode_state":"FINISH"}}"#;
    printer.say.send(finished.to_owned()).unwrap();
    while connection.report().report.state != State::Finished {
        soon(connection.changed()).await.unwrap();
    }
    let snapshot = soon(connection.full_report()).await.unwrap();
    assert_eq!(snapshot.report.state, State::Idle);
    let outcome = soon(connection.start(&project_file(4), || true)).await;
    assert!(matches!(outcome, StartOutcome::Sent { acknowledged: false }), "{outcome:?}");
    assert_eq!(printer.command().await["task_id"], "4711");
    connection.close().await;
}

#[tokio::test]
async fn a_wrong_access_code_is_refused_once_and_another_printers_certificate_too() {
    let broker = Mosquitto::start(SERIAL).await;
    let wrong_code = Config { access_code: "87654321".to_owned().into(), ..broker.config() };
    let error = soon(Connection::open(&wrong_code)).await;
    assert!(matches!(error, Err(Error::AccessCodeRefused)), "{error:?}");

    let other = Config { serial_number: SerialNumber::new("03919A3B0100255").unwrap(), ..broker.config() };
    let error = soon(Connection::open(&other)).await;
    let named = |problem: &CertificateProblem| matches!(problem, CertificateProblem::OtherPrinter { found, .. } if found == SERIAL);
    assert!(matches!(&error, Err(Error::Untrusted { problem, .. }) if named(problem)), "{error:?}");

    let by_bambu = Config { trust: Trust::BambuCa, ..broker.config() };
    let error = soon(Connection::open(&by_bambu)).await;
    assert!(
        matches!(&error, Err(Error::Untrusted { problem: CertificateProblem::UnknownIssuer { .. }, .. })),
        "{error:?}"
    );

    let plain = Config { mqtt: SocketAddr::from(([127, 0, 0, 1], broker.plain_port)), ..broker.config() };
    assert!(soon(Connection::open(&plain)).await.is_err(), "without TLS nothing is said");
}

#[tokio::test]
async fn without_a_printer_behind_it_the_serial_number_is_suspected() {
    let broker = Mosquitto::start(SERIAL).await;
    let mut config = broker.config();
    config.timeouts.full_report = Duration::from_millis(500);
    let error = soon(Connection::open(&config)).await;
    assert!(matches!(error, Err(Error::WrongSerialOrBusy { .. })), "{error:?}");
}

#[tokio::test]
async fn a_killed_broker_ends_the_connection_and_the_next_one_replays_nothing() {
    let mut broker = Mosquitto::start(SERIAL).await;
    let mut printer = broker.printer(idle()).await;
    let mut connection = soon(Connection::open(&broker.config())).await.unwrap();
    let outcome = soon(connection.start(&project_file(1), || true)).await;
    assert!(matches!(outcome, StartOutcome::Sent { .. }), "{outcome:?}");
    assert_eq!(printer.command().await["command"], "project_file");
    drop(printer);
    broker.restart().await;
    let error = loop {
        if let Err(error) = soon(connection.changed()).await {
            break error;
        }
    };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    let late = soon(connection.start(&project_file(1), || panic!("nobody is asked"))).await;
    assert!(matches!(late, StartOutcome::NotSent(_)), "{late:?}");

    let mut printer = broker.printer(idle()).await;
    let mut again = soon(Connection::open(&broker.config())).await.unwrap();
    // The questions of the new connection are answered, so whatever it had to replay would have come before.
    soon(again.full_report()).await.unwrap();
    assert_eq!(printer.commands(), Vec::<Value>::new());
}
