//! Conditions: their types, their reasons, and the one way to set them.
//!
//! A condition keeps its transition time while its status stays the same, so that writing the same meaning twice is no
//! change.

mod words;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use self::words::{ConditionType, Reason};

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl ConditionStatus {
    /// The value as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Reading and setting conditions of a status.
pub trait Conditions {
    /// The condition of this type, if it was ever set.
    fn condition(&self, type_: ConditionType) -> Option<&Condition>;
    /// Sets the condition; keeps its transition time while the status is the same.
    fn set(
        &mut self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
        at: &SetAt,
    );
    /// Removes the condition.
    fn unset(&mut self, type_: ConditionType);
    /// Whether the condition is set and True.
    fn is_true(&self, type_: ConditionType) -> bool {
        self.condition(type_).is_some_and(|c| c.status == "True")
    }
    /// Whether the condition is set and False.
    fn is_false(&self, type_: ConditionType) -> bool {
        self.condition(type_).is_some_and(|c| c.status == "False")
    }
    /// Whether the condition is set with this reason.
    fn has_reason(&self, type_: ConditionType, reason: Reason) -> bool {
        self.condition(type_).is_some_and(|c| c.reason == reason.as_str())
    }
}

/// When, and for which generation of the spec, a condition is set.
#[derive(Clone, Debug)]
pub struct SetAt {
    /// Now.
    pub time: Time,
    /// metadata.generation of the object.
    pub generation: Option<i64>,
}

/// Longest message of a condition, in bytes; the rest of a longer one is cut.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// At most so many bytes of a text, whole characters.
pub fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

impl Conditions for Vec<Condition> {
    fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.iter().find(|c| c.type_ == type_.as_str())
    }

    fn set(
        &mut self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
        at: &SetAt,
    ) {
        let mut message: String = message.into();
        message.truncate(cut(&message, MAX_MESSAGE_BYTES).len());
        let new = Condition {
            type_: type_.as_str().to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.as_str().to_owned(),
            message,
            last_transition_time: at.time.clone(),
            observed_generation: at.generation,
        };
        match self.iter_mut().find(|c| c.type_ == new.type_) {
            Some(old) if old.status == new.status => {
                let since = old.last_transition_time.clone();
                *old = Condition { last_transition_time: since, ..new };
            }
            Some(old) => *old = new,
            None => {
                self.push(new);
            }
        }
    }

    fn unset(&mut self, type_: ConditionType) {
        self.retain(|c| c.type_ != type_.as_str());
    }
}
