//! The task behind one connection: it alone reads, keeps the clocks, and publishes what it knows. It ends with the
//! connection and is never revived: nothing is queued for a later one, nothing replayed. Writing is shared with the
//! connection's owner, one whole packet at a time; who goes away in the middle of one cuts the connection.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Packet, Publish};
use tokio::sync::{Mutex, Notify, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::command::{self, Expected};
use super::packets::{Reader, Writer, encode, report_topic, request};
use super::snapshot::{Snapshot, StartAnswer, control_allowed};
use super::vigil::{Due, Vigil};
use super::wire::WireState;
use crate::config::{SerialNumber, Timeouts};
use crate::error::Error;
use crate::report::{Answer, Incoming, Merged, RefusalKind, Report, read};
use crate::version::Version;

/// What a connection's owner and its task share.
pub(super) struct Shared {
    pub(super) serial: SerialNumber,
    pub(super) timeouts: Timeouts,
    pub(super) wire: Arc<WireState>,
    pub(super) writer: Mutex<Option<Writer>>,
    /// Tells the task that the clocks have changed.
    clocks_changed: Notify,
    next_sequence_id: AtomicU32,
    book: StdMutex<Book>,
}

/// What is open on a connection.
pub(super) struct Book {
    pub(super) vigil: Vigil,
    /// Number of the newest question for versions.
    version_asked: String,
    /// Commands whose sender waits for the answer.
    waiting: Vec<(Expected, oneshot::Sender<Answer>)>,
    /// The one start of this connection; its answer counts as long as the connection lasts.
    pub(super) start: Option<Expected>,
    start_answer: Option<StartAnswer>,
}

/// Cuts the connection unless the write was completed, also when its future is dropped.
pub(super) struct Whole<'a> {
    pub(super) wire: &'a WireState,
    pub(super) done: bool,
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.wire.cut();
        }
    }
}

