//! The session of one printer, as its task and the rest of the operator share it: what was seen, what is asked for. It
//! decides nothing: rules do, and the reconciles that ask them. `serve` is the work of the task.

mod judging;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use printernizer_crds::print_job::StartIntent;
use printernizer_rules::device::{DeviceReport, Link, LinkFault};
use printernizer_rules::identity::Token;
use printernizer_rules::plan::DeviceCommand;
use printernizer_rules::print_job::gate::Closed;
use printernizer_rules::print_job::{Undeleted, UploadView, Watch};
use printernizer_rules::timing::Timing;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::device::DeviceFault;
use super::watching::Watching;
use crate::api::Key;
use crate::files::CachedFile;

pub use judging::Judged;
use judging::{Judging, JudgingSeen};

/// Commands that may wait; the rules ask again for what did not fit.
const WAITING_COMMANDS: usize = 8;
/// Deleted files, and files that were not, that are remembered.
const FILES_REMEMBERED: usize = 16;
/// A pause, resume or stop the device has taken is not sent again before this time: to be taken means to be queued, and
/// the machine needs a while to show what it does about it.
const COMMAND_REPEAT: Duration = Duration::from_secs(10);

/// Which attempt a session serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The job.
    pub job: Key,
    /// Its UID.
    pub job_uid: String,
    /// Token of the attempt.
    pub token: Token,
}

/// A command with what it is about.
#[derive(Clone, Debug)]
pub struct Command {
    /// What to do.
    pub what: DeviceCommand,
    /// The attempt it is about.
    pub attempt: Attempt,
    /// The device's number of the print, for pause, resume and stop.
    pub device_job_id: Option<String>,
    /// The file, for an upload.
    pub file: Option<CachedFile>,
}

/// What is shared between the session's task and the reconciles.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) report: Option<(DeviceReport, Instant)>,
    pub(super) fault: Option<DeviceFault>,
    pub(super) since: Option<Instant>,
    pub(super) host: Option<String>,
    /// Number of the connection; the next one counts up.
    pub(super) connection: u64,
    /// Whether there is a connection now, that is, whether a command can be carried out.
    pub(super) connected: bool,
    pub(super) judging: Judging,
    pub(super) attempt: Option<Attempt>,
    pub(super) watching: Option<Watching>,
    pub(super) upload: UploadView,
    pub(super) upload_failures: u32,
    pub(super) upload_not_before: Option<Instant>,
    pub(super) closed: Option<Closed>,
    /// Since when no try has got through the gate.
    pub(super) closed_since: Option<Instant>,
    pub(super) tries_in_vain: u32,
    pub(super) no_try_before: Option<Instant>,
    /// Commands that were just tried, or could not be, and when they may be tried again: nobody is asked without pause.
    pub(super) rests: HashMap<DeviceCommand, Instant>,
    pub(super) pause_sent: bool,
    pub(super) taken: Option<(DeviceCommand, Instant)>,
    /// Deleted files, each with the number of the connection it was deleted on.
    deleted: VecDeque<(String, u64)>,
    /// Files the device did not delete: since when, and what it said last.
    undeleted: VecDeque<(String, Instant, String)>,
    pub(super) pending: Vec<DeviceCommand>,
    /// When a start was sent last.
    pub(super) start_sent: Option<Instant>,
    /// A command was refused for its credentials on this connection, which ends by that.
    refused: Option<DeviceFault>,
}

impl State {
    /// Whether a command is still about the attempt this session serves. What was deleted is not uploaded again by a
    /// command that had to wait, nor started: the attempt is given back, and nobody would delete the file once more.
    pub(super) fn serves(&self, command: &Command) -> bool {
        let is_deleted =
            || self.deleted.iter().any(|(name, _)| Token::find(name).as_ref() == Some(&command.attempt.token));
        match command.what {
            DeviceCommand::DeleteFile { .. } => true,
            _ if self.attempt.as_ref() != Some(&command.attempt) => false,
            // The bed may not be as it was when the rules asked for it; they ask again when somebody has looked.
            DeviceCommand::Upload { .. } => self.judging.is_judged() && !is_deleted(),
            DeviceCommand::Start => !is_deleted(),
            _ => true,
        }
    }

    /// Something may have happened that no report shows: what comes next is no continuation of what came before.
    fn unwatched(&mut self) {
        self.judging.unwatched();
        self.connection += 1;
    }

    /// A report has come. After a gap in which a print could have begun and been forgotten, nobody has watched; then this
    /// gives true.
    pub(super) fn reported(&mut self, report: DeviceReport, at: Instant, longest_gap: Duration) -> bool {
        let gap = self.report.as_ref().is_some_and(|(_, last)| at.duration_since(*last) > longest_gap);
        if gap {
            self.unwatched();
        }
        let same = |old: &DeviceReport| old.state == report.state && old.identity == report.identity;
        if self.fault.is_some() || self.report.as_ref().is_none_or(|(old, _)| !same(old)) {
            self.judging.changed(at);
        }
        self.connected = true;
        self.fault = None;
        if report.is_free() && self.report.as_ref().is_some_and(|(old, _)| !old.is_free()) {
            // What closed the gate may be over.
            self.no_try_before = None;
        }
        self.report = Some((report, at));
        gap
    }

