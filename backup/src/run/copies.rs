//! Copies of recovery points at further places. Whole points only, one after the other, each one's manifest last: what is
//! copied halfway is no recovery point there either, and is completed by the next run. A copy that was away for a while gets
//! all it has missed.

use super::points::Held;
use super::{Run, points};
use crate::engine::{Engine as _, EngineError};
use crate::failure::Failure;

impl Run {
    /// Brings every copy up to date; tries all of them before it fails. Gives how many there are.
    pub(super) async fn make_copies(&self, held: &Held) -> Result<usize, Failure> {
        let mut failures = Vec::new();
        for copy in &self.copies {
            match self.make_copy(copy, held).await {
                Ok(()) => {}
                Err(EngineError::Interrupted) => {
                    failures.push(format!(
                        "the run was told to stop while it was copied to {}; the next backup copies what is missing",
                        copy.location()
                    ));
                    break;
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
        if failures.is_empty() { Ok(self.copies.len()) } else { Err(Failure::other(failures.join("; "))) }
    }

    async fn make_copy(&self, copy: &crate::engine::Restic, held: &Held) -> Result<(), EngineError> {
        if !copy.place().shares_access(self.target.place()) {
            return Err(EngineError::Other(format!(
                "{} has another access key, region or style of addresses than {}, and restic knows one for all S3 buckets: give \
                 both the same, or make one of the two a volume",
                copy.location(),
                self.target.location()
            )));
        }
        if copy.open().await?.is_none() {
            copy.create(Some(&self.target)).await?;
        }
        let there = points::held(copy.snapshots(&self.host()).await?);
        let mut copied = false;
        for point in held.points.iter().filter(|point| !there.has(&point.run)) {
            let parts: Vec<String> = point.parts.iter().map(|part| part.id.clone()).collect();
            copy.copy(&self.target, &parts).await?;
            copy.copy(&self.target, std::slice::from_ref(&point.manifest.id)).await?;
            copied = true;
        }
        if !copied {
            return Ok(());
        }
        let there = points::held(copy.snapshots(&self.host()).await?);
        match held.points.iter().find(|point| !there.has(&point.run)) {
            None => Ok(()),
            Some(point) => Err(EngineError::Other(format!(
                "recovery point {} was copied to {} and is not whole there: somebody else forgets snapshots there, or has \
                 others with the same tags",
                point.run,
                copy.location()
            ))),
        }
    }
}
