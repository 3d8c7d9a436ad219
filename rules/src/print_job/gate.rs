//! The gate: everything that must hold for a start, decided on one report and on quorum reads of both objects.
//! It is asked twice: before the intent is written, and again on the newest report just before the send.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::{DesiredState, Shown, SlotChoice, StartIds, StartIntent};
use printernizer_crds::printer::LastStart;
use printernizer_crds::{ConditionType, Conditions, PrintJob, PrintJobStatus, PrintRecordSpec, Printer, PrinterStatus};

use super::accept;
use super::start::{Relation, relation};
use crate::device::{DeviceKind, DeviceReport};
use crate::identity::Token;
use crate::scheduling::{Starts, starts};
use crate::timing::Timing;

/// Everything the gate depends on.
#[derive(Clone, Debug)]
pub struct GateView<'a> {
    /// The job, from a quorum read.
    pub job: &'a PrintJob,
    /// The printer, from a quorum read.
    pub printer: &'a Printer,
    /// Kind of the device.
    pub kind: DeviceKind,
    /// The report, and how old it is.
    pub report: &'a DeviceReport,
    /// Age of the report.
    pub report_age: Duration,
    /// Whether the Printer's own pass has judged what this connection shows, and `printer` was read after it had stored what
    /// that meant.
    pub judged: bool,
    /// Name of another PrintJob with an unresolved start on a device with this serial number.
    pub unresolved_elsewhere: Option<&'a str>,
    /// The mapping of filaments to slots, computed from this report; an error says what does not fit.
    pub mapping: Result<&'a [SlotChoice], &'a str>,
    /// Whether all starts are held.
    pub hold_starts: bool,
    /// Whether this second look belongs to the intent that was just written by this try.
    pub sender: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
    /// Windows.
    pub timing: &'a Timing,
}

/// Why the gate is closed. The text goes into a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The job or the claim is not what it was: observe again.
    Changed(&'static str),
    /// The printer or its device cannot take a print now.
    NotNow(String),
    /// All starts are held. No other printer would start the job either.
    Held,
    /// Nothing is started on any printer: what else may be running on a device cannot be read, or the definitions would not
    /// keep what a start must leave.
    Everywhere(String),
    /// The claim leads nowhere: give the printer back.
    GiveBack(String),
}

impl Closed {
    /// Whether the gates of all printers are closed for this reason: nobody would be better off with another one.
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::Held | Self::Everywhere(_))
    }
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Changed(what) => f.write_str(what),
            Self::Held => f.write_str("all starts are held (--hold-starts)"),
            Self::NotNow(what) | Self::Everywhere(what) | Self::GiveBack(what) => f.write_str(what),
        }
    }
}

/// Whether both sides of a claim agree.
pub fn claim_agrees(job: &PrintJob, printer: &Printer) -> bool {
    let claimed = job.status.as_ref().and_then(|s| s.printer.as_ref());
    let holder = printer.status.as_ref().and_then(|s| s.current_job.as_ref());
    match (claimed, holder) {
        (Some(claimed), Some(holder)) => {
            Some(&claimed.uid) == printer.metadata.uid.as_ref() && Some(&holder.uid) == job.metadata.uid.as_ref()
        }
        _ => false,
    }
}

/// The token of the job's current attempt.
pub fn token_of(job: &PrintJob) -> Token {
    let attempt = job.status.as_ref().map_or(1, |s| s.attempt.max(1));
    Token::new(job.metadata.uid.as_deref().unwrap_or_default(), attempt)
}

