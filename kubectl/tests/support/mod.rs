//! A farm, and the program as a person runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, PrintJob, PrintJobStatus, Printer};
use printernizer_e2e::cluster::{self, Cluster};
use printernizer_e2e::farm::{Farm, Operator, OperatorOptions, waiting_bed};
use printernizer_e2e::{Namespace, wait_until};
use printernizer_simulator::{Config, Event, Simulator};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Longest wait for something that must happen; nothing here takes as long on a machine that is not overloaded.
pub const SOON: Duration = Duration::from_secs(180);
/// How long a print takes, in seconds of the machines' time. Nobody waits for its end: it is skipped.
pub const PRINT: u64 = 36_000;

/// What the program said, and its exit code.
#[derive(Debug)]
pub struct Told {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Told {
    /// The exit code is this one, and each of these stands in what was said.
    #[track_caller]
    pub fn with(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.out.contains(word) || self.err.contains(word), "{word:?} is missing in {self:?}");
        }
        self
    }
}

/// Runs one of the programs of this crate.
pub async fn program(program: &str, arguments: &[&str], input: &str) -> Told {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("KUBECONFIG").env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that reads nothing may have ended.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Told { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A farm without printers, in a namespace of its own.
pub struct Bench {
    pub farm: Farm,
    pub cluster: &'static Cluster,
    operator: Option<Operator>,
    namespace: Namespace,
    directory: TempDir,
}

impl Bench {
    pub async fn open(name: &str, config: Config) -> Self {
        let cluster = cluster::shared().await.unwrap();
        Farm::define(cluster).await.unwrap();
        let client = cluster.client().await.unwrap();
        let namespace = Namespace::create(&client, name).await.unwrap();
        let simulator = Simulator::start(config).await.unwrap();
        let farm = Farm::new(client, namespace.name(), simulator);
        Self { farm, cluster, operator: None, namespace, directory: tempfile::tempdir().unwrap() }
    }

    /// Starts the operator, which is built beside this crate's program: `cargo build -p printernizer`.
    pub async fn operate(&mut self) {
        let program = Path::new(env!("CARGO_BIN_EXE_kubectl-printernizer")).with_file_name("printernizer");
        let options = OperatorOptions {
            program,
            kubeconfig: self.cluster.kubeconfig().to_owned(),
            directory: self.directory.path().to_owned(),
            namespace: self.namespace.name().to_owned(),
            simulated_time: 50,
            arguments: Vec::new(),
        };
        self.operator = Some(Operator::start(&options).await.unwrap());
    }

    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Runs `kubectl-printernizer` in this farm's namespace.
    pub async fn run(&self, arguments: &[&str]) -> Told {
        self.run_with(arguments, "").await
    }

    /// The same, with this on its standard input.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Told {
        let kubeconfig = self.cluster.kubeconfig().to_str().unwrap();
        let place = ["--namespace", self.farm.namespace(), "--kubeconfig", kubeconfig];
        program(env!("CARGO_BIN_EXE_kubectl-printernizer"), &[&place[..], arguments].concat(), input).await
    }

    /// The exit code where nobody reads the answer.
    pub fn unread(&self, arguments: &[&str]) -> Option<i32> {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-printernizer"));
        command.args(["--namespace", self.farm.namespace(), "--kubeconfig"]).arg(self.cluster.kubeconfig());
        command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
        command.status().unwrap().code()
    }

    /// A command as the program proposes it in this namespace.
    pub fn proposed(&self, rest: &str) -> String {
        let kubeconfig = self.cluster.kubeconfig().display();
        format!("kubectl printernizer {rest} -n {} --kubeconfig {kubeconfig}", self.farm.namespace())
    }

    /// Confirms what lies on the bed of this printer, by its id.
    pub async fn clear(&self, name: &str) -> Told {
        let printer = self.farm.printers().get(name).await.unwrap();
        let named = format!("{name}={}", waiting_bed(&printer).unwrap());
        self.run(&["clear-bed", &named, "--yes"]).await
    }

    pub async fn job(&self, name: &str, what: &str, wanted: impl Fn(&PrintJobStatus) -> bool) -> PrintJob {
        let found = self.farm.job(name, what, SOON, |j| j.status.as_ref().is_some_and(&wanted)).await;
        found.unwrap_or_else(|e| panic!("{e}\n{}", self.operator.as_ref().map(Operator::tail).unwrap_or_default()))
    }

    pub async fn phase(&self, name: &str, phase: Phase) -> PrintJob {
        self.job(name, &format!("is {phase:?}"), |s| s.phase == Some(phase)).await
    }

    /// Waits until the operator gives this reason for where the job stands.
    pub async fn waits_for(&self, name: &str, reason: &str) {
        self.job(name, &format!("waits for {reason}"), |s| s.waiting_for.as_deref() == Some(reason)).await;
    }

    pub async fn printer(&self, name: &str, what: &str, wanted: impl Fn(&Printer) -> bool) -> Printer {
        let found = self.farm.printer(name, what, SOON, wanted).await;
        found.unwrap_or_else(|e| panic!("{e}\n{}", self.operator.as_ref().map(Operator::tail).unwrap_or_default()))
    }

    /// Waits until the printer is ready and its bed asks for a person.
    pub async fn asks_for_its_bed(&self, name: &str) -> Printer {
        let asks = |p: &Printer| {
            p.status.as_ref().is_some_and(|s| s.conditions.is_true(ConditionType::Ready)) && waiting_bed(p).is_some()
        };
        self.printer(name, "is ready and asks for its bed", asks).await
    }

    /// Takes what lies there off the bed.
    pub fn take_off(&self, name: &str) {
        let machine = self.farm.machine(name).unwrap();
        if machine.state().bed_occupied {
            machine.person(&printernizer_simulator::Action::TakePartOff).unwrap();
        }
    }

    /// Judges the farm and closes it: no file was started twice, nothing was printed onto a part.
    pub async fn close(mut self) {
        if let Some(operator) = self.operator.take() {
            operator.terminate(Duration::from_secs(60)).await.unwrap();
        }
        let ledger = self.farm.simulator().ledger();
        let mut started: Vec<String> = Vec::new();
        for entry in ledger.physical_starts("pz-") {
            if let Event::PhysicalStart { file_name, .. } = entry.event {
                assert!(!started.contains(&file_name), "{file_name} was started twice");
                started.push(file_name);
            }
        }
        assert_eq!(ledger.starts_on_occupied_bed(), []);
        self.namespace.delete().await.unwrap();
    }

    /// Waits until a look finds what is wanted.
    pub async fn until<T, L: Future<Output = Option<T>>>(&self, what: &str, mut look: impl FnMut() -> L) -> T {
        let looks = || {
            let look = look();
            async move { look.await.ok_or("not yet") }
        };
        wait_until(what, SOON, looks).await.unwrap()
    }
}

/// A print file of a Core One that wants this material and takes [`PRINT`].
pub fn part(material: &str) -> Vec<u8> {
    format!(
        "; generated by PrusaSlicer 2.9.4 on 2026-11-01 at 10:00:00 UTC\n\nM73 P0 R1\nG28\nG1 X10 Y10 E1\nG1 X20 Y10 E1\n\
         M73 P100 R0\n; filament used [mm] = 313.63\n; filament used [g] = 0.94\n; total filament used [g] = 0.94\n\
         ; estimated printing time (normal mode) = {}m 0s\n\n; prusaslicer_config = begin\n; filament_type = {material}\n\
         ; nozzle_diameter = 0.4\n; printer_model = COREONE\n; prusaslicer_config = end\n",
        PRINT / 60
    )
    .into_bytes()
}

/// Reference to one printer, for a job's spec.
pub fn on(printer: &str) -> serde_json::Value {
    json!({ "printerRef": { "name": printer } })
}
