//! Fetching from real servers on loopback, into a real directory.

mod cache;
mod certificates;
mod credentials;
mod networks;
mod panics;
mod resume;
mod s3;
mod troubles;
mod versions;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures::{StreamExt as _, stream};
use printernizer_crds::common::SecretReference;
use printernizer_crds::conditions::Reason;
use printernizer_crds::print_job::{HttpSource, S3Source};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::allow::Networks;
use super::testing::Objects;
use super::*;

const GCODE: &[u8] = b"G28 ; home\n";

fn objects() -> Arc<Objects> {
    Objects::of(|name, key| match (name, key) {
        ("parts", "bracket") => Some(GCODE.to_vec()),
        ("parts", "empty") => Some(Vec::new()),
        ("parts", "large") => Some(vec![b'G'; 200]),
        _ => None,
    })
}

/// A cache of 1,000 bytes for files of 100, and servers that may be slow on a slow machine.
fn config(directory: &Path) -> FilesConfig {
    let config = testing::config(directory, objects());
    let limits = Limits {
        max_file_bytes: 100,
        stall_timeout: Duration::from_secs(20),
        resume_pause: Duration::from_millis(1),
        ..Limits::default()
    };
    FilesConfig { cache_bytes: 1_000, limits, ..config }
}

fn files(directory: &TempDir) -> Files {
    Files::new(config(directory.path())).unwrap()
}

fn http(url: impl Into<String>) -> SourceRequest {
    from(HttpSource { url: url.into(), ..HttpSource::default() })
}

fn from(source: HttpSource) -> SourceRequest {
    SourceRequest { namespace: "farm".to_owned(), source: Source { http: Some(source), ..Source::default() } }
}

fn map(name: &str, key: &str) -> SourceRequest {
    let config_map = Some(ConfigMapKeyReference { name: name.to_owned(), key: key.to_owned() });
    SourceRequest { namespace: "farm".to_owned(), source: Source { config_map, ..Source::default() } }
}

fn sha256(bytes: &[u8]) -> String {
    super::cache::hexadecimal(&Sha256::digest(bytes))
}

fn names_in(directory: &TempDir) -> Vec<String> {
    let names = std::fs::read_dir(directory.path()).unwrap();
    names.map(|item| item.unwrap().file_name().into_string().unwrap()).collect()
}

/// Says of every name that it is this machine.
struct Here;

impl Resolver for Here {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, std::io::Result<Vec<SocketAddr>>> {
        std::future::ready(Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])).boxed()
    }
}

/// Knows no name.
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, std::io::Result<Vec<SocketAddr>>> {
        std::future::ready(Err(std::io::Error::other("Name or service not known"))).boxed()
    }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Answers each connection with exactly these bytes and closes it.
async fn serve_bytes(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            let _written = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_file_is_fetched_checked_and_then_found_in_the_cache() {
    let hits = Arc::new(AtomicUsize::new(0));
    let count = |State(hits): State<Arc<AtomicUsize>>| async move {
        hits.fetch_add(1, Ordering::SeqCst);
        GCODE
    };
    let address = serve(Router::new().route("/a.gcode", get(count)).with_state(Arc::clone(&hits))).await;
    let directory = TempDir::new().unwrap();
    let files = files(&directory);
    let request = http(format!("http://{address}/a.gcode"));
    let first = files.fetch(&request, None).await.unwrap();
    assert_eq!((first.size_bytes, first.sha256.as_str()), (11, sha256(GCODE).as_str()));
    assert_eq!(std::fs::read(&first.path).unwrap(), GCODE);
    let again = files.fetch(&request, Some(&sha256(GCODE).to_uppercase())).await.unwrap();
    assert_eq!((again.path, hits.load(Ordering::SeqCst)), (first.path, 1));
    files.fetch(&request, None).await.unwrap();
    assert_eq!(hits.load(Ordering::SeqCst), 2, "without a digest the source is asked");
    let foreign = SourceRequest { namespace: "other".to_owned(), ..http(format!("http://{address}/gone")) };
    let refused = files.fetch(&foreign, Some(&sha256(GCODE))).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::FileNotFound, "a digest alone opens no other namespace's file");
}

