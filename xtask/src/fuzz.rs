//! `cargo xtask fuzz`: builds the fuzz targets of `fuzz/` and runs them, as many at a time as there are processors, from
//! the seeds in the code and from what earlier runs have found worth keeping.
//!
//! It builds as cargo-fuzz does, but with whatever Rust is there: only a sanitizer would need a nightly one, and code
//! without `unsafe` has little to show to it. Everything stays in the folder `fuzz` of the build's folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;
use crate::install::{self, Use};
use crate::process::{Finished, quietly, say, stream, warn};
use crate::workspace::{Workspace, cargo};

const PACKAGE: &str = "printernizer-fuzz";
/// Tells libFuzzer which code an input reached, and which comparisons it failed; the flags of cargo-fuzz.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Longer inputs reach nothing that shorter ones do not, and are slower.
const MAX_INPUT_BYTES: u32 = 16 * 1024;
/// One input that takes longer is a finding.
const INPUT_SECONDS: u32 = 10;
/// More memory than this is a finding: the targets inspect under small limits.
const MEMORY_MEBIBYTES: u32 = 512;
/// Kept inputs beyond which the next run begins anew: reading them all would cost more than they are worth.
const MOST_KEPT: usize = 5_000;

/// Arguments of `fuzz`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Targets to run; all when none is named.
    targets: Vec<String>,
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// What became of one target.
pub struct Outcome {
    /// Its name.
    pub target: String,
    /// Inputs tried.
    pub inputs: u64,
    /// Inputs tried in a second.
    pub inputs_per_second: u64,
    /// Places in the code that were reached.
    pub coverage: u64,
    /// What it found, for a person; `None` when all is well.
    pub found: Option<String>,
}

impl Outcome {
    /// One line for a person.
    pub fn line(&self) -> String {
        let verdict = if self.found.is_none() { "nothing found" } else { "FOUND SOMETHING" };
        format!(
            "{:<18}{:>12} inputs {:>8}/s {:>6} places  {verdict}",
            self.target, self.inputs, self.inputs_per_second, self.coverage
        )
    }
}

