//! What a person writes of their backups.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{BackupPolicyStatus, Sources, Target};
use crate::common::SecretKeyReference;
use crate::print_job::TolerationOperator;

/// What a schedule must look like: a macro or five fields of what cron knows. Whether the numbers fit is the operator's
/// to judge, and so is the time zone's name.
const SCHEDULE_RULE: &str = r"self.matches('^@(hourly|daily|midnight|weekly|monthly|yearly|annually)$') || self.matches('^[0-9A-Za-z*,/?-]+( +[0-9A-Za-z*,/?-]+){4}$')";
/// Target and copies that are in S3 are reached alike: restic, which copies from the one to the other, knows one key and one set
/// of options.
const ONE_KEY_RULE: &str = "!has(self.target.s3) || !has(self.copies) || self.copies.all(c, !has(c.s3) || \
    (c.s3.credentialsSecretRef.name == self.target.s3.credentialsSecretRef.name && \
    (has(c.s3.region) ? c.s3.region : 'us-east-1') == (has(self.target.s3.region) ? self.target.s3.region : 'us-east-1') && \
    (has(c.s3.forcePathStyle) && c.s3.forcePathStyle) == (has(self.target.s3.forcePathStyle) && self.target.s3.forcePathStyle)))";
/// What to write instead of a wrong schedule.
const SCHEDULE_MESSAGE: &str = "a schedule has five fields (minute hour day month weekday), for example 0 3 * * *, or is one of @hourly, @daily, @weekly, @monthly, @yearly";

/// What a person writes of their backups: what, where to, when, how long they are kept, how they are proven, and how much
/// may be lost.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "printernizer.io",
    version = "v1alpha1",
    kind = "BackupPolicy",
    plural = "backuppolicies",
    singular = "backuppolicy",
    shortname = "bkp",
    category = "printernizer",
    namespaced,
    status = "BackupPolicyStatus",
    derive = "PartialEq",
    doc = "BackupPolicy backs up volumes, databases and Kubernetes objects on a schedule, checks the backups, restores them for practice, and says whether more could be lost today than its objectives allow.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a BackupPolicy must not be longer than 63 characters: it becomes a label of its pods"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the policy can run as it is written."),
    printcolumn(name = "Last Backup", type_ = "date", json_path = ".status.lastSuccessfulTime", description = "Age of the newest good recovery point: what was written since would be lost."),
    printcolumn(name = "Within RPO", type_ = "string", json_path = ".status.conditions[?(@.type=='RecoveryPointObjectiveMet')].status", description = "Whether no more could be lost today than allowed."),
    printcolumn(name = "Restored", type_ = "string", json_path = ".status.conditions[?(@.type=='RestoreVerified')].status", description = "Whether a restore drill has proven the backups."),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime", description = "When the next backup is due (UTC)."),
    printcolumn(name = "Points", type_ = "integer", json_path = ".status.snapshotCount", priority = 1, description = "Recovery points at the target."),
    printcolumn(name = "Integrity", type_ = "string", json_path = ".status.conditions[?(@.type=='IntegrityVerified')].status", priority = 1, description = "Whether the last check found the repository whole."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "What the policy says of itself, or what to do.")
)]
// A rule of the spec alone: what was stored before it came is not judged by it until somebody changes the spec, and its status
// can be written.
#[x_kube(validation = Rule::new(ONE_KEY_RULE).message("a copy in S3 of a target in S3 must have its credentialsSecretRef, region and forcePathStyle: both are spoken to at the same time, with one key; or make one of the two a persistentVolumeClaim"))]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicySpec {
    /// When a backup is made: five fields (minute hour day month weekday), for example 0 3 * * *, or @hourly, @daily,
    /// @weekly, @monthly, @yearly. With one of the latter the minute (and hour, and day) is chosen once for each policy, so
    /// that not all begin at the same second.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new(SCHEDULE_RULE).message(SCHEDULE_MESSAGE))]
    pub schedule: String,
    /// Time zone of all schedules of the policy, for example Europe/Berlin or Etc/UTC. Default Europe/Berlin.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// Further schedules of the same backup, for example every 6 hours between the daily ones. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub additional_schedules: Vec<AdditionalSchedule>,
    /// Whether nothing begins by itself. Pods that run go on; a run asked for by trigger is still made. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// How late a run may begin, in seconds, for example after the cluster was down. Later than that it counts as missed, and
    /// the next one is awaited. Default 3600.
    #[serde(default = "default_starting_deadline")]
    #[schemars(range(min = 60, max = 86400))]
    pub starting_deadline_seconds: i64,
    /// Asks for a run now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// What is backed up; at least one thing.
    pub sources: Sources,
    /// Where the backups go: exactly one of s3 and persistentVolumeClaim.
    pub target: Target,
    /// Further places every backup is copied to. At most 2. Where target and copy are both in S3, they must have the same
    /// credentialsSecretRef, region and forcePathStyle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub copies: Vec<Target>,
    /// How the backups are encrypted.
    pub encryption: Encryption,
    /// How long recovery points are kept; at least one rule.
    pub retention: Retention,
    /// How the backups are proven.
    #[serde(default)]
    pub verification: Verification,
    /// How much may be lost, and how long a restore may take.
    #[serde(default)]
    pub objectives: Objectives,
    /// What a person has confirmed. The id in status.targetChange: backups begin anew at the new place, and what lies at the old
    /// one is left there. Or the jobName in status.lastLoss: nothing of what was lost is to be brought back, and prunes go on. Or the
    /// id of one of status.copies: it is given up, and the next backup begins another one at its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub acknowledged: Option<String>,
    /// How the pods are run.
    #[serde(default)]
    pub job_template: JobTemplate,
}

