//! Bodies of PrusaLink's answers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| printernizer_fuzz::answers::prusalink_answer(bytes));
