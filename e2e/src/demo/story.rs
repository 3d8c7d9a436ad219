//! The demo in sentences: what has become of each job and printer, one line for each change a person would tell.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions as _, PrintJob, Printer};

/// Lines the table shows.
const SHOWN: usize = 3;
/// Steps of progress that are told, in percent.
const STEP: i32 = 25;

/// What was told.
#[derive(Debug, Default)]
pub struct Story {
    jobs: BTreeMap<String, String>,
    printers: BTreeMap<String, String>,
    last: VecDeque<String>,
    new: Vec<String>,
}

impl Story {
    /// Tells one thing more.
    pub fn add(&mut self, now: Duration, line: impl AsRef<str>) {
        let line = format!("{:5.1} s  {}", now.as_secs_f64(), line.as_ref());
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        self.new.push(line);
    }

    /// Tells what has changed.
    pub fn follow(&mut self, now: Duration, printers: &[Arc<Printer>], jobs: &[Arc<PrintJob>]) {
        for printer in printers {
            let (name, state) = (printer.name_any(), of_printer(printer));
            if let Some(state) = state
                && self.printers.insert(name.clone(), state.clone()).as_ref() != Some(&state)
            {
                self.add(now, format!("{name} {state}"));
            }
        }
        for job in jobs {
            let (name, state) = (job.name_any(), of_job(job));
            if let Some(state) = state
                && self.jobs.insert(name.clone(), state.clone()).as_ref() != Some(&state)
            {
                self.add(now, format!("{name} {state}"));
            }
        }
    }

    /// The last lines, oldest first.
    pub fn last(&mut self) -> &[String] {
        self.last.make_contiguous()
    }

    /// The lines that were not taken yet.
    pub fn take_new(&mut self) -> Vec<String> {
        std::mem::take(&mut self.new)
    }
}

fn of_printer(printer: &Printer) -> Option<String> {
    let ready = printer.status.as_ref()?.conditions.condition(ConditionType::Ready)?;
    match ready.status.as_str() {
        "True" => Some("is ready".to_owned()),
        "False" => Some(format!("is not ready: {}", ready.message)),
        _ => None,
    }
}

fn of_job(job: &PrintJob) -> Option<String> {
    let status = job.status.as_ref()?;
    let printer = status.printer.as_ref().map_or("its printer", |p| p.name.as_str());
    let message = |type_| status.conditions.condition(type_).map_or("", |c| c.message.as_str());
    Some(match status.phase? {
        Phase::Pending => {
            // Between two writes there is nothing to tell.
            let accepted = status.conditions.is_true(ConditionType::Accepted);
            let type_ = if accepted { ConditionType::Scheduled } else { ConditionType::Accepted };
            format!("waits: {}", status.conditions.condition(type_)?.message)
        }
        Phase::Held => "is held".to_owned(),
        Phase::Assigned => format!("was given to {printer}"),
        Phase::Uploading => format!("is uploaded to {printer}"),
        Phase::Starting => format!("is started on {printer}"),
        Phase::Printing => {
            let percent = status.progress.as_ref().map_or(0, |p| p.percent / STEP * STEP);
            if percent == 0 { format!("prints on {printer}") } else { format!("prints on {printer}: {percent}%") }
        }
        Phase::Paused => format!("is paused on {printer}"),
        Phase::AttentionNeeded if status.question.is_some() => {
            format!("needs you: {}", message(ConditionType::OutcomeUnknown))
        }
        Phase::AttentionNeeded => format!("needs you: {}", message(ConditionType::Started)),
        Phase::Succeeded => "is done".to_owned(),
        Phase::Failed => format!("failed: {}", message(ConditionType::Failed)),
        Phase::Cancelled => "was cancelled".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printing(percent: i32) -> Vec<Arc<PrintJob>> {
        let value = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
            "metadata": { "name": "clip" },
            "spec": { "displayName": "Clip", "source": { "configMap": { "name": "a", "key": "b" } } },
            "status": { "phase": "Printing", "progress": { "percent": percent },
                        "printer": { "name": "prusa-1", "uid": "u", "serialNumber": "s" } },
        });
        vec![Arc::new(serde_json::from_value(value).unwrap())]
    }

    #[test]
    fn the_same_state_is_told_once_and_progress_in_quarters() {
        let mut story = Story::default();
        for percent in [0, 10, 24, 25, 49, 50] {
            story.follow(Duration::from_secs(1), &[], &printing(percent));
        }
        let told = story.take_new();
        let ends: Vec<_> = told.iter().map(|l| l.split_once("prints on ").unwrap().1).collect();
        assert_eq!(ends, ["prusa-1", "prusa-1: 25%", "prusa-1: 50%"]);
        assert!(story.take_new().is_empty());
        assert_eq!(story.last().len(), 3);
    }
}
