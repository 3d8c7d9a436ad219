//! Reads the print files of jobs in the background: fetches, checks, inspects, and keeps what was learned until the
//! job is accepted. Bytes stay in the cache of `files`; facts go to the job's status.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use printernizer_crds::print_job::{FileFilament, FileStatus, Source};
use printernizer_crds::{PrintJob, Reason};
use printernizer_printfile::{Error as PrintFileError, Format, Limits, PrintFile};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::Key;
use crate::files::{FetchError, Files, Retry, SourceRequest};
use crate::reconcile::Queue;
use crate::tasks::caught;

/// Files that are read at the same time.
const READERS: usize = 4;
/// First pause before a file that could not be had is tried again; doubles.
const RETRY: Duration = Duration::from_secs(5);
/// Longest such pause.
const RETRY_CAP: Duration = Duration::from_secs(300);
/// Longest such pause where an object in the cluster is to be corrected.
const RETRY_SOON_CAP: Duration = Duration::from_secs(60);
/// Where only another spec helps, which is looked at as soon as it is written.
const RETRY_LATE: Duration = Duration::from_hours(24);

/// Most filaments of a plate that stand in a job's status, as its schema says.
const FILAMENTS_MAX: usize = 16;

/// How far a job's file is.
#[allow(clippy::large_enum_variant, reason = "there is one per job, and nearly always it is the large one")]
#[derive(Clone, Debug, Default)]
pub enum FileState {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It is being read.
    Fetching,
    /// It was read.
    Read(FileStatus),
    /// It cannot be had or used.
    Refused {
        /// Why.
        reason: Reason,
        /// For people.
        message: String,
    },
}

/// What makes two requests the same: the job, and the source as its spec writes it.
#[derive(Clone, PartialEq)]
struct Wish {
    uid: String,
    source: Source,
    sha256: Option<String>,
    plate: i32,
}

struct Entry {
    wish: Wish,
    state: FileState,
    /// The reading under way, or waiting for a reader. It ends when this is dropped: when the job is forgotten, or wishes
    /// for another file.
    reading: Option<DropGuard>,
    retry_at: Instant,
    refusals: u32,
}

/// Reads print files for the jobs.
pub struct Desk {
    files: Files,
    jobs: Queue,
    readers: Arc<Semaphore>,
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
}

/// The request for a job's file.
pub fn request_of(job: &PrintJob) -> SourceRequest {
    let namespace = job.metadata.namespace.clone().unwrap_or_default();
    SourceRequest { namespace, source: job.spec.source.clone() }
}

fn wish_of(job: &PrintJob) -> Wish {
    Wish {
        uid: job.metadata.uid.clone().unwrap_or_default(),
        source: job.spec.source.clone(),
        sha256: job.spec.sha256.clone(),
        plate: job.spec.plate,
    }
}

