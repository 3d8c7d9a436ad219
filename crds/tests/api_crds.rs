//! The definitions on a real API server: it takes them as they are committed, judges every row of `tests/rows` as the
//! row says, explains the fields and shows the columns. What the rules cost is judged by the server taking them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use printernizer_e2e::cluster::{Cluster, shared};
use printernizer_e2e::{Namespace, apply_crds, wait_until};
use serde_json::{Value, json};
use support::{Row, Rows, all};
use tokio::time::timeout;

const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const PUBLISHED_TIMEOUT: Duration = Duration::from_mins(1);

/// The shared cluster with the committed definitions, and a namespace for one test.
async fn farm(test: &str) -> (&'static Cluster, Client, Namespace) {
    let cluster = shared().await.unwrap();
    let client = cluster.client().await.unwrap();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let applied = apply_crds(&client, &manifests).await.unwrap();
    assert_eq!(
        applied,
        [
            "backuppolicies.printernizer.io",
            "printers.printernizer.io",
            "printjobs.printernizer.io",
            "printrecords.printernizer.io"
        ],
        "all definitions are served"
    );
    let namespace = Namespace::create(&client, test).await.unwrap();
    (cluster, client, namespace)
}

fn api(client: &Client, namespace: &Namespace, base: &Value, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("printernizer.io", "v1alpha1", base["kind"].as_str().unwrap());
    Api::namespaced_with(client.clone(), namespace.name(), &ApiResource::from_gvk_with_plural(&kind, plural))
}

/// Awaits an answer; `Err` is what the server says against the request.
async fn answer<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(CALL_TIMEOUT, call).await.expect("the API server answers") {
        Ok(taken) => Ok(taken),
        Err(kube::Error::Api(status)) if status.is_invalid() => Err(status.message),
        Err(other) => panic!("neither taken nor judged invalid: {other}"),
    }
}

/// Writes what a row says and returns what the server says against it.
async fn judged(api: &Api<DynamicObject>, rows: &Rows, row: &Row, number: usize) -> Option<String> {
    // A row may be about the name.
    let name = row.object["metadata"]["name"].as_str().map_or_else(|| format!("row-{number}"), str::to_owned);
    let create = async |object: Value| {
        let mut object: DynamicObject = serde_json::from_value(object).unwrap();
        object.metadata.name = Some(name.clone());
        answer(api.create(&PostParams::default(), &object)).await
    };
    let Some(before) = rows.before(row) else { return create(rows.object(row)).await.err() };
    create(before.clone()).await.unwrap_or_else(|said| panic!("{}: before the change: {said}", row.name));
    let parameters = PatchParams::default();
    if before["status"].is_object() {
        let status = json!({"status": before["status"]});
        answer(api.patch_status(&name, &parameters, &Patch::Merge(status))).await.unwrap();
    }
    if row.object["status"].is_object() {
        return answer(api.patch_status(&name, &parameters, &Patch::Merge(&row.object))).await.err();
    }
    answer(api.patch(&name, &parameters, &Patch::Merge(&row.object))).await.err()
}

