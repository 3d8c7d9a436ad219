//! What happens, as it is counted. Each function is called where the thing has happened and nowhere else.

use std::collections::BTreeMap;
use std::time::Duration;

use printernizer_crds::Reason;
use printernizer_crds::print_job::{Outcome as AttemptOutcome, Phase};
use printernizer_crds::printer::PrinterState;
use printernizer_rules::device::{DeviceKind, LinkFault};
use prometheus::IntCounter;

use super::backups::BackupFacts;
use super::labels::{
    Answer, Controller, Label as _, Material, Outcome, PassError, REFUSALS, Resource, StartResult, StatusKind, Verb,
    Withheld,
};
use super::metrics::Metrics;
use super::sets::ObjectCondition;
use crate::leadership::Gauges;

impl Metrics {
    /// One pass over one object has ended.
    pub fn reconciled(&self, controller: Controller, outcome: Outcome, took: Duration) {
        self.reconcile_total.with_label_values(&[controller.label(), outcome.label()]).inc();
        self.reconcile_duration_seconds.with_label_values(&[controller.label()]).observe(took.as_secs_f64());
        if outcome == Outcome::Panicked {
            self.pass_failed(controller, PassError::Panic);
        }
    }

    /// Counts every panic of the process from now on, wherever it is caught. What is done about it otherwise stays as it is.
    pub fn count_panics(&self) {
        let (panics, next) = (self.panics_total.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            panics.inc();
            next(panic);
        }));
    }

    /// Why a pass over one object failed.
    pub fn pass_failed(&self, controller: Controller, error: PassError) {
        self.reconcile_errors_total.with_label_values(&[controller.label(), error.label()]).inc();
    }

    /// An object waited this long after it was due to be looked at.
    pub fn waited_in_queue(&self, controller: Controller, waited: Duration) {
        self.queue_wait_seconds.with_label_values(&[controller.label()]).observe(waited.as_secs_f64());
    }

    /// How many objects wait to be looked at, and how many are being looked at.
    pub fn set_queue(&self, controller: Controller, waiting: usize, running: usize) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.queue_depth.with_label_values(&[controller.label()]).set(number(waiting));
        self.queue_running.with_label_values(&[controller.label()]).set(number(running));
    }

    /// A request to the API server has ended.
    pub fn requested(&self, verb: Verb, resource: Resource, answer: Answer, took: Duration) {
        self.api_requests_total.with_label_values(&[verb.label(), resource.label(), answer.label()]).inc();
        self.api_request_duration_seconds.with_label_values(&[verb.label()]).observe(took.as_secs_f64());
    }

    /// The gauges that leadership keeps.
    pub fn lease(&self) -> Gauges {
        Gauges { leader: self.leader.clone(), renewed_timestamp_seconds: self.lease_renewed_timestamp_seconds.clone() }
    }

    /// Whether the cluster's definitions are older than this operator.
    pub fn definitions_too_old(&self, are: bool) {
        self.definitions_too_old.set(i64::from(are));
    }

    /// Lists and watches of a kind that failed.
    pub fn watch_errors(&self, kind: StatusKind) -> IntCounter {
        self.watch_errors_total.with_label_values(&[kind.label()])
    }

    /// Sets the number of printers to which a connection stands.
    pub fn set_sessions_connected(&self, count: i64) {
        self.sessions_connected.set(count);
    }

    /// A first report came over a new connection to a printer.
    pub fn session_connected(&self) {
        self.session_connects_total.inc();
    }

    /// A connection to a printer ended, or `had_connection` says that there was none yet.
    pub fn session_failed(&self, cause: LinkFault, had_connection: bool) {
        let counter =
            if had_connection { &self.session_disconnects_total } else { &self.session_connect_failures_total };
        counter.with_label_values(&[cause.label()]).inc();
    }

    /// Counts all printers anew.
    pub fn set_printers(&self, count: impl Fn(PrinterState) -> i64) {
        for state in PrinterState::ALL {
            self.printers.with_label_values(&[state.label()]).set(count(*state));
        }
    }

    /// Counts all jobs anew.
    pub fn set_jobs(&self, count: impl Fn(Phase) -> i64) {
        for phase in Phase::ALL {
            self.jobs.with_label_values(&[phase.label()]).set(count(*phase));
        }
    }

    /// Printers whose bed waits for a person.
    pub fn set_beds_to_clear(&self, count: i64) {
        self.beds_to_clear.set(count);
    }

    /// Counts the printers that are not ready anew.
    pub fn set_printers_not_ready(&self, counts: &BTreeMap<Reason, i64>) {
        self.printers_not_ready.set(counts);
    }

    /// Counts the jobs that wait for something anew.
    pub fn set_jobs_waiting(&self, counts: &BTreeMap<Reason, i64>) {
        self.jobs_waiting.set(counts);
    }

    /// Shows since when some job has waited for each of these, in seconds since 1970, and for nothing else.
    pub fn set_jobs_waiting_since(&self, since: &BTreeMap<Reason, i64>) {
        self.jobs_waiting_since
            .set(since.iter().map(|(reason, since)| ([reason.label().to_owned()], *since)).collect());
    }

    /// Shows the conditions of each printer, each with its status, and no others.
    pub fn set_printer_conditions(&self, conditions: &BTreeMap<ObjectCondition, &str>) {
        self.printer_status_condition.set(conditions);
    }

    /// Shows what is known of the backups of each BackupPolicy, by namespace and name, and of no others.
    pub fn set_backups(&self, policies: &BTreeMap<(String, String), BackupFacts>) {
        self.backups.set(policies);
    }

    /// A start command was sent, or was not.
    pub fn started(&self, kind: DeviceKind, result: StartResult) {
        self.starts_total.with_label_values(&[kind.label(), result.label()]).inc();
    }

    /// A try to start ended before anything was decided to be sent.
    pub fn start_withheld(&self, kind: DeviceKind, reason: Withheld) {
        self.starts_withheld_total.with_label_values(&[kind.label(), reason.label()]).inc();
    }

    /// A person has to tell how a print ended.
    pub fn outcome_unknown(&self) {
        self.unknown_outcomes_total.inc();
    }

    /// A job turned not accepted. That its file is still being fetched is no refusal.
    pub fn job_refused(&self, reason: &str) {
        if let Some(reason) = REFUSALS.iter().find(|known| known.as_str() == reason) {
            self.job_refusals_total.with_label_values(&[reason.label()]).inc();
        }
    }

    /// A job was given a printer for its first attempt, this long after it was accepted.
    pub fn job_assigned(&self, waited: Duration) {
        self.job_wait_seconds.observe(waited.as_secs_f64());
    }

    /// A status was written.
    pub fn status_written(&self, kind: StatusKind) {
        self.status_writes_total.with_label_values(&[kind.label()]).inc();
    }

    /// A status was not written, because another writer was first.
    pub fn status_conflict(&self, kind: StatusKind) {
        self.status_conflicts_total.with_label_values(&[kind.label()]).inc();
    }

    /// A device's change of state has reached the API.
    pub fn report_reached_status(&self, after: Duration) {
        self.report_to_status_seconds.observe(after.as_secs_f64());
    }

    /// An attempt of a job has ended.
    pub fn attempt_ended(&self, outcome: AttemptOutcome) {
        self.attempts_total.with_label_values(&[outcome.label()]).inc();
    }

    /// A print has ended. Amounts that are not finite or below zero are left out.
    pub fn print_ended(&self, took: Duration, filaments: impl IntoIterator<Item = (Material, f64)>) {
        self.print_seconds_total.inc_by(took.as_secs_f64());
        for (material, grams) in filaments {
            if grams.is_finite() && grams > 0.0 {
                self.filament_grams_total.with_label_values(&[material.label()]).inc_by(grams);
            }
        }
    }
}
