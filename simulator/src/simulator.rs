//! Starts printers and their control API in one process and hands out handles; everything ends when it is dropped.
//!
//! Listens on loopback unless another address is asked for: a simulated printer with a known password must not be in a
//! network by accident.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use tokio::task::JoinSet;

use crate::{
    ActError, Action, CommandGuard, Config, Error, Fault, Ledger, MachineTimings, NetworkTimings, PrinterConfig,
    PrinterInfo, PrinterKind, PrinterState,
    bambu::{self, Authority},
    buddy,
    clock::Clock,
    control,
    endpoint::Endpoint,
    machine::Machine,
};

/// A running simulation. Dropping it ends all printers and their connections.
#[derive(Debug)]
pub struct Simulator {
    farm: Farm,
    control_address: SocketAddr,
    /// Ends the control API with the simulator.
    _control: JoinSet<()>,
}

/// The printers, shared with the control API.
#[derive(Debug, Clone)]
pub(crate) struct Farm(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Where the printers are.
    listen: Ipv4Addr,
    clock: Clock,
    ledger: Ledger,
    network: NetworkTimings,
    machine: MachineTimings,
    /// Signs the certificates of all Bambu printers; made with the first of them.
    authority: OnceLock<Arc<Authority>>,
    printers: RwLock<Printers>,
}

#[derive(Default)]
struct Printers {
    handles: Vec<PrinterHandle>,
    tasks: JoinSet<()>,
}

/// One printer of the simulation. Clones act on the same machine.
#[derive(Clone)]
pub struct PrinterHandle {
    name: String,
    machine: Arc<dyn Machine>,
}

impl Simulator {
    /// Starts all printers of the configuration and the control API. When this returns, every printer accepts
    /// connections.
    ///
    /// # Errors
    /// An address that is not ours or not free, a control API beyond loopback and the printers' address, a printer name used twice, an unusable time scale or ledger file.
    pub async fn start(config: Config) -> Result<Self, Error> {
        if !(0.001..=1_000_000.0).contains(&config.time_scale) {
            return Err(Error::TimeScale { scale: config.time_scale });
        }
        if !config.control.ip().is_loopback() && config.control.ip() != config.listen {
            return Err(Error::NotLoopback { address: config.control });
        }
        let farm = Farm(Arc::new(Shared {
            listen: config.listen,
            clock: Clock::start(config.time_scale),
            ledger: Ledger::open(config.ledger_file.as_deref())?,
            network: config.network,
            machine: config.machine,
            authority: OnceLock::new(),
            printers: RwLock::default(),
        }));
        for printer in &config.printers {
            farm.add(printer)?;
        }
        let unusable = |source| Error::Listen { address: config.control, source };
        let listener = tokio::net::TcpListener::bind(config.control).await.map_err(unusable)?;
        let control_address = listener.local_addr().map_err(unusable)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(control::serve(listener, farm.clone()));
        Ok(Self { farm, control_address, _control: tasks })
    }

    /// How to reach each printer.
    pub fn printers(&self) -> Vec<PrinterInfo> {
        self.farm.handles().iter().map(PrinterHandle::info).collect()
    }

    /// One printer by its name.
    ///
    /// # Errors
    /// [`Error::UnknownPrinter`]
    pub fn printer(&self, name: &str) -> Result<PrinterHandle, Error> {
        self.farm.printer(name)
    }

    /// Adds a printer while the simulation runs.
    ///
    /// # Errors
    /// A name used twice, or a port that is not free.
    pub fn add_printer(&self, config: &PrinterConfig) -> Result<PrinterInfo, Error> {
        self.farm.add(config)
    }

    /// What the machines did.
    pub fn ledger(&self) -> Ledger {
        self.farm.ledger().clone()
    }

    /// `http://ADDRESS:PORT` of the control API.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control_address)
    }

    /// Lets this much simulated time pass at once, for all printers: whatever was due in between happens now, each
    /// thing at its own time. Tests use it instead of waiting.
    pub fn skip_time(&self, simulated: Duration) {
        self.farm.skip_time(simulated);
    }

    /// Simulated time since the start.
    pub fn now(&self) -> Duration {
        self.farm.0.clock.now()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let mut printers = self.farm.0.printers.write().unwrap_or_else(PoisonError::into_inner);
        printers.tasks.abort_all();
        printers.handles.clear();
    }
}

impl Farm {
    pub(crate) fn handles(&self) -> Vec<PrinterHandle> {
        self.0.printers.read().unwrap_or_else(PoisonError::into_inner).handles.clone()
    }

    pub(crate) fn printer(&self, name: &str) -> Result<PrinterHandle, Error> {
        let printers = self.0.printers.read().unwrap_or_else(PoisonError::into_inner);
        let found = printers.handles.iter().find(|handle| handle.name == name).cloned();
        found.ok_or_else(|| Error::UnknownPrinter { name: name.to_owned() })
    }

