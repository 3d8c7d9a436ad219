//! Restores a recovery point for use: volumes into other volumes, which must be empty, PostgreSQL databases into others, objects
//! as a file beside nothing else. Nothing that is there is overwritten, unless a person asks for it, of a database.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use printernizer_crds::backup_policy::{OBJECTS_HEADER, RunReason};

use super::drill::file_of;
use super::points::{Held, LATEST};
use super::{Facts, Run, points, refuse_broken_newest, refuse_the_future, sized};
use crate::engine::{Engine as _, EngineError, Restic};
use crate::failure::Failure;
use crate::manifest::{Part, PartSource};
use crate::source::tree::LOST_AND_FOUND;

/// Where objects go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into this claim, as the file objects.yaml.
    Claim(String),
    /// To standard output, behind a line with their length: of a pod's log that has grown too long a node keeps the end alone.
    StandardOutput,
}

/// What is to be restored.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The recovery point: a run's id, a snapshot's, or `latest`.
    pub point: String,
    /// From the n-th copy instead of the target.
    pub copy: Option<usize>,
    /// Volumes: the claim that was backed up, and the one it is restored into.
    pub volumes: Vec<(String, String)>,
    /// PostgreSQL databases: the number of the source in the policy, and the database of the same server it is restored into.
    pub postgres: Vec<(usize, String)>,
    /// Whether what has the same name in those databases is replaced. Without it they must have no tables.
    pub overwrite: bool,
    /// Where the objects go.
    pub objects: Option<Place>,
}

impl Run {
    /// The repository that is read: the target, behind its guard, or a copy.
    pub(super) async fn source_of(&self, copy: Option<usize>) -> Result<&Restic, Failure> {
        let Some(index) = copy else {
            self.existing().await?;
            return Ok(&self.target);
        };
        let count = self.copies.len();
        let engine = self.copies.get(index).ok_or_else(|| {
            Failure::invalid(format!("there is no copy {index}: the policy has {count}, counted from 0"))
        })?;
        match self.guard_copy(engine).await? {
            Some(_) => Ok(engine),
            None => Err(Failure::new(RunReason::NoRecoveryPoint, format!("no copy is at {}", engine.location()))),
        }
    }

    pub(super) async fn restore(&self, wanted: &Wanted, facts: &mut Facts) -> Result<String, Failure> {
        if wanted.volumes.is_empty() && wanted.postgres.is_empty() && wanted.objects.is_none() {
            return Err(Failure::invalid("nothing is to be restored: name --volume, --postgres or --objects"));
        }
        distinct("volume", wanted.volumes.iter().map(|(_, into)| into))?;
        distinct("database", wanted.postgres.iter().map(|(_, into)| into))?;
        for (_, into) in &wanted.volumes {
            self.check_empty(into)?;
        }
        let begun = Instant::now();
        let engine = self.source_of(wanted.copy).await?;
        let (held, damage) = self.choice(engine, &wanted.point).await?;
        let point = held.find(&wanted.point).ok_or_else(|| {
            if let Some(damage) = damage {
                return damage.into();
            }
            let which = if wanted.point == LATEST { String::new() } else { format!(" {}", wanted.point) };
            let newest = held.newest().map(|point| format!("; the newest is {}", point.run)).unwrap_or_default();
            Failure::new(
                RunReason::NoRecoveryPoint,
                format!("no recovery point{which} of this policy is at {}{newest}", engine.location()),
            )
        })?;
        facts.concern(point);
        let manifest = self.manifest(engine, point).await?;
        let mut bytes = 0;
        let mut done = Vec::new();
        for (claim, into) in &wanted.volumes {
            let place = self.told.layout.restore(into);
            let is_of = |part: &&Part| match &part.source {
                PartSource::Volume { claim_name } | PartSource::Sqlite { claim_name, .. } => claim_name == claim,
                PartSource::Postgres { .. } | PartSource::Objects => false,
            };
            let mut parts: Vec<&Part> = manifest.parts.iter().filter(is_of).collect();
            if parts.is_empty() {
                return Err(Failure::new(
                    RunReason::NoRecoveryPoint,
                    format!("recovery point {} has nothing of volume {claim}", point.run),
                ));
            }
            // Files first: databases go to their places among them.
            parts.sort_by_key(|part| !matches!(part.source, PartSource::Volume { .. }));
            for part in parts {
                match &part.source {
                    PartSource::Volume { .. } => {
                        bytes += self.restore_part(engine, point, part, &place).await?;
                        self.verify(part, &place, &self.stop).await?;
                    }
                    PartSource::Sqlite { path, .. } => {
                        let folder = self.folder()?;
                        bytes += self.restore_part(engine, point, part, &folder).await?;
                        self.verify(part, &folder, &self.stop).await?;
                        put(&file_of(&folder), &place, path)?;
                    }
                    PartSource::Postgres { .. } | PartSource::Objects => {}
                }
                done.push(part.source.to_string());
            }
        }
        for (index, into) in &wanted.postgres {
            let source = PartSource::from(self.postgres_source(*index)?);
            let part = manifest.parts.iter().find(|part| part.source == source).ok_or_else(|| {
                Failure::new(RunReason::NoRecoveryPoint, format!("recovery point {} has no {source}", point.run))
            })?;
            let folder = self.folder()?;
            bytes += self.restore_part(engine, point, part, &folder).await?;
            self.restore_dump((*index, into), &file_of(&folder), part, wanted.overwrite).await?;
            done.push(format!("{source} into {into}"));
        }
        if let Some(into) = &wanted.objects {
            let part = manifest.parts.iter().find(|part| part.source == PartSource::Objects).ok_or_else(|| {
                Failure::new(RunReason::NoRecoveryPoint, format!("recovery point {} has no objects", point.run))
            })?;
            let folder = self.folder()?;
            bytes += self.restore_part(engine, point, part, &folder).await?;
            self.verify(part, &folder, &self.stop).await?;
            match into {
                Place::Claim(claim) => put(&file_of(&folder), &self.told.layout.restore(claim), "objects.yaml")?,
                Place::StandardOutput => print(&file_of(&folder))?,
            }
            done.push(part.source.to_string());
        }
        facts.bytes = Some(bytes);
        facts.restore_time = Some(begun.elapsed());
        let time = point.time.strftime("%Y-%m-%d %H:%M:%S UTC");
        Ok(format!("{} with {} restored as of {time} and verified", done.join(", "), sized(bytes)))
    }

