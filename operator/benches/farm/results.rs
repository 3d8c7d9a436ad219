//! What was measured, as JSON and as a table with the goals beside it.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Half and 99 of 100 of what was timed took at most so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Milliseconds {
    pub p50: f64,
    pub p99: f64,
}

impl Milliseconds {
    /// Of durations in any order; there must be some.
    pub fn of(mut took: Vec<std::time::Duration>) -> Self {
        took.sort();
        let at = |percent| crate::figures::changes::percentile(&took, percent).as_secs_f64() * 1000.0;
        Self { p50: at(50), p99: at(99) }
    }

    fn json(self) -> Value {
        json!({ "p50": round(self.p50, 1), "p99": round(self.p99, 1) })
    }
}

/// A burst of assignments.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Printers that became free at once.
    pub printers: u32,
    pub assignments_per_second: f64,
    /// Writes at the API server for each assignment.
    pub writes_per_assignment: f64,
}

/// What printers at rest cost each.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub printers: u32,
    pub rss_bytes: f64,
    pub cpu_percent: f64,
}

/// Everything. What was not measured is missing.
#[derive(Debug)]
pub struct Results {
    pub printers: u32,
    pub jobs: u32,
    /// Status writes a second of a client that does nothing else, of jobs that hold next to nothing.
    pub api_writes_per_second: Option<f64>,
    /// The same of jobs as large as the operator's own are once they are printed, beside all jobs of the farm.
    pub own_writes_per_second: Option<f64>,
    /// Jobs accepted and queued a second.
    pub accepted_per_second: Option<f64>,
    /// The last one is of all printers.
    pub bursts: Vec<Burst>,
    pub free_to_assigned: Option<Milliseconds>,
    pub reports: Vec<(u32, Milliseconds)>,
    /// The last one is of all printers.
    pub costs: Vec<Cost>,
    /// From the kill to the new leader's lease.
    pub lease_seconds: Option<f64>,
    /// From then to all printers connected.
    pub recovery_seconds: Option<f64>,
    pub writes_per_hour_idle: Option<f64>,
    pub writes_per_hour_printing: Option<f64>,
}

impl Results {
    pub fn new(printers: u32, jobs: u32) -> Self {
        Self {
            printers,
            jobs,
            api_writes_per_second: None,
            own_writes_per_second: None,
            accepted_per_second: None,
            bursts: Vec::new(),
            free_to_assigned: None,
            reports: Vec::new(),
            costs: Vec::new(),
            lease_seconds: None,
            recovery_seconds: None,
            writes_per_hour_idle: None,
            writes_per_hour_printing: None,
        }
    }

    /// The rate of the whole burst as a share of the rate at which the API server alone would have taken its writes.
    fn share_of(&self, ceiling: Option<f64>) -> Option<f64> {
        let burst = self.bursts.last()?;
        Some(burst.assignments_per_second * burst.writes_per_assignment / ceiling?)
    }

    pub fn json(&self) -> String {
        let bursts = self.bursts.iter().map(|b| {
            json!({
                "printers": b.printers,
                "assignments_per_second": round(b.assignments_per_second, 1),
                "writes_per_assignment": round(b.writes_per_assignment, 2),
            })
        });
        let costs = self.costs.iter().map(|c| {
            json!({
                "printers": c.printers,
                "rss_bytes_per_printer": round(c.rss_bytes, 0),
                "cpu_percent_per_printer": round(c.cpu_percent, 4),
            })
        });
        let reports = self.reports.iter().map(|(printers, took)| {
            let mut value = took.json();
            value["printers"] = json!(printers);
            value
        });
        let one = |value: Option<f64>, digits| value.map(|v| round(v, digits));
        let value = json!({
            "printers": self.printers,
            "jobs": self.jobs,
            "api_writes_per_second": one(self.api_writes_per_second, 0),
            "own_writes_per_second": one(self.own_writes_per_second, 0),
            "accepted_per_second": one(self.accepted_per_second, 1),
            "assignments_per_second": one(self.bursts.last().map(|b| b.assignments_per_second), 1),
            "writes_per_assignment": one(self.bursts.last().map(|b| b.writes_per_assignment), 2),
            "assignment_share_of_ceiling": one(self.share_of(self.api_writes_per_second), 2),
            "assignment_share_of_own_ceiling": one(self.share_of(self.own_writes_per_second), 2),
            "assignments": bursts.collect::<Vec<_>>(),
            "free_to_assigned_ms": self.free_to_assigned.map(Milliseconds::json),
            "report_to_watch_ms": reports.collect::<Vec<_>>(),
            "rss_bytes_per_printer": one(self.costs.last().map(|c| c.rss_bytes), 0),
            "cpu_percent_per_printer": one(self.costs.last().map(|c| c.cpu_percent), 4),
            "cost": costs.collect::<Vec<_>>(),
            "lease_seconds": one(self.lease_seconds, 1),
            "recovery_seconds": one(self.recovery_seconds, 2),
            "writes_per_printer_hour": {
                "idle": one(self.writes_per_hour_idle, 1),
                "printing": one(self.writes_per_hour_printing, 1),
            },
        });
        serde_json::to_string_pretty(&value).expect("figures are JSON") + "\n"
    }

