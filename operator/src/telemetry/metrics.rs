//! The operator's metrics. Every label comes from an enum or a fixed list, so that the number of series never grows
//! with the farm, and every series exists from the start at zero, so that alerts see the first increase. Only the gauges
//! by reason show a reason from its first occurrence on. `docs/operating.md` lists all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use printernizer_crds::Reason;
use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use printernizer_rules::device::DeviceKind;
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use super::labels::{Controller, Label, Material, Outcome, StartResult, StatusKind};

/// All metrics of a process, with their registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    reconcile_total: IntCounterVec,
    reconcile_duration_seconds: HistogramVec,
    panics_total: IntCounter,
    leader: IntGauge,
    sessions_connected: IntGauge,
    printers: IntGaugeVec,
    jobs: IntGaugeVec,
    beds_to_clear: IntGauge,
    printers_not_ready: ByReason,
    jobs_waiting: ByReason,
    starts_total: IntCounterVec,
    unknown_outcomes_total: IntCounter,
    status_writes_total: IntCounterVec,
    report_to_status_seconds: Histogram,
    filament_grams_total: CounterVec,
    print_seconds_total: Counter,
}

/// A gauge by reason. Of the many reasons there are, only those are shown that have occurred.
#[derive(Clone)]
struct ByReason {
    gauge: IntGaugeVec,
    shown: Arc<Mutex<Vec<Reason>>>,
}

impl ByReason {
    fn new(gauge: IntGaugeVec) -> Self {
        Self { gauge, shown: Arc::default() }
    }

    fn set(&self, counts: &BTreeMap<Reason, i64>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend(counts.keys());
        shown.sort_unstable();
        shown.dedup();
        for reason in shown.iter() {
            self.gauge.with_label_values(&[reason.label()]).set(counts.get(reason).copied().unwrap_or(0));
        }
    }
}

/// From a millisecond, for passes that only read caches, to the half minute of a pass that ran into timeouts.
const DURATION_BUCKETS_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Metrics {
    /// All metrics at zero. Fails only when two of them have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("printernizer".to_owned()), None)?;
        let counts = |name: &str, help: &str, labels: &[&str]| {
            kept(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauges =
            |name: &str, help: &str, labels: &[&str]| kept(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?);
        let buckets =
            |name: &str, help: &str| HistogramOpts::new(name, help).buckets(DURATION_BUCKETS_SECONDS.to_vec());
        let metrics = Self {
            reconcile_total: counts(
                "reconcile_total",
                "Passes over one object, by how they ended.",
                &["controller", "outcome"],
            )?,
            reconcile_duration_seconds: kept(
                &registry,
                HistogramVec::new(
                    buckets("reconcile_duration_seconds", "Duration of one pass over one object."),
                    &["controller"],
                )?,
            )?,
            panics_total: kept(&registry, IntCounter::new("panics_total", "Panics caught in one object's pass.")?)?,
            leader: kept(&registry, IntGauge::new("leader", "1 while this process leads.")?)?,
            sessions_connected: kept(
                &registry,
                IntGauge::new("sessions_connected", "Printers to which a connection stands.")?,
            )?,
            printers: gauges("printers", "Printers, by state.", &["state"])?,
            jobs: gauges("jobs", "PrintJobs, by phase.", &["phase"])?,
            beds_to_clear: kept(
                &registry,
                IntGauge::new("beds_to_clear", "Printers whose bed waits for a person to clear and confirm it.")?,
            )?,
            printers_not_ready: ByReason::new(gauges(
                "printers_not_ready",
                "Printers that cannot be used, by the reason of their condition Ready.",
                &["reason"],
            )?),
            jobs_waiting: ByReason::new(gauges(
                "jobs_waiting",
                "PrintJobs that wait for something, by status.waitingFor.",
                &["reason"],
            )?),
            starts_total: counts("starts_total", "Start commands, by what became of them.", &["kind", "result"])?,
            unknown_outcomes_total: kept(
                &registry,
                IntCounter::new("unknown_outcomes_total", "Prints whose end a person had to tell.")?,
            )?,
            status_writes_total: counts("status_writes_total", "Writes of a status subresource.", &["kind"])?,
            report_to_status_seconds: kept(
                &registry,
                Histogram::with_opts(buckets(
                    "report_to_status_seconds",
                    "Time from a device's report of a change to the status in the API.",
                ))?,
            )?,
            filament_grams_total: kept(
                &registry,
                CounterVec::new(
                    Opts::new("filament_grams_total", "Filament of ended prints as estimated by the slicer."),
                    &["material"],
                )?,
            )?,
            print_seconds_total: kept(
                &registry,
                Counter::new("print_seconds_total", "Time printers spent on prints whose end was seen.")?,
            )?,
            registry: registry.clone(),
        };
        metrics.start_at_zero();
        // The process collector's names are Prometheus' own and carry no prefix of ours.
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        for controller in Controller::ALL {
            self.reconcile_duration_seconds.with_label_values(&[controller.label()]);
            for outcome in Outcome::ALL {
                self.reconcile_total.with_label_values(&[controller.label(), outcome.label()]);
            }
        }
        for kind in DeviceKind::ALL {
            for result in StartResult::ALL {
                self.starts_total.with_label_values(&[kind.label(), result.label()]);
            }
        }
        for kind in StatusKind::ALL {
            self.status_writes_total.with_label_values(&[kind.label()]);
        }
        for material in Material::ALL {
            self.filament_grams_total.with_label_values(&[material.label()]);
        }
        self.set_printers(|_| 0);
        self.set_jobs(|_| 0);
    }

    /// One pass over one object has ended.
    pub fn reconciled(&self, controller: Controller, outcome: Outcome, took: Duration) {
        self.reconcile_total.with_label_values(&[controller.label(), outcome.label()]).inc();
        self.reconcile_duration_seconds.with_label_values(&[controller.label()]).observe(took.as_secs_f64());
        if outcome == Outcome::Panicked {
            self.panics_total.inc();
        }
    }

    /// The gauge that leadership keeps.
    pub fn leader(&self) -> IntGauge {
        self.leader.clone()
    }

    /// Printers to which a connection stands.
    pub fn sessions_connected(&self) -> IntGauge {
        self.sessions_connected.clone()
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

    /// A start command was sent, or was not.
    pub fn started(&self, kind: DeviceKind, result: StartResult) {
        self.starts_total.with_label_values(&[kind.label(), result.label()]).inc();
    }

    /// A person has to tell how a print ended.
    pub fn outcome_unknown(&self) {
        self.unknown_outcomes_total.inc();
    }

    /// A status was written.
    pub fn status_written(&self, kind: StatusKind) {
        self.status_writes_total.with_label_values(&[kind.label()]).inc();
    }

    /// A device's change of state has reached the API.
    pub fn report_reached_status(&self, after: Duration) {
        self.report_to_status_seconds.observe(after.as_secs_f64());
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

    /// All metrics in Prometheus' text format, those of the process included.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        families.extend(prometheus::process_collector::ProcessCollector::for_self().collect());
        let mut bytes = Vec::new();
        TextEncoder::new().encode(&families, &mut bytes)?;
        String::from_utf8(bytes).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

fn kept<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
