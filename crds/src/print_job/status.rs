//! What the operator knows and remembers of a print: claim, upload, intent to start, progress, end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DesiredState, OutcomeAnswer};
use crate::common::DeviceIdentity;
use crate::printer::{PrinterState, is_zero};

/// Status of a PrintJob, written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrintJobStatus {
    /// Generation of the spec this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, Scheduled, Started, OutcomeUnknown, Complete and Failed, each with a reason and what to do. Complete and
    /// Failed are final and exclude each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Where the job stands, for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Phase")]
    pub phase: Option<Phase>,
    /// Reason why the job is not printing, or is not seen printing, from its conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// The same in words, with what a person can do about it; after an end without a part, why. From the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The printer that was claimed for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub printer: Option<ClaimedPrinter>,
    /// Number of the current attempt, counted from 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: i32,
    /// Prints of earlier attempts that really ran; spec.retry.limit counts against them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_prints: i32,
    /// Attempts since the last print that gave their printer back, for the pause before the next one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refusals: i32,
    /// The job is not given to a printer before this time (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// A printer that held the job for long and could not start it. Another one that fits is waited for first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avoid: Option<AvoidedPrinter>,
    /// The file's copy on the device, recorded before its first byte is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,
    /// The intent to start, recorded before the start is sent. From here on nothing is sent a second time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartIntent>,
    /// The device's number for the running print, once seen.
    #[serde(default, rename = "deviceJobID", skip_serializing_if = "Option::is_none")]
    pub device_job_id: Option<String>,
    /// The question a person must answer; see spec.outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// The last answer of a person that was acted on. It counts, whatever spec.outcome says by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OutcomeAnswer")]
    pub answered: Option<OutcomeAnswer>,
    /// The last spec.desiredState that was carried out on the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DesiredState")]
    pub acted_on: Option<DesiredState>,
    /// Whether the pause the device shows is one this operator asked for.
    #[serde(default, rename = "pausedByUs", skip_serializing_if = "std::ops::Not::not")]
    pub paused_by_us: bool,
    /// What the file says of itself, learned when the job was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStatus>,
    /// The slot each filament is taken from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["index".into()]))]
    pub slot_mapping: Vec<SlotChoice>,
    /// How far the print is; written once a minute or at each quarter of a short print, and at each change of state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The last 10 attempts that came to an end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["attempt".into()]))]
    pub attempts: Vec<AttemptRecord>,
    /// When the job was accepted (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_time: Option<Time>,
    /// When the current attempt was given a printer (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_time: Option<Time>,
    /// When the print was first seen running (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the job ended (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// Waits for its file or for a printer.
    #[default]
    Pending,
    /// Held back by desiredState: Pause.
    Held,
    /// Was given a printer.
    Assigned,
    /// The file is on its way to the printer.
    Uploading,
    /// The start is being sent, or may have been and is being watched for.
    Starting,
    /// Prints.
    Printing,
    /// The print is paused.
    Paused,
    /// A person must look: at the machine, or at status.question.
    AttentionNeeded,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Was cancelled.
    Cancelled,
}

/// The printer that was claimed for a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedPrinter {
    /// Name of the Printer.
    pub name: String,
    /// UID of the Printer.
    pub uid: String,
    /// Serial number of the device.
    pub serial_number: String,
}

/// A printer that could not start the job.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AvoidedPrinter {
    /// Name of the Printer.
    pub name: String,
    /// Until when (UTC) others that fit come first, also while they are busy.
    pub until: Time,
}

/// The file's copy on the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// Token of the attempt.
    pub token: String,
    /// Name of the file on the device.
    pub remote_name: String,
    /// Whether the device confirmed the file's whole size.
    #[serde(default)]
    pub size_verified: bool,
    /// The device's number of its last print when the upload began, where it tells it.
    #[serde(default, rename = "deviceJobID", skip_serializing_if = "Option::is_none")]
    pub device_job_id: Option<String>,
}

/// The intent to start.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartIntent {
    /// Version of the start protocol that wrote it: 1.
    pub protocol: i32,
    /// Token of the attempt.
    pub token: String,
    /// Name of the file on the device.
    pub remote_name: String,
    /// Ids the start carries.
    #[serde(default)]
    pub ids: StartIds,
    /// Random id of the try that wrote it; only that try may send.
    pub sender: String,
    /// After this moment (UTC) the start is never sent any more.
    pub deadline: Time,
    /// What the device showed just before.
    pub before: Shown,
}

