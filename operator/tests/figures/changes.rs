//! How soon changes of state at devices stand in the API: prints are paused and resumed at the screen again and again,
//! while a watcher tells when each change is seen. Beside it the API server alone is asked to write, to tell its time
//! from the operator's. It judges nothing; tests do.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use printernizer_crds::Printer;
use printernizer_crds::printer::PrinterState;
use printernizer_simulator::{Action, PrinterHandle};
use serde_json::json;
use tokio::sync::watch;

use super::{Measured, SOON, figure};

/// The operator's own count, see its metrics.
const METRIC: &str = "printernizer_report_to_status_seconds";

/// What was seen of the changes of one span.
pub struct Changes {
    /// From the wire to the watcher, the shortest first.
    pub took: Vec<Duration>,
    /// From the report to the status as the operator counts it: at most so many seconds, and how many were.
    pub counts: Vec<(f64, f64)>,
    /// Writes at the API server that have nothing to do with the operator, the shortest first.
    bare: Vec<Duration>,
}

impl Changes {
    /// Pauses and resumes the prints of all machines for a while. Between a change and the next one at the same machine
    /// lies a random time up to `pause`.
    pub async fn watch(m: &Measured, pause: Duration, span: Duration) -> Self {
        let shown = follow(m.farm.client(), m.farm.namespace());
        let before = buckets(&m.operator.metrics().await.unwrap());
        let until = Instant::now() + span;
        let bare = tokio::spawn(bare_writes(m.farm.client(), m.farm.namespace().to_owned(), until));
        let people = m.machines().into_iter().map(|machine| {
            let name = machine.info().name;
            tokio::spawn(pause_and_resume(name, machine, pause, shown.clone(), until))
        });
        let mut took: Vec<Duration> =
            futures::future::join_all(people).await.into_iter().flat_map(Result::unwrap).collect();
        let after = buckets(&m.operator.metrics().await.unwrap());
        took.sort();
        let mut bare = bare.await.unwrap();
        bare.sort();
        let counts = after.iter().zip(&before).map(|(a, b)| (a.0, a.1 - b.1)).collect();
        Self { took, counts, bare }
    }

    /// Changes the operator has counted.
    fn all(&self) -> f64 {
        self.counts.last().unwrap().1
    }

    /// Which share of the changes was in the API at most this long after the report, as the operator counts.
    pub fn within(&self, limit: Duration) -> f64 {
        let limit = limit.as_secs_f64();
        self.counts.iter().filter(|(bound, _)| *bound <= limit).map(|c| c.1).fold(0.0, f64::max) / self.all()
    }

    /// Upper bound of the bucket with this share of the changes, in milliseconds.
    fn bound(&self, share: f64) -> f64 {
        self.counts.iter().find(|c| c.1 >= share * self.all()).unwrap().0 * 1000.0
    }

    /// Prints the figures that any kind of printer has.
    pub fn print(&self, what: &str, goal: Duration) {
        let milliseconds = |d: Duration| format!("{} ms", d.as_millis());
        figure(&format!("{what}: changes at devices"), self.took.len(), "");
        let bare = |percent| milliseconds(percentile(&self.bare, percent));
        figure("a bare write at the API server meanwhile, p50", bare(50), "");
        figure("a bare write at the API server meanwhile, p99", bare(99), "");
        figure(&format!("{what}, p50"), format!("at most {} ms", self.bound(0.5)), "");
        let limit = milliseconds(goal);
        figure(&format!("{what}, p99"), format!("at most {} ms", self.bound(0.99)), &format!("under {limit}"));
        figure(&format!("{what} within {limit}"), format!("{:.1} %", self.within(goal) * 100.0), "99 %");
    }

