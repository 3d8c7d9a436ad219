//! Cron schedules as Kubernetes' CronJob controller reads them: minute, hour, day of the month, month, day of the week.
//!
//! That controller's grammar (the library robfig/cron, version 3, without seconds): `*` and `?` are everything, `a-b`, `a/n`
//! (from a to the end), `a-b/n`, `*/n`, lists by comma, months and weekdays also by the first three letters of their English
//! names; Sunday is 0, never 7; a range does not wrap around. Of the two days both must match where one of them is written
//! with a `*` or `?` that has no step, else one is enough. The clock is that of the time zone: what falls into an hour that
//! is skipped does not come that day, what falls into one that is repeated comes twice. Macros and `@every` are not known
//! here. Refused is, besides, what never comes: the controller would wait for it for ever.

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp, ToSpan as _};

/// How far ahead is looked, in days: five years, as Kubernetes does. Every date of the calendar but 29 February comes in one.
const HORIZON_DAYS: i32 = 5 * 366;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field: its name, its least and greatest value, and names of values from the least on.
struct Field(&'static str, u8, u8, &'static [&'static str]);

const FIELDS: [Field; 5] = [
    Field("minute", 0, 59, &[]),
    Field("hour", 0, 23, &[]),
    Field("day of the month", 1, 31, &[]),
    Field("month", 1, 12, &MONTHS),
    Field("day of the week", 0, 6, &DAYS),
];

/// Why a schedule cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error("it has {0} fields instead of five (minute hour day month weekday)")]
    Fields(usize),
    /// A field says what cannot be.
    #[error("its {field} {text:?} is not one of {least} to {greatest}, a range, a step or a list of these")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        text: String,
        /// The least value.
        least: u8,
        /// The greatest.
        greatest: u8,
    },
    /// No day of the calendar fits.
    #[error("the day it names never comes")]
    Never,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// Values of each field as bits.
    sets: [u64; 5],
    /// Whether one of the two days is everything, so that the other decides alone.
    any_day: bool,
}

impl Cron {
    /// Reads five fields.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let five: [&str; 5] = fields.as_slice().try_into().map_err(|_| CronError::Fields(fields.len()))?;
        let mut sets = [0; 5];
        let mut stars = [false; 5];
        for (i, (text, field)) in five.into_iter().zip(&FIELDS).enumerate() {
            let wrong =
                || CronError::Field { field: field.0, text: text.to_owned(), least: field.1, greatest: field.2 };
            let (set, star) = list(text, field).ok_or_else(wrong)?;
            (sets[i], stars[i]) = (set, star);
        }
        let cron = Self { sets, any_day: stars[2] || stars[4] };
        // The five years from then on hold a 29 February.
        let from = Timestamp::UNIX_EPOCH;
        cron.next(from, &TimeZone::UTC).map(|_| cron).ok_or(CronError::Never)
    }

    /// The first time after this moment. `None` where it lies more than five years ahead.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = after.to_zoned(zone.clone()).date();
        let end = date.checked_add(Span::new().days(HORIZON_DAYS)).ok()?;
        while date <= end {
            if self.matches(date)
                && let Some(found) = self.on(date, after, zone)
            {
                return Some(found);
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    /// The last time after `after` and not after `until`.
    pub fn last(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // From the end backwards, in ever longer steps: only the step in which it lies is gone through.
        let mut hours = 1_i64;
        loop {
            let begin = until.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MIN).max(after);
            let mut last = None;
            let mut from = begin;
            while let Some(next) = self.next(from, zone).filter(|t| *t <= until) {
                (last, from) = (Some(next), next);
            }
            if last.is_some() || begin <= after {
                return last;
            }
            hours = hours.saturating_mul(8);
        }
    }

    fn has(&self, field: usize, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|bit| self.sets[field] >> bit & 1 == 1)
    }

    fn matches(&self, date: Date) -> bool {
        let month = self.has(2, date.day());
        let week = self.has(4, date.weekday().to_sunday_zero_offset());
        self.has(3, date.month()) && if self.any_day { month && week } else { month || week }
    }

    /// The first time on this day after this moment.
    fn on(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut first: Option<Timestamp> = None;
        let times = (0..24).flat_map(|hour| (0..60).map(move |minute| (hour, minute)));
        for (hour, minute) in times.filter(|(hour, minute)| self.has(1, *hour) && self.has(0, *minute)) {
            let Ok(time) = Time::new(hour, minute, 0, 0) else { continue };
            let local = date.to_datetime(time);
            let (offsets, once) = match zone.to_ambiguous_timestamp(local).offset() {
                AmbiguousOffset::Unambiguous { offset } => ([Some(offset), None], true),
                // The clock jumps over it.
                AmbiguousOffset::Gap { .. } => ([None, None], false),
                AmbiguousOffset::Fold { before, after } => ([Some(before), Some(after)], false),
            };
            for offset in offsets.into_iter().flatten() {
                let Ok(moment) = offset.to_timestamp(local) else { continue };
                if moment > after {
                    first = Some(first.map_or(moment, |f| f.min(moment)));
                }
            }
            // In a repeated hour a later minute may come before an earlier one; anywhere else none does.
            if once && first.is_some() {
                break;
            }
        }
        first
    }
}