#[tokio::test]
async fn who_wants_the_same_file_at_the_same_time_shares_one_fetch() {
    let state = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let wait = |State((hits, go)): State<(Arc<AtomicUsize>, Arc<Notify>)>| async move {
        hits.fetch_add(1, Ordering::SeqCst);
        go.notified().await;
        GCODE
    };
    let address = serve(Router::new().route("/a", get(wait)).with_state(state.clone())).await;
    let directory = TempDir::new().unwrap();
    let files = files(&directory);
    let request = http(format!("http://{address}/a"));
    let fetches = (0..5).map(|_| files.fetch(&request, None));
    let release = async {
        while state.0.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        state.1.notify_one();
    };
    let (results, ()) = tokio::join!(futures::future::join_all(fetches), release);
    for result in results {
        assert_eq!(std::fs::read(result.unwrap().path).unwrap(), GCODE);
    }
    assert_eq!(state.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn each_bad_answer_has_its_reason_and_leaves_nothing_behind() {
    let chunks = || stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'G'; 60])).take(3);
    let chunked = move || async move { Body::from_stream(chunks()) };
    let router = Router::new()
        .route("/empty", get(|| async { "" }))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route("/denied", get(|| async { StatusCode::FORBIDDEN }))
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/partial", get(|| async { (StatusCode::PARTIAL_CONTENT, "G28") }))
        .route("/large", get(|| async { vec![b'G'; 101] }))
        .route("/large-unannounced", get(chunked))
        .route("/gzip", get(|| async { ([(header::CONTENT_ENCODING, "gzip")], "x") }))
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .route("/nowhere", get(|| async { StatusCode::FOUND }))
        .route("/to-metadata", get(|| async { Redirect::temporary("http://169.254.169.254/latest/meta-data") }))
        .route("/to-private", get(|| async { Redirect::temporary("http://10.0.0.1/a.gcode") }))
        .route("/to-mapped", get(|| async { Redirect::temporary("http://[::ffff:169.254.169.254]/a") }))
        .route("/to-file", get(|| async { Redirect::temporary("file:///etc/passwd") }))
        .route("/to-password", get(|| async { Redirect::temporary("http://user:hidden@127.0.0.1/") }));
    let address = serve(router).await;
    let directory = TempDir::new().unwrap();
    let files = files(&directory);
    for (path, reason) in [
        ("missing", Reason::FileNotFound),
        ("empty", Reason::FileEmpty),
        ("nothing", Reason::FileEmpty),
        ("denied", Reason::SourceForbidden),
        ("broken", Reason::SourceUnreachable),
        ("partial", Reason::SourceUnreachable),
        ("large", Reason::FileTooLarge),
        ("large-unannounced", Reason::FileTooLarge),
        ("gzip", Reason::NotSupported),
        ("loop", Reason::SourceForbidden),
        ("nowhere", Reason::SourceForbidden),
        ("to-metadata", Reason::SourceForbidden),
        ("to-private", Reason::SourceForbidden),
        ("to-mapped", Reason::SourceForbidden),
        ("to-file", Reason::SourceForbidden),
        ("to-password", Reason::SourceForbidden),
    ] {
        let error = files.fetch(&http(format!("http://{address}/{path}?signature=hidden")), None).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{path}: {error}");
        let mut text = format!("{error:?}");
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            text.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(!text.contains("hidden"), "{path}: {text}");
        assert_eq!(names_in(&directory), Vec::<String>::new(), "{path}");
    }
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_for_ever() {
    let silent = Router::new().route("/a", get(|| async { std::future::pending::<()>().await }));
    let address = serve(silent).await;
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path());
    config.limits.stall_timeout = Duration::from_millis(300);
    let error = Files::new(config).unwrap().fetch(&http(format!("http://{address}/a")), None).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SourceUnreachable, "{error}");
    assert_eq!(names_in(&directory), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_file() {
    let directory = TempDir::new().unwrap();
    let files = files(&directory);
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nG28 ; only the beginning",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nG28 ;\r\n",
        "HTTP/1.1 200 OK\r\nContent-Len",
        "not http at all",
    ] {
        let address = serve_bytes(answer).await;
        let error = files.fetch(&http(format!("http://{address}/a")), None).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::SourceUnreachable, Retry::Backoff), "{error:?}");
        assert_eq!(names_in(&directory), Vec::<String>::new(), "{answer:?}");
    }
}

