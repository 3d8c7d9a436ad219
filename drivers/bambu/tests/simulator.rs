//! The driver against simulated A1 printers, which are written from the facts without this driver's code. Judged by the
//! simulator's ledger: what the machine was asked and what it physically did.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{short, soon};
use printernizer_bambu::ftps::{Ftps, RemoteName};
use printernizer_bambu::mapping::AmsMapping;
use printernizer_bambu::project_file::{FileUrl, PrintId, ProjectFile};
use printernizer_bambu::report::{Hms, RefusalKind, State, Storage};
use printernizer_bambu::{
    CertificateProblem, Config, Connection, Error, NotSent, SerialNumber, Snapshot, StartOutcome, Timeouts, Trust,
};
use printernizer_simulator::{
    Action, AfterPowerCut, BambuConfig, BambuFault, BambuTimings, CertificateDefect, Config as Farm, Fault, FaultKind,
    PrinterConfig, PrinterHandle, RefusalForm, Simulator, SlicedFile,
};
use tokio_util::sync::CancellationToken;

/// One simulated A1.
struct Bench {
    simulator: Simulator,
    printer: PrinterHandle,
    config: Config,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut BambuConfig)) -> Self {
        let mut farm = Farm::bambu(1);
        let printer: &mut PrinterConfig = &mut farm.printers[0];
        printer.bambu.timings = BambuTimings::instant();
        printer.bambu.report_milliseconds = 50;
        change(&mut printer.bambu);
        let simulator = Simulator::start(farm).await.unwrap();
        let printer = simulator.printer("bambu-1").unwrap();
        let info = printer.info();
        let bambu = info.bambu.unwrap();
        let host: std::net::IpAddr = bambu.host.parse().unwrap();
        let config = Config {
            mqtt: (host, bambu.mqtt_port).into(),
            ftps: (host, bambu.ftps_port).into(),
            serial_number: SerialNumber::new(&info.serial_number.replace('-', "")).unwrap(),
            access_code: bambu.access_code.as_str().to_owned().into(),
            trust: Trust::authorities_from_pem(bambu.certificate_authority_pem.as_bytes()).unwrap(),
            timeouts: Timeouts { full_report: Duration::from_secs(2), echo: Duration::from_secs(1), ..short() },
        };
        Self { simulator, printer, config }
    }

    fn fault(&self, fault: BambuFault) {
        self.printer.fault(Fault::lasting(FaultKind::Bambu(fault)));
    }

    async fn connect(&self) -> Connection {
        soon(Connection::open(&self.config)).await.unwrap()
    }

    async fn refused(&self) -> Error {
        soon(Connection::open(&self.config)).await.expect_err("the connection must not open")
    }

    /// A file on the printer, and the command to print it.
    async fn uploaded(&self, id: u32, seconds: u64) -> ProjectFile {
        let bytes = SlicedFile::lasting(seconds).plate(&[(1, "PLA")]).build();
        let name = RemoteName::new(format!("bracket-pz-{id:016x}-1.gcode.3mf")).unwrap();
        let mut ftps = soon(Box::pin(Ftps::connect(&self.config))).await.unwrap();
        let size = bytes.len() as u64;
        let cancel = CancellationToken::new();
        let upload = Box::pin(ftps.upload(&name, std::io::Cursor::new(bytes), size, |_| {}, &cancel));
        soon(upload).await.unwrap();
        soon(ftps.close()).await.unwrap();
        let mapping = AmsMapping { use_ams: false, ams_mapping: vec![-1], ams_mapping2: Vec::new() };
        ProjectFile::new(name, PrintId::new(id).unwrap(), 1, FileUrl::Ftp, mapping).unwrap()
    }

    fn physical_starts(&self) -> usize {
        self.simulator.ledger().physical_starts("").len()
    }
}

/// Whether this is what is wrong with a certificate.
type Judge = fn(&CertificateProblem) -> bool;

