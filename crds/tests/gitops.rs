//! What GitOps tools are told of the project's kinds is true of the types: the objects their health checks are tested with
//! are objects of these kinds, and what Flux is given decides on them as it should.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cel::{Context, Program};
use printernizer_crds::{BackupPolicy, PrintJob, Printer};
use printernizer_e2e::farm::project;
use serde_json::Value;

fn deploy(path: &str) -> PathBuf {
    project().join("deploy").join(path)
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The objects of the health checks of one kind, by the name of their file.
fn examples(kind: &str) -> BTreeMap<String, Value> {
    let folder = std::fs::read_dir(deploy("argocd/health").join(kind).join("testdata")).unwrap();
    let found: BTreeMap<String, Value> = folder
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), yaml(&path)))
        .collect();
    assert!(found.len() >= 9, "{kind}: {found:?}");
    found
}

/// Every field of the first that is not the same in the second.
fn lost(before: &Value, after: &Value, path: &str, lost_fields: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(_)) => {
            for (name, value) in before {
                lost(value, &after[name], &format!("{path}.{name}"), lost_fields);
            }
        }
        (Value::Array(before), Value::Array(_)) => {
            for (i, value) in before.iter().enumerate() {
                lost(value, &after[i], &format!("{path}[{i}]"), lost_fields);
            }
        }
        _ if before == after || before == &Value::Object(serde_json::Map::default()) => {}
        _ => lost_fields.push(path.to_owned()),
    }
}

#[test]
fn the_objects_health_checks_are_tested_with_are_objects_of_these_kinds() {
    for kind in ["Printer", "PrintJob", "BackupPolicy"] {
        for (name, object) in examples(kind) {
            let read = match kind {
                "Printer" => serde_json::to_value(serde_json::from_value::<Printer>(object.clone()).unwrap()),
                "BackupPolicy" => serde_json::to_value(serde_json::from_value::<BackupPolicy>(object.clone()).unwrap()),
                _ => serde_json::to_value(serde_json::from_value::<PrintJob>(object.clone()).unwrap()),
            };
            let mut fields = Vec::new();
            lost(&object, &read.unwrap(), "", &mut fields);
            assert!(fields.is_empty(), "{kind} {name}: {fields:?} are no fields of it");
        }
    }
}

/// What an expression says of an object. None where it asks for a field that is not there: then Flux waits on.
fn says(expression: &str, object: &Value) -> Option<bool> {
    let mut context = Context::default();
    for (name, value) in object.as_object().unwrap() {
        context.add_variable(name.as_str(), value.clone()).unwrap();
    }
    match Program::compile(expression).unwrap().execute(&context) {
        Ok(cel::Value::Bool(holds)) => Some(holds),
        Ok(other) => panic!("{expression} gives {other:?}"),
        Err(_) => None,
    }
}

/// What Flux takes an object for: it asks in this order.
fn taken_for(expressions: &Value, object: &Value) -> &'static str {
    for (field, verdict) in [("inProgress", "waits"), ("failed", "fails"), ("current", "goes on")] {
        match says(expressions[field].as_str().unwrap(), object) {
            Some(true) => return verdict,
            Some(false) => {}
            None => return "waits",
        }
    }
    "waits"
}

/// What Flux is given for a farm.
fn farm() -> Value {
    let text = std::fs::read_to_string(deploy("flux/farm.yaml")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    objects.into_iter().find(|object| object["kind"] == "Kustomization").unwrap()
}

/// Without it Flux takes out what people wrote with kubectl: a job that is held would be printed.
#[test]
fn flux_leaves_alone_what_people_write_with_kubectl() {
    assert_eq!(farm()["spec"]["commonMetadata"]["annotations"]["kustomize.toolkit.fluxcd.io/ssa"], "Merge");
}

#[test]
fn flux_waits_for_what_can_be_used_and_printed_and_not_for_the_prints() {
    let kustomization = farm();
    let of = |kind: &str| {
        let all = kustomization["spec"]["healthCheckExprs"].as_array().unwrap();
        let expressions = all.iter().find(|e| e["kind"] == kind).unwrap();
        let verdicts = examples(kind).into_iter().map(|(name, object)| (name, taken_for(expressions, &object)));
        verdicts.map(|(name, verdict)| format!("{name}: {verdict}")).collect::<Vec<_>>()
    };
    assert_eq!(
        of("Printer"),
        [
            "being-deleted: waits",
            "changed: waits",
            "connecting: waits",
            "cordoned: goes on",
            "no-status: waits",
            "part-on-bed: goes on",
            "printing: goes on",
            "ready: goes on",
            "unreachable: fails",
        ]
    );
    assert_eq!(
        of("PrintJob"),
        [
            "cancelled-in-git: goes on",
            "cancelled-unread: goes on",
            "changed: waits",
            "failed: fails",
            "fetching: waits",
            "file-missing: fails",
            "fits-no-printer: goes on",
            "held: goes on",
            "no-status: waits",
            "paused-as-asked: goes on",
            "paused-at-the-printer: goes on",
            "printed-before: goes on",
            "printing: goes on",
            "question: goes on",
            "queued: goes on",
            "stopped-at-the-printer: goes on",
            "succeeded: goes on",
        ]
    );
    assert_eq!(
        of("BackupPolicy"),
        [
            "backed-up: goes on",
            "changed: waits",
            "damaged: goes on",
            "failed: goes on",
            "no-status: waits",
            "ready: goes on",
            "secret-missing: fails",
            "suspended: goes on",
            "suspended-too-old: goes on",
            "too-old: goes on",
            "unseen: waits",
        ]
    );
}
