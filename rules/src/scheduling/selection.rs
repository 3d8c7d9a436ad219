//! Which printers a job lets itself be given to: label selectors and taints, with the meaning they have in Kubernetes.
//!
//! `NotIn` and `DoesNotExist` also hold where the label is absent; an empty selector selects everything; an operator
//! this version does not know selects nothing.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use printernizer_crds::print_job::{Toleration, TolerationEffect, TolerationOperator};
use printernizer_crds::printer::{Taint, TaintEffect};

/// A label selector in one form, so that equal ones compare equal. All its terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector(Vec<SelectorTerm>);

/// One term of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SelectorTerm {
    key: String,
    operator: SelectorOperator,
    values: Vec<String>,
}

/// How a term compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SelectorOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is absent.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// Something this version does not know: never holds.
    Unknown,
}

impl From<&LabelSelector> for Selector {
    fn from(selector: &LabelSelector) -> Self {
        let labels = selector.match_labels.iter().flatten().map(|(key, value)| SelectorTerm {
            key: key.clone(),
            operator: SelectorOperator::In,
            values: vec![value.clone()],
        });
        let expressions = selector.match_expressions.iter().flatten().map(|term| {
            let mut values = term.values.clone().unwrap_or_default();
            values.sort();
            values.dedup();
            let operator = match term.operator.as_str() {
                "In" => SelectorOperator::In,
                "NotIn" => SelectorOperator::NotIn,
                "Exists" => SelectorOperator::Exists,
                "DoesNotExist" => SelectorOperator::DoesNotExist,
                _ => SelectorOperator::Unknown,
            };
            SelectorTerm { key: term.key.clone(), operator, values }
        });
        let mut terms: Vec<_> = labels.chain(expressions).collect();
        terms.sort();
        terms.dedup();
        Self(terms)
    }
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn selects(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.0.iter().all(|term| {
            let value = labels.and_then(|l| l.get(&term.key));
            match term.operator {
                SelectorOperator::In => value.is_some_and(|v| term.values.contains(v)),
                SelectorOperator::NotIn => !value.is_some_and(|v| term.values.contains(v)),
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
                SelectorOperator::Unknown => false,
            }
        })
    }
}

/// The first taint that keeps a job with these tolerations away.
pub(super) fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    taints.iter().find(|taint| match taint.effect {
        TaintEffect::NoSchedule => !tolerations.iter().any(|t| tolerates(t, taint)),
    })
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = match (toleration.effect, taint.effect) {
        (None | Some(TolerationEffect::NoSchedule), TaintEffect::NoSchedule) => true,
    };
    let value = match toleration.operator {
        TolerationOperator::Exists => true,
        TolerationOperator::Equal => toleration.value == taint.value,
    };
    effect && value && toleration.key == taint.key
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Selector {
        Selector::from(&LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: (!values.is_empty()).then(|| values.iter().map(|v| (*v).to_owned()).collect()),
            }]),
            ..LabelSelector::default()
        })
    }

    #[test]
    fn selectors_mean_what_they_mean_in_kubernetes() {
        let left = labels(&[("shelf", "left"), ("room", "a")]);
        let none = labels(&[]);
        for (operator, values, on_left, on_none) in [
            ("In", &["left", "right"][..], true, false),
            ("In", &["right"], false, false),
            ("NotIn", &["left"], false, true),
            ("NotIn", &["right"], true, true),
            ("Exists", &[], true, false),
            ("DoesNotExist", &[], false, true),
            ("GreaterThan", &["left"], false, false),
        ] {
            let selector = expression("shelf", operator, values);
            assert_eq!(selector.selects(Some(&left)), on_left, "{operator} {values:?}");
            assert_eq!(selector.selects(Some(&none)), on_none, "{operator} {values:?} without labels");
            assert_eq!(selector.selects(None), on_none, "{operator} {values:?} without a map");
        }
        let both = |shelf: &str| {
            Selector::from(&LabelSelector {
                match_labels: Some(labels(&[("shelf", shelf), ("room", "a")])),
                ..LabelSelector::default()
            })
        };
        assert!(both("left").selects(Some(&left)));
        assert!(!both("right").selects(Some(&left)), "all terms must hold");
        assert!(Selector::default().selects(None), "an empty selector selects everything");
    }

    #[test]
    fn selectors_that_mean_the_same_are_one_shape() {
        assert_eq!(expression("shelf", "In", &["a", "b"]), expression("shelf", "In", &["b", "a", "b"]));
    }

    #[test]
    fn taints_keep_away_who_does_not_tolerate_them() {
        use TolerationOperator::{Equal, Exists};
        let taint = |value: &str| Taint { key: "abrasive".into(), value: value.into(), ..Taint::default() };
        let toleration = |key: &str, operator, value: &str| Toleration {
            key: key.into(),
            operator,
            value: value.into(),
            effect: None,
        };
        for (tolerations, tolerated) in [
            (vec![], false),
            (vec![toleration("abrasive", Equal, "")], false),
            (vec![toleration("abrasive", Equal, "only")], true),
            (vec![toleration("abrasive", Exists, "")], true),
            (vec![toleration("other", Exists, "")], false),
            (vec![toleration("other", Exists, ""), toleration("abrasive", Equal, "only")], true),
        ] {
            assert_eq!(untolerated(&[taint("only")], &tolerations).is_none(), tolerated, "{tolerations:?}");
        }
        let two = [taint("only"), Taint { key: "night".into(), ..Taint::default() }];
        assert_eq!(untolerated(&two, &[toleration("abrasive", Exists, "")]).map(|t| t.key.as_str()), Some("night"));
    }
}
