//! Whether a printer may be given a job now, as far as its object tells.
//!
//! Decides about the printer alone: what passes by itself or by a person's hand, in the order in which it is worth
//! knowing. That its device could take a print is the session's word, which the gate asks again before every start.

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::{ConditionType, Conditions, Printer};

use super::windows::{Starts, starts};
use crate::device::{DeviceReport, Link};

/// Why a printer cannot be given a job now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFree {
    /// The Printer is being deleted.
    BeingDeleted,
    /// A person keeps new jobs away.
    Unschedulable,
    /// A job holds it.
    Claimed {
        /// Name of the PrintJob.
        job: String,
    },
    /// A start on it has no verdict yet.
    StartUnresolved {
        /// Name of the PrintJob.
        job: String,
    },
    /// It is not Ready.
    NotReady,
    /// Its bed is not known to be clear.
    BedNotCleared,
    /// It is not idle.
    NotIdle,
    /// A start window cannot be read, so none counts as open.
    UnreadableWindow(String),
    /// No start window is open.
    OutsideStartWindows {
        /// When the next one opens.
        opens: Option<Timestamp>,
    },
}

/// Whether the printer may be given a job now. The start windows are asked last, so that `OutsideStartWindows` means
/// that time alone will free it.
pub fn printer_accepts_start(printer: &Printer, now: Timestamp) -> Result<(), NotFree> {
    if printer.metadata.deletion_timestamp.is_some() {
        return Err(NotFree::BeingDeleted);
    }
    if printer.spec.unschedulable {
        return Err(NotFree::Unschedulable);
    }
    let Some(status) = printer.status.as_ref() else { return Err(NotFree::NotReady) };
    if let Some(holder) = &status.current_job {
        return Err(NotFree::Claimed { job: holder.name.clone() });
    }
    if let Some(last) = status.last_start.as_ref().filter(|l| l.verdict.is_none()) {
        return Err(NotFree::StartUnresolved { job: last.job_name.clone() });
    }
    for (condition, otherwise) in [
        (ConditionType::Ready, NotFree::NotReady),
        (ConditionType::BedCleared, NotFree::BedNotCleared),
        (ConditionType::Idle, NotFree::NotIdle),
    ] {
        if !status.conditions.is_true(condition) {
            return Err(otherwise);
        }
    }
    match starts(&printer.spec.start_windows, now).map_err(NotFree::UnreadableWindow)? {
        Starts::Allowed => Ok(()),
        Starts::From(opens) => Err(NotFree::OutsideStartWindows { opens }),
    }
}

/// Whether the device could take a print, as its session tells: it is connected and free, and `judged` says that the
/// Printer's own pass has judged what this connection shows, and stored what that meant. Until then what is stored of the printer was said by a process
/// before this one, or before a gap, in which anybody may have printed.
pub fn device_could_start(link: &Link, judged: bool, stale_after: Duration) -> bool {
    judged && link.report_within(stale_after).is_some_and(DeviceReport::is_free)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use printernizer_crds::PrinterStatus;
    use printernizer_crds::printer::{CurrentJob, LastStart, StartVerdict, StartWindow};

    use super::super::fixtures::{NOW, at, condition, printer};
    use super::*;
    use crate::device::DeviceState;

    fn status(printer: &mut Printer) -> &mut PrinterStatus {
        printer.status.as_mut().unwrap()
    }

    fn last_start(verdict: Option<StartVerdict>) -> LastStart {
        LastStart {
            token: "0000000000000000-1".into(),
            job_name: "clip".into(),
            job_uid: "uid-of-clip".into(),
            remote_name: "clip.gcode".into(),
            deadline: Time(at(NOW)),
            verdict,
        }
    }

    fn set(printer: &mut Printer, type_: &str, value: &str) {
        let conditions = &mut status(printer).conditions;
        conditions.retain(|c| c.type_ != type_);
        conditions.push(condition(type_, value, NOW));
    }

    #[test]
    fn a_ready_idle_and_cleared_printer_accepts_a_start() {
        assert_eq!(printer_accepts_start(&printer("one"), at(NOW)), Ok(()));
        let mut printed = printer("one");
        status(&mut printed).last_start = Some(last_start(Some(StartVerdict::Failed)));
        assert_eq!(printer_accepts_start(&printed, at(NOW)), Ok(()));
    }

    #[test]
    fn a_device_could_start_that_is_free_heard_of_lately_and_judged() {
        let stale_after = Duration::from_secs(10);
        let could = |state, age, judged| {
            let report = DeviceReport { state, ..DeviceReport::default() };
            device_could_start(&Link::Live { report, age: Duration::from_secs(age) }, judged, stale_after)
        };
        for state in [DeviceState::Idle, DeviceState::Finished, DeviceState::Stopped, DeviceState::Failed] {
            assert!(could(state, 10, true), "{state:?}");
            assert!(!could(state, 11, true), "{state:?}, too long ago");
            assert!(!could(state, 0, false), "{state:?}, and nobody has looked at it");
        }
        assert!(!could(DeviceState::Busy, 0, true));
        assert!(!device_could_start(&Link::Connecting, true, stale_after));
    }

    #[test]
    fn whatever_stands_in_the_way_is_named() {
        type Change = fn(&mut Printer);
        let rows: &[(Change, NotFree)] = &[
            (|p| p.metadata.deletion_timestamp = Some(Time(at(NOW))), NotFree::BeingDeleted),
            (|p| p.spec.unschedulable = true, NotFree::Unschedulable),
            (
                |p| status(p).current_job = Some(CurrentJob { name: "clip".into(), ..CurrentJob::default() }),
                NotFree::Claimed { job: "clip".into() },
            ),
            (|p| status(p).last_start = Some(last_start(None)), NotFree::StartUnresolved { job: "clip".into() }),
            (|p| p.status = None, NotFree::NotReady),
            (|p| set(p, "Ready", "False"), NotFree::NotReady),
            (|p| set(p, "Ready", "Unknown"), NotFree::NotReady),
            (|p| set(p, "BedCleared", "False"), NotFree::BedNotCleared),
            (|p| status(p).conditions.retain(|c| c.type_ != "BedCleared"), NotFree::BedNotCleared),
            (|p| set(p, "Idle", "False"), NotFree::NotIdle),
            (|p| night(p, "Europe/Berlin"), NotFree::OutsideStartWindows { opens: Some(at("2026-11-21T19:00:00Z")) }),
            (
                |p| night(p, "Mars"),
                NotFree::UnreadableWindow("time zone \"Mars\" is not an IANA name such as Europe/Berlin".into()),
            ),
        ];
        for (change, expected) in rows {
            let mut printer = printer("one");
            change(&mut printer);
            assert_eq!(printer_accepts_start(&printer, at(NOW)).as_ref(), Err(expected));
        }
    }

    fn night(printer: &mut Printer, zone: &str) {
        printer.spec.start_windows =
            vec![StartWindow { time_zone: zone.into(), days: vec![], from: "20:00".into(), to: "22:00".into() }];
    }
}
