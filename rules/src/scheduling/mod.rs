//! Scheduling: which waiting job goes to which printer, and why a job that waits does so.
//!
//! What a job asks for (`requirements`) is compared with what a printer offers (`capabilities`): `fits` decides about
//! one pair, `schedule` about the whole farm. What is not known never fits: nothing here guesses a material, a color or
//! a model. No clock, no network; the result is made true elsewhere by compare-and-swap claims.

mod capabilities;
mod color;
mod filaments;
mod free;
mod matching;
mod memo;
mod mismatch;
mod requirements;
mod schedule;
mod selection;
mod shapes;
mod slots;
mod waiting;
mod windows;

pub(crate) use windows::{Starts, starts};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;

pub use capabilities::{Capabilities, Slot, capabilities, capabilities_reported};
pub use color::Color;
pub use filaments::mapping;
pub use free::{NotFree, device_could_start, printer_accepts_start};
pub use matching::fits;
pub use memo::Memo;
pub(crate) use mismatch::Millimeters;
pub use mismatch::{Mismatch, explain};
pub use requirements::{FilamentNeed, Requirements, requirements, used_filaments};
pub use schedule::{Assignment, HOLD_STARTS, Input, JobKey, PrinterView, Schedule, schedule, schedule_with};
pub use selection::{Selector, SelectorOperator, SelectorTerm};
pub use slots::slots;
pub use waiting::{MAX_NEXT_FOR, NextFor, Obstacle, QUEUED_MESSAGE, Waiting, is_waiting_for_a_printer};
