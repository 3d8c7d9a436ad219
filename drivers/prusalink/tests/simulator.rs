//! The driver against simulated Core Ones, which are written from the facts without this driver's code. Judged by the
//! simulator's ledger: what the machine was asked and what it physically did.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it meets the unexpected")]

mod wait;

use std::io::Cursor;
use std::time::Duration;

use printernizer_prusalink::{
    BaseUrl, Client, Config, Credentials, Error, Flavor, NotSent, RemoteName, StartOutcome, State, StatusReport,
    Timeouts,
};
use printernizer_simulator::{
    Action, AfterPowerCut, Config as Farm, Entry, Event, Fault, FaultKind, Password, PrinterHandle, QuestionKind,
    Simulator,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wait::wait_until;

/// One simulated Core One and what the driver needs to know of it.
struct Bench {
    simulator: Simulator,
    printer: PrinterHandle,
    client: Client,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Timeouts { send: Duration::from_secs(1), ..Timeouts::default() }).await
    }

    async fn with(timeouts: Timeouts) -> Self {
        let simulator = Simulator::start(Farm::prusalink(1)).await.unwrap();
        let printer = simulator.printer("prusa-1").unwrap();
        let client = connect(&printer, printer.info().password.as_str(), timeouts);
        Self { simulator, printer, client }
    }

    async fn upload(&self, name: &RemoteName, bytes: Vec<u8>) -> Result<(), Error> {
        let size = bytes.len() as u64;
        let file =
            self.client.uploader().upload(name, Cursor::new(bytes), size, |_| {}, &CancellationToken::new()).await?;
        assert_eq!((file.size_bytes, file.display_name.as_deref()), (Some(size), Some(name.as_str())));
        Ok(())
    }

    async fn start(&mut self, name: &RemoteName) -> StartOutcome {
        let (mut connection, _) = self.client.fresh_start_connection().await.unwrap();
        connection.start(name, || true).await
    }

    async fn reaches(&mut self, wanted: &State) -> StatusReport {
        wait_until(&format!("the state {wanted}"), async || {
            let report = self.client.status().await.unwrap();
            if report.state == *wanted { Ok(report) } else { Err(report.state) }
        })
        .await
    }

    /// Waits until the printer has noticed the end of an upload that brought no whole file.
    async fn gave_up_an_upload(&self) -> bool {
        let noticed =
            |entries: &[Entry]| entries.iter().any(|entry| matches!(&entry.event, Event::Upload { sha256: None, .. }));
        self.simulator.ledger().wait_for(Duration::from_secs(10), noticed).await
    }

    fn commands(&self) -> usize {
        self.simulator.ledger().start_commands("").len()
    }

    fn physical_starts(&self) -> usize {
        self.simulator.ledger().physical_starts("").len()
    }
}

fn connect(printer: &PrinterHandle, password: &str, timeouts: Timeouts) -> Client {
    let info = printer.info();
    let base_url = BaseUrl::parse(&info.url).unwrap();
    let address = format!("{}:{}", base_url.host(), base_url.port()).parse().unwrap();
    let credentials = Credentials { username: info.username, password: password.to_owned().into() };
    Client::new(Config { base_url, address, credentials, timeouts }).unwrap()
}

fn name(attempt: u32) -> RemoteName {
    RemoteName::new(format!("bracket-pz-0011223344556677-{attempt}.gcode")).unwrap()
}

/// A print of so many (simulated) seconds.
fn gcode(seconds: u32) -> Vec<u8> {
    format!("G1 X1\n; estimated printing time (normal mode) = {seconds}s\n").into_bytes()
}

