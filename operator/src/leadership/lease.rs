//! Reads and writes the Lease object. Every write carries the resourceVersion it was decided on; nothing is retried
//! and nothing is merged here. Timeouts are the caller's, so that a call can be given up at a leader's deadline.

use std::future::Future;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use thiserror::Error;

/// Why a call on the Lease failed.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Another write came first (409), or the object already exists.
    #[error("the Lease was changed by somebody else")]
    Conflict,
    /// There is no such Lease (404).
    #[error("the Lease does not exist")]
    Absent,
    /// Refused, failed or lost: a write may or may not have happened.
    #[error(
        "the API server did not answer a call on the Lease as expected; check its health and this account's rights \
             to get, create and update leases.coordination.k8s.io"
    )]
    Unclear(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where the Lease is kept.
pub trait LeaseStore: Send + Sync + 'static {
    /// Reads it, from the quorum and not from a cache.
    fn get(&self) -> impl Future<Output = Result<Lease, LeaseError>> + Send;
    /// Creates it; [`LeaseError::Conflict`] when it exists already.
    fn create(&self, lease: &Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;
    /// Replaces exactly the version named in `lease`, else [`LeaseError::Conflict`].
    fn replace(&self, lease: &Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;
}

/// The Lease in the Kubernetes API.
#[derive(Clone)]
pub struct KubeLeaseStore {
    api: Api<Lease>,
    name: String,
}

impl KubeLeaseStore {
    /// Uses a client of its own made from `config`, without kube's retries: those repeat any call for minutes inside
    /// one answer, far beyond a leader's deadline.
    pub fn new(mut config: kube::Config, namespace: &str, name: &str) -> Result<Self, kube::Error> {
        config.default_retry = false;
        let client = kube::Client::try_from(config)?;
        Ok(Self { api: Api::namespaced(client, namespace), name: name.to_owned() })
    }
}

impl LeaseStore for KubeLeaseStore {
    async fn get(&self) -> Result<Lease, LeaseError> {
        self.api.get(&self.name).await.map_err(classify)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        self.api.create(&PostParams::default(), lease).await.map_err(|error| match error {
            // A 404 here is a missing namespace: trouble, not an answer to act on at once.
            kube::Error::Api(status) if status.is_not_found() => {
                LeaseError::Unclear(Box::new(kube::Error::Api(status)))
            }
            other => classify(other),
        })
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        self.api.replace(&self.name, &PostParams::default(), lease).await.map_err(classify)
    }
}

fn classify(error: kube::Error) -> LeaseError {
    match &error {
        kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => LeaseError::Conflict,
        kube::Error::Api(status) if status.is_not_found() => LeaseError::Absent,
        _ => LeaseError::Unclear(Box::new(error)),
    }
}
