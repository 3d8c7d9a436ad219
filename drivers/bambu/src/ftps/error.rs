//! What can go wrong with a printer's file server, in words a person can act on. Each error keeps its cause.
//! Never contains an access code or an unbounded text from the device. Which reply means what: README.md of this crate.

use std::io;

use super::reply::Reply;
use crate::error::Cause;

/// A call to the printer's file server that did not give what was asked.
///
/// None of these says anything about a print: a printer whose file server fails may be printing happily.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FtpsError {
    /// The connection could not be opened, or the device is not proven to be this printer.
    #[error(transparent)]
    Connect(#[from] crate::Error),
    /// The printer refused the access code (530). It was tried once; trying again does not help.
    #[error(
        "the printer's file server refuses the access code: copy it from the printer's screen into the Secret; it \
         changes whenever LAN-only mode or Developer Mode is switched"
    )]
    AccessCodeRefused,
    /// The printer ended the session, or takes no other one (421).
    #[error(
        "the printer's file server ended the session ({message}): close other programs that use it, then try again"
    )]
    SessionEnded {
        /// The printer's words, shortened.
        message: String,
    },
    /// The printer accepted a command but did not answer in time.
    #[error("no answer to {command} within {seconds} s: the printer may be busy; if this stays, restart it")]
    NoAnswer {
        /// Command, and file if there is one.
        command: String,
        /// The time waited.
        seconds: f64,
    },
    /// The connection ended in the middle of a command or a transfer. It may have been carried out all the same.
    #[error("the file connection ended during {command}: the network is bad, or the printer restarted")]
    ConnectionLost {
        /// Command, and file if there is one.
        command: String,
        /// What the network reported.
        #[source]
        source: Cause,
    },
    /// The printer will not store the file (550 or 553 before it began; 451, 452 and 552 afterwards).
    #[error(
        "the printer does not store {name} ({code}: {message}): insert a storage card or USB drive that is formatted, \
         not write-protected and not full, and wait until no print is being prepared"
    )]
    StorageRefused {
        /// The remote name.
        name: String,
        /// The reply's code.
        code: u16,
        /// The printer's words, shortened.
        message: String,
    },
    /// The connection for the data could not be used (425).
    #[error(
        "the printer could not open the connection for the data ({message}): another transfer may be running; wait"
    )]
    DataConnection {
        /// The printer's words, shortened.
        message: String,
    },
    /// The printer wants the TLS session of the control connection on the data connection, and did not get it (522).
    #[error(
        "the printer refuses the encrypted data connection ({message}): restart the printer; if this stays, report it \
         together with its firmware version"
    )]
    SessionReuseRequired {
        /// The printer's words, shortened.
        message: String,
    },
    /// A file of this name is already there. Nothing was overwritten.
    #[error("a file named {name} with {size_bytes} bytes is already on the printer: delete it, or use another name")]
    FileExists {
        /// The remote name.
        name: String,
        /// Its size there.
        size_bytes: u64,
    },
    /// There is no such file (550).
    #[error("there is no file named {name} on the printer ({message}): it was deleted there; send it again")]
    Missing {
        /// The remote name.
        name: String,
        /// The printer's words, shortened.
        message: String,
    },
    /// The printer understood and said no.
    #[error("the printer refuses {command} with {code}: {message}")]
    Refused {
        /// Command, and file if there is one.
        command: String,
        /// The reply's code.
        code: u16,
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
    /// An upload took longer than its size allows.
    #[error(
        "the upload was given up after {seconds} s with {sent_bytes} of {size_bytes} bytes sent: the printer's network \
         is too slow; move it closer to the access point or use a cable"
    )]
    TooSlow {
        /// The time it had.
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
        /// What the printer reports; `None` when it knows no such file.
        found_bytes: Option<u64>,
    },
    /// The caller cancelled the upload; the data connection was cut.
    #[error("the upload was cancelled")]
    Cancelled,
    /// The file to send could not be read, or is not as long as announced.
    #[error("the file to upload cannot be read as announced: check the source of the file")]
    Source(#[source] io::Error),
    /// An answer that makes no sense.
    #[error("{command}: {detail}: if this stays, report it together with the printer's firmware version")]
    Protocol {
        /// Command, and file if there is one.
        command: String,
        /// What was wrong.
        detail: String,
    },
}

/// An upload that did not succeed, and whether something of it may be left on the printer.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", if *left_over { "; a part of the file may be left on the printer" } else { "" })]
pub struct UploadError {
    /// What went wrong.
    #[source]
    pub error: FtpsError,
    /// Whether a part of the file may lie on the printer under its name: delete it before the next try. `false` means
    /// that nothing was stored, or that it was deleted.
    pub left_over: bool,
}

impl FtpsError {
    /// The error a refusing reply to this command is. `name` is the file it was about.
    pub(crate) fn refused(command: &str, name: Option<&str>, reply: &Reply) -> Self {
        let message = reply.text.clone();
        match (reply.code, name) {
            (421, _) => Self::SessionEnded { message },
            (530, _) => Self::AccessCodeRefused,
            (425, _) => Self::DataConnection { message },
            (522, _) => Self::SessionReuseRequired { message },
            (550 | 553 | 451 | 452 | 552, Some(name)) if command == "STOR" => {
                Self::StorageRefused { name: name.to_owned(), code: reply.code, message }
            }
            (code, _) => Self::Refused { command: described(command, name), code, message },
        }
    }

    pub(crate) fn protocol(command: &str, detail: impl Into<String>) -> Self {
        Self::Protocol { command: command.to_owned(), detail: detail.into() }
    }
}

/// A command and the file it is about, as messages name it.
pub(crate) fn described(command: &str, name: Option<&str>) -> String {
    name.map_or_else(|| command.to_owned(), |name| format!("{command} {name}"))
}
