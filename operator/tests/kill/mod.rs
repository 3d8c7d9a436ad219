//! One life of one job on one printer, with an operator that is killed at one point of it, or not at all; and a person
//! who does what people do: clears the bed as soon as it waits for it, and answers truthfully what became of a print.
//!
//! The person is deliberately eager: were the bed cleared late, it would hide a second start.

pub mod points;
mod successor;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use printernizer_crds::print_job::{Outcome, Phase};
use printernizer_crds::{ConditionType, Conditions, PrintJob, PrintRecord, Printer};
use printernizer_e2e::Namespace;
use printernizer_e2e::cluster::Cluster;
use printernizer_e2e::farm::{Farm, Operator, OperatorOptions, in_short};
use printernizer_e2e::proxy::{Proxy, Rule, Script, Write, guard};
use printernizer_simulator::{
    Action, AfterPowerCut, BambuFault, Config, Entry, Event, Fault, FaultKind, Ledger, Simulator, SlicedFile,
};
use serde_json::json;
use successor::Connections;
use tokio::time::Instant;

/// How long a life may take. It takes a few seconds; a machine that is busy takes longer.
const LIMIT: Duration = Duration::from_secs(120);
/// The person looks this often.
const LOOK: Duration = Duration::from_millis(100);
const JOB: &str = "clip-1";

/// Who made the printer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(dead_code, reason = "each test binary has printers of one maker")]
pub enum Maker {
    Prusa,
    Bambu,
}

impl Maker {
    fn printer(self) -> &'static str {
        match self {
            Self::Prusa => "prusa-1",
            Self::Bambu => "bambu-1",
        }
    }

    fn config(self) -> Config {
        match self {
            Self::Prusa => Config::prusalink(1),
            Self::Bambu => {
                let mut config = Config::bambu(1);
                // A second of the machine is a hundredth of one here; its reports must not come more rarely than its deeds.
                config.printers[0].bambu.report_milliseconds = 100;
                config
            }
        }
    }
}

/// A life to be lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// With whose printer.
    pub maker: Maker,
    /// What is to happen in it.
    pub course: Course,
}

/// What is to become of the print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(dead_code, reason = "each test binary has courses of its own")]
pub enum Course {
    /// It is printed.
    Printed,
    /// It is printed, and a killed operator comes back only when the print is over and its end screen was left.
    PrintedMeanwhile,
    /// It is canceled as soon as the machine moves; it is long enough for the operator to be started again meanwhile.
    Canceled,
    /// It is printed, but the printer shows what it was asked to print minutes after it was asked.
    EchoLate,
    /// Before a killed operator comes back the printer is switched off and on, and has forgotten everything.
    Rebooted,
    /// Both of these.
    EchoLateRebooted,
}

impl Course {
    /// The operator's windows and the machine's steps run this much faster: five minutes take three seconds.
    fn faster(self) -> u32 {
        match self {
            // Whoever comes after a killed operator is to be there before the printer shows anything: 135 s are 2.7 s.
            Self::EchoLate | Self::EchoLateRebooted => 50,
            _ => 100,
        }
    }

    /// How long the print takes on a machine whose time is not shortened.
    fn print_minutes(self) -> u32 {
        match self {
            Self::Printed | Self::PrintedMeanwhile | Self::EchoLate | Self::Rebooted | Self::EchoLateRebooted => 1,
            Self::Canceled => 60,
        }
    }
}

