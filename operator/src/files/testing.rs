//! What unit tests share that need files: a cluster's objects without a cluster, and a cache of modest size.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use printernizer_crds::USAGE_LABEL;

use super::allow::Networks;
use super::resolve::SystemResolver;
use super::{
    Asked, CachedFile, DigestOrigin, Expected, FetchError, Files, FilesConfig, Limits, ReferenceError, References,
    SourceRequest,
};

type Read = dyn Fn(&str, &str) -> Option<Vec<u8>> + Send + Sync;

/// Objects of the namespace `farm`.
pub(crate) struct Objects {
    maps: Box<Read>,
    secrets: Mutex<HashMap<String, Secret>>,
}

impl Objects {
    /// ConfigMaps whose values this gives by name and key, and no Secrets. It may panic, as a mistake would.
    pub(crate) fn of(maps: impl Fn(&str, &str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { maps: Box::new(maps), secrets: Mutex::default() })
    }

    /// Writes a Secret for sources.
    pub(crate) fn write_secret(&self, name: &str, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let mut secret = Secret { data: Some(data.collect()), ..Secret::default() };
        secret.metadata.labels = Some([(USAGE_LABEL.to_owned(), "source".to_owned())].into());
        self.secrets.lock().unwrap().insert(name.to_owned(), secret);
    }
}

impl References for Objects {
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Vec<u8>, ReferenceError>> {
        assert_eq!(namespace, "farm");
        async move {
            tokio::task::yield_now().await;
            (self.maps)(name, key).ok_or(ReferenceError::Absent)
        }
        .boxed()
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, ReferenceError>> {
        assert_eq!(namespace, "farm");
        let found = self.secrets.lock().unwrap().get(name).cloned();
        async move { found.ok_or(ReferenceError::Absent) }.boxed()
    }
}

/// The wish for the file with this digest, as a job's spec would name it.
pub(crate) fn asked(expected_sha256: Option<&str>) -> Asked {
    let expected = expected_sha256.map(|sha256| Expected { sha256: sha256.to_owned(), origin: DigestOrigin::Spec });
    Asked { expected, unless: None }
}

impl CachedFile {
    /// A file of no cache.
    pub(crate) fn of(path: PathBuf, sha256: &str, size_bytes: u64) -> Self {
        Self { path, sha256: sha256.to_owned(), size_bytes, in_use: Arc::default() }
    }
}

impl Files {
    /// The file, with this digest if there is one.
    pub(crate) async fn fetch(
        &self,
        request: &SourceRequest,
        expected_sha256: Option<&str>,
    ) -> Result<CachedFile, FetchError> {
        self.ask(request, asked(expected_sha256)).await.file.map(|file| file.expect("nothing was refused before"))
    }
}

/// Files from these objects and from servers on this machine; a cache of 1 MB.
pub(crate) fn config(directory: &Path, objects: Arc<Objects>) -> FilesConfig {
    FilesConfig {
        directory: directory.to_owned(),
        cache_bytes: 1_000_000,
        max_age: Duration::MAX,
        limits: Limits::default(),
        networks: Networks::for_sources(Vec::new(), true),
        resolver: Arc::new(SystemResolver),
        references: objects,
    }
}
