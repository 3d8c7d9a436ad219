//! Conditions of a Printer that follow from its connection and its device alone.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::conditions::SetAt;
use printernizer_crds::printer::{DeviceStatus, DistrustReason, PrinterState};
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, Printer, PrinterStatus, Reason};

use super::{Observed, contradictions};
use crate::device::{DeviceReport, DeviceState, Link, LinkFault};
use crate::identity::Token;
use crate::scheduling;
use ConditionStatus::{False, True, Unknown};

/// The reason a fault of the connection stands under in the API.
pub fn fault_of(cause: LinkFault) -> Reason {
    match cause {
        LinkFault::Unreachable => Reason::Unreachable,
        LinkFault::AddressForbidden => Reason::AddressForbidden,
        LinkFault::InvalidSpec => Reason::InvalidSpec,
        LinkFault::WrongProtocol => Reason::WrongProtocol,
        LinkFault::CredentialsRefused => Reason::CredentialsRefused,
        LinkFault::SecretNotFound => Reason::SecretNotFound,
        LinkFault::SecretKeyMissing => Reason::SecretKeyMissing,
        LinkFault::SecretNotLabeled => Reason::SecretNotLabeled,
        LinkFault::WrongSerialNumber => Reason::WrongSerialNumber,
        LinkFault::NotSupported => Reason::ConnectionNotSupported,
    }
}

/// The serial number the Printer stands for: the spec's, else the one pinned at first contact.
pub fn serial_claimed(printer: &Printer) -> Option<&str> {
    let connection = &printer.spec.connection;
    let written = connection.bambu.as_ref().map(|b| b.serial_number.as_str());
    let written = written.or_else(|| connection.prusa_link.as_ref().and_then(|p| p.serial_number.as_deref()));
    let pinned = printer.status.as_ref().and_then(|s| s.device.as_ref()).and_then(|d| d.serial_number.as_deref());
    written.or(pinned)
}

/// What a person does about a device that refuses to be controlled over the network.
pub(crate) const DEVELOPER_MODE: &str = "switch on Developer Mode at its screen (Settings > WLAN), and put its access code, \
                                         which changes then, into its Secret";

/// What is said of a Printer that leaves its device to another one.
const NOT_CONNECTED: &str = "not connected: another Printer stands for the same device";

pub(super) fn at(printer: &Printer, now: Timestamp) -> SetAt {
    SetAt { time: Time(now), generation: printer.metadata.generation }
}

/// Reachable and Authorized, from the connection.
pub(super) fn connection(seen: &Observed<'_>, new: &mut PrinterStatus) {
    let at = at(seen.printer, seen.now);
    let mut set = |type_, is, reason, text: &str| new.conditions.set(type_, is, reason, text, &at);
    match seen.link {
        Link::Connecting if seen.duplicate_of.is_some() => {
            set(ConditionType::Reachable, Unknown, Reason::DuplicateDevice, NOT_CONNECTED);
            set(ConditionType::Authorized, Unknown, Reason::DuplicateDevice, NOT_CONNECTED);
        }
        Link::Connecting => {
            set(ConditionType::Reachable, Unknown, Reason::Connecting, "connecting");
            set(ConditionType::Authorized, Unknown, Reason::Connecting, "connecting");
        }
        Link::Live { .. } => {
            set(ConditionType::Reachable, True, Reason::Connected, "the printer answers");
            set(ConditionType::Authorized, True, Reason::CredentialsAccepted, "the printer accepts the credentials");
        }
        Link::Down { cause, message, .. } => {
            let reason = fault_of(*cause);
            match cause {
                LinkFault::CredentialsRefused => {
                    set(ConditionType::Reachable, True, Reason::Connected, "the printer answers");
                    set(ConditionType::Authorized, False, reason, message);
                }
                LinkFault::SecretNotFound | LinkFault::SecretKeyMissing | LinkFault::SecretNotLabeled => {
                    set(ConditionType::Reachable, Unknown, reason, "not tried without credentials");
                    set(ConditionType::Authorized, False, reason, message);
                }
                _ => {
                    set(ConditionType::Reachable, False, reason, message);
                    set(ConditionType::Authorized, Unknown, reason, "not known while the printer cannot be reached");
                }
            }
        }
    }
}

