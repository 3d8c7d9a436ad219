//! The certificates: right ones are accepted, wrong ones are wrong in one way each.

use printernizer_simulator::{Action, BambuFault, CertificateDefect, Fault, FaultKind, PrinterHandle};
use sha2::Digest;
use tokio::time::timeout;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    a1,
    clients::{info, tls, trust, trust_with},
};

/// The key's hash if the handshake works, else why it does not.
async fn shaken(printer: &PrinterHandle, port: u16) -> Result<String, String> {
    let stream = tls(port, trust(printer)).await.map_err(|error| error.to_string())?;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    assert_eq!(chain.len(), 2, "leaf and authority");
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    Ok(format!("{:x}", sha2::Sha256::digest(leaf.public_key().raw)))
}

#[tokio::test]
async fn both_ports_show_the_same_key_and_a_wrong_certificate_shows_on_both() {
    let (_simulator, printer) = a1().await;
    let info = info(&printer);
    let name = "039000000000000".to_owned();
    let cases = [
        (None, Ok(())),
        (Some(CertificateDefect::WrongName { name }), Err("another name")),
        (Some(CertificateDefect::OtherAuthority), Err("another authority")),
        (Some(CertificateDefect::Expired), Err("expired")),
    ];
    for (defect, expected) in cases {
        printer.replace_faults(match &defect {
            Some(defect) => {
                vec![Fault::lasting(FaultKind::Bambu(BambuFault::Certificate { defect: defect.clone() }))]
            }
            None => Vec::new(),
        });
        for port in [info.mqtt_port, info.ftps_port] {
            match (shaken(&printer, port).await, expected) {
                (Ok(key), Ok(())) => assert_eq!(key, info.public_key_sha256),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{defect:?}: {why}"),
                (got, _) => panic!("{defect:?}: {got:?}"),
            }
        }
    }
    let defect = CertificateDefect::OtherKey;
    printer.replace_faults(vec![Fault::lasting(FaultKind::Bambu(BambuFault::Certificate { defect }))]);
    let other = shaken(&printer, info.mqtt_port).await.unwrap();
    assert_ne!(other, info.public_key_sha256);
    assert_eq!(shaken(&printer, info.ftps_port).await.unwrap(), other);
}

#[tokio::test]
async fn another_machine_in_its_place_has_another_name_and_key() {
    let (_simulator, printer) = a1().await;
    let old = (trust(&printer), info(&printer));
    printer.person(&Action::ReplaceDevice { serial_number: "039000000000042".to_owned() }).unwrap();
    assert!(tls(old.1.mqtt_port, old.0).await.unwrap_err().to_string().contains("another name"));
    let new = shaken(&printer, old.1.mqtt_port).await.unwrap();
    assert_ne!(new, old.1.public_key_sha256);
    assert_eq!(new, info(&printer).public_key_sha256);
}

#[tokio::test]
async fn tls_1_3_is_not_spoken_and_its_offer_may_hang() {
    let (_simulator, printer) = a1().await;
    let port = info(&printer).mqtt_port;
    let only_13 = || trust_with(&printer, &[&rustls::version::TLS13]);
    let both = || trust_with(&printer, &[&rustls::version::TLS12, &rustls::version::TLS13]);
    assert!(tls(port, only_13()).await.is_err());
    assert!(tls(port, both()).await.is_ok());
    printer.fault(Fault::lasting(FaultKind::Bambu(BambuFault::HangsOnTls13)));
    assert!(timeout(std::time::Duration::from_millis(300), tls(port, both())).await.is_err());
    assert!(tls(port, trust(&printer)).await.is_ok());
}
