//! The fleet: one session for each Printer, and what the sessions tell the controllers. Only the leader has sessions.

mod bambu;
mod connect;
pub mod device;
pub mod prusalink;
mod serve;
mod session;
mod start;
mod task;
#[cfg(test)]
mod testing;
mod upload;
mod watching;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use printernizer_bambu::Trust;
use printernizer_crds::Printer;
use printernizer_crds::printer::Connection;
use printernizer_rules::device::{Link, LinkFault};
use printernizer_rules::identity::Token;
use printernizer_rules::timing::Timing;
use rand::Rng as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Api, Key};
use crate::definitions::Definitions;
use crate::files::allow::Networks;
use crate::reconcile::Queue;
use crate::scope::Scope;
use crate::tasks::caught;
use crate::telemetry::Metrics;

pub use bambu::Bambu;
pub use connect::{bambu as bambu_config, bambu_ca, prusalink as connect_prusalink};

use task::RECONNECT_CAP;

pub use device::DeviceFault;
pub use session::{Attempt, Command, Judged, Seen, Session};

/// A random id for an occupancy, a question, a distrust, a try.
pub fn fresh_id() -> String {
    format!("{:010x}", rand::rng().random::<u64>() & 0xff_ffff_ffff)
}

/// What all sessions share.
pub struct FleetContext {
    /// The API server.
    pub api: Api,
    /// The namespaces this process works in.
    pub scope: Scope,
    /// Windows.
    pub timing: Timing,
    /// Networks printers may be in.
    pub networks: Networks,
    /// Who may vouch for a Bambu Lab printer.
    pub bambu_ca: Trust,
    /// Whether all starts are held.
    pub hold_starts: bool,
    /// What is known of the cluster's definitions: with older ones nothing is started.
    pub definitions: Definitions,
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

    /// The session of a printer, begun if there is none or the connection in the spec has changed; `None` where the
    /// spec names no connection.
    pub fn ensure(&self, printer: &Printer) -> Option<Session> {
        let key = Key::of(printer);
        let uid = printer.metadata.uid.clone().unwrap_or_default();
        let connection = printer.spec.connection.clone();
        if connection.prusa_link.is_none() && connection.bambu.is_none() {
            // It may have had one.
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
            let (session, commands) = session::new(key.clone(), &self.context.timing, self.cancel.child_token());
            let (context, mut printer) = (Arc::clone(&self.context), printer.clone());
            // Who wrote which field is of no use to a session, and takes many times the room of the fields.
            printer.metadata.managed_fields = None;
            if let Some(bambu) = connection.bambu.clone() {
                self.begin(session.clone(), task::run(context, session.clone(), commands, printer, bambu));
            } else if let Some(prusa_link) = connection.prusa_link.clone() {
                self.begin(session.clone(), task::run(context, session.clone(), commands, printer, prusa_link));
            }
            sessions.insert(key, Entry { session: session.clone(), uid, connection });
            Some(session)
        })
    }

    fn begin(&self, session: Session, task: impl Future<Output = ()> + Send + 'static) {
        // On the heap once: each function a future is handed through would keep room for it twice.
        self.tasks.spawn(watched(Arc::clone(&self.context), session, Box::pin(task)));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::leadership::Leadership;

    #[tokio::test]
    async fn a_printer_whose_connection_has_no_driver_any_more_keeps_no_session() {
        let fleet = Fleet::new(testing::context(&Leadership::fixed(true)));
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

    /// There are hundreds of them, and each keeps its room while it rests.
    #[tokio::test]
    async fn a_session_of_either_kind_needs_little_room() {
        let context = Arc::new(testing::context(&Leadership::fixed(true)));
        let size = |connection: serde_json::Value| {
            let printer: Printer = serde_json::from_value(json!({
                "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": "one" },
                "spec": { "model": "Any", "connection": connection },
            }))
            .unwrap();
            let (context, (session, commands, _)) = (Arc::clone(&context), testing::serving());
            let connection = printer.spec.connection.clone();
            match (connection.bambu, connection.prusa_link) {
                (Some(bambu), _) => size_of_val(&task::run(context, session, commands, printer, bambu)),
                (_, Some(prusa_link)) => size_of_val(&task::run(context, session, commands, printer, prusa_link)),
                _ => panic!("no connection"),
            }
        };
        let prusa_link = json!({ "url": "http://127.0.0.1:1", "credentialsSecretRef": { "name": "s" } });
        let bambu = json!({
            "host": "127.0.0.1", "serialNumber": "03919A3B0100254", "accessCodeSecretRef": { "name": "s", "key": "code" },
        });
        for connection in [json!({ "prusaLink": prusa_link }), json!({ "bambu": bambu })] {
            let bytes = size(connection.clone());
            assert!(bytes < 12 * 1024, "{bytes} bytes with {connection}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_panics_is_told_and_begun_anew_after_a_pause() {
        let context = Arc::new(testing::context(&Leadership::fixed(true)));
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
