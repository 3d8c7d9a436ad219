//! What proves a printer and what does not. Every rule has a certificate that breaks exactly that rule.

use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};

use super::CertificateProblem as Problem;
use super::verifier::PrinterVerifier;
use crate::config::{SerialNumber, Trust};

#[path = "../../tests/common/certificates.rs"]
mod certificates;

use certificates::{Authority, Draft, names};

const SERIAL: &str = "03919A3B0100254";
/// 2026-11-21.
const NOW: u64 = 1_795_219_200;

fn check_at(trust: &Trust, leaf: &[u8], between: &[&[u8]], now: u64) -> Result<(), Problem> {
    let verifier = PrinterVerifier::new(SerialNumber::new(SERIAL).unwrap(), trust).unwrap();
    let between: Vec<CertificateDer<'_>> = between.iter().map(|der| CertificateDer::from(*der)).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    verifier.check(&CertificateDer::from(leaf), &between, now)
}

fn check(trust: &Trust, leaf: &[u8], between: &[&[u8]]) -> Result<(), Problem> {
    check_at(trust, leaf, between, NOW)
}

fn trusting(authority: &Authority) -> Trust {
    Trust::Authorities(vec![authority.certificate().into()])
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn hash(key: &KeyPair) -> [u8; 32] {
    Sha256::digest(key.subject_public_key_info()).into()
}

#[test]
fn a_printer_is_proven_by_its_serial_number_and_an_authority_we_know() {
    let ca = Authority::new("Test CA");
    assert_eq!(check(&trusting(&ca), &Draft::default().signed(&key(), &ca), &[]), Ok(()));
}

#[test]
fn another_printer_at_the_address_is_named() {
    let ca = Authority::new("Test CA");
    let other = |name: &str| check(&trusting(&ca), &Draft::of(name).signed(&key(), &ca), &[]);
    let problem = other("03919A3B0100255").unwrap_err();
    assert_eq!(problem, Problem::OtherPrinter { found: "03919A3B0100255".into(), expected: SERIAL.into() });
    assert!(problem.to_string().contains("another printer answers at this address"), "{problem}");
    for name in ["03919a3b0100254", "03919A3B0100254 ", "03919A3B010025", "03919A3B0100254\0.x", ""] {
        assert!(matches!(other(name), Err(Problem::OtherPrinter { .. })), "{name:?}");
    }
}

#[test]
fn no_name_and_two_names_prove_nothing() {
    let ca = Authority::new("Test CA");
    for list in [&[][..], &[SERIAL, SERIAL], &[SERIAL, "x"], &["x", SERIAL]] {
        let leaf = Draft { subject: names(list), ..Draft::default() }.signed(&key(), &ca);
        assert_eq!(check(&trusting(&ca), &leaf, &[]), Err(Problem::NotOneName { count: list.len() }));
    }
}

#[test]
fn an_unknown_authority_is_refused_with_the_key_that_could_be_pinned() {
    let (ca, stranger, own) = (Authority::new("Test CA"), Authority::new("Other CA"), key());
    let leaf = Draft::default().signed(&own, &stranger);
    let problem = check(&trusting(&ca), &leaf, &[]).unwrap_err();
    assert!(matches!(&problem, Problem::UnknownIssuer { issuer, .. } if issuer.contains("Other CA")), "{problem:?}");
    assert!(problem.to_string().contains(&super::hex(&hash(&own))), "{problem}");
    assert_eq!(check(&Trust::PinnedKey(hash(&own)), &leaf, &[]), Ok(()), "the advice works");
}

#[test]
fn who_only_bears_the_name_of_an_authority_is_a_forger() {
    let (ca, impostor) = (Authority::new("Test CA"), Authority::new("Test CA"));
    let forged = Draft::default().signed(&key(), &impostor);
    assert!(matches!(check(&trusting(&ca), &forged, &[]), Err(Problem::BadSignature { .. })));
    // Nor does it help to send the impostor's certificate along.
    let sent_along = impostor.certificate();
    assert!(matches!(check(&trusting(&ca), &forged, &[&sent_along]), Err(Problem::BadSignature { .. })));
    let both = Trust::Authorities(vec![ca.certificate().into(), impostor.certificate().into()]);
    assert_eq!(check(&both, &forged, &[]), Ok(()), "two authorities may bear one name");
}

#[test]
fn a_changed_certificate_is_no_certificate() {
    let ca = Authority::new("Test CA");
    let leaf = Draft::default().signed(&key(), &ca);
    // The name of the algorithm between the signed part and the signature is covered by neither.
    let algorithm = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let between = leaf.windows(algorithm.len()).rposition(|window| window == algorithm).unwrap();
    for index in (0..between).chain(between + algorithm.len()..leaf.len()) {
        let mut changed = leaf.clone();
        changed[index] ^= 1;
        assert!(check(&trusting(&ca), &changed, &[]).is_err(), "bit of byte {index}");
    }
    let longer = [&leaf[..], &[0]].concat();
    assert_eq!(check(&trusting(&ca), &longer, &[]), Err(Problem::Malformed));
    assert_eq!(check(&trusting(&ca), &leaf[..leaf.len() - 1], &[]), Err(Problem::Malformed));
    assert_eq!(check(&trusting(&ca), b"", &[]), Err(Problem::Malformed));
}

#[test]
fn the_algorithm_outside_the_signed_part_is_the_one_inside() {
    let ca = Authority::new("Test CA");
    let leaf = Draft { two_algorithms: true, ..Draft::default() }.signed(&key(), &ca);
    assert!(matches!(check(&trusting(&ca), &leaf, &[]), Err(Problem::BadSignature { .. })));
}

#[test]
fn certificates_have_their_time_and_the_clock_is_named_as_a_suspect() {
    let (ca, own) = (Authority::new("Test CA"), key());
    let leaf = Draft { from: "261121", until: "261122", ..Draft::default() }.signed(&own, &ca);
    let at = |now| check_at(&trusting(&ca), &leaf, &[], now);
    let (from, until) = (1_795_219_200, 1_795_305_600);
    assert!(matches!(at(from - 1), Err(Problem::NotYetValid { .. })));
    assert_eq!((at(from), at(until)), (Ok(()), Ok(())));
    let expired = at(until + 1).unwrap_err();
    assert!(matches!(expired, Problem::Expired { .. }));
    let text = expired.to_string();
    assert!(text.contains("clock") && text.contains(&super::hex(&hash(&own))), "{text}");
}

#[test]
fn an_authority_we_know_may_name_another_one_but_a_printer_may_not() {
    let root = Authority::new("Test Root");
    let device_ca = Authority::new("Test Device CA");
    let leaf = Draft::default().signed(&key(), &device_ca);
    let between = |draft: Draft| Draft { subject: device_ca.name.clone(), ..draft }.signed(&device_ca.key, &root);
    let with = |certificate: &[u8]| check(&trusting(&root), &leaf, &[certificate]);
    let proper = Draft { constraints: Some(true), ..Draft::default() };

    assert_eq!(with(&between(proper.clone())), Ok(()));
    let unknown = |result| assert!(matches!(result, Err(Problem::UnknownIssuer { .. })), "{result:?}");
    unknown(check(&trusting(&root), &leaf, &[]));
    unknown(with(&between(Draft { constraints: None, ..proper.clone() })));
    unknown(with(&between(Draft { constraints: Some(false), ..proper.clone() })));
    unknown(with(&between(Draft { unknown_critical: true, ..proper.clone() })));
    unknown(with(&between(Draft { until: "260101", ..proper.clone() })));
    let impostor = Authority::new("Test Root");
    let by_impostor = Draft { subject: device_ca.name.clone(), ..proper.clone() }.signed(&device_ca.key, &impostor);
    unknown(with(&by_impostor));
    let other_key = Draft { subject: device_ca.name.clone(), ..proper }.signed(&key(), &root);
    unknown(with(&other_key));
}

#[test]
fn a_pinned_key_proves_the_printer_whoever_signed_and_whatever_the_time() {
    let (stranger, own) = (Authority::new("Other CA"), key());
    let old = Draft { from: "200101", until: "210101", ..Draft::default() };
    assert_eq!(check(&Trust::PinnedKey(hash(&own)), &old.signed(&own, &stranger), &[]), Ok(()));
    let other = key();
    let problem = check(&Trust::PinnedKey(hash(&own)), &old.signed(&other, &stranger), &[]).unwrap_err();
    assert_eq!(problem, Problem::OtherKey { public_key_sha256: super::hex(&hash(&other)) });
    let other_name = Draft::of("03919A3B0100255").signed(&own, &stranger);
    assert!(matches!(check(&Trust::PinnedKey(hash(&own)), &other_name, &[]), Err(Problem::OtherPrinter { .. })));
}

#[test]
fn only_bambus_authorities_are_trusted_by_default_and_nobody_who_takes_their_name() {
    let stranger = Authority::new("Test CA");
    let leaf = Draft::default().signed(&key(), &stranger);
    assert!(matches!(check(&Trust::BambuCa, &leaf, &[]), Err(Problem::UnknownIssuer { .. })));
    let name = super::bambu_authorities::all()[0].subject.clone();
    let impostor = Authority { name, key: key() };
    let forged = Draft::default().signed(&key(), &impostor);
    assert!(matches!(check(&Trust::BambuCa, &forged, &[]), Err(Problem::BadSignature { .. })));
}

#[test]
fn an_authority_that_is_no_certificate_is_an_error_and_not_left_out() {
    let trust = Trust::Authorities(vec![CertificateDer::from(vec![1, 2, 3])]);
    assert!(PrinterVerifier::new(SerialNumber::new(SERIAL).unwrap(), &trust).is_err());
}

#[test]
fn a_serial_number_of_digits_only_is_no_host_name_and_no_error() {
    use rustls::pki_types::ServerName;
    let name = |text: &str| super::server_name(&SerialNumber::new(text).unwrap());
    assert!(matches!(name(SERIAL), ServerName::DnsName(_)));
    assert!(matches!(name("0391900000000"), ServerName::IpAddress(_)));
}

#[test]
fn a_printer_that_is_only_looked_at_says_whose_it_is_and_whether_that_is_proven() {
    let (ca, stranger, own) = (Authority::new("Test CA"), Authority::new("Other CA"), key());
    let look = |leaf: Vec<u8>| {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        super::identify::shown(&[CertificateDer::from(leaf)], &trusting(&ca), now).unwrap()
    };
    let proven = look(Draft::default().signed(&own, &ca)).unwrap();
    assert_eq!((proven.serial_number.as_str(), proven.problem), (SERIAL, None));
    assert_eq!(proven.public_key_sha256, super::hex(&hash(&own)));
    let unproven = look(Draft::default().signed(&own, &stranger)).unwrap();
    assert!(matches!(unproven.problem, Some(Problem::UnknownIssuer { .. })), "{unproven:?}");
    assert_eq!(look(Draft::of("router.home").signed(&own, &ca)), Err(Problem::NoSerialNumber));
    let two = Draft { subject: names(&[SERIAL, SERIAL]), ..Draft::default() }.signed(&own, &ca);
    assert_eq!(look(two), Err(Problem::NotOneName { count: 2 }));
    assert_eq!(look(b"none".to_vec()), Err(Problem::Malformed));
}
