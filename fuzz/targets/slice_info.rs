//! The plate list of a sliced 3MF.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| printernizer_fuzz::files::slice_info(bytes));