/// Builds and runs the targets; the exit code says whether nothing was found.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    install::ensure(&[Use::Build, Use::Fuzz])?;
    let workspace = Workspace::load()?;
    let known = workspace.fuzz_targets();
    if let Some(unknown) = arguments.targets.iter().find(|name| !known.contains(name)) {
        return Err(Error::Missing(format!("there is no fuzz target {unknown}, only {}", known.join(", "))));
    }
    let mut command = build(&workspace)?;
    if !stream(&mut command)?.status.success() {
        return Ok(ExitCode::FAILURE);
    }
    let targets = if arguments.targets.is_empty() { known } else { &arguments.targets };
    let outcomes = run_each(&workspace, targets, arguments.seconds)?;
    for outcome in &outcomes {
        say(&outcome.line());
    }
    let found: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.found.as_ref()).collect();
    for told in &found {
        warn(&format!("\n{told}"));
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The command that builds all targets.
pub fn build(workspace: &Workspace) -> Result<Command, Error> {
    let mut command = cargo();
    // With a target named, the flags are not those of build scripts and macros, which have no fuzzer in them.
    command.args(["build", "--locked", "--profile", "fuzz", "--target", &host()?]);
    command.args(["--package", PACKAGE, "--features", "libfuzzer"]);
    command.args(workspace.fuzz_targets().iter().flat_map(|name| ["--bin", name]));
    command.arg("--target-dir").arg(folder(workspace)).env("RUSTFLAGS", COVERAGE);
    Ok(command)
}

/// Runs targets that are built, each for `seconds`, in the order of their names.
pub fn run_each(workspace: &Workspace, targets: &[String], seconds: u64) -> Result<Vec<Outcome>, Error> {
    let programs = folder(workspace).join(host()?).join("fuzz");
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = run_one(&folder(workspace), &programs.join(target), target, seconds);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut outcomes: Vec<Outcome> = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .into_iter()
        .collect::<Result<_, Error>>()?;
    outcomes.sort_by(|one, other| one.target.cmp(&other.target));
    Ok(outcomes)
}

fn run_one(folder: &Path, program: &Path, target: &str, seconds: u64) -> Result<Outcome, Error> {
    let (kept, seeds, found) =
        (folder.join("kept").join(target), folder.join("seeds").join(target), folder.join("found"));
    if fs::read_dir(&kept).is_ok_and(|entries| entries.count() > MOST_KEPT) {
        fs::remove_dir_all(&kept).map_err(|cause| Error::Write { path: kept.clone(), cause })?;
    }
    for path in [&kept, &found] {
        fs::create_dir_all(path).map_err(|cause| Error::Write { path: path.clone(), cause })?;
    }
    let mut make_seeds = cargo();
    make_seeds.args(["run", "--quiet", "--locked", "--package", PACKAGE, "--bin", PACKAGE, "--", "seeds", target]);
    let made = quietly(make_seeds.arg(&seeds))?;
    if !made.status.success() {
        return Ok(Outcome::failed(target, format!("no seeds: {}", text(&made))));
    }
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={MAX_INPUT_BYTES}"));
    command.arg(format!("-timeout={INPUT_SECONDS}")).arg(format!("-rss_limit_mb={MEMORY_MEBIBYTES}"));
    command.arg("-print_final_stats=1").arg(format!("-artifact_prefix={}/{target}-", found.display()));
    command.arg(&kept).arg(&seeds);
    let finished = quietly(&mut command)?;
    let mut outcome = Outcome::read(target, &finished);
    if !finished.status.success() {
        outcome.found = Some(finding(target, &finished));
    }
    Ok(outcome)
}

impl Outcome {
    fn failed(target: &str, told: String) -> Self {
        Self { target: target.to_owned(), inputs: 0, inputs_per_second: 0, coverage: 0, found: Some(told) }
    }

    /// What libFuzzer says at its end. A run that tried nothing has shown nothing.
    fn read(target: &str, finished: &Finished) -> Self {
        let lines = || finished.lines.iter().rev().map(|(_, line)| line.as_str());
        let after = |marker: &str| {
            let rest = lines().find_map(|line| line.split_once(marker))?.1;
            rest.split_whitespace().next()?.parse().ok()
        };
        let inputs = after("stat::number_of_executed_units:").unwrap_or_default();
        Self {
            target: target.to_owned(),
            inputs,
            inputs_per_second: after("stat::average_exec_per_sec:").unwrap_or_default(),
            coverage: after(" cov: ").unwrap_or_default(),
            found: (inputs == 0).then(|| format!("{target} tried no input:\n{}", text(finished))),
        }
    }
}

/// What a run that ended badly says to a person: the panic, and how to see it again.
fn finding(target: &str, finished: &Finished) -> String {
    let lines = || finished.lines.iter().map(|(_, line)| line.as_str());
    // The message follows its place, and a backtrace nobody needs before the replay follows both.
    let panicked: Vec<&str> = lines().skip_while(|line| !line.contains(" panicked at ")).take(4).collect();
    let told = if panicked.is_empty() { text(finished) } else { panicked.join("\n") };
    match lines().find_map(|line| line.split_once("Test unit written to ")) {
        Some((_, file)) => format!("{told}\nsee it again: cargo run -p {PACKAGE} -- replay {target} {file}"),
        None => format!("{target} ended with {}\n{told}", finished.status),
    }
}

/// The end of a program's output.
fn text(finished: &Finished) -> String {
    const SHOWN: usize = 60;
    let skipped = finished.lines.len().saturating_sub(SHOWN);
    finished.lines.iter().skip(skipped).map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target_folder().join("fuzz")
}

/// This machine, as Rust names it.
fn host() -> Result<String, Error> {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let finished = quietly(command.arg("-vV"))?;
    let name = finished.lines.iter().find_map(|(_, line)| line.strip_prefix("host: "));
    name.map(str::to_owned).ok_or_else(|| Error::Missing("rustc does not say for which machine it builds".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(script: &str) -> Outcome {
        Outcome::read("gcode", &quietly(Command::new("sh").args(["-c", script])).unwrap())
    }

    #[test]
    fn figures_are_read_from_the_end_of_a_run() {
        let outcome = told(
            "echo '#2 INITED cov: 7 ft: 9 corp: 2/2b exec/s: 0 rss: 40Mb' >&2
             echo '#912 DONE   cov: 812 ft: 1203 corp: 99/12Kb lim: 400 exec/s: 304 rss: 41Mb' >&2
             echo 'stat::number_of_executed_units: 912' >&2; echo 'stat::average_exec_per_sec:     304' >&2",
        );
        assert_eq!((outcome.inputs, outcome.inputs_per_second, outcome.coverage), (912, 304, 812));
        assert!(outcome.found.is_none());
        assert!(outcome.line().ends_with("nothing found"), "{}", outcome.line());
    }

    #[test]
    fn a_finding_names_the_panic_and_how_to_see_it_again() {
        let run = |script: &str| finding("gcode", &quietly(Command::new("sh").args(["-c", script])).unwrap());
        let told = run("echo \"thread '<unnamed>' panicked at printfile/src/a.rs:1:2:\" >&2; echo 'attempt to add' >&2
             for frame in $(seq 100); do echo \"  $frame: rust_begin_unwind\" >&2; done
             echo \"artifact_prefix='x/'; Test unit written to x/gcode-crash-1\" >&2; exit 77");
        assert!(told.contains("attempt to add") && told.lines().count() < 10, "{told}");
        assert!(told.ends_with("cargo run -p printernizer-fuzz -- replay gcode x/gcode-crash-1"), "{told}");
        let killed = run("echo 'out of memory' >&2; exit 71");
        assert!(killed.contains("ended with exit status: 71") && killed.contains("out of memory"), "{killed}");
    }

    #[test]
    fn a_run_that_tried_nothing_is_no_success() {
        assert!(told("true").found.is_some());
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(host().unwrap().contains('-'));
    }
}
