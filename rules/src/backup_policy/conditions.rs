//! The conditions of a policy, from its status and the time alone: whoever computes them, after whatever pause, comes to the
//! same. What was not proven is not claimed: a backup that was never read back is not verified, and what was proven long ago
//! is proven no longer.

mod wrong;

use ConditionStatus::{False, True, Unknown};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::backup_policy::{BackupPolicyStatus, Role, RunReason, RunStatus};
use printernizer_crds::conditions::SetAt;
use printernizer_crds::{BackupPolicy, ConditionStatus, ConditionType, Conditions as _, Reason};

use super::cron::Cron;
use super::damage::{Kept, keeps_points};
use super::problem::Problem;
use super::schedule::Schedules;
use crate::print_job::status::words;

/// What the conditions follow from, beside the status.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The policy.
    pub policy: &'a BackupPolicy,
    /// Its schedules, where they can be.
    pub schedules: Option<&'a Schedules>,
    /// What keeps it from running.
    pub problem: Option<&'a Problem>,
    /// When the restore drill began that runs.
    pub drilling_since: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// A condition: its status, its reason, and its words.
type Says = (ConditionStatus, Reason, String);

/// The reason a run's end stands under in the API.
pub fn reason_of(reason: RunReason) -> Reason {
    match reason {
        RunReason::Succeeded => Reason::RunSucceeded,
        RunReason::InvalidConfiguration => Reason::InvalidConfiguration,
        RunReason::SourceUnavailable => Reason::SourceUnavailable,
        RunReason::SourceDamaged => Reason::SourceDamaged,
        RunReason::SourceEmpty => Reason::SourceEmpty,
        RunReason::TargetUnreachable => Reason::TargetUnreachable,
        RunReason::TargetRefused => Reason::TargetRefused,
        RunReason::TargetNotFound => Reason::TargetNotFound,
        RunReason::TargetFull => Reason::TargetFull,
        RunReason::RepositoryMissing => Reason::RepositoryMissing,
        RunReason::RepositoryReplaced => Reason::RepositoryReplaced,
        RunReason::WrongPassword => Reason::WrongPassword,
        RunReason::RepositoryLocked => Reason::RepositoryLocked,
        RunReason::RepositoryDamaged => Reason::RepositoryDamaged,
        RunReason::NoRecoveryPoint => Reason::NoRecoveryPoint,
        RunReason::RestoreDiffers => Reason::RestoreDiffers,
        RunReason::CopyFailed => Reason::CopyFailed,
        RunReason::Interrupted => Reason::Interrupted,
        RunReason::Failed => Reason::RunFailed,
    }
}

/// Whether a run that ended so has spoken with the target: whether it answers as it must. `None` where that was not found out.
fn reached(reason: RunReason) -> Option<bool> {
    match reason {
        RunReason::TargetUnreachable | RunReason::TargetRefused | RunReason::TargetNotFound => Some(false),
        RunReason::Succeeded
        | RunReason::SourceEmpty
        | RunReason::TargetFull
        | RunReason::RepositoryMissing
        | RunReason::RepositoryReplaced
        | RunReason::WrongPassword
        | RunReason::RepositoryLocked
        | RunReason::RepositoryDamaged
        | RunReason::NoRecoveryPoint
        | RunReason::RestoreDiffers
        | RunReason::CopyFailed => Some(true),
        RunReason::InvalidConfiguration
        | RunReason::SourceUnavailable
        | RunReason::SourceDamaged
        | RunReason::Interrupted
        | RunReason::Failed => None,
    }
}

/// Whether such an end is a verdict on what was backed up, and not only on the attempt to look at it.
fn is_verdict(reason: RunReason) -> bool {
    matches!(
        reason,
        RunReason::RepositoryMissing
            | RunReason::RepositoryReplaced
            | RunReason::RepositoryDamaged
            | RunReason::WrongPassword
            | RunReason::NoRecoveryPoint
            | RunReason::RestoreDiffers
            | RunReason::SourceDamaged
    )
}

