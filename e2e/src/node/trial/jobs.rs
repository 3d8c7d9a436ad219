//! Jobs of a trial, and the person who clears beds meanwhile.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{PrintJob, Printer};
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

/// Waits until some machines print and some jobs have yet to begin, and says how many of each.
pub(super) async fn in_the_middle(jobs: &Api<PrintJob>, names: &BTreeSet<String>) -> Result<(usize, usize), NodeError> {
    let found = wait_until("two machines to print while jobs wait", BEGIN, async || {
        let jobs = look(jobs, names).await?;
        let count = |wanted: &dyn Fn(&PrintJob) -> bool| jobs.iter().filter(|job| wanted(job)).count();
        let printing = count(&|job| phase(job) == Phase::Printing);
        let waiting = count(&|job| !has_ended(job) && phase(job) != Phase::Printing);
        if printing >= 2 && waiting >= 1 { Ok((printing, waiting)) } else { Err(short(&jobs)) }
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

fn short(jobs: &[PrintJob]) -> String {
    let lines = jobs.iter().filter(|job| !has_ended(job)).map(|job| format!("{}: {}", job.name_any(), in_short(job)));
    lines.collect::<Vec<_>>().join("\n  ")
}

/// A person who takes parts off beds and confirms it, until dropped.
pub(super) struct Person(JoinHandle<()>);

impl Person {
    pub(super) fn begin(printers: Api<Printer>, machines: Arc<Machines>) -> Self {
        Self(tokio::spawn(async move {
            loop {
                // What does not succeed, because the API server is busy, is seen again on the next walk.
                let _ = walk(&printers, &machines).await;
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

async fn walk(printers: &Api<Printer>, machines: &Machines) -> Result<(), NodeError> {
    for printer in printers.list(&ListParams::default()).await? {
        if let Some(id) = waiting_bed(&printer) {
            machines.take_part_off(&printer.name_any()).await?;
            let patch = Patch::Merge(json!({ "spec": { "bed": { "clearedFor": id } } }));
            printers.patch(&printer.name_any(), &PatchParams::default(), &patch).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_the_jobs_of_the_examples_under_names_of_its_own() {
        let job = |name: &str| json!({ "kind": "PrintJob", "metadata": { "name": name }, "spec": { "priority": 1 } });
        let objects = json!({ "items": [job("a"), { "kind": "Printer", "metadata": { "name": "b" } }, job("c")] });
        let round = list(&objects, |object| renamed(object, "-d"));
        assert_eq!(names(&round), BTreeSet::from(["a-d".to_owned(), "c-d".to_owned()]));
        assert_eq!(round["items"][0]["spec"], objects["items"][0]["spec"]);
    }
}
