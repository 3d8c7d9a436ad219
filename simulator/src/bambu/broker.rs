//! The printer's own MQTT broker: 3.1.1 over TLS, one topic to listen to and one to speak on.
//!
//! User `bblp` and the access code; topics are case sensitive. A client that subscribes to wildcards or to the request
//! topic loses its connection; one that names another serial number is served and hears nothing. Nothing is stored, no
//! idle client is thrown out.

use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use rumqttc::mqttbytes::{
    QoS,
    v4::{
        Codec, ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode, UnsubAck,
    },
};
use tokio::{
    net::TcpStream,
    sync::{broadcast, watch},
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::codec::Framed;

use super::{
    BambuFault, Printer, USERNAME,
    clients::Place,
    commands::{Command, request_kind},
    guard::{Guarded, may_answer},
    tls,
};
use crate::endpoint::{Link, Service, Slot};

/// How long a client may take to say who it is, or to take what is sent to it, in real time.
const PATIENCE: Duration = Duration::from_secs(10);
const PACKET_LIMIT_BYTES: usize = 1024 * 1024;

type Connection = Framed<TlsStream<TcpStream>, Codec>;

/// The broker of one printer.
pub(crate) struct Broker(pub(crate) Arc<Printer>);

impl Service for Broker {
    fn link(&self) -> Link {
        self.0.link()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.life.changes()
    }

    fn boots(&self) -> &watch::Sender<Option<u32>> {
        &self.0.mqtt_boots
    }

    /// Clients are counted when they have logged in; this only bounds the sockets.
    fn connection_limit(&self) -> usize {
        32
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, boots: u32, _slot: Slot) {
        let printer = &self.0;
        if !super::speaks(printer, boots).await {
            return;
        }
        let Ok(tls) = printer.tls() else { return };
        let Ok(stream) = tls::accept(stream, tls.mqtt, printer.hangs_on_tls13()).await else { return };
        let codec = Codec { max_incoming_size: PACKET_LIMIT_BYTES, max_outgoing_size: PACKET_LIMIT_BYTES };
        let mut connection = Framed::new(stream, codec);
        let Some(place) = admit(printer, &mut connection).await else { return };
        let leaving = Leaving { printer, number: place.number };
        let mut session = Session { printer, outbox: None, number: place.number, guarded: Guarded(printer.guard()) };
        session.run(&mut connection, place, boots).await;
        drop(leaving);
        let _ = timeout(PATIENCE, connection.close()).await;
    }
}

/// Gives the place back even if the session is ended from outside.
struct Leaving<'a> {
    printer: &'a Printer,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.printer.life.change(|inner, _| inner.clients.leave(self.number));
    }
}

/// Reads CONNECT and answers it.
async fn admit(printer: &Printer, connection: &mut Connection) -> Option<Place> {
    let Ok(Some(Ok(Packet::Connect(connect)))) = timeout(PATIENCE, connection.next()).await else { return None };
    printer.requests.fetch_add(1, Ordering::Relaxed);
    let admitted = printer.life.change(|inner, _| {
        let right = connect
            .login
            .is_some_and(|login| login.username == USERNAME && login.password == inner.access_code.as_str());
        if !right {
            let code = inner.faults.bambu(|fault| match fault {
                BambuFault::LoginRefusal { code } => Some(*code),
                _ => None,
            });
            return Err(Some(match code {
                Some(3) => ConnectReturnCode::ServiceUnavailable,
                Some(4) => ConnectReturnCode::BadUserNamePassword,
                _ => ConnectReturnCode::NotAuthorized,
            }));
        }
        let most = inner.firmware.config().clients;
        let kicks = inner.faults.has_bambu(&BambuFault::SecondClientKicksFirst);
        inner.clients.enter(most, kicks).ok_or(None)
    });
    let code = match &admitted {
        Ok(_) => ConnectReturnCode::Success,
        Err(Some(code)) => *code,
        // One too many: the connection just ends.
        Err(None) => return None,
    };
    let answered = send(connection, Packet::ConnAck(ConnAck::new(code, false))).await;
    match admitted {
        Ok(place) if answered => Some(place),
        Ok(place) => {
            printer.life.change(|inner, _| inner.clients.leave(place.number));
            None
        }
        Err(_) => {
            let _ = timeout(PATIENCE, connection.close()).await;
            None
        }
    }
}

struct Session<'a> {
    printer: &'a Printer,
    /// What is published, once the client listens to it.
    outbox: Option<broadcast::Receiver<Bytes>>,
    number: u64,
    guarded: Guarded,
}

enum Next {
    Packet(Packet),
    Report(Bytes),
    Look,
    End,
}