#[tokio::test]
async fn the_api_server_judges_every_row_as_it_says() {
    let (_, client, namespace) = farm("rows").await;
    let mut wrong = Vec::new();
    for (crd, rows) in all() {
        let api = api(&client, &namespace, &rows.base, &crd.spec.names.plural);
        for (number, row) in rows.rows.iter().enumerate() {
            let said = judged(&api, &rows, row, number).await;
            let right = match (&said, &row.message) {
                (None, None) => true,
                (Some(said), Some(message)) => said.contains(message.as_str()),
                _ => false,
            };
            if !right {
                wrong.push(format!("{}: {}: said {said:?}, not {:?}", crd.spec.names.kind, row.name, row.message));
            }
        }
    }
    namespace.delete().await.unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_field_left_empty_is_absent_and_defaults_are_filled_in() {
    let (_, client, namespace) = farm("empty").await;
    let (crd, rows) = all().into_iter().find(|(crd, _)| crd.spec.names.kind == "PrintJob").unwrap();
    let mut object = rows.base.clone();
    for field in ["printerRef", "displayName", "plate", "colorMatch", "notAfter", "retry"] {
        object["spec"][field] = Value::Null;
    }
    object["spec"]["source"]["http"] = Value::Null;
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let api = api(&client, &namespace, &rows.base, &crd.spec.names.plural);
    let taken = answer(api.create(&PostParams::default(), &object)).await.unwrap();
    namespace.delete().await.unwrap();
    assert_eq!(
        taken.data["spec"],
        json!({
            "deletionPolicy": "LetFinish",
            "desiredState": "Run",
            "plate": 1,
            "priority": 0,
            "retry": {"limit": 0},
            "source": {"configMap": {"name": "files", "key": "shelf-hook.gcode"}},
        })
    );
}

#[tokio::test]
async fn status_is_written_only_through_its_subresource() {
    let (_, client, namespace) = farm("status").await;
    let (crd, rows) = all().into_iter().find(|(crd, _)| crd.spec.names.kind == "Printer").unwrap();
    let api = api(&client, &namespace, &rows.base, &crd.spec.names.plural);
    let mut object: DynamicObject = serde_json::from_value(rows.base.clone()).unwrap();
    object.data["status"] = json!({"state": "Idle"});
    let created = answer(api.create(&PostParams::default(), &object)).await.unwrap();
    assert_eq!(created.data["status"], Value::Null, "a create does not write status");
    let patch = json!({"spec": {"location": "shelf 9"}, "status": {"state": "Printing"}});
    let name = created.name_any();
    let written = answer(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))).await.unwrap();
    assert_eq!(written.data["status"], json!({"state": "Printing"}));
    assert_eq!(written.data["spec"]["location"], Value::Null, "a write of status does not write spec");
    assert_eq!(written.metadata.generation, Some(1));
    let written = answer(api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))).await.unwrap();
    namespace.delete().await.unwrap();
    assert_eq!(written.data["spec"]["location"], "shelf 9");
    assert_eq!(written.metadata.generation, Some(2));
}

/// Runs kubectl and returns what it prints, or what it says is wrong.
fn try_kubectl(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let mut command: Command = cluster.kubectl();
    let output = command.args(["--request-timeout", "15s"]).args(arguments).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    try_kubectl(cluster, arguments).unwrap_or_else(|said| panic!("kubectl {arguments:?}: {said}"))
}

