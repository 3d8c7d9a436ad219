//! What a caller must say about one printer before anything is sent: where it is, who we are, how long we wait.
//! It never resolves names: the caller hands in the socket address, so that the caller's allow-lists are what is
//! connected to. Buddy firmware serves plain HTTP on port 80 only (lib/WUI/http_lifetime.cpp), hence no https here.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::http::Uri;
use secrecy::SecretString;

/// Everything needed to talk to one printer.
#[derive(Debug, Clone)]
pub struct Config {
    /// The printer's address as a person wrote it; used for the `Host` header and in messages.
    pub base_url: BaseUrl,
    /// Where the TCP connection goes, exactly. Resolved and approved by the caller.
    pub address: SocketAddr,
    /// The login.
    pub credentials: Credentials,
    /// How long each kind of call may take.
    pub timeouts: Timeouts,
}

/// The login of a printer. The password is never part of `Debug`, errors or logs.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// `maker` on Buddy firmware, where it is fixed; free on Python PrusaLink.
    pub username: String,
    /// The PrusaLink password; also sent as `X-Api-Key` to a server that offers no digest.
    pub password: SecretString,
}

/// How long each kind of call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Opening a TCP connection.
    pub connect: Duration,
    /// One whole request with its answer, uploads and starts aside.
    pub request: Duration,
    /// A start command from its first byte to its answer; also the kernel's limit for unacknowledged bytes of it.
    pub send: Duration,
    /// An upload that moves no byte for this long has stalled; also the wait for its final answer.
    /// Buddy gives up after 10 s without traffic itself, so much more is pointless.
    pub upload_stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            request: Duration::from_secs(10),
            send: Duration::from_secs(3),
            upload_stall: Duration::from_secs(15),
        }
    }
}

/// `http://host[:port]` and nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    host: String,
    port: u16,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// `https://` was asked for.
    #[error("PrusaLink on the printer speaks plain HTTP only: write http:// instead of https://")]
    HttpsNotSupported,
    /// A user name or password is part of the address.
    #[error("the address carries a login: remove everything up to '@' and put the login into the Secret")]
    LoginInAddress,
    /// A path, query or fragment follows the host.
    #[error("the address has something after the host: write only http://HOST or http://HOST:PORT")]
    PathNotAllowed,
    /// Not an address at all.
    #[error("not an address of a printer: write http://HOST or http://HOST:PORT")]
    Malformed,
}

impl BaseUrl {
    /// Reads `http://host[:port]`; one trailing slash is tolerated. IPv6 addresses stand in brackets.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        if text.contains('@') {
            return Err(BaseUrlError::LoginInAddress);
        }
        if text.contains('#') {
            return Err(BaseUrlError::PathNotAllowed);
        }
        let uri: Uri = text.parse().map_err(|_| BaseUrlError::Malformed)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(BaseUrlError::HttpsNotSupported),
            _ => return Err(BaseUrlError::Malformed),
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(BaseUrlError::PathNotAllowed);
        }
        let authority = uri.authority().ok_or(BaseUrlError::Malformed)?;
        let host = authority.host().to_owned();
        // `http` accepts an empty port ("host:") and keeps a port that does not fit as text; both are typing mistakes.
        let has_port_text = authority.as_str().len() > host.len();
        let port = match (authority.port_u16(), has_port_text) {
            (Some(port), _) if port > 0 => port,
            (None, false) => 80,
            _ => return Err(BaseUrlError::Malformed),
        };
        if host.is_empty() { Err(BaseUrlError::Malformed) } else { Ok(Self { host, port }) }
    }

    /// The host as written; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 80 when none was written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header.
    pub(crate) fn host_header(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.host_header())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read() {
        let url = BaseUrl::parse("http://printer-7.example").unwrap();
        assert_eq!(
            (url.host(), url.port(), url.to_string().as_str()),
            ("printer-7.example", 80, "http://printer-7.example")
        );
        let url = BaseUrl::parse("http://192.0.2.7:8080/").unwrap();
        assert_eq!((url.host(), url.port(), url.host_header().as_str()), ("192.0.2.7", 8080, "192.0.2.7:8080"));
        let url = BaseUrl::parse("http://[2001:db8::7]:81").unwrap();
        assert_eq!((url.host(), url.port()), ("[2001:db8::7]", 81));
    }

    #[test]
    fn anything_but_a_plain_http_host_is_refused_with_what_to_write() {
        for (text, expected) in [
            ("https://printer", BaseUrlError::HttpsNotSupported),
            ("http://maker:secret@printer", BaseUrlError::LoginInAddress),
            ("http://printer/api", BaseUrlError::PathNotAllowed),
            ("http://printer?x=1", BaseUrlError::PathNotAllowed),
            ("http://printer/#x", BaseUrlError::PathNotAllowed),
            ("printer", BaseUrlError::Malformed),
            ("ftp://printer", BaseUrlError::Malformed),
            ("http://printer:99999", BaseUrlError::Malformed),
            ("http://printer:", BaseUrlError::Malformed),
            ("http://printer:0", BaseUrlError::Malformed),
            ("", BaseUrlError::Malformed),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_password_is_not_in_debug() {
        let credentials = Credentials { username: "maker".into(), password: "hunter2-xyz".to_owned().into() };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
