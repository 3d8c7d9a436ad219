//! Certificates as printers have them: X.509 version 1, one common name, no alternative names. No library makes those,
//! so they are put together here from RFC 5280 section 4.1, with every mistake a test may want.

use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData as _, SigningKey as _};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag, construct_der};

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const ECDSA_WITH_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
const SHA256_WITH_RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 11];

/// Somebody who signs.
pub struct Authority {
    pub name: Vec<u8>,
    pub key: KeyPair,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self { name: names(&[name]), key: KeyPair::generate().unwrap() }
    }

    /// Its own certificate, signed by itself.
    pub fn certificate(&self) -> Vec<u8> {
        Draft { subject: self.name.clone(), ..Draft::default() }.signed(&self.key, self)
    }
}

/// A certificate to be signed. The default is one of a printer made in 2024.
#[derive(Clone)]
pub struct Draft {
    pub subject: Vec<u8>,
    /// Two digits each for year, month, day.
    pub from: &'static str,
    pub until: &'static str,
    /// Version 3, with these basic constraints: whether it is an authority.
    pub constraints: Option<bool>,
    /// An extension of version 3 that nobody knows and that must be understood.
    pub unknown_critical: bool,
    /// The algorithm inside the signed part is another than outside.
    pub two_algorithms: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            subject: names(&["03919A3B0100254"]),
            from: "240101",
            until: "340101",
            constraints: None,
            unknown_critical: false,
            two_algorithms: false,
        }
    }
}

impl Draft {
    pub fn of(name: &str) -> Self {
        Self { subject: names(&[name]), ..Self::default() }
    }

    /// DER of the certificate for this key.
    pub fn signed(&self, key: &KeyPair, authority: &Authority) -> Vec<u8> {
        let algorithm = |writer: DERWriter<'_>, other: bool| {
            let rsa = authority.key.algorithm() == &PKCS_RSA_SHA256;
            writer.write_sequence(|writer| {
                let oid = if rsa == other { ECDSA_WITH_SHA256 } else { SHA256_WITH_RSA };
                writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
                if rsa {
                    writer.next().write_null();
                }
            });
        };
        let version_3 = self.constraints.is_some() || self.unknown_critical;
        let to_be_signed = construct_der(|writer| {
            writer.write_sequence(|writer| {
                if version_3 {
                    writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
                }
                writer.next().write_u32(4711);
                algorithm(writer.next(), self.two_algorithms);
                writer.next().write_der(&authority.name);
                writer.next().write_sequence(|writer| {
                    writer.next().write_der(&time(self.from));
                    writer.next().write_der(&time(self.until));
                });
                writer.next().write_der(&self.subject);
                writer.next().write_der(&key.subject_public_key_info());
                if version_3 {
                    writer.next().write_tagged(Tag::context(3), |writer| self.extensions(writer));
                }
            });
        });
        let signature = authority.key.sign(&to_be_signed).unwrap();
        construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&to_be_signed);
                algorithm(writer.next(), false);
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        })
    }

    fn extensions(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|writer| {
            let mut extension = |oid: &[u64], value: &[u8]| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
                    writer.next().write_bool(true);
                    writer.next().write_bytes(value);
                });
            };
            if let Some(authority) = self.constraints {
                let constraints = construct_der(|writer| {
                    writer.write_sequence(|writer| {
                        if authority {
                            writer.next().write_bool(true);
                        }
                    });
                });
                extension(BASIC_CONSTRAINTS, &constraints);
            }
            if self.unknown_critical {
                extension(&[1, 2, 3, 4], &[5, 0]);
            }
        });
    }
}

/// A distinguished name of common names.
pub fn names(names: &[&str]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            for name in names {
                writer.next().write_set(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&ObjectIdentifier::from_slice(COMMON_NAME));
                        writer.next().write_utf8_string(name);
                    });
                });
            }
        });
    })
}

/// A UTCTime at midnight.
fn time(day: &str) -> Vec<u8> {
    [&[0x17, 13], day.as_bytes(), b"000000Z"].concat()
}
