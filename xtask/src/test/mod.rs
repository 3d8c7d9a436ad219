//! `cargo xtask test`: the one test command. Lock file, format, lints, generated files, then unit tests, the
//! model, chart, API-server and process tests.
//!
//! Every step shows its output as it comes; failures are shown again at the end, above the counts. A step that could
//! not be run counts as failed. Nothing is ever tried a second time.

mod lock;
mod properties;
mod tally;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::e2e;
use crate::error::Error;
use crate::fuzz;
use crate::generate;
use crate::install::{self, Use};
use crate::model;
use crate::process::{Finished, describe, say, stream, warn};
use crate::workspace::{CONTROL_PLANE, Kind, Workspace, cargo, root};
use tally::Tally;

/// The script that installs Prusa's own PrusaLink program into the cache, for the driver's test against it.
const PYTHON_PRUSALINK: &str = "drivers/prusalink/tests/python/install_prusalink.sh";

/// Until when a whole run begins the trial on a real node, which takes eight minutes: the continuous build has an hour.
const LATEST_TRIAL: Duration = Duration::from_mins(40);

/// How long each fuzz target runs, in seconds. Who looks for more runs `cargo xtask fuzz`.
const FUZZ_SECONDS: u64 = 8;

fn in_cluster_module(command: &mut std::process::Command) -> &mut std::process::Command {
    command.current_dir(root().join("e2e/cluster")).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local")
}

/// Arguments of `test`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Run only this kind of test, without the checks of format, lints and generated files.
    kind: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Unit and property tests: one process, no API server.
    Unit,
    /// The rules in every order of events, in small farms.
    Model,
    /// Fuzz targets, each for a few seconds.
    Fuzz,
    /// Tests of the chart and of the other manifests (tests/chart_*.rs).
    Chart,
    /// Tests against a real API server (tests/api_*.rs).
    Api,
    /// Tests that run the project's programs (tests/process_*.rs).
    Process,
}

/// Runs the checks and tests; the exit code says whether all passed.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let includes = |part| arguments.kind.is_none_or(|kind| kind == part);
    let control_plane = includes(Part::Api) || includes(Part::Process);
    let mut report = Report::default();
    let begun = Instant::now();

    if arguments.kind.is_none() && !report.lock_file()? {
        return Ok(report.close());
    }
    begin("what the tests need");
    let mut uses = vec![Use::Build, Use::Test];
    uses.extend((control_plane || includes(Part::Chart)).then_some(Use::ControlPlane));
    uses.extend(includes(Part::Fuzz).then_some(Use::Fuzz));
    uses.extend(includes(Part::Process).then_some(Use::Faults));
    uses.extend(includes(Part::Chart).then_some(Use::Chart));
    install::ensure(&uses)?;
    let workspace = Workspace::load()?;
    if arguments.kind.is_none() {
        report.check("format", cargo().args(["fmt", "--all", "--check"]))?;
        report.generated_files()?;
        report.check(
            "clippy",
            cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
        )?;
    }
    // One build for everything that follows: the same selection of packages, so the same features everywhere.
    if !report.check("build", cargo().args(["build", "--locked", "--workspace", "--lib", "--bins", "--tests"]))? {
        return Ok(report.close());
    }
    if control_plane {
        if let Some(path) = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
            say(&format!("KUBECONFIG is set: the tests use, and change, the cluster of {}", path.display()));
        }
        // Built here, in sight, the first test that needs it does not wait for minutes.
        let mut program = std::process::Command::new(workspace.program(CONTROL_PLANE));
        if !report.check("control plane", program.arg("build"))? {
            return Ok(report.close());
        }
        for arguments in [["vet", "./supervisor"], ["test", "./supervisor"]] {
            let name = format!("go {} of the control plane", arguments[0]);
            report.check(&name, in_cluster_module(std::process::Command::new("go").args(arguments)))?;
        }
    }
    if includes(Part::Process) {
        let mut script = std::process::Command::new("sh");
        report.check("Python PrusaLink", script.arg(root().join(PYTHON_PRUSALINK)))?;
        let mut program = std::process::Command::new(workspace.program(CONTROL_PLANE));
        report.check("S3 server", program.arg("build-s3-server"))?;
        let mut program = std::process::Command::new(workspace.program(CONTROL_PLANE));
        report.check("backup tools", program.arg("build-backup-tools"))?;
    }
    if includes(Part::Chart) {
        let mut program = std::process::Command::new(workspace.program(CONTROL_PLANE));
        report.check("chart tools", program.arg("build-chart-tools"))?;
    }
    if includes(Part::Unit) {
        let targets = ["--lib", "--bins"].map(str::to_owned).into_iter().chain(selection(&workspace, Kind::Unit));
        report.tests("unit", Some("property"), targets)?;
        report.tests("documentation", None, ["--doc".to_owned()])?;
    }
    if includes(Part::Model) {
        report.model(&workspace)?;
    }
    if includes(Part::Fuzz) && report.check("build of the fuzz targets", &mut fuzz::build(&workspace)?)? {
        report.fuzz(&workspace)?;
    }
    let kinds = [
        (Part::Chart, Kind::Chart, "chart"),
        (Part::Api, Kind::Api, "API server"),
        (Part::Process, Kind::Process, "process"),
    ];
    for (part, kind, name) in kinds {
        if !includes(part) {
            continue;
        }
        let targets: Vec<String> = selection(&workspace, kind).collect();
        if targets.is_empty() {
            say(&format!("there are no {name} tests"));
        } else {
            report.tests(name, None, targets)?;
        }
    }
    if arguments.kind.is_none() {
        report.trial(&workspace, begun)?;
    }
    Ok(report.close())
}

