//! What a run is told and what it says at its end: the whole agreement between the operator and the program in its pods.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Encryption, RepositoryStatus, Retention, Sources, Target, Verification};

/// Longest report, in bytes: what a kubelet keeps of a termination message.
pub const MAX_REPORT_BYTES: usize = 4096;
/// Longest message in a report, in bytes.
pub const MAX_REPORT_MESSAGE_BYTES: usize = 1024;
/// How a restore of objects begins what it writes to standard output: their length in bytes follows, and the end of the line.
pub const OBJECTS_HEADER: &str = "# objects, bytes: ";
/// Label of everything that belongs to a policy: its name.
pub const POLICY_LABEL: &str = "printernizer.io/backup-policy";
/// Label of Jobs and Pods of a policy: what they do, a [`Role`] in its label form.
pub const ROLE_LABEL: &str = "printernizer.io/backup-role";

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum Role {
    /// Makes a recovery point.
    Backup,
    /// Reads the repository and compares it with its checksums.
    Check,
    /// Forgets what is kept no longer and gives its room back.
    Prune,
    /// Restores the newest recovery point into scratch space and verifies it.
    RestoreDrill,
    /// Restores a recovery point for use.
    Restore,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Backup, Self::Check, Self::Prune, Self::RestoreDrill, Self::Restore];

    /// The role as it stands in labels, names of objects and on the command line.
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Check => "check",
            Self::Prune => "prune",
            Self::RestoreDrill => "drill",
            Self::Restore => "restore",
        }
    }
}

/// The environment variable with what a run is told.
pub const CONFIGURATION_VARIABLE: &str = "PRINTERNIZER_BACKUP";

/// How far all of the data has been read, part by part, since damage was seen: one run may not have the time for all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Parts that were read and found whole, at the target and at every copy, the first ones.
    #[schemars(range(min = 0, max = 256))]
    pub done: i32,
    /// How many parts there are. 0 where it was not begun.
    #[schemars(range(min = 0, max = 256))]
    pub of: i32,
}

/// What a run is told, as JSON in [`CONFIGURATION_VARIABLE`]. No secrets: those have variables of their own, filled from Secrets by
/// the kubelet.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunConfiguration {
    /// Namespace of the policy.
    pub namespace: String,
    /// Name of the policy. With the namespace it is the host of its snapshots in the repository: a run touches no others.
    pub policy: String,
    /// What is backed up.
    pub sources: Sources,
    /// Where to.
    pub target: Target,
    /// Further places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Target>,
    /// The password's whereabouts.
    pub encryption: Encryption,
    /// What is kept.
    pub retention: Retention,
    /// How it is proven.
    pub verification: Verification,
    /// Id of the repository that held the policy's backups so far. With it a run never begins another one: an empty or a
    /// different repository at the target is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<String>,
    /// The repositories that held the copies so far: the same of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy_repositories: Vec<RepositoryStatus>,
    /// Of a check that is to read everything: how far others came, from where it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// How long the run may take, in seconds, where it is to end well before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
}

impl RunConfiguration {
    /// The host that stands at the policy's snapshots in the repository.
    pub fn host(&self) -> String {
        format!("{}.{}", self.policy, self.namespace)
    }
}

/// How a run ended: the termination message of its pod, as JSON of at most [`MAX_REPORT_BYTES`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What the run did.
    pub role: Role,
    /// How it ended, and why.
    pub reason: RunReason,
    /// The same in words: what was done, or what a person has to do.
    pub message: String,
    /// When it began (UTC). A recovery point is as old as this.
    pub start_time: Time,
    /// When it ended (UTC).
    pub end_time: Time,
    /// The recovery point that was made, verified or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Age of that recovery point: when its backup began (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_point_time: Option<Time>,
    /// What the repository holds of this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryFacts>,
    /// Bytes that were read from the sources, or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Bytes that were new and stored, or that were freed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_changed: Option<i64>,
    /// Seconds a restore took, from the first byte asked for to the last one verified: the measured recovery time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_seconds: Option<i64>,
    /// How much of the data a check was told to read, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_data_percent: Option<i32>,
    /// The newest recovery point there was before a backup made its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_snapshot: Option<String>,
    /// The ids of the copies' repositories in their order, as far as they were found to be the policy's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy_ids: Vec<Option<String>>,
    /// How far a check came that goes on where others ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// How far those had come before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_before: Option<i32>,
}

/// What a repository holds of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryFacts {
    /// The repository's own id.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Whole recovery points of the policy.
    #[schemars(range(min = 0))]
    pub snapshot_count: i32,
    /// Recovery points that were whole once and lack parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub broken_count: Option<i32>,
    /// Age of the oldest (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_recovery_point: Option<Time>,
    /// Age of the newest (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_recovery_point: Option<Time>,
    /// Size of the repository in bytes, everybody's in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub size_bytes: Option<i64>,
}

/// How a run ended. What is not `Succeeded` has failed, as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum RunReason {
    /// All of it was done.
    Succeeded,
    /// What the run was told cannot be.
    InvalidConfiguration,
    /// A source is not there or cannot be read.
    SourceUnavailable,
    /// A source was read and is damaged.
    SourceDamaged,
    /// A source was read and there is nothing in it.
    SourceEmpty,
    /// The target does not answer.
    TargetUnreachable,
    /// The target answers and refuses.
    TargetRefused,
    /// The bucket, or the volume's directory, is not there.
    TargetNotFound,
    /// The target is full.
    TargetFull,
    /// No repository is where the policy's backups were.
    RepositoryMissing,
    /// Another repository is where the policy's backups were.
    RepositoryReplaced,
    /// The password does not open the repository.
    WrongPassword,
    /// Another run held the repository for too long.
    RepositoryLocked,
    /// The repository is damaged, or a recovery point lost parts.
    RepositoryDamaged,
    /// There is no recovery point to restore, or those there were are gone.
    NoRecoveryPoint,
    /// What was restored is not what was backed up.
    RestoreDiffers,
    /// At the target all is done, and at one of the copies it is not.
    CopyFailed,
    /// The run was told to stop, or took too long.
    Interrupted,
    /// Anything else; the message says what.
    Failed,
}

impl Report {
    /// Whether all of it was done.
    pub fn succeeded(&self) -> bool {
        self.reason == RunReason::Succeeded
    }
}
