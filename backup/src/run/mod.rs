//! What the commands do, each in a module of its own, and what they share: the repositories, the guard before them, and the
//! report at the end.

mod backup;
mod check;
mod copies;
mod databases;
mod drill;
mod list;
pub mod points;
mod prune;
mod restore;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::backup_policy::{Reading, Report, RepositoryFacts, Role, RunReason};

use crate::configuration::Told;
use crate::engine::{Engine as _, Location, Restic, Settings};
use crate::failure::Failure;
use crate::manifest::{MANIFEST_PATH, MAX_MANIFEST_BYTES, Manifest};
use crate::source::tree;
use crate::stop::Stop;
use points::{Held, Point};

pub use list::Listed;
pub use restore::{Place, Wanted};

/// What becomes part of the report, whether the run succeeds or not.
#[derive(Debug, Default)]
pub struct Facts {
    snapshot: Option<String>,
    point_time: Option<Timestamp>,
    repository: Option<RepositoryFacts>,
    bytes: Option<u64>,
    bytes_changed: Option<i64>,
    restore_time: Option<Duration>,
    read_data_percent: Option<u8>,
    previous: Option<String>,
    copies: Vec<Option<String>>,
    reading: Option<Reading>,
    read_before: Option<i32>,
}

impl Facts {
    /// The recovery point the run is about.
    fn concern(&mut self, point: &Point) {
        (self.snapshot, self.point_time) = (Some(point.run.clone()), Some(point.time));
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    /// Make a recovery point.
    Backup,
    /// Check the repository and its copies.
    Check,
    /// Forget what is not kept.
    Prune,
    /// Restore for practice.
    Drill,
    /// Restore for use.
    Restore(Wanted),
}

impl Task {
    /// What the task is in the API.
    pub fn role(&self) -> Role {
        match self {
            Self::Backup => Role::Backup,
            Self::Check => Role::Check,
            Self::Prune => Role::Prune,
            Self::Drill => Role::RestoreDrill,
            Self::Restore(_) => Role::Restore,
        }
    }
}

/// A run: what it was told, and the repositories it works on.
#[derive(Debug)]
pub struct Run {
    told: Told,
    stop: Stop,
    target: Restic,
    copies: Vec<Restic>,
    /// A folder of the run's own in the scratch space.
    work: PathBuf,
    started: Timestamp,
}

impl Run {
    /// Prepares the run. Nothing outside the scratch space is touched yet.
    pub fn new(told: Told, stop: Stop) -> Result<Self, Failure> {
        let scratch = told.layout.scratch();
        let started = Timestamp::now();
        let work = scratch.join(format!("run-{}", std::process::id()));
        // A former run in the same place was killed, or it would have taken this away.
        drop(tree::remove(&work));
        for folder in [scratch.join("tmp"), scratch.join("cache"), work.clone()] {
            std::fs::create_dir_all(&folder).map_err(|error| Failure::scratch(&folder, &error))?;
        }
        let settings = Settings { secrets: told.secrets.clone(), scratch, limits: told.limits, stop: stop.clone() };
        let repository = |copy| -> Result<Restic, Failure> {
            let place = Location::of(&told, copy).ok_or_else(|| Failure::invalid("a target names no place"))?;
            Ok(Restic::new(place, settings.clone()))
        };
        let target = repository(None)?;
        let copies =
            (0..told.configuration.copies.len()).map(|index| repository(Some(index))).collect::<Result<_, _>>()?;
        Ok(Self { told, stop, target, copies, work, started })
    }

    /// Does the task.
    pub async fn perform(&self, task: &Task, facts: &mut Facts) -> Result<String, Failure> {
        let done = match task {
            Task::Backup => self.back_up(facts).await,
            Task::Check => self.check(facts).await,
            Task::Prune => self.prune(facts).await,
            Task::Drill => self.drill(facts).await,
            Task::Restore(wanted) => self.restore(wanted, facts).await,
        };
        // Dumps and restored files are nobody's business any longer; an emptyDir would go with its pod anyway.
        drop(tree::remove(&self.work));
        done
    }

    fn host(&self) -> String {
        self.told.configuration.host()
    }

    /// Opens the target and compares it with the repository that held the policy's backups so far. None if there is none
    /// yet and none is expected.
    async fn guard(&self) -> Result<Option<String>, Failure> {
        let found = self.target.open().await?;
        match (&self.told.configuration.repository_id, &found) {
            (Some(_), None) => Err(crate::engine::EngineError::Missing(self.target.location()).into()),
            (Some(expected), Some(found)) if expected != found => Err(Failure::new(
                RunReason::RepositoryReplaced,
                format!(
                    "another repository ({}) is at {} than the one that holds the backups of this policy ({}): somebody emptied \
                     the place and began anew, or the target leads elsewhere; nothing was written. Bring the former one back, or \
                     make the policy anew to begin with this one",
                    short(found),
                    self.target.location(),
                    short(expected)
                ),
            )),
            _ => Ok(found),
        }
    }

    /// The target, which must hold something.
    async fn existing(&self) -> Result<String, Failure> {
        self.guard().await?.ok_or_else(|| self.nothing_yet())
    }

    fn nothing_yet(&self) -> Failure {
        let location = self.target.location();
        let text = if self.has_had_points() {
            format!(
                "no whole recovery point of this policy is left at {location}, where there were some: {}",
                who_forgot()
            )
        } else {
            format!("no recovery point of this policy is at {location} yet: make a backup first")
        };
        Failure::new(RunReason::NoRecoveryPoint, text)
    }

