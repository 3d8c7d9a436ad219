//! The vocabulary of tests against a real Kubernetes API server: start a control plane, apply CRDs, take a
//! namespace, wait for a condition. `farm` adds printers, `demo` shows them at work, `servers` hold print files, `life`
//! and `faults` let things go wrong, `monitoring` reads alerts and dashboards, `rights` compares what
//! was asked for with what is granted, `node` runs pods. Never touches a cluster it was not given.
//! The control plane itself is the Go module in `e2e/cluster/`, which this crate builds once and keeps in a cache.

pub mod cluster;
mod crds;
pub mod demo;
mod failure;
pub mod farm;
pub mod faults;
pub mod life;
pub mod monitoring;
pub mod mutations;
mod namespace;
pub mod node;
pub mod proxy;
mod record;
pub mod rights;
pub mod servers;
mod wait;
mod witness;

pub use crds::{CrdError, apply_crds, apply_crds_yaml};
pub use failure::failure;
pub use namespace::{Namespace, NamespaceError};
pub use printernizer_tools as tools;
pub use printernizer_tools::{BuildError, cache_dir};
pub use record::old_record;
pub use wait::{WaitTimeout, wait_until};
