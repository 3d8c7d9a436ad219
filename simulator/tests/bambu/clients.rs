//! An MQTT and an FTPS client for these tests, over TLS that trusts the simulated authority's key and the serial number.
//!
//! The verifier does what a version 1 certificate allows: name, issuer's signature, and the handshake's signature by the
//! certificate's key.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use printernizer_simulator::{BambuInfo, PrinterHandle};
use rumqttc::mqttbytes::{
    QoS,
    v4::{Codec, Connect, ConnectReturnCode, Packet, Publish, Subscribe},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::codec::{Framed, LinesCodec};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::PATIENCE;

#[derive(Debug)]
struct SerialNumberVerifier {
    authority: CertificateDer<'static>,
    serial_number: String,
}

impl ServerCertVerifier for SerialNumberVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = |why: &str| rustls::Error::General(why.to_owned());
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| refused("no certificate"))?;
        let (_, authority) = X509Certificate::from_der(&self.authority).map_err(|_| refused("no authority"))?;
        let name = leaf.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        if name != Some(&self.serial_number) {
            return Err(refused("another name"));
        }
        leaf.verify_signature(Some(authority.public_key())).map_err(|_| refused("another authority"))?;
        if !leaf.validity().is_valid() {
            return Err(refused("expired"));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| rustls::Error::General("leaf".to_owned()))?;
        let key = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_ASN1,
            leaf.public_key().subject_public_key.as_ref(),
        );
        let verified = key.verify(message, signature.signature());
        verified.map_err(|_| rustls::Error::General("not its key".to_owned()))?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 only".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// How this client trusts the printer. A configuration keeps its sessions, so that one made of it can be resumed.
pub fn trust(printer: &PrinterHandle) -> Arc<ClientConfig> {
    trust_with(printer, &[&rustls::version::TLS12])
}

