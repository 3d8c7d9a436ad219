//! Printer: one machine of the farm. `spec` says how to reach it and what it can do; `status` what was seen of it.

mod connection;
mod spec;
mod status;

pub use connection::*;
pub use spec::*;
pub use status::*;
