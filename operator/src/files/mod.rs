//! The bytes of a job's print file: fetched once, checked, and kept in a bounded cache on disk.
//!
//! Whoever asks for the same file at the same time waits for the same fetch. A fetch nobody waits for any more ends and
//! leaves nothing behind. What a file contains is not judged here, only that it is the one that was meant.

pub mod allow;
mod cache;
mod config_map;
mod error;
mod fetch;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use crate::tasks::caught;
use allow::Networks;
pub use cache::CachedFile;
use cache::{Cache, Partial, is_namespace, is_sha256};
pub use config_map::{ConfigMapError, ConfigMapReader, KubeConfigMaps};
pub use error::{Cause, FetchError, Retry};
pub use fetch::{Authorization, Credentials, HttpSource, Limits};

/// Where files are kept and where they may come from.
pub struct FilesConfig {
    /// Directory of the cache; made when it is not there. One process only.
    pub directory: PathBuf,
    /// Size of the cache, files on their way included.
    pub cache_bytes: u64,
    /// Limits of one fetch.
    pub limits: Limits,
    /// Networks sources may be in.
    pub networks: Networks,
    /// Reads ConfigMaps.
    pub config_maps: Arc<dyn ConfigMapReader>,
}

/// Where a print file comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// A web server.
    Http(HttpSource),
    /// A ConfigMap in the job's namespace.
    ConfigMap {
        /// Name of the ConfigMap.
        name: String,
        /// Key in it.
        key: String,
    },
}

/// A print file somebody wants.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// Namespace of the job; another namespace's files are never given out.
    pub namespace: String,
    /// Where the file comes from.
    pub source: Source,
}

type Fetching = BoxFuture<'static, Result<CachedFile, FetchError>>;
type FlightKey = [u8; 32];

struct Inner {
    cache: Arc<Cache>,
    limits: Limits,
    networks: Networks,
    config_maps: Arc<dyn ConfigMapReader>,
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
        let cache = Arc::new(Cache::open(&config.directory, config.cache_bytes)?);
        let FilesConfig { limits, networks, config_maps, .. } = config;
        Ok(Self { inner: Arc::new(Inner { cache, limits, networks, config_maps, flights: Mutex::default() }) })
    }

    /// The file, from the cache when its digest is known and it is there, else from its source. Without a digest the
    /// source is always asked, because what lies there may have changed. Dropping the returned future gives up this
    /// caller's wish; the fetch goes on while others wait for it.
    pub async fn fetch(
        &self,
        request: &SourceRequest,
        expected_sha256: Option<&str>,
    ) -> Result<CachedFile, FetchError> {
        let expected = expected_sha256.map(str::to_ascii_lowercase);
        if expected.as_deref().is_some_and(|digest| !is_sha256(digest)) {
            return Err(FetchError::DigestForm);
        }
        if !is_namespace(&request.namespace) {
            let why = "the namespace of the job is no valid name";
            return Err(FetchError::Url { shown: "the source".to_owned(), why });
        }
        self.flight(request, expected).await
    }

    fn flight(&self, request: &SourceRequest, expected: Option<String>) -> Shared<Fetching> {
        let key = request.fingerprint(expected.as_deref());
        let mut flights = self.inner.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.upgrade().is_some());
        let (inner, request) = (Arc::clone(&self.inner), request.clone());
        let flight = async move {
            // Whoever shares a future that panicked would wait for ever.
            let result = caught("fetching the file", inner.get(&request, expected.as_deref())).await;
            let result = result.unwrap_or_else(|panicked| Err(panicked.into()));
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

impl Inner {
    async fn get(&self, request: &SourceRequest, expected: Option<&str>) -> Result<CachedFile, FetchError> {
        if let Some(expected) = expected
            && let Some(file) = self.cache.find(&request.namespace, expected).await?
        {
            return Ok(file);
        }
        let mut partial = self.cache.begin()?;
        match &request.source {
            Source::Http(source) => fetch::fetch(source, &self.networks, &self.limits, &mut partial).await?,
            Source::ConfigMap { name, key } => self.read(&request.namespace, name, key, &mut partial).await?,
        }
        match expected {
            Some(expected) if partial.sha256() != expected => Err(FetchError::DigestMismatch {
                shown: request.shown(),
                expected: expected.to_owned(),
                actual: partial.sha256(),
            }),
            _ => partial.complete(&request.namespace).await,
        }
    }

    async fn read(&self, namespace: &str, name: &str, key: &str, partial: &mut Partial) -> Result<(), FetchError> {
        let shown = format!("key {key:?} of ConfigMap {name:?}");
        let bytes = match self.config_maps.read(namespace, name, key).await {
            Ok(bytes) => bytes,
            Err(ConfigMapError::Absent) => return Err(FetchError::NotFound { shown }),
            Err(error) => return Err(FetchError::unreachable(&shown, error)),
        };
        let limit_bytes = self.limits.max_file_bytes;
        match bytes.len() as u64 {
            0 => Err(FetchError::Empty { shown }),
            size if size > limit_bytes => Err(FetchError::TooLarge { shown, limit_bytes }),
            _ => partial.write(&bytes).await,
        }
    }
}

impl SourceRequest {
    fn shown(&self) -> String {
        match &self.source {
            Source::Http(http) => http.shown(),
            Source::ConfigMap { name, key } => format!("key {key:?} of ConfigMap {name:?}"),
        }
    }

    /// Equal for requests that may share one fetch, credentials included. Kept in memory only.
    fn fingerprint(&self, expected: Option<&str>) -> FlightKey {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        part(self.namespace.as_bytes());
        part(expected.unwrap_or_default().as_bytes());
        match &self.source {
            Source::ConfigMap { name, key } => {
                part(b"configMap");
                part(name.as_bytes());
                part(key.as_bytes());
            }
            Source::Http(HttpSource { url, credentials, ca_bundle }) => {
                part(b"http");
                part(url.as_bytes());
                part(ca_bundle.as_deref().unwrap_or_default());
                if let Some(Credentials { authorization, allowed_hosts }) = credentials {
                    part(allowed_hosts.join(",").as_bytes());
                    match authorization {
                        Authorization::Basic { user, password } => {
                            part(b"basic");
                            part(user.as_bytes());
                            part(password.expose_secret().as_bytes());
                        }
                        Authorization::Bearer(token) => {
                            part(b"bearer");
                            part(token.expose_secret().as_bytes());
                        }
                    }
                }
            }
        }
        digest.finalize().into()
    }
}
