//! The project's commands: `cargo xtask bench`, `demo`, `e2e`, `faults`, `fuzz`, `generate`, `image`, `model` and
//! `test`.
//!
//! Each command does one thing that a person or the continuous build would otherwise do by hand, shows what it is
//! doing while it does it, and says through its exit code whether it went well.

mod bench;
mod demo;
mod docs;
mod e2e;
mod error;
mod faults;
mod first;
mod fuzz;
mod generate;
mod image;
mod install;
mod launch;
mod model;
mod process;
mod reference;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure how fast a farm is and what it costs. On a machine that does nothing else.
    Bench(bench::Arguments),
    /// Show a farm at work: simulated printers, a control plane, the operator, and a live table.
    Demo(demo::Arguments),
    /// Make the book of docs/, and see that its links lead somewhere.
    Docs(docs::Arguments),
    /// Install the chart on a real node, and let a farm print through what happens to an operator. Takes root.
    E2e(e2e::Arguments),
    /// Let something go wrong in a print's life, at each request of it, and see that it is printed exactly once.
    Faults(faults::Arguments),
    /// Feed what comes from outside (print files, printers' answers) with anything, and see that it stands.
    Fuzz(fuzz::Arguments),
    /// Write the files that are made from the code: the definitions as manifests, as templates of the chart and as pages of the
    /// API reference.
    Generate(generate::Arguments),
    /// Make container images, without Docker.
    Image(image::Arguments),
    /// Explore the rules in every order of events, within bounds.
    Model(model::Arguments),
    /// Check and test everything, or one kind of test.
    Test(test::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Docs(arguments) => docs::run(&arguments),
        Command::E2e(arguments) => e2e::run(&arguments),
        Command::Faults(arguments) => faults::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            process::complain(&error);
            ExitCode::FAILURE
        }
    }
}
