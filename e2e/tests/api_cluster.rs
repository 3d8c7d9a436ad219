//! The control plane itself: it starts, works, and always goes away. Needs Go once to build it; every socket is on
//! loopback. Measured times are printed, so that a slow start is seen before it becomes a timeout.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace as CoreNamespace};
use kube::api::{Api, ObjectMeta, PostParams};
use printernizer_e2e::cluster::{self, Cluster, Options};
use printernizer_e2e::{Namespace, WaitTimeout, apply_crds_yaml, wait_until};

/// How long a condition of the cluster may take to become true.
const PATIENCE: Duration = Duration::from_mins(1);
/// A start with a built program; measured at 4 to 6 s on two cores that others use as well.
const WARM_START: Duration = Duration::from_secs(15);

const WIDGET_CRD: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.test.printernizer.io
spec:
  group: test.printernizer.io
  scope: Namespaced
  names: { plural: widgets, singular: widget, kind: Widget }
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: { size: { type: integer, minimum: 1 } }
";

/// False for a process that is gone, or dead and not yet collected by its parent.
fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with('Z')))
        .unwrap_or(false)
}

async fn wait_until_gone(children: &BTreeMap<String, u32>, directory: &Path) -> Result<(), WaitTimeout> {
    wait_until("the control plane to vanish", PATIENCE, || async {
        let left: Vec<_> = children.iter().filter(|(_, pid)| is_running(**pid)).collect();
        if left.is_empty() && !directory.exists() {
            return Ok(());
        }
        Err(format!("running: {left:?}, directory exists: {}", directory.exists()))
    })
    .await
}

