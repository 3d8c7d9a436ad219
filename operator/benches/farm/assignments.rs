//! How fast waiting jobs are given to printers that become free: all at once, and one after the other.
//!
//! Printers become free at once when their start windows open, which costs nobody a write at that moment.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{Timestamp, ToSpan as _, Unit};
use kube::ResourceExt as _;
use kube::runtime::watcher;
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{ConditionType, Conditions as _, PrintJob, Printer, Reason};
use printernizer_e2e::farm::{Farm, Requests, waiting_bed};
use printernizer_e2e::wait_until;
use printernizer_simulator::{Config, SlicedFile};
use serde_json::json;
use tokio::sync::watch;

use crate::ceiling;
use crate::figures::{Measured, OURS, WRITES, figure};
use crate::results::{Burst, Milliseconds, Results};

/// For whatever takes its time with thousands of objects.
const LONG: Duration = Duration::from_secs(900);
/// How long a print takes, in seconds: longer than all that is measured.
const PRINT: u64 = 6 * 3600;
/// Beds that are cleared one after the other, and the pause between two.
const CLEARED: usize = 200;
const PAUSE: Duration = Duration::from_millis(250);
/// How long prints are looked at that run.
const PRINTING_SPAN: Duration = Duration::from_secs(120);

/// Who got which printer when: the printer's name, and when the watcher heard of it.
type Assigned = HashMap<String, (String, Instant)>;

/// What a watcher of the jobs knows.
#[derive(Default)]
struct Seen {
    queued: u32,
    assigned: Assigned,
}

/// Accepts all jobs, lets printers become free at once in three groups, and then one by one.
pub async fn measure(results: &mut Results) {
    let all = results.printers;
    let groups = [all.div_ceil(10), (all * 3).div_ceil(10), all];
    let total: u32 = groups.iter().sum();
    let m = Measured::empty("bench-jobs", Config::bambu(total as usize)).await;
    let infos = m.farm.simulator().printers();
    m.add(&infos, total).await;
    let names: Vec<String> = infos.into_iter().map(|info| info.name).collect();
    close(&m.farm, &names).await;
    clear_beds(&m.farm).await;
    let clear = |p: &Printer| p.status.as_ref().is_some_and(|s| s.conditions.is_true(ConditionType::BedCleared));
    m.all_printers("have clear beds", clear).await;

    let seen = follow(&m.farm);
    accept(&m, results, seen.clone()).await;
    let mut first = 0;
    for size in groups {
        let group = &names[first..first + size as usize];
        first += size as usize;
        let burst = open(&m, group, seen.clone()).await;
        let what = format!("{size} printers free at once");
        figure(&format!("{what}: assignments a second"), format!("{:.0}", burst.assignments_per_second), "");
        figure(&format!("{what}: writes for each"), format!("{:.2}", burst.writes_per_assignment), "");
        results.bursts.push(burst);
        // The next burst begins when what this one has started runs.
        prints(&m, group).await;
    }
    results.writes_per_hour_printing = Some(writes_of_printing(&m, total).await);
    results.free_to_assigned = Some(next_jobs(&m, seen).await);
    passes(&m).await;
    let (farm, namespace) = m.end_operator().await;
    results.own_writes_per_second = Some(ceiling::of_printed_jobs(&farm.jobs()).await);
    namespace.delete().await.unwrap();
}

