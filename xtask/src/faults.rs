//! `cargo xtask faults`: builds what the fault campaign needs and becomes it, or the spec mutations with `--mutations`.
//!
//! The campaign itself is `printernizer-faults` in e2e/.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Error;
use crate::install::Use;
use crate::launch::launch;

/// The program that is the campaign.
const FAULTS: &str = "printernizer-faults";

/// Arguments of `faults`.
#[derive(clap::Args)]
pub struct Arguments {
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
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
}

/// Builds and runs. Returns only when something is missing.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let existing = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    launch(FAULTS, existing, &[Use::Build, Use::Faults], options(arguments))
}

fn options(arguments: &Arguments) -> Vec<OsString> {
    let numbers = [
        ("--plans", arguments.plans.map(|n| n.to_string())),
        ("--seed", arguments.seed.map(|n| n.to_string())),
        ("--parallel", arguments.parallel.map(|n| n.to_string())),
    ];
    let numbers = numbers.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
    let plans = arguments.plan.iter().map(|name| ["--plan".to_owned(), name.clone()]);
    let switches = [("--mutations", arguments.mutations), ("--list", arguments.list)];
    let switches = switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned());
    numbers.chain(plans).flatten().chain(switches).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_asks_for_reaches_the_campaign() {
        let plan = vec!["prusa: disk-full".to_owned(), "bambu: disk-full".to_owned()];
        let arguments = Arguments { plans: Some(40), seed: Some(7), plan, mutations: true, list: true, parallel: None };
        assert_eq!(
            options(&arguments),
            [
                "--plans",
                "40",
                "--seed",
                "7",
                "--plan",
                "prusa: disk-full",
                "--plan",
                "bambu: disk-full",
                "--mutations",
                "--list"
            ]
        );
    }
}
