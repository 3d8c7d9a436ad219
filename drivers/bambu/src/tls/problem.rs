//! What can be wrong with a printer's certificate, and what a person can do about it. Texts from the certificate are
//! shortened and stripped of control characters, because anybody can put anything there.

use std::sync::Arc;

use rustls::{CertificateError, OtherError};

/// Why a certificate does not prove that a device is the printer it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Not a certificate, or one with something after it.
    #[error("its certificate cannot be read; this is no Bambu printer, or one this version does not know")]
    Malformed,
    /// No name, or more than one.
    #[error("its certificate has {count} names instead of one; this is no Bambu printer")]
    NotOneName {
        /// Common names in the subject.
        count: usize,
    },
    /// A name that is no serial number.
    #[error("the name in its certificate is no serial number; this is no Bambu printer")]
    NoSerialNumber,
    /// Another serial number.
    #[error(
        "another printer answers at this address: its certificate has the serial number {found}, not {expected}; \
         correct the address or the serial number"
    )]
    OtherPrinter {
        /// The name in the certificate.
        found: String,
        /// The serial number asked for.
        expected: String,
    },
    /// Before its time.
    #[error("its certificate is valid from {from}: check the clock of the machine this runs on")]
    NotYetValid {
        /// Begin of its validity.
        from: String,
    },
    /// After its time.
    #[error(
        "its certificate was valid until {until}: check the clock of the machine this runs on; if it is right and you \
         are sure that this is your printer, pin its public key, SHA-256 {public_key_sha256}"
    )]
    Expired {
        /// End of its validity.
        until: String,
        /// SHA-256 of the public key, in hexadecimal digits.
        public_key_sha256: String,
    },
    /// Signed by someone else.
    #[error(
        "its certificate is issued by \"{issuer}\", which is not one of the known authorities; if you are sure that \
         this is your printer, pin its public key, SHA-256 {public_key_sha256}"
    )]
    UnknownIssuer {
        /// The name of the issuer.
        issuer: String,
        /// SHA-256 of the public key, in hexadecimal digits.
        public_key_sha256: String,
    },
    /// It says that a known authority signed it, but that is not so.
    #[error(
        "its certificate is forged or damaged: \"{issuer}\" did not sign it; find out what answers at this address"
    )]
    BadSignature {
        /// The name of the issuer.
        issuer: String,
    },
    /// It shows a certificate, which anybody can copy, but has not the key that belongs to it.
    #[error(
        "it shows this printer's certificate but does not have its key: something pretends to be the printer; find out \
         what answers at this address"
    )]
    NotItsKey,
    /// Another key than the pinned one.
    #[error(
        "it has another public key than the pinned one; if the printer's mainboard was replaced, pin the new key, \
         SHA-256 {public_key_sha256}; otherwise find out what answers at this address"
    )]
    OtherKey {
        /// SHA-256 of the public key, in hexadecimal digits.
        public_key_sha256: String,
    },
}

impl From<CertificateProblem> for rustls::Error {
    fn from(problem: CertificateProblem) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(problem))))
    }
}

impl CertificateProblem {
    /// The problem that a failed handshake carries, if that is why it failed.
    pub(crate) fn within(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref::<Self>().cloned()
            }
            _ => None,
        }
    }
}
