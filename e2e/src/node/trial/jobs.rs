//! Jobs of a trial, and the person who clears beds meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions as _, PrintJob, Printer};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::super::NodeError;
use super::super::machines::Machines;
use crate::cluster::Cluster;
use crate::demo::verdict::has_ended;
use crate::farm::{in_short, waiting_bed};
use crate::wait_until;
use crate::witness;

/// Where printers and jobs are.
pub(super) const FARM: &str = "farm";
/// How long until machines print.
const BEGIN: Duration = Duration::from_secs(300);
/// How long until all have ended: the prints take two minutes, and some print twice in a row.
const END: Duration = Duration::from_secs(900);
/// How often the person walks by.
const WALK: Duration = Duration::from_millis(500);

/// Some of these objects, as one `List`.
pub(super) fn list(objects: &Value, choose: impl Fn(&Value) -> Option<Value>) -> Value {
    let chosen: Vec<Value> = objects["items"].as_array().into_iter().flatten().filter_map(choose).collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": chosen })
}

/// A job under a name with this end; nothing for other objects.
pub(super) fn renamed(object: &Value, end: &str) -> Option<Value> {
    let name = object["metadata"]["name"].as_str().filter(|_| object["kind"] == "PrintJob")?;
    let mut job = object.clone();
    job["metadata"]["name"] = json!(format!("{name}{end}"));
    Some(job)
}

