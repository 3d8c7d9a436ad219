//! Reads the repository and its copies and compares them with their own checksums, and looks whether every recovery point is
//! whole. All places are looked at before it fails, so that what is wrong is told at once.

use std::time::{Duration, Instant};

use printernizer_crds::backup_policy::{Reading, RunReason};

use super::copies::Failures;
use super::points::Held;
use super::{Facts, Run, no_longer_whole, sized};
use crate::engine::{Engine as _, MOST_PARTS, Restic, Sample};
use crate::failure::Failure;

impl Run {
    pub(super) async fn check(&self, facts: &mut Facts) -> Result<String, Failure> {
        if let Some(reading) = self.told.configuration.reading {
            return self.read_on(reading, facts).await;
        }
        let percent = self.told.configuration.verification.check.as_ref().map_or(0, |check| check.read_data_percent);
        let percent = u8::try_from(percent.clamp(0, 100)).unwrap_or(100);
        facts.read_data_percent = Some(percent);
        self.look(Sample::Percent(percent), facts).await
    }

    /// Reads everything, in parts that are the same each time, from where other checks ended: as far as it comes in its time. The
    /// structure is looked at with each.
    async fn read_on(&self, before: Reading, facts: &mut Facts) -> Result<String, Failure> {
        let begun = Instant::now();
        self.existing().await?;
        let known = u16::try_from(before.of).ok().filter(|of| (1..=MOST_PARTS).contains(of));
        let of = if let Some(known) = known {
            known
        } else {
            let parts = self.target.size_bytes().await?.div_ceil(self.told.limits.part_bytes.max(1));
            u16::try_from(parts).unwrap_or(MOST_PARTS).clamp(1, MOST_PARTS)
        };
        let first = u16::try_from(before.done).unwrap_or(0) % of;
        facts.read_before = Some(i32::from(first));
        let time = self.told.configuration.seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(reading_time);
        let (mut done, mut longest, mut told) = (first, Duration::ZERO, String::new());
        while done < of {
            // At least one: what does not fit at all is seen by the deadline of its Job.
            if done > first && time.is_some_and(|time| begun.elapsed() + longest + longest / 4 > time) {
                break;
            }
            let since = Instant::now();
            let sample = if of == 1 { Sample::Percent(100) } else { Sample::Part(done + 1, of) };
            told = self.look(sample, facts).await.map_err(|Failure { reason, message }| {
                let which = if of == 1 { String::new() } else { format!(" (when part {} of {of} was read)", done + 1) };
                Failure::new(reason, message + &which)
            })?;
            longest = longest.max(since.elapsed());
            done += 1;
            facts.reading = Some(Reading { done: done.into(), of: of.into() });
            facts.read_data_percent = u8::try_from(u32::from(done - first) * 100 / u32::from(of)).ok();
        }
        if of == 1 {
            return Ok(told);
        }
        let goes_on = if done < of { "the next check goes on" } else { "which is the last" };
        Ok(format!("{told}; read were parts {} to {done}, and {goes_on}", first + 1))
    }

    async fn look(&self, sample: Sample, facts: &mut Facts) -> Result<String, Failure> {
        let id = self.existing().await?;
        let held = self.held(&self.target).await?;
        let mut known = held.facts(&id);
        held.newest().into_iter().for_each(|point| facts.concern(point));
        facts.repository = Some(known.clone());
        let checked = match self.refuse_a_loss(&held) {
            Ok(()) => check_one(&self.target, &held, sample).await,
            lost => lost,
        };
        if let Err(failure) = checked {
            return Err(self.and_what_copies_are(failure, &held, sample, facts).await);
        }
        let size = self.target.size_bytes().await?;
        known.size_bytes = Some(super::signed(size));
        facts.repository = Some(known);
        let done = format!("the repository with {} is whole by {}", sized(size), read(sample));
        let mut failures = Failures::default();
        for copy in &self.copies {
            failures.note(copy, self.check_copy(copy, &held, sample, facts).await)?;
        }
        let places = match self.copies.len() {
            0 => String::new(),
            1 => ", and so is its copy".to_owned(),
            count => format!(", and so are its {count} copies"),
        };
        failures.told(&done, "but not everywhere").map(|()| format!("{done}{places}"))
    }

    /// What is wrong at the target, and before it whether a copy is whole: that is what a person needs now.
    async fn and_what_copies_are(&self, failure: Failure, held: &Held, sample: Sample, facts: &mut Facts) -> Failure {
        if !matches!(failure.reason, RunReason::RepositoryDamaged | RunReason::NoRecoveryPoint) {
            return failure;
        }
        let mut told = Vec::new();
        for copy in &self.copies {
            let is = match self.check_copy(copy, held, sample, facts).await {
                Ok(()) => format!("is whole by {}", read(sample)),
                // Nor does an order to stop meanwhile undo what was found.
                Err(_) => "is not known to be whole either: check it by hand".to_owned(),
            };
            told.push(format!("The copy at {} {is}", copy.location()));
        }
        told.push(failure.message);
        Failure::new(failure.reason, told.join(". "))
    }

    async fn check_copy(&self, copy: &Restic, target: &Held, sample: Sample, facts: &mut Facts) -> Result<(), Failure> {
        if self.open_copy(copy, facts).await?.is_none() {
            return Err(Failure::other(format!("no copy is at {}: the next backup makes it", copy.location())));
        }
        let held = self.held(copy).await?;
        check_one(copy, &held.beside(target), sample).await
    }
}

/// What a check that reads so much of the data goes by.
fn read(sample: Sample) -> String {
    match sample {
        Sample::Percent(0) => "its structure".to_owned(),
        Sample::Percent(percent) => format!("its structure and {percent} % of its data"),
        Sample::Part(part, of) => format!("its structure and part {part} of {of} of its data"),
    }
}

/// How long a run may read that may take so long: it has to begin, and to tell.
fn reading_time(seconds: u64) -> Duration {
    /// What else a run needs, in seconds.
    const MARGIN: u64 = 300;
    Duration::from_secs(seconds.saturating_sub(MARGIN).max(seconds / 2))
}

/// Checks one place. Data and points are looked at both, and what is wrong with either is told.
async fn check_one(engine: &Restic, held: &Held, sample: Sample) -> Result<(), Failure> {
    let checked = engine.check(sample).await;
    match (no_longer_whole(held, engine), checked) {
        (None, checked) => Ok(checked?),
        (Some(told), Ok(())) => Err(Failure::new(RunReason::RepositoryDamaged, told)),
        (Some(told), Err(error)) => {
            Err(Failure::new(RunReason::RepositoryDamaged, format!("{error}. Besides, {told}")))
        }
    }
}
