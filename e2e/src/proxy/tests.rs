//! The proxy against small servers of its own: what is forwarded, what is held, and what a stopped life leaves behind.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Deed, Hook, Proxy, Rule, Script, Which, names};

const SOON: Duration = Duration::from_secs(30);

/// A server that notes the first line of every request and answers each with 200. The answer to a path with `watch`
/// comes in two halves, the second when told.
struct Server {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    second_half: Arc<Notify>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, second_half) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Notify>::default());
        let (notes, told) = (Arc::clone(&heard), Arc::clone(&second_half));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&notes), Arc::clone(&told)));
            }
        });
        Self { address, heard, second_half }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn answer(mut stream: TcpStream, notes: Arc<Mutex<Vec<String>>>, told: Arc<Notify>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        notes.lock().unwrap().push(line.clone());
        if line.contains("watch") {
            let first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            stream.write_all(first).await.unwrap();
            told.notified().await;
            stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        }
    }
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.url().trim_start_matches("http://")).await.unwrap()
}

async fn ask(stream: &mut TcpStream, request: &str, body: &str) {
    let text = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads until `wanted` has come; gives everything read, or `None` when the connection ended before.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> Option<String> {
    let mut read = Vec::new();
    let reading = async {
        loop {
            let mut buffer = [0; 1024];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => read.extend_from_slice(&buffer[..n]),
            }
            let text = String::from_utf8_lossy(&read);
            if text.contains(wanted) {
                return Some(text.into_owned());
            }
        }
    };
    timeout(SOON, reading).await.unwrap()
}

fn rule(name: &str, occurrence: usize, hook: Hook) -> Rule {
    Rule { which: Which::Named { name: name.into(), occurrence }, hook }
}

const FILE: &str = "/api/v1/files/usb/part.gcode";

async fn device(server: &Server, script: &Script) -> Proxy {
    Proxy::device("prusa-1", server.address, script.clone()).await.unwrap()
}

#[tokio::test]
async fn before_means_that_the_write_is_not_forwarded_and_neither_is_anything_after_it() {
    let server = Server::start().await;
    let script = Script::new([rule("prusa-1 PUT file", 2, Hook::StopBefore)]);
    let proxy = device(&server, &script).await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, &format!("PUT {FILE}"), "one").await;
    read_until(&mut stream, "{}").await.unwrap();
    ask(&mut stream, &format!("PUT {FILE}"), "two").await;
    let at = timeout(SOON, script.stopped()).await.unwrap();
    assert_eq!((at.number, at.to_string().as_str()), (2, "prusa-1 PUT file #2"));

    // Another connection of the same life: held too, write or not.
    let mut other = connect(&proxy).await;
    ask(&mut other, "GET /api/v1/status", "").await;
    let mut third = connect(&proxy).await;
    ask(&mut third, &format!("DELETE {FILE}"), "").await;
    script.next_life();
    assert_eq!(read_until(&mut stream, "{}").await, None);
    assert_eq!(read_until(&mut other, "{}").await, None);
    assert_eq!(read_until(&mut third, "{}").await, None);
    assert_eq!(server.heard(), [format!("PUT {FILE}")]);

    // The next life is free, and the row is used up.
    let mut stream = connect(&proxy).await;
    ask(&mut stream, &format!("PUT {FILE}"), "three").await;
    read_until(&mut stream, "{}").await.unwrap();
    assert_eq!(script.trace().last().unwrap().life, 1);
}

#[tokio::test]
async fn after_means_that_the_write_is_carried_out_and_its_answer_never_comes() {
    let server = Server::start().await;
    let script = Script::new([rule("prusa-1 POST start", 1, Hook::StopAfter)]);
    let proxy = device(&server, &script).await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, &format!("POST {FILE}"), "").await;
    assert_eq!(timeout(SOON, script.stopped()).await.unwrap().name, "prusa-1 POST start");
    assert_eq!(server.heard(), [format!("POST {FILE}")]);
    script.next_life();
    assert_eq!(read_until(&mut stream, "{}").await, None);
}

#[tokio::test]
async fn a_process_that_dies_before_it_is_told_to_leaves_nothing_forwarded() {
    let server = Server::start().await;
    let script = Script::new([rule("prusa-1 POST start", 1, Hook::StopBefore)]);
    let proxy = device(&server, &script).await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, &format!("POST {FILE}"), "").await;
    timeout(SOON, script.stopped()).await.unwrap();
    drop(stream);
    script.next_life();
    let mut stream = connect(&proxy).await;
    ask(&mut stream, "GET /api/v1/status", "").await;
    read_until(&mut stream, "{}").await.unwrap();
    assert_eq!(server.heard(), ["GET /api/v1/status"]);
}

