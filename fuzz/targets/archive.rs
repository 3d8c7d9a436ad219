//! A ZIP archive, byte by byte.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| printernizer_fuzz::files::archive(bytes));
