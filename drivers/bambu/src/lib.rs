//! Talks to one Bambu Lab printer in LAN mode with Developer Mode on: MQTT for reports and commands, implicit FTPS for
//! files. Only the protocol: it takes no decision, retries nothing that may have been carried out, knows no Kubernetes
//! and no clock but its timeouts. Every fact relied on, with its public source, is listed in this folder's README.md.

pub mod codes;
mod config;
mod error;
pub mod ftps;
#[doc(hidden)]
pub mod fuzzing;
pub mod mapping;
mod mqtt;
pub mod project_file;
pub mod report;
mod tls;
mod version;

pub use config::{AuthoritiesError, Config, SerialNumber, SerialNumberError, Timeouts, Trust};
pub use error::{Cause, Error};
pub use mqtt::{Answered, Connection, NotSent, Snapshot, StartAnswer, StartOutcome};
pub use tls::{CertificateProblem, Shown, identify};
pub use version::Version;
