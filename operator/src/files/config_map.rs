//! Print files kept in a ConfigMap, for small parts and examples. Where it is read from is the caller's business; the
//! reader for Kubernetes asks the API server each time, under a timeout, and keeps nothing.

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use thiserror::Error;

/// Why a key of a ConfigMap could not be read.
#[derive(Debug, Error)]
pub enum ConfigMapError {
    /// No such ConfigMap, or no such key in it.
    #[error("there is no such ConfigMap, or no such key in it")]
    Absent,
    /// The API server did not answer as expected.
    #[error("the ConfigMap could not be read from the API server; it is tried again")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads keys of ConfigMaps.
pub trait ConfigMapReader: Send + Sync {
    /// The bytes under `key`, of `binaryData` or of `data`.
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Vec<u8>, ConfigMapError>>;
}

/// Reads from the Kubernetes API.
#[derive(Clone)]
pub struct KubeConfigMaps {
    client: Client,
    timeout: Duration,
}

impl KubeConfigMaps {
    /// `timeout` bounds each call.
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }
}

impl ConfigMapReader for KubeConfigMaps {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Vec<u8>, ConfigMapError>> {
        Box::pin(async move {
            let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
            let answer = tokio::time::timeout(self.timeout, api.get_opt(name)).await;
            let found = answer.map_err(|elapsed| ConfigMapError::Unreachable(Box::new(elapsed)))?;
            let map = found.map_err(|error| ConfigMapError::Unreachable(Box::new(error)))?;
            map.and_then(|map| value(map, key)).ok_or(ConfigMapError::Absent)
        })
    }
}

fn value(mut map: ConfigMap, key: &str) -> Option<Vec<u8>> {
    let binary = map.binary_data.as_mut().and_then(|data| data.remove(key)).map(|bytes| bytes.0);
    binary.or_else(|| map.data.as_mut().and_then(|data| data.remove(key)).map(String::into_bytes))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn a_key_is_found_in_either_kind_of_data() {
        let map = ConfigMap {
            data: Some([("a.gcode".to_owned(), "G28".to_owned())].into()),
            binary_data: Some([("b.bgcode".to_owned(), ByteString(vec![0, 255]))].into()),
            ..ConfigMap::default()
        };
        assert_eq!(value(map.clone(), "a.gcode"), Some(b"G28".to_vec()));
        assert_eq!(value(map.clone(), "b.bgcode"), Some(vec![0, 255]));
        assert_eq!(value(map, "c.gcode"), None);
    }
}
