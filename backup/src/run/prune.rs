//! Forgets recovery points that are kept no longer, whole runs at a time, and gives their room back; at the copies as well.
//!
//! The keep rules are judged by the engine on the snapshots with manifests alone, one for each run, so that a run of many
//! sources counts once. Rules about age are relative to the newest point. The newest is never forgotten, and nothing is
//! while it is dated in the future: one clock that was a year ahead would make everything else too old.

use jiff::Timestamp;
use printernizer_crds::backup_policy::RunReason;

use super::points::{Forgotten, Held, MANIFEST_TAG};
use super::{Facts, Run, refuse_the_future, signed, sized, take_away};
use crate::engine::{Engine as _, Restic};
use crate::failure::Failure;

/// What a prune did.
#[derive(Default)]
struct Pruned {
    points: usize,
    freed: i64,
    /// Runs that were whole, and where.
    broken: Vec<(String, String)>,
}

impl Run {
    pub(super) async fn prune(&self, facts: &mut Facts) -> Result<String, Failure> {
        let id = self.existing().await?;
        let mut pruned = self.prune_one(&self.target, None).await?;
        let held = self.held(&self.target).await?;
        let mut known = held.facts(&id);
        let size = self.target.size_bytes().await?;
        known.size_bytes = Some(signed(size));
        held.newest().into_iter().for_each(|point| facts.concern(point));
        facts.repository = Some(known);
        facts.bytes_changed = Some(pruned.freed);
        for copy in &self.copies {
            if copy.open().await?.is_some() {
                pruned.broken.extend(self.prune_one(copy, Some(&held)).await?.broken);
            }
        }
        let (forgotten, kept) = (pruned.points, held.points.len());
        let freed = sized(u64::try_from(pruned.freed).unwrap_or(0));
        let done = format!("{forgotten} recovery points forgotten, {kept} kept; {freed} freed, {} left", sized(size));
        match no_longer_whole(&pruned.broken) {
            None => Ok(done),
            Some(told) => Err(Failure::new(RunReason::RepositoryDamaged, format!("{told}. {done}"))),
        }
    }

    /// Prunes one place; a copy knows what the target holds.
    async fn prune_one(&self, engine: &Restic, target: Option<&Held>) -> Result<Pruned, Failure> {
        let before = engine.size_bytes().await?;
        // To the keep rules each would be a point of its own.
        let doubled = self.held(engine).await?.doubled();
        engine.forget(&doubled).await?;
        let expired = engine.expired(&self.host(), MANIFEST_TAG, &self.told.configuration.retention).await?;
        // Not before: that may have waited long for another run's lock.
        let held = self.held(engine).await?;
        refuse_the_future(&held, engine, "nothing was forgotten")?;
        let held = match target {
            Some(target) => held.beside(target),
            None => held,
        };
        let Forgotten { points, manifests, others } = held.to_forget(&expired, Timestamp::now());
        engine.forget(&manifests).await?;
        engine.forget(&others).await?;
        engine.prune().await?;
        let freed = signed(before) - signed(engine.size_bytes().await?);
        let broken = held.broken.into_iter().map(|run| (run, engine.location())).collect();
        Ok(Pruned { points, freed: freed.max(0), broken })
    }
}

/// What a person must know of recovery points that are no longer whole.
fn no_longer_whole(broken: &[(String, String)]) -> Option<String> {
    let (first, _) = broken.first()?;
    let named: Vec<String> = broken.iter().map(|(run, location)| format!("{run} at {location}")).collect();
    Some(format!(
        "recovery points that were whole are no longer, for they have a manifest and lack parts: {}; what is left of them was \
         not touched. Find out who forgot snapshots there, and look whether a copy has them; to let one go: {}",
        named.join(", "),
        take_away(first)
    ))
}
