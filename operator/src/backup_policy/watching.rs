//! What is watched: policies, and with an image for backups of CronJobs, Jobs and pods those that carry the label of one. No
//! other is read.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use printernizer_crds::BackupPolicy;
use printernizer_crds::backup_policy::POLICY_LABEL;

use crate::api::{Key, version};
use crate::telemetry::metrics::StatusKind;
use crate::watch::Watched;
use crate::watching::{Named, Watching, tell};

/// Begins all of them.
pub(crate) fn watch(watching: &Watching<'_>) {
    let c = Arc::clone(watching.context);
    let index = Arc::clone(&c.policy_index);
    let policies = named("watch of backup policies", "backup policies are listed");
    watching.follow::<BackupPolicy>(policies, watcher::Config::default(), index, move |key, old, new| {
        tell(&c.policies, key.clone(), old, new);
    });
    // Without an image nothing is made and the operator need have no right to see these.
    if watching.context.backup_image.is_none() {
        return;
    }
    of_policies::<CronJob>(watching, named("watch of backup cron jobs", "cron jobs of backups are listed"));
    of_policies::<Job>(watching, named("watch of backup jobs", "jobs of backups are listed"));
    of_policies::<Pod>(watching, named("watch of backup pods", "pods of backups are listed"));
}

fn named(task: &'static str, gate: &'static str) -> Named {
    Named(task, gate, StatusKind::BackupPolicy)
}

/// Watches the objects of a kind that carry the label of policies, and wakes these.
fn of_policies<K: Watched>(watching: &Watching<'_>, named: Named) {
    let c = Arc::clone(watching.context);
    let labelled = watcher::Config::default().labels(POLICY_LABEL);
    watching.follow::<K>(named, labelled, Arc::default(), move |key, old, new| {
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
