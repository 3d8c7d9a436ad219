//! What printers and jobs say, in the words of this program. Pure: an object goes in, a fact comes out.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt as _};
use printernizer_crds::print_job::{Phase, Question};
use printernizer_crds::{ConditionType, Conditions, PrintJob, Printer, Reason};

use crate::arguments::ClusterArguments;
use crate::error::Error;
use crate::output::clean;

/// What a name on the command line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A PrintJob.
    Job(String),
    /// A Printer.
    Printer(String),
}

impl Reference {
    /// `NAME` and `job/NAME` are jobs, `printer/NAME` is a printer; kinds are written as kubectl takes them.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let Some((kind, name)) = text.split_once('/') else { return Ok(Self::Job(text.to_owned())) };
        let kind = kind.split('.').next().unwrap_or_default().to_lowercase();
        match kind.as_str() {
            "job" | "pj" | "printjob" | "printjobs" => Ok(Self::Job(name.to_owned())),
            "prn" | "printer" | "printers" => Ok(Self::Printer(name.to_owned())),
            _ => Err(Error::Usage(format!("{text:?} is neither a job nor a printer: write JOB or printer/NAME"))),
        }
    }
}

/// The name of a printer, also where it was written as `printer/NAME`, as `-o name` prints it.
pub fn printer_name(text: &str) -> Result<String, Error> {
    match Reference::parse(text)? {
        Reference::Job(name) if !text.contains('/') => Ok(name),
        Reference::Printer(name) => Ok(name),
        Reference::Job(_) => Err(Error::Usage(format!("{text:?} is a job; name a printer"))),
    }
}

/// The name of a job, also where it was written as `job/NAME`.
pub fn job_name(text: &str) -> Result<String, Error> {
    match Reference::parse(text)? {
        Reference::Job(name) => Ok(name),
        Reference::Printer(_) => Err(Error::Usage(format!("{text:?} is a printer; name a job"))),
    }
}

/// Kind, group and name, as kubectl's `-o name` writes them.
pub fn full_name<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}.{}/{}", K::kind(&()).to_lowercase(), K::group(&()), object.name_any())
}

/// The flags about the cluster that a person has given, which every command that is proposed to them must repeat: without
/// them it would go to another farm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The namespace, where it was given.
    pub namespace: Option<String>,
    others: Vec<String>,
}

impl Flags {
    /// Those that were given.
    pub fn of(given: &ClusterArguments) -> Self {
        let kubeconfig = given.kubeconfig.as_ref().map(|file| file.display().to_string());
        let others = [
            ("--context", given.context.as_ref()),
            ("--cluster", given.cluster.as_ref()),
            ("--user", given.user.as_ref()),
            ("--kubeconfig", kubeconfig.as_ref()),
            ("--as", given.act_as.as_ref()),
        ];
        let groups = given.act_as_groups.iter().map(|group| ("--as-group", Some(group)));
        let given_others = others.into_iter().chain(groups).filter_map(|(flag, value)| Some((flag, value?)));
        let others = given_others.map(|(flag, value)| format!("{flag} {}", quoted(value))).collect();
        Self { namespace: given.namespace.clone(), others }
    }

    /// The same for this namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), others: self.others.clone() }
    }

    /// A command of this program as a person would type it.
    pub fn command(&self, rest: &str) -> String {
        let mut words = vec![format!("kubectl printernizer {rest}")];
        words.extend(self.namespace.as_deref().map(|n| format!("-n {}", quoted(n))));
        words.extend_from_slice(&self.others);
        words.join(" ")
    }
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", clean(text).replace('\'', r"'\''"))
}

/// The condition of this type.
pub fn condition(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_.as_str())
}

/// Conditions of a printer.
pub fn of_printer(printer: &Printer) -> &[Condition] {
    printer.status.as_ref().map_or(&[], |s| s.conditions.as_slice())
}

/// Conditions of a job.
pub fn of_job(job: &PrintJob) -> &[Condition] {
    job.status.as_ref().map_or(&[], |s| s.conditions.as_slice())
}

/// What lies on a bed that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnBed {
    /// The id a person confirms.
    pub id: String,
    /// What it is, in words.
    pub what: String,
    /// The job it is of.
    pub job: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// How a bed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bed {
    /// No operator has looked at the printer yet.
    NotKnown,
    /// Clear.
    Clear,
    /// A print is running.
    InUse,
    /// It waits for a person.
    Waits(OnBed),
    /// A person has confirmed it, and the operator has not taken that yet; its words.
    Confirmed(String),
}

