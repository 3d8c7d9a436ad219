//! The API `printernizer.io/v1alpha1`: Rust types, and the CustomResourceDefinitions made from them.
//!
//! Types only: no client, no decisions. Whatever a person can get wrong is refused by a CEL rule in the definition,
//! with a message that says what to write instead. Conditions and their reasons are part of the API (`conditions`).

#![allow(clippy::duplicated_attributes, reason = "it takes the columns and rules of one kind for repetitions")]

pub mod backup_policy;
pub mod common;
pub mod conditions;
pub mod manifests;
pub mod print_job;
pub mod print_record;
pub mod printer;

pub use backup_policy::{BackupPolicy, BackupPolicySpec, BackupPolicyStatus};
pub use conditions::{ConditionStatus, ConditionType, Conditions, Reason};
pub use print_job::{PrintJob, PrintJobSpec, PrintJobStatus};
pub use print_record::{PrintRecord, PrintRecordSpec, PrintRecordStatus};
pub use printer::{Printer, PrinterSpec, PrinterStatus};

/// The API group of all kinds.
pub const GROUP: &str = "printernizer.io";
/// Finalizer of a Printer while it holds a claim or a start is unresolved.
pub const PRINTER_FINALIZER: &str = "printernizer.io/release-job";
/// Finalizer of a PrintJob while it is claimed.
pub const PRINT_JOB_FINALIZER: &str = "printernizer.io/release-printer";
/// Annotation a job carries from its claim on: the UID of the object that was printed. On an object with another
/// UID it marks a copy, which must not print by itself.
pub const RUN_ANNOTATION: &str = "printernizer.io/run";
/// Label a Secret must carry before the operator reads it; the value says what for.
pub const USAGE_LABEL: &str = "printernizer.io/usage";
