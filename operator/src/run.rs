//! Wires the operator together, runs it as long as it leads, and shuts it down in order.
//!
//! On SIGTERM: effects stop, sessions close, then the Lease is released. On a lost Lease: no further effect, sessions
//! close, the process ends, and its successor starts from what is stored.

mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use kube::{Client, Config};
use printernizer_bambu::Trust;
use printernizer_rules::backup_policy::Image;
use printernizer_rules::timing::Timing;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::signals::Signals;
use crate::api::{Api, CALL_TIMEOUT};
use crate::context::Context;
use crate::definitions::{self, Definitions};
use crate::events::Events;
use crate::files::allow::Networks;
use crate::files::resolve::SystemResolver;
use crate::files::{FetchError, Files, FilesConfig, KubeReferences, Limits};
use crate::fleet::{Fleet, FleetContext};
use crate::leadership::{self, KubeLeaseStore, Leadership, NotLeader, SystemClock};
use crate::print_job::desk::Desk;
use crate::reconcile::{self, Queue};
use crate::scheduling::{self, Scheduling};
use crate::scope::Scope;
use crate::tasks::Tasks;
use crate::telemetry::metrics::Controller;
use crate::telemetry::{Health, Metrics, http, requests};
use crate::watch::Index;
use crate::watching::{HEARTBEAT, Watching};
use crate::{backup_policy, gauges, print_job, printer, records};

/// Passes over objects of one kind that run at the same time.
const CONCURRENCY: usize = 16;
/// How long a shutdown may take before the Lease is released all the same.
const SHUTDOWN: Duration = Duration::from_secs(4);
/// How long giving the Lease back may take; then the next leader waits for it to run out.
const RELEASE: Duration = Duration::from_secs(4);

/// Settings of `printernizer run`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to work in.
    pub scope: Scope,
    /// Namespace of the Lease.
    pub lease_namespace: String,
    /// Name of this process, for the Lease and events.
    pub identity: String,
    /// Address of /metrics, /healthz and /readyz.
    pub listen: SocketAddr,
    /// Directory of the file cache.
    pub cache: PathBuf,
    /// Its size in bytes.
    pub cache_bytes: u64,
    /// How long a file that nobody uses stays in it.
    pub cache_age: Duration,
    /// Uploads that may run at the same time.
    pub uploads: usize,
    /// Networks printers may be in; the private ranges where it is empty.
    pub printer_networks: Vec<IpNet>,
    /// Who may vouch for a Bambu Lab printer.
    pub bambu_ca: Trust,
    /// Private networks print files may come from.
    pub source_networks: Vec<IpNet>,
    /// Whether printers and sources on this machine are allowed.
    pub allow_loopback: bool,
    /// Whether all starts are held.
    pub hold_starts: bool,
    /// Whether the metrics name single printers.
    pub metrics_per_printer: bool,
    /// Image of the pods of BackupPolicies; `None` where none was named.
    pub backup_image: Option<Image>,
    /// How many times as fast time runs, for simulated printers only.
    pub simulated_time: u32,
}

