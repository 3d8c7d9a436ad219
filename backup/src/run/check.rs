//! Reads the repository and its copies and compares them with their own checksums, and looks whether every recovery point is
//! whole. All places are looked at before it fails, so that what is wrong is told at once.

use printernizer_crds::backup_policy::RunReason;

use super::copies::Failures;
use super::points::Held;
use super::{Facts, Run, no_longer_whole, sized};
use crate::engine::{Engine as _, Restic};
use crate::failure::Failure;

impl Run {
    pub(super) async fn check(&self, facts: &mut Facts) -> Result<String, Failure> {
        let percent = self.told.configuration.verification.check.as_ref().map_or(0, |check| check.read_data_percent);
        let percent = u8::try_from(percent.clamp(0, 100)).unwrap_or(100);
        facts.read_data_percent = Some(percent);
        let id = self.existing().await?;
        let held = self.held(&self.target).await?;
        let mut known = held.facts(&id);
        held.newest().into_iter().for_each(|point| facts.concern(point));
        facts.repository = Some(known.clone());
        let checked = match self.refuse_a_loss(&held) {
            Ok(()) => check_one(&self.target, &held, percent).await,
            lost => lost,
        };
        if let Err(failure) = checked {
            return Err(self.and_what_copies_are(failure, &held, percent).await);
        }
        let size = self.target.size_bytes().await?;
        known.size_bytes = Some(super::signed(size));
        facts.repository = Some(known);
        let done = format!("the repository with {} is whole by {}", sized(size), read(percent));
        let mut failures = Failures::default();
        for copy in &self.copies {
            failures.note(copy, self.check_copy(copy, &held, percent).await)?;
        }
        let places = match self.copies.len() {
            0 => String::new(),
            1 => ", and so is its copy".to_owned(),
            count => format!(", and so are its {count} copies"),
        };
        failures.told(&done, "but not everywhere").map(|()| format!("{done}{places}"))
    }

    /// What is wrong at the target, and before it whether a copy is whole: that is what a person needs now.
    async fn and_what_copies_are(&self, failure: Failure, held: &Held, percent: u8) -> Failure {
        if !matches!(failure.reason, RunReason::RepositoryDamaged | RunReason::NoRecoveryPoint) {
            return failure;
        }
        let mut told = Vec::new();
        for copy in &self.copies {
            let is = match self.check_copy(copy, held, percent).await {
                Ok(()) => format!("is whole by {}", read(percent)),
                // Nor does an order to stop meanwhile undo what was found.
                Err(_) => "is not known to be whole either: check it by hand".to_owned(),
            };
            told.push(format!("The copy at {} {is}", copy.location()));
        }
        told.push(failure.message);
        Failure::new(failure.reason, told.join(". "))
    }

    async fn check_copy(&self, copy: &Restic, target: &Held, percent: u8) -> Result<(), Failure> {
        if copy.open().await?.is_none() {
            return Err(Failure::other(format!("no copy is at {}: the next backup makes it", copy.location())));
        }
        let held = self.held(copy).await?;
        check_one(copy, &held.beside(target), percent).await
    }
}

/// What a check that reads so much of the data goes by.
fn read(percent: u8) -> String {
    match percent {
        0 => "its structure".to_owned(),
        percent => format!("its structure and {percent} % of its data"),
    }
}

/// Checks one place. Data and points are looked at both, and what is wrong with either is told.
async fn check_one(engine: &Restic, held: &Held, percent: u8) -> Result<(), Failure> {
    let checked = engine.check(percent).await;
    match (no_longer_whole(held, engine), checked) {
        (None, checked) => Ok(checked?),
        (Some(told), Ok(())) => Err(Failure::new(RunReason::RepositoryDamaged, told)),
        (Some(told), Err(error)) => {
            Err(Failure::new(RunReason::RepositoryDamaged, format!("{error}. Besides, {told}")))
        }
    }
}
