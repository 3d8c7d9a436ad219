//! Asks what answers at an address who it is: a TLS handshake and nothing else, so that a person can find printers whose
//! serial number is not known yet. No byte follows the handshake; it logs in nowhere and nothing it learns is trusted:
//! a connection that carries anything checks anew (verifier.rs). The handshake proves that the device has the key of
//! the certificate it shows. Facts: OpenBambuAPI tls.md (the certificate's common name is the serial number).

use std::net::SocketAddr;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::authority::parse;
use super::verifier::{self, Demand, PrinterVerifier};
use super::{CertificateProblem, configuration, handshake_error, hex, unnamed};
use crate::config::{SerialNumber, Timeouts, Trust};
use crate::error::Error;

/// What a device shows of itself in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The name in its certificate.
    pub serial_number: SerialNumber,
    /// SHA-256 of its public key (the DER SubjectPublicKeyInfo), 64 lower-case hex digits: what can be pinned.
    pub public_key_sha256: String,
    /// Why [`Trust::BambuCa`] would refuse it; `None` if one of the maker's known authorities issued the certificate.
    pub problem: Option<CertificateProblem>,
}

/// Makes a TLS handshake with whatever is at `address` and says whose certificate it shows. Uses the timeouts `connect`
/// and `handshake`.
///
/// # Errors
///
/// [`Error::Unreachable`], [`Error::NotTls`], [`Error::Tls`], [`Error::NoAnswer`]; [`Error::Untrusted`] if the certificate
/// has no name that could be a serial number, or the device does not have its key.
pub async fn identify(address: SocketAddr, timeouts: &Timeouts) -> Result<Shown, Error> {
    let stream = match timeout(timeouts.connect, TcpStream::connect(address)).await {
        Ok(connected) => connected,
        Err(elapsed) => Err(elapsed.into()),
    };
    let stream = stream.map_err(|source| Error::Unreachable { address, source })?;
    let config = configuration(Demand::Nothing, Resumption::disabled())?;
    // On the heap: a handshake needs much room, and a scan makes many at once.
    let connecting = Box::pin(TlsConnector::from(config).connect(unnamed(), stream));
    let stream = match timeout(timeouts.handshake, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(handshake_error(address, error)),
        Err(_) => {
            return Err(Error::NoAnswer { request: "the TLS handshake", seconds: timeouts.handshake.as_secs_f64() });
        }
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    shown(chain, &Trust::BambuCa, UnixTime::now())?.map_err(|problem| Error::Untrusted { address, problem })
}

/// What a chain says; the authorities and the time are arguments.
pub(super) fn shown(
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    now: UnixTime,
) -> Result<Result<Shown, CertificateProblem>, Error> {
    let Some((leaf, intermediates)) = chain.split_first() else { return Ok(Err(CertificateProblem::Malformed)) };
    let Some(parsed) = parse(leaf) else { return Ok(Err(CertificateProblem::Malformed)) };
    let name = match verifier::only_name(&parsed) {
        Ok(name) => name,
        Err(problem) => return Ok(Err(problem)),
    };
    let serial_number = std::str::from_utf8(name).ok().and_then(|name| SerialNumber::new(name).ok());
    let Some(serial_number) = serial_number else { return Ok(Err(CertificateProblem::NoSerialNumber)) };
    let problem = PrinterVerifier::new(serial_number.clone(), trust)?.check(leaf, intermediates, now).err();
    Ok(Ok(Shown { serial_number, public_key_sha256: hex(&verifier::key_hash(&parsed)), problem }))
}
