//! The name a file has on the printer. It decides only what is safe to send; never what a name means.
//! A printer lists, matches and prints a `.gcode.3mf`; one that lies in the root of its storage has started by itself
//! after a power cycle (bambuddy#374, bambuddy#1542), hence the second form with `.part` behind it. Blanks and other
//! characters have been replaced by clients and misread by firmware (error 0500_400A), so there are none.

use std::fmt;

/// The longest name of a file that can be printed, in bytes.
pub const REMOTE_NAME_MAX_BYTES: usize = 60;

const PRINTABLE: &str = ".gcode.3mf";
const PART: &str = ".part";

/// A file name that every Bambu printer stores and finds again exactly as sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteName(String);

/// Why a name cannot be used on a printer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteNameError {
    /// Longer than [`REMOTE_NAME_MAX_BYTES`].
    #[error("the file name has {0} bytes: use at most {REMOTE_NAME_MAX_BYTES}")]
    TooLong(usize),
    /// A character outside `[A-Za-z0-9._-]`.
    #[error("the file name contains {0:?}: use only letters A to Z, digits, '.', '_' and '-'")]
    ForbiddenCharacter(char),
    /// Begins with something else than a letter or a digit: a dot hides a file, a hyphen reads as an option.
    #[error("the file name begins with {0:?}: begin with a letter or a digit")]
    Beginning(char),
    /// Not a sliced project.
    #[error("the file name does not end with .gcode.3mf: slice the project and export the plate's sliced file")]
    Extension,
}

impl RemoteName {
    /// Checks a name: at most 60 bytes of `[A-Za-z0-9._-]` that end with `.gcode.3mf`; `.part` may stand behind that.
    pub fn new(name: impl Into<String>) -> Result<Self, RemoteNameError> {
        let name = name.into();
        if let Some(bad) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
            return Err(RemoteNameError::ForbiddenCharacter(bad));
        }
        let printable = name.strip_suffix(PART).unwrap_or(&name);
        if printable.len() > REMOTE_NAME_MAX_BYTES {
            return Err(RemoteNameError::TooLong(printable.len()));
        }
        match name.chars().next() {
            Some(first) if !first.is_ascii_alphanumeric() => Err(RemoteNameError::Beginning(first)),
            _ if printable.strip_suffix(PRINTABLE).is_none_or(str::is_empty) => Err(RemoteNameError::Extension),
            _ => Ok(Self(name)),
        }
    }

    /// The name the same file has until it may be printed: no printer starts a `.part` by itself.
    #[must_use]
    pub fn part(&self) -> Self {
        if self.is_part() { self.clone() } else { Self(format!("{}{PART}", self.0)) }
    }

    /// Whether this is the name of a file that no printer prints.
    pub fn is_part(&self) -> bool {
        self.0.ends_with(PART)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RemoteName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_printer_keeps_are_accepted_and_have_a_part_form() {
        for name in ["bracket-pz-0011223344556677-1.gcode.3mf", "a.gcode.3mf", "A_b.1.gcode.3mf"] {
            let name = RemoteName::new(name).unwrap();
            assert!(!name.is_part());
            let part = name.part();
            assert_eq!(part.as_str(), format!("{name}.part"));
            assert!(part.is_part());
            assert_eq!(part.part(), part, "part of a part is itself");
            assert_eq!(RemoteName::new(part.as_str()), Ok(part.clone()), "a stored part name is read back");
        }
        let longest = format!("{}.gcode.3mf", "x".repeat(50));
        assert!(RemoteName::new(RemoteName::new(longest).unwrap().part().as_str()).is_ok());
    }

    #[test]
    fn names_a_printer_would_misread_are_refused() {
        for (name, expected) in [
            (format!("{}.gcode.3mf", "x".repeat(51)), RemoteNameError::TooLong(61)),
            ("a b.gcode.3mf".into(), RemoteNameError::ForbiddenCharacter(' ')),
            ("a/b.gcode.3mf".into(), RemoteNameError::ForbiddenCharacter('/')),
            ("a\r\nDELE b.gcode.3mf".into(), RemoteNameError::ForbiddenCharacter('\r')),
            ("kälte.gcode.3mf".into(), RemoteNameError::ForbiddenCharacter('ä')),
            ("-r.gcode.3mf".into(), RemoteNameError::Beginning('-')),
            ("..gcode.3mf".into(), RemoteNameError::Beginning('.')),
            (".gcode.3mf".into(), RemoteNameError::Beginning('.')),
            ("bracket.3mf".into(), RemoteNameError::Extension),
            ("bracket.gcode".into(), RemoteNameError::Extension),
            ("bracket.part".into(), RemoteNameError::Extension),
            ("gcode.3mf".into(), RemoteNameError::Extension),
            (String::new(), RemoteNameError::Extension),
        ] {
            assert_eq!(RemoteName::new(name.clone()), Err(expected), "{name}");
        }
    }
}
