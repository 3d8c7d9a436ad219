//! A namespace of its own for each test, so that tests share a cluster without seeing each other. Its name has a
//! random part; all carry one label, so that leftovers in a cluster that stays can be found and removed:
//! `kubectl delete namespaces -l app.kubernetes.io/managed-by=printernizer-e2e`.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use rand::Rng;
use tokio::time::timeout;

/// How long a call about a namespace may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a namespace could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The API server said no, or could not be reached.
    #[error("cannot {action} namespace {name}; look at the API server and at the rights of the kubeconfig's user")]
    Refused {
        /// `create` or `delete`.
        action: &'static str,
        /// The namespace.
        name: String,
        /// What the client saw.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("no answer within {} s on the request to {action} namespace {name}", CALL_TIMEOUT.as_secs())]
    NoAnswer {
        /// `create` or `delete`.
        action: &'static str,
        /// The namespace.
        name: String,
    },
}

/// A namespace of a test. It is not removed by being dropped: a test that fails leaves its objects for a look, and
/// a cluster made for the tests is thrown away as a whole.
pub struct Namespace {
    client: kube::Client,
    name: String,
}

impl Namespace {
    /// Makes the namespace `<prefix>-<8 random letters and digits>`.
    pub async fn create(client: &kube::Client, prefix: &str) -> Result<Self, NamespaceError> {
        let name = random_name(prefix);
        let namespace = core::Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([("app.kubernetes.io/managed-by".to_owned(), "printernizer-e2e".to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..core::Namespace::default()
        };
        let api = Api::<core::Namespace>::all(client.clone());
        bounded("create", &name, api.create(&PostParams::default(), &namespace)).await?;
        Ok(Self { client: client.clone(), name })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for the removal of the namespace and everything in it, and does not wait for it. Without a
    /// controller-manager it stays `Terminating` for ever. A namespace that is already gone is no error.
    pub async fn delete(self) -> Result<(), NamespaceError> {
        let api = Api::<core::Namespace>::all(self.client);
        let answer = bounded("delete", &self.name, api.delete(&self.name, &DeleteParams::default())).await;
        match answer {
            Err(NamespaceError::Refused { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_not_found()) => {
                Ok(())
            }
            other => other.map(drop),
        }
    }
}

async fn bounded<T>(
    action: &'static str,
    name: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, NamespaceError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => {
            answer.map_err(|source| NamespaceError::Refused { action, name: name.to_owned(), source: Box::new(source) })
        }
        Err(_) => Err(NamespaceError::NoAnswer { action, name: name.to_owned() }),
    }
}

fn random_name(prefix: &str) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let suffix: String = (0..8).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
    format!("{prefix}-{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_dns_labels() {
        let (one, other) = (random_name("farm"), random_name("farm"));
        assert_ne!(one, other);
        assert_eq!(one.len(), "farm-12345678".len());
        assert!(one.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    }
}
