//! What can go wrong when a simulation is started or acted upon, told so that the reader knows what to change.
//!
//! Failures that belong to the simulated device (refused starts, dropped connections) are no errors of this crate:
//! they are answers on the wire.

use std::{io, net::SocketAddr, path::PathBuf};

/// The simulation cannot be started or extended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A control API where the printers are not, and not on loopback either.
    #[error(
        "{address} is not a loopback address, nor that of the printers (--listen): the control API listens on one of the two"
    )]
    NotLoopback {
        /// The refused address.
        address: SocketAddr,
    },
    /// A port could not be taken.
    #[error("cannot listen on {address}: choose another port, or 0 for a free one")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The ledger file could not be opened.
    #[error("cannot open the ledger file {path}: check that the folder exists and is writable")]
    LedgerFile {
        /// The file asked for.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Two printers would have the same name.
    #[error("there already is a printer named {name:?}: give each printer its own name")]
    DuplicateName {
        /// The name used twice.
        name: String,
    },
    /// No printer has this name.
    #[error("there is no printer named {name:?}: GET /printers lists the names")]
    UnknownPrinter {
        /// The name looked for.
        name: String,
    },
    /// No certificate could be made.
    #[error("cannot make a key or certificate for a simulated printer: the system's random numbers do not work")]
    Certificate,
    /// The time scale is not a positive number.
    #[error("the time scale {scale} is not usable: choose a number from 0.001 to 1000000")]
    TimeScale {
        /// The refused scale.
        scale: f64,
    },
}

/// A person's action is not possible with the machine as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// The screen does not offer this.
    #[error("not possible while the printer shows {screen}: {hint}")]
    NotNow {
        /// What the machine shows.
        screen: String,
        /// What would have to be so.
        hint: &'static str,
    },
    /// The named file is not on the USB drive.
    #[error("there is no file {file_name:?} on the USB drive")]
    NoSuchFile {
        /// The name looked for.
        file_name: String,
    },
    /// The file could not be put on the USB drive.
    #[error("the file cannot be put on the USB drive: {reason}")]
    UsbRefused {
        /// Why.
        reason: String,
    },
}
