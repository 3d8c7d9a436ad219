//! What the demo proves: every job of the examples succeeded, and the machines' own ledger shows one physical start for
//! each attempt that printed, of whatever job, and none onto an occupied bed. What a person does to jobs, and prints
//! started at a screen, are nobody's fault. It never asks the operator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use printernizer_crds::PrintJob;
use printernizer_crds::print_job::{DesiredState, Phase};
use printernizer_crds::{ConditionType, Conditions as _};
use printernizer_simulator::{Entry, Event, Ledger, StartCause};

/// Whether a job is over.
pub fn has_ended(job: &PrintJob) -> bool {
    matches!(phase(job), Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled))
}

/// Whether a job came with the examples.
pub fn is_example(job: &PrintJob) -> bool {
    job.labels().get(EXAMPLE.0).is_some_and(|value| value == EXAMPLE.1)
}

fn phase(job: &PrintJob) -> Option<Phase> {
    job.status.as_ref().and_then(|s| s.phase)
}

/// Whether a person ended the job, or said how it ended.
fn a_person_decided(job: &PrintJob) -> bool {
    job.spec.desired_state == DesiredState::Cancel || job.spec.outcome.is_some()
}

/// The label of the examples' jobs.
const EXAMPLE: (&str, &str) = ("app.kubernetes.io/part-of", "printernizer-examples");

/// The judgment.
#[derive(Debug)]
pub struct Verdict {
    /// Attempts that physically began, of jobs that are there and of jobs that were deleted.
    attempts: usize,
    commands: usize,
    starts: usize,
    complaints: Vec<String>,
}

impl Verdict {
    /// Judges all jobs that are there by the ledger.
    pub fn judge(jobs: &[Arc<PrintJob>], ledger: &Ledger) -> Self {
        Self::of(jobs, &ledger.entries())
    }

