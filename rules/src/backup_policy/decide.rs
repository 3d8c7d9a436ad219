//! One look at a policy: runs that have ended are counted, problems found, objects compared with what is wanted, and the status
//! brought up to date.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use printernizer_crds::backup_policy::{BackupPolicyStatus, Role};
use printernizer_crds::{BackupPolicy, Reason};

use super::manifest::{Access, Maker, is_applied};
use super::names::manual_job_name;
use super::problem::{Problem, Stops};
use super::runs::{controller_of, has_ended, is_unread, role_of, run_of};
use super::schedule::{Scheduled, Schedules, schedules};
use super::{Effect, Observed, Plan, conditions, count, damage, due, needs, nodes, stuck, target};

/// How long before a backup begins it is looked up where its volumes are in use.
const BEFORE_A_RUN: SignedDuration = SignedDuration::from_secs(30);
/// How long the pod of a backup may wait for a node when its volumes are in use on another one by then.
const WAITS_IN_VAIN: SignedDuration = SignedDuration::from_mins(5);
/// How soon it is looked again whether what is missing, and not watched, is there.
const MISSING: SignedDuration = SignedDuration::from_secs(30);

/// Decides about a policy.
pub fn decide(seen: &Observed<'_>) -> Plan {
    let policy = seen.policy;
    if policy.metadata.deletion_timestamp.is_some() {
        // What is owned goes with it.
        return Plan::default();
    }
    let mut status = policy.status.clone().unwrap_or_default();
    let schedules = schedules(policy);
    let own = Own::of(seen, schedules.as_ref().ok());
    let ended = own.jobs.iter().filter_map(|job| run_of(job, seen.pods)).collect();
    let spec = &policy.spec;
    count::count(&mut status, ended, &spec.target.location(), spec.acknowledged.is_some());
    target::judge(policy, &mut status, seen.fresh_id);

    let (stuck, soon) = stuck::stuck(own.pods(seen), own.jobs_without_pods(seen), seen.now);
    let node = nodes::node(needs::sources(spec), seen.found);
    let given_up = node.as_ref().map(|node| own.waiting_in_vain(seen, node.as_deref())).unwrap_or_default();
    let missing = needs::missing(spec, seen.found);
    let foreign_access = own.foreign_access(policy, seen.access);
    let look_soon = missing.is_some() || node.is_err() || own.taken.is_some() || foreign_access.is_some();
    let problems: Vec<Problem> = [
        target::problem(policy, &status),
        schedules.as_ref().err().cloned(),
        needs::contradiction(policy),
        missing,
        node.as_ref().err().cloned(),
        own.taken.clone(),
        foreign_access,
        stuck,
    ]
    .into_iter()
    .flatten()
    .collect();
    let stops = Stopping(&problems);

    let mut effects = Vec::new();
    let schedules = schedules.ok();
    let node = node.ok().flatten();
    let mut stale = Vec::new();
    match (&schedules, seen.image) {
        (Some(schedules), Some(image)) if !stops.changes() => {
            let maker = Maker { policy, status: &status, image, node: node.as_deref() };
            effects = objects(seen, &own, schedules, &maker, &stops);
            effects.extend(manual(&own, &maker, &stops));
            stale = own.stale(schedules, seen.pods);
            for (cron_job, waiting) in given_up.iter().filter(|(_, waiting)| waiting.is_over(seen.now)) {
                // Made anew at the next look, for where the volumes are in use then.
                let name = cron_job.metadata.name.as_ref();
                effects.retain(|e| !matches!(e, Effect::ApplyCronJob(c) if c.metadata.name.as_ref() == name));
                stale.push(Effect::DeleteCronJob(Box::new((*cron_job).clone())));
                let missed = status.last_missed_time.take().filter(|last| last.0 > waiting.due);
                status.last_missed_time = Some(missed.unwrap_or(Time(waiting.due)));
            }
        }
        // There is no right to suspend either.
        (_, None) => {}
        _ => {
            let keeps_points = damage::keeps_points(policy, &status).is_some();
            let is_to_keep = |c: &CronJob| role_of(&c.metadata) == Some(Role::Prune) && keeps_points;
            let stopped = own.cron_jobs.iter().filter(|c| stops.role_of(c) || is_to_keep(c));
            effects.extend(stopped.filter_map(|c| suspend(c)));
        }
    }
    if effects.iter().any(|effect| matches!(effect, Effect::CreateJob(_))) || own.has_manual(policy) {
        status.last_manual_trigger = wanted_trigger(policy).map(str::to_owned);
    }

    let mut again = vec![soon];
    again.extend(given_up.iter().map(|(_, waiting)| waiting.end()));
    // What nobody looks at is not due, and is not missed.
    if let Some(schedules) = schedules.as_ref().filter(|_| seen.image.is_some()) {
        again.extend(bring_up(seen, &own, schedules, &mut status));
    }
    if seen.image.is_none() || stops.role(Role::Backup) {
        status.next_schedule_time = None;
    }
    let unset = seen.image.is_none().then(image_unset);
    let most = problems.iter().max_by(|a, b| a.stops.cmp(&b.stops).then(std::cmp::Ordering::Greater));
    // Without an image nothing of the policy was looked for, so no other problem is known.
    let told = unset.as_ref().or(most);
    let seen_by = conditions::Seen {
        policy,
        schedules: schedules.as_ref(),
        problem: told,
        drilling_since: own.drilling_since(seen),
        now: seen.now,
    };
    again.push(conditions::set(&seen_by, &mut status));
    if look_soon && seen.image.is_some() {
        again.push(seen.now.checked_add(MISSING).ok());
    }
    if policy.status.as_ref() != Some(&status) {
        effects.push(Effect::WriteStatus(Box::new(status)));
    }
    // What they have done was taken into the status before they go.
    effects.extend(stale);
    Plan { effects, look_again: again.into_iter().flatten().filter(|moment| *moment > seen.now).min() }
}

