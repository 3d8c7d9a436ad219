//! What a farm costs: writes and reads at the API server, requests to the devices, memory, processor time, and how soon
//! a change at a device stands in a status. Each figure is printed as it is measured; hard rules are asserted.
//!
//! With production timings, in real time. The spans are short; `PRINTERNIZER_FIGURES=long` makes them long enough for
//! docs/performance.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use this")]

mod figures;

use std::time::{Duration, Instant};

use figures::changes::{Changes, percentile};
use figures::{Measured, SOON, figure, long, span};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::runtime::watcher;
use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{ConditionType, Conditions as _, PrintJob, Reason};
use printernizer_e2e::farm::{Requests, project};
use printernizer_e2e::wait_until;
use printernizer_simulator::Config;
use serde_json::json;
use tokio::sync::RwLock;

/// Production's, see rules::timing.
const POLL_PERIOD: Duration = Duration::from_secs(2);
const PROGRESS_PERIOD: Duration = Duration::from_secs(60);

/// Whoever measures the cost of a whole farm is alone; small farms may be measured side by side.
static ALONE: RwLock<()> = RwLock::const_new(());

fn queued(job: &PrintJob) -> bool {
    job.status.as_ref().is_some_and(|s| s.conditions.has_reason(ConditionType::Scheduled, Reason::Queued))
}

