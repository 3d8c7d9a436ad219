//! Files and filament of simulated A1 printers, which are written from the facts without this driver's code. What
//! arrived is judged by the simulator's ledger, what filament is used by whether the print starts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;

use std::io::Cursor;
use std::time::Duration;

use common::{short, soon};
use printernizer_bambu::ftps::{Deleted, Ftps, FtpsError, RemoteName, Renamed, UploadError, Uploaded};
use printernizer_bambu::mapping::{AmsMapping, MappingError, Slot};
use printernizer_bambu::project_file::{FileUrl, PrintId, ProjectFile};
use printernizer_bambu::{Config, Connection, SerialNumber, StartOutcome, Timeouts, Trust};
use printernizer_simulator::{
    BambuFault, BambuTimings, Config as Farm, Event, Fault, FaultKind, PrinterHandle, Simulator, SlicedFile,
};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// One simulated A1.
struct Bench {
    simulator: Simulator,
    printer: PrinterHandle,
    config: Config,
}

impl Bench {
    async fn new(faults: &[BambuFault]) -> Self {
        let mut farm = Farm::bambu(1);
        farm.printers[0].bambu.timings = BambuTimings::instant();
        farm.printers[0].bambu.report_milliseconds = 50;
        let simulator = Simulator::start(farm).await.unwrap();
        let printer = simulator.printer("bambu-1").unwrap();
        for fault in faults {
            printer.fault(Fault::lasting(FaultKind::Bambu(fault.clone())));
        }
        let info = printer.info();
        let bambu = info.bambu.unwrap();
        let host: std::net::IpAddr = bambu.host.parse().unwrap();
        let config = Config {
            mqtt: (host, bambu.mqtt_port).into(),
            ftps: (host, bambu.ftps_port).into(),
            serial_number: SerialNumber::new(&info.serial_number).unwrap(),
            access_code: bambu.access_code.as_str().to_owned().into(),
            trust: Trust::authorities_from_pem(bambu.certificate_authority_pem.as_bytes()).unwrap(),
            timeouts: Timeouts { transfer_end: Duration::from_secs(1), ..short() },
        };
        Self { simulator, printer, config }
    }

    async fn files(&self) -> Ftps {
        soon(Ftps::connect(&self.config)).await.unwrap()
    }

    fn on_card(&self) -> Vec<String> {
        self.printer.state().files
    }

    /// What the ledger says about uploads: digest and answer.
    fn uploads(&self) -> Vec<(Option<String>, Option<u16>)> {
        let entries = self.simulator.ledger().entries();
        let of_upload = |event| match event {
            Event::Upload { sha256, answer, .. } => Some((sha256, answer)),
            _ => None,
        };
        entries.into_iter().filter_map(|entry| of_upload(entry.event)).collect()
    }
}

fn name() -> RemoteName {
    RemoteName::new("bracket-pz-0011223344556677-1.gcode.3mf").unwrap()
}

async fn upload(ftps: &mut Ftps, name: &RemoteName, bytes: &[u8]) -> Result<Uploaded, UploadError> {
    let size = bytes.len() as u64;
    soon(ftps.upload(name, Cursor::new(bytes.to_vec()), size, |_| {}, &CancellationToken::new())).await
}

