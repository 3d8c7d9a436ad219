//! The ledger: what was asked of the simulated machines and what they physically did, append-only.
//!
//! Tests judge by it, so it knows more than the network does: starts nobody asked for, starts on an occupied bed,
//! requests whose answer was lost. Entries are never changed. With a file, each entry is one flushed JSON line.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{Action, Error, FilamentUse, PrintIdentity};

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Grows by one per entry of the whole simulation, from 1.
    pub sequence: u64,
    /// Real time.
    pub time: Timestamp,
    /// The printer's name.
    pub printer: String,
    /// The machine's serial number.
    pub serial_number: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A start was asked for over the network, whatever came of it.
    StartCommand {
        /// By which request.
        cause: StartCause,
        /// Long name as asked for, without `/usb/`.
        file_name: String,
        /// The status answered; absent if the connection was dropped instead, and where there is no such thing.
        answer: Option<u16>,
        /// Bambu: the `result` acknowledged, empty if there was none in it; absent without an acknowledgement.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acknowledgement: Option<String>,
        /// Bambu: the ids it came with.
        #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
        identity: Option<PrintIdentity>,
        /// Whether the printer began with the print.
        accepted: bool,
        /// Why that answer.
        reason: String,
    },
    /// A print was accepted: its id was written to the EEPROM, or its ids are shown. Nothing has moved yet.
    JobAccepted {
        /// What started it.
        cause: StartCause,
        /// Long name.
        file_name: String,
        /// The ids it has now.
        #[serde(flatten)]
        identity: PrintIdentity,
    },
    /// An accepted print was given up before the first movement: the id is used, nothing was printed.
    JobAbandoned {
        /// Long name.
        file_name: String,
        /// The ids it used.
        #[serde(flatten)]
        identity: PrintIdentity,
    },
    /// The machine began to print. A resume after pause or power cut is no start.
    PhysicalStart {
        /// What started it.
        cause: StartCause,
        /// Long name.
        file_name: String,
        /// SHA-256 of the file's bytes, lower-case hex.
        sha256: String,
        /// Which print.
        #[serde(flatten)]
        identity: PrintIdentity,
        /// Bambu: where each filament came from.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        filaments: Vec<FilamentUse>,
        /// Whether something lay on the bed: if so, the machine has just printed on it.
        bed_occupied: bool,
    },
    /// The machine ended a print.
    PhysicalEnd {
        /// How.
        outcome: Outcome,
        /// Long name.
        file_name: String,
        /// Which print.
        #[serde(flatten)]
        identity: PrintIdentity,
        /// Progress reached.
        progress_percent: u8,
    },
    /// A print goes on after a power cut, with its old id.
    ResumedAfterPowerCut {
        /// Long name.
        file_name: String,
        /// Which print.
        #[serde(flatten)]
        identity: PrintIdentity,
    },
    /// An upload ended, well or not.
    Upload {
        /// Long name as asked for.
        file_name: String,
        /// Bytes received.
        size_bytes: u64,
        /// SHA-256 of the stored bytes; absent if nothing was stored.
        sha256: Option<String>,
        /// Whether the request asked to print it.
        print_after_upload: bool,
        /// The status answered; absent if the connection ended before.
        answer: Option<u16>,
    },
    /// A delete was asked for over the network.
    Delete {
        /// Name as asked for.
        file_name: String,
        /// The status the firmware gave.
        answer: u16,
    },
    /// A file was renamed over the network, or not.
    Rename {
        /// Its name before.
        from: String,
        /// Its name afterwards.
        to: String,
        /// The reply's code.
        answer: u16,
    },
    /// A stop, pause or resume was asked for over the network.
    JobCommand {
        /// Which.
        command: JobCommand,
        /// For which job, where the command says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job_id: Option<u16>,
        /// The status the firmware gave, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<u16>,
        /// Whether the machine acts on it: 204 means only that it was queued.
        took_effect: bool,
    },
    /// A person did something at the machine.
    Person {
        /// What.
        act: Action,
    },
}

