//! Copies of recovery points at further places. Whole points only, one after the other, each one's manifest last: what is
//! copied halfway is no recovery point there either, and is completed by the next run. A copy that was away for a while gets
//! all it has missed.

use printernizer_crds::backup_policy::{RepositoryStatus, RunReason};

use super::points::{Held, Point};
use super::{Facts, Run, points, short};
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

/// A copy that is at the place of another one.
fn exchanged(location: &str, known: Option<&RepositoryStatus>, other: &RepositoryStatus) -> Failure {
    let mut ids: Vec<&str> = known.map(|known| known.id.as_str()).into_iter().collect();
    ids.push(&other.id);
    Failure::new(
        RunReason::CopyFailed,
        format!(
            "the copy of {} ({}) is at {location}: the copies have changed places, or both places are the same one; nothing was \
             written there. Bring each back to its place; or, if they are to stay so, set spec.acknowledged to {}",
            other.location,
            short(&other.id),
            ids.join(", and when that is done to ")
        ),
    )
}

impl Run {
    /// Opens a copy and compares it with the repository that held it so far: what was emptied or exchanged is not begun anew, for
    /// then nobody would learn that what was there is gone. None if there is none yet and none is expected.
    pub(super) async fn open_copy(&self, copy: &Restic, facts: &mut Facts) -> Result<Option<String>, Failure> {
        let id = self.guard_copy(copy).await?;
        let index = self.copies.iter().position(|other| std::ptr::eq(other, copy)).unwrap_or_default();
        facts.copies.resize(self.copies.len(), None);
        if let Some(id) = &id {
            self.refuse_the_same(copy, id, facts)?;
        }
        if let Some(known) = facts.copies.get_mut(index) {
            known.clone_from(&id);
        }
        Ok(id)
    }

    /// Fails where a copy is the target, or another copy: two volumes may be one folder, and two endpoints lead to one bucket. What
    /// is there once is lost at once.
    fn refuse_the_same(&self, copy: &Restic, id: &str, facts: &Facts) -> Result<(), Failure> {
        let target = facts.repository.as_ref().filter(|target| target.id == id).map(|_| &self.target);
        let others = self.copies.iter().zip(&facts.copies).filter(|(other, _)| !std::ptr::eq(*other, copy));
        let other =
            target.or_else(|| others.into_iter().find(|(_, other)| other.as_deref() == Some(id)).map(|(o, _)| o));
        let Some(other) = other else { return Ok(()) };
        Err(Failure::new(
            RunReason::CopyFailed,
            format!(
                "{} and {} are the same repository ({}), as where two volumes are one folder, or two endpoints lead to one bucket, \
                 or one was made by copying files: nothing was copied. Name another place, that is empty, in spec.copies",
                copy.location(),
                other.location(),
                short(id)
            ),
        ))
    }

    /// The same, of which nothing is reported.
    pub(super) async fn guard_copy(&self, copy: &Restic) -> Result<Option<String>, Failure> {
        let found = copy.open().await?;
        let location = copy.location();
        let all = &self.told.configuration.copy_repositories;
        let known = all.iter().find(|known| known.location == location);
        if found.is_some() && found.as_ref() == known.map(|known| &known.id) {
            return Ok(found);
        }
        if let Some(other) = all.iter().find(|other| Some(&other.id) == found.as_ref()) {
            return Err(exchanged(&location, known, other));
        }
        let Some(known) = known else { return Ok(found) };
        let is = match &found {
            Some(other) => {
                format!("another repository ({}) is at {location} than the copy that was made", short(other))
            }
            None => format!("no repository is at {location}, where the copy was"),
        };
        Err(Failure::new(
            RunReason::CopyFailed,
            format!(
                "{is} ({}): somebody emptied or exchanged the place, or another volume is mounted; nothing was written there. Bring \
                 it back; or, if it is lost, set spec.acknowledged to {}, and the next backup makes a new copy",
                short(&known.id),
                known.id
            ),
        ))
    }

    /// Brings every copy up to date; tries all of them before it fails. Gives how many there are.
    pub(super) async fn make_copies(&self, held: &Held, facts: &mut Facts) -> Result<usize, Failure> {
        let mut failures = Vec::new();
        for copy in &self.copies {
            match self.make_copy(copy, held, facts).await {
                Ok(()) => {}
                Err(failure) if failure.reason == RunReason::Interrupted => {
                    failures.push(format!(
                        "the run was told to stop while it was copied to {}; the next backup copies what is missing",
                        copy.location()
                    ));
                    break;
                }
                Err(failure) => failures.push(failure.message),
            }
        }
        if failures.is_empty() { Ok(self.copies.len()) } else { Err(Failure::other(failures.join("; "))) }
    }

    async fn make_copy(&self, copy: &Restic, held: &Held, facts: &mut Facts) -> Result<(), Failure> {
        if !copy.place().shares_access(self.target.place()) {
            return Err(Failure::other(format!(
                "{} has another access key, region or style of addresses than {}, and restic knows one for all S3 buckets: give \
                 both the same, or make one of the two a volume",
                copy.location(),
                self.target.location()
            )));
        }
        if self.open_copy(copy, facts).await?.is_none() {
            copy.create(Some(&self.target)).await?;
            self.open_copy(copy, facts).await?;
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
                return Err(Failure::other(format!(
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
