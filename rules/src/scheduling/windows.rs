//! Start windows: whether prints may start now, and when they may next.
//!
//! A window opens and closes at the first instant at which the wall clock of its zone shows, or has passed, the written
//! time. So a time that summer time skips is the moment of the change, and one that winter time repeats is its first
//! showing. Zones come from the bundled IANA database, never from the machine, so that every machine decides alike.

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use printernizer_crds::printer::{Day, StartWindow};

/// A window that opens once a week opens within this many days, also when one of its days has none.
const DAYS_AHEAD: usize = 15;

/// Whether prints may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starts {
    /// Now.
    Allowed,
    /// Not now; from then on, if that can be said.
    From(Option<Timestamp>),
}

/// Judges the windows of a printer; none means always. An error names what cannot be read.
pub(crate) fn starts(windows: &[StartWindow], now: Timestamp) -> Result<Starts, String> {
    if windows.is_empty() {
        return Ok(Starts::Allowed);
    }
    let mut next = None;
    let mut open = false;
    for window in windows {
        match opening(window, now)? {
            Starts::Allowed => open = true,
            Starts::From(Some(at)) => next = Some(next.map_or(at, |n: Timestamp| n.min(at))),
            Starts::From(None) => {}
        }
    }
    Ok(if open { Starts::Allowed } else { Starts::From(next) })
}

fn opening(window: &StartWindow, now: Timestamp) -> Result<Starts, String> {
    let zone = TimeZoneDatabase::bundled()
        .get(&window.time_zone)
        .map_err(|_| format!("time zone {:?} is not an IANA name such as Europe/Berlin", window.time_zone))?;
    let from = clock(&window.from).ok_or_else(|| format!("from {:?} is not HH:MM", window.from))?;
    let to = if window.to == "24:00" {
        None
    } else {
        Some(clock(&window.to).ok_or_else(|| format!("to {:?} is not HH:MM", window.to))?)
    };
    let Ok(yesterday) = now.to_zoned(zone.clone()).date().yesterday() else { return Ok(Starts::From(None)) };
    let mut date = yesterday;
    for _ in 0..DAYS_AHEAD {
        let Ok(next_date) = date.tomorrow() else { break };
        if window.days.is_empty() || window.days.iter().any(|d| weekday(*d) == date.weekday()) {
            let closing = match to {
                Some(to) if to > from => first_showing(&zone, date, to),
                Some(to) => first_showing(&zone, next_date, to),
                None => first_showing(&zone, next_date, Time::midnight()),
            };
            let (Some(opens), Some(closes)) = (first_showing(&zone, date, from), closing) else { break };
            if opens <= now && now < closes {
                return Ok(Starts::Allowed);
            }
            if now < opens && opens < closes {
                return Ok(Starts::From(Some(opens)));
            }
        }
        date = next_date;
    }
    Ok(Starts::From(None))
}

/// The first instant at which the wall clock shows, or has passed, this time.
fn first_showing(zone: &TimeZone, date: Date, time: Time) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(date.to_datetime(time));
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => {
            let before = ambiguous.earlier().ok()?;
            zone.following(before).next().map(|change| change.timestamp())
        }
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
    }
}

fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Monday => Weekday::Monday,
        Day::Tuesday => Weekday::Tuesday,
        Day::Wednesday => Weekday::Wednesday,
        Day::Thursday => Weekday::Thursday,
        Day::Friday => Weekday::Friday,
        Day::Saturday => Weekday::Saturday,
        Day::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::at;
    use super::*;

    fn window(from: &str, to: &str, days: &[Day]) -> StartWindow {
        StartWindow { time_zone: "Europe/Berlin".into(), days: days.to_vec(), from: from.into(), to: to.into() }
    }

    fn judged(windows: &[StartWindow], now: &str) -> Starts {
        starts(windows, at(now)).unwrap()
    }

    fn from(text: &str) -> Starts {
        Starts::From(Some(at(text)))
    }

    #[test]
    fn without_windows_prints_may_always_start() {
        assert_eq!(judged(&[], "2026-11-21T03:00:00Z"), Starts::Allowed);
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_to_before_its_last() {
        let day = [window("08:00", "18:00", &[])];
        for (now, expected) in [
            ("2026-11-21T06:59:59Z", from("2026-11-21T07:00:00Z")),
            ("2026-11-21T07:00:00Z", Starts::Allowed),
            ("2026-11-21T16:59:59Z", Starts::Allowed),
            ("2026-11-21T17:00:00Z", from("2026-11-22T07:00:00Z")),
        ] {
            assert_eq!(judged(&day, now), expected, "{now}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_opens_on() {
        // 2026-11-21 is a Saturday.
        let friday_night = [window("22:00", "06:00", &[Day::Friday])];
        for (now, expected) in [
            ("2026-11-20T20:59:59Z", from("2026-11-20T21:00:00Z")),
            ("2026-11-20T22:30:00Z", Starts::Allowed),
            ("2026-11-21T04:59:59Z", Starts::Allowed),
            ("2026-11-21T05:00:00Z", from("2026-11-27T21:00:00Z")),
        ] {
            assert_eq!(judged(&friday_night, now), expected, "{now}");
        }
        let whole_day = [window("00:00", "24:00", &[Day::Saturday])];
        assert_eq!(judged(&whole_day, "2026-11-20T22:59:59Z"), from("2026-11-20T23:00:00Z"));
        assert_eq!(judged(&whole_day, "2026-11-21T22:59:59Z"), Starts::Allowed);
        assert_eq!(judged(&whole_day, "2026-11-21T23:00:00Z"), from("2026-11-27T23:00:00Z"));
    }

    #[test]
    fn one_open_window_is_enough_and_the_earliest_opening_counts() {
        let two = [window("20:00", "22:00", &[]), window("08:00", "12:00", &[Day::Sunday, Day::Saturday])];
        assert_eq!(judged(&two, "2026-11-21T07:30:00Z"), Starts::Allowed);
        assert_eq!(judged(&two, "2026-11-21T12:00:00Z"), from("2026-11-21T19:00:00Z"));
        assert_eq!(judged(&two, "2026-11-21T21:30:00Z"), from("2026-11-22T07:00:00Z"));
    }

    #[test]
    fn on_the_day_summer_time_begins_a_skipped_time_is_the_moment_of_the_change() {
        // In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29, at 01:00 UTC.
        let night = [window("01:30", "02:30", &[])];
        assert_eq!(judged(&night, "2026-03-29T00:30:00Z"), Starts::Allowed);
        assert_eq!(judged(&night, "2026-03-29T00:59:59Z"), Starts::Allowed);
        assert_eq!(judged(&night, "2026-03-29T01:00:00Z"), from("2026-03-29T23:30:00Z"));
        let early = [window("02:30", "05:00", &[])];
        assert_eq!(judged(&early, "2026-03-29T00:59:59Z"), from("2026-03-29T01:00:00Z"));
        assert_eq!(judged(&early, "2026-03-29T01:00:00Z"), Starts::Allowed);
        assert_eq!(judged(&early, "2026-03-29T02:59:59Z"), Starts::Allowed);
        assert_eq!(judged(&early, "2026-03-29T03:00:00Z"), from("2026-03-30T00:30:00Z"));
        let skipped = [window("02:15", "02:45", &[Day::Sunday])];
        for now in ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"] {
            assert_eq!(judged(&skipped, now), from("2026-04-05T00:15:00Z"), "it has no length that day");
        }
    }

    #[test]
    fn on_the_day_summer_time_ends_a_repeated_time_counts_at_its_first_showing() {
        // In Berlin the clock goes from 03:00 back to 02:00 on 2026-10-25, at 01:00 UTC.
        let night = [window("22:00", "02:30", &[])];
        assert_eq!(judged(&night, "2026-10-25T00:29:59Z"), Starts::Allowed);
        assert_eq!(judged(&night, "2026-10-25T00:30:00Z"), from("2026-10-25T21:00:00Z"));
        assert_eq!(judged(&night, "2026-10-25T01:15:00Z"), from("2026-10-25T21:00:00Z"), "02:15 the second time");
        let early = [window("02:30", "05:00", &[])];
        assert_eq!(judged(&early, "2026-10-25T00:29:59Z"), from("2026-10-25T00:30:00Z"));
        assert_eq!(judged(&early, "2026-10-25T01:15:00Z"), Starts::Allowed, "it stays open while the hour repeats");
        assert_eq!(judged(&early, "2026-10-25T04:00:00Z"), from("2026-10-26T01:30:00Z"));
    }

    #[test]
    fn a_window_over_the_night_of_the_change_closes_by_the_new_time() {
        // Seven hours long when summer time begins, nine when it ends, and still the Saturday's.
        let night = [window("22:00", "06:00", &[Day::Saturday])];
        for (now, expected) in [
            ("2026-03-28T20:59:59Z", from("2026-03-28T21:00:00Z")),
            ("2026-03-29T01:00:00Z", Starts::Allowed),
            ("2026-03-29T03:59:59Z", Starts::Allowed),
            ("2026-03-29T04:00:00Z", from("2026-04-04T20:00:00Z")),
            ("2026-10-24T20:00:00Z", Starts::Allowed),
            ("2026-10-25T04:59:59Z", Starts::Allowed),
            ("2026-10-25T05:00:00Z", from("2026-10-31T21:00:00Z")),
        ] {
            assert_eq!(judged(&night, now), expected, "{now}");
        }
        // It closes at a time that is skipped, which is the moment of the change.
        let short = [window("23:00", "02:30", &[Day::Saturday])];
        assert_eq!(judged(&short, "2026-03-29T00:59:59Z"), Starts::Allowed);
        assert_eq!(judged(&short, "2026-03-29T01:00:00Z"), from("2026-04-04T21:00:00Z"));
    }

    #[test]
    fn windows_follow_their_own_zone() {
        let tokyo = StartWindow { time_zone: "Asia/Tokyo".into(), ..window("08:00", "09:00", &[Day::Sunday]) };
        assert_eq!(judged(std::slice::from_ref(&tokyo), "2026-11-21T23:00:00Z"), Starts::Allowed);
        assert_eq!(judged(&[tokyo], "2026-11-21T22:59:59Z"), from("2026-11-21T23:00:00Z"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let zone = StartWindow { time_zone: "Europe/Bonn".into(), ..window("08:00", "09:00", &[]) };
        let text = starts(&[window("00:00", "24:00", &[]), zone], at("2026-11-21T10:00:00Z")).unwrap_err();
        assert!(text.contains("Europe/Bonn"), "{text}");
        assert!(starts(&[window("8", "09:00", &[])], at("2026-11-21T10:00:00Z")).is_err());
        assert!(starts(&[window("08:00", "25:00", &[])], at("2026-11-21T10:00:00Z")).is_err());
    }
}
