//! The gauges that describe the farm: printers by state, jobs by phase, what waits for a person, backups, and the queues. Counted
//! every few seconds from what was last heard, so that they are right also after an event was missed. Changes nothing.

mod backups;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
                of_jobs(metrics, &context.job_index.all());
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

/// How often each reason occurs. What is no reason of this version, as another one may have written it, is left out.
fn by_reason<'a>(reasons: impl Iterator<Item = &'a str>) -> BTreeMap<Reason, i64> {
    let mut counts = BTreeMap::new();
    for text in reasons {
        if let Some(reason) = Reason::ALL.iter().find(|r| r.as_str() == text) {
            *counts.entry(*reason).or_insert(0) += 1;
        }
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
    fn jobs_are_counted_by_what_they_wait_for() {
        let metrics = Metrics::new().unwrap();
        let queued = || job("Pending", Some("Queued"));
        of_jobs(&metrics, &[queued(), queued(), job("Printing", None), job("AttentionNeeded", Some("EndNotSeen"))]);
        let text = metrics.text().unwrap();
        assert!(text.contains("printernizer_jobs_waiting{reason=\"Queued\"} 2\n"), "{text}");
        assert!(text.contains("printernizer_jobs_waiting{reason=\"EndNotSeen\"} 1\n"), "{text}");
    }
}
