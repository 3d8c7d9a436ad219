//! What can go wrong with a printer, in words a person can act on. Each error keeps its cause.
//! Never contains an access code or an unbounded text from the device.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;

use crate::report::Refusal;
use crate::tls::CertificateProblem;

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
    /// Something answers, but it does not speak TLS.
    #[error("no Bambu printer answers at {address}: what is there does not speak TLS; check address and port")]
    NotTls {
        /// Where the connection was tried.
        address: SocketAddr,
        /// What the TLS library reported.
        #[source]
        source: Cause,
    },
    /// The TLS handshake failed for another reason than the certificate.
    #[error(
        "no TLS connection with {address}: check that this is the printer's address; if it is, restart the printer"
    )]
    Tls {
        /// Where the connection was tried.
        address: SocketAddr,
        /// What the TLS library or the network reported.
        #[source]
        source: Cause,
    },
    /// The device did not prove that it is this printer. Nothing was sent to it, the access code neither.
    #[error("the device at {address} is not proven to be this printer: {problem}")]
    Untrusted {
        /// Where the connection was tried.
        address: SocketAddr,
        /// What is wrong with its certificate, and what to do.
        #[source]
        problem: CertificateProblem,
    },
    /// The printer refused the access code. It was tried once; trying again does not help.
    #[error(
        "the printer refuses the access code: copy it from the printer's screen into the Secret; it changes whenever \
         LAN-only mode or Developer Mode is switched"
    )]
    AccessCodeRefused,
    /// The printer's broker refused the connection for another reason.
    #[error(
        "the printer refuses the connection (code {code}): close other programs that are connected to it, or restart it"
    )]
    Refused {
        /// CONNACK's return code.
        code: u8,
    },
    /// Connected and subscribed, but no report came.
    #[error(
        "connected, but no report came within {seconds} s: the serial number may be wrong, or too many programs are \
         connected to the printer (close Bambu Studio and Bambu Handy, or restart the printer)"
    )]
    WrongSerialOrBusy {
        /// The time waited.
        seconds: f64,
    },
    /// The printer did not answer in time.
    #[error("no answer to {request} within {seconds} s: the printer may be busy; if this stays, restart it")]
    NoAnswer {
        /// What was asked.
        request: &'static str,
        /// The time waited.
        seconds: f64,
    },
    /// Reports stopped although the connection stayed.
    #[error("the printer fell silent: no report for {seconds} s, also not when asked for one")]
    Silent {
        /// Since the last report.
        seconds: f64,
    },
    /// Reports come, but what we publish is not answered: this connection is not fit for commands.
    #[error(
        "the printer reports but does not answer: it drops what is sent to it; if a new connection does not help, \
         restart the printer"
    )]
    CommandsSwallowed,
    /// The printer refused a command.
    #[error("{0}")]
    CommandRefused(Refusal),
    /// The connection ended.
    #[error("the connection ended: the network is bad, the printer restarted, or another program took its place")]
    ConnectionLost {
        /// What the network reported.
        #[source]
        source: Cause,
    },
    /// The connection had ended before; the error that ended it was given then.
    #[error("the connection had ended before: open a new one")]
    Ended,
    /// Something that makes no sense, or a request that cannot be built.
    #[error("{request}: {detail}: if this stays, report it together with the printer's firmware version")]
    Protocol {
        /// What was being done.
        request: &'static str,
        /// What was wrong.
        detail: String,
        /// The parser's or library's error, when there is one.
        #[source]
        source: Option<Cause>,
    },
}

impl Error {
    pub(crate) fn protocol(request: &'static str, detail: impl Into<String>) -> Self {
        Self::Protocol { request, detail: detail.into(), source: None }
    }

    pub(crate) fn lost(source: impl Into<Cause>) -> Self {
        Self::ConnectionLost { source: source.into() }
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
