//! Keeps the print files of jobs: has them read in the background, and keeps what was learned until the job is accepted.
//! Bytes stay in the cache of `files`, facts go to the job's status. For a job that holds a printer the desk has the file
//! at hand, so that it stays in the cache, until the printer has it. What did not give such a job its file rests for a
//! while: the scheduler asks here which jobs are not worth a printer meanwhile.

mod lanes;
mod reading;
mod rests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use printernizer_crds::print_job::{FileStatus, Source};
use printernizer_crds::{PrintJob, Reason};
use printernizer_rules::print_job::{kept_sha256, needs_file_at_hand};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::Key;
use crate::files::{Asked, CachedFile, DigestOrigin, Expected, Files, Retry, SourceRequest, Version};
use crate::reconcile::Queue;
use crate::tasks::caught;
use reading::{Learned, Reader, Reading};

/// First pause before a file that could not be had is tried again; doubles.
const RETRY: Duration = Duration::from_secs(5);
/// Longest such pause.
const RETRY_CAP: Duration = Duration::from_secs(300);
/// Longest such pause where an object in the cluster is to be corrected.
const RETRY_SOON_CAP: Duration = Duration::from_secs(60);
/// Longest such pause where each try takes in a whole file, and longest time a server is believed that has nothing new.
const RETRY_SELDOM_CAP: Duration = Duration::from_hours(1);
/// Where only another spec helps, which is looked at as soon as it is written.
const RETRY_LATE: Duration = Duration::from_hours(24);

/// How far a job's file is.
#[allow(clippy::large_enum_variant, reason = "there is one per job, and nearly always it is the large one")]
#[derive(Clone, Debug, Default)]
pub enum FileState {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It is being read for the first time.
    Fetching {
        /// Since when.
        since: Instant,
    },
    /// It was read. For a job that holds a printer: it is at hand.
    Read(FileStatus),
    /// It cannot be had or used.
    Refused {
        /// Why.
        reason: Reason,
        /// For people.
        message: String,
    },
}

/// What makes two requests the same: the job, the source as its spec writes it, and the file it keeps to.
#[derive(Clone, PartialEq)]
struct Wish {
    uid: String,
    source: Source,
    expected: Option<Expected>,
    plate: i32,
}

struct Entry {
    wish: Wish,
    state: FileState,
    /// The reading under way, or waiting for its turn.
    reading: Option<UnderWay>,
    /// The file, while its job holds a printer that does not have it yet.
    at_hand: Option<CachedFile>,
    /// The version that was read and need not be read again, and when that was.
    version: Option<(Version, Instant)>,
    retry_at: Instant,
    readings: u32,
}

struct UnderWay {
    since: Instant,
    /// Tells it that no printer waits for it any more.
    released: CancellationToken,
    /// It ends when this is dropped: when the job is forgotten, or wishes for another file.
    _until_dropped: DropGuard,
}

/// Has print files read for the jobs.
pub struct Desk {
    reader: Reader,
    jobs: Queue,
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
}

fn wish_of(job: &PrintJob) -> Wish {
    let expected = |sha256: &str, origin| Expected { sha256: sha256.to_owned(), origin };
    let kept = kept_sha256(job).map(|sha256| expected(sha256, DigestOrigin::Accepted));
    Wish {
        uid: job.metadata.uid.clone().unwrap_or_default(),
        source: job.spec.source.clone(),
        expected: kept.or_else(|| job.spec.sha256.as_deref().map(|sha256| expected(sha256, DigestOrigin::Spec))),
        plate: job.spec.plate,
    }
}

fn request_of(job: &PrintJob) -> SourceRequest {
    SourceRequest { namespace: job.metadata.namespace.clone().unwrap_or_default(), source: job.spec.source.clone() }
}

