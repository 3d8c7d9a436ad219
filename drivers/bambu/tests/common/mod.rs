//! What the driver's tests share: a broker that does exactly what a test tells it, packet by packet, with a
//! certificate as printers have them. It is a script and no model of a printer. Nothing waits longer than `PATIENCE`.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod certificates;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use certificates::{Authority, Draft};
use printernizer_bambu::ftps::RemoteName;
use printernizer_bambu::mapping::AmsMapping;
use printernizer_bambu::project_file::{FileUrl, PrintId, ProjectFile};
use printernizer_bambu::{Config, Connection, SerialNumber, Timeouts, Trust};
use rcgen::KeyPair;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Packet, Publish, SubAck, SubscribeReasonCode};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub const SERIAL: &str = "03919A3B0100254";
pub const ACCESS_CODE: &str = "12345678";
/// The longest wait of any test.
const PATIENCE: Duration = Duration::from_secs(20);
const PACKET_MAX_BYTES: usize = 1024 * 1024;

/// Fails instead of hanging.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this took far too long")
}

/// Limits short enough for a test.
pub fn short() -> Timeouts {
    let milliseconds = Duration::from_millis;
    Timeouts {
        handshake: milliseconds(2000),
        answer: milliseconds(800),
        full_report: milliseconds(800),
        echo: milliseconds(600),
        send: milliseconds(500),
        acknowledgement: milliseconds(500),
        ..Timeouts::default()
    }
}

/// A listening broker with a printer's certificate.
pub struct Broker {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    pub config: Config,
}

impl Broker {
    pub async fn start() -> Self {
        Self::with(&Draft::of(SERIAL), short()).await
    }

    pub async fn with(draft: &Draft, timeouts: Timeouts) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::of(draft, timeouts, &key, &key).await
    }

    /// Somebody who has copied the printer's certificate, but not its key.
    pub async fn impostor() -> Self {
        Self::of(&Draft::of(SERIAL), short(), &KeyPair::generate().unwrap(), &KeyPair::generate().unwrap()).await
    }

    async fn of(draft: &Draft, timeouts: Timeouts, in_certificate: &KeyPair, key: &KeyPair) -> Self {
        let authority = Authority::new("Test CA");
        let certificate = CertificateDer::from(draft.signed(in_certificate, &authority));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Small, so that what a test does not read soon stays with the sender.
        SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
        let config = Config {
            mqtt: listener.local_addr().unwrap(),
            ftps: SocketAddr::from(([127, 0, 0, 1], 9)),
            serial_number: SerialNumber::new(SERIAL).unwrap(),
            access_code: ACCESS_CODE.to_owned().into(),
            trust: Trust::Authorities(vec![authority.certificate().into()]),
            timeouts,
        };
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(server)), config }
    }

    /// The next TCP connection.
    pub async fn tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// The next connection, after TLS; `None` if the client gave it up.
    pub async fn accept(&self) -> Option<Session> {
        let stream = self.acceptor.accept(self.tcp().await).await.ok()?;
        Some(Session { stream, buffer: BytesMut::new() })
    }

    /// The next connection, logged in and subscribed.
    pub async fn subscribed(&self) -> Session {
        let mut session = self.accept().await.expect("the client accepts the certificate");
        session.log_in(ConnectReturnCode::Success).await;
        let Some(Packet::Subscribe(subscribe)) = session.packet().await else { panic!("a subscription") };
        assert_eq!(subscribe.filters.len(), 1);
        assert_eq!(subscribe.filters[0].path, format!("device/{SERIAL}/report"));
        assert_eq!(subscribe.filters[0].qos, QoS::AtMostOnce);
        let granted = vec![SubscribeReasonCode::Success(QoS::AtMostOnce)];
        session.send(&Packet::SubAck(SubAck::new(subscribe.pkid, granted))).await;
        session
    }

    /// A connection that has carried this full report, and the broker's end of it.
    pub async fn connected(&self, report: Value) -> (Connection, Session) {
        let serve = async {
            let mut session = self.subscribed().await;
            session.answer_questions(report).await;
            session
        };
        let (connection, session) = soon(async { tokio::join!(Connection::open(&self.config), serve) }).await;
        (connection.expect("the connection opens"), session)
    }
}

/// The broker's end of one connection.
pub struct Session {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

impl Session {
    /// The next packet; `None` when the connection has ended.
    pub async fn packet(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.buffer, PACKET_MAX_BYTES) {
                Ok(packet) => return Some(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the client wrote something that is no packet: {error}"),
            }
            match soon(self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, PACKET_MAX_BYTES).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Takes CONNECT and answers it.
    pub async fn log_in(&mut self, code: ConnectReturnCode) -> Connect {
        let Some(Packet::Connect(connect)) = self.packet().await else { panic!("a CONNECT") };
        self.send(&Packet::ConnAck(ConnAck::new(code, false))).await;
        connect
    }

    /// The next request that was published, pings aside; `None` when the connection has ended.
    pub async fn request(&mut self) -> Option<Value> {
        loop {
            match self.packet().await? {
                Packet::Publish(message) => {
                    assert_eq!(message.topic, format!("device/{SERIAL}/request"));
                    assert_eq!(message.qos, QoS::AtMostOnce, "nothing is sent in a way that could be repeated");
                    return Some(serde_json::from_slice(&message.payload).unwrap());
                }
                Packet::PingReq => self.send(&Packet::PingResp).await,
                Packet::Disconnect => return None,
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The next request of this category and command.
    pub async fn expect(&mut self, category: &str, command: &str) -> Value {
        let request = self.request().await.unwrap_or_else(|| panic!("{category}.{command} before the end"));
        assert_eq!(request[category]["command"], command, "{request}");
        request[category].clone()
    }

    /// Sends a message to the topic of reports.
    pub async fn publish(&mut self, payload: impl Into<Vec<u8>>) {
        let topic = format!("device/{SERIAL}/report");
        self.send(&Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload))).await;
    }

    /// Sends a full (0) or partial (1) report.
    pub async fn report(&mut self, msg: u8, mut print: Value) {
        print["command"] = "push_status".into();
        print["msg"] = msg.into();
        self.publish(json!({"print": print}).to_string()).await;
    }

    /// Takes the two questions of a client and answers them.
    pub async fn answer_questions(&mut self, report: Value) {
        self.answer_version().await;
        self.expect("pushing", "pushall").await;
        self.report(0, report).await;
    }

    pub async fn answer_version(&mut self) {
        let question = self.expect("info", "get_version").await;
        let module = json!([{"name": "ota", "sw_ver": "01.05.00.00", "product_name": "Bambu Lab A1"}]);
        let id = &question["sequence_id"];
        self.publish(json!({"info": {"command": "get_version", "sequence_id": id, "module": module}}).to_string())
            .await;
    }
}

/// An idle printer.
pub fn idle() -> Value {
    json!({"gcode_state": "IDLE", "task_id": "0", "subtask_id": "0", "subtask_name": "", "print_error": 0, "hms": [],
           "home_flag": 256, "sdcard": true, "nozzle_diameter": "0.4"})
}

/// A start command; `filaments` makes it long.
pub fn project_file(filaments: usize) -> ProjectFile {
    let name = RemoteName::new("bracket-pz-0011223344556677-1.gcode.3mf").unwrap();
    let mapping = AmsMapping { use_ams: false, ams_mapping: vec![-1; filaments], ams_mapping2: Vec::new() };
    ProjectFile::new(name, PrintId::new(4711).unwrap(), 1, FileUrl::Ftp, mapping).unwrap()
}