/// How the bed of this printer is.
pub fn bed(printer: &Printer) -> Bed {
    let Some(status) = printer.status.as_ref() else { return Bed::NotKnown };
    let (Some(bed), Some(says)) = (&status.bed, condition(&status.conditions, ConditionType::BedCleared)) else {
        return Bed::NotKnown;
    };
    if says.status == "True" {
        return Bed::Clear;
    }
    let Some(id) = bed.occupancy_id.clone().filter(|_| !bed.print_in_progress) else { return Bed::InUse };
    if printer.spec.bed.cleared_for.as_ref() == Some(&id) {
        return Bed::Confirmed(clean(&says.message));
    }
    let part = bed.display_name.as_ref().or(bed.job.as_ref()).map(|name| clean(name));
    let what = match (Reason::ALL.iter().find(|r| r.as_str() == says.reason), part) {
        (Some(Reason::PartOnBed), Some(part)) => format!("\"{part}\""),
        (Some(Reason::FailedPrintOnBed), Some(part)) => format!("what was printed of \"{part}\""),
        (Some(Reason::FailedPrintOnBed), None) => "a print that failed".to_owned(),
        (Some(Reason::ForeignPrintOnBed), _) => "something that was not started here, perhaps".to_owned(),
        (Some(Reason::NeverConfirmed), _) => "nobody has looked yet".to_owned(),
        (Some(Reason::Unconfirmed), Some(part)) => format!("not known; perhaps \"{part}\""),
        _ => "not known".to_owned(),
    };
    Bed::Waits(OnBed { id, what, job: bed.job.clone(), since: bed.since.as_ref().map(|t| t.0) })
}

/// The open question about the outcome of a job's print.
pub fn question(job: &PrintJob) -> Option<&Question> {
    let status = job.status.as_ref()?;
    let open = status.conditions.is_true(ConditionType::OutcomeUnknown);
    status.question.as_ref().filter(|_| open)
}

/// What became doubtful about a print, without what is to be written about it: this program writes that.
pub fn doubt(job: &PrintJob) -> String {
    let told = condition(of_job(job), ConditionType::OutcomeUnknown).map(|c| clean(&c.message)).unwrap_or_default();
    let until = told.find(". Look at the printer").unwrap_or(told.len());
    told.get(..until).unwrap_or_default().to_owned()
}

/// The phase of a job; `None` where no operator has looked at it yet.
pub fn phase(job: &PrintJob) -> Option<Phase> {
    job.status.as_ref().and_then(|s| s.phase)
}

/// Whether the job has ended.
pub fn has_ended(job: &PrintJob) -> bool {
    matches!(phase(job), Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled))
}

/// What a person calls the part.
pub fn part(job: &PrintJob) -> String {
    job.spec.display_name.as_deref().map_or_else(|| job.name_any(), clean)
}