    /// Judges them by what stands in ledgers.
    pub fn of(jobs: &[Arc<PrintJob>], entries: &[Entry]) -> Self {
        let mut starts: BTreeMap<String, usize> = BTreeMap::new();
        let mut complaints = Vec::new();
        let mut commands = 0;
        for entry in entries {
            match &entry.event {
                Event::StartCommand { .. } => commands += 1,
                // A person who starts a print at the screen has looked at the bed.
                Event::PhysicalStart { cause: StartCause::Screen, .. } => {}
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
        for job in jobs.iter().filter(|j| has_ended(j) && !a_person_decided(j)) {
            let name = job.name_any();
            if phase(job) != Some(Phase::Succeeded) {
                if is_example(job) {
                    complaints.push(format!("{name} did not succeed: {}", why(job)));
                }
                continue;
            }
            let attempt = job.status.as_ref().map_or(0, |s| s.attempt);
            let uid: String = job.uid().unwrap_or_default().chars().filter(char::is_ascii_hexdigit).take(16).collect();
            if !starts.contains_key(&format!("{uid}-{attempt}")) {
                complaints.push(format!("{name} counts as printed, but no machine has started attempt {attempt}"));
            }
        }
        Self { attempts: starts.len(), commands, starts: starts.values().sum(), complaints }
    }

    /// Whether everything is as it must be.
    pub fn is_good(&self) -> bool {
        self.complaints.is_empty()
    }

    /// The judgment in one line.
    pub fn in_short(&self) -> String {
        if self.is_good() {
            format!("By now {} attempts were started: none twice, none onto an occupied bed.", self.attempts)
        } else {
            format!("WRONG: {}", self.complaints.join("; "))
        }
    }

    /// The judgment in full.
    ///
    /// `after` is when the examples had ended, if they have.
    pub fn lines(&self, after: Option<Duration>, time_scale: f64) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(after) = after {
            lines.push(format!(
                "The examples ended {:.1} s after the start of the demo (printers at {time_scale} times their speed).",
                after.as_secs_f64()
            ));
        }
        lines.push(format!(
            "The machines' ledger: {} attempts of jobs, {} start commands, {} physical starts.",
            self.attempts, self.commands, self.starts
        ));
        if self.is_good() {
            let examples = if after.is_some() { "Every job of the examples succeeded. " } else { "" };
            lines.push(format!("{examples}No attempt was started twice, none onto an occupied bed."));
        }
        lines.extend(self.complaints.iter().map(|c| format!("WRONG: {c}")));
        lines
    }
}

/// Why a job did not succeed, in the words of its status.
fn why(job: &PrintJob) -> String {
    let status = job.status.clone().unwrap_or_default();
    let failed = status.conditions.condition(ConditionType::Failed).map(|c| c.message.clone());
    failed.filter(|message| !message.is_empty()).unwrap_or_else(|| "its status does not say why".to_owned())
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

    fn job_of(part_of: &str, phase: &str, desired: &str) -> Arc<PrintJob> {
        let value = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": { "name": "clip", "uid": UID, "labels": { "app.kubernetes.io/part-of": part_of } },
            "spec": { "displayName": "Clip", "source": { "configMap": { "name": "a", "key": "b" } }, "desiredState": desired },
            "status": { "phase": phase, "attempt": 1, "conditions": [{ "type": "Failed", "status": "True",
                "reason": "PrintFailed", "message": "the nozzle jammed", "lastTransitionTime": "2026-01-01T00:00:00Z" }] },
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn job(phase: &str) -> Arc<PrintJob> {
        job_of("printernizer-examples", phase, "Run")
    }

    fn start(file: &str, occupied: bool) -> Entry {
        start_by("prusaLinkPost", file, occupied)
    }

    fn start_by(cause: &str, file: &str, occupied: bool) -> Entry {
        serde_json::from_value(json!({
            "sequence": 1, "time": "2026-01-01T00:00:00Z", "printer": "prusa-1", "serialNumber": "S",
            "event": "physicalStart", "cause": cause, "fileName": file, "sha256": "", "jobId": 1,
            "bedOccupied": occupied,
        }))
        .unwrap()
    }

    const UID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const FILE: &str = "clip-pz-3f2504e04f8941d3-1.gcode";

    #[test]
    fn one_start_for_a_job_that_succeeded_is_good() {
        let verdict = Verdict::of(&[job("Succeeded")], &[start(FILE, false)]);
        assert!(verdict.is_good(), "{verdict:?}");
    }

    #[test]
    fn a_second_start_is_not_good() {
        let verdict = Verdict::of(&[job("Succeeded")], &[start(FILE, false), start(FILE, false)]);
        assert_eq!(verdict.complaints, ["attempt 3f2504e04f8941d3-1 was started 2 times"]);
    }

    #[test]
    fn a_start_onto_an_occupied_bed_is_not_good() {
        assert!(!Verdict::of(&[job("Succeeded")], &[start(FILE, true)]).is_good());
    }

    #[test]
    fn a_success_without_a_start_is_not_good() {
        assert!(!Verdict::of(&[job("Succeeded")], &[]).is_good());
    }

    #[test]
    fn a_failed_job_of_the_examples_is_not_good_and_says_why() {
        let verdict = Verdict::of(&[job("Failed")], &[start(FILE, false)]);
        assert_eq!(verdict.complaints, ["clip did not succeed: the nozzle jammed"]);
    }

    #[test]
    fn what_a_person_does_is_not_wrong() {
        let (own, examples) = ("", "printernizer-examples");
        for job in [
            job_of(own, "Cancelled", "Cancel"),
            job_of(own, "Failed", "Run"),
            job_of(examples, "Cancelled", "Cancel"),
            job_of(own, "Printing", "Run"),
        ] {
            let verdict = Verdict::of(&[job], &[start(FILE, false), start_by("screen", "own.gcode", true)]);
            assert!(verdict.is_good(), "{verdict:?}");
        }
    }

    #[test]
    fn attempts_of_jobs_that_were_deleted_are_counted_and_judged() {
        let deleted = "gone-pz-aaaaaaaaaaaaaaaa-1.gcode";
        let verdict = Verdict::of(&[job("Succeeded")], &[start(FILE, false), start(deleted, false)]);
        assert!(verdict.is_good() && verdict.in_short().contains("2 attempts"), "{}", verdict.in_short());
        assert!(!Verdict::of(&[], &[start(deleted, false), start(deleted, false)]).is_good());
    }

    #[test]
    fn no_line_shows_the_inside_of_the_program() {
        let verdict = Verdict::of(&[job("Failed"), job("Succeeded")], &[start(FILE, true)]);
        let text = format!("{} {}", verdict.in_short(), verdict.lines(Some(Duration::from_secs(1)), 60.0).join(" "));
        assert!(!text.contains("Some(") && text.contains("WRONG"), "{text}");
    }

    #[test]
    fn a_file_of_no_job_is_not_good() {
        assert!(!Verdict::of(&[job("Succeeded")], &[start(FILE, false), start("other.gcode", false)]).is_good());
    }
}
