//! What a session has itself seen of one attempt: counted from live reports on its own connection and nothing else.
//!
//! Time enters as the time since the previous report. A pause between two reports that is longer than
//! `Timing::report_gap` counts for nothing: what happened in it was not seen.

use std::time::Duration;

use super::start::{SendAnswer, asks_first};
use crate::device::{DeviceProgress, DeviceReport, DeviceState};

/// What the session that serves the job's printer has itself seen of this attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// A try to start is under way in this process right now.
    pub try_alive: bool,
    /// What came back when this process sent; `None` when it did not send.
    pub answer: Option<SendAnswer>,
    /// Reports have come without a gap on the connection the start was sent on.
    pub unbroken: bool,
    /// A start was or may have been sent, so that reports count towards the window.
    pub counting: bool,
    /// Live reports counted on this process's own connection since it began to watch this start, and since our print
    /// was last shown as running.
    pub live: Duration,
    /// Our identity was seen, in whatever state.
    pub seen_ours: bool,
    /// Our identity was seen active.
    pub seen_active: bool,
    /// How far our print was when it was last seen active.
    pub progress: Option<DeviceProgress>,
    /// Our identity was seen asking something before any progress.
    pub seen_preview: bool,
    /// How long it has been asking.
    pub preview_for: Duration,
    /// How long the device has shown nothing but idle after the question, without a gap; `None` while it does not. One
    /// such report says nothing: once the question is answered, a Prusa may show idle for a moment before it prints.
    pub idle_for: Option<Duration>,
    /// Live reports without an active state since the refusal.
    pub quiet: Duration,
    /// The error the device shows with our identity while it is idle, and how long it has shown nothing else, without a
    /// gap. One such report says nothing: errors of a moment are shown before a print, too.
    pub standing_error: Option<(String, Duration)>,
}

impl Watch {
    /// The job's intent is recorded: from now on reports count towards the window.
    pub fn intent_is_known(&mut self) {
        if !self.counting {
            (self.counting, self.live) = (true, Duration::ZERO);
        }
    }

    /// The start was sent, or certainly not.
    pub fn sent(&mut self, answer: SendAnswer) {
        self.answer = Some(answer);
        self.unbroken = true;
        (self.counting, self.live, self.quiet) = (true, Duration::ZERO, Duration::ZERO);
    }

    /// The connection has ended: what was sent on it can no longer be said to have failed.
    pub fn connection_lost(&mut self) {
        self.unbroken = false;
    }

