//! A Bambu Lab printer in LAN mode as an A1 shows it: firmware model, SD card, MQTT broker, FTPS server.
//!
//! [`Printer`] joins the pure firmware model to the clock, the faults, the ledger and the two endpoints. All state sits
//! behind one lock that is never held across an await. Written from what others observed on devices and published; it
//! shares no code with any driver.

mod broker;
mod card;
mod certificate;
mod clients;
mod commands;
mod config;
mod der;
mod faults;
mod firmware;
mod ftps;
mod guard;
mod machine;
mod report;
mod sliced;
mod three_mf;
mod tls;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

pub(crate) use self::{broker::Broker, certificate::Authority, ftps::FileServer};
use self::{
    card::Card,
    certificate::DeviceKey,
    clients::Clients,
    firmware::{Conditions, Firmware},
    report::{Reporter, Style},
    tls::{Identity, Tls},
};
pub use self::{
    config::{BambuConfig, BambuTimings, Tray},
    faults::{BambuFault, CertificateDefect, PrintErrorCode, RefusalForm},
    guard::{AfterCommand, CommandGuard},
    sliced::SlicedFile,
};
use crate::{
    Error, Event, Ledger, Password, PrinterConfig, UnreachableManner, clock::Clock, endpoint::Link, fault::Faults,
};

/// The only user in LAN mode.
const USERNAME: &str = "bblp";
/// Messages a slow client may be behind before it misses some.
const OUTBOX: usize = 32;

/// A simulated printer.
pub(crate) struct Printer {
    name: String,
    mqtt: SocketAddr,
    ftps: SocketAddr,
    authority: Arc<Authority>,
    clock: Clock,
    ledger: Ledger,
    report_interval: Duration,
    inner: Mutex<Inner>,
    /// Messages and file commands read, refused ones too.
    requests: AtomicU64,
    /// Wakes ticker, reporter and endpoints.
    changed: watch::Sender<u64>,
    /// The power-up whose connections the endpoints take; `None` while they refuse them.
    mqtt_boots: watch::Sender<Option<u32>>,
    ftps_boots: watch::Sender<Option<u32>>,
    /// What is published on the report topic.
    outbox: broadcast::Sender<Bytes>,
    guard: RwLock<Option<Arc<dyn CommandGuard>>>,
}

/// Everything that changes.
pub(crate) struct Inner {
    firmware: Firmware,
    faults: Faults,
    access_code: Password,
    serial_number: String,
    device_key: DeviceKey,
    reporter: Reporter,
    clients: Clients,
    tls: Tls,
}

impl Inner {
    /// The serial number the network shows.
    fn shown_serial_number(&self) -> String {
        self.faults.wrong_serial().unwrap_or(&self.serial_number).to_owned()
    }

    fn identity(&self) -> Identity {
        let defect = self.faults.bambu(|fault| match fault {
            BambuFault::Certificate { defect } => Some(defect.clone()),
            _ => None,
        });
        Identity { serial_number: self.shown_serial_number(), defect }
    }

    fn conditions(&self) -> Conditions {
        let set = |wanted: &BambuFault| self.faults.has_bambu(wanted);
        Conditions {
            card_read_only: set(&BambuFault::CardReadOnly),
            card_abnormal: set(&BambuFault::CardAbnormal),
            card_full: self.faults.usb_full(),
            busy_start_cancels: set(&BambuFault::BusyStartCancels),
            end_screen_ignores_starts: set(&BambuFault::EndScreenIgnoresStarts),
            checks_md5: set(&BambuFault::ChecksMd5),
            wrong_mapping_prints: set(&BambuFault::WrongMappingPrints),
            leftover_starts: set(&BambuFault::LeftoverFileStarts),
            keeps_ids: set(&BambuFault::KeepsIdsOverReboot),
        }
    }

    fn style(&self) -> Style {
        Style {
            numbers_as_strings: self.faults.has_bambu(&BambuFault::NumbersAsStrings),
            invalid_utf8: self.faults.has_bambu(&BambuFault::InvalidUtf8),
            least_bytes: self
                .faults
                .bambu(|fault| match fault {
                    BambuFault::LargeReports { bytes } => Some(*bytes),
                    _ => None,
                })
                .unwrap_or(0),
        }
    }
}

