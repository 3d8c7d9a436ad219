//! Looking at a device without knowing it: simulated printers and things that are none. Judged also by what the printer
//! has seen, because nothing may follow the handshake.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;

use std::net::SocketAddr;

use common::{Broker, SERIAL, short, soon};
use printernizer_bambu::{CertificateProblem, Error, identify};
use printernizer_simulator::{BambuFault, CertificateDefect, Config, Fault, FaultKind, PrinterHandle, Simulator};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

async fn printer() -> (Simulator, PrinterHandle, SocketAddr) {
    let simulator = Simulator::start(Config::bambu(1)).await.unwrap();
    let printer = simulator.printer("bambu-1").unwrap();
    let bambu = printer.info().bambu.unwrap();
    let address = SocketAddr::new(bambu.host.parse().unwrap(), bambu.mqtt_port);
    (simulator, printer, address)
}

#[tokio::test]
async fn a_printer_shows_its_serial_number_and_key_to_one_who_does_not_log_in() {
    let (_simulator, printer, address) = printer().await;
    let shown = soon(identify(address, &short())).await.unwrap();
    let info = printer.info();
    assert_eq!(shown.serial_number.as_str(), info.serial_number);
    assert_eq!(shown.public_key_sha256, info.bambu.unwrap().public_key_sha256);
    assert!(matches!(shown.problem, Some(CertificateProblem::UnknownIssuer { .. })), "{shown:?}");
}

#[tokio::test]
async fn nothing_is_sent_after_the_handshake() {
    let broker = Broker::start().await;
    let timeouts = short();
    let (shown, session) = soon(async { tokio::join!(identify(broker.config.mqtt, &timeouts), broker.accept()) }).await;
    assert_eq!(shown.unwrap().serial_number.as_str(), SERIAL);
    assert_eq!(session.unwrap().packet().await, None, "the connection ends, and nobody has logged in");
}

#[tokio::test]
async fn who_has_copied_a_certificate_without_its_key_is_no_printer() {
    let broker = Broker::impostor().await;
    let timeouts = short();
    let (shown, _) = soon(async { tokio::join!(identify(broker.config.mqtt, &timeouts), broker.accept()) }).await;
    assert!(matches!(shown, Err(Error::Untrusted { problem: CertificateProblem::NotItsKey, .. })), "{shown:?}");
}

#[tokio::test]
async fn what_has_no_serial_number_for_a_name_is_no_printer() {
    let (_simulator, printer, address) = printer().await;
    let defect = CertificateDefect::WrongName { name: "router.home".into() };
    printer.fault(Fault::lasting(FaultKind::Bambu(BambuFault::Certificate { defect })));
    printer.settled().await;
    let error = soon(identify(address, &short())).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { problem: CertificateProblem::NoSerialNumber, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_and_a_closed_port_are_no_printers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await.unwrap();
        stream
    });
    let error = soon(identify(address, &short())).await.unwrap_err();
    assert!(matches!(error, Error::NotTls { .. }), "{error:?}");
    drop(soon(server).await.unwrap());
    let error = soon(identify(address, &short())).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}
