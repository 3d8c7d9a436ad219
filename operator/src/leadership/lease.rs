//! Reads and writes the Lease object. Every write carries the resourceVersion it was decided on; nothing is retried
//! and nothing is merged here. Timeouts are the caller's, so that a call can be given up at a leader's deadline.

use std::future::Future;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use thiserror::Error;

use crate::telemetry::{Metrics, requests};

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
    /// Proves that this account may replace it, and changes nothing.
    fn may_replace(&self, lease: &Lease) -> impl Future<Output = Result<(), LeaseError>> + Send;
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
    pub fn new(mut config: kube::Config, metrics: &Metrics, namespace: &str, name: &str) -> Result<Self, kube::Error> {
        config.default_retry = false;
        let client = requests::client(config, metrics)?;
        Ok(Self { api: Api::namespaced(client, namespace), name: name.to_owned() })
    }
}

/// What the API server says where a webhook has other effects than its answer, and so is not asked for a dry run.
const NO_DRY_RUN: &str = "does not support dry run";

impl LeaseStore for KubeLeaseStore {
    async fn get(&self) -> Result<Lease, LeaseError> {
        self.api.get(&self.name).await.map_err(classify)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        self.api.create(&PostParams::default(), lease).await.map_err(|error| match error {
            // A 404 here is a missing namespace: trouble, not an answer to act on at once.
            kube::Error::Api(status) if status.code == 404 => LeaseError::Unclear(Box::new(kube::Error::Api(status))),
            other => classify(other),
        })
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        self.api.replace(&self.name, &PostParams::default(), lease).await.map_err(classify)
    }

    async fn may_replace(&self, lease: &Lease) -> Result<(), LeaseError> {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        match self.api.replace(&self.name, &dry_run, lease).await {
            Ok(_) => Ok(()),
            // Rights are looked at first, and then what may refuse the write itself. What is left is another version of it, or
            // that it is gone; and a webhook that is asked in earnest alone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 400 && status.message.contains(NO_DRY_RUN) => Ok(()),
            Err(error) => Err(LeaseError::Unclear(Box::new(error))),
        }
    }
}

fn classify(error: kube::Error) -> LeaseError {
    match &error {
        kube::Error::Api(status) if status.code == 409 => LeaseError::Conflict,
        kube::Error::Api(status) if status.code == 404 => LeaseError::Absent,
        _ => LeaseError::Unclear(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::Json;
    use axum::extract::State;
    use axum::http::{Method, StatusCode};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::json;

    use super::*;

    /// A store that talks to a server which answers everything with `status`, and counts.
    async fn store(status: StatusCode) -> (KubeLeaseStore, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let answer = move |State(calls): State<Arc<AtomicUsize>>, method: Method, body: String| async move {
            calls.fetch_add(1, Ordering::SeqCst);
            if status.is_success() && method != Method::GET {
                return (status, Json(serde_json::from_str(&body).unwrap()));
            }
            let reason = if status == StatusCode::CONFLICT { "Conflict" } else { "" };
            let failure = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "no", "reason": reason, "code": status.as_u16() });
            (status, Json(if status.is_success() { json!({ "metadata": { "name": "operator" } }) } else { failure }))
        };
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&calls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        (KubeLeaseStore::new(config, &Metrics::new().unwrap(), "farm", "operator").unwrap(), calls)
    }

    fn lease() -> Lease {
        let metadata = ObjectMeta {
            name: Some("operator".to_owned()),
            resource_version: Some("7".to_owned()),
            ..ObjectMeta::default()
        };
        Lease { metadata, spec: None }
    }

    #[tokio::test]
    async fn a_busy_server_is_asked_once_and_not_again_inside_the_call() {
        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT] {
            let (store, calls) = store(status).await;
            let both = async { (store.get().await, store.replace(&lease()).await) };
            // Retries would keep one call busy for minutes.
            let answers = tokio::time::timeout(Duration::from_secs(5), both).await.unwrap();
            assert!(matches!(answers, (Err(LeaseError::Unclear(_)), Err(LeaseError::Unclear(_)))), "{status}");
            assert_eq!(calls.load(Ordering::SeqCst), 2, "{status}");
        }
    }

    #[tokio::test]
    async fn conflicts_and_absence_are_told_apart_from_trouble() {
        let (conflict, _) = store(StatusCode::CONFLICT).await;
        assert!(matches!(conflict.replace(&lease()).await, Err(LeaseError::Conflict)));
        assert!(matches!(conflict.create(&lease()).await, Err(LeaseError::Conflict)));
        let (absent, _) = store(StatusCode::NOT_FOUND).await;
        assert!(matches!(absent.get().await, Err(LeaseError::Absent)));
        assert!(matches!(absent.replace(&lease()).await, Err(LeaseError::Absent)));
        assert!(matches!(absent.create(&lease()).await, Err(LeaseError::Unclear(_))), "a missing namespace");
        let (forbidden, _) = store(StatusCode::FORBIDDEN).await;
        assert!(matches!(forbidden.get().await, Err(LeaseError::Unclear(_))));
    }

    #[tokio::test]
    async fn a_right_is_proven_by_whatever_is_answered_to_one_who_has_it() {
        for (status, has) in [
            (StatusCode::OK, true),
            (StatusCode::CONFLICT, true),
            (StatusCode::NOT_FOUND, true),
            // A webhook, or a policy of the cluster, refuses the write: the real one would fare no better.
            (StatusCode::BAD_REQUEST, false),
            (StatusCode::UNPROCESSABLE_ENTITY, false),
            (StatusCode::FORBIDDEN, false),
            (StatusCode::UNAUTHORIZED, false),
            (StatusCode::SERVICE_UNAVAILABLE, false),
        ] {
            let (store, _) = store(status).await;
            assert_eq!(store.may_replace(&lease()).await.is_ok(), has, "{status}");
        }
    }

    #[tokio::test]
    async fn the_proof_is_not_carried_out_and_a_webhook_that_is_only_asked_in_earnest_is_no_refusal() {
        let asked = Arc::new(std::sync::Mutex::new(String::new()));
        let seen = Arc::clone(&asked);
        let answer = async move |uri: axum::http::Uri| {
            *seen.lock().unwrap() = uri.to_string();
            let message = "admission webhook \"a.example.com\" does not support dry run";
            let failure = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": "BadRequest", "code": 400 });
            (StatusCode::BAD_REQUEST, Json(failure))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let store = KubeLeaseStore::new(config, &Metrics::new().unwrap(), "farm", "operator").unwrap();
        assert!(store.may_replace(&lease()).await.is_ok());
        assert!(asked.lock().unwrap().contains("dryRun=All"), "{asked:?}");
    }

    #[tokio::test]
    async fn a_write_carries_the_version_it_was_decided_on() {
        let (store, _) = store(StatusCode::OK).await;
        let written = store.replace(&lease()).await.unwrap();
        assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
    }
}
