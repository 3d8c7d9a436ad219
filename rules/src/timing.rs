//! Every window and deadline of the farm, in one place. Scaling them is for simulated devices only.

use std::time::Duration;

use jiff::Timestamp;

/// The farm's windows. `Default` is what production uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Live reports that must have been counted before a start without a sign of life is put before a person (W).
    pub observation_window: Duration,
    /// A pause between reports longer than this breaks an observation.
    pub report_gap: Duration,
    /// How old a report may be for a decision to start, pause, resume or stop.
    pub fresh_report: Duration,
    /// How long after the gate's report a start may still be sent.
    pub start_deadline: Duration,
    /// How long a send may take.
    pub send_timeout: Duration,
    /// How long a printer's last word on an upload is waited for; then the size of the file is asked for, which decides.
    pub upload_end: Duration,
    /// How long a question before the print may stay before a person is called; firmware notes vanish after 30 s.
    pub preview_patience: Duration,
    /// How long a refusal, or an error in place of the print, must stand without an active state before it proves that
    /// nothing runs.
    pub refusal_quiet: Duration,
    /// How long a printer that holds a job may be unreachable, or not ready before the intent.
    pub unready_limit: Duration,
    /// How long a job keeps a printer from others while its file is fetched again.
    pub file_patience: Duration,
    /// How long a deletion waits for a dead printer.
    pub letting_go: Duration,
    /// Pause between polls of a device.
    pub poll_period: Duration,
    /// Polls missed before a printer counts as unreachable, as a time.
    pub stale_after: Duration,
    /// Shortest pause between two progress writes of one job.
    pub progress_period: Duration,
    /// First pause after a refusal; doubles up to `backoff_cap`.
    pub backoff_base: Duration,
    /// Longest pause after refusals.
    pub backoff_cap: Duration,
    /// Time-to-live of a finished job that names none.
    pub finished_ttl: Duration,
    /// How long a PrintRecord is kept after its end.
    pub record_ttl: Duration,
}

/// The time since a moment; none when the moment lies ahead, as after a clock was corrected.
pub fn elapsed(now: Timestamp, since: Timestamp) -> Duration {
    if now > since { now.duration_since(since).unsigned_abs() } else { Duration::ZERO }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            observation_window: Duration::from_mins(5),
            report_gap: Duration::from_secs(30),
            fresh_report: Duration::from_secs(5),
            start_deadline: Duration::from_secs(10),
            send_timeout: Duration::from_secs(3),
            upload_end: Duration::from_secs(90),
            preview_patience: Duration::from_secs(45),
            refusal_quiet: Duration::from_secs(30),
            unready_limit: Duration::from_mins(15),
            file_patience: Duration::from_mins(1),
            letting_go: Duration::from_mins(10),
            poll_period: Duration::from_secs(2),
            stale_after: Duration::from_secs(10),
            progress_period: Duration::from_mins(1),
            backoff_base: Duration::from_secs(10),
            backoff_cap: Duration::from_mins(10),
            finished_ttl: Duration::from_hours(30 * 24),
            record_ttl: Duration::from_hours(90 * 24),
        }
    }
}

impl Timing {
    /// The same farm with simulated time running `factor` times as fast. The send timeout, the deadline of a start, the
    /// age of a report and the patience with a file stay what they are: they bound real networks and real processes.
    #[must_use]
    pub fn simulated(self, factor: u32) -> Self {
        let f = factor.max(1);
        Self {
            observation_window: self.observation_window / f,
            report_gap: self.report_gap,
            // What has been handed to the network still has to arrive, and that takes real time.
            upload_end: (self.upload_end / f).max(Duration::from_secs(5)),
            preview_patience: self.preview_patience / f,
            refusal_quiet: self.refusal_quiet / f,
            unready_limit: self.unready_limit / f,
            letting_go: self.letting_go / f,
            poll_period: (self.poll_period / f).max(Duration::from_millis(100)),
            progress_period: self.progress_period / f,
            backoff_base: self.backoff_base / f,
            backoff_cap: self.backoff_cap / f,
            ..self
        }
    }

    /// The pause before the next attempt after this many refusals in a row.
    pub fn backoff(&self, refusals: i32) -> Duration {
        let doublings = u32::try_from(refusals.saturating_sub(1)).unwrap_or(0).min(16);
        self.backoff_base.saturating_mul(1 << doublings).min(self.backoff_cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_refusals_doubles_up_to_its_cap() {
        let timing = Timing::default();
        let pauses: Vec<u64> = [0, 1, 2, 3, 7, 8, i32::MAX].map(|n| timing.backoff(n).as_secs()).into();
        assert_eq!(pauses, [10, 10, 20, 40, 600, 600, 600]);
    }

    #[test]
    fn faster_time_shortens_windows_and_never_what_bounds_real_networks_and_processes() {
        let (real, fast) = (Timing::default(), Timing::default().simulated(60));
        let windows = |t: &Timing| {
            [
                t.observation_window,
                t.preview_patience,
                t.refusal_quiet,
                t.unready_limit,
                t.letting_go,
                t.progress_period,
                t.backoff_base,
                t.backoff_cap,
            ]
        };
        assert_eq!(windows(&fast), windows(&real).map(|window| window / 60));
        assert_eq!(real.simulated(2).upload_end, Duration::from_secs(45));
        assert_eq!(real.simulated(2).poll_period, Duration::from_secs(1));
        let bounds = |t: &Timing| {
            [t.send_timeout, t.start_deadline, t.fresh_report, t.stale_after, t.file_patience, t.report_gap]
        };
        assert_eq!(bounds(&fast), bounds(&real));
        assert!(fast.poll_period >= Duration::from_millis(100));
        assert_eq!(fast.upload_end, Duration::from_secs(5));
        assert_eq!(real.simulated(0), real);
    }
}
