//! What a person writes of a printer: connection, abilities, filament, bed, windows.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, PrinterStatus};
use crate::common::{Nozzle, SLOT_MESSAGE, SLOT_RULE};

/// What a person writes of the printer: how to reach it, what it can do, what is loaded, when it may start.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "printernizer.io",
    version = "v1alpha1",
    kind = "Printer",
    plural = "printers",
    singular = "printer",
    shortname = "prn",
    category = "printernizer",
    namespaced,
    status = "PrinterStatus",
    derive = "PartialEq",
    doc = "Printer is one 3D printer of the farm. The operator keeps one live connection to it and gives it PrintJobs, one at a time and only onto a bed that is clear.",
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "What the machine is doing."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the operator can use the printer."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why the operator can or cannot use the printer."
    ),
    printcolumn(
        name = "Job",
        type_ = "string",
        json_path = ".status.currentJob.name",
        description = "PrintJob that holds the printer."
    ),
    printcolumn(
        name = "Bed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"BedCleared\")].reason",
        description = "Whether the bed is clear, and if not, why."
    ),
    printcolumn(
        name = "Model",
        type_ = "string",
        json_path = ".spec.model",
        description = "Model as written in the spec."
    ),
    printcolumn(
        name = "Location",
        type_ = "string",
        json_path = ".spec.location",
        priority = 1,
        description = "Shelf or room."
    ),
    printcolumn(
        name = "Firmware",
        type_ = "string",
        json_path = ".status.device.firmwareVersion",
        priority = 1,
        description = "Firmware the device reports."
    ),
    printcolumn(
        name = "Host",
        type_ = "string",
        json_path = ".status.device.host",
        priority = 1,
        description = "Address of the printer."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".status.state",
    selectable = ".spec.connection.bambu.serialNumber",
    selectable = ".spec.connection.prusaLink.serialNumber",
    selectable = ".status.device.serialNumber"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.unschedulableReason) || (has(self.unschedulable) && self.unschedulable)")
    .message("unschedulableReason explains unschedulable: true; set unschedulable: true or remove the reason"))]
pub struct PrinterSpec {
    /// Model of the printer: the maker's name or the slicer's code, for example "Prusa CORE One" or COREONE. Jobs sliced
    /// for another model are not given to it.
    #[schemars(length(min = 1, max = 63))]
    pub model: String,
    /// Shelf or room where the printer stands, for people and for sorting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub location: Option<String>,
    /// How to reach the printer; exactly one of bambu and prusaLink.
    pub connection: Connection,
    /// What the device cannot tell about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Filament that is loaded, for slots the device does not report. At most 17.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["slot".into()]))]
    pub slots: Vec<SlotSpec>,
    /// How the bed is cleared between prints.
    #[serde(default)]
    pub bed: BedSpec,
    /// Id of the distrust a person has looked at: copy status.distrust.id here to trust the printer again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub acknowledged: Option<String>,
    /// Whether new jobs stay away from the printer, as with a cordoned Node. A running print goes on. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unschedulable: bool,
    /// Why the printer is unschedulable, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub unschedulable_reason: Option<String>,
    /// Taints keep jobs away that do not tolerate them. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub taints: Vec<Taint>,
    /// Times of the week in which prints may start; none means always. A running print goes on past the end. At most 21.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 21))]
    pub start_windows: Vec<StartWindow>,
    /// Average power while printing, in watts; overrides the farm's figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20000))]
    pub average_power_watts: Option<i32>,
    /// Price of an hour on this machine as a decimal string in the farm's currency, for example "2.50"; overrides the
    /// farm's rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new(r"self.matches('^[0-9]{1,9}(\\.[0-9]{1,6})?$')")
        .message("machineHourRate must be a decimal number in quotes, for example \"2.50\""))]
    pub machine_hour_rate: Option<String>,
}

impl PrinterSpec {
    /// A printer of this model, reached like this: every other field as if it were not written.
    pub fn new(model: impl Into<String>, connection: Connection) -> Self {
        Self {
            model: model.into(),
            location: None,
            connection,
            capabilities: None,
            slots: Vec::new(),
            bed: BedSpec::default(),
            acknowledged: None,
            unschedulable: false,
            unschedulable_reason: None,
            taints: Vec::new(),
            start_windows: Vec::new(),
            average_power_watts: None,
            machine_hour_rate: None,
        }
    }
}

