//! The device against a simulated printer: commands that are lost or not answered, and a file that is not given its name.

use std::sync::Arc;

use printernizer_bambu::{Timeouts, Trust};
use printernizer_simulator::{BambuFault, Config as Farm, Fault, FaultKind, PrinterHandle, Simulator, SlicedFile};
use tokio_util::sync::CancellationToken;

use super::*;

/// One simulated printer, and how to reach it.
async fn printer() -> (Simulator, PrinterHandle, Config) {
    let mut farm = Farm::bambu(1);
    farm.printers[0].bambu.report_milliseconds = 50;
    let simulator = Simulator::start(farm).await.unwrap();
    let printer = simulator.printer("bambu-1").unwrap();
    let info = printer.info();
    let reached = info.bambu.unwrap();
    let address = |port| std::net::SocketAddr::new(reached.host.parse().unwrap(), port);
    let config = Config {
        mqtt: address(reached.mqtt_port),
        ftps: address(reached.ftps_port),
        serial_number: printernizer_bambu::SerialNumber::new(&info.serial_number).unwrap(),
        access_code: reached.access_code.as_str().to_owned().into(),
        trust: Trust::authorities_from_pem(reached.certificate_authority_pem.as_bytes()).unwrap(),
        timeouts: Timeouts {
            full_report: Duration::from_secs(2),
            acknowledgement: Duration::from_millis(500),
            ..Timeouts::default()
        },
    };
    (simulator, printer, config)
}

fn lasting(fault: BambuFault) -> Fault {
    Fault::lasting(FaultKind::Bambu(fault))
}

#[tokio::test]
async fn after_a_command_without_an_answer_the_next_one_waits_for_the_proof_that_we_are_heard() {
    let (_simulator, printer, config) = printer().await;
    let mut device = Bambu::connect(config, None, None).await.unwrap();
    printer.fault(lasting(BambuFault::NoAcknowledgement));
    assert_eq!(device.stop(None).await.unwrap(), Taken::Unanswered);
    device.fresh().await.expect("a printer that answers questions is commanded");
    assert!(!device.is_over());

    printer.replace_faults(vec![lasting(BambuFault::SwallowCommand)]);
    device.fresh().await.expect("nothing was lost yet");
    assert_eq!(device.stop(None).await.unwrap(), Taken::Unanswered);
    let fault = device.fresh().await.expect_err("reports go on, and nobody hears us");
    assert!(fault.message.contains("drops what is sent"), "{fault}");
    assert!(device.is_over(), "only a new connection helps");
}

#[tokio::test]
async fn a_connection_that_has_just_carried_a_start_is_kept_although_the_printer_does_not_hear_us() {
    let (_simulator, printer, config) = printer().await;
    let mut device = Bambu::connect(config, None, None).await.unwrap();
    let name = RemoteName::new("part-pz-3f2504e04f8941d3-1.gcode.3mf").unwrap();
    let mapping = AmsMapping { use_ams: false, ams_mapping: vec![-1], ams_mapping2: Vec::new() };
    let start = ProjectFile::new(name, PrintId::new(1).unwrap(), 1, FileUrl::Ftp, mapping).unwrap();
    printer.fault(lasting(BambuFault::SwallowCommand));
    let outcome = device.connected().unwrap().start(&start, || true).await;
    assert!(matches!(outcome, StartOutcome::Sent { acknowledged: false }), "{outcome:?}");
    assert_eq!(device.stop(None).await.unwrap(), Taken::Unanswered);
    device.fresh().await.expect_err("nobody hears us");
    assert!(!device.is_over(), "it may be reading the job, and would fail it");
}

#[tokio::test]
async fn a_file_that_is_not_given_its_name_is_told_from_one_that_is_gone() {
    let (_simulator, printer, config) = printer().await;
    let mut device = Bambu::connect(config.clone(), None, None).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("part");
    let bytes = SlicedFile::lasting(60).plate(&[(1, "PLA")]).build();
    std::fs::write(&path, &bytes).unwrap();
    let name = "part-pz-3f2504e04f8941d3-1.gcode.3mf";
    let job = UploadJob {
        remote_name: name.to_owned(),
        path,
        size_bytes: bytes.len() as u64,
        progress: Arc::new(|_| {}),
        cancel: CancellationToken::new(),
    };
    device.uploader()(job).await.unwrap();
    printer.fault(lasting(BambuFault::RenameRefused { code: 550 }));
    let mut ftps = Ftps::connect(&config).await.unwrap();
    let refused = device.ready_file(&mut ftps, name).await.unwrap_err();
    assert!(refused.message.contains("550") && refused.message.contains(".part"), "{refused}");
    let files = device.files().await.unwrap();
    device.delete(files, name, &|| true).await.unwrap();
    let gone = device.ready_file(&mut ftps, name).await.unwrap_err();
    assert!(gone.message.contains("not on the printer"), "{gone}");
}
