//! `add-printer` where the API server's answer to the Printer is a refusal, or is lost: what becomes of the Secret that was
//! written before it. The API server here is a few lines that answer as they are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::{Told, program};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of the request that creates the Printer.
#[derive(Clone, Copy, PartialEq)]
enum Creation {
    /// It is refused with this code.
    Refused(u16),
    /// It is carried out, and the answer is lost.
    Done,
    /// It is lost.
    Lost,
}

#[derive(Default)]
struct State {
    printer: Option<Value>,
    secrets_deleted: usize,
}

fn status(code: u16) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "" };
    let said = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": "said so",
    });
    (code, said)
}

/// The answer to this request; `None` where it is lost.
fn answer(line: &str, mut body: Value, creation: Creation, state: &Mutex<State>) -> Option<(u16, Value)> {
    let mut state = state.lock().unwrap();
    body["metadata"]["uid"] = "u-1".into();
    let (method, path) = line.split_once(' ').unwrap();
    Some(match method {
        "GET" => state.printer.clone().map_or_else(|| status(404), |printer| (200, printer)),
        "DELETE" => {
            assert!(path.contains("/secrets/"), "{line}");
            state.secrets_deleted += 1;
            (200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
        }
        "POST" if path.contains("/secrets") || path.contains("dryRun=All") => (201, body),
        "POST" => match creation {
            Creation::Refused(code) => status(code),
            Creation::Done => {
                state.printer = Some(body);
                return None;
            }
            Creation::Lost => return None,
        },
        _ => panic!("{line}"),
    })
}

async fn serve(stream: TcpStream, creation: Creation, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            return;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(json!({}));
    if let Some((code, answer)) = answer(head.lines().next().unwrap(), body, creation, &state) {
        let text = answer.to_string();
        let head = format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", text.len());
        stream.write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes()).await.unwrap();
    }
}

/// Adds a printer; gives what was said, and how often a Secret was deleted.
async fn added(creation: Creation) -> (Told, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::new(Mutex::new(State::default()));
    let serving = tokio::spawn({
        let state = state.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, creation, state.clone()));
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x", "users": [{ "name": "x", "user": {} }],
        "clusters": [{ "name": "x", "cluster": { "server": server } }],
        "contexts": [{ "name": "x", "context": { "cluster": "x", "user": "x", "namespace": "farm" } }],
    });
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    let words = ["--kubeconfig", file.to_str().unwrap(), "add-printer", "a1", "--kind", "prusalink", "--address"];
    let more = ["192.168.1.51", "--model", "COREONE", "--no-probe", "--secret-file", "-", "--yes", "--wait", "0"];
    let words = [&words[..], &more[..]].concat();
    let told = program(env!("CARGO_BIN_EXE_kubectl-printernizer"), &words, "hush").await;
    serving.abort();
    let deleted = state.lock().unwrap().secrets_deleted;
    (told, deleted)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_a_printer_that_is_refused_goes_again() {
    for code in [403, 422, 429] {
        let (told, deleted) = added(Creation::Refused(code)).await;
        assert_eq!(deleted, 1, "{code}: {told:?}");
        told.with(1, &["create printer a1", "said so"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_a_printer_that_may_have_been_written_stays() {
    let (told, deleted) = added(Creation::Done).await;
    assert_eq!(deleted, 0, "{told:?}");
    told.with(0, &["printer.printernizer.io/a1 created"]);
    for creation in [Creation::Lost, Creation::Refused(500), Creation::Refused(504)] {
        let (told, deleted) = added(creation).await;
        assert_eq!(deleted, 0, "{told:?}");
        told.with(1, &["create printer a1", "the Secret a1 was written before", "--replace-secret"]);
    }
}
