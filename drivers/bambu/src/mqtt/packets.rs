//! MQTT 3.1.1 as a printer's broker speaks it, at QoS 0, over one TLS connection: whole packets in, whole packets out.
//! The packet format is rumqttc's; nothing else of that client is used, because it queues and replays (docs/adr/0008). A
//! packet over 256 KiB ends the connection; the longest report seen has 32 KiB. Facts: OASIS MQTT 3.1.1.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Packet, Publish, Subscribe, SubscribeReasonCode};
use rumqttc::mqttbytes::{Error as PacketError, QoS};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_rustls::client::TlsStream;

use super::wire::Wire;
use crate::config::{Config, SerialNumber};
use crate::error::Error;

/// The longest packet taken or sent.
pub(super) const PACKET_MAX_BYTES: usize = 256 * 1024;
/// Asked for with each read.
const READ_BYTES: usize = 4 * 1024;
/// A buffer that has grown beyond this is given back once it is empty.
const BUFFER_KEPT_BYTES: usize = 8 * 1024;
/// The only user there is.
const USER: &str = "bblp";
/// The longest access code sent; real ones have 8 characters.
const ACCESS_CODE_MAX_BYTES: usize = 64;
/// The only subscription of a connection.
const SUBSCRIPTION: u16 = 1;

/// The reading half.
pub(super) struct Reader {
    stream: ReadHalf<TlsStream<Wire>>,
    buffer: BytesMut,
}

impl Reader {
    pub(super) fn new(stream: ReadHalf<TlsStream<Wire>>) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next packet. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Packet, Error> {
        loop {
            match Packet::read(&mut self.buffer, PACKET_MAX_BYTES) {
                Ok(packet) => {
                    if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT_BYTES {
                        self.buffer = BytesMut::new();
                    }
                    return Ok(packet);
                }
                Err(PacketError::InsufficientBytes(_)) => {}
                Err(error) => return Err(unreadable(error)),
            }
            self.buffer.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Error::lost("the printer closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(Error::lost(error)),
            }
        }
    }
}

fn unreadable(error: PacketError) -> Error {
    match error {
        PacketError::InvalidConnectReturnCode(code) => Error::Refused { code },
        error => Error::Protocol {
            request: "reading from the printer's broker",
            detail: "what came is not MQTT 3.1.1, or too long".into(),
            source: Some(error.into()),
        },
    }
}

/// The writing half. One packet at a time, each whole: a caller that goes away in the middle of one leaves `broken`.
pub(super) struct Writer {
    stream: WriteHalf<TlsStream<Wire>>,
    broken: bool,
}

impl Writer {
    pub(super) fn new(stream: WriteHalf<TlsStream<Wire>>) -> Self {
        Self { stream, broken: false }
    }

    /// Whether a packet was left half written, so that no other may follow.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Writes bytes of whole packets and waits until the kernel has taken all of them. The caller bounds the time.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Ended);
        }
        self.broken = true;
        self.stream.write_all(bytes).await.map_err(Error::lost)?;
        self.stream.flush().await.map_err(Error::lost)?;
        self.broken = false;
        Ok(())
    }

    /// Ends TLS in order.
    pub(super) async fn shutdown(&mut self) {
        // Either way the connection is closed next.
        let _ = self.stream.shutdown().await;
    }
}

/// A packet as bytes.
pub(super) fn encode(packet: &Packet) -> Result<BytesMut, Error> {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, PACKET_MAX_BYTES).map_err(|error| Error::Protocol {
        request: "writing to the printer's broker",
        detail: "the command is too long".into(),
        source: Some(error.into()),
    })?;
    Ok(bytes)
}

/// CONNECT with a new session and an id that nobody else uses.
pub(super) fn connect(config: &Config) -> Result<Packet, Error> {
    let access_code = config.access_code.expose_secret();
    if !(1..=ACCESS_CODE_MAX_BYTES).contains(&access_code.len()) {
        return Err(Error::AccessCodeRefused);
    }
    let mut connect = Connect::new(format!("printernizer-{:016x}", rand::random::<u64>()));
    connect.keep_alive = u16::try_from(config.timeouts.keep_alive.as_secs().saturating_mul(2)).unwrap_or(u16::MAX);
    connect.clean_session = true;
    connect.set_login(USER, access_code);
    Ok(Packet::Connect(connect))
}

/// Whether the broker takes us.
pub(super) fn connected(answer: &Packet) -> Result<(), Error> {
    let Packet::ConnAck(ConnAck { code, .. }) = answer else {
        return Err(Error::protocol("connecting to the printer's broker", "the first packet is not its answer"));
    };
    match code {
        ConnectReturnCode::Success => Ok(()),
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => Err(Error::AccessCodeRefused),
        other => Err(Error::Refused { code: *other as u8 }),
    }
}

/// SUBSCRIBE to the reports, and to nothing else: brokers of P1 and A1 drop who asks for more (bambuddy).
pub(super) fn subscribe(serial: &SerialNumber) -> Packet {
    let mut subscribe = Subscribe::new(report_topic(serial), QoS::AtMostOnce);
    subscribe.pkid = SUBSCRIPTION;
    Packet::Subscribe(subscribe)
}

/// Whether the packet answers the subscription, and how.
pub(super) fn subscribed(answer: &Packet) -> Option<Result<(), Error>> {
    let Packet::SubAck(answer) = answer else { return None };
    let granted = matches!(answer.return_codes[..], [SubscribeReasonCode::Success(_)]);
    let refused = || Error::protocol("subscribing to reports", "the printer's broker refuses");
    Some(if granted { Ok(()) } else { Err(refused()) })
}

/// PUBLISH of a request, at QoS 0.
pub(super) fn request(serial: &SerialNumber, payload: Vec<u8>) -> Packet {
    let topic = format!("device/{serial}/request");
    Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload))
}

/// Where reports and answers come.
pub(super) fn report_topic(serial: &SerialNumber) -> String {
    format!("device/{serial}/report")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_that_refuse_the_login_are_told_from_others() {
        let answer = |code| connected(&Packet::ConnAck(ConnAck::new(code, false)));
        assert!(answer(ConnectReturnCode::Success).is_ok());
        assert!(matches!(answer(ConnectReturnCode::BadUserNamePassword), Err(Error::AccessCodeRefused)));
        assert!(matches!(answer(ConnectReturnCode::NotAuthorized), Err(Error::AccessCodeRefused)));
        assert!(matches!(answer(ConnectReturnCode::ServiceUnavailable), Err(Error::Refused { code: 3 })));
        assert!(matches!(connected(&Packet::PingResp), Err(Error::Protocol { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while Packet::read(&mut buffer, PACKET_MAX_BYTES).is_ok() {}
        }
    }
}
