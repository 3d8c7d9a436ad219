//! PrintJob: one print of one plate on one printer. Retries are attempts of the same job.

mod source;
mod spec;
mod status;

pub use source::*;
pub use spec::*;
pub use status::*;
