//! What can go wrong with a printer, in words a person can act on. Each error keeps its cause.
//! Never contains a password, an authorization header or an unbounded text from the device.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;

/// The longest text of a device that is passed on, in characters.
pub(crate) const DEVICE_TEXT_MAX_CHARS: usize = 200;

/// A boxed cause.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// A call to the printer that did not give what was asked.
///
/// None of these says anything about a print: a printer that cannot be reached may be printing happily.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No TCP connection could be opened.
    #[error("no connection to {address}: check that the printer is on, in the network, and that its address is right")]
    Unreachable {
        /// Where the connection was tried.
        address: SocketAddr,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The printer accepted the connection but did not answer in time.
    #[error("no answer to {request} within {seconds} s: the printer may be busy; if this stays, restart it")]
    NoAnswer {
        /// Method and path.
        request: String,
        /// The time waited.
        seconds: f64,
    },
    /// The connection ended in the middle of a request or of its answer.
    #[error("the connection ended during {request}: the network is bad, or the printer restarted")]
    ConnectionLost {
        /// Method and path.
        request: String,
        /// What the network reported.
        #[source]
        source: Cause,
    },
    /// The login was refused. It was tried once.
    #[error("the printer refuses the login: copy user and password from Settings > Network > PrusaLink")]
    Unauthorized,
    /// Something answers at this address, but it is not a PrusaLink of this kind.
    #[error(
        "no PrusaLink v1 answers here ({found}): check the address, and update the printer's firmware to 6.0 or newer"
    )]
    NotPrusaLink {
        /// What was found instead.
        found: String,
    },
    /// The printer understood and said no.
    #[error("the printer refuses {request} with {status}: {message}")]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The printer's words, shortened.
        message: String,
    },
    /// No room for the file.
    #[error("the printer's storage is full or failing ({message}): delete files or replace the USB drive")]
    StorageFull {
        /// The printer's words, shortened.
        message: String,
    },
    /// A file of this name is already there. Nothing was overwritten.
    #[error("a file named {name} is already on the printer: delete it there, or use another name")]
    FileExists {
        /// The remote name.
        name: String,
    },
    /// The one transfer a printer can do at a time is taken.
    #[error(
        "the printer is busy with another transfer ({message}): wait until it has ended, or stop it on the printer"
    )]
    TransferBusy {
        /// The printer's words, shortened.
        message: String,
    },
    /// An upload moved no byte for the stall timeout.
    #[error(
        "the upload stood still for {seconds} s after {sent_bytes} of {size_bytes} bytes: check the printer's network"
    )]
    Stalled {
        /// The stall timeout.
        seconds: f64,
        /// Bytes of the file handed to the network until then.
        sent_bytes: u64,
        /// Bytes of the whole file.
        size_bytes: u64,
    },
    /// The file on the printer is not the file that was sent.
    #[error(
        "the printer stored {found_bytes:?} bytes of {name} instead of {expected_bytes}: delete the file and send it again"
    )]
    SizeMismatch {
        /// The remote name.
        name: String,
        /// What was sent.
        expected_bytes: u64,
        /// What the printer reports; `None` when it knows no size or no such file.
        found_bytes: Option<u64>,
    },
    /// The caller cancelled the upload; the connection was cut and the printer drops the partial file.
    #[error("the upload was cancelled")]
    Cancelled,
    /// The file to send could not be read, or is not as long as announced.
    #[error("the file to upload cannot be read as announced: check the source of the file")]
    Source(#[source] io::Error),
    /// An answer that makes no sense, or a request that cannot be built.
    #[error("{request}: {detail}: if this stays, report it together with the printer's firmware version")]
    Protocol {
        /// Method and path.
        request: String,
        /// What was wrong.
        detail: String,
        /// The parser's or library's error, when there is one.
        #[source]
        source: Option<Cause>,
    },
}

impl Error {
    pub(crate) fn protocol(request: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Protocol { request: request.into(), detail: detail.into(), source: None }
    }
}

/// Makes a device's text fit for logs and messages: one line, no control characters, at most 200 characters.
pub(crate) fn clean_text(text: &str) -> String {
    let mut clean = String::new();
    let mut length = 0;
    for character in text.trim().chars() {
        if length == DEVICE_TEXT_MAX_CHARS {
            break;
        }
        // A line break is a word boundary; every other control or direction character is dropped.
        let character = if matches!(character, '\n' | '\r' | '\t') { ' ' } else { character };
        let reorders = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if !character.is_control() && !reorders {
            clean.push(character);
            length += 1;
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_device_are_one_short_line() {
        assert_eq!(clean_text("  File\nbusy\u{7}\u{1b}[31m \u{202e}x "), "File busy[31m x");
        assert_eq!(clean_text(&"ä".repeat(5000)).chars().count(), DEVICE_TEXT_MAX_CHARS);
    }
}
