//! Tests of a Printer: its bed, whom it trusts, what it remembers and when it lets go.

mod bed;
mod letting_go;
mod trust;
mod words;

use printernizer_crds::{ConditionType, Conditions};

use crate::testing::Scene;

pub(super) fn occupancy(s: &Scene) -> Option<String> {
    s.printer_status().bed.and_then(|b| b.occupancy_id)
}

pub(super) fn bed_reason(s: &Scene) -> String {
    let conditions = s.printer_status().conditions;
    conditions.condition(ConditionType::BedCleared).map(|c| c.reason.clone()).unwrap_or_default()
}
