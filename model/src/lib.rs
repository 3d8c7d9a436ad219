//! The farm as a model that is explored event by event: the real rules of `printernizer-rules`, an API server that compares
//! before it swaps, the process that leads and what is on its way of those that led, devices that fail in every known way,
//! and people. docs/model.md says which part of the code each event stands for, and what is left out.
//!
//! The rules themselves are called, never copied. What the operator does around them is mirrored here, function by
//! function; each module says which file it mirrors.

mod api;
pub mod check;
mod device;
mod fair;
mod farm;
mod flight;
mod ids;
mod kept;
mod model;
mod operator;
mod people;
mod plain;
mod promises;
mod reduce;
mod session;
pub mod size;
mod start;
mod tell;
mod time;
mod world;
