//! One connection to a printer's broker, from its opening to its end: an epoch. Nothing outlives it. It is subscribed to
//! the reports of one serial number only, publishes at QoS 0 only, and carries at most one start, which is written
//! straight to the socket: not queued, not repeated, and it is known whether a byte left. Why this is no ready-made MQTT
//! client: docs/adr/0008. Facts: OpenBambuAPI mqtt.md; bambuddy issues 1136, 1150, 1465 (in this folder's README.md).

mod command;
mod epoch;
mod packets;
mod snapshot;
mod start;
mod vigil;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

pub use snapshot::{Snapshot, StartAnswer};
pub use start::{NotSent, StartOutcome};

use crate::config::Config;
use crate::error::Error;
use crate::tls;
use epoch::Shared;
use packets::{Reader, Writer};
use rumqttc::mqttbytes::v4::Packet;
use wire::Wire;

/// Printers answer requests for full reports about once a second.
const ASK_SPACING: Duration = Duration::from_secs(1);

/// A connection that has carried a full report. Dropping it resets the connection at once.
pub struct Connection {
    shared: Arc<Shared>,
    latest: watch::Receiver<Option<Arc<Snapshot>>>,
    /// The first snapshot; there is always one.
    first: Arc<Snapshot>,
    asked: Instant,
    /// `None` once the error that ended the connection was given.
    task: Option<AbortOnDropHandle<Error>>,
}

