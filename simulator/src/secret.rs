//! A password that serializes as itself but is never shown by `Debug`.
//!
//! Even a simulated password stays out of logs: tests that look for leaked secrets search for exactly these values.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A printer's password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Wraps the plain text.
    pub fn new(plain_text: impl Into<String>) -> Self {
        Self(plain_text.into())
    }

    /// The plain text, for the one who logs in.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(hidden)")
    }
}