/// Checks the gate.
pub fn check(view: &GateView<'_>) -> Result<(), Closed> {
    use Closed::{Changed, GiveBack, NotNow};
    let token = token_of(view.job);
    let (Some(job), Some(printer)) = (view.job.status.as_ref(), view.printer.status.as_ref()) else {
        return Err(Changed("status is missing"));
    };

    // The job is wanted and both sides agree.
    if view.job.metadata.deletion_timestamp.is_some() || view.job.spec.desired_state != DesiredState::Run {
        return Err(Changed("the job is not wanted any more"));
    }
    let ended = [ConditionType::Complete, ConditionType::Failed, ConditionType::Started, ConditionType::OutcomeUnknown];
    if ended.into_iter().any(|c| job.conditions.is_true(c)) {
        return Err(Changed("the job has started, ended or stands before a person"));
    }
    if !claim_agrees(view.job, view.printer) {
        return Err(Changed("the printer does not hold this job"));
    }
    if view.printer.metadata.deletion_timestamp.is_some() || view.printer.spec.unschedulable {
        return Err(GiveBack("the printer takes no new prints".into()));
    }
    if !matches!(starts(&view.printer.spec.start_windows, view.now), Ok(Starts::Allowed)) {
        return Err(GiveBack("the printer's start windows have closed".into()));
    }
    if view.hold_starts {
        return Err(Closed::Held);
    }
    // The intent, if there is one, is this try's own.
    match (&job.start, view.sender) {
        (None, None) => {}
        (Some(start), Some(sender)) if start.sender == sender && start.token == token.to_string() => {
            if view.now >= start.deadline.0 {
                return Err(NotNow("the deadline of the start has passed".into()));
            }
        }
        _ => return Err(Changed("an intent of another try is recorded")),
    }
    if let Some(last) = printer.last_start.as_ref().filter(|l| l.verdict.is_none()) {
        let own = view.sender.is_some() && last.token == token.to_string();
        if !own {
            return Err(NotNow(format!("the start of {} on this printer is not resolved", last.job_name)));
        }
    }
    if let Some(other) = view.unresolved_elsewhere {
        return Err(NotNow(format!("the start of {other} on this device is not resolved")));
    }
    let upload = match &job.upload {
        Some(upload) if upload.token == token.to_string() && upload.size_verified => upload,
        _ => return Err(Changed("the upload is not verified")),
    };

    // The printer may be used.
    if let Some(condition) = [ConditionType::Authorized, ConditionType::Trusted, ConditionType::ControlAllowed]
        .into_iter()
        .filter_map(|c| printer.conditions.condition(c))
        .find(|c| c.status == "False")
    {
        return Err(GiveBack(condition.message.clone()));
    }

    // What is stored of the bed is true of this printer now: an erased identity does not tell that a print came and went.
    if !view.judged {
        return Err(NotNow("what the printer shows has not been judged and stored yet".into()));
    }

    // The device is free, on a fresh report.
    if view.report_age > view.timing.fresh_report {
        return Err(NotNow("the printer's report is too old".into()));
    }
    let serial = job.printer.as_ref().map(|p| p.serial_number.as_str());
    if view.report.serial_number.is_none() || view.report.serial_number.as_deref() != serial {
        return Err(NotNow("the device does not show the serial number that was claimed".into()));
    }
    if let Some(blocker) = view.report.blockers.first() {
        return Err(NotNow(blocker.advice().to_owned()));
    }
    if !view.report.is_free() {
        return Err(NotNow(format!("the printer is busy ({:?})", view.report.state)));
    }
    if relation(&token, job.start.as_ref(), None, &view.report.identity) == Relation::Ours {
        return Err(NotNow("the device already shows this print".into()));
    }
    // Prusa: the job id is the one recorded at upload; where either is unknown, the accounted identity below decides.
    if view.kind == DeviceKind::PrusaLink
        && upload.device_job_id.is_some()
        && upload.device_job_id != view.report.identity.id
    {
        return Err(GiveBack("another print ran on the printer since the upload".into()));
    }

    // The bed is clear, and what the device shows is what that was said of.
    let Some(bed) = printer.bed.as_ref() else { return Err(NotNow("the bed was never confirmed clear".into())) };
    if bed.occupancy_id.is_some() || bed.print_in_progress {
        return Err(GiveBack("the bed is not clear".into()));
    }
    if bed.accounted_identity.clone().unwrap_or_default() != view.report.identity {
        return Err(GiveBack("the device shows a print that the bed does not account for".into()));
    }

    // The filaments still lie where they were chosen.
    match view.mapping {
        Ok(mapping) if mapping == job.slot_mapping => Ok(()),
        Ok(_) => Err(GiveBack("the filament in the printer has changed since the job was assigned".into())),
        Err(why) => Err(GiveBack(why.to_owned())),
    }
}

/// The record that must exist before the intent of a job that a Git tool may create again; `None` for other jobs. It is
/// made once the gate is open: a job that never got through it may print after its re-creation.
pub fn record(job: &PrintJob, printer: &Printer, now: Timestamp) -> Option<PrintRecordSpec> {
    accept::is_tracked(job).then(|| PrintRecordSpec {
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        name: job.metadata.name.clone().unwrap_or_default(),
        run_id: job.spec.run_id.clone(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        printed_on: printer.metadata.name.clone().unwrap_or_default(),
        start_time: Time(now),
    })
}

/// The first half of the intent, (a), for the job; to be written by replace, before [`printer_half`].
pub fn job_half(view: &GateView<'_>, sender: &str, task_id: Option<i64>) -> Option<PrintJobStatus> {
    let mut job = view.job.status.clone()?;
    let remote_name = job.upload.as_ref()?.remote_name.clone();
    let reported = view.now.checked_sub(view.report_age).unwrap_or(view.now);
    let before: Shown = view.report.shown();
    job.start = Some(StartIntent {
        protocol: 1,
        token: token_of(view.job).to_string(),
        remote_name,
        ids: StartIds { task_id, device_job_id: view.report.identity.id.clone() },
        sender: sender.to_owned(),
        deadline: Time(reported.checked_add(view.timing.start_deadline).unwrap_or(reported)),
        before,
    });
    super::status::refresh(&mut job, view.job, view.now);
    Some(job)
}

/// The second half of the intent, (b), for the printer: what the first half that stands in this job says. To be written
/// by replace, with the version of a printer that the gate has judged.
pub fn printer_half(job: &PrintJob, printer: &Printer) -> Option<PrinterStatus> {
    let start = job.status.as_ref()?.start.as_ref()?;
    let mut printer = printer.status.clone()?;
    printer.last_start = Some(LastStart {
        token: start.token.clone(),
        job_name: job.metadata.name.clone()?,
        job_uid: job.metadata.uid.clone()?,
        remote_name: start.remote_name.clone(),
        deadline: start.deadline.clone(),
        verdict: None,
    });
    Some(printer)
}
