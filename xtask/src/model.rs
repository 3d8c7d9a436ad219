//! `cargo xtask model`: explores the model of the farm's rules, or proves its power: with `--bugs` every patch of
//! model/bugs is applied to a copy of the workspace, and the model, or a plan of the fault campaign, must find what is wrong
//! there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::error::Error;
use crate::install::{self, Use};
use crate::process::{Finished, quietly, say, stream, warn};
use crate::workspace::{Workspace, cargo, root};

/// The program that explores.
pub const PROGRAM: &str = "printernizer-model";

/// Arguments of `model`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Seed a bug into a copy, one of model/bugs after the other, and see that the model, or the fault campaign, finds each;
    /// only those named, if any is.
    #[arg(long, num_args = 0.., value_name = "NAME")]
    bugs: Option<Vec<String>>,
    /// What the program takes: --size NAME, --walks N --seed S, --depth N, --states N, --list, --help.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Explores, or seeds bugs; the exit code says whether all is well.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    install::ensure(&[Use::Build])?;
    if let Some(names) = &arguments.bugs {
        return bugs(names);
    }
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--package", PROGRAM, "--"]).args(&arguments.rest);
    let finished = stream(&mut command)?;
    Ok(if finished.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A patch of model/bugs.
struct Bug {
    name: String,
    path: PathBuf,
    /// Its first line: what is wrong.
    what: String,
    /// Its second line.
    finder: Finder,
}

/// What finds a bug.
#[derive(Debug, PartialEq, Eq)]
enum Finder {
    /// The model, with these arguments.
    Model(Vec<String>),
    /// The fault campaign, with this plan.
    Campaign(String),
}

impl Finder {
    /// From the second line of a patch.
    fn read(line: &str) -> Option<Self> {
        let (by, with) = line.split_once(": ")?;
        match by {
            "model" => Some(Self::Model(with.split_whitespace().map(str::to_owned).collect())),
            "faults" => Some(Self::Campaign(with.to_owned())),
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Model(_) => "by the model",
            Self::Campaign(_) => "by the campaign",
        }
    }
}

fn read(path: &Path, cause: std::io::Error) -> Error {
    Error::Read { path: path.to_owned(), cause }
}

fn all_bugs() -> Result<Vec<Bug>, Error> {
    let folder = root().join("model/bugs");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|e| read(&folder, e))? {
        let path = entry.map_err(|e| read(&folder, e))?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".patch")) else {
            continue;
        };
        let text = fs::read_to_string(&path).map_err(|e| read(&path, e))?;
        let mut lines = text.lines();
        let what = lines.next().unwrap_or_default().to_owned();
        let finder = lines.next().and_then(Finder::read).ok_or_else(|| {
            Error::Missing(format!(
                "{} does not say in its second line what finds it: `model: ` or `faults: `",
                path.display()
            ))
        })?;
        found.push(Bug { name: name.to_owned(), path: path.clone(), what, finder });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn bugs(names: &[String]) -> Result<ExitCode, Error> {
    let all = all_bugs()?;
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|bug| bug.name == **name)) {
        return Err(Error::Missing(format!("there is no model/bugs/{unknown}.patch")));
    }
    let target = Workspace::load()?.target_folder().to_owned();
    let (mut caught, mut missed) = (0, 0);
    for bug in all.iter().filter(|bug| names.is_empty() || names.contains(&bug.name)) {
        match seed(&target, bug)? {
            Ok(promise) => {
                caught += 1;
                say(&format!("{:<40} caught {}: {promise}", bug.name, bug.finder.name()));
            }
            Err(told) => {
                missed += 1;
                warn(&format!("{:<40} NOT CAUGHT {}: {}\n{told}", bug.name, bug.finder.name(), bug.what));
            }
        }
    }
    say(&format!("\n{caught} passed, {missed} failed"));
    Ok(if missed == 0 && caught > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Applies one bug to a fresh copy and explores it. The promise it breaks, or what was told instead.
fn seed(target: &Path, bug: &Bug) -> Result<Result<String, String>, Error> {
    let source = target.join("model-bugs");
    copy(&source)?;
    let mut apply = Command::new("git");
    // The copy lies within this repository and is none of its files: without the ceiling nothing would be applied.
    apply.current_dir(&source).env("GIT_CEILING_DIRECTORIES", target).arg("apply").arg(&bug.path);
    let applied = quietly(&mut apply)?;
    if !applied.status.success() {
        return Ok(Err(format!("the patch does not apply any more: {}", text(&applied))));
    }
    let mut command = cargo();
    // Not where everything else is built: a program with a bug in it must not be taken for ours.
    command.current_dir(&source).env("CARGO_TARGET_DIR", target.join("model-bugs-target"));
    match &bug.finder {
        Finder::Model(arguments) => {
            command.args(["run", "--quiet", "--locked", "--package", PROGRAM, "--"]).args(arguments)
        }
        Finder::Campaign(plan) => command.args(["xtask", "faults", "--plan", plan]),
    };
    let finished = quietly(&mut command)?;
    let broken = match &bug.finder {
        Finder::Model(_) => promise_of_model(&finished),
        Finder::Campaign(_) => complaint_of_campaign(&finished),
    };
    Ok(match broken {
        Some(promise) if !finished.status.success() => Ok(promise),
        _ => Err(text(&finished)),
    })
}

/// The promise that the model found broken.
fn promise_of_model(finished: &Finished) -> Option<String> {
    let mut lines = finished.lines.iter().map(|(_, line)| line.as_str());
    lines.find_map(|line| line.split_once(": broken: ").map(|(_, promise)| promise.to_owned()))
}

/// What the campaign says of the plan that failed, below the line that lives it again.
fn complaint_of_campaign(finished: &Finished) -> Option<String> {
    let mut lines = finished.lines.iter().map(|(_, line)| line.as_str());
    lines.find(|line| line.starts_with("replay: "))?;
    lines.next().map(str::to_owned)
}

/// A fresh copy of what is versioned. Files that are as they were stay untouched, so that nothing is built in vain.
fn copy(to: &Path) -> Result<(), Error> {
    let mut list = Command::new("git");
    list.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = quietly(&mut list)?;
    for (_, name) in &listed.lines {
        let (from, to) = (root().join(name), to.join(name));
        let Ok(bytes) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        let written = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&to, bytes));
        written.map_err(|cause| Error::Write { path: to, cause })?;
    }
    Ok(())
}

/// The end of a program's output.
fn text(finished: &Finished) -> String {
    let skipped = finished.lines.len().saturating_sub(20);
    finished.lines.iter().skip(skipped).map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_says_what_finds_it() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        assert_eq!(Finder::read("model: --size calm --walks 3"), Some(Finder::Model(words("--size calm --walks 3"))));
        let plan = "prusa, with two operators: sigstop-after prusa-1 POST start #1";
        assert_eq!(Finder::read(&format!("faults: {plan}")), Some(Finder::Campaign(plan.to_owned())));
        assert_eq!(Finder::read("--- a/rules/src/lib.rs"), None);
    }

    #[test]
    fn every_bug_says_what_is_wrong_and_what_finds_it() {
        for bug in all_bugs().unwrap() {
            assert!(bug.what.ends_with('.'), "{}: {}", bug.name, bug.what);
        }
    }
}
