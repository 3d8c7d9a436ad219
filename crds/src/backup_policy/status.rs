//! What is known of a policy's backups.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Reading, Role, RunReason};

/// Status of a BackupPolicy, written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicyStatus {
    /// Generation of the spec this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, TargetReachable, LastBackupSucceeded, RecoveryPointObjectiveMet, RecoveryTimeObjectiveMet, IntegrityVerified
    /// and RestoreVerified, each with a reason and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The CronJobs of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub cron_jobs: Vec<CronJobStatus>,
    /// The last backup that ended, good or bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<RunStatus>,
    /// Age of the newest good recovery point: when its backup began (UTC). What was written later would be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,
    /// That recovery point, as a restore names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_recovery_point: Option<String>,
    /// When the run that stored it had ended (UTC). A run that began before may have looked when it was not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_recovery_point_stored_time: Option<Time>,
    /// When the next backup is due (UTC); absent while the policy is suspended, or cannot back up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// The latest time a backup was due that was not made in time; it is not made up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed_time: Option<Time>,
    /// Age of the oldest recovery point (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_recovery_point: Option<Time>,
    /// Whole recovery points at the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub snapshot_count: Option<i32>,
    /// Size of the repository in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub repository_size_bytes: Option<i64>,
    /// The repository that holds the backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryStatus>,
    /// The repositories of spec.copies, as they were seen first. A run never begins another one at such a place, until the id is
    /// written into spec.acknowledged, or the copy was taken out of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["location".into()]))]
    pub copies: Vec<RepositoryStatus>,
    /// Present while spec.target names another place than the one that holds the backups: nothing runs until it is set back or
    /// the change is confirmed in spec.acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_change: Option<TargetChange>,
    /// The last run that found recovery points gone, all or the newest of them: the repository was missing or another one, or they
    /// were not in it. What was verified before it is verified no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_loss: Option<RunStatus>,
    /// The jobName of the lastLoss that a person has confirmed in spec.acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub acknowledged_loss: Option<String>,
    /// The spec.acknowledged that was taken into account last: a copy is given up when its id is newly written there, and is known
    /// again when it is seen after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_acknowledged: Option<String>,
    /// The last run that found the repository, a copy or a recovery point damaged; its reason is how that run itself ended, which may
    /// have been well. Present until checks that began later have read everything, in one go or part by part (reading), and found all
    /// of it whole; until then nothing is pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_damage: Option<RunStatus>,
    /// How far checks have read everything since then, each from where the one before it ended. When all parts were found whole
    /// lastDamage ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<ReadingStatus>,
    /// When the check began, or the first of those, that found everything whole last (UTC). Damage that a run had seen before it is
    /// no more, also where that run is heard of late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_whole_time: Option<Time>,
    /// The last restore drill that restored something else than was backed up. Present until one that began later restores all
    /// of it; until then nothing is pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_difference: Option<RunStatus>,
    /// Backups that failed since the last good one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub consecutive_failures: i32,
    /// The spec.trigger.manual whose run was begun last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_manual_trigger: Option<String>,
    /// UIDs of the Jobs that are still there and whose end has been taken into account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub counted_jobs: Vec<String>,
    /// The last check that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check: Option<RunStatus>,
    /// The last prune that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_prune: Option<RunStatus>,
    /// The last restore drill that ended; its seconds are the measured recovery time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_restore_drill: Option<RunStatus>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &i32) -> bool {
    *count == 0
}

/// One CronJob of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronJobStatus {
    /// What its pods do.
    pub role: Role,
    /// Name of the CronJob.
    #[schemars(length(max = 52))]
    pub name: String,
    /// Its schedule as it was made from the policy's: five fields.
    #[schemars(length(max = 100))]
    pub schedule: String,
    /// Time zone of the schedule.
    #[schemars(length(max = 64))]
    pub time_zone: String,
    /// When it is due next (UTC); absent while the policy is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// When it ran last (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Name of its Job.
    #[schemars(length(max = 63))]
    pub job_name: String,
    /// UID of its Job.
    #[schemars(length(max = 64))]
    pub job_uid: String,
    /// When it began (UTC).
    pub start_time: Time,
    /// When it ended (UTC).
    pub end_time: Time,
    /// How it ended.
    pub reason: RunReason,
    /// The same in words, or what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The recovery point that was made or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub snapshot: Option<String>,
    /// Age of that recovery point: when its backup began (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_point_time: Option<Time>,
    /// Bytes that were read from the sources, or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub bytes: Option<i64>,
    /// Bytes that were new and stored, or that were freed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub bytes_changed: Option<i64>,
    /// Seconds the restore took: the measured recovery time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub restore_seconds: Option<i64>,
    /// How much of the data a check was told to read, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub read_data_percent: Option<i32>,
}

/// How far checks have read everything since damage was seen, part by part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadingStatus {
    /// Parts that were read and found whole, at the target and at every copy, the first ones.
    #[schemars(range(min = 0, max = 256))]
    pub done: i32,
    /// How many parts there are.
    #[schemars(range(min = 0, max = 256))]
    pub of: i32,
    /// When the first of these checks began (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin_time: Option<Time>,
    /// What they read: the repositories of the target and of its copies. When they are others it is begun anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub places: Vec<RepositoryStatus>,
}

impl ReadingStatus {
    /// As a run is told of it.
    pub fn told(&self) -> Reading {
        Reading { done: self.done, of: self.of }
    }
}

/// A repository that holds a policy's backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// Where it is: endpoint, bucket and prefix, or claim and directory.
    #[schemars(length(max = 700))]
    pub location: String,
    /// The repository's own id; a run never begins another one at this place.
    #[schemars(length(max = 64))]
    pub id: String,
}

/// A change of the target that nobody has confirmed yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetChange {
    /// What to write into spec.acknowledged to confirm it.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Where the backups are.
    #[schemars(length(max = 700))]
    pub from: String,
    /// What spec.target names now.
    #[schemars(length(max = 700))]
    pub to: String,
}
