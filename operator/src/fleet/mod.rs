//! The fleet: one session for each Printer, and what the sessions tell the controllers. Only the leader has sessions.

mod connect;
pub mod device;
pub mod prusalink;
mod serve;
mod session;
mod start;
#[cfg(test)]
mod testing;
mod upload;
mod watching;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use printernizer_crds::Printer;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::printer::Connection;
use printernizer_rules::device::{Link, LinkFault};
use printernizer_rules::identity::Token;
use printernizer_rules::printer::serial_claimed;
use printernizer_rules::timing::Timing;
use rand::Rng as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Api, Key};
use crate::files::Files;
use crate::files::allow::Networks;
use crate::reconcile::Queue;
use crate::tasks::caught;
use crate::telemetry::Metrics;

pub use connect::prusalink as connect_prusalink;
pub use device::DeviceFault;
pub use session::{Attempt, Command, FileToSend, Seen, Session};

/// Secrets are read again this often.
const SECRET_PERIOD: Duration = Duration::from_secs(60);
/// First pause after a connection that failed; doubles.
const RECONNECT_BASE: Duration = Duration::from_secs(1);
/// Longest pause before a printer that does not answer is tried again.
const RECONNECT_CAP: Duration = Duration::from_secs(15);
/// Longest pause before refused credentials are tried again: nobody is hammered.
const REFUSED_CAP: Duration = Duration::from_secs(600);
/// First pause after refused credentials.
const REFUSED_BASE: Duration = Duration::from_secs(30);

/// A random id for an occupancy, a question, a distrust, a try.
pub fn fresh_id() -> String {
    format!("{:010x}", rand::rng().random::<u64>() & 0xff_ffff_ffff)
}

/// What all sessions share.
pub struct FleetContext {
    /// The API server.
    pub api: Api,
    /// The namespace this process works in; `None` for all.
    pub namespace: Option<String>,
    /// Print files.
    pub files: Files,
    /// Windows.
    pub timing: Timing,
    /// Networks printers may be in.
    pub networks: Networks,
    /// Whether all starts are held.
    pub hold_starts: bool,
    /// Metrics.
    pub metrics: Metrics,
    /// Uploads that may run at the same time.
    pub upload_slots: Arc<Semaphore>,
    /// Whom to wake about a printer.
    pub printers: Queue,
    /// Whom to wake about a job.
    pub jobs: Queue,
}

impl FleetContext {
    /// Something about this printer, or the attempt it serves, is new.
    fn tell(&self, session: &Session) {
        self.printers.now(session.printer.clone());
        if let Some(attempt) = session.with(|s| s.attempt.clone()) {
            self.jobs.now(attempt.job);
        }
    }
}

struct Entry {
    session: Session,
    uid: String,
    connection: Connection,
}