fn image_unset() -> Problem {
    let text = "the operator was not told the image of the pods, so it makes nothing and looks at nothing that was made: start \
                it with --backup-image, in the chart backup.image.repository";
    Problem::new(Stops::Changes, Reason::BackupImageUnset, text)
}

/// The text of the run a person asks for.
fn wanted_trigger(policy: &BackupPolicy) -> Option<&str> {
    policy.spec.trigger.as_ref()?.manual.as_deref()
}

/// What the problems stop.
struct Stopping<'a>(&'a [Problem]);

impl Stopping<'_> {
    fn changes(&self) -> bool {
        self.0.iter().any(|problem| problem.stops == Stops::Changes)
    }

    fn role(&self, role: Role) -> bool {
        self.0.iter().any(|problem| problem.keeps_from_running(role))
    }

    fn role_of(&self, cron_job: &CronJob) -> bool {
        role_of(&cron_job.metadata).is_some_and(|role| self.role(role))
    }
}

/// What belongs to the policy, of what carries its label.
struct Own<'a> {
    cron_jobs: Vec<&'a CronJob>,
    jobs: Vec<&'a Job>,
    uid: &'a str,
    taken: Option<Problem>,
}

impl<'a> Own<'a> {
    fn of(seen: &Observed<'a>, schedules: Option<&Schedules>) -> Self {
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
    fn foreign_access(&self, policy: &BackupPolicy, live: &Access) -> Option<Problem> {
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
    fn pods<'p>(&self, seen: &Observed<'p>) -> impl Iterator<Item = &'p Pod> {
        let jobs: Vec<&str> = self.jobs.iter().filter_map(|job| job.metadata.uid.as_deref()).collect();
        seen.pods.iter().filter(move |pod| controller_of(&pod.metadata).is_some_and(|by| jobs.contains(&by)))
    }