/// A further schedule of the same backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalSchedule {
    /// Name of the schedule, part of the CronJob's name.
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')")
        .message("the name of a schedule has lower-case letters, digits and dashes"))]
    pub name: String,
    /// When: as in spec.schedule.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new(SCHEDULE_RULE).message(&*format!("additionalSchedules: {SCHEDULE_MESSAGE}")))]
    pub schedule: String,
}

/// Asks for a run now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Any text that was not there before: each new one makes one backup now. It comes back in status.lastManualTrigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub manual: Option<String>,
}

/// How the backups are encrypted: AES-256, by the repository itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Encryption {
    /// Key of a Secret with the repository's password, labelled printernizer.io/usage: backup. Keep a copy of it outside the
    /// cluster: without it no backup can be read, by anybody.
    pub password_secret_ref: SecretKeyReference,
}

/// How long recovery points are kept. A point is kept as long as one rule keeps it; the newest always is. Hours, days, weeks,
/// months and years begin as those of UTC do, whatever the policy's time zone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.keepLast), has(self.keepHourly), has(self.keepDaily), has(self.keepWeekly), has(self.keepMonthly), has(self.keepYearly), has(self.keepWithinDays)].exists(x, x)")
    .message("retention must say what is kept: at least one of keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly and keepWithinDays"))]
pub struct Retention {
    /// How many of the newest points are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep_last: Option<i32>,
    /// For how many hours, among those that have a point, the newest of the hour is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep_hourly: Option<i32>,
    /// For how many days, among those that have a point, the newest of the day is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep_daily: Option<i32>,
    /// For how many weeks, among those that have a point, the newest of the week is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep_weekly: Option<i32>,
    /// For how many months, among those that have a point, the newest of the month is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep_monthly: Option<i32>,
    /// For how many years, among those that have a point, the newest of the year is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep_yearly: Option<i32>,
    /// Every point not older than so many days is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub keep_within_days: Option<i32>,
    /// When what is kept no longer is deleted, and its room given back. Default @weekly.
    #[serde(default = "default_prune_schedule")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new(SCHEDULE_RULE).message(&*format!("pruneSchedule: {SCHEDULE_MESSAGE}")))]
    pub prune_schedule: String,
}

/// How the backups are proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Reads the repository and compares it with its own checksums. Default: never, and IntegrityVerified stays Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Restores the newest recovery point into scratch space and compares it with what was backed up. Default: never, and
    /// RestoreVerified stays Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_drill: Option<RestoreDrill>,
}

