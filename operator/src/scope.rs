//! The namespaces the operator works in. What it may read ends there, so nothing is asked of all namespaces unless it works in
//! all of them.

use std::collections::BTreeSet;
use std::fmt;

use crate::api::is_label;

/// Whether this can be the name of a namespace.
pub fn is_namespace(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

/// The namespaces the operator works in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<String>);

impl Scope {
    /// These namespaces; all, where none is named.
    pub fn of(namespaces: impl IntoIterator<Item = String>) -> Self {
        Self(namespaces.into_iter().collect())
    }

    /// What is listed and watched by itself: each namespace, or everything at once as `None`. There is at least one.
    pub fn parts(&self) -> Vec<Option<&str>> {
        if self.0.is_empty() { vec![None] } else { self.0.iter().map(|name| Some(name.as_str())).collect() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("all");
        }
        f.write_str(&self.0.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_is_asked_once_and_all_at_once_only_where_none_is_named() {
        let of = |names: &[&str]| Scope::of(names.iter().map(|name| (*name).to_owned()));
        assert_eq!(of(&[]).parts(), [None]);
        assert_eq!(of(&["b", "a", "b"]).parts(), [Some("a"), Some("b")]);
        assert_eq!(of(&[]), Scope::default());
        assert_eq!([of(&[]), of(&["b", "a"])].map(|scope| scope.to_string()), ["all", "a,b"]);
    }
}
