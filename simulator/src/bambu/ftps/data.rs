//! Transfers: the data connection and what goes through it.
//!
//! The TLS handshake of the data connection begins only after the reply 150. Whatever ends an upload, what has arrived
//! stays on the card; only a clean end of the TLS stream makes it a finished upload.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use rustls::HandshakeKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::{PATIENCE, Reply, Session, missing, writable};
use crate::{
    Event,
    bambu::{
        BambuFault, Printer,
        card::{Card, CardFile, absolute},
        tls,
    },
    fault::{RequestFaults, RequestKind},
};

/// An upload without traffic is given up after this, in real time.
const STALL: Duration = Duration::from_secs(60);

/// An upload under way. Dropping it leaves what has arrived on the card.
struct Upload<'a> {
    printer: &'a Printer,
    path: String,
    data: BytesMut,
    /// ASCII transfers turn CR LF into LF.
    binary: bool,
    /// The reply, once it is known.
    answer: Option<u16>,
    complete: bool,
}

impl Session<'_> {
    pub(super) async fn transfer(
        &mut self,
        command: &str,
        argument: &str,
        drawn: &RequestFaults,
    ) -> ControlFlow<(), Option<Reply>> {
        // `LIST -a` and the like.
        let argument = if argument.starts_with('-') { "" } else { argument };
        let Some(path) = absolute(&self.folder, argument) else {
            return ControlFlow::Continue(Some((553, "no such name".to_owned())));
        };
        let outgoing = match command {
            "STOR" => {
                if let Some(reply) = self.refuses_upload(&path) {
                    return ControlFlow::Continue(Some(reply));
                }
                None
            }
            "RETR" => {
                match self.printer.life.look(|inner, _| inner.firmware.card.find(&path).map(|file| file.data.clone())) {
                    Some(data) => Some(data),
                    None => return ControlFlow::Continue(Some(missing())),
                }
            }
            _ => Some(self.printer.life.look(|inner, _| listing(&inner.firmware.card, &path, command == "NLST"))),
        };
        let mut stream = match self.data_connection(argument).await? {
            Ok(stream) => stream,
            Err(reply) => {
                if command == "STOR" {
                    // An existing server truncates before it knows that no data comes.
                    drop(Upload::begin(self.printer, path, self.binary, Some(reply.0)));
                }
                return ControlFlow::Continue(Some(reply));
            }
        };
        match outgoing {
            Some(data) => {
                let sent = timeout(STALL, async {
                    stream.write_all(&data).await?;
                    stream.shutdown().await
                });
                let complete = matches!(sent.await, Ok(Ok(())));
                ControlFlow::Continue(Some(if complete {
                    (226, "sent".to_owned())
                } else {
                    (426, "broken".to_owned())
                }))
            }
            None => self.store(stream, path, drawn).await,
        }
    }

    /// Why nothing can be written there.
    fn refuses_upload(&self, path: &str) -> Option<Reply> {
        let printer = self.printer;
        printer.life.change(|inner, _| {
            let kind = RequestKind { method: "STOR", target: path, is_start: false, is_upload: true };
            let fault = inner.faults.take_bambu(kind, |fault| match fault {
                BambuFault::UploadRefused { code } => Some(*code),
                _ => None,
            });
            let no_room =
                inner.conditions().card_full || inner.firmware.card.room_bytes(path).is_none_or(|room| room == 0);
            let code = fault.or((no_room || !writable(inner)).then_some(553))?;
            let event = Event::Upload {
                file_name: path.trim_start_matches('/').to_owned(),
                size_bytes: 0,
                sha256: None,
                print_after_upload: false,
                answer: Some(code),
            };
            printer.life.record(inner, event);
            Some((code, "could not create the file".to_owned()))
        })
    }

    /// Announces the transfer and takes its connection.
    async fn data_connection(&mut self, target: &str) -> ControlFlow<(), Result<TlsStream<TcpStream>, Reply>> {
        let kind = RequestKind { method: "DATA", target, is_start: false, is_upload: false };
        let refused =
            self.printer.life.change(|inner, _| inner.faults.takes_bambu(kind, &BambuFault::DataConnectionRefused));
        let listener = self.passive.take();
        let Some(listener) = listener.filter(|_| !refused) else {
            return ControlFlow::Continue(Err((425, "failed to establish connection".to_owned())));
        };
        if !self.protected {
            return ControlFlow::Continue(Err((522, "data connections must be encrypted".to_owned())));
        }
        self.answer(150, "go on").await?;
        let Ok(Ok((stream, _))) = timeout(PATIENCE, listener.accept()).await else {
            return ControlFlow::Continue(Err((425, "nobody came".to_owned())));
        };
        let Ok(stream) = tls::accept(stream, Arc::clone(&self.tls), false).await else {
            return ControlFlow::Continue(Err((522, "the TLS handshake failed".to_owned())));
        };
        let required = self.printer.life.look(|inner, _| inner.faults.has_bambu(&BambuFault::SessionReuseRequired));
        if required && stream.get_ref().1.handshake_kind() != Some(HandshakeKind::Resumed) {
            return ControlFlow::Continue(Err((522, "session reuse required".to_owned())));
        }
        ControlFlow::Continue(Ok(stream))
    }

    async fn store(
        &mut self,
        mut stream: TlsStream<TcpStream>,
        path: String,
        drawn: &RequestFaults,
    ) -> ControlFlow<(), Option<Reply>> {
        let printer = self.printer;
        let room = printer.life.look(|inner, _| inner.firmware.card.room_bytes(&path)).unwrap_or(0);
        let mut upload = Upload::begin(printer, path, self.binary, None);
        let mut stall = drawn.stall_upload;
        let reply = loop {
            let arrived = u64::try_from(upload.data.len()).unwrap_or(u64::MAX);
            if drawn.truncate_upload.is_some_and(|after| arrived >= after) {
                return ControlFlow::Break(());
            }
            if let Some((_, pause)) = stall.take_if(|(after, _)| arrived >= *after) {
                tokio::time::sleep(pause).await;
            }
            if arrived > room {
                break (452, "the card is full".to_owned());
            }
            match timeout(STALL, stream.read_buf(&mut upload.data)).await {
                Ok(Ok(0)) => {
                    upload.complete = true;
                    break (226, "stored".to_owned());
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => break (426, "broken".to_owned()),
            }
        };
        let _ = timeout(PATIENCE, stream.shutdown()).await;
        let kind = RequestKind { method: "STOR", target: &upload.path, is_start: false, is_upload: true };
        let lost = printer.life.change(|inner, _| inner.faults.takes_bambu(kind, &BambuFault::LostTransferEnd));
        upload.answer = (!lost).then_some(reply.0);
        // The file is closed before the reply is sent.
        drop(upload);
        ControlFlow::Continue((!lost).then_some(reply))
    }
}

