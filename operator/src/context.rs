//! What the controllers share.

use std::sync::Arc;

use printernizer_crds::{BackupPolicy, PrintJob, Printer};
use printernizer_rules::backup_policy::Image;
use printernizer_rules::timing::Timing;

use crate::api::Api;
use crate::events::Events;
use crate::fleet::Fleet;
use crate::print_job::desk::Desk;
use crate::reconcile::Queue;
use crate::scheduling::Scheduling;
use crate::telemetry::Metrics;
use crate::watch::Index;

/// What the controllers share.
pub struct Context {
    /// The API server.
    pub api: Api,
    /// Sessions with the printers.
    pub fleet: Arc<Fleet>,
    /// Events of objects.
    pub events: Events,
    /// Print files of jobs.
    pub desk: Desk,
    /// The assignment of jobs to printers.
    pub scheduling: Scheduling,
    /// Metrics.
    pub metrics: Metrics,
    /// Windows.
    pub timing: Timing,
    /// Printers to look at.
    pub printers: Queue,
    /// PrintJobs to look at.
    pub jobs: Queue,
    /// BackupPolicies to look at.
    pub policies: Queue,
    /// Image of the pods of BackupPolicies.
    pub backup_image: Option<Image>,
    /// Printers as last heard.
    pub printer_index: Arc<Index<Printer>>,
    /// PrintJobs as last heard.
    pub job_index: Arc<Index<PrintJob>>,
    /// BackupPolicies as last heard.
    pub policy_index: Arc<Index<BackupPolicy>>,
}
