//! Which certificates a file's server may show: those of public authorities, and of the private ones a source names.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::error::{Cause, FetchError};

/// Public certificate authorities, and those of the bundle. `shown` says in texts whose bundle it is.
pub(super) fn config(bundle: Option<&[u8]>, shown: &str) -> Result<ClientConfig, FetchError> {
    let unusable = |source: Cause| FetchError::CaBundle { shown: shown.to_owned(), source };
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(bundle) = bundle {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            let certificate = certificate.map_err(|error| unusable(Arc::new(error)))?;
            roots.add(certificate).map_err(|error| unusable(Arc::new(error)))?;
        }
        if roots.len() == before {
            return Err(unusable(Arc::new(std::io::Error::other("it holds no certificate"))));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| unusable(Arc::new(error)))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// The certificate error somewhere among the causes of a failed request.
pub(super) fn certificate_error<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a rustls::CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
        return Some(why);
    }
    // An I/O error hides what it carries from the chain of causes.
    if let Some(carried) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        return certificate_error(carried);
    }
    error.source().and_then(certificate_error)
}
