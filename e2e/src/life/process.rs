//! The operators of a life: one, or one that leads and one that waits. They are killed, stopped and gone on with, and
//! started again as Kubernetes does, and where a plan says so they have another clock or a full disk.
//!
//! An operator may end by itself only because it no longer leads.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::DeleteParams;
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{Life, Stage, Step, text};
use crate::farm::{Farm, Operator, OperatorOptions, Surroundings};
use crate::proxy::{Deed, Hook, Proxy, Script};
use crate::wait_until;

/// How long a process is stopped at least: longer than its lease of 15 s.
const FROZEN: Duration = Duration::from_secs(16);
/// How long it may take until the one that waited leads.
const TAKES_OVER: Duration = Duration::from_secs(60);
/// More restarts than any single fault needs.
const MOST_RESTARTS: usize = 6;

/// Size of a print file for which there is no room; a ConfigMap holds a megabyte.
pub(super) const LARGE_FILE_BYTES: usize = 600_000;
/// The largest file the operator can write on a full disk, in blocks of 512 bytes: its log is smaller.
const ROOM_BLOCKS: usize = 800;

/// Where Debian has the library that gives a program another clock; `*` is the architecture.
const FAKETIME: (&str, &str) = ("/usr/lib", "faketime/libfaketimeMT.so.1");

pub(super) struct Operators {
    directory: PathBuf,
    faster: u32,
    two: bool,
    running: Vec<Operator>,
    /// Kept until the end of the life.
    proxy: Option<Proxy>,
    options: Option<(OperatorOptions, Surroundings)>,
    logs: Vec<PathBuf>,
    frozen: Option<usize>,
    restarts: usize,
    number: usize,
    disk_full: bool,
}

