//! What printers at rest cost: memory, processor time, and writes at the API server.

use std::time::{Duration, Instant};

use printernizer_e2e::farm::Requests;
use printernizer_simulator::Config;

use crate::figures::{Measured, OURS, WRITES, figure};
use crate::results::{Cost, Results};

const SPAN: Duration = Duration::from_secs(60);

/// Adds printers in steps, each of which reports once a second, and looks at the operator after each step.
pub async fn measure(results: &mut Results) {
    let sizes = [10, results.printers.div_ceil(5).max(10), results.printers];
    let m = Measured::empty("bench-cost", Config::bambu(results.printers as usize)).await;
    let infos = m.farm.simulator().printers();
    // The first one pays for what is there once.
    m.add(&infos[..1], 1).await;
    let first = look(&m).await;
    let mut there = 1;
    for size in sizes {
        if size <= there {
            continue;
        }
        m.add(&infos[there as usize..size as usize], size).await;
        there = size;
        let now = look(&m).await;
        let more = f64::from(size - 1);
        let cost = Cost { printers: size, rss_bytes: (now.0 - first.0) / more, cpu_percent: (now.1 - first.1) / more };
        figure(
            &format!("{size} printers: memory of each"),
            format!("{:.1} KB", cost.rss_bytes / 1000.0),
            "under 100 KB",
        );
        let percent = format!("{:.4} % of a core", cost.cpu_percent);
        figure(&format!("{size} printers: processor for each"), percent, "under 0.05 %");
        results.costs.push(cost);
        results.writes_per_hour_idle = Some(now.2 * 3600.0 / SPAN.as_secs_f64() / f64::from(size));
    }
    m.end().await;
}

/// Memory, percent of a core, and writes of a minute in which nothing happens but reports.
async fn look(m: &Measured) -> (f64, f64, f64) {
    m.settled().await;
    let client = m.farm.client();
    let (began, cpu) = (Instant::now(), m.operator.cpu_time().unwrap());
    let requests = Requests::read(&client).await.unwrap();
    // The figures are those of a span, not of a condition.
    tokio::time::sleep(SPAN).await;
    let cpu = m.operator.cpu_time().unwrap().saturating_sub(cpu);
    let percent = cpu.as_secs_f64() * 100.0 / began.elapsed().as_secs_f64();
    let writes = Requests::read(&client).await.unwrap().since(&requests).of(WRITES, OURS);
    #[allow(clippy::cast_precision_loss, reason = "figures are rounded")]
    let (bytes, writes) = (m.private_bytes() as f64, writes as f64);
    (bytes, percent, writes)
}
