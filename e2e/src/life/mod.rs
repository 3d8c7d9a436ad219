//! One life of one job on one printer, with an operator to which things happen, or nothing at all; and a person who does
//! what people do: clears the bed as soon as it waits for it, answers truthfully what became of a print, mends a printer.
//!
//! The person is deliberately eager: were the bed cleared late, it would hide a second start. What must be true of every
//! life, whatever happened in it, is in `oracle`. Kill tests and the fault campaign live such lives.

mod course;
mod oracle;
mod person;
mod process;
mod successor;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use printernizer_simulator::{
    Action, AfterPowerCut, BambuFault, Fault, FaultKind, Ledger, PrinterHandle, Simulator, UnreachableManner,
};
use serde_json::json;
use tokio::time::Instant;

use crate::Namespace;
use crate::cluster::Cluster;
use crate::farm::{Farm, in_short};
use crate::proxy::{Deed, Held, Proxy, Read, Rule, Script, Write, guard};
use crate::witness::rests;
use course::part;
pub use course::{Course, Life, Maker};
use oracle::Verdict;
pub(crate) use oracle::tells_no_secret;
use process::Operators;
use successor::Connections;

/// How long a life may take. It takes a few seconds, or half a minute where a lease has to run out; a machine that is
/// busy takes longer.
const LIMIT: Duration = Duration::from_secs(150);
/// The person looks this often.
const LOOK: Duration = Duration::from_millis(100);
/// How long a printer is away that cannot be reached.
const AWAY: Duration = Duration::from_millis(2_500);
/// When a person has mended what is lastingly wrong with a printer, counted from the life's begin.
const MENDED: Duration = Duration::from_secs(8);
/// The job.
pub const JOB: &str = "clip-1";

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// With a request, or while it is under way.
    Request(Rule),
    /// With the printer, from the beginning.
    Printer(Fault),
    /// The operator's disk has no room for the print file, until a person makes some.
    DiskFull,
}

/// What it takes to live lives.
#[derive(Clone, Debug)]
pub struct Stage<'a> {
    /// A cluster with the project's definitions.
    pub cluster: &'a Cluster,
    /// The operator's program.
    pub program: PathBuf,
}

/// What came of a life.
#[derive(Debug)]
pub struct Story {
    /// All writes.
    pub trace: Vec<Write>,
    /// All reads.
    pub reads: Vec<Read>,
    /// Whether everything happened that was to go wrong. Lives differ a little: a write may not be there this time.
    pub met: bool,
    /// How often the operator was killed; less than asked for when there was no such write this time.
    pub kills: usize,
    /// Whether a person had to say what became of the print.
    pub asked: bool,
    /// Whether an operator that was started again found the printer told to print and showing nothing of it yet.
    pub found_nothing_shown: bool,
    /// Start commands the printer received.
    pub start_commands: usize,
}

/// Lives one life; an error says what was wrong, and with what at hand to understand it.
pub async fn live(stage: &Stage<'_>, life: Life, steps: &[Step]) -> Result<Story, String> {
    let directory = tempfile::tempdir().map_err(text)?;
    let client = stage.cluster.client().await.map_err(text)?;
    let namespace = Namespace::create(&client, "life").await.map_err(text)?;
    let config = life.maker.config().time_scale(f64::from(life.course.faster()));
    let simulator = Simulator::start(config).await.map_err(text)?;
    let ledger = simulator.ledger();
    let script = Script::new(steps.iter().filter_map(|step| match step {
        Step::Request(rule) => Some(rule.clone()),
        _ => None,
    }));
    let farm = Farm::new(client, namespace.name(), simulator);
    let machine = farm.machine(life.maker.printer()).map_err(text)?;
    let mut lived = Lived {
        life,
        farm,
        machine,
        script: script.clone(),
        connections: Connections::default(),
        kills: 0,
        asked: false,
        canceled: false,
        disturbed: life.course.reboots(),
        away_until: None,
    };
    let mut operators = Operators::new(life, directory.path());
    let result = lived.run(stage, steps, &mut operators).await;
    let result = result.and_then(|()| lived.judge(&operators));
    result.map_err(|why| lived.explain(&why, &operators, &ledger))?;
    let story = lived.story(steps, &ledger);
    drop(lived);
    namespace.delete().await.map_err(text)?;
    Ok(story)
}

/// A life that is being lived.
struct Lived {
    life: Life,
    farm: Farm,
    machine: PrinterHandle,
    script: Script,
    connections: Connections,
    kills: usize,
    asked: bool,
    canceled: bool,
    /// Whether something happened to the printer itself, so that the print may have failed.
    disturbed: bool,
    away_until: Option<Instant>,
}