/// Creates the jobs and waits until all of them wait for a printer.
async fn accept(m: &Measured, results: &mut Results, mut seen: watch::Receiver<Seen>) {
    let part = SlicedFile::lasting(PRINT).plate(&[(1, "PLA")]).build();
    m.farm.add_file("part", part).await.unwrap();
    let began = Instant::now();
    futures::stream::iter(0..results.jobs)
        .map(|n| {
            let farm = &m.farm;
            async move { farm.print(&format!("job-{n:05}"), "part", json!({})).await }
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
    let created = began.elapsed();
    let queued = comes(&mut seen, |s| s.queued >= results.jobs).await;
    assert!(queued, "{} of {} wait\n{}", seen.borrow().queued, results.jobs, m.operator.tail());
    let took = began.elapsed().as_secs_f64();
    figure(&format!("creating {} jobs", results.jobs), format!("{:.1} s", created.as_secs_f64()), "");
    figure(&format!("{} jobs created and queued", results.jobs), format!("{took:.1} s"), "");
    results.accepted_per_second = Some(f64::from(results.jobs) / took);
}

/// Sets a start window on these printers that opens in more than a minute, at the full minute. Gives the moment.
async fn window(farm: &Farm, printers: &[String]) -> Timestamp {
    let utc = Timestamp::now().in_tz("UTC").unwrap();
    let opens = utc.checked_add(90.seconds()).unwrap().round(Unit::Minute).unwrap();
    let closes = opens.checked_sub(5.minutes()).unwrap();
    let time = |t: &jiff::Zoned| t.strftime("%H:%M").to_string();
    let windows = json!({ "startWindows": [{ "timeZone": "UTC", "from": time(&opens), "to": time(&closes) }] });
    change(farm, printers, &windows).await;
    opens.timestamp()
}

/// Closes these printers to starts for hours.
async fn close(farm: &Farm, printers: &[String]) {
    let later = Timestamp::now().in_tz("UTC").unwrap().checked_add(12.hours()).unwrap();
    let time = |t: &jiff::Zoned| t.strftime("%H:%M").to_string();
    let end = later.checked_add(5.minutes()).unwrap();
    let windows = json!({ "startWindows": [{ "timeZone": "UTC", "from": time(&later), "to": time(&end) }] });
    change(farm, printers, &windows).await;
}

async fn change(farm: &Farm, printers: &[String], spec: &serde_json::Value) {
    futures::stream::iter(printers)
        .map(|name| farm.change_printer(name, spec.clone()))
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
}

/// Clears every bed that waits for it, several at a time.
async fn clear_beds(farm: &Farm) {
    let printers = farm.printers().list(&kube::api::ListParams::default()).await.unwrap();
    let cleared = futures::stream::iter(&printers.items).map(|p| farm.clear_bed(p)).buffer_unordered(16);
    cleared.try_for_each(|()| async { Ok(()) }).await.unwrap();
}

/// Lets these printers become free at one moment; what was assigned to them then.
async fn open(m: &Measured, printers: &[String], mut seen: watch::Receiver<Seen>) -> Burst {
    let opens = window(&m.farm, printers).await;
    m.settled().await;
    let left = opens.duration_since(Timestamp::now());
    assert!(left.is_positive(), "the farm has come to rest before the windows open");
    let (client, before) = (m.farm.client(), seen.borrow().assigned.len());
    let requests = Requests::read(&client).await.unwrap();
    // A moment of the clock is waited for, not a condition.
    tokio::time::sleep(opens.duration_since(Timestamp::now()).try_into().unwrap_or_default()).await;
    let began = Instant::now();
    let wanted = before + printers.len();
    let assigned = comes(&mut seen, |s| s.assigned.len() >= wanted).await;
    let requests = Requests::read(&client).await.unwrap().since(&requests);
    assert!(assigned, "{} of {wanted}\n{}", seen.borrow().assigned.len(), m.operator.tail());
    let last = seen.borrow().assigned.values().map(|(_, at)| *at).max().unwrap();
    let took = last.saturating_duration_since(began).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "figures are rounded")]
    let (number, writes, reads) =
        (printers.len() as f64, requests.of(WRITES, OURS) as f64, requests.of(&["GET"], OURS) as f64);
    figure(&format!("{} printers free at once: reads for each", printers.len()), format!("{:.1}", reads / number), "");
    Burst {
        printers: u32::try_from(printers.len()).unwrap(),
        assignments_per_second: number / took,
        writes_per_assignment: writes / number,
    }
}

/// Waits until these printers print.
async fn prints(m: &Measured, printers: &[String]) {
    let what = format!("{} printers print", printers.len());
    wait_until(&what, LONG, async || {
        let list = m.farm.printers().list(&kube::api::ListParams::default()).await.map_err(|e| e.to_string())?;
        let printing = |p: &&Printer| p.status.as_ref().is_some_and(|s| s.state == Some(PrinterState::Printing));
        let now = list.items.iter().filter(printing).filter(|p| printers.contains(&p.name_any())).count();
        if now == printers.len() { Ok(()) } else { Err(format!("{now} do")) }
    })
    .await
    .unwrap_or_else(|e| panic!("{e}\n{}", m.operator.tail()));
}

