//! The proxy in front of an API server. Requests are forwarded with the rights of the client it was given; answers to
//! reads stream, so that watches work; answers to writes are held until they are whole, so that a stop after a write
//! is after all of it. What was sent is carried out, also when whoever sent it waits no more.

use std::collections::HashMap;
use std::io;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::client::Body as KubeBody;
use tokio::net::TcpStream;

use super::script::Stopped;
use super::{Body, Hook, LATE, Script, names, watch, whole};

/// No object is larger: etcd takes 1.5 MB.
const BODY_LIMIT_BYTES: usize = 4 * 1024 * 1024;

pub(super) async fn serve(stream: TcpStream, client: kube::Client, script: Script) {
    let life = script.life();
    let forward = service_fn(|request| {
        let (client, script) = (client.clone(), script.clone());
        async move { forward(request, life, client, script).await }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), forward);
    tokio::select! {
        // How a connection ends is the business of its two ends.
        _ = serving => {}
        _ = script.end_of(life) => {}
    }
}

async fn forward(
    request: Request<Incoming>,
    life: u64,
    client: kube::Client,
    script: Script,
) -> Result<Response<Body>, io::Error> {
    let (mut head, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT_BYTES).collect().await.map_err(io::Error::other)?.to_bytes();
    for own in [HOST, CONNECTION, TRANSFER_ENCODING, AUTHORIZATION] {
        head.headers.remove(own);
    }
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    head.uri = path.parse().map_err(io::Error::other)?;
    head.version = hyper::Version::HTTP_11;
    let write = names::of_api_write(&head.method, &path, &body);
    let is_write = write.is_some();
    let name = names::of_api_read(&head.method, &path);
    let is_watch = name.starts_with("WATCH ");
    let first_list = names::kind_of_first_list(&name).map(str::to_owned);
    let admitted = match write {
        Some((name, status)) => script.admit(life, name, status).await,
        None => script.admit_read(life, name).await,
    };
    let admitted = admitted.map_err(io::Error::other)?;
    if script.keeps_lists_before(&admitted) {
        script.keep_lists(lists(&client, &path).await?);
    }
    if let Some(kept) = first_list.and_then(|kind| script.kept_list(life, &kind)) {
        return Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .body(whole(kept))
            .map_err(io::Error::other);
    }
    match admitted.hook() {
        Some(Hook::DropBefore) => return Err(io::Error::other(Stopped)),
        Some(Hook::Refuse(status)) => return refusal(status),
        _ => {}
    }
    let request = Request::from_parts(head, KubeBody::from(body));
    if !is_write && admitted.hook().is_none() {
        let (mut head, body) = client.send(request).await.map_err(io::Error::other)?.into_parts();
        own_head(&mut head);
        let body = if is_watch {
            watch::faulty(body, script.watch_faults(), script.is_stale(life))
        } else {
            body.map_err(io::Error::other).boxed_unsync()
        };
        return Ok(Response::from_parts(head, body));
    }
    // In a task of its own: whoever gives up waiting does not undo what it has sent.
    let carrying_out = tokio::spawn(async move {
        if admitted.hook() == Some(Hook::Late) {
            tokio::time::sleep(LATE).await;
        }
        let (mut head, body) = client.send(request).await.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, BODY_LIMIT_BYTES).collect().await.map_err(io::Error::other)?.to_bytes();
        script.answered(&admitted, head.status.as_u16()).await.map_err(io::Error::other)?;
        if admitted.hook() == Some(Hook::AnswerLate) {
            tokio::time::sleep(LATE).await;
        }
        own_head(&mut head);
        Ok(Response::from_parts(head, whole(body)))
    });
    carrying_out.await.map_err(io::Error::other)?
}

/// What is between the API server and this proxy alone does not go on to whoever asked.
fn own_head(head: &mut hyper::http::response::Parts) {
    head.headers.remove(TRANSFER_ENCODING);
    head.headers.remove(CONNECTION);
    head.version = hyper::Version::HTTP_11;
}

/// A refusal as the API server words it. One for too many requests says when to come back.
fn refusal(status: u16) -> Result<Response<Body>, io::Error> {
    let reason = match status {
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused by the fault proxy", "reason": reason, "code": status,
    });
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    if status == 429 {
        response = response.header(RETRY_AFTER, "1");
    }
    response.body(whole(body.to_string().into())).map_err(io::Error::other)
}

/// What is stored of the farm's kinds in the namespace of this path: the first lists of the watches, as they would be
/// answered now.
async fn lists(client: &kube::Client, path: &str) -> Result<HashMap<String, Bytes>, io::Error> {
    let namespace = path.split_once("namespaces/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    let mut lists = HashMap::new();
    for kind in ["printers", "printjobs"] {
        let uri = format!("/apis/printernizer.io/v1alpha1/namespaces/{namespace}/{kind}?limit={}", names::WATCH_PAGE);
        let request = Request::get(uri).body(KubeBody::empty()).map_err(io::Error::other)?;
        let body = client.send(request).await.map_err(io::Error::other)?.into_body();
        let body = Limited::new(body, BODY_LIMIT_BYTES).collect().await.map_err(io::Error::other)?.to_bytes();
        lists.insert(kind.to_owned(), body);
    }
    Ok(lists)
}
