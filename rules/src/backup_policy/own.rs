//! What belongs to a policy, of what carries its label: its CronJobs, their Jobs, and those that are to be ended. Nothing of
//! somebody else is ever taken for the policy's.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use printernizer_crds::backup_policy::{BackupPolicyStatus, Role};
use printernizer_crds::{BackupPolicy, Reason};

use super::manifest::Access;
use super::names::manual_job_name;
use super::problem::{Problem, Stops};
use super::runs::{controller_of, has_ended, is_unread, role_of};
use super::schedule::Schedules;
use super::{Effect, Observed, damage, nodes, stuck};

/// How long the pod of a backup may wait for a node when its volumes are in use on another one by then.
const WAITS_IN_VAIN: SignedDuration = SignedDuration::from_mins(5);

/// What belongs to the policy, of what carries its label.
pub(super) struct Own<'a> {
    /// CronJobs.
    pub(super) cron_jobs: Vec<&'a CronJob>,
    /// Jobs of them, and those made for a person.
    pub(super) jobs: Vec<&'a Job>,
    /// UID of the policy.
    pub(super) uid: &'a str,
    /// A name that is wanted and belongs to something else.
    pub(super) taken: Option<Problem>,
}

impl<'a> Own<'a> {
    pub(super) fn of(seen: &Observed<'a>, schedules: Option<&Schedules>) -> Self {
        let uid = seen.policy.metadata.uid.as_deref().unwrap_or_default();
        let belongs = |meta: &ObjectMeta| controller_of(meta) == Some(uid);
        let cron_jobs: Vec<&CronJob> = seen.cron_jobs.iter().filter(|c| belongs(&c.metadata)).collect();
        let makers: Vec<&str> = cron_jobs.iter().filter_map(|c| c.metadata.uid.as_deref()).collect();
        let made = |meta: &ObjectMeta| controller_of(meta).is_some_and(|by| by == uid || makers.contains(&by));
        let jobs = seen.jobs.iter().filter(|job| made(&job.metadata)).collect();
        let mut wanted = schedules.into_iter().flat_map(|schedules| &schedules.all).map(|scheduled| &scheduled.name);
        let foreign = |name: &&String| {
            seen.cron_jobs.iter().any(|c| c.metadata.name.as_ref() == Some(*name) && !belongs(&c.metadata))
        };
        let taken = wanted.find(foreign).map(|name| taken("CronJob", name, Stops::Nothing));
        Self { cron_jobs, jobs, uid, taken }
    }

    /// The account, role or binding of the name that is wanted, where it is not the policy's: nothing is given to a stranger.
    pub(super) fn foreign_access(&self, policy: &BackupPolicy, live: &Access) -> Option<Problem> {
        // Where no objects are backed up, none is wanted.
        policy.spec.sources.objects.as_ref()?;
        let metas = [
            ("ServiceAccount", live.account.as_ref().map(|object| &object.metadata)),
            ("Role", live.role.as_ref().map(|object| &object.metadata)),
            ("RoleBinding", live.binding.as_ref().map(|object| &object.metadata)),
        ];
        let mut foreign = metas.into_iter().filter_map(|(kind, meta)| Some((kind, meta?)));
        let (kind, meta) = foreign.find(|(_, meta)| controller_of(meta) != Some(self.uid))?;
        Some(taken(kind, meta.name.as_deref().unwrap_or_default(), Stops::Backups))
    }

