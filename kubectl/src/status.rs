//! `status`: the farm at a glance. First what waits for a person, then printers, then jobs. [`overview`] is pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{BackupPolicy, ConditionType, PrintJob, Printer, Reason};
use serde::Serialize;

use crate::arguments::Status;
use crate::backups;
use crate::error::Error;
use crate::objects::{Bed, bed, condition, doubt, full_name, of_job, of_printer, phase, question};
use crate::output::{Format, age, clean, structured};
use crate::run::Session;
use crate::trust::{distrust, what_happened};

mod render;

/// Objects that no operator has looked at for this long are worth a word.
const UNSEEN_SECONDS: i64 = 30;

/// Shows the farm.
pub async fn show(session: &mut Session<'_>, arguments: &Status) -> Result<(), Error> {
    let all = arguments.all_namespaces;
    let printers: Vec<Printer> = session.cluster.list(all, arguments.selector.as_deref()).await?;
    let jobs: Vec<PrintJob> = session.cluster.list(all, None).await?;
    let policies = match session.cluster.list::<BackupPolicy>(all, None).await {
        Ok(policies) => policies,
        // Without backups the farm is shown all the same; that they are not is said where somebody may have some.
        Err(Error::NotInstalled { .. }) => Vec::new(),
        Err(error @ Error::Forbidden { .. }) => {
            session.note(&format!("backups are left out: {}", error.chain()))?;
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let overview = overview(&printers, &jobs, &policies, session.now);
    let text = match arguments.output.output {
        Some(Format::Name) => {
            let names = printers.iter().map(full_name).chain(jobs.iter().map(full_name));
            names.map(|name| name + "\n").collect()
        }
        Some(format @ (Format::Json | Format::Yaml)) => structured(format, &overview)?,
        wide => {
            let place = if all { render::Place::All } else { render::Place::One(session.cluster.namespace()) };
            render::text(&overview, place, wide.is_some(), &session.flags, session.paint)
        }
    };
    session.answer(&text)
}

/// The farm at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// What waits for a person, the most urgent first.
    pub needs: Vec<Need>,
    /// Printers.
    pub printers: Vec<PrinterRow>,
    /// Jobs, by phase and reason.
    pub jobs: Vec<JobCount>,
    /// Objects that no operator has looked at.
    pub unseen: usize,
}

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// `job`, `printer` or `backup policy`.
    pub kind: &'static str,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// What it is about.
    pub what: String,
    /// The command for it, where there is one, without its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Whether other work stands still because of it.
    pub urgent: bool,
}

/// A printer in one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say it")]
pub struct PrinterRow {
    pub namespace: String,
    pub name: String,
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    pub bed: String,
    /// Id of what lies there and waits for a person, as `clear-bed NAME=ID` takes it.
    #[serde(rename = "occupancyID", skip_serializing_if = "Option::is_none")]
    pub occupancy_id: Option<String>,
    /// What keeps jobs off it: why it is not ready, or that it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    pub loaded: Vec<String>,
}

/// How many jobs there are of a phase and reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say it")]
pub struct JobCount {
    pub phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub count: usize,
}

/// What these objects come to.
pub fn overview(printers: &[Printer], jobs: &[PrintJob], policies: &[BackupPolicy], now: Timestamp) -> Overview {
    let mut needs: Vec<Need> = jobs.iter().filter_map(need_of_job).collect();
    needs.extend(printers.iter().flat_map(|p| needs_of_printer(p, jobs, now)));
    needs.extend(policies.iter().filter_map(backups::need));
    // Stable: jobs before printers before backups, and by name, within the same urgency.
    needs.sort_by_key(|need| !need.urgent);
    let old = |meta: &ObjectMeta| {
        let created = meta.creation_timestamp.as_ref();
        created.is_some_and(|created| now.duration_since(created.0).as_secs() >= UNSEEN_SECONDS)
    };
    let unseen = printers.iter().filter(|p| p.status.is_none() && old(&p.metadata)).count()
        + jobs.iter().filter(|j| phase(j).is_none() && old(&j.metadata)).count();
    Overview { needs, printers: printers.iter().map(|p| row(p, jobs)).collect(), jobs: counts(jobs), unseen }
}

fn need_of_job(job: &PrintJob) -> Option<Need> {
    let name = job.name_any();
    let status = job.status.as_ref()?;
    let message = || clean(status.message.as_deref().unwrap_or_default());
    let (what, command, urgent) = match phase(job)? {
        Phase::AttentionNeeded if question(job).is_some() => {
            (format!("what became of its print? {}", doubt(job)), Some(format!("outcome {name}")), true)
        }
        Phase::AttentionNeeded => (message(), None, true),
        Phase::Pending => {
            let stalled = condition(&status.conditions, ConditionType::Stalled).is_some_and(|c| c.status == "True");
            let misfit = condition(&status.conditions, ConditionType::Scheduled)
                .is_some_and(|c| c.reason == Reason::NoMatchingPrinter.as_str());
            if stalled {
                (message(), None, false)
            } else if misfit {
                (format!("no printer fits: {}", message()), Some(format!("why {name}")), false)
            } else {
                return None;
            }
        }
        Phase::Paused => {
            let started = condition(&status.conditions, ConditionType::Started)?;
            let at_machine = started.reason == Reason::PausedAtPrinter.as_str();
            at_machine.then(|| (format!("paused at the machine: {}", clean(&started.message)), None, true))?
        }
        _ => return None,
    };
    Some(Need { kind: "job", namespace: job.namespace().unwrap_or_default(), name, what, command, urgent })
}

