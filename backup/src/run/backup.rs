//! Makes a recovery point: first looks whether every source is there, then stores one after the other, last the manifest.

use std::path::Path;

use jiff::Timestamp;
use printernizer_crds::backup_policy::{RunReason, VolumeSource};
use rand::Rng as _;

use super::points::{MANIFEST_TAG, PARTS_TAG, RUN_TAG, SOURCE_TAG};
use super::{Facts, Run, no_longer_whole, points, signed, sized, take_away, who_forgot};
use crate::engine::{Data, Engine as _, EngineError, Entry, Marks, Snapshot, Stored};
use crate::failure::Failure;
use crate::manifest::{MANIFEST_PATH, Manifest, Part, PartSource};
use crate::source::tree::Prover;
use crate::source::{Proof, files, objects};

/// A source as it was stored; the tree is known once the snapshots are listed.
pub(super) struct Kept {
    pub(super) source: PartSource,
    pub(super) stored: Stored,
    pub(super) path: String,
    pub(super) proof: Proof,
}

impl Kept {
    /// The source, if there is something in it or there need not be. What was emptied, by mistake or because another volume is
    /// mounted, is the newest recovery point of nobody: those that hold something must not grow old beside it.
    pub(super) fn checked(self, may_be_empty: bool) -> Result<Self, Failure> {
        match self.proof.lacks().filter(|_| !may_be_empty) {
            None => Ok(self),
            Some(what) => Err(Failure::new(
                RunReason::SourceEmpty,
                format!(
                    "there are no {what} in {}, so no recovery point was made and the former ones are kept: find out who emptied it, \
                     or whether it is the right one; if it may be empty, set mayBeEmpty: true for it",
                    self.source
                ),
            )),
        }
    }
}

impl Run {
    pub(super) async fn back_up(&self, facts: &mut Facts) -> Result<String, Failure> {
        let configuration = &self.told.configuration;
        self.check_sources()?;
        self.check_databases().await?;
        let id = match self.guard().await? {
            Some(id) => id,
            None => self.begin().await?,
        };
        // As it is now: a run that begins later may end earlier.
        let before = self.held(&self.target).await?;
        let ahead = before.ahead_of(self.started).cloned();
        facts.previous = before.newest().map(|point| point.run.clone());
        let run = format!("{}-{:06x}", self.started.strftime("%Y%m%dT%H%M%SZ"), rand::rng().random_range(0..1 << 24));
        let kept = self.store_sources(&run).await?;

        let listed = self.target.snapshots(&self.host()).await?;
        let mut parts = Vec::with_capacity(kept.len());
        let mut added = 0;
        for Kept { source, stored, path, proof } in kept {
            let snapshot = listed.iter().find(|snapshot| snapshot.id == stored.snapshot).ok_or_else(|| {
                Failure::other(format!(
                    "the snapshot of {source} was stored and is gone: somebody else forgets snapshots here"
                ))
            })?;
            added += stored.bytes_added;
            parts.push(Part {
                source,
                snapshot: stored.snapshot,
                tree: snapshot.tree.clone(),
                path,
                bytes: stored.bytes,
                proof,
            });
        }
        let (start, end) = (self.started, Timestamp::now());
        let manifest = Manifest::new(&run, &configuration.policy, &configuration.namespace, start, end, parts);
        let bytes = manifest.encode().map_err(|error| Failure::other(error.to_string()))?;
        let tags = [MANIFEST_TAG.to_owned(), format!("{PARTS_TAG}={}", manifest.parts.len())];
        let stored = self.store(&run, &Data::Bytes { bytes, name: MANIFEST_PATH.to_owned() }, &tags).await?;

        let made = Snapshot {
            id: stored.snapshot,
            original: None,
            time: self.marks(&run, &tags).time,
            tree: String::new(),
            tags: self.marks(&run, &tags).tags,
        };
        // Of what is broken since, a run may be at work on it.
        let held = points::held(listed.into_iter().chain([made]).collect()).after(&before);
        if let Some(point) = held.find(&run) {
            facts.concern(point);
        }
        facts.repository = Some(held.facts(&id));
        facts.bytes = Some(manifest.bytes());
        facts.bytes_changed = Some(signed(added + stored.bytes_added));
        let (count, size) = (manifest.parts.len(), sized(manifest.bytes()));
        let sources = if count == 1 { "1 source".to_owned() } else { format!("{count} sources") };
        let mut done = format!("{sources} with {size} backed up, {} of it new", sized(added + stored.bytes_added));
        if let Some(broken) = no_longer_whole(&held, &self.target) {
            done = format!("{done}; but {broken}");
        } else if before.points.is_empty() && self.has_had_points() {
            done = format!("{done}; but no recovery point from before is left: {}", who_forgot());
        }
        let spread = self.make_copies(&held, facts).await;
        if let Some(ahead) = ahead {
            let more = spread.err().map(|failure| format!("; {failure}")).unwrap_or_default();
            return Err(Failure::other(format!(
                "{done}, but this node's clock says {}, and a recovery point of {} was there before: this clock is behind, or \
                 one was ahead, and this point is not the newest to a restore. It stays; mend the clock, and if the date of \
                 the other is wrong, take that away with {}{more}",
                self.started.strftime("%Y-%m-%d %H:%M UTC"),
                ahead.time.strftime("%Y-%m-%d %H:%M UTC"),
                take_away(&ahead.run)
            )));
        }
        match spread {
            Ok(0) => Ok(done),
            Ok(copies) => Ok(format!("{done}; {copies} {}", if copies == 1 { "copy made" } else { "copies made" })),
            Err(failure) => Err(Failure::new(RunReason::CopyFailed, format!("{done}, but not everywhere: {failure}"))),
        }
    }

