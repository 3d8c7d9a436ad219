//! A farm of one job and one printer for tests: everything both decisions depend on, as plain data. Its stages are
//! reached by the rules themselves, so each builder is a test of the happy path; a test names only what differs.

mod accidents;
pub mod documented;
pub mod objects;
mod run;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::conditions::SetAt;
use printernizer_crds::print_job::{Answer, FileStatus, OutcomeAnswer, SlotChoice};
use printernizer_crds::printer::{CurrentJob, StartVerdict};
use printernizer_crds::{
    ConditionStatus, ConditionType, Conditions, PRINT_JOB_FINALIZER, PRINTER_FINALIZER, PrintJob, PrintJobStatus,
    PrintRecord, Printer, PrinterStatus, Reason,
};

use crate::device::{DeviceProgress, DeviceReport, DeviceState, Link, LinkFault};
use crate::identity::Token;
use crate::plan::DeviceCommand;
use crate::print_job::gate::{self, Closed};
use crate::print_job::{Undeleted, UploadView, Waiting, Watch};
use crate::timing::Timing;

pub const JOB_UID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
pub const PRINTER_UID: &str = "c0ffee00-0000-4000-8000-000000000001";
pub const SERIAL: &str = "10589-1234";
pub const SENDER: &str = "sender-1";

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Everything two decisions depend on.
#[derive(Clone, Debug)]
pub struct Scene {
    pub job: PrintJob,
    pub printer: Printer,
    /// Another PrintJob that holds the printer, where one does.
    pub other_job: Option<PrintJob>,
    pub printer_gone: bool,
    pub job_gone: bool,
    pub session_gone: bool,
    pub report: DeviceReport,
    pub age: Duration,
    /// The connection, where it is not live.
    pub link: Option<Link>,
    pub watch: Watch,
    pub upload: UploadView,
    pub closed: Option<Closed>,
    pub closed_for: Duration,
    pub file_deleted: bool,
    pub undeleted: Option<Undeleted>,
    pub pause_sent: bool,
    pub file: Option<FileStatus>,
    pub file_refused: Option<Reason>,
    /// How long the file has been on its way, where it is neither read nor refused.
    pub fetching: Option<Duration>,
    pub printed_before: Option<PrintRecord>,
    pub shown_on: bool,
    pub mapping: Result<Vec<SlotChoice>, String>,
    pub waiting: Option<Waiting>,
    pub watched: bool,
    /// How long it has not been.
    pub unjudged_for: Duration,
    pub shown_job_exists: bool,
    pub orphan: bool,
    pub duplicate_of: Option<&'static str>,
    pub last_start_live: Duration,
    /// Names that were deleted on this connection.
    pub deleted: Vec<String>,
    pub hold_starts: bool,
    pub unresolved_elsewhere: Option<&'static str>,
    /// Number of the next fresh id.
    pub fresh: u32,
    pub now: Timestamp,
    pub timing: Timing,
}

pub fn identity(id: &str, name: &str) -> DeviceIdentity {
    DeviceIdentity { id: Some(id.into()), name: Some(name.into()), file: None }
}

