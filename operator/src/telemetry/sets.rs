//! Gauges whose series are not all known beforehand: those by reason, and those of single printers. Both are counted anew
//! each time, and what is not counted any more does not stay behind with its last value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use printernizer_crds::{ConditionType, Reason};
use prometheus::IntGaugeVec;

use super::labels::Label as _;

/// A gauge by reason. Of the many reasons there are, only those are shown that have occurred.
#[derive(Clone)]
pub(super) struct ByReason {
    gauge: IntGaugeVec,
    shown: Arc<Mutex<BTreeSet<Reason>>>,
}

impl ByReason {
    pub(super) fn new(gauge: IntGaugeVec) -> Self {
        Self { gauge, shown: Arc::default() }
    }

    pub(super) fn set(&self, counts: &BTreeMap<Reason, i64>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend(counts.keys());
        for reason in shown.iter() {
            self.gauge.with_label_values(&[reason.label()]).set(counts.get(reason).copied().unwrap_or(0));
        }
    }
}

/// One condition of one printer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrinterCondition {
    /// Namespace of the Printer.
    pub namespace: String,
    /// Its name.
    pub printer: String,
    /// Type of the condition.
    pub condition: ConditionType,
}

/// What a condition may be.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// The conditions of each printer: 1 for the status one has, 0 for the others. A printer that goes takes its series along.
#[derive(Clone)]
pub(super) struct ByPrinter {
    gauge: IntGaugeVec,
    shown: Arc<Mutex<BTreeSet<PrinterCondition>>>,
}

impl ByPrinter {
    pub(super) fn new(gauge: IntGaugeVec) -> Self {
        Self { gauge, shown: Arc::default() }
    }

    /// Sets all of them; each condition comes with its status.
    pub(super) fn set(&self, conditions: &BTreeMap<PrinterCondition, &str>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|known| {
            let stays = conditions.contains_key(known);
            if !stays {
                for status in STATUSES {
                    // One that is not there need not be removed.
                    let _ = self.gauge.remove_label_values(&known.labels(status));
                }
            }
            stays
        });
        for (condition, has) in conditions {
            for status in STATUSES {
                self.gauge.with_label_values(&condition.labels(status)).set(i64::from(status == *has));
            }
            shown.insert(condition.clone());
        }
    }
}

impl PrinterCondition {
    fn labels<'a>(&'a self, status: &'a str) -> [&'a str; 4] {
        [&self.namespace, &self.printer, self.condition.label(), status]
    }
}
