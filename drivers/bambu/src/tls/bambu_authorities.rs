//! Bambu Lab's certificate authorities, as facts: the name and the public key of each, in our own form. Validity of an
//! authority is not checked (RFC 5280 6.1: a trust anchor is a name and a key); that of a printer's certificate is.
//! Sources: OpenBambuAPI examples/ca_cert.pem for "BBL CA" and "BBL CA2"; ha-bambulab pybambu/certs for the device
//! authorities. Other models send their device authority along or must be pinned.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::SubjectPublicKeyInfoDer;

use super::authority::Authority;

/// One authority.
struct Fact {
    /// DER of its name, in hexadecimal digits.
    subject: &'static str,
    /// DER of its SubjectPublicKeyInfo, in base64.
    public_key: &'static str,
}

const FACTS: &[Fact] = &[
    // BBL CA, valid 2022-04-04 to 2032-04-01; signs X1, P1 and A1 printers.
    Fact {
        subject: concat!(
            "3042310b300906035504061302434e31223020060355040a0c1942424c20546563686e6f6c6f6769657320436f2e2c20",
            "4c7464310f300d06035504030c0642424c204341",
        ),
        public_key: concat!(
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAy96Zw3cRjpOWer7oIk+HaTNI7vt12rcc9PVGO5m4+LZCHW8uB6Hh",
            "HYmEmY3OSyZ4Cbgh8LRGwSbdQa4kXUlaxejPQ9lGgQ8mphKNHccEmlcWYg1Vgnngj3RC6RWXRIUjU2k+Du84L3JxbHxzGv9L",
            "zAJLxO4tKqd5oxM2C38+tGsXA6CS5Ke5+sSlyPnCWwOCJU6BY6UpXT5gvspzqO2ADrF7ewGCmOhpc9AcFFc0icVPv/lRcv0K",
            "5mBjcJa0LXURB3kYtEjSt9sdfmzp3XyT9LKI7iKw4yrHQi8nuQkmSL6p26MMFtY0cGYEwUdvWadp8wqMSWHFPU0kKf+Cmblj",
            "VQIDAQAB",
        ),
    },
    // BBL CA2 RSA, valid 2025-06-17 to 2050-06-17; signs the device authorities of newer models.
    Fact {
        subject: concat!(
            "3046310b300906035504061302434e3121301f060355040a0c1842424c20546563686e6f6c6f6769657320436f2e204c",
            "74643114301206035504030c0b42424c2043413220525341",
        ),
        public_key: concat!(
            "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAo4550G4c42gTKzQqixwKT089RizIdZpyOcGA679rPaOdWsMqVwnY",
            "PP2FpMqXKkjFbedE+SpGloi2NKCuiPNVRbq9PHOOZwTs7YLobOwf53FJuO6vRFpzFfX1tlc9zlFqJvZnYO9NgHpMysidocWc",
            "grDN/SIDywgPB5CVbYg3Vvzua9fwZx9e5KT9xd5IpTqdTrWS47jQOVKLhdQCbJFIlMrblOwLBAx+fHokwqh6tkI6Ktuyyjw8",
            "Dysebi1ndWjKtZ2mW47r8xZ/J+z3EZqcyJMY6MRtx/zb1jBFuHtkjrb5Kv1DMzSKlkaNJIbvC+Mk+hI97W+SjLSRuIdC7+oJ",
            "UzWaSzgu9cjXCVfmq8t4IL/35hP69PK95LgLectIrP96CYAT/aVMG19FrFW0QWEyfT+kzG4jkumfPbHqY2nNkEN0+tjj3h4W",
            "dzrWgQEojK/lhfcRFVkts74+aZoMpQP+vmL17CKmSzXk5o/eK21xgxJdzMbdztfTpibiXk0abfOpN+1VR+3NYa+bROAKNyGa",
            "ReEGsyW2bjcjNx515Vqzj3SVxhMSp5vfF9E4A1jE99M/l9jQDM6RzkT0lMccGAd5tUSdNvDlrqtQaQiKv/ZsXPgXLTWfOpva",
            "LNEgwdMgZMuhjpkwvAZyoYfeF9kyydjDh7bvrX//cz/VopAUlxUtQtMCAwEAAQ==",
        ),
    },
    // BBL CA2 ECC, valid 2025-06-17 to 2050-06-17; signs device authorities of newer models.
    Fact {
        subject: concat!(
            "3046310b300906035504061302434e3121301f060355040a0c1842424c20546563686e6f6c6f6769657320436f2e204c",
            "74643114301206035504030c0b42424c2043413220454343",
        ),
        public_key: concat!(
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEpKTF7wRSty4DXpGJzgCPwRh8ghLlxUC3qJbyEgLqTvJgbiwYAPPHK7kVbVme",
            "rkqhHOT4QeWRlTG3dOQGLA2VpQ==",
        ),
    },
    // BBL Device CA N7-V2, valid 2025-06-26 to 2040-06-26; P2S, which sends its leaf alone.
    Fact {
        subject: concat!(
            "304e310b300906035504061302434e3121301f060355040a0c1842424c20546563686e6f6c6f6769657320436f2e204c",
            "7464311c301a06035504030c1342424c20446576696365204341204e372d5632",
        ),
        public_key: concat!(
            "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEA1q/fVvmynVm4D1QtzktdXv5SknS+v/VuCM0odWHaQ8FhliXuaFUD",
            "5sHtN6gSUDU15KdcvfeS850SPd79F/N48AIWFhDqZa0nJnk2+Gv79ITkISaa8lBbpqwvDHd/k8beDQLN72pZFMWcekhCTl12",
            "B6vPgxxwPQtsqaFjpA0Ye+a/NkNtEPBEt0ZUlv/2H4masB/YaVf3Pfkmcsz8toGAYQCx99osGz9S6OJvF2WYDrhQwGXCT9Eb",
            "eqhdf2A8bTRqMXh2Eusfxs8Vwnex+HMZ0fGD24MKwxMvRJJ0ThwPRmEYDiR5EhoPuWdyFmZ+Cazg7AeNLo7FjTetsHNBuo61",
            "FSolrP+XrzRkdbJrxa2vbuyAApFK71WeK98MlUCO5b4mkMkenBDVLqSIyw5Q/aAB4PqDscAsixlOgE91fUlA3p0ZN3BK5BTi",
            "/oNue2v6/+krqYV5gBUcnx4ixYz5joaokCFrWM/Os7Fjo8iMVv/XGwH/UDa1VGV9wN5FU6TyuUYSl00SGpEt4/1jAqriqBU3",
            "B1dC+BhZ8huhCW19xI2kWsZDGcmEhxnoZfYmpD4AdMYoF/daUVPP3F4CSrjqLzXABUHBOMZJg5KAEb92j34ZycVnQfOB4SB1",
            "hKSoHcuT3UAjmR9FE13apfwwvynoCJzohW1szwKN5YzBBv/szamiQS0CAwEAAQ==",
        ),
    },
    // BBL Device CA O1C2-V2, valid 2025-07-15 to 2040-07-15; H2C.
    Fact {
        subject: concat!(
            "3050310b300906035504061302434e3121301f060355040a0c1842424c20546563686e6f6c6f6769657320436f2e204c",
            "7464311e301c06035504030c1542424c20446576696365204341204f3143322d5632",
        ),
        public_key: concat!(
            "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEArjEuS7nkfYUKZiq0H6l6VKeqvSIdTD31k2N5YPZKOWrGw8r+olSY",
            "GBhEvQZ6oiVFbHDVw8Dt6vg/Wb5yfa6WssH1pDtdQlPbS4IpfMvuyeg8A4ZzWHtZXpsw294fr0ggdHg5ZRxT1GQXWFhwNROb",
            "b8Ur1Hv+onxtxIltgAKvrp9kQv1OLCZv9DlVrJArhRWRHiMtNbVF9dyFf9Xltk7Ocdr59V2BtXGmPZMt2mBuWYPovbyS/ePI",
            "Fl5SBVbqNuLjBkUOyFaoV2rQEQCtFfr27JC/LI63rhmn4xCFI4bzQ6F2ikPBVNCu3yvpXTTPIEUva7k0bx/cZ1taRg6LqcEd",
            "aGNuHrzgx/BIX2Kmhjal0Tjwpz/+M/EJ44MmLm0yZtb9bS0T5+bP8z5Je/4bbC0RlvFGuHQ3qnr+PiYM+0tLnoZZv/seTfS6",
            "lLNk35qScL3Sc0+Pu2ir2yVwtbe+Lyio1HHI0ibYORqb36x2gx8zAuoTwL5bNBJMkVLYofb6VY7M+A1/ZHPwtaPxAyOn3dsw",
            "WfqGAJXnn00qAFiH4W2XJQaUm12GDFBA/YI2i2nVrOhpSoYu37tXjzRc7limH6vv3/qmAS7yBRyI4VadXSBmVXzEt3WTJvKF",
            "IeTRKCkhS24/FqXiBslre1aLm7M+bmvmlQdIVTlujTFfK0HSEWvkA00CAwEAAQ==",
        ),
    },
    // BBL Device CA N6-V2, valid 2025-06-26 to 2040-06-26; X2D.
    Fact {
        subject: concat!(
            "304e310b300906035504061302434e3121301f060355040a0c1842424c20546563686e6f6c6f6769657320436f2e204c",
            "7464311c301a06035504030c1342424c20446576696365204341204e362d5632",
        ),
        public_key: concat!(
            "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEA1NthATzLt/4+0iPVymkP9vK5zHWIqBCG928Wn5tmp+aTf5KohduZ",
            "eQ9n4z/fmo89SuJ0fEWQE1zCl9Bxl2WoxsykKO0y/kpSwqosZW9GT49sBNAyQ4RRz/GgJMDkfIYEIyQmuMMu73JU1rtodL0V",
            "ESmiNd7GHHIQouZOk5rvsiS9kla/A2zbb6jCPgUmyd+yuWUkDBU93LHAg1vNuiesi5WY0vqpf2f0cOM5LGDna7vtyfQd0T6k",
            "cydSha4iM3rA+gqoXEXChgDmjD1DBDgrAD6B4aZ4/WohGAvfP/Yi+342gXRTmyzS2Z0yUuxgiEwhXgaiDF1W1gfaURikgG3a",
            "pYTZ0fIBbGYsTtXixgve57ZCC+YT7quoYJ8q42TjDiWjK34DRg31EXE7HNim2Z2wXxUM8cWLEDhPzkALJwNMu3YNDQSWelw4",
            "bY3aBLT3V2aycKNelped+KQ1PFo1KS5hNDRHt36Zm85X8B9TqTNRFQ9I6UBmJ2iJJV2wNGD6ESng8nyWYJqW+3+uq9hEJR5n",
            "7RS8mFXRCUP5iiY0G9RSjE4b7NlTa+8ecP5EbgYkQCcqh35wxIOCh3xZ/GDkX0NMpLDZNbHT30uDFkX3fAtKcxQeYO+72U0M",
            "P6oOkVzmfSRRDKEXoStALOSoHkQ2wE92D3GMfBe8WRRhHH0DBIQgJEsCAwEAAQ==",
        ),
    },
];

