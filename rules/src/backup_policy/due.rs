//! When runs are due, and which were missed.
//!
//! The time a run is due next stands in the status, so that whoever looks next, after whatever pause, knows what should have
//! happened meanwhile. What was not begun within the starting deadline is missed: the latest of these times is told, once,
//! and none is made up for.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::backup_policy::CronJobStatus;

use super::schedule::Scheduled;

/// How long after its starting deadline a run counts as missed, in seconds: what began at its last moment is heard of later.
pub const HEARD_OF_SECONDS: i64 = 30;

/// What is known of one schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// For the status.
    pub status: CronJobStatus,
    /// The latest time that was missed since the last look.
    pub missed: Option<Timestamp>,
}

/// Compares a schedule with what became of it. `before` is what the status said of it, `live` the CronJob.
pub fn due(
    wanted: &Scheduled,
    zone: (&str, &TimeZone),
    live: Option<&CronJob>,
    before: Option<&CronJobStatus>,
    suspended: bool,
    deadline_seconds: i64,
    now: Timestamp,
) -> Due {
    let last = live.and_then(|c| c.status.as_ref()).and_then(|s| s.last_schedule_time.as_ref()).map(|t| t.0);
    let mut status = CronJobStatus {
        role: wanted.role,
        name: wanted.name.clone(),
        schedule: wanted.schedule.clone(),
        time_zone: zone.0.to_owned(),
        next_schedule_time: None,
        last_schedule_time: last.map(Time),
    };
    if suspended {
        return Due { status, missed: None };
    }
    let next = |after| wanted.cron.next(after, zone.1);
    // A time that belongs to another schedule, or to none while it was suspended, is none that can be missed.
    let same = before.filter(|b| b.schedule == wanted.schedule && b.time_zone == zone.0);
    let mut awaited = same.and_then(|b| b.next_schedule_time.as_ref()).map(|t| t.0).or_else(|| next(now));
    if let Some(last) = last.filter(|last| awaited.is_some_and(|a| *last >= a)) {
        awaited = next(last);
    }
    let grace = SignedDuration::from_secs(deadline_seconds.saturating_add(HEARD_OF_SECONDS));
    let too_late = now.checked_sub(grace).unwrap_or(Timestamp::MIN);
    let mut missed = None;
    if let Some(first) = awaited.filter(|a| *a <= too_late) {
        let latest = wanted.cron.last(first, too_late, zone.1).unwrap_or(first);
        (missed, awaited) = (Some(latest), next(latest));
    }
    status.next_schedule_time = awaited.map(Time);
    Due { status, missed }
}