#[tokio::test]
async fn a_connection_ends_with_the_printer_s() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::device("prusa-1", listener.local_addr().unwrap(), Script::new([])).await.unwrap();
    let mut stream = connect(&proxy).await;
    let (printer, _) = listener.accept().await.unwrap();
    drop(printer);
    assert_eq!(timeout(SOON, stream.read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn a_watch_streams_through_and_a_write_to_the_api_server_is_counted() {
    let server = Server::start().await;
    let config = kube::Config::new(format!("http://{}", server.address).parse().unwrap());
    let script = Script::new([]);
    let proxy = Proxy::api(kube::Client::try_from(config).unwrap(), script.clone()).await.unwrap();
    let mut watch = connect(&proxy).await;
    ask(&mut watch, "GET /apis/printernizer.io/v1alpha1/printers?watch=true", "").await;
    let first = read_until(&mut watch, "first").await.unwrap();
    assert!(!first.contains("second"), "{first}");

    let mut stream = connect(&proxy).await;
    let object = "/apis/printernizer.io/v1alpha1/namespaces/farm/printjobs/clip-1/status";
    ask(&mut stream, &format!("PUT {object}"), r#"{"status":{"phase":"Uploading","upload":{}}}"#).await;
    read_until(&mut stream, "{}").await.unwrap();
    ask(&mut stream, "PUT /apis/coordination.k8s.io/v1/namespaces/farm/leases/printernizer", "{}").await;
    read_until(&mut stream, "{}").await.unwrap();
    let trace = script.trace();
    assert_eq!(
        trace.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(),
        ["PUT printjobs/clip-1/status Uploading upload"]
    );

    server.second_half.notify_one();
    assert!(read_until(&mut watch, "second").await.is_some());
    assert_eq!(server.heard().len(), 3, "{:?}", server.heard());
}

#[tokio::test]
async fn a_write_can_be_meant_by_its_place_in_a_life() {
    let server = Server::start().await;
    let script = Script::new(["after write 1 of life 0".parse().unwrap(), "before write 2 of life 1".parse().unwrap()]);
    let proxy = device(&server, &script).await;
    for _ in 0..2 {
        let mut stream = connect(&proxy).await;
        ask(&mut stream, &format!("PUT {FILE}"), "").await;
        if script.life() == 1 {
            read_until(&mut stream, "{}").await.unwrap();
            ask(&mut stream, &format!("DELETE {FILE}"), "").await;
        }
        timeout(SOON, script.stopped()).await.unwrap();
        script.next_life();
    }
    assert_eq!(server.heard(), [format!("PUT {FILE}"), format!("PUT {FILE}")]);
    assert_eq!(script.trace().iter().map(|w| w.life).collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn writes_have_the_same_name_in_every_run() {
    let api = |method, path: &str, body: &str| Some(names::of_api_write(&method, path, body.as_bytes())?.0);
    let base = "/apis/printernizer.io/v1alpha1/namespaces/kill-x7/";
    let path = |rest: &str| format!("{base}{rest}");
    let name = |text: &str| Some(text.to_owned());
    assert_eq!(api(Method::GET, &path("printjobs/clip-1"), ""), None);
    assert_eq!(api(Method::POST, "/api/v1/namespaces/x/events", "{}"), None);
    assert_eq!(
        api(Method::PATCH, &path("printjobs/clip-1?"), r#"{"metadata":{"finalizers":["a"]}}"#),
        name("PATCH printjobs/clip-1 with finalizer")
    );
    assert_eq!(api(Method::POST, &path("printrecords"), r#"{"spec":{}}"#), name("POST printrecords"));
    assert_eq!(api(Method::PUT, &path("printrecords/clip-0a1b/status"), "{}"), name("PUT printrecords/status"));
    let status = r#"{"metadata":{"finalizers":["a"]},"status":{"state":"Idle","currentJob":{},
        "lastStart":{"verdict":"Succeeded"},"bed":{"occupancyID":"1"}}}"#;
    assert_eq!(
        api(Method::PUT, &path("printers/prusa-1/status"), status),
        name("PUT printers/prusa-1/status Idle claim Succeeded occupied")
    );

    let device = |method, path: &str| names::of_device_write("prusa-1", &method, path);
    assert_eq!(device(Method::GET, "/api/v1/status"), None);
    assert_eq!(device(Method::PUT, "/api/v1/job/7/x"), None);
    assert_eq!(device(Method::PUT, "/api/v1/job/7/pause"), name("prusa-1 PUT job pause"));
    assert_eq!(device(Method::DELETE, "/api/v1/job/7"), name("prusa-1 DELETE job"));
    assert_eq!(device(Method::POST, FILE), name("prusa-1 POST start"));
    assert_eq!(device(Method::DELETE, FILE), name("prusa-1 DELETE file"));
}

#[test]
fn reads_are_named_by_what_is_asked() {
    let read = |path: &str| names::of_api_read(&Method::GET, path);
    let base = "/apis/printernizer.io/v1alpha1/namespaces/kill-x7/";
    assert_eq!(read(&format!("{base}printers/prusa-1")), "GET printers/prusa-1");
    assert_eq!(read(&format!("{base}printers?&limit=100")), "LIST printers by 100");
    assert_eq!(read(&format!("{base}printers?watch=true&resourceVersion=7")), "WATCH printers");
    assert_eq!(names::of_api_read(&Method::POST, "/api/v1/namespaces/x/events"), "POST events");
    assert_eq!(names::kind_of_first_list("LIST printers by 100"), Some("printers"));
    assert_eq!(names::kind_of_first_list("LIST printers by 250"), None);
}

/// An API server that answers `{}`, a proxy in front of it, and an open connection.
async fn api(script: &Script) -> (Server, Proxy, TcpStream) {
    let server = Server::start().await;
    let config = kube::Config::new(format!("http://{}", server.address).parse().unwrap());
    let proxy = Proxy::api(kube::Client::try_from(config).unwrap(), script.clone()).await.unwrap();
    let stream = connect(&proxy).await;
    (server, proxy, stream)
}

const STATUS: &str = "/apis/printernizer.io/v1alpha1/namespaces/farm/printers/a/status";

fn at_status(hook: Hook) -> Script {
    Script::new([rule("PUT printers/a/status without state", 1, hook)])
}

#[tokio::test]
async fn a_dropped_write_is_carried_out_or_not_and_its_connection_ends_either_way() {
    for (hook, carried_out) in [(Hook::DropBefore, false), (Hook::DropAfter, true)] {
        let script = at_status(hook);
        let (server, _proxy, mut stream) = api(&script).await;
        ask(&mut stream, &format!("PUT {STATUS}"), r#"{"status":{}}"#).await;
        assert_eq!(read_until(&mut stream, "{}").await, None);
        assert_eq!(server.heard().len(), usize::from(carried_out));
        assert_eq!(script.trace()[0].carried_out(), carried_out);
        assert!(script.unmet().is_empty());
    }
}

#[tokio::test]
async fn a_late_write_is_carried_out_although_its_sender_has_gone() {
    let script = at_status(Hook::Late);
    let (server, _proxy, mut stream) = api(&script).await;
    ask(&mut stream, &format!("PUT {STATUS}"), r#"{"status":{}}"#).await;
    crate::wait_until("it is counted", SOON, async || if script.trace().is_empty() { Err(()) } else { Ok(()) })
        .await
        .unwrap();
    assert!(server.heard().is_empty());
    drop(stream);
    crate::wait_until(
        "it is carried out",
        SOON,
        async || if script.trace()[0].carried_out() { Ok(()) } else { Err(()) },
    )
    .await
    .unwrap();
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn a_refused_write_is_answered_as_the_api_server_would_and_not_carried_out() {
    let script = at_status(Hook::Refuse(429));
    let (server, _proxy, mut stream) = api(&script).await;
    ask(&mut stream, &format!("PUT {STATUS}"), r#"{"status":{}}"#).await;
    let answer = read_until(&mut stream, "}").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn a_read_is_meant_by_its_place_since_a_write() {
    let rule = "answer-500 GET printers/a #2 since PUT printers/a/status without state #1".parse().unwrap();
    let script = Script::new([rule]);
    let (_server, _proxy, mut stream) = api(&script).await;
    let get = format!("GET {}", STATUS.trim_end_matches("/status"));
    let mut codes = Vec::new();
    for request in [&get, &get, &format!("PUT {STATUS}"), &get, &get, &get] {
        ask(&mut stream, request, r#"{"status":{}}"#).await;
        codes.push(read_until(&mut stream, "}").await.unwrap()[9..12].to_owned());
    }
    assert_eq!(codes, ["200", "200", "200", "200", "500", "200"]);
}

#[tokio::test]
async fn a_held_request_waits_until_it_is_released_and_is_lost_where_it_is_not_to_go_on() {
    for goes_on in [true, false] {
        let script = at_status(Hook::HoldBefore(Deed::Freeze));
        let (server, _proxy, mut stream) = api(&script).await;
        ask(&mut stream, &format!("PUT {STATUS}"), r#"{"status":{}}"#).await;
        let held = timeout(SOON, script.held()).await.unwrap();
        assert_eq!((held.deed, held.carried_out, server.heard().len()), (Deed::Freeze, false, 0));
        held.release(goes_on);
        assert_eq!(read_until(&mut stream, "{}").await.is_some(), goes_on);
        assert_eq!(server.heard().len(), usize::from(goes_on));
    }
}

#[tokio::test]
async fn the_next_life_is_shown_what_was_stored_before_the_write_it_died_after_once() {
    let script = at_status(Hook::StaleAfter);
    let (server, proxy, mut stream) = api(&script).await;
    ask(&mut stream, &format!("PUT {STATUS}"), r#"{"status":{}}"#).await;
    timeout(SOON, script.stopped()).await.unwrap();
    let lists = |heard: Vec<String>| heard.iter().filter(|l| l.contains("limit=100")).count();
    assert_eq!(lists(server.heard()), 2, "both kinds are kept: {:?}", server.heard());
    script.next_life();
    let mut stream = connect(&proxy).await;
    for asked_of_the_server in [2, 3] {
        ask(&mut stream, "GET /apis/printernizer.io/v1alpha1/namespaces/farm/printers?limit=100", "").await;
        read_until(&mut stream, "{}").await.unwrap();
        assert_eq!(lists(server.heard()), asked_of_the_server);
    }
}
