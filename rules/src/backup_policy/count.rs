//! Takes the ends of runs into the status, each once, in the order in which they ended.

use printernizer_crds::backup_policy::{
    BackupPolicyStatus, RepositoryFacts, RepositoryStatus, Role, RunReason, RunStatus,
};

use super::damage;
use super::runs::Run;

/// Most Jobs that are kept in mind. Kubernetes keeps six of each CronJob.
const MOST_JOBS: usize = 128;

/// Takes into account what has ended since the last look. `here` is where the spec wants the backups; `confirmed` is whether
/// a person has ever confirmed a change of that.
pub fn count(status: &mut BackupPolicyStatus, mut ended: Vec<Run>, here: &str, confirmed: bool) {
    ended.sort_by(|a, b| order(a).cmp(&order(b)));
    // The oldest of very many are not known any more, and must not be taken for new ones.
    let ended = ended.split_off(ended.len().saturating_sub(MOST_JOBS));
    let uids = ended.iter().map(|run| run.status.job_uid.clone()).collect();
    for run in ended {
        if !status.counted_jobs.contains(&run.status.job_uid) {
            one(status, run, here, confirmed);
        }
    }
    status.counted_jobs = uids;
    status.counted_jobs.sort();
}

fn order(run: &Run) -> (jiff::Timestamp, &str) {
    order_of(&run.status)
}

fn order_of(run: &RunStatus) -> (jiff::Timestamp, &str) {
    (run.end_time.0, &run.job_uid)
}

fn one(status: &mut BackupPolicyStatus, run: Run, here: &str, confirmed: bool) {
    let good = run.status.reason == RunReason::Succeeded;
    if let Some(facts) = &run.repository {
        found(status, facts, &run, here, confirmed);
    }
    // Before the first backup, and after a confirmed change, the place that counts is the spec's.
    let counts = status.repository.as_ref().map_or(here, |repository| &repository.location);
    if run.location.as_deref().is_some_and(|location| location != counts) {
        // It ran at a place whose backups count no longer.
        return;
    }
    for copy in &run.copies {
        // The first that was seen at its place counts, until a person gives it up. What is the target itself, or another copy, is
        // none.
        let is_target = status.repository.as_ref().is_some_and(|target| target.id == copy.id);
        if !is_target && !status.copies.iter().any(|known| known.location == copy.location || known.id == copy.id) {
            status.copies.push(copy.clone());
        }
    }
    damage::note(status, &run);
    if run.role != Role::Restore && is_loss(run.status.reason) && !was_made_meanwhile(status, &run) {
        lost(status, &run);
    }
    let last = match run.role {
        Role::Backup => &status.last_backup,
        Role::Check => &status.last_check,
        Role::Prune => &status.last_prune,
        Role::RestoreDrill => &status.last_restore_drill,
        // A person makes it and sees its end.
        Role::Restore => return,
    };
    // One that is heard of late says nothing of what came after it.
    let is_newest = last.as_ref().is_none_or(|last| order_of(last) < order(&run));
    if run.role == Role::Backup && good && !was_lost(status, &run.status) {
        let made = &run.status.start_time;
        if status.last_successful_time.as_ref().is_none_or(|last| last.0 <= made.0) {
            status.last_successful_time = Some(made.clone());
            status.last_recovery_point.clone_from(&run.status.snapshot);
            status.last_recovery_point_stored_time = Some(run.status.end_time.clone());
        }
    }
    if !is_newest {
        return;
    }
    match run.role {
        Role::Backup => {
            if good {
                status.consecutive_failures = 0;
            } else {
                status.consecutive_failures = status.consecutive_failures.saturating_add(1);
            }
            status.last_backup = Some(run.status);
        }
        Role::Check => status.last_check = Some(run.status),
        Role::Prune => status.last_prune = Some(run.status),
        Role::RestoreDrill => status.last_restore_drill = Some(run.status),
        Role::Restore => {}
    }
}

/// Whether a run that ended so has found that the recovery points are gone.
fn is_loss(reason: RunReason) -> bool {
    matches!(reason, RunReason::RepositoryMissing | RunReason::RepositoryReplaced | RunReason::NoRecoveryPoint)
}

