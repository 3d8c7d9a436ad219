//! The gauges that describe the farm: printers by state, jobs by phase, what waits for a person, backups, and the queues. Counted
//! every few seconds from what was last heard, so that they are right also after an event was missed. Changes nothing.

mod backups;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{ConditionType, Conditions as _, PrintJob, Printer, Reason};
use tokio_util::sync::CancellationToken;

use crate::api::Key;
use crate::context::Context;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{Controller, ObjectCondition};

/// How often objects are counted.
const PERIOD: Duration = Duration::from_secs(5);
/// How often connections are counted: soon enough to see how fast a farm is known again, and it costs next to nothing.
const CONNECTIONS: Duration = Duration::from_millis(200);

/// Counts until cancelled; the conditions of single printers only if that is asked for.
pub async fn run(context: Arc<Context>, per_printer: bool, cancel: CancellationToken) {
    let (mut tick, mut connections) = (tokio::time::interval(PERIOD), tokio::time::interval(CONNECTIONS));
    let metrics = &context.metrics;
    let mut waits = Waits::default();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = connections.tick() => metrics.set_sessions_connected(number(context.fleet.connected())),
            _ = tick.tick() => {
                let printers = context.printer_index.all();
                of_printers(metrics, &printers);
                if per_printer {
                    of_each_printer(metrics, &printers);
                }
                let jobs = context.job_index.all();
                of_jobs(metrics, &jobs);
                metrics.set_jobs_waiting_since(&waits.longest(&jobs, Timestamp::now()));
                backups::of_policies(metrics, &context.policy_index.all());
                let queues = [
                    (Controller::Printer, &context.printers),
                    (Controller::PrintJob, &context.jobs),
                    (Controller::BackupPolicy, &context.policies),
                ];
                for (controller, queue) in queues {
                    let (waiting, running) = queue.depth();
                    metrics.set_queue(controller, waiting, running);
                }
            }
        }
    }
}

fn of_each_printer(metrics: &Metrics, printers: &[Arc<Printer>]) {
    let mut conditions = BTreeMap::new();
    for printer in printers {
        for condition in printer.status.iter().flat_map(|status| &status.conditions) {
            // One of another version is left out: its type could be anything.
            if let Some(known) = ConditionType::ALL.iter().find(|known| known.as_str() == condition.type_) {
                let Key { namespace, name } = Key::of(printer.as_ref());
                let key = ObjectCondition { namespace, name, condition: *known };
                conditions.insert(key, condition.status.as_str());
            }
        }
    }
    metrics.set_printer_conditions(&conditions);
}

fn of_printers(metrics: &Metrics, printers: &[Arc<Printer>]) {
    metrics.set_printers(|state| {
        let is = |p: &&Arc<Printer>| p.status.as_ref().and_then(|s| s.state).unwrap_or(PrinterState::Unknown) == state;
        number(printers.iter().filter(is).count())
    });
    metrics.set_beds_to_clear(number(printers.iter().filter(|p| has_bed_to_clear(p)).count()));
    metrics.set_printers_not_ready(&by_reason(printers.iter().filter_map(|p| not_ready(p))));
}

fn of_jobs(metrics: &Metrics, jobs: &[Arc<PrintJob>]) {
    metrics.set_jobs(|phase| {
        let is = |j: &&Arc<PrintJob>| j.status.as_ref().and_then(|s| s.phase).unwrap_or_default() == phase;
        number(jobs.iter().filter(is).count())
    });
    metrics.set_jobs_waiting(&by_reason(jobs.iter().filter_map(|j| waiting_for(j))));
}

/// Since when each job, by its UID, has waited for what it waits for, as far as this process has seen it. The times of
/// conditions do not say it: they stay where only the reason changes.
#[derive(Default)]
struct Waits(HashMap<String, (Reason, Timestamp)>);

impl Waits {
    /// Since when the job that has waited longest for each of these has waited for it, in seconds since 1970.
    fn longest(&mut self, jobs: &[Arc<PrintJob>], now: Timestamp) -> BTreeMap<Reason, i64> {
        let mut before = std::mem::take(&mut self.0);
        let mut longest = BTreeMap::new();
        for job in jobs {
            let Some(reason) = waiting_for(job).and_then(known) else { continue };
            let Some(uid) = job.metadata.uid.clone() else { continue };
            let since = before.remove(&uid).filter(|(was, _)| *was == reason).map_or(now, |(_, since)| since);
            let seconds = longest.entry(reason).or_insert_with(|| since.as_second());
            *seconds = since.as_second().min(*seconds);
            self.0.insert(uid, (reason, since));
        }
        longest
    }
}

/// Whether nothing is printed there and the printer gets no job before a person has been at its bed.
fn has_bed_to_clear(printer: &Printer) -> bool {
    let Some(status) = &printer.status else { return false };
    let waits = status.bed.as_ref().is_some_and(|b| b.occupancy_id.is_some() && !b.print_in_progress);
    waits && !status.conditions.is_true(ConditionType::BedCleared)
}

/// Why the printer cannot be used.
fn not_ready(printer: &Printer) -> Option<&str> {
    let ready = printer.status.as_ref()?.conditions.condition(ConditionType::Ready)?;
    (ready.status != "True").then_some(ready.reason.as_str())
}

/// What the job waits for; nothing while it prints and after its end.
fn waiting_for(job: &PrintJob) -> Option<&str> {
    let status = job.status.as_ref()?;
    let ended = matches!(status.phase, Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled));
    status.waiting_for.as_deref().filter(|_| !ended)
}

/// The reason of this name; none where another version wrote it.
fn known(text: &str) -> Option<Reason> {
    Reason::ALL.iter().find(|reason| reason.as_str() == text).copied()
}

