//! `cargo xtask faults`: builds what the fault campaign needs and becomes it, or the spec mutations with `--mutations`.
//!
//! The campaign itself is `printernizer-faults` in e2e/, and so are its options.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Error;
use crate::install::Use;
use crate::launch::launch;

/// The program that is the campaign.
const FAULTS: &str = "printernizer-faults";

/// Arguments of `faults`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// What the program takes; --help lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<OsString>,
}

/// Builds and runs. Returns only when something is missing.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let existing = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    launch(FAULTS, existing, &[Use::Build, Use::Faults], arguments.options.iter().cloned())
}
