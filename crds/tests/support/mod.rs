//! The rows of `tests/rows`: what a person may and may not write. The same rows are judged by the rules alone
//! (`rules.rs`) and by a real API server (`api_crds.rs`), so that neither can be wrong on its own.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use printernizer_crds::manifests;
use serde::Deserialize;
use serde_json::Value;

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What it shows, in words.
    #[serde(rename = "row")]
    pub name: String,
    /// For a change: what differs from the base before it.
    pub before: Option<Value>,
    /// What differs from the base, or from the object before the change.
    pub object: Value,
    /// What is said against it; none if it is accepted.
    pub message: Option<String>,
    /// Whether the message comes from the schema's plain limits, which only the API server checks.
    #[serde(default)]
    pub schema: bool,
}

/// The rows of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// The object every row starts from.
    pub base: Value,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Rows {
    /// The object as it stood before a row's change.
    pub fn before(&self, row: &Row) -> Option<Value> {
        row.before.as_ref().map(|before| merged(&self.base, before))
    }

    /// The object a row is about.
    pub fn object(&self, row: &Row) -> Value {
        merged(&self.before(row).unwrap_or_else(|| self.base.clone()), &row.object)
    }
}

/// Every definition with its rows.
pub fn all() -> Vec<(CustomResourceDefinition, Rows)> {
    let text = |plural: &str| match plural {
        "printers" => include_str!("../rows/printers.yaml"),
        "printjobs" => include_str!("../rows/printjobs.yaml"),
        "printrecords" => include_str!("../rows/printrecords.yaml"),
        "backuppolicies" => include_str!("../rows/backuppolicies.yaml"),
        other => panic!("write crds/tests/rows/{other}.yaml and name it here"),
    };
    let read = |crd: CustomResourceDefinition| {
        let plural = crd.spec.names.plural.clone();
        let rows = serde_saphyr::from_str(text(&plural)).unwrap_or_else(|e| panic!("{plural}: {e}"));
        (crd, rows)
    };
    manifests::all().into_iter().map(read).collect()
}

/// The schema of a definition's one version, as JSON.
pub fn schema(crd: &CustomResourceDefinition) -> Value {
    let [version] = crd.spec.versions.as_slice() else { panic!("more than one version") };
    serde_json::to_value(version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap()
}

/// Calls `visit` with every schema below (and with) this one, with its path.
pub fn walk<'a>(schema: &'a Value, path: &str, visit: &mut dyn FnMut(&str, &'a Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), visit);
    }
    for (key, part) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}{part}"), visit);
        }
    }
}

/// A JSON merge patch: maps are merged, null takes away, all else replaces.
fn merged(base: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut result = base.as_object().cloned().unwrap_or_default();
    for (key, change) in changes {
        if change.is_null() {
            result.remove(key);
        } else {
            let before = result.get(key).cloned().unwrap_or(Value::Null);
            result.insert(key.clone(), merged(&before, change));
        }
    }
    Value::Object(result)
}
