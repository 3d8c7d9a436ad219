//! What comes from outside, as anything at all: print files, and what printers answer. Each target takes any bytes and
//! panics when something does not hold that must hold for all of them; nothing here may be used by the product.
//! `cargo xtask fuzz` runs them with cargo-fuzz from seeds that are made here; a test runs each with its seeds.

#![allow(clippy::missing_panics_doc, reason = "a panic is what they are for")]

pub mod answers;
pub mod files;
pub mod seeds;

// Print files written byte by byte and what must hold for them are those of printfile's own tests.
#[path = "../../printfile/tests/common/mod.rs"]
mod common;

/// One fuzz target.
pub struct Target {
    /// Its name, also that of the program cargo-fuzz builds.
    pub name: &'static str,
    /// What is done with the bytes.
    pub body: fn(&[u8]),
    /// Inputs to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "archive", body: files::archive, seeds: seeds::archive },
    Target { name: "bambu_report", body: answers::bambu_report, seeds: seeds::bambu_report },
    Target { name: "bgcode", body: files::bgcode, seeds: seeds::bgcode },
    Target { name: "ftp_reply", body: answers::ftp_reply, seeds: seeds::ftp_reply },
    Target { name: "gcode", body: files::gcode, seeds: seeds::gcode },
    Target { name: "plate", body: files::plate, seeds: seeds::plate },
    Target { name: "prusalink_answer", body: answers::prusalink_answer, seeds: seeds::prusalink_answer },
    Target { name: "slice_info", body: files::slice_info, seeds: seeds::slice_info },
];
