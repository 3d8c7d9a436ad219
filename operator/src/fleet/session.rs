//! The session of one printer: one task that owns the connection, polls, counts what it sees, and carries out commands
//! one at a time. It decides nothing: rules do, and the reconciles that ask them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use printernizer_crds::print_job::FileStatus;
use printernizer_rules::device::{DeviceReport, DeviceState, Link, LinkFault};
use printernizer_rules::identity::Token;
use printernizer_rules::plan::DeviceCommand;
use printernizer_rules::print_job::gate::Closed;
use printernizer_rules::print_job::{UploadView, Watch};
use printernizer_rules::timing::Timing;
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::device::{Device, DeviceFault};
use super::watching::Watching;
use super::{FleetContext, start, upload};
use crate::api::Key;

/// Commands that may wait; the rules ask again for what did not fit.
const WAITING_COMMANDS: usize = 8;
/// A pause, resume or stop the device has taken is not sent again before this time: to be taken means to be queued, and
/// the machine needs a while to show what it does about it.
const COMMAND_REPEAT: Duration = Duration::from_secs(10);
/// Deleted names that are remembered.
const DELETED_REMEMBERED: usize = 16;
/// Lease that must be left when a command to a device begins: it may take a request's whole time.
const COMMAND_LEASE: Duration = Duration::from_secs(5);

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
    pub file: Option<FileToSend>,
}

/// A file on its way to a printer.
#[derive(Clone, Debug)]
pub struct FileToSend {
    /// Where it comes from.
    pub request: crate::files::SourceRequest,
    /// What it must be.
    pub facts: FileStatus,
}

/// What is shared between the session's task and the reconciles.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) report: Option<(DeviceReport, Instant)>,
    pub(super) fault: Option<DeviceFault>,
    pub(super) since: Option<Instant>,
    pub(super) host: Option<String>,
    pub(super) reports_judged: bool,
    pub(super) attempt: Option<Attempt>,
    pub(super) watching: Option<Watching>,
    pub(super) upload: UploadView,
    pub(super) upload_failures: u32,
    pub(super) upload_not_before: Option<Instant>,
    pub(super) closed: Option<Closed>,
    pub(super) tries_in_vain: u32,
    pub(super) no_try_before: Option<Instant>,
    pub(super) pause_sent: bool,
    pub(super) taken: Option<(DeviceCommand, Instant)>,
    pub(super) deleted: VecDeque<String>,
    pub(super) pending: Vec<DeviceCommand>,
    pub(super) unstored_since: Option<Instant>,
}

impl State {
    /// Whether a command is still about the attempt this session serves.
    fn serves(&self, command: &Command) -> bool {
        self.attempt.as_ref() == Some(&command.attempt) || matches!(command.what, DeviceCommand::DeleteFile { .. })
    }
}

/// A session, as the rest of the operator sees it.
#[derive(Clone)]
pub struct Session {
    pub(super) printer: Key,
    pub(super) state: Arc<Mutex<State>>,
    commands: mpsc::Sender<Command>,
    pub(super) cancel: CancellationToken,
    timing: Timing,
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
    /// Names known to be gone from the device.
    pub deleted: Vec<String>,
    /// A pause was sent.
    pub pause_sent: bool,
    /// Address of the device.
    pub host: Option<String>,
    /// Whether an earlier report of this connection was judged already.
    pub watched: bool,
    /// When the state was reported that no status has yet.
    pub unstored_since: Option<Instant>,
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
                deleted: s.deleted.iter().cloned().collect(),
                pause_sent: s.pause_sent,
                host: s.host.clone(),
                watched: s.reports_judged,
                unstored_since: s.unstored_since,
            }
        })
    }

    /// The report of this connection was judged and what it meant is stored: the state reported at `unstored_since`.
    pub fn report_was_judged(&self, unstored_since: Option<Instant>) {
        self.with(|s| {
            s.reports_judged |= s.report.is_some();
            s.unstored_since.take_if(|since| Some(*since) == unstored_since);
        });
    }

    /// The connection has ended; true if that, or its cause, is new.
    pub(super) fn connection_lost(&self, fault: &DeviceFault) -> bool {
        self.with(|s| {
            let new = s.fault.as_ref().is_none_or(|old| old.cause != fault.cause || old.message != fault.message);
            s.fault = Some(fault.clone());
            s.reports_judged = false;
            if let Some(watching) = s.watching.as_mut() {
                watching.connection_lost();
            }
            new
        })
    }

    /// Hands over a command. One that waits or runs already is not added again. Without a connection none is taken:
    /// by the time there is one, it may not be wanted any more, and the rules ask again.
    pub fn command(&self, command: Command) {
        let fits = self.with(|s| {
            let live = s.fault.is_none() && s.report.is_some();
            let known = s.pending.contains(&command.what);
            let served = s.serves(&command);
            let pointless = match &command.what {
                DeviceCommand::Upload { .. } => {
                    matches!(s.upload, UploadView::Running { .. } | UploadView::Done { .. })
                        || s.upload_not_before.is_some_and(|at| Instant::now() < at)
                }
                DeviceCommand::DeleteFile { remote_name } => s.deleted.contains(remote_name),
                DeviceCommand::Start => s.no_try_before.is_some_and(|at| Instant::now() < at),
                what => s.taken.as_ref().is_some_and(|(taken, at)| taken == what && at.elapsed() < COMMAND_REPEAT),
            };
            if known || !live || !served || pointless {
                return false;
            }
            s.pending.push(command.what.clone());
            true
        });
        let what = command.what.clone();
        if fits && self.commands.try_send(command).is_err() {
            self.with(|s| s.pending.retain(|p| *p != what));
        }
    }
}