fn needs_of_printer(printer: &Printer, jobs: &[PrintJob], now: Timestamp) -> Vec<Need> {
    let name = printer.name_any();
    let says = |type_| condition(of_printer(printer), type_).filter(|c| c.status == "False");
    let need = |what: String, command: Option<String>, urgent: bool| Need {
        kind: "printer",
        namespace: printer.namespace().unwrap_or_default(),
        name: name.clone(),
        what,
        command,
        urgent,
    };
    let mut needs = Vec::new();
    if distrust(printer).is_some() && says(ConditionType::Trusted).is_some() {
        needs.push(need(what_happened(printer), Some(format!("acknowledge {name}")), true));
    } else if let Some(ready) = says(ConditionType::Ready).filter(|c| c.reason != Reason::BeingDeleted.as_str()) {
        needs.push(need(format!("{}: {}", ready.reason, clean(&ready.message)), None, true));
    }
    // What a job of ours asks at the screen is told by the job.
    let told_by_job = printer.status.as_ref().is_some_and(|s| s.current_job.is_some());
    if let Some(idle) = says(ConditionType::Idle).filter(|c| c.reason == Reason::Attention.as_str() && !told_by_job) {
        needs.push(need(clean(&idle.message), None, true));
    }
    if let Bed::Waits(on) = bed(printer) {
        let job = on.job.map(|job| format!("job {job}"));
        let since = on.since.map(|since| age(since, now));
        let more: Vec<String> = job.into_iter().chain(since).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
        let waits = jobs.iter().any(|j| phase(j) == Some(Phase::Pending) && j.namespace() == printer.namespace());
        needs.push(need(format!("the bed: {}{more}", on.what), Some(format!("clear-bed {name}")), waits));
    }
    needs
}

fn row(printer: &Printer, jobs: &[PrintJob]) -> PrinterRow {
    let status = printer.status.as_ref();
    let holder = status.and_then(|s| s.current_job.as_ref());
    let job = holder.and_then(|h| jobs.iter().find(|j| j.uid().as_deref() == Some(h.uid.as_str())));
    let progress = job.and_then(|j| j.status.as_ref()).and_then(|s| s.progress.as_ref());
    let device = status.and_then(|s| s.device.as_ref());
    let ready = condition(of_printer(printer), ConditionType::Ready);
    let held = printer.spec.unschedulable.then(|| match printer.spec.unschedulable_reason.as_deref() {
        Some(reason) => format!("held: {}", clean(reason)),
        None => "held".to_owned(),
    });
    let trouble = match ready {
        Some(c) if c.status == "True" => held,
        Some(c) => Some(c.reason.clone()),
        None => Some("no operator has looked at it yet".to_owned()),
    };
    let bed_words = condition(of_printer(printer), ConditionType::BedCleared).map(|c| c.reason.clone());
    PrinterRow {
        namespace: printer.namespace().unwrap_or_default(),
        name: printer.name_any(),
        state: status.and_then(|s| s.state).map_or_else(String::new, |s: PrinterState| format!("{s:?}")),
        job: holder.map(|h| h.name.clone()),
        progress: progress.and_then(|p| p.summary.as_deref().map(clean)),
        left: progress.and_then(|p| p.remaining.as_deref().map(clean)),
        bed: bed_words.unwrap_or_default(),
        occupancy_id: match bed(printer) {
            Bed::Waits(on) => Some(on.id),
            _ => None,
        },
        trouble,
        location: printer.spec.location.as_deref().map(clean),
        model: clean(&printer.spec.model),
        firmware: device.and_then(|d| d.firmware_version.as_deref().map(clean)),
        host: device.and_then(|d| d.host.as_deref().map(clean)),
        loaded: status
            .iter()
            .flat_map(|s| &s.slots)
            .filter(|s| !s.empty)
            .filter_map(|s| s.material.as_deref().map(clean))
            .collect(),
    }
}

fn counts(jobs: &[PrintJob]) -> Vec<JobCount> {
    let mut counts: BTreeMap<(usize, String, Option<String>), usize> = BTreeMap::new();
    for job in jobs {
        let phase = phase(job);
        let reason = match phase {
            Some(Phase::Failed) => condition(of_job(job), ConditionType::Failed).map(|c| c.reason.clone()),
            Some(Phase::Held) => None,
            _ => job.status.as_ref().and_then(|s| s.waiting_for.clone()),
        };
        let word = phase.map_or_else(|| "Unseen".to_owned(), |p| format!("{p:?}"));
        *counts.entry((order(phase), word, reason)).or_default() += 1;
    }
    counts.into_iter().map(|((_, phase, reason), count)| JobCount { phase, reason, count }).collect()
}

/// Where a phase stands in the list: what needs a person first, what has ended last.
fn order(phase: Option<Phase>) -> usize {
    match phase {
        Some(Phase::AttentionNeeded) => 0,
        Some(Phase::Printing) => 1,
        Some(Phase::Paused) => 2,
        Some(Phase::Starting) => 3,
        Some(Phase::Uploading) => 4,
        Some(Phase::Assigned) => 5,
        Some(Phase::Pending) => 6,
        Some(Phase::Held) => 7,
        None => 8,
        Some(Phase::Succeeded) => 9,
        Some(Phase::Failed) => 10,
        Some(Phase::Cancelled) => 11,
    }
}

#[cfg(test)]
mod tests;