    /// A table in Markdown. A goal that was missed is in bold.
    pub fn table(&self) -> String {
        let mut table = Table::default();
        let Self { printers, jobs, .. } = self;
        let at_least = |value: f64, goal: f64| Some(value >= goal);
        let below = |value: f64, goal: f64| Some(value < goal);
        if let Some(v) = self.api_writes_per_second {
            table.row("status writes a second of a bare client, small jobs", &format!("{v:.0}"), "", None);
        }
        if let Some(v) = self.own_writes_per_second {
            table.row("the same, jobs as large as those that were printed", &format!("{v:.0}"), "", None);
        }
        if let Some(v) = self.accepted_per_second {
            table.row(&format!("{jobs} jobs created, accepted and queued, a second"), &format!("{v:.0}"), "", None);
        }
        for b in &self.bursts {
            let what = format!("assignments a second, {} printers free at once, {jobs} jobs", b.printers);
            let all = b.printers == *printers;
            let goal = if all { "at least 350" } else { "" };
            let met = all.then_some(b.assignments_per_second >= 350.0);
            table.row(&what, &format!("{:.0}", b.assignments_per_second), goal, met);
        }
        if let Some(b) = self.bursts.last() {
            table.row("writes for each assignment", &format!("{:.2}", b.writes_per_assignment), "", None);
        }
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        if let Some(v) = self.share_of(self.api_writes_per_second) {
            let what = "assignments as a share of what the bare writes of small jobs allow";
            table.row(what, &percent(v), "at least 70 %", at_least(v, 0.7));
        }
        if let Some(v) = self.share_of(self.own_writes_per_second) {
            table.row("the same of bare writes of jobs as large as its own", &percent(v), "", None);
        }
        if let Some(v) = self.free_to_assigned {
            let what = "from a cleared bed to the next assignment, p50 and p99";
            table.row(what, &format!("{:.0} and {:.0} ms", v.p50, v.p99), "p99 under 500 ms", below(v.p99, 500.0));
        }
        for (printers, v) in &self.reports {
            let what = format!("from a change at one of {printers} printers to a watcher, p50 and p99");
            table.row(&what, &format!("{:.0} and {:.0} ms", v.p50, v.p99), "p99 under 50 ms", below(v.p99, 50.0));
        }
        for c in &self.costs {
            let kilobytes = c.rss_bytes / 1000.0;
            let what = format!("memory of each of {} printers", c.printers);
            table.row(&what, &format!("{kilobytes:.0} KB"), "under 100 KB", below(kilobytes, 100.0));
            let what = format!("processor for each of {} printers", c.printers);
            let percent = format!("{:.4} % of a core", c.cpu_percent);
            table.row(&what, &percent, "under 0.05 %", below(c.cpu_percent, 0.05));
        }
        if let Some(v) = self.lease_seconds {
            table.row("from a killed leader to the next one's lease", &format!("{v:.1} s"), "", None);
        }
        if let Some(v) = self.recovery_seconds {
            let what = format!("from that lease to {printers} printers connected");
            table.row(&what, &format!("{v:.2} s"), "under 5 s", below(v, 5.0));
        }
        if let Some(v) = self.writes_per_hour_idle {
            let met = Some(v == 0.0);
            table.row("API writes an hour for each idle printer", &format!("{v:.1}"), "0", met);
        }
        if let Some(v) = self.writes_per_hour_printing {
            table.row("API writes an hour for each printing printer", &format!("{v:.1}"), "", None);
        }
        table.0
    }
}

struct Table(String);

impl Default for Table {
    fn default() -> Self {
        Self("| figure | measured | goal |\n|---|---|---|\n".to_owned())
    }
}

impl Table {
    fn row(&mut self, what: &str, value: &str, goal: &str, met: Option<bool>) {
        let value = if met == Some(false) { format!("**{value}, missed**") } else { value.to_owned() };
        let _ = writeln!(self.0, "| {what} | {value} | {goal} |");
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}