    /// Whether the target has ever held a recovery point of the policy: its id is known from the first one on.
    fn has_had_points(&self) -> bool {
        self.told.configuration.repository_id.is_some()
    }

    /// Fails where points were and none is left.
    fn refuse_a_loss(&self, held: &Held) -> Result<(), Failure> {
        if held.points.is_empty() && self.has_had_points() { Err(self.nothing_yet()) } else { Ok(()) }
    }

    /// What a repository holds of the policy.
    async fn held(&self, engine: &Restic) -> Result<Held, Failure> {
        let host = self.host();
        let held = points::held(engine.snapshots(&host).await?);
        if held.broken.is_empty() {
            return Ok(held);
        }
        Ok(points::held(engine.snapshots(&host).await?).after(&held))
    }

    /// The manifest of a recovery point.
    async fn manifest(&self, engine: &Restic, point: &Point) -> Result<Manifest, Failure> {
        let bytes = engine.read(&point.manifest.id, MANIFEST_PATH, MAX_MANIFEST_BYTES).await?;
        Manifest::decode(&bytes).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Failure::new(RunReason::RepositoryDamaged, format!("recovery point {}: {error}{cause}", point.run))
        })
    }
}

/// Refuses to go by which point is the newest while that is dated in the future.
fn refuse_the_future(held: &Held, engine: &Restic, outcome: &str) -> Result<(), Failure> {
    match held.newest().filter(|_| held.is_of_the_future(Timestamp::now())) {
        None => Ok(()),
        Some(newest) => Err(Failure::other(format!(
            "{outcome} at {}: the newest recovery point is dated {}, in the future, so a node's clock is or was wrong; mend \
             the clock, make a backup, and take the wrong point away with {}",
            engine.location(),
            newest.time.strftime("%Y-%m-%d %H:%M UTC"),
            take_away(&newest.run)
        ))),
    }
}

/// Refuses to go by which point is the newest while a newer one has lost parts.
fn refuse_broken_newest(held: &Held, engine: &Restic, outcome: &str) -> Result<(), Failure> {
    match held.broken_newest().and(no_longer_whole(held, engine)) {
        None => Ok(()),
        Some(told) => Err(Failure::new(RunReason::RepositoryDamaged, format!("{outcome}: {told}"))),
    }
}

/// What a person must know of recovery points that are no longer whole, if there are any.
fn no_longer_whole(held: &Held, engine: &Restic) -> Option<String> {
    /// How many are named.
    const NAMED: usize = 4;
    let first = held.broken.first()?;
    let mut named: Vec<&str> = held.broken.iter().take(NAMED).map(|broken| broken.run.as_str()).collect();
    if held.broken.len() > NAMED {
        named.push("and more");
    }
    Some(format!(
        "recovery points at {} that were whole are no longer, for they have a manifest and lack parts: {}; what is left of them was \
         not touched. {}; to let one go: {}",
        engine.location(),
        named.join(", "),
        who_forgot(),
        take_away(&first.run)
    ))
}

/// What to do where snapshots are gone.
fn who_forgot() -> &'static str {
    "find out who forgot snapshots there, and look whether a copy has them; until the next prune there restic recover brings \
     back what they held"
}

/// What a person types to take everything of a run away, with stock restic.
fn take_away(run: &str) -> String {
    format!("restic forget --tag run={run} --unsafe-allow-remove-all")
}

/// The beginning of an id, as people use it.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// The report of a run that ended so.
pub fn report(role: Role, started: Timestamp, facts: Facts, ended: Result<String, Failure>) -> Report {
    let (reason, message) = match ended {
        Ok(message) => (RunReason::Succeeded, message),
        Err(failure) => (failure.reason, failure.message),
    };
    Report {
        role,
        reason,
        message,
        start_time: Time(started),
        end_time: Time(Timestamp::now()),
        snapshot: facts.snapshot,
        recovery_point_time: facts.point_time.map(Time),
        repository: facts.repository,
        bytes: facts.bytes.map(signed),
        bytes_changed: facts.bytes_changed,
        // Rounded up: a restore never takes no time.
        restore_seconds: facts.restore_time.map(|time| signed(time.as_secs() + u64::from(time.subsec_nanos() > 0))),
        read_data_percent: facts.read_data_percent.map(i32::from),
        previous_snapshot: facts.previous,
        copy_ids: facts.copies,
        reading: facts.reading,
        read_before: facts.read_before,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of bytes for a person.
fn sized(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut unit = "bytes";
    let (mut whole, mut rest) = (bytes, 0);
    for next in UNITS {
        if whole < 1_000 {
            break;
        }
        (whole, rest, unit) = (whole / 1_000, whole % 1_000 / 100, next);
    }
    if unit == "bytes" || whole >= 100 { format!("{whole} {unit}") } else { format!("{whole}.{rest} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in
            [(0, "0 bytes"), (999, "999 bytes"), (1_500, "1.5 kB"), (123_456_789, "123 MB"), (2_000_000_000, "2.0 GB")]
        {
            assert_eq!(sized(bytes), text);
        }
    }

    #[test]
    fn a_restore_is_never_reported_as_quicker_than_it_was() {
        let facts = Facts { restore_time: Some(Duration::from_millis(1_001)), ..Facts::default() };
        assert_eq!(report(Role::RestoreDrill, Timestamp::now(), facts, Ok(String::new())).restore_seconds, Some(2));
    }
}
