//! The operator's parts, as a library so that tests can start them in their own process.
//!
//! One job's way: `watch` hears of it, `reconcile` looks at it, `print_job` observes, asks `rules`, acts; `scheduling`
//! claims a printer for it; the printer's session in `fleet` uploads, starts once and watches; `leadership` is asked
//! before every effect.

pub mod api;
pub mod backup_policy;
pub mod context;
pub mod definitions;
pub mod error;
pub mod events;
pub mod files;
pub mod fleet;
mod gauges;
pub mod leadership;
pub mod print_job;
pub mod printer;
pub mod reconcile;
pub mod records;
pub mod run;
pub mod scheduling;
pub mod scope;
pub mod tasks;
pub mod telemetry;
pub mod watch;
mod watching;
