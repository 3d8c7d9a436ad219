//! What unit tests share that need files: a cluster's objects without a cluster, and a cache of modest size.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use printernizer_crds::USAGE_LABEL;

use super::allow::Networks;
use super::resolve::SystemResolver;
use super::{FilesConfig, Limits, ReferenceError, References};

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
