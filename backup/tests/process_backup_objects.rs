//! Objects of Printernizer from a real API server, and back: what was written comes back, what belongs to the cluster does
//! not, and a restored PrintJob is known as a copy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use printernizer_crds::backup_policy::OBJECTS_HEADER;
use printernizer_crds::{PrintJob, Printer};
use printernizer_e2e::{Namespace, cluster};
use serde_json::{Value, json};
use support::{Pod, finish};

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_back_without_what_belongs_to_their_cluster() {
    let cluster = cluster::shared().await.unwrap();
    let client = cluster.client().await.unwrap();
    let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/manifests");
    printernizer_e2e::apply_crds(&client, definitions.as_ref()).await.unwrap();
    let namespace = Namespace::create(&client, "backup-objects").await.unwrap();
    let printers: Api<Printer> = Api::namespaced(client.clone(), namespace.name());
    let jobs: Api<PrintJob> = Api::namespaced(client.clone(), namespace.name());
    let printer: Printer = serde_json::from_value(json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": {"name": "core-1", "labels": {"shelf": "a"}},
        "spec": {"model": "Prusa CORE One", "connection": {"prusaLink": {
            "url": "http://192.0.2.1", "credentialsSecretRef": {"name": "core-1"}}}},
    }))
    .unwrap();
    printers.create(&PostParams::default(), &printer).await.unwrap();
    let mut uids = Vec::new();
    for count in 0..3 {
        let job: PrintJob = serde_json::from_value(json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": {"name": format!("vase-{count}"), "labels": {"shelf": if count == 2 { "b" } else { "a" }}},
            "spec": {"source": {"configMap": {"name": "files", "key": "vase.gcode"}}},
        }))
        .unwrap();
        let job = jobs.create(&PostParams::default(), &job).await.unwrap();
        let uid = job.uid().unwrap();
        uids.push(uid.clone());
        if count == 1 {
            // It still waits for a printer.
            continue;
        }
        // As the operator marks a job it has claimed.
        let mark = json!({"metadata": {
            "annotations": {"printernizer.io/run": uid}, "finalizers": ["printernizer.io/release-printer"]}});
        jobs.patch(&job.name_any(), &PatchParams::default(), &Patch::Merge(mark)).await.unwrap();
    }

    let mut pod = Pod::new();
    pod.set("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    pod.configuration["namespace"] = json!(namespace.name());
    pod.configuration["sources"] = json!({"objects": {"labelSelector": {"matchLabels": {"shelf": "a"}}}});
    let made = pod.succeed(&["backup"]);
    pod.succeed(&["drill"]);
    std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
    pod.succeed(&["restore", "--objects", "fresh"]);
    let text = std::fs::read_to_string(pod.path("restore/fresh/objects.yaml")).unwrap();
    // To standard output, where whoever reads a pod's log sees whether it is whole.
    let shown = finish(&mut pod.command(&["restore", "--objects"]));
    assert_eq!(shown, format!("{OBJECTS_HEADER}{}\n{text}", text.len()));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let names: Vec<&str> = objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["core-1", "vase-0", "vase-1"], "{made:?}");
    for foreign in ["uid", "resourceVersion", "managedFields", "creationTimestamp", "finalizers", "generation"] {
        assert!(objects.iter().all(|object| object["metadata"].get(foreign).is_none()), "{foreign}: {text}");
    }
    for job in 0..2 {
        assert_eq!(objects[1 + job]["metadata"]["annotations"]["printernizer.io/run"], json!(uids[job]));
    }

    // They can be applied as they are where they are gone, and the job is then another one than its mark says.
    for job in ["vase-0", "vase-1"] {
        let free = json!({"metadata": {"finalizers": null}});
        jobs.patch(job, &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
        jobs.delete(job, &kube::api::DeleteParams::default()).await.unwrap();
    }
    for object in &objects[1..] {
        let name = object["metadata"]["name"].as_str().unwrap();
        let apply = PatchParams::apply("a-person");
        let job = jobs.patch(name, &apply, &Patch::Apply(object)).await.unwrap();
        assert_ne!(job.uid().as_deref(), job.annotations()["printernizer.io/run"].as_str().into());
    }
    namespace.delete().await.unwrap();
}