/// Values of a field as bits, and whether it is everything.
fn list(text: &str, field: &Field) -> Option<(u64, bool)> {
    let (mut set, mut star) = (0, false);
    for part in text.split(',') {
        let (values, all) = range(part, field)?;
        set |= values;
        star |= all;
    }
    Some((set, star))
}

fn range(text: &str, Field(_, least, greatest, names): &Field) -> Option<(u64, bool)> {
    let number = |text: &str| {
        match names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            Some(place) => u8::try_from(place).ok().map(|place| place + least),
            // Without a sign, which a number's own parser takes.
            None => text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u8>().ok()).flatten(),
        }
    };
    let (values, step) = match text.split_once('/') {
        Some((values, step)) => (values, Some(number_only(step).filter(|step| *step > 0)?)),
        None => (text, None),
    };
    let (from, to, all) = match values.split_once('-') {
        _ if values == "*" || values == "?" => (*least, *greatest, step.unwrap_or(1) == 1),
        Some((from, to)) => (number(from)?, number(to)?, false),
        None => {
            let from = number(values)?;
            (from, if step.is_some() { *greatest } else { from }, false)
        }
    };
    if from < *least || to > *greatest || from > to {
        return None;
    }
    let steps = (from..=to).step_by(usize::from(step.unwrap_or(1)));
    Some((steps.fold(0, |set, value| set | 1 << value), all))
}

