//! Deciding on a scene and carrying plans out on it, as the operator does: a job's decision sees the printer it names or
//! is held by, and a printer's decision the jobs it remembers.

use printernizer_crds::{ConditionType, Conditions, PRINTER_FINALIZER, PrintJobStatus, PrinterStatus};

use super::documented::assert_documented;
use super::{JOB_UID, Scene};
use crate::device::DeviceKind;
use crate::plan::{DeviceCommand, Effect, Plan};
use crate::print_job::gate::{self, Closed, GateView};
use crate::print_job::start::{self, StartView, Verdict};
use crate::print_job::{FileView, SessionView};
use crate::{print_job, printer};

impl Scene {
    /// What the rules say about the job now.
    pub(crate) fn job_plan(&self) -> Plan {
        let link = self.link();
        let fresh_id = format!("id-{}", self.fresh);
        let session = SessionView {
            link: &link,
            judged: self.watched,
            unjudged_for: self.unjudged_for,
            watch: &self.watch,
            upload: self.upload.clone(),
            closed: self.closed.clone(),
            closed_for: self.closed_for,
            file_deleted: self.file_deleted,
            undeleted: self.undeleted.clone(),
            pause_sent: self.pause_sent,
        };
        let names = self.job_status().printer.is_some_and(|p| Some(&p.uid) == self.printer.metadata.uid.as_ref());
        let held = self.printer_status().current_job.is_some_and(|c| c.uid == JOB_UID);
        let printer = (!self.printer_gone && (names || held)).then_some(&self.printer);
        let file = match (&self.file_refused, &self.file) {
            (Some(reason), _) => FileView::Refused { reason: *reason, message: "for the test".into() },
            (None, Some(file)) => FileView::Read(file),
            (None, None) => self.fetching.map_or(FileView::Unknown, |lasting| FileView::Fetching { lasting }),
        };
        print_job::decide(&print_job::Observed {
            job: &self.job,
            printer,
            session: printer.filter(|_| !self.session_gone).map(|_| session),
            file,
            printed_before: self.printed_before.as_ref(),
            shown_on: self.shown_on.then_some(&link),
            mapping: printer.map(|_| self.mapping.clone()),
            waiting: self.waiting.clone(),
            fresh_id: &fresh_id,
            now: self.now,
            timing: &self.timing,
        })
    }

    /// What the rules say about the printer now.
    pub(crate) fn printer_plan(&self) -> Plan {
        let status = self.printer_status();
        let fresh_id = format!("id-{}", self.fresh);
        let jobs = [Some(&self.job).filter(|_| !self.job_gone), self.other_job.as_ref()];
        let job_of = |uid: &str| jobs.into_iter().flatten().find(|j| j.metadata.uid.as_deref() == Some(uid));
        let unresolved = status.last_start.as_ref().filter(|l| l.verdict.is_none());
        printer::decide(&printer::Observed {
            printer: &self.printer,
            link: &self.link(),
            host: Some("192.0.2.7"),
            watched: self.watched,
            job: status.current_job.as_ref().and_then(|c| job_of(&c.uid)),
            last_start_job: unresolved.and_then(|l| job_of(&l.job_uid)),
            shown_job_exists: self.shown_job_exists,
            orphan: self.orphan.then_some(&self.job),
            duplicate_of: self.duplicate_of,
            last_start_live: self.last_start_live,
            deleted: &self.deleted,
            hold_starts: self.hold_starts,
            fresh_id: &fresh_id,
            now: self.now,
            timing: &self.timing,
        })
    }

    /// What the gate looks at.
    pub(crate) fn gate_view<'a>(&'a self, sender: Option<&'a str>) -> GateView<'a> {
        GateView {
            job: &self.job,
            printer: &self.printer,
            kind: DeviceKind::PrusaLink,
            report: &self.report,
            report_age: self.age,
            judged: self.watched,
            unresolved_elsewhere: self.unresolved_elsewhere,
            mapping: self.mapping.as_deref().map_err(String::as_str),
            hold_starts: self.hold_starts,
            sender,
            now: self.now,
            timing: &self.timing,
        }
    }

    pub(crate) fn gate(&self) -> Result<(), Closed> {
        gate::check(&self.gate_view(None))
    }

    /// What the table says about the job's start now.
    pub(crate) fn verdict(&self) -> Verdict {
        let (status, token, link) = (self.job_status(), self.token(), self.link());
        let last = self.printer_status().last_start;
        start::judge(&StartView {
            token: &token,
            intent: status.start.as_ref(),
            upload_recorded: status.upload.is_some() || status.start.is_some(),
            device_job_id: status.device_job_id.as_deref(),
            started: status.conditions.is_true(ConditionType::Started),
            printer_knows: Some(last.is_some_and(|l| l.token == token.to_string())),
            link: &link,
            watch: &self.watch,
            now: self.now,
            timing: &self.timing,
        })
    }

    /// Decides about the job and carries the plan out; returns the commands to the device.
    pub(crate) fn run_job(&mut self) -> Vec<DeviceCommand> {
        let plan = self.job_plan();
        self.apply(&plan)
    }

    /// Decides about the printer and carries the plan out; returns the commands to the device.
    pub(crate) fn run_printer(&mut self) -> Vec<DeviceCommand> {
        let plan = self.printer_plan();
        self.apply(&plan)
    }

    /// Carries a plan out on the objects.
    pub(crate) fn apply(&mut self, plan: &Plan) -> Vec<DeviceCommand> {
        self.fresh += 1;
        for effect in &plan.effects {
            self.apply_one(effect);
        }
        plan.commands()
    }

    pub(crate) fn apply_one(&mut self, effect: &Effect) {
        match effect {
            Effect::WritePrinter(status) => {
                assert_documented("Printer", &status.conditions);
                self.printer.status = Some((**status).clone());
            }
            Effect::WriteJob(status) => {
                assert_documented("PrintJob", &status.conditions);
                self.job.status = Some((**status).clone());
            }
            Effect::RemovePrinterFinalizer => self.printer.metadata.finalizers = None,
            Effect::AddPrinterFinalizer => self.printer.metadata.finalizers = Some(vec![PRINTER_FINALIZER.into()]),
            Effect::RemoveJobFinalizer => self.job.metadata.finalizers = None,
            Effect::DeleteJob => self.job_gone = true,
            Effect::FinishRecord(_) | Effect::FetchFile | Effect::Device(_) => {}
        }
    }
}

/// What a plan asks for.
impl Plan {
    pub(crate) fn commands(&self) -> Vec<DeviceCommand> {
        self.effects
            .iter()
            .filter_map(|e| match e {
                Effect::Device(command) => Some(command.clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn job(&self) -> Option<&PrintJobStatus> {
        self.effects.iter().find_map(|e| match e {
            Effect::WriteJob(status) => Some(&**status),
            _ => None,
        })
    }

    pub(crate) fn printer(&self) -> Option<&PrinterStatus> {
        self.effects.iter().find_map(|e| match e {
            Effect::WritePrinter(status) => Some(&**status),
            _ => None,
        })
    }

    pub(crate) fn has(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }
}
