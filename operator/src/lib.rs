//! The operator's parts, as a library so that tests can start them in their own process.

pub mod files;
pub mod leadership;
pub mod telemetry;