/// Ids a start carries, or refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartIds {
    /// Bambu: the number sent as task_id, subtask_id and project_id.
    #[serde(default, rename = "taskID", skip_serializing_if = "Option::is_none")]
    pub task_id: Option<i64>,
    /// PrusaLink: the device's job number before the start.
    #[serde(default, rename = "deviceJobID", skip_serializing_if = "Option::is_none")]
    pub device_job_id: Option<String>,
}

/// What a device showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// State of the machine.
    pub state: PrinterState,
    /// Identity of the print it shows.
    #[serde(default)]
    pub identity: DeviceIdentity,
    /// Error code it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A question about the outcome of a print.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Write it to spec.outcome.questionID together with the answer.
    pub id: String,
    /// Why it is asked.
    pub reason: String,
    /// What the device showed when it was asked.
    pub shown: Shown,
}

/// What the file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileStatus {
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Digest of spec.source, spec.sha256 and spec.plate as they were when the file was read. While they are the same, the
    /// job keeps to this file and does not ask the source what lies there now. Empty while the file must be had again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub read_for: String,
    /// Digest of the place the file was read from (spec.source without credentials, certificates and region) and of
    /// spec.sha256. While they are the same, the job takes no other file than this one, whatever lies there now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub read_from: String,
    /// Size of the file in bytes.
    pub size_bytes: i64,
    /// Kind of file: Gcode, BinaryGcode or Gcode3mf.
    pub format: String,
    /// Slicer that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slicer: Option<String>,
    /// Printer model it was sliced for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub printer_model: Option<String>,
    /// Nozzle diameter it was sliced for, in micrometers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nozzle_diameter_micrometers: Option<i32>,
    /// Whether it was sliced for a high-flow nozzle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nozzle_high_flow: Option<bool>,
    /// Whether a filament it uses wears a brass nozzle down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filament_abrasive: Option<bool>,
    /// Height of its highest layer in micrometers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height_micrometers: Option<i64>,
    /// Build plate it was sliced for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plate: Option<String>,
    /// Kind of that build plate in the slicer's own word, for example textured_plate. Bambu Lab only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bed_type: Option<String>,
    /// Printing time in seconds, as the slicer estimates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<i64>,
    /// Number of layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<i32>,
    /// Filaments it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub filaments: Vec<FileFilament>,
    /// How many filaments its whole project has, used or not. Bambu Lab only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_filaments: Option<i32>,
}

/// One filament of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileFilament {
    /// Number of the filament, counted from 1 as the slicer does.
    pub index: i32,
    /// Material, as slicers write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub material: Option<String>,
    /// Color as #RRGGBB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Grams used, as a decimal string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grams: Option<String>,
    /// Length used in millimeters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millimeters: Option<i64>,
}

/// The slot one filament is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotChoice {
    /// Number of the filament, counted from 1.
    pub index: i32,
    /// Which slot.
    pub slot: String,
}

/// How far the print is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Percent done, 0 to 100.
    pub percent: i32,
    /// The same for the table, for example "42%".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Layer being printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<i32>,
    /// Number of layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_layers: Option<i32>,
    /// Seconds left, as the device estimates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<i64>,
    /// The same for the table, for example "1h25m".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<String>,
    /// When the print is expected to end (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_end_time: Option<Time>,
    /// When this was written (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,
}

/// An attempt that came to an end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// Number of the attempt.
    pub attempt: i32,
    /// Printer it ran on.
    pub printer: String,
    /// When it was first seen running (UTC); absent when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended (UTC); absent where nobody saw the print end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so.
    pub reason: String,
    /// Grams the file estimates for it, as a decimal string; absent when nothing was printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grams_estimated: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Outcome {
    /// Printed to the end.
    Succeeded,
    /// Began and failed.
    Failed,
    /// Was cancelled.
    Cancelled,
    /// Was refused, or never sent.
    NotStarted,
    /// Was let go without anyone knowing.
    Unknown,
}
