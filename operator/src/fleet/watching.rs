//! What a session has itself seen of one attempt: counted from live reports on its own connection, nothing else.
//! Time enters as an argument, so that the counting can be tested without a device.

use std::time::Duration;

use printernizer_rules::device::{DeviceReport, DeviceState};
use printernizer_rules::identity::Token;
use printernizer_rules::print_job::start::{SendAnswer, Watch};
use tokio::time::Instant;

/// Counts what is seen of one attempt.
#[derive(Clone, Debug)]
pub struct Watching {
    token: Token,
    device_job_id: Option<String>,
    /// Counting begins when the intent is known here.
    intent_known: bool,
    watch: Watch,
    last_report: Option<Instant>,
    report_gap: Duration,
}

impl Watching {
    /// Begins to watch an attempt.
    pub fn new(token: Token, report_gap: Duration) -> Self {
        Self { token, device_job_id: None, intent_known: false, watch: Watch::default(), last_report: None, report_gap }
    }

    /// What was seen so far.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The job's intent is recorded: from now on reports count towards the window.
    pub fn intent_is_known(&mut self) {
        if !self.intent_known {
            self.intent_known = true;
            self.watch.live = Duration::ZERO;
        }
    }

    /// The device's number of our print, once stored.
    pub fn device_job_id(&mut self, id: Option<&str>) {
        self.device_job_id = id.map(str::to_owned);
    }

    /// A try to start begins or ends.
    pub fn try_alive(&mut self, alive: bool) {
        self.watch.try_alive = alive;
    }

    /// The start was sent, or certainly not.
    pub fn sent(&mut self, answer: SendAnswer) {
        self.watch.answer = Some(answer);
        self.watch.unbroken = true;
        self.watch.quiet = Duration::ZERO;
        self.intent_known = true;
        self.watch.live = Duration::ZERO;
    }

    /// The connection has ended: what was sent on it can no longer be said to have failed.
    pub fn connection_lost(&mut self) {
        self.watch.unbroken = false;
    }

    /// A report has come.
    pub fn report(&mut self, report: &DeviceReport, now: Instant) {
        let since = self.last_report.map(|last| now.duration_since(last));
        self.last_report = Some(now);
        let step = match since {
            Some(since) if since <= self.report_gap => since,
            Some(_) => {
                self.watch.unbroken = false;
                Duration::ZERO
            }
            None => Duration::ZERO,
        };
        let ours = self.is_ours(report);
        let active = report.is_active();
        let asks_first = report.state == DeviceState::Attention && report.progress.is_none_or(|p| p.percent <= 0);
        if ours && active && asks_first && !self.watch.seen_active {
            if self.watch.seen_preview {
                self.watch.preview_for += step;
            }
            self.watch.seen_preview = true;
        } else if ours && active {
            self.watch.seen_active = true;
        }
        // The window is about a print that is not to be seen; while it is, there is nothing to wait for.
        if ours && active {
            self.watch.live = Duration::ZERO;
        } else if self.intent_known {
            self.watch.live += step;
        }
        if matches!(self.watch.answer, Some(SendAnswer::Refused(_))) {
            self.watch.quiet = if active { Duration::ZERO } else { self.watch.quiet + step };
        }
    }

    fn is_ours(&self, report: &DeviceReport) -> bool {
        let by_id = self.device_job_id.is_some() && self.device_job_id == report.identity.id;
        let named = [&report.identity.name, &report.identity.file];
        by_id || named.into_iter().flatten().any(|n| Token::find(n).as_ref() == Some(&self.token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use printernizer_crds::common::DeviceIdentity;

    fn report(state: DeviceState, name: &str) -> DeviceReport {
        let identity = DeviceIdentity { id: Some("7".into()), name: Some(name.into()), file: None };
        let has_print = matches!(state, DeviceState::Printing | DeviceState::Attention);
        DeviceReport { state, identity, has_print, ..DeviceReport::default() }
    }

    fn watching() -> (Watching, String) {
        let token = Token::new("3f2504e0-4f89-41d3-9a0c-0305e82c3301", 1);
        let name = token.remote_name("part", "gcode");
        (Watching::new(token, Duration::from_secs(30)), name)
    }

    #[test]
    fn only_live_reports_after_the_intent_count_towards_the_window() {
        let (mut w, _) = watching();
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        w.report(&report(DeviceState::Idle, "x"), at(0));
        w.report(&report(DeviceState::Idle, "x"), at(20));
        assert_eq!(w.watch().live, Duration::ZERO);
        w.intent_is_known();
        w.report(&report(DeviceState::Idle, "x"), at(40));
        assert_eq!(w.watch().live, Duration::from_secs(20));
        // Nothing was seen for more than 30 s: that time does not count.
        w.report(&report(DeviceState::Idle, "x"), at(100));
        w.report(&report(DeviceState::Idle, "x"), at(110));
        assert_eq!(w.watch().live, Duration::from_secs(30));
    }

    #[test]
    fn a_gap_breaks_the_observation_of_the_sender() {
        let (mut w, _) = watching();
        let start = Instant::now();
        w.report(&report(DeviceState::Idle, "x"), start);
        w.sent(SendAnswer::Refused("no".into()));
        assert!(w.watch().unbroken);
        w.report(&report(DeviceState::Idle, "x"), start + Duration::from_secs(29));
        assert!(w.watch().unbroken);
        assert_eq!(w.watch().quiet, Duration::from_secs(29));
        w.report(&report(DeviceState::Idle, "x"), start + Duration::from_secs(60));
        assert!(!w.watch().unbroken);
    }

    #[test]
    fn an_active_state_of_another_print_restarts_the_quiet_after_a_refusal() {
        let (mut w, _) = watching();
        let start = Instant::now();
        w.report(&report(DeviceState::Idle, "x"), start);
        w.sent(SendAnswer::Refused("no".into()));
        w.report(&report(DeviceState::Idle, "x"), start + Duration::from_secs(10));
        w.report(&report(DeviceState::Printing, "x"), start + Duration::from_secs(20));
        assert_eq!(w.watch().quiet, Duration::ZERO);
        assert!(!w.watch().seen_active);
    }

    #[test]
    fn a_question_before_the_print_is_no_active_state() {
        let (mut w, name) = watching();
        let start = Instant::now();
        w.report(&report(DeviceState::Attention, &name), start);
        w.report(&report(DeviceState::Attention, &name), start + Duration::from_secs(10));
        assert!(w.watch().seen_preview && !w.watch().seen_active);
        assert_eq!(w.watch().preview_for, Duration::from_secs(10));
        w.report(&report(DeviceState::Printing, &name), start + Duration::from_secs(12));
        assert!(w.watch().seen_active);
    }
}