#[tokio::test]
async fn another_file_than_the_one_meant_is_refused_and_not_kept() {
    let address = serve(Router::new().route("/a", get(|| async { GCODE }))).await;
    let directory = TempDir::new().unwrap();
    let files = files(&directory);
    let request = http(format!("http://{address}/a"));
    let error = files.fetch(&request, Some(&sha256(b"another"))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DigestMismatch);
    assert!(error.to_string().contains(&sha256(GCODE)) && error.to_string().contains(&sha256(b"another")), "{error}");
    assert_eq!(names_in(&directory), Vec::<String>::new());
    // Whoever has accepted a file and finds another one cannot change what was expected.
    let told = |origin| {
        let asked = Asked { expected: Some(Expected { sha256: sha256(b"another"), origin }), unless: None };
        files.ask(&request, asked)
    };
    let error = told(DigestOrigin::Spec).await.file.unwrap_err().to_string();
    assert!(error.contains("correct spec.sha256"), "{error}");
    let error = told(DigestOrigin::Accepted).await.file.unwrap_err().to_string();
    assert!(error.contains("create a new job") && !error.contains("spec.sha256"), "{error}");
    let error = files.fetch(&request, Some("abc")).await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::DigestMismatch, Retry::AfterChange));
}

#[tokio::test]
async fn a_fetch_nobody_waits_for_leaves_nothing_and_can_be_repeated() {
    let state = Arc::new(AtomicUsize::new(0));
    let stuck_once = |State(hits): State<Arc<AtomicUsize>>| async move {
        if hits.fetch_add(1, Ordering::SeqCst) > 0 {
            return Body::from(GCODE);
        }
        let first = stream::once(async { Ok::<_, std::io::Error>(&GCODE[..4]) });
        Body::from_stream(first.chain(stream::pending()))
    };
    let address = serve(Router::new().route("/a", get(stuck_once)).with_state(state)).await;
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path());
    config.limits.stall_timeout = Duration::from_mins(1);
    let files = Files::new(config).unwrap();
    let request = http(format!("http://{address}/a"));
    let begun = async {
        let written = |name: &String| std::fs::metadata(directory.path().join(name)).is_ok_and(|file| file.len() == 4);
        while !names_in(&directory).iter().any(written) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = files.fetch(&request, None) => panic!("the server never ends its answer"),
        () = begun => {}
    }
    assert_eq!(names_in(&directory), Vec::<String>::new());
    assert_eq!(files.fetch(&request, None).await.unwrap().sha256, sha256(GCODE));
}

#[tokio::test]
async fn a_config_map_is_a_source_like_any_other() {
    let directory = TempDir::new().unwrap();
    let files = files(&directory);
    let file = files.fetch(&map("parts", "bracket"), Some(&sha256(GCODE))).await.unwrap();
    assert_eq!(std::fs::read(file.path).unwrap(), GCODE);
    for (key, reason) in [("gone", Reason::FileNotFound), ("empty", Reason::FileEmpty), ("large", Reason::FileTooLarge)]
    {
        assert_eq!(files.fetch(&map("parts", key), None).await.unwrap_err().reason(), reason, "{key}");
    }
    let absent = files.fetch(&map("gone", "clip.gcode"), None).await.unwrap_err().to_string();
    assert!(absent.contains("kubectl create configmap gone --from-file=clip.gcode=FILE"), "{absent}");
}