impl Lived {
    async fn run(&mut self, stage: &Stage<'_>, steps: &[Step], operators: &mut Operators) -> Result<(), String> {
        let Life { maker, course, .. } = self.life;
        let script = self.script.clone();
        let (farm, machine) = (&self.farm, &self.machine);
        let info = machine.info();
        // Kept until the end of this life.
        let device = match maker {
            Maker::Prusa => {
                let target = info.url.trim_start_matches("http://").parse().map_err(text)?;
                Some(Proxy::device(maker.printer(), target, script.clone()).await.map_err(text)?)
            }
            Maker::Bambu => {
                let guarded = machine.guard(self.connections.noted(guard(maker.printer(), script.clone())));
                if !guarded {
                    return Err("the printer's commands cannot be held".into());
                }
                None
            }
        };
        if matches!(course, Course::EchoLate | Course::EchoLateRebooted) {
            let late = BambuFault::SlowStart { ids_after_seconds: 135, state_after_seconds: 140 };
            machine.fault(Fault::lasting(FaultKind::Bambu(late)));
        }
        let url = device.as_ref().map_or_else(String::new, Proxy::url);
        farm.add_printer(&info, &url, json!({})).await.map_err(text)?;
        farm.add_file("clip", part(self.life, steps.contains(&Step::DiskFull))).await.map_err(text)?;
        farm.print(JOB, "clip", json!({})).await.map_err(text)?;
        // Tracked by Argo CD: the operator also writes a record, which outlives the job.
        let tracked =
            json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": "farm:printjobs/clip-1" } } });
        farm.jobs().patch(JOB, &PatchParams::default(), &Patch::Merge(tracked)).await.map_err(text)?;
        for step in steps {
            if let Step::Printer(fault) = step {
                if !machine.knows_fault(fault) {
                    return Err(format!("this kind of printer cannot have this fault: {fault:?}"));
                }
                machine.fault(fault.clone());
                self.disturbed = true;
            }
        }

        operators.start(stage, &self.farm, &script, steps).await?;
        let (begun, mut mended) = (Instant::now(), false);
        loop {
            tokio::select! {
                _ = script.stopped() => self.killed(operators).await?,
                held = script.held() => self.held(held, operators).await?,
                () = tokio::time::sleep(LOOK) => {}
            }
            operators.restart_those_that_ended(&self.farm).await?;
            if self.away_until.is_some_and(|until| Instant::now() >= until) {
                self.away_until = None;
                self.machine.clear_faults();
            }
            if !mended && begun.elapsed() > MENDED && !course.reboots() && course != Course::EchoLate {
                mended = true;
                self.machine.clear_faults();
                operators.make_room()?;
            }
            let left = self.look().await?;
            if left.is_empty() {
                break;
            }
            if begun.elapsed() > LIMIT {
                let job = self.farm.jobs().get(JOB).await.map_err(text)?;
                return Err(format!("after {LIMIT:?} {}; {}", left.join(", "), in_short(&job)));
            }
        }
        operators.end(LIMIT).await
    }

    /// The operator is killed where its script stopped it, and started again.
    async fn killed(&mut self, operators: &mut Operators) -> Result<(), String> {
        operators.kill_leader().await?;
        self.script.next_life();
        self.kills += 1;
        if self.life.course == Course::PrintedMeanwhile {
            if !self.farm.simulator().ledger().wait_for(LIMIT, rests).await {
                return Err("the machine never came to rest".into());
            }
            if matches!(self.machine.state().link_state.as_deref(), Some("FINISHED" | "FINISH")) {
                self.machine.person(&Action::LeaveEndScreen).map_err(text)?;
            }
        }
        if self.life.course.reboots() {
            self.machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).map_err(text)?;
        }
        operators.replace_the_killed(&self.farm).await
    }

    /// Something is done while a request is held.
    async fn held(&mut self, held: Held, operators: &mut Operators) -> Result<(), String> {
        let at_printer = held.request.starts_with(self.life.maker.printer());
        let mut goes_on = true;
        match held.deed {
            Deed::Freeze => {
                operators.freeze_leader().await?;
                // What is on its way to the API server arrives when the process that sent it is back. A command to a
                // printer does not wait in the network for that long: it is lost.
                goes_on = held.carried_out || !at_printer;
            }
            Deed::ClockAhead => operators.set_clock("+3600")?,
            Deed::ClockBack => operators.set_clock("-3600")?,
            Deed::Reboot => {
                self.disturbed = true;
                self.machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).map_err(text)?;
            }
            Deed::Unreachable => self.away(UnreachableManner::Refuse),
            Deed::Silent => self.away(UnreachableManner::Silent),
        }
        held.release(goes_on);
        operators.thaw()
    }

    fn away(&mut self, manner: UnreachableManner) {
        self.machine.fault(Fault::lasting(FaultKind::Unreachable { manner }));
        self.away_until = Some(Instant::now() + AWAY);
    }

    fn judge(&self, operators: &Operators) -> Result<(), String> {
        let verdict = Verdict {
            printer: self.life.maker.printer(),
            trace: &self.script.trace(),
            entries: &self.farm.simulator().ledger().entries(),
        };
        verdict.physical()?;
        verdict.stored()?;
        let info = self.machine.info();
        let secrets = [Some(info.password.as_str()), info.bambu.as_ref().map(|b| b.access_code.as_str())];
        operators.logs().iter().try_for_each(|log| tells_no_secret(log, secrets.into_iter().flatten()))
    }

    fn story(&self, steps: &[Step], ledger: &Ledger) -> Story {
        let waits = |step: &Step| match step {
            // One that happens so and so often is used up when it has happened.
            Step::Printer(fault) => fault.count.is_some() && self.machine.state().faults.contains(fault),
            _ => false,
        };
        Story {
            trace: self.script.trace(),
            reads: self.script.reads(),
            met: self.script.unmet().is_empty() && !steps.iter().any(waits),
            kills: self.kills,
            asked: self.asked,
            found_nothing_shown: self.connections.before_the_print_was_shown(&ledger.entries()),
            start_commands: ledger.start_commands("").len(),
        }
    }

    fn explain(&self, why: &str, operators: &Operators, ledger: &Ledger) -> String {
        let writes: Vec<String> = self
            .script
            .trace()
            .iter()
            .map(|w| {
                let answered = w.answered.map_or("not carried out".to_owned(), |(at, status)| format!("{at} {status}"));
                format!("  {} {w}: {answered}", w.life)
            })
            .collect();
        let entries: Vec<String> = ledger.entries().iter().map(|e| format!("  {} {:?}", e.time, e.event)).collect();
        format!(
            "{why}\nwrites (life, name, when carried out):\n{}\nledger:\n{}\nlogs:\n{}",
            writes.join("\n"),
            entries.join("\n"),
            operators.logs().join("--- another process ---\n")
        )
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}
