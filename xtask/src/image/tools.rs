//! Where the tests have restic and PostgreSQL from, so that the image holds the very programs they were done with.

#[path = "../../../e2e/src/tools/debian.rs"]
#[allow(dead_code, reason = "tests take more from Debian")]
mod debian;
#[path = "../../../e2e/src/tools/postgres.rs"]
#[allow(dead_code, reason = "tests take what is installed")]
mod postgres;
#[path = "../../../e2e/src/tools/restic.rs"]
#[allow(dead_code, reason = "tests take what is on the PATH")]
mod restic;

pub use postgres::{PROGRAMS, postgres_packages};
pub use restic::restic_package;