fn selection(workspace: &Workspace, kind: Kind) -> impl Iterator<Item = String> {
    workspace.tests_of(kind).flat_map(|name| ["--test".to_owned(), name.to_owned()])
}

/// What was done so far.
#[derive(Default)]
struct Report {
    /// Why the trial on a real node was not run, of a run that would have.
    no_trial: Option<String>,
    /// Counts for each kind, in the order of their first step.
    kinds: Vec<(String, Tally)>,
    /// How long each step took.
    times: Vec<(String, Duration)>,
    /// What the failed ones said, with the step they belong to.
    failures: Vec<(String, String)>,
}

impl Report {
    fn timed(&mut self, step: &str, command: &mut std::process::Command) -> Result<Finished, Error> {
        begin(step);
        say(&format!("   {}", describe(command)));
        let begun = Instant::now();
        let finished = stream(command.env("CARGO_TERM_COLOR", "never"))?;
        let took = begun.elapsed();
        say(&format!("== {step}: {}, {:.1} s", finished.status, took.as_secs_f64()));
        self.times.push((step.to_owned(), took));
        Ok(finished)
    }

    fn add(&mut self, kind: &str, tally: Tally) {
        match self.kinds.iter_mut().find(|(name, _)| name == kind) {
            Some((_, sum)) => *sum += tally,
            None => self.kinds.push((kind.to_owned(), tally)),
        }
    }

    /// Runs a command that is right or wrong as a whole.
    fn check(&mut self, step: &str, command: &mut std::process::Command) -> Result<bool, Error> {
        let finished = self.timed(step, command)?;
        let passed = finished.status.success();
        self.add("check", Tally::check(passed));
        if !passed {
            self.failures.push((step.to_owned(), tally::tail(&finished)));
        }
        Ok(passed)
    }

    fn lock_file(&mut self) -> Result<bool, Error> {
        const STEP: &str = "lock file";
        begin(STEP);
        let trouble = lock::trouble()?;
        self.add("check", Tally::check(trouble.is_none()));
        let complete = trouble.is_none();
        self.failures.extend(trouble.map(|told| (format!("{STEP}: {}", lock::ADVICE), told)));
        Ok(complete)
    }

