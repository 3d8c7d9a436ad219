//! The decisions of a print farm, as pure functions: what was observed goes in, a plan comes out.
//!
//! Nothing here reads a clock, draws a random number or reaches a network: time and fresh ids are arguments. So every
//! rule can be tested with tables and properties, and explored by a model checker, without a mock.

pub mod backup_policy;
pub mod device;
pub mod identity;
pub mod plan;
pub mod print_job;
pub mod printer;
pub mod scheduling;
pub mod timing;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;