impl Scene {
    /// A printer nobody has connected to yet, and a job nobody has looked at.
    pub fn bare() -> Self {
        let mut job = objects::job("bracket", JOB_UID);
        job.spec.display_name = Some("Bracket".into());
        let printer = objects::printer("anna", PRINTER_UID);
        let filaments =
            [(1, "12.34"), (2, "3")].map(|(index, grams)| objects::filament(index, "PLA", "#1F6FEB", grams));
        let file = objects::file(filaments.to_vec());
        let report = DeviceReport {
            state: DeviceState::Idle,
            identity: identity("7", "older.gcode"),
            serial_number: Some(SERIAL.into()),
            firmware_version: Some("6.4.0".into()),
            ..DeviceReport::default()
        };
        Self {
            job,
            printer,
            other_job: None,
            printer_gone: false,
            job_gone: false,
            session_gone: false,
            report,
            age: seconds(1),
            link: None,
            watch: Watch::default(),
            upload: UploadView::Idle,
            closed: None,
            closed_for: Duration::ZERO,
            file_deleted: false,
            undeleted: None,
            pause_sent: false,
            file: Some(file),
            file_refused: None,
            fetching: None,
            printed_before: None,
            shown_on: false,
            mapping: Ok(vec![SlotChoice { index: 1, slot: "Main".into() }]),
            waiting: None,
            watched: true,
            unjudged_for: Duration::ZERO,
            shown_job_exists: false,
            orphan: false,
            duplicate_of: None,
            last_start_live: Duration::ZERO,
            deleted: Vec::new(),
            hold_starts: false,
            unresolved_elsewhere: None,
            fresh: 1,
            now: "2026-11-21T12:00:00Z".parse().unwrap(),
            timing: Timing::default(),
        }
    }

    /// An accepted job, and a ready printer whose bed a person has cleared.
    pub fn waiting() -> Self {
        let mut s = Self::bare();
        s.run_job();
        s.run_printer();
        s.clear_bed();
        s.run_printer();
        assert!(s.printer_status().conditions.is_true(ConditionType::BedCleared));
        s
    }

    /// Both halves of the claim are written.
    pub fn claimed() -> Self {
        let mut s = Self::waiting();
        s.claim();
        s.run_job();
        assert!(gate::claim_agrees(&s.job, &s.printer));
        s
    }

    /// The file is on the device, whole.
    pub fn uploaded() -> Self {
        let mut s = Self::claimed();
        s.run_job();
        s.upload = UploadView::Done;
        s.run_job();
        assert!(s.job_status().upload.as_ref().is_some_and(|u| u.size_verified));
        s
    }

    /// Both halves of the intent are written, and the start may have been sent by another process.
    pub fn intended() -> Self {
        let mut s = Self::uploaded();
        s.write_intent();
        s.after(1)
    }

    /// The print was seen running by this process.
    pub fn printing() -> Self {
        let mut s = Self::intended();
        s.shows_ours(DeviceState::Printing);
        s.watch.seen_active = true;
        s.run_job();
        s.run_printer();
        assert!(s.job_status().conditions.is_true(ConditionType::Started));
        s
    }

    /// A full window was watched in vain and a person was asked.
    pub fn asked() -> Self {
        let mut s = Self::intended().watched_in_vain();
        s.run_job();
        assert!(s.job_status().question.is_some());
        s
    }

    /// A full window of live reports was counted, and the deadline is over.
    pub fn watched_in_vain(mut self) -> Self {
        self.watch.live = self.timing.observation_window;
        self.last_start_live = self.timing.observation_window;
        self.after(300)
    }

    pub fn after(mut self, n: u64) -> Self {
        self.pass(n);
        self
    }

    pub fn pass(&mut self, n: u64) {
        self.now = self.now.checked_add(seconds(n)).unwrap();
    }

    pub fn claim(&mut self) {
        let attempt = self.job_status().attempt.max(1);
        self.job.metadata.finalizers = Some(vec![PRINT_JOB_FINALIZER.into()]);
        self.printer.metadata.finalizers = Some(vec![PRINTER_FINALIZER.into()]);
        let claim = CurrentJob { name: "bracket".into(), uid: JOB_UID.into(), attempt };
        self.printer.status.as_mut().unwrap().current_job = Some(claim);
    }

    pub fn clear_bed(&mut self) {
        self.printer.spec.bed.cleared_for = self.printer_status().bed.as_ref().and_then(|b| b.occupancy_id.clone());
    }

    pub fn answer(&mut self, answer: Answer) {
        let question_id = self.job_status().question.clone().expect("a question is open").id;
        self.job.spec.outcome = Some(OutcomeAnswer { question_id, answer });
    }

    pub fn delete_job(&mut self) {
        self.job.metadata.deletion_timestamp = Some(Time(self.now));
    }

