//! Builds what one of the project's programs needs, with cargo's own progress in sight, and becomes that program: so
//! Ctrl-C, the terminal and the exit code are the program's own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::error::Error;
use crate::install::{self, Use};
use crate::process::{describe, say};
use crate::workspace::{CONTROL_PLANE, Workspace, cargo};

/// The operator, and the programs that use it, as cargo selects them.
const PROGRAMS: &[&str] = &["--package", "printernizer", "--package", "printernizer-e2e"];

/// Builds, and a control plane too unless there is a cluster, and becomes the program. Returns only when something is
/// missing.
pub fn launch(
    program: &str,
    existing_cluster: bool,
    uses: &[Use],
    options: impl IntoIterator<Item = OsString>,
) -> Result<ExitCode, Error> {
    match build(existing_cluster, uses, PROGRAMS)? {
        Some(failed) => Ok(failed),
        None => start(program, options),
    }
}

/// Builds the programs that are selected, and a control plane too unless there is a cluster; gives an exit code if that failed.
pub fn build(existing_cluster: bool, uses: &[Use], selection: &[&str]) -> Result<Option<ExitCode>, Error> {
    let mut uses = uses.to_vec();
    uses.extend((!existing_cluster).then_some(Use::ControlPlane));
    install::ensure(&uses)?;
    let workspace = Workspace::load()?;
    if let Some(failed) = show("programs", cargo().args(["build", "--locked", "--bins"]).args(selection))? {
        return Ok(Some(failed));
    }
    if existing_cluster {
        return Ok(None);
    }
    show("control plane", Command::new(workspace.program(CONTROL_PLANE)).arg("build"))
}

/// Becomes a program that was built. Returns only if that could not be done.
pub fn start(program: &str, options: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Error> {
    let mut program = Command::new(Workspace::load()?.program(program));
    program.args(options);
    let cause = program.exec();
    Err(Error::Start { program: describe(&program), advice: "was it built?".to_owned(), cause })
}

/// Runs a command in sight of the person; gives an exit code if it failed.
fn show(what: &str, command: &mut Command) -> Result<Option<ExitCode>, Error> {
    say(&format!("== {what}"));
    let status = command.status().map_err(|cause| Error::Start {
        program: describe(command),
        advice: "is it installed?".to_owned(),
        cause,
    })?;
    Ok((!status.success()).then_some(ExitCode::FAILURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_fails_ends_with_a_failure() {
        assert_eq!(show("a step", &mut Command::new("false")).unwrap(), Some(ExitCode::FAILURE));
        assert_eq!(show("a step", &mut Command::new("true")).unwrap(), None);
    }
}
