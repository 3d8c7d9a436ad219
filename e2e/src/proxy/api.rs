//! The proxy in front of an API server. Requests are forwarded with the rights of the client it was given; answers to
//! reads stream, so that watches work; answers to writes are held until they are whole, so that a stop after a write
//! is after all of it.

use std::io;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::client::Body as KubeBody;
use tokio::net::TcpStream;

use super::{Body, Script, names};

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
    let name = names::of_api_write(&head.method, &path, &body);
    head.uri = path.parse().map_err(io::Error::other)?;
    head.version = hyper::Version::HTTP_11;
    let request = Request::from_parts(head, KubeBody::from(body));
    let Some(name) = name else {
        script.admit_read(life).await.map_err(io::Error::other)?;
        let (mut head, body) = client.send(request).await.map_err(io::Error::other)?.into_parts();
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.remove(CONNECTION);
        head.version = hyper::Version::HTTP_11;
        return Ok(Response::from_parts(head, body.map_err(io::Error::other).boxed_unsync()));
    };
    let admitted = script.admit(life, name).await.map_err(io::Error::other)?;
    let (mut head, body) = client.send(request).await.map_err(io::Error::other)?.into_parts();
    let body = Limited::new(body, BODY_LIMIT_BYTES).collect().await.map_err(io::Error::other)?.to_bytes();
    script.answered(admitted).await.map_err(io::Error::other)?;
    head.headers.remove(TRANSFER_ENCODING);
    head.headers.remove(CONNECTION);
    head.version = hyper::Version::HTTP_11;
    Ok(Response::from_parts(head, Full::new(body).map_err(|never| match never {}).boxed_unsync()))
}