    /// Makes the repository. Another policy may be as quick.
    async fn begin(&self) -> Result<String, Failure> {
        match self.target.create(None).await {
            Ok(id) => Ok(id),
            Err(error) => match self.target.open().await {
                Ok(Some(id)) => Ok(id),
                _ => Err(error.into()),
            },
        }
    }

    /// Whether every volume is there, before anything is written anywhere.
    fn check_sources(&self) -> Result<(), Failure> {
        let (sources, layout) = (&self.told.configuration.sources, &self.told.layout);
        for volume in &sources.persistent_volume_claims {
            files::check(volume, layout)?;
        }
        Ok(())
    }

    async fn store_sources(&self, run: &str) -> Result<Vec<Kept>, Failure> {
        let sources = &self.told.configuration.sources;
        let mut kept = Vec::new();
        for volume in &sources.persistent_volume_claims {
            kept.push(self.store_volume(run, volume).await?);
        }
        for source in &sources.sqlite {
            kept.push(self.store_sqlite(run, source).await?);
        }
        for index in 0..sources.postgres.len() {
            kept.push(self.store_postgres(run, index).await?);
        }
        if let Some(source) = &sources.objects {
            let file = self.work.join("objects.yaml");
            let proof = objects::write(source, &self.told.configuration.namespace, &file).await?;
            let proof = Proof::Objects(proof);
            let stored = self.store_file(run, PartSource::Objects, "objects", "/objects.yaml", &file, proof).await?;
            kept.push(stored.checked(source.may_be_empty)?);
        }
        Ok(kept)
    }

    /// Stores the files of a volume, and makes the proof of what was stored.
    async fn store_volume(&self, run: &str, volume: &VolumeSource) -> Result<Kept, Failure> {
        let source = PartSource::Volume { claim_name: volume.claim_name.clone() };
        let layout = &self.told.layout;
        let data = files::data(volume, &self.told.configuration.sources.sqlite, layout)?;
        let stored = self.store_tagged(run, &data, "files").await?;
        let root = layout.volume(&volume.claim_name);
        let path = root.to_string_lossy().into_owned();
        let mut prover = Prover::default();
        let mut missing: Vec<&String> = volume.paths.iter().collect();
        let mut each = |entry: Entry| {
            missing.retain(|path| entry.path.strip_prefix('/') != Some(path.trim_end_matches('/')));
            prover.add(&entry);
        };
        self.target.list(&stored.snapshot, &path, &mut each).await?;
        let proof = prover.finish();
        if let Some(path) = missing.first() {
            return Err(Failure::source_unavailable(format!(
                "path {path} of {source} vanished while it was read, or is left out by the policy's own excludes"
            )));
        }
        if proof.files != stored.files {
            return Err(Failure::other(format!(
                "{} files of {source} were read and {} are in the snapshot; the next run tries again",
                stored.files, proof.files
            )));
        }
        // Of its databases, which are no files to it, is judged by what is in them.
        let has_databases =
            self.told.configuration.sources.sqlite.iter().any(|database| database.claim_name == volume.claim_name);
        Kept { source, stored, path, proof: Proof::Files(proof) }.checked(volume.may_be_empty || has_databases)
    }

    /// Stores a file of the scratch space under a name, and removes it.
    pub(super) async fn store_file(
        &self,
        run: &str,
        source: PartSource,
        kind: &str,
        name: &str,
        file: &Path,
        proof: Proof,
    ) -> Result<Kept, Failure> {
        let data = Data::File { from: file.to_owned(), name: name.to_owned() };
        let stored = self.store_tagged(run, &data, kind).await?;
        std::fs::remove_file(file).map_err(|error| Failure::scratch(file, &error))?;
        Ok(Kept { source, stored, path: name.to_owned(), proof })
    }

    /// Stores a source of this kind.
    pub(super) async fn store_tagged(&self, run: &str, data: &Data, kind: &str) -> Result<Stored, EngineError> {
        self.store(run, data, &[format!("{SOURCE_TAG}={kind}")]).await
    }

    async fn store(&self, run: &str, data: &Data, tags: &[String]) -> Result<Stored, EngineError> {
        self.target.store(data, &self.marks(run, tags)).await
    }

    /// What stands at each snapshot of the run. The time is the run's beginning, in whole seconds as the engine takes it: a
    /// recovery point is as old as that.
    fn marks(&self, run: &str, more: &[String]) -> Marks {
        let time = Timestamp::from_second(self.started.as_second()).unwrap_or(self.started);
        let tags = std::iter::once(format!("{RUN_TAG}={run}")).chain(more.iter().cloned()).collect();
        Marks { host: self.host(), tags, time }
    }
}
