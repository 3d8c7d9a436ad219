//! Objects of Printernizer in the policy's namespace, as YAML that can be applied again.
//!
//! Left out is what belongs to the cluster the objects were in and not to what somebody wrote: identity, versions, owners
//! (whose ids mean nothing elsewhere, so that the garbage collector would delete what names them), finalizers and the field
//! managers' notes. Annotations stay: by `printernizer.io/run` the operator knows that a restored PrintJob is a copy, and
//! never prints it. A job that still waited for a printer has none yet and gets it in the backup: by the time of a restore
//! it may have been printed. BackupPolicies come back suspended, and ask for no run: else the first backup of a cluster that is
//! half restored would be the newest recovery point. Status stays too, for people: `kubectl apply` leaves it alone. Secrets are never asked for.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use printernizer_crds::RUN_ANNOTATION;
use printernizer_crds::backup_policy::{ObjectKind, ObjectsSource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::tree::hexadecimal;
use crate::failure::Failure;

/// How many objects are asked for at a time: at most 10 kB each, so that a page stays small in memory.
const PAGE: u32 = 100;
/// How long a page may take.
const PAGE_LIMIT: Duration = Duration::from_secs(60);
/// What is left out of metadata.
const FOREIGN: [&str; 9] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    "selfLink",
];
/// An annotation that repeats the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a restore of objects is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectsProof {
    /// How many objects.
    pub count: u64,
    /// SHA-256 of the YAML, in hexadecimal.
    pub sha256: String,
}

/// Writes the objects into a file, and gives what proves it.
pub async fn write(source: &ObjectsSource, namespace: &str, into: &Path) -> Result<ObjectsProof, Failure> {
    let mut config = Config::infer().await.map_err(|error| {
        Failure::source_unavailable(format!(
            "the API server cannot be reached, which holds the objects to back up: {error}; the pods need the policy's \
             service account"
        ))
    })?;
    config.default_retry = false;
    let client = Client::try_from(config)
        .map_err(|error| Failure::source_unavailable(format!("the API server cannot be reached: {error}")))?;
    let scratch = |error: std::io::Error| Failure::scratch(into, &error);
    let mut file = BufWriter::new(File::create(into).map_err(scratch)?);
    let mut digest = Sha256::new();
    let mut count = 0;
    let mut kinds = if source.kinds.is_empty() { ObjectKind::ALL.to_vec() } else { source.kinds.clone() };
    kinds.sort();
    kinds.dedup();
    let selector = source.label_selector.as_ref().map(selector).transpose()?;
    for kind in kinds {
        let resource = resource(kind);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let mut parameters = ListParams::default().limit(PAGE);
        parameters.label_selector.clone_from(&selector);
        loop {
            let unavailable = |why: String| {
                Failure::source_unavailable(format!(
                    "{} of namespace {namespace} cannot be listed: {why}",
                    resource.plural
                ))
            };
            let page = timeout(PAGE_LIMIT, api.list(&parameters)).await;
            let page = page.map_err(|_| unavailable(format!("no answer in {} s", PAGE_LIMIT.as_secs())))?;
            let page = page.map_err(|error| unavailable(error.to_string()))?;
            for mut object in page.items {
                // Items of a list carry neither.
                object.types = Some(kube::core::TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: resource.kind.clone(),
                });
                let object = serde_json::to_value(&object).map_err(|error| unavailable(error.to_string()))?;
                let yaml = yaml(object).map_err(|error| unavailable(error.to_string()))?;
                file.write_all(yaml.as_bytes()).map_err(scratch)?;
                digest.update(yaml.as_bytes());
                count += 1;
            }
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => parameters = parameters.continue_token(&next),
                None => break,
            }
        }
    }
    file.flush().map_err(scratch)?;
    Ok(ObjectsProof { count, sha256: hexadecimal(&digest.finalize()) })
}

/// The proof of a file that was restored.
pub fn read(file: &Path) -> std::io::Result<ObjectsProof> {
    use std::io::BufRead as _;
    let mut reader = std::io::BufReader::new(File::open(file)?);
    let (mut digest, mut count, mut line) = (Sha256::new(), 0, Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        // Within an object every line is indented or begins with a name.
        count += u64::from(line == DOCUMENT.as_bytes());
        digest.update(&line);
        line.clear();
    }
    Ok(ObjectsProof { count, sha256: hexadecimal(&digest.finalize()) })
}

/// What begins each object.
const DOCUMENT: &str = "---\n";

fn resource(kind: ObjectKind) -> ApiResource {
    let (kind, plural) = match kind {
        ObjectKind::Printer => ("Printer", "printers"),
        ObjectKind::PrintJob => ("PrintJob", "printjobs"),
        ObjectKind::PrintRecord => ("PrintRecord", "printrecords"),
        ObjectKind::BackupPolicy => ("BackupPolicy", "backuppolicies"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("printernizer.io", "v1alpha1", kind), plural)
}

/// Marks a job with the run it waits for, as the operator does when it gives the job a printer. A mark of this run stays,
/// whosesoever it is.
fn mark_own_run(object: &mut Value) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, uid, run_id) = (text("/kind"), text("/metadata/uid"), text("/spec/runID"));
    if kind != "PrintJob" || uid.is_empty() {
        return;
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    let Some(annotations) = annotations.as_object_mut() else { return };
    let marked = annotations.get(RUN_ANNOTATION).and_then(Value::as_str);
    if marked.is_none_or(|run| run.split_once('/').map_or("", |(_, id)| id) != run_id) {
        let own = if run_id.is_empty() { uid } else { format!("{uid}/{run_id}") };
        annotations.insert(RUN_ANNOTATION.to_owned(), own.into());
    }
}

