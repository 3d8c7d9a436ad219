//! What a caller must say about one printer before anything is sent: where it is, who it is, how it proves that, and
//! how long we wait. It never resolves names: the caller hands in socket addresses, so that the caller's allow-lists
//! are what is connected to. Serial numbers are upper case because the printer's topics are case-sensitive.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;

/// The most certificates a PEM text of authorities may have.
const AUTHORITIES_MAX: usize = 64;

/// Everything needed to talk to one printer. `Debug` never shows the access code.
#[derive(Debug, Clone)]
pub struct Config {
    /// The printer's MQTT broker, port 8883 on the device.
    pub mqtt: SocketAddr,
    /// The printer's FTPS server, port 990 on the device.
    pub ftps: SocketAddr,
    /// Whom the certificate must name, and part of every topic.
    pub serial_number: SerialNumber,
    /// The 8-character code from the printer's screen. It changes when LAN-only or Developer Mode is switched.
    pub access_code: SecretString,
    /// How the printer proves who it is.
    pub trust: Trust,
    /// How long each kind of call may take.
    pub timeouts: Timeouts,
}

/// How a printer proves who it is. In every form the certificate must name the serial number.
#[derive(Clone)]
pub enum Trust {
    /// Bambu Lab's certificate authorities, whose public keys are part of this crate.
    BambuCa,
    /// Bambu Lab's certificate authorities, and these.
    Authorities(Vec<CertificateDer<'static>>),
    /// One public key: the SHA-256 of its DER SubjectPublicKeyInfo. Issuer and validity are not looked at.
    PinnedKey([u8; 32]),
}

/// Why a text has no usable authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// Not PEM.
    #[error("not a PEM text of certificates: it must have blocks that begin with -----BEGIN CERTIFICATE-----")]
    Malformed,
    /// No certificate in it.
    #[error("the PEM text has no certificate")]
    Empty,
    /// Too many.
    #[error("the PEM text has more than {AUTHORITIES_MAX} certificates")]
    TooMany,
}

impl Trust {
    /// The authorities in a PEM text.
    pub fn authorities_from_pem(pem: &[u8]) -> Result<Self, AuthoritiesError> {
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            if certificates.len() == AUTHORITIES_MAX {
                return Err(AuthoritiesError::TooMany);
            }
            certificates.push(certificate.map_err(|_| AuthoritiesError::Malformed)?);
        }
        if certificates.is_empty() { Err(AuthoritiesError::Empty) } else { Ok(Self::Authorities(certificates)) }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BambuCa => formatter.write_str("BambuCa"),
            Self::Authorities(list) => write!(formatter, "Authorities({})", list.len()),
            Self::PinnedKey(hash) => write!(formatter, "PinnedKey({})", crate::tls::hex(hash)),
        }
    }
}

/// A printer's serial number: 8 to 32 capital letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SerialNumber(String);

/// Why a text is no serial number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a serial number: write the 8 to 32 capital letters and digits that the printer shows under Settings > Device"
)]
pub struct SerialNumberError;

impl SerialNumber {
    /// Checks the form; nothing is corrected, because the printer compares byte by byte.
    pub fn new(text: &str) -> Result<Self, SerialNumberError> {
        let fits = (8..=32).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SerialNumberError)
        }
    }

    /// The number as the printer writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How long each kind of call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Opening a TCP connection.
    pub connect: Duration,
    /// The TLS handshake on an open connection.
    pub handshake: Duration,
    /// The broker's answer to CONNECT, SUBSCRIBE and PINGREQ.
    pub answer: Duration,
    /// The full report after it was asked for. A broker that accepts everything and stays silent has another serial
    /// number, or too many clients.
    pub full_report: Duration,
    /// The printer's answer that shows that what we publish arrives.
    pub echo: Duration,
    /// A command from its first byte to the kernel's hands; also the kernel's limit for unacknowledged bytes of it.
    pub send: Duration,
    /// How long a command's caller waits for the printer's answer; a pause, resume or stop has this time from before its
    /// first byte. Some firmware never answers.
    pub acknowledgement: Duration,
    /// Without a report for this long the printer is asked for a full one; without an answer the connection ends.
    pub silence: Duration,
    /// Between two pings; also how long other bytes may stay unacknowledged.
    pub keep_alive: Duration,
    /// Between full reports that nobody asked for. Not less than 5 minutes on a device: each is a load on P1 printers.
    pub refresh: Duration,
    /// Between full reports that are asked for because a partial one says that something has changed of which it tells
    /// only a part.
    pub doubt: Duration,
    /// After a start was sent silence does not end the connection for this long: a reconnect while a P1P reads a new
    /// job made it fail.
    pub hold_after_start: Duration,
    /// FTPS: one reply on the control connection, the last one after an upload aside.
    pub transfer_reply: Duration,
    /// FTPS: a transfer that moves no byte for this long has stalled.
    pub transfer_stall: Duration,
    /// FTPS: the reply after the last byte of an upload; H2D printers need more than 30 s.
    pub transfer_end: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(5),
            handshake: seconds(10),
            answer: seconds(10),
            full_report: seconds(15),
            echo: seconds(10),
            send: seconds(3),
            acknowledgement: seconds(5),
            silence: seconds(60),
            keep_alive: seconds(25),
            refresh: seconds(300),
            doubt: seconds(60),
            hold_after_start: seconds(300),
            transfer_reply: seconds(20),
            transfer_stall: seconds(30),
            transfer_end: seconds(90),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_taken_as_the_printer_writes_it_or_not_at_all() {
        assert_eq!(SerialNumber::new("03919A3B0100254").unwrap().as_str(), "03919A3B0100254");
        for text in ["03919a3b0100254", "0391", "", "03919A3B0100254 ", "03919A3B/#", &"0".repeat(33)] {
            assert_eq!(SerialNumber::new(text), Err(SerialNumberError), "{text}");
        }
    }

    #[test]
    fn a_pem_text_without_a_certificate_is_no_authority() {
        assert_eq!(Trust::authorities_from_pem(b"").unwrap_err(), AuthoritiesError::Empty);
        let broken = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        assert_eq!(Trust::authorities_from_pem(broken).unwrap_err(), AuthoritiesError::Malformed);
        let one = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let Trust::Authorities(list) = Trust::authorities_from_pem(one.as_bytes()).unwrap() else { panic!() };
        assert_eq!(list.len(), 1);
        let many = one.repeat(AUTHORITIES_MAX + 1);
        assert_eq!(Trust::authorities_from_pem(many.as_bytes()).unwrap_err(), AuthoritiesError::TooMany);
    }

    #[test]
    fn the_access_code_is_not_in_debug() {
        let config = Config {
            mqtt: "127.0.0.1:8883".parse().unwrap(),
            ftps: "127.0.0.1:990".parse().unwrap(),
            serial_number: SerialNumber::new("03919A3B0100254").unwrap(),
            access_code: "hunter2x".to_owned().into(),
            trust: Trust::PinnedKey([0xab; 32]),
            timeouts: Timeouts::default(),
        };
        let text = format!("{config:?}");
        assert!(!text.contains("hunter2") && text.contains("abab"), "{text}");
    }
}
