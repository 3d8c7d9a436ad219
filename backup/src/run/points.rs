//! Which snapshots make which recovery point: rules without any effect.
//!
//! All snapshots of a run have the tag `run=ID`; the last one has the tag `manifest`, and `parts=N` says how many others
//! there must be. What lacks a manifest or a part is no recovery point. What never got a manifest is forgotten when it is old
//! enough that no run can still be at work on it. What has one and lacks a part was whole once: a person must look.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::backup_policy::RepositoryFacts;

use crate::engine::Snapshot;

/// What people call the newest recovery point.
pub const LATEST: &str = "latest";
/// The tag of the snapshot with the manifest.
pub const MANIFEST_TAG: &str = "manifest";
/// The key of the tag with the run's id.
pub const RUN_TAG: &str = "run";
/// The key of the tag with the number of a manifest's parts.
pub const PARTS_TAG: &str = "parts";
/// The key of the tag that says what kind of source a snapshot is of.
pub const SOURCE_TAG: &str = "source";

/// Age from which on an unfinished run is no longer at work: a run may take a week at most (spec.jobTemplate), and a day more
/// for clocks.
const UNFINISHED: SignedDuration = SignedDuration::from_hours(8 * 24);
/// How far a clock may be ahead before nothing is deleted by its time.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// A recovery point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Id of its run.
    pub run: String,
    /// When the run began.
    pub time: Timestamp,
    /// The snapshot with the manifest.
    pub manifest: Snapshot,
    /// All others.
    pub parts: Vec<Snapshot>,
    /// What is here once more: two runs may copy the same point at the same time.
    pub doubled: Vec<Snapshot>,
}

impl Point {
    /// The point these snapshots of a run make, if they make one. Manifests that differ make none.
    fn of(run: &str, manifests: &[Snapshot], parts: &[Snapshot]) -> Option<Self> {
        let (manifest, more) = manifests.split_first()?;
        let expected: usize = manifest.tag(PARTS_TAG)?.parse().ok()?;
        let distinct: BTreeSet<&str> = parts.iter().map(Snapshot::origin).collect();
        if distinct.len() < expected || more.iter().any(|other| other.tree != manifest.tree) {
            return None;
        }
        let mut seen = BTreeSet::new();
        let (once, again): (Vec<_>, Vec<_>) =
            parts.iter().partition(|part| seen.insert((part.origin(), part.tree.as_str())));
        Some(Self {
            run: run.to_owned(),
            time: manifest.time,
            manifest: manifest.clone(),
            parts: once.into_iter().cloned().collect(),
            doubled: more.iter().chain(again).cloned().collect(),
        })
    }

    fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.parts.iter().chain([&self.manifest]).chain(&self.doubled)
    }
}

/// What a repository holds of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Recovery points, the oldest first.
    pub points: Vec<Point>,
    /// Snapshots of runs that have no manifest.
    pub unfinished: Vec<Snapshot>,
    /// What has a manifest and is no recovery point all the same: parts are gone, or manifests contradict each other.
    pub broken: Vec<Broken>,
}

/// A run that was a recovery point once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its id.
    pub run: String,
    /// When it began.
    pub time: Timestamp,
}

/// What to forget, in two steps: with its manifest a run is no recovery point any more, so that one that is stopped between
/// leaves nothing that looks like damage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// How many recovery points.
    pub points: usize,
    /// The ids of their manifests.
    pub manifests: Vec<String>,
    /// The ids of everything else.
    pub others: Vec<String>,
}

/// Sorts the snapshots of a policy. What has no tag of a run was made by hand, and is nobody's here.
pub fn held(snapshots: Vec<Snapshot>) -> Held {
    let mut runs: BTreeMap<String, Vec<Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        if let Some(run) = snapshot.tag(RUN_TAG).map(str::to_owned) {
            runs.entry(run).or_default().push(snapshot);
        }
    }
    let mut held = Held::default();
    for (run, snapshots) in runs {
        let (manifests, parts): (Vec<_>, Vec<_>) = snapshots.into_iter().partition(is_manifest);
        match Point::of(&run, &manifests, &parts) {
            Some(point) => held.points.push(point),
            None => match manifests.first().map(|manifest| manifest.time) {
                None => held.unfinished.extend(parts),
                Some(time) => held.broken.push(Broken { run, time }),
            },
        }
    }
    held.points.sort_by(|a, b| (a.time, &a.run).cmp(&(b.time, &b.run)));
    held
}

