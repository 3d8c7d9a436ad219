//! The operator's metrics. Every label comes from an enum or a fixed list, so that the number of series never grows
//! with the farm, and every series exists from the start at zero, so that alerts see the first increase.

use std::time::Duration;

use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// A label whose values are all known beforehand.
pub trait Label: Copy + PartialEq + 'static {
    /// Every value.
    const ALL: &[Self];
    /// The value as shown.
    fn label(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $visibility:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name { $($(#[$variant_doc])* $variant,)+ }
        impl Label for $name {
            const ALL: &[Self] = &[$(Self::$variant,)+];
            fn label(self) -> &'static str { match self { $(Self::$variant => $text,)+ } }
        }
    )+ };
    ($(for $name:ident { $($variant:ident = $text:literal,)+ })+) => { $(
        impl Label for $name {
            const ALL: &[Self] = &[$(Self::$variant,)+];
            fn label(self) -> &'static str { match self { $(Self::$variant => $text,)+ } }
        }
    )+ };
}

labels! {
    /// The kind a controller works on.
    pub enum Controller {
        /// Printers.
        Printer = "printer",
        /// PrintJobs.
        PrintJob = "print_job",
        /// The assignment of jobs to printers.
        Scheduling = "scheduling",
    }

    /// How a pass over one object ended.
    pub enum Outcome {
        /// Something was done.
        Applied = "applied",
        /// Nothing had to be done.
        Unchanged = "unchanged",
        /// Something else has to happen first.
        Waiting = "waiting",
        /// Another writer was first; the object is observed again.
        Conflict = "conflict",
        /// The pass failed and is repeated with a backoff.
        Failed = "failed",
        /// The pass panicked.
        Panicked = "panicked",
        /// The pass was cut off, by its time limit or because leadership ended.
        Abandoned = "abandoned",
    }

    /// What kind of device a start went to.
    pub enum DeviceKind {
        /// PrusaLink.
        PrusaLink = "prusalink",
        /// Bambu Lab.
        Bambu = "bambu",
    }

    /// What became of one start command.
    pub enum StartResult {
        /// Sent; the device shows what follows.
        Sent = "sent",
        /// Refused by the device.
        Refused = "refused",
        /// It is known that no byte left.
        NotSent = "not_sent",
        /// It may or may not have arrived; never repeated.
        Unclear = "unclear",
    }

    /// The kind whose status was written.
    pub enum StatusKind {
        /// Printer.
        Printer = "Printer",
        /// PrintJob.
        PrintJob = "PrintJob",
        /// PrintRecord.
        PrintRecord = "PrintRecord",
    }

    /// Materials counted by name; everything else is `other`.
    pub enum Material {
        /// Polylactic acid.
        Pla = "PLA",
        /// Glycol-modified polyethylene terephthalate.
        Petg = "PETG",
        /// Acrylonitrile butadiene styrene.
        Abs = "ABS",
        /// Acrylonitrile styrene acrylate.
        Asa = "ASA",
        /// Thermoplastic polyurethane.
        Tpu = "TPU",
        /// Polyamide.
        Pa = "PA",
        /// Polycarbonate.
        Pc = "PC",
        /// Polyvinyl alcohol.
        Pva = "PVA",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    for PrinterState {
        Idle = "Idle", Preparing = "Preparing", Printing = "Printing", Paused = "Paused", Finished = "Finished",
        Failed = "Failed", Attention = "Attention", Offline = "Offline", Unknown = "Unknown",
    }
    for Phase {
        Pending = "Pending", Held = "Held", Assigned = "Assigned", Uploading = "Uploading", Starting = "Starting",
        Printing = "Printing", Paused = "Paused", AttentionNeeded = "AttentionNeeded", Succeeded = "Succeeded",
        Failed = "Failed", Cancelled = "Cancelled",
    }
}

impl Material {
    /// The counted material of a name as a slicer writes it, `PLA` of `pla`.
    pub fn of(name: &str) -> Self {
        let known = |material: &&Self| material.label().eq_ignore_ascii_case(name.trim());
        Self::ALL.iter().find(known).copied().unwrap_or(Self::Other)
    }
}

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
    starts_total: IntCounterVec,
    unknown_outcomes_total: IntCounter,
    status_writes_total: IntCounterVec,
    report_to_status_seconds: Histogram,
    filament_grams_total: CounterVec,
    print_seconds_total: Counter,
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
                Counter::new("print_seconds_total", "Time printers spent on prints that have ended.")?,
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

    /// Printers to which a connection stands; sessions add and subtract one.
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
mod tests {
    use super::*;

    fn value(text: &str, series: &str) -> Option<f64> {
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[test]
    fn every_series_exists_before_anything_has_happened() {
        let text = Metrics::new().unwrap().text().unwrap();
        for series in [
            "printernizer_reconcile_total{controller=\"print_job\",outcome=\"failed\"}",
            "printernizer_reconcile_duration_seconds_count{controller=\"printer\"}",
            "printernizer_panics_total",
            "printernizer_leader",
            "printernizer_sessions_connected",
            "printernizer_printers{state=\"Offline\"}",
            "printernizer_jobs{phase=\"Pending\"}",
            "printernizer_starts_total{kind=\"bambu\",result=\"unclear\"}",
            "printernizer_unknown_outcomes_total",
            "printernizer_status_writes_total{kind=\"PrintJob\"}",
            "printernizer_report_to_status_seconds_count",
            "printernizer_filament_grams_total{material=\"PLA\"}",
            "printernizer_print_seconds_total",
        ] {
            assert_eq!(value(&text, series), Some(0.0), "{series} in\n{text}");
        }
        assert!(value(&text, "process_resident_memory_bytes").unwrap() > 0.0);
    }

    #[test]
    fn what_happens_is_counted_where_it_belongs() {
        let metrics = Metrics::new().unwrap();
        metrics.reconciled(Controller::Printer, Outcome::Panicked, Duration::from_millis(3));
        metrics.started(DeviceKind::PrusaLink, StartResult::Refused);
        metrics.set_printers(|state| i64::from(state == PrinterState::Printing) * 7);
        metrics.print_ended(
            Duration::from_mins(1),
            [
                (Material::of("pla "), 12.5),
                (Material::of("Wood"), 3.0),
                (Material::Abs, f64::NAN),
                (Material::Pc, -1.0),
            ],
        );
        let text = metrics.text().unwrap();
        for (series, expected) in [
            ("printernizer_reconcile_total{controller=\"printer\",outcome=\"panicked\"}", 1.0),
            ("printernizer_panics_total", 1.0),
            ("printernizer_starts_total{kind=\"prusalink\",result=\"refused\"}", 1.0),
            ("printernizer_printers{state=\"Printing\"}", 7.0),
            ("printernizer_filament_grams_total{material=\"PLA\"}", 12.5),
            ("printernizer_filament_grams_total{material=\"other\"}", 3.0),
            ("printernizer_filament_grams_total{material=\"ABS\"}", 0.0),
            ("printernizer_filament_grams_total{material=\"PC\"}", 0.0),
            ("printernizer_print_seconds_total", 60.0),
        ] {
            assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
        }
    }
}