    pub(crate) fn skip_time(&self, simulated: Duration) {
        self.0.clock.skip(simulated);
        for handle in self.handles() {
            handle.machine.wake();
            // Looking lets everything due happen before this returns.
            handle.machine.info();
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    fn authority(&self) -> Result<Arc<Authority>, Error> {
        if let Some(authority) = self.0.authority.get() {
            return Ok(Arc::clone(authority));
        }
        let made = Arc::new(Authority::simulated()?);
        Ok(Arc::clone(self.0.authority.get_or_init(|| made)))
    }

    pub(crate) fn add(&self, config: &PrinterConfig) -> Result<PrinterInfo, Error> {
        let shared = &self.0;
        let mut printers = shared.printers.write().unwrap_or_else(PoisonError::into_inner);
        if printers.handles.iter().any(|handle| handle.name == config.name) {
            return Err(Error::DuplicateName { name: config.name.clone() });
        }
        let reserve = |port| {
            let address = SocketAddr::from((shared.listen, port));
            Endpoint::reserve(address).map_err(|source| Error::Listen { address, source })
        };
        let machine: Arc<dyn Machine> = match config.kind {
            PrinterKind::PrusaLink => {
                let endpoint = reserve(config.port)?;
                let url = format!("http://{}", endpoint.address());
                let ledger = shared.ledger.clone();
                let printer =
                    buddy::Printer::new(config, url, shared.clock.clone(), ledger, shared.network, shared.machine);
                let printer = Arc::new(printer);
                printers.tasks.spawn(Arc::clone(&printer).tick());
                printers.tasks.spawn(endpoint.serve(Arc::clone(&printer)));
                printer
            }
            PrinterKind::Bambu => {
                let (mqtt, ftps) = (reserve(config.port)?, reserve(config.bambu.ftps_port)?);
                let addresses = (mqtt.address(), ftps.address());
                let (clock, ledger) = (shared.clock.clone(), shared.ledger.clone());
                let authority = self.authority()?;
                let printer = Arc::new(bambu::Printer::new(config, addresses, authority, clock, ledger)?);
                printers.tasks.spawn(Arc::clone(&printer).tick());
                printers.tasks.spawn(Arc::clone(&printer).report());
                printers.tasks.spawn(mqtt.serve(Arc::new(bambu::Broker(Arc::clone(&printer)))));
                printers.tasks.spawn(ftps.serve(Arc::new(bambu::FileServer(Arc::clone(&printer)))));
                printer
            }
        };
        let handle = PrinterHandle { name: config.name.clone(), machine };
        let info = handle.info();
        printers.handles.push(handle);
        Ok(info)
    }
}

impl PrinterHandle {
    /// How to reach it.
    pub fn info(&self) -> PrinterInfo {
        self.machine.info()
    }

    /// What it is really doing.
    pub fn state(&self) -> PrinterState {
        self.machine.state()
    }

    /// Requests it has read since the start, refused ones too: how much a client asks of it.
    pub fn requests(&self) -> u64 {
        self.machine.requests()
    }

    /// Plays a person at the machine.
    ///
    /// # Errors
    /// The screen does not offer this now, or the file is missing.
    pub fn person(&self, action: &Action) -> Result<(), ActError> {
        self.machine.person(action)
    }

    /// Waits until the port shows what was last done: after a power cut no connection is left and new ones are
    /// refused, after its end the port accepts again. Acts and faults themselves take effect at once.
    pub async fn settled(&self) {
        self.machine.settled().await;
    }

    /// Waits until the machine is as wanted; false if it was not within `timeout` of real time. Progress alone wakes
    /// nobody: wait for what the machine shows, not for a percentage.
    pub async fn wait_for(&self, timeout: Duration, mut wanted: impl FnMut(&PrinterState) -> bool) -> bool {
        let mut changes = self.machine.changes();
        tokio::time::timeout(timeout, async {
            while !wanted(&self.state()) {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await
        .is_ok()
    }

    /// Whether this kind of printer can have such a fault. Others are kept and do nothing.
    pub fn knows_fault(&self, fault: &Fault) -> bool {
        self.machine.knows_fault(&fault.kind)
    }

    /// Lets somebody hold the commands of the clients that connect from now on; false for a kind of printer that has
    /// no such thing.
    pub fn guard(&self, guard: Arc<dyn CommandGuard>) -> bool {
        self.machine.set_guard(guard)
    }

    /// Adds a fault to those set.
    pub fn fault(&self, fault: Fault) {
        self.machine.add_fault(fault);
    }

    /// Replaces all faults.
    pub fn replace_faults(&self, faults: Vec<Fault>) {
        self.machine.replace_faults(faults);
    }

    /// Clears all faults.
    pub fn clear_faults(&self) {
        self.machine.replace_faults(Vec::new());
    }
}

impl std::fmt::Debug for PrinterHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PrinterHandle").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Printers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self.handles).finish()
    }
}
