//! What a session has itself seen of one attempt, and which one that is. How reports count is decided in `rules`.

use std::time::Duration;

use printernizer_crds::print_job::StartIntent;
use printernizer_rules::device::DeviceReport;
use printernizer_rules::identity::Token;
use printernizer_rules::print_job::start::{Relation, SendAnswer, Watch, relation};
use tokio::time::Instant;

/// Counts what is seen of one attempt.
#[derive(Clone, Debug)]
pub struct Watching {
    token: Token,
    intent: Option<StartIntent>,
    device_job_id: Option<String>,
    watch: Watch,
    last_report: Option<Instant>,
    report_gap: Duration,
}

impl Watching {
    /// Begins to watch an attempt.
    pub fn new(token: Token, report_gap: Duration) -> Self {
        Self { token, intent: None, device_job_id: None, watch: Watch::default(), last_report: None, report_gap }
    }

    /// What was seen so far.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The job's intent is recorded: from now on reports count towards the window.
    pub fn intent_is_known(&mut self) {
        self.watch.intent_is_known();
    }

    /// What was recorded before the start was sent; the print may be known by its number alone.
    pub fn intent(&mut self, intent: &StartIntent) {
        if self.intent.as_ref() != Some(intent) {
            self.intent = Some(intent.clone());
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
        self.watch.sent(answer);
    }

    /// The device refused the start later than it could be waited for; true if that is new.
    pub fn refused(&mut self, why: String) -> bool {
        let new = self.watch.answer == Some(SendAnswer::Accepted);
        if new {
            self.watch.answer = Some(SendAnswer::Refused(why));
            self.watch.quiet = Duration::ZERO;
        }
        new
    }

    /// The connection has ended: what was sent on it can no longer be said to have failed.
    pub fn connection_lost(&mut self) {
        self.watch.connection_lost();
    }

    /// A report has come.
    pub fn report(&mut self, report: &DeviceReport, now: Instant) {
        let since = self.last_report.replace(now).map(|last| now.duration_since(last));
        let ours = self.is_ours(report);
        self.watch.report(report, ours, since, self.report_gap);
    }

    /// Whether this report shows the attempt's print.
    pub fn is_ours(&self, report: &DeviceReport) -> bool {
        // As the verdict sees it, or the two would disagree about what was seen running.
        relation(&self.token, self.intent.as_ref(), self.device_job_id.as_deref(), &report.identity) == Relation::Ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use printernizer_crds::common::DeviceIdentity;
    use printernizer_rules::device::DeviceState;

    #[test]
    fn our_print_is_known_by_its_name_or_its_stored_number() {
        let token = Token::new("3f2504e0-4f89-41d3-9a0c-0305e82c3301", 1);
        let name = token.remote_name("part", "gcode");
        let other = Token::new("3f2504e0-4f89-41d3-9a0c-0305e82c3301", 2).remote_name("part", "gcode");
        let seen = |id: &str, name: &str, file: Option<&str>, stored: Option<&str>| {
            let identity =
                DeviceIdentity { id: Some(id.into()), name: Some(name.into()), file: file.map(str::to_owned) };
            let state = DeviceState::Printing;
            let report = DeviceReport { state, identity, has_print: true, ..DeviceReport::default() };
            let mut watching = Watching::new(token.clone(), Duration::from_secs(30));
            watching.device_job_id(stored);
            watching.report(&report, Instant::now());
            watching.watch().seen_active
        };
        assert!(seen("8", &name, None, None));
        assert!(!seen("8", "x", Some(&name), None), "it has landed, and another print is shown");
        assert!(seen("8", "x", None, Some("8")));
        assert!(!seen("8", "x", None, Some("7")));
        assert!(!seen("8", &other, None, None), "another attempt is another print");
    }

    #[test]
    fn time_counts_from_report_to_report() {
        let mut watching = Watching::new(Token::new("3f2504e0", 1), Duration::from_secs(30));
        let start = Instant::now();
        watching.intent_is_known();
        for n in [0, 20, 40, 100, 110] {
            watching.report(&DeviceReport::default(), start + Duration::from_secs(n));
        }
        assert_eq!(watching.watch().live, Duration::from_secs(50));
    }
}
