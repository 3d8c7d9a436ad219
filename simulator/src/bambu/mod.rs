//! A Bambu Lab printer in LAN mode as an A1 shows it: firmware model, SD card, MQTT broker, FTPS server.
//!
//! [`Printer`] joins the pure firmware model to its life (clock, lock, ledger), the faults and the two endpoints. Written
//! from what others observed on devices and published; it shares no code with any driver.

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
    sync::{Arc, PoisonError, RwLock, atomic::AtomicU64},
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
    Error, Event, Ledger, Password, PrinterConfig,
    clock::Clock,
    endpoint::Link,
    fault::Faults,
    life::{Alive, Life},
};

/// The only user in LAN mode.
const USERNAME: &str = "bblp";
/// Messages a slow client may be behind before it misses some.
const OUTBOX: usize = 32;

/// A simulated printer.
pub(crate) struct Printer {
    life: Life<Inner>,
    mqtt: SocketAddr,
    ftps: SocketAddr,
    authority: Arc<Authority>,
    report_interval: Duration,
    /// Messages and file commands read, refused ones too.
    requests: AtomicU64,
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

    fn after_reboot(&mut self, now: Duration) {
        self.reporter.reboot(&self.firmware, now);
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

impl Alive for Inner {
    fn advance(&mut self, now: Duration) -> bool {
        let conditions = self.conditions();
        self.firmware.set_conditions(conditions);
        let boots = self.firmware.boots();
        let changed = self.firmware.advance(now);
        if self.firmware.boots() != boots {
            self.after_reboot(now);
        }
        changed
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
        let inner = Inner {
            tls: Tls::new(identity, &authority, &device_key)?,
            firmware,
            faults,
            access_code: config.effective_password(),
            serial_number,
            device_key,
            reporter,
            clients: Clients::default(),
        };
        Ok(Self {
            mqtt,
            ftps,
            report_interval: Duration::from_millis(config.bambu.report_milliseconds.max(10)),
            life: Life::new(&config.name, clock, ledger, inner),
            authority,
            requests: AtomicU64::new(0),
            mqtt_boots: watch::Sender::new(Some(0)),
            ftps_boots: watch::Sender::new(Some(0)),
            outbox: broadcast::Sender::new(OUTBOX),
            guard: RwLock::new(None),
        })
    }

    fn link(&self) -> Link {
        self.life.look(|inner, _| {
            let firmware = &inner.firmware;
            Link::of(firmware.is_powered(), inner.faults.unreachable(), firmware.boots())
        })
    }

    /// The TLS configurations for the certificate the printer has now.
    fn tls(&self) -> Result<Tls, Error> {
        self.life.keep(|inner, _| {
            let identity = inner.identity();
            if inner.tls.identity != identity {
                inner.tls = Tls::new(identity, &self.authority, &inner.device_key)?;
            }
            Ok(inner.tls.clone())
        })
    }

    fn hangs_on_tls13(&self) -> bool {
        self.life.look(|inner, _| inner.faults.has_bambu(&BambuFault::HangsOnTls13))
    }

    /// Lets the machine live. Ends never; abort it with its simulator.
    pub(crate) async fn tick(self: Arc<Self>) {
        self.life.tick().await;
    }

    /// Sends partial reports: at every change, and regularly.
    pub(crate) async fn report(self: Arc<Self>) {
        let mut changed = self.life.changes();
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
        self.life.keep(|inner, now| {
            if inner.faults.has_bambu(&BambuFault::ReportsStop) || !inner.firmware.is_powered() {
                return;
            }
            let style = inner.style();
            if let Some(report) = make(inner, now, style) {
                // Nobody listening is fine.
                let _ = self.outbox.send(Bytes::from(report));
            }
        });
    }

    /// Who holds the commands of connections that are opened from now on, and what he calls this one.
    fn guard(&self) -> Option<(Arc<dyn CommandGuard>, u64)> {
        let guard = self.guard.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let connection = guard.connected();
        Some((guard, connection))
    }

    /// Publishes an acknowledgement.
    fn send(&self, message: &serde_json::Value) {
        let silent = self.life.look(|inner, _| inner.faults.has_bambu(&BambuFault::ReportsStop));
        if !silent {
            let _ = self.outbox.send(Bytes::from(message.to_string()));
        }
    }
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Printer")
            .field("name", &self.life.name())
            .field("mqtt", &self.mqtt)
            .finish_non_exhaustive()
    }
}

/// True if the printer answers on a connection of this power-up. Otherwise false, once the printer says something
/// again: a connection to a silent printer stays open and is worth nothing afterwards.
async fn speaks(printer: &Printer, boots: u32) -> bool {
    let mut changed = printer.life.changes();
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
