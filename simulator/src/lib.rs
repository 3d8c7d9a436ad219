//! Simulated 3D printers: one process, many printers, each a real TCP endpoint on its own port.
//!
//! Tests and the demo run the operator against these endpoints and then judge by the [`Ledger`], which knows what the
//! machines physically did. Nothing here is shared with the drivers: both sides are written from the protocol's
//! documented facts, so that a misreading on one side shows as a difference. Listens on loopback unless told otherwise.

mod action;
mod bambu;
mod buddy;
mod clock;
mod config;
mod control;
mod endpoint;
mod error;
mod fault;
mod hex;
mod identity;
mod ledger;
mod life;
mod machine;
mod print_time;
mod secret;
mod simulator;

pub use action::{Action, AfterPowerCut, Answer};
pub use bambu::{
    AfterCommand, BambuConfig, BambuFault, BambuTimings, CertificateDefect, CommandGuard, PrintErrorCode, RefusalForm,
    SlicedFile, Tray,
};
pub use config::{Config, MachineTimings, NetworkTimings, PrinterConfig, PrinterKind};
pub use error::{ActError, Error};
pub use fault::{Fault, FaultKind, QuestionKind, UnreachableManner};
pub use identity::{BambuIdentity, FilamentUse, PrintIdentity};
pub use ledger::{Entry, Event, JobCommand, Ledger, Outcome, StartCause};
pub use machine::{BambuInfo, BambuState, PrinterInfo, PrinterState};
pub use secret::Password;
pub use simulator::{PrinterHandle, Simulator};
