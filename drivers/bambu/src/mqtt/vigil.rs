//! What a connection owes and is owed, by the clock: pings, requests for full reports, and when silence or a missing
//! answer means something. Pure: time is an argument. It never asks for more full reports than needed (each is a load on
//! P1 printers), and while a printer reads a new job it ends no connection for silence: on a P1P that made the job fail
//! (bambuddy issue 1150). Facts: ha-bambulab's watchdog; bambuddy issues 887 and 936 (publishes that are swallowed).

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timeouts;
use crate::error::Error;

/// How soon a deadline is looked at again that has passed without consequence.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Something to do now.
#[derive(Debug)]
pub(super) enum Due {
    /// Send a ping.
    Ping,
    /// Ask for a full report and for the versions; the answer to the latter shows that what we publish arrives.
    Ask,
    /// End the connection.
    End(Error),
}

/// The state of one connection's clocks.
#[derive(Debug)]
pub(super) struct Vigil {
    timeouts: Timeouts,
    opened: Instant,
    /// When this was last asked what is due.
    looked: Instant,
    /// When anything that is a report came.
    last_report: Option<Instant>,
    /// Whether a full report has come.
    has_full: bool,
    /// When the next full report is asked for, be it without a reason.
    refresh_at: Instant,
    /// For when a full report was asked for last because of a doubt.
    doubt_at: Option<Instant>,
    pinged: Instant,
    /// Whether nothing at all came since the ping.
    ping_open: bool,
    /// When the full report was asked for that has not come yet.
    full_asked: Option<Instant>,
    /// When the versions were asked for that have not come yet.
    echo_asked: Option<Instant>,
    /// When the last question was asked that was answered.
    answered: Option<Instant>,
    fit: bool,
    /// Until when nothing but the network ends this connection.
    hold_until: Option<Instant>,
}

impl Vigil {
    /// A connection that has just been opened; the first questions were sent with it.
    pub(super) fn new(timeouts: Timeouts, now: Instant) -> Self {
        Self {
            timeouts,
            opened: now,
            looked: now,
            last_report: None,
            has_full: false,
            refresh_at: now + timeouts.refresh,
            doubt_at: None,
            pinged: now,
            ping_open: false,
            full_asked: Some(now),
            echo_asked: Some(now),
            answered: None,
            fit: true,
            hold_until: None,
        }
    }

    /// Whether what we publish arrives, as far as can be told.
    pub(super) fn is_fit(&self) -> bool {
        self.fit
    }

    /// A question was not answered in the time its asker had.
    pub(super) fn not_answered(&mut self) {
        self.fit = false;
    }

