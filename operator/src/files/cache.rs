//! Print files on disk, found by namespace and SHA-256, in a directory of bounded size. A file gets its final name only
//! when it is complete; what breaks off leaves nothing. Files in use are never evicted, of the others the one unused
//! for longest goes first, and each that nobody used for too long. When a file was used last stands in its modification
//! time, so it outlives the process. One namespace never sees another's files, even when it knows their digest.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use super::error::FetchError;

const PARTIAL_PREFIX: &str = ".partial-";
/// Files of an earlier process whose digest is computed at the same time: each takes a processor and a share of the disk.
const DIGESTS: usize = 4;

/// A complete, verified file in the cache. It stays on disk as long as a copy of this value exists.
#[derive(Clone, Debug)]
pub struct CachedFile {
    /// Where it lies; never written to.
    pub path: PathBuf,
    /// Its digest, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
    #[expect(dead_code, reason = "counts the users, see Entry::users")]
    pub(super) in_use: Arc<()>,
}

impl CachedFile {
    /// Whether it is still there in its length. Nobody but this process should touch it, but people make room on disks.
    pub fn is_there(&self) -> bool {
        is_there(&self.path, self.size_bytes)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    sha256: String,
}

struct Entry {
    size_bytes: u64,
    /// Number of the last use: the clock may be set back.
    last_use: u64,
    used_at: SystemTime,
    /// One reference is ours, each further one a user's.
    users: Arc<()>,
    /// Files of an earlier process are read again before their first use.
    verified: bool,
}

#[derive(Default)]
struct Index {
    entries: HashMap<Key, Entry>,
    partial_bytes: u64,
    uses: u64,
}

/// The directory and what is known of it.
pub(super) struct Cache {
    directory: PathBuf,
    limit_bytes: u64,
    max_age: Duration,
    index: Mutex<Index>,
    digests: Arc<Semaphore>,
}

impl Cache {
    /// Opens a directory: half-written files of an earlier process are deleted, and what nobody used for `max_age`;
    /// other complete ones are kept.
    pub(super) fn open(directory: &Path, limit_bytes: u64, max_age: Duration) -> Result<Self, std::io::Error> {
        std::fs::create_dir_all(directory)?;
        let mut found = Vec::new();
        for item in std::fs::read_dir(directory)? {
            let item = item?;
            let Ok(name) = item.file_name().into_string() else { continue };
            if name.starts_with(PARTIAL_PREFIX) {
                std::fs::remove_file(item.path())?;
            } else if let Some(key) = Key::of_file(&name) {
                let metadata = item.metadata()?;
                found.push((metadata.modified()?, key, metadata.len()));
            }
        }
        found.sort_by_key(|(modified, ..)| *modified);
        let mut index = Index::default();
        for (used_at, key, size_bytes) in found {
            index.uses += 1;
            let entry = Entry { size_bytes, last_use: index.uses, used_at, users: Arc::default(), verified: false };
            index.entries.insert(key, entry);
        }
        let (directory, digests) = (directory.to_owned(), Arc::new(Semaphore::new(DIGESTS)));
        let cache = Self { directory, limit_bytes, max_age, index: Mutex::new(index), digests };
        cache.evict_old(SystemTime::now());
        // Whatever is too much is unused, so this cannot fail for want of space.
        let _ = cache.make_room(&mut cache.index(), 0);
        Ok(cache)
    }

    /// The file with this digest, if it is there and still what it should be.
    pub(super) async fn find(&self, namespace: &str, sha256: &str) -> Result<Option<CachedFile>, FetchError> {
        let key = Key { namespace: namespace.to_owned(), sha256: sha256.to_owned() };
        let Some((file, verified)) = self.take(&key) else { return Ok(None) };
        let read = if verified { None } else { self.digest(&key, &file.path).await? };
        let mut index = self.index();
        let Some(entry) = index.entries.get_mut(&key) else { return Ok(None) };
        // Another fetch may have completed the same file meanwhile; then it is known to be good.
        let intact = match read {
            Some(digest) if !entry.verified => digest == Some(file.sha256.clone()),
            _ => file.is_there(),
        };
        if intact {
            entry.verified = true;
            return Ok(Some(file));
        }
        index.entries.remove(&key);
        match std::fs::remove_file(&file.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(None),
        }
    }