fn is_manifest(snapshot: &Snapshot) -> bool {
    snapshot.tags.iter().any(|tag| tag == MANIFEST_TAG)
}

impl Held {
    /// Whether the recovery point of this run is here, whole.
    pub fn has(&self, run: &str) -> bool {
        self.points.iter().any(|point| point.run == run)
    }

    /// As [`Self`] of a copy, without what the next backup completes: runs that are whole at the target.
    #[must_use]
    pub fn beside(mut self, target: &Self) -> Self {
        self.unfinished.retain(|snapshot| !snapshot.tag(RUN_TAG).is_some_and(|run| target.has(run)));
        self.broken.retain(|broken| !target.has(&broken.run));
        self
    }

    /// As [`Self`], of two looks, the second: what is broken is so in both. A look takes a while, and one that came in the middle of
    /// a backup may have seen its manifest and not yet its parts.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.broken.retain(|broken| before.broken.contains(broken));
        self
    }

    /// The newest of what is broken, if it is newer than every recovery point.
    pub fn broken_newest(&self) -> Option<&Broken> {
        let newest = self.broken.iter().max_by_key(|broken| broken.time)?;
        self.newest().is_none_or(|point| point.time < newest.time).then_some(newest)
    }

    /// The ids of what is here once more, and of no use.
    pub fn doubled(&self) -> Vec<String> {
        self.points.iter().flat_map(|point| &point.doubled).map(|snapshot| snapshot.id.clone()).collect()
    }

    /// The newest recovery point.
    pub fn newest(&self) -> Option<&Point> {
        self.points.last()
    }

    /// What is reported of a repository with this id.
    pub fn facts(&self, id: &str) -> RepositoryFacts {
        RepositoryFacts {
            id: id.to_owned(),
            snapshot_count: i32::try_from(self.points.len()).unwrap_or(i32::MAX),
            broken_count: (!self.broken.is_empty()).then(|| i32::try_from(self.broken.len()).unwrap_or(i32::MAX)),
            oldest_recovery_point: self.points.first().map(|point| Time(point.time)),
            newest_recovery_point: self.newest().map(|point| Time(point.time)),
            size_bytes: None,
        }
    }

    /// The recovery point a person means: its run's id or the beginning of it, that of any of its snapshots, or `latest`.
    /// None if there is none, and none if it could be several.
    pub fn find(&self, wanted: &str) -> Option<&Point> {
        if wanted == LATEST {
            return self.newest();
        }
        let begins = |id: &str| wanted.len() >= 4 && id.starts_with(wanted);
        let mut found = self.points.iter().filter(|point| {
            begins(&point.run) || point.snapshots().any(|s| begins(&s.id) || s.original.as_deref().is_some_and(begins))
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// The newest recovery point, if a run that began at this time cannot have come before it: one of both clocks is wrong.
    pub fn ahead_of(&self, started: Timestamp) -> Option<&Point> {
        self.newest().filter(|newest| newest.time.duration_since(started) > CLOCK_TOLERANCE)
    }

    /// Whether the newest recovery point is of the future: then a clock is or was wrong, and rules about age mean nothing.
    pub fn is_of_the_future(&self, now: Timestamp) -> bool {
        self.ahead_of(now).is_some()
    }

    /// All snapshots to forget: of the points whose manifests are no longer kept, the newest excepted, and of runs that ended
    /// without a manifest long ago.
    pub fn to_forget(&self, expired_manifests: &[String], now: Timestamp) -> Forgotten {
        let newest = self.newest().map(|point| &point.run);
        let expired = |point: &&Point| expired_manifests.contains(&point.manifest.id) && Some(&point.run) != newest;
        let points: Vec<&Point> = self.points.iter().filter(expired).collect();
        let old = |snapshot: &&Snapshot| now.duration_since(snapshot.time) > UNFINISHED;
        let unfinished = self.unfinished.iter().filter(old);
        let all = points.iter().flat_map(|point| point.snapshots()).chain(unfinished);
        let (manifests, others): (Vec<&Snapshot>, Vec<&Snapshot>) = all.partition(|snapshot| is_manifest(snapshot));
        let ids = |snapshots: Vec<&Snapshot>| snapshots.into_iter().map(|snapshot| snapshot.id.clone()).collect();
        Forgotten { points: points.len(), manifests: ids(manifests), others: ids(others) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    fn snapshot(id: &str, run: &str, time: i64, more: &[&str]) -> Snapshot {
        let tags = std::iter::once(format!("run={run}")).chain(more.iter().map(|tag| (*tag).to_owned()));
        Snapshot { id: id.to_owned(), original: None, time: at(time), tree: String::new(), tags: tags.collect() }
    }

    fn whole(run: &str, time: i64) -> Vec<Snapshot> {
        let (part, manifest) = (format!("part-{run}"), format!("manifest-{run}"));
        vec![snapshot(&part, run, time, &["source=files"]), snapshot(&manifest, run, time, &["manifest", "parts=1"])]
    }

    #[test]
    fn a_run_without_manifest_or_with_a_part_missing_is_no_recovery_point() {
        let mut snapshots = whole("b", 20);
        snapshots.extend(whole("a", 10));
        snapshots.push(snapshot("half", "c", 30, &[]));
        snapshots.push(snapshot("lonely", "d", 40, &["manifest", "parts=1"]));
        snapshots.push(snapshot("no-number", "e", 50, &["manifest"]));
        let mut by_hand = snapshot("by-hand", "", 60, &[]);
        by_hand.tags.clear();
        snapshots.push(by_hand);
        let held = held(snapshots);
        let runs: Vec<&str> = held.points.iter().map(|point| point.run.as_str()).collect();
        assert_eq!(runs, ["a", "b"]);
        let unfinished: Vec<&str> = held.unfinished.iter().map(|snapshot| snapshot.id.as_str()).collect();
        assert_eq!(unfinished, ["half"]);
        assert_eq!(broken(&held), ["d", "e"]);
        let facts = held.facts("repository");
        assert_eq!((facts.snapshot_count, facts.newest_recovery_point), (2, Some(Time(at(20)))));
        assert_eq!(facts.broken_count, Some(2));
    }

    fn broken(held: &Held) -> Vec<&str> {
        held.broken.iter().map(|broken| broken.run.as_str()).collect()
    }

    #[test]
    fn what_is_broken_is_so_at_a_second_look_and_hides_which_point_is_the_newest() {
        let lonely = |run: &str, time| snapshot(&format!("lonely-{run}"), run, time, &["manifest", "parts=1"]);
        let first = held([whole("b", 20), vec![lonely("a", 10), lonely("c", 30)]].concat());
        assert_eq!(first.broken_newest().map(|broken| broken.run.as_str()), Some("c"));
        // Its part was stored before its manifest, and was seen later.
        let second = held([whole("b", 20), whole("c", 30), vec![lonely("a", 10), lonely("d", 40)]].concat());
        let both = second.after(&first);
        assert_eq!(broken(&both), ["a"]);
        assert_eq!(both.broken_newest(), None, "a newer point is whole");
        assert_eq!(held(vec![lonely("a", 10)]).broken_newest().map(|broken| broken.time), Some(at(10)));
    }

    #[test]
    fn whole_runs_are_forgotten_and_the_newest_never() {
        let held = held([whole("a", 0), whole("b", DAY), whole("c", 2 * DAY)].concat());
        let all: Vec<String> = ["a", "b", "c"].map(|run| format!("manifest-{run}")).into();
        let forgotten = |points, manifests: &[&str], others: &[&str]| {
            let [manifests, others] = [manifests, others].map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
            Forgotten { points, manifests, others }
        };
        let both = forgotten(2, &["manifest-a", "manifest-b"], &["part-a", "part-b"]);
        assert_eq!(held.to_forget(&all, at(3 * DAY)), both);
        assert_eq!(held.to_forget(&all[1..2], at(3 * DAY)), forgotten(1, &["manifest-b"], &["part-b"]));
        assert_eq!(held.to_forget(&[], at(900 * DAY)), Forgotten::default());
    }

    #[test]
    fn what_has_a_manifest_and_lacks_a_part_is_never_forgotten() {
        let mut snapshots = whole("a", 0);
        snapshots.push(snapshot("second", "b", 0, &[]));
        snapshots.push(snapshot("manifest-b", "b", 0, &["manifest", "parts=2"]));
        let held = held(snapshots);
        assert_eq!(broken(&held), ["b"]);
        assert_eq!(held.to_forget(&["manifest-b".to_owned()], at(900 * DAY)), Forgotten::default());
    }

    /// As two runs leave it that copy the same point at the same time.
    fn copied_twice(run: &str, time: i64) -> Vec<Snapshot> {
        let again = |snapshot: Snapshot, id: &str| Snapshot {
            id: format!("{id}-{}", snapshot.id),
            original: Some(snapshot.id.clone()),
            ..snapshot
        };
        let once = whole(run, time);
        ["x", "y"].iter().flat_map(|id| once.iter().cloned().map(|snapshot| again(snapshot, id))).collect()
    }

    #[test]
    fn a_point_that_two_runs_copied_is_one_point() {
        let twice = held([copied_twice("a", 0), whole("b", DAY)].concat());
        let runs: Vec<&str> = twice.points.iter().map(|point| point.run.as_str()).collect();
        assert_eq!(runs, ["a", "b"]);
        assert_eq!(twice.doubled(), ["y-manifest-a", "y-part-a"]);
        let forgotten = twice.to_forget(&["x-manifest-a".to_owned()], at(2 * DAY));
        assert_eq!(forgotten.manifests, ["x-manifest-a", "y-manifest-a"]);
        assert_eq!(forgotten.others, ["x-part-a", "y-part-a"]);
        // The same part twice is no second part.
        let mut half = copied_twice("c", 0);
        for snapshot in half.iter_mut().filter(|snapshot| is_manifest(snapshot)) {
            snapshot.tags = vec!["run=c".to_owned(), "manifest".to_owned(), "parts=2".to_owned()];
        }
        assert_eq!(broken(&held(half)), ["c"]);
        // Manifests that say different things make no point.
        let mut differs = copied_twice("d", 0);
        differs.last_mut().unwrap().tree = "another".to_owned();
        assert_eq!(broken(&held(differs)), ["d"]);
    }

    #[test]
    fn what_the_next_backup_completes_is_not_forgotten_at_a_copy() {
        let target = held([whole("a", 0), whole("b", DAY)].concat());
        let half = |run: &str| snapshot(&format!("half-{run}"), run, 0, &[]);
        let lonely = |run: &str| snapshot(&format!("lonely-{run}"), run, 0, &["manifest", "parts=1"]);
        let copy = held(vec![half("a"), half("c"), lonely("b"), lonely("d")]).beside(&target);
        assert_eq!(copy.to_forget(&[], at(90 * DAY)).others, ["half-c"]);
        assert_eq!(broken(&copy), ["d"]);
    }

    #[test]
    fn a_point_that_cannot_have_come_before_is_seen() {
        let held = held(whole("a", DAY));
        assert_eq!(held.ahead_of(at(0)).map(|point| point.run.as_str()), Some("a"));
        assert_eq!(held.ahead_of(at(DAY - 3_600)), None);
    }

    #[test]
    fn what_a_run_left_is_forgotten_only_when_no_run_can_be_at_work_on_it() {
        let held = held(vec![snapshot("half", "a", 0, &[])]);
        assert_eq!(held.to_forget(&[], at(7 * DAY + 3_600)), Forgotten::default());
        assert_eq!(held.to_forget(&[], at(8 * DAY + 1)).others, ["half"]);
    }

    #[test]
    fn a_point_of_the_future_is_seen() {
        let held = held(whole("a", 2 * DAY));
        assert!(held.is_of_the_future(at(0)));
        assert!(!held.is_of_the_future(at(2 * DAY - 3_600)));
    }

    #[test]
    fn a_point_is_found_by_what_people_see_of_it() {
        let held = held([whole("20261120T030000Z-aaaa", 0), whole("20261121T030000Z-bbbb", DAY)].concat());
        let run = |wanted: &str| held.find(wanted).map(|point| point.run.as_str());
        assert_eq!(run("latest"), Some("20261121T030000Z-bbbb"));
        assert_eq!(run("20261120"), Some("20261120T030000Z-aaaa"));
        assert_eq!(run("part-20261121T030000Z-bbbb"), Some("20261121T030000Z-bbbb"));
        assert_eq!(run("202611"), None, "it could be both");
        assert_eq!(run("xyz0"), None);
    }
}
