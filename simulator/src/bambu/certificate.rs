//! The simulated maker's certificate authority and the printers' certificates.
//!
//! A leaf is X.509 version 1: no extensions, so no alternative names; its common name is the serial number. That is
//! what X1, P1 and A1 send, and what generators of modern certificates cannot write. Keys are P-256 where the real ones
//! are RSA-2048. Keys live in memory only.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use sha2::{Digest, Sha256};

use super::der::{bit_string, element, integer, object_identifier, sequence, set, utc_time, utf8_string};
use crate::{Error, hex::hex};

/// Object identifiers, encoded: ecdsa-with-SHA256, ecPublicKey, prime256v1, country, organization, common name,
/// basicConstraints.
const ECDSA_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const PRIME256V1: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const COUNTRY: [u8; 3] = [0x55, 4, 6];
const ORGANIZATION: [u8; 3] = [0x55, 4, 10];
const COMMON_NAME: [u8; 3] = [0x55, 4, 3];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];

const VALID_FROM: &str = "220404000000Z";
const VALID_UNTIL: &str = "420404000000Z";
const EXPIRED: &str = "230404000000Z";

/// A key pair, kept also in the form TLS wants.
pub(crate) struct DeviceKey {
    pair: EcdsaKeyPair,
    pub(crate) pkcs8: Vec<u8>,
}

/// Who signs the printers' certificates.
pub(crate) struct Authority {
    key: DeviceKey,
    name: Vec<u8>,
    certificate: Vec<u8>,
}

impl DeviceKey {
    pub(crate) fn generate() -> Result<Self, Error> {
        let random = SystemRandom::new();
        let failed = |_| Error::Certificate;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|_| Error::Certificate)?;
        Ok(Self { pair, pkcs8: pkcs8.as_ref().to_vec() })
    }

    /// The DER SubjectPublicKeyInfo.
    fn public_key_info(&self) -> Vec<u8> {
        let algorithm = sequence(&[&object_identifier(&EC_PUBLIC_KEY), &object_identifier(&PRIME256V1)]);
        sequence(&[&algorithm, &bit_string(self.pair.public_key().as_ref())])
    }

    /// SHA-256 of the SubjectPublicKeyInfo, lower-case hex.
    pub(crate) fn public_key_sha256(&self) -> String {
        hex(&Sha256::digest(self.public_key_info()))
    }
}

impl Authority {
    /// The maker's.
    pub(crate) fn simulated() -> Result<Self, Error> {
        Self::new("SIMULATED CA")
    }

    /// A new authority with a certificate of its own: version 3, and like the real one without a key usage.
    pub(crate) fn new(common_name: &str) -> Result<Self, Error> {
        let key = DeviceKey::generate()?;
        let name = sequence(&[
            &attribute(&COUNTRY, "XX"),
            &attribute(&ORGANIZATION, "Simulated Printers"),
            &attribute(&COMMON_NAME, common_name),
        ]);
        let is_authority = element(0x01, &[0xff]);
        let constraints = element(0x04, &sequence(&[&is_authority]));
        let extension = sequence(&[&object_identifier(&BASIC_CONSTRAINTS), &is_authority, &constraints]);
        let version = element(0xa0, &integer(&[2]));
        let extensions = element(0xa3, &sequence(&[&extension]));
        let body = [
            version,
            integer(&[1]),
            algorithm(),
            name.clone(),
            validity(VALID_UNTIL),
            name.clone(),
            key.public_key_info(),
            extensions,
        ];
        let certificate = sign(&key, &body)?;
        Ok(Self { key, name, certificate })
    }

    /// The authority's certificate, DER.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The authority's certificate, PEM.
    pub(crate) fn pem(&self) -> String {
        let text = STANDARD.encode(&self.certificate);
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// A version 1 certificate with this common name for this key, DER.
    pub(crate) fn issue(&self, common_name: &str, key: &DeviceKey, expired: bool) -> Result<Vec<u8>, Error> {
        let number: [u8; 8] = rand::random();
        let body = [
            integer(&number),
            algorithm(),
            self.name.clone(),
            validity(if expired { EXPIRED } else { VALID_UNTIL }),
            sequence(&[&attribute(&COMMON_NAME, common_name)]),
            key.public_key_info(),
        ];
        sign(&self.key, &body)
    }
}

fn attribute(kind: &[u8], value: &str) -> Vec<u8> {
    set(&sequence(&[&object_identifier(kind), &utf8_string(value)]))
}

fn algorithm() -> Vec<u8> {
    sequence(&[&object_identifier(&ECDSA_SHA256)])
}

fn validity(until: &str) -> Vec<u8> {
    sequence(&[&utc_time(VALID_FROM), &utc_time(until)])
}

fn sign(key: &DeviceKey, body: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    let body = element(0x30, &body.concat());
    let signature = key.pair.sign(&SystemRandom::new(), &body).map_err(|_| Error::Certificate)?;
    Ok(sequence(&[&body, &algorithm(), &bit_string(signature.as_ref())]))
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authority")
    }
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("DeviceKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::{certificate::X509Certificate, prelude::FromDer, x509::X509Version};

    use super::*;

    #[test]
    fn a_leaf_is_version_1_named_by_its_serial_number_and_signed_by_the_authority() {
        let authority = Authority::new("SIM CA").unwrap();
        let key = DeviceKey::generate().unwrap();
        let leaf = authority.issue("03919A000000001", &key, false).unwrap();
        let (rest, leaf) = X509Certificate::from_der(&leaf).unwrap();
        let (_, root) = X509Certificate::from_der(authority.certificate()).unwrap();
        assert!(rest.is_empty());
        assert_eq!((leaf.version(), leaf.extensions().len()), (X509Version::V1, 0));
        let names: Vec<_> = leaf.subject().iter_common_name().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(names, ["03919A000000001"]);
        assert_eq!(leaf.issuer(), root.subject());
        assert!(leaf.validity().is_valid() && root.is_ca());
        leaf.verify_signature(Some(root.public_key())).unwrap();
        root.verify_signature(None).unwrap();
        assert_eq!(hex(&Sha256::digest(leaf.public_key().raw)), key.public_key_sha256());
        let other = Authority::new("SIM CA").unwrap();
        let foreign = other.issue("03919A000000001", &key, true).unwrap();
        let (_, foreign) = X509Certificate::from_der(&foreign).unwrap();
        assert!(foreign.verify_signature(Some(root.public_key())).is_err());
        assert!(!foreign.validity().is_valid());
    }
}
