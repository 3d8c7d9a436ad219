//! What the operator has seen of a printer and what it remembers so that nothing prints twice.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::DeviceIdentity;

/// Status of a Printer, written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrinterStatus {
    /// Generation of the spec this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reachable, Authorized, ControlAllowed, Trusted, BedCleared, Idle and SpecMatchesDevice, each with a reason
    /// and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What the machine is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PrinterState")]
    pub state: Option<PrinterState>,
    /// The PrintJob that holds the printer. This is the lock: one job at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_job: Option<CurrentJob>,
    /// The last start that was or may have been sent. Without a verdict it is unresolved and nothing else starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_start: Option<LastStart>,
    /// Files of jobs that had to let go of the printer before it deleted them. They are deleted at each connection and
    /// before each start. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["remoteName".into()]))]
    pub left_files: Vec<LeftFile>,
    /// What is known of the bed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bed: Option<BedStatus>,
    /// Why the printer is not trusted with jobs; absent when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distrust: Option<Distrust>,
    /// What the device says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceStatus>,
    /// Filament in each slot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["slot".into()]))]
    pub slots: Vec<SlotStatus>,
    /// Faults the device reports, in plain words. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub faults: Vec<Fault>,
    /// Failed prints in a row; two quarantine the printer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub consecutive_failures: i32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(crate) fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// What a printer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum PrinterState {
    /// Waiting for work.
    Idle,
    /// Heating, leveling or otherwise before the first layer, or busy with a task at the machine.
    Preparing,
    /// Printing.
    Printing,
    /// Paused.
    Paused,
    /// The last print has ended well and its end screen is still shown.
    Finished,
    /// The last print was stopped or failed and its end screen is still shown.
    Failed,
    /// Waits for a person at the machine.
    Attention,
    /// Not reachable.
    Offline,
    /// Not known yet.
    #[default]
    Unknown,
}

/// The PrintJob that holds a printer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentJob {
    /// Name of the PrintJob.
    pub name: String,
    /// UID of the PrintJob.
    pub uid: String,
    /// Attempt of the job the claim was made for.
    pub attempt: i32,
}

/// A start that was or may have been sent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastStart {
    /// Token of the attempt: first 16 hex digits of the job's UID, a dash, the attempt.
    pub token: String,
    /// Name of the PrintJob.
    pub job_name: String,
    /// UID of the PrintJob.
    #[serde(rename = "jobUID")]
    pub job_uid: String,
    /// Name of the file on the device.
    pub remote_name: String,
    /// After this moment (UTC) the start is never sent any more.
    pub deadline: Time,
    /// How the start ended; absent while it is unresolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StartVerdict")]
    pub verdict: Option<StartVerdict>,
}

/// How a start ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum StartVerdict {
    /// Proven: no byte of the start left the operator.
    NotSent,
    /// Proven: the device refused it, or it ended before printing.
    FailedToStart,
    /// The print ran and ended well.
    Succeeded,
    /// The print ran and failed.
    Failed,
    /// The print ran and was cancelled.
    Cancelled,
    /// A person said that it was never printed.
    NotPrinted,
    /// The job is gone; a full window of live reports showed no sign of the print.
    Abandoned,
}

/// A file of ours that was left on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftFile {
    /// Name of the file on the device.
    pub remote_name: String,
    /// Name of the PrintJob it was uploaded for.
    pub job_name: String,
    /// UID of the PrintJob.
    #[serde(rename = "jobUID")]
    pub job_uid: String,
}

/// What is known of the bed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BedStatus {
    /// Id of what lies (or may lie) on the bed. Write it to spec.bed.clearedFor when the bed is clear. Absent: clear.
    #[serde(default, rename = "occupancyID", skip_serializing_if = "Option::is_none")]
    pub occupancy_id: Option<String>,
    /// Whether a print is known to be running; its end gives the bed a new occupancyID, and nothing clears it before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub print_in_progress: bool,
    /// The print on the device that the state of the bed accounts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounted_identity: Option<DeviceIdentity>,
    /// Since when the bed is in this state (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Name of the PrintJob whose part lies on the bed, if it is one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What people call that part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Id of the last clearance that was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_for: Option<String>,
}

/// Why a printer is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Distrust {
    /// Write it to spec.acknowledged after looking at the machine.
    pub id: String,
    /// What happened.
    pub reason: DistrustReason,
    /// Identity or state of the device that gave rise to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<DeviceIdentity>,
}

/// What can make a printer distrusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum DistrustReason {
    /// The device shows a print of this operator's kind that this cluster knows nothing of.
    AnotherOperator,
    /// The device refused a start.
    StartRefused,
    /// A start was given up at the device's screen.
    StartAborted,
    /// Two prints in a row have failed.
    Quarantined,
}

/// What the device says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Serial number, pinned at first contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// Firmware version, where the device tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware_version: Option<String>,
    /// Model the device reports, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_model: Option<String>,
    /// Nozzle diameter in micrometers, as the device reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nozzle_diameter_micrometers: Option<i32>,
    /// Whether the nozzle is hardened, where the device tells of what it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nozzle_hardened: Option<bool>,
    /// Address the printer is reached at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Filament in one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotStatus {
    /// Which slot.
    pub slot: String,
    /// Whether the device says that nothing is in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
    /// Material, as slicers write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub material: Option<String>,
    /// Variant of the material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtype: Option<String>,
    /// Color as #RRGGBB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Filament left, in percent of a full spool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_percent: Option<i32>,
    /// Filament on a full spool of this kind, in grams, as the device reads it from the spool's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_grams: Option<i32>,
    /// Who says so.
    pub source: SlotSource,
    /// What the device says and the spec contradicts; absent when they agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradiction: Option<String>,
}

/// Who says what is in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SlotSource {
    /// The device reports it.
    Device,
    /// A person declared it in the spec.
    #[default]
    Declared,
}

/// A fault the device reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The device's code, for example 0300_8007.
    pub code: String,
    /// Fatal, Serious, Common or Info, as the device grades it.
    pub severity: String,
    /// What it means and what to do.
    pub message: String,
}