#[tokio::test]
async fn a_control_plane_starts_in_seconds_and_goes_away_when_stopped() {
    cluster::ensure_binary(&mut |line| println!("{line}")).unwrap();
    let start = Instant::now();
    let options = Options { controller_manager: true, scheduler: true, ..Options::default() };
    let cluster = Cluster::start(options).await.unwrap();
    let took = start.elapsed();
    println!("ready after {took:.1?}");
    assert!(took < WARM_START, "the start took {took:?}");
    let (children, directory) = (cluster.children(), cluster.directory().unwrap().to_owned());
    let names: Vec<_> = children.keys().map(String::as_str).collect();
    assert_eq!(names, ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
    assert!(children.values().all(|pid| is_running(*pid)), "{children:?}");
    let start = Instant::now();
    cluster.stop().await.unwrap();
    println!("gone after {:.1?}", start.elapsed());
    // Stopping waits: everything is gone the moment it returns.
    assert!(!children.values().any(|pid| is_running(*pid)), "{children:?}");
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_dropped_control_plane_goes_away() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let (children, directory) = (cluster.children(), cluster.directory().unwrap().to_owned());
    assert_eq!(children.len(), 2, "only etcd and the API server were asked for");
    drop(cluster);
    assert!(!children.values().any(|pid| is_running(*pid)), "{children:?}");
    assert!(!directory.exists());
}

#[tokio::test]
async fn nothing_is_left_when_the_process_that_started_it_is_killed() {
    cluster::ensure_binary(&mut |line| println!("{line}")).unwrap();
    let mut developer = Command::new(env!("CARGO_BIN_EXE_printernizer-cluster"))
        .args(["up", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(developer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let children: BTreeMap<String, u32> = serde_json::from_value(told["children"].clone()).unwrap();
    let directory: PathBuf = serde_json::from_value(told["directory"].clone()).unwrap();
    assert_eq!(children.len(), 4);
    assert!(children.values().all(|pid| is_running(*pid)), "{children:?}");
    assert!(directory.exists());
    developer.kill().unwrap(); // SIGKILL: nothing of it can run any more
    developer.wait().unwrap();
    wait_until_gone(&children, &directory).await.unwrap();
}

#[tokio::test]
async fn a_control_plane_that_lost_a_part_says_so_when_stopped() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let (children, directory) = (cluster.children(), cluster.directory().unwrap().to_owned());
    let etcd = nix::unistd::Pid::from_raw(children["etcd"].cast_signed());
    nix::sys::signal::kill(etcd, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until_gone(&children, &directory).await.unwrap();
    let error = cluster.stop().await.unwrap_err().to_string();
    assert!(error.contains("etcd died"), "{error}");
}

#[tokio::test]
async fn a_wrong_argument_fails_the_start_with_the_servers_own_words() {
    let options = Options { apiserver_arguments: vec!["--no-such-flag=1".to_owned()], ..Options::default() };
    let error = Cluster::start(options).await.unwrap_err().to_string();
    assert!(error.contains("kube-apiserver") && error.contains("unknown flag: --no-such-flag"), "{error}");
}

#[tokio::test]
async fn a_directory_with_content_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let precious = directory.path().join("precious");
    std::fs::write(&precious, "").unwrap();
    let options = Options { directory: Some(directory.path().to_owned()), ..Options::default() };
    let error = Cluster::start(options).await.unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert!(precious.exists());
}

#[tokio::test]
async fn kept_data_stays_and_the_processes_go() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("kept");
    let options = Options { directory: Some(directory.clone()), keep_data: true, ..Options::default() };
    let cluster = Cluster::start(options).await.unwrap();
    let children = cluster.children();
    cluster.stop().await.unwrap();
    assert!(!children.values().any(|pid| is_running(*pid)), "{children:?}");
    assert!(directory.join("kube-apiserver.log").is_file());
}

#[tokio::test]
async fn kubectl_and_the_server_have_the_same_version() {
    let cluster = cluster::shared().await.unwrap();
    let output = cluster.kubectl().args(["version", "--output=json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let versions: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    if cluster.is_existing() {
        assert!(versions["serverVersion"]["gitVersion"].is_string(), "{versions}");
    } else {
        assert_eq!(versions["serverVersion"]["gitVersion"], "v1.36.3", "{versions}");
        assert_eq!(versions["clientVersion"]["gitVersion"], "v1.36.3", "{versions}");
    }
}

#[tokio::test]
async fn a_deleted_namespace_goes_away_with_what_is_in_it() {
    let client = cluster::shared().await.unwrap().client().await.unwrap();
    let namespace = Namespace::create(&client, "roundtrip").await.unwrap();
    let name = namespace.name().to_owned();
    let api = Api::<ConfigMap>::namespaced(client.clone(), &name);
    let written = ConfigMap {
        metadata: ObjectMeta { name: Some("bed".to_owned()), ..ObjectMeta::default() },
        data: Some([("state".to_owned(), "clear".to_owned())].into()),
        ..ConfigMap::default()
    };
    api.create(&PostParams::default(), &written).await.unwrap();
    let read = api.get("bed").await.unwrap();
    assert_eq!(read.data, written.data);
    namespace.delete().await.unwrap();
    let namespaces = Api::<CoreNamespace>::all(client);
    wait_until("the namespace to be gone", PATIENCE, || async {
        match namespaces.get_opt(&name).await.map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(namespace) => Err(format!("{:?}", namespace.status)),
        }
    })
    .await
    .unwrap();
    assert!(api.get_opt("bed").await.unwrap().is_none());
}

#[tokio::test]
async fn an_applied_crd_is_served_at_once_and_checks_its_schema() {
    let cluster = cluster::shared().await.unwrap();
    let client = cluster.client().await.unwrap();
    assert_eq!(apply_crds_yaml(&client, WIDGET_CRD).await.unwrap(), ["widgets.test.printernizer.io"]);
    // Applying again is no error: every test that needs them applies them.
    apply_crds_yaml(&client, WIDGET_CRD).await.unwrap();
    let namespace = Namespace::create(&client, "crd").await.unwrap();
    let mut answers = Vec::new();
    for size in [3, 0] {
        let manifest = format!(
            "apiVersion: test.printernizer.io/v1\nkind: Widget\nmetadata:\n  name: w{size}\nspec:\n  size: {size}\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifest).unwrap();
        let command = ["create", "-n", namespace.name(), "-f"];
        let output = cluster.kubectl().args(command).arg(file.path()).output().unwrap();
        answers.push((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    assert!(answers[0].0, "{answers:?}");
    assert!(!answers[1].0 && answers[1].1.contains("spec.size"), "{answers:?}");
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn a_cluster_taken_as_existing_is_left_running() {
    let own = Cluster::start(Options::default()).await.unwrap();
    let existing = Cluster::existing(Some(own.kubeconfig()), Some("printernizer")).await.unwrap();
    assert!(existing.is_existing() && existing.directory().is_none());
    existing.stop().await.unwrap();
    let version = own.client().await.unwrap().apiserver_version().await.unwrap();
    assert_eq!(version.git_version, "v1.36.3");
    let error = Cluster::existing(Some(own.kubeconfig()), Some("no-such-context")).await.unwrap_err();
    assert!(error.to_string().contains("name of the context"), "{error}");
    let kubeconfig = own.directory().unwrap().join("copy");
    std::fs::copy(own.kubeconfig(), &kubeconfig).unwrap();
    let copy = std::fs::read(&kubeconfig).unwrap();
    own.stop().await.unwrap();
    // A kubeconfig that outlived its cluster is told apart from one that is wrong.
    let stale = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(stale.path(), copy).unwrap();
    let error = Cluster::existing(Some(stale.path()), None).await.unwrap_err();
    assert!(matches!(error, cluster::Error::Unreachable { .. }), "{error}");
}