/// Sets all conditions. Gives the next moment at which one of them changes by the time alone.
pub fn set(seen: &Seen<'_>, status: &mut BackupPolicyStatus) -> Option<Timestamp> {
    let mut teller = Teller { seen, status, next: None };
    let told = [
        (ConditionType::TargetReachable, teller.target_reachable()),
        (ConditionType::LastBackupSucceeded, teller.last_backup_succeeded()),
        (ConditionType::RecoveryPointObjectiveMet, teller.recovery_point()),
        (ConditionType::RecoveryTimeObjectiveMet, teller.recovery_time()),
        (ConditionType::IntegrityVerified, teller.verified(Role::Check)),
        (ConditionType::RestoreVerified, teller.verified(Role::RestoreDrill)),
    ];
    let next = teller.next;
    ready(seen, status);
    let at = at(seen);
    for (type_, (is, reason, text)) in told {
        status.conditions.set(type_, is, reason, text, &at);
    }
    status.observed_generation = seen.policy.metadata.generation;
    next
}

fn at(seen: &Seen<'_>) -> SetAt {
    SetAt { time: Time(seen.now), generation: seen.policy.metadata.generation }
}

/// Ready, and whether a person is needed.
fn ready(seen: &Seen<'_>, status: &mut BackupPolicyStatus) {
    let at = at(seen);
    let (is, reason, text) = match seen.problem {
        Some(problem) => (False, problem.reason, problem.message.clone()),
        None if seen.policy.spec.suspend => {
            let text = "suspended: nothing begins by itself; set spec.suspend to false to go on";
            (True, Reason::Suspended, text.to_owned())
        }
        None => {
            let prunes = match keeps_points(status) {
                None => String::new(),
                Some(Kept::Wrong) => {
                    ", but for prunes: nothing is forgotten while IntegrityVerified or RestoreVerified is False \
                                      for what was found wrong"
                        .to_owned()
                }
                Some(Kept::Lost(loss)) => format!(
                    ", but for prunes: {} found recovery points gone, and restic recover may bring back what they held. When \
                     there is nothing to bring back, set spec.acknowledged to {}",
                    loss.job_name, loss.job_name
                ),
            };
            (True, Reason::PolicyReady, format!("the policy runs as it is written{prunes}"))
        }
    };
    status.conditions.set(ConditionType::Ready, is, reason, text.clone(), &at);
    if is == False {
        status.conditions.set(ConditionType::Stalled, True, reason, text, &at);
    } else {
        status.conditions.unset(ConditionType::Stalled);
    }
}

struct Teller<'a> {
    seen: &'a Seen<'a>,
    status: &'a BackupPolicyStatus,
    next: Option<Timestamp>,
}

