//! The kinds whose status the operator writes, and what is counted when it has.

use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;
use printernizer_crds::{
    BackupPolicy, BackupPolicyStatus, ConditionType, Conditions as _, PrintJob, PrintJobStatus, PrintRecord,
    PrintRecordStatus, Printer, PrinterStatus,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::telemetry::Metrics;
use crate::telemetry::metrics::StatusKind;

/// Kinds whose status the operator writes.
pub trait WithStatus:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Serialize
{
    /// The status.
    type Status: Serialize + Clone + PartialEq;
    /// How writes of it are counted.
    const KIND: StatusKind;
    /// The status.
    fn status(&self) -> Option<&Self::Status>;
    /// Puts a status into the object.
    fn set_status(&mut self, status: Self::Status);
    /// Counts what a write that was carried out means for the farm.
    fn count(_before: &Self, _after: &Self, _metrics: &Metrics) {}
}

impl WithStatus for Printer {
    type Status = PrinterStatus;
    const KIND: StatusKind = StatusKind::Printer;
    fn status(&self) -> Option<&PrinterStatus> {
        self.status.as_ref()
    }
    fn set_status(&mut self, status: PrinterStatus) {
        self.status = Some(status);
    }
}

impl WithStatus for PrintJob {
    type Status = PrintJobStatus;
    const KIND: StatusKind = StatusKind::PrintJob;
    fn status(&self) -> Option<&PrintJobStatus> {
        self.status.as_ref()
    }
    fn set_status(&mut self, status: PrintJobStatus) {
        self.status = Some(status);
    }

    fn count(before: &Self, after: &Self, metrics: &Metrics) {
        let refusal = |job: &Self| {
            let accepted = job.status.as_ref()?.conditions.condition(ConditionType::Accepted)?;
            (accepted.status == "False").then(|| accepted.reason.clone())
        };
        if let Some(reason) = refusal(after).filter(|reason| refusal(before).as_ref() != Some(reason)) {
            metrics.job_refused(&reason);
        }
        if let Some(waited) = first_printer_after(before, after, Timestamp::now()) {
            metrics.job_assigned(waited);
        }
    }
}

impl WithStatus for PrintRecord {
    type Status = PrintRecordStatus;
    const KIND: StatusKind = StatusKind::PrintRecord;
    fn status(&self) -> Option<&PrintRecordStatus> {
        self.status.as_ref()
    }
    fn set_status(&mut self, status: PrintRecordStatus) {
        self.status = Some(status);
    }
}

impl WithStatus for BackupPolicy {
    type Status = BackupPolicyStatus;
    const KIND: StatusKind = StatusKind::BackupPolicy;
    fn status(&self) -> Option<&BackupPolicyStatus> {
        self.status.as_ref()
    }
    fn set_status(&mut self, status: BackupPolicyStatus) {
        self.status = Some(status);
    }
}

/// The first field that was written and is not in what is stored, as `status.lastStart`. What the API server adds is no loss.
pub(super) fn dropped<S: Serialize + PartialEq>(written: Option<&S>, stored: Option<&S>) -> Option<String> {
    if written == stored {
        return None;
    }
    // Compared as they are sent: a time has fewer digits there than here.
    let sent = |status: Option<&S>| serde_json::to_value(status).unwrap_or_default();
    missing("status".to_owned(), &sent(written), &sent(stored))
}

fn missing(path: String, written: &Value, stored: &Value) -> Option<String> {
    match written {
        Value::Null => None,
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            missing(format!("{path}.{name}"), field, stored.get(name).unwrap_or(&Value::Null))
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(at, item)| missing(format!("{path}[{at}]"), item, stored.get(at).unwrap_or(&Value::Null))),
        _ => (written != stored).then_some(path),
    }
}

