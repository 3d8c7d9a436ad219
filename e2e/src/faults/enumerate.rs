//! The plans of a campaign: from a life in which nothing goes wrong, everything that can, at every request of it.

use std::collections::HashSet;

use printernizer_simulator::Fault;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{SeedableRng as _, rngs::StdRng};

use super::{Plan, printers};
use crate::life::{Course, Life, Maker, Step, Story};
use crate::proxy::{Deed, Hook, Read, Rule, Which, Write};

/// Writes of one name beyond these are as the ones before.
const OCCURRENCES: usize = 2;

/// What can happen to a write to the API server.
const API: [Hook; 9] = [
    Hook::DropBefore,
    Hook::DropAfter,
    Hook::Late,
    Hook::AnswerLate,
    Hook::Refuse(409),
    Hook::Refuse(429),
    Hook::Refuse(500),
    Hook::Refuse(503),
    Hook::Refuse(504),
];
/// What can happen to a request to a printer that speaks HTTP.
const HTTP: [Hook; 7] = [
    Hook::DropBefore,
    Hook::DropAfter,
    Hook::AnswerLate,
    Hook::Refuse(404),
    Hook::Refuse(409),
    Hook::Refuse(500),
    Hook::Refuse(503),
];
/// What can happen to a command to another one.
const COMMAND: [Hook; 3] = [Hook::DropBefore, Hook::DropAfter, Hook::AnswerLate];
/// What can happen around any write: to watches, to the process, to the printer.
const AROUND: [Hook; 14] = [
    Hook::StopBefore,
    Hook::StopAfter,
    Hook::CutWatches,
    Hook::ExpireWatches,
    Hook::FreezeWatches,
    Hook::StaleAfter,
    Hook::AncientAfter,
    Hook::HoldBefore(Deed::Unreachable),
    Hook::HoldAfter(Deed::Unreachable),
    Hook::HoldBefore(Deed::Silent),
    Hook::HoldAfter(Deed::Reboot),
    Hook::HoldBefore(Deed::ClockAhead),
    Hook::HoldBefore(Deed::ClockBack),
    Hook::HoldAfter(Deed::Freeze),
];
/// What can happen around any write where a second operator waits.
const TWO: [Hook; 3] = [Hook::StopBefore, Hook::HoldBefore(Deed::Freeze), Hook::HoldAfter(Deed::Freeze)];
/// What can happen to a read: one of these each, in turn.
const READ: [Hook; 4] = [Hook::DropBefore, Hook::Refuse(503), Hook::DropAfter, Hook::Refuse(429)];

/// Everything that can go wrong alone in such a life.
pub(super) fn singles(maker: Maker, story: &Story) -> Vec<Plan> {
    let alone = Life::new(maker, Course::Printed);
    let two = Life { operators: 2, ..alone };
    let mut plans = Vec::new();
    let mut plan = |life: Life, step: Step| plans.push(Plan { life, steps: vec![step] });
    for write in story.trace.iter().filter(|w| w.occurrence <= OCCURRENCES) {
        let own = match (write.name.starts_with(maker.printer()), maker) {
            (false, _) => &API[..],
            (true, Maker::Prusa) => &HTTP[..],
            (true, Maker::Bambu) => &COMMAND[..],
        };
        for hook in own.iter().chain(&AROUND) {
            plan(alone, at(write, *hook));
        }
        for hook in TWO {
            plan(two, at(write, hook));
        }
    }
    for (index, read) in reads(story).into_iter().enumerate() {
        if let (Some(hook), Some((write, occurrence))) = (READ.get(index % READ.len()), read.since) {
            let which = Which::Since { name: read.name, nth: read.nth, write, occurrence };
            plan(alone, Step::Request(Rule { which, hook: *hook }));
        }
    }
    for fault in printers::of(maker) {
        plan(alone, Step::Printer(fault));
    }
    if maker == Maker::Prusa {
        plan(alone, Step::DiskFull);
    }
    plans
}

