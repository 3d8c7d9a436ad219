//! The operator's metrics. Every label comes from an enum or a fixed list, so that the number of series never grows
//! with the farm, and every series exists from the start at zero, so that alerts see the first increase. Only the gauges
//! by reason show a reason from its first occurrence on, the conditions of single printers are there if they are asked for,
//! and the gauges of backups are those of each BackupPolicy, of which there are few. `docs/metrics.md` lists all of them.
//!
//! Counters begin at zero with each process, and Prometheus' functions know that. Gauges of the farm are counted from the
//! API by whoever leads.

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use printernizer_crds::print_job::Outcome as AttemptOutcome;
use printernizer_rules::device::{DeviceKind, LinkFault};

pub use super::backups::BackupFacts;
pub use super::labels::{
    Answer, Controller, Label, Material, Outcome, PassError, Resource, StartResult, StatusKind, Verb, Withheld,
};
pub use super::sets::ObjectCondition;

use super::backups::Backups;
use super::labels::{QUEUED, REFUSALS, REQUESTS};
use super::sets::{ByCondition, ByObject, ByReason};

/// All metrics of a process, with their registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub(super) api_request_duration_seconds: HistogramVec,
    pub(super) api_requests_total: IntCounterVec,
    pub(super) attempts_total: IntCounterVec,
    pub(super) backups: Backups,
    pub(super) beds_to_clear: IntGauge,
    build_info: IntGaugeVec,
    pub(super) definitions_too_old: IntGauge,
    pub(super) filament_grams_total: CounterVec,
    pub(super) job_refusals_total: IntCounterVec,
    pub(super) job_wait_seconds: Histogram,
    pub(super) jobs: IntGaugeVec,
    pub(super) jobs_waiting: ByReason,
    pub(super) jobs_waiting_since: ByObject<1>,
    pub(super) leader: IntGauge,
    pub(super) lease_renewed_timestamp_seconds: Gauge,
    pub(super) panics_total: IntCounter,
    pub(super) print_seconds_total: Counter,
    pub(super) printer_status_condition: ByCondition,
    pub(super) printers: IntGaugeVec,
    pub(super) printers_not_ready: ByReason,
    pub(super) queue_depth: IntGaugeVec,
    pub(super) queue_running: IntGaugeVec,
    pub(super) queue_wait_seconds: HistogramVec,
    pub(super) reconcile_duration_seconds: HistogramVec,
    pub(super) reconcile_errors_total: IntCounterVec,
    pub(super) reconcile_total: IntCounterVec,
    pub(super) report_to_status_seconds: Histogram,
    pub(super) session_connect_failures_total: IntCounterVec,
    pub(super) session_connects_total: IntCounter,
    pub(super) session_disconnects_total: IntCounterVec,
    pub(super) sessions_connected: IntGauge,
    pub(super) starts_total: IntCounterVec,
    pub(super) starts_withheld_total: IntCounterVec,
    pub(super) status_conflicts_total: IntCounterVec,
    pub(super) status_writes_total: IntCounterVec,
    pub(super) unknown_outcomes_total: IntCounter,
    pub(super) watch_errors_total: IntCounterVec,
}

/// From a millisecond, for passes that only read caches, to the half minute of a pass that ran into timeouts.
const DURATION_BUCKETS_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// From a second, where a printer is free, over the length of prints to three days, where nobody clears a bed.
const WAIT_BUCKETS_SECONDS: &[f64] =
    &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0];

