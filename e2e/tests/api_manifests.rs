//! What the API server says of the chart, the overlays' base and the GitOps examples: it takes each object as it stands,
//! with no field it does not know and no warning, in a namespace that allows only restricted pods.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use printernizer_e2e::Namespace;
use printernizer_e2e::cluster::{self, Cluster};
use printernizer_e2e::farm::{Farm, project};

/// Kinds of others, which this cluster does not have, and definitions, which the rendered files have without their schema.
const NOT_HERE: [&str; 4] = ["ServiceMonitor", "PrometheusRule", "CustomResourceDefinition", "Namespace"];

/// The documents of a file for kinds the cluster has, with all objects in one namespace.
fn for_namespace(path: &Path, namespace: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let here = text
        .split("---\n")
        .filter(|document| !NOT_HERE.iter().any(|kind| document.contains(&format!("kind: {kind}\n"))));
    let moved = here.map(|document| {
        let line = |line: &str| match line.split_once("namespace: ") {
            Some((indent, _)) if indent.trim().is_empty() => format!("{indent}namespace: {namespace}\n"),
            _ => format!("{line}\n"),
        };
        document.lines().map(line).collect::<String>()
    });
    moved.collect::<Vec<_>>().join("---\n")
}

/// Tools apply only what is in Git, and nobody who uses kubectl is undone: what `kustomize.toolkit.fluxcd.io/ssa: Merge` and
/// `ServerSideApply=true` rely on.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_cancel_by_kubectl_outlast_the_next_sync_of_a_job_whose_file_does_not_name_them() {
    let cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    let namespace = Namespace::create(&cluster.client().await.unwrap(), "sync").await.unwrap();
    let example = project().join("deploy/argocd/example-farm.yaml");
    let sync = |file: &str| {
        let apply =
            ["apply", "--server-side", "--field-manager=kustomize-controller", "--force-conflicts", "--filename=-"];
        kubectl(cluster, &apply, file)
    };
    let job = ["--namespace", namespace.name(), "printjob", "bracket-1"];
    let file = for_namespace(&example, namespace.name());
    for wish in ["Pause", "Cancel"] {
        let (synced, said) = sync(&file);
        assert!(synced, "{said}");
        let wished = format!(r#"{{"spec":{{"desiredState":"{wish}"}}}}"#);
        let (patched, said) =
            kubectl(cluster, &[&["patch"], &job[..], &["--type=merge", "--patch", &wished]].concat(), "");
        assert!(patched, "{said}");
        let (synced, said) = sync(&file);
        assert!(synced, "{said}");
        let (_, found) =
            kubectl(cluster, &[&["get"], &job[..], &["--output=jsonpath={.spec.desiredState}"]].concat(), "");
        assert_eq!(found, wish);
    }
    let (synced, said) = sync(&format!("{file}  desiredState: Run\n"));
    assert!(!synced && said.contains("Cancel is final"), "a Run in Git would block the sync: {said}");
    namespace.delete().await.unwrap();
}

fn kubectl(cluster: &Cluster, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = cluster.kubectl();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_takes_every_object_as_it_stands() {
    let cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    let namespace = Namespace::create(&cluster.client().await.unwrap(), "manifests").await.unwrap();
    let restricted = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    let label = ["label", "namespace", namespace.name(), &restricted[0], &restricted[1]];
    let (labeled, said) = kubectl(cluster, &label, "");
    assert!(labeled, "{said}");
    let mut files =
        vec![project().join("deploy/kustomize/base/operator.yaml"), project().join("deploy/argocd/example-farm.yaml")];
    files
        .extend(std::fs::read_dir(project().join("charts/printernizer/ci/golden")).unwrap().map(|f| f.unwrap().path()));
    assert!(files.len() >= 6, "{files:?}");
    let dry_run = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"];
    for file in files {
        let (taken, said) = kubectl(cluster, &dry_run, &for_namespace(&file, namespace.name()));
        assert!(taken && !said.contains("Warning"), "{}: {said}", file.display());
    }
    let unknown = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: {}}}, dat: {{}}}}",
        namespace.name()
    );
    assert!(!kubectl(cluster, &dry_run, &unknown).0, "a field that no ConfigMap has must be found");
    namespace.delete().await.unwrap();
}