pub fn trust_with(
    printer: &PrinterHandle,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let info = printer.info();
    let pem = info.bambu.unwrap().certificate_authority_pem;
    let authority = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let verifier = SerialNumberVerifier { authority, serial_number: info.serial_number };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    Arc::new(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

pub async fn tls(port: u16, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("printer").unwrap();
    timeout(PATIENCE, TlsConnector::from(config).connect(name, stream)).await.expect("a handshake, or its failure")
}

pub fn info(printer: &PrinterHandle) -> BambuInfo {
    printer.info().bambu.unwrap()
}

/// An MQTT client.
pub struct Client {
    pub stream: Framed<TlsStream<TcpStream>, Codec>,
    pub serial_number: String,
    sequence: u32,
}

impl Client {
    /// Connected, with the answer to CONNECT; none if the connection just ended.
    pub async fn connect(printer: &PrinterHandle, code: &str) -> (Self, Option<ConnectReturnCode>) {
        let stream = tls(info(printer).mqtt_port, trust(printer)).await.unwrap();
        let codec = Codec { max_incoming_size: 1 << 20, max_outgoing_size: 1 << 20 };
        let serial_number = printer.info().serial_number;
        let mut client = Self { stream: Framed::new(stream, codec), serial_number, sequence: 7000 };
        let mut connect = Connect::new("tests");
        connect.set_login("bblp", code);
        client.stream.send(Packet::Connect(connect)).await.unwrap();
        let answer = match client.packet().await {
            Some(Packet::ConnAck(answer)) => Some(answer.code),
            None => None,
            other => panic!("{other:?}"),
        };
        (client, answer)
    }

    /// Connected, logged in, listening to reports.
    pub async fn listening(printer: &PrinterHandle) -> Self {
        let (mut client, answer) = Self::connect(printer, info(printer).access_code.as_str()).await;
        assert_eq!(answer, Some(ConnectReturnCode::Success));
        client.subscribe(&format!("device/{}/report", client.serial_number)).await;
        assert!(matches!(client.packet().await, Some(Packet::SubAck(_))));
        client
    }

    pub async fn subscribe(&mut self, topic: &str) {
        let mut subscribe = Subscribe::new(topic, QoS::AtMostOnce);
        subscribe.pkid = 1;
        self.stream.send(Packet::Subscribe(subscribe)).await.unwrap();
    }

    /// The next packet; none at the end of the connection.
    pub async fn packet(&mut self) -> Option<Packet> {
        timeout(PATIENCE, self.stream.next()).await.expect("a packet, or the connection's end")?.ok()
    }

    /// Whether the connection has ended, reports aside.
    pub async fn has_ended(&mut self) -> bool {
        while let Some(packet) = self.packet().await {
            if !matches!(packet, Packet::Publish(_)) {
                return false;
            }
        }
        true
    }

    /// The next message on the report topic.
    pub async fn message(&mut self) -> Value {
        serde_json::from_slice(&self.payload().await).expect("JSON")
    }

    pub async fn payload(&mut self) -> bytes::Bytes {
        let topic = format!("device/{}/report", self.serial_number);
        loop {
            match self.packet().await {
                Some(Packet::Publish(publish)) => {
                    assert_eq!(publish.topic, topic);
                    return publish.payload;
                }
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }

    /// The next message that satisfies the condition.
    pub async fn message_that(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let find = async {
            loop {
                let message = self.message().await;
                if wanted(&message) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("never {what}"))
    }

    pub async fn stream_ping(&mut self) {
        self.stream.send(Packet::PingReq).await.unwrap();
    }

    pub async fn publish(&mut self, topic: &str, message: &Value) {
        let publish = Publish::new(topic, QoS::AtMostOnce, message.to_string());
        self.stream.send(Packet::Publish(publish)).await.unwrap();
    }

    /// Sends a command and says its sequence_id.
    pub async fn send(&mut self, category: &str, command: &str, more: &Value) -> String {
        self.sequence += 1;
        let sequence_id = self.sequence.to_string();
        let mut body = json!({ "sequence_id": sequence_id, "command": command });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let topic = format!("device/{}/request", self.serial_number);
        self.publish(&topic, &json!({ category: body })).await;
        sequence_id
    }

    /// Sends a command and waits for its acknowledgement.
    pub async fn acknowledged(&mut self, category: &str, command: &str, more: &Value) -> Value {
        let sequence_id = self.send(category, command, more).await;
        let wanted = |message: &Value| {
            message[category]["sequence_id"] == sequence_id.as_str() && message[category]["msg"].is_null()
        };
        let mut message = self.message_that("acknowledged", wanted).await;
        message[category].take()
    }

    /// A full report, asked for.
    pub async fn full_report(&mut self) -> Value {
        self.send("pushing", "pushall", &json!({ "version": 1, "push_target": 1 })).await;
        self.message_that("a full report", |message| message["print"]["msg"] == 0).await["print"].take()
    }

    /// What the printer says after everything sent so far.
    pub async fn state(&mut self) -> String {
        self.full_report().await["gcode_state"].as_str().unwrap().to_owned()
    }
}

/// A start of plate 1 with ids made of this number.
pub fn project_file(name: &str, id: u32) -> Value {
    json!({
        "param": "Metadata/plate_1.gcode", "url": format!("ftp:///{name}"), "file": name, "md5": "",
        "task_id": (id + 1).to_string(), "subtask_id": (id + 2).to_string(), "project_id": (id + 3).to_string(),
        "profile_id": "0", "subtask_name": name.trim_end_matches(".gcode.3mf"), "bed_type": "auto",
        "bed_leveling": true, "flow_cali": false, "vibration_cali": false, "layer_inspect": false,
        "timelapse": false, "use_ams": true, "ams_mapping": [0],
    })
}

/// An FTPS client.
pub struct Ftps {
    control: Framed<TlsStream<TcpStream>, LinesCodec>,
    pub config: Arc<ClientConfig>,
}

impl Ftps {
    pub async fn connect(printer: &PrinterHandle) -> Self {
        let config = trust(printer);
        let stream = tls(info(printer).ftps_port, Arc::clone(&config)).await.unwrap();
        let mut client = Self { control: Framed::new(stream, LinesCodec::new()), config };
        assert_eq!(client.reply().await.0, 220);
        client
    }

    /// Ready for transfers.
    pub async fn ready(printer: &PrinterHandle) -> Self {
        let mut client = Self::connect(printer).await;
        assert_eq!(client.log_in(info(printer).access_code.as_str()).await, 230);
        for (command, code) in [("PBSZ 0", 200), ("PROT P", 200), ("TYPE I", 200)] {
            assert_eq!(client.command(command).await.0, code, "{command}");
        }
        client
    }

    pub async fn log_in(&mut self, code: &str) -> u16 {
        assert_eq!(self.command("USER bblp").await.0, 331);
        self.command(&format!("PASS {code}")).await.0
    }

    pub async fn send_only(&mut self, command: &str) {
        self.control.send(format!("{command}\r")).await.unwrap();
    }

    pub async fn command(&mut self, command: &str) -> (u16, String) {
        self.send_only(command).await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> (u16, String) {
        self.next_reply().await.expect("a reply, not the connection's end")
    }

    /// None at the end of the connection.
    pub async fn next_reply(&mut self) -> Option<(u16, String)> {
        let line = timeout(PATIENCE, self.control.next()).await.expect("a reply, or the end")?.ok()?;
        let line = line.trim_end_matches('\r');
        let (code, text) = line.split_once(' ').unwrap();
        Some((code.parse().unwrap(), text.to_owned()))
    }

    /// The port of a new data connection; the address is what the printer says.
    pub async fn passive(&mut self) -> (String, u16) {
        let (code, text) = self.command("PASV").await;
        assert_eq!(code, 227);
        let numbers = text.split_once('(').unwrap().1.split_once(')').unwrap().0;
        let numbers: Vec<u16> = numbers.split(',').map(|number| number.parse().unwrap()).collect();
        let host = numbers[..4].iter().map(u16::to_string).collect::<Vec<_>>().join(".");
        (host, numbers[4] << 8 | numbers[5])
    }

    /// The data connection of a transfer that has been announced.
    pub async fn data(
        &mut self,
        port: u16,
        command: &str,
        config: Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, u16> {
        let (code, _) = self.command(command).await;
        if code != 150 {
            return Err(code);
        }
        Ok(tls(port, config).await.unwrap())
    }

    /// Uploads and returns the last reply's code.
    pub async fn upload(&mut self, name: &str, content: &[u8]) -> u16 {
        let (_, port) = self.passive().await;
        let config = Arc::clone(&self.config);
        let mut stream = match self.data(port, &format!("STOR {name}"), config).await {
            Ok(stream) => stream,
            Err(code) => return code,
        };
        // A refused stream shows in the reply.
        let _ = stream.write_all(content).await;
        let _ = stream.shutdown().await;
        self.reply().await.0
    }

    /// Downloads a file or listing.
    pub async fn download(&mut self, command: &str) -> Vec<u8> {
        let (_, port) = self.passive().await;
        let config = Arc::clone(&self.config);
        let mut stream = self.data(port, command, config).await.unwrap();
        let mut content = Vec::new();
        stream.read_to_end(&mut content).await.unwrap();
        assert_eq!(self.reply().await.0, 226);
        content
    }
}

/// Puts a file on the printer's card.
pub async fn upload(printer: &PrinterHandle, name: &str, content: &[u8]) {
    assert_eq!(Ftps::ready(printer).await.upload(name, content).await, 226);
}
