//! Talks to one printer over PrusaLink v1, as Buddy firmware (Core One, MK4, XL, MINI) and Python PrusaLink speak it.
//! Only the protocol: it takes no decision, retries nothing that may have been carried out, knows no Kubernetes and no
//! clock but its timeouts. Every fact relied on, with its public source, is listed in this folder's README.md.

mod auth;
mod client;
mod config;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod link;
mod name;
mod parse;
mod report;
mod start;
mod upload;
mod wire;

pub use client::Client;
pub use config::{BaseUrl, BaseUrlError, Config, Credentials, Timeouts};
pub use error::{Cause, Error};
pub use name::{REMOTE_NAME_MAX_BYTES, RemoteName, RemoteNameError};
pub use report::{
    FileInfo, Flavor, JobFile, JobId, JobReport, JobSummary, PrinterInfo, State, StatusReport, Storage, Telemetry,
    TransferSummary, VersionInfo,
};
pub use start::{NotSent, StartConnection, StartOutcome};
pub use upload::Uploader;
