//! The first commit with which the operator could be installed. `cargo xtask e2e` takes chart and operator out of the history
//! and into the cache; the trial begins with them..

use std::path::{Path, PathBuf};

/// The commit.
pub const COMMIT: &str = "09e320c434f3402ee2e6c584f90d0d553b570745";
/// Tag of its image.
pub const VERSION: &str = "0.1.0-09e320c434f3";

/// Where its chart and its operator are, of the Rust version that builds them.
pub fn place(cache: &Path) -> PathBuf {
    let name = format!("{VERSION}-rust{}-{}", env!("CARGO_PKG_RUST_VERSION"), std::env::consts::ARCH);
    cache.join("first-release").join(name)
}
