//! Exploring a farm: every order of events of a small one, or random orders of a large one.

use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::model::{Action, Farm};
use crate::promises::COMES_TO_ITS_END;
use crate::reduce::Event;
use crate::size::{ALL, Size};
use crate::tell;
use crate::world::World;

/// Where to stop before everything is explored; then the result says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// States beyond which nothing more is explored.
    pub states: Option<usize>,
    /// Steps beyond which nothing more is explored.
    pub depth: Option<usize>,
}

/// What exploring came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// For people.
    pub lines: Vec<String>,
    /// Promises that held, and things that were to be possible and are.
    pub passed: usize,
    /// Those that are not so; named.
    pub broken: Vec<&'static str>,
}

/// Explores every order of events; those too that come to the same as others where `whole` is asked for.
pub fn explore(size: Size, whole: bool, threads: usize, limits: Limits) -> Outcome {
    let begun = Instant::now();
    let farm = if whole { Farm::whole(size) } else { Farm::new(size) };
    let mut builder = farm.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(states) = limits.states {
        builder = builder.target_state_count(states);
    }
    if let Some(depth) = limits.depth {
        builder = builder.target_max_depth(depth);
    }
    let checker = builder.spawn_bfs().join();
    let took = begun.elapsed();
    let mut outcome = Outcome::default();
    let stopped = limits.states.is_some_and(|n| checker.state_count() >= n);
    let cut = limits.depth.is_some_and(|n| checker.max_depth() >= n);
    let discoveries = checker.discoveries();
    for property in checker.model().properties() {
        let found = discoveries.get(property.name);
        match (&property.expectation, found) {
            (Expectation::Sometimes, Some(_)) | (Expectation::Always | Expectation::Eventually, None) => {
                outcome.passed += 1;
            }
            (Expectation::Sometimes, None) => {
                // A run that was stopped has not shown what is impossible.
                if discoveries.len() == discoveries.keys().filter(|k| is_sometimes(checker.model(), k)).count() {
                    outcome.broken.push(property.name);
                    outcome.lines.push(format!("{}: never happened: {}", size.name, property.name));
                }
            }
            (_, Some(path)) => {
                outcome.broken.push(property.name);
                let actions = path.clone().into_actions();
                outcome.lines.push(format!("{}: broken: {}", size.name, property.name));
                outcome.lines.push(tell::story(checker.model(), actions));
                if property.name == COMES_TO_ITS_END {
                    outcome.lines.push(tell::aftermath(checker.model(), path.last_state()));
                }
            }
        }
    }
    let mut how = match (outcome.broken.is_empty(), stopped, cut) {
        (false, ..) => "stopped at what is broken".to_owned(),
        (_, true, _) => format!("NOT all: stopped at {} steps", checker.state_count()),
        (_, _, true) => format!("all up to {} events in a row", checker.max_depth().saturating_sub(1)),
        _ => "all there are".to_owned(),
    };
    if size.overlap != ALL {
        how = format!("{how}, with at most {} passes half-way", size.overlap);
    }
    outcome.lines.push(figures(
        size,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        took,
        &how,
    ));
    outcome
}

fn is_sometimes(farm: &Farm, name: &str) -> bool {
    farm.properties().iter().any(|p| p.name == name && p.expectation == Expectation::Sometimes)
}

fn figures(size: Size, states: usize, steps: usize, depth: usize, took: Duration, how: &str) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let speed = steps as f64 / seconds;
    format!(
        "{:<10} {states:>10} states, {steps:>11} steps, at most {depth} in a row, {seconds:.1} s, {speed:.0} steps/s: {how}",
        size.name
    )
}

/// Random orders of events, each with its own seed.
pub fn walk(size: Size, walks: u64, seed: u64, length: usize) -> Outcome {
    let begun = Instant::now();
    let farm = Farm::whole(size);
    let mut outcome = Outcome::default();
    let mut steps = 0;
    for seed in seed..seed.saturating_add(walks) {
        match one_walk(&farm, seed, length) {
            Ok(taken) => {
                steps += taken;
                outcome.passed += 1;
            }
            Err((promise, actions, last)) => {
                outcome.broken.push(promise);
                outcome.lines.push(format!("{}: broken: {promise}", size.name));
                let again = format!("cargo xtask model --size {} --walks 1 --seed {seed}", size.name);
                outcome.lines.push(format!("by seed {seed}; see it again: {again}"));
                outcome.lines.push(tell::story(&farm, actions));
                if promise == COMES_TO_ITS_END {
                    outcome.lines.push(tell::aftermath(&farm, &last));
                }
                break;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    outcome.lines.push(format!(
        "{:<10} {} walks from seed {seed}, {steps} events, {seconds:.1} s, broken: {}",
        size.name,
        outcome.passed + outcome.broken.len(),
        outcome.broken.len()
    ));
    outcome
}

/// Events that only open a chance to go wrong are taken more rarely, so that walks get somewhere.
fn is_rare(action: &Action) -> bool {
    matches!(
        action,
        Action::NextLeader(_)
            | Action::Reboots(_)
            | Action::Reachable(_, false)
            | Action::Long
            | Action::Want(..)
            | Action::AtScreen(..)
    )
}

/// A promise that was broken, after which events, and where.
type Found = (&'static str, Vec<Event>, Box<World>);

fn one_walk(farm: &Farm, seed: u64, length: usize) -> Result<usize, Found> {
    let mut dice = Dice::new(seed);
    let mut w = farm.begin();
    let (mut taken, mut choices) = (Vec::new(), Vec::new());
    while taken.len() < length {
        choices.clear();
        farm.possible(&w, &mut choices);
        let next = loop {
            if choices.is_empty() {
                break None;
            }
            let action = choices.swap_remove(dice.below(choices.len()));
            if is_rare(&action) && dice.below(8) != 0 {
                continue;
            }
            let mut next = w.clone();
            farm.happens(&mut next, action);
            if next != w && farm.is_within(&next) {
                break Some(Event { decided: Vec::new(), then: action, next });
            }
        };
        let Some(event) = next else { break };
        w.clone_from(&event.next);
        taken.push(event);
        if let Some(broken) = w.truth.broken {
            return Err((broken.text(), taken, Box::new(w)));
        }
        if taken.len().is_multiple_of(25) && !farm.comes_to_its_end(&w) {
            return Err((COMES_TO_ITS_END, taken, Box::new(w)));
        }
    }
    if farm.comes_to_its_end(&w) { Ok(taken.len()) } else { Err((COMES_TO_ITS_END, taken, Box::new(w))) }
}

/// Random numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n.max(1) as u64).unwrap_or(0)
    }
}
