//! What must be true of the jobs of a round, by the ledgers of the machines and by what was stored.

use std::sync::Arc;

use kube::ResourceExt as _;
use printernizer_crds::PrintJob;
use printernizer_crds::print_job::Phase;
use printernizer_simulator::{Entry, Event};

use crate::farm::in_short;
use crate::witness::token;

/// How many parts of this job machines have begun, in all its attempts.
pub(super) fn starts(job: &PrintJob, ledger: &[Entry]) -> usize {
    let token = token(job, None);
    let of_job =
        |entry: &&Entry| matches!(&entry.event, Event::PhysicalStart { file_name, .. } if file_name.contains(&token));
    ledger.iter().filter(of_job).count()
}

/// Every job was printed once and counts as printed, whoever was asked about it.
pub(super) fn printed_once(jobs: &[Arc<PrintJob>], ledger: &[Entry]) -> Result<(), String> {
    let mut wrong = Vec::new();
    for job in jobs {
        let count = starts(job, ledger);
        if count != 1 {
            wrong.push(format!("{} was started {count} times", job.name_any()));
        }
        if job.status.as_ref().and_then(|status| status.phase) != Some(Phase::Succeeded) {
            wrong.push(format!("{} did not succeed: {}", job.name_any(), in_short(job)));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Those that were being printed then have ended in the same attempt, on the same printer.
pub(super) fn went_on(then: &[PrintJob], ended: &[Arc<PrintJob>]) -> Result<(), String> {
    let attempt = |job: &PrintJob| {
        let status = job.status.clone().unwrap_or_default();
        (
            job.uid(),
            status.attempt,
            status.start.map(|start| start.remote_name),
            status.printer.map(|printer| printer.name),
        )
    };
    for before in then.iter().filter(|job| job.status.as_ref().and_then(|s| s.phase) == Some(Phase::Printing)) {
        let name = before.name_any();
        let Some(after) = ended.iter().find(|job| job.name_any() == name) else {
            return Err(format!("{name} is gone"));
        };
        let ((uid, number, file, printer), now) = (attempt(before), attempt(after));
        // What is stored of the start and the printer may go with the end; what is still there is the same.
        let same = uid == now.0
            && number == now.1
            && (now.2.is_none() || file == now.2)
            && (now.3.is_none() || printer == now.3);
        if !same {
            return Err(format!("{name} was attempt {number} on {printer:?}, and ended as {:?} on {:?}", now.1, now.3));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(phase: &str, attempt: i32, printer: &str) -> PrintJob {
        serde_json::from_value(json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": { "name": "clip", "uid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301" },
            "spec": { "source": { "configMap": { "name": "a", "key": "b" } } },
            "status": { "phase": phase, "attempt": attempt,
                "printer": { "name": printer, "uid": "u", "serialNumber": "S" } },
        }))
        .unwrap()
    }

    fn start(attempt: i32) -> Entry {
        serde_json::from_value(json!({
            "sequence": 1, "time": "2026-01-01T00:00:00Z", "printer": "a1-1", "serialNumber": "S",
            "event": "physicalStart", "cause": "prusaLinkPost", "sha256": "", "jobId": 1, "bedOccupied": false,
            "fileName": format!("clip-pz-3f2504e04f8941d3-{attempt}.gcode"),
        }))
        .unwrap()
    }

    #[test]
    fn a_job_that_two_attempts_have_printed_is_not_printed_once() {
        let jobs = [Arc::new(job("Succeeded", 2, "a1-1"))];
        assert_eq!(printed_once(&jobs, &[start(2)]), Ok(()));
        assert_eq!(printed_once(&jobs, &[start(1), start(2)]).unwrap_err(), "clip was started 2 times");
        assert_eq!(printed_once(&jobs, &[]).unwrap_err(), "clip was started 0 times");
        assert!(printed_once(&[Arc::new(job("Failed", 1, "a1-1"))], &[start(1)]).is_err());
    }

    #[test]
    fn another_attempt_or_another_printer_is_not_going_on() {
        let ended = [Arc::new(job("Succeeded", 1, "a1-1"))];
        assert_eq!(went_on(&[job("Printing", 1, "a1-1")], &ended), Ok(()));
        assert!(went_on(&[job("Printing", 2, "a1-1")], &ended).is_err());
        assert!(went_on(&[job("Printing", 1, "a1-2")], &ended).is_err());
        assert!(went_on(&[job("Printing", 1, "a1-1")], &[]).is_err());
        assert_eq!(went_on(&[job("Pending", 0, "")], &ended), Ok(()), "it had not begun");
    }
}
