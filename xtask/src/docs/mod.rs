//! `cargo xtask docs`: makes the book of `docs` with mdBook, and sees that its links lead somewhere.
//!
//! mdBook is built once, by version, into the cache. The checks that need no mdBook (links of the Markdown, table of
//! contents, API reference) are unit tests and run with all others.

#[cfg(test)]
mod commands;
mod html;
mod links;
mod outside;
mod summary;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::error::Error;
use crate::process::{describe, say, stream, warn};
use crate::workspace::{Workspace, cargo, root};
use printernizer_tools::cache_dir;

/// The version of mdBook, which `docs/book.toml` is written for.
const MDBOOK: &str = "0.5.4";

/// Arguments of `docs`.
#[derive(clap::Args)]
pub struct Arguments {
    /// What mdBook calls while it makes the book; not for people.
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(clap::Subcommand)]
enum Part {
    /// The preprocessor for links that leave the book.
    #[command(hide = true)]
    Outside(Outside),
}

#[derive(clap::Args)]
struct Outside {
    /// `supports html`: whether a renderer is supported. All are.
    question: Vec<String>,
}

/// Makes the book; the exit code says whether all its links lead somewhere.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    if let Some(Part::Outside(outside)) = &arguments.part {
        return preprocess(outside);
    }
    let root = root();
    let files = links::files(&root)?;
    let mut faults = links::broken(&root, &files);
    faults.extend(summary::faults(&files));
    let place = Workspace::load()?.target_folder().join("book");
    let mut command = Command::new(mdbook()?);
    command.arg("build").arg(root.join("docs")).arg("--dest-dir").arg(&place);
    if !run_in_sight(&mut command)? {
        return Ok(ExitCode::FAILURE);
    }
    faults.extend(html::broken(&place)?);
    for fault in &faults {
        warn(fault);
    }
    say(&format!("the book is {}", place.join("index.html").display()));
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn preprocess(outside: &Outside) -> Result<ExitCode, Error> {
    if outside.question.is_empty() {
        let spoken =
            |cause: serde_json::Error| Error::Metadata { program: "mdbook".to_owned(), told: cause.to_string() };
        let input = serde_json::from_reader(std::io::stdin().lock()).map_err(spoken)?;
        say(&outside::book(input).to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// The program, built now if the cache does not have it.
fn mdbook() -> Result<PathBuf, Error> {
    let place = cache_dir().join(format!("mdbook-{MDBOOK}"));
    let program = place.join("bin/mdbook");
    if program.is_file() {
        return Ok(program);
    }
    say("building mdBook: two to five minutes, then cached");
    let mut install = cargo();
    install.args([
        "install",
        "--locked",
        "mdbook",
        "--version",
        MDBOOK,
        "--no-default-features",
        "--features",
        "search",
    ]);
    // Outside of the workspace's folder: neither its settings nor its target folder are meant.
    install.arg("--root").arg(&place).current_dir("/").env_remove("CARGO_TARGET_DIR");
    if run_in_sight(&mut install)? {
        Ok(program)
    } else {
        Err(Error::Missing(format!("mdBook {MDBOOK}: see the output above")))
    }
}

fn run_in_sight(command: &mut Command) -> Result<bool, Error> {
    say(&format!("   {}", describe(command)));
    Ok(stream(command)?.status.success())
}
