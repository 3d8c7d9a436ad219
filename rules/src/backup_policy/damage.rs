//! What was seen damaged, and what was seen to restore to something else, is so until the opposite was proven: a look at a sample
//! that missed it proves nothing, and neither does a look that came to nothing. Until then nothing is pruned, for what is damaged
//! may be all there is, and what is older may be all that is whole.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::backup_policy::{
    BackupPolicySpec, BackupPolicyStatus, Reading, ReadingStatus, RepositoryStatus, Role, RunReason, RunStatus,
};

use super::needs;
use super::runs::{Run, is_further};

/// All of the data, in percent.
pub const ALL_DATA: i32 = 100;

/// What is known for which every recovery point is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept<'a> {
    /// Something was found wrong, and is not proven right.
    Wrong,
    /// This run found recovery points gone, and no person has said that they know. What those points held is there until a
    /// prune.
    Lost(&'a RunStatus),
}

/// For what every recovery point is kept, if for anything.
pub fn keeps_points(status: &BackupPolicyStatus) -> Option<Kept<'_>> {
    if status.last_damage.is_some() || status.last_difference.is_some() {
        return Some(Kept::Wrong);
    }
    let is_known = |loss: &&RunStatus| status.acknowledged_loss.as_ref() == Some(&loss.job_name);
    status.last_loss.as_ref().filter(|loss| !is_known(loss)).map(Kept::Lost)
}

/// Takes what a run has seen into the status.
pub fn note(status: &mut BackupPolicyStatus, run: &Run) {
    let found_broken = run.repository.as_ref().and_then(|facts| facts.broken_count).is_some_and(|count| count > 0);
    let is_damaged = run.status.reason == RunReason::RepositoryDamaged;
    // Older points that lost parts do not hide that the data itself is damaged.
    let is_worse_known =
        status.last_damage.as_ref().is_some_and(|damage| damage.reason == RunReason::RepositoryDamaged);
    if is_damaged || (found_broken && !is_worse_known) {
        let proven = status.last_whole_time.as_ref().map(|time| time.0);
        if keep(&mut status.last_damage, run.status.clone(), proven) {
            status.reading = None;
        }
    } else if run.role == Role::Check && proves_whole(&run.status) {
        whole(status, run.begin);
    } else if let Some((before, reading)) = run.reading {
        read_on(status, run, before, reading);
    }
    if status.last_damage.is_none() {
        status.reading = None;
    }
    if run.role != Role::RestoreDrill {
        return;
    }
    if run.status.reason == RunReason::RestoreDiffers {
        let good = |drill: &&RunStatus| drill.reason == RunReason::Succeeded;
        let proven = status.last_restore_drill.as_ref().filter(good).map(|drill| drill.start_time.0);
        let _ = keep(&mut status.last_difference, run.status.clone(), proven);
    } else if run.status.reason == RunReason::Succeeded {
        clear(&mut status.last_difference, run.begin);
    }
}

fn proves_whole(check: &RunStatus) -> bool {
    check.reason == RunReason::Succeeded && check.read_data_percent == Some(ALL_DATA)
}

/// Keeps the newest of what was seen, unless a look that began later has proven the opposite already: some ends are heard of late.
/// Gives whether it is.
fn keep(seen: &mut Option<RunStatus>, now: RunStatus, proven: Option<Timestamp>) -> bool {
    let known = seen.as_ref().map(|seen| seen.end_time.0).max(proven);
    let is_newer = known.is_none_or(|known| known < now.end_time.0);
    if is_newer {
        *seen = Some(now);
    }
    is_newer
}

/// A check that began after the damage was seen has read some parts and found them whole, from where others had ended. When
/// all have been read so, the damage is no more. What was stored meanwhile is in one part or another, and was not damaged then.
fn read_on(status: &mut BackupPolicyStatus, run: &Run, before: i32, reading: Reading) {
    if status.last_damage.as_ref().is_none_or(|damage| damage.end_time.0 > run.begin) {
        return;
    }
    let known = status.reading.clone().unwrap_or_default();
    // One that began anew, or goes on in the same parts of the same repositories with none left out.
    let same = reading.of == known.of && before <= known.done && is_same(&run.places, &known.places);
    let goes_on = before == 0 || same;
    if !goes_on || !(known.of == 0 || is_further(reading, known.told())) {
        return;
    }
    let begin = if before == 0 { run.begin } else { known.begin_time.map_or(run.begin, |time| time.0) };
    if reading.done == reading.of && run.status.reason == RunReason::Succeeded {
        whole(status, begin);
    }
    status.reading = Some(ReadingStatus {
        // The end of a run that came to nothing proves nothing of the last part.
        done: reading.done.min(reading.of - 1),
        of: reading.of,
        begin_time: Some(Time(begin)),
        places: run.places.clone(),
    });
}

/// Whether these are the same repositories, as far as their ids are known.
fn is_same(some: &[RepositoryStatus], others: &[RepositoryStatus]) -> bool {
    let is_same = |(a, b): (&RepositoryStatus, &RepositoryStatus)| {
        a.location == b.location && (a.id == b.id || a.id.is_empty() || b.id.is_empty())
    };
    some.len() == others.len() && some.iter().zip(others).all(is_same)
}

/// What was read of other places says nothing of those that count now: of a copy that is new none of the first parts was read.
pub fn forget_other_places(spec: &BackupPolicySpec, status: &mut BackupPolicyStatus) {
    let now: Vec<RepositoryStatus> = needs::targets(spec)
        .map(|target| {
            let location = target.location();
            let known = status.repository.iter().chain(&status.copies).find(|known| known.location == location);
            RepositoryStatus { id: known.map(|known| known.id.clone()).unwrap_or_default(), location }
        })
        .collect();
    if status.reading.as_ref().is_some_and(|reading| !is_same(&reading.places, &now)) {
        status.reading = None;
    }
}

/// Checks of which the first began then have found everything whole.
fn whole(status: &mut BackupPolicyStatus, begin: Timestamp) {
    clear(&mut status.last_damage, begin);
    let last = status.last_whole_time.take().map(|time| time.0);
    status.last_whole_time = last.max(Some(begin)).map(Time);
}

/// A look that began then has proven the opposite. By Kubernetes' clock: that of the look's node may be ahead.
fn clear(seen: &mut Option<RunStatus>, begin: Timestamp) {
    if seen.as_ref().is_some_and(|seen| seen.end_time.0 <= begin) {
        *seen = None;
    }
}