    fn cron_job(&self, name: &str) -> Option<&'a CronJob> {
        self.cron_jobs.iter().find(|c| c.metadata.name.as_deref() == Some(name)).copied()
    }

    /// Jobs made for a person that still run.
    fn manual_runs(&self) -> bool {
        self.jobs.iter().any(|job| controller_of(&job.metadata) == Some(self.uid) && !has_ended(job))
    }

    /// Whether the Job a person asks for is there.
    fn has_manual(&self, policy: &BackupPolicy) -> bool {
        let Some(trigger) = wanted_trigger(policy) else { return false };
        let name = manual_job_name(policy.metadata.name.as_deref().unwrap_or_default(), self.uid, trigger);
        self.jobs.iter().any(|job| job.metadata.name.as_ref() == Some(&name))
    }

    /// CronJobs that are wanted no more: suspended while a Job of theirs runs, then deleted.
    fn stale(&self, schedules: &Schedules, pods: &[Pod]) -> Vec<Effect> {
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
    fn jobs_without_pods<'p>(&'p self, seen: &Observed<'p>) -> impl Iterator<Item = &'p Job> {
        let makers: Vec<&str> = seen.pods.iter().filter_map(|pod| controller_of(&pod.metadata)).collect();
        let is_seen = move |job: &Job| job.metadata.uid.as_deref().is_some_and(|uid| makers.contains(&uid));
        self.jobs.iter().copied().filter(move |job| !has_ended(job) && !is_seen(job))
    }

    /// CronJobs whose Job waits for another node than the one its volumes are in use on by now, and since when: its pods cannot
    /// be moved, and Kubernetes begins no other run beside it. The Job goes with its CronJob. Where nothing uses the volumes,
    /// the node it waits for may take it yet; and what a person made of the CronJob is theirs to end.
    fn waiting_in_vain(&self, seen: &Observed<'_>, node: Option<&str>) -> Vec<(&'a CronJob, Waiting)> {
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
        self.cron_jobs.iter().filter_map(waits).collect()
    }

    /// When the restore drill began that runs.
    fn drilling_since(&self, seen: &Observed<'_>) -> Option<Timestamp> {
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
struct Waiting {
    /// Since when the pod is there.
    since: Timestamp,
    /// When the run was due.
    due: Timestamp,
}

impl Waiting {
    /// When its run is given up.
    fn end(self) -> Option<Timestamp> {
        self.since.checked_add(WAITS_IN_VAIN).ok()
    }

    fn is_over(self, now: Timestamp) -> bool {
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
fn suspend(cron_job: &CronJob) -> Option<Effect> {
    let name = cron_job.metadata.name.clone()?;
    (cron_job.spec.suspend != Some(true)).then_some(Effect::Suspend(name))
}

/// What is to be applied: the account first, then the CronJobs. What is stopped is suspended and otherwise left as it is.
fn objects(
    seen: &Observed<'_>,
    own: &Own<'_>,
    schedules: &Schedules,
    maker: &Maker<'_>,
    stops: &Stopping<'_>,
) -> Vec<Effect> {
    let mut effects = Vec::new();
    if !stops.role(Role::Backup) {
        let (wanted, live) = (maker.access(), seen.access);
        let account = wanted.account.filter(|wanted| !is_applied(wanted, live.account.as_ref()));
        effects.extend(account.map(|object| Effect::ApplyAccount(Box::new(object))));
        let was_given = live.role.as_ref().is_some_and(|role| controller_of(&role.metadata) == Some(own.uid));
        let role = wanted.role.or_else(|| was_given.then(|| maker.powerless()));
        let role = role.filter(|wanted| !is_applied(wanted, live.role.as_ref()));
        effects.extend(role.map(|object| Effect::ApplyRole(Box::new(object))));
        let binding = wanted.binding.filter(|wanted| !is_applied(wanted, live.binding.as_ref()));
        effects.extend(binding.map(|object| Effect::ApplyBinding(Box::new(object))));
    }
    for scheduled in &schedules.all {
        let live = own.cron_job(&scheduled.name);
        let is_taken =
            live.is_none() && seen.cron_jobs.iter().any(|c| c.metadata.name.as_ref() == Some(&scheduled.name));
        if stops.role(scheduled.role) {
            effects.extend(live.and_then(suspend));
        } else if !is_taken {
            let wanted = maker.cron_job(scheduled, is_suspended(seen.policy, maker.status, scheduled.role));
            if !is_applied(&wanted, live) {
                effects.push(Effect::ApplyCronJob(Box::new(wanted)));
            }
        }
    }
    effects
}

/// Whether nothing of this role begins by itself, though nothing keeps it from running.
fn is_suspended(policy: &BackupPolicy, status: &BackupPolicyStatus, role: Role) -> bool {
    policy.spec.suspend || (role == Role::Prune && damage::keeps_points(policy, status).is_some())
}

/// The Job a person asks for with a new text. One at a time: the next waits for the end of the one before.
fn manual(own: &Own<'_>, maker: &Maker<'_>, stops: &Stopping<'_>) -> Option<Effect> {
    let trigger = wanted_trigger(maker.policy)?;
    let is_new = maker.status.last_manual_trigger.as_deref() != Some(trigger) && !own.has_manual(maker.policy);
    (is_new && !stops.role(Role::Backup) && !own.manual_runs())
        .then(|| Effect::CreateJob(Box::new(maker.manual(trigger))))
}

/// Brings the schedules in the status up to date. Gives the moments at which they are to be looked at again.
fn bring_up(
    seen: &Observed<'_>,
    own: &Own<'_>,
    schedules: &Schedules,
    status: &mut BackupPolicyStatus,
) -> Vec<Option<Timestamp>> {
    let spec = &seen.policy.spec;
    let zone = (spec.time_zone.as_str(), &schedules.zone);
    let before = std::mem::take(&mut status.cron_jobs);
    let known = |scheduled: &Scheduled| before.iter().find(|c| c.name == scheduled.name);
    let mut again = Vec::new();
    status.next_schedule_time = None;
    for scheduled in &schedules.all {
        let live = own.cron_job(&scheduled.name);
        let deadline = spec.starting_deadline_seconds;
        let suspended = is_suspended(seen.policy, status, scheduled.role);
        let due = due::due(scheduled, zone, live, known(scheduled), suspended, deadline, seen.now);
        if let Some(next) = due.status.next_schedule_time.as_ref().map(|t| t.0) {
            let grace = SignedDuration::from_secs(deadline.saturating_add(due::HEARD_OF_SECONDS));
            again.push(next.checked_add(grace).ok());
            if scheduled.role == Role::Backup {
                again.push(next.checked_sub(BEFORE_A_RUN).ok());
                let first = status.next_schedule_time.take().filter(|first| first.0 <= next);
                status.next_schedule_time = Some(first.unwrap_or(Time(next)));
            }
        }
        if let Some(missed) = due.missed.filter(|_| scheduled.role == Role::Backup) {
            let latest = status.last_missed_time.take().filter(|last| last.0 > missed);
            status.last_missed_time = Some(latest.unwrap_or(Time(missed)));
        }
        status.cron_jobs.push(due.status);
    }
    again
}
