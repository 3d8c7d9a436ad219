//! The program in the pods of a BackupPolicy: makes recovery points, checks, prunes and restores them.
//!
//! It drives the command line of restic 0.18 (`engine`), so that everything it stores can be read with stock restic. One run
//! is one recovery point: several snapshots that share a tag, and last of all a small one with the manifest, which says what
//! proves each of them (`manifest`, `source`). Without a manifest there is no recovery point.
//!
//! It never deletes anything outside a prune, touches no snapshot of another policy, writes to no source,
//! and asks the API server for nothing but the objects it backs up. Passwords and keys come
//! from the environment and go on to children through the environment only.

mod child;
pub mod configuration;
pub mod engine;
pub mod failure;
pub mod manifest;
pub mod postgres;
pub mod report;
pub mod rows;
pub mod run;
pub mod source;
pub mod sqlite;
pub mod stop;
