//! Copies of recovery points at further places. Whole points only, one after the other, each one's manifest last: what is
//! copied halfway is no recovery point there either, and is completed by the next run. A copy that was away for a while gets
//! all it has missed.

use printernizer_crds::backup_policy::RunReason;

use super::points::{Held, Point};
use super::{Run, points};
use crate::engine::{Engine as _, EngineError, Restic};
use crate::failure::Failure;

/// What went wrong at the copies of one run, after all was done at the target.
#[derive(Default)]
pub(super) struct Failures(Vec<Failure>);

impl Failures {
    /// Keeps what went wrong at a copy, for the others are worth their run. Only the order to stop ends it.
    pub(super) fn note(&mut self, copy: &Restic, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Ok(()) => {}
            Err(failure) if failure.reason == RunReason::Interrupted => return Err(failure),
            Err(failure) if failure.message.contains(&copy.location()) => self.0.push(failure),
            Err(Failure { reason, message }) => {
                self.0.push(Failure::new(reason, format!("{}: {message}", copy.location())));
            }
        }
        Ok(())
    }

    /// Nothing, or all of it: the copies failed, whatever each of them lacks, but damage is damage wherever it is.
    pub(super) fn told(self, done: &str, but: &str) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let damaged = self.0.iter().any(|failure| failure.reason == RunReason::RepositoryDamaged);
        let reason = if damaged { RunReason::RepositoryDamaged } else { RunReason::CopyFailed };
        let named: Vec<String> = self.0.into_iter().map(|failure| failure.message).collect();
        Err(Failure::new(reason, format!("{done}, {but}: {}", named.join("; "))))
    }
}

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

    async fn make_copy(&self, copy: &Restic, held: &Held) -> Result<(), EngineError> {
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
            match self.copy_point(copy, point).await {
                Err(_) if self.is_gone(point).await? => {}
                done => done?,
            }
            copied = true;
        }
        if !copied {
            return Ok(());
        }
        let there = points::held(copy.snapshots(&self.host()).await?);
        for point in held.points.iter().filter(|point| !there.has(&point.run)) {
            if !self.is_gone(point).await? {
                return Err(EngineError::Other(format!(
                    "recovery point {} was copied to {} and is not whole there: somebody else forgets snapshots there, or has \
                     others with the same tags",
                    point.run,
                    copy.location()
                )));
            }
        }
        Ok(())
    }

    async fn copy_point(&self, copy: &Restic, point: &Point) -> Result<(), EngineError> {
        let parts: Vec<String> = point.parts.iter().map(|part| part.id.clone()).collect();
        copy.copy(&self.target, &parts).await?;
        copy.copy(&self.target, std::slice::from_ref(&point.manifest.id)).await
    }

    /// Whether a point was forgotten at the target since it was listed: then a prune came between, and nobody lacks its copy.
    async fn is_gone(&self, point: &Point) -> Result<bool, EngineError> {
        Ok(!points::held(self.target.snapshots(&self.host()).await?).has(&point.run))
    }
}
