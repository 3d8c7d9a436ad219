//! `cargo xtask bench`: builds the release and becomes the benchmark of `operator/benches/farm`, which measures a whole
//! farm.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::error::Error;
use crate::install::{self, Use};
use crate::process::{describe, say, stream};
use crate::workspace::{CONTROL_PLANE, Workspace, cargo};

/// Arguments of `bench`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// What the benchmark takes; --help lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<OsString>,
}

/// Builds and measures. Returns only when something is missing.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    install::ensure(&[Use::Build, Use::ControlPlane])?;
    let workspace = Workspace::load()?;
    say("== control plane");
    let programs = ["build", "--locked", "--package", "printernizer-e2e", "--bin", CONTROL_PLANE];
    for command in [cargo().args(programs), Command::new(workspace.program(CONTROL_PLANE)).arg("build")] {
        if !stream(command)?.status.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    say("== benchmark, release build");
    let mut bench = cargo();
    bench.args(["bench", "--locked", "--package", "printernizer", "--bench", "farm", "--"]).args(&arguments.options);
    // Returns only if it could not be done.
    let cause = bench.exec();
    Err(Error::Start { program: describe(&bench), advice: "is cargo installed?".to_owned(), cause })
}