/// A session's two ends: what the rest sees, and what its task works on.
pub(super) fn new(printer: Key, timing: Timing, cancel: CancellationToken) -> (Session, mpsc::Receiver<Command>) {
    let (commands, waiting) = mpsc::channel(WAITING_COMMANDS);
    let state = State { since: Some(Instant::now()), ..State::default() };
    (Session { printer, state: Arc::new(Mutex::new(state)), commands, cancel, timing }, waiting)
}

/// Polls and works until cancelled, or until the device must be connected to anew.
pub(super) async fn serve<D: Device>(
    context: &FleetContext,
    session: &Session,
    device: &mut D,
    commands: &mut mpsc::Receiver<Command>,
    until: Instant,
) -> Result<(), DeviceFault> {
    let (uploads, mut uploaded) = mpsc::channel::<upload::Ended>(1);
    // The upload under way: whose it is, and what cuts it off.
    let mut upload: Option<(Command, CancellationToken)> = None;
    // All sessions begin together when the operator does: a new connection is asked at once, one that is served on
    // at some moment of the period, so that polls spread out.
    let live = session.with(|s| s.fault.is_none() && s.report.is_some());
    let phase = if live { rand::rng().random_range(0.0..1.0) } else { 0.0 };
    let mut next_poll = Instant::now() + session.timing.poll_period.mul_f64(phase);
    let result = loop {
        tokio::select! {
            biased;
            () = session.cancel.cancelled() => break Ok(()),
            Some(ended) = uploaded.recv() => {
                upload.take_if(|(command, _)| command.attempt == ended.0);
                upload::ended(session, ended);
                context.tell(session);
            }
            Some(command) = commands.recv() => {
                // Every effect asks leadership first; what is not carried out now will be asked for again.
                let serves = session.with(|s| s.serves(&command));
                if serves && context.api.leadership().permit(COMMAND_LEASE).is_ok() {
                    if let DeviceCommand::DeleteFile { remote_name } = &command.what
                        && let Some((_, cancel)) = upload.take_if(|(c, _)| matches!(&c.what, DeviceCommand::Upload { remote_name: sent } if sent == remote_name))
                    {
                        cancel.cancel();
                    }
                    if let Some(begun) = carry_out(context, session, device, &command, &uploads).await {
                        upload = Some((command.clone(), begun));
                    }
                    next_poll = Instant::now();
                }
                session.with(|s| s.pending.retain(|p| *p != command.what));
                context.tell(session);
                // A file may be deleted for a job this session does not serve: one that had ended when it began.
                context.jobs.now(command.attempt.job);
            }
            () = tokio::time::sleep_until(next_poll) => {
                next_poll = Instant::now() + session.timing.poll_period;
                match device.poll(upload.is_some()).await {
                    Ok(report) => took(context, session, report),
                    Err(fault) => {
                        // One missed poll says nothing; being refused or finding another device does.
                        let silent = session.with(|s| s.report.as_ref().map_or(Duration::MAX, |(_, at)| at.elapsed()));
                        if fault.cause != LinkFault::Unreachable || silent >= session.timing.stale_after {
                            break Err(fault);
                        }
                    }
                }
                if Instant::now() >= until && upload.is_none() {
                    break Ok(());
                }
            }
        }
    };
    if let Some((_, cancel)) = upload {
        cancel.cancel();
        session.with(|s| s.upload = UploadView::Failed { message: "the connection to the printer ended".into() });
    }
    result
}

