//! What is written so that a wish comes true, and where it is refused: of what was read and nothing else.

use kube::ResourceExt as _;
use printernizer_crds::print_job::DesiredState;
use printernizer_crds::{ConditionType, PrintJob, Printer, Reason};
use serde_json::{Value, json};

use crate::cluster::MANAGER;
use crate::error::Error;
use crate::objects::{condition, has_ended, of_job, phase};
use crate::output::clean;

/// What a person wants of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Pause its print.
    Pause,
    /// Go on with its print.
    Resume,
    /// Stop it for good.
    Cancel,
    /// Hold it back before it starts.
    Hold,
    /// Let it print after all.
    Release,
}

impl Wish {
    fn state(self) -> DesiredState {
        match self {
            Self::Pause | Self::Hold => DesiredState::Pause,
            Self::Resume | Self::Release => DesiredState::Run,
            Self::Cancel => DesiredState::Cancel,
        }
    }

    /// What is said when it was written.
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Pause => "is asked to pause",
            Self::Resume => "is asked to go on",
            Self::Cancel => "is asked to stop for good",
            Self::Hold => "held",
            Self::Release => "released",
        }
    }

    pub(super) fn already(self) -> &'static str {
        match self {
            Self::Pause => "was asked to pause already",
            Self::Resume | Self::Release => "is neither held nor paused from here",
            Self::Cancel => "was asked to stop already",
            Self::Hold => "was held already",
        }
    }
}

/// What is to be written so that this happens to the job, `None` where it is so already, or why it cannot happen.
pub(super) fn to_write(job: &PrintJob, wish: Wish) -> Result<Option<Value>, Error> {
    let name = job.name_any();
    let not_now = |why: String| Err(Error::NotNow(why));
    if has_ended(job) {
        let how = phase(job).map(|p| format!("{p:?}")).unwrap_or_default();
        return not_now(format!("job {name} has ended ({how})"));
    }
    if job.spec.desired_state == DesiredState::Cancel {
        return if wish == Wish::Cancel {
            Ok(None)
        } else {
            not_now(format!("job {name} is being cancelled, which is final"))
        };
    }
    let started = has_started(job);
    let says =
        |reason: Reason| condition(of_job(job), ConditionType::Started).is_some_and(|c| c.reason == reason.as_str());
    match wish {
        Wish::Pause if !started => not_now(format!("job {name} is not printing yet: `hold` keeps it from starting")),
        Wish::Hold if started => not_now(format!("job {name} has started: `pause` pauses its print")),
        Wish::Resume if !started => not_now(format!("job {name} has not started: `release` lets it print")),
        Wish::Release if started => not_now(format!("job {name} has started: `resume` goes on with its print")),
        Wish::Resume if says(Reason::PausedAtPrinter) => {
            not_now(format!("job {name} was paused at the machine: go on at its screen"))
        }
        _ if job.spec.desired_state == wish.state() => Ok(None),
        _ => Ok(Some(json!({ "desiredState": wish.state() }))),
    }
}

/// Whether the job's print has begun: from the intent on the start is under way, and may reach the printer.
pub(super) fn has_started(job: &PrintJob) -> bool {
    job.status.as_ref().is_some_and(|s| s.start.is_some() || s.start_time.is_some())
}

pub(super) fn held(printer: &Printer, reason: Option<&str>) -> Result<Option<Value>, Error> {
    let same = reason.is_none() || printer.spec.unschedulable_reason.as_deref() == reason;
    if printer.spec.unschedulable && same {
        return Ok(None);
    }
    if let Some(other) = reason.and_then(|_| says_schedulable(printer)) {
        return Err(Error::NotNow(format!(
            "printer {}: {other} has written spec.unschedulable: false and will write it again, which the API server refuses \
             beside a reason. Hold it without --reason, or write both fields where {other} takes them from",
            printer.name_any()
        )));
    }
    let mut spec = json!({ "unschedulable": true });
    if let Some(reason) = reason {
        spec["unschedulableReason"] = reason.into();
    }
    Ok(Some(spec))
}

/// Who else has written that the printer is not held: a tool that syncs it from Git, for example.
fn says_schedulable(printer: &Printer) -> Option<String> {
    let last_applied = printer.annotations().get("kubectl.kubernetes.io/last-applied-configuration");
    let applied = last_applied.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if applied.is_some_and(|a| a.pointer("/spec/unschedulable") == Some(&Value::Bool(false))) {
        return Some("kubectl apply, or what applies as it does,".to_owned());
    }
    let owners = printer.metadata.managed_fields.iter().flatten().filter(|_| !printer.spec.unschedulable);
    let other = owners.filter(|owner| owner.manager.as_deref() != Some(MANAGER)).find(|owner| {
        owner.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:unschedulable").is_some())
    })?;
    Some(other.manager.as_deref().map_or_else(|| "another".to_owned(), clean))
}