/// Waits until kubectl can know all kinds: the API server serves a new kind before it publishes its name and schema.
async fn published(cluster: &Cluster) {
    wait_until("the kinds to be published", PUBLISHED_TIMEOUT, async || {
        let names = try_kubectl(cluster, &["api-resources", "--categories", "printernizer", "--output", "name"])?;
        if names.lines().count() < all().len() {
            return Err(names);
        }
        for (crd, _) in all() {
            try_kubectl(cluster, &["explain", &format!("{}.spec", crd.spec.names.plural)])?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn kubectl_explains_fields_in_whole_sentences() {
    let (cluster, _, namespace) = farm("explain").await;
    published(cluster).await;
    for (field, sentence) in [
        ("printer.spec.connection", "How to reach the printer; exactly one of bambu and prusaLink."),
        ("prn.spec.connection.prusaLink.url", "Address of the printer: http://HOST or http://HOST:PORT."),
        ("printjob.spec.colorMatch", "How closely a slot's color must match the file's"),
        ("pj.status.start", "The intent to start, recorded before the start is sent."),
        ("prec.spec.printedOn", "Name of the Printer it was started on."),
        ("backuppolicy.spec.schedule", "When a backup is made: five fields (minute hour day month weekday)"),
        ("bkp.status.lastSuccessfulTime", "Age of the newest good recovery point: when its backup began (UTC)."),
    ] {
        let text = kubectl(cluster, &["explain", field]);
        let flowing = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flowing.contains(sentence), "{field}: {text}");
    }
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn kubectl_shows_the_state_of_printers_and_jobs_in_columns() {
    let (cluster, client, namespace) = farm("columns").await;
    published(cluster).await;
    let status = |plural: &str| match plural {
        "printers" => json!({
            "state": "Printing",
            "currentJob": {"name": "shelf-hook", "uid": "u", "attempt": 1},
            "device": {"host": "192.168.1.50", "firmwareVersion": "6.4.0", "serialNumber": "10589"},
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "PrinterReady", "message": "", "lastTransitionTime": "2026-11-21T09:30:00Z"},
                {"type": "BedCleared", "status": "False", "reason": "PrintInProgress", "message": "", "lastTransitionTime": "2026-11-21T09:30:00Z"},
            ],
        }),
        "printjobs" => json!({
            "phase": "Printing",
            "printer": {"name": "core-one-1", "uid": "u", "serialNumber": "10589"},
            "progress": {"percent": 42, "summary": "42%", "remaining": "1h25m"},
        }),
        "backuppolicies" => json!({
            "nextScheduleTime": "2026-11-22T02:00:00Z",
            "snapshotCount": 31,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "PolicyReady", "message": "", "lastTransitionTime": "2026-11-21T09:30:00Z"},
                {"type": "RecoveryPointObjectiveMet", "status": "False", "reason": "ObjectiveMissed", "message": "", "lastTransitionTime": "2026-11-21T09:30:00Z"},
            ],
        }),
        _ => json!({"outcome": "Succeeded"}),
    };
    for (crd, rows) in all() {
        let plural = &crd.spec.names.plural;
        let api = api(&client, &namespace, &rows.base, plural);
        let mut object: DynamicObject = serde_json::from_value(rows.base.clone()).unwrap();
        if plural == "printers" {
            object.data["spec"]["location"] = json!("cellar");
            object.data["spec"]["connection"]["prusaLink"]["serialNumber"] = json!("10589");
        }
        let name = answer(api.create(&PostParams::default(), &object)).await.unwrap().name_any();
        let patch = Patch::Merge(json!({"status": status(plural)}));
        answer(api.patch_status(&name, &PatchParams::default(), &patch)).await.unwrap();
    }
    let words = |resource: &str, format: &[&str]| -> Vec<Vec<String>> {
        let text = kubectl(cluster, &[&["--namespace", namespace.name(), "get", resource], format].concat());
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    assert_eq!(words("printers", &[])[0], ["NAME", "STATE", "READY", "REASON", "JOB", "BED", "MODEL", "AGE"]);
    assert_eq!(
        words("prn", &[])[1][..7],
        ["core-one-1", "Printing", "True", "PrinterReady", "shelf-hook", "PrintInProgress", "COREONE"]
    );
    let wide = words("printers", &["--output", "wide"]);
    assert_eq!(wide[0][7..], ["LOCATION", "FIRMWARE", "HOST", "AGE"]);
    assert_eq!(wide[1][7..10], ["cellar", "6.4.0", "192.168.1.50"]);
    assert_eq!(words("printjobs", &[])[0], ["NAME", "PHASE", "PRINTER", "PROGRESS", "REMAINING", "PRIORITY", "AGE"]);
    assert_eq!(words("pj", &[])[1][..6], ["shelf-hook", "Printing", "core-one-1", "42%", "1h25m", "0"]);
    let selected = words("printjobs", &["--field-selector", "status.phase=Printing,status.printer.name=core-one-1"]);
    assert_eq!(selected.len(), 2);
    assert_eq!(words("printers", &["--field-selector", "status.state=Idle"]), Vec::<Vec<String>>::new());
    // How an operator looks for whatever else stands for a device.
    for (resource, field, serial, found) in [
        ("printjobs", "status.printer.serialNumber", "10589", 2),
        ("printjobs", "status.printer.serialNumber", r"10589\,\=\\", 0),
        ("printers", "status.device.serialNumber", "10589", 2),
        ("printers", "spec.connection.prusaLink.serialNumber", "10589", 2),
        ("printers", "spec.connection.bambu.serialNumber", "10589", 0),
    ] {
        let selector = format!("{field}={serial}");
        assert_eq!(words(resource, &["--field-selector", &selector]).len(), found, "{resource} {selector}");
    }
    assert_eq!(words("prec", &[])[1][..4], ["farm.shelf-hook", "shelf-hook", "core-one-1", "Succeeded"]);
    assert_eq!(
        words("backuppolicies", &[])[0].join(" "),
        "NAME READY LAST BACKUP WITHIN RPO RESTORED NEXT AGE",
        "what people want to know first"
    );
    // Nothing was backed up, and nothing restored yet: these columns are empty.
    assert_eq!(words("bkp", &[])[1][..4], ["farm", "True", "False", "2026-11-22T02:00:00Z"]);
    let everything = words("printernizer", &["--output", "name"]).concat();
    namespace.delete().await.unwrap();
    assert_eq!(everything.len(), 4, "the category holds all kinds: {everything:?}");
}

#[tokio::test]
async fn the_examples_can_be_applied_as_they_are() {
    let (cluster, _, namespace) = farm("examples").await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let folder = folder.to_str().unwrap();
    let text = kubectl(
        cluster,
        &[
            "--namespace",
            namespace.name(),
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            folder,
            "--filename",
            &format!("{folder}/backup"),
        ],
    );
    namespace.delete().await.unwrap();
    for kind in ["printer.", "printjob.", "backuppolicy."].map(|kind| format!("{kind}printernizer.io/")) {
        assert!(text.contains(&kind), "no {kind} in {text}");
    }
    for kind in ["secret/", "configmap/"] {
        assert!(text.contains(kind), "no {kind} in {text}");
    }
}
