//! TLS of a simulated printer: version 1.2 only, a version 1 certificate, sessions that can be resumed.
//!
//! One configuration per printer and purpose, made anew whenever the certificate changes, so that no session outlives
//! the identity it was made for. Never accepts client certificates.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    crypto::ring::{default_provider, sign::any_ecdsa_type},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::{Acceptor, ServerSessionMemoryCache},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS12,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

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

/// Shakes hands. With `hangs_on_tls13` a client that offers TLS 1.3 waits for ever.
pub(crate) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    hangs_on_tls13: bool,
) -> io::Result<TlsStream<TcpStream>> {
    let handshake = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if hangs_on_tls13 && offers_tls13(&start.client_hello()) {
            std::future::pending::<()>().await;
        }
        start.into_stream(config).await
    };
    timeout(HANDSHAKE, handshake).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// The suites of TLS 1.3 are numbered 0x13xx.
fn offers_tls13(hello: &rustls::server::ClientHello<'_>) -> bool {
    hello.cipher_suites().iter().any(|suite| u16::from(*suite) >> 8 == 0x13)
}
