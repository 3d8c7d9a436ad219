//! `cargo xtask demo`: builds what the demo needs, with cargo's own progress in sight, and becomes the demo.
//!
//! The demo itself is `printernizer-demo` in e2e/. This program is replaced by it, so that Ctrl-C, the terminal and the
//! exit code are the demo's own.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::Error;
use crate::install::Use;
use crate::launch::launch;
use crate::process::say;

/// The program that is the demo.
const DEMO: &str = "printernizer-demo";

/// Arguments of `demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// End when every job has ended; the exit code says whether all went well.
    #[arg(long)]
    once: bool,
    /// Use the existing cluster of this kubeconfig context. So does the variable KUBECONFIG, with its current context.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Number of simulated printers, 6 to 64.
    #[arg(long, value_name = "N")]
    printers: Option<u8>,
    /// Seconds that pass on the printers in one second, 1 to 600. Default: 60, an hour's print in a minute.
    #[arg(long, value_name = "N")]
    time_scale: Option<u16>,
    /// Clear the beds yourself; without it the demo plays the person who does.
    #[arg(long, conflicts_with = "once")]
    no_person: bool,
    /// Write a picture of the table to this SVG file.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Builds and shows. Returns only when something is missing.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let kubeconfig = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    let existing = arguments.context.is_some() || kubeconfig.is_some();
    if existing {
        say("The demo uses an existing cluster: it applies the definitions there, and makes a namespace of its own.");
    }
    launch(DEMO, existing, &[Use::Build], options(arguments))
}

fn options(arguments: &Arguments) -> Vec<std::ffi::OsString> {
    let mut options = Vec::new();
    if arguments.once {
        options.push("--once".into());
    }
    if arguments.no_person {
        options.push("--no-person".into());
    }
    let mut option = |name: &str, value: Option<std::ffi::OsString>| {
        if let Some(value) = value {
            options.extend([name.into(), value]);
        }
    };
    option("--context", arguments.context.as_ref().map(Into::into));
    option("--printers", arguments.printers.map(|n| n.to_string().into()));
    option("--time-scale", arguments.time_scale.map(|n| n.to_string().into()));
    option("--picture", arguments.picture.as_ref().map(Into::into));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_asks_for_reaches_the_demo() {
        let arguments = Arguments {
            once: true,
            context: Some("kind".into()),
            printers: Some(8),
            time_scale: None,
            no_person: true,
            picture: Some("a b.svg".into()),
        };
        assert_eq!(
            options(&arguments),
            ["--once", "--no-person", "--context", "kind", "--printers", "8", "--picture", "a b.svg"]
        );
    }
}