    /// Whether the file with this digest is there in its length; whether it is still what it should be is seen when it is
    /// used.
    pub(super) fn has(&self, namespace: &str, sha256: &str) -> bool {
        let key = Key { namespace: namespace.to_owned(), sha256: sha256.to_owned() };
        let size_bytes = self.index().entries.get(&key).map(|entry| entry.size_bytes);
        size_bytes.is_some_and(|size_bytes| is_there(&self.directory.join(key.file_name()), size_bytes))
    }

    /// The digest of a file of an earlier process, in turn: `Some(None)` when it cannot be read, and `None` when somebody
    /// else has verified the file meanwhile.
    async fn digest(&self, key: &Key, path: &Path) -> Result<Option<Option<String>>, FetchError> {
        let turn = Arc::clone(&self.digests).acquire_owned().await.map_err(std::io::Error::other)?;
        if self.index().entries.get(key).is_some_and(|entry| entry.verified) {
            return Ok(None);
        }
        let path = path.to_owned();
        let digest = tokio::task::spawn_blocking(move || {
            // Nobody else's turn comes before this has ended, also when nobody waits for it any more.
            let _turn = turn;
            digest_of(&path).ok()
        });
        digest.await.map(Some).map_err(|error| FetchError::from(std::io::Error::other(error)))
    }

    /// Begins a new file.
    pub(super) fn begin(self: &Arc<Self>) -> Result<Partial, FetchError> {
        // Its error names the file, and that is another one at each try: a message that would be written each time.
        let nameless = |error: std::io::Error| std::io::Error::from(error.kind());
        let file = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempfile_in(&self.directory).map_err(nameless)?;
        let writer = tokio::fs::File::from_std(file.reopen()?);
        Ok(Partial { cache: Arc::clone(self), file, writer, digest: Sha256::new(), size_bytes: 0 })
    }

    fn take(&self, key: &Key) -> Option<(CachedFile, bool)> {
        let mut index = self.index();
        index.uses += 1;
        let uses = index.uses;
        let entry = index.entries.get_mut(key)?;
        (entry.last_use, entry.used_at) = (uses, SystemTime::now());
        let path = self.directory.join(key.file_name());
        // Only the next process reads this, to know what is old.
        let _ = std::fs::File::open(&path).and_then(|file| file.set_modified(entry.used_at));
        let file = CachedFile {
            path,
            sha256: key.sha256.clone(),
            size_bytes: entry.size_bytes,
            in_use: Arc::clone(&entry.users),
        };
        Some((file, entry.verified))
    }

    /// Evicts until `more` bytes fit.
    fn make_room(&self, index: &mut Index, more: u64) -> Result<(), FetchError> {
        loop {
            let taken: u64 = index.entries.values().map(|entry| entry.size_bytes).sum();
            if taken.saturating_add(index.partial_bytes).saturating_add(more) <= self.limit_bytes {
                return Ok(());
            }
            let unused = index.entries.iter().filter(|(_, entry)| Arc::strong_count(&entry.users) == 1);
            let Some(key) = unused.min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone()) else {
                return Err(FetchError::CacheFull { limit_bytes: self.limit_bytes });
            };
            self.evict(index, &key)?;
        }
    }

    /// Evicts what nobody has used for too long.
    pub(super) fn evict_old(&self, now: SystemTime) {
        self.evict_all(|entry| now.duration_since(entry.used_at).is_ok_and(|age| age > self.max_age));
    }

    /// Evicts all that nobody uses now: the disk has less room than the cache was given.
    pub(super) fn evict_unused(&self) {
        self.evict_all(|_| true);
    }

