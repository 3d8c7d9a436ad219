//! Who may sign for a printer: a name and a public key, as a trust anchor is in RFC 5280. Where it is from (the maker's
//! list or a caller's certificate) makes no difference. Signatures are checked with the algorithms of ring, never SHA-1.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use webpki::ring::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384,
};
use x509_parser::prelude::FromDer;

/// Somebody whose signature under a certificate counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    /// DER of its name.
    pub(super) subject: Vec<u8>,
    /// DER of its SubjectPublicKeyInfo.
    pub(super) public_key: SubjectPublicKeyInfoDer<'static>,
}

impl Authority {
    /// The subject of a certificate; `None` if it cannot be read.
    pub(super) fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = parse(certificate)?;
        Some(Self {
            subject: parsed.subject().as_raw().to_vec(),
            public_key: SubjectPublicKeyInfoDer::from(parsed.public_key().raw.to_vec()),
        })
    }

    /// Whether the certificate names this authority as its issuer.
    pub(super) fn is_named_by(&self, certificate: &X509Certificate<'_>) -> bool {
        certificate.issuer().as_raw() == self.subject
    }

    /// Whether it signed the certificate.
    pub(super) fn signed(&self, certificate: &X509Certificate<'_>) -> bool {
        signed_by(certificate, &self.public_key)
    }
}

/// A whole certificate without anything after it.
pub(super) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Some(parsed),
        _ => None,
    }
}

/// Whether the key signed the certificate.
pub(super) fn signed_by(certificate: &X509Certificate<'_>, public_key: &SubjectPublicKeyInfoDer<'_>) -> bool {
    // RFC 5280 4.1.1.2: the algorithm inside the signed part is the one outside.
    if certificate.signature_algorithm != certificate.tbs_certificate.signature {
        return false;
    }
    let oid = &certificate.signature_algorithm.algorithm;
    let algorithms: &[&dyn SignatureVerificationAlgorithm] = if *oid == OID_PKCS1_SHA256WITHRSA {
        &[RSA_PKCS1_2048_8192_SHA256]
    } else if *oid == OID_PKCS1_SHA384WITHRSA {
        &[RSA_PKCS1_2048_8192_SHA384]
    } else if *oid == OID_PKCS1_SHA512WITHRSA {
        &[RSA_PKCS1_2048_8192_SHA512]
    } else if *oid == OID_SIG_ECDSA_WITH_SHA256 {
        &[ECDSA_P256_SHA256, ECDSA_P384_SHA256]
    } else if *oid == OID_SIG_ECDSA_WITH_SHA384 {
        &[ECDSA_P256_SHA384, ECDSA_P384_SHA384]
    } else {
        return false;
    };
    let Ok(key) = RawPublicKeyEntity::try_from(public_key) else { return false };
    let signature = &certificate.signature_value;
    if signature.unused_bits != 0 {
        return false;
    }
    let signed = certificate.tbs_certificate.as_ref();
    algorithms.iter().any(|algorithm| key.verify_signature(*algorithm, signed, &signature.data).is_ok())
}
