//! The printer's file server: implicit FTPS onto the SD card, one command at a time.
//!
//! Knows what an A1 knows: USER PASS PBSZ PROT TYPE PASV STOR RETR SIZE DELE RNFR RNTO LIST NLST MKD CWD PWD NOOP QUIT.
//! EPSV, FEAT, REST, MDTM and MLSD are answered with 502. Data connections are encrypted or refused. Uploads that break
//! leave what arrived.

mod data;

use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::codec::{Framed, LinesCodec};

use super::{
    BambuFault, Inner, Printer, USERNAME,
    card::absolute,
    guard::{Guarded, may_answer},
    tls,
};
use crate::{
    Event,
    endpoint::{Link, Service, Slot},
    fault::{RequestFaults, RequestKind},
};

/// An idle session is closed after this, in real time.
const IDLE: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(10);
const LINE_LIMIT_BYTES: usize = 1024;

/// The file server of one printer.
pub(crate) struct FileServer(pub(crate) Arc<Printer>);

impl Service for FileServer {
    fn link(&self) -> Link {
        self.0.link()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.life.changes()
    }

    fn boots(&self) -> &watch::Sender<Option<u32>> {
        &self.0.ftps_boots
    }

    fn connection_limit(&self) -> usize {
        4
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, boots: u32, _slot: Slot) {
        let printer = &self.0;
        if !super::speaks(printer, boots).await {
            return;
        }
        let Ok(tls) = printer.tls() else { return };
        let Ok(stream) = tls::accept(stream, Arc::clone(&tls.ftps), printer.hangs_on_tls13()).await else { return };
        let control = Framed::new(stream, LinesCodec::new_with_max_length(LINE_LIMIT_BYTES));
        let mut session = Session {
            printer,
            control,
            tls: tls.ftps,
            boots,
            user_known: false,
            logged_in: false,
            protected: false,
            binary: false,
            folder: "/".to_owned(),
            rename_from: None,
            passive: None,
            guarded: Guarded(printer.guard()),
        };
        session.run().await;
        let _ = timeout(PATIENCE, SinkExt::<String>::close(&mut session.control)).await;
    }
}

struct Session<'a> {
    printer: &'a Arc<Printer>,
    control: Framed<TlsStream<TcpStream>, LinesCodec>,
    tls: Arc<ServerConfig>,
    boots: u32,
    user_known: bool,
    logged_in: bool,
    /// PROT P was sent.
    protected: bool,
    binary: bool,
    folder: String,
    rename_from: Option<String>,
    passive: Option<TcpListener>,
    guarded: Guarded,
}

/// One reply: its code and text.
type Reply = (u16, String);

