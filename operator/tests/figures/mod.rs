//! A farm whose cost is measured, and how a figure is printed.
#![allow(dead_code, reason = "each binary of tests uses a part")]

pub mod changes;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{ConditionType, Conditions as _, Printer};
use printernizer_e2e::cluster::Cluster;
use printernizer_e2e::farm::{Farm, Operator, OperatorOptions, Requests};
use printernizer_e2e::{Namespace, cluster, wait_until};
use printernizer_simulator::{Action, Config, PrinterHandle, PrinterInfo, Simulator};
use serde_json::json;

/// Limit of whatever should happen soon.
pub const SOON: Duration = Duration::from_secs(60);
pub const WRITES: &[&str] = &["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];
const READS: &[&str] = &["GET", "LIST"];
/// What the operator writes, and nothing but the operator while a test only looks.
pub const OURS: &[&str] = &[
    "printers",
    "printers/status",
    "printjobs",
    "printjobs/status",
    "printrecords",
    "printrecords/status",
    "events",
    "secrets",
    "configmaps",
];

/// Whether the spans and numbers are those of docs/performance.md.
pub fn long() -> bool {
    std::env::var("PRINTERNIZER_FIGURES").is_ok_and(|v| v == "long")
}

pub fn span(short_seconds: u64, long_seconds: u64) -> Duration {
    Duration::from_secs(if long() { long_seconds } else { short_seconds })
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug build" } else { "release build" }
}

/// One line for each figure, shown also by a test that passes.
pub fn figure(name: &str, value: impl Display, goal: &str) {
    let goal = if goal.is_empty() { String::new() } else { format!(" (goal: {goal})") };
    let _ = writeln!(std::io::stderr(), "figure: {name} = {value}{goal} [{}]", build());
}

#[allow(clippy::cast_precision_loss, reason = "figures are rounded")]
fn a_minute(count: u64, span: Duration) -> f64 {
    count as f64 * 60.0 / span.as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "figures are rounded")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// Starts an operator with production timings.
async fn operator(cluster: &Cluster, namespace: &Namespace, directory: &tempfile::TempDir) -> Operator {
    let options = OperatorOptions {
        program: PathBuf::from(env!("CARGO_BIN_EXE_printernizer")),
        kubeconfig: cluster.kubeconfig().to_owned(),
        directory: directory.path().to_owned(),
        namespace: namespace.name().to_owned(),
        simulated_time: 1,
        arguments: Vec::new(),
    };
    Operator::start(&options).await.unwrap()
}

/// A farm with its operator.
pub struct Measured {
    pub farm: Farm,
    pub operator: Operator,
    namespace: Namespace,
    directory: tempfile::TempDir,
}

impl Measured {
    /// A farm whose printers are all added and ready.
    pub async fn start(name: &str, config: Config) -> Self {
        let measured = Self::empty(name, config).await;
        measured.farm.add_printers().await.unwrap();
        measured.all_printers("are ready", |p| is(p, ConditionType::Ready)).await;
        measured
    }

    /// A farm whose printers are there and not added yet.
    pub async fn empty(name: &str, config: Config) -> Self {
        let cluster: &'static Cluster = cluster::shared().await.unwrap();
        Farm::define(cluster).await.unwrap();
        let client = cluster.client().await.unwrap();
        let namespace = Namespace::create(&client, name).await.unwrap();
        let simulator = Simulator::start(config).await.unwrap();
        let farm = Farm::new(client, namespace.name(), simulator);
        let directory = tempfile::tempdir().unwrap();
        let operator = operator(cluster, &namespace, &directory).await;
        Self { farm, operator, namespace, directory }
    }

    /// A second process beside the one that leads.
    pub async fn another_operator(&self) -> Operator {
        operator(cluster::shared().await.unwrap(), &self.namespace, &self.directory).await
    }

    /// Adds these printers and waits until so many are connected, and all of them ready.
    pub async fn add(&self, infos: &[PrinterInfo], connected: u32) {
        let added = futures::stream::iter(infos).map(|info| self.farm.add_printer(info, &info.url, json!({})));
        added.buffer_unordered(8).try_for_each(|_| async { Ok(()) }).await.unwrap();
        self.connected(connected).await;
        self.all_printers("are ready", |p| is(p, ConditionType::Ready)).await;
    }

    /// Waits until the operator is connected to so many printers.
    pub async fn connected(&self, printers: u32) {
        wait_until("each printer is connected", SOON, async || {
            let now = self.operator.metric("printernizer_sessions_connected").await.map_err(|e| e.to_string())?;
            if now + 0.5 > f64::from(printers) { Ok(()) } else { Err(format!("{now} of {printers}")) }
        })
        .await
        .unwrap_or_else(|e| panic!("{e}\n{}", self.operator.tail()));
    }

    /// Memory of the operator that no file stands behind: what it has allocated, without the pages of the program.
    pub fn private_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.operator.pid().unwrap())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Lets somebody else's endless print begin at each machine, and waits until all printers say so.
    pub async fn all_print_foreign_files(&self) {
        for machine in self.machines() {
            let name = if machine.info().bambu.is_some() { "long.gcode.3mf" } else { "long.gcode" };
            let print = Action::PrintForeignFile { file_name: name.into(), duration_seconds: 1_000_000 };
            machine.person(&print).unwrap();
        }
        let printing = |p: &Printer| p.status.as_ref().is_some_and(|s| s.state == Some(PrinterState::Printing));
        self.all_printers("print", printing).await;
    }

    pub async fn all_printers(&self, what: &str, wanted: impl Fn(&Printer) -> bool) {
        let what = format!("all printers {what}");
        let found = wait_until(&what, SOON, async || {
            let all = self.farm.printers().list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
            let others: Vec<String> = all.iter().filter(|p| !wanted(p)).map(kube::ResourceExt::name_any).collect();
            if others.is_empty() { Ok(()) } else { Err(format!("not: {}", others.join(" "))) }
        });
        found.await.unwrap_or_else(|e| panic!("{e}\n{}", self.operator.tail()));
    }

    pub async fn versions(&self) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        for p in self.farm.printers().list(&ListParams::default()).await.unwrap() {
            versions.insert(format!("printer/{}", p.name_any()), p.resource_version().unwrap());
        }
        for j in self.farm.jobs().list(&ListParams::default()).await.unwrap() {
            versions.insert(format!("job/{}", j.name_any()), j.resource_version().unwrap());
        }
        versions
    }

    /// Waits until nothing was written for 5 s; gives the versions of then.
    pub async fn settled(&self) -> BTreeMap<String, String> {
        let last = std::sync::Mutex::new((self.versions().await, Instant::now()));
        wait_until("nothing is written for 5 s", SOON * 2, async || {
            let now = self.versions().await;
            let mut last = last.lock().unwrap();
            if now != last.0 {
                *last = (now, Instant::now());
            }
            if last.1.elapsed() >= Duration::from_secs(5) { Ok(last.0.clone()) } else { Err("written a moment ago") }
        })
        .await
        .unwrap()
    }

    pub async fn status_writes(&self) -> f64 {
        self.operator.metric("printernizer_status_writes_total").await.unwrap()
    }

    pub async fn lease_version(&self) -> Option<String> {
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
            Api::namespaced(self.farm.client(), self.farm.namespace());
        leases.get("printernizer").await.unwrap().resource_version()
    }

    pub fn device_requests(&self) -> u64 {
        self.machines().iter().map(PrinterHandle::requests).sum()
    }

    pub fn machines(&self) -> Vec<PrinterHandle> {
        let simulator = self.farm.simulator();
        simulator.printers().iter().map(|i| simulator.printer(&i.name).unwrap()).collect()
    }

    /// Lets the farm be for a while; nothing but the Lease may be written. Prints what was asked for meanwhile.
    pub async fn watch_rest(&self, what: &str, span: Duration) {
        let client = self.farm.client();
        let versions = self.settled().await;
        let (writes, lease) = (self.status_writes().await, self.lease_version().await);
        let passes = self.operator.metric("printernizer_reconcile_total").await.unwrap();
        let (cpu, devices) = (self.operator.cpu_time().unwrap(), self.device_requests());
        let (began, requests) = (Instant::now(), Requests::read(&client).await.unwrap());
        // The figures are those of a span, not of a condition.
        tokio::time::sleep(span).await;
        let took = began.elapsed();
        let requests = Requests::read(&client).await.unwrap().since(&requests);
        let cpu = self.operator.cpu_time().unwrap().saturating_sub(cpu);
        let devices = self.device_requests() - devices;
        let (writes, lease_now) = (self.status_writes().await - writes, self.lease_version().await);
        let passes = self.operator.metric("printernizer_reconcile_total").await.unwrap() - passes;
        let printers = self.machines().len();

        let written = requests.of(WRITES, OURS);
        figure(&format!("{what}: status writes in {} s", span.as_secs()), writes, "0");
        figure(&format!("{what}: API writes but of Leases in {} s", span.as_secs()), written, "0");
        for resource in ["printers", "printjobs", "secrets", "configmaps"] {
            let reads = a_minute(requests.of(READS, &[resource]), took);
            figure(&format!("{what}: API reads of {resource} a minute"), format!("{reads:.0}"), "");
        }
        figure(&format!("{what}: passes a minute"), format!("{:.0}", passes * 60.0 / took.as_secs_f64()), "");
        let each = a_minute(devices, took) / f64::from(u32::try_from(printers).unwrap());
        figure(&format!("{what}: requests to a device a minute"), format!("{each:.1}"), "");
        let percent = cpu.as_secs_f64() * 100.0 / took.as_secs_f64();
        figure(&format!("{what}: processor, {printers} printers"), format!("{percent:.1} % of a core"), "");
        let rss = mebibytes(self.operator.resident_bytes().unwrap());
        figure(&format!("{what}: resident memory, {printers} printers"), format!("{rss:.1} MiB"), "");

        assert_ne!(lease, lease_now, "the operator is alive: it renews its Lease");
        assert_eq!(self.versions().await, versions, "{}", self.operator.tail());
        assert!(writes == 0.0, "{writes} status writes\n{}", self.operator.tail());
        if !cluster::shared().await.unwrap().is_existing() {
            assert_eq!(written, 0, "{requests:?}\n{}", self.operator.tail());
        }
    }

    pub async fn end(self) {
        let (_, namespace) = self.end_operator().await;
        namespace.delete().await.unwrap();
    }

    /// Ends the operator; the farm and its objects stay.
    pub async fn end_operator(self) -> (Farm, Namespace) {
        let status = self.operator.terminate(Duration::from_secs(10)).await.unwrap();
        assert!(status.success());
        (self.farm, self.namespace)
    }
}

pub fn is(printer: &Printer, condition: ConditionType) -> bool {
    printer.status.as_ref().is_some_and(|s| s.conditions.is_true(condition))
}