    /// What can be chosen from. Which one is the newest is only known where every snapshot can be loaded, no clock was wrong and
    /// the newest lost nothing; one that is named is restored all the same, for that may be all there is.
    async fn choice(&self, engine: &Restic, point: &str) -> Result<(Held, Option<EngineError>), Failure> {
        if point == LATEST {
            let held = self.held(engine).await?;
            let outcome = "nothing was restored (a point that is named by --point is)";
            refuse_the_future(&held, engine, outcome)?;
            refuse_broken_newest(&held, engine, outcome)?;
            return Ok((held, None));
        }
        let (snapshots, damage) = engine.loadable(&self.host()).await?;
        Ok((points::held(snapshots), damage))
    }

    /// A folder of its own in the scratch space.
    fn folder(&self) -> Result<std::path::PathBuf, Failure> {
        let folder = self.work.join("restored");
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).map_err(|error| Failure::scratch(&folder, &error))?;
        Ok(folder)
    }

    fn check_empty(&self, claim: &str) -> Result<(), Failure> {
        let place = self.told.layout.restore(claim);
        let unusable = |error: std::io::Error| {
            Failure::invalid(format!("volume {claim}, which is restored into, cannot be read: {error}"))
        };
        for entry in std::fs::read_dir(&place).map_err(unusable)? {
            let name = entry.map_err(unusable)?.file_name();
            if name != LOST_AND_FOUND {
                return Err(Failure::invalid(format!(
                    "volume {claim} is not empty ({} is in it), and a restore overwrites nothing: restore into a new volume",
                    name.to_string_lossy()
                )));
            }
        }
        Ok(())
    }
}

/// Writes a restored file to standard output, behind a line with its length.
fn print(file: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("cannot write to standard output: {error}"));
    let mut objects = std::fs::File::open(file).map_err(failed)?;
    let length = objects.metadata().map_err(failed)?.len();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{OBJECTS_HEADER}{length}").map_err(failed)?;
    std::io::copy(&mut objects, &mut out).and_then(|_| out.flush()).map_err(failed)
}

/// Whether each is named once: two sources in one place would be neither.
fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let mut names = names;
    match names.find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(Failure::invalid(format!("{what} {name} is named twice to restore into"))),
    }
}

/// Puts a restored file to its place below a folder; never over another one, and never out of there through a link that was
/// restored.
fn put(file: &Path, below: &Path, path: &str) -> Result<(), Failure> {
    let place = below.join(path);
    let failed = |error: std::io::Error| Failure::other(format!("cannot write {}: {error}", place.display()));
    let below = below.canonicalize().map_err(failed)?;
    let (folder, name) = place.parent().zip(place.file_name()).unwrap_or((&place, place.as_os_str()));
    let within = |folder: &Path| match folder.canonicalize() {
        Ok(real) if real.starts_with(&below) => Ok(real),
        Ok(_) => Err(Failure::invalid(format!(
            "{} leads out of the volume through a symbolic link; what was restored before it stays",
            place.display()
        ))),
        Err(error) => Err(failed(error)),
    };
    // Nothing is made before it is known where.
    let there = folder.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(&below);
    within(there)?;
    std::fs::create_dir_all(folder).map_err(failed)?;
    let real = within(folder)?.join(name);
    if real.symlink_metadata().is_ok() {
        return Err(Failure::invalid(format!(
            "{} is there already, and a restore overwrites nothing",
            place.display()
        )));
    }
    std::fs::copy(file, real).map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use printernizer_crds::backup_policy::RunReason;

    use super::*;

    #[test]
    fn a_file_is_put_below_its_folder_and_never_out_of_there() {
        let root = tempfile::tempdir().unwrap();
        let (volume, outside, file) =
            (root.path().join("volume"), root.path().join("outside"), root.path().join("file"));
        std::fs::create_dir_all(volume.join("v2")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(&file, "shop").unwrap();
        symlink("v2", volume.join("current")).unwrap();
        symlink(&outside, volume.join("out")).unwrap();
        symlink(outside.join("nothing"), volume.join("dangling")).unwrap();
        let reason = |path: &str| put(&file, &volume, path).map_err(|failure| failure.reason);
        assert_eq!(reason("current/deep/shop.db"), Ok(()));
        assert_eq!(std::fs::read(volume.join("v2/deep/shop.db")).unwrap(), b"shop");
        assert_eq!(reason("v2/deep/shop.db"), Err(RunReason::InvalidConfiguration), "it is there already");
        for path in ["out/shop.db", "out/deep/shop.db", "../shop.db"] {
            assert_eq!(reason(path), Err(RunReason::InvalidConfiguration), "{path}");
        }
        assert_eq!(reason("dangling/shop.db"), Err(RunReason::Failed));
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        assert!(!root.path().join("shop.db").exists());
    }

    #[test]
    fn nothing_is_restored_into_the_same_place_twice() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(distinct("volume", names(&["a", "b"]).iter()), Ok(()));
        assert!(
            distinct("volume", names(&["a", "b", "a"]).iter()).unwrap_err().message.contains("volume a is named twice")
        );
    }
}
