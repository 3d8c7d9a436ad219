//! The name a file has on the printer. It decides only what is safe to send; never what a name means.
//! Limits come from Buddy: paths over 103 bytes are cut silently and lose their extension, '%' and blanks have led to
//! wrong 404s (Buddy issue 2368, PrusaSlicer issue 14204), and other extensions are answered with 415
//! (Buddy src/common/filename_type.cpp).

use std::fmt;

/// The longest name accepted, in bytes: the path limit of the firmware, less the storage and a good margin.
pub const REMOTE_NAME_MAX_BYTES: usize = 80;

const EXTENSIONS: [&str; 6] = ["g", "gc", "gco", "gcode", "bgcode", "bgc"];

/// A file name that every PrusaLink server stores and finds again exactly as sent.
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
    /// Begins with a dot, which hides a file or leaves its folder.
    #[error("the file name begins with '.': begin with a letter or a digit")]
    LeadingDot,
    /// No extension the printer accepts.
    #[error("the file name has no extension a printer accepts: end with .gcode or .bgcode")]
    Extension,
}

impl RemoteName {
    /// Checks a name. Letters keep their case; the extension is compared without it, as the firmware does.
    pub fn new(name: impl Into<String>) -> Result<Self, RemoteNameError> {
        let name = name.into();
        if let Some(bad) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
            return Err(RemoteNameError::ForbiddenCharacter(bad));
        }
        if name.len() > REMOTE_NAME_MAX_BYTES {
            return Err(RemoteNameError::TooLong(name.len()));
        }
        if name.starts_with('.') {
            return Err(RemoteNameError::LeadingDot);
        }
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        if extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) {
            Ok(Self(name))
        } else {
            Err(RemoteNameError::Extension)
        }
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
    fn names_a_printer_keeps_are_accepted() {
        for name in ["bracket-pz-0011223344556677-1.bgcode", "a.g", "A_b.GCODE", "x.gc", "x.gco", "x.bgc", "a.b.gcode"]
        {
            assert_eq!(RemoteName::new(name).unwrap().as_str(), name);
        }
        assert!(RemoteName::new(format!("{}.gcode", "x".repeat(74))).is_ok());
    }

    #[test]
    fn names_a_printer_would_cut_or_misread_are_refused() {
        for (name, expected) in [
            (format!("{}.gcode", "x".repeat(75)), RemoteNameError::TooLong(81)),
            ("a b.gcode".into(), RemoteNameError::ForbiddenCharacter(' ')),
            ("a/b.gcode".into(), RemoteNameError::ForbiddenCharacter('/')),
            ("50%.gcode".into(), RemoteNameError::ForbiddenCharacter('%')),
            ("kälte.gcode".into(), RemoteNameError::ForbiddenCharacter('ä')),
            ("a\r\nX: y.gcode".into(), RemoteNameError::ForbiddenCharacter('\r')),
            ("..gcode".into(), RemoteNameError::LeadingDot),
            (".gcode".into(), RemoteNameError::LeadingDot),
            ("part.bbf".into(), RemoteNameError::Extension),
            ("gcode".into(), RemoteNameError::Extension),
            (String::new(), RemoteNameError::Extension),
        ] {
            assert_eq!(RemoteName::new(name.clone()), Err(expected), "{name}");
        }
    }
}
