//! The CustomResourceDefinitions as they are committed under `crds/manifests` and applied to a cluster.
//!
//! What the derive macros make is tidied so that the API server takes it as it stands and people can read it. Nothing
//! is added here that the types do not say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{BackupPolicy, PrintJob, PrintRecord, Printer};

/// First line of every generated manifest.
pub const HEADER: &str = "# Generated from the Rust types in crds/src by `cargo xtask generate`. Do not edit.\n";

/// Every definition, in the order in which they are applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![Printer::crd(), PrintJob::crd(), PrintRecord::crd(), BackupPolicy::crd()];
    for crd in &mut all {
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
                tidy(schema);
            }
        }
    }
    all
}

/// Why a definition could not be written as YAML. Neither cause can come from the definition's content.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The definition is no JSON.
    #[error("the definition cannot be turned into JSON")]
    Json(#[from] serde_json::Error),
    /// The JSON is no YAML.
    #[error("the definition cannot be turned into YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// One definition as the text that is committed and applied: the header, then YAML in a stable order.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, YamlError> {
    let mut value = serde_json::to_value(crd)?;
    whole_numbers(&mut value);
    Ok(format!("{HEADER}{}", serde_saphyr::to_string(&value)?))
}

/// Writes limits as they were meant: 99, not 99.0.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            // Formatting is exact where casting could round: a whole number has no fraction in its text.
            if let Some(whole) = number.as_f64().and_then(|n| format!("{n}").parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn tidy(schema: &mut JSONSchemaProps) {
    // The API server knows no unsigned formats and warns about them.
    if schema.format.as_deref().is_some_and(|f| f.starts_with("uint")) {
        schema.format = None;
    }
    // Not nullable, null means absent: the API server drops it. Otherwise `bambu:` with nothing behind it would count as
    // a connection in the rules.
    schema.nullable = None;
    // The name of the Rust type.
    schema.title = None;
    // Line breaks of the source are no line breaks of the text.
    if let Some(description) = &mut schema.description {
        let paragraph = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        *description = description.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n");
    }
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        tidy(property);
    }
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(additional)) = schema.additional_properties.as_mut() {
        tidy(additional);
    }
}