impl Shared {
    pub(super) fn new(serial: SerialNumber, timeouts: Timeouts, wire: Arc<WireState>, writer: Writer) -> Self {
        let vigil = Vigil::new(timeouts, Instant::now());
        Self {
            serial,
            timeouts,
            wire,
            writer: Mutex::new(Some(writer)),
            clocks_changed: Notify::new(),
            next_sequence_id: AtomicU32::new(command::first_sequence_id()),
            book: StdMutex::new(Book {
                vigil,
                version_asked: String::new(),
                waiting: Vec::new(),
                start: None,
                start_answer: None,
            }),
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sequence_id(&self) -> String {
        self.next_sequence_id.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Sends whole packets within the send timeout, or cuts the connection.
    pub(super) async fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        let limit = self.timeouts.send;
        let write = async {
            let mut writer = self.writer.lock().await;
            let writer = writer.as_mut().ok_or(Error::Ended)?;
            let mut whole = Whole { wire: &self.wire, done: false };
            writer.write(bytes).await?;
            whole.done = true;
            Ok(())
        };
        tokio::time::timeout(limit, write)
            .await
            .unwrap_or(Err(Error::NoAnswer { request: "a command on the wire", seconds: limit.as_secs_f64() }))
    }

    /// Asks for a full report and for the versions. Returns when.
    pub(super) async fn ask(&self) -> Result<Instant, Error> {
        let (pushall, version) = (self.sequence_id(), self.sequence_id());
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&encode(&request(&self.serial, command::get_version(&version)))?);
        bytes.extend_from_slice(&encode(&request(&self.serial, command::pushall(&pushall)))?);
        let now = Instant::now();
        {
            let mut book = self.book();
            book.vigil.asked(now);
            book.version_asked = version;
        }
        self.clocks_changed.notify_one();
        self.send(&bytes).await?;
        Ok(now)
    }

    /// Waits for the answer to a command that is about to be sent.
    pub(super) fn expect(&self, expected: Expected) -> oneshot::Receiver<Answer> {
        let (tell, told) = oneshot::channel();
        let mut book = self.book();
        book.waiting.retain(|(_, tell)| !tell.is_closed());
        book.waiting.push((expected, tell));
        told
    }
}

/// What the task knows.
struct Knowledge {
    merged: Merged,
    report: Arc<Report>,
    arrived: Instant,
    full_arrived: Option<Instant>,
    version: Option<Arc<Version>>,
    was_refused: bool,
    /// What was last said about it; not every full report says something.
    signature_required: Option<bool>,
    damaged_messages: u64,
}

/// Runs a connection to its end, and says why it ended.
pub(super) async fn run(
    mut reader: Reader,
    shared: Arc<Shared>,
    publish: watch::Sender<Option<Arc<Snapshot>>>,
) -> Error {
    let error = serve(&mut reader, &shared, &publish).await;
    shared.wire.cut();
    // Who waits for an answer learns that none will come.
    shared.book().waiting.clear();
    shared.writer.lock().await.take();
    error
}

async fn serve(reader: &mut Reader, shared: &Shared, publish: &watch::Sender<Option<Arc<Snapshot>>>) -> Error {
    let topic = report_topic(&shared.serial);
    let mut knowledge = Knowledge {
        merged: Merged::default(),
        report: Arc::default(),
        arrived: Instant::now(),
        full_arrived: None,
        version: None,
        was_refused: false,
        signature_required: None,
        damaged_messages: 0,
    };
    loop {
        let wake = shared.book().vigil.next();
        tokio::select! {
            packet = reader.next() => match packet {
                Ok(Packet::Publish(message)) if message.topic == topic => {
                    shared.book().vigil.heard();
                    knowledge.take(&message, shared);
                }
                Ok(_) => {
                    shared.book().vigil.heard();
                    continue;
                }
                Err(error) => return error,
            },
            () = sleep_until(wake) => {
                let (due, was_fit, is_fit) = {
                    let vigil = &mut shared.book().vigil;
                    let was_fit = vigil.is_fit();
                    (vigil.due(Instant::now()), was_fit, vigil.is_fit())
                };
                for due in due {
                    let done = match due {
                        Due::Ping => match encode(&Packet::PingReq) {
                            Ok(bytes) => shared.send(&bytes).await,
                            Err(error) => Err(error),
                        },
                        Due::Ask => shared.ask().await.map(drop),
                        Due::End(error) => Err(error),
                    };
                    if let Err(error) = done {
                        return error;
                    }
                }
                if was_fit == is_fit {
                    continue;
                }
            }
            () = shared.clocks_changed.notified() => continue,
            () = shared.wire.was_cut.cancelled() => return Error::lost("cut off, because a command was not written whole"),
        }
        if let Some(snapshot) = knowledge.snapshot(shared) {
            publish.send_replace(Some(Arc::new(snapshot)));
        }
    }
}

impl Knowledge {
    fn take(&mut self, message: &Publish, shared: &Shared) {
        let now = Instant::now();
        let (incoming, damaged) = read(&message.payload);
        let unreadable = matches!(incoming, Incoming::Unreadable);
        self.damaged_messages += u64::from(damaged || unreadable);
        match incoming {
            Incoming::Report { full, print } => {
                let doubtful = self.merged.merge(&print, full);
                let vigil = &mut shared.book().vigil;
                vigil.report_came(full, now);
                if doubtful {
                    vigil.doubted(now);
                }
                self.report = Arc::new(self.merged.report());
                if let Some(required) = self.report.signature_required {
                    // Developer Mode was switched on: what was refused before would be taken now.
                    self.was_refused &= required || self.signature_required == Some(false);
                    self.signature_required = Some(required);
                }
                self.arrived = now;
                if full {
                    self.full_arrived = Some(now);
                }
            }
            Incoming::Version { sequence_id, version } => {
                let mut book = shared.book();
                if sequence_id.as_ref() == Some(&book.version_asked) {
                    book.vigil.echo_came();
                }
                drop(book);
                self.version = Some(Arc::new(version));
            }
            Incoming::Answer(answer) => self.answer(answer, shared),
            Incoming::Other | Incoming::Unreadable => {}
        }
    }

    fn answer(&mut self, answer: Answer, shared: &Shared) {
        let mut book = shared.book();
        let is_start = book.start.as_ref().is_some_and(|start| start.is_met_by(&answer));
        let waiting = book.waiting.iter().position(|(expected, _)| expected.is_met_by(&answer));
        if !is_start && waiting.is_none() {
            return;
        }
        let refusal = answer.refusal();
        self.was_refused |= refusal.as_ref().is_some_and(|refusal| refusal.kind == RefusalKind::VerifyFailed);
        if is_start {
            // A refusal is never taken back by an answer that says less.
            match refusal {
                Some(refusal) => book.start_answer = Some(StartAnswer::Refused(refusal)),
                None => _ = book.start_answer.get_or_insert(StartAnswer::Taken),
            }
        } else if let Some(index) = waiting {
            let (_, tell) = book.waiting.swap_remove(index);
            // Its sender may have stopped waiting; then nobody is told.
            let _ = tell.send(answer);
        }
    }

    fn snapshot(&self, shared: &Shared) -> Option<Snapshot> {
        let full_arrived = self.full_arrived?;
        let book = shared.book();
        let version = self.version.as_deref();
        Some(Snapshot {
            report: Arc::clone(&self.report),
            arrived: self.arrived,
            full_arrived,
            version: self.version.clone(),
            control_allowed: control_allowed(self.was_refused, &self.report, version, &shared.serial),
            fit_for_commands: book.vigil.is_fit(),
            start_answer: book.start_answer.clone(),
            damaged_messages: self.damaged_messages,
            answered: book.vigil.answered(),
        })
    }
}