/// Whether a printer answered a command that it did not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It said that it took the command.
    Yes,
    /// It said nothing in time: its firmware gives no answers, or the command was lost. [`Connection::full_report`] finds
    /// out whether what we publish arrives at all.
    No,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("serial_number", &self.shared.serial)
            .field("open", &!self.shared.wire.is_cut())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, checks who the printer is, logs in, subscribes and waits for the first full report.
    ///
    /// Each step has its own time limit ([`crate::Timeouts`]). Never try again at once after
    /// [`Error::AccessCodeRefused`] or [`Error::Untrusted`]: it stays so until a person changes something.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        // On the heap: a handshake needs 20 KB once, which every session would keep otherwise.
        Box::pin(Self::establish(config)).await
    }

    async fn establish(config: &Config) -> Result<Self, Error> {
        let timeouts = config.timeouts;
        let tls_config = tls::single_connection_config(&config.serial_number, &config.trust)?;
        let (wire, state) = Wire::connect(config.mqtt, timeouts.connect, timeouts.keep_alive)
            .await
            .map_err(|source| Error::Unreachable { address: config.mqtt, source })?;
        let stream = tls::handshake(wire, tls_config, &config.serial_number, config.mqtt, timeouts.handshake).await?;
        let (read, write) = tokio::io::split(stream);
        let (mut reader, mut writer) = (Reader::new(read), Writer::new(write));
        let login = timeout(timeouts.answer, log_in(&mut reader, &mut writer, config));
        login.await.unwrap_or_else(|_| Err(no_answer("the login", timeouts.answer)))?;

        let shared = Arc::new(Shared::new(config.serial_number.clone(), timeouts, state, writer));
        let (publish, mut latest) = watch::channel(None);
        let asked = shared.ask().await?;
        let mut task = AbortOnDropHandle::new(tokio::spawn(epoch::run(reader, Arc::clone(&shared), publish)));
        // The task ends by itself when no report comes in time.
        let first = match latest.wait_for(Option::is_some).await {
            Ok(snapshot) => snapshot.clone(),
            Err(_) => None,
        };
        match first {
            Some(first) => Ok(Self { shared, latest, first, asked, task: Some(task) }),
            None => Err((&mut task).await.unwrap_or_else(Error::lost)),
        }
    }

    /// What is known now; also after the connection has ended. Look at the times in it.
    pub fn report(&self) -> Arc<Snapshot> {
        self.latest.borrow().clone().unwrap_or_else(|| Arc::clone(&self.first))
    }

    /// Waits until something was reported since the last call of this or [`Self::full_report`], or fails with what
    /// ended the connection. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Result<(), Error> {
        match self.latest.changed().await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.end().await),
        }
    }

    /// Asks for everything and waits for it, and for the proof that what we publish arrives.
    ///
    /// For use before a start and on doubt; the connection asks by itself after silence and once in five minutes.
    /// [`Error::CommandsSwallowed`] leaves the connection open: reports go on.
    pub async fn full_report(&mut self) -> Result<Arc<Snapshot>, Error> {
        sleep_until(self.asked + ASK_SPACING).await;
        self.asked = Instant::now();
        let asked = match self.shared.ask().await {
            Ok(asked) => asked,
            Err(Error::Ended) => return Err(self.end().await),
            Err(error) => return Err(error),
        };
        let deadline = asked + self.shared.timeouts.full_report;
        loop {
            let snapshot = self.latest.borrow_and_update().clone();
            if let Some(snapshot) = snapshot
                && snapshot.full_arrived >= asked
                && snapshot.answered >= Some(asked)
            {
                return Ok(snapshot);
            }
            match timeout_at(deadline, self.latest.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.end().await),
                Err(_) => {
                    self.shared.book().vigil.not_answered();
                    return Err(Error::CommandsSwallowed);
                }
            }
        }
    }

    /// Whether a start was sent over this connection so lately that nothing but the network may end it.
    pub fn is_held(&self) -> bool {
        self.shared.book().vigil.is_held(Instant::now())
    }

    /// Asks to pause the print. Only a report shows whether it did.
    pub async fn pause(&mut self) -> Result<Answered, Error> {
        self.command("pause").await
    }

    /// Asks to resume the print. Only a report shows whether it did.
    pub async fn resume(&mut self) -> Result<Answered, Error> {
        self.command("resume").await
    }

    /// Asks to stop the print. Only a report shows whether it did.
    pub async fn stop(&mut self) -> Result<Answered, Error> {
        self.command("stop").await
    }

    /// Sends a command once. That no answer comes is no error: some firmware gives none.
    async fn command(&mut self, name: &str) -> Result<Answered, Error> {
        let deadline = Instant::now() + self.shared.timeouts.acknowledgement;
        let members =
            Map::from_iter([("command".to_owned(), Value::from(name)), ("param".to_owned(), Value::from(""))]);
        let (payload, expected) = command::print(members, self.shared.sequence_id());
        let bytes = packets::encode(&packets::request(&self.shared.serial, payload))?;
        let answer = self.shared.expect(expected);
        match self.shared.send(&bytes).await {
            Ok(()) => {}
            Err(Error::Ended) => return Err(self.end().await),
            Err(error) => return Err(error),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => match answer.refusal() {
                Some(refusal) => Err(Error::CommandRefused(refusal)),
                None => Ok(Answered::Yes),
            },
            Ok(Err(_)) => Err(self.end().await),
            Err(_) => Ok(Answered::No),
        }
    }

    /// Leaves in order: everything written before is delivered. Takes no longer than the send timeout.
    pub async fn close(self) {
        let leave = async {
            let Ok(bytes) = packets::encode(&Packet::Disconnect) else { return };
            if self.shared.send(&bytes).await.is_ok() {
                self.shared.wire.leave_in_order();
                if let Some(writer) = self.shared.writer.lock().await.as_mut() {
                    writer.shutdown().await;
                }
            }
        };
        // Otherwise it is left without order, which the printer survives.
        let _ = timeout(self.shared.timeouts.send, leave).await;
    }

    /// What ended the connection; told once.
    async fn end(&mut self) -> Error {
        let Some(task) = &mut self.task else { return Error::Ended };
        let error = task.await.unwrap_or_else(Error::lost);
        self.task = None;
        error
    }
}

async fn log_in(reader: &mut Reader, writer: &mut Writer, config: &Config) -> Result<(), Error> {
    writer.write(&packets::encode(&packets::connect(config)?)?).await?;
    packets::connected(&reader.next().await?)?;
    writer.write(&packets::encode(&packets::subscribe(&config.serial_number))?).await?;
    // Reports of others' questions may come first; they are asked for again.
    loop {
        if let Some(answer) = packets::subscribed(&reader.next().await?) {
            return answer;
        }
    }
}

fn no_answer(request: &'static str, limit: Duration) -> Error {
    Error::NoAnswer { request, seconds: limit.as_secs_f64() }
}
