//! ConfigMaps and Secrets a source names, in the job's own namespace. They are read from the API server by name each time
//! they are used, under a timeout, and kept by nobody, so that a corrected or rotated one counts at the next try.

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why an object could not be read.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// No such object, or no such key in it.
    #[error("there is no such object, or no such key in it")]
    Absent,
    /// The operator's account lacks the right.
    #[error("the operator may not read it; grant it `get`, as examples/operator/rbac.yaml does")]
    NotAllowed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server did not answer as expected.
    #[error("it could not be read from the API server, and is tried again")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads what a source names.
pub trait References: Send + Sync {
    /// The bytes under `key` of a ConfigMap, of its `binaryData` or its `data`.
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Vec<u8>, ReferenceError>>;

    /// A Secret, whatever its labels: the caller checks them.
    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, ReferenceError>>;
}

/// Reads from the Kubernetes API.
#[derive(Clone)]
pub struct KubeReferences {
    client: Client,
    timeout: Duration,
}

impl KubeReferences {
    /// `timeout` bounds each call.
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    async fn get<K>(&self, namespace: &str, name: &str) -> Result<K, ReferenceError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let answer = tokio::time::timeout(self.timeout, api.get_opt(name)).await;
        match answer.map_err(|elapsed| ReferenceError::Unreachable(Box::new(elapsed)))? {
            Ok(found) => found.ok_or(ReferenceError::Absent),
            Err(error @ kube::Error::Api(_)) if is_forbidden(&error) => {
                Err(ReferenceError::NotAllowed(Box::new(error)))
            }
            Err(error) => Err(ReferenceError::Unreachable(Box::new(error))),
        }
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

impl References for KubeReferences {
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Vec<u8>, ReferenceError>> {
        Box::pin(async move {
            let map = self.get::<ConfigMap>(namespace, name).await?;
            value(map, key).ok_or(ReferenceError::Absent)
        })
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, ReferenceError>> {
        Box::pin(self.get(namespace, name))
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
