//! Replies of a printer's FTP server.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| printernizer_fuzz::answers::ftp_reply(bytes));