/// Writes an hour for each printer while all of them print.
async fn writes_of_printing(m: &Measured, printers: u32) -> f64 {
    let client = m.farm.client();
    let requests = Requests::read(&client).await.unwrap();
    // The figure is that of a span, not of a condition.
    tokio::time::sleep(PRINTING_SPAN).await;
    let writes = Requests::read(&client).await.unwrap().since(&requests).of(WRITES, OURS);
    #[allow(clippy::cast_precision_loss, reason = "figures are rounded")]
    let an_hour = writes as f64 * 3600.0 / PRINTING_SPAN.as_secs_f64() / f64::from(printers);
    figure("writes an hour for each printing printer", format!("{an_hour:.1}"), "");
    an_hour
}

/// Lets all prints end, and clears the beds one after the other: how soon each printer has its next job.
async fn next_jobs(m: &Measured, mut seen: watch::Receiver<Seen>) -> Milliseconds {
    m.farm.simulator().skip_time(Duration::from_secs(PRINT * 2));
    m.all_printers("wait for their beds", |p| waiting_bed(p).is_some()).await;
    m.settled().await;
    let waiting = m.farm.printers().list(&kube::api::ListParams::default()).await.unwrap().items;
    let mut took = Vec::new();
    for printer in waiting.iter().take(CLEARED) {
        let name = printer.name_any();
        let before: usize = seen.borrow().assigned.values().filter(|(p, _)| *p == name).count();
        let began = Instant::now();
        m.farm.clear_bed(printer).await.unwrap();
        let next = |s: &Seen| s.assigned.values().filter(|(p, _)| *p == name).count() > before;
        assert!(comes(&mut seen, next).await, "{name} has no job\n{}", m.operator.tail());
        let last = seen.borrow().assigned.values().filter(|(p, _)| *p == name).map(|(_, at)| *at).max().unwrap();
        took.push(last.saturating_duration_since(began));
        // A farm's beds are not cleared in one breath.
        tokio::time::sleep(PAUSE).await;
    }
    let result = Milliseconds::of(took);
    figure("from a cleared bed to the next assignment, p50", format!("{:.0} ms", result.p50), "");
    figure("from a cleared bed to the next assignment, p99", format!("{:.0} ms", result.p99), "under 500 ms");
    result
}

/// Waits until the watcher has seen this; false if it does not come.
async fn comes(seen: &mut watch::Receiver<Seen>, wanted: impl FnMut(&Seen) -> bool) -> bool {
    tokio::time::timeout(LONG, seen.wait_for(wanted)).await.is_ok_and(|heard| heard.is_ok())
}

/// How long the passes of the controllers took.
async fn passes(m: &Measured) {
    let text = m.operator.metrics().await.unwrap();
    for controller in ["print_job", "printer", "scheduling"] {
        let value = |part: &str| -> f64 {
            let name = format!("printernizer_reconcile_duration_seconds_{part}{{controller=\"{controller}\"}} ");
            text.lines().find_map(|l| l.strip_prefix(&name)).and_then(|v| v.parse().ok()).unwrap_or_default()
        };
        let (count, sum) = (value("count"), value("sum"));
        figure(&format!("passes of {controller}"), format!("{count}, {:.1} ms each", sum * 1000.0 / count), "");
    }
}

/// Follows which jobs wait, and which were given to a printer.
fn follow(farm: &Farm) -> watch::Receiver<Seen> {
    let (told, seen) = watch::channel(Seen::default());
    let jobs = farm.jobs();
    tokio::spawn(async move {
        let mut waiting = std::collections::HashSet::new();
        let mut events = watcher(jobs, watcher::Config::default()).boxed();
        while let Some(event) = events.next().await {
            let (watcher::Event::Apply(job) | watcher::Event::InitApply(job)) = event.unwrap() else { continue };
            let now = Instant::now();
            let name = job.name_any();
            if queued(&job) && waiting.insert(name.clone()) {
                told.send_modify(|seen| seen.queued += 1);
            }
            let printer = job.status.and_then(|s| s.printer).map(|p| p.name);
            if let Some(printer) = printer {
                told.send_if_modified(|seen| seen.assigned.insert(name, (printer, now)).is_none());
            }
        }
    });
    seen
}

fn queued(job: &PrintJob) -> bool {
    job.status.as_ref().is_some_and(|s| s.conditions.has_reason(ConditionType::Scheduled, Reason::Queued))
}
