//! Why a file cannot be printed, and what a person can do about it.
//! Texts never contain bytes of the file: it comes from outside, and they end in conditions and logs.

use std::io;

/// Why the file was refused. `Display` is one sentence for a person and names the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are something else: a web page, an archive, a text, nothing at all.
    #[error("not a print file but {found}: {advice}")]
    NotAPrintFile {
        /// What it is, with its article.
        found: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The file stops before its end.
    #[error("the file is incomplete ({what}): export or upload it again")]
    Truncated {
        /// What is missing.
        what: &'static str,
    },
    /// The file, or a part of it, is larger than accepted.
    #[error("{what} is larger than {limit_bytes} bytes, the most that is read: slice it smaller")]
    TooLarge {
        /// The part that is too large.
        what: &'static str,
        /// The limit it broke, in bytes (or blocks, when `what` says so).
        limit_bytes: u64,
    },
    /// A model or a project without toolpaths.
    #[error("{found} that was not sliced: open it in the slicer, slice it for the printer and export the G-code")]
    Unsliced {
        /// What it is, with its article.
        found: &'static str,
    },
    /// The plate asked for is not in the file, or was not sliced.
    #[error(
        "the file has no sliced plate {plate}, only {}: choose one of these, or slice that plate and export again",
        listed(present)
    )]
    MissingPlate {
        /// The plate asked for.
        plate: u32,
        /// The plates that can be printed, rising; never empty.
        present: Vec<u32>,
    },
    /// A valid print file of a kind that is not handled.
    #[error("{what} is not supported: {advice}")]
    Unsupported {
        /// The feature or format.
        what: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// The file contradicts itself.
    #[error("the file is damaged ({what}): export or upload it again")]
    Corrupt {
        /// The contradiction.
        what: &'static str,
    },
    /// The bytes could not be read; says nothing about the file.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
}

/// The first ones, for a sentence.
fn listed(plates: &[u32]) -> String {
    const SHOWN: usize = 10;
    let mut text = plates.iter().take(SHOWN).map(u32::to_string).collect::<Vec<_>>().join(", ");
    if plates.len() > SHOWN {
        text.push_str(" and more");
    }
    text
}

impl Error {
    /// Whether the same bytes would be refused again. False only when reading failed.
    pub fn is_about_the_file(&self) -> bool {
        !matches!(self, Self::Read(_))
    }

    pub(crate) fn different_nozzles() -> Self {
        Self::Unsupported {
            what: "a print with nozzles of different diameters",
            advice: "slice it for one nozzle diameter",
        }
    }

    /// A reading error inside data whose length is known: its end came early.
    pub(crate) fn read_or_truncated(error: io::Error, what: &'static str) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated { what } } else { Self::Read(error) }
    }
}