    /// A try to start has ended: what closed the gate, or that nothing did. What closes all gates is no fault of this printer.
    pub(super) fn try_ended(&mut self, closed: Option<Closed>) {
        let counts = closed.as_ref().is_some_and(|closed| !closed.is_of_all());
        self.closed_since = counts.then(|| self.closed_since.unwrap_or_else(Instant::now));
        self.closed = closed;
    }

    /// Whether the device has already said this about the file's deletion.
    pub(super) fn is_undeleted(&self, remote_name: &str, result: &Result<(), DeviceFault>) -> bool {
        let said = self.undeleted.iter().find(|(name, ..)| name == remote_name).map(|(.., said)| said);
        result.as_ref().err().is_some_and(|fault| Some(&fault.message) == said)
    }

    /// A deletion has ended.
    pub(super) fn deletion_ended(&mut self, remote_name: &str, result: &Result<(), DeviceFault>) {
        let before = self.undeleted.iter().position(|(name, ..)| name == remote_name);
        let before = before.and_then(|at| self.undeleted.remove(at));
        match result {
            Ok(()) => {
                self.deleted.retain(|(name, _)| name != remote_name);
                self.deleted.push_back((remote_name.to_owned(), self.connection));
            }
            Err(fault) => {
                let since = before.map_or_else(Instant::now, |(_, since, _)| since);
                self.undeleted.push_back((remote_name.to_owned(), since, fault.message.clone()));
            }
        }
        self.deleted.drain(..self.deleted.len().saturating_sub(FILES_REMEMBERED));
        self.undeleted.drain(..self.undeleted.len().saturating_sub(FILES_REMEMBERED));
    }
}

/// A session, as the rest of the operator sees it.
#[derive(Clone)]
pub struct Session {
    pub(super) printer: Key,
    pub(super) state: Arc<Mutex<State>>,
    commands: mpsc::Sender<Box<Command>>,
    /// Somebody waits within a try to start until what was reported is judged.
    looked: Arc<Notify>,
    pub(super) cancel: CancellationToken,
    pub(super) timing: Timing,
}

/// What a session says at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The connection.
    pub link: Link,
    /// What was seen of the attempt.
    pub watch: Watch,
    /// How the upload stands.
    pub upload: UploadView,
    /// Why the last try did not get through the gate.
    pub closed: Option<Closed>,
    /// How long no try has got through the gate.
    pub closed_for: Duration,
    /// Names known to be gone from the device.
    pub deleted: Vec<String>,
    /// Those of them that were deleted on this connection.
    pub deleted_now: Vec<String>,
    /// Names of files the device did not delete, and how.
    pub undeleted: Vec<(String, Undeleted)>,
    /// A pause was sent.
    pub pause_sent: bool,
    /// Address of the device.
    pub host: Option<String>,
    /// Whether an earlier report of this connection was judged already.
    pub watched: bool,
    /// How long what it shows has not been judged and stored; zero where it is.
    pub unjudged_for: Duration,
    /// When the state was reported that no status has yet.
    pub unstored_since: Option<Instant>,
    /// Number of the connection.
    pub(super) connection: u64,
    judging: JudgingSeen,
}

impl Session {
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Turns the session to an attempt; what was seen of another one is forgotten.
    pub fn attach(&self, attempt: &Attempt, intent_known: bool, device_job_id: Option<&str>) {
        self.with(|s| {
            if s.attempt.as_ref() != Some(attempt) {
                s.attempt = Some(attempt.clone());
                s.watching = Some(Watching::new(attempt.token.clone(), self.timing.report_gap));
                s.upload = UploadView::Idle;
                s.upload_failures = 0;
                s.upload_not_before = None;
                s.closed = None;
                s.closed_since = None;
                s.tries_in_vain = 0;
                s.no_try_before = None;
                s.pause_sent = false;
                s.taken = None;
            }
            if let Some(watching) = s.watching.as_mut() {
                if intent_known {
                    watching.intent_is_known();
                }
                watching.device_job_id(device_job_id);
            }
        });
    }

    /// What was recorded before the start of this attempt was sent.
    pub fn intent_recorded(&self, token: &Token, intent: &StartIntent) {
        self.with(|s| {
            let served = s.attempt.as_ref().is_some_and(|attempt| attempt.token == *token);
            if let Some(watching) = s.watching.as_mut().filter(|_| served) {
                watching.intent(intent);
            }
        });
    }

