//! The file server: transfers, names, refusals, and everything that breaks on the way.

use std::{sync::Arc, time::Duration};

use printernizer_simulator::{Action, BambuFault, Event, Fault, FaultKind, PrinterHandle, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    PATIENCE, a1,
    clients::{Ftps, info, tls, trust},
};

fn bambu(fault: BambuFault) -> Fault {
    Fault::lasting(FaultKind::Bambu(fault))
}

async fn server() -> (Simulator, PrinterHandle, Ftps) {
    let (simulator, printer) = a1().await;
    let client = Ftps::ready(&printer).await;
    (simulator, printer, client)
}

/// The uploads the ledger knows: name, size, answer, whether complete.
fn uploads(simulator: &Simulator) -> Vec<(String, u64, Option<u16>, bool)> {
    let entries = simulator.ledger().entries().into_iter();
    entries
        .filter_map(|entry| match entry.event {
            Event::Upload { file_name, size_bytes, answer, sha256, .. } => {
                Some((file_name, size_bytes, answer, sha256.is_some()))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_file_goes_up_is_renamed_comes_down_and_is_deleted() {
    let (simulator, _printer, mut client) = server().await;
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(client.upload("a.gcode.3mf.part", &content).await, 226);
    assert_eq!(client.command("SIZE a.gcode.3mf.part").await, (213, content.len().to_string()));
    assert_eq!(client.command("RNFR a.gcode.3mf.part").await.0, 350);
    assert_eq!(client.command("RNTO /a.gcode.3mf").await.0, 250);
    assert_eq!(client.command("SIZE a.gcode.3mf.part").await.0, 550);
    assert!(client.download("RETR a.gcode.3mf").await == content);
    let listing = String::from_utf8(client.download("LIST").await).unwrap();
    let line = listing.lines().find(|line| line.ends_with(" a.gcode.3mf")).unwrap();
    assert_eq!(line.split_whitespace().nth(4), Some(content.len().to_string().as_str()));
    assert!(listing.lines().any(|line| line.starts_with('d') && line.ends_with(" model")));
    assert_eq!(String::from_utf8(client.download("NLST").await).unwrap().lines().last(), Some("a.gcode.3mf"));
    assert_eq!(client.command("DELE a.gcode.3mf").await.0, 250);
    assert_eq!(client.command("DELE a.gcode.3mf").await.0, 550);
    assert_eq!(uploads(&simulator), [("a.gcode.3mf.part".to_owned(), 1_200_000, Some(226), true)]);
    let answers: Vec<u16> = simulator
        .ledger()
        .entries()
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Delete { answer, .. } | Event::Rename { answer, .. } => Some(answer),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [250, 250, 550]);
    assert_eq!(client.command("QUIT").await.0, 221);
    assert!(client.next_reply().await.is_none());
}

#[tokio::test]
async fn folders_are_entered_and_paths_are_relative_to_them() {
    let (_simulator, printer, mut client) = server().await;
    assert_eq!(client.command("CWD /model").await.0, 250);
    assert_eq!(client.upload("a.gcode.3mf", b"x").await, 226);
    assert_eq!(client.command("MKD deeper").await.0, 257);
    assert_eq!(client.command("CWD nowhere").await.0, 550);
    assert_eq!(client.command("PWD").await, (257, "\"/model\"".to_owned()));
    assert_eq!(client.command("CWD ../..").await.0, 553);
    assert_eq!(printer.state().files, ["model/a.gcode.3mf"]);
}

#[tokio::test]
async fn nothing_works_before_the_login_and_unknown_commands_say_so() {
    let (_simulator, printer) = a1().await;
    let mut client = Ftps::connect(&printer).await;
    assert_eq!(client.command("SIZE a").await.0, 530);
    assert_eq!(client.log_in("00000000").await, 530);
    assert_eq!(client.command("PASV").await.0, 530);
    assert_eq!(client.log_in(info(&printer).access_code.as_str()).await, 230);
    for command in ["FEAT", "REST 5", "EPSV", "MLSD", "MDTM a"] {
        assert_eq!(client.command(command).await.0, 502, "{command}");
    }
    assert_eq!(client.command("PROT C").await.0, 534);
    client.passive().await;
    assert_eq!(client.command("STOR a").await.0, 522, "not encrypted");
    assert_eq!(client.command("STOR a").await.0, 425, "no PASV");
}

#[tokio::test]
async fn an_ascii_upload_is_another_file() {
    let (_simulator, _printer, mut client) = server().await;
    client.command("TYPE A").await;
    assert_eq!(client.upload("a", b"1\r\n2\r3").await, 226);
    assert_eq!(client.command("SIZE a").await.1, "5", "CR LF became LF");
}

#[tokio::test]
async fn a_card_that_is_out_full_broken_or_read_only_takes_nothing() {
    for (fault, act) in [
        (None, Some(Action::RemoveUsb)),
        (None, Some(Action::FillUsb)),
        (Some(Fault::lasting(FaultKind::UsbFull)), None),
        (Some(bambu(BambuFault::CardReadOnly)), None),
        (Some(bambu(BambuFault::CardAbnormal)), None),
        (Some(bambu(BambuFault::UploadRefused { code: 553 })), None),
    ] {
        let (simulator, printer, mut client) = server().await;
        if let Some(act) = &act {
            printer.person(act).unwrap();
        }
        printer.replace_faults(fault.iter().cloned().collect());
        assert_eq!(client.upload("a", b"x").await, 553, "{fault:?} {act:?}");
        assert_eq!(uploads(&simulator), [("a".to_owned(), 0, Some(553), false)]);
    }
}

#[tokio::test]
async fn a_data_connection_must_resume_the_session_where_that_is_required() {
    let (simulator, printer, mut client) = server().await;
    printer.fault(bambu(BambuFault::SessionReuseRequired));
    assert_eq!(client.upload("a", b"x").await, 226, "the same configuration resumes");
    client.config = trust(&printer);
    assert_eq!(client.upload("b", b"x").await, 522);
    assert_eq!(client.command("SIZE b").await, (213, "0".to_owned()), "an empty file stays");
    let expected = [("a".to_owned(), 1, Some(226), true), ("b".to_owned(), 0, Some(522), false)];
    assert_eq!(uploads(&simulator), expected);
}

#[tokio::test]
async fn the_passive_address_may_be_useless_and_the_data_connection_refused() {
    let (_simulator, printer, mut client) = server().await;
    assert_eq!(client.passive().await.0, "127.0.0.1");
    printer.fault(bambu(BambuFault::PassiveAddressZero));
    assert_eq!(client.passive().await.0, "0.0.0.0");
    printer.fault(Fault::once(FaultKind::Bambu(BambuFault::DataConnectionRefused)));
    assert_eq!(client.upload("a", b"x").await, 425);
    assert_eq!(client.upload("a", b"x").await, 226);
}

#[tokio::test]
async fn the_end_of_a_transfer_may_get_lost_though_the_file_is_whole() {
    let (simulator, printer, mut client) = server().await;
    printer.fault(Fault::once(FaultKind::Bambu(BambuFault::LostTransferEnd)));
    let (_, port) = client.passive().await;
    let config = Arc::clone(&client.config);
    let mut stream = client.data(port, "STOR a", config).await.unwrap();
    stream.write_all(b"whole").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(client.command("SIZE a").await, (213, "5".to_owned()), "the next reply is that of the next command");
    assert_eq!(uploads(&simulator), [("a".to_owned(), 5, None, true)]);
}

#[tokio::test]
async fn a_broken_upload_leaves_what_arrived() {
    let (simulator, printer, mut client) = server().await;
    // The client goes away without a clean end.
    let (_, port) = client.passive().await;
    let config = Arc::clone(&client.config);
    let mut stream = client.data(port, "STOR a", config).await.unwrap();
    stream.write_all(&[7; 10_000]).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    assert_eq!(client.reply().await.0, 426);
    assert_eq!(client.command("SIZE a").await.1, "10000");
    // The printer ends everything in the middle.
    printer.fault(Fault::once(FaultKind::TruncateUpload { after_bytes: 5_000 }));
    let (_, port) = client.passive().await;
    let config = Arc::clone(&client.config);
    let mut stream = client.data(port, "STOR b", config).await.unwrap();
    let _ = stream.write_all(&[7; 10_000]).await;
    let _ = stream.flush().await;
    let mut nothing = Vec::new();
    let _ = stream.read_to_end(&mut nothing).await;
    assert!(client.next_reply().await.is_none());
    let ended = simulator.ledger().wait_for(PATIENCE, |entries| entries.len() == 2).await;
    assert!(ended, "{:?}", uploads(&simulator));
    let second = uploads(&simulator).remove(1);
    assert!(second.1 >= 5_000 && second.2.is_none() && !second.3, "{second:?}");
}

#[tokio::test]
async fn a_power_cut_in_an_upload_leaves_a_part_of_it() {
    let (simulator, printer, mut client) = server().await;
    printer.fault(Fault::once(FaultKind::StallUpload { after_bytes: 1, milliseconds: 600_000 }));
    let (_, port) = client.passive().await;
    let config = Arc::clone(&client.config);
    let mut stream = client.data(port, "STOR a.gcode.3mf", config).await.unwrap();
    stream.write_all(b"part").await.unwrap();
    stream.flush().await.unwrap();
    super::until(&printer, "open", |state| state.files == ["a.gcode.3mf"]).await;
    printer.person(&Action::CutPower).unwrap();
    assert!(client.next_reply().await.is_none());
    assert!(simulator.ledger().wait_for(PATIENCE, |entries| entries.len() == 2).await);
    let (name, _, answer, complete) = uploads(&simulator).remove(0);
    assert_eq!((name.as_str(), answer, complete), ("a.gcode.3mf", None, false));
}

#[tokio::test]
async fn renaming_and_deleting_can_fail() {
    let (_simulator, printer, mut client) = server().await;
    assert_eq!(client.upload("a.part", b"x").await, 226);
    for code in [502, 550] {
        printer.replace_faults(vec![Fault::once(FaultKind::Bambu(BambuFault::RenameRefused { code }))]);
        assert_eq!(client.command("RNFR a.part").await.0, code);
    }
    assert_eq!(client.command("RNTO a").await.0, 503);
    printer.fault(Fault::once(FaultKind::DropAfterHandling).on("DELE", "a.part"));
    client.send_only("DELE a.part").await;
    assert!(client.next_reply().await.is_none());
    assert_eq!(printer.state().files.len(), 0);
}

#[tokio::test]
async fn a_card_fills_up_in_the_middle_of_an_upload() {
    let printer = printernizer_simulator::PrinterConfig {
        usb_capacity_bytes: 1000,
        ..printernizer_simulator::PrinterConfig::bambu("small")
    };
    let config = printernizer_simulator::Config { printers: vec![printer], ..Default::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let printer = simulator.printer("small").unwrap();
    let mut client = Ftps::ready(&printer).await;
    assert_eq!(client.upload("a", &[0; 1000]).await, 226);
    assert_eq!(client.upload("b", b"x").await, 553);
    assert_eq!(client.command("DELE a").await.0, 250);
    assert_eq!(client.upload("b", &[0; 5000]).await, 452);
}

#[tokio::test]
async fn a_silent_file_server_takes_connections_and_says_nothing() {
    let (_simulator, printer) = a1().await;
    let manner = printernizer_simulator::UnreachableManner::Silent;
    printer.fault(Fault::lasting(FaultKind::Unreachable { manner }));
    let handshake = tls(info(&printer).ftps_port, trust(&printer));
    assert!(tokio::time::timeout(Duration::from_millis(300), handshake).await.is_err());
}