/// How often each reason occurs. What is no reason of this version is left out.
fn by_reason<'a>(reasons: impl Iterator<Item = &'a str>) -> BTreeMap<Reason, i64> {
    let mut counts = BTreeMap::new();
    for reason in reasons.filter_map(known) {
        *counts.entry(reason).or_insert(0) += 1;
    }
    counts
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn printer(ready: &str, reason: &str, bed: &Value) -> Arc<Printer> {
        let at = "2026-11-21T12:00:00Z";
        let cleared = if bed["occupancyID"].is_null() { "True" } else { "False" };
        let value = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": "p" },
            "spec": { "model": "M", "connection": { "prusaLink": {
                "url": "http://10.0.0.1", "credentialsSecretRef": { "name": "p" } } } },
            "status": { "bed": bed, "conditions": [
                { "type": "Ready", "status": ready, "reason": reason, "message": "", "lastTransitionTime": at },
                { "type": "BedCleared", "status": cleared, "reason": "X", "message": "", "lastTransitionTime": at },
            ] },
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn job(phase: &str, waiting_for: Option<&str>) -> Arc<PrintJob> {
        let value = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "j" },
            "spec": { "source": { "configMap": { "name": "a", "key": "b" } } },
            "status": { "phase": phase, "waitingFor": waiting_for },
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_bed_waits_for_a_person_only_when_nothing_prints_above_it() {
        let metrics = Metrics::new().unwrap();
        of_printers(
            &metrics,
            &[
                printer("True", "PrinterReady", &json!({ "occupancyID": "1", "printInProgress": true })),
                printer("True", "PrinterReady", &json!({ "occupancyID": "2" })),
                printer("False", "Unreachable", &json!({})),
                printer("False", "SomethingOfAnotherVersion", &json!({})),
            ],
        );
        let text = metrics.text().unwrap();
        assert!(text.contains("printernizer_beds_to_clear 1\n"), "{text}");
        assert!(text.contains("printernizer_printers_not_ready{reason=\"Unreachable\"} 1\n"), "{text}");
        assert!(!text.contains("AnotherVersion"), "{text}");
    }

    #[test]
    fn a_printer_shows_the_status_each_condition_has_and_nothing_once_it_is_gone() {
        let metrics = Metrics::new().unwrap();
        let shown = || -> Vec<String> {
            let text = metrics.text().unwrap();
            let lines = text.lines().filter_map(|line| line.strip_prefix("printernizer_printer_status_condition"));
            lines.map(str::to_owned).collect()
        };
        of_each_printer(&metrics, &[printer("False", "Unreachable", &json!({}))]);
        let series = |status: &str, condition: &str, value: u8| {
            format!("{{printer=\"p\",printer_namespace=\"\",status=\"{status}\",type=\"{condition}\"}} {value}")
        };
        let mut expected = vec![series("False", "BedCleared", 0), series("False", "Ready", 1)];
        expected.extend([series("True", "BedCleared", 1), series("True", "Ready", 0)]);
        expected.extend([series("Unknown", "BedCleared", 0), series("Unknown", "Ready", 0)]);
        assert_eq!(shown(), expected);
        of_each_printer(&metrics, &[printer("True", "PrinterReady", &json!({}))]);
        assert!(shown().contains(&series("True", "Ready", 1)) && shown().contains(&series("False", "Ready", 0)));
        of_each_printer(&metrics, &[]);
        assert_eq!(shown(), Vec::<String>::new());
    }

    #[test]
    fn a_wait_counts_from_when_the_job_began_to_wait_for_this_and_ends_with_it() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let named = |uid: &str, phase: &str, waits: Option<&str>| {
            let mut job = Arc::unwrap_or_clone(job(phase, waits));
            job.metadata.uid = Some(uid.to_owned());
            Arc::new(job)
        };
        let (start, queued) = (Some("StartPending"), Some("Queued"));
        let mut waits = Waits::default();
        let mut longest = |now, jobs: &[Arc<PrintJob>]| waits.longest(jobs, at(now));
        let since = |reason, seconds| BTreeMap::from([(reason, seconds)]);
        assert_eq!(longest(100, &[named("a", "Assigned", start)]), since(Reason::StartPending, 100));
        // Another one that comes later does not make it younger, and a third one's step is its own.
        let both = [named("b", "Assigned", start), named("a", "Assigned", start)];
        assert_eq!(longest(200, &both), since(Reason::StartPending, 100));
        assert_eq!(longest(300, &[named("b", "Assigned", start)]), since(Reason::StartPending, 200));
        assert_eq!(longest(400, &[named("b", "Pending", queued)]), since(Reason::Queued, 400));
        assert_eq!(longest(500, &[named("b", "Assigned", start)]), since(Reason::StartPending, 500));
        assert_eq!(longest(600, &[named("b", "Printing", None)]), BTreeMap::new());
        assert_eq!(longest(700, &[named("b", "Failed", start)]), BTreeMap::new());
    }

    #[test]
    fn jobs_are_counted_by_what_they_wait_for() {
        let metrics = Metrics::new().unwrap();
        let queued = || job("Pending", Some("Queued"));
        of_jobs(&metrics, &[queued(), queued(), job("Printing", None), job("AttentionNeeded", Some("EndNotSeen"))]);
        let text = metrics.text().unwrap();
        assert!(text.contains("printernizer_jobs_waiting{reason=\"Queued\"} 2\n"), "{text}");
        assert!(text.contains("printernizer_jobs_waiting{reason=\"EndNotSeen\"} 1\n"), "{text}");
    }
}
