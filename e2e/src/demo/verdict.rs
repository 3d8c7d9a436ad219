//! What the demo proves: every job succeeded, and the machines' own ledger shows one physical start for each attempt
//! that printed and none onto an occupied bed. It never asks the operator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use printernizer_crds::PrintJob;
use printernizer_crds::print_job::Phase;
use printernizer_simulator::{Entry, Event, Ledger};

/// Whether a job is over.
pub fn has_ended(job: &PrintJob) -> bool {
    matches!(phase(job), Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled))
}

fn phase(job: &PrintJob) -> Option<Phase> {
    job.status.as_ref().and_then(|s| s.phase)
}

/// The judgment.
#[derive(Debug)]
pub struct Verdict {
    jobs: usize,
    commands: usize,
    starts: usize,
    complaints: Vec<String>,
}

impl Verdict {
    /// Judges jobs that have ended by the ledger.
    pub fn judge(jobs: &[Arc<PrintJob>], ledger: &Ledger) -> Self {
        Self::of(jobs, &ledger.entries())
    }

    fn of(jobs: &[Arc<PrintJob>], entries: &[Entry]) -> Self {
        let mut starts: BTreeMap<String, usize> = BTreeMap::new();
        let mut complaints = Vec::new();
        let mut commands = 0;
        for entry in entries {
            match &entry.event {
                Event::StartCommand { .. } => commands += 1,
                Event::PhysicalStart { file_name, bed_occupied, .. } => {
                    if let Some(token) = token(file_name) {
                        *starts.entry(token.to_owned()).or_default() += 1;
                    } else {
                        complaints.push(format!("{} printed {file_name}, which is no job's file", entry.printer));
                    }
                    if *bed_occupied {
                        complaints.push(format!("{} printed {file_name} onto an occupied bed", entry.printer));
                    }
                }
                _ => {}
            }
        }
        for (token, count) in starts.iter().filter(|(_, count)| **count > 1) {
            complaints.push(format!("attempt {token} was started {count} times"));
        }
        for job in jobs {
            let name = job.name_any();
            if phase(job) != Some(Phase::Succeeded) {
                complaints.push(format!("{name} did not succeed: {}", crate::farm::in_short(job)));
                continue;
            }
            let attempt = job.status.as_ref().map_or(0, |s| s.attempt);
            let uid: String = job.uid().unwrap_or_default().chars().filter(char::is_ascii_hexdigit).take(16).collect();
            if !starts.contains_key(&format!("{uid}-{attempt}")) {
                complaints.push(format!("{name} counts as printed, but no machine has started attempt {attempt}"));
            }
        }
        Self { jobs: jobs.len(), commands, starts: starts.values().sum(), complaints }
    }

    /// Whether everything is as it must be.
    pub fn is_good(&self) -> bool {
        self.complaints.is_empty()
    }

    /// The judgment in one line.
    pub fn in_short(&self) -> String {
        if self.is_good() {
            format!(
                "By now {} jobs, {} physical starts; none twice, none onto an occupied bed.",
                self.jobs, self.starts
            )
        } else {
            self.complaints.join("; ")
        }
    }

    /// The judgment in full.
    pub fn lines(&self, after: Duration, time_scale: f64) -> Vec<String> {
        let seconds = after.as_secs_f64();
        let mut lines = vec![
            format!(
                "The examples ended {seconds:.1} s after the start of the demo (printers at {time_scale} times their speed)."
            ),
            format!(
                "The machines' ledger: {} jobs, {} start commands, {} physical starts.",
                self.jobs, self.commands, self.starts
            ),
        ];
        if self.is_good() {
            lines
                .push("Every job succeeded, every attempt started exactly once, none onto an occupied bed.".to_owned());
        }
        lines.extend(self.complaints.iter().map(|c| format!("WRONG: {c}")));
        lines
    }
}

/// The token in the name of a file: what stands between `-pz-` and the ending.
fn token(file_name: &str) -> Option<&str> {
    let (_, rest) = file_name.rsplit_once("pz-")?;
    rest.split_once('.').map(|(token, _)| token)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(uid: &str, phase: &str) -> Arc<PrintJob> {
        let value = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": { "name": "clip", "uid": uid },
            "spec": { "displayName": "Clip", "source": { "configMap": { "name": "a", "key": "b" } } },
            "status": { "phase": phase, "attempt": 1 },
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn start(file: &str, occupied: bool) -> Entry {
        serde_json::from_value(json!({
            "sequence": 1, "time": "2026-01-01T00:00:00Z", "printer": "prusa-1", "serialNumber": "S",
            "event": "physicalStart", "cause": "prusaLinkPost", "fileName": file, "sha256": "", "jobId": 1,
            "bedOccupied": occupied,
        }))
        .unwrap()
    }

    const UID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const FILE: &str = "clip-pz-3f2504e04f8941d3-1.gcode";

    #[test]
    fn one_start_for_a_job_that_succeeded_is_good() {
        let verdict = Verdict::of(&[job(UID, "Succeeded")], &[start(FILE, false)]);
        assert!(verdict.is_good(), "{verdict:?}");
    }

    #[test]
    fn a_second_start_is_not_good() {
        let verdict = Verdict::of(&[job(UID, "Succeeded")], &[start(FILE, false), start(FILE, false)]);
        assert_eq!(verdict.complaints, ["attempt 3f2504e04f8941d3-1 was started 2 times"]);
    }

    #[test]
    fn a_start_onto_an_occupied_bed_is_not_good() {
        assert!(!Verdict::of(&[job(UID, "Succeeded")], &[start(FILE, true)]).is_good());
    }

    #[test]
    fn a_success_without_a_start_is_not_good() {
        assert!(!Verdict::of(&[job(UID, "Succeeded")], &[]).is_good());
    }

    #[test]
    fn a_failed_job_is_not_good() {
        assert!(!Verdict::of(&[job(UID, "Failed")], &[start(FILE, false)]).is_good());
    }

    #[test]
    fn a_file_of_no_job_is_not_good() {
        assert!(!Verdict::of(&[job(UID, "Succeeded")], &[start(FILE, false), start("other.gcode", false)]).is_good());
    }
}