/// What came of a life.
#[derive(Debug)]
pub struct Story {
    /// All writes.
    pub trace: Vec<Write>,
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
pub async fn live(cluster: &Cluster, life: Life, kills: &[Rule]) -> Result<Story, String> {
    let directory = tempfile::tempdir().map_err(text)?;
    let client = cluster.client().await.map_err(text)?;
    let namespace = Namespace::create(&client, "kill").await.map_err(text)?;
    let simulator =
        Simulator::start(life.maker.config().time_scale(f64::from(life.course.faster()))).await.map_err(text)?;
    let ledger = simulator.ledger();
    let script = Script::new(kills.iter().cloned());
    let farm = Farm::new(client, namespace.name(), simulator);
    let connections = Connections::default();
    let mut logs = Vec::new();
    let lived = run(cluster, life, &farm, &script, &connections, directory.path(), &mut logs).await;
    let lived = lived.and_then(|lived| judge(&ledger).map(|()| lived));
    let (kills, asked) = lived.map_err(|why| {
        let writes: Vec<String> = script.trace().iter().map(|w| format!("  {} {w}", w.life)).collect();
        let entries: Vec<String> = ledger.entries().iter().map(|e| format!("  {} {:?}", e.time, e.event)).collect();
        let logs: Vec<String> = logs.iter().filter_map(|l| std::fs::read_to_string(l).ok()).collect();
        format!(
            "{why}\nwrites (life, name):\n{}\nledger:\n{}\nlogs:\n{}",
            writes.join("\n"),
            entries.join("\n"),
            logs.join("--- killed, started again ---\n")
        )
    })?;
    namespace.delete().await.map_err(text)?;
    let found_nothing_shown = connections.before_the_print_was_shown(&ledger.entries());
    let start_commands = ledger.start_commands("").len();
    Ok(Story { trace: script.trace(), kills, asked, found_nothing_shown, start_commands })
}

async fn run(
    cluster: &Cluster,
    life: Life,
    farm: &Farm,
    script: &Script,
    connections: &Connections,
    directory: &std::path::Path,
    logs: &mut Vec<PathBuf>,
) -> Result<(usize, bool), String> {
    let api = Proxy::api(cluster.client().await.map_err(text)?, script.clone()).await.map_err(text)?;
    let Life { maker, course } = life;
    let info = farm.simulator().printers().into_iter().next().ok_or("no printer")?;
    let machine = farm.machine(maker.printer()).map_err(text)?;
    // Kept until the end of this life.
    let device = match maker {
        Maker::Prusa => {
            let target = info.url.trim_start_matches("http://").parse().map_err(text)?;
            Some(Proxy::device(maker.printer(), target, script.clone()).await.map_err(text)?)
        }
        Maker::Bambu => {
            assert!(
                machine.guard(connections.noted(guard(maker.printer(), script.clone()))),
                "its commands can be held"
            );
            None
        }
    };
    if matches!(course, Course::EchoLate | Course::EchoLateRebooted) {
        let late = BambuFault::SlowStart { ids_after_seconds: 135, state_after_seconds: 140 };
        machine.fault(Fault::lasting(FaultKind::Bambu(late)));
    }
    let url = device.as_ref().map_or_else(String::new, Proxy::url);
    farm.add_printer(&info, &url, json!({})).await.map_err(text)?;
    farm.add_file("clip", part(life)).await.map_err(text)?;
    farm.print(JOB, "clip", json!({})).await.map_err(text)?;
    // Tracked by Argo CD: the operator also writes a record, which outlives the job.
    let tracked =
        json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": "farm:printjobs/clip-1" } } });
    farm.jobs().patch(JOB, &PatchParams::default(), &Patch::Merge(tracked)).await.map_err(text)?;

    let options = OperatorOptions {
        program: PathBuf::from(env!("CARGO_BIN_EXE_printernizer")),
        kubeconfig: api.kubeconfig(directory).map_err(text)?,
        directory: directory.to_owned(),
        namespace: farm.namespace().to_owned(),
        simulated_time: course.faster(),
        arguments: Vec::new(),
    };
    let mut operator = Operator::start(&options).await.map_err(text)?;
    logs.push(operator.log().to_owned());
    let limit = Instant::now() + LIMIT;
    let (mut kills, mut asked, mut canceled) = (0, false, false);
    loop {
        tokio::select! {
            _ = script.stopped() => {
                operator.kill().await.map_err(text)?;
                script.next_life();
                kills += 1;
                if course == Course::PrintedMeanwhile {
                    if !farm.simulator().ledger().wait_for(LIMIT, rests).await {
                        return Err("the machine never came to rest".into());
                    }
                    if matches!(machine.state().link_state.as_deref(), Some("FINISHED" | "FINISH")) {
                        machine.person(&Action::LeaveEndScreen).map_err(text)?;
                    }
                }
                if matches!(course, Course::Rebooted | Course::EchoLateRebooted) {
                    machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).map_err(text)?;
                }
                // The lease of a process that is dead beyond doubt need not run out: nobody waits 15 s for each point.
                let leases: Api<Lease> = Api::namespaced(farm.client(), farm.namespace());
                match leases.delete("printernizer", &DeleteParams::default()).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    other => drop(other.map_err(text)?),
                }
                operator = Operator::start(&options).await.map_err(text)?;
                logs.push(operator.log().to_owned());
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        if !operator.is_running() {
            return Err("the operator ended by itself".into());
        }
        let job = farm.jobs().get(JOB).await.map_err(text)?;
        let printer = farm.printers().get(maker.printer()).await.map_err(text)?;
        if course == Course::Canceled && !canceled && !farm.simulator().ledger().physical_starts("").is_empty() {
            farm.change_job(JOB, json!({ "desiredState": "Cancel" })).await.map_err(text)?;
            canceled = true;
        }
        asked |= answer(farm, &job).await?;
        if machine_rests(&farm.simulator().ledger()) {
            farm.clear_beds().await.map_err(text)?;
        }
        let rest = what_is_left(farm, life, &job, &printer).await?;
        if rest.is_empty() {
            break;
        }
        if Instant::now() > limit {
            return Err(format!("after {LIMIT:?} {}; {}", rest.join(", "), in_short(&job)));
        }
    }
    operator.terminate(LIMIT).await.map_err(text)?;
    Ok((kills, asked))
}

/// A print file. A minute of it is 0.6 s here.
fn part(Life { maker, course }: Life) -> Vec<u8> {
    if maker == Maker::Bambu {
        return SlicedFile::lasting(u64::from(course.print_minutes()) * 60).plate(&[(1, "PLA")]).build();
    }
    let text = format!(
        "; generated by PrusaSlicer 2.5.0\nG28\nG1 X10 Y10 F6000\n; filament used [mm] = 10\n\
         ; filament used [g] = 0.03\n; estimated printing time (normal mode) = {}m 0s\n\
         ; prusaslicer_config = begin\n; filament_type = PLA\n; nozzle_diameter = 0.4\n\
         ; printer_model = COREONE\n; prusaslicer_config = end\n",
        course.print_minutes()
    );
    text.into_bytes()
}

/// What is still to happen before the life is complete.
async fn what_is_left(
    farm: &Farm,
    Life { maker, course }: Life,
    job: &PrintJob,
    printer: &Printer,
) -> Result<Vec<&'static str>, String> {
    let mut rest = Vec::new();
    let mut must = |holds: bool, otherwise: &'static str| {
        if !holds {
            rest.push(otherwise);
        }
    };
    let status = job.status.clone().unwrap_or_default();
    must(matches!(status.phase, Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled)), "the job has not ended");
    must(status.upload.is_none(), "the file is not known to be deleted");
    must(job.metadata.finalizers.as_ref().is_none_or(Vec::is_empty), "the job has its finalizer");
    let held = printer.status.clone().unwrap_or_default();
    must(held.current_job.is_none(), "the printer is claimed");
    must(held.last_start.as_ref().is_some_and(|l| l.verdict.is_some()), "the start has no verdict");
    must(printer.metadata.finalizers.as_ref().is_none_or(Vec::is_empty), "the printer has its finalizer");
    must(held.conditions.is_true(ConditionType::BedCleared), "the bed is not clear");
    must(machine_rests(&farm.simulator().ledger()), "the machine prints");
    if rest.is_empty() {
        let machine = farm.machine(maker.printer()).map_err(text)?.state();
        let records: Api<PrintRecord> = Api::namespaced(farm.client(), farm.namespace());
        let records = records.list(&ListParams::default()).await.map_err(text)?.items;
        let outcomes: Vec<Option<Outcome>> =
            records.iter().map(|r| r.status.as_ref().and_then(|s| s.outcome)).collect();
        // These are not waited for: when the life is complete they are true, or they are wrong.
        // A print that the power was cut for has failed. A canceled print that nobody saw end is put before a person, who says that it failed.
        let ends: &[(Phase, Outcome)] = match course {
            Course::Printed | Course::PrintedMeanwhile | Course::EchoLate => &[(Phase::Succeeded, Outcome::Succeeded)],
            Course::Canceled => &[(Phase::Cancelled, Outcome::Cancelled), (Phase::Failed, Outcome::Failed)],
            Course::Rebooted | Course::EchoLateRebooted => {
                &[(Phase::Succeeded, Outcome::Succeeded), (Phase::Failed, Outcome::Failed)]
            }
        };
        let Some((_, outcome)) = ends.iter().find(|(phase, _)| Some(*phase) == status.phase) else {
            return Err(format!("the job ended otherwise than the print: {}", in_short(job)));
        };
        if !machine.files.is_empty() {
            return Err(format!("files were left on the printer: {:?}", machine.files));
        }
        if outcomes != [Some(*outcome)] {
            return Err(format!("the record does not tell what happened: {records:?}"));
        }
    }
    Ok(rest)
}