    fn generated_files(&mut self) -> Result<(), Error> {
        const STEP: &str = "generated files";
        begin(STEP);
        let drift = generate::drift(&root())?;
        self.add("check", Tally::check(drift.is_empty()));
        for change in &drift {
            warn(&change.diff);
            self.failures.push((format!("{STEP}: run `cargo xtask generate` and commit"), change.diff.clone()));
        }
        Ok(())
    }

    fn tests(
        &mut self,
        kind: &str,
        properties: Option<&str>,
        targets: impl IntoIterator<Item = String>,
    ) -> Result<(), Error> {
        let mut command = cargo();
        command.args(["test", "--locked", "--workspace", "--no-fail-fast"]).args(targets);
        let finished = self.timed(&format!("{kind} tests"), &mut command)?;
        let names = if properties.is_some() { properties::names(&root())? } else { BTreeSet::new() };
        let mut counted = tally::count(&finished, &names);
        if let Some(properties) = properties {
            self.add(kind, counted.others);
            self.add(properties, counted.properties);
        } else {
            counted.others += counted.properties;
            self.add(kind, counted.others);
        }
        self.failures.extend(counted.failures.into_iter().map(|text| (format!("{kind} tests"), text)));
        Ok(())
    }

    fn model(&mut self, workspace: &Workspace) -> Result<(), Error> {
        const STEP: &str = "model";
        let mut program = std::process::Command::new(workspace.program(model::PROGRAM));
        let finished = self.timed(STEP, &mut program)?;
        let tally = tally::last_line(&finished);
        self.add(STEP, tally);
        if tally.failed > 0 {
            self.failures.push((STEP.to_owned(), tally::tail(&finished)));
        }
        Ok(())
    }

    fn fuzz(&mut self, workspace: &Workspace) -> Result<(), Error> {
        const STEP: &str = "fuzz";
        begin(STEP);
        let begun = Instant::now();
        for outcome in fuzz::run_each(workspace, workspace.fuzz_targets(), FUZZ_SECONDS)? {
            say(&outcome.line());
            self.add(STEP, Tally::check(outcome.found.is_none()));
            self.failures.extend(outcome.found.map(|told| (format!("{STEP} {}", outcome.target), told)));
        }
        self.times.push((STEP.to_owned(), begun.elapsed()));
        Ok(())
    }

    /// The trial on a real node, if this machine lets it and there is time.
    fn trial(&mut self, workspace: &Workspace, begun: Instant) -> Result<(), Error> {
        const STEP: &str = "trial on a real node";
        begin(STEP);
        let asked = stream(std::process::Command::new(workspace.program(e2e::NODE)).arg("--only-ask"))?;
        self.no_trial = no_trial(&asked, begun.elapsed());
        if self.no_trial.is_none() {
            let program = std::env::current_exe().map_err(|cause| Error::Start {
                program: "xtask".to_owned(),
                advice: "was it moved?".to_owned(),
                cause,
            })?;
            self.check(STEP, std::process::Command::new(program).arg("e2e"))?;
        }
        Ok(())
    }

    fn close(self) -> ExitCode {
        if !self.failures.is_empty() {
            warn("\n== failures");
            for (step, text) in &self.failures {
                warn(&format!("\n-- {step}\n{text}"));
            }
        }
        say("\n== time");
        for (step, took) in &self.times {
            say(&format!("{step:<22}{:>8.1} s", took.as_secs_f64()));
        }
        say("\n== counts");
        for line in self.counts() {
            say(&line);
        }
        if self.sum().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        for (_, tally) in &self.kinds {
            sum += *tally;
        }
        sum
    }

