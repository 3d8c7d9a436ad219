//! Reads one print file for the desk: from the cache or its source, and what it says of itself.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use printernizer_crds::Reason;
use printernizer_crds::print_job::{FileFilament, FileStatus};
use printernizer_printfile::{Error as PrintFileError, Format, Limits, PrintFile};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lanes::{Bounds, Lane, Lanes};
use super::rests::{Giver, Rests};
use super::{FileState, RETRY};
use crate::files::{Asked, CachedFile, Expected, Fault, FetchError, Fetched, Files, Retry, SourceRequest, Version};

/// Files that are fetched at the same time.
const FETCHES: Bounds = Bounds { all: 12, namespace: 6, server: 3 };
/// Files that are inspected at the same time, which takes a processor each.
const INSPECTIONS: usize = 4;
/// Most filaments of a plate that stand in a job's status, as its schema says.
const FILAMENTS_MAX: usize = 16;

/// Reads files. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reader {
    files: Files,
    /// Of jobs that are to be accepted, of which there may be thousands.
    pub(super) accepting: Lanes,
    /// Of jobs that keep a printer waiting.
    pub(super) claimed: Lanes,
    rests: Rests,
    inspections: Arc<Semaphore>,
}

/// What is to be read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) request: SourceRequest,
    pub(super) asked: Asked,
    pub(super) plate: i32,
    /// What the file says of itself, of a job that holds a printer and needs the bytes alone.
    pub(super) facts: Option<FileStatus>,
    /// Cancelled from the moment on from which no printer waits for the file. It is read all the same.
    pub(super) released: CancellationToken,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Learned {
    /// How far the file is now; none where nothing has changed at its source.
    pub(super) state: Option<FileState>,
    /// When it makes sense to read it again.
    pub(super) retry: Retry,
    /// The version that need not be read again.
    pub(super) version: Option<Version>,
    /// The file.
    pub(super) file: Option<CachedFile>,
}

impl Reader {
    pub(super) fn new(files: Files) -> Self {
        let inspections = Arc::new(Semaphore::new(INSPECTIONS));
        let (accepting, claimed) = (Lanes::new(FETCHES), Lanes::new(FETCHES));
        Self { files, accepting, claimed, rests: Rests::default(), inspections }
    }

    /// Whether anything rests that gives files.
    pub(super) fn anything_rests(&self) -> bool {
        !self.rests.is_empty()
    }

    /// Until when it is taken for granted that this file cannot be had: it is not in the cache, and what would have to give
    /// it rests. `wanted` is asked only where that may be so.
    pub(super) fn resting(&self, wanted: impl FnOnce() -> Option<(SourceRequest, Expected)>) -> Option<Instant> {
        if !self.anything_rests() {
            return None;
        }
        let (request, expected) = wanted()?;
        let in_cache = self.files.has(&request.namespace, &expected.sha256);
        if in_cache { None } else { self.rests.until(&givers(&request, Some(&expected))) }
    }

    /// Reads a file.
    pub(super) async fn read(&self, reading: &Reading) -> Learned {
        self.try_to_read(reading).await.told_of_the_next_try()
    }

    async fn try_to_read(&self, reading: &Reading) -> Learned {
        let Reading { request, asked, .. } = reading;
        // What is in the cache needs no place in a lane.
        if let Some(expected) = &asked.expected {
            match self.files.cached(&request.namespace, &expected.sha256).await {
                Ok(Some(file)) => return self.taken_in(reading, file, None).await,
                Ok(None) => {}
                Err(error) => return Learned::refused_by(&error),
            }
        }
        let Fetched { file, version } = self.fetch(reading).await;
        match file {
            Ok(Some(file)) => self.taken_in(reading, file, version).await,
            Ok(None) => Learned { state: None, retry: Retry::Backoff, version, file: None },
            Err(error) => {
                let version = version.filter(|_| error.is_of_the_file());
                Learned { version, ..Learned::refused_by(&error) }.cheaper(request)
            }
        }
    }

    /// What is learned of a file that is there now.
    async fn taken_in(&self, reading: &Reading, file: CachedFile, version: Option<Version>) -> Learned {
        match &reading.facts {
            Some(facts) => Learned::read(facts.clone(), file, version),
            None => self.inspect(reading, file, version).await.cheaper(&reading.request),
        }
    }

    /// Fetches a file, and keeps in mind what could not give it to a job that holds a printer. Such a job waits for room
    /// in the cache like for the file itself: others make it when they are done.
    async fn fetch(&self, reading: &Reading) -> Fetched {
        let Reading { request, asked, released, .. } = reading;
        let givers = || givers(request, asked.expected.as_ref());
        loop {
            let holds = !released.is_cancelled();
            let fetched = self.fetch_once(reading).await;
            let error = match &fetched.file {
                Ok(file) => {
                    if file.is_some() {
                        self.rests.gave(&givers());
                    }
                    return fetched;
                }
                Err(error) => error,
            };
            if !holds {
                return fetched;
            }
            let waited = matches!(error, FetchError::CacheFull { .. } | FetchError::DiskFull { .. })
                && released.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_some();
            if !waited {
                let fault = error.fault();
                givers().into_iter().filter(|giver| giver.fault() == fault).for_each(|giver| self.rests.failed(giver));
                return fetched;
            }
        }
    }