/// Makes metrics and registers them.
pub(super) struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn kept<C: Collector + Clone + 'static>(&self, made: Result<C, prometheus::Error>) -> Result<C, prometheus::Error> {
        let collector = made?;
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.kept(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.kept(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.kept(IntGauge::new(name, help))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.kept(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn duration(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.kept(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    fn durations(&self, name: &str, help: &str, label: &str) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS_SECONDS.to_vec());
        self.kept(HistogramVec::new(options, &[label]))
    }
}

impl Metrics {
    /// All metrics at zero. Fails only when two of them have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("printernizer".to_owned()), None)?;
        let make = Maker(&registry);
        let metrics = Self {
            registry: registry.clone(),
            api_request_duration_seconds: make.durations(
                "api_request_duration_seconds",
                "Time from a request to the API server to the begin of its answer, or until nobody waited any more.",
                "verb",
            )?,
            api_requests_total: make.counters(
                "api_requests_total",
                "Requests to the API server, by the class of its answer; none if there was no answer.",
                &["verb", "resource", "code"],
            )?,
            attempts_total: make.counters(
                "attempts_total",
                "Attempts of PrintJobs, by how they ended.",
                &["outcome"],
            )?,
            backups: Backups::new(&make)?,
            beds_to_clear: make
                .gauge("beds_to_clear", "Printers whose bed waits for a person to clear and confirm it.")?,
            build_info: make.gauges("build_info", "Always 1; the version of the operator.", &["version"])?,
            definitions_too_old: make.gauge(
                "definitions_too_old",
                "1 while the cluster has definitions of an older version, with which nothing is started.",
            )?,
            filament_grams_total: make.kept(CounterVec::new(
                Opts::new("filament_grams_total", "Filament of ended prints as estimated by the slicer."),
                &["material"],
            ))?,
            job_refusals_total: make.counters(
                "job_refusals_total",
                "Times a PrintJob turned not accepted, by the reason of its condition Accepted.",
                &["reason"],
            )?,
            job_wait_seconds: make.duration(
                "job_wait_seconds",
                "Time from the acceptance of a PrintJob to its being given a printer for its first attempt.",
                WAIT_BUCKETS_SECONDS,
            )?,
            jobs: make.gauges("jobs", "PrintJobs, by phase.", &["phase"])?,
            jobs_waiting: ByReason::new(make.gauges(
                "jobs_waiting",
                "PrintJobs that wait for something, by status.waitingFor.",
                &["reason"],
            )?),
            jobs_waiting_since: ByObject::new(make.gauges(
                "jobs_waiting_since_timestamp_seconds",
                "Since when the PrintJob that has waited longest for this has waited for it, as this process saw it, in \
                 seconds since 1970.",
                &["reason"],
            )?),
            leader: make.gauge("leader", "1 while this process leads.")?,
            lease_renewed_timestamp_seconds: make.kept(Gauge::new(
                "lease_renewed_timestamp_seconds",
                "When this process last renewed the Lease, in seconds since 1970; 0 if it never led.",
            ))?,
            panics_total: make
                .counter("panics_total", "Panics of the process: bugs, each caught where it happened.")?,
            print_seconds_total: make
                .kept(Counter::new("print_seconds_total", "Time printers spent on prints whose end was seen."))?,
            printer_status_condition: ByCondition::new(make.gauges(
                "printer_status_condition",
                "1 for the status a condition of a Printer has. Only with --metrics-per-printer.",
                &["printer_namespace", "printer", "type", "status"],
            )?),
            printers: make.gauges("printers", "Printers, by state.", &["state"])?,
            printers_not_ready: ByReason::new(make.gauges(
                "printers_not_ready",
                "Printers that cannot be used, by the reason of their condition Ready.",
                &["reason"],
            )?),
            queue_depth: make.gauges(
                "queue_depth",
                "Objects that are due to be looked at and wait.",
                &["controller"],
            )?,
            queue_running: make.gauges("queue_running", "Objects that are being looked at.", &["controller"])?,
            queue_wait_seconds: make.durations(
                "queue_wait_seconds",
                "Time an object waited after it was due to be looked at.",
                "controller",
            )?,
            reconcile_duration_seconds: make.durations(
                "reconcile_duration_seconds",
                "Duration of one pass over one object.",
                "controller",
            )?,
            reconcile_errors_total: make.counters(
                "reconcile_errors_total",
                "Passes over one object that failed, by why.",
                &["controller", "reason"],
            )?,
            reconcile_total: make.counters(
                "reconcile_total",
                "Passes over one object, by how they ended.",
                &["controller", "outcome"],
            )?,
            report_to_status_seconds: make.duration(
                "report_to_status_seconds",
                "Time from a device's report of a change to the status in the API.",
                DURATION_BUCKETS_SECONDS,
            )?,
            session_connect_failures_total: make.counters(
                "session_connect_failures_total",
                "Attempts to connect to a printer that failed, by why.",
                &["cause"],
            )?,
            session_connects_total: make
                .counter("session_connects_total", "Connections to printers over which a first report came.")?,
            session_disconnects_total: make.counters(
                "session_disconnects_total",
                "Connections to printers that ended against the operator's will, by why.",
                &["cause"],
            )?,
            sessions_connected: make.gauge("sessions_connected", "Printers to which a connection stands.")?,
            starts_total: make.counters(
                "starts_total",
                "Start commands, by what became of them.",
                &["kind", "result"],
            )?,
            starts_withheld_total: make.counters(
                "starts_withheld_total",
                "Tries to start a print that ended before anything was decided to be sent, by why.",
                &["kind", "reason"],
            )?,
            status_conflicts_total: make.counters(
                "status_conflicts_total",
                "Writes of a status that came after another writer's, and were decided anew.",
                &["kind"],
            )?,
            status_writes_total: make.counters("status_writes_total", "Writes of a status subresource.", &["kind"])?,
            unknown_outcomes_total: make.counter("unknown_outcomes_total", "Prints whose end a person had to tell.")?,
            watch_errors_total: make.counters(
                "watch_errors_total",
                "Lists and watches that failed and were begun again, by kind.",
                &["kind"],
            )?,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for controller in Controller::ALL {
            self.reconcile_duration_seconds.with_label_values(&[controller.label()]);
            for outcome in Outcome::ALL {
                self.reconcile_total.with_label_values(&[controller.label(), outcome.label()]);
            }
            for error in PassError::ALL {
                self.reconcile_errors_total.with_label_values(&[controller.label(), error.label()]);
            }
        }
        for controller in QUEUED {
            self.queue_wait_seconds.with_label_values(&[controller.label()]);
            self.set_queue(controller, 0, 0);
        }
        for (resource, verbs) in REQUESTS {
            for verb in verbs {
                for answer in Answer::ALL {
                    self.api_requests_total.with_label_values(&[verb.label(), resource.label(), answer.label()]);
                }
            }
        }
        for kind in DeviceKind::ALL {
            for result in StartResult::ALL {
                self.starts_total.with_label_values(&[kind.label(), result.label()]);
            }
            for reason in Withheld::ALL {
                self.starts_withheld_total.with_label_values(&[kind.label(), reason.label()]);
            }
        }
        for kind in StatusKind::ALL {
            self.status_writes_total.with_label_values(&[kind.label()]);
            self.status_conflicts_total.with_label_values(&[kind.label()]);
        }
        for kind in [StatusKind::Printer, StatusKind::PrintJob, StatusKind::BackupPolicy] {
            self.watch_errors_total.with_label_values(&[kind.label()]);
        }
        for verb in Verb::ALL {
            self.api_request_duration_seconds.with_label_values(&[verb.label()]);
        }
        for cause in LinkFault::ALL {
            self.session_connect_failures_total.with_label_values(&[cause.label()]);
            self.session_disconnects_total.with_label_values(&[cause.label()]);
        }
        for outcome in AttemptOutcome::ALL {
            self.attempts_total.with_label_values(&[outcome.label()]);
        }
        for material in Material::ALL {
            self.filament_grams_total.with_label_values(&[material.label()]);
        }
        for reason in REFUSALS {
            self.job_refusals_total.with_label_values(&[reason.label()]);
        }
        self.set_printers(|_| 0);
        self.set_jobs(|_| 0);
    }

    /// All metrics in Prometheus' text format, those of the process included: their names are Prometheus' own and carry
    /// no prefix of ours.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        families.extend(prometheus::process_collector::ProcessCollector::for_self().collect());
        let mut bytes = Vec::new();
        TextEncoder::new().encode(&families, &mut bytes)?;
        String::from_utf8(bytes).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