#[tokio::test]
async fn a_print_is_uploaded_started_once_followed_to_its_end_and_cleaned_up() {
    let mut bench = Bench::new().await;
    let name = name(1);
    assert_eq!(bench.client.version().await.unwrap().flavor, Flavor::Buddy);
    let info = bench.client.info().await.unwrap();
    assert_eq!(info.serial, Some(bench.printer.info().serial_number));
    assert_eq!((info.nozzle_diameter_millimeters, info.mmu), (Some(0.4), Some(false)));
    assert_eq!(bench.client.storage().await.unwrap()[0].available, Some(true));
    assert_eq!(bench.client.material().await.unwrap().as_deref(), Some("PLA"));
    let before = bench.printer.state().last_job_id.into();
    assert!(bench.client.last_job_is(before).await.unwrap());

    assert_eq!(bench.client.file(&name).await.unwrap(), None);
    bench.upload(&name, gcode(1000)).await.unwrap();
    let again = bench.upload(&name, gcode(1000)).await;
    assert!(matches!(again, Err(Error::FileExists { .. })), "{again:?}");
    assert_eq!(bench.client.status().await.unwrap().state, State::Idle);

    let (mut connection, report) = bench.client.fresh_start_connection().await.unwrap();
    assert_eq!(report.state, State::Idle);
    let withheld = connection.start(&name, || false).await;
    assert!(matches!(withheld, StartOutcome::NotSent(NotSent::Withheld)), "{withheld:?}");
    assert_eq!(bench.commands(), 0);

    assert!(matches!(bench.start(&name).await, StartOutcome::Accepted));
    let id = bench.reaches(&State::Printing).await.job.unwrap().id.unwrap();
    assert_eq!(id, before + 1);
    let job = bench.client.job().await.unwrap().unwrap();
    assert!(job.prints(&name) && job.id == Some(id), "{job:?}");
    assert!(bench.client.last_job_is(id).await.unwrap() && !bench.client.last_job_is(before).await.unwrap());

    let second = bench.start(&name).await;
    assert!(matches!(second, StartOutcome::Refused { status: 409, .. }), "{second:?}");
    let busy = bench.client.delete_file(&name).await;
    assert!(matches!(busy, Err(Error::Refused { status: 409, .. })), "{busy:?}");

    bench.simulator.skip_time(Duration::from_secs(2000));
    assert_eq!(bench.reaches(&State::Finished).await.job, None);
    assert!(bench.client.job().await.unwrap().is_none());
    assert!(bench.client.last_job_is(id).await.unwrap());
    assert!(bench.client.delete_file(&name).await.unwrap());
    assert!(!bench.client.delete_file(&name).await.unwrap());
    bench.reaches(&State::Idle).await;
    assert_eq!((bench.commands(), bench.physical_starts()), (2, 1));
}

#[tokio::test]
async fn a_print_is_paused_resumed_and_stopped_by_its_number_only() {
    let mut bench = Bench::new().await;
    bench.upload(&name(1), gcode(100_000)).await.unwrap();
    assert!(matches!(bench.start(&name(1)).await, StartOutcome::Accepted));
    let id = bench.reaches(&State::Printing).await.job.unwrap().id.unwrap();
    for outcome in
        [bench.client.pause(id + 1).await, bench.client.resume(id + 1).await, bench.client.stop(id + 1).await]
    {
        assert!(matches!(outcome, Err(Error::Refused { status: 404, .. })), "{outcome:?}");
    }
    let early = bench.client.resume(id).await;
    assert!(matches!(early, Err(Error::Refused { status: 409, .. })), "{early:?}");
    bench.client.pause(id).await.unwrap();
    bench.reaches(&State::Paused).await;
    bench.simulator.skip_time(Duration::from_mins(1));
    bench.client.resume(id).await.unwrap();
    bench.simulator.skip_time(Duration::from_mins(1));
    bench.reaches(&State::Printing).await;
    bench.client.stop(id).await.unwrap();
    bench.simulator.skip_time(Duration::from_mins(5));
    bench.reaches(&State::Stopped).await;
}

