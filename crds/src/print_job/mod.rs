//! PrintJob: one print of one plate on one printer. Retries are attempts of the same job.

mod spec;
mod status;

pub use spec::*;
pub use status::*;
