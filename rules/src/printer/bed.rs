//! The bed: occupied after every end of any print, clear only when a person, or an ejection seen live, says so.
//!
//! Every occupancy has a new random id, and a clearance names the id it is for. So no clocks are compared, and a late
//! clearance never clears the next part. While a print runs no clearance counts: its end brings a new id.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::common::DeviceIdentity;
use printernizer_crds::printer::{BedClearing, BedStatus, Printer, PrinterStatus};
use printernizer_crds::{ConditionStatus, ConditionType, Conditions, Reason};

use super::decide::unresolved;
use super::status::at;
use crate::plan::{NO_EFFECT, without_effect};

/// What is said while a print runs.
const IN_USE: &str = "a print is running; the bed is to be cleared after it";

/// The part that lies on the bed, where it is one of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Name of the PrintJob.
    pub job: Option<String>,
    /// What people call it.
    pub display_name: Option<String>,
}

/// Something lies, or may lie, on the bed.
pub fn occupy(
    printer: &Printer,
    new: &mut PrinterStatus,
    identity: Option<DeviceIdentity>,
    now: Timestamp,
    id: &str,
    reason: Reason,
    part: Part,
) {
    let accounted = identity.or_else(|| new.bed.as_ref().and_then(|b| b.accounted_identity.clone()));
    let cleared_for = new.bed.as_ref().and_then(|b| b.cleared_for.clone());
    let what = match (&part.display_name, reason) {
        (Some(name), Reason::PartOnBed) => format!("\"{name}\" lies on the bed"),
        (Some(name), Reason::FailedPrintOnBed) => format!("what was printed of \"{name}\" lies on the bed"),
        (_, Reason::NeverConfirmed) => "nobody has confirmed yet that the bed is clear".to_owned(),
        (_, Reason::ForeignPrintOnBed) => "a print that was not started here lies, or may lie, on the bed".to_owned(),
        _ => "it is not known what lies on the bed".to_owned(),
    };
    new.bed = Some(BedStatus {
        occupancy_id: Some(id.to_owned()),
        print_in_progress: false,
        accounted_identity: accounted,
        since: Some(Time(now)),
        job: part.job,
        display_name: part.display_name,
        cleared_for,
    });
    let text = format!("{what}; clear it, then set spec.bed.clearedFor to {id}");
    new.conditions.set(ConditionType::BedCleared, ConditionStatus::False, reason, text, &at(printer, now));
}

/// A print runs: whatever it leaves behind, the bed is in use until it ends.
pub fn in_use(printer: &Printer, new: &mut PrinterStatus, identity: DeviceIdentity, now: Timestamp, id: &str) {
    let cleared_for = new.bed.as_ref().and_then(|b| b.cleared_for.clone());
    new.bed = Some(BedStatus {
        occupancy_id: Some(id.to_owned()),
        print_in_progress: true,
        accounted_identity: Some(identity),
        since: Some(Time(now)),
        job: None,
        display_name: None,
        cleared_for,
    });
    let reason = Reason::PrintInProgress;
    new.conditions.set(ConditionType::BedCleared, ConditionStatus::False, reason, IN_USE, &at(printer, now));
}

/// Says of a bed that is not clear what else a person must know: that the print on it is not to be seen, and that what was
/// written to clear it clears nothing. `shown` is whether the device shows a print; `None` where that is not known.
pub(super) fn tell(printer: &Printer, new: &mut PrinterStatus, shown: Option<bool>, now: Timestamp) {
    let Some(bed) = new.bed.as_ref().filter(|b| b.occupancy_id.is_some()) else { return };
    let Some(condition) = new.conditions.condition(ConditionType::BedCleared).cloned() else { return };
    let field = "spec.bed.clearedFor";
    let told = condition.message.split(&format!(". {field} is ")).next().unwrap_or_default();
    let mut text = match shown.filter(|_| bed.print_in_progress) {
        Some(true) => IN_USE,
        Some(false) => "a print was running here and is not shown any more; its job says what is being watched for",
        None => told,
    }
    .to_owned();
    // What was applied last stays written, and an ejecting printer leaves it behind.
    let written = printer.spec.bed.cleared_for.as_ref();
    let manual = printer.spec.bed.clearing == BedClearing::Manual;
    let written = written.filter(|w| manual && !w.is_empty() && bed.cleared_for.as_ref() != Some(*w));
    match written {
        Some(written) if bed.print_in_progress => {
            let _ = write!(text, ". {field} is {written}, which {NO_EFFECT} while a print runs");
        }
        Some(written) if bed.occupancy_id.as_ref() != Some(written) => {
            text += &without_effect(field, written, "the id of what lies there now");
        }
        Some(written) if unresolved(new) => {
            let when = "counts once it is known what became of the last print; its job says what is asked";
            let _ = write!(text, ". {field} is {written}, which {when}");
        }
        _ => {}
    }
    let is = &mut new.conditions;
    if let Some(condition) = is.iter_mut().find(|c| c.type_ == ConditionType::BedCleared.as_str() && c.message != text)
    {
        condition.message = text;
        condition.observed_generation = at(printer, now).generation;
    }
}

/// The bed is clear.
pub fn clear(printer: &Printer, new: &mut PrinterStatus, identity: Option<DeviceIdentity>, now: Timestamp, how: &str) {
    let bed = new.bed.get_or_insert_with(BedStatus::default);
    if let Some(id) = bed.occupancy_id.take() {
        bed.cleared_for = Some(id);
    }
    if let Some(identity) = identity {
        bed.accounted_identity = Some(identity);
    }
    bed.print_in_progress = false;
    bed.since = Some(Time(now));
    (bed.job, bed.display_name) = (None, None);
    new.conditions.set(ConditionType::BedCleared, ConditionStatus::True, Reason::Cleared, how, &at(printer, now));
}
