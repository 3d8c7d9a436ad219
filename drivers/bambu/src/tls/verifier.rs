//! Decides whether a certificate proves that a device is one certain printer. Printers up to the X1, P1 and A1 present
//! X.509 version 1 leaves without alternative names, which webpki refuses, so the check is ours: exactly one common
//! name, byte for byte the serial number; validity; issuer and signature, directly or over one intermediate authority.
//! It looks at no host name, and lets nothing unproven pass but for who only looks and sends nothing (identify.rs).
//! Facts: OpenBambuAPI tls.md; RFC 5280 sections 4.1 and 6.1.

use std::borrow::Cow;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{DigitallySignedStruct, PeerMisbehaved, SignatureScheme};
use sha2::{Digest, Sha256};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE};
use x509_parser::x509::X509Version;

use super::authority::{Authority, parse, signed_by};
use super::problem::CertificateProblem;
use super::{bambu_authorities, hex};
use crate::config::{SerialNumber, Trust};
use crate::error::{Error, clean_text};

#[derive(Debug)]
enum Proof {
    IssuedBy(Cow<'static, [Authority]>),
    Key([u8; 32]),
}

/// Checks one printer's certificate.
#[derive(Debug)]
pub(super) struct PrinterVerifier {
    serial: SerialNumber,
    proof: Proof,
}

impl PrinterVerifier {
    pub(super) fn new(serial: SerialNumber, trust: &Trust) -> Result<Self, Error> {
        let proof = match trust {
            Trust::BambuCa => Proof::IssuedBy(Cow::Borrowed(bambu_authorities::all())),
            Trust::Authorities(list) => {
                let authorities: Option<Vec<Authority>> = list.iter().map(Authority::from_certificate).collect();
                let mut authorities = authorities
                    .ok_or_else(|| Error::protocol("preparing TLS", "a given authority is not a certificate"))?;
                authorities.extend_from_slice(bambu_authorities::all());
                Proof::IssuedBy(authorities.into())
            }
            Trust::PinnedKey(hash) => Proof::Key(*hash),
        };
        Ok(Self { serial, proof })
    }

    /// The whole check, with the time as an argument.
    pub(super) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateProblem> {
        let leaf = parse(leaf).ok_or(CertificateProblem::Malformed)?;
        self.check_name(&leaf)?;
        match &self.proof {
            Proof::Key(pinned) => {
                let hash = key_hash(&leaf);
                if hash == *pinned {
                    return Ok(());
                }
                Err(CertificateProblem::OtherKey { public_key_sha256: hex(&hash) })
            }
            Proof::IssuedBy(authorities) => {
                check_issuer(&leaf, intermediates, authorities, now)?;
                check_validity(&leaf, now)
            }
        }
    }

    fn check_name(&self, leaf: &X509Certificate<'_>) -> Result<(), CertificateProblem> {
        let name = only_name(leaf)?;
        if name == self.serial.as_str().as_bytes() {
            return Ok(());
        }
        let found = clean_text(&String::from_utf8_lossy(name));
        Err(CertificateProblem::OtherPrinter { found, expected: self.serial.to_string() })
    }
}

/// The one common name of a certificate.
pub(super) fn only_name<'a>(leaf: &'a X509Certificate<'_>) -> Result<&'a [u8], CertificateProblem> {
    let mut names = leaf.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.as_slice()),
        _ => Err(CertificateProblem::NotOneName { count: leaf.subject().iter_common_name().count() }),
    }
}

fn check_issuer(
    leaf: &X509Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &[Authority],
    now: UnixTime,
) -> Result<(), CertificateProblem> {
    let issuer = || clean_text(&leaf.issuer().to_string());
    let mut named = authorities.iter().filter(|authority| authority.is_named_by(leaf)).peekable();
    if named.peek().is_some() {
        // Two authorities may bear one name, when a key was renewed.
        let signed = named.any(|authority| authority.signed(leaf));
        return if signed { Ok(()) } else { Err(CertificateProblem::BadSignature { issuer: issuer() }) };
    }
    let over_an_intermediate = intermediates.iter().filter_map(parse).any(|between| {
        between.subject().as_raw() == leaf.issuer().as_raw()
            && may_issue(&between)
            && check_validity(&between, now).is_ok()
            && signed_by(leaf, &SubjectPublicKeyInfoDer::from(between.public_key().raw))
            && authorities.iter().any(|authority| authority.is_named_by(&between) && authority.signed(&between))
    });
    if over_an_intermediate {
        return Ok(());
    }
    Err(CertificateProblem::UnknownIssuer { issuer: issuer(), public_key_sha256: hex(&key_hash(leaf)) })
}

/// Whether the holder of this certificate may sign others: a printer's own certificate must never do. One with a
/// critical extension that is not understood here may not either (RFC 5280 4.2).
fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let understood =
        |oid: &x509_parser::der_parser::Oid<'_>| [OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE].contains(oid);
    let is_authority = matches!(certificate.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca);
    let may_sign = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    certificate.version() == X509Version::V3
        && is_authority
        && may_sign
        && certificate.extensions().iter().all(|extension| !extension.critical || understood(&extension.oid))
}

fn check_validity(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), CertificateProblem> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateProblem::NotYetValid { from: validity.not_before.to_string() });
    }
    if now > validity.not_after.timestamp() {
        let public_key_sha256 = hex(&key_hash(certificate));
        return Err(CertificateProblem::Expired { until: validity.not_after.to_string(), public_key_sha256 });
    }
    Ok(())
}

/// SHA-256 of the public key.
pub(super) fn key_hash(certificate: &X509Certificate<'_>) -> [u8; 32] {
    Sha256::digest(certificate.public_key().raw).into()
}

/// What a certificate must prove in a handshake.
#[derive(Debug)]
pub(super) enum Demand {
    /// That the device is this printer.
    Printer(PrinterVerifier),
    /// Nothing: whoever asks only looks at it, and sends nothing after the handshake (identify.rs).
    Nothing,
}

/// What rustls asks during a handshake. Whatever the certificate must prove, the device must have its key.
#[derive(Debug)]
pub(super) struct HandshakeVerifier {
    demand: Demand,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HandshakeVerifier {
    pub(super) fn new(demand: Demand) -> Self {
        Self { demand, algorithms: rustls::crypto::ring::default_provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for HandshakeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.demand {
            Demand::Printer(printer) => printer.check(end_entity, intermediates, now)?,
            Demand::Nothing => {}
        }
        Ok(ServerCertVerified::assertion())
    }

    /// Whether the device has the key of its certificate. rustls' own function reads the certificate with webpki, which
    /// refuses version 1; so only the key is handed on.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let leaf = parse(cert).ok_or(CertificateProblem::Malformed)?;
        let public_key = SubjectPublicKeyInfoDer::from(leaf.public_key().raw);
        let key = RawPublicKeyEntity::try_from(&public_key).map_err(|_| CertificateProblem::Malformed)?;
        let (_, algorithms) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        if algorithms.iter().any(|algorithm| key.verify_signature(*algorithm, message, dss.signature()).is_ok()) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateProblem::NotItsKey.into())
    }

    /// TLS 1.3 is never offered.
    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
