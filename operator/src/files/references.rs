//! ConfigMaps and Secrets a source names, in the job's own namespace. They are read from the API server by name each time
//! they are used, under a timeout, and kept by nobody, so that a corrected or rotated one counts at the next try.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Keys of a ConfigMap that are shown at most.
const MAX_KEYS: usize = 5;

/// Why an object could not be read.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// No such object.
    #[error("there is no such object in this namespace")]
    Absent,
    /// The object has no such key.
    #[error("it has {}", listed(keys))]
    NoKey {
        /// The keys it has.
        keys: Vec<String>,
    },
    /// The operator's account lacks the right.
    #[error(
        "the operator may not read it; grant it `get`, as the Helm chart (rbac.create) and examples/operator/rbac.yaml do"
    )]
    NotAllowed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server did not answer as expected.
    #[error("the API server did not give it")]
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
        Box::pin(async move { value(self.get::<ConfigMap>(namespace, name).await?, key) })
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, ReferenceError>> {
        Box::pin(self.get(namespace, name))
    }
}

fn value(mut map: ConfigMap, key: &str) -> Result<Vec<u8>, ReferenceError> {
    let binary = map.binary_data.as_mut().and_then(|data| data.remove(key)).map(|bytes| bytes.0);
    let found = binary.or_else(|| map.data.as_mut().and_then(|data| data.remove(key)).map(String::into_bytes));
    found.ok_or_else(|| {
        let keys = map.binary_data.into_iter().flat_map(BTreeMap::into_keys);
        ReferenceError::NoKey { keys: keys.chain(map.data.into_iter().flat_map(BTreeMap::into_keys)).collect() }
    })
}

/// Keys for people, some of them.
fn listed(keys: &[String]) -> String {
    match keys {
        [] => "no keys at all".to_owned(),
        [one] => format!("only the key {one:?}"),
        many => {
            let some: Vec<_> = many.iter().take(MAX_KEYS).map(|key| format!("{key:?}")).collect();
            let more = if many.len() > MAX_KEYS { " and others" } else { "" };
            format!("the keys {}{more}", some.join(", "))
        }
    }
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
        assert_eq!(value(map.clone(), "a.gcode").unwrap(), b"G28");
        assert_eq!(value(map.clone(), "b.bgcode").unwrap(), [0, 255]);
        let told = |map, key| value(map, key).unwrap_err().to_string();
        assert_eq!(told(map, "c.gcode"), "it has the keys \"b.bgcode\", \"a.gcode\"");
        assert_eq!(told(ConfigMap::default(), "c.gcode"), "it has no keys at all");
        let many = (0..9).map(|n| (format!("{n}.gcode"), String::new())).collect();
        let many = told(ConfigMap { data: Some(many), ..ConfigMap::default() }, "c.gcode");
        assert!(many.ends_with("\"4.gcode\" and others"), "{many}");
    }
}