/// Nothing is being printed or about to be.
fn machine_rests(ledger: &Ledger) -> bool {
    rests(&ledger.entries())
}

fn rests(entries: &[Entry]) -> bool {
    let (mut accepted, mut over) = (0, 0);
    for entry in entries {
        match entry.event {
            Event::JobAccepted { .. } => accepted += 1,
            Event::PhysicalEnd { .. } | Event::JobAbandoned { .. } => over += 1,
            _ => {}
        }
    }
    // A start that was lost with the power before it was shown is given up without having been accepted.
    accepted <= over
}

/// Answers the question that is open, by what the ledger says of this attempt. Gives whether one is.
async fn answer(farm: &Farm, job: &PrintJob) -> Result<bool, String> {
    let Some(status) = job.status.as_ref().filter(|s| s.conditions.is_true(ConditionType::OutcomeUnknown)) else {
        return Ok(false);
    };
    let Some(question) = &status.question else { return Err("a question without an id".into()) };
    let ledger = farm.simulator().ledger();
    if !machine_rests(&ledger) || job.spec.outcome.as_ref().is_some_and(|o| o.question_id == question.id) {
        return Ok(true);
    }
    let uid: String = job.metadata.uid.iter().flat_map(|u| u.chars()).filter(|c| *c != '-').take(16).collect();
    let token = format!("-pz-{uid}-{}.", status.attempt.max(1));
    let said = match ledger.physical_ends(&token).pop().map(|e| e.event) {
        None => "NotPrinted",
        Some(Event::PhysicalEnd { outcome: printernizer_simulator::Outcome::Finished, .. }) => "Succeeded",
        Some(_) => "Failed",
    };
    farm.change_job(JOB, json!({ "outcome": { "questionID": question.id, "answer": said } })).await.map_err(text)?;
    Ok(true)
}

/// What must be true of the machine whatever happened to the operator. Nothing here ever fails to print, and the
/// person never errs: so the part was printed exactly once.
fn judge(ledger: &Ledger) -> Result<(), String> {
    let starts: Vec<String> = ledger
        .physical_starts("")
        .into_iter()
        .filter_map(|e| if let Event::PhysicalStart { file_name, .. } = e.event { Some(file_name) } else { None })
        .collect();
    if let Some(twice) = starts.iter().enumerate().find_map(|(i, name)| starts[..i].contains(name).then_some(name)) {
        return Err(format!("one attempt was physically started twice: {twice}"));
    }
    if !ledger.starts_on_occupied_bed().is_empty() {
        return Err("a print was started on an occupied bed".into());
    }
    if starts.len() != 1 {
        return Err(format!("the part was printed {} times: {starts:?}", starts.len()));
    }
    Ok(())
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}