/// All sessions.
pub struct Fleet {
    context: Arc<FleetContext>,
    sessions: Mutex<HashMap<Key, Entry>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Fleet {
    /// A fleet without sessions.
    pub fn new(context: FleetContext) -> Arc<Self> {
        Arc::new(Self {
            context: Arc::new(context),
            sessions: Mutex::default(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        })
    }

    /// What the sessions share.
    pub fn context(&self) -> &FleetContext {
        &self.context
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<Key, Entry>) -> T) -> T {
        f(&mut self.sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The session of a printer, begun if there is none or the connection in the spec has changed; `None` where this
    /// version has no driver.
    pub fn ensure(&self, printer: &Printer) -> Option<Session> {
        let key = Key::of(printer);
        let uid = printer.metadata.uid.clone().unwrap_or_default();
        let connection = printer.spec.connection.clone();
        if connection.prusa_link.is_none() {
            // It may have had one that has.
            self.remove(&key);
            return None;
        }
        self.with(|sessions| {
            if let Some(entry) = sessions.get(&key) {
                if entry.uid == uid && entry.connection == connection && !entry.session.cancel.is_cancelled() {
                    return Some(entry.session.clone());
                }
                entry.session.cancel.cancel();
            }
            if self.cancel.is_cancelled() {
                return None;
            }
            let (session, commands) = session::new(key.clone(), self.context.timing, self.cancel.child_token());
            let task = run(Arc::clone(&self.context), session.clone(), commands, printer.clone());
            self.tasks.spawn(watched(Arc::clone(&self.context), session.clone(), task));
            sessions.insert(key, Entry { session: session.clone(), uid, connection });
            Some(session)
        })
    }

    /// The session of a printer, if there is one.
    pub fn session(&self, key: &Key) -> Option<Session> {
        self.with(|sessions| sessions.get(key).map(|e| e.session.clone()))
    }

    /// Ends the session of a printer that is gone.
    pub fn remove(&self, key: &Key) {
        if let Some(entry) = self.with(|sessions| sessions.remove(key)) {
            entry.session.cancel.cancel();
        }
    }

    /// The connection to a device in this namespace that shows an attempt of the job with this UID.
    pub fn showing(&self, namespace: &str, job_uid: &str) -> Option<Link> {
        let sessions: Vec<Session> =
            self.with(|s| s.iter().filter(|(k, _)| k.namespace == namespace).map(|(_, e)| e.session.clone()).collect());
        sessions.into_iter().find_map(|session| {
            let shows = session.with(|s| {
                let (report, _) = s.report.as_ref()?;
                report.identity.name.as_deref().and_then(Token::find)
            })?;
            shows.is_of_job(job_uid).then(|| session.seen().link)
        })
    }

    /// Number of sessions with a live connection.
    pub fn connected(&self) -> usize {
        self.with(|s| s.values().filter(|e| e.session.with(|s| s.report.is_some() && s.fault.is_none())).count())
    }

    /// Ends all sessions and waits for them.
    pub async fn close(&self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Runs a session's task to its end. However it ends, the session counts as ended then, and the next pass begins a new
/// one, which knows as much of a start under way as a new process would. After a panic that is told, and not at once.
async fn watched(context: Arc<FleetContext>, session: Session, task: impl Future<Output = ()>) {
    let _ends = session.cancel.clone().drop_guard();
    if let Err(panicked) = caught("the session with the printer", task).await {
        session.connection_lost(&DeviceFault { cause: LinkFault::Unreachable, message: panicked.to_string() });
        context.tell(&session);
        tokio::select! {
            () = session.cancel.cancelled() => {}
            () = tokio::time::sleep(RECONNECT_CAP) => {}
        }
        session.cancel.cancel();
        context.tell(&session);
    }
}

/// A session's task: connects, serves, connects again.
async fn run(context: Arc<FleetContext>, session: Session, mut commands: mpsc::Receiver<Command>, printer: Printer) {
    let mut failures: u32 = 0;
    let mut secret_refused: Option<String> = None;
    let Some(connection) = printer.spec.connection.prusa_link.clone() else { return };
    while !session.cancel.is_cancelled() {
        let result = async {
            // What is remembered may have grown since the session began.
            let newest = context.api.get::<Printer>(&session.printer).await.ok().flatten();
            let printer = newest.as_ref().unwrap_or(&printer);
            let login = connect::read_login(&context.api, printer, &connection).await?;
            let version = login.version.clone();
            let (client, address) =
                connect::prusalink(&connection.url, login.credentials, &context.networks, &context.timing).await?;
            session.with(|s| s.host = Some(address.to_string()));
            let serial = serial_claimed(printer).map(str::to_owned);
            Ok::<_, DeviceFault>((prusalink::PrusaLink::new(client, serial, remembered(printer)), version))
        };
        let ended = tokio::select! {
            () = session.cancel.cancelled() => break,
            ended = result => ended,
        };
        let fault = match ended {
            Ok((mut device, version)) => {
                match serve_with(&context, &session, &mut device, &mut commands, &printer, &version).await {
                    Served::Anew => {
                        failures = 0;
                        continue;
                    }
                    Served::Fault(fault) => {
                        secret_refused = (fault.cause == LinkFault::CredentialsRefused).then_some(version);
                        if session.with(|s| s.report.as_ref().is_some_and(|(_, at)| at.elapsed() < RECONNECT_CAP)) {
                            failures = 0;
                        }
                        fault
                    }
                }
            }
            Err(fault) => fault,
        };
        failures = failures.saturating_add(1);
        let (base, cap) = match fault.cause {
            LinkFault::CredentialsRefused => (REFUSED_BASE, REFUSED_CAP),
            _ => (RECONNECT_BASE, RECONNECT_CAP),
        };
        let pause = base.saturating_mul(1 << (failures - 1).min(10)).min(cap);
        let new = session.connection_lost(&fault);
        // From here on no command is taken; what was taken before belongs to the lost connection.
        while commands.try_recv().is_ok() {}
        session.with(|s| s.pending.clear());
        if new {
            tracing::warn!(printer = %session.printer, %fault, retry_in = ?pause, "no connection to the printer");
            context.tell(&session);
        }
        wait(&context, &session, &printer, &connection, pause, secret_refused.as_deref()).await;
    }
}

/// How serving a device ended.
enum Served {
    /// The login has changed, or the session ends.
    Anew,
    /// The connection is in trouble.
    Fault(DeviceFault),
}

/// Serves the device while its Secret stays the same.
async fn serve_with(
    context: &FleetContext,
    session: &Session,
    device: &mut prusalink::PrusaLink,
    commands: &mut mpsc::Receiver<Command>,
    printer: &Printer,
    version: &str,
) -> Served {
    let Some(connection) = printer.spec.connection.prusa_link.as_ref() else { return Served::Anew };
    // All sessions begin together when the operator does; they do not all ask for their Secrets together.
    let mut until = Instant::now() + SECRET_PERIOD.mul_f64(rand::rng().random_range(0.0..1.0));
    loop {
        if let Err(fault) = serve::serve(context, session, device, commands, until).await {
            return Served::Fault(fault);
        }
        until = Instant::now() + SECRET_PERIOD;
        if session.cancel.is_cancelled() {
            return Served::Anew;
        }
        match connect::read_login(&context.api, printer, connection).await {
            Ok(login) if login.version == version => {}
            Ok(_) => return Served::Anew,
            // The API server does not answer: the connection is good all the same.
            Err(fault) if fault.cause == LinkFault::Unreachable => {}
            Err(fault) => return Served::Fault(fault),
        }
    }
}

/// Waits before the next connection; a changed Secret ends the wait after refused credentials.
async fn wait(
    context: &FleetContext,
    session: &Session,
    printer: &Printer,
    connection: &printernizer_crds::printer::PrusaLinkConnection,
    pause: Duration,
    refused_version: Option<&str>,
) {
    let until = Instant::now() + pause;
    loop {
        let step = until.min(Instant::now() + SECRET_PERIOD / 4);
        tokio::select! {
            () = session.cancel.cancelled() => return,
            () = tokio::time::sleep_until(step) => {}
        }
        if Instant::now() >= until {
            return;
        }
        if let Some(refused) = refused_version
            && let Ok(login) = connect::read_login(&context.api, printer, connection).await
            && login.version != refused
        {
            return;
        }
    }
}

/// The print the device showed last, as far as the Printer remembers.
fn remembered(printer: &Printer) -> Option<DeviceIdentity> {
    printer.status.as_ref()?.bed.as_ref()?.accounted_identity.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::leadership::Leadership;

    #[tokio::test]
    async fn a_printer_whose_connection_has_no_driver_any_more_keeps_no_session() {
        let directory = tempfile::tempdir().unwrap();
        let fleet = Fleet::new(testing::context(&Leadership::fixed(true), directory.path()));
        let printer = |connection: serde_json::Value| -> Printer {
            serde_json::from_value(json!({
                "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer",
                "metadata": { "name": "prusa-1", "namespace": "farm", "uid": "1" },
                "spec": { "model": "Any", "connection": connection },
            }))
            .unwrap()
        };
        let url = json!({ "prusaLink": { "url": "http://127.0.0.1:1", "credentialsSecretRef": { "name": "s" } } });
        let session = fleet.ensure(&printer(url)).expect("there is a driver");
        assert!(fleet.ensure(&printer(json!({}))).is_none());
        assert!(session.cancel.is_cancelled());
        fleet.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_panics_is_told_and_begun_anew_after_a_pause() {
        let directory = tempfile::tempdir().unwrap();
        let context = Arc::new(testing::context(&Leadership::fixed(true), directory.path()));
        let (session, ..) = testing::serving();
        let task = tokio::spawn(watched(Arc::clone(&context), session.clone(), async { panic!("a bug") }));
        tokio::time::sleep(RECONNECT_CAP / 2).await;
        let Link::Down { cause, message, .. } = session.seen().link else { panic!("{:?}", session.seen()) };
        assert_eq!(cause, LinkFault::Unreachable);
        assert!(message.contains("unforeseen"), "{message}");
        assert!(!session.cancel.is_cancelled(), "not at once");
        task.await.unwrap();
        assert!(session.cancel.is_cancelled(), "the next pass begins a new one");
        assert!(context.printers.is_due(&session.printer), "and there is a next pass");
    }
}