impl Teller<'_> {
    /// Whether a moment has come; if not, it is looked again then.
    fn has_come(&mut self, moment: Timestamp) -> bool {
        if moment <= self.seen.now {
            return true;
        }
        self.next = Some(self.next.map_or(moment, |next| next.min(moment)));
        false
    }

    /// A moment in the policy's own time.
    fn clock(&self, moment: Timestamp) -> String {
        let zone = self.seen.schedules.map_or(TimeZone::UTC, |schedules| schedules.zone.clone());
        moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    fn runs(&self) -> impl Iterator<Item = &RunStatus> {
        let status = self.status;
        [&status.last_backup, &status.last_check, &status.last_prune, &status.last_restore_drill].into_iter().flatten()
    }

    fn target_reachable(&mut self) -> Says {
        let telling = self.runs().filter_map(|run| Some((run, reached(run.reason)?)));
        let Some((run, answered)) = telling.max_by_key(|(run, _)| run.end_time.0).map(|(run, is)| (run.clone(), is))
        else {
            return (Unknown, Reason::NothingRunYet, "no run has spoken with the target yet".to_owned());
        };
        if !answered {
            return (False, reason_of(run.reason), run.message);
        }
        let old = self.twice_the_period_after(Role::Backup, run.end_time.0);
        if old.is_some_and(|old| self.has_come(old)) {
            let text = format!(
                "it answered {} last, {}; no run has spoken with it since, though two backups were due",
                run.job_name,
                self.clock(run.end_time.0)
            );
            return (Unknown, Reason::VerificationOutdated, text);
        }
        (True, Reason::TargetAnswers, format!("it answered {}", run.job_name))
    }

    fn last_backup_succeeded(&self) -> Says {
        let last = self.status.last_backup.as_ref();
        let missed = self.status.last_missed_time.as_ref().map(|t| t.0);
        if let Some(missed) = missed.filter(|missed| last.is_none_or(|last| last.end_time.0 < *missed)) {
            let text = format!(
                "the backup due at {} was not made: an older run was still under way, nothing could begin within {} \
                 (spec.startingDeadlineSeconds), or it waited for a node that its volumes had left. It is not made up for; set \
                 spec.trigger.manual to a new text to make one now",
                self.clock(missed),
                words(self.seen.policy.spec.starting_deadline_seconds)
            );
            return (False, Reason::BackupMissed, text);
        }
        let Some(last) = last else {
            return (Unknown, Reason::NothingRunYet, "no backup has ended yet".to_owned());
        };
        if last.reason == RunReason::Succeeded {
            let text = format!("{} made a recovery point of {}", last.job_name, self.clock(last.start_time.0));
            return (True, Reason::RunSucceeded, text);
        }
        let failures = self.status.consecutive_failures;
        let often = if failures > 1 { format!(" ({failures} times in a row)") } else { String::new() };
        (False, reason_of(last.reason), format!("{} failed{often}: {}", last.job_name, last.message))
    }

    fn recovery_point(&mut self) -> Says {
        let Some(seconds) = self.seen.policy.spec.objectives.recovery_point_seconds else {
            let text = "spec.objectives.recoveryPointSeconds says how much may be lost; it is not set";
            return (Unknown, Reason::NoObjective, text.to_owned());
        };
        let allowed = SignedDuration::from_secs(seconds);
        if let Some(point) = self.status.last_successful_time.as_ref().map(|t| t.0) {
            let newest = format!("the newest recovery point is of {}", self.clock(point));
            if !self.has_come(point.saturating_add(allowed).unwrap_or(Timestamp::MAX)) {
                return (True, Reason::ObjectiveMet, format!("{newest}; no older than {}", words(seconds)));
            }
            let gone = self.status.last_loss.as_ref().filter(|loss| loss.end_time.0 >= point);
            let gone = gone.map(|loss| format!("; {} found: {}", loss.job_name, loss.message)).unwrap_or_default();
            let text =
                format!("{newest}, longer ago than {}: what was written since would be lost{gone}", words(seconds));
            return (False, Reason::ObjectiveMissed, text);
        }
        if let Some(loss) = &self.status.last_loss {
            let text = format!("no recovery point is left, as {} found: {}", loss.job_name, loss.message);
            return (False, Reason::ObjectiveMissed, text);
        }
        let created = self.seen.policy.metadata.creation_timestamp.as_ref().map_or(self.seen.now, |t| t.0);
        if self.has_come(created.saturating_add(allowed).unwrap_or(Timestamp::MAX)) {
            let text = "there is no recovery point yet: everything would be lost";
            return (False, Reason::ObjectiveMissed, text.to_owned());
        }
        (Unknown, Reason::NothingRunYet, "no backup has ended yet".to_owned())
    }

    fn recovery_time(&mut self) -> Says {
        let Some(seconds) = self.seen.policy.spec.objectives.recovery_time_seconds else {
            let text = "spec.objectives.recoveryTimeSeconds says how long a restore may take; it is not set";
            return (Unknown, Reason::NoObjective, text.to_owned());
        };
        let allowed = words(seconds);
        if let Some(since) = self.seen.drilling_since {
            let limit = since.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
            if self.has_come(limit) {
                let text = format!("the restore drill that runs has taken longer than {allowed} already");
                return (False, Reason::ObjectiveMissed, text);
            }
        }
        let Some(drill) = self.status.last_restore_drill.clone() else {
            let (field, wanted) = self.wanted(Role::RestoreDrill);
            let advice = if wanted { String::new() } else { format!(": set {field}") };
            return (Unknown, Reason::NothingRunYet, format!("no restore drill has measured it yet{advice}"));
        };
        if let Some(says) = self.nothing_yet(&drill) {
            return says;
        }
        match (drill.reason, drill.restore_seconds) {
            (RunReason::Succeeded, Some(took)) if took <= seconds => {
                self.no_longer(Role::RestoreDrill, &drill).unwrap_or_else(|| {
                    let text = format!("{} restored in {}; allowed are {allowed}", drill.job_name, words(took));
                    (True, Reason::ObjectiveMet, text)
                })
            }
            (RunReason::Succeeded, Some(took)) => {
                let text = format!("{} took {} to restore; allowed are {allowed}", drill.job_name, words(took));
                (False, Reason::ObjectiveMissed, text)
            }
            (RunReason::Succeeded, None) => {
                (Unknown, Reason::NothingRunYet, format!("{} did not measure it", drill.job_name))
            }
            (reason, _) => (False, reason_of(reason), format!("{} failed: {}", drill.job_name, drill.message)),
        }
    }

    /// IntegrityVerified from the last check, RestoreVerified from the last drill.
    fn verified(&mut self, role: Role) -> Says {
        let (field, wanted) = self.wanted(role);
        let last = if role == Role::Check { &self.status.last_check } else { &self.status.last_restore_drill };
        let wrong = self.known_wrong(role, last.as_ref());
        let Some(last) = last.clone() else {
            return match wrong {
                Some(says) => says,
                None if wanted => (Unknown, Reason::NothingRunYet, "it has not been tried yet".to_owned()),
                None => (Unknown, Reason::NotVerified, format!("nobody looks: set {field}")),
            };
        };
        if let Some(says) = wrong {
            return says;
        }
        if let Some(says) = self.nothing_yet(&last) {
            return says;
        }
        if last.reason != RunReason::Succeeded {
            let is = if is_verdict(last.reason) { False } else { Unknown };
            return (is, reason_of(last.reason), format!("{} failed: {}", last.job_name, last.message));
        }
        if let Some(says) = self.no_longer(role, &last) {
            return says;
        }
        let when = self.clock(last.end_time.0);
        let text = match (role, &last.recovery_point_time, &last.snapshot) {
            (Role::Check, ..) => format!("{} found the repository whole, {when}", last.job_name),
            (_, Some(point), Some(snapshot)) => {
                let point = self.clock(point.0);
                format!(
                    "{} restored the recovery point of {point} ({snapshot}) and found all of it, {when}",
                    last.job_name
                )
            }
            _ => format!("{} restored the newest recovery point and found all of it, {when}", last.job_name),
        };
        (True, Reason::RunSucceeded, text)
    }

    /// The field that wants runs of this role, and whether it is set.
    fn wanted(&self, role: Role) -> (&'static str, bool) {
        let verification = &self.seen.policy.spec.verification;
        match role {
            Role::Check => ("spec.verification.check", verification.check.is_some()),
            _ => ("spec.verification.restoreDrill", verification.restore_drill.is_some()),
        }
    }

    /// Why what a good run has proven is proven no longer.
    fn no_longer(&mut self, role: Role, last: &RunStatus) -> Option<Says> {
        let (field, wanted) = self.wanted(role);
        let when = self.clock(last.end_time.0);
        if let Some(loss) = self.status.last_loss.as_ref().filter(|loss| loss.end_time.0 >= last.end_time.0) {
            return Some(self.lost(loss, &format!("last verified {when}")));
        }
        if !wanted {
            let text = format!("last verified {when}, and nobody looks any more: set {field}");
            return Some((Unknown, Reason::NotVerified, text));
        }
        let old = self.twice_the_period_after(role, last.end_time.0)?;
        self.has_come(old).then(|| {
            let text = format!("last verified {when}, more than two periods of {field}.schedule ago");
            (Unknown, Reason::VerificationOutdated, text)
        })
    }

    /// The second time a role is due after a moment, by the schedule that comes first. None where it is not due any more.
    fn twice_the_period_after(&self, role: Role, moment: Timestamp) -> Option<Timestamp> {
        let schedules = self.seen.schedules?;
        let second = |cron: &Cron| cron.next(cron.next(moment, &schedules.zone)?, &schedules.zone);
        schedules.all.iter().filter(|scheduled| scheduled.role == role).filter_map(|s| second(&s.cron)).min()
    }
}
