//! Whether the cluster has definitions as new as this operator. Older ones, left by a downgrade of the chart or of the
//! operator before them, drop the fields they do not know, and with them what was remembered of prints: what is dropped is only
//! noticed at a write. So nothing is started while they are older. The schema that the API server serves of them may be read by
//! every account (the ClusterRole system:discovery), so this needs no right of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::api::CALL_TIMEOUT;
use crate::telemetry::Metrics;

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon is looked again where something is missing, or they could not be read.
const SOON: Duration = Duration::from_secs(3);
/// Where the API server says of which group it serves which schema.
const INDEX: &str = "/openapi/v3";
/// Our group, in that list.
const GROUP: &str = "apis/printernizer.io/v1alpha1";

/// What is known of the definitions.
#[derive(Clone, Debug, Default)]
pub struct Definitions(Arc<Mutex<Known>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Known {
    /// Nothing is missing in them, or they cannot be read.
    #[default]
    Nothing,
    /// Nobody has looked yet.
    Unread,
    /// This is missing.
    Missing(String),
}

impl Definitions {
    /// Those that nobody has looked at yet.
    pub fn unread() -> Self {
        Self(Arc::new(Mutex::new(Known::Unread)))
    }

    /// Why nothing is started: the cluster's definitions are older than this operator, or it has not looked yet.
    pub fn too_old(&self) -> Option<String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Known::Nothing => None,
            Known::Unread => {
                Some("the operator has just begun, and looks at the cluster's definitions first".to_owned())
            }
            Known::Missing(what) => Some(format!(
                "the cluster has the definitions of an older version, which does not know {what}, so nothing is started: with \
                 Helm `helm upgrade` with crds.enabled brings those of this one, by hand printernizer crds | kubectl apply -f -. \
                 If they are of a newer version, bring the operator up to that instead"
            )),
        }
    }

    /// Takes in what is missing; true if that is new.
    fn learn(&self, missing: Option<String>) -> bool {
        let now = missing.map_or(Known::Nothing, Known::Missing);
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        before != now
    }

    /// They cannot be read: that keeps nothing from being started, and what was known of them stays known.
    fn unreadable(&self) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *known == Known::Unread;
        if news {
            *known = Known::Nothing;
        }
        news
    }
}

/// Looks until cancelled, and calls `changed` when something else is known. What cannot be read changes nothing.
pub async fn watch(
    client: Client,
    definitions: Definitions,
    metrics: Metrics,
    cancel: CancellationToken,
    changed: impl Fn() + Send,
) {
    let own: Vec<Value> =
        printernizer_crds::manifests::all().iter().filter_map(|d| serde_json::to_value(d).ok()).collect();
    let mut seen = String::new();
    let mut troubled = false;
    loop {
        match look(&client, &own, &mut seen).await {
            Ok(Some(missing)) => {
                troubled = false;
                metrics.definitions_too_old(missing.is_some());
                let old = definitions.too_old();
                if definitions.learn(missing) {
                    match (old, definitions.too_old()) {
                        (_, Some(why)) => tracing::error!("{why}"),
                        (Some(_), None) => tracing::info!("the cluster's definitions are as new as this operator"),
                        (None, None) => {}
                    }
                    changed();
                }
            }
            Ok(None) => {
                troubled = false;
                if definitions.unreadable() {
                    changed();
                }
            }
            Err(error) => {
                if !troubled {
                    tracing::warn!(%error, "what the cluster's definitions know cannot be read; it is tried again");
                }
                troubled = true;
                if definitions.unreadable() {
                    changed();
                }
            }
        }
        let rest = if troubled || definitions.too_old().is_some() { SOON } else { PERIOD };
        if cancel.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
            return;
        }
    }
}

/// Reads the schema where it is another one than was `seen`, and says what is missing in it; `None` where it is the same.
async fn look(client: &Client, own: &[Value], seen: &mut String) -> Result<Option<Option<String>>, String> {
    let index = get(client, INDEX).await?;
    // Without definitions there is no schema, and nothing to start either.
    let Some(at) = index["paths"][GROUP]["serverRelativeURL"].as_str() else { return Ok(None) };
    if at == seen {
        return Ok(None);
    }
    let served = get(client, at).await?;
    at.clone_into(seen);
    Ok(Some(own.iter().find_map(|definition| missing_in(definition, &served))))
}

async fn get(client: &Client, path: &str) -> Result<Value, String> {
    let request = axum::http::Request::get(path)
        .header("Accept", "application/json")
        .body(Vec::new())
        .map_err(|e| e.to_string())?;
    match tokio::time::timeout(CALL_TIMEOUT, client.request::<Value>(request)).await {
        Ok(answer) => answer.map_err(|error| crate::error::of_api(&error)),
        Err(_) => Err("the API server did not answer in time".to_owned()),
    }
}