/// Reads the repository and compares it with its own checksums.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// When: as in spec.schedule.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new(SCHEDULE_RULE).message(&*format!("check: {SCHEDULE_MESSAGE}")))]
    pub schedule: String,
    /// How much of the data is read back each time, in percent, chosen anew each time. 0 reads only the structure. Default 10.
    /// While damage is known (status.lastDamage) everything is read.
    #[serde(default = "default_read_data")]
    #[schemars(range(min = 0, max = 100))]
    pub read_data_percent: i32,
}

/// Restores the newest recovery point into scratch space and compares it with what was backed up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreDrill {
    /// When: as in spec.schedule.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new(SCHEDULE_RULE).message(&*format!("restoreDrill: {SCHEDULE_MESSAGE}")))]
    pub schedule: String,
    /// How long the drill may take, in seconds; a longer one has failed. Default 14400 (4 hours).
    #[serde(default = "default_drill_timeout")]
    #[schemars(range(min = 60, max = 604_800))]
    pub timeout_seconds: i64,
    /// Storage class of the scratch volume. Default: the node's own disk (an emptyDir).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// Size of the scratch volume, for example 50Gi; it must hold everything that is backed up. Default: no limit on an
    /// emptyDir, 10Gi with a storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$')")
        .message("scratchSize must be a size such as 50Gi"))]
    pub scratch_size: Option<String>,
}

/// How much may be lost, and how long a restore may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objectives {
    /// Recovery point objective, in seconds: the newest good recovery point must not be older. RecoveryPointObjectiveMet turns
    /// False at the very second it is. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub recovery_point_seconds: Option<i64>,
    /// Recovery time objective, in seconds: the last restore drill must not have taken longer. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub recovery_time_seconds: Option<i64>,
}

/// How the pods are run. Pods of restricted security: no root, no privileges, read-only root file system.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobTemplate {
    /// What the pods request and may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels of the nodes the pods may run on. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_selector_schema")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes the pods tolerate. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<PodToleration>,
    /// User the pods run as; the files of the sources must be readable by it. Default 65532.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub run_as_user: Option<i64>,
    /// Group that owns what the pods write into volumes, and that they read with. Default 65532.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub fs_group: Option<i64>,
    /// How long a run may take at most, in seconds. Default 86400 (a day).
    #[serde(default = "default_active_deadline")]
    #[schemars(range(min = 60, max = 604_800))]
    pub active_deadline_seconds: i64,
    /// How often a run that failed is tried again before it counts as failed. Default 1.
    #[serde(default = "default_backoff_limit")]
    #[schemars(range(min = 0, max = 10))]
    pub backoff_limit: i32,
}

impl Default for JobTemplate {
    fn default() -> Self {
        Self {
            resources: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            run_as_user: None,
            fs_group: None,
            active_deadline_seconds: default_active_deadline(),
            backoff_limit: default_backoff_limit(),
        }
    }
}

/// What the pods request and may use at most, as in a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside for the pod, for example cpu: 100m, memory: 256Mi. At most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities_schema")]
    pub requests: BTreeMap<String, String>,
    /// What the pod may use at most. At most 8.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities_schema")]
    pub limits: BTreeMap<String, String>,
}

fn node_selector_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// Amounts as Kubernetes writes them. The API server checks them in its own kinds by code; here a wrong one would only be
/// noticed when a pod is to be made.
fn quantities_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {"type": "string", "maxLength": 32},
        "x-kubernetes-validations": [{
            "rule": "self.all(name, self[name].matches('^[0-9]+([.][0-9]+)?(m|Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$'))",
            "message": "requests and limits must be amounts such as 100m or 256Mi",
        }],
    })
}

/// A taint of nodes the pods tolerate, as in a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodToleration {
    /// Key of the taint. Default: every key, with operator Exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub key: Option<String>,
    /// Equal compares the value, Exists does not. Default Equal.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// Value of the taint, for Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint: NoSchedule, PreferNoSchedule or NoExecute. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub effect: Option<String>,
}

fn default_time_zone() -> String {
    "Europe/Berlin".to_owned()
}

fn default_starting_deadline() -> i64 {
    3600
}

fn default_prune_schedule() -> String {
    "@weekly".to_owned()
}

fn default_read_data() -> i32 {
    10
}

fn default_drill_timeout() -> i64 {
    14_400
}

fn default_active_deadline() -> i64 {
    86_400
}

fn default_backoff_limit() -> i32 {
    1
}