    pub fn delete_printer(&mut self) {
        self.printer.metadata.deletion_timestamp = Some(Time(self.now));
    }

    pub fn write_intent(&mut self) {
        self.job.status = Some(gate::job_half(&self.gate_view(None), SENDER, None).unwrap());
        self.printer.status = Some(gate::printer_half(&self.job, &self.printer).unwrap());
    }

    pub fn token(&self) -> Token {
        gate::token_of(&self.job)
    }

    pub fn remote_name(&self) -> String {
        self.token().remote_name("Bracket", "bgcode")
    }

    /// The command that deletes the file of this attempt.
    pub fn delete(&self) -> DeviceCommand {
        DeviceCommand::DeleteFile { remote_name: self.remote_name() }
    }

    /// The device has not deleted the file for so long.
    pub fn refuses_deletion(&mut self, n: u64) {
        self.undeleted = Some(Undeleted { lasting: seconds(n), message: "the file is being read".into() });
    }

    /// No try has got through the gate for so long.
    pub fn closed(&mut self, closed: Closed, n: u64) {
        (self.closed, self.closed_for) = (Some(closed), seconds(n));
    }

    /// The device shows our print, numbered 8, in this state.
    pub fn shows_ours(&mut self, state: DeviceState) {
        self.report.identity = identity("8", &self.remote_name());
        self.shows(state);
    }

    /// The device shows a print of someone else, numbered 9, in this state.
    pub fn shows_foreign(&mut self, state: DeviceState) {
        self.report.identity = identity("9", "vase.gcode");
        self.shows(state);
    }

    /// The device has forgotten its print.
    pub fn shows_nothing(&mut self) {
        self.report.identity = DeviceIdentity::default();
        self.shows(DeviceState::Idle);
    }

    pub fn shows(&mut self, state: DeviceState) {
        self.report.state = state;
        let active = matches!(
            state,
            DeviceState::Preparing | DeviceState::Printing | DeviceState::Paused | DeviceState::Attention
        );
        self.report.has_print = active;
        let percent = if state == DeviceState::Attention { 0 } else { 10 };
        self.report.progress = active.then(|| DeviceProgress { percent, ..DeviceProgress::default() });
    }

    pub fn silent_for(&mut self, n: u64) {
        let message = "no answer".to_owned();
        self.link = Some(Link::Down { cause: LinkFault::Unreachable, message, silent_for: seconds(n) });
    }

    pub fn link(&self) -> Link {
        let live = Link::Live { report: self.report.clone(), age: self.age };
        self.link.clone().unwrap_or(live)
    }

    pub fn job_status(&self) -> PrintJobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    pub fn printer_status(&self) -> PrinterStatus {
        self.printer.status.clone().unwrap_or_default()
    }

    pub fn verdict_written(&self) -> Option<StartVerdict> {
        self.printer_status().last_start.and_then(|l| l.verdict)
    }

    pub fn is(&self, type_: ConditionType) -> bool {
        self.job_status().conditions.is_true(type_)
    }

    pub fn reason(&self, type_: ConditionType) -> String {
        let of_job = self.job_status().conditions.condition(type_).map(|c| c.reason.clone());
        let of_printer = self.printer_status().conditions.condition(type_).map(|c| c.reason.clone());
        of_job.or(of_printer).unwrap_or_default()
    }

    /// What is said of the job with this condition.
    pub fn message(&self, type_: ConditionType) -> String {
        self.job_status().conditions.condition(type_).map(|c| c.message.clone()).unwrap_or_default()
    }

    pub fn printer_is(&self, type_: ConditionType) -> bool {
        self.printer_status().conditions.is_true(type_)
    }

    pub fn set_printer(&mut self, type_: ConditionType, is: ConditionStatus, reason: Reason) {
        let at = SetAt { time: Time(self.now), generation: Some(1) };
        self.printer.status.as_mut().unwrap().conditions.set(type_, is, reason, "for the test", &at);
    }
}
