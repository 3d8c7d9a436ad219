//! Which certificates a file's server may show: those of public authorities, and of the private ones a source names; and
//! what is wrong with one that is not good enough.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::error::{Cause, FetchError};
use super::trouble::find;

/// Names of a certificate that are shown at most.
const MAX_NAMES: usize = 3;
/// As much of each is shown at most.
const MAX_NAME_CHARS: usize = 100;

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

/// Why a server's certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody knows who signed it.
    UnknownIssuer {
        /// Whether the source names private certificates.
        bundle: bool,
    },
    /// It is an authority's own and used as a server's.
    AuthorityAsServer,
    /// It is for other names.
    OtherName {
        /// The names it is for, some of them.
        names: Vec<String>,
    },
    /// It has no extensions, and so no names.
    OldVersion,
    /// It has run out.
    Expired,
    /// It begins to be good later.
    NotYetValid,
    /// Something else, as the library says it.
    Other(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer { bundle: false } => {
                "is by an authority nobody knows (UnknownIssuer); put the authority's certificate into a ConfigMap and \
                 name it in caBundleConfigMapRef"
            }
            Self::UnknownIssuer { bundle: true } => {
                "is by an authority that is neither public nor in the ConfigMap of caBundleConfigMapRef; put the \
                 certificate of the one that signed it there"
            }
            Self::AuthorityAsServer => {
                "is an authority's (CA:TRUE), which no server may show as its own (CaUsedAsEndEntity), also where \
                 caBundleConfigMapRef names it; make one for the server with basicConstraints CA:FALSE and the host in \
                 subjectAltName, let the authority sign it, and keep the authority's in caBundleConfigMapRef. Without an \
                 authority: make it self-signed with CA:FALSE, and name that one there"
            }
            Self::OtherName { names } if names.is_empty() => {
                "names no host in subjectAltName, and its common name does not count; make one with the host in \
                 subjectAltName"
            }
            Self::OtherName { names } => {
                let more = if names.len() > MAX_NAMES { " and others" } else { "" };
                let names = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
                return write!(f, "is for {names}{more}; ask for the server by such a name, or correct the certificate");
            }
            Self::OldVersion => {
                "is of an old version, without extensions; make one of version 3 with the host in subjectAltName"
            }
            Self::Expired => "has run out; renew it",
            Self::NotYetValid => "is not valid yet; compare the clocks of the server and of the operator's machine",
            Self::Other(why) => return write!(f, "is not good enough ({why}); correct the server's certificate"),
        })
    }
}

impl Distrust {
    /// What is wrong with the server's certificate, where that is why a request failed. `bundle` says whether the source
    /// names private certificates.
    pub(super) fn of(error: &(dyn std::error::Error + 'static), bundle: bool) -> Option<Self> {
        let Some(rustls::Error::InvalidCertificate(why)) = find::<rustls::Error>(error) else { return None };
        Some(match why {
            CertificateError::UnknownIssuer => Self::UnknownIssuer { bundle },
            // An authority of the same name with another key, as one that was made anew.
            CertificateError::BadSignature if bundle => Self::UnknownIssuer { bundle },
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::OtherName { names: presented.iter().map(|name| plain(name)).collect() }
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
                Some(webpki::Error::CaUsedAsEndEntity) => Self::AuthorityAsServer,
                Some(webpki::Error::UnsupportedCertVersion) => Self::OldVersion,
                _ => Self::Other(why.to_string()),
            },
            _ => Self::Other(why.to_string()),
        })
    }

    /// Whether it is about the name of the server alone.
    pub(super) fn is_of_the_name(&self) -> bool {
        matches!(self, Self::OtherName { .. })
    }
}

/// The name in what the library writes of one, `DnsName("files.example")`. It comes from outside.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}
