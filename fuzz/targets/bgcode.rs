//! Binary G-code.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| printernizer_fuzz::files::bgcode(bytes));