/// A run has found that the recovery points are gone. They stay so, whatever later runs come to, until a backup makes one or
/// a run finds one.
fn lost(status: &mut BackupPolicyStatus, run: &Run) {
    // Also where no run was good that made some, as one whose copies failed.
    let is_first = || run.knows_repository && status.last_loss.is_none();
    if status.last_successful_time.as_ref().map_or_else(is_first, |made| made.0 <= run.status.end_time.0) {
        (status.last_successful_time, status.last_recovery_point) = (None, None);
        status.last_recovery_point_stored_time = None;
        (status.snapshot_count, status.oldest_recovery_point) = (None, None);
        status.last_loss = Some(run.status.clone());
    }
}

/// Whether what a run has made is known to be gone. One that found others gone has made its own.
fn was_lost(status: &BackupPolicyStatus, run: &RunStatus) -> bool {
    status.last_loss.as_ref().is_some_and(|loss| order_of(run) <= order_of(loss) && run.job_uid != loss.job_uid)
}

/// Whether the newest recovery point was stored after the run had begun: the run may have looked before.
fn was_made_meanwhile(status: &BackupPolicyStatus, run: &Run) -> bool {
    status.last_recovery_point_stored_time.as_ref().is_some_and(|stored| stored.0 > run.begin)
}

/// A run has found an older recovery point to be the newest than was made, or none. Ids begin with the time by the clock of the
/// node that made the point, which is what the newest is judged by; so they are compared, and no times of other clocks.
fn notice_missing(status: &mut BackupPolicyStatus, facts: &RepositoryFacts, run: &Run) {
    let Some(expected) = status.last_recovery_point.clone() else { return };
    let is_backup = run.role == Role::Backup;
    let newest = if is_backup { run.previous.clone() } else { run.status.snapshot.clone() };
    // Beside the one that it has made itself.
    let none_is_left = facts.snapshot_count <= i32::from(is_backup);
    let is_known = none_is_left || newest.is_some();
    if run.role == Role::Restore || (is_backup && run.status.reason != RunReason::Succeeded) {
        return;
    }
    if !is_known || is_loss(run.status.reason) || was_made_meanwhile(status, run) {
        return;
    }
    let newest = newest.filter(|_| !none_is_left);
    if newest.as_ref().is_some_and(|newest| *newest >= expected) {
        return;
    }
    let left =
        newest.as_ref().map_or_else(|| "none older was left".to_owned(), |newest| format!("{newest} was the newest"));
    let message = format!(
        "recovery points that were made are gone: {expected} was there, and {left}; find out who forgot snapshots at the target, \
         and look whether a copy has them"
    );
    status.last_loss = Some(RunStatus { reason: RunReason::NoRecoveryPoint, message, ..run.status.clone() });
    let time = facts.newest_recovery_point.clone().filter(|_| !is_backup && newest.is_some());
    status.last_successful_time = time.map(|time| time.min(run.status.start_time.clone()));
    status.last_recovery_point = newest;
    status.last_recovery_point_stored_time = None;
}

/// What a run found in its repository.
fn found(status: &mut BackupPolicyStatus, facts: &RepositoryFacts, run: &Run, here: &str, confirmed: bool) {
    let Some(location) = run.location.as_deref() else { return };
    // The first backup makes the place the one that counts: also where the spec names another one by now, which a person
    // then has to confirm. One who has confirmed that already is not asked again by a run that was on its way.
    if status.repository.is_none() && (location == here || !confirmed) && facts.snapshot_count > 0 {
        status.repository = Some(RepositoryStatus { location: location.to_owned(), id: facts.id.clone() });
    }
    if status.repository.as_ref().is_some_and(|r| r.location == location && r.id == facts.id) {
        notice_missing(status, facts, run);
        status.snapshot_count = Some(facts.snapshot_count);
        status.oldest_recovery_point.clone_from(&facts.oldest_recovery_point);
        status.repository_size_bytes = facts.size_bytes.filter(|bytes| *bytes >= 0).or(status.repository_size_bytes);
        // A status that was lost is made good by whoever looks into the repository first. A backup says itself what it made.
        let looked = run.role != Role::Backup && run.status.reason == RunReason::Succeeded;
        if looked && status.last_successful_time.is_none() && !was_lost(status, &run.status) {
            let newest = facts.newest_recovery_point.clone();
            status.last_successful_time = newest.map(|newest| newest.min(run.status.start_time.clone()));
            status.last_recovery_point.clone_from(&run.status.snapshot);
        }
    }
}