    /// Fetches a file in the lane of jobs that hold a printer, as long as this one does; then among the others. What was
    /// begun goes on.
    async fn fetch_once(&self, reading: &Reading) -> Fetched {
        let Reading { request, asked, released, .. } = reading;
        let (lane, holds) = (lane_of(request), !released.is_cancelled());
        let mut fetch = std::pin::pin!(self.files.ask(request, asked.clone()));
        let begun = AtomicBool::new(false);
        let claimed = async {
            let _place = self.claimed.enter(lane.clone()).await;
            begun.store(true, Ordering::Relaxed);
            fetch.as_mut().await
        };
        tokio::select! {
            biased;
            () = released.cancelled() => {}
            fetched = claimed => return fetched,
        }
        if holds {
            // It was too slow, or stood behind what was. Or nobody wants the job now: then the file that comes all the same
            // ends the rest.
            self.rests.failed(Giver::Server(lane.clone()));
        }
        let begun = begun.load(Ordering::Relaxed);
        let _place = if begun { self.accepting.take(lane) } else { self.accepting.enter(lane).await };
        fetch.await
    }

    async fn inspect(&self, reading: &Reading, cached: CachedFile, version: Option<Version>) -> Learned {
        let path = cached.path.clone();
        // The schema lets nothing below 1 pass.
        let plate = u32::try_from(reading.plate).unwrap_or(1);
        let _inspection = self.inspections.acquire().await;
        let inspected = tokio::task::spawn_blocking(move || {
            let file = std::fs::File::open(path).map_err(PrintFileError::Read)?;
            printernizer_printfile::inspect_plate(std::io::BufReader::new(file), plate, &Limits::default())
        });
        match inspected.await {
            // Those that are not in status would be printed unmatched.
            Ok(Ok(facts)) if facts.filaments.len() > FILAMENTS_MAX => {
                let used = facts.filaments.len();
                let message = format!("the plate uses {used} filaments, and at most {FILAMENTS_MAX} are matched");
                Learned::refused_for(Reason::NotSupported, message, version)
            }
            Ok(Ok(facts)) => {
                let status = status_of(&facts, &cached.sha256, cached.size_bytes);
                Learned::read(status, cached, version)
            }
            // The disk, not the file.
            Ok(Err(error @ PrintFileError::Read(_))) => Learned {
                retry: Retry::Backoff,
                ..Learned::refused_for(reason_of(&error), crate::error::chain(&error), None)
            },
            Ok(Err(error)) => Learned::refused_for(reason_of(&error), crate::error::chain(&error), version),
            Err(_) => {
                let message = "reading the file failed in an unforeseen way; slice it again, and report the file";
                Learned::refused_for(Reason::FileCorrupt, message.to_owned(), version)
            }
        }
    }
}

impl Giver {
    /// What a fetch failed by that this giver answers for.
    fn fault(&self) -> Fault {
        match self {
            Self::Cache => Fault::Cache,
            Self::Server(_) => Fault::Server,
            Self::File(_) => Fault::File,
        }
    }
}

fn lane_of(request: &SourceRequest) -> Lane {
    Lane { namespace: request.namespace.clone(), server: request.server() }
}

/// Everything that has a part in giving a file.
fn givers(request: &SourceRequest, expected: Option<&Expected>) -> Vec<Giver> {
    let file = request.same_file(expected).map(Giver::File);
    [Giver::Cache, Giver::Server(lane_of(request))].into_iter().chain(file).collect()
}

impl Learned {
    fn read(facts: FileStatus, file: CachedFile, version: Option<Version>) -> Self {
        Self { state: Some(FileState::Read(facts)), retry: Retry::Seldom, version, file: Some(file) }
    }

    /// It could not be had.
    pub(super) fn refused_by(error: &FetchError) -> Self {
        let state = FileState::Refused { reason: error.reason(), message: crate::error::chain(error) };
        Self { state: Some(state), retry: error.retry(), version: None, file: None }
    }

    /// It is of no use.
    fn refused_for(reason: Reason, message: String, version: Option<Version>) -> Self {
        Self { state: Some(FileState::Refused { reason, message }), retry: Retry::Seldom, version, file: None }
    }

    /// Says of what is refused how often it is tried again. That is a bound and no clock, so that it stays the same.
    fn told_of_the_next_try(mut self) -> Self {
        let longest = super::pause(self.retry, u32::MAX);
        if let (Some(FileState::Refused { message, .. }), true) = (&mut self.state, self.retry != Retry::AfterChange) {
            message.push_str(". Tried again by itself, at least every ");
            let _ = match longest.as_secs() / 60 {
                1 => write!(message, "minute"),
                60 => write!(message, "hour"),
                minutes => write!(message, "{minutes} minutes"),
            };
        }
        self
    }

    /// Where asking again costs little, for the server says that it has nothing new or the file is a small one in the
    /// cluster, it is asked as often as if it were away.
    fn cheaper(mut self, request: &SourceRequest) -> Self {
        if self.retry == Retry::Seldom && (self.version.is_some() || request.source.config_map.is_some()) {
            self.retry = Retry::Backoff;
        }
        self
    }
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
pub(super) fn status_of(file: &PrintFile, sha256: &str, size_bytes: u64) -> FileStatus {
    let small = |n: Option<u32>| n.and_then(|n| i32::try_from(n).ok());
    let large = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok());
    FileStatus {
        sha256: sha256.to_owned(),
        // Whoever accepts the job knows what it asks for, and where.
        read_for: String::new(),
        read_from: String::new(),
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
