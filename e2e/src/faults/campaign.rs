//! Lives the plans, several at a time in namespaces of their own, and tells what came of each.

use std::time::{Duration, Instant};

use futures::StreamExt as _;

use super::{Plan, enumerate};
use crate::life::{Course, Life, Maker, Stage, live};

/// What is to be lived.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// How many plans; all single faults where it is absent.
    pub plans: Option<usize>,
    /// What chooses, orders and pairs them.
    pub seed: u64,
}

/// What came of plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Lives in which everything was as it must be.
    pub passed: usize,
    /// Others.
    pub failed: usize,
    /// Lives in which all was well, and what was to go wrong did not: a request was not there this time.
    pub unmet: usize,
}

impl Campaign {
    /// The plans, from a life with each kind of printer in which nothing goes wrong.
    pub async fn enumerate(&self, stage: &Stage<'_>) -> Result<Vec<Plan>, String> {
        let mut singles = Vec::new();
        for maker in [Maker::Prusa, Maker::Bambu] {
            let life = Life::new(maker, Course::Printed);
            let story = live(stage, life, &[]).await.map_err(|why| format!("nothing went wrong, and yet: {why}"))?;
            singles.extend(enumerate::singles(maker, &story));
        }
        let wanted = self.plans.unwrap_or(singles.len());
        Ok(enumerate::chosen(singles, wanted, self.seed))
    }
}

/// Lives all these plans, so many at a time, and says a line about each; of each that failed why, and the command that
/// lives it again.
pub async fn live_all(stage: &Stage<'_>, plans: &[Plan], at_a_time: usize, tell: &mut impl FnMut(&str)) -> Told {
    let lives = futures::stream::iter(plans).map(async |plan: &Plan| {
        let begun = Instant::now();
        (plan, live(stage, plan.life, &plan.steps).await, begun.elapsed())
    });
    let mut lives = std::pin::pin!(lives.buffer_unordered(at_a_time.max(1)));
    let (mut told, mut number) = (Told::default(), 0);
    while let Some((plan, story, took)) = lives.next().await {
        number += 1;
        let line = |what: &str, took: Duration| {
            format!("[{number}/{}] {what}, {:.1} s: {plan}", plans.len(), took.as_secs_f64())
        };
        match story {
            Ok(story) if !story.met => {
                told.unmet += 1;
                tell(&line("not met", took));
            }
            Ok(story) => {
                told.passed += 1;
                tell(&line(if story.asked { "passed, a person was asked" } else { "passed" }, took));
            }
            Err(why) => {
                told.failed += 1;
                tell(&line("FAILED", took));
                tell(&format!("replay: cargo xtask faults --plan '{plan}'\n{why}\n"));
            }
        }
    }
    told
}
