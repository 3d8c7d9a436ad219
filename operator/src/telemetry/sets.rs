//! Gauges whose series are not all known beforehand: those by reason, and those of single objects. Both are counted anew
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

/// A gauge of single objects, by the values of its labels. An object that goes, or of which the number is not known any more,
/// takes its series along: a zero would be a lie.
#[derive(Clone)]
pub(super) struct ByObject<const N: usize> {
    gauge: IntGaugeVec,
    shown: Arc<Mutex<BTreeSet<[String; N]>>>,
}

impl<const N: usize> ByObject<N> {
    pub(super) fn new(gauge: IntGaugeVec) -> Self {
        Self { gauge, shown: Arc::default() }
    }

    /// Shows these values and no others.
    pub(super) fn set(&self, values: BTreeMap<[String; N], i64>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.iter().filter(|labels| !values.contains_key(*labels)) {
            // One that is not there need not be removed.
            let _ = self.gauge.remove_label_values(gone);
        }
        for (labels, value) in &values {
            self.gauge.with_label_values(labels).set(*value);
        }
        *shown = values.into_keys().collect();
    }
}

/// One condition of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectCondition {
    /// Namespace of the object.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Type of the condition.
    pub condition: ConditionType,
}

/// What a condition may be.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// The conditions of objects: 1 for the status one has, 0 for the others.
#[derive(Clone)]
pub(super) struct ByCondition(ByObject<4>);

impl ByCondition {
    pub(super) fn new(gauge: IntGaugeVec) -> Self {
        Self(ByObject::new(gauge))
    }

    /// Sets all of them; each condition comes with its status.
    pub(super) fn set(&self, conditions: &BTreeMap<ObjectCondition, &str>) {
        let series = conditions.iter().flat_map(|(of, has)| {
            let labels = |status: &str| {
                [of.namespace.clone(), of.name.clone(), of.condition.label().to_owned(), status.to_owned()]
            };
            STATUSES.map(|status| (labels(status), i64::from(status == *has)))
        });
        self.0.set(series.collect());
    }
}