impl Desk {
    /// A desk without work.
    pub fn new(files: Files, jobs: Queue) -> Self {
        Self { reader: Reader::new(files), jobs, entries: Arc::default() }
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<Key, Entry>) -> T) -> T {
        f(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How far the job's file is. Whoever does not need it at hand any more lets go of it by asking.
    pub fn state(&self, job: &PrintJob) -> FileState {
        let (key, wish, needed) = (Key::of(job), wish_of(job), needs_file_at_hand(job));
        self.with(|entries| {
            let Some(entry) = entries.get_mut(&key) else { return FileState::Unknown };
            if !needed {
                entry.at_hand = None;
                if let Some(reading) = &entry.reading {
                    reading.released.cancel();
                }
            }
            if entry.wish == wish { entry.state(needed) } else { FileState::Unknown }
        })
    }

    /// The job's file, while it is at hand.
    pub fn at_hand(&self, job: &PrintJob) -> Option<CachedFile> {
        let wish = wish_of(job);
        self.with(|entries| {
            let entry = entries.get(&Key::of(job)).filter(|e| e.wish == wish)?;
            entry.at_hand.clone().filter(CachedFile::is_there)
        })
    }

    /// Whether there is any job at all whose file cannot be had.
    pub fn anything_rests(&self) -> bool {
        self.reader.anything_rests()
    }

    /// Until when it is taken for granted that the job's file cannot be had, so that it is not worth a printer: the file is
    /// not in the cache, and its source, or the cache itself, has let another job down that held one.
    pub fn resting(&self, job: &PrintJob) -> Option<Instant> {
        self.reader.resting(|| Some((request_of(job), wish_of(job).expected?)))
    }

    /// Forgets a job that is gone.
    pub fn forget(&self, key: &Key) {
        self.with(|e| e.remove(key));
    }

    /// Begins to read the job's file, unless that is under way or was tried a moment ago; one that was read is read again
    /// after a pause, too. Wakes the job when done. Gives the time after which it may be tried again.
    pub fn fetch(&self, job: &PrintJob) -> Option<Duration> {
        let (key, wish, needed) = (Key::of(job), wish_of(job), needs_file_at_hand(job));
        let begin = self.with(|entries| {
            let now = Instant::now();
            let known = entries.get_mut(&key).filter(|e| e.wish == wish);
            let known = match known {
                Some(entry) if entry.reading.is_some() => return Err(None),
                Some(entry) => match entry.state(needed) {
                    FileState::Read(_) if needed => return Err(None),
                    FileState::Read(_) | FileState::Refused { .. } if now < entry.retry_at => {
                        return Err(Some(entry.retry_at - now));
                    }
                    _ => Some(entry),
                },
                None => None,
            };
            let (cancel, released) = (CancellationToken::new(), CancellationToken::new());
            if !needed {
                released.cancel();
            }
            let until_dropped = cancel.clone().drop_guard();
            let reading = Some(UnderWay { since: now, released: released.clone(), _until_dropped: until_dropped });
            let unless = if let Some(entry) = known {
                // What was said of it stays until it was read again: no flapping conditions. Not so where the bytes are
                // needed and gone: a job that gives its printer back meanwhile would be accepted for a file that is
                // still to come, and be given a printer again at once.
                if needed {
                    (entry.state, entry.at_hand) = (FileState::Unknown, None);
                }
                entry.reading = reading;
                let lately = |(_, at): &&(Version, Instant)| now.duration_since(*at) < RETRY_SELDOM_CAP;
                entry.version.as_ref().filter(lately).map(|(version, _)| version.clone())
            } else {
                let (wish, state, at_hand, version) = (wish.clone(), FileState::Unknown, None, None);
                let entry = Entry { wish, state, reading, at_hand, version, retry_at: now, readings: 0 };
                entries.insert(key.clone(), entry);
                None
            };
            // Whoever needs the bytes is not helped by hearing that they are the same.
            Ok((cancel, released, unless.filter(|_| !needed)))
        });
        let (cancel, released, unless) = match begin {
            Ok(go) => go,
            Err(again) => return again,
        };
        let reading = Reading {
            request: request_of(job),
            asked: Asked { expected: wish.expected, unless },
            plate: job.spec.plate,
            facts: job.status.as_ref().and_then(|s| s.file.clone()).filter(|_| needed),
            released,
        };
        let (reader, entries, jobs) = (self.reader.clone(), Arc::clone(&self.entries), self.jobs.clone());
        tokio::spawn(async move {
            let work = caught("reading the file", reader.read(&reading));
            let Some(read) = cancel.run_until_cancelled(work).await else { return };
            let learned = read.unwrap_or_else(|panicked| Learned::refused_by(&panicked.into()));
            let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = entries.get_mut(&key).filter(|_| !cancel.is_cancelled()) {
                entry.learn(learned, needed);
                jobs.now(key);
            }
        });
        None
    }
}

impl Entry {
    /// How far the file is, for a job that needs it at hand or does not.
    fn state(&self, needed: bool) -> FileState {
        let is_to_come = match self.state {
            FileState::Unknown | FileState::Fetching { .. } => true,
            // What is not in the cache any more, by whomever, is not at hand: it is looked for again, and no printer is
            // blamed for an upload that found nothing to send.
            FileState::Read(_) => needed && !self.at_hand.as_ref().is_some_and(CachedFile::is_there),
            FileState::Refused { .. } => false,
        };
        match &self.reading {
            Some(reading) if is_to_come => FileState::Fetching { since: reading.since },
            None if is_to_come => FileState::Unknown,
            _ => self.state.clone(),
        }
    }

    fn learn(&mut self, learned: Learned, needed: bool) {
        let Learned { state, retry, version, file } = learned;
        let now = Instant::now();
        self.reading = None;
        if let Some(state) = state {
            self.state = state;
            self.version = version.map(|version| (version, now));
            self.at_hand = file.filter(|_| needed);
        }
        self.retry_at = now + pause(retry, self.readings);
        self.readings = if self.at_hand.is_some() { 0 } else { self.readings.saturating_add(1) };
    }
}

/// How long a file that was read so many times before is left alone.
fn pause(retry: Retry, readings: u32) -> Duration {
    let growing = RETRY.saturating_mul(1 << readings.min(10));
    match retry {
        Retry::Backoff => growing.min(RETRY_CAP),
        Retry::Soon => growing.min(RETRY_SOON_CAP),
        Retry::Seldom => growing.min(RETRY_SELDOM_CAP),
        Retry::AfterChange => RETRY_LATE,
    }
}