/// How long after its acceptance a job was given a printer, if it was just now, and for its first attempt.
fn first_printer_after(before: &PrintJob, after: &PrintJob, now: Timestamp) -> Option<Duration> {
    let has_printer = |job: &PrintJob| job.status.as_ref().is_some_and(|status| status.printer.is_some());
    let status = after.status.as_ref().filter(|status| status.attempts.is_empty())?;
    if has_printer(before) || !has_printer(after) {
        return None;
    }
    let accepted = status.conditions.condition(ConditionType::Accepted).filter(|c| c.status == "True")?;
    // A clock that was set back makes no negative wait.
    Some(now.duration_since(accepted.last_transition_time.0).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ACCEPTED_AT: &str = "2026-11-22T12:00:00Z";

    fn job(accepted: (&str, &str), status: &Value) -> PrintJob {
        let mut object = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "j" },
            "spec": { "source": { "configMap": { "name": "a", "key": "b" } } }, "status": status,
        });
        object["status"]["conditions"] = json!([{ "type": "Accepted", "status": accepted.0, "reason": accepted.1,
            "message": "", "lastTransitionTime": ACCEPTED_AT }]);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_is_not_stored_of_a_status_is_named_and_what_is_added_is_no_loss() {
        let of = |status: Value| serde_json::from_value::<PrinterStatus>(status).unwrap();
        let start = json!({ "token": "t", "jobName": "j", "jobUID": "u", "remoteName": "r", "deadline": ACCEPTED_AT });
        let whole = of(json!({ "state": "Idle", "lastStart": start }));
        let without = of(json!({ "state": "Idle" }));
        assert_eq!(dropped(Some(&whole), Some(&whole)), None);
        assert_eq!(dropped(Some(&without), Some(&whole)), None);
        assert_eq!(dropped(Some(&whole), Some(&without)).as_deref(), Some("status.lastStart.deadline"));
        assert!(dropped(Some(&whole), None).is_some());
        assert_eq!(dropped(Some(&PrinterStatus::default()), None), None, "there was nothing to keep");
        let mut precise = whole.clone();
        let deadline = &mut precise.last_start.as_mut().unwrap().deadline.0;
        *deadline += jiff::SignedDuration::from_nanos(1);
        assert_ne!(precise, whole);
        assert_eq!(dropped(Some(&precise), Some(&whole)), None, "no API server keeps that");
    }

    #[test]
    fn the_wait_for_a_printer_counts_from_the_acceptance_to_the_first_claim() {
        let yes = ("True", "FileRead");
        let printer = json!({ "name": "p", "uid": "1", "serialNumber": "s" });
        let (free, claimed) = (job(yes, &json!({})), job(yes, &json!({ "printer": printer })));
        let attempt = json!({ "attempt": 1, "printer": "p", "outcome": "Failed", "reason": "PrintFailed" });
        let again = job(yes, &json!({ "printer": printer, "attempts": [attempt] }));
        let noon: Timestamp = ACCEPTED_AT.parse().unwrap();
        let later = noon + jiff::SignedDuration::from_secs(90);
        assert_eq!(first_printer_after(&free, &claimed, later), Some(Duration::from_secs(90)));
        assert_eq!(first_printer_after(&claimed, &claimed, later), None, "it had one");
        assert_eq!(first_printer_after(&claimed, &free, later), None, "it was given back");
        assert_eq!(first_printer_after(&free, &again, later), None, "another attempt");
        let set_back = noon - jiff::SignedDuration::from_secs(5);
        assert_eq!(first_printer_after(&free, &claimed, set_back), Some(Duration::ZERO));
    }

    #[test]
    fn a_refusal_is_counted_once_and_that_a_file_is_on_its_way_is_none() {
        let metrics = Metrics::new().unwrap();
        let write = |before: (&str, &str), after: (&str, &str)| {
            PrintJob::count(&job(before, &json!({})), &job(after, &json!({})), &metrics);
        };
        write(("False", "FetchingFile"), ("False", "FileNotFound"));
        write(("False", "FileNotFound"), ("False", "FileNotFound"));
        write(("False", "FileNotFound"), ("False", "FetchingFile"));
        write(("False", "FetchingFile"), ("True", "FileRead"));
        write(("True", "FileRead"), ("False", "DigestMismatch"));
        let text = metrics.text().unwrap();
        let counted: Vec<&str> =
            text.lines().filter(|l| l.contains("job_refusals_total{") && !l.ends_with(" 0")).collect();
        let series = |reason: &str| format!("printernizer_job_refusals_total{{reason=\"{reason}\"}} 1");
        assert_eq!(counted, [series("DigestMismatch"), series("FileNotFound")]);
    }
}