fn number_only(text: &str) -> Option<u8> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    /// The next times after a moment, as they are written in the zone.
    fn times(schedule: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (Cron::parse(schedule).unwrap(), zone(zone_name));
        let mut from: Timestamp = after.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            from = cron.next(from, &zone).unwrap();
            found.push(from.to_zoned(zone.clone()).strftime("%a %m-%d %H:%M %:z").to_string());
        }
        found
    }

    #[test]
    fn what_kubernetes_takes_is_read_as_it_reads_it() {
        let sunday = "2026-11-22T00:00:00Z";
        let rows: [(&str, &[&str]); 17] = [
            ("0 3 * * *", &["Sun 11-22 03:00 +00:00", "Mon 11-23 03:00 +00:00"]),
            ("*/20 4 * * ?", &["Sun 11-22 04:00 +00:00", "Sun 11-22 04:20 +00:00", "Sun 11-22 04:40 +00:00"]),
            ("50/5 0 * * *", &["Sun 11-22 00:50 +00:00", "Sun 11-22 00:55 +00:00", "Mon 11-23 00:50 +00:00"]),
            ("0 1-5/2 * * *", &["Sun 11-22 01:00 +00:00", "Sun 11-22 03:00 +00:00", "Sun 11-22 05:00 +00:00"]),
            ("0 22,23 * * *", &["Sun 11-22 22:00 +00:00", "Sun 11-22 23:00 +00:00"]),
            ("0 0 * DEC-dec *", &["Tue 12-01 00:00 +00:00", "Wed 12-02 00:00 +00:00"]),
            ("5 0 * * 0", &["Sun 11-22 00:05 +00:00", "Sun 11-29 00:05 +00:00"]),
            ("0 0 * * fri-SAT", &["Fri 11-27 00:00 +00:00", "Sat 11-28 00:00 +00:00"]),
            // Both days are given: one is enough.
            ("0 0 1 * mon", &["Mon 11-23 00:00 +00:00", "Mon 11-30 00:00 +00:00", "Tue 12-01 00:00 +00:00"]),
            // A step makes of everything something: again one is enough.
            ("0 0 */10 * mon", &["Mon 11-23 00:00 +00:00", "Mon 11-30 00:00 +00:00", "Tue 12-01 00:00 +00:00"]),
            ("0 0 1 * */6", &["Sat 11-28 00:00 +00:00", "Sun 11-29 00:00 +00:00", "Tue 12-01 00:00 +00:00"]),
            // A step of one does not: both must match.
            ("0 0 */1 * mon", &["Mon 11-23 00:00 +00:00", "Mon 11-30 00:00 +00:00"]),
            ("0 0 1 * ?/1", &["Tue 12-01 00:00 +00:00", "Fri 01-01 00:00 +00:00"]),
            // Everything in a list is everything.
            ("0 0 1,* * mon", &["Mon 11-23 00:00 +00:00", "Mon 11-30 00:00 +00:00"]),
            ("0 0 31 * *", &["Thu 12-31 00:00 +00:00", "Sun 01-31 00:00 +00:00", "Wed 03-31 00:00 +00:00"]),
            ("0 0 29 2 *", &["Tue 02-29 00:00 +00:00"]),
            ("59 23 31 12 *", &["Thu 12-31 23:59 +00:00", "Fri 12-31 23:59 +00:00"]),
        ];
        for (schedule, expected) in rows {
            assert_eq!(times(schedule, "UTC", sunday, expected.len()), expected, "{schedule}");
        }
    }

    #[test]
    fn what_kubernetes_refuses_and_what_never_comes_is_refused() {
        for schedule in [
            "61 3 * * *",
            "0 24 * * *",
            "0 0 0 * *",
            "0 0 32 * *",
            "0 0 * 13 *",
            "0 0 * * 7",
            "0 0 * * fri-mon",
            "5-3 * * * *",
            "*/0 * * * *",
            "1/ * * * *",
            "1-2-3 * * * *",
            "1/2/3 * * * *",
            "a * * * *",
            "+5 * * * *",
            "-5 * * * *",
            "1,,2 * * * *",
            ", * * * *",
            "0 0 L * *",
            "0 0 * * mon#1",
            "0 0 15W * *",
            "0 0 * january *",
            "999999999999 * * * *",
        ] {
            assert!(matches!(Cron::parse(schedule), Err(CronError::Field { .. })), "{schedule}");
        }
        for (schedule, count) in [("", 0), ("0 3 * *", 4), ("0 0 3 * * *", 6), ("@daily", 1)] {
            assert_eq!(Cron::parse(schedule), Err(CronError::Fields(count)), "{schedule}");
        }
        assert_eq!(Cron::parse("0 0 30 2 *"), Err(CronError::Never));
        assert_eq!(Cron::parse("0 0 31 4,6,9,11 *"), Err(CronError::Never));
        let said = Cron::parse("61 3 * * *").unwrap_err().to_string();
        assert_eq!(said, "its minute \"61\" is not one of 0 to 59, a range, a step or a list of these");
    }

    #[test]
    fn an_hour_that_is_skipped_does_not_come_and_one_that_is_repeated_comes_twice() {
        let berlin = "Europe/Berlin";
        let spring = ["Sat 03-28 02:30 +01:00", "Mon 03-30 02:30 +02:00"];
        assert_eq!(times("30 2 * * *", berlin, "2026-03-28T00:00:00Z", 2), spring);
        let autumn = ["Sun 10-25 02:30 +02:00", "Sun 10-25 02:30 +01:00", "Mon 10-26 02:30 +01:00"];
        assert_eq!(times("30 2 * * *", berlin, "2026-10-24T12:00:00Z", 3), autumn);
        // Every half hour through both: never an earlier one after a later one.
        let hours = [
            "Sun 10-25 01:30 +02:00",
            "Sun 10-25 02:00 +02:00",
            "Sun 10-25 02:30 +02:00",
            "Sun 10-25 02:00 +01:00",
            "Sun 10-25 02:30 +01:00",
            "Sun 10-25 03:00 +01:00",
        ];
        assert_eq!(times("*/30 * * * *", berlin, "2026-10-24T23:00:00Z", 6), hours);
        let hours = ["Sun 03-29 01:30 +01:00", "Sun 03-29 03:00 +02:00"];
        assert_eq!(times("*/30 * * * *", berlin, "2026-03-29T00:00:00Z", 2), hours);
        // A midnight that is skipped, as in Cairo.
        let cairo = ["Thu 04-23 00:00 +02:00", "Sat 04-25 00:00 +03:00"];
        assert_eq!(times("0 0 * * *", "Africa/Cairo", "2026-04-22T12:00:00Z", 2), cairo);
    }

    #[test]
    fn the_last_time_before_a_moment_is_found_however_long_ago() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let berlin = zone("Europe/Berlin");
        let hourly = Cron::parse("0 * * * *").unwrap();
        let (begin, end) = (at("2026-11-01T00:00:00Z"), at("2026-11-22T10:59:59Z"));
        assert_eq!(hourly.last(begin, end, &berlin), Some(at("2026-11-22T10:00:00Z")));
        assert_eq!(hourly.last(at("2026-11-22T10:00:00Z"), end, &berlin), None, "not the moment itself");
        assert_eq!(hourly.last(begin, at("2026-11-22T10:00:00Z"), &berlin), Some(at("2026-11-22T10:00:00Z")));
        let yearly = Cron::parse("0 0 1 1 *").unwrap();
        assert_eq!(yearly.last(at("2020-06-01T00:00:00Z"), end, &berlin), Some(at("2025-12-31T23:00:00Z")));
        assert_eq!(yearly.last(at("2026-06-01T00:00:00Z"), end, &berlin), None);
    }
}