pub(super) fn released(printer: &Printer) -> Option<Value> {
    printer.spec.unschedulable.then(|| json!({ "unschedulable": null, "unschedulableReason": null }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::{job, printer};

    const RUN: &str = "Run";
    const PAUSE: &str = "Pause";

    fn of(phase: &str, desired: &str, started: &[(&str, &str, &str, &str)]) -> PrintJob {
        let mut job = job("clip", phase, json!({ "spec": { "desiredState": desired } }), started);
        if !started.is_empty() {
            job.status.as_mut().unwrap().start_time =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(crate::objects::testing::now()));
        }
        job
    }

    /// The state that is written, `None` where it is so already, or words of the refusal.
    type Expected = Result<Option<&'static str>, &'static str>;

    #[test]
    fn each_wish_does_what_its_word_says_or_nothing() {
        use Wish::{Cancel, Hold, Pause, Release, Resume};
        let runs = [("Started", "True", "PrintSeen", "printing")];
        let ours = [("Started", "True", "PausedAsAsked", "paused")];
        let theirs = [("Started", "True", "PausedAtPrinter", "paused at the machine")];
        let rows: Vec<(PrintJob, Wish, Expected)> = vec![
            (of("Pending", RUN, &[]), Hold, Ok(Some(PAUSE))),
            (of("Uploading", RUN, &[]), Hold, Ok(Some(PAUSE))),
            (of("Held", PAUSE, &[]), Hold, Ok(None)),
            (of("Printing", RUN, &runs), Hold, Err("`pause`")),
            (of("Held", PAUSE, &[]), Release, Ok(Some(RUN))),
            (of("Pending", RUN, &[]), Release, Ok(None)),
            (of("Paused", PAUSE, &ours), Release, Err("`resume`")),
            (of("Printing", RUN, &runs), Pause, Ok(Some(PAUSE))),
            (of("Paused", PAUSE, &ours), Pause, Ok(None)),
            (of("Pending", RUN, &[]), Pause, Err("`hold`")),
            (of("Paused", PAUSE, &ours), Resume, Ok(Some(RUN))),
            (of("Paused", RUN, &theirs), Resume, Err("at its screen")),
            (of("Paused", PAUSE, &theirs), Resume, Err("at its screen")),
            (of("Printing", RUN, &runs), Resume, Ok(None)),
            (of("Held", PAUSE, &[]), Resume, Err("`release`")),
            (of("Printing", RUN, &runs), Cancel, Ok(Some("Cancel"))),
            (of("Pending", PAUSE, &[]), Cancel, Ok(Some("Cancel"))),
            (of("Printing", "Cancel", &runs), Cancel, Ok(None)),
            (of("Printing", "Cancel", &runs), Resume, Err("final")),
            (of("Succeeded", RUN, &runs), Cancel, Err("has ended (Succeeded)")),
            (of("Failed", RUN, &runs), Release, Err("has ended (Failed)")),
        ];
        for (job, wish, expected) in &rows {
            let written = to_write(job, *wish);
            let what = format!("{wish:?} of {:?} {:?}", phase(job), job.spec.desired_state);
            match (written, expected) {
                (Ok(written), Ok(state)) => {
                    assert_eq!(written, state.map(|state| json!({ "desiredState": state })), "{what}");
                }
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{what}: {error}");
                    assert_eq!(error.code(), crate::error::NOT_NOW);
                }
                (written, _) => panic!("{what}: {written:?}"),
            }
        }
    }

    #[test]
    fn an_intent_counts_as_a_start() {
        let intent = json!({ "status": { "start": {
            "protocol": 1, "token": "0-1", "remoteName": "clip.gcode", "sender": "x", "deadline": "2026-11-22T12:00:00Z",
            "before": { "state": "Idle" },
        } } });
        let starting = job("clip", "Starting", intent, &[]);
        assert!(to_write(&starting, Wish::Hold).unwrap_err().to_string().contains("`pause`"));
        assert!(to_write(&starting, Wish::Pause).unwrap().is_some());
    }

    #[test]
    fn a_printer_is_held_with_a_reason_and_released_without_one() {
        let mut one = printer("a1", json!({}), &[]);
        assert_eq!(released(&one), None);
        assert_eq!(held(&one, None).unwrap(), Some(json!({ "unschedulable": true })));
        let why = json!({ "unschedulable": true, "unschedulableReason": "new belt" });
        assert_eq!(held(&one, Some("new belt")).unwrap(), Some(why.clone()));
        one.spec.unschedulable = true;
        assert_eq!(held(&one, None).unwrap(), None);
        assert_eq!(held(&one, Some("new belt")).unwrap(), Some(why));
        one.spec.unschedulable_reason = Some("new belt".into());
        assert_eq!(held(&one, Some("new belt")).unwrap(), None);
        assert_eq!(released(&one), Some(json!({ "unschedulable": null, "unschedulableReason": null })));
    }

    #[test]
    fn no_reason_is_written_beside_a_field_that_a_tool_will_set_back() {
        let owner = |manager: &str, field: &str| {
            json!({ "metadata": { "managedFields": [{
                "manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "apiVersion": "printernizer.io/v1alpha1",
                "fieldsV1": { "f:spec": { (field): {} } },
            }] } })
        };
        let applied = r#"{"spec":{"unschedulable":false}}"#;
        let applied =
            json!({ "metadata": { "annotations": { "kubectl.kubernetes.io/last-applied-configuration": applied } } });
        for (more, words) in [
            (owner("argocd-controller", "f:unschedulable"), Some("argocd-controller has written")),
            (applied, Some("kubectl apply")),
            (owner("argocd-controller", "f:model"), None),
            (owner(MANAGER, "f:unschedulable"), None),
        ] {
            let one = printer("a1", more, &[]);
            assert!(held(&one, None).unwrap().is_some(), "without a reason nothing is in the way");
            match (held(&one, Some("new belt")), words) {
                (Ok(Some(_)), None) => {}
                (Err(error), Some(words)) => {
                    assert!(error.to_string().contains(words) && error.code() == crate::error::NOT_NOW, "{error}");
                }
                (held, words) => panic!("{held:?} {words:?}"),
            }
        }
    }
}