    /// When the newest question was asked that the printer has answered.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.answered
    }

    /// Any packet came.
    pub(super) fn heard(&mut self) {
        self.ping_open = false;
    }

    /// A report came.
    pub(super) fn report_came(&mut self, full: bool, now: Instant) {
        self.last_report = Some(now);
        if full {
            self.has_full = true;
            self.refresh_at = now + self.timeouts.refresh;
            self.full_asked = None;
        }
    }

    /// A partial report says that something has changed of which only a full one tells the whole. That one is asked for,
    /// at once where that has not been done lately.
    pub(super) fn doubted(&mut self, now: Instant) {
        let at = self.doubt_at.map_or(now, |last| now.max(last + self.timeouts.doubt));
        if at < self.refresh_at {
            self.refresh_at = at;
            self.doubt_at = Some(at);
        }
    }

    /// The answer to our newest question about versions came.
    pub(super) fn echo_came(&mut self) {
        if let Some(asked) = self.echo_asked.take() {
            self.answered = Some(asked);
            self.fit = true;
        }
    }

    /// Questions were sent.
    pub(super) fn asked(&mut self, now: Instant) {
        self.full_asked = Some(now);
        self.echo_asked = Some(now);
    }

    /// A start is about to be sent.
    pub(super) fn hold(&mut self, now: Instant) {
        self.hold_until = Some(now + self.timeouts.hold_after_start);
    }

    /// Whether a start was sent so lately that nothing but the network ends this connection.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.hold_until.is_some_and(|until| now < until)
    }

    /// When [`Self::due`] has to be asked next.
    pub(super) fn next(&self) -> Instant {
        let t = &self.timeouts;
        let ping = self.pinged + if self.ping_open { t.answer } else { t.keep_alive };
        let full = match self.full_asked {
            Some(asked) => asked + t.full_report,
            None => self.refresh_at.min(self.silent_at()),
        };
        let echo = self.echo_asked.filter(|_| self.fit).map_or(full, |asked| asked + t.echo);
        // A deadline that has passed without ending the connection, because of a start, is looked at again in a while.
        ping.min(full).min(echo).max(self.looked + LOOK_AGAIN)
    }

    /// What has to be done at this time.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Due> {
        self.looked = now;
        let t = self.timeouts;
        let mut due = Vec::new();
        let held = self.is_held(now);
        if self.ping_open && now >= self.pinged + t.answer && !held {
            due.push(Due::End(Error::NoAnswer { request: "a ping", seconds: t.answer.as_secs_f64() }));
        } else if now >= self.pinged + t.keep_alive && (held || !self.ping_open) {
            self.pinged = now;
            self.ping_open = true;
            due.push(Due::Ping);
        }
        if self.echo_asked.is_some_and(|asked| now >= asked + t.echo) {
            self.fit = false;
        }
        match self.full_asked {
            Some(asked) if now >= asked + t.full_report => {
                match (self.last_report.is_some_and(|report| report >= asked), self.has_full) {
                    // It reports on its own, so the network is fine; but we are not heard.
                    (true, true) => {
                        self.fit = false;
                        self.full_asked = None;
                        self.refresh_at = now + t.refresh;
                    }
                    (true, false) => due.push(Due::End(Error::CommandsSwallowed)),
                    (false, false) => {
                        due.push(Due::End(Error::WrongSerialOrBusy { seconds: t.full_report.as_secs_f64() }));
                    }
                    (false, true) if held => {}
                    (false, true) => {
                        let since = self.last_report.unwrap_or(self.opened);
                        due.push(Due::End(Error::Silent { seconds: (now - since).as_secs_f64() }));
                    }
                }
            }
            None if now >= self.silent_at() || now >= self.refresh_at => {
                self.asked(now);
                due.push(Due::Ask);
            }
            _ => {}
        }
        due
    }

    fn silent_at(&self) -> Instant {
        self.last_report.unwrap_or(self.opened) + self.timeouts.silence
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A connection and its story, told in seconds since it was opened.
    struct Story {
        vigil: Vigil,
        opened: Instant,
    }

    impl Story {
        fn begin() -> Self {
            let opened = Instant::now();
            Self { vigil: Vigil::new(Timeouts::default(), opened), opened }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.opened + Duration::from_secs(seconds)
        }

        /// The printer answered both questions.
        fn answered(mut self, seconds: u64) -> Self {
            let now = self.at(seconds);
            self.vigil.report_came(true, now);
            self.vigil.echo_came();
            self
        }

        /// What happens until this second, with a partial report each `every` seconds, in words.
        fn until(&mut self, from: u64, to: u64, every: Option<u64>) -> Vec<(u64, &'static str)> {
            let mut told = Vec::new();
            for second in from..=to {
                let now = self.at(second);
                if every.is_some_and(|every| second % every == 0) {
                    self.vigil.heard();
                    self.vigil.report_came(false, now);
                }
                if now < self.vigil.next() {
                    continue;
                }
                for due in self.vigil.due(now) {
                    told.push((
                        second,
                        match due {
                            // Another packet than a report, so that only reports decide here.
                            Due::Ping => {
                                self.vigil.heard();
                                continue;
                            }
                            Due::Ask => "ask",
                            Due::End(Error::WrongSerialOrBusy { .. }) => "wrong serial",
                            Due::End(Error::Silent { .. }) => "silent",
                            Due::End(Error::CommandsSwallowed) => "swallowed",
                            Due::End(_) => "end",
                        },
                    ));
                }
                if told.last().is_some_and(|(_, word)| *word != "ask") {
                    break;
                }
            }
            told
        }
    }

    #[test]
    fn a_broker_that_takes_everything_and_stays_silent_has_another_serial_number_or_too_many_clients() {
        assert_eq!(Story::begin().until(0, 100, None), [(15, "wrong serial")]);
    }

    #[test]
    fn a_printer_that_reports_but_never_fully_does_not_hear_us() {
        assert_eq!(Story::begin().until(0, 100, Some(2)), [(15, "swallowed")]);
    }

    #[test]
    fn a_full_report_is_asked_for_after_silence_and_then_the_connection_ends() {
        assert_eq!(Story::begin().answered(1).until(1, 200, None), [(61, "ask"), (76, "silent")]);
    }

    #[test]
    fn a_printer_that_reports_is_asked_for_everything_once_in_five_minutes() {
        let mut story = Story::begin().answered(1);
        assert_eq!(story.until(1, 310, Some(2)), [(301, "ask")]);
    }

    #[test]
    fn on_a_doubt_the_printer_is_asked_at_once_and_on_further_ones_not_before_a_minute_has_passed() {
        let mut story = Story::begin().answered(1);
        let full = |story: &mut Story, second| {
            let now = story.at(second);
            story.vigil.report_came(true, now);
            story.vigil.echo_came();
        };
        let doubted = |story: &mut Story, second| {
            let now = story.at(second);
            story.vigil.doubted(now);
        };
        doubted(&mut story, 10);
        assert_eq!(story.until(10, 12, Some(2)), [(10, "ask")]);
        full(&mut story, 12);
        doubted(&mut story, 15);
        doubted(&mut story, 40);
        assert_eq!(story.until(15, 80, Some(2)), [(70, "ask")]);
        full(&mut story, 81);
        assert_eq!(story.until(81, 380, Some(2)), [], "the doubt is settled");
        assert_eq!(story.until(380, 390, Some(2)), [(381, "ask")]);
    }

    #[test]
    fn a_printer_that_reports_but_does_not_answer_is_not_fit_for_commands_until_it_answers_again() {
        let mut story = Story::begin().answered(1);
        assert_eq!(story.until(1, 330, Some(2)), [(301, "ask")]);
        assert!(!story.vigil.is_fit(), "not answered within 10 s");
        let now = story.at(331);
        story.vigil.asked(now);
        story.vigil.echo_came();
        assert!(story.vigil.is_fit());
        assert_eq!(story.vigil.answered(), Some(now));
    }

    #[test]
    fn a_late_answer_counts_for_the_moment_it_was_asked() {
        let mut story = Story::begin();
        story.vigil.echo_came();
        assert_eq!(story.vigil.answered(), Some(story.opened));
        story.vigil.echo_came();
        assert_eq!(story.vigil.answered(), Some(story.opened), "an answer nobody asked for changes nothing");
    }

    #[test]
    fn while_a_printer_reads_a_new_job_silence_ends_nothing() {
        let mut story = Story::begin().answered(1);
        let now = story.at(10);
        story.vigil.hold(now);
        assert_eq!(story.until(10, 309, None), [(61, "ask")]);
        assert_eq!(story.until(310, 400, None), [(310, "silent")], "the hold has ended");
    }

    #[test]
    fn pings_go_on_while_a_printer_reads_a_new_job_and_reports() {
        let mut story = Story::begin().answered(1);
        let now = story.at(1);
        story.vigil.hold(now);
        let mut pings = 0;
        for second in 1..=100 {
            let now = story.at(second);
            story.vigil.heard();
            story.vigil.report_came(false, now);
            if now >= story.vigil.next() {
                pings += story.vigil.due(now).iter().filter(|due| matches!(due, Due::Ping)).count();
            }
        }
        assert_eq!(pings, 4);
    }

    #[test]
    fn a_ping_after_which_nothing_comes_ends_the_connection() {
        let mut story = Story::begin().answered(1);
        let (ping, end) = (story.at(25), story.at(35));
        assert!(matches!(story.vigil.due(ping)[..], [Due::Ping]));
        assert_eq!(story.vigil.next(), end);
        assert!(matches!(story.vigil.due(end)[..], [Due::End(Error::NoAnswer { .. })]));
    }
}
