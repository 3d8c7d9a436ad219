//! `kubectl printernizer`: what a person does with a print farm, in one command each.
//!
//! It writes what a person would write by hand (`spec` of a Printer, PrintJob or BackupPolicy, for a new printer its Secret, and
//! for a restore its Job) and never a status. What is shown before a question and what is written after it are held together by the object's
//! resourceVersion and by the id of the bed or question that was shown: nothing else than that is confirmed.

pub mod add_printer;
pub mod arguments;
pub mod backups;
pub mod beds;
pub mod cluster;
pub mod complete;
pub mod error;
pub mod objects;
pub mod outcome;
pub mod output;
pub mod person;
pub mod run;
pub mod status;
pub mod trust;
pub mod wanted;
pub mod why;