/// What the device cannot tell about itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Build volume in millimeters; the default follows from the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_volume_millimeters: Option<BuildVolume>,
    /// Nozzle that is mounted; the device's own report wins where it says something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nozzle: Option<Nozzle>,
    /// Build plate that lies on the bed, for example "Textured PEI".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub plate: Option<String>,
}

/// Build volume, in millimeters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildVolume {
    /// Width in millimeters.
    #[schemars(range(min = 1, max = 10000))]
    pub x: i32,
    /// Depth in millimeters.
    #[schemars(range(min = 1, max = 10000))]
    pub y: i32,
    /// Height in millimeters.
    #[schemars(range(min = 1, max = 10000))]
    pub z: i32,
}

/// Filament that a person says is loaded.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(SLOT_RULE).message(SLOT_MESSAGE))]
pub struct SlotSpec {
    /// Which slot: Main (a printer with one spool), External, or AMS1-1 to AMS4-4.
    #[schemars(length(max = 8))]
    pub slot: String,
    /// Material, as slicers write it: PLA, PETG, ASA.
    #[schemars(length(min = 1, max = 32))]
    pub material: String,
    /// Variant of the material, for example "Matte".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub subtype: Option<String>,
    /// Maker of the filament.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub brand: Option<String>,
    /// Color as #RRGGBB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7))]
    #[x_kube(validation = Rule::new("self.matches('^#[0-9A-Fa-f]{6}$')")
        .message("color must be a quoted #RRGGBB, for example \"#F5A623\""))]
    pub color: Option<String>,
    /// Filament left on the spool, in grams. Jobs that need more are not given to the printer. Nothing counts it down: write
    /// it anew when it has changed. Where the device tells what is left, that counts instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub remaining_grams: Option<i32>,
    /// The spool's id in the workshop's own books.
    #[serde(default, rename = "spoolID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub spool_id: Option<String>,
}

/// How the bed is cleared between prints.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BedSpec {
    /// Manual: a person takes the part off and sets clearedFor. Automatic: the printer ejects its parts; only a success
    /// that was seen live clears the bed then. Default Manual.
    #[serde(default)]
    pub clearing: BedClearing,
    /// The status.bed.occupancyID a person has cleared the bed for. Any other id has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cleared_for: Option<String>,
}

/// Who clears the bed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum BedClearing {
    /// A person does.
    #[default]
    Manual,
    /// The printer ejects its parts.
    Automatic,
}

/// A mark that keeps jobs away which do not tolerate it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Key of the taint; a printer has at most one taint of each key.
    #[schemars(length(min = 1, max = 63))]
    pub key: String,
    /// Value of the taint. Default empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub value: String,
    /// What the taint does: NoSchedule keeps new jobs away. Default NoSchedule.
    #[serde(default)]
    pub effect: TaintEffect,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TaintEffect {
    /// Keeps new jobs away; a running print goes on.
    #[default]
    NoSchedule,
}

/// A span of the week in which prints may start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from != self.to").message("from and to are equal: write from: \"00:00\", to: \"24:00\" for a whole day"))]
pub struct StartWindow {
    /// IANA time zone of from and to. Default Europe/Berlin.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')")
        .message("timeZone must be a name of the IANA time zone database, for example Europe/Berlin or UTC"))]
    pub time_zone: String,
    /// Days of the week on which the window opens, each once; none means every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Day>,
    /// Opening time as HH:MM.
    #[schemars(length(max = 5))]
    #[x_kube(validation = Rule::new("self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')")
        .message("from must be a quoted time of day from \"00:00\" to \"23:59\""))]
    pub from: String,
    /// Closing time as HH:MM, up to 24:00; earlier than from means on the next day.
    #[schemars(length(max = 5))]
    #[x_kube(validation = Rule::new("self.matches('^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$')")
        .message("to must be a quoted time of day from \"00:00\" to \"24:00\""))]
    pub to: String,
}

fn default_time_zone() -> String {
    "Europe/Berlin".to_owned()
}

/// Day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}
