//! What a person writes of a print: the file, where it may run, how it is held, cancelled, answered for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PrintJobStatus, Source};
use crate::common::{Nozzle, SLOT_MESSAGE, SLOT_RULE, label_selector_schema};
use crate::printer::BuildVolume;

/// Once a job holds a printer, what is to be printed must not change under it.
const CLAIMED: &str = "has(oldSelf.status) && has(oldSelf.status.printer)";

/// The fields a job may not change while it is claimed, as one CEL rule.
fn immutable_once_claimed() -> String {
    let required = ["source"];
    let optional = [
        "displayName",
        "sha256",
        "printerRef",
        "printerSelector",
        "requirements",
        "colorMatch",
        "filaments",
        "options",
        "tolerations",
        "runID",
        "retry",
        "startDeadlineSeconds",
        "notAfter",
        "plate",
    ];
    let same = required.iter().map(|f| format!("self.spec.{f} == oldSelf.spec.{f}")).chain(optional.iter().map(|f| {
        format!(
            "has(self.spec.{f}) == has(oldSelf.spec.{f}) && (!has(self.spec.{f}) || self.spec.{f} == oldSelf.spec.{f})"
        )
    }));
    // Nearly every write is one of the status. Each look at a field costs the API server a list of all of them, so it first
    // asks the one question that settles these writes.
    format!("self.spec == oldSelf.spec || !({CLAIMED}) || ({})", same.collect::<Vec<_>>().join(" && "))
}

/// What a person writes of the print: its file, where it may run, how it is held, cancelled and answered for. Once the
/// job holds a printer, only desiredState, priority, outcome, result, order, ttlSecondsAfterFinished and deletionPolicy
/// may change.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "printernizer.io",
    version = "v1alpha1",
    kind = "PrintJob",
    plural = "printjobs",
    singular = "printjob",
    shortname = "pj",
    category = "printernizer",
    namespaced,
    status = "PrintJobStatus",
    derive = "PartialEq",
    doc = "PrintJob is one print of one plate on one printer. It is given to a printer that can print it, uploaded, started once and followed to its end.",
    validation = Rule::new(immutable_once_claimed()).message("the job already holds a printer: only desiredState, priority, outcome, result, order, ttlSecondsAfterFinished and deletionPolicy may change now; cancel it and create a new PrintJob instead"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the job stands."),
    printcolumn(name = "Printer", type_ = "string", json_path = ".status.printer.name", description = "Printer it was given to."),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.summary", description = "How much is printed."),
    printcolumn(name = "Remaining", type_ = "string", json_path = ".status.progress.remaining", description = "Time left."),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority", description = "Higher goes first."),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt", priority = 1, description = "Attempt of the job."),
    printcolumn(name = "Waiting For", type_ = "string", json_path = ".status.waitingFor", priority = 1, description = "Why it is not printing."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1, description = "The same in words, or why it ended without a part."),
    selectable = ".status.phase",
    selectable = ".status.printer.name",
    selectable = ".status.printer.serialNumber"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.printerRef) && has(self.printerSelector))")
        .message("write printerRef (one printer) or printerSelector (any with these labels), not both"),
    validation = Rule::new("!has(oldSelf.desiredState) || oldSelf.desiredState != 'Cancel' || (has(self.desiredState) && self.desiredState == 'Cancel')")
        .message("desiredState: Cancel is final; create a new PrintJob to print the part after all")
)]
pub struct PrintJobSpec {
    /// What people call the part. It becomes part of the file's name on the printer, so write no customer's name.
    /// Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new(r"!self.matches('[\\x00-\\x1f\\x7f]')")
        .message("displayName must be a single line without control characters"))]
    pub display_name: Option<String>,
    /// Where the print file comes from; exactly one of http, s3 and configMap.
    pub source: Source,
    /// SHA-256 the file must have, 64 hex digits. Default: the digest of the first fetch, kept in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{64}$')").message("sha256 must be 64 lower-case hex digits, as sha256sum prints them"))]
    pub sha256: Option<String>,
    /// Which plate of a sliced project (.gcode.3mf) to print, counted from 1. Default 1.
    #[serde(default = "default_plate")]
    #[schemars(range(min = 1, max = 99))]
    pub plate: i32,
    /// The one printer that may print the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub printer_ref: Option<PrinterReference>,
    /// Labels of the printers that may print the job. Default: any printer that fits the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub printer_selector: Option<LabelSelector>,
    /// What the job needs in addition to what its file asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// How closely a slot's color must match the file's: Ignore takes any, Near one that people would call the same,
    /// Exact the very same. Default Near for several filaments, else Ignore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ColorMatch")]
    pub color_match: Option<ColorMatch>,
    /// Which slot each filament of the file is taken from, where that is not to be found by material and color. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["index".into()]))]
    pub filaments: Vec<FilamentChoice>,
    /// Options of the start command that depend on the maker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<StartOptions>,
    /// Taints of printers the job tolerates. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Jobs with a higher number are given a printer first; equal ones in the order of creation. Default 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Which run of this job it is. A job that Git creates again after it was printed prints only if this has changed.
    /// Default empty.
    #[serde(default, rename = "runID", skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub run_id: String,
    /// Run prints the job; Pause holds it back, or pauses the print; Cancel stops it for good. Default Run.
    #[serde(default)]
    pub desired_state: DesiredState,
    /// What deleting the job does to a print that has started: Cancel stops it, LetFinish lets it end on the printer.
    /// Default LetFinish.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// A person's answer to status.question, when the outcome of a print is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeAnswer>,
    /// A person's judgment of the part after the end: Good or Scrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PartResult")]
    pub result: Option<PartResult>,
    /// How often a print that has failed is printed again.
    #[serde(default)]
    pub retry: Retry,
    /// The job fails if it has not started this many seconds after its creation. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub start_deadline_seconds: Option<i64>,
    /// The job fails if it has not started by this time (UTC). Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// Seconds after its end when the job is deleted. Default 2592000 (30 days). Jobs tracked by Git tools are never deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// Business data; may be erased at any time and never reaches logs, events, metrics or names on devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

