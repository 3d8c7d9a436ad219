//! Restores the newest recovery point into the scratch space, one source after the other, and verifies each against the
//! manifest that was recorded when the backup was made. How long that takes is the measured recovery time.

use std::path::Path;
use std::time::{Duration, Instant};

use printernizer_crds::backup_policy::RunReason;

use super::databases::verify_sqlite;
use super::{Facts, Run, no_longer_whole, refuse_broken_newest, refuse_the_future};
use crate::engine::{Engine as _, Restic};
use crate::failure::Failure;
use crate::manifest::{Manifest, Part, PartSource};
use crate::run::points::Point;
use crate::source::{Proof, objects, tree};
use crate::stop::Stop;

impl Run {
    pub(super) async fn drill(&self, facts: &mut Facts) -> Result<String, Failure> {
        let drill = self.told.configuration.verification.restore_drill.as_ref();
        let limit = drill.and_then(|drill| u64::try_from(drill.timeout_seconds).ok()).map(Duration::from_secs);
        let stop = limit.map_or_else(|| self.stop.clone(), |limit| self.stop.within(limit));
        let engine = self.target.stopped_by(stop.clone());
        let done = self.drill_with(&engine, &stop, facts).await;
        match done {
            Err(failure) if failure.reason == RunReason::Interrupted && !self.stop.is_stopped() => {
                let seconds = limit.unwrap_or_default().as_secs();
                Err(Failure::other(format!(
                    "the drill took longer than {seconds} s; give it more time (spec.verification.restoreDrill.timeoutSeconds), or \
                     make the restore faster"
                )))
            }
            done => done,
        }
    }

    async fn drill_with(&self, engine: &Restic, stop: &Stop, facts: &mut Facts) -> Result<String, Failure> {
        let id = self.existing().await?;
        let begun = Instant::now();
        let held = self.held(engine).await?;
        facts.repository = Some(held.facts(&id));
        let point = held.newest().ok_or_else(|| self.nothing_yet())?;
        refuse_the_future(&held, engine, "nothing was restored")?;
        refuse_broken_newest(&held, engine, "nothing was restored")?;
        facts.concern(point);
        let manifest = self.manifest(engine, point).await?;
        let mut bytes = 0;
        for (index, part) in manifest.parts.iter().enumerate() {
            let place = self.work.join(format!("part-{index}"));
            std::fs::create_dir(&place).map_err(|error| Failure::scratch(&place, &error))?;
            bytes += self.restore_part(engine, point, part, &place).await?;
            self.verify(part, &place, stop).await?;
            // The next one may need the room.
            tree::remove(&place).map_err(|error| Failure::scratch(&place, &error))?;
        }
        facts.bytes = Some(bytes);
        facts.restore_time = Some(begun.elapsed());
        // It is about the newest point; that others are broken is in the report as well.
        let more = no_longer_whole(&held, engine).map(|broken| format!("; but {broken}")).unwrap_or_default();
        Ok(told(&manifest, point) + &more)
    }

    /// Restores a part into an empty folder: a volume's files, or one file. Gives the bytes.
    pub(super) async fn restore_part(
        &self,
        engine: &Restic,
        point: &Point,
        part: &Part,
        place: &Path,
    ) -> Result<u64, Failure> {
        let differs = |what: &str| {
            Failure::new(RunReason::RestoreDiffers, format!("{} of recovery point {}: {what}", part.source, point.run))
        };
        let mut snapshots = point.parts.iter().filter(|snapshot| snapshot.is(&part.snapshot)).peekable();
        if snapshots.peek().is_none() {
            return Err(differs("its snapshot is gone; somebody else forgot it"));
        }
        let snapshot = snapshots.find(|snapshot| snapshot.tree == part.tree);
        let snapshot =
            snapshot.ok_or_else(|| differs("its snapshot is not the one that was stored; somebody rewrote it"))?;
        match &part.source {
            PartSource::Volume { .. } => Ok(engine.restore(&snapshot.id, &part.path, place).await?.bytes),
            PartSource::Sqlite { .. } | PartSource::Postgres { .. } | PartSource::Objects => {
                let file = file_of(place);
                engine.extract(&snapshot.id, &part.path, &file).await?;
                let length = std::fs::metadata(&file).map_err(|error| Failure::scratch(&file, &error))?.len();
                Ok(length)
            }
        }
    }

    /// Compares what was restored with the proof.
    pub(super) async fn verify(&self, part: &Part, place: &Path, stop: &Stop) -> Result<(), Failure> {
        let differs = |found: String| {
            Failure::new(
                RunReason::RestoreDiffers,
                format!("{} was restored and differs from what was backed up: {found}", part.source),
            )
        };
        match &part.proof {
            Proof::Files(expected) => {
                let found = tree::walk(place).map_err(|error| Failure::scratch(place, &error))?;
                if found != *expected {
                    let what = if (found.files, found.bytes) == (expected.files, expected.bytes) {
                        "names, kinds or times are others".to_owned()
                    } else {
                        format!("{found} instead of {expected}")
                    };
                    return Err(differs(what));
                }
            }
            Proof::Sqlite(expected) => verify_sqlite(file_of(place), expected.clone()).await?,
            Proof::Postgres(expected) => self.verify_dump(stop, &file_of(place), expected).await?,
            Proof::Objects(expected) => {
                let file = file_of(place);
                let found = objects::read(&file).map_err(|error| Failure::scratch(&file, &error))?;
                if found != *expected {
                    return Err(differs(format!("{} objects instead of {}, or others", found.count, expected.count)));
                }
            }
        }
        Ok(())
    }
}

/// Where a part that is one file is restored to.
pub(super) fn file_of(place: &Path) -> std::path::PathBuf {
    place.join("file")
}

fn told(manifest: &Manifest, point: &Point) -> String {
    let sources: Vec<String> = manifest.parts.iter().map(|part| part.source.to_string()).collect();
    format!(
        "recovery point of {} restored and verified: {}",
        point.time.strftime("%Y-%m-%d %H:%M:%S UTC"),
        sources.join(", ")
    )
}
