//! Forgets recovery points that are kept no longer, whole runs at a time, and gives their room back; at the copies as well.
//!
//! The keep rules are judged by the engine on the snapshots with manifests alone, one for each run, so that a run of many
//! sources counts once. Rules about age are relative to the newest point. The newest is never forgotten, and nothing is
//! while it is dated in the future: one clock that was a year ahead would make everything else too old. Nor is anything forgotten
//! or given back at a place where a point has lost parts: what was forgotten by mistake can be brought back until then, and to the
//! keep rules its manifest would stand for a point that nobody can restore.

use jiff::Timestamp;
use printernizer_crds::backup_policy::RunReason;

use super::copies::Failures;
use super::points::{Forgotten, Held, MANIFEST_TAG};
use super::{Facts, Run, no_longer_whole, refuse_the_future, signed, sized};
use crate::engine::{Engine as _, Restic};
use crate::failure::Failure;

/// What a prune did.
struct Pruned {
    points: usize,
    freed: i64,
}

impl Run {
    pub(super) async fn prune(&self, facts: &mut Facts) -> Result<String, Failure> {
        let id = self.existing().await?;
        let held = self.held(&self.target).await?;
        facts.repository = Some(held.facts(&id));
        held.newest().into_iter().for_each(|point| facts.concern(point));
        self.refuse_a_loss(&held)?;
        let pruned = self.prune_one(&self.target, None).await?;
        let held = self.held(&self.target).await?;
        let mut known = held.facts(&id);
        let size = self.target.size_bytes().await?;
        known.size_bytes = Some(signed(size));
        held.newest().into_iter().for_each(|point| facts.concern(point));
        facts.repository = Some(known);
        facts.bytes_changed = Some(pruned.freed);
        let (forgotten, kept) = (pruned.points, held.points.len());
        let freed = sized(u64::try_from(pruned.freed).unwrap_or(0));
        let points = if forgotten == 1 { "point" } else { "points" };
        let done = format!("{forgotten} recovery {points} forgotten, {kept} kept; {freed} freed, {} left", sized(size));
        let mut failures = Failures::default();
        for copy in &self.copies {
            failures.note(copy, self.prune_copy(copy, &held, facts).await)?;
        }
        failures.told(&done, "but not everywhere").map(|()| done)
    }

    async fn prune_copy(&self, copy: &Restic, target: &Held, facts: &mut Facts) -> Result<(), Failure> {
        match self.open_copy(copy, facts).await? {
            Some(_) => self.prune_one(copy, Some(target)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Prunes one place; a copy knows what the target holds.
    async fn prune_one(&self, engine: &Restic, target: Option<&Held>) -> Result<Pruned, Failure> {
        let held = self.held(engine).await?;
        refuse_broken(&held, engine, target)?;
        let before = engine.size_bytes().await?;
        // To the keep rules each would be a point of its own.
        engine.forget(&held.doubled()).await?;
        let expired = engine.expired(&self.host(), MANIFEST_TAG, &self.told.configuration.retention).await?;
        // Not before: that may have waited long for another run's lock.
        let held = self.held(engine).await?;
        refuse_the_future(&held, engine, "nothing was forgotten")?;
        refuse_broken(&held, engine, target)?;
        let held = match target {
            Some(target) => held.beside(target),
            None => held,
        };
        let Forgotten { points, manifests, others } = held.to_forget(&expired, Timestamp::now());
        engine.forget(&manifests).await?;
        engine.forget(&others).await?;
        engine.prune().await?;
        let freed = signed(before) - signed(engine.size_bytes().await?);
        Ok(Pruned { points, freed: freed.max(0) })
    }
}

/// Refuses to forget anything where a point has lost parts. Those of a copy that the target still has are no loss.
fn refuse_broken(held: &Held, engine: &Restic, target: Option<&Held>) -> Result<(), Failure> {
    if held.broken.is_empty() {
        return Ok(());
    }
    let lost = target.map_or_else(|| held.clone(), |target| held.clone().beside(target));
    Err(match no_longer_whole(&lost, engine) {
        Some(told) => Failure::new(RunReason::RepositoryDamaged, format!("nothing was forgotten: {told}")),
        None => Failure::other(format!(
            "nothing was forgotten at {}, where recovery points lack parts that the target has: somebody else forgets snapshots \
             there; the next backup copies them again",
            engine.location()
        )),
    })
}
