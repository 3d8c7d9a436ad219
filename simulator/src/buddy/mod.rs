//! A Prusa printer with Buddy firmware (Core One, 6.4) as PrusaLink shows it: firmware model, USB drive, HTTP server.
//!
//! [`Printer`] joins the pure firmware model to the clock, the faults, the ledger and the endpoint. All state sits
//! behind one lock that is never held across an await, so a connection that dies leaves no half-done effect.

mod connection;
mod digest;
mod files;
mod firmware;
mod http;
mod render;
mod routes;
mod upload;
mod usb;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{net::TcpStream, sync::watch};

use self::{
    connection::Connection,
    digest::Login,
    firmware::{Conditions, Firmware, StartRefusal},
    upload::Transfer,
    usb::Usb,
};
use crate::{
    ActError, Action, Event, Fault, FaultKind, Ledger, MachineTimings, NetworkTimings, Password, PrinterConfig,
    PrinterInfo, PrinterKind, PrinterState, StartCause, UnreachableManner,
    clock::Clock,
    endpoint::{Link, Service, Slot},
    fault::{Faults, Incidents, RequestFaults},
    machine::Machine,
};

/// The only user PrusaLink knows on Buddy firmware.
const USERNAME: &str = "maker";

/// A simulated printer.
pub(crate) struct Printer {
    name: String,
    model: String,
    url: String,
    nozzle_diameter_millimeters: f64,
    mmu: bool,
    clock: Clock,
    ledger: Ledger,
    network: NetworkTimings,
    inner: Mutex<Inner>,
    /// Requests read, refused ones too.
    requests: AtomicU64,
    /// Wakes the ticker and the endpoint.
    changed: watch::Sender<u64>,
    /// The power-up whose connections the endpoint takes; `None` while it refuses them.
    endpoint_boots: watch::Sender<Option<u32>>,
}

/// Everything that changes.
pub(crate) struct Inner {
    firmware: Firmware,
    faults: Faults,
    login: Login,
    serial_number: String,
    transfer: Option<Transfer>,
    last_transfer_id: u32,
}

impl Printer {
    pub(crate) fn new(
        config: &PrinterConfig,
        url: String,
        clock: Clock,
        ledger: Ledger,
        network: NetworkTimings,
        machine: MachineTimings,
    ) -> Self {
        let usb = Usb::new(config.usb_capacity_bytes);
        let mut faults = Faults::default();
        faults.replace(config.faults.clone());
        Self {
            name: config.name.clone(),
            model: config.effective_model(),
            url,
            nozzle_diameter_millimeters: config.nozzle_diameter_millimeters,
            mmu: config.mmu,
            clock,
            ledger,
            network,
            inner: Mutex::new(Inner {
                firmware: Firmware::new(config.job_counter, config.bed_occupied, &config.material, usb, machine),
                faults,
                login: Login::new(config.effective_password(), network.nonce_seconds),
                serial_number: config.effective_serial_number(),
                transfer: None,
                last_transfer_id: 0,
            }),
            requests: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            endpoint_boots: watch::Sender::new(Some(0)),
        }
    }

    /// Lets everything due happen, then looks.
    fn look<R>(&self, look: impl FnOnce(&Inner, Duration) -> R) -> R {
        let (mut inner, now, changed) = self.advanced();
        let result = look(&inner, now);
        self.write_events(&mut inner);
        drop(inner);
        if changed {
            self.wake();
        }
        result
    }

    /// Lets everything due happen, then changes something.
    fn change<R>(&self, change: impl FnOnce(&mut Inner, Duration) -> R) -> R {
        let (mut inner, now, _) = self.advanced();
        self.write_events(&mut inner);
        let result = change(&mut inner, now);
        self.write_events(&mut inner);
        drop(inner);
        self.wake();
        result
    }

