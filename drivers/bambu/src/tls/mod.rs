//! TLS with one printer: version 1.2 only, the serial number as server name, and our own check of the certificate
//! (verifier.rs). A configuration belongs to one printer and one purpose and is built anew whenever anything about it
//! changes: a resumed TLS 1.2 session skips the check of the certificate. It never connects and never weakens a check.
//! TLS 1.3 hangs or breaks on several models: ha-bambulab PR 2073, bambuddy issues 1401, 1638, 2582.

mod authority;
mod bambu_authorities;
mod identify;
mod problem;
#[cfg(test)]
mod tests;
mod verifier;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use identify::{Shown, identify};
pub use problem::CertificateProblem;

use crate::config::{SerialNumber, Trust};
use crate::error::{Cause, Error};
use verifier::{Demand, HandshakeVerifier, PrinterVerifier};

/// Sessions remembered for one file transfer: a control and a data connection.
const SESSIONS_MAX: usize = 4;

/// A configuration whose connections resume each other's sessions, as FTPS servers demand of the data connection. Use
/// one for one control connection and its data connections only.
pub(crate) fn client_config(serial: &SerialNumber, trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    build(serial, trust, Resumption::in_memory_sessions(SESSIONS_MAX))
}

/// A configuration for one connection: nothing is resumed.
pub(crate) fn single_connection_config(serial: &SerialNumber, trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    build(serial, trust, Resumption::disabled())
}

fn build(serial: &SerialNumber, trust: &Trust, resumption: Resumption) -> Result<Arc<ClientConfig>, Error> {
    configuration(Demand::Printer(PrinterVerifier::new(serial.clone(), trust)?), resumption)
}

/// TLS 1.2 with our own check of the certificate.
fn configuration(demand: Demand, resumption: Resumption) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .map_err(|error| Error::Protocol {
            request: "preparing TLS",
            detail: "TLS 1.2 is not available".into(),
            source: Some(error.into()),
        })?;
    let verifier = Arc::new(HandshakeVerifier::new(demand));
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = resumption;
    Ok(Arc::new(config))
}

/// The name sent in the handshake: the serial number. A number of digits only is no host name; nothing is sent then.
pub(crate) fn server_name(serial: &SerialNumber) -> ServerName<'static> {
    ServerName::try_from(serial.as_str().to_owned()).unwrap_or_else(|_| unnamed())
}

/// Makes a handshake without a server name.
fn unnamed() -> ServerName<'static> {
    ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// The handshake over an open connection to `address`.
pub(crate) async fn handshake<S>(
    stream: S,
    config: Arc<ClientConfig>,
    serial: &SerialNumber,
    address: SocketAddr,
    timeout: Duration,
) -> Result<TlsStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connecting = TlsConnector::from(config).connect(server_name(serial), stream);
    match tokio::time::timeout(timeout, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(handshake_error(address, error)),
        Err(_) => Err(Error::NoAnswer { request: "the TLS handshake", seconds: timeout.as_secs_f64() }),
    }
}

/// What a failed handshake means.
fn handshake_error(address: SocketAddr, error: io::Error) -> Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidMessage(_)) => Error::NotTls { address, source: error.into() },
        Some(cause) => match CertificateProblem::within(cause) {
            Some(problem) => Error::Untrusted { address, problem },
            None => Error::Tls { address, source: error.into() },
        },
        None => Error::Tls { address, source: Cause::from(error) },
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}