/// Why the operator ended other than by a signal.
#[derive(Debug, Error)]
pub enum RunError {
    /// The cluster's address or credentials cannot be used.
    #[error(
        "no Kubernetes API server to talk to; set KUBECONFIG to a file that exists, or unset it to use ~/.kube/config or \
         the cluster this runs in"
    )]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The settings of the election are wrong.
    #[error("leader election cannot be set up")]
    Election(#[source] leadership::ConfigError),
    /// The port is taken or not allowed.
    #[error("cannot listen on {address}; choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cache cannot be used.
    #[error("the file cache {directory} cannot be used; choose another directory with --cache-dir")]
    Cache {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: Box<FetchError>,
    },
    /// The directory of the file cache cannot be written.
    #[error("the file cache {directory} cannot be written; choose another directory with --cache-dir")]
    CacheDirectory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Metrics cannot be registered.
    #[error("metrics cannot be set up")]
    Metrics(#[source] prometheus::Error),
    /// Leadership was lost: another process carries on.
    #[error("leadership ended: {0}")]
    Lost(#[source] NotLeader),
    /// A task ended without which nothing would happen any more.
    #[error("the task \"{0}\" ended, which is a bug: the process must be started again; please report its log")]
    Ended(&'static str),
    /// A signal handler cannot be installed.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

/// Runs until a signal, until leadership is lost, or until it cannot go on.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    // Found out now, not by the one who takes over at night.
    check_cache(&settings.cache)
        .map_err(|source| RunError::CacheDirectory { directory: settings.cache.clone(), source })?;
    let metrics = Metrics::new().map_err(RunError::Metrics)?;
    metrics.count_panics();
    let health = Health::new();
    // A rollout ends the last operator that works only for one that has reached the API server and may write the Lease.
    let lease_is_ours_to_write = health.gate("the Lease may be renewed");
    let mut config = Config::infer().await.map_err(|e| RunError::Config(Box::new(e)))?;
    // A write that is repeated by a library is not the write that was decided on.
    config.default_retry = false;
    config.connect_timeout = Some(CALL_TIMEOUT);
    let client = requests::client(config.clone(), &metrics).map_err(|e| RunError::Config(Box::new(e)))?;

    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|source| RunError::Listen { address: settings.listen, source })?;
    let address = listener.local_addr().map_err(|source| RunError::Listen { address: settings.listen, source })?;
    tracing::info!(%address, "metrics and health");
    let process = CancellationToken::new();
    tokio::spawn(http::serve(listener, metrics.clone(), health.clone(), process.clone().cancelled_owned()));

    let factor = f64::from(settings.simulated_time.max(1));
    let election = leadership::Config::new(&settings.lease_namespace, "printernizer", &settings.identity);
    // Lease times stay what they are with simulated devices: they bound real processes, not prints.
    let (leadership, runner) = Leadership::new(election, SystemClock, metrics.lease()).map_err(RunError::Election)?;
    let store = KubeLeaseStore::new(config, &metrics, &settings.lease_namespace, "printernizer")
        .map_err(|e| RunError::Config(Box::new(e)))?;
    tokio::spawn(runner.run(store));
    let reader = leadership.clone();
    tokio::spawn(async move {
        reader.reached().await;
        lease_is_ours_to_write.open();
    });

    let mut signals = Signals::new().map_err(RunError::Signals)?;
    if settings.simulated_time > 1 {
        tracing::warn!(factor, "time is simulated: for simulated printers only");
    }
    // A misspelt one is an empty one, of which nobody complains.
    tracing::info!(namespaces = %settings.scope, "waiting to become leader");
    tokio::select! {
        () = signals.next() => {
            leadership.release().await;
            process.cancel();
            return Ok(());
        }
        led = leadership.wait_until_leader() => {
            let term = led.map_err(RunError::Lost)?;
            tracing::info!(%term, "leading");
        }
    }

    let running = Running::start(&settings, client, &leadership, &metrics, &health)?;
    let result = tokio::select! {
        () = signals.next() => Ok(()),
        loss = leadership.lost() => Err(RunError::Lost(NotLeader::Lost(loss))),
        name = running.tasks.ended_early() => Err(RunError::Ended(name)),
    };
    tracing::info!("shutting down");
    running.stop().await;
    let released = tokio::time::timeout(RELEASE, leadership.release()).await.unwrap_or(false);
    tracing::info!(released, "the Lease was given back");
    process.cancel();
    result
}

/// Whether files can be made in the directory. It may be another process's cache as well: what is there is left alone.
fn check_cache(directory: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    tempfile::tempfile_in(directory).map(drop)
}

/// Everything a leader runs.
struct Running {
    cancel: CancellationToken,
    tasks: Tasks,
    fleet: Arc<Fleet>,
}

impl Running {
    fn start(
        settings: &Settings,
        client: Client,
        leadership: &Leadership,
        metrics: &Metrics,
        health: &Health,
    ) -> Result<Self, RunError> {
        let timing = Timing::default().simulated(settings.simulated_time);
        let files = Files::new(FilesConfig {
            directory: settings.cache.clone(),
            cache_bytes: settings.cache_bytes,
            max_age: settings.cache_age,
            limits: Limits::default(),
            networks: Networks::for_sources(settings.source_networks.clone(), settings.allow_loopback),
            resolver: Arc::new(SystemResolver),
            references: Arc::new(KubeReferences::new(client.clone(), CALL_TIMEOUT)),
        })
        .map_err(|error| RunError::Cache { directory: settings.cache.clone(), source: Box::new(error) })?;
        let networks = if settings.simulated_time > 1 {
            Networks::only(Vec::new(), true)
        } else if settings.printer_networks.is_empty() {
            Networks::for_printers(settings.allow_loopback)
        } else {
            Networks::only(settings.printer_networks.clone(), settings.allow_loopback)
        };
        let (printers, jobs, policies) = (Queue::default(), Queue::default(), Queue::default());
        let api = Api::new(client.clone(), leadership.clone(), metrics.clone());
        let fleet = Fleet::new(FleetContext {
            api: api.clone(),
            scope: settings.scope.clone(),
            timing,
            networks,
            bambu_ca: settings.bambu_ca.clone(),
            hold_starts: settings.hold_starts,
            definitions: Definitions::unread(),
            metrics: metrics.clone(),
            upload_slots: Arc::new(Semaphore::new(settings.uploads.max(1))),
            printers: printers.clone(),
            jobs: jobs.clone(),
        });
        let (events, writer) = Events::new(settings.identity.clone());
        let context = Arc::new(Context {
            api: api.clone(),
            fleet: Arc::clone(&fleet),
            events,
            desk: Desk::new(files.clone(), jobs.clone()),
            scheduling: Scheduling::default(),
            metrics: metrics.clone(),
            timing,
            printers: printers.clone(),
            jobs: jobs.clone(),
            policies: policies.clone(),
            backup_image: settings.backup_image.clone(),
            printer_index: Arc::new(Index::marked_by(printer::marks)),
            job_index: Arc::new(Index::marked_by(printer::job_marks)),
            policy_index: Arc::new(Index::default()),
        });
        let cancel = CancellationToken::new();
        let tasks = Tasks::new(cancel.clone());
        tasks.spawn("events", writer.run(api.clone(), cancel.clone()));
        tasks.spawn("file cache", files.tidy(cancel.clone()));
        let (of_fleet, schedule) = (fleet.context().definitions.clone(), context.scheduling.clone());
        let look =
            definitions::watch(client.clone(), of_fleet, metrics.clone(), cancel.clone(), move || schedule.wake());
        tasks.spawn("definitions", look);

        let scope = &settings.scope;
        Watching { context: &context, client, scope, health, tasks: &tasks, cancel: &cancel }.begin();
        let c = Arc::clone(&context);
        tasks.spawn(
            "printers",
            reconcile::run(
                Controller::Printer,
                printers,
                CONCURRENCY,
                metrics.clone(),
                health.heartbeat("printers", HEARTBEAT),
                cancel.clone(),
                move |key| printer::reconcile(Arc::clone(&c), key),
            ),
        );
        let c = Arc::clone(&context);
        tasks.spawn(
            "print jobs",
            reconcile::run(
                Controller::PrintJob,
                jobs,
                CONCURRENCY,
                metrics.clone(),
                health.heartbeat("print jobs", HEARTBEAT),
                cancel.clone(),
                move |key| print_job::reconcile(Arc::clone(&c), key),
            ),
        );
        let c = Arc::clone(&context);
        tasks.spawn(
            "backup policies",
            reconcile::run(
                Controller::BackupPolicy,
                policies,
                CONCURRENCY,
                metrics.clone(),
                health.heartbeat("backup policies", HEARTBEAT),
                cancel.clone(),
                move |key| backup_policy::reconcile(Arc::clone(&c), key),
            ),
        );
        let heartbeat = health.heartbeat("scheduling", HEARTBEAT);
        tasks.spawn("scheduling", scheduling::run(Arc::clone(&context), heartbeat, cancel.clone()));
        let heartbeat = health.heartbeat("records", HEARTBEAT);
        let records = records::run(api, settings.scope.clone(), timing.record_ttl, heartbeat, cancel.clone());
        tasks.spawn("records", records);
        tasks.spawn("gauges", gauges::run(context, settings.metrics_per_printer, cancel.clone()));
        Ok(Self { cancel, tasks, fleet })
    }

    /// Effects end, then sessions; both within the time a shutdown may take.
    async fn stop(&self) {
        self.cancel.cancel();
        let ended = async { tokio::join!(self.tasks.wait(), self.fleet.close()) };
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
    }
}