    /// Holds the figures against each other: enough changes to speak of a hundredth, and the operator has counted each
    /// of them once.
    pub fn each_was_counted(&self) {
        #[allow(clippy::cast_precision_loss, reason = "a small count")]
        let changes = self.took.len() as f64;
        assert!(changes >= 100.0, "enough to speak of a hundredth: {changes}");
        let all = self.all();
        assert!((all - changes).abs() <= 1.0, "the metric counts each change once: {all} of {changes}");
    }
}

/// The state each printer shows in the API, and when that was heard of.
type Shown = HashMap<String, (Option<PrinterState>, Instant)>;

/// Follows the states printers show in the API.
fn follow(client: Client, namespace: &str) -> watch::Receiver<Shown> {
    let (told, shown) = watch::channel(Shown::new());
    let printers: Api<Printer> = Api::namespaced(client, namespace);
    tokio::spawn(async move {
        let mut events = watcher(printers, watcher::Config::default()).boxed();
        while let Some(event) = events.next().await {
            let (watcher::Event::Apply(p) | watcher::Event::InitApply(p)) = event.unwrap() else { continue };
            let (now, state) = (Instant::now(), p.status.as_ref().and_then(|s| s.state));
            told.send_if_modified(|shown| {
                let new = shown.get(&p.name_any()).is_none_or(|(old, _)| *old != state);
                if new {
                    shown.insert(p.name_any(), (state, now));
                }
                new
            });
        }
    });
    shown
}

/// Pauses and resumes a print at the screen until the time is up; gives how long the API needed each time.
async fn pause_and_resume(
    name: String,
    machine: PrinterHandle,
    most: Duration,
    mut shown: watch::Receiver<Shown>,
    until: Instant,
) -> Vec<Duration> {
    let mut took = Vec::new();
    for turn in 0_u64.. {
        let (offered_on, act, on_the_wire, state) = match turn % 2 {
            0 => ("printing", Action::Pause, ["PAUSED", "PAUSE"], PrinterState::Paused),
            _ => ("paused", Action::Resume, ["PRINTING", "RUNNING"], PrinterState::Printing),
        };
        // The wire says it before the machine has done it; a person can press only what the screen offers.
        let offers = |screen: &str| screen.split(' ').next() == Some(offered_on);
        assert!(machine.wait_for(SOON, |s| offers(&s.screen)).await, "{name} {offered_on}");
        let pause: f64 = rand::random_range(0.0..most.as_secs_f64());
        tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        if Instant::now() >= until {
            break;
        }
        machine.person(&act).unwrap();
        let says = |state: Option<&str>| state.is_some_and(|s| on_the_wire.contains(&s));
        assert!(machine.wait_for(SOON, |s| says(s.link_state.as_deref())).await, "{name} {on_the_wire:?}");
        let changed = Instant::now();
        let wanted = |s: &Shown| s.get(&name).is_some_and(|(is, _)| *is == Some(state));
        let arrived =
            tokio::time::timeout(SOON, shown.wait_for(wanted)).await.expect("the API shows it").unwrap()[&name].1;
        took.push(arrived.saturating_duration_since(changed));
    }
    took
}

/// The time that so many percent of them did not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
}

/// Writes a ConfigMap of the test's own again and again until the time is up; gives how long each write took. What the
/// API server alone needs at that moment on that machine, to tell its time from the operator's.
async fn bare_writes(client: Client, namespace: String, until: Instant) -> Vec<Duration> {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mut took = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    while Instant::now() < until {
        pace.tick().await;
        let began = Instant::now();
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "bare-write" }, "data": { "turn": took.len().to_string() },
        });
        maps.patch("bare-write", &PatchParams::apply("figures").force(), &Patch::Apply(map)).await.unwrap();
        took.push(began.elapsed());
    }
    took
}

/// Observations at most this long, by the upper bounds of a histogram's buckets; the last is all of them.
fn buckets(metrics: &str) -> Vec<(f64, f64)> {
    let prefix = format!("{METRIC}_bucket{{le=\"");
    let parse = |line: &str| {
        let (bound, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
        Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
    };
    metrics.lines().filter_map(parse).collect()
}