#[cfg(test)]
pub(crate) mod testing {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) const NOW: &str = "2026-11-22T12:00:00Z";

    pub(crate) fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn conditions(rows: &[(&str, &str, &str, &str)]) -> Value {
        rows.iter()
            .map(|(type_, status, reason, message)| {
                json!({ "type": type_, "status": status, "reason": reason, "message": message,
                        "lastTransitionTime": "2026-11-22T11:48:00Z" })
            })
            .collect()
    }

    /// A printer with a status: ready and idle unless the conditions say otherwise.
    pub(crate) fn printer(name: &str, more: Value, rows: &[(&str, &str, &str, &str)]) -> Printer {
        let defaults = [
            ("Ready", "True", "PrinterReady", "the printer can be used"),
            ("BedCleared", "True", "Cleared", "cleared by a person"),
            ("Idle", "True", "NothingRunning", "nothing is running"),
        ];
        let kept = defaults.into_iter().filter(|d| rows.iter().all(|r| r.0 != d.0));
        let all: Vec<_> = kept.chain(rows.iter().copied()).collect();
        let mut object = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer",
            "metadata": { "name": name, "namespace": "farm", "uid": format!("uid-of-{name}") },
            "spec": {
                "model": "Prusa CORE One",
                "connection": { "prusaLink": { "url": "http://192.168.1.51", "credentialsSecretRef": { "name": name } } },
                "capabilities": { "nozzle": { "diameterMicrometers": 400 } },
                "slots": [{ "slot": "Main", "material": "PLA" }],
            },
            "status": {
                "state": "Idle", "conditions": conditions(&all), "bed": {},
                "device": { "serialNumber": format!("SN-{name}"), "firmwareVersion": "6.4.0", "host": "192.168.1.51:80" },
            },
        });
        merge(&mut object, more);
        serde_json::from_value(object).unwrap()
    }

    /// A printer with something on its bed.
    pub(crate) fn occupied(name: &str, reason: &str, bed: Value) -> Printer {
        let mut on_bed = json!({ "occupancyID": "0123456789", "since": "2026-11-22T11:48:00Z" });
        merge(&mut on_bed, bed);
        let message = "it lies on the bed; clear it, then set spec.bed.clearedFor to 0123456789";
        printer(name, json!({ "status": { "bed": on_bed } }), &[("BedCleared", "False", reason, message)])
    }

    /// A job in this phase.
    pub(crate) fn job(name: &str, phase: &str, more: Value, rows: &[(&str, &str, &str, &str)]) -> PrintJob {
        let mut object = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": { "name": name, "namespace": "farm", "uid": format!("uid-of-{name}"),
                          "creationTimestamp": "2026-11-22T11:00:00Z" },
            "spec": { "source": { "configMap": { "name": "part", "key": "part.gcode" } } },
            "status": {
                "phase": phase, "attempt": 1, "conditions": conditions(rows), "queuedTime": "2026-11-22T11:00:00Z",
                "file": { "sha256": "0", "sizeBytes": 1, "format": "Gcode", "printerModel": "COREONE",
                          "nozzleDiameterMicrometers": 400, "estimatedSeconds": 1500,
                          "filaments": [{ "index": 1, "material": "PLA", "grams": "12.3" }] },
            },
        });
        merge(&mut object, more);
        serde_json::from_value(object).unwrap()
    }

    pub(crate) fn merge(into: &mut Value, more: Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => {
                for (key, value) in more {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, more) => *into = more,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{job, occupied, printer};
    use super::*;

    #[test]
    fn a_name_means_a_job_unless_it_says_otherwise() {
        let job = |name: &str| Some(Reference::Job(name.to_owned()));
        let printer = |name: &str| Some(Reference::Printer(name.to_owned()));
        for (text, means) in [
            ("clip", job("clip")),
            ("job/clip", job("clip")),
            ("printjob.printernizer.io/clip", job("clip")),
            ("prn/a1", printer("a1")),
            ("printer.printernizer.io/a1", printer("a1")),
            ("Printers/a1", printer("a1")),
            ("pod/a1", None),
        ] {
            assert_eq!(Reference::parse(text).ok(), means, "{text}");
        }
        assert_eq!(printer_name("a1").unwrap(), "a1");
        assert!(printer_name("job/a1").is_err() && job_name("printer/a1").is_err());
    }

    #[test]
    fn a_proposed_command_goes_to_the_farm_that_was_looked_at() {
        assert_eq!(Flags::default().command("why clip"), "kubectl printernizer why clip");
        let given = ClusterArguments {
            namespace: Some("farm".into()),
            context: Some("maker@office".into()),
            cluster: Some("it's here; $(x)".into()),
            kubeconfig: Some("/home/me/my config".into()),
            ..ClusterArguments::default()
        };
        assert_eq!(
            Flags::of(&given).within("shop").command("why clip"),
            r"kubectl printernizer why clip -n shop --context maker@office --cluster 'it'\''s here; $(x)' --kubeconfig '/home/me/my config'"
        );
    }

    #[test]
    fn what_lies_on_a_bed_is_told_in_words() {
        let named = json!({ "job": "hook-2", "displayName": "Shelf hook" });
        let only_job = json!({ "job": "hook-2" });
        for (reason, bed, what) in [
            ("PartOnBed", &named, "\"Shelf hook\""),
            ("PartOnBed", &only_job, "\"hook-2\""),
            ("FailedPrintOnBed", &named, "what was printed of \"Shelf hook\""),
            ("FailedPrintOnBed", &json!({}), "a print that failed"),
            ("ForeignPrintOnBed", &json!({}), "something that was not started here, perhaps"),
            ("NeverConfirmed", &json!({}), "nobody has looked yet"),
            ("Unconfirmed", &only_job, "not known; perhaps \"hook-2\""),
            ("Unconfirmed", &json!({}), "not known"),
            ("AReasonOfAnotherVersion", &named, "not known"),
        ] {
            let Bed::Waits(on) = super::bed(&occupied("a1", reason, bed.clone())) else { panic!("{reason}") };
            assert_eq!((on.what.as_str(), on.id.as_str()), (what, "0123456789"), "{reason}");
        }
    }

    #[test]
    fn a_bed_waits_for_a_person_only_while_nothing_prints_and_nobody_has_confirmed() {
        assert_eq!(bed(&printer("a1", json!({}), &[])), Bed::Clear);
        assert_eq!(bed(&printer("a1", json!({ "status": null }), &[])), Bed::NotKnown);
        let running = occupied("a1", "PrintInProgress", json!({ "printInProgress": true }));
        assert_eq!(bed(&running), Bed::InUse);
        let mut confirmed = occupied("a1", "PartOnBed", json!({}));
        confirmed.spec.bed.cleared_for = Some("another".into());
        assert!(matches!(bed(&confirmed), Bed::Waits(_)), "an id of another print confirms nothing");
        confirmed.spec.bed.cleared_for = Some("0123456789".into());
        assert!(matches!(bed(&confirmed), Bed::Confirmed(_)));
    }

    #[test]
    fn a_doubt_is_told_without_the_field_that_this_program_writes() {
        let message = "the printer shows no sign of it. Look at the printer, then set spec.outcome to {questionID: 1}";
        let asked = job("clip", "AttentionNeeded", json!({}), &[("OutcomeUnknown", "True", "NoSignOfStart", message)]);
        assert_eq!(doubt(&asked), "the printer shows no sign of it");
        let other = job("clip", "AttentionNeeded", json!({}), &[("OutcomeUnknown", "True", "X", "in other words")]);
        assert_eq!(doubt(&other), "in other words");
    }
}