impl Desk {
    /// A desk without work.
    pub fn new(files: Files, jobs: Queue) -> Self {
        Self { files, jobs, readers: Arc::new(Semaphore::new(READERS)), entries: Arc::default() }
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<Key, Entry>) -> T) -> T {
        f(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How far the job's file is.
    pub fn state(&self, job: &PrintJob) -> FileState {
        let wish = wish_of(job);
        self.with(|e| e.get(&Key::of(job)).filter(|e| e.wish == wish).map(|e| e.state.clone()).unwrap_or_default())
    }

    /// Forgets a job that is gone.
    pub fn forget(&self, key: &Key) {
        self.with(|e| e.remove(key));
    }

    /// Begins to read the job's file, unless that is under way or was tried a moment ago. Wakes the job when done. Gives
    /// the time after which it may be tried again, where it was refused.
    pub fn fetch(&self, job: &PrintJob) -> Option<Duration> {
        let (key, wish) = (Key::of(job), wish_of(job));
        let begin = self.with(|entries| {
            let known = entries.get(&key).filter(|e| e.wish == wish);
            match known.map(|e| (&e.state, e.retry_at)) {
                _ if known.is_some_and(|e| e.reading.is_some()) => return Err(None),
                Some((FileState::Read(_), _)) => return Err(None),
                Some((FileState::Refused { .. }, at)) if Instant::now() < at => {
                    return Err(Some(at.saturating_duration_since(Instant::now())));
                }
                _ => {}
            }
            // A file that was refused stays refused until it was read again: no flapping conditions.
            let state = match known.map(|e| e.state.clone()) {
                Some(refused @ FileState::Refused { .. }) => refused,
                _ => FileState::Fetching,
            };
            let refusals = known.map_or(0, |e| e.refusals);
            let cancel = CancellationToken::new();
            let reading = Some(cancel.clone().drop_guard());
            let entry = Entry { wish: wish.clone(), state, reading, retry_at: Instant::now(), refusals };
            entries.insert(key.clone(), entry);
            Ok(cancel)
        });
        let cancel = match begin {
            Ok(cancel) => cancel,
            Err(again) => return again,
        };
        let request = request_of(job);
        let (files, readers, entries, jobs) =
            (self.files.clone(), Arc::clone(&self.readers), Arc::clone(&self.entries), self.jobs.clone());
        tokio::spawn(async move {
            let work = async {
                let _reader = readers.acquire_owned().await;
                caught("reading the file", read(&files, &request, &wish)).await
            };
            let Some(read) = cancel.run_until_cancelled(work).await else { return };
            let (state, retry) = read.unwrap_or_else(|panicked| refused_fetch(&panicked.into()));
            let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = entries.get_mut(&key).filter(|_| !cancel.is_cancelled()) {
                (entry.state, entry.reading) = (state, None);
                entry.retry_at = Instant::now() + pause(retry, entry.refusals);
                entry.refusals = entry.refusals.saturating_add(1);
                jobs.now(key);
            }
        });
        None
    }
}

/// How long a file that was refused so many times before is left alone.
fn pause(retry: Retry, refusals: u32) -> Duration {
    let growing = RETRY.saturating_mul(1 << refusals.min(10));
    match retry {
        Retry::Backoff => growing.min(RETRY_CAP),
        Retry::Soon => growing.min(RETRY_SOON_CAP),
        Retry::AfterChange => RETRY_LATE,
    }
}

async fn read(files: &Files, request: &SourceRequest, wish: &Wish) -> (FileState, Retry) {
    let cached = match files.fetch(request, wish.sha256.as_deref()).await {
        Ok(cached) => cached,
        Err(error) => return refused_fetch(&error),
    };
    let path = cached.path.clone();
    // The schema lets nothing below 1 pass.
    let plate = u32::try_from(wish.plate).unwrap_or(1);
    let inspected = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(path).map_err(PrintFileError::Read)?;
        printernizer_printfile::inspect_plate(std::io::BufReader::new(file), plate, &Limits::default())
    });
    let state = match inspected.await {
        // Those that are not in status would be printed unmatched.
        Ok(Ok(facts)) if facts.filaments.len() > FILAMENTS_MAX => FileState::Refused {
            reason: Reason::NotSupported,
            message: format!(
                "the plate uses {} filaments, and at most {FILAMENTS_MAX} are matched",
                facts.filaments.len()
            ),
        },
        Ok(Ok(facts)) => FileState::Read(status_of(&facts, &cached.sha256, cached.size_bytes)),
        Ok(Err(error)) => FileState::Refused { reason: reason_of(&error), message: crate::error::chain(&error) },
        Err(_) => FileState::Refused {
            reason: Reason::FileCorrupt,
            message: "reading the file failed in an unforeseen way; slice it again, and report the file".into(),
        },
    };
    (state, Retry::Backoff)
}

fn refused_fetch(error: &FetchError) -> (FileState, Retry) {
    (FileState::Refused { reason: error.reason(), message: crate::error::chain(error) }, error.retry())
}

fn reason_of(error: &PrintFileError) -> Reason {
    match error {
        PrintFileError::NotAPrintFile { .. } => Reason::NotAPrintFile,
        PrintFileError::TooLarge { .. } => Reason::FileTooLarge,
        PrintFileError::Unsliced { .. } => Reason::Unsliced,
        PrintFileError::MissingPlate { .. } => Reason::MissingPlate,
        PrintFileError::Unsupported { .. } => Reason::NotSupported,
        PrintFileError::Read(_) => Reason::FetchingFile,
        _ => Reason::FileCorrupt,
    }
}

/// What the file says of itself, as it stands in status.
pub fn status_of(file: &PrintFile, sha256: &str, size_bytes: u64) -> FileStatus {
    let small = |n: Option<u32>| n.and_then(|n| i32::try_from(n).ok());
    let large = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok());
    FileStatus {
        sha256: sha256.to_owned(),
        // Whoever accepts the job knows what it asks for.
        read_for: String::new(),
        size_bytes: i64::try_from(size_bytes).unwrap_or(i64::MAX),
        format: match file.format {
            Format::BinaryGcode => "BinaryGcode".into(),
            Format::Gcode3mf => "Gcode3mf".into(),
            _ => "Gcode".into(),
        },
        slicer: file.slicer.clone(),
        printer_model: file.printer_model.clone(),
        nozzle_diameter_micrometers: small(file.nozzle_diameter_micrometers),
        nozzle_high_flow: file.nozzle_high_flow,
        filament_abrasive: file.filament_abrasive,
        height_micrometers: large(file.max_z_micrometers),
        plate: file.plate.as_ref().and_then(|plate| plate.build_plate()).map(str::to_owned),
        bed_type: file.plate.as_ref().and_then(|plate| plate.bed_type.clone()),
        estimated_seconds: large(file.estimated_seconds),
        layers: small(file.layers),
        filaments: file
            .filaments
            .iter()
            .take(FILAMENTS_MAX)
            .map(|f| FileFilament {
                index: i32::try_from(f.index).unwrap_or(i32::MAX),
                material: f.material.clone(),
                color: f.color.clone(),
                grams: f.milligrams.map(|mg| format!("{}.{:02}", mg / 1000, mg % 1000 / 10)),
                millimeters: large(f.millimeters),
            })
            .collect(),
        project_filaments: small(file.plate.as_ref().and_then(|plate| plate.project_filaments)),
    }
}

#[cfg(test)]
mod tests;
