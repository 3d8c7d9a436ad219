//! The proxy in front of one printer. Each connection has one of its own to the printer and ends with it, so that
//! what printers do with connections (a few at a time, closed when idle) reaches the operator unchanged.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::script::Stopped;
use super::{Body, Hook, LATE, Script, names, whole};

/// Answers to commands are short texts.
const ANSWER_LIMIT_BYTES: usize = 1024 * 1024;

pub(super) async fn serve(stream: TcpStream, target: SocketAddr, name: Arc<str>, script: Script) {
    let life = script.life();
    let Ok(printer) = TcpStream::connect(target).await else { return };
    let _ = printer.set_nodelay(true);
    let handshake = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake::<_, Incoming>(TokioIo::new(printer));
    let Ok((sender, connection)) = handshake.await else { return };
    let sender = Arc::new(Mutex::new(sender));
    let forward = service_fn(|request| {
        let (sender, name, script) = (Arc::clone(&sender), Arc::clone(&name), script.clone());
        async move { forward(request, life, &sender, &name, &script).await }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), forward);
    let (mut serving, mut connection) = (std::pin::pin!(serving), std::pin::pin!(connection));
    let mut printer_open = true;
    loop {
        tokio::select! {
            _ = &mut serving => return,
            _ = script.end_of(life) => return,
            _ = &mut connection, if printer_open => {
                // What has come is still delivered; then this side ends as well.
                printer_open = false;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn forward(
    request: Request<Incoming>,
    life: u64,
    sender: &Mutex<SendRequest<Incoming>>,
    printer: &str,
    script: &Script,
) -> Result<Response<Body>, io::Error> {
    let name = names::of_device_write(printer, request.method(), request.uri().path());
    let is_write = name.is_some();
    let admitted = match name {
        Some(name) => script.admit(life, name, None).await,
        None => script.admit_read(life, format!("{printer} {} {}", request.method(), request.uri().path())).await,
    };
    let admitted = admitted.map_err(io::Error::other)?;
    match admitted.hook() {
        // Nothing is kept for a printer until its sender has gone: what comes late does not come.
        Some(Hook::DropBefore | Hook::Late) => return Err(io::Error::other(Stopped)),
        Some(Hook::Refuse(status)) => {
            return Response::builder().status(status).body(whole(Bytes::new())).map_err(io::Error::other);
        }
        _ => {}
    }
    let answer = sender.lock().await.send_request(request).await.map_err(io::Error::other)?;
    if !is_write && admitted.hook().is_none() {
        return Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()));
    }
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT_BYTES).collect().await.map_err(io::Error::other)?.to_bytes();
    script.answered(&admitted, head.status.as_u16()).await.map_err(io::Error::other)?;
    if admitted.hook() == Some(Hook::AnswerLate) {
        tokio::time::sleep(LATE).await;
    }
    Ok(Response::from_parts(head, whole(body)))
}
