//! BackupPolicy: what is backed up, where to, how long it is kept, and how it is proven to restore.

mod report;
mod sources;
mod spec;
mod status;
mod targets;

pub use report::*;
pub use sources::*;
pub use spec::*;
pub use status::*;
pub use targets::*;
