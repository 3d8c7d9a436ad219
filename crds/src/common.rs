//! Pieces that several kinds share: references, nozzles, slots, identities of prints on devices.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Names of Secrets and ConfigMaps.
const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Keys within them.
const DATA_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// A Secret in the object's own namespace. It must carry the label `printernizer.io/usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// One key of a Secret in the object's own namespace. It must carry the label `printernizer.io/usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Key within the Secret's data.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// One key of a ConfigMap in the object's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyReference {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Key within the ConfigMap's data or binaryData.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// What is known, or asked, of a nozzle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nozzle {
    /// Diameter in micrometers, for example 400 for a 0.4 mm nozzle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 2000))]
    pub diameter_micrometers: Option<i32>,
    /// Whether the nozzle is hardened (abrasive filaments wear a brass one down). A job with such a filament is kept from a
    /// printer that says false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardened: Option<bool>,
    /// Whether the nozzle is a high-flow one. A job sliced for one is kept from a printer that says false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_flow: Option<bool>,
}

/// A place that holds filament: `Main` (the only spool of a printer), `External`, or `AMS1-1` to `AMS4-4`.
pub const SLOT_RULE: &str = "self.slot == 'Main' || self.slot == 'External' || self.slot.matches('^AMS[1-4]-[1-4]$')";
/// What to write instead of a wrong slot.
pub const SLOT_MESSAGE: &str = "slot must be Main, External, or AMS1-1 to AMS4-4 (unit, then tray)";

/// Most entries of a label selector: more cannot be compared within the API server's budget for rules.
const MAX_SELECTOR_ENTRIES: u32 = 16;
/// Longest label key: a DNS name, a slash and a name.
const MAX_LABEL_KEY: u32 = 253 + 1 + 63;
/// Longest label value.
const MAX_LABEL_VALUE: u32 = 63;

/// The schema of a label selector with limits and rules. The API server checks selectors in its own kinds by code; in
/// other kinds a wrong one would only be noticed when it is used.
pub fn label_selector_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": format!("Labels the object must have, with these values. At most {MAX_SELECTOR_ENTRIES}."),
                "type": "object",
                "maxProperties": MAX_SELECTOR_ENTRIES,
                "additionalProperties": {"type": "string", "maxLength": MAX_LABEL_VALUE},
            },
            "matchExpressions": {
                "description": format!("Further conditions on labels; all must hold. At most {MAX_SELECTOR_ENTRIES}."),
                "type": "array",
                "maxItems": MAX_SELECTOR_ENTRIES,
                "items": {
                    "description": "A condition on one label.",
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "Key of the label.",
                            "type": "string",
                            "minLength": 1,
                            "maxLength": MAX_LABEL_KEY,
                        },
                        "operator": {
                            "description": "In and NotIn compare with values; Exists and DoesNotExist only look for the key.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": format!("Values to compare with, for In and NotIn. At most {MAX_SELECTOR_ENTRIES}."),
                            "type": "array",
                            "maxItems": MAX_SELECTOR_ENTRIES,
                            "items": {"type": "string", "maxLength": MAX_LABEL_VALUE},
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                        "message": "values goes with operator In and NotIn, and is required there",
                    }],
                },
            },
        },
    })
}

/// What identifies a print on a device, as the device itself shows it. All empty: the device has forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceIdentity {
    /// The device's number for the print: PrusaLink's job id, Bambu's task id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub id: Option<String>,
    /// The print's name: PrusaLink's display name of the file, Bambu's subtask name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub name: Option<String>,
    /// The file the device says it prints from, where that is told apart from the name (Bambu's gcode file).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub file: Option<String>,
}

impl DeviceIdentity {
    /// Whether the device shows no identity at all, as after a reboot that forgot the last print.
    pub fn is_erased(&self) -> bool {
        self.id.is_none() && self.name.is_none() && self.file.is_none()
    }
}
