//! `printernizer-demo`: the demo once everything is built. People call it through `cargo xtask demo`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use printernizer_e2e::demo::{Options, run};

/// A farm of simulated printers prints the examples, before your eyes.
#[derive(Parser)]
struct Arguments {
    /// End when every job has ended; the exit code says whether all went well.
    #[arg(long)]
    once: bool,
    /// Use the existing cluster of this kubeconfig context. So does the variable KUBECONFIG, with its current context.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Number of simulated printers; the examples need six.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(6..=64))]
    printers: u8,
    /// Seconds that pass on the printers in one second. The operator's own time is not changed.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=600))]
    time_scale: u16,
    /// Clear the beds yourself; without it the demo plays the person who does.
    #[arg(long, conflicts_with = "once")]
    no_person: bool,
    /// Write a picture of the table to this SVG file.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// With --once: how many seconds the jobs may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit_seconds: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let here = std::env::current_exe().unwrap_or_default();
    let options = Options {
        once: arguments.once,
        context: arguments.context,
        printers: usize::from(arguments.printers),
        time_scale: f64::from(arguments.time_scale),
        person: !arguments.no_person,
        picture: arguments.picture,
        operator: here.with_file_name("printernizer"),
        limit: Duration::from_secs(u64::from(arguments.limit_seconds)),
    };
    match run(options).await {
        Ok(code) => code,
        Err(error) => {
            let text = printernizer_e2e::failure(&error);
            // A screen that is gone cannot be told about it.
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}