/// The names of these objects.
pub(super) fn names(objects: &Value) -> BTreeSet<String> {
    let items = objects["items"].as_array().into_iter().flatten();
    items.filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

/// `kubectl apply`, as a person would.
pub(super) async fn apply(cluster: &Cluster, objects: &Value) -> Result<(), NodeError> {
    let mut command = Command::from(cluster.kubectl());
    command.args(["apply", "--namespace", FARM, "--filename", "-"]).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |source| NodeError::Run { program: "kubectl".to_owned(), source };
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // kubectl that does not read to the end says why itself.
        let _ = pipe.write_all(objects.to_string().as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NodeError::Failed { command: "kubectl apply".to_owned(), told })
}

async fn look(jobs: &Api<PrintJob>, names: &BTreeSet<String>) -> Result<Vec<PrintJob>, String> {
    let all = jobs.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    Ok(all.items.into_iter().filter(|job| names.contains(&job.name_any())).collect())
}

fn phase(job: &PrintJob) -> Phase {
    job.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

/// Which middle of a round is meant: at least two machines print and a job has yet to begin, and what more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Middle {
    /// A job has ended as well.
    pub(super) ended: bool,
    /// No job is between being given a printer and being seen to print.
    pub(super) calm: bool,
}

impl Middle {
    fn is(self, jobs: &[PrintJob]) -> bool {
        let count = |wanted: &dyn Fn(&PrintJob) -> bool| jobs.iter().filter(|job| wanted(job)).count();
        let printing = count(&|job| phase(job) == Phase::Printing);
        let waiting = count(&|job| phase(job) == Phase::Pending);
        let ended = count(&has_ended);
        let between = jobs.len() - printing - waiting - ended;
        printing >= 2 && waiting + between >= 1 && (!self.ended || ended >= 1) && (!self.calm || between == 0)
    }
}

/// Waits until the round is in this middle, and gives its jobs as they are then.
pub(super) async fn in_the_middle(
    jobs: &Api<PrintJob>,
    names: &BTreeSet<String>,
    middle: Middle,
) -> Result<Vec<PrintJob>, NodeError> {
    let found = wait_until("two machines to print while jobs wait", BEGIN, async || {
        let jobs = look(jobs, names).await?;
        if jobs.len() == names.len() && middle.is(&jobs) { Ok(jobs) } else { Err(short(&jobs)) }
    });
    Ok(found.await?)
}

/// Waits until all have ended, however.
pub(super) async fn all_ended(jobs: &Api<PrintJob>, names: &BTreeSet<String>) -> Result<Vec<Arc<PrintJob>>, NodeError> {
    let found = wait_until("every job to end", END, async || {
        let jobs = look(jobs, names).await?;
        let over = jobs.len() == names.len() && jobs.iter().all(has_ended);
        if over { Ok(jobs) } else { Err(short(&jobs)) }
    });
    Ok(found.await?.into_iter().map(Arc::new).collect())
}

/// How many of these jobs are in which phase, for people.
pub(super) fn phases(jobs: &[PrintJob]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for job in jobs {
        *counts.entry(format!("{:?}", phase(job))).or_default() += 1;
    }
    counts.iter().map(|(phase, count)| format!("{count} {phase}")).collect::<Vec<_>>().join(", ")
}

fn short(jobs: &[PrintJob]) -> String {
    let lines = jobs.iter().filter(|job| !has_ended(job)).map(|job| format!("{}: {}", job.name_any(), in_short(job)));
    lines.collect::<Vec<_>>().join("\n  ")
}

/// A person who takes parts off beds and confirms it, and answers what became of a print, until dropped.
pub(super) struct Person(JoinHandle<()>);

impl Person {
    pub(super) fn begin(printers: Api<Printer>, jobs: Api<PrintJob>, machines: Arc<Machines>) -> Self {
        Self(tokio::spawn(async move {
            loop {
                // What does not succeed, because the API server is busy, is seen again on the next walk.
                let _ = clear(&printers, &machines).await;
                let _ = answer(&jobs, &machines).await;
                tokio::time::sleep(WALK).await;
            }
        }))
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn clear(printers: &Api<Printer>, machines: &Machines) -> Result<(), NodeError> {
    for printer in printers.list(&ListParams::default()).await? {
        if let Some(id) = waiting_bed(&printer) {
            machines.take_part_off(&printer.name_any()).await?;
            let patch = Patch::Merge(json!({ "spec": { "bed": { "clearedFor": id } } }));
            printers.patch(&printer.name_any(), &PatchParams::default(), &patch).await?;
        }
    }
    Ok(())
}

async fn answer(jobs: &Api<PrintJob>, machines: &Machines) -> Result<(), NodeError> {
    let asked: Vec<PrintJob> =
        jobs.list(&ListParams::default()).await?.items.into_iter().filter(is_asked_about).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let ledger = machines.ledger().await?;
    for job in asked {
        if let Some(outcome) = witness::answer(&job, &ledger).map_err(NodeError::Wrong)? {
            let patch = Patch::Merge(json!({ "spec": { "outcome": outcome } }));
            jobs.patch(&job.name_any(), &PatchParams::default(), &patch).await?;
        }
    }
    Ok(())
}

fn is_asked_about(job: &PrintJob) -> bool {
    job.status.as_ref().is_some_and(|status| status.conditions.is_true(ConditionType::OutcomeUnknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(phase: &str) -> PrintJob {
        let value = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "clip" },
            "spec": { "source": { "configMap": { "name": "a", "key": "b" } } }, "status": { "phase": phase },
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_middle_of_a_round_is_one_in_which_enough_happens_and_as_calm_as_was_asked() {
        let is = |phases: &[&str], ended, calm| {
            Middle { ended, calm }.is(&phases.iter().map(|phase| job(phase)).collect::<Vec<_>>())
        };
        let starting = ["Printing", "Printing", "Starting"];
        assert!(is(&starting, false, false) && !is(&starting, false, true) && !is(&starting, true, false));
        let calm = ["Printing", "Printing", "Pending", "Succeeded"];
        assert!(is(&calm, true, true));
        assert!(!is(&["Printing", "Pending", "Pending"], false, false), "one machine");
        assert!(!is(&["Printing", "Printing", "Failed"], false, false), "nothing waits");
    }

    #[test]
    fn a_round_has_the_jobs_of_the_examples_under_names_of_its_own() {
        let job = |name: &str| json!({ "kind": "PrintJob", "metadata": { "name": name }, "spec": { "priority": 1 } });
        let objects = json!({ "items": [job("a"), { "kind": "Printer", "metadata": { "name": "b" } }, job("c")] });
        let round = list(&objects, |object| renamed(object, "-d"));
        assert_eq!(names(&round), BTreeSet::from(["a-d".to_owned(), "c-d".to_owned()]));
        assert_eq!(round["items"][0]["spec"], objects["items"][0]["spec"]);
    }
}
