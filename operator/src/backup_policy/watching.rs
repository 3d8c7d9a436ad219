//! What is watched: policies, and of CronJobs, Jobs and pods those that carry the label of one. No other is read.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use kube::{Client, Resource};
use printernizer_crds::BackupPolicy;
use printernizer_crds::backup_policy::POLICY_LABEL;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::api::{Key, version};
use crate::context::Context;
use crate::tasks::Tasks;
use crate::telemetry::Health;
use crate::telemetry::metrics::StatusKind;
use crate::watch::{self, Index};

/// A watch that has not been heard of for this long makes the process unhealthy.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// What the watches share.
pub struct Watching<'a> {
    /// What the controllers share.
    pub context: &'a Arc<Context>,
    /// The client.
    pub client: Client,
    /// Namespace to watch; `None` for all.
    pub namespace: Option<&'a str>,
    /// Where they say that they are alive.
    pub health: &'a Health,
    /// Where they run.
    pub tasks: &'a Tasks,
    /// Ends them.
    pub cancel: &'a CancellationToken,
}

impl Watching<'_> {
    /// Begins all of them.
    pub fn begin(&self) {
        let c = Arc::clone(self.context);
        let index = Arc::clone(&c.policy_index);
        let names = ("watch of backup policies", "backup policies are listed");
        self.follow::<BackupPolicy>(names, watcher::Config::default(), index, move |key, old, new| match (old, new) {
            (Some(_), Some(new)) => c.policies.news(key.clone(), version(new.as_ref())),
            _ => c.policies.now(key.clone()),
        });
        self.of_policies::<CronJob>(("watch of backup cron jobs", "cron jobs of backups are listed"));
        self.of_policies::<Job>(("watch of backup jobs", "jobs of backups are listed"));
        self.of_policies::<Pod>(("watch of backup pods", "pods of backups are listed"));
    }

    /// Watches the objects of a kind that carry the label of policies, and wakes these.
    fn of_policies<K>(&self, names: (&'static str, &'static str))
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let c = Arc::clone(self.context);
        let labelled = watcher::Config::default().labels(POLICY_LABEL);
        self.follow::<K>(names, labelled, Arc::default(), move |key, old, new| {
            for object in [old, new].into_iter().flatten() {
                let policy = object.meta().labels.as_ref().and_then(|labels| labels.get(POLICY_LABEL));
                let Some(policy) = policy.map(|name| Key::new(&key.namespace, name)) else { continue };
                match new {
                    Some(new) => c.policies.news(policy, version(new.as_ref())),
                    None => c.policies.now(policy),
                }
            }
        });
    }

    fn follow<K>(
        &self,
        (task, gate): (&'static str, &'static str),
        selected: watcher::Config,
        index: Arc<Index<K>>,
        tell: impl Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>) + Send + 'static,
    ) where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let signs = watch::Signs {
            ready: self.health.gate(gate),
            heartbeat: self.health.heartbeat(task, HEARTBEAT),
            errors: self.context.metrics.watch_errors(StatusKind::BackupPolicy),
        };
        let namespace = self.namespace.map(str::to_owned);
        let (client, cancel) = (self.client.clone(), self.cancel.clone());
        self.tasks.spawn(task, watch::follow(client, namespace, selected, index, signs, cancel, tell));
    }
}
