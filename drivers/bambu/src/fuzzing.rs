//! The readers of a printer's bytes, without connection, for the fuzz targets. Nothing else calls this.

use crate::ftps::reply::{Replies, passive_port};
use crate::report::{Incoming, Merged, Refusal, Report, read};

/// Takes messages in as a connection does; gives the report after each one and the refusals among them.
pub fn messages<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> (Vec<Report>, Vec<Refusal>) {
    let mut merged = Merged::default();
    let (mut reports, mut refusals) = (Vec::new(), Vec::new());
    for payload in payloads {
        match read(payload).0 {
            Incoming::Report { full, print } => {
                merged.merge(&print, full);
                reports.push(merged.report());
            }
            Incoming::Answer(answer) => refusals.extend(answer.refusal()),
            Incoming::Version { .. } | Incoming::Other | Incoming::Unreadable => {}
        }
    }
    (reports, refusals)
}

/// What an FTP server's bytes say when they arrive in these pieces: each reply, and the error that ends them.
pub fn ftp_replies(pieces: &[&[u8]]) -> Vec<String> {
    let mut replies = Replies::default();
    let mut told = Vec::new();
    for piece in pieces {
        replies.push(piece);
        loop {
            match replies.next() {
                Ok(Some(reply)) => {
                    told.push(format!("{} {} {:?}", reply.code, reply.text, passive_port(&reply.text)));
                }
                Ok(None) => break,
                Err(error) => {
                    told.push(error.to_string());
                    return told;
                }
            }
        }
    }
    told
}
