//! The schedules of a policy: which CronJobs it wants, when each is due, and in whose time.
//!
//! A macro becomes five fields whose minute (and hour, and day) follow from the policy's UID: they never change, and are others
//! for other policies and roles. Days are picked that every month has, and hours no clock is changed in.

use jiff::tz::TimeZone;
use printernizer_crds::backup_policy::{BackupPolicySpec, Role};
use printernizer_crds::{BackupPolicy, Reason};
use sha2::{Digest as _, Sha256};

use super::cron::Cron;
use super::names::cron_job_name;
use super::problem::{Problem, Stops};

/// Hours in which no clock of the world is set forward or back, of those when farms are quiet. Others are skipped or come
/// twice somewhere: 22 on Easter Island, 23 in Greenland, 0 to 3 in most places.
const QUIET_HOURS: [u8; 3] = [4, 5, 6];

/// One CronJob a policy wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// What it does.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Five fields.
    pub schedule: String,
    /// The same, read.
    pub cron: Cron,
}

/// What a policy wants, and when.
#[derive(Clone, Debug)]
pub struct Schedules {
    /// Its CronJobs, backups first.
    pub all: Vec<Scheduled>,
    /// The zone of their schedules.
    pub zone: TimeZone,
}

/// The zone of this name, exactly as Kubernetes looks it up: a name of the IANA database in its own spelling.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name))
}

/// The schedules of a policy, or why they cannot be. Nothing is stopped for it: CronJobs that run by an older schedule go on.
pub fn schedules(policy: &BackupPolicy) -> Result<Schedules, Problem> {
    let spec = &policy.spec;
    let Some(zone) = zone(&spec.time_zone) else {
        return Err(Problem::new(Stops::Changes, Reason::UnknownTimeZone, unknown_zone(&spec.time_zone)));
    };
    let (name, uid) = (policy.metadata.name.as_deref(), policy.metadata.uid.as_deref());
    let (name, uid) = (name.unwrap_or_default(), uid.unwrap_or_default());
    let mut all = Vec::new();
    for (field, role, suffix, text) in written(spec) {
        let schedule = fields(text, &[uid, role.as_label(), suffix.unwrap_or_default()]);
        let cron = Cron::parse(&schedule).map_err(|error| {
            let text = format!("{field} is {text:?}, which cannot be: {error}. Correct it");
            Problem::new(Stops::Changes, Reason::InvalidSchedule, text)
        })?;
        all.push(Scheduled { role, name: cron_job_name(name, role, suffix), schedule, cron });
    }
    Ok(Schedules { all, zone })
}

fn unknown_zone(name: &str) -> String {
    let spelled = TimeZone::get(name).ok().and_then(|zone| zone.iana_name().map(str::to_owned));
    match spelled {
        Some(spelled) => format!("spec.timeZone is {name}: write {spelled}"),
        None => {
            format!("spec.timeZone is {name}, which is no time zone: write a name such as Europe/Berlin or Etc/UTC")
        }
    }
}

/// Every schedule in the spec: its field, what for, the name it has in the spec, and its text.
fn written(spec: &BackupPolicySpec) -> Vec<(String, Role, Option<&str>, &str)> {
    let mut all = vec![("spec.schedule".to_owned(), Role::Backup, None, spec.schedule.as_str())];
    for more in &spec.additional_schedules {
        let field = format!("the schedule {} of spec.additionalSchedules", more.name);
        all.push((field, Role::Backup, Some(more.name.as_str()), more.schedule.as_str()));
    }
    if let Some(check) = &spec.verification.check {
        all.push(("spec.verification.check.schedule".to_owned(), Role::Check, None, check.schedule.as_str()));
    }
    let prune = spec.retention.prune_schedule.as_str();
    all.push(("spec.retention.pruneSchedule".to_owned(), Role::Prune, None, prune));
    if let Some(drill) = &spec.verification.restore_drill {
        let field = "spec.verification.restoreDrill.schedule".to_owned();
        all.push((field, Role::RestoreDrill, None, drill.schedule.as_str()));
    }
    all
}

/// Five fields of what a person wrote. A macro's are chosen by the seed.
fn fields(text: &str, seed: &[&str]) -> String {
    let digest = Sha256::digest(seed.join("\n"));
    let pick = |place: usize, count: u8| digest[place] % count;
    let minute = pick(0, 60);
    let hour = QUIET_HOURS[usize::from(digest[1]) % QUIET_HOURS.len()];
    let (month_day, month, week_day) = (pick(2, 28) + 1, pick(3, 12) + 1, pick(4, 7));
    match text {
        "@hourly" => format!("{minute} * * * *"),
        "@daily" | "@midnight" => format!("{minute} {hour} * * *"),
        "@weekly" => format!("{minute} {hour} * * {week_day}"),
        "@monthly" => format!("{minute} {hour} {month_day} * *"),
        "@yearly" | "@annually" => format!("{minute} {hour} {month_day} {month} *"),
        fields => fields.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_macro_is_the_same_for_a_policy_for_ever_and_spread_over_policies() {
        for (text, least) in [("@hourly", 40), ("@daily", 70), ("@weekly", 90), ("@monthly", 95), ("@yearly", 98)] {
            let of = |uid: usize| fields(text, &[&uid.to_string(), "backup", ""]);
            let all: BTreeSet<String> = (0..100).map(of).collect();
            assert!(all.len() >= least, "{text}: {}", all.len());
            assert_eq!((0..100).map(of).collect::<BTreeSet<_>>(), all);
            for schedule in &all {
                Cron::parse(schedule).unwrap();
            }
        }
        assert_eq!(fields("@midnight", &["a"]), fields("@daily", &["a"]));
        assert_ne!(fields("@weekly", &["a", "check"]), fields("@weekly", &["a", "prune"]));
        assert_eq!(fields(" 0  3 * * * ", &["a"]), "0 3 * * *");
    }

    #[test]
    fn no_zone_skips_or_repeats_a_quiet_hour_in_the_coming_years() {
        let (begin, end): (jiff::Timestamp, jiff::Timestamp) =
            ("2026-01-01T00:00:00Z".parse().unwrap(), "2036-01-01T00:00:00Z".parse().unwrap());
        let mut seen = 0;
        let database = jiff::tz::TimeZoneDatabase::bundled();
        for name in database.available() {
            let zone = database.get(name.as_str()).unwrap();
            for change in zone.following(begin).take_while(|change| change.timestamp() < end) {
                seen += 1;
                let at = change.timestamp();
                let before = zone.to_offset(at - jiff::SignedDuration::from_nanos(1)).to_datetime(at);
                let after = change.offset().to_datetime(at);
                let (mut clock, until) = (before.min(after), before.max(after));
                while clock < until {
                    let hour = u8::try_from(clock.hour()).unwrap();
                    assert!(!QUIET_HOURS.contains(&hour), "{name} at {at}: {before} becomes {after}");
                    clock += jiff::SignedDuration::from_mins(5);
                }
            }
        }
        assert!(seen > 1_000, "{seen}");
    }

    #[test]
    fn a_zone_is_spelled_as_kubernetes_needs_it() {
        assert!(zone("Europe/Berlin").is_some() && zone("Etc/UTC").is_some() && zone("UTC").is_some());
        for name in ["europe/berlin", "Europe/Bielefeld", "+01:00", "CEST", "Local", ""] {
            assert!(zone(name).is_none(), "{name}");
        }
        assert_eq!(unknown_zone("europe/berlin"), "spec.timeZone is europe/berlin: write Europe/Berlin");
        assert!(unknown_zone("Europe/Bielefeld").contains("no time zone"));
    }
}