    /// What the session says now.
    pub fn seen(&self) -> Seen {
        self.with(|s| {
            let link = match (&s.fault, &s.report) {
                (Some(fault), report) => {
                    let last = report.as_ref().map(|(_, at)| *at).or(s.since);
                    let silent_for = last.map_or(Duration::ZERO, |at| at.elapsed());
                    Link::Down { cause: fault.cause, message: fault.message.clone(), silent_for }
                }
                (None, Some((report, at))) => Link::Live { report: report.clone(), age: at.elapsed() },
                (None, None) => Link::Connecting,
            };
            Seen {
                link,
                watch: s.watching.as_ref().map(|w| w.watch().clone()).unwrap_or_default(),
                upload: s.upload.clone(),
                closed: s.closed.clone(),
                closed_for: s.closed_since.map_or(Duration::ZERO, |at| at.elapsed()),
                deleted: s.deleted.iter().map(|(name, _)| name.clone()).collect(),
                deleted_now: s.deleted.iter().filter(|(_, on)| *on == s.connection).map(|(n, _)| n.clone()).collect(),
                undeleted: s
                    .undeleted
                    .iter()
                    .map(|(name, since, message)| {
                        (name.clone(), Undeleted { lasting: since.elapsed(), message: message.clone() })
                    })
                    .collect(),
                pause_sent: s.pause_sent,
                host: s.host.clone(),
                watched: s.judging.watched(),
                unjudged_for: s.judging.unjudged_for(),
                unstored_since: s.judging.unstored_since(),
                connection: s.connection,
                judging: s.judging.seen(s.connection),
            }
        })
    }

    /// The connection has ended; true if that, or its cause, is new.
    pub(super) fn connection_lost(&self, fault: &DeviceFault) -> bool {
        self.connection_broken();
        self.with(|s| {
            let new = s.fault.as_ref().is_none_or(|old| old.cause != fault.cause || old.message != fault.message);
            s.fault = Some(fault.clone());
            s.unwatched();
            new
        })
    }

    /// Whether the connection has carried a start so lately that it is kept: what it shows is worth more than that of the
    /// next one.
    pub(super) fn keeps_connection(&self) -> bool {
        self.with(|s| s.start_sent.is_some_and(|at| at.elapsed() < self.timing.observation_window))
    }

    /// A command has failed. Refused credentials end the connection: nobody is hammered.
    pub(super) fn command_failed(&self, fault: &DeviceFault) {
        if fault.cause == LinkFault::CredentialsRefused {
            self.with(|s| s.refused = Some(fault.clone()));
        }
    }

    /// The refusal by which the connection ends now.
    pub(super) fn ends_by(&self) -> Option<DeviceFault> {
        self.with(|s| s.refused.clone()).filter(|_| !self.keeps_connection())
    }

    /// The connection has ended, and the next one is tried before that counts: what was reported stays worth its age.
    pub(super) fn connection_broken(&self) {
        self.with(|s| {
            s.connected = false;
            s.refused = None;
            if let Some(watching) = s.watching.as_mut() {
                watching.connection_lost();
            }
        });
    }

    /// Hands over a command. One that waits or runs already is not added again. Without a connection none is taken:
    /// by the time there is one, it may not be wanted any more, and the rules ask again.
    pub fn command(&self, command: Command) {
        let fits = self.with(|s| {
            let live = s.connected && s.fault.is_none() && s.report.is_some();
            let known = s.pending.contains(&command.what);
            let served = s.serves(&command);
            let rests = s.rests.get(&command.what).is_some_and(|at| Instant::now() < *at);
            let pointless = match &command.what {
                DeviceCommand::Upload { .. } => {
                    matches!(s.upload, UploadView::Running { .. } | UploadView::Done)
                        || s.upload_not_before.is_some_and(|at| Instant::now() < at)
                }
                DeviceCommand::DeleteFile { remote_name } => {
                    s.deleted.iter().any(|(name, on)| name == remote_name && *on == s.connection)
                }
                DeviceCommand::Start => s.no_try_before.is_some_and(|at| Instant::now() < at),
                what => s.taken.as_ref().is_some_and(|(taken, at)| taken == what && at.elapsed() < COMMAND_REPEAT),
            };
            let control = matches!(command.what, DeviceCommand::Pause | DeviceCommand::Resume | DeviceCommand::Stop);
            let refused = s.refused.is_some() && !control;
            if known || !live || !served || pointless || rests || refused {
                return false;
            }
            s.pending.push(command.what.clone());
            true
        });
        let what = command.what.clone();
        if fits && self.commands.try_send(Box::new(command)).is_err() {
            self.with(|s| s.pending.retain(|p| *p != what));
        }
    }
}

/// What waits for a session's task. On the heap: a queue keeps room for 32 of what it carries, however few there are.
pub(super) type Commands = mpsc::Receiver<Box<Command>>;

/// A session's two ends: what the rest sees, and what its task works on.
pub(super) fn new(printer: Key, timing: &Timing, cancel: CancellationToken) -> (Session, Commands) {
    let (commands, waiting) = mpsc::channel(WAITING_COMMANDS);
    let now = Instant::now();
    let state = State { since: Some(now), judging: Judging::since(now), ..State::default() };
    (
        Session {
            printer,
            state: Arc::new(Mutex::new(state)),
            commands,
            looked: Arc::default(),
            cancel,
            timing: *timing,
        },
        waiting,
    )
}

#[cfg(test)]
mod tests;