/// What the device says of itself.
pub(super) fn device(seen: &Observed<'_>, new: &mut PrinterStatus, report: &DeviceReport) {
    let known = new.device.take().unwrap_or_default();
    let firmware_changed = report.firmware_version.is_some() && known.firmware_version != report.firmware_version;
    new.device = Some(DeviceStatus {
        serial_number: known.serial_number.or_else(|| report.serial_number.clone()),
        firmware_version: report.firmware_version.clone().or(known.firmware_version),
        detected_model: report.model.clone().or(known.detected_model),
        nozzle_diameter_micrometers: report.nozzle_diameter_micrometers.or(known.nozzle_diameter_micrometers),
        nozzle_hardened: report.nozzle_hardened.or(known.nozzle_hardened),
        host: seen.host.map(str::to_owned).or(known.host),
    });
    new.slots = scheduling::slots(&seen.printer.spec, &report.slots);
    new.faults = report.faults.iter().take(16).cloned().collect();
    contradictions::tell(seen, new);
    let at = at(seen.printer, seen.now);
    let started = new.last_start.as_ref().and_then(|l| Token::parse(&l.token));
    let ours_runs =
        report.is_active() && started.is_some() && report.identity.name.as_deref().and_then(Token::find) == started;
    match report.control_allowed {
        Some(false) => {
            let text = format!("the printer refuses to be controlled over the network: {DEVELOPER_MODE}");
            new.conditions.set(ConditionType::ControlAllowed, False, Reason::ControlRefused, text, &at);
        }
        _ if ours_runs => {
            let text = "the printer has taken a start";
            new.conditions.set(ConditionType::ControlAllowed, True, Reason::ControlProven, text, &at);
        }
        // Allowed again, or with another firmware, or away for a while: A1 and P1 restart when Developer Mode is switched,
        // and say neither before nor after that how it stands. Nothing is proven until the next start.
        told if firmware_changed
            || new.conditions.condition(ConditionType::ControlAllowed).is_none()
            || ((told == Some(true) || !seen.watched) && new.conditions.is_false(ConditionType::ControlAllowed)) =>
        {
            let text = "no start has been seen to work yet with this firmware";
            new.conditions.set(ConditionType::ControlAllowed, Unknown, Reason::NotProvenYet, text, &at);
        }
        _ => {}
    }
}

/// The state column, and Idle.
pub(super) fn activity(seen: &Observed<'_>, new: &mut PrinterStatus) {
    let at = at(seen.printer, seen.now);
    let report = match seen.link {
        Link::Live { report, .. } => report,
        Link::Connecting => {
            new.state = Some(PrinterState::Unknown);
            let text = if seen.duplicate_of.is_some() { NOT_CONNECTED } else { "connecting" };
            new.conditions.set(ConditionType::Idle, Unknown, Reason::StateUnknown, text, &at);
            return;
        }
        Link::Down { .. } => {
            new.state = Some(PrinterState::Offline);
            let text = "not known while the printer cannot be reached";
            new.conditions.set(ConditionType::Idle, Unknown, Reason::StateUnknown, text, &at);
            return;
        }
    };
    new.state = Some(report.printer_state());
    let unresolved = new.last_start.as_ref().filter(|l| l.verdict.is_none());
    let (is, reason, text) = if report.is_active() {
        let shown = token_shown(&report.identity);
        let ours = unresolved.and_then(|l| Token::parse(&l.token));
        let by_id = seen.job.and_then(|j| j.status.as_ref()).and_then(|s| s.device_job_id.as_ref());
        let same_id = by_id.is_some() && by_id == report.identity.id.as_ref();
        if (shown.is_some() && shown == ours) || (ours.is_some() && same_id) {
            match (report.state, unresolved) {
                (DeviceState::Attention, _) => {
                    (False, Reason::Attention, "the printer asks something: look at its screen".to_owned())
                }
                (_, Some(l)) => (False, Reason::Printing, format!("prints {}", l.job_name)),
                (_, None) => (False, Reason::Printing, "prints".to_owned()),
            }
        } else {
            (False, Reason::Occupied, "prints something that was not started here".to_owned())
        }
    } else if let Some(blocker) = report.blockers.first() {
        (False, Reason::Attention, blocker.advice().to_owned())
    } else {
        match report.state {
            DeviceState::Attention => {
                (False, Reason::Attention, "the printer asks something: look at its screen".into())
            }
            DeviceState::Busy => (False, Reason::Occupied, "busy with a task at the machine".into()),
            DeviceState::Unknown => (Unknown, Reason::StateUnknown, "the printer has not said what it does".into()),
            _ => (True, Reason::NothingRunning, nothing_running(seen, new)),
        }
    };
    new.conditions.set(ConditionType::Idle, is, reason, text, &at);
}

