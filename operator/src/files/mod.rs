//! The bytes of a job's print file: fetched once, checked, and kept in a bounded cache on disk. A request is the source as
//! the job's spec writes it; what it refers to (a Secret, certificates) is read when it is fetched.
//!
//! Whoever asks for the same file at the same time waits for the same fetch. A fetch nobody waits for any more ends and
//! leaves nothing behind. What a file contains is not judged here, only that it is the one that was meant.

pub mod allow;
mod cache;
mod consequence;
mod credentials;
mod error;
mod fetch;
mod location;
mod origin;
mod receive;
mod references;
mod refusal;
pub mod resolve;
mod s3;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;
mod version;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use printernizer_crds::common::ConfigMapKeyReference;
use printernizer_crds::print_job::Source;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::tasks::caught;
use allow::Networks;
pub use cache::CachedFile;
use cache::{Cache, Partial, is_namespace, is_sha256};
pub use consequence::{Fault, Retry};
pub use credentials::Presented;
pub use error::{Cause, DigestOrigin, Expected, FetchError};
pub use fetch::Limits;
use fetch::Network;
use origin::Origin;
use receive::{Known, Received, Way};
pub use references::{KubeReferences, ReferenceError, References};
pub use refusal::S3Refusal;
use resolve::Resolver;
pub use tls::Distrust;
pub use trouble::Trouble;
pub use version::Version;

/// Pause between two looks for files that nobody has used for too long.
const TIDY_PAUSE: Duration = Duration::from_hours(1);

/// Where files are kept and where they may come from.
pub struct FilesConfig {
    /// Directory of the cache; made when it is not there. One process only.
    pub directory: PathBuf,
    /// Size of the cache, files on their way included.
    pub cache_bytes: u64,
    /// How long a file that nobody uses stays.
    pub max_age: Duration,
    /// Limits of one fetch.
    pub limits: Limits,
    /// Networks sources may be in.
    pub networks: Networks,
    /// Knows the addresses of names.
    pub resolver: Arc<dyn Resolver>,
    /// Reads ConfigMaps and Secrets.
    pub references: Arc<dyn References>,
}

/// A print file somebody wants.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// Namespace of the job; another namespace's files are never given out, and its objects never read.
    pub namespace: String,
    /// Where the file comes from, as the job's spec writes it.
    pub source: Source,
}

/// What is known of a file that somebody wants.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The digest it must have.
    pub expected: Option<Expected>,
    /// The version that was refused, and is not wanted again.
    pub unless: Option<Version>,
}

/// What came of a wish.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The file; none where its source still has the version that is not wanted again.
    pub file: Result<Option<CachedFile>, FetchError>,
    /// The version of it that the source named, also where the fetch failed.
    pub version: Option<Version>,
}

type Fetching = BoxFuture<'static, Fetched>;
type FlightKey = [u8; 32];

struct Inner {
    cache: Arc<Cache>,
    limits: Limits,
    network: Network,
    references: Arc<dyn References>,
    flights: Mutex<HashMap<FlightKey, WeakShared<Fetching>>>,
}

/// Print files on disk. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    inner: Arc<Inner>,
}

impl Files {
    /// Opens the cache; files of an earlier process are used again after their digest was checked.
    pub fn new(config: FilesConfig) -> Result<Self, FetchError> {
        let cache = Arc::new(Cache::open(&config.directory, config.cache_bytes, config.max_age)?);
        let FilesConfig { limits, networks, resolver, references, .. } = config;
        let network = Network { networks, resolver };
        Ok(Self { inner: Arc::new(Inner { cache, limits, network, references, flights: Mutex::default() }) })
    }

    /// Deletes, until it is cancelled, what nobody has used for too long.
    pub async fn tidy(self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(TIDY_PAUSE) => self.inner.cache.evict_old(SystemTime::now()),
            }
        }
    }

    /// The file with this digest, where it is in the cache.
    pub async fn cached(&self, namespace: &str, sha256: &str) -> Result<Option<CachedFile>, FetchError> {
        if !is_sha256(sha256) || !is_namespace(namespace) {
            return Ok(None);
        }
        self.inner.cache.find(namespace, sha256).await
    }

    /// Whether the file with this digest is in the cache, without a look into it.
    pub fn has(&self, namespace: &str, sha256: &str) -> bool {
        self.inner.cache.has(namespace, &sha256.to_ascii_lowercase())
    }

    /// The file, from the cache when its digest is known and it is there, else from its source. Without a digest the
    /// source is always asked, because what lies there may have changed. Dropping the returned future gives up this
    /// caller's wish; the fetch goes on while others wait for it.
    pub async fn ask(&self, request: &SourceRequest, mut asked: Asked) -> Fetched {
        if let Some(expected) = asked.expected.as_mut() {
            expected.sha256.make_ascii_lowercase();
            if !is_sha256(&expected.sha256) {
                return FetchError::DigestForm.into();
            }
        }
        if !is_namespace(&request.namespace) {
            let why = "the namespace of the job is no valid name";
            return FetchError::Url { shown: "the source".to_owned(), why }.into();
        }
        match request.fingerprint(&asked) {
            Ok(key) => self.flight(key, request, asked).await,
            Err(error) => error.into(),
        }
    }

    fn flight(&self, key: FlightKey, request: &SourceRequest, asked: Asked) -> Shared<Fetching> {
        let mut flights = self.inner.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.upgrade().is_some());
        let (inner, request) = (Arc::clone(&self.inner), request.clone());
        let flight = async move {
            // Whoever shares a future that panicked would wait for ever.
            let result = caught("fetching the file", inner.get(&request, &asked)).await;
            let result = result.unwrap_or_else(|panicked| FetchError::from(panicked).into());
            inner.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            result
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        flight
    }
}