/// Has a policy begin nothing by itself in the cluster it is restored into, nor at once what somebody asked for in the former.
fn rest(object: &mut Value) {
    if object.get("kind").and_then(Value::as_str) != Some("BackupPolicy") {
        return;
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("trigger");
        spec.insert("suspend".to_owned(), true.into());
    }
}

/// The object as a document of YAML, without what belongs to its cluster.
fn yaml(mut object: Value) -> Result<String, serde_saphyr::ser::Error> {
    mark_own_run(&mut object);
    rest(&mut object);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in FOREIGN.iter().chain(&["finalizers"]) {
            metadata.remove(*name);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    let text = serde_saphyr::to_string(&object)?;
    let end = if text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{DOCUMENT}{text}{end}"))
}

/// The selector as the API takes it.
fn selector(selector: &LabelSelector) -> Result<String, Failure> {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| Ok(format!("{key}={value}")));
    let other = selector.match_expressions.iter().flatten().map(|expression| {
        let (key, values) = (&expression.key, expression.values.clone().unwrap_or_default().join(","));
        match expression.operator.as_str() {
            "In" => Ok(format!("{key} in ({values})")),
            "NotIn" => Ok(format!("{key} notin ({values})")),
            "Exists" => Ok(key.clone()),
            "DoesNotExist" => Ok(format!("!{key}")),
            unknown => Err(Failure::invalid(format!("labelSelector has the unknown operator {unknown}"))),
        }
    });
    Ok(equal.chain(other).collect::<Result<Vec<_>, _>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_belongs_to_the_cluster_is_left_out_and_the_mark_of_a_claimed_job_stays() {
        let object = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": {
                "name": "vase", "namespace": "farm", "uid": "u", "resourceVersion": "1", "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{}], "ownerReferences": [{"uid": "x"}],
                "finalizers": ["printernizer.io/release-printer"], "labels": {"shelf": "a"},
                "annotations": {"printernizer.io/run": "u", (LAST_APPLIED): "{}"},
            },
            "spec": {"priority": 3, "displayName": "no: yes\n---\n"},
        });
        let yaml = yaml(object).unwrap();
        assert!(yaml.starts_with("---\n") && yaml.ends_with('\n'));
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        let metadata = json!({
            "name": "vase", "namespace": "farm", "labels": {"shelf": "a"}, "annotations": {"printernizer.io/run": "u"},
        });
        assert_eq!(read["metadata"], metadata);
        assert_eq!(read["spec"]["displayName"], "no: yes\n---\n");
    }

    #[test]
    fn a_job_that_still_waits_is_marked_with_the_run_it_waits_for() {
        let marked = |annotation: Option<&str>, run_id: &str| {
            let mut object =
                json!({"kind": "PrintJob", "metadata": {"name": "vase", "uid": "u"}, "spec": {"runID": run_id}});
            if let Some(annotation) = annotation {
                object["metadata"]["annotations"] = json!({(RUN_ANNOTATION): annotation});
            }
            let read: Value = serde_saphyr::from_str(&yaml(object).unwrap()).unwrap();
            read["metadata"]["annotations"][RUN_ANNOTATION].as_str().unwrap().to_owned()
        };
        assert_eq!(marked(None, ""), "u");
        assert_eq!(marked(None, "2"), "u/2");
        assert_eq!(marked(Some("u"), "2"), "u/2", "it waits for its second run");
        assert_eq!(marked(Some("of-another"), ""), "of-another", "it is a copy already");
        assert_eq!(marked(Some("of-another/2"), "2"), "of-another/2");
        let printer = json!({"kind": "Printer", "metadata": {"name": "core-1", "uid": "u"}});
        assert!(!yaml(printer).unwrap().contains(RUN_ANNOTATION));
    }

    #[test]
    fn a_restored_policy_begins_nothing() {
        let spec = |kind: &str, spec: Value| -> Value {
            let read: Value =
                serde_saphyr::from_str(&yaml(json!({"kind": kind, "metadata": {}, "spec": spec})).unwrap()).unwrap();
            read["spec"].clone()
        };
        let written = json!({"schedule": "@daily", "trigger": {"manual": "now"}});
        assert_eq!(spec("BackupPolicy", written.clone()), json!({"schedule": "@daily", "suspend": true}));
        assert_eq!(spec("PrintJob", written.clone()), written);
    }

    #[test]
    fn a_file_proves_as_many_objects_as_were_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let object = json!({"kind": "Printer", "spec": {"location": "a\n---\nb"}});
        let text = yaml(object.clone()).unwrap() + &yaml(object).unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let proof = read(file.path()).unwrap();
        assert_eq!((proof.count, proof.sha256), (2, hexadecimal(&Sha256::digest(text.as_bytes()))));
    }

    #[test]
    fn a_selector_is_written_as_the_api_reads_it() {
        let all: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"a": "1"},
            "matchExpressions": [
                {"key": "b", "operator": "In", "values": ["x", "y"]}, {"key": "c", "operator": "NotIn", "values": ["z"]},
                {"key": "d", "operator": "Exists"}, {"key": "e", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        assert_eq!(selector(&all).unwrap(), "a=1,b in (x,y),c notin (z),d,!e");
    }
}
