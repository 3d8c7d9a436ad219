//! Another target than the one that holds the backups: nobody begins anew by a typing error. Nothing runs until the target
//! is set back or a person has confirmed the change. And what else a person confirms: a loss, and a copy that is given up.

use printernizer_crds::backup_policy::{BackupPolicyStatus, RepositoryStatus, Target, TargetChange};
use printernizer_crds::{BackupPolicy, Reason};

use super::problem::{Problem, Stops};
use crate::plan::without_effect;

/// Compares the spec's target with the place that holds the backups, and brings `targetChange` up to date.
pub fn judge(policy: &BackupPolicy, status: &mut BackupPolicyStatus, fresh_id: &str) {
    let to = policy.spec.target.location();
    let Some(from) = status.repository.as_ref().map(|r| r.location.clone()).filter(|from| *from != to) else {
        status.target_change = None;
        return;
    };
    let known = status.target_change.take().filter(|change| change.from == from && change.to == to);
    if let Some(change) = &known
        && policy.spec.acknowledged.as_ref() == Some(&change.id)
    {
        begin_anew(policy, status);
        return;
    }
    status.target_change = Some(known.unwrap_or_else(|| TargetChange { id: fresh_id.to_owned(), from, to }));
}

/// Takes into the status what else a person has confirmed, for the next confirmation is written over it; and forgets copies that
/// nobody wants any more.
pub fn confirm(policy: &BackupPolicy, status: &mut BackupPolicyStatus) {
    let wanted: Vec<String> = policy.spec.copies.iter().map(Target::location).collect();
    let written = policy.spec.acknowledged.as_ref();
    // Once: what comes back to its place, or is seen at another one, is known again, whatever stands in the spec.
    let newly = written.filter(|_| status.last_acknowledged.as_ref() != written);
    let target = status.repository.as_ref().map(|target| &target.id);
    let is_copy = |copy: &RepositoryStatus| newly != Some(&copy.id) && target != Some(&copy.id);
    status.copies.retain(|copy| wanted.contains(&copy.location) && is_copy(copy));
    status.last_acknowledged = written.cloned();
    let loss = status.last_loss.as_ref().map(|loss| &loss.job_name);
    if written.is_some() && loss == written {
        status.acknowledged_loss = written.cloned();
    }
}

/// What was known of the backups was known of those at the old place; but damage may be that of a copy that stays.
fn begin_anew(policy: &BackupPolicy, status: &mut BackupPolicyStatus) {
    let is_wanted =
        |copy: &RepositoryStatus| policy.spec.copies.iter().any(|wanted| wanted.location() == copy.location);
    let stays = status.copies.iter().any(is_wanted);
    *status = BackupPolicyStatus {
        conditions: std::mem::take(&mut status.conditions),
        cron_jobs: std::mem::take(&mut status.cron_jobs),
        counted_jobs: std::mem::take(&mut status.counted_jobs),
        last_manual_trigger: status.last_manual_trigger.take(),
        last_missed_time: status.last_missed_time.take(),
        copies: std::mem::take(&mut status.copies),
        last_damage: status.last_damage.take().filter(|_| stays),
        ..BackupPolicyStatus::default()
    };
}

/// What a person is told of a change that nobody has confirmed.
pub fn problem(policy: &BackupPolicy, status: &BackupPolicyStatus) -> Option<Problem> {
    let change = status.target_change.as_ref()?;
    let TargetChange { id, from, to } = change;
    let mut text = format!(
        "the backups are at {from}, and spec.target is {to}: nothing runs. Set spec.target back, or begin anew at the new \
         place by setting spec.acknowledged to {id}; what is at the old one stays there"
    );
    if let Some(written) = policy.spec.acknowledged.as_ref().filter(|written| !written.is_empty()) {
        text.push_str(&without_effect("spec.acknowledged", written, id));
    }
    Some(Problem::new(Stops::Everything, Reason::TargetChanged, text))
}
