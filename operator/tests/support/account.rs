//! The operator's account instead of an administrator's.

use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;
use printernizer_e2e::cluster::Cluster;
use serde_json::json;

/// What kubectl prints, as an administrator.
pub async fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let mut command = cluster.kubectl();
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A kubeconfig with the token of the ServiceAccount instead of the rights of an administrator.
pub async fn as_service_account(cluster: &Cluster, directory: &Path) -> PathBuf {
    let token = kubectl(cluster, &["create", "token", "printernizer", "--namespace", "printernizer"]).await;
    let mut config = serde_json::to_value(Kubeconfig::read_from(cluster.kubeconfig()).unwrap()).unwrap();
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = json!({ "token": token });
    }
    let path = directory.join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}