impl Session<'_> {
    async fn run(&mut self, connection: &mut Connection, mut place: Place, boots: u32) {
        let mut changed = self.printer.life.changes();
        loop {
            let next = tokio::select! {
                biased;
                _ = place.kicked.wait_for(|kicked| *kicked) => Next::End,
                report = heard(&mut self.outbox) => Next::Report(report),
                packet = connection.next() => match packet {
                    Some(Ok(packet)) => Next::Packet(packet),
                    Some(Err(_)) | None => Next::End,
                },
                _ = changed.changed() => Next::Look,
            };
            changed.borrow_and_update();
            if self.printer.link() != Link::Up(boots) {
                // A printer that says nothing reads nothing either; afterwards the connection is worth nothing.
                super::speaks(self.printer, boots).await;
                return;
            }
            match next {
                Next::End => return,
                Next::Look => {}
                Next::Report(report) => {
                    if self.hears() && !send(connection, self.report(report)).await {
                        return;
                    }
                }
                Next::Packet(packet) => {
                    if self.take(connection, packet).await.is_break() {
                        return;
                    }
                }
            }
        }
    }

    async fn take(&mut self, connection: &mut Connection, packet: Packet) -> ControlFlow<()> {
        let answer = match packet {
            Packet::Publish(publish) => {
                let acknowledgement = (publish.qos == QoS::AtLeastOnce).then(|| PubAck::new(publish.pkid));
                self.publish(&publish).await?;
                acknowledgement.map(Packet::PubAck)
            }
            Packet::Subscribe(subscribe) => Some(self.subscribe(&subscribe)?),
            Packet::Unsubscribe(unsubscribe) => {
                self.outbox = None;
                Some(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)))
            }
            Packet::PingReq => Some(Packet::PingResp),
            Packet::PubAck(_) => None,
            _ => return ControlFlow::Break(()),
        };
        match answer {
            Some(answer) => {
                if send(connection, answer).await {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> ControlFlow<(), Packet> {
        self.printer.requests.fetch_add(1, Ordering::Relaxed);
        let (report, request) = self.topics();
        for filter in &subscribe.filters {
            if filter.path.contains(['+', '#']) || filter.path == request {
                return ControlFlow::Break(());
            }
            if filter.path == report {
                self.outbox = Some(self.printer.outbox.subscribe());
            }
        }
        let codes = subscribe.filters.iter().map(|_| SubscribeReasonCode::Success(QoS::AtMostOnce)).collect();
        ControlFlow::Continue(Packet::SubAck(SubAck::new(subscribe.pkid, codes)))
    }

    /// A message on the request topic; messages on others are lost.
    async fn publish(&self, publish: &Publish) -> ControlFlow<()> {
        let printer = self.printer;
        printer.requests.fetch_add(1, Ordering::Relaxed);
        if publish.topic != self.topics().1 {
            return ControlFlow::Continue(());
        }
        let Ok(message) = serde_json::from_slice(&publish.payload) else { return ControlFlow::Continue(()) };
        for command in Command::all(&message) {
            let target = command.target();
            let kind = request_kind(&target, command.is_start());
            let Some(after) = self.guarded.admit(&target).await else { return ControlFlow::Break(()) };
            let drawn = printer.life.change(|inner, _| inner.faults.draw_for_request(kind));
            if let Some(delay) = drawn.delay_handling {
                tokio::time::sleep(delay).await;
            }
            if drawn.drop_before {
                printer.lost_start(command, "fault: dropped before handling");
                return ControlFlow::Break(());
            }
            let answers = printer.command(command, &drawn);
            if !may_answer(after).await || drawn.drop_after {
                return ControlFlow::Break(());
            }
            if let Some(acknowledgement) = answers.acknowledgement {
                printer.send(&acknowledgement);
            }
            if answers.full_report {
                printer.send_full_report();
            }
        }
        ControlFlow::Continue(())
    }

    /// Report topic and request topic.
    fn topics(&self) -> (String, String) {
        let serial_number = self.printer.life.look(|inner, _| inner.shown_serial_number());
        (format!("device/{serial_number}/report"), format!("device/{serial_number}/request"))
    }

    fn report(&self, payload: Bytes) -> Packet {
        Packet::Publish(Publish::from_bytes(self.topics().0, QoS::AtMostOnce, payload))
    }

    fn hears(&self) -> bool {
        self.printer.life.look(|inner, _| {
            !inner.faults.has_bambu(&BambuFault::OnlyLastClientHears) || inner.clients.is_last(self.number)
        })
    }
}

/// The next message for a client that listens; what a slow client misses is lost.
async fn heard(outbox: &mut Option<broadcast::Receiver<Bytes>>) -> Bytes {
    let Some(outbox) = outbox else { return std::future::pending().await };
    loop {
        match outbox.recv().await {
            Ok(message) => return message,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn send(connection: &mut Connection, packet: Packet) -> bool {
    matches!(timeout(PATIENCE, connection.send(packet)).await, Ok(Ok(())))
}