impl Printer {
    pub(crate) fn new(
        config: &PrinterConfig,
        (mqtt, ftps): (SocketAddr, SocketAddr),
        authority: Arc<Authority>,
        clock: Clock,
        ledger: Ledger,
    ) -> Result<Self, Error> {
        let serial_number = config.effective_serial_number();
        let device_key = DeviceKey::generate()?;
        let identity = Identity { serial_number: serial_number.clone(), defect: None };
        let nozzle = config.nozzle_diameter_millimeters.to_string();
        let card = Card::new(config.usb_capacity_bytes);
        let model = config.effective_model();
        let firmware = Firmware::new(config.bambu.clone(), &model, nozzle, config.bed_occupied, card);
        let mut reporter = Reporter::default();
        reporter.reboot(&firmware, clock.now());
        let mut faults = Faults::default();
        faults.replace(config.faults.clone());
        Ok(Self {
            name: config.name.clone(),
            mqtt,
            ftps,
            report_interval: Duration::from_millis(config.bambu.report_milliseconds.max(10)),
            inner: Mutex::new(Inner {
                tls: Tls::new(identity, &authority, &device_key)?,
                firmware,
                faults,
                access_code: config.effective_password(),
                serial_number,
                device_key,
                reporter,
                clients: Clients::default(),
            }),
            authority,
            clock,
            ledger,
            requests: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            mqtt_boots: watch::Sender::new(Some(0)),
            ftps_boots: watch::Sender::new(Some(0)),
            outbox: broadcast::Sender::new(OUTBOX),
            guard: RwLock::new(None),
        })
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
        let conditions = inner.conditions();
        inner.firmware.set_conditions(conditions);
        let boots = inner.firmware.boots();
        let changed = inner.firmware.advance(now);
        if inner.firmware.boots() != boots {
            Self::after_reboot(&mut inner, now);
        }
        (inner, now, changed)
    }

    fn after_reboot(inner: &mut Inner, now: Duration) {
        let Inner { reporter, firmware, .. } = inner;
        reporter.reboot(firmware, now);
    }

    fn write_events(&self, inner: &mut Inner) {
        for event in inner.firmware.take_events() {
            self.ledger.record(&self.name, &inner.serial_number, event);
        }
    }

    /// Writes to the ledger what the firmware itself does not know.
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
                None => Link::Up(boots),
            }
        })
    }

    /// The TLS configurations for the certificate the printer has now.
    fn tls(&self) -> Result<Tls, Error> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = inner.identity();
        if inner.tls.identity != identity {
            inner.tls = Tls::new(identity, &self.authority, &inner.device_key)?;
        }
        Ok(inner.tls.clone())
    }

    fn hangs_on_tls13(&self) -> bool {
        self.look(|inner, _| inner.faults.has_bambu(&BambuFault::HangsOnTls13))
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

    /// Sends partial reports: at every change, and regularly.
    pub(crate) async fn report(self: Arc<Self>) {
        let mut changed = self.changed.subscribe();
        let mut regular = tokio::time::interval(self.report_interval);
        regular.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_regular = tokio::select! {
                _ = regular.tick() => true,
                result = changed.changed() => {
                    if result.is_err() {
                        return;
                    }
                    false
                }
            };
            if self.outbox.receiver_count() > 0 {
                self.send_report(|inner, now, style| {
                    let Inner { reporter, firmware, .. } = inner;
                    if reporter.stopped { None } else { reporter.partial(firmware, now, style, is_regular) }
                });
            }
        }
    }

    /// Sends a full report to all clients.
    fn send_full_report(&self) {
        self.send_report(|inner, now, style| Some(inner.reporter.full(&inner.firmware, now, style)));
    }

    /// Makes a report and sends it under one lock, so that reports are sent in their order.
    fn send_report(&self, make: impl FnOnce(&mut Inner, Duration, Style) -> Option<Vec<u8>>) {
        let (mut inner, now, changed) = self.advanced();
        self.write_events(&mut inner);
        if !inner.faults.has_bambu(&BambuFault::ReportsStop) && inner.firmware.is_powered() {
            let style = inner.style();
            if let Some(report) = make(&mut inner, now, style) {
                // Nobody listening is fine.
                let _ = self.outbox.send(Bytes::from(report));
            }
        }
        drop(inner);
        // Whoever waits for what the machine does is told, also when it was this look that let it happen.
        if changed {
            self.wake();
        }
    }

    /// Who holds the commands of connections that are opened from now on, and what he calls this one.
    fn guard(&self) -> Option<(Arc<dyn CommandGuard>, u64)> {
        let guard = self.guard.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let connection = guard.connected();
        Some((guard, connection))
    }

    /// Publishes an acknowledgement.
    fn send(&self, message: &serde_json::Value) {
        let silent = self.look(|inner, _| inner.faults.has_bambu(&BambuFault::ReportsStop));
        if !silent {
            let _ = self.outbox.send(Bytes::from(message.to_string()));
        }
    }
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Printer").field("name", &self.name).field("mqtt", &self.mqtt).finish_non_exhaustive()
    }
}

/// True if the printer answers on a connection of this power-up. Otherwise false, once the printer says something
/// again: a connection to a silent printer stays open and is worth nothing afterwards.
async fn speaks(printer: &Printer, boots: u32) -> bool {
    let mut changed = printer.changed.subscribe();
    if printer.link() == Link::Up(boots) {
        return true;
    }
    while printer.link() == Link::Silent(boots) {
        if changed.changed().await.is_err() {
            break;
        }
    }
    false
}
