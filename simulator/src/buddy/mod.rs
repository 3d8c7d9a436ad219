//! A Prusa printer with Buddy firmware (Core One, 6.4) as PrusaLink shows it: firmware model, USB drive, HTTP server.
//!
//! [`Printer`] joins the pure firmware model to its life (clock, lock, ledger), the faults and the endpoint.

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
        Arc,
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
    PrinterInfo, PrinterKind, PrinterState, StartCause,
    clock::Clock,
    endpoint::{Link, Service, Slot},
    fault::{Faults, RequestFaults},
    life::{Alive, Life},
    machine::Machine,
};

/// The only user PrusaLink knows on Buddy firmware.
const USERNAME: &str = "maker";

/// A simulated printer.
pub(crate) struct Printer {
    life: Life<Inner>,
    model: String,
    url: String,
    nozzle_diameter_millimeters: f64,
    mmu: bool,
    network: NetworkTimings,
    /// Requests read, refused ones too.
    requests: AtomicU64,
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

impl Alive for Inner {
    fn advance(&mut self, now: Duration) -> bool {
        let conditions = Conditions {
            busy: self.faults.busy(),
            usb_full: self.faults.usb_full(),
            stale_time_printing: self.faults.stale_time_printing(),
        };
        self.firmware.set_conditions(conditions);
        self.firmware.advance(now)
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.firmware.next_deadline()
    }

    fn take_events(&mut self) -> Vec<Event> {
        self.firmware.take_events()
    }

    fn serial_number(&self) -> &str {
        &self.serial_number
    }
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
        let inner = Inner {
            firmware: Firmware::new(config.job_counter, config.bed_occupied, &config.material, usb, machine),
            faults,
            login: Login::new(config.effective_password(), network.nonce_seconds),
            serial_number: config.effective_serial_number(),
            transfer: None,
            last_transfer_id: 0,
        };
        Self {
            life: Life::new(&config.name, clock, ledger, inner),
            model: config.effective_model(),
            url,
            nozzle_diameter_millimeters: config.nozzle_diameter_millimeters,
            mmu: config.mmu,
            network,
            requests: AtomicU64::new(0),
            endpoint_boots: watch::Sender::new(Some(0)),
        }
    }

    fn link(&self) -> Link {
        self.life.look(|inner, _| {
            let firmware = &inner.firmware;
            match Link::of(firmware.is_powered(), inner.faults.unreachable(), firmware.boots()) {
                Link::Up(boots) if firmware.link_state().is_none() => Link::Silent(boots),
                link => link,
            }
        })
    }

    /// Lets the machine live. Ends never; abort it with its simulator.
    pub(crate) async fn tick(self: Arc<Self>) {
        self.life.tick().await;
    }

    /// Waits while the preview is being prepared: the firmware answers a start only afterwards.
    async fn wait_until_started(&self) {
        let mut changed = self.life.changes();
        while self.life.look(|inner, _| inner.firmware.is_starting()) {
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
        self.life.record(inner, event);
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
            name: self.life.name().to_owned(),
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
        self.life.look(|inner, _| self.login_info(inner))
    }

    fn state(&self) -> PrinterState {
        self.life.look(|inner, now| {
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
        self.life.change(|inner, now| {
            let boots = inner.firmware.boots();
            let today = Timestamp::now().as_second();
            inner.faults.draw_for_act(action, |incidents| inner.firmware.person(now, action, incidents, today))?;
            match action {
                Action::ChangePassword { password } => inner.login.set_password(password.clone()),
                Action::ReplaceDevice { serial_number } => inner.serial_number.clone_from(serial_number),
                _ => {}
            }
            if inner.firmware.boots() != boots {
                inner.login.reboot();
            }
            self.life.record(inner, Event::Person { act: action.without_secret() });
            Ok(())
        })
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        self.life.wake();
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.life.changes()
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(crate::endpoint::settled(|| self.link(), &self.endpoint_boots))
    }

    fn add_fault(&self, fault: Fault) {
        self.life.change(|inner, _| inner.faults.add(fault));
    }

    fn replace_faults(&self, faults: Vec<Fault>) {
        self.life.change(|inner, _| inner.faults.replace(faults));
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
        self.life.changes()
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
        formatter
            .debug_struct("Printer")
            .field("name", &self.life.name())
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The API key is the same secret as the digest password.
fn is_api_key(password: &Password, key: &str) -> bool {
    !password.as_str().is_empty() && password.as_str() == key
}