/// Waits for reports until one is as wanted.
async fn reaches(connection: &mut Connection, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    soon(async {
        loop {
            let snapshot = connection.report();
            if wanted(&snapshot) {
                return snapshot;
            }
            connection.changed().await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_print_is_started_once_paused_resumed_and_stopped_and_its_cancellation_is_remembered() {
    let bench = Bench::with(|bambu| bambu.timings.stopping_milliseconds = 300).await;
    let start = bench.uploaded(4711, 3600).await;
    let mut connection = bench.connect().await;
    let before = soon(connection.full_report()).await.unwrap();
    assert_eq!((before.report.state.clone(), before.report.storage), (State::Idle, Some(Storage::Normal)));
    assert_eq!((before.report.print_error, before.report.ids.subtask.as_deref()), (Some(0), None));
    assert_eq!(before.version.as_ref().unwrap().model(&bench.config.serial_number).as_deref(), Some("Bambu Lab A1"));

    let outcome = soon(connection.start(&start, || true)).await;
    assert!(matches!(outcome, StartOutcome::Sent { acknowledged: true }), "{outcome:?}");
    let running = reaches(&mut connection, |s| s.report.state == State::Running).await;
    assert_eq!(running.report.ids.subtask.as_deref(), Some("4711"));
    assert_eq!(running.report.ids.task.as_deref(), Some("4711"));
    assert_eq!(running.report.subtask_name.as_deref(), Some(start.subtask_name()));
    soon(connection.pause()).await.unwrap();
    reaches(&mut connection, |s| s.report.state == State::Paused).await;
    soon(connection.resume()).await.unwrap();
    reaches(&mut connection, |s| s.report.state == State::Running).await;
    soon(connection.stop()).await.unwrap();
    let stopped =
        reaches(&mut connection, |s| s.report.state == State::Failed && s.report.print_error == Some(0)).await;
    assert_eq!(stopped.report.latched_error, Some(0x0300_400C));
    assert_eq!(bench.physical_starts(), 1);
}

#[tokio::test]
async fn spools_that_are_changed_at_rest_are_known_at_once_also_where_partial_reports_do_not_name_them() {
    for in_partial_reports in [false, true] {
        let bench = Bench::with(|bambu| bambu.trays_in_partial_reports = in_partial_reports).await;
        let mut connection = bench.connect().await;
        let first = connection.report().full_arrived;
        let tray = |s: &Snapshot| s.report.ams.tray(0, 0).map(|t| (t.loaded, t.material.clone())).unwrap();
        for (material, loaded) in [("PETG", true), ("", false)] {
            let act = Action::ChangeTray { tray: 0, material: material.into(), color: "FF0000FF".into() };
            bench.printer.person(&act).unwrap();
            let expected = (Some(loaded), Some(material.to_owned()).filter(|m| !m.is_empty()));
            // The second change comes within the minute in which no full report is asked for again.
            let wanted =
                |s: &Snapshot| if loaded || in_partial_reports { tray(s) == expected } else { !tray(s).0.unwrap() };
            reaches(&mut connection, wanted).await;
        }
        let asked = reaches(&mut connection, |s| s.full_arrived > first).await;
        assert_eq!(asked.report.ams.units[0].trays.len(), 4, "the others are there as before");
    }
}

#[tokio::test]
async fn a_printer_that_says_that_developer_mode_is_on_now_takes_commands_whatever_it_refused_before() {
    let bench = Bench::with(|bambu| (bambu.shows_fun, bambu.developer_mode) = (true, false)).await;
    let start = bench.uploaded(4713, 60).await;
    let mut connection = bench.connect().await;
    assert!(matches!(soon(connection.start(&start, || true)).await, StartOutcome::Refused(_)));
    reaches(&mut connection, |s| s.control_allowed == Some(false)).await;
    bench.printer.person(&Action::SetDeveloperMode { enabled: true }).unwrap();
    reaches(&mut connection, |s| s.control_allowed == Some(true)).await;
    soon(connection.pause()).await.unwrap();
    assert_eq!(bench.physical_starts(), 0);
}

#[tokio::test]
async fn a_finished_print_still_shows_our_ids() {
    let bench = Bench::new().await;
    let start = bench.uploaded(4712, 60).await;
    let mut connection = bench.connect().await;
    soon(connection.start(&start, || true)).await;
    reaches(&mut connection, |s| s.report.state == State::Running).await;
    bench.simulator.skip_time(Duration::from_secs(120));
    let finished = reaches(&mut connection, |s| s.report.state == State::Finished).await;
    assert_eq!(finished.report.ids.subtask.as_deref(), Some("4712"));
    assert_eq!(finished.report.latched_error, None);
}

#[tokio::test]
async fn who_does_not_prove_to_be_the_printer_is_refused() {
    let wrong_name = CertificateDefect::WrongName { name: "03919A3B0100255".into() };
    let cases: [(CertificateDefect, Judge); 3] = [
        (wrong_name, |p| matches!(p, CertificateProblem::OtherPrinter { found, .. } if found == "03919A3B0100255")),
        (CertificateDefect::OtherAuthority, |p| matches!(p, CertificateProblem::BadSignature { .. })),
        (CertificateDefect::Expired, |p| matches!(p, CertificateProblem::Expired { .. })),
    ];
    for (defect, expected) in cases {
        let bench = Bench::new().await;
        bench.fault(BambuFault::Certificate { defect });
        let error = bench.refused().await;
        assert!(matches!(&error, Error::Untrusted { problem, .. } if expected(problem)), "{error:?}");
    }
    let mut bench = Bench::new().await;
    let pin = bench.printer.info().bambu.unwrap().public_key_sha256;
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(pin.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    }
    bench.config.trust = Trust::PinnedKey(hash);
    bench.connect().await.close().await;
    bench.fault(BambuFault::Certificate { defect: CertificateDefect::OtherKey });
    let error = bench.refused().await;
    assert!(matches!(&error, Error::Untrusted { problem: CertificateProblem::OtherKey { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn refused_logins_and_silence_are_told_apart() {
    for (code, is_access_code) in [(4, true), (5, true), (3, false)] {
        let mut bench = Bench::new().await;
        bench.config.access_code = "wrong123".to_owned().into();
        bench.fault(BambuFault::LoginRefusal { code });
        let error = bench.refused().await;
        assert_eq!(matches!(error, Error::AccessCodeRefused), is_access_code, "{error:?}");
    }
    let bench = Bench::new().await;
    bench.fault(BambuFault::ReportsStop);
    let error = bench.refused().await;
    assert!(matches!(error, Error::WrongSerialOrBusy { .. }), "{error:?}");
}

#[tokio::test]
async fn what_real_firmware_sends_reads_like_the_plain_report() {
    let plain = Bench::new().await;
    let expected = plain.connect().await.report();
    let faults = [
        BambuFault::NumbersAsStrings,
        BambuFault::InvalidUtf8,
        BambuFault::LargeReports { bytes: 32_000 },
        BambuFault::HangsOnTls13,
    ];
    for fault in faults {
        let bench = Bench::new().await;
        bench.fault(fault.clone());
        let snapshot = bench.connect().await.report();
        assert_eq!(snapshot.report, expected.report, "{fault:?}");
        assert_eq!(snapshot.damaged_messages > 0, fault == BambuFault::InvalidUtf8);
    }
    assert_eq!(expected.report.ams.units.len(), 1);
    assert_eq!(expected.report.ams.units[0].trays.len(), 4);
}

#[tokio::test]
async fn a_tray_that_is_changed_is_seen_at_the_latest_in_a_full_report() {
    let bench = Bench::new().await;
    let mut connection = bench.connect().await;
    let before = connection.report();
    let petg = Action::ChangeTray { tray: 1, material: "PETG".into(), color: "00FF00FF".into() };
    bench.printer.person(&petg).unwrap();
    bench.printer.person(&Action::ChangeTray { tray: 2, material: String::new(), color: String::new() }).unwrap();
    let after = soon(connection.full_report()).await.unwrap();
    assert_ne!(before.report.ams, after.report.ams);
    let tray = |index| after.report.ams.tray(0, index).unwrap();
    assert_eq!((tray(1).material.as_deref(), tray(1).color_rgba.as_deref()), (Some("PETG"), Some("00FF00FF")));
    assert_eq!((tray(1).loaded, tray(2).loaded), (Some(true), Some(false)));
}

#[tokio::test]
async fn without_developer_mode_nothing_starts_and_it_is_known_as_far_as_the_printer_tells() {
    for (form, refused, allowed) in [
        (RefusalForm::Acknowledgement, true, Some(false)),
        (RefusalForm::BadSignature, true, Some(false)),
        (RefusalForm::Hms, false, Some(false)),
        (RefusalForm::AcknowledgementAndHms, true, Some(false)),
        (RefusalForm::WithoutResult, false, None),
        (RefusalForm::Silent, false, None),
    ] {
        let bench = Bench::with(|bambu| (bambu.developer_mode, bambu.refusal) = (false, form)).await;
        let start = bench.uploaded(4711, 3600).await;
        let mut connection = bench.connect().await;
        let outcome = soon(connection.start(&start, || true)).await;
        match outcome {
            StartOutcome::Refused(refusal) if refused => assert_eq!(refusal.kind, RefusalKind::VerifyFailed),
            StartOutcome::Sent { .. } if !refused => {}
            other => panic!("{form:?}: {other:?}"),
        }
        let snapshot = soon(connection.full_report()).await.unwrap();
        assert_eq!(snapshot.control_allowed, allowed, "{form:?}");
        let in_hms = matches!(form, RefusalForm::Hms | RefusalForm::AcknowledgementAndHms);
        assert_eq!(snapshot.report.hms.contains(&Hms::VERIFY_FAILED), in_hms, "{form:?}");
        assert_eq!(bench.physical_starts(), 0);
    }
    for (developer_mode, allowed) in [(true, Some(true)), (false, Some(false))] {
        let bench = Bench::with(|bambu| (bambu.shows_fun, bambu.developer_mode) = (true, developer_mode)).await;
        assert_eq!(bench.connect().await.report().control_allowed, allowed);
    }
}

#[tokio::test]
async fn a_printer_that_swallows_what_it_is_sent_gets_no_start() {
    let bench = Bench::new().await;
    let start = bench.uploaded(4711, 3600).await;
    let mut connection = bench.connect().await;
    reaches(&mut connection, |snapshot| snapshot.version.is_some()).await;
    bench.fault(BambuFault::SwallowCommand);
    let error = soon(connection.full_report()).await;
    assert!(matches!(error, Err(Error::CommandsSwallowed)), "{error:?}");
    let outcome = soon(connection.start(&start, || panic!("nobody is asked"))).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::NotFit)), "{outcome:?}");
    assert_eq!(bench.simulator.ledger().start_commands("").len(), 0);
}

#[tokio::test]
async fn a_start_without_an_answer_is_known_only_by_what_the_printer_shows() {
    let bench = Bench::new().await;
    let start = bench.uploaded(4711, 3600).await;
    bench.fault(BambuFault::NoAcknowledgement);
    let mut connection = bench.connect().await;
    let outcome = soon(connection.start(&start, || true)).await;
    assert!(matches!(outcome, StartOutcome::Sent { acknowledged: false }), "{outcome:?}");
    reaches(&mut connection, |s| s.report.state.is_active()).await;
    assert_eq!(bench.physical_starts(), 1);
}

#[tokio::test]
async fn another_client_that_takes_our_place_ends_the_connection() {
    let bench = Bench::new().await;
    let mut first = bench.connect().await;
    bench.fault(BambuFault::SecondClientKicksFirst);
    let _second = bench.connect().await;
    let error = loop {
        if let Err(error) = soon(first.changed()).await {
            break error;
        }
    };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_reboot_ends_the_connection_and_erases_the_ids() {
    let bench = Bench::new().await;
    let start = bench.uploaded(4711, 3600).await;
    let mut connection = bench.connect().await;
    soon(connection.start(&start, || true)).await;
    reaches(&mut connection, |s| s.report.ids.subtask.as_deref() == Some("4711")).await;
    bench.printer.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    while soon(connection.changed()).await.is_ok() {}
    bench.printer.settled().await;
    let again = bench.connect().await.report();
    assert_eq!((again.report.ids.subtask.as_deref(), again.report.subtask_name.as_deref()), (None, None));
    assert_eq!(bench.physical_starts(), 1, "and nothing was sent again");
}
