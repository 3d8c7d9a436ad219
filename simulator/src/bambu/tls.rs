//! TLS of a simulated printer: version 1.2 only, a version 1 certificate, sessions that can be resumed.
//!
//! One configuration per printer and purpose, made anew whenever the certificate changes, so that no session outlives
//! the identity it was made for. Never accepts client certificates.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    crypto::ring::{default_provider, sign::any_ecdsa_type},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::ServerSessionMemoryCache,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS12,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    certificate::{Authority, DeviceKey},
    faults::CertificateDefect,
};
use crate::Error;

/// How long a client may take to shake hands, in real time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Sessions kept for resumption.
const SESSIONS: usize = 16;

/// What a certificate is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) serial_number: String,
    pub(crate) defect: Option<CertificateDefect>,
}

/// The configurations of one identity.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) identity: Identity,
    pub(crate) mqtt: Arc<ServerConfig>,
    pub(crate) ftps: Arc<ServerConfig>,
}

impl Tls {
    pub(crate) fn new(identity: Identity, authority: &Authority, device_key: &DeviceKey) -> Result<Self, Error> {
        let other_key;
        let other_authority;
        let (mut key, mut issuer, mut name, mut expired) =
            (device_key, authority, identity.serial_number.as_str(), false);
        match &identity.defect {
            None => {}
            Some(CertificateDefect::WrongName { name: wrong }) => name = wrong,
            Some(CertificateDefect::OtherKey) => {
                other_key = DeviceKey::generate()?;
                key = &other_key;
            }
            Some(CertificateDefect::OtherAuthority) => {
                other_authority = Authority::simulated()?;
                issuer = &other_authority;
            }
            Some(CertificateDefect::Expired) => expired = true,
        }
        let chain = vec![
            CertificateDer::from(issuer.issue(name, key, expired)?),
            CertificateDer::from(issuer.certificate().to_vec()),
        ];
        let key = PrivatePkcs8KeyDer::from(key.pkcs8.clone()).into();
        let key = any_ecdsa_type(&key).map_err(|_| Error::Certificate)?;
        // The library's own way to set a certificate refuses version 1.
        let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
        let config = || -> Result<Arc<ServerConfig>, Error> {
            let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
            let builder = builder.with_protocol_versions(&[&TLS12]).map_err(|_| Error::Certificate)?;
            let mut config =
                builder.with_no_client_auth().with_cert_resolver(Arc::<SingleCertAndKey>::clone(&resolver));
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            Ok(Arc::new(config))
        };
        Ok(Self { mqtt: config()?, ftps: config()?, identity })
    }
}

/// Shakes hands. With `hangs_on_tls13` a client that offers TLS 1.3 waits until its patience ends.
pub(crate) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    hangs_on_tls13: bool,
) -> io::Result<TlsStream<TcpStream>> {
    let handshake = async {
        if hangs_on_tls13 && offers_tls13(&stream).await? {
            std::future::pending::<()>().await;
        }
        TlsAcceptor::from(config).accept(stream).await
    };
    timeout(HANDSHAKE, handshake).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Looks at the ClientHello without taking it from the stream. One that comes in pieces counts as an old one.
async fn offers_tls13(stream: &TcpStream) -> io::Result<bool> {
    let mut hello = [0; 4096];
    let length = stream.peek(&mut hello).await?;
    Ok(supports_tls13(&hello[..length]).unwrap_or(false))
}

/// Whether the extension supported_versions (43) of a ClientHello has TLS 1.3 (RFC 8446, 4.1.2 and 4.2.1). `None` if it
/// ends too early or has no such extension.
fn supports_tls13(hello: &[u8]) -> Option<bool> {
    // Record header, handshake header, version, random; then three fields with their lengths.
    let mut rest = hello.get(5 + 4 + 2 + 32..)?;
    for length_bytes in [1, 2, 1] {
        let (length, after) = length_prefix(rest, length_bytes)?;
        rest = after.get(length..)?;
    }
    rest = rest.get(2..)?;
    loop {
        let (kind, after) = length_prefix(rest, 2)?;
        let (length, after) = length_prefix(after, 2)?;
        if kind == 43 {
            let versions = after.get(1..length)?;
            return Some(versions.chunks_exact(2).any(|version| version == [3, 4]));
        }
        rest = after.get(length..)?;
    }
}

/// A big-endian number of one or two bytes, and what follows.
fn length_prefix(bytes: &[u8], length: usize) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_at_checked(length)?;
    Some((number.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest))
}
