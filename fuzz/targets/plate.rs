//! A sound archive whose parts hold anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| printernizer_fuzz::files::plate(bytes));