impl Operators {
    pub(super) fn new(life: Life, directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            faster: life.course.faster(),
            two: life.operators > 1,
            running: Vec::new(),
            proxy: None,
            options: None,
            logs: Vec::new(),
            frozen: None,
            restarts: 0,
            number: 0,
            disk_full: false,
        }
    }

    /// Starts the one that will lead, and the one that waits.
    pub(super) async fn start(
        &mut self,
        stage: &Stage<'_>,
        farm: &Farm,
        script: &Script,
        steps: &[Step],
    ) -> Result<(), String> {
        let proxy = Proxy::api(stage.cluster.client().await.map_err(text)?, script.clone()).await.map_err(text)?;
        let options = OperatorOptions {
            program: stage.program.clone(),
            kubeconfig: proxy.kubeconfig(&self.directory).map_err(text)?,
            directory: self.directory.clone(),
            namespace: farm.namespace().to_owned(),
            simulated_time: self.faster,
            arguments: Vec::new(),
        };
        self.proxy = Some(proxy);
        let mut around = Surroundings::default();
        if steps.contains(&Step::DiskFull) {
            self.disk_full = true;
            around.wrapper = ["sh", "-c"].map(str::to_owned).to_vec();
            // What does not fit is refused, as by a full disk, and kills nobody.
            around.wrapper.push(format!("trap '' XFSZ; ulimit -S -f {ROOM_BLOCKS}; exec \"$0\" \"$@\""));
        }
        if steps.iter().any(moves_the_clock) {
            self.set_clock("+0")?;
            around.environment = self.clock_environment()?;
        }
        self.options = Some((options, around));
        self.spawn().await?;
        if self.two {
            // Not before the first one leads: the other one is to wait.
            self.wait_for_leader(0).await?;
            self.spawn().await?;
        }
        Ok(())
    }

    async fn spawn(&mut self) -> Result<(), String> {
        let Some((options, around)) = &self.options else { return Err("there is no operator to start".into()) };
        self.number += 1;
        let mut options = options.clone();
        options.arguments = vec!["--identity".into(), format!("operator-{}", self.number)];
        let operator = Operator::start_in(&options, around).await.map_err(text)?;
        self.logs.push(operator.log().to_owned());
        self.running.push(operator);
        Ok(())
    }

    async fn wait_for_leader(&self, index: usize) -> Result<(), String> {
        let Some(operator) = self.running.get(index) else { return Err("no such operator".into()) };
        let leads = wait_until("it leads", TAKES_OVER, async || match operator.metric("printernizer_leader").await {
            Ok(leads) if leads > 0.5 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        leads.await.map_err(text)
    }

    /// Which one leads: of two, the one that says so; a single one is meant whatever it says.
    async fn leader(&self) -> usize {
        for (index, operator) in self.running.iter().enumerate().filter(|_| self.two) {
            if operator.metric("printernizer_leader").await.is_ok_and(|leads| leads > 0.5) {
                return index;
            }
        }
        0
    }

    /// Kills the one that leads, as a lost machine would.
    pub(super) async fn kill_leader(&mut self) -> Result<(), String> {
        let leader = self.leader().await;
        let operator = self.running.remove(leader);
        operator.kill().await.map_err(text)
    }

    /// Starts another one in the place of the killed one.
    pub(super) async fn replace_the_killed(&mut self, farm: &Farm) -> Result<(), String> {
        if !self.two {
            // The lease of a process that is dead beyond doubt need not run out: nobody waits 15 s for each life.
            let leases: Api<Lease> = Api::namespaced(farm.client(), farm.namespace());
            match leases.delete("printernizer", &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => drop(other.map_err(text)?),
            }
        }
        self.spawn().await
    }

    /// An operator that no longer leads ends, and is started again. Nothing else may end one.
    pub(super) async fn restart_those_that_ended(&mut self, farm: &Farm) -> Result<(), String> {
        let mut index = 0;
        while let Some(operator) = self.running.get_mut(index) {
            if operator.is_running() {
                index += 1;
                continue;
            }
            let operator = self.running.remove(index);
            let log = std::fs::read_to_string(operator.log()).unwrap_or_default();
            if !log.contains("leadership ended") {
                return Err("the operator ended by itself".into());
            }
            self.restarts += 1;
            if self.restarts > MOST_RESTARTS {
                return Err(format!("the operator ended {MOST_RESTARTS} times"));
            }
            self.replace_the_killed(farm).await?;
        }
        Ok(())
    }

    /// Stops the process that leads until its lease is over, and until the one that waited leads.
    pub(super) async fn freeze_leader(&mut self) -> Result<(), String> {
        let leader = self.leader().await;
        let Some(operator) = self.running.get(leader) else { return Err("no operator to stop".into()) };
        operator.signal(Signal::SIGSTOP).map_err(text)?;
        self.frozen = Some(leader);
        let until = Instant::now() + FROZEN;
        if self.two {
            self.wait_for_leader(1 - leader.min(1)).await?;
        }
        tokio::time::sleep_until(until).await;
        Ok(())
    }

    /// Lets the process that was stopped go on.
    pub(super) fn thaw(&mut self) -> Result<(), String> {
        match self.frozen.take().and_then(|frozen| self.running.get(frozen)) {
            Some(operator) => operator.signal(Signal::SIGCONT).map_err(text),
            None => Ok(()),
        }
    }

    /// Moves the wall clock of the operators, from where this machine has it.
    pub(super) fn set_clock(&self, seconds: &str) -> Result<(), String> {
        // By renaming: a process never reads half of it.
        let (new, file) = (self.directory.join("clock.new"), self.clock_file());
        std::fs::write(&new, format!("{seconds}\n")).and_then(|()| std::fs::rename(new, file)).map_err(text)
    }

    fn clock_file(&self) -> PathBuf {
        self.directory.join("clock")
    }

    fn clock_environment(&self) -> Result<Vec<(String, OsString)>, String> {
        let (libraries, library) = FAKETIME;
        let folders = std::fs::read_dir(libraries).map_err(text)?;
        let found = folders.filter_map(|f| Some(f.ok()?.path().join(library))).find(|path| path.exists());
        let found = found.ok_or("the clock cannot be moved: run apt-get install faketime")?;
        Ok(vec![
            ("LD_PRELOAD".into(), found.into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE".into(), self.clock_file().into_os_string()),
            ("FAKETIME_NO_CACHE".into(), "1".into()),
            // Only the wall clock jumps: the others never do.
            ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
            ("NO_FAKE_STAT".into(), "1".into()),
        ])
    }

    /// Makes room on the disk again.
    pub(super) fn make_room(&self) -> Result<(), String> {
        for pid in self.running.iter().filter(|_| self.disk_full).filter_map(Operator::pid) {
            let mut command = std::process::Command::new("prlimit");
            let status = command.args(["--pid", &pid.to_string(), "--fsize=unlimited"]).status().map_err(text)?;
            if !status.success() {
                return Err(format!("prlimit: {status}"));
            }
        }
        Ok(())
    }

    /// Asks all of them to end, as Kubernetes does.
    pub(super) async fn end(&mut self, limit: Duration) -> Result<(), String> {
        for operator in self.running.drain(..) {
            operator.terminate(limit).await.map_err(text)?;
        }
        Ok(())
    }

    /// What they wrote, each process by itself.
    pub(super) fn logs(&self) -> Vec<String> {
        self.logs.iter().filter_map(|log| std::fs::read_to_string(log).ok()).collect()
    }
}

fn moves_the_clock(step: &Step) -> bool {
    let Step::Request(rule) = step else { return false };
    let clocks = [Deed::ClockAhead, Deed::ClockBack];
    matches!(rule.hook, Hook::HoldBefore(deed) | Hook::HoldAfter(deed) if clocks.contains(&deed))
}
