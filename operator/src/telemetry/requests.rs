//! Counts what the API server is asked for, and how it answers: one layer of the client, so that watches and the Lease are
//! counted like everything else. Changes no request, and repeats none.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hyper::http::{Method, StatusCode, Uri};
use hyper::{Request, Response};
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::Metrics;
use super::labels::{Answer, Resource, Verb};

/// A client whose requests are counted.
pub fn client(config: Config, metrics: &Metrics) -> Result<Client, kube::Error> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&CountRequests { metrics: metrics.clone() }).build())
}

/// The layer.
struct CountRequests {
    metrics: Metrics,
}

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: self.metrics.clone() }
    }
}

/// A service whose requests are counted.
struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (verb, resource) = asked(request.method(), request.uri());
        // Counted when it is dropped: nobody waits for the answer to a call that was given up.
        let mut under_way =
            UnderWay { metrics: self.metrics.clone(), verb, resource, began: Instant::now(), answer: Answer::None };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                under_way.answered(answer.status());
            }
            answer
        })
    }
}

struct UnderWay {
    metrics: Metrics,
    verb: Verb,
    resource: Resource,
    began: Instant,
    answer: Answer,
}

impl UnderWay {
    fn answered(&mut self, status: StatusCode) {
        self.answer = class(status);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.metrics.requested(self.verb, self.resource, self.answer, self.began.elapsed());
    }
}

fn class(status: StatusCode) -> Answer {
    match status.as_u16() {
        200..=299 => Answer::Success,
        400..=499 => Answer::ClientError,
        500..=599 => Answer::ServerError,
        _ => Answer::Other,
    }
}

/// What a request asks for: `/api/v1` or `/apis/GROUP/VERSION`, then perhaps `namespaces/NAMESPACE`, then the resource,
/// perhaps a name, perhaps a subresource.
fn asked(method: &Method, uri: &Uri) -> (Verb, Resource) {
    let mut parts = uri.path().split('/').filter(|part| !part.is_empty()).peekable();
    let version = match parts.next() {
        Some("api") => parts.next(),
        Some("apis") => parts.nth(1),
        _ => None,
    };
    if parts.peek() == Some(&"namespaces") {
        parts.nth(1);
    }
    let (resource, name, subresource) = (version.and(parts.next()), parts.next(), parts.next());
    let resource = match (resource, subresource) {
        (Some("printers"), None) => Resource::Printers,
        (Some("printers"), Some("status")) => Resource::PrintersStatus,
        (Some("printjobs"), None) => Resource::PrintJobs,
        (Some("printjobs"), Some("status")) => Resource::PrintJobsStatus,
        (Some("printrecords"), None) => Resource::PrintRecords,
        (Some("printrecords"), Some("status")) => Resource::PrintRecordsStatus,
        (Some("backuppolicies"), None) => Resource::BackupPolicies,
        (Some("backuppolicies"), Some("status")) => Resource::BackupPoliciesStatus,
        (Some("cronjobs"), None) => Resource::CronJobs,
        (Some("jobs"), None) => Resource::Jobs,
        (Some("pods"), None) => Resource::Pods,
        (Some("persistentvolumeclaims"), None) => Resource::Volumes,
        (Some("serviceaccounts"), None) => Resource::Accounts,
        (Some("roles"), None) => Resource::Roles,
        (Some("rolebindings"), None) => Resource::RoleBindings,
        (Some("secrets"), None) => Resource::Secrets,
        (Some("configmaps"), None) => Resource::ConfigMaps,
        (Some("events"), None) => Resource::Events,
        (Some("leases"), None) => Resource::Leases,
        _ => Resource::Other,
    };
    let watches = || uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    let verb = match *method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ if watches() => Verb::Watch,
        _ if name.is_some() => Verb::Get,
        _ => Verb::List,
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Secret;
    use kube::Api;
    use tokio::sync::Notify;

    use super::*;

    #[test]
    fn a_request_is_counted_by_what_it_asks_for_and_never_by_names() {
        let printers = "/apis/printernizer.io/v1alpha1/namespaces/farm/printers";
        for (method, uri, verb, resource) in [
            (Method::GET, format!("{printers}?limit=250"), Verb::List, Resource::Printers),
            (Method::GET, format!("{printers}/status"), Verb::Get, Resource::Printers),
            (Method::GET, format!("{printers}?&watch=true&resourceVersion=7"), Verb::Watch, Resource::Printers),
            (Method::GET, "/apis/printernizer.io/v1alpha1/printers?".into(), Verb::List, Resource::Printers),
            (Method::PUT, format!("{printers}/a/status?"), Verb::Update, Resource::PrintersStatus),
            (Method::PATCH, format!("{printers}/a"), Verb::Patch, Resource::Printers),
            (Method::GET, "/api/v1/namespaces/secrets/secrets/namespaces".into(), Verb::Get, Resource::Secrets),
            (Method::GET, "/api/v1/namespaces/printers".into(), Verb::List, Resource::Other),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/farm/events".into(), Verb::Create, Resource::Events),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b".into(), Verb::Update, Resource::Leases),
            (
                Method::DELETE,
                "/apis/printernizer.io/v1alpha1/namespaces/a/printjobs/b".into(),
                Verb::Delete,
                Resource::PrintJobs,
            ),
            (Method::GET, "/printers/a".into(), Verb::List, Resource::Other),
            (Method::GET, "/".into(), Verb::List, Resource::Other),
        ] {
            assert_eq!(asked(&method, &uri.parse().unwrap()), (verb, resource), "{method} {uri}");
        }
    }

    #[tokio::test]
    async fn answers_and_their_absence_are_counted() {
        let reached = Arc::new(Notify::new());
        let told = Arc::clone(&reached);
        let slow = async move || {
            told.notify_one();
            std::future::pending::<StatusCode>().await
        };
        let router = axum::Router::new()
            .route("/api/v1/namespaces/farm/secrets/slow", axum::routing::get(slow))
            .fallback(async || StatusCode::INTERNAL_SERVER_ERROR);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut config = Config::new(format!("http://{address}").parse().unwrap());
        config.default_retry = false;
        let metrics = Metrics::new().unwrap();
        let secrets: Api<Secret> = Api::namespaced(client(config, &metrics).unwrap(), "farm");
        assert!(secrets.get("printer").await.is_err());
        tokio::select! {
            answered = secrets.get("slow") => panic!("{answered:?}"),
            () = reached.notified() => {}
        }
        let text = metrics.text().unwrap();
        for counted in [
            "printernizer_api_requests_total{code=\"5xx\",resource=\"secrets\",verb=\"get\"} 1\n",
            "printernizer_api_requests_total{code=\"none\",resource=\"secrets\",verb=\"get\"} 1\n",
            "printernizer_api_requests_total{code=\"2xx\",resource=\"secrets\",verb=\"get\"} 0\n",
            "printernizer_api_request_duration_seconds_count{verb=\"get\"} 2\n",
        ] {
            assert!(text.contains(counted), "{counted} in\n{text}");
        }
    }
}
