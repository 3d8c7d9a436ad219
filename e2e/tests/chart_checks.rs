//! What others' programs say of the manifests and of the Dockerfile: helm's lint, the schemas of Kubernetes, kube-score,
//! hadolint. Every exception from a
//! check stands here with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod manifests;

use std::path::{Path, PathBuf};
use std::process::Command;

use manifests::{chart, kustomize, run, template, tool, values};
use printernizer_e2e::farm::project;
use printernizer_e2e::tools::{KUBERNETES, Tool, hadolint, kubernetes_schemas};
use tempfile::TempDir;

/// The one check of kube-score that is not for us: a version's image never changes, and a node that has it needs no
/// registry.
const NOT_FOR_US: &str = "container-image-pull-policy";

/// Everything that is rendered, each as a file.
fn rendered(folder: &TempDir) -> Vec<(String, PathBuf)> {
    let chart = values().into_iter().map(|(name, path)| (format!("chart-{name}"), template(Some(&path), &[]).unwrap()));
    let overlays = ["dev", "production", "staging"];
    let overlays = overlays
        .map(|name| (format!("overlay-{name}"), kustomize(&format!("deploy/kustomize/overlays/{name}")).unwrap()));
    chart
        .chain(overlays)
        .map(|(name, text)| {
            let path = folder.path().join(format!("{name}.yaml"));
            std::fs::write(&path, text).unwrap();
            (name, path)
        })
        .collect()
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for (_, path) in values() {
        let mut command = tool(Tool::Helm);
        command.args(["lint", "--strict", "--quiet", "--kube-version", KUBERNETES, "--values"]).arg(path).arg(chart());
        run(&mut command).unwrap();
    }
}

#[test]
fn every_manifest_has_only_fields_that_its_kind_knows() {
    let folder = TempDir::new().unwrap();
    let check = |path: &PathBuf| {
        let mut command = tool(Tool::Kubeconform);
        command.args(["-strict", "-summary", "-kubernetes-version", KUBERNETES, "-schema-location"]);
        // The kinds of another project; their schemas are that project's. promtool looks at the rules.
        run(command.arg(kubernetes_schemas().unwrap()).args(["-skip", "ServiceMonitor,PrometheusRule"]).arg(path))
    };
    for (name, path) in rendered(&folder) {
        check(&path).unwrap_or_else(|said| panic!("{name}: {said}"));
    }
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {port: 1}}").unwrap();
    assert!(check(&wrong).is_err(), "a field that no Service has must be found");
}

#[test]
fn kube_score_finds_nothing_that_is_not_excused_here() {
    let folder = TempDir::new().unwrap();
    // Network policy and disruption budget are switched off in these values, which is what it would find.
    for (name, path) in rendered(&folder).into_iter().filter(|(name, _)| name != "chart-bare") {
        let mut command = tool(Tool::KubeScore);
        // A limit of processor time would throttle the one who renews the Lease.
        command.args(["score", "--ignore-container-cpu-limit", "--output-format", "ci"]);
        command.args(["--ignore-test", NOT_FOR_US]);
        run(command.arg(path)).unwrap_or_else(|said| panic!("{name}: {said}"));
    }
}

#[test]
fn hadolint_finds_nothing_to_complain_about_in_the_dockerfile() {
    let folder = TempDir::new().unwrap();
    let check = |path: &Path| run(Command::new(hadolint().unwrap()).arg("--no-color").arg(path));
    check(&project().join("Dockerfile")).unwrap();
    let wrong = folder.path().join("Dockerfile");
    std::fs::write(&wrong, "FROM debian\n").unwrap();
    assert!(check(&wrong).is_err(), "an image without a version must be found");
}
