//! Files of a volume: which paths are read, and which patterns leave files out.
//!
//! A path that is not there fails the run before anything is stored, because restic would go on without it. Patterns are
//! made to match below the volume only: `sources` would otherwise leave out everything, for each path begins with it.

use std::io;
use std::path::{Path, PathBuf};

use printernizer_crds::backup_policy::{SqliteSource, VolumeSource};

use super::tree::LOST_AND_FOUND;
use crate::configuration::Layout;
use crate::engine::Data;
use crate::failure::Failure;

/// What SQLite keeps beside a database; none of it belongs to a copy.
const BESIDE_A_DATABASE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// What is read of a volume. Databases among its files are left out: their copies are made by SQLite.
pub fn data(volume: &VolumeSource, databases: &[SqliteSource], layout: &Layout) -> Result<Data, Failure> {
    let root = layout.volume(&volume.claim_name);
    let paths = if volume.paths.is_empty() { vec![root.clone()] } else { within(volume, &root)? };
    let databases = databases.iter().filter(|database| database.claim_name == volume.claim_name);
    let mut excludes = vec![literal(&root.join(LOST_AND_FOUND))];
    excludes.extend(volume.excludes.iter().map(|pattern| anchored(&root, pattern)));
    for database in databases {
        for place in places(&root, &database.path) {
            let place = literal(&place);
            excludes.extend(BESIDE_A_DATABASE.map(|suffix| format!("{place}{suffix}")));
        }
    }
    Ok(Data::Files { paths, excludes })
}

/// Where a database lies: by the path that names it, and where that leads to through links within the volume, which is where
/// a walk through the volume finds it.
fn places(root: &Path, path: &str) -> Vec<PathBuf> {
    let named = root.join(path);
    let real = root.canonicalize().and_then(|root| Ok((named.canonicalize()?, root))).ok();
    let real = real.and_then(|(place, real_root)| Some(root.join(place.strip_prefix(real_root).ok()?)));
    let real = real.filter(|real| *real != named);
    std::iter::once(named).chain(real).collect()
}

/// Whether everything that is read of a volume is there.
pub fn check(volume: &VolumeSource, layout: &Layout) -> Result<(), Failure> {
    let root = layout.volume(&volume.claim_name);
    readable(&root, &volume.claim_name)?;
    within(volume, &root).map(drop)
}

/// Whether a volume can be read.
pub fn readable(root: &Path, claim: &str) -> Result<(), Failure> {
    std::fs::read_dir(root).map(drop).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "; let the pods' user read it (spec.jobTemplate.runAsUser, fsGroup)",
            _ => "",
        };
        Failure::source_unavailable(format!("volume {claim} cannot be read: {error}{advice}"))
    })
}

fn within(volume: &VolumeSource, root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let claim = &volume.claim_name;
    let real_root = root
        .canonicalize()
        .map_err(|error| Failure::source_unavailable(format!("volume {claim} cannot be read: {error}")))?;
    let mut paths = Vec::with_capacity(volume.paths.len());
    for path in &volume.paths {
        let place = root.join(path);
        // A link itself may be backed up; a path through one must not leave the volume.
        let parent = place.parent().unwrap_or(root).canonicalize();
        let there = parent.and_then(|parent| std::fs::symlink_metadata(&place).map(|_| parent));
        match there {
            Ok(parent) if parent.starts_with(&real_root) => paths.push(place),
            Ok(_) => {
                return Err(Failure::invalid(format!(
                    "path {path} leads out of volume {claim} through a symbolic link"
                )));
            }
            Err(error) => {
                return Err(Failure::source_unavailable(format!(
                    "path {path} of volume {claim} cannot be read: {error}; take it out of the policy, or bring it back"
                )));
            }
        }
    }
    Ok(paths)
}

/// The pattern, matching below the folder only.
fn anchored(root: &Path, pattern: &str) -> String {
    let (negation, pattern) = pattern.strip_prefix('!').map_or(("", pattern), |rest| ("!", rest));
    let root = literal(root);
    match pattern.strip_prefix('/') {
        Some(from_root) => format!("{negation}{root}/{from_root}"),
        None => format!("{negation}{root}/**/{pattern}"),
    }
}

/// A pattern that matches this very path.
fn literal(path: &Path) -> String {
    path.to_string_lossy().chars().fold(String::new(), |mut text, c| {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use printernizer_crds::backup_policy::RunReason;

    use super::*;

    fn volume(paths: &[&str], excludes: &[&str]) -> VolumeSource {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        VolumeSource {
            claim_name: "models".to_owned(),
            paths: owned(paths),
            excludes: owned(excludes),
            ..VolumeSource::default()
        }
    }

    #[test]
    fn patterns_match_below_the_volume_only() {
        let root = Path::new("/sources/volumes/a[1]");
        assert_eq!(anchored(root, "*.tmp"), r"/sources/volumes/a\[1\]/**/*.tmp");
        assert_eq!(anchored(root, "/cache"), r"/sources/volumes/a\[1\]/cache");
        assert_eq!(anchored(root, "!/cache/keep"), r"!/sources/volumes/a\[1\]/cache/keep");
    }

    #[test]
    fn a_database_is_left_out_with_what_lies_beside_it() {
        let layout = Layout::new("/r");
        let database = |claim: &str| SqliteSource {
            claim_name: claim.to_owned(),
            path: "d/shop.db".to_owned(),
            may_be_empty: false,
        };
        let data = data(&volume(&[], &[]), &[database("models"), database("other")], &layout).unwrap();
        let Data::Files { paths, excludes } = data else { panic!("{data:?}") };
        assert_eq!(paths, [PathBuf::from("/r/sources/volumes/models")]);
        let place = "/r/sources/volumes/models/d/shop.db";
        assert_eq!(excludes[0], "/r/sources/volumes/models/lost+found");
        assert_eq!(excludes[1..], ["", "-wal", "-shm", "-journal"].map(|suffix| format!("{place}{suffix}")));
    }

    #[test]
    fn a_database_behind_a_link_is_left_out_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let root = layout.volume("models");
        std::fs::create_dir_all(root.join("v2")).unwrap();
        std::fs::write(root.join("v2/shop.db"), "").unwrap();
        symlink("v2", root.join("current")).unwrap();
        let database =
            SqliteSource { claim_name: "models".to_owned(), path: "current/shop.db".to_owned(), may_be_empty: false };
        let Data::Files { excludes, .. } = data(&volume(&[], &[]), &[database], &layout).unwrap() else { panic!() };
        for left_out in ["current/shop.db", "v2/shop.db", "v2/shop.db-wal"] {
            assert!(excludes.contains(&literal(&root.join(left_out))), "{left_out}: {excludes:?}");
        }
    }

    #[test]
    fn a_path_must_be_there_and_stay_within_the_volume() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let root = layout.volume("models");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(folder.path().join("secret"), "").unwrap();
        symlink(folder.path(), root.join("out")).unwrap();
        symlink("nowhere", root.join("a/dangling")).unwrap();
        let reason = |path: &str| check(&volume(&[path], &[]), &layout).map_err(|failure| failure.reason);
        assert_eq!(reason("a"), Ok(()));
        assert_eq!(reason("a/dangling"), Ok(()));
        assert_eq!(reason("b"), Err(RunReason::SourceUnavailable));
        assert_eq!(reason("out/secret"), Err(RunReason::InvalidConfiguration));
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(reason("a"), Err(RunReason::SourceUnavailable));
    }
}
