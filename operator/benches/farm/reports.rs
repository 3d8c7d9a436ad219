//! How soon a change at a printer is seen by a watcher of the API, amid a report a second from each printer.

use std::time::Duration;

use printernizer_simulator::Config;

use crate::figures::Measured;
use crate::figures::changes::Changes;
use crate::results::{Milliseconds, Results};

const SIZES: [u32; 3] = [10, 100, 1000];
/// Changes a second over the whole farm, at whichever size: more printers are more reports, not more changes.
const CHANGES_PER_SECOND: f64 = 10.0;
const SPAN: Duration = Duration::from_secs(60);

/// Pauses and resumes prints at the screens.
pub async fn measure(results: &mut Results) {
    for size in SIZES {
        let mut config = Config::bambu(size as usize);
        for printer in &mut config.printers {
            printer.bambu.timings.preparing_milliseconds = 100;
            printer.bambu.timings.pausing_milliseconds = 100;
        }
        let m = Measured::empty("bench-reports", config).await;
        m.add(&m.farm.simulator().printers(), size).await;
        m.all_print_foreign_files().await;
        m.settled().await;
        // Between two changes at one machine lies half of this on average.
        let most = Duration::from_secs_f64(2.0 * f64::from(size) / CHANGES_PER_SECOND);
        let changes = Changes::watch(&m, most, SPAN.max(most)).await;
        changes.print(&format!("{size} printers, report to status"), Duration::from_millis(50));
        results.reports.push((size, Milliseconds::of(changes.took)));
        m.end().await;
    }
}
