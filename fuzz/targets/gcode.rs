//! Plain G-code, and everything that is told apart from it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| printernizer_fuzz::files::gcode(bytes));
