//! Messages of a Bambu Lab printer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| printernizer_fuzz::answers::bambu_report(bytes));
