//! One look at a policy: runs that have ended are counted, problems found, objects compared with what is wanted, and the status
//! brought up to date.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::backup_policy::{BackupPolicyStatus, Role};
use printernizer_crds::{BackupPolicy, Reason};

use super::manifest::{Maker, is_applied};
use super::own::{Own, suspend, wanted_trigger};
use super::problem::{Problem, Stops};
use super::runs::{controller_of, role_of, run_of};
use super::schedule::{Scheduled, Schedules, schedules};
use super::{Effect, Observed, Plan, conditions, count, damage, due, needs, nodes, stuck, target};

/// How long before a backup begins it is looked up where its volumes are in use.
const BEFORE_A_RUN: SignedDuration = SignedDuration::from_secs(30);
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
    // Without an image no Jobs were looked at: those that were counted stay so.
    if seen.image.is_some() {
        count::count(&mut status, ended, &spec.target.location(), spec.acknowledged.is_some());
    }
    target::judge(policy, &mut status, seen.fresh_id);
    target::confirm(policy, &mut status);
    damage::forget_other_places(spec, &mut status);

    let (stuck, soon) = stuck::stuck(own.pods(seen), own.jobs_without_pods(seen), seen.now);
    let claims = needs::claims(spec);
    let node = nodes::node(claims.iter().map(|claim| claim.name), seen.found);
    let kept = claims.iter().filter(|claim| claim.is_written).map(|claim| claim.name);
    let target_node = nodes::node(kept, seen.found).ok().flatten();
    let given_up = node.as_ref().map(|node| own.waiting_in_vain(seen, node.as_deref())).unwrap_or_default();
    let missing = needs::missing(spec, seen.found);
    let foreign_access = own.foreign_access(policy, seen.access);
    let live_target = needs::live_target(spec, &status, seen.found);
    let unwatched =
        [missing.is_some(), node.is_err(), own.taken.is_some(), foreign_access.is_some(), live_target.is_some()];
    let look_soon = unwatched.contains(&true);
    let problems: Vec<Problem> = [
        target::problem(policy, &status),
        schedules.as_ref().err().cloned(),
        needs::contradiction(policy),
        missing,
        live_target.clone(),
        node.as_ref().err().cloned(),
        own.taken.clone(),
        foreign_access,
        stuck,
    ]
    .into_iter()
    .flatten()
    .collect();
    let stops = Stopping { problems: &problems, live_target: live_target.as_ref() };

    let mut effects = Vec::new();
    let schedules = schedules.ok();
    let node = node.ok().flatten();
    let mut stale = Vec::new();
    match (&schedules, seen.image) {
        (Some(schedules), Some(image)) if !stops.changes() => {
            let target_node = target_node.as_deref();
            let maker = Maker { policy, status: &status, image, node: node.as_deref(), target_node };
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
            for cron_job in own.prunes_to_end(seen, &status) {
                // It goes with its CronJob, which is made anew, suspended.
                let name = cron_job.metadata.name.as_ref();
                effects.retain(|e| !matches!(e, Effect::ApplyCronJob(c) if c.metadata.name.as_ref() == name));
                stale.push(Effect::DeleteCronJob(Box::new(cron_job.clone())));
            }
        }
        // There is no right to suspend either.
        (_, None) => {}
        _ => {
            let keeps_points = damage::keeps_points(&status).is_some();
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
        again.extend(bring_up(seen, &own, schedules, &stops, &mut status));
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

/// What the problems stop.
struct Stopping<'a> {
    problems: &'a [Problem],
    /// That of these which keeps backups from a volume that something else uses.
    live_target: Option<&'a Problem>,
}

impl Stopping<'_> {
    fn changes(&self) -> bool {
        self.problems.iter().any(|problem| problem.stops == Stops::Changes)
    }

    fn role(&self, role: Role) -> bool {
        self.problems.iter().any(|problem| problem.keeps_from_running(role))
    }

    /// Whether all is made and backups begin none the less, for something else uses the volume they would go to: restores of what
    /// may be there take their Jobs from a CronJob.
    fn only_suspends(&self, role: Role) -> bool {
        let mut others = self.problems.iter().filter(|problem| Some(*problem) != self.live_target);
        self.live_target.is_some_and(|it| it.keeps_from_running(role)) && !others.any(|it| it.keeps_from_running(role))
    }

    fn role_of(&self, cron_job: &CronJob) -> bool {
        role_of(&cron_job.metadata).is_some_and(|role| self.role(role))
    }
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
    if !stops.role(Role::Backup) || stops.only_suspends(Role::Backup) {
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
        let is_taken = is_taken(seen, own, scheduled);
        if stops.only_suspends(scheduled.role) && live.is_none() && !is_taken {
            effects.push(Effect::ApplyCronJob(Box::new(maker.cron_job(scheduled, true))));
        } else if stops.role(scheduled.role) {
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

/// Whether something else has the name of a CronJob that is wanted.
fn is_taken(seen: &Observed<'_>, own: &Own<'_>, wanted: &Scheduled) -> bool {
    let is_there = seen.cron_jobs.iter().any(|c| c.metadata.name.as_ref() == Some(&wanted.name));
    is_there && own.cron_job(&wanted.name).is_none()
}

/// Whether nothing of this role begins by itself, though nothing keeps it from running.
fn is_suspended(policy: &BackupPolicy, status: &BackupPolicyStatus, role: Role) -> bool {
    policy.spec.suspend || (role == Role::Prune && damage::keeps_points(status).is_some())
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
    stops: &Stopping<'_>,
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
        // What was never made, and is not made now, is not due either, and is not missed.
        let is_made = !stops.changes() && !stops.role(scheduled.role) && !is_taken(seen, own, scheduled);
        let is_nothing = live.is_none() && !is_made || stops.only_suspends(scheduled.role);
        let suspended = is_nothing || is_suspended(seen.policy, status, scheduled.role);
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
