//! How fast a farm is, and what it costs: the operator as a process, a real API server with etcd, simulated Bambu Lab
//! printers on loopback, production timings, real time. Everything is measured in one run on one machine, so that its
//! ratios hold where its seconds do not.
//!
//! People call it by `cargo xtask bench`. A goal that is missed is printed as missed; the exit code tells only whether
//! everything could be measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what cannot be measured ends the run")]

mod assignments;
mod ceiling;
mod cost;
mod document;
#[path = "../../tests/figures/mod.rs"]
mod figures;
mod recovery;
mod reports;
mod results;

use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;

/// Measure how fast a farm is and what it costs.
#[derive(Parser)]
struct Arguments {
    /// Printers that become free at once, and that are known again after a leader was killed.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=2000))]
    printers: u32,
    /// Jobs that wait for them.
    #[arg(long, value_name = "J", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    jobs: u32,
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table into docs/performance.md, and the curves beside it.
    #[arg(long)]
    document: bool,
    /// Measure only this part: assignments, reports, cost or recovery.
    #[arg(long, value_name = "PART", conflicts_with = "document")]
    only: Option<Part>,
    /// Given by cargo to every benchmark; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The API server's ceiling, assignments, the next job of a free printer, writes of a print.
    Assignments,
    /// From a change at a printer to a watcher.
    Reports,
    /// Memory, processor time and writes of printers at rest.
    Cost,
    /// From a killed leader to a farm that is known again.
    Recovery,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    let mut results = results::Results::new(arguments.printers, arguments.jobs);
    if wanted(Part::Cost) {
        cost::measure(&mut results).await;
    }
    if wanted(Part::Reports) {
        reports::measure(&mut results).await;
    }
    if wanted(Part::Recovery) {
        recovery::measure(&mut results).await;
    }
    if wanted(Part::Assignments) {
        results.api_writes_per_second = Some(ceiling::of_small_jobs().await);
        assignments::measure(&mut results).await;
    }
    let _ = write!(std::io::stdout(), "\n{}", results.table());
    if let Some(file) = &arguments.json {
        std::fs::write(file, results.json()).expect("the JSON file can be written");
    }
    if arguments.document {
        document::write(&results);
    }
}
