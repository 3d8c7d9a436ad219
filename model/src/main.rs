//! Explores the model from the command line; `cargo xtask model` builds it and runs it.

use std::process::ExitCode;

use clap::Parser;
use printernizer_model::check::{self, Limits, Outcome};
use printernizer_model::size::{Budget, SIZES, Size};

/// Random walks that every test run makes.
const WALKS: u64 = 200;

/// Explores the farm's rules in every order of events.
#[derive(Parser)]
struct Arguments {
    /// Sizes to explore; without one, those that every test run explores, and some walks.
    #[arg(long)]
    size: Vec<String>,
    /// Random walks instead of every order of events.
    #[arg(long)]
    walks: Option<u64>,
    /// Seed of the first walk.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events of a walk.
    #[arg(long, default_value_t = 600)]
    length: usize,
    /// Stop after so many steps; the result says so.
    #[arg(long)]
    states: Option<usize>,
    /// Explore only so many events in a row.
    #[arg(long)]
    depth: Option<usize>,
    /// Threads that explore.
    #[arg(long)]
    threads: Option<usize>,
    /// Crashes and losses of the lease, instead of the size's own.
    #[arg(long)]
    crashes: Option<u8>,
    /// Faults of devices, likewise.
    #[arg(long)]
    faults: Option<u8>,
    /// Acts of people at screens, spools and desiredState, likewise.
    #[arg(long)]
    meddling: Option<u8>,
    /// Quarters of an hour in vain, likewise.
    #[arg(long)]
    long_waits: Option<u8>,
    /// Passes that may be half-way at a time, likewise.
    #[arg(long, conflicts_with_all = ["whole", "walks"])]
    overlap: Option<u8>,
    /// Try really every order of events, also where another one comes to the same.
    #[arg(long, conflicts_with = "walks")]
    whole: bool,
    /// Only name the sizes.
    #[arg(long)]
    list: bool,
}

impl Arguments {
    /// The size, with as much going wrong as is asked for.
    fn within(&self, size: Size) -> Size {
        let own = size.budget;
        let budget = Budget {
            crashes: self.crashes.unwrap_or(own.crashes),
            faults: self.faults.unwrap_or(own.faults),
            meddling: self.meddling.unwrap_or(own.meddling),
            long_waits: self.long_waits.unwrap_or(own.long_waits),
        };
        Size { budget, overlap: self.overlap.unwrap_or(size.overlap), ..size }
    }
}

#[allow(clippy::print_stdout, reason = "this is the command's output")]
fn say(line: &str) {
    println!("{line}");
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for size in SIZES {
            say(&format!("{:<10} {}", size.name, size.about));
        }
        return ExitCode::SUCCESS;
    }
    let mut sizes = Vec::new();
    for name in &arguments.size {
        let Some(size) = Size::named(name) else {
            say(&format!("there is no size {name}; see --list"));
            return ExitCode::FAILURE;
        };
        sizes.push(size);
    }
    let wild = Size::named("wild").filter(|_| sizes.is_empty());
    let mut walks = Vec::new();
    if let Some(number) = arguments.walks {
        walks.extend(sizes.drain(..).chain(wild).map(|size| (size, number)));
    } else if sizes.is_empty() {
        sizes.extend(SIZES.iter().filter(|s| s.always));
        walks.extend(wild.map(|size| (size, WALKS)));
    }
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let limits = Limits { states: arguments.states, depth: arguments.depth };
    let mut sum = Outcome::default();
    let explored =
        sizes.into_iter().map(|size| check::explore(arguments.within(size), arguments.whole, threads, limits));
    let walked = walks
        .into_iter()
        .map(|(size, number)| check::walk(arguments.within(size), number, arguments.seed, arguments.length));
    for outcome in explored.chain(walked) {
        outcome.lines.iter().for_each(|line| say(line));
        sum.passed += outcome.passed;
        sum.broken.extend(outcome.broken);
    }
    say(&format!("\n{} passed, {} failed", sum.passed, sum.broken.len()));
    if sum.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