    fn advanced(&self) -> (MutexGuard<'_, Inner>, Duration, bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let conditions = Conditions {
            busy: inner.faults.busy(),
            usb_full: inner.faults.usb_full(),
            stale_time_printing: inner.faults.stale_time_printing(),
        };
        inner.firmware.set_conditions(conditions);
        let changed = inner.firmware.advance(now);
        (inner, now, changed)
    }

    fn write_events(&self, inner: &mut Inner) {
        for event in inner.firmware.take_events() {
            self.ledger.record(&self.name, &inner.serial_number, event);
        }
    }

    /// Writes to the ledger what the firmware itself does not know: requests and their answers.
    fn record(&self, inner: &Inner, event: Event) {
        self.ledger.record(&self.name, &inner.serial_number, event);
    }

    fn wake(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn link(&self) -> Link {
        self.look(|inner, _| {
            let boots = inner.firmware.boots();
            match inner.faults.unreachable() {
                _ if !inner.firmware.is_powered() => Link::Refusing,
                Some(UnreachableManner::Refuse) => Link::Refusing,
                Some(UnreachableManner::Silent) => Link::Silent(boots),
                None if inner.firmware.link_state().is_none() => Link::Silent(boots),
                None => Link::Up(boots),
            }
        })
    }

    /// Lets the machine live: wakes at each of its deadlines. Ends never; abort it with its simulator.
    pub(crate) async fn tick(self: Arc<Self>) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let deadline = self.look(|inner, _| inner.firmware.next_deadline());
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(self.clock.instant_of(deadline)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                result = changed.changed() => if result.is_err() { return },
            }
        }
    }

    /// Waits while the preview is being prepared: the firmware answers a start only afterwards.
    async fn wait_until_started(&self) {
        let mut changed = self.changed.subscribe();
        while self.look(|inner, _| inner.firmware.is_starting()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// A start over the network, with the faults drawn for its request. Returns what the firmware says; the ledger
    /// gets what is really answered.
    fn command_start(
        &self,
        inner: &mut Inner,
        now: Duration,
        path: &[String],
        cause: StartCause,
        faults: &RequestFaults,
    ) -> Result<(), StartRefusal> {
        let verdict = inner.firmware.check_start(path).map(|found| found.long_path);
        let status = match (&verdict, cause) {
            (Ok(_), StartCause::PrintAfterUpload) => 201,
            (Ok(_), _) => 204,
            (Err(StartRefusal::NoSuchFile), _) => 404,
            (Err(StartRefusal::NotReady), _) => 409,
        };
        let started = verdict.is_ok() && !faults.accept_without_starting;
        let reason = match &verdict {
            Ok(_) if !started => "fault: accepted without starting".to_owned(),
            Ok(_) if faults.start_late.is_some() => "fault: accepted, starts later".to_owned(),
            Ok(_) => "accepted".to_owned(),
            Err(refusal) => format!("{refusal} ({})", inner.firmware.screen_text()),
        };
        let event = Event::StartCommand {
            cause,
            file_name: verdict.clone().unwrap_or_else(|_| path.join("/")),
            answer: if faults.drop_after { None } else { Some(faults.handle_then_answer.unwrap_or(status)) },
            acknowledgement: None,
            identity: None,
            accepted: started,
            reason,
        };
        self.record(inner, event);
        verdict?;
        if started {
            let incidents = inner.faults.draw_for_print();
            match faults.start_late {
                Some(later) => inner.firmware.queue_start(now + later, path, cause, incidents),
                None => drop(inner.firmware.start(now, path, cause, incidents)?),
            }
        }
        Ok(())
    }

    fn login_info(&self, inner: &Inner) -> PrinterInfo {
        PrinterInfo {
            name: self.name.clone(),
            kind: PrinterKind::PrusaLink,
            url: self.url.clone(),
            serial_number: inner.serial_number.clone(),
            username: USERNAME.to_owned(),
            password: inner.login.password().clone(),
            model: self.model.clone(),
            bambu: None,
        }
    }
}

impl Machine for Printer {
    fn info(&self) -> PrinterInfo {
        self.look(|inner, _| self.login_info(inner))
    }

    fn state(&self) -> PrinterState {
        self.look(|inner, now| {
            let firmware = &inner.firmware;
            let shown = firmware.shown_print(now);
            PrinterState {
                info: self.login_info(inner),
                screen: firmware.screen_text(),
                link_state: firmware.link_state().map(|state| state.as_str().to_owned()),
                job_id: firmware.job(now).map(|job| job.id),
                last_job_id: firmware.last_job_id(),
                file_name: shown.as_ref().map(|(name, _)| name.clone()),
                progress_percent: shown.map(|(_, percent)| percent),
                bed_occupied: firmware.bed_occupied(),
                powered: firmware.is_powered(),
                usb_inserted: firmware.usb.inserted,
                files: firmware.usb.long_paths(),
                faults: inner.faults.list(),
                bambu: None,
            }
        })
    }

    fn person(&self, action: &Action) -> Result<(), ActError> {
        self.change(|inner, now| {
            // A refused act uses no fault up.
            let faults_before = inner.faults.list();
            let incidents =
                if Firmware::act_starts_print(action) { inner.faults.draw_for_print() } else { Incidents::default() };
            let boots = inner.firmware.boots();
            let acted = inner.firmware.person(now, action, incidents, Timestamp::now().as_second());
            if let Err(refusal) = acted {
                inner.faults.replace(faults_before);
                return Err(refusal);
            }
            match action {
                Action::ChangePassword { password } => inner.login.set_password(password.clone()),
                Action::ReplaceDevice { serial_number } => inner.serial_number.clone_from(serial_number),
                _ => {}
            }
            if inner.firmware.boots() != boots {
                inner.login.reboot();
            }
            self.record(inner, Event::Person { act: action.without_secret() });
            Ok(())
        })
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        Self::wake(self);
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(crate::endpoint::settled(|| self.link(), &self.endpoint_boots))
    }

    fn add_fault(&self, fault: Fault) {
        self.change(|inner, _| inner.faults.add(fault));
    }

    fn replace_faults(&self, faults: Vec<Fault>) {
        self.change(|inner, _| inner.faults.replace(faults));
    }

    fn knows_fault(&self, kind: &FaultKind) -> bool {
        !matches!(kind, FaultKind::Bambu(_))
    }
}

impl Service for Printer {
    fn link(&self) -> Link {
        Self::link(self)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn boots(&self) -> &watch::Sender<Option<u32>> {
        &self.endpoint_boots
    }

    fn connection_limit(&self) -> usize {
        self.network.connections
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, boots: u32, slot: Slot) {
        let mut connection = Connection::new(stream, self.network);
        routes::serve(&self, &mut connection, boots).await;
        // The slot is free before the client can see the end of its connection.
        drop(slot);
        connection.close().await;
    }
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Printer").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// The API key is the same secret as the digest password.
fn is_api_key(password: &Password, key: &str) -> bool {
    !password.as_str().is_empty() && password.as_str() == key
}
