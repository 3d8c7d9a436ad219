//! The one command that must not happen twice. It asks its caller directly before the first byte, is written once, at
//! QoS 0, straight to the socket, is never repeated, and says what is certain afterwards: nothing left, the printer
//! refused, it was sent, or anything may have happened. On doubt the connection is cut with RST, and bytes that nobody
//! acknowledged within the send timeout are forgotten by the kernel. Duplicates that really happened elsewhere:
//! bambuddy issues 1078, 1136, 1157.

use tokio::time::{Instant, timeout, timeout_at};

use super::epoch::Whole;
use super::snapshot::StartAnswer;
use super::{Connection, command, no_answer, packets};
use crate::error::Error;
use crate::project_file::ProjectFile;
use crate::report::Refusal;

/// What is certain after a start command.
#[derive(Debug)]
pub enum StartOutcome {
    /// Not one byte of the command left this machine.
    NotSent(NotSent),
    /// It was written, and the printer has not refused it yet. This proves no print, acknowledged or not; only our ids
    /// with an active state do. A later refusal stands in [`super::Snapshot::start_answer`].
    Sent {
        /// Whether the printer answered without refusing. Some firmware never answers.
        acknowledged: bool,
    },
    /// The printer refused this very command.
    Refused(Refusal),
    /// The connection broke while the command was written or right after: the printer may print or not. Observe over a
    /// new connection, never send again.
    Unclear(Error),
}

/// Why no byte of a start command left.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// The caller said no at the last moment.
    #[error("withheld: the permission to start had ended when the command was about to be written")]
    Withheld,
    /// The connection with the fresh report had ended, so that report is worth nothing any more.
    #[error("the connection ended after its report: open a new one and decide again")]
    ConnectionEnded,
    /// What we publish does not arrive.
    #[error("the printer does not answer on this connection: open a new one and decide again")]
    NotFit,
    /// Each connection carries one start.
    #[error("this connection has carried a start before: open a new one and decide again")]
    AlreadyUsed,
    /// The command could not be prepared or handed to the network.
    #[error("the start command could not be sent: nothing reached the printer")]
    Failed(#[source] Error),
}

impl Connection {
    /// Sends the start command.
    ///
    /// `may` is asked once, when everything else is ready and the first byte is the next thing to happen; if it returns
    /// false nothing is written. It may not be asked at all if the command fails earlier. Takes the send timeout, then
    /// waits for the printer's answer for the acknowledgement timeout.
    pub async fn start(&mut self, project_file: &ProjectFile, may: impl FnOnce() -> bool) -> StartOutcome {
        let timeouts = self.shared.timeouts;
        let (payload, expected) = command::print(project_file.members(), self.shared.sequence_id());
        let bytes = match packets::encode(&packets::request(&self.shared.serial, payload)) {
            Ok(bytes) => bytes,
            Err(error) => return StartOutcome::NotSent(NotSent::Failed(error)),
        };
        {
            let mut book = self.shared.book();
            if book.start.is_some() {
                return StartOutcome::NotSent(NotSent::AlreadyUsed);
            }
            if !book.vigil.is_fit() {
                return StartOutcome::NotSent(NotSent::NotFit);
            }
            book.start = Some(expected);
        }
        if let Err(outcome) = self.write_start(&bytes, may).await {
            if self.shared.wire.is_cut() {
                // The reset leaves before the caller hears of it.
                self.shared.writer.lock().await.take();
                self.end().await;
            } else {
                self.shared.book().start = None;
                self.relax();
            }
            return outcome;
        }
        let outcome = self.wait_for_start_answer(Instant::now() + timeouts.acknowledgement.max(timeouts.send)).await;
        self.relax();
        outcome
    }

    /// The network may take its time again: what was not acknowledged within the send timeout the kernel has given up
    /// with the connection. If this fails, the limit stays short, which is safe.
    fn relax(&self) {
        let _ = self.shared.wire.set_user_timeout(self.shared.timeouts.keep_alive);
    }

    async fn write_start(&mut self, bytes: &[u8], may: impl FnOnce() -> bool) -> Result<(), StartOutcome> {
        let began = Instant::now();
        let limit = self.shared.timeouts.send;
        let not_sent = |reason| Err(StartOutcome::NotSent(reason));
        let Ok(mut writer) = timeout(limit, self.shared.writer.lock()).await else {
            return not_sent(NotSent::Failed(no_answer("a command on the wire", limit)));
        };
        let Some(writer) = writer.as_mut().filter(|writer| !writer.is_broken()) else {
            return not_sent(NotSent::ConnectionEnded);
        };
        let wire = &self.shared.wire;
        if let Err(error) = wire.set_user_timeout(limit) {
            return not_sent(NotSent::Failed(Error::lost(error)));
        }
        let before = wire.written_bytes();
        if wire.is_cut() {
            return not_sent(NotSent::ConnectionEnded);
        }
        if !may() {
            return not_sent(NotSent::Withheld);
        }
        self.shared.book().vigil.hold(Instant::now());
        let mut whole = Whole { wire, done: false };
        let written = match timeout_at(began + limit, writer.write(bytes)).await {
            Ok(written) => written,
            Err(_) => Err(no_answer("a start on the wire", limit)),
        };
        let Err(error) = written else {
            whole.done = true;
            return Ok(());
        };
        if wire.cut() == before {
            return not_sent(NotSent::Failed(error));
        }
        Err(StartOutcome::Unclear(error))
    }

    async fn wait_for_start_answer(&mut self, deadline: Instant) -> StartOutcome {
        // A receiver of its own: the owner still learns of every change.
        let mut latest = self.latest.clone();
        loop {
            let answer = latest.borrow_and_update().as_ref().and_then(|snapshot| snapshot.start_answer.clone());
            match answer {
                Some(StartAnswer::Refused(refusal)) => return StartOutcome::Refused(refusal),
                Some(StartAnswer::Taken) => return StartOutcome::Sent { acknowledged: true },
                None => {}
            }
            match timeout_at(deadline, latest.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return StartOutcome::Unclear(self.end().await),
                Err(_) => return StartOutcome::Sent { acknowledged: false },
            }
        }
    }
}