#[tokio::test]
async fn what_a_lost_or_lying_answer_means_is_never_guessed() {
    // What is wrong with the answer to the start, and how many physical starts there really are.
    let cases = [
        (FaultKind::DropAfterHandling, 1),
        (FaultKind::DropBeforeHandling, 0),
        (FaultKind::HandleThenAnswer { status: 404 }, 1),
        (FaultKind::Answer { status: 500 }, 0),
        (FaultKind::DelayAnswer { milliseconds: 3000 }, 1),
    ];
    for (kind, physical_starts) in cases {
        let mut bench = Bench::new().await;
        bench.upload(&name(1), gcode(1000)).await.unwrap();
        bench.printer.fault(Fault { method: Some("POST".into()), ..Fault::once(kind.clone()) });
        let outcome = bench.start(&name(1)).await;
        assert!(matches!(outcome, StartOutcome::Unclear(_)), "{kind:?}: {outcome:?}");
        bench.simulator.skip_time(Duration::from_secs(30));
        assert_eq!((bench.commands(), bench.physical_starts()), (1, physical_starts), "{kind:?}");
    }
}

#[tokio::test]
async fn a_204_is_no_proof_of_a_print() {
    let mut bench = Bench::new().await;
    bench.upload(&name(1), gcode(1000)).await.unwrap();
    bench.printer.fault(Fault::once(FaultKind::AcceptWithoutStarting));
    assert!(matches!(bench.start(&name(1)).await, StartOutcome::Accepted));
    bench.simulator.skip_time(Duration::from_secs(30));
    assert_eq!(bench.client.status().await.unwrap().job, None);
    assert_eq!(bench.physical_starts(), 0);
}

#[tokio::test]
async fn a_question_in_the_preview_shows_as_attention_and_stops_by_its_number() {
    let mut bench = Bench::new().await;
    bench.upload(&name(1), gcode(1000)).await.unwrap();
    let question = FaultKind::Question { question: QuestionKind::WrongFilament, auto_continue_seconds: None };
    bench.printer.fault(Fault::once(question));
    assert!(matches!(bench.start(&name(1)).await, StartOutcome::Accepted));
    let id = bench.reaches(&State::Attention).await.job.unwrap().id.unwrap();
    let resume = bench.client.resume(id).await;
    assert!(matches!(resume, Err(Error::Refused { status: 409, .. })), "{resume:?}");
    bench.client.stop(id).await.unwrap();
    bench.reaches(&State::Idle).await;
    assert!(bench.client.last_job_is(id).await.unwrap(), "the number is used although nothing was printed");
    assert_eq!(bench.physical_starts(), 0);
}

#[tokio::test]
async fn a_reboot_between_report_and_start_starts_nothing() {
    let mut bench = Bench::new().await;
    bench.upload(&name(1), gcode(1000)).await.unwrap();
    let (mut connection, _) = bench.client.fresh_start_connection().await.unwrap();
    bench.printer.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    let outcome = connection.start(&name(1), || true).await;
    // Which of the two depends on whether the news of the reboot is here before the first byte leaves.
    assert!(matches!(outcome, StartOutcome::NotSent(_) | StartOutcome::Unclear(_)), "{outcome:?}");
    // The nonce of the time before the reboot is outdated; the next call gets over it.
    assert_eq!(bench.client.status().await.unwrap().state, State::Idle);
    assert_eq!(bench.commands(), 0);
}

#[tokio::test]
async fn a_changed_password_is_refused_and_costs_no_start() {
    let mut bench = Bench::new().await;
    bench.upload(&name(1), gcode(1000)).await.unwrap();
    let (mut connection, _) = bench.client.fresh_start_connection().await.unwrap();
    bench.printer.person(&Action::ChangePassword { password: Password::new("another") }).unwrap();
    let outcome = connection.start(&name(1), || true).await;
    assert!(matches!(outcome, StartOutcome::Refused { status: 401, .. }), "{outcome:?}");
    assert!(matches!(bench.client.status().await, Err(Error::Unauthorized)));
    assert!(connect(&bench.printer, "another", Timeouts::default()).status().await.is_ok());
    assert_eq!(bench.physical_starts(), 0);
}

