//! What a leader watches, and whom it wakes when something is new: Printers and PrintJobs here, what belongs to backups where
//! they are.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher;
use kube::{Client, Resource};
use printernizer_crds::{PrintJob, Printer};
use printernizer_rules::printer::serial_claimed;
use tokio_util::sync::CancellationToken;

use crate::api::{Key, version};
use crate::context::Context;
use crate::reconcile::Queue;
use crate::scope::Scope;
use crate::tasks::Tasks;
use crate::telemetry::Health;
use crate::telemetry::metrics::StatusKind;
use crate::watch::{self, Index, Mark, Watched};
use crate::{backup_policy, printer};

/// A task that has not been heard of for this long makes the process unhealthy.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(60);

/// What a watch is called: its task, what the process waits for until everything was listed, and where its errors are counted.
pub(crate) struct Named(pub &'static str, pub &'static str, pub StatusKind);

/// What the watches share.
pub(crate) struct Watching<'a> {
    /// What the controllers share.
    pub context: &'a Arc<Context>,
    /// The client.
    pub client: Client,
    /// The namespaces to watch.
    pub scope: &'a Scope,
    /// Where they say that they are alive.
    pub health: &'a Health,
    /// Where they run.
    pub tasks: &'a Tasks,
    /// Ends them.
    pub cancel: &'a CancellationToken,
}

impl Watching<'_> {
    /// Begins all of them.
    pub(crate) fn begin(&self) {
        self.printers();
        self.jobs();
        backup_policy::watch(self);
    }

    fn printers(&self) {
        let c = Arc::clone(self.context);
        let named = Named("watch of printers", "printers are listed", StatusKind::Printer);
        let index = Arc::clone(&c.printer_index);
        self.follow::<Printer>(named, watcher::Config::default(), index, move |key, old, new| {
            tell(&c.printers, key.clone(), old, new);
            // Another Printer of the same device may be one too many now, or no longer.
            let standing = |p: &Arc<Printer>| {
                (serial_claimed(p).map(str::to_owned), printer::has_unresolved_start(p), p.metadata.uid.clone())
            };
            let (before, after) = (old.map(standing), new.map(standing));
            if before != after {
                let serials: Vec<String> = [before, after].into_iter().flatten().filter_map(|s| s.0).collect();
                for other in serials.into_iter().flat_map(|s| c.printer_index.marked(&Mark::Device(s))) {
                    c.printers.now(Key::of(other.as_ref()));
                }
            }
            // Whoever holds, or held, the printer wants to know; so does the scheduler.
            for p in [old, new].into_iter().flatten() {
                if let Some(job) = p.status.as_ref().and_then(|s| s.current_job.as_ref()) {
                    tell(&c.jobs, Key::new(&key.namespace, &job.name), old, new);
                }
            }
            c.scheduling.wake();
        });
    }

    fn jobs(&self) {
        let c = Arc::clone(self.context);
        let named = Named("watch of print jobs", "print jobs are listed", StatusKind::PrintJob);
        let index = Arc::clone(&c.job_index);
        self.follow::<PrintJob>(named, watcher::Config::default(), index, move |key, old, new| {
            tell(&c.jobs, key.clone(), old, new);
            for job in [old, new].into_iter().flatten() {
                if let Some(printer) = job.status.as_ref().and_then(|s| s.printer.as_ref()) {
                    tell(&c.printers, Key::new(&key.namespace, &printer.name), old, new);
                }
            }
            if new.is_none() {
                let holds = |p: &Printer| {
                    let held = p.status.as_ref().and_then(|s| s.current_job.as_ref());
                    p.metadata.namespace.as_deref() == Some(&key.namespace) && held.is_some_and(|j| j.name == key.name)
                };
                for p in c.printer_index.all().into_iter().filter(|p| holds(p)) {
                    c.printers.now(Key::of(p.as_ref()));
                }
            }
            c.scheduling.wake();
        });
    }

    /// Watches the selected objects of a kind.
    pub(crate) fn follow<K: Watched>(
        &self,
        Named(task, gate, kind): Named,
        selected: watcher::Config,
        index: Arc<Index<K>>,
        tell: impl Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>) + Send + 'static,
    ) {
        let signs = watch::Signs {
            ready: self.health.gate(gate),
            heartbeat: self.health.heartbeat(task, HEARTBEAT),
            errors: self.context.metrics.watch_errors(kind),
        };
        let (client, scope, cancel) = (self.client.clone(), self.scope.clone(), self.cancel.clone());
        self.tasks.spawn(task, watch::follow(client, scope, selected, index, signs, cancel, tell));
    }
}

/// Tells the pass over this key what the watch says of an object. What appears or goes is always news, also where a list
/// that is read again shows another object under the same name: passes ask the index, too, whether something exists.
pub(crate) fn tell<K: Resource>(queue: &Queue, key: Key, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
    match (old, new) {
        (Some(old), Some(object)) if old.meta().uid == object.meta().uid => queue.news(key, version(object.as_ref())),
        _ => queue.now(key),
    }
}
