//! `printernizer-faults`: the fault campaign once everything is built. People call it through `cargo xtask faults`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use printernizer_e2e::cluster;
use printernizer_e2e::farm::Farm;
use printernizer_e2e::faults::{Campaign, Plan, live_all};
use printernizer_e2e::life::Stage;
use printernizer_e2e::mutations;
use rand::seq::SliceRandom as _;
use rand::{SeedableRng as _, rngs::StdRng};

/// Of a hundred plans at most so many may not meet what was to go wrong; more mean that the names of requests changed.
const UNMET_PERCENT: usize = 15;

/// Plans of a campaign: a quarter of those there are, and as many as fit into a quarter of an hour.
const PLANS: usize = 500;

/// Lets something go wrong in the life of a print, at each request of it, and looks whether it is printed once.
#[derive(Parser)]
struct Arguments {
    /// How many plans. Default: 500; of mutations, and for --list, all. More than there are: pairs of them too.
    #[arg(long, value_name = "N")]
    plans: Option<usize>,
    /// What chooses, orders and pairs the plans. Default: another one each time, which is printed.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Live this plan alone; can be given several times.
    #[arg(long, value_name = "NAME")]
    plan: Vec<String>,
    /// Change the specs of objects instead: every field, in every way that its schema suggests.
    #[arg(long)]
    mutations: bool,
    /// Only name the plans.
    #[arg(long)]
    list: bool,
    /// Lives at a time.
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let campaign = campaign(Arguments::parse());
    let ended = tokio::select! {
        ended = campaign => ended,
        // What is dropped now ends its processes, those that a plan has stopped too.
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            // A terminal that is gone cannot be told about it.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn campaign(arguments: Arguments) -> Result<ExitCode, String> {
    let cluster = cluster::shared().await.map_err(|e| e.to_string())?;
    Farm::define(cluster).await.map_err(|e| e.to_string())?;
    let program = std::env::current_exe().unwrap_or_default().with_file_name("printernizer");
    let stage = Stage { cluster, program };
    if arguments.mutations {
        return mutate(&arguments, &stage).await;
    }
    let plans = if arguments.plan.is_empty() {
        let seed = arguments.seed.unwrap_or_else(rand::random);
        say(&format!("seed {seed}"));
        let plans = arguments.plans.or((!arguments.list).then_some(PLANS));
        Campaign { plans, seed }.enumerate(&stage).await?
    } else {
        let named = arguments.plan.iter().map(|name| name.parse::<Plan>());
        named.collect::<Result<_, _>>().map_err(|e| e.to_string())?
    };
    if arguments.list {
        for plan in &plans {
            say(&plan.to_string());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let told = live_all(&stage, &plans, arguments.parallel, &mut say).await;
    let mut well = told.failed == 0;
    if told.unmet > 0 {
        say(&format!(
            "\n{} plans met nothing that was to go wrong: they tested nothing and are not counted",
            told.unmet
        ));
        well &= told.unmet * 100 <= plans.len() * UNMET_PERCENT;
    }
    say(&format!("\n{} passed, {} failed", told.passed, told.failed));
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Changes specs; `--plans` takes the first so many of those chosen by the seed, as it does with plans.
async fn mutate(arguments: &Arguments, stage: &Stage<'_>) -> Result<ExitCode, String> {
    let mut chosen = mutations::all()?;
    if !arguments.plan.is_empty() {
        chosen.retain(|mutation| arguments.plan.contains(&mutation.to_string()));
        if chosen.is_empty() {
            return Err("there is no such mutation; --mutations --list shows all".into());
        }
    }
    if let Some(wanted) = arguments.plans {
        let seed = arguments.seed.unwrap_or_else(rand::random);
        say(&format!("seed {seed}"));
        chosen.shuffle(&mut StdRng::seed_from_u64(seed));
        chosen.truncate(wanted);
    }
    if arguments.list {
        for mutation in &chosen {
            say(&mutation.to_string());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let program = stage.program.clone();
    let told = mutations::make_all(stage.cluster, program, &chosen, arguments.parallel, &mut say).await?;
    say(&format!("\n{} passed, {} failed", told.passed, told.failed));
    Ok(if told.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A terminal that is gone must not end the campaign.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