    /// What was counted, and at last the sum, which programs read.
    fn counts(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.kinds.iter().map(|(kind, tally)| format!("{kind:<22}{}", sentence(*tally))).collect();
        let not_run = |why: &String| format!("\nnot run: the trial on a real node (cargo xtask e2e): {why}");
        lines.extend(self.no_trial.as_ref().map(not_run));
        let sum = self.sum();
        lines.push(format!("\n{} passed, {} failed", sum.passed, sum.failed));
        lines
    }
}

/// Why the trial is not run: what its program says of this machine, or that the run has taken too long already.
fn no_trial(asked: &Finished, elapsed: Duration) -> Option<String> {
    if !asked.status.success() {
        let said = asked.lines.last().map(|(_, line)| line.trim().to_owned());
        return Some(said.unwrap_or_else(|| asked.status.to_string()));
    }
    let minutes = elapsed.as_secs() / 60;
    (elapsed > LATEST_TRIAL).then(|| format!("this run has taken {minutes} minutes already"))
}

fn begin(step: &str) {
    say(&format!("\n== {step}"));
}

fn sentence(tally: Tally) -> String {
    let ignored = if tally.ignored == 0 { String::new() } else { format!(", {} not run", tally.ignored) };
    format!("{} passed, {} failed{ignored}", tally.passed, tally.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_one_kind_add_up_over_its_steps() {
        let mut report = Report::default();
        report.add("check", Tally::check(true));
        report.add("unit", Tally { passed: 5, failed: 0, ignored: 0 });
        report.add("check", Tally::check(false));
        assert_eq!(report.kinds[0], ("check".to_owned(), Tally { passed: 1, failed: 1, ignored: 0 }));
    }

    #[test]
    fn a_run_says_at_its_end_why_there_was_no_trial_and_the_sum_stays_the_last_line() {
        let counts = |no_trial: Option<&str>| {
            let mut report = Report { no_trial: no_trial.map(str::to_owned), ..Report::default() };
            report.add("unit", Tally { passed: 5, failed: 1, ignored: 0 });
            report.counts().join("\n")
        };
        let end = "\nnot run: the trial on a real node (cargo xtask e2e): no root\n\n5 passed, 1 failed";
        assert!(counts(Some("no root")).ends_with(end), "{}", counts(Some("no root")));
        assert!(!counts(None).contains("not run"));
    }

    #[test]
    fn the_trial_is_left_out_where_it_cannot_run_and_where_it_would_take_too_long() {
        let asked = |script: &str| stream(std::process::Command::new("sh").args(["-c", script])).unwrap();
        let (able, unable) = (asked("exit 0"), asked("echo building >&2; echo 'it takes root' >&2; exit 1"));
        assert_eq!(no_trial(&able, LATEST_TRIAL), None);
        assert_eq!(no_trial(&unable, Duration::ZERO).as_deref(), Some("it takes root"));
        let late = no_trial(&able, LATEST_TRIAL + Duration::from_secs(1));
        assert_eq!(late.as_deref(), Some("this run has taken 40 minutes already"));
    }

    #[test]
    fn one_failed_test_fails_the_command() {
        let mut report = Report::default();
        report.add("unit", Tally { passed: 900, failed: 1, ignored: 0 });
        assert_eq!(report.close(), ExitCode::FAILURE);
    }

    #[test]
    fn a_check_that_fails_is_counted_and_its_words_are_kept() {
        let mut report = Report::default();
        let mut command = std::process::Command::new("sh");
        assert!(!report.check("format", command.args(["-c", "echo 'Diff in a.rs' >&2; exit 1"])).unwrap());
        assert_eq!(report.kinds, [("check".to_owned(), Tally::check(false))]);
        assert_eq!(report.failures, [("format".to_owned(), "Diff in a.rs".to_owned())]);
    }

    #[test]
    fn tests_that_were_not_run_are_told() {
        assert_eq!(sentence(Tally { passed: 2, failed: 0, ignored: 1 }), "2 passed, 0 failed, 1 not run");
    }
}
