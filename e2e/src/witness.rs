//! What somebody says who has watched a machine: by its ledger, never by what the operator believes.

use printernizer_crds::{ConditionType, Conditions, PrintJob};
use printernizer_simulator::{Entry, Event, Outcome};
use serde_json::{Value, json};

/// Nothing is being printed or about to be, on the machine with these entries.
pub(crate) fn rests(entries: &[Entry]) -> bool {
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

/// What the names of a job's files on printers have in common: all its attempts, or one.
pub(crate) fn token(job: &PrintJob, attempt: Option<i32>) -> String {
    let uid: String = job.metadata.uid.iter().flat_map(|uid| uid.chars()).filter(|c| *c != '-').take(16).collect();
    attempt.map_or_else(|| format!("-pz-{uid}-"), |attempt| format!("-pz-{uid}-{attempt}."))
}

/// The answer to the question that is open about this job, as it is written into its spec. Nothing if none is open, it has
/// been answered, or the machine still prints. `Err` is a question that nobody can answer.
pub(crate) fn answer(job: &PrintJob, entries: &[Entry]) -> Result<Option<Value>, String> {
    let Some(status) = job.status.as_ref().filter(|s| s.conditions.is_true(ConditionType::OutcomeUnknown)) else {
        return Ok(None);
    };
    let Some(question) = &status.question else { return Err("a question without an id".to_owned()) };
    let machine = status.printer.as_ref().map(|printer| printer.name.as_str());
    let of_machine = entries.iter().filter(|entry| machine.is_none_or(|name| entry.printer == name));
    let has_answered = job.spec.outcome.as_ref().is_some_and(|outcome| outcome.question_id == question.id);
    if has_answered || !rests(&of_machine.cloned().collect::<Vec<_>>()) {
        return Ok(None);
    }
    let token = token(job, Some(status.attempt.max(1)));
    let mut ends = entries.iter().filter_map(|entry| match &entry.event {
        Event::PhysicalEnd { outcome, file_name, .. } if file_name.contains(&token) => Some(*outcome),
        _ => None,
    });
    let said = match ends.next_back() {
        None => "NotPrinted",
        Some(Outcome::Finished) => "Succeeded",
        Some(_) => "Failed",
    };
    Ok(Some(json!({ "questionID": question.id, "answer": said })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "clip-pz-3f2504e04f8941d3-2.gcode";

    fn job(asks: bool, answered: &str) -> PrintJob {
        serde_json::from_value(json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": { "name": "clip", "uid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301" },
            "spec": {
                "source": { "configMap": { "name": "a", "key": "b" } },
                "outcome": { "questionID": answered, "answer": "NotPrinted" },
            },
            "status": {
                "attempt": 2, "printer": { "name": "a1-1", "uid": "u", "serialNumber": "S" },
                "question": { "id": "q", "reason": "?", "shown": { "state": "Idle" } },
                "conditions": [{ "type": "OutcomeUnknown", "status": if asks { "True" } else { "False" },
                    "reason": "NothingSeen", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
            },
        }))
        .unwrap()
    }

    fn entry(printer: &str, event: &str, file: &str, outcome: &str) -> Entry {
        serde_json::from_value(json!({
            "sequence": 1, "time": "2026-01-01T00:00:00Z", "printer": printer, "serialNumber": "S", "event": event,
            "cause": "prusaLinkPost", "fileName": file, "outcome": outcome, "progressPercent": 7, "jobId": 1,
        }))
        .unwrap()
    }

    fn printed(outcome: &str) -> [Entry; 2] {
        [entry("a1-1", "jobAccepted", FILE, ""), entry("a1-1", "physicalEnd", FILE, outcome)]
    }

    fn said(entries: &[Entry]) -> Option<String> {
        let answer = answer(&job(true, "an older question"), entries).unwrap()?;
        assert_eq!(answer["questionID"], "q");
        Some(answer["answer"].as_str().unwrap().to_owned())
    }

    #[test]
    fn the_answer_is_what_the_machine_did_with_this_attempt() {
        assert_eq!(said(&[]).as_deref(), Some("NotPrinted"));
        assert_eq!(said(&printed("finished")).as_deref(), Some("Succeeded"));
        assert_eq!(said(&printed("stopped")).as_deref(), Some("Failed"));
        let earlier = entry("a1-1", "physicalEnd", "clip-pz-3f2504e04f8941d3-1.gcode", "finished");
        assert_eq!(said(&[earlier]).as_deref(), Some("NotPrinted"));
    }

    #[test]
    fn nobody_answers_while_the_machine_prints_and_other_machines_do_not_matter() {
        assert_eq!(said(&printed("finished")[..1]), None);
        assert_eq!(said(&[entry("a1-2", "jobAccepted", "other.gcode", "")]).as_deref(), Some("NotPrinted"));
    }

    #[test]
    fn only_an_open_question_is_answered_and_only_once() {
        assert_eq!(answer(&job(false, ""), &[]), Ok(None));
        assert_eq!(answer(&job(true, "q"), &[]), Ok(None));
    }
}