/// All of them.
pub(super) fn all() -> &'static [Authority] {
    static ALL: LazyLock<Vec<Authority>> = LazyLock::new(|| FACTS.iter().filter_map(read).collect());
    &ALL
}

/// `None` only for a typing mistake above, which a test would find.
fn read(fact: &Fact) -> Option<Authority> {
    let subject: Option<Vec<u8>> =
        (0..fact.subject.len()).step_by(2).map(|i| u8::from_str_radix(fact.subject.get(i..i + 2)?, 16).ok()).collect();
    let public_key = STANDARD.decode(fact.public_key).ok()?;
    Some(Authority { subject: subject?, public_key: SubjectPublicKeyInfoDer::from(public_key) })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_authority_has_the_name_and_the_key_of_its_public_certificate() {
        let expected = [
            ("BBL CA", "f0a5b73b682dbcfa12ba76cd1bbbf69c0739bd38000a77d24eb292f58d816785"),
            ("BBL CA2 RSA", "1dbde4681e34f2bc5b43667b76e99a9d31d2908f32fb28a29d359d2c7a9f7d72"),
            ("BBL CA2 ECC", "fb3e35bc545f9b05fb3d0575bf1e35897b036badd124222d2cb2834c9c026420"),
            ("BBL Device CA N7-V2", "5987cbd63aec6e48d233b5153ee73e96ceb113337fb12d96346eb203f1ddf7c5"),
            ("BBL Device CA O1C2-V2", "a3be7bacc3214dd47b1a316484d629a5b0c7e77a3df31592ceed39dc77e25987"),
            ("BBL Device CA N6-V2", "d5d9d771a3b5a5ac0d1fcf5662fd503c9453ae8483e6dad5a11647fbe53dee82"),
        ];
        assert_eq!(all().len(), expected.len());
        for (authority, (name, hash)) in all().iter().zip(expected) {
            assert!(authority.subject.ends_with(name.as_bytes()), "{name}");
            assert_eq!(crate::tls::hex(&Sha256::digest(&authority.public_key)), hash, "{name}");
        }
    }
}