/// The example part, with this estimate of its slicer.
fn part(estimate: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(project().join("examples/files/cable-clip.gcode")).unwrap();
    let line = text.lines().find(|l| l.starts_with("; estimated printing time (normal mode) = ")).unwrap();
    text.replace(line, &format!("; estimated printing time (normal mode) = {estimate}")).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_at_rest_writes_nothing_but_its_lease() {
    let _alone = ALONE.write().await;
    let jobs = if long() { 1000 } else { 300 };
    let m = Measured::start("rest", Config::prusalink(100)).await;
    m.watch_rest("100 idle printers", span(30, 300)).await;

    m.farm.add_file("clip", part("2h 0m 0s")).await.unwrap();
    let (before, began) = (m.status_writes().await, Instant::now());
    futures::stream::iter(0..jobs)
        .map(|n| {
            let farm = &m.farm;
            async move { farm.print(&format!("job-{n:04}"), "clip", json!({})).await }
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
    figure(&format!("creating {jobs} jobs"), format!("{:.1} s", began.elapsed().as_secs_f64()), "");
    let list = m.farm.jobs();
    wait_until("all jobs wait for a printer", SOON * 3, async || {
        let all = list.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let others = all.iter().filter(|j| !queued(j)).count();
        if others == 0 { Ok(()) } else { Err(format!("{others} do not yet")) }
    })
    .await
    .unwrap_or_else(|e| panic!("{e}\n{}", m.operator.tail()));
    figure(&format!("{jobs} jobs created and queued"), format!("{:.1} s", began.elapsed().as_secs_f64()), "");
    let a_job = (m.status_writes().await - before) / f64::from(jobs);
    figure("status writes until a job is queued", format!("{a_job:.2} a job"), "");
    for controller in ["print_job", "scheduling"] {
        let name =
            |part: &str| format!("printernizer_reconcile_duration_seconds_{part}{{controller=\"{controller}\"}} ");
        let text = m.operator.metrics().await.unwrap();
        let value =
            |part: &str| -> f64 { text.lines().find_map(|l| l.strip_prefix(&name(part))).unwrap().parse().unwrap() };
        let (count, sum) = (value("count"), value("sum"));
        figure(&format!("passes of {controller}"), format!("{count}, {:.1} ms each", sum * 1000.0 / count), "");
    }
    m.watch_rest(&format!("100 idle printers, {jobs} jobs that wait"), span(20, 300)).await;

    // One bed becomes free: one job goes there, and the others have nothing to write about it.
    let before = m.settled().await;
    let (writes, requests) = (m.status_writes().await, Requests::read(&m.farm.client()).await.unwrap());
    let printer = m.farm.printers().get("prusa-1").await.unwrap();
    let id = printer.status.unwrap().bed.unwrap().occupancy_id.unwrap();
    m.farm.change_printer("prusa-1", json!({ "bed": { "clearedFor": id } })).await.unwrap();
    let began = Instant::now();
    let what = "prints a job";
    m.farm
        .printer("prusa-1", what, SOON, |p| p.status.as_ref().is_some_and(|s| s.state == Some(PrinterState::Printing)))
        .await
        .unwrap_or_else(|e| panic!("{e}\n{}", m.operator.tail()));
    let took = began.elapsed().as_secs_f64();
    figure(&format!("from a cleared bed to a running print, {jobs} jobs wait"), format!("{took:.1} s"), "");
    let after = m.settled().await;
    let requests = Requests::read(&m.farm.client()).await.unwrap().since(&requests);
    let others = after.iter().filter(|(k, v)| k.starts_with("job/") && before.get(*k) != Some(*v)).count();
    figure("status writes of one start, all objects", m.status_writes().await - writes, "");
    figure(&format!("API reads of jobs during one start, {jobs} jobs wait"), requests.of(&["GET"], &["printjobs"]), "");
    figure(&format!("jobs written when one of {jobs} starts"), others, "1");
    assert_eq!(others, 1, "{}", m.operator.tail());
    m.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_print_is_written_at_most_once_a_minute_beside_changes_of_state() {
    let _beside = ALONE.read().await;
    let m = Measured::start("running", Config::prusalink(1)).await;
    // A percent every six seconds: far more news than may be written.
    m.farm.add_file("clip", part("10m 0s")).await.unwrap();
    m.farm.clear_beds().await.unwrap();
    m.farm.print("clip-1", "clip", json!({})).await.unwrap();
    let printing = |j: &PrintJob| j.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Printing));
    m.farm.job("clip-1", "prints", SOON, printing).await.unwrap_or_else(|e| panic!("{e}\n{}", m.operator.tail()));

    let span = span(75, 300);
    let end = tokio::time::Instant::now() + span;
    let config = watcher::Config::default().fields("metadata.name=clip-1");
    let mut versions = watcher(m.farm.jobs(), config).boxed();
    let (mut seen, mut writes, mut changes) = (None, 0_u64, 0_u64);
    while let Ok(Some(event)) = tokio::time::timeout_at(end, versions.next()).await {
        let (watcher::Event::Apply(job) | watcher::Event::InitApply(job)) = event.unwrap() else { continue };
        let status = job.status.clone().unwrap();
        let state: Vec<_> =
            status.conditions.iter().map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone())).collect();
        let new = (job.resource_version(), (status.phase, state));
        if let Some((version, state)) = seen.replace(new.clone()) {
            writes += u64::from(version != new.0);
            changes += u64::from(state != new.1);
        }
    }
    let percent = m.machines()[0].state().progress_percent.unwrap();
    figure("running print: percent done meanwhile", percent, "");
    let name = format!("running print: writes of the job in {} s, {changes} changes of state", span.as_secs());
    let allowed = span.as_secs() / PROGRESS_PERIOD.as_secs() + 1;
    figure(&name, writes, &format!("at most {}", allowed + changes));
    assert!(percent >= 5, "it has printed on: {percent} %");
    assert!(writes >= 1, "progress is written");
    assert!(writes <= allowed + changes, "{}", m.operator.tail());
    m.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_a_device_soon_stands_in_its_status() {
    let _beside = ALONE.read().await;
    let mut config = Config::prusalink(20);
    config.machine.pausing_milliseconds = 100;
    config.machine.resuming_milliseconds = 100;
    let m = Measured::start("changes", config).await;
    m.all_print_foreign_files().await;
    // Anywhere between two polls, or each change would come right after one.
    let changes = Changes::watch(&m, POLL_PERIOD, span(40, 300)).await;

    let milliseconds = |d: Duration| format!("{} ms", d.as_millis());
    let (p50, p99) = (percentile(&changes.took, 50), percentile(&changes.took, 99));
    figure("device to watcher, waiting for the poll included, p50", milliseconds(p50), "");
    figure("device to watcher, waiting for the poll included, p99", milliseconds(p99), "under 2100 ms");
    figure(
        "device to watcher, beyond the poll period, p99",
        milliseconds(p99.saturating_sub(POLL_PERIOD)),
        "under 100 ms",
    );
    changes.print("report to status", Duration::from_millis(100));

    let limit = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 100 });
    changes.each_was_counted();
    assert!(changes.within(limit) >= 0.99, "report to status: {:?}", changes.counts);
    assert!(p99 <= POLL_PERIOD + limit * 2, "device to watcher: {p99:?}\n{}", m.operator.tail());
    m.end().await;
}