impl<'a> Upload<'a> {
    /// From now on the file exists and is open.
    fn begin(printer: &'a Printer, path: String, binary: bool, answer: Option<u16>) -> Self {
        printer.life.change(|inner, _| {
            let empty = CardFile { open: true, ..CardFile::new(Bytes::new()) };
            inner.firmware.card.put(&path, empty);
        });
        Self { printer, path, data: BytesMut::new(), binary, answer, complete: false }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let mut data = std::mem::take(&mut self.data).freeze();
        if !self.binary {
            data = without_carriage_returns(&data);
        }
        let size_bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let file = CardFile::new(data);
        let event = Event::Upload {
            file_name: self.path.trim_start_matches('/').to_owned(),
            size_bytes,
            sha256: self.complete.then(|| file.sha256.clone()),
            print_after_upload: false,
            answer: self.answer,
        };
        self.printer.life.change(|inner, _| {
            inner.firmware.card.put(&self.path, file);
            self.printer.life.record(inner, event);
        });
    }
}

fn without_carriage_returns(data: &[u8]) -> Bytes {
    let kept = data.iter().enumerate().filter(|(at, byte)| **byte != b'\r' || data.get(at + 1) != Some(&b'\n'));
    kept.map(|(_, byte)| *byte).collect()
}

/// As `ls -l` or as names. Dates are the printer's, which has no idea of the time.
fn listing(card: &Card, path: &str, names: bool) -> Bytes {
    let (folders, files) = card.list(path);
    let line = |kind: &str, links: u8, size: usize, name: &str| {
        if names {
            return format!("{name}\r\n");
        }
        format!("{kind} {links:>4} 103      107      {size:>8} Jan 01 00:00 {name}\r\n")
    };
    let folders = folders.into_iter().map(|name| line("drwxr-xr-x", 2, 4096, name));
    let files = files.into_iter().map(|(name, file)| line("-rw-r--r--", 1, file.data.len(), name));
    Bytes::from(folders.chain(files).collect::<String>())
}
