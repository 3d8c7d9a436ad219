//! What connected Bambu Lab printers cost the operator: memory, processor time, and how soon a report stands in a status.
//! Each printer reports once a second by itself. Each figure is printed as it is measured; goals are asserted, in debug
//! builds softer ones, and none for time.
//!
//! With production timings, in real time. `PRINTERNIZER_FIGURES=long` makes the spans those of docs/performance.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use this")]

mod figures;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use figures::changes::{Changes, percentile};
use figures::{Measured, SOON, figure, span};
use printernizer_e2e::wait_until;
use printernizer_simulator::Config;

/// How many printers are connected when a figure is taken.
const SIZES: [u32; 3] = [10, 100, 500];
/// Goals for each printer: bytes of memory, and percent of a core.
const MEMORY_BYTES: f64 = 100_000.0;
const PROCESSOR_PERCENT: f64 = 0.05;
/// From the report to the status, at a hundred printers.
const REPORT_TO_STATUS: Duration = Duration::from_millis(50);

/// Each test has the machine to itself, as far as this binary goes.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What the operator's process holds and uses.
struct Cost {
    printers: u32,
    bytes: f64,
    percent: f64,
}

impl Cost {
    /// The operator's, while nothing happens but reports.
    async fn watch(m: &Measured, printers: u32, span: Duration) -> Self {
        nothing_is_written(m).await;
        let (began, cpu) = (Instant::now(), m.operator.cpu_time().unwrap());
        // The figures are those of a span, not of a condition.
        tokio::time::sleep(span).await;
        let cpu = m.operator.cpu_time().unwrap().saturating_sub(cpu);
        let percent = cpu.as_secs_f64() * 100.0 / began.elapsed().as_secs_f64();
        let connected = m.operator.metric("printernizer_sessions_connected").await.unwrap();
        assert!((connected - f64::from(printers)).abs() < 0.5, "{connected} of {printers}\n{}", m.operator.tail());
        let machines = m.machines();
        let clients = machines.iter().filter_map(|machine| machine.state().bambu).map(|b| b.clients).sum::<usize>();
        assert_eq!(clients, printers as usize, "each printer has one connection");
        #[allow(clippy::cast_precision_loss, reason = "figures are rounded")]
        let bytes = m.private_bytes() as f64;
        figure(&format!("{printers} printers: memory of the process"), format!("{:.1} MiB", bytes / 1_048_576.0), "");
        figure(&format!("{printers} printers: processor"), format!("{percent:.2} % of a core"), "");
        Self { printers, bytes, percent }
    }

    /// What each printer costs that came since: bytes and percent of a core.
    fn each_since(&self, before: &Self) -> (f64, f64) {
        let more = f64::from(self.printers - before.printers);
        ((self.bytes - before.bytes) / more, (self.percent - before.percent) / more)
    }
}

/// Waits until the operator has written no status for 5 s.
async fn nothing_is_written(m: &Measured) {
    let last = Mutex::new((m.status_writes().await, Instant::now()));
    wait_until("no status is written for 5 s", SOON * 2, async || {
        let now = m.status_writes().await;
        let mut last = last.lock().unwrap();
        if (now - last.0).abs() > 0.5 {
            *last = (now, Instant::now());
        }
        if last.1.elapsed() >= Duration::from_secs(5) { Ok(()) } else { Err("written a moment ago") }
    })
    .await
    .unwrap_or_else(|e| panic!("{e}\n{}", m.operator.tail()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connected_printer_costs_little_memory_and_processor_time() {
    let _alone = ALONE.lock().await;
    let most = SIZES[SIZES.len() - 1] as usize;
    let m = Measured::empty("bambu-cost", Config::bambu(most)).await;
    let infos = m.farm.simulator().printers();
    // The first one pays for what is there once: tables of the cryptography, threads, code that has run.
    m.add(&infos[..1], 1).await;
    let span = span(10, 60);
    let first = Cost::watch(&m, 1, span).await;
    let mut there = 1;
    let mut found = Vec::new();
    for size in SIZES {
        m.add(&infos[there..size as usize], size).await;
        there = size as usize;
        let cost = Cost::watch(&m, size, span).await;
        let (bytes, percent) = cost.each_since(&first);
        let kilobytes = format!("{:.1} KB", bytes / 1000.0);
        figure(&format!("{size} printers: memory of each"), kilobytes, "under 100 KB");
        figure(&format!("{size} printers: processor for each"), format!("{percent:.4} % of a core"), "under 0.05 %");
        found.push((size, bytes, percent));
    }
    // A debug build does the same with several times the instructions and larger futures.
    let softer = if cfg!(debug_assertions) { 3.0 } else { 1.0 };
    for (size, bytes, percent) in found {
        // With ten printers, what the process takes once as it gets busy weighs more than they do.
        assert!(bytes <= MEMORY_BYTES * softer || size < 100, "{size} printers: {bytes:.0} bytes each");
        assert!(percent <= PROCESSOR_PERCENT * softer, "{size} printers: {percent:.4} % of a core each");
    }
    m.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_a_new_state_soon_stands_in_the_status() {
    let _alone = ALONE.lock().await;
    let mut config = Config::bambu(100);
    for printer in &mut config.printers {
        printer.bambu.timings.preparing_milliseconds = 100;
        printer.bambu.timings.pausing_milliseconds = 100;
    }
    let m = Measured::start("bambu-changes", config).await;
    m.all_print_foreign_files().await;
    Cost::watch(&m, 100, span(10, 60)).await;
    let changes = Changes::watch(&m, Duration::from_secs(15), span(40, 300)).await;

    let milliseconds = |percent| format!("{} ms", percentile(&changes.took, percent).as_millis());
    figure("100 Bambu printers, change on the wire to watcher, p50", milliseconds(50), "");
    figure("100 Bambu printers, change on the wire to watcher, p99", milliseconds(99), "");
    changes.print("100 Bambu printers, report to status", REPORT_TO_STATUS);

    // That each change arrives at all was waited for; in a debug build that is what counts.
    changes.each_was_counted();
    let soon = changes.within(REPORT_TO_STATUS) >= 0.99 || cfg!(debug_assertions);
    assert!(soon, "report to status: {:?}\n{}", changes.counts, m.operator.tail());
    m.end().await;
}