impl From<FetchError> for Fetched {
    fn from(error: FetchError) -> Self {
        Self { file: Err(error), version: None }
    }
}

impl Inner {
    async fn get(&self, request: &SourceRequest, asked: &Asked) -> Fetched {
        if let Some(expected) = &asked.expected {
            match self.cache.find(&request.namespace, &expected.sha256).await {
                Ok(Some(file)) => return Fetched { file: Ok(Some(file)), version: None },
                Ok(None) => {}
                Err(error) => return error.into(),
            }
        }
        let mut version = None;
        let file = self.after(self.fetch(request, asked, &mut version).await);
        Fetched { file, version }
    }

    /// Where the disk was full, the next try finds what room the cache can do without.
    fn after(&self, fetched: Result<Option<CachedFile>, FetchError>) -> Result<Option<CachedFile>, FetchError> {
        if let Err(FetchError::DiskFull { .. }) = &fetched {
            self.cache.evict_unused();
        }
        fetched
    }

    async fn fetch(
        &self,
        request: &SourceRequest,
        asked: &Asked,
        version: &mut Option<Version>,
    ) -> Result<Option<CachedFile>, FetchError> {
        let (namespace, references) = (request.namespace.as_str(), self.references.as_ref());
        let mut partial = self.cache.begin()?;
        let (shown, received) = match &request.source {
            Source { http: Some(http), .. } => {
                let origin = Origin::http(http, namespace, references).await?;
                (origin.shown(), self.receive(&origin, asked, &mut partial, version).await?)
            }
            Source { s3: Some(s3), .. } => {
                let origin = Origin::s3(s3, namespace, references).await?;
                (origin.shown(), self.receive(&origin, asked, &mut partial, version).await?)
            }
            Source { config_map: Some(map), .. } => (self.read(namespace, map, &mut partial).await?, Received::Whole),
            _ => {
                let why = "it names none of http, s3 and configMap";
                return Err(FetchError::Url { shown: "spec.source".to_owned(), why });
            }
        };
        match &asked.expected {
            _ if received == Received::Unchanged => Ok(None),
            Some(expected) if partial.sha256() != expected.sha256 => {
                Err(FetchError::DigestMismatch { shown, expected: expected.clone(), actual: partial.sha256() })
            }
            _ => partial.complete(namespace).await.map(Some),
        }
    }

    /// Fetches from a server.
    async fn receive(
        &self,
        origin: &Origin,
        asked: &Asked,
        partial: &mut Partial,
        version: &mut Option<Version>,
    ) -> Result<Received, FetchError> {
        let known = Known { digest: asked.expected.is_some(), version: asked.unless.as_ref() };
        let way = Way { origin, network: &self.network, limits: &self.limits, known };
        receive::receive(way, partial, version).await
    }

    /// Reads from a ConfigMap; gives what it is, for people.
    async fn read(
        &self,
        namespace: &str,
        map: &ConfigMapKeyReference,
        partial: &mut Partial,
    ) -> Result<String, FetchError> {
        let shown = format!("the key {:?} of the ConfigMap {:?}", map.key, map.name);
        let bytes = match self.references.config_map(namespace, &map.name, &map.key).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let (name, key) = (map.name.clone(), map.key.clone());
                return Err(match &error {
                    ReferenceError::Absent => FetchError::NoConfigMap { name, key },
                    ReferenceError::NoKey { .. } => FetchError::NoConfigMapKey { name, key, source: Arc::new(error) },
                    _ => FetchError::ConfigMapUnreadable { shown, source: Arc::new(error) },
                });
            }
        };
        let limit_bytes = self.limits.max_file_bytes;
        match bytes.len() as u64 {
            0 => Err(FetchError::Empty { shown }),
            size if size > limit_bytes => Err(FetchError::TooLarge { shown, limit_bytes }),
            _ => partial.write(&bytes).await.map(|()| shown),
        }
    }
}

impl SourceRequest {
    /// The server it comes from, as host and port; none for what lies in the cluster, or cannot be asked for.
    pub fn server(&self) -> Option<String> {
        let url = match &self.source {
            Source { http: Some(http), .. } => location::parse(&http.url).ok()?,
            Source { s3: Some(s3), .. } => s3::Object::of(s3).ok()?.endpoint().clone(),
            _ => return None,
        };
        Some(location::server_of(&url))
    }

    /// Equal for requests for the same file of the same source; none where the source cannot be put into words.
    pub(crate) fn same_file(&self, expected: Option<&Expected>) -> Option<[u8; 32]> {
        self.fingerprint(&Asked { expected: expected.cloned(), unless: None }).ok()
    }

    /// Equal for requests that may share one fetch.
    fn fingerprint(&self, asked: &Asked) -> Result<FlightKey, FetchError> {
        let source = serde_json::to_vec(&self.source).map_err(std::io::Error::other)?;
        let mut digest = Sha256::new();
        let expected = asked.expected.as_ref();
        let origin = expected.map_or(&[][..], |expected| match expected.origin {
            DigestOrigin::Spec => b"spec",
            DigestOrigin::Accepted => b"accepted",
        });
        let sha256 = expected.map_or(&[][..], |expected| expected.sha256.as_bytes());
        let version = asked.unless.as_ref().map(Version::parts).unwrap_or_default();
        for part in [self.namespace.as_bytes(), sha256, origin, &source].into_iter().chain(version) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Ok(digest.finalize().into())
    }
}
