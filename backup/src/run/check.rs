//! Reads the repository and its copies and compares them with their own checksums.

use printernizer_crds::backup_policy::RunReason;

use super::{Facts, Run, sized};
use crate::engine::{Engine as _, Restic};
use crate::failure::Failure;

impl Run {
    pub(super) async fn check(&self, facts: &mut Facts) -> Result<String, Failure> {
        let percent = self.told.configuration.verification.check.as_ref().map_or(0, |check| check.read_data_percent);
        let percent = u8::try_from(percent.clamp(0, 100)).unwrap_or(100);
        let id = self.existing().await?;
        let held = self.held(&self.target).await?;
        let mut known = held.facts(&id);
        held.newest().into_iter().for_each(|point| facts.concern(point));
        facts.repository = Some(known.clone());
        self.check_one(&self.target, percent).await?;
        let size = self.target.size_bytes().await?;
        known.size_bytes = Some(super::signed(size));
        facts.repository = Some(known);
        for copy in &self.copies {
            if copy.open().await?.is_none() {
                return Err(Failure::new(
                    RunReason::CopyFailed,
                    format!("the target is whole, and no copy is at {}: the next backup makes it", copy.location()),
                ));
            }
            self.check_one(copy, percent).await?;
        }
        let places = match self.copies.len() {
            0 => String::new(),
            1 => ", and so is its copy".to_owned(),
            count => format!(", and so are its {count} copies"),
        };
        let read = if percent == 0 {
            "its structure".to_owned()
        } else {
            format!("its structure and {percent} % of its data")
        };
        Ok(format!("the repository with {} is whole by {read}{places}", sized(size)))
    }

    async fn check_one(&self, engine: &Restic, percent: u8) -> Result<(), Failure> {
        Ok(engine.check(percent).await?)
    }
}