    fn evict_all(&self, wanted: impl Fn(&Entry) -> bool) {
        let mut index = self.index();
        let unused = index.entries.iter().filter(|(_, entry)| Arc::strong_count(&entry.users) == 1 && wanted(entry));
        for key in unused.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            if let Err(error) = self.evict(&mut index, &key) {
                tracing::warn!(file = %key.file_name(), error = %crate::error::chain(&error), "cannot be deleted");
            }
        }
    }

    fn evict(&self, index: &mut Index, key: &Key) -> Result<(), FetchError> {
        match std::fs::remove_file(self.directory.join(key.file_name())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => {
                index.entries.remove(key);
                Ok(())
            }
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    /// Namespaces are DNS labels, so the name needs no escaping and the first dot ends the namespace.
    fn file_name(&self) -> String {
        format!("{}.{}", self.namespace, self.sha256)
    }

    fn of_file(name: &str) -> Option<Self> {
        let (namespace, sha256) = name.split_once('.')?;
        let known = is_namespace(namespace) && is_sha256(sha256);
        known.then(|| Self { namespace: namespace.to_owned(), sha256: sha256.to_owned() })
    }
}

/// A file on its way into the cache. Dropped before [`Partial::complete`], it leaves nothing behind.
pub(super) struct Partial {
    cache: Arc<Cache>,
    file: NamedTempFile,
    writer: tokio::fs::File,
    digest: Sha256,
    size_bytes: u64,
}

impl Partial {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether a file of this size fits into the cache at all: none is evicted for one that does not.
    pub(super) fn could_hold(&self, total_bytes: u64) -> Result<(), FetchError> {
        let limit_bytes = self.cache.limit_bytes;
        if total_bytes > limit_bytes { Err(FetchError::CacheTooSmall { limit_bytes }) } else { Ok(()) }
    }

    /// Appends bytes, making room for them first.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let more = bytes.len() as u64;
        self.could_hold(self.size_bytes.saturating_add(more))?;
        {
            let mut index = self.cache.index();
            self.cache.make_room(&mut index, more)?;
            index.partial_bytes += more;
            self.size_bytes += more;
        }
        self.digest.update(bytes);
        Ok(self.writer.write_all(bytes).await?)
    }

    /// Forgets what was written: the file begins anew.
    pub(super) async fn restart(&mut self) -> Result<(), FetchError> {
        if self.size_bytes == 0 {
            return Ok(());
        }
        self.writer.flush().await?;
        self.writer.set_len(0).await?;
        self.writer.rewind().await?;
        self.digest = Sha256::new();
        let mut index = self.cache.index();
        index.partial_bytes = index.partial_bytes.saturating_sub(self.size_bytes);
        self.size_bytes = 0;
        Ok(())
    }

    /// The digest of everything written.
    pub(super) fn sha256(&self) -> String {
        hexadecimal(&self.digest.clone().finalize())
    }

    /// Makes it a file of the cache.
    pub(super) async fn complete(mut self, namespace: &str) -> Result<CachedFile, FetchError> {
        self.writer.flush().await?;
        self.writer.sync_all().await?;
        let key = Key { namespace: namespace.to_owned(), sha256: self.sha256() };
        let mut index = self.cache.index();
        // Renaming over the same content is harmless for those who are reading it.
        std::fs::rename(self.file.path(), self.cache.directory.join(key.file_name()))?;
        index.uses += 1;
        let last_use = index.uses;
        let size_bytes = self.size_bytes;
        let entry = index.entries.entry(key.clone());
        let used_at = SystemTime::now();
        let new = || Entry { size_bytes, last_use, used_at, users: Arc::default(), verified: true };
        let entry = entry.or_insert_with(new);
        (entry.size_bytes, entry.last_use, entry.used_at, entry.verified) = (size_bytes, last_use, used_at, true);
        let in_use = Arc::clone(&entry.users);
        index.partial_bytes = index.partial_bytes.saturating_sub(size_bytes);
        drop(index);
        self.size_bytes = 0;
        let path = self.cache.directory.join(key.file_name());
        Ok(CachedFile { path, sha256: key.sha256, size_bytes, in_use })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let mut index = self.cache.index();
        index.partial_bytes = index.partial_bytes.saturating_sub(self.size_bytes);
    }
}

/// Whether a text is a Kubernetes namespace, and so safe in a file name.
pub(super) fn is_namespace(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether a text is a digest in the form used here.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
        text.extend([digit(byte >> 4), digit(byte & 15)]);
        text
    })
}

fn is_there(path: &Path, size_bytes: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == size_bytes)
}

fn digest_of(path: &Path) -> Result<String, std::io::Error> {
    let mut file = std::fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&digest.finalize())),
            count => digest.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests;