impl Session<'_> {
    async fn run(&mut self) {
        if !self.reply(220, "ready").await {
            return;
        }
        while let Ok(Some(Ok(line))) = timeout(IDLE, self.control.next()).await {
            self.printer.requests.fetch_add(1, Ordering::Relaxed);
            let line = line.trim_end_matches('\r');
            let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
            if !super::speaks(self.printer, self.boots).await {
                return;
            }
            if self.command(&command.to_ascii_uppercase(), argument.trim()).await.is_break() {
                return;
            }
        }
    }

    async fn command(&mut self, command: &str, argument: &str) -> ControlFlow<()> {
        match command {
            "USER" => {
                self.user_known = argument == USERNAME;
                return self.answer(331, "password?").await;
            }
            "PASS" => {
                let right = self.printer.life.look(|inner, _| inner.access_code.as_str() == argument);
                self.logged_in = right && self.user_known;
                return if self.logged_in { self.answer(230, "welcome").await } else { self.answer(530, "no").await };
            }
            "QUIT" => {
                self.reply(221, "bye").await;
                return ControlFlow::Break(());
            }
            _ if !self.logged_in => return self.answer(530, "log in first").await,
            _ => {}
        }
        let Some(after) = self.guarded.admit(&format!("{command} {argument}")).await else {
            return ControlFlow::Break(());
        };
        let is_upload = command == "STOR";
        let kind = RequestKind { method: command, target: argument, is_start: false, is_upload };
        let drawn = self.printer.life.change(|inner, _| inner.faults.draw_for_request(kind));
        if let Some(delay) = drawn.delay_handling {
            tokio::time::sleep(delay).await;
        }
        if drawn.drop_before {
            return ControlFlow::Break(());
        }
        let reply = self.file_command(command, argument, &drawn).await?;
        if !may_answer(after).await || drawn.drop_after {
            return ControlFlow::Break(());
        }
        match reply {
            Some((code, text)) => self.answer(code, &text).await,
            None => ControlFlow::Continue(()),
        }
    }

    /// The commands of a session that is logged in. `None`: a fault swallows the reply.
    async fn file_command(
        &mut self,
        command: &str,
        argument: &str,
        drawn: &RequestFaults,
    ) -> ControlFlow<(), Option<Reply>> {
        let path = absolute(&self.folder, argument);
        let reply = match command {
            "PBSZ" | "NOOP" => done(200),
            "PROT" if argument.eq_ignore_ascii_case("P") => {
                self.protected = true;
                done(200)
            }
            "PROT" => (534, "data connections are encrypted here".to_owned()),
            "TYPE" => {
                self.binary = argument.eq_ignore_ascii_case("I");
                done(200)
            }
            "PWD" => (257, format!("\"{}\"", self.folder)),
            "SYST" => (215, "UNIX Type: L8".to_owned()),
            "PASV" => self.listen().await,
            "STOR" | "RETR" | "LIST" | "NLST" => return self.transfer(command, argument, drawn).await,
            "CWD" | "SIZE" | "DELE" | "MKD" | "RNFR" | "RNTO" => match path {
                Some(path) => self.on_card(command, path),
                None => (553, "no such name".to_owned()),
            },
            _ => (502, "not implemented".to_owned()),
        };
        ControlFlow::Continue(Some(reply))
    }

    /// Commands that need no data connection.
    fn on_card(&mut self, command: &str, path: String) -> Reply {
        let printer = Arc::clone(self.printer);
        let name = path.trim_start_matches('/').to_owned();
        printer.life.change(|inner, _| match command {
            "CWD" => {
                let there = inner.firmware.card.is_folder(&path);
                if there {
                    self.folder.clone_from(&path);
                }
                found(there, 250)
            }
            "SIZE" => match inner.firmware.card.find(&path) {
                Some(file) => (213, file.data.len().to_string()),
                None => missing(),
            },
            "MKD" => found(writable(inner) && inner.firmware.card.create_folder(&path), 257),
            "DELE" => {
                let reply = found(writable(inner) && inner.firmware.card.remove(&path), 250);
                self.printer.life.record(inner, Event::Delete { file_name: name, answer: reply.0 });
                reply
            }
            "RNFR" => {
                let kind = RequestKind { method: "RNFR", target: &path, is_start: false, is_upload: false };
                let refused = inner.faults.take_bambu(kind, |fault| match fault {
                    BambuFault::RenameRefused { code } => Some(*code),
                    _ => None,
                });
                if let Some(code) = refused {
                    return (code, "not possible".to_owned());
                }
                let there = inner.firmware.card.find(&path).is_some();
                self.rename_from = there.then_some(path);
                found(there, 350)
            }
            _ => match self.rename_from.take() {
                Some(from) => {
                    let reply = found(writable(inner) && inner.firmware.card.rename(&from, &path), 250);
                    let from = from.trim_start_matches('/').to_owned();
                    self.printer.life.record(inner, Event::Rename { from, to: name, answer: reply.0 });
                    reply
                }
                None => (503, "RNFR first".to_owned()),
            },
        })
    }

    /// Opens a port for the next data connection.
    async fn listen(&mut self) -> Reply {
        let host = self.printer.ftps.ip();
        let Ok(listener) = TcpListener::bind((host, 0)).await else { return (425, "no port".to_owned()) };
        let Ok(address) = listener.local_addr() else { return (425, "no port".to_owned()) };
        self.passive = Some(listener);
        let zero = self.printer.life.look(|inner, _| inner.faults.has_bambu(&BambuFault::PassiveAddressZero));
        let host = if zero { "0,0,0,0".to_owned() } else { host.to_string().replace('.', ",") };
        let [high, low] = address.port().to_be_bytes();
        (227, format!("Entering Passive Mode ({host},{high},{low})."))
    }

    async fn answer(&mut self, code: u16, text: &str) -> ControlFlow<()> {
        if self.reply(code, text).await { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    async fn reply(&mut self, code: u16, text: &str) -> bool {
        // The codec adds the line feed.
        matches!(timeout(PATIENCE, self.control.send(format!("{code} {text}\r"))).await, Ok(Ok(())))
    }
}

fn done(code: u16) -> Reply {
    (code, "OK".to_owned())
}

fn missing() -> Reply {
    (550, "no such file".to_owned())
}

fn found(there: bool, code: u16) -> Reply {
    if there { done(code) } else { missing() }
}

fn writable(inner: &Inner) -> bool {
    let conditions = inner.conditions();
    !conditions.card_read_only && !conditions.card_abnormal
}