    /// A report has come, this long after the one before it; `ours` says that it shows this attempt.
    pub fn report(&mut self, report: &DeviceReport, ours: bool, since: Option<Duration>, report_gap: Duration) {
        let gap = since.is_some_and(|s| s > report_gap);
        let step = since.filter(|_| !gap).unwrap_or_default();
        self.unbroken &= !gap;
        let active = report.is_active();
        self.seen_ours |= ours;
        if ours && active && asks_first(report) && !self.seen_active {
            self.preview_for += if self.seen_preview { step } else { Duration::ZERO };
            self.seen_preview = true;
        } else if ours && active {
            self.seen_active = true;
            self.progress = report.progress.or(self.progress);
        }
        let idle = self.seen_preview && !self.seen_active && !active && report.state == DeviceState::Idle;
        let before = self.idle_for.filter(|_| !gap);
        self.idle_for = idle.then(|| before.map_or(Duration::ZERO, |idle| idle + step));
        let stands = self.standing_error.take().filter(|_| !gap);
        self.standing_error = report.error.clone().filter(|_| ours && report.state == DeviceState::Idle).map(|error| {
            let before = stands.filter(|(shown, _)| *shown == error);
            (error, before.map_or(Duration::ZERO, |(_, lasting)| lasting + step))
        });
        // The window is about a print that is not to be seen; while it is, there is nothing to wait for.
        if ours && active {
            self.live = Duration::ZERO;
        } else if self.counting {
            self.live += step;
        }
        if matches!(self.answer, Some(SendAnswer::Refused(_))) {
            self.quiet = if active { Duration::ZERO } else { self.quiet + step };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, seconds};

    /// A watch, and reports of a scene that come one after the other.
    struct Watching {
        scene: Scene,
        watch: Watch,
    }

    impl Watching {
        fn new() -> Self {
            Self { scene: Scene::intended(), watch: Watch::default() }
        }

        fn ours(&mut self, state: DeviceState, after: u64) -> &Watch {
            self.scene.shows_ours(state);
            self.watch.report(&self.scene.report, true, Some(seconds(after)), seconds(30));
            &self.watch
        }

        fn foreign(&mut self, state: DeviceState, after: u64) -> &Watch {
            self.scene.shows_foreign(state);
            self.watch.report(&self.scene.report, false, Some(seconds(after)), seconds(30));
            &self.watch
        }
    }

    #[test]
    fn only_live_reports_after_the_intent_count_towards_the_window() {
        let mut w = Watching::new();
        assert_eq!(w.foreign(DeviceState::Idle, 20).live, seconds(0));
        w.watch.intent_is_known();
        assert_eq!(w.foreign(DeviceState::Idle, 20).live, seconds(20));
        // Nothing was seen for more than 30 s: that time does not count.
        assert_eq!(w.foreign(DeviceState::Idle, 60).live, seconds(20));
        assert_eq!(w.foreign(DeviceState::Idle, 10).live, seconds(30));
        w.watch.intent_is_known();
        assert_eq!(w.watch.live, seconds(30), "it was known already");
        assert_eq!(w.foreign(DeviceState::Printing, 10).live, seconds(40), "another print is no sign of ours");
        assert_eq!(w.ours(DeviceState::Idle, 10).live, seconds(50), "nor is a name that does nothing");
        assert_eq!(w.ours(DeviceState::Printing, 10).live, seconds(0), "there is nothing to wait for");
    }

    #[test]
    fn a_gap_breaks_the_observation_of_the_sender() {
        let mut w = Watching::new();
        w.watch.sent(SendAnswer::Refused("no".into()));
        assert!(w.foreign(DeviceState::Idle, 29).unbroken);
        assert_eq!(w.watch.quiet, seconds(29));
        assert!(!w.foreign(DeviceState::Idle, 31).unbroken);
        let mut w = Watching::new();
        w.watch.sent(SendAnswer::Refused("no".into()));
        w.watch.connection_lost();
        assert!(!w.foreign(DeviceState::Idle, 2).unbroken, "nor does it heal by a new connection");
    }

    #[test]
    fn an_active_state_of_another_print_restarts_the_quiet_after_a_refusal() {
        let mut w = Watching::new();
        w.watch.sent(SendAnswer::Refused("no".into()));
        w.foreign(DeviceState::Idle, 10);
        assert_eq!(w.foreign(DeviceState::Printing, 10).quiet, seconds(0));
        assert!(!w.watch.seen_active);
    }

    #[test]
    fn a_question_before_the_print_is_no_active_state() {
        let mut w = Watching::new();
        assert!(!w.foreign(DeviceState::Attention, 1).seen_preview, "another print is asked about");
        assert!(!w.ours(DeviceState::Idle, 1).seen_preview, "nothing is asked");
        w.ours(DeviceState::Attention, 1);
        w.ours(DeviceState::Attention, 10);
        assert!(w.watch.seen_preview && !w.watch.seen_active);
        assert_eq!(w.watch.preview_for, seconds(10));
        assert!(w.ours(DeviceState::Printing, 2).seen_active);
    }

    #[test]
    fn an_error_stands_from_its_first_report_until_any_other_is_shown_or_nobody_looks() {
        let mut w = Watching::new();
        let mut shows = |error: Option<&str>, state, ours: bool, after| {
            w.scene.shows_ours(state);
            w.scene.report.error = error.map(str::to_owned);
            w.watch.report(&w.scene.report, ours, Some(seconds(after)), seconds(30));
            w.watch.standing_error.clone().map(|(error, lasting)| (error, lasting.as_secs()))
        };
        let of = |error: &str, seconds| Some((error.to_owned(), seconds));
        let (busy, unread) = (Some("0500_4004"), Some("0500_4003"));
        assert_eq!(shows(None, DeviceState::Idle, true, 2), None);
        assert_eq!(shows(busy, DeviceState::Idle, false, 2), None, "it is shown with another print");
        assert_eq!(shows(busy, DeviceState::Idle, true, 2), of("0500_4004", 0));
        assert_eq!(shows(busy, DeviceState::Idle, true, 20), of("0500_4004", 20));
        assert_eq!(shows(unread, DeviceState::Idle, true, 2), of("0500_4003", 0), "another one");
        assert_eq!(shows(unread, DeviceState::Idle, true, 31), of("0500_4003", 0), "nobody saw what was in between");
        assert_eq!(shows(unread, DeviceState::Idle, true, 5), of("0500_4003", 5));
        assert_eq!(shows(unread, DeviceState::Preparing, true, 2), None);
    }

    #[test]
    fn idle_after_the_question_counts_from_its_first_report_and_ends_with_any_other_state_or_a_gap() {
        let mut w = Watching::new();
        assert_eq!(w.ours(DeviceState::Idle, 10).idle_for, None, "there was no question");
        w.ours(DeviceState::Attention, 2);
        assert_eq!(w.ours(DeviceState::Idle, 2).idle_for, Some(seconds(0)));
        assert_eq!(w.ours(DeviceState::Idle, 3).idle_for, Some(seconds(3)));
        assert_eq!(w.ours(DeviceState::Idle, 31).idle_for, Some(seconds(0)), "nobody saw what was in between");
        assert_eq!(w.ours(DeviceState::Busy, 2).idle_for, None);
        assert_eq!(w.ours(DeviceState::Idle, 2).idle_for, Some(seconds(0)));
        assert_eq!(w.ours(DeviceState::Printing, 2).idle_for, None);
    }
}
