//! Simulated Bambu printers over real sockets, spoken to by a client of these tests alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic, its helpers too")]

mod clients;
mod files;
mod guard;
mod mqtt;
mod starts;
mod tls;

use std::time::Duration;

use printernizer_simulator::{
    BambuConfig, BambuTimings, Config, PrinterConfig, PrinterHandle, PrinterState, Simulator,
};

/// Nothing in these tests takes longer, also on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One printer whose own steps take no time; prints take their simulated time, which passes by `skip_time` only, as
/// good as: a real second is a simulated one.
async fn one_printer(bambu: BambuConfig) -> (Simulator, PrinterHandle) {
    let bambu = BambuConfig { timings: BambuTimings::instant(), report_milliseconds: 50, ..bambu };
    let printer = PrinterConfig { bambu, ..PrinterConfig::bambu("bambu-1") };
    let simulator = Simulator::start(Config { printers: vec![printer], ..Config::default() }).await.unwrap();
    let printer = simulator.printer("bambu-1").unwrap();
    (simulator, printer)
}

async fn a1() -> (Simulator, PrinterHandle) {
    one_printer(BambuConfig::default()).await
}

/// Waits until the machine itself, not the network, is as wanted.
async fn until(printer: &PrinterHandle, what: &str, condition: impl Fn(&PrinterState) -> bool) {
    assert!(printer.wait_for(PATIENCE, condition).await, "never {what}: {:?}", printer.state());
}

fn shows(printer: &PrinterHandle) -> String {
    printer.state().link_state.unwrap_or_default()
}