/// What made a machine start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartCause {
    /// `POST` on the file.
    PrusaLinkPost,
    /// `PUT` with `Print-After-Upload`.
    PrintAfterUpload,
    /// `project_file` over MQTT.
    ProjectFile,
    /// The machine itself: a file it found on its card after a power cycle.
    LeftoverFile,
    /// A person at the screen.
    Screen,
}

/// How a print ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The whole file was printed.
    Finished,
    /// It was stopped, over the network or at the screen.
    Stopped,
    /// The machine gave up.
    Failed,
    /// Power was cut and the print was not resumed.
    LostPower,
}

/// A command to the running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum JobCommand {
    Stop,
    Pause,
    Resume,
}

/// The ledger of one simulation. Clones share it.
#[derive(Debug, Clone)]
pub struct Ledger {
    pages: Arc<Mutex<Pages>>,
    length: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Entry>,
    file: Option<File>,
    file_failed: bool,
}

impl Ledger {
    /// An empty ledger, appended to `file` if one is given.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, Error> {
        let file = file
            .map(|path| {
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|source| Error::LedgerFile { path: path.to_owned(), source })
            })
            .transpose()?;
        let pages = Pages { file, ..Pages::default() };
        Ok(Self { pages: Arc::new(Mutex::new(pages)), length: Arc::new(watch::Sender::new(0)) })
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Entries with a sequence greater than `sequence`.
    pub fn entries_after(&self, sequence: u64) -> Vec<Entry> {
        self.lock().entries.iter().filter(|entry| entry.sequence > sequence).cloned().collect()
    }

    /// The physical starts of files whose long name contains this text. Empty text: all.
    pub fn physical_starts(&self, file_name_contains: &str) -> Vec<Entry> {
        self.filter(
            |event| matches!(event, Event::PhysicalStart { file_name, .. } if file_name.contains(file_name_contains)),
        )
    }

    /// The physical ends of files whose long name contains this text. Empty text: all.
    pub fn physical_ends(&self, file_name_contains: &str) -> Vec<Entry> {
        self.filter(
            |event| matches!(event, Event::PhysicalEnd { file_name, .. } if file_name.contains(file_name_contains)),
        )
    }

    /// The start commands received for files whose long name contains this text. Empty text: all.
    pub fn start_commands(&self, file_name_contains: &str) -> Vec<Entry> {
        self.filter(
            |event| matches!(event, Event::StartCommand { file_name, .. } if file_name.contains(file_name_contains)),
        )
    }

    /// The physical starts that happened on an occupied bed.
    pub fn starts_on_occupied_bed(&self) -> Vec<Entry> {
        self.filter(|event| matches!(event, Event::PhysicalStart { bed_occupied: true, .. }))
    }

    /// Waits until the entries satisfy the condition; false if they did not within `timeout` of real time.
    pub async fn wait_for(&self, timeout: Duration, mut condition: impl FnMut(&[Entry]) -> bool) -> bool {
        let mut length = self.length.subscribe();
        tokio::time::timeout(timeout, async {
            loop {
                length.borrow_and_update();
                if condition(&self.lock().entries) {
                    return;
                }
                if length.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await
        .is_ok()
    }

    /// Whether a line could not be written to the file. Memory is complete in any case.
    pub fn file_failed(&self) -> bool {
        self.lock().file_failed
    }

    pub(crate) fn record(&self, printer: &str, serial_number: &str, event: Event) {
        let mut pages = self.lock();
        let sequence = u64::try_from(pages.entries.len()).unwrap_or(u64::MAX).saturating_add(1);
        let entry = Entry {
            sequence,
            time: Timestamp::now(),
            printer: printer.to_owned(),
            serial_number: serial_number.to_owned(),
            event,
        };
        if let Some(file) = &mut pages.file
            && write_line(file, &entry).is_err()
        {
            pages.file_failed = true;
        }
        pages.entries.push(entry);
        drop(pages);
        self.length.send_replace(sequence);
    }

    fn filter(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Entry> {
        self.lock().entries.iter().filter(|entry| wanted(&entry.event)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_line(file: &mut File, entry: &Entry) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.flush()
}
