//! Where the workspace is and which test targets it has, as cargo itself tells it.
//!
//! The kind of a test follows from its name alone: `tests/chart_*.rs` runs helm and its like, `tests/api_*.rs` needs an
//! API server, `tests/process_*.rs` starts the project's programs, all else are unit tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::Error;

/// The program that builds the control plane into its cache, where it is missing.
pub const CONTROL_PLANE: &str = "printernizer-cluster";

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A cargo command in the workspace: the same cargo that runs this program.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // `cargo run` tells this program about its own package. Some build scripts (ring's) are run again when that changes,
    // so it is not passed on: a build started here and one started by hand then share their results.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(tells_of_a_package) {
            command.env_remove(name);
        }
    }
    command
}

fn tells_of_a_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || variable.starts_with("CARGO_MANIFEST_")
        || ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&variable)
}

/// What kind of test a target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything in one process.
    Unit,
    /// With programs that render and check manifests.
    Chart,
    /// Against a real API server.
    Api,
    /// Against running programs of the project.
    Process,
}

impl Kind {
    /// The kind of an integration test, from the name of its file.
    pub fn of(target: &str) -> Self {
        if target.starts_with("chart_") {
            Self::Chart
        } else if target.starts_with("api_") {
            Self::Api
        } else if target.starts_with("process_") {
            Self::Process
        } else {
            Self::Unit
        }
    }
}

/// What cargo knows of the workspace.
pub struct Workspace {
    /// Folder of the built files.
    target_folder: PathBuf,
    /// Names of all integration tests.
    integration_tests: Vec<String>,
    /// Names of all fuzz targets.
    fuzz_targets: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    pub fn load() -> Result<Self, Error> {
        let mut command = cargo();
        command.args(["metadata", "--locked", "--no-deps", "--format-version", "1"]);
        let program = crate::process::describe(&command);
        let output = command.output().map_err(|cause| Error::Start {
            program: program.clone(),
            advice: "install Rust with rustup".to_owned(),
            cause,
        })?;
        if !output.status.success() {
            return Err(Error::Metadata { program, told: String::from_utf8_lossy(&output.stderr).into_owned() });
        }
        let metadata = serde_json::from_slice(&output.stdout)
            .map_err(|cause| Error::Metadata { program, told: cause.to_string() })?;
        Ok(Self::read(&metadata))
    }

    fn read(metadata: &Value) -> Self {
        let packages = metadata["packages"].as_array().into_iter().flatten();
        let targets: Vec<&Value> = packages.filter_map(|p| p["targets"].as_array()).flatten().collect();
        let names = |list: &str, holds: &str| {
            let has = |t: &&&Value| t[list].as_array().is_some_and(|values| values.iter().any(|value| value == holds));
            let mut names: Vec<String> =
                targets.iter().filter(has).filter_map(|t| t["name"].as_str().map(str::to_owned)).collect();
            names.sort();
            names.dedup();
            names
        };
        Self {
            target_folder: metadata["target_directory"].as_str().unwrap_or("target").into(),
            integration_tests: names("kind", "test"),
            fuzz_targets: names("required-features", "libfuzzer"),
        }
    }

    /// Where what was built is.
    pub fn target_folder(&self) -> &Path {
        &self.target_folder
    }

    /// The programs that cargo-fuzz would build.
    pub fn fuzz_targets(&self) -> &[String] {
        &self.fuzz_targets
    }

    /// Where a program of the workspace is once it is built.
    pub fn program(&self, name: &str) -> PathBuf {
        self.target_folder.join("debug").join(name)
    }

    /// The integration tests of one kind.
    pub fn tests_of(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.integration_tests.iter().map(String::as_str).filter(move |name| Kind::of(name) == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_test_follows_from_its_files_name() {
        assert_eq!(Kind::of("chart_health"), Kind::Chart);
        assert_eq!(Kind::of("api_crds"), Kind::Api);
        assert_eq!(Kind::of("process_crash"), Kind::Process);
        assert_eq!(Kind::of("table"), Kind::Unit);
        assert_eq!(Kind::of("rapid_api_"), Kind::Unit);
    }

    #[test]
    fn what_cargo_tells_about_this_program_is_not_passed_on_but_a_persons_settings_are() {
        assert!(tells_of_a_package("CARGO_PKG_NAME"));
        assert!(tells_of_a_package("CARGO_MANIFEST_DIR"));
        assert!(!tells_of_a_package("CARGO_TARGET_DIR"));
        assert!(!tells_of_a_package("CARGO_HOME"));
    }

    #[test]
    fn targets_are_read_from_what_cargo_tells() {
        let metadata = serde_json::json!({
            "target_directory": "/t",
            "packages": [
                {"targets": [{"kind": ["lib"], "name": "a"}, {"kind": ["test"], "name": "process_x"}]},
                {"targets": [{"kind": ["bin"], "name": "b"}, {"kind": ["test"], "name": "api_y"},
                             {"kind": ["test"], "name": "plain"},
                             {"kind": ["bin"], "name": "gcode", "required-features": ["libfuzzer"]}]}
            ]
        });
        let workspace = Workspace::read(&metadata);
        assert_eq!(workspace.target_folder, Path::new("/t"));
        assert_eq!(workspace.program("b"), Path::new("/t/debug/b"));
        assert_eq!(workspace.tests_of(Kind::Api).collect::<Vec<_>>(), ["api_y"]);
        assert_eq!(workspace.tests_of(Kind::Process).collect::<Vec<_>>(), ["process_x"]);
        assert_eq!(workspace.tests_of(Kind::Unit).collect::<Vec<_>>(), ["plain"]);
        assert_eq!(workspace.fuzz_targets(), ["gcode"]);
    }
}