#[tokio::test]
async fn troubles_of_an_upload_are_told_apart() {
    let timeouts = Timeouts { upload_stall: Duration::from_millis(500), ..Timeouts::default() };
    let mut bench = Bench::with(timeouts).await;
    let large = [vec![b';'; 3_000_000], gcode(10)].concat();

    bench.printer.fault(Fault::once(FaultKind::StallUpload { after_bytes: 100_000, milliseconds: 1500 }));
    let stalled = bench.upload(&name(1), large.clone()).await;
    assert!(matches!(stalled, Err(Error::Stalled { .. })), "{stalled:?}");
    assert!(bench.gave_up_an_upload().await);

    bench.printer.fault(Fault::once(FaultKind::TruncateUpload { after_bytes: 100_000 }));
    let lost = bench.upload(&name(2), large.clone()).await;
    assert!(matches!(lost, Err(Error::ConnectionLost { .. })), "{lost:?}");

    bench.printer.person(&Action::FillUsb).unwrap();
    let full = bench.upload(&name(3), large.clone()).await;
    assert!(matches!(full, Err(Error::StorageFull { .. })), "{full:?}");
    bench.printer.person(&Action::FreeUsb).unwrap();

    for attempt in 1..=3 {
        assert_eq!(bench.client.file(&name(attempt)).await.unwrap(), None, "no partial file is left");
    }
    bench.upload(&name(4), large).await.unwrap();
    assert_eq!(bench.commands(), 0);
}

#[tokio::test]
async fn a_cancelled_upload_frees_the_printer_for_the_next_one() {
    let bench = Bench::new().await;
    let large = [vec![b';'; 20_000_000], gcode(10)].concat();
    bench.printer.fault(Fault::once(FaultKind::StallUpload { after_bytes: 100_000, milliseconds: 60_000 }));
    let cancel = CancellationToken::new();
    let (first, busy) = (name(1), name(2));
    let size = large.len() as u64;
    let sent = |bytes| {
        if bytes > 50_000 {
            cancel.cancel();
        }
    };
    let began = Instant::now();
    let outcome = bench.client.uploader().upload(&first, Cursor::new(large), size, sent, &cancel).await;
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert!(bench.gave_up_an_upload().await);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    bench.upload(&busy, gcode(10)).await.unwrap();
}

#[tokio::test]
async fn a_second_upload_is_told_to_wait_and_polling_goes_on_beside_the_first() {
    let mut bench = Bench::new().await;
    let large = [vec![b';'; 3_000_000], gcode(10)].concat();
    bench.printer.fault(Fault::once(FaultKind::StallUpload { after_bytes: 100_000, milliseconds: 60_000 }));
    let cancel = CancellationToken::new();
    let first = tokio::spawn({
        let (uploader, cancel) = (bench.client.uploader(), cancel.clone());
        async move {
            let size = large.len() as u64;
            uploader.upload(&name(1), Cursor::new(large), size, |_| {}, &cancel).await
        }
    });
    wait_until("the transfer shows", async || bench.client.status().await.unwrap().transfer.ok_or("no transfer")).await;
    let second = bench.upload(&name(2), gcode(10)).await;
    assert!(matches!(second, Err(Error::TransferBusy { .. })), "{second:?}");
    cancel.cancel();
    assert!(matches!(first.await.unwrap(), Err(Error::Cancelled)));
}

#[tokio::test]
async fn idle_connections_may_end_at_any_time() {
    let mut farm = Farm::prusalink(1);
    farm.network.idle_milliseconds = 50;
    let simulator = Simulator::start(farm).await.unwrap();
    let printer = simulator.printer("prusa-1").unwrap();
    let mut client = connect(&printer, printer.info().password.as_str(), Timeouts::default());
    for _ in 0..5 {
        client.status().await.unwrap();
        // Longer than the printer keeps an idle connection: this is the time that must pass, not a condition.
        sleep(Duration::from_millis(120)).await;
    }
    let (mut connection, _) = client.fresh_start_connection().await.unwrap();
    sleep(Duration::from_millis(120)).await;
    let outcome = connection.start(&name(1), || true).await;
    assert!(matches!(outcome, StartOutcome::NotSent(NotSent::ConnectionEnded)), "{outcome:?}");
    assert!(simulator.ledger().start_commands("").is_empty());
}