#[tokio::test]
async fn a_file_is_stored_byte_for_byte_renamed_and_deleted() {
    let bench = Bench::new(&[BambuFault::SessionReuseRequired]).await;
    let bytes = SlicedFile::lasting(600).plate(&[(1, "PLA")]).build();
    let mut ftps = bench.files().await;
    let uploaded = upload(&mut ftps, &name().part(), &bytes).await.unwrap();
    assert_eq!(uploaded, Uploaded { confirmed: true, session_resumed: true });
    let digest = hex(&Sha256::digest(&bytes));
    assert_eq!(bench.uploads(), [(Some(digest), Some(226))]);
    assert_eq!(soon(ftps.rename(&name().part(), &name())).await.unwrap(), Renamed::Done);
    assert_eq!(bench.on_card(), [name().as_str()]);
    assert_eq!(soon(ftps.delete(&name())).await.unwrap(), Deleted::Removed);
    assert_eq!(soon(ftps.delete(&name())).await.unwrap(), Deleted::Absent);
    assert_eq!(bench.on_card(), Vec::<String>::new());
    soon(ftps.close()).await.unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn what_printers_do_to_uploads_is_survived_or_named() {
    let bytes = SlicedFile::lasting(600).plate(&[(1, "PLA")]).build();
    for (fault, expected) in [
        (BambuFault::PassiveAddressZero, "Ok(Uploaded {"),
        (BambuFault::LostTransferEnd, "Ok(Uploaded {"),
        (BambuFault::UploadRefused { code: 553 }, "Err(UploadError { error: StorageRefused"),
        (BambuFault::DataConnectionRefused, "Err(UploadError { error: DataConnection"),
        (BambuFault::CardReadOnly, "Err(UploadError { error: StorageRefused"),
    ] {
        let bench = Bench::new(std::slice::from_ref(&fault)).await;
        let mut ftps = bench.files().await;
        let outcome = upload(&mut ftps, &name().part(), &bytes).await;
        assert!(format!("{outcome:?}").starts_with(expected), "{fault:?}: {outcome:?}");
        let stored = outcome.is_ok();
        assert_eq!(bench.on_card().len(), usize::from(stored), "{fault:?}: {:?}", bench.uploads());
        if matches!(fault, BambuFault::LostTransferEnd) {
            assert!(!outcome.unwrap().confirmed);
        }
    }
}

#[tokio::test]
async fn a_cancelled_upload_leaves_nothing_on_the_card() {
    let bench = Bench::new(&[]).await;
    let mut ftps = bench.files().await;
    let cancel = CancellationToken::new();
    // A source that never ends: only the cancellation ends this upload.
    let reader = tokio::io::repeat(7);
    let progress = |bytes| {
        if bytes > 1_000_000 {
            cancel.cancel();
        }
    };
    let outcome = soon(ftps.upload(&name().part(), reader, 1 << 40, progress, &cancel)).await;
    let UploadError { error, left_over } = outcome.unwrap_err();
    assert!(matches!(error, FtpsError::Cancelled), "{error:?}");
    assert_eq!((left_over, bench.on_card()), (false, Vec::new()));
}

#[tokio::test]
async fn a_printer_that_does_not_rename_keeps_the_old_name() {
    for code in [502, 550] {
        let bench = Bench::new(&[BambuFault::RenameRefused { code }]).await;
        let mut ftps = bench.files().await;
        upload(&mut ftps, &name().part(), b"not a file to print").await.unwrap();
        let renamed = soon(ftps.rename(&name().part(), &name())).await.unwrap();
        assert!(matches!(renamed, Renamed::NotSupported { code: seen, .. } if seen == code), "{renamed:?}");
        assert_eq!(bench.on_card(), [name().part().as_str()]);
    }
}

#[tokio::test]
async fn a_print_with_filaments_of_several_slots_starts_with_the_mapping_from_the_report() {
    let bench = Bench::new(&[]).await;
    let bytes = SlicedFile::lasting(600).plate(&[(1, "PLA"), (2, "PLA")]).build();
    let mut ftps = bench.files().await;
    upload(&mut ftps, &name().part(), &bytes).await.unwrap();
    soon(ftps.rename(&name().part(), &name())).await.unwrap();
    soon(ftps.close()).await.unwrap();

    let mut connection = soon(Connection::open(&bench.config)).await.unwrap();
    let snapshot = soon(connection.full_report()).await.unwrap();
    let loaded: Vec<Slot> = snapshot
        .report
        .ams
        .units
        .iter()
        .flat_map(|unit| unit.trays.iter().map(|tray| (unit.id, tray)))
        .filter(|(_, tray)| tray.loaded == Some(true))
        .map(|(unit, tray)| Slot::from_report(unit, tray.id).unwrap())
        .collect();
    assert!(loaded.len() >= 2, "{:?}", snapshot.report.ams);
    let nowhere = AmsMapping::new(2, &[1, 2], &[(1, loaded[0]), (2, "AMS4-4".parse().unwrap())], &snapshot.report);
    assert!(matches!(nowhere, Err(MappingError::NoSuchSlot { filament: 2, .. })), "{nowhere:?}");
    let mapping = AmsMapping::new(2, &[1, 2], &[(1, loaded[1]), (2, loaded[0])], &snapshot.report).unwrap();
    let start = ProjectFile::new(name(), PrintId::new(4711).unwrap(), 1, FileUrl::Ftp, mapping).unwrap();
    let outcome = soon(connection.start(&start, || true)).await;
    assert!(matches!(outcome, StartOutcome::Sent { .. }), "{outcome:?}");
    let printing = bench.printer.wait_for(Duration::from_secs(10), |state| state.bed_occupied).await;
    assert!(printing, "{:?}", bench.printer.state());
    assert_eq!(bench.simulator.ledger().physical_starts("").len(), 1);
}