fn at(write: &Write, hook: Hook) -> Step {
    let which = Which::Named { name: write.name.clone(), occurrence: write.occurrence };
    Step::Request(Rule { which, hook })
}

/// The first read of each name since each write. Those whose names differ from run to run are left out.
fn reads(story: &Story) -> Vec<Read> {
    let mut seen = HashSet::new();
    let once = |read: &&Read| {
        let write = read.since.as_ref().is_some_and(|(_, occurrence)| *occurrence <= OCCURRENCES);
        read.nth == 1 && write && !read.name.contains("-pz-") && seen.insert((*read).clone())
    };
    story.reads.iter().filter(once).cloned().collect()
}

/// So many of them in an order that follows from the seed; where more are wanted than there are, pairs of them too.
pub(super) fn chosen(mut singles: Vec<Plan>, wanted: usize, seed: u64) -> Vec<Plan> {
    let mut random = StdRng::seed_from_u64(seed);
    let alone = singles.clone();
    singles.shuffle(&mut random);
    singles.truncate(wanted);
    while singles.len() < wanted {
        let Some(pair) = pair(&alone, &mut random) else { break };
        singles.push(pair);
    }
    singles
}

/// Two things that go wrong in one life. Two faults of a printer at once are left out: which of them a print meets is
/// not for the plan to say.
fn pair(singles: &[Plan], random: &mut StdRng) -> Option<Plan> {
    let first = singles.choose(random)?;
    let is_fault = |plan: &Plan| matches!(plan.steps.as_slice(), [Step::Printer(Fault { .. })]);
    let fits =
        |other: &&Plan| other.life == first.life && other.steps != first.steps && !(is_fault(first) && is_fault(other));
    let others: Vec<&Plan> = singles.iter().filter(fits).collect();
    let second = others.choose(random)?;
    Some(Plan { life: first.life, steps: [first.steps.clone(), second.steps.clone()].concat() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story() -> Story {
        let write =
            |name: &str| Write { number: 1, name: name.into(), occurrence: 1, life: 0, status: None, answered: None };
        let read = |name: &str| Read { name: name.into(), nth: 1, since: Some(("PUT printers/a/status".into(), 1)) };
        Story {
            trace: vec![write("PUT printers/prusa-1/status Idle"), write("prusa-1 POST start")],
            reads: vec![
                read("GET printers/prusa-1"),
                read("GET printers/prusa-1"),
                read("GET /a-pz-1"),
                read("WATCH x"),
            ],
            met: true,
            kills: 0,
            asked: false,
            found_nothing_shown: false,
            start_commands: 1,
        }
    }

    #[test]
    fn every_plan_has_a_name_of_its_own_by_which_it_is_found_again() {
        for maker in [Maker::Prusa, Maker::Bambu] {
            let plans = singles(maker, &story());
            let names: HashSet<String> = plans.iter().map(ToString::to_string).collect();
            assert_eq!(names.len(), plans.len());
            for plan in &plans {
                assert_eq!(plan.to_string().parse::<Plan>().unwrap(), *plan);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plans_and_pairs_follow_when_the_single_ones_are_used_up() {
        let plans = singles(Maker::Prusa, &story());
        let (count, more) = (plans.len(), plans.len() + 7);
        assert_eq!(chosen(plans.clone(), more, 3), chosen(plans.clone(), more, 3));
        assert_ne!(chosen(plans.clone(), more, 3), chosen(plans.clone(), more, 4));
        let all = chosen(plans, more, 3);
        assert!(all[..count].iter().all(|p| p.steps.len() == 1) && all[count..].iter().all(|p| p.steps.len() == 2));
        assert_eq!(all.len(), more);
    }

    #[test]
    fn reads_of_one_name_since_one_write_are_one_and_names_of_one_run_are_left_out() {
        let names: Vec<String> = reads(&story()).into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["GET printers/prusa-1", "WATCH x"]);
    }
}
