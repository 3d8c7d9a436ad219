//! What is known about a printer at one moment of one connection, with the time at which it came.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::SerialNumber;
use crate::report::{Hms, Refusal, Report};
use crate::version::Version;

/// What a connection knows. There is none before the connection's first full report.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The last full report with every partial one since.
    pub report: Arc<Report>,
    /// When the last report came, full or partial.
    pub arrived: Instant,
    /// When the last full report came.
    pub full_arrived: Instant,
    /// Model and firmware, once the printer has answered.
    pub version: Option<Arc<Version>>,
    /// Whether the printer takes commands, as far as it lets that be known: `Some(false)` after it has refused one for
    /// lack of a signature, or while it says so. That it answers questions proves nothing.
    pub control_allowed: Option<bool>,
    /// Whether what we publish arrives: `false` after a question was not answered although reports come.
    pub fit_for_commands: bool,
    /// The answer to the start sent over this connection.
    pub start_answer: Option<StartAnswer>,
    /// Messages with bytes that are no text, or that make no sense at all.
    pub damaged_messages: u64,
    /// When the newest question was asked that the printer has answered.
    pub(super) answered: Option<Instant>,
}

/// A printer's answer to the start sent over this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAnswer {
    /// It did not refuse. This proves no print: only our ids with an active state do.
    Taken,
    /// It refused this very command.
    Refused(Refusal),
}

/// Whether commands are taken, from everything that says something about it.
pub(super) fn control_allowed(
    was_refused: bool,
    report: &Report,
    version: Option<&Version>,
    serial: &SerialNumber,
) -> Option<bool> {
    if was_refused {
        return Some(false);
    }
    if let Some(signature_required) = report.signature_required {
        return Some(!signature_required);
    }
    if report.hms.contains(&Hms::VERIFY_FAILED) {
        return Some(false);
    }
    let enforced = version.and_then(|version| version.enforces_developer_mode(serial));
    enforced.and_then(|enforced| (!enforced).then_some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_counts_most_then_the_bit_then_the_message_on_the_screen_then_the_firmware() {
        let serial = SerialNumber::new("03919A3B0100254").unwrap();
        let version = |firmware: &str| {
            let info = json!({"module": [{"name": "ota", "sw_ver": firmware}]});
            Version::read(info.as_object().unwrap()).unwrap()
        };
        let of = |refused, bit, hms: &[Hms], version: Option<&Version>| {
            let report = Report { signature_required: bit, hms: hms.to_vec(), ..Report::default() };
            control_allowed(refused, &report, version, &serial)
        };
        let failed = [Hms::VERIFY_FAILED];
        assert_eq!(of(true, Some(false), &[], None), Some(false));
        assert_eq!(of(false, Some(false), &failed, None), Some(true));
        assert_eq!(of(false, Some(true), &[], None), Some(false));
        assert_eq!(of(false, None, &failed, None), Some(false));
        assert_eq!(of(false, None, &[], Some(&version("01.04.00.00"))), Some(true));
        assert_eq!(of(false, None, &[], Some(&version("01.05.00.00"))), None, "it may be on or off");
        assert_eq!(of(false, None, &[], None), None);
    }
}
