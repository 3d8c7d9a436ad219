//! What a running operator tells about itself: log lines, metrics, health. Never secrets, customer names or one label
//! value per object, except the names of BackupPolicies, and of printers where somebody asks for them. Metric names follow the Prometheus
//! conventions: prefix `printernizer_`, base units, `_total`.

mod backups;
pub mod http;
mod labels;
pub mod logs;
pub mod metrics;
mod record;
pub mod requests;
mod sets;

pub use http::{Gate, Health, Heartbeat};
pub use logs::{LogFormat, LogOptions};
pub use metrics::Metrics;