pub(super) fn default_plate() -> i32 {
    1
}

/// A Printer in the job's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrinterReference {
    /// Name of the Printer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What a job needs in addition to what its file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// Printer models that may print it; none means the model the file was sliced for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub models: Vec<String>,
    /// Materials that must be loaded, as slicers write them: PLA, PETG.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 32)))]
    pub materials: Vec<String>,
    /// Nozzle the printer must have. hardened: false takes any nozzle, also when the file says that its filament is
    /// abrasive; highFlow, true or false, stands instead of what the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nozzle: Option<Nozzle>,
    /// Build plate that must lie on the bed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub plate: Option<String>,
    /// Build volume the printer must have at least, in millimeters. The height of the part need not be written where the
    /// file states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_build_volume_millimeters: Option<BuildVolume>,
}

/// How closely colors must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ColorMatch {
    /// Any color will do.
    Ignore,
    /// A color people would call the same.
    Near,
    /// The very same color.
    Exact,
}

/// The slot one filament of the file is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(SLOT_RULE).message(SLOT_MESSAGE))]
pub struct FilamentChoice {
    /// Number of the filament, counted from 1 as the slicer does.
    #[schemars(range(min = 1, max = 16))]
    pub index: i32,
    /// Which slot: Main, External, or AMS1-1 to AMS4-4.
    #[schemars(length(max = 8))]
    pub slot: String,
}

/// Options of the start command that depend on the maker. PrusaLink has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartOptions {
    /// Options of Bambu Lab printers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bambu: Option<BambuStartOptions>,
}

/// Options of a start on a Bambu Lab printer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BambuStartOptions {
    /// Whether the bed is leveled before the print. Default Auto.
    #[serde(default)]
    pub bed_leveling: Switch,
    /// Whether the flow is calibrated before the print. Default Auto.
    #[serde(default)]
    pub flow_calibration: Switch,
    /// Whether vibrations are measured before the print. Default Auto.
    #[serde(default)]
    pub vibration_calibration: Switch,
    /// Whether a time-lapse is recorded. Default Auto.
    #[serde(default)]
    pub timelapse: Switch,
}

/// A switch that may be left to the printer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Switch {
    /// As the printer decides.
    #[default]
    Auto,
    /// On.
    On,
    /// Off.
    Off,
}

/// A taint the job tolerates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.operator) && self.operator == 'Exists') || !has(self.value)")
    .message("operator: Exists tolerates every value; remove value or write operator: Equal"))]
pub struct Toleration {
    /// Key of the taint.
    #[schemars(length(min = 1, max = 63))]
    pub key: String,
    /// Equal compares the value, Exists takes any. Default Equal.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// Value of the taint, with Equal. Default empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub value: String,
    /// Effect that is tolerated. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TolerationEffect")]
    pub effect: Option<TolerationEffect>,
}

/// How a toleration compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value must be equal.
    #[default]
    Equal,
    /// Key alone must be equal.
    Exists,
}

/// Effect of a taint that is tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum TolerationEffect {
    /// Keeps new jobs away.
    NoSchedule,
}

/// What is wanted of the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum DesiredState {
    /// Print it.
    #[default]
    Run,
    /// Hold it back, or pause the print.
    Pause,
    /// Stop it for good.
    Cancel,
}

/// What deleting the job does to a started print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Stops the print.
    Cancel,
    /// Lets the print end on the printer.
    #[default]
    LetFinish,
}

/// A person's answer to a question about the outcome of a print.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeAnswer {
    /// The status.question.id that is answered. Any other id has no effect.
    #[serde(rename = "questionID")]
    #[schemars(length(min = 1, max = 64))]
    pub question_id: String,
    /// What became of the print.
    pub answer: Answer,
}

/// What a person says became of a print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Answer {
    /// It was printed and is good.
    Succeeded,
    /// It was printed, or begun, and is not good.
    Failed,
    /// It was never begun; the job may try again. No answer, and without effect, where the print was seen running.
    NotPrinted,
}

/// A person's judgment of the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum PartResult {
    /// The part is good.
    Good,
    /// The part is scrap.
    Scrap,
}

/// How often a failed print is printed again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Number of further prints after one that failed. Starts that were refused do not count. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub limit: i32,
}

/// Business data of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Number of the order in the workshop's own books.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub reference: Option<String>,
    /// Whom the part is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub customer: Option<String>,
}