    /// Pods of the policy's Jobs.
    pub(super) fn pods<'p>(&self, seen: &Observed<'p>) -> impl Iterator<Item = &'p Pod> {
        let jobs: Vec<&str> = self.jobs.iter().filter_map(|job| job.metadata.uid.as_deref()).collect();
        seen.pods.iter().filter(move |pod| controller_of(&pod.metadata).is_some_and(|by| jobs.contains(&by)))
    }

    pub(super) fn cron_job(&self, name: &str) -> Option<&'a CronJob> {
        self.cron_jobs.iter().find(|c| c.metadata.name.as_deref() == Some(name)).copied()
    }

    /// Jobs made for a person that still run.
    pub(super) fn manual_runs(&self) -> bool {
        self.jobs.iter().any(|job| controller_of(&job.metadata) == Some(self.uid) && !has_ended(job))
    }

    /// Whether the Job a person asks for is there.
    pub(super) fn has_manual(&self, policy: &BackupPolicy) -> bool {
        let Some(trigger) = wanted_trigger(policy) else { return false };
        let name = manual_job_name(policy.metadata.name.as_deref().unwrap_or_default(), self.uid, trigger);
        self.jobs.iter().any(|job| job.metadata.name.as_ref() == Some(&name))
    }

    /// CronJobs that are wanted no more: suspended while a Job of theirs runs, then deleted.
    pub(super) fn stale(&self, schedules: &Schedules, pods: &[Pod]) -> Vec<Effect> {
        let wanted = |c: &CronJob| schedules.all.iter().any(|s| Some(&s.name) == c.metadata.name.as_ref());
        let runs = |c: &CronJob| {
            let uid = c.metadata.uid.as_deref();
            let runs = |job: &Job| !has_ended(job) || is_unread(job, pods);
            self.jobs.iter().any(|job| controller_of(&job.metadata) == uid && runs(job))
        };
        let stale = self.cron_jobs.iter().filter(|c| !wanted(c));
        stale
            .filter_map(|c| if runs(c) { suspend(c) } else { Some(Effect::DeleteCronJob(Box::new((*c).clone()))) })
            .collect()
    }

    /// Jobs that run and of which no pod is seen.
    pub(super) fn jobs_without_pods<'p>(&'p self, seen: &Observed<'p>) -> impl Iterator<Item = &'p Job> {
        let makers: Vec<&str> = seen.pods.iter().filter_map(|pod| controller_of(&pod.metadata)).collect();
        let is_seen = move |job: &Job| job.metadata.uid.as_deref().is_some_and(|uid| makers.contains(&uid));
        self.jobs.iter().copied().filter(move |job| !has_ended(job) && !is_seen(job))
    }

    /// CronJobs whose Job waits for another node than the one its volumes are in use on by now, and since when: its pods cannot
    /// be moved, and Kubernetes begins no other run beside it. The Job goes with its CronJob. Where nothing uses the volumes,
    /// the node it waits for may take it yet; and what a person made of the CronJob is theirs to end.
    pub(super) fn waiting_in_vain(&self, seen: &Observed<'_>, node: Option<&str>) -> Vec<(&'a CronJob, Waiting)> {
        let Some(node) = node else { return Vec::new() };
        let waits = |cron_job: &&'a CronJob| {
            let uid = cron_job.metadata.uid.as_deref();
            let runs = |job: &&&Job| !has_ended(job) || is_unread(job, seen.pods);
            let mut running = self.jobs.iter().filter(|job| controller_of(&job.metadata) == uid).filter(runs);
            let (Some(job), None) = (running.next(), running.next()) else { return None };
            if is_by_hand(job) || nodes::of_job(job).is_none_or(|pinned| pinned == node) {
                return None;
            }
            let of_job = |pod: &&Pod| controller_of(&pod.metadata) == job.metadata.uid.as_deref();
            let mut pods = seen.pods.iter().filter(of_job).filter(|pod| stuck::is_unscheduled(pod));
            let since = pods.next()?.metadata.creation_timestamp.as_ref()?.0;
            Some((*cron_job, Waiting { since, due: due_time(job).unwrap_or(since) }))
        };
        self.cron_jobs.iter().filter(|c| role_of(&c.metadata) == Some(Role::Backup)).filter_map(waits).collect()
    }

    /// CronJobs of prunes that have begun by themselves and run while every recovery point is to be kept: as one that waited for the
    /// check that found damage, and would begin at its end. restic can be ended in the middle of a prune, since it stores anew
    /// what it keeps before it deletes anything. What a person began goes on.
    pub(super) fn prunes_to_end(&self, seen: &Observed<'_>, status: &BackupPolicyStatus) -> Vec<&'a CronJob> {
        if damage::keeps_points(status).is_none() {
            return Vec::new();
        }
        let is_to_end = |cron_job: &&&CronJob| {
            let of = |job: &&&Job| controller_of(&job.metadata) == cron_job.metadata.uid.as_deref();
            let mut running = self.jobs.iter().filter(of).filter(|job| !has_ended(job) || is_unread(job, seen.pods));
            let first = running.next();
            first.is_some_and(|first| !is_by_hand(first) && !has_ended(first)) && running.next().is_none()
        };
        let prunes = self.cron_jobs.iter().filter(|c| role_of(&c.metadata) == Some(Role::Prune));
        prunes.filter(is_to_end).copied().collect()
    }

    /// When the restore drill began that runs.
    pub(super) fn drilling_since(&self, seen: &Observed<'_>) -> Option<Timestamp> {
        let drills: Vec<&str> = self
            .jobs
            .iter()
            .filter(|job| role_of(&job.metadata) == Some(Role::RestoreDrill) && !has_ended(job))
            .filter_map(|job| job.metadata.uid.as_deref())
            .collect();
        let pods = seen.pods.iter().filter(|pod| controller_of(&pod.metadata).is_some_and(|by| drills.contains(&by)));
        pods.filter_map(|pod| {
            let containers = pod.status.as_ref()?.container_statuses.as_deref()?;
            let running = containers.iter().find_map(|c| c.state.as_ref()?.running.as_ref())?;
            Some(running.started_at.as_ref()?.0)
        })
        .min()
    }
}

/// A run whose pod waits for a node in vain.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    /// Since when the pod is there.
    since: Timestamp,
    /// When the run was due.
    pub(super) due: Timestamp,
}

impl Waiting {
    /// When its run is given up.
    pub(super) fn end(self) -> Option<Timestamp> {
        self.since.checked_add(WAITS_IN_VAIN).ok()
    }

    pub(super) fn is_over(self, now: Timestamp) -> bool {
        self.end().is_some_and(|end| end <= now)
    }
}

/// Whether somebody made this Job of its CronJob by `kubectl create job --from`.
fn is_by_hand(job: &Job) -> bool {
    job.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("cronjob.kubernetes.io/instantiate"))
}

/// When Kubernetes was to make this Job of its CronJob.
fn due_time(job: &Job) -> Option<Timestamp> {
    job.metadata.annotations.as_ref()?.get("batch.kubernetes.io/cronjob-scheduled-timestamp")?.parse().ok()
}

/// A name that is wanted belongs to something else.
fn taken(kind: &str, name: &str, stops: Stops) -> Problem {
    let text = format!(
        "the {kind} {name} is there already and belongs to something else: delete it, or give the policy another name"
    );
    Problem::new(stops, Reason::NameTaken, text)
}

/// Suspends a CronJob that is not.
pub(super) fn suspend(cron_job: &CronJob) -> Option<Effect> {
    let name = cron_job.metadata.name.clone()?;
    (cron_job.spec.suspend != Some(true)).then_some(Effect::Suspend(name))
}

/// The text of the run a person asks for.
pub(super) fn wanted_trigger(policy: &BackupPolicy) -> Option<&str> {
    policy.spec.trigger.as_ref()?.manual.as_deref()
}
