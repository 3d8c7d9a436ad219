//! What the person does who walks by: looks at the job and the printer, clears the bed, answers questions by what really
//! became of the print, answers the machine's dialogs, mends it. And what is still to happen before all is well.

use kube::Api;
use kube::api::ListParams;
use printernizer_crds::print_job::{Outcome, Phase};
use printernizer_crds::{ConditionType, Conditions, PrintJob, PrintRecord, Printer};
use printernizer_simulator::{Action, AfterPowerCut, Answer, Event};
use serde_json::json;

use super::{Course, JOB, Lived, text};
use crate::farm::in_short;
use crate::witness::{self, rests};

impl Lived {
    /// One look, and what has to be done; gives what is left to happen.
    pub(super) async fn look(&mut self) -> Result<Vec<&'static str>, String> {
        let job = self.farm.jobs().get(JOB).await.map_err(text)?;
        let printer = self.farm.printers().get(self.life.maker.printer()).await.map_err(text)?;
        let ledger = self.farm.simulator().ledger();
        if self.life.course == Course::Canceled && !self.canceled && !ledger.physical_starts("").is_empty() {
            self.farm.change_job(JOB, json!({ "desiredState": "Cancel" })).await.map_err(text)?;
            self.canceled = true;
        }
        self.asked |= self.answer(&job).await?;
        self.at_the_machine()?;
        let distrust = printer.status.as_ref().and_then(|s| s.distrust.as_ref()).map(|d| d.id.clone());
        if let Some(id) = distrust.filter(|id| printer.spec.acknowledged.as_ref() != Some(id)) {
            let name = self.life.maker.printer();
            self.farm.change_printer(name, json!({ "acknowledged": id })).await.map_err(text)?;
        }
        if rests(&ledger.entries()) {
            self.farm.clear_beds().await.map_err(text)?;
        }
        self.what_is_left(&job, &printer).await
    }

    /// Dialogs that wait for a person are answered so that the print goes on; a machine that hangs is switched off and
    /// on.
    fn at_the_machine(&self) -> Result<(), String> {
        if !self.disturbed {
            return Ok(());
        }
        let state = self.machine.state();
        let machine = &self.machine;
        match state.link_state.as_deref() {
            Some("ATTENTION" | "PAUSE") => {
                let go_on = Action::AnswerDialog { answer: Answer::Continue };
                if machine.person(&go_on).is_err() {
                    // A tray that is empty has to be filled first; where this is not what is missing, it changes nothing.
                    let spool = Action::ChangeTray { tray: 0, material: "PLA".into(), color: "FFFFFFFF".into() };
                    let _ = machine.person(&spool);
                    // The dialog may have gone meanwhile.
                    let _ = machine.person(&go_on);
                }
                Ok(())
            }
            None if state.powered && state.screen.contains("red") => {
                machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).map_err(text)
            }
            _ => Ok(()),
        }
    }

    /// Answers the question that is open, by what the ledger says of this attempt. Gives whether one is.
    async fn answer(&self, job: &PrintJob) -> Result<bool, String> {
        if let Some(outcome) = witness::answer(job, &self.farm.simulator().ledger().entries())? {
            self.farm.change_job(JOB, json!({ "outcome": outcome })).await.map_err(text)?;
        }
        Ok(job.status.as_ref().is_some_and(|s| s.conditions.is_true(ConditionType::OutcomeUnknown)))
    }

    /// What is still to happen before the life is complete.
    async fn what_is_left(&self, job: &PrintJob, printer: &Printer) -> Result<Vec<&'static str>, String> {
        let mut rest = Vec::new();
        let mut must = |holds: bool, otherwise: &'static str| {
            if !holds {
                rest.push(otherwise);
            }
        };
        let ledger = self.farm.simulator().ledger();
        let status = job.status.clone().unwrap_or_default();
        must(
            matches!(status.phase, Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled)),
            "the job has not ended",
        );
        must(status.upload.is_none(), "the file is not known to be deleted");
        must(job.metadata.finalizers.as_ref().is_none_or(Vec::is_empty), "the job has its finalizer");
        let held = printer.status.clone().unwrap_or_default();
        must(held.current_job.is_none(), "the printer is claimed");
        must(held.last_start.as_ref().is_some_and(|l| l.verdict.is_some()), "the start has no verdict");
        must(printer.metadata.finalizers.as_ref().is_none_or(Vec::is_empty), "the printer has its finalizer");
        must(held.conditions.is_true(ConditionType::BedCleared), "the bed is not clear");
        must(rests(&ledger.entries()), "the machine prints");
        if !rest.is_empty() {
            return Ok(rest);
        }
        let machine = self.machine.state();
        let records: Api<PrintRecord> = Api::namespaced(self.farm.client(), self.farm.namespace());
        let records = records.list(&ListParams::default()).await.map_err(text)?.items;
        let outcomes: Vec<Option<Outcome>> =
            records.iter().map(|r| r.status.as_ref().and_then(|s| s.outcome)).collect();
        // These are not waited for: when the life is complete they are true, or they are wrong.
        // A print that the power was cut for has failed. A canceled print that nobody saw end is put before a person, who
        // says that it failed.
        let ends: &[(Phase, Outcome)] = match self.life.course {
            Course::Canceled => &[(Phase::Cancelled, Outcome::Cancelled), (Phase::Failed, Outcome::Failed)],
            _ if self.disturbed => &[(Phase::Succeeded, Outcome::Succeeded), (Phase::Failed, Outcome::Failed)],
            _ => &[(Phase::Succeeded, Outcome::Succeeded)],
        };
        let Some((phase, outcome)) = ends.iter().find(|(phase, _)| Some(*phase) == status.phase) else {
            return Err(format!("the job ended otherwise than the print: {}", in_short(job)));
        };
        let finished = |e: &printernizer_simulator::Entry| {
            matches!(e.event, Event::PhysicalEnd { outcome: printernizer_simulator::Outcome::Finished, .. })
        };
        if ledger.entries().iter().any(finished) != (*phase == Phase::Succeeded) {
            return Err(format!("the job does not tell what became of the print: {}", in_short(job)));
        }
        if !machine.files.is_empty() {
            return Err(format!("files were left on the printer: {:?}", machine.files));
        }
        if outcomes != [Some(*outcome)] {
            return Err(format!("the record does not tell what happened: {records:?}"));
        }
        Ok(rest)
    }
}
