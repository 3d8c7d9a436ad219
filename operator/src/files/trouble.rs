//! Why a server did not give a file, told apart as far as a person does something else about each: nothing listens, nobody
//! answers, it speaks another protocol, the connection broke.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::fetch::Limits;

/// What went wrong between the operator and a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing listens on the port.
    Refused,
    /// No connection came about in time.
    NoConnection {
        /// Time allowed.
        limit: Duration,
    },
    /// There is no way to the address.
    NoRoute,
    /// It was connected to, and sent nothing for too long.
    Silent {
        /// Time allowed.
        limit: Duration,
    },
    /// It was to speak TLS and speaks something else.
    NotTls,
    /// It speaks TLS, and does not want to speak it with this client.
    TlsRefused {
        /// The alert of RFC 8446, 6.
        alert: String,
    },
    /// What it says is no HTTP.
    NotHttp {
        /// Whether it was asked without TLS, which it may want.
        unencrypted: bool,
    },
    /// The connection ended early, or nothing more is known.
    BrokenOff,
}

/// A server with its trouble, for people.
pub(super) struct Told<'a> {
    /// Host and port.
    pub(super) server: &'a str,
    pub(super) trouble: &'a Trouble,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, trouble } = self;
        match trouble {
            Trouble::Refused => {
                write!(
                    f,
                    "cannot be fetched: {server} refuses the connection; check that the server is up, and its port"
                )
            }
            Trouble::NoConnection { limit } => write!(
                f,
                "cannot be fetched: no connection to {server} within {limit:?}; check that the server is up, and that no \
                 firewall stands between it and the operator"
            ),
            Trouble::NoRoute => write!(
                f,
                "cannot be fetched: the operator has no way to {server}; check the address and the operator's network"
            ),
            Trouble::Silent { limit } => write!(
                f,
                "cannot be read to the end: {server} sent nothing for {limit:?}; look at the server's load and its log"
            ),
            Trouble::NotTls => write!(
                f,
                "cannot be fetched: {server} does not speak TLS; write the port at which it does, or http:// if it is \
                 meant to be unencrypted"
            ),
            Trouble::TlsRefused { alert } => write!(
                f,
                "cannot be fetched: {server} refuses the TLS connection ({alert}); look at the server's settings: it must \
                 take TLS 1.2 or 1.3, know this name and want no certificate of its clients"
            ),
            Trouble::NotHttp { unencrypted } => {
                write!(f, "cannot be fetched: what {server} answers is no HTTP; check the port")?;
                f.write_str(if *unencrypted { ", and write https:// if it speaks TLS" } else { "" })
            }
            Trouble::BrokenOff => write!(
                f,
                "cannot be read to the end: the connection to {server} broke off; check that the server is up, and its log"
            ),
        }
    }
}

impl Trouble {
    /// What a failed request, or a body that could not be read, says.
    pub(super) fn of(error: &reqwest::Error, unencrypted: bool, limits: &Limits) -> Self {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        if let Some(tls) = find::<rustls::Error>(error) {
            return match tls {
                rustls::Error::InvalidMessage(_) => Self::NotTls,
                rustls::Error::AlertReceived(alert) => Self::TlsRefused { alert: format!("{alert:?}") },
                _ => Self::BrokenOff,
            };
        }
        if error.is_timeout() {
            let (connecting, reading) = (limits.connect_timeout, limits.stall_timeout);
            return if error.is_connect() {
                Self::NoConnection { limit: connecting }
            } else {
                Self::Silent { limit: reading }
            };
        }
        if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            return Self::NotHttp { unencrypted };
        }
        match find::<io::Error>(error).map(io::Error::kind) {
            Some(ConnectionRefused) => Self::Refused,
            Some(HostUnreachable | NetworkUnreachable) => Self::NoRoute,
            _ => Self::BrokenOff,
        }
    }
}

/// The innermost cause, as text: the layers of the client around it say nothing more to a person.
#[derive(Debug)]
pub(super) struct Root(String);

impl Root {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(inner) = carried(innermost) {
            innermost = inner;
        }
        Self(innermost.to_string())
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Root {}

/// The cause of an error. What an I/O error carries is hidden from the chain of causes.
fn carried<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The first error of this type among the causes.
pub(super) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<E>() {
            return Some(found);
        }
        cause = carried(inner);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_names_the_server_and_what_to_do() {
        let limit = Duration::from_secs(10);
        for (trouble, words) in [
            (Trouble::Refused, "check that the server is up, and its port"),
            (Trouble::NoConnection { limit }, "within 10s; check that the server is up, and that no firewall"),
            (Trouble::NoRoute, "the operator's network"),
            (Trouble::Silent { limit }, "sent nothing for 10s"),
            (Trouble::NotTls, "write the port at which it does, or http://"),
            (Trouble::TlsRefused { alert: "HandshakeFailure".into() }, "refuses the TLS connection (HandshakeFailure)"),
            (Trouble::NotHttp { unencrypted: true }, "no HTTP; check the port, and write https://"),
            (Trouble::NotHttp { unencrypted: false }, "no HTTP; check the port"),
            (Trouble::BrokenOff, "broke off"),
        ] {
            let told = Told { server: "files.example:8443", trouble: &trouble }.to_string();
            assert!(told.contains(words) && told.contains("files.example:8443"), "{told}");
        }
    }

    #[test]
    fn what_an_io_error_hides_is_found_and_the_innermost_cause_is_told() {
        let hidden = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::HandshakeNotComplete);
        assert!(find::<rustls::Error>(&hidden).is_some());
        assert_eq!(Root::of(&hidden).to_string(), rustls::Error::HandshakeNotComplete.to_string());
        let plain = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Root::of(&plain).to_string(), plain.to_string());
    }
}