/// Takes in a report; tells the controllers if it means something new.
pub(super) fn took(context: &FleetContext, session: &Session, report: DeviceReport) {
    let now = Instant::now();
    let news = session.with(|s| {
        if let Some(watching) = s.watching.as_mut() {
            watching.report(&report, now);
        }
        let was_paused = s.report.as_ref().is_some_and(|(old, _)| old.state == DeviceState::Paused);
        if was_paused && report.state != DeviceState::Paused {
            // The pause we caused is over, however it ended; the next one may be somebody else's.
            s.pause_sent = false;
        }
        let news = s.fault.is_some() || s.report.as_ref().is_none_or(|(old, _)| differs(old, &report));
        if s.fault.is_some() || s.report.as_ref().is_none_or(|(old, _)| old.state != report.state) {
            s.unstored_since.get_or_insert(now);
        }
        s.fault = None;
        s.report = Some((report, now));
        news
    });
    if news {
        context.tell(session);
    }
}

/// Whether two reports differ in more than the seconds that are left.
fn differs(old: &DeviceReport, new: &DeviceReport) -> bool {
    let essence = |r: &DeviceReport| {
        let mut r = r.clone();
        if let Some(progress) = r.progress.as_mut() {
            progress.remaining_seconds = None;
        }
        r
    };
    essence(old) != essence(new)
}

/// Carries out one command; gives the token of an upload that was begun.
async fn carry_out<D: Device>(
    context: &FleetContext,
    session: &Session,
    device: &mut D,
    command: &Command,
    uploads: &mpsc::Sender<upload::Ended>,
) -> Option<CancellationToken> {
    match &command.what {
        DeviceCommand::Upload { remote_name } => {
            // What an interrupted try has left behind goes first; a name holds one whole file or none.
            if let Err(fault) = device.delete(remote_name).await {
                upload::ended(session, (command.attempt.clone(), Err(fault)));
                return None;
            }
            upload::begin(context, session, device.uploader(), command, remote_name, uploads.clone())
        }
        DeviceCommand::DeleteFile { remote_name } => {
            if told(session, command, &device.delete(remote_name).await) {
                session.with(|s| {
                    s.deleted.push_back(remote_name.clone());
                    let surplus = s.deleted.len().saturating_sub(DELETED_REMEMBERED);
                    s.deleted.drain(..surplus);
                });
            }
            None
        }
        DeviceCommand::Start => {
            Box::pin(start::run(context, session, device, command)).await;
            None
        }
        DeviceCommand::Pause | DeviceCommand::Resume | DeviceCommand::Stop => {
            control(context, session, device, command).await;
            None
        }
    }
}

/// Logs what came of a command; whether the device took it.
fn told(session: &Session, command: &Command, result: &Result<(), DeviceFault>) -> bool {
    let (printer, job, what) = (&session.printer, &command.attempt.job, &command.what);
    match result {
        Ok(()) => tracing::info!(%printer, %job, command = ?what, "the printer took the command"),
        Err(fault) => tracing::info!(%printer, %job, command = ?what, %fault, "the printer did not take the command"),
    }
    result.is_ok()
}

async fn control<D: Device>(context: &FleetContext, session: &Session, device: &mut D, command: &Command) {
    let Some(id) = command.device_job_id.as_deref() else { return };
    // Only while a report not older than 5 s on this connection shows our identity active.
    let fresh = device.poll(false).await;
    let Ok(report) = fresh else { return };
    let ours = report.is_active() && report.identity.id.as_deref() == Some(id);
    took(context, session, report);
    if !ours || context.api.leadership().permit(COMMAND_LEASE).is_err() {
        return;
    }
    let result = match command.what {
        DeviceCommand::Pause => {
            let result = device.pause(id).await;
            // A pause that was refused, or of which nobody knows, is not ours to end.
            session.with(|s| s.pause_sent = result.is_ok());
            result
        }
        DeviceCommand::Resume => device.resume(id).await,
        _ => device.stop(id).await,
    };
    if told(session, command, &result) {
        session.with(|s| s.taken = Some((command.what.clone(), Instant::now())));
    }
}