/// The token of the print a device shows: by its name, or by its file where it has forgotten all else, as after a restart.
fn token_shown(identity: &DeviceIdentity) -> Option<Token> {
    let file = identity.file.as_deref().filter(|_| identity.id.is_none());
    identity.name.as_deref().or(file).and_then(Token::find)
}

/// What is said of a device that shows no print: its end screen, or less than its job still expects of it.
fn nothing_running(seen: &Observed<'_>, new: &PrinterStatus) -> String {
    let idle = matches!(seen.link, Link::Live { report, .. } if report.state == DeviceState::Idle);
    let started = seen.last_start_job.and_then(|j| j.status.as_ref()).is_some_and(|s| s.start_time.is_some());
    match new.last_start.as_ref().filter(|l| l.verdict.is_none() && idle && started) {
        Some(last) => format!("nothing is shown as running; the print of {} is watched for", last.job_name),
        None => "nothing is running".to_owned(),
    }
}

/// Trusted, from the distrust; then Ready, from the rest.
pub(super) fn trust_and_ready(seen: &Observed<'_>, new: &mut PrinterStatus) {
    let at = at(seen.printer, seen.now);
    match (&new.distrust, seen.duplicate_of) {
        (_, Some(other)) => {
            let text = format!("Printer {other} stands for the same device: delete one of them");
            new.conditions.set(ConditionType::Trusted, False, Reason::DuplicateDevice, text, &at);
        }
        (Some(distrust), None) => {
            let (reason, what) = match distrust.reason {
                DistrustReason::AnotherOperator => (
                    Reason::AnotherOperator,
                    "the device shows a print of another operator, or of an older life of this cluster",
                ),
                DistrustReason::StartRefused => (Reason::StartRefused, "the printer refused a start"),
                DistrustReason::StartAborted => (
                    Reason::StartAborted,
                    "a start was given up at the printer's screen, and its job goes on to the next",
                ),
                DistrustReason::Quarantined => (Reason::Quarantined, "two prints in a row have failed"),
            };
            let text = format!("{what}; look at the printer, then set spec.acknowledged to {}", distrust.id);
            new.conditions.set(ConditionType::Trusted, False, reason, text, &at);
        }
        (None, None) => {
            let text = "nothing speaks against giving the printer jobs";
            new.conditions.set(ConditionType::Trusted, True, Reason::NoDistrust, text, &at);
        }
    }
    // What allows no control is why a start was refused: it is put right first, and then acknowledged.
    let types =
        [ConditionType::Reachable, ConditionType::Authorized, ConditionType::ControlAllowed, ConditionType::Trusted];
    let by = |status: &str| {
        types.into_iter().filter_map(|t| new.conditions.condition(t)).find(|c| c.status == status).cloned()
    };
    let not_known = new.conditions.condition(ConditionType::Reachable).filter(|c| c.status == "Unknown").cloned();
    let ready = match (by("False"), not_known) {
        _ if seen.printer.metadata.deletion_timestamp.is_some() => {
            (False, Reason::BeingDeleted.as_str().to_owned(), being_deleted(new))
        }
        (Some(c), _) => (False, c.reason, c.message),
        (None, Some(c)) => (Unknown, c.reason, c.message),
        (None, None) => (True, Reason::PrinterReady.as_str().to_owned(), "the printer can be used".to_owned()),
    };
    new.conditions.set(ConditionType::Ready, ready.0, Reason::PrinterReady, ready.2, &at);
    if let Some(c) = new.conditions.iter_mut().find(|c| c.type_ == ConditionType::Ready.as_str()) {
        c.reason = ready.1;
    }
    if matches!(seen.link, Link::Connecting) && seen.duplicate_of.is_none() {
        new.conditions.set(ConditionType::Reconciling, True, Reason::Connecting, "connecting", &at);
    } else {
        new.conditions.unset(ConditionType::Reconciling);
    }
    new.observed_generation = seen.printer.metadata.generation;
}

/// Why a deleted Printer is still there.
fn being_deleted(new: &PrinterStatus) -> String {
    let unresolved = new.last_start.as_ref().filter(|l| l.verdict.is_none()).map(|l| &l.job_name);
    match unresolved.or(new.current_job.as_ref().map(|j| &j.name)) {
        Some(job) => format!("deleted; kept until it is known what became of the print of {job}"),
        None => "deleted".to_owned(),
    }
}