/// The first thing this definition of ours knows that the served one of its kind does not; of a kind that is not served at all,
/// the kind.
fn missing_in(definition: &Value, served: &Value) -> Option<String> {
    let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default();
    let is_kind = |schema: &&Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|k| k["kind"] == kind))
    };
    let own = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    match served["components"]["schemas"].as_object().and_then(|all| all.values().find(is_kind)) {
        Some(served) => missing(own, served, kind),
        None => Some(kind.to_owned()),
    }
}

fn missing(own: &Value, served: &Value, path: &str) -> Option<String> {
    let fields = own["properties"].as_object().into_iter().flatten();
    let field = fields.filter(|(name, _)| path.contains('.') || matches!(name.as_str(), "spec" | "status"));
    let field = field.map(|(name, own)| match served["properties"].get(name) {
        Some(served) => missing(own, served, &format!("{path}.{name}")),
        None => Some(format!("{path}.{name}")),
    });
    let value = || {
        let served = served["enum"].as_array()?;
        let unknown = own["enum"].as_array()?.iter().find(|value| !value.is_null() && !served.contains(value))?;
        Some(format!("{path}: {}", unknown.as_str().unwrap_or_default()))
    };
    let within = |part: &str| match &own[part] {
        Value::Object(_) => missing(&own[part], &served[part], &format!("{path}[]")),
        _ => None,
    };
    field.flatten().next().or_else(value).or_else(|| within("items")).or_else(|| within("additionalProperties"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Our definitions, and what an API server serves of them.
    fn served() -> (Vec<Value>, Value) {
        let own: Vec<Value> =
            printernizer_crds::manifests::all().iter().map(|d| serde_json::to_value(d).unwrap()).collect();
        let mut schemas = serde_json::Map::new();
        for definition in &own {
            let kind = &definition["spec"]["names"]["kind"];
            let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            schema["x-kubernetes-group-version-kind"] =
                json!([{ "group": "printernizer.io", "kind": kind, "version": "v1alpha1" }]);
            schemas.insert(format!("io.printernizer.v1alpha1.{}", kind.as_str().unwrap()), schema);
        }
        (own, json!({ "components": { "schemas": schemas } }))
    }

    fn first_missing(own: &[Value], served: &Value) -> Option<String> {
        own.iter().find_map(|definition| missing_in(definition, served))
    }

    #[test]
    fn definitions_that_know_all_of_ours_or_more_are_not_too_old() {
        let (own, mut served) = served();
        assert_eq!(first_missing(&own, &served), None);
        let printer = &mut served["components"]["schemas"]["io.printernizer.v1alpha1.Printer"]["properties"];
        printer["status"]["properties"]["ofALaterVersion"] = json!({ "type": "string" });
        assert_eq!(first_missing(&own, &served), None);
    }

    #[test]
    fn what_older_definitions_do_not_know_is_named_wherever_it_is() {
        let (own, whole) = served();
        let printer = "/components/schemas/io.printernizer.v1alpha1.Printer";
        let job = "/components/schemas/io.printernizer.v1alpha1.PrintJob";
        for (parent, name, told) in [
            (format!("{printer}/properties/status/properties"), "lastStart", "Printer.status.lastStart"),
            (
                format!("{printer}/properties/status/properties/lastStart/properties"),
                "verdict",
                "Printer.status.lastStart.verdict",
            ),
            (
                format!("{job}/properties/status/properties/attempts/items/properties"),
                "outcome",
                "PrintJob.status.attempts[].outcome",
            ),
            ("/components/schemas".to_owned(), "io.printernizer.v1alpha1.PrintRecord", "PrintRecord"),
        ] {
            let mut older = whole.clone();
            let removed = older.pointer_mut(&parent).unwrap().as_object_mut().unwrap().remove(name);
            assert!(removed.is_some(), "{parent}/{name}");
            assert_eq!(first_missing(&own, &older).as_deref(), Some(told));
        }
        let mut older = whole;
        let wishes = format!("{job}/properties/spec/properties/desiredState/enum");
        older.pointer_mut(&wishes).unwrap().as_array_mut().unwrap().retain(|wish| wish != "Pause");
        assert_eq!(first_missing(&own, &older).as_deref(), Some("PrintJob.spec.desiredState: Pause"));
    }

    #[test]
    fn what_is_missing_is_told_once_and_taken_back() {
        let definitions = Definitions::default();
        assert_eq!(definitions.too_old(), None);
        assert!(definitions.learn(Some("Printer.status.lastStart".into())));
        assert!(!definitions.learn(Some("Printer.status.lastStart".into())));
        let told = definitions.too_old().unwrap();
        assert!(told.contains("Printer.status.lastStart") && told.contains("helm upgrade"), "{told}");
        assert!(definitions.learn(None));
        assert_eq!(definitions.too_old(), None);
    }
}
