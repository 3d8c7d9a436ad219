//! `printernizer-node`: the trial of the chart on a real node once everything is built. People call it through
//! `cargo xtask e2e`. Started by a person it prepares what is needed, then starts itself in namespaces of its own.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use printernizer_e2e::node::{Cell, Course, Images, NodeError, Programs, end_with_stdin, first_release, trial};
use tokio::signal::unix::{SignalKind, signal};

/// Installs the chart on a real node, and lets a farm print through everything that happens to an operator.
#[derive(Parser)]
struct Arguments {
    /// Folder with the images of `cargo xtask image`.
    #[arg(long, value_name = "FOLDER", default_value = "target/image")]
    images: PathBuf,
    /// Only install the chart and print the examples.
    #[arg(long)]
    short: bool,
    /// Only install the chart, print the examples, and let backups go through all that happens to them.
    #[arg(long, conflicts_with = "short")]
    backups: bool,
    /// Leave the logs of the node where they are.
    #[arg(long)]
    keep: bool,
    /// Only build the programs of the node into the cache.
    #[arg(long)]
    only_build: bool,
    /// Only say whether the trial could begin at once: everything is built, and this machine lets it. The exit code says so too.
    #[arg(long)]
    only_ask: bool,
    /// Folder of the node: this process runs in its namespaces.
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

impl Arguments {
    fn course(&self) -> Course {
        match (self.short, self.backups) {
            (true, _) => Course::Short,
            (_, true) => Course::Backups,
            _ => Course::Whole,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let begun = Instant::now();
    let outcome = match &arguments.inside {
        Some(folder) => inside(&arguments, folder).await,
        None => outside(&arguments, begun).await,
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let text = printernizer_e2e::failure(&error);
            tell(&text);
            ExitCode::FAILURE
        }
    }
}

/// Prepares the node's place, starts this program in it, and removes the place.
async fn outside(arguments: &Arguments, begun: Instant) -> Result<ExitCode, NodeError> {
    if arguments.only_ask {
        return could_begin();
    }
    Programs::ensure(&mut tell)?;
    if arguments.only_build {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.course().has_older() {
        first_release()?;
    }
    let cell = Cell::take()?;
    let myself = std::env::current_exe().map_err(|source| NodeError::Run { program: "this".to_owned(), source })?;
    let mut options: Vec<OsString> = vec!["--images".into(), arguments.images.clone().into()];
    options.extend(["--inside".into(), OsString::from(cell.folder())]);
    options.extend(arguments.short.then(|| "--short".into()));
    options.extend(arguments.backups.then(|| "--backups".into()));
    let unusable = |source| NodeError::Run { program: "a handler of signals".to_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unusable)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unusable)?;
    let mut inmate = cell.start(&myself, &options)?;
    let ended = tokio::select! {
        status = inmate.ended() => Some(status?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let went_well = ended.is_some_and(|status| status.success());
    if ended.is_none() {
        tell("interrupted: the node ends");
    }
    inmate.end().await?;
    if arguments.keep {
        tell(&format!("the logs are in {}", cell.folder().display()));
    } else {
        cell.sweep()?;
    }
    tell(&format!("{} after {:.0} s", if went_well { "passed" } else { "FAILED" }, begun.elapsed().as_secs_f64()));
    Ok(if went_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the trial could begin at once; says why not.
fn could_begin() -> Result<ExitCode, NodeError> {
    Cell::possible()?;
    let missing = Programs::missing()?;
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tell(&format!("not built yet, which takes minutes: {}", missing.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// Runs the trial in namespaces of its own.
async fn inside(arguments: &Arguments, folder: &std::path::Path) -> Result<ExitCode, NodeError> {
    end_with_stdin();
    let programs = Programs::ensure(&mut tell)?;
    let images = Images { folder: arguments.images.clone(), version: env!("CARGO_PKG_VERSION").to_owned() };
    trial(folder, programs, &images, arguments.course(), &tell_in_order).await?;
    Ok(ExitCode::SUCCESS)
}

fn tell_in_order(line: &str) {
    // A terminal that is gone must not end the trial.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
