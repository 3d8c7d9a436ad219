//! `cargo xtask e2e`: builds what the trial on a real node needs, the images among them, and becomes it.
//!
//! The trial itself is `printernizer-node` in e2e/, and so are its options.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Error;
use crate::first;
use crate::image;
use crate::install::Use;
use crate::launch;
use crate::workspace::Workspace;

/// The program that is the trial.
pub const NODE: &str = "printernizer-node";

/// Arguments of `e2e`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only install the chart and print the examples, without anything going wrong.
    #[arg(long)]
    short: bool,
    /// Only install the chart, print the examples, and let backups go through all that happens to them.
    #[arg(long, conflicts_with = "short")]
    backups: bool,
    /// With release builds, as they are published. Otherwise the programs are those of the tests.
    #[arg(long)]
    release: bool,
    /// Leave the logs of the node where they are.
    #[arg(long)]
    keep: bool,
}

/// Builds and runs. Returns only when something is missing.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let uses = [Use::Build, Use::Image, Use::Node];
    let images = Workspace::load()?.target_folder().join(if arguments.release { "image" } else { "image-debug" });
    // All at once: another selection has other features, and everything would be built twice.
    if let Some(failed) = launch::build(false, &uses, &["--workspace"])? {
        return Ok(failed);
    }
    let made = image::run(&image::Arguments::for_node(images.clone(), !arguments.release))?;
    if made != ExitCode::SUCCESS {
        return Ok(made);
    }
    if !arguments.short && !arguments.backups {
        let release = first::ensure()?;
        image::older_operator(&first::operator(&release), first::VERSION, &images)?;
    }
    let mut options: Vec<OsString> = vec!["--images".into(), images.into()];
    options.extend(arguments.short.then(|| "--short".into()));
    options.extend(arguments.backups.then(|| "--backups".into()));
    options.extend(arguments.keep.then(|| "--keep".into()));
    launch::start(NODE, options)
}
