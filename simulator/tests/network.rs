//! The HTTP server's own behaviour over raw sockets: login, connection limit, timeouts, refusals of uploads.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod common;

use common::{Buddy, PATIENCE, authorization, gcode, instant, one_printer, start};
use printernizer_simulator::{Action, AfterPowerCut, Config, Event, Fault, FaultKind, NetworkTimings, PrinterConfig};
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

async fn connect(buddy: &Buddy) -> TcpStream {
    TcpStream::connect(buddy.info.url.trim_start_matches("http://")).await.unwrap()
}

/// Everything until the server ends the connection. A reset counts as the end.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// One answer without a body of interest, on a connection that stays open.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

fn with_key(buddy: &Buddy, method: &str, target: &str, more: &str) -> String {
    let key = buddy.info.password.as_str();
    format!("{method} {target} HTTP/1.1\r\nHost: printer\r\nX-Api-Key: {key}\r\n{more}\r\n")
}

fn nonce_of(challenge: &str) -> String {
    let after = challenge.split("nonce=\"").nth(1).unwrap();
    after.split('"').next().unwrap().to_owned()
}

async fn challenge(buddy: &Buddy, authorization: Option<String>) -> (u16, String) {
    let request = buddy.client.get(format!("{}/api/v1/status", buddy.info.url));
    let request = authorization.into_iter().fold(request, |request, value| request.header("Authorization", value));
    let response = request.send().await.unwrap();
    let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), challenge.unwrap_or_default())
}

#[tokio::test]
async fn digest_is_challenged_in_the_oldest_form_and_its_nonce_is_reusable_until_a_reboot() {
    let (_simulator, printer, buddy) = one_printer(1.0).await;
    let (status, first) = challenge(&buddy, None).await;
    let nonce = nonce_of(&first);
    assert_eq!((status, nonce.len()), (401, 16));
    assert_eq!(first, format!("Digest realm=\"Printer API\", nonce=\"{nonce}\", stale=false"));
    let login = authorization(&buddy.info, &nonce, "GET", "/api/v1/status");
    for _ in 0..3 {
        assert_eq!(challenge(&buddy, Some(login.clone())).await.0, 200);
    }
    printer.person(&Action::Reboot { job: AfterPowerCut::Ask }).unwrap();
    printer.settled().await;
    let (status, again) = challenge(&buddy, Some(login)).await;
    assert!(status == 401 && again.ends_with("stale=true"), "{again}");
}

#[tokio::test]
async fn an_outdated_nonce_with_the_right_password_is_stale_and_with_a_wrong_one_is_not() {
    let network = NetworkTimings { nonce_seconds: 0, ..NetworkTimings::default() };
    let (_simulator, printer, buddy) = start(Config { network, ..Config::prusalink(1) }).await;
    let nonce = nonce_of(&challenge(&buddy, None).await.1);
    let login = authorization(&buddy.info, &nonce, "GET", "/api/v1/status");
    assert!(challenge(&buddy, Some(login.clone())).await.1.ends_with("stale=true"));
    let password = printernizer_simulator::Password::new("another");
    printer.person(&Action::ChangePassword { password }).unwrap();
    assert!(challenge(&buddy, Some(login)).await.1.ends_with("stale=false"));
    assert_eq!(buddy.get("/api/v1/status").await.status(), 401);
}

#[tokio::test]
async fn a_refused_put_ends_the_connection_without_its_body() {
    let (simulator, _printer, buddy) = one_printer(1.0).await;
    let mut stream = connect(&buddy).await;
    let head = "PUT /api/v1/files/usb/a.gcode HTTP/1.1\r\nHost: p\r\nContent-Length: 1000000\r\nPrint-After-Upload: ?1\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n") && answer.contains("Connection: close"), "{answer}");
    let commands = simulator.ledger().start_commands("a.gcode");
    assert!(matches!(commands[0].event, Event::StartCommand { answer: Some(401), accepted: false, .. }));
}

#[tokio::test]
async fn three_connections_are_served_and_a_fourth_is_reset() {
    let (_simulator, _printer, buddy) = one_printer(1.0).await;
    let request = with_key(&buddy, "HEAD", "/api/v1/files/usb", "");
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&buddy).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
        open.push(stream);
    }
    let mut fourth = connect(&buddy).await;
    assert_eq!(read_to_end(&mut fourth).await, "");
    open[0].write_all(request.as_bytes()).await.unwrap();
    assert!(read_head(&mut open[0]).await.starts_with("HTTP/1.1 200"));
    drop(open.pop());
    let mut next = connect(&buddy).await;
    next.write_all(request.as_bytes()).await.unwrap();
    assert!(read_head(&mut next).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_stalled_upload_gets_408() {
    let network = NetworkTimings { idle_milliseconds: 50, stall_milliseconds: 50, ..NetworkTimings::default() };
    let (_simulator, printer, buddy) = start(Config { network, ..Config::prusalink(1) }).await;
    let mut idle = connect(&buddy).await;
    assert_eq!(read_to_end(&mut idle).await, "");
    let mut stalled = connect(&buddy).await;
    let head = with_key(&buddy, "PUT", "/api/v1/files/usb/a.gcode", "Content-Length: 10\r\n");
    stalled.write_all(format!("{head}G28").as_bytes()).await.unwrap();
    assert!(read_to_end(&mut stalled).await.starts_with("HTTP/1.1 408"));
    assert!(printer.state().files.is_empty());
}

#[tokio::test]
async fn an_upload_cut_off_leaves_nothing_and_frees_the_slot() {
    let (simulator, printer, buddy) = one_printer(1.0).await;
    let mut cut = connect(&buddy).await;
    let head = with_key(&buddy, "PUT", "/api/v1/files/usb/a.gcode", "Content-Length: 10\r\n");
    cut.write_all(format!("{head}G28").as_bytes()).await.unwrap();
    while buddy.get("/api/v1/transfer").await.status() != 200 {}
    let refused = buddy.upload("b.gcode", gcode(1)).await;
    assert_eq!(refused.status(), 409);
    assert_eq!(refused.text().await.unwrap(), "Another transfer in progress");
    drop(cut);
    let ended = |entries: &[printernizer_simulator::Entry]| {
        entries.iter().any(
            |entry| matches!(&entry.event, Event::Upload { file_name, sha256: None, .. } if file_name == "a.gcode"),
        )
    };
    assert!(simulator.ledger().wait_for(PATIENCE, ended).await);
    assert!(printer.state().files.is_empty());
    assert_eq!(buddy.upload("a.gcode", gcode(1)).await.status(), 201);
}

#[tokio::test]
async fn uploads_are_refused_for_these_reasons() {
    let room = PrinterConfig { usb_capacity_bytes: 200, ..PrinterConfig::named("prusa-1") };
    let (_simulator, printer, buddy) =
        start(Config { printers: vec![room], machine: instant(), ..Config::default() }).await;
    assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
    let long = "x".repeat(140);
    // target, headers, status
    let table = [
        ("/api/v1/files/usb/b.gcode".to_owned(), "", 411),
        ("/api/v1/files/usb/b.gcode".to_owned(), "Transfer-Encoding: chunked\r\n", 411),
        ("/api/v1/files/usb/b.gcode".to_owned(), "Content-Length: 0\r\n", 501),
        ("/api/v1/files/usb/b.stl".to_owned(), "Content-Length: 5\r\n", 415),
        (format!("/api/v1/files/usb/{long}.gcode"), "Content-Length: 5\r\n", 415),
        (format!("/api/v1/files/usb/{long}xxxxx.gcode"), "Content-Length: 5\r\n", 414),
        ("/api/v1/files/usb/a.gcode".to_owned(), "Content-Length: 5\r\n", 409),
        ("/api/v1/files/usb/a.gcode/b.gcode".to_owned(), "Content-Length: 5\r\n", 404),
        ("/api/v1/files/usb/b%3F.gcode".to_owned(), "Content-Length: 5\r\n", 422),
        ("/api/v1/files/local/b.gcode".to_owned(), "Content-Length: 5\r\n", 403),
        ("/api/v1/files/usb/../b.gcode".to_owned(), "Content-Length: 5\r\n", 404),
        ("/api/v1/files/usb/b.gcode".to_owned(), "Content-Length: 201\r\n", 507),
    ];
    for (target, headers, status) in table {
        let mut stream = connect(&buddy).await;
        stream.write_all(with_key(&buddy, "PUT", &target, headers).as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {headers}: {answer}");
    }
    assert_eq!(printer.state().files, ["a.gcode"]);
    assert_eq!(buddy.print("a.gcode").await, 204);
    let overwrite = buddy.request(Method::PUT, "/api/v1/files/usb/a.gcode").header("Overwrite", "?1").body("G28\n");
    assert_eq!(overwrite.send().await.unwrap().text().await.unwrap(), "File is busy");
    assert_eq!(buddy.status(Method::DELETE, "/api/v1/files/usb/a.gcode").await, 409);
    for action in [Action::FillUsb, Action::RemoveUsb] {
        printer.person(&action).unwrap();
        assert_eq!(buddy.upload("c.gcode", "G28\n").await.status(), 507, "{action:?}");
    }
}

#[tokio::test]
async fn a_target_of_168_characters_is_read_and_one_more_is_not() {
    let (_simulator, _printer, buddy) = one_printer(1.0).await;
    for (length, status) in [(168, 404), (169, 414)] {
        let target = format!("/{}", "x".repeat(length - 1));
        assert_eq!(buddy.status(Method::GET, &target).await, status);
    }
}

#[tokio::test]
async fn errors_are_json_only_if_json_is_the_first_accepted_type() {
    let (_simulator, _printer, buddy) = one_printer(1.0).await;
    for (accept, is_json) in
        [("application/json", true), ("application/json, */*", true), ("*/*, application/json", false)]
    {
        let request = buddy.request(Method::GET, "/api/v1/files/usb/none.gcode").header("Accept", accept);
        let text = request.send().await.unwrap().text().await.unwrap();
        let title = serde_json::from_str::<serde_json::Value>(&text).ok().map(|body| body["title"].clone());
        assert_eq!(title, is_json.then(|| "404: Not Found".into()), "{accept}: {text}");
    }
}

#[tokio::test]
async fn files_are_listed_headed_tagged_downloaded_and_made_into_folders() {
    let (_simulator, printer, buddy) = one_printer(1.0).await;
    let target = "/api/v1/files/usb/parts/bracket-one.gcode";
    assert_eq!(buddy.upload("parts/bracket-one.gcode", gcode(1000)).await.status(), 201);
    let folder = buddy.json("/api/v1/files/usb/PARTS").await;
    assert_eq!(folder["children"][0]["display_name"], "bracket-one.gcode");
    assert!(folder["children"][0].get("size").is_none());
    let file = buddy.get(target).await;
    let tag = file.headers()["etag"].clone();
    let file: serde_json::Value = file.json().await.unwrap();
    assert_eq!(
        (&file["size"], &file["type"], &file["ro"]),
        (&gcode(1000).len().into(), &"PRINT_FILE".into(), &false.into())
    );
    let again = buddy.request(Method::GET, target).header("If-None-Match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let whole = buddy.get(file["refs"]["download"].as_str().unwrap()).await.text().await.unwrap();
    assert_eq!(whole, gcode(1000));
    for (printing, shown) in [(false, "false"), (true, "true")] {
        if printing {
            assert_eq!(buddy.print("PARTS/BRACKE~1.GCO").await, 204);
            common::until_link_state(&printer, "PRINTING").await;
        }
        let head = buddy.request(Method::HEAD, target).send().await.unwrap();
        assert_eq!(
            (&head.headers()["currently-printing"], &head.headers()["read-only"]),
            (&shown.parse().unwrap(), &"false".parse().unwrap())
        );
    }
    for status in [201, 409] {
        let request = buddy.request(Method::PUT, "/api/v1/files/usb/new").header("Create-Folder", "?1");
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    printer.person(&Action::RemoveUsb).unwrap();
    assert_eq!(buddy.json("/api/v1/files/usb").await["children"], serde_json::json!([]));
}

#[tokio::test]
async fn identity_and_telemetry_are_shown_as_the_firmware_writes_them() {
    let (_simulator, printer, buddy) = one_printer(1.0).await;
    let version = buddy.get("/api/version").await.text().await.unwrap();
    assert!(version.contains(r#""nozzle_diameter":0.40,"text":"PrusaLink","hostname":"prusa-1""#), "{version}");
    assert!(!version.contains("firmware"));
    let info = buddy.json("/api/v1/info").await;
    assert_eq!(info["serial"], "SIM-PRUSA-1");
    printer.fault(Fault::lasting(FaultKind::WrongSerial { serial_number: "OTHER".to_owned() }));
    assert_eq!(buddy.json("/api/v1/info").await["serial"], "OTHER");
    assert_eq!(buddy.json("/api/printer").await["telemetry"]["material"], "PLA");
    assert_eq!(buddy.json("/api/v1/storage").await["storage_list"][0]["available"], true);
    buddy.upload_then_print("a.gcode", 1000).await;
    common::until_link_state(&printer, "PRINTING").await;
    let status = buddy.get("/api/v1/status").await.text().await.unwrap();
    assert!(status.contains(r#""progress":0.00"#) && status.contains(r#""state":"PRINTING""#), "{status}");
    assert!(!status.contains("axis_x") && status.contains("axis_z"), "{status}");
}

#[tokio::test]
async fn what_is_not_http_or_too_long_is_refused() {
    let (_simulator, _printer, buddy) = one_printer(1.0).await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(5000));
    for (bytes, answer) in [("\u{1}\u{2} garbage\r\n\r\n", "HTTP/1.1 400 "), (long.as_str(), "HTTP/1.1 431 ")] {
        let mut stream = connect(&buddy).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        assert!(read_to_end(&mut stream).await.starts_with(answer), "{answer}");
    }
}

#[tokio::test]
async fn a_body_nobody_asked_for_is_never_taken_for_a_request() {
    let (simulator, _printer, buddy) = one_printer(1.0).await;
    assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
    let smuggled = with_key(&buddy, "POST", "/api/v1/files/usb/a.gcode", "");
    let head = with_key(&buddy, "GET", "/api/v1/status", &format!("Content-Length: {}\r\n", smuggled.len()));
    let mut stream = connect(&buddy).await;
    stream.write_all(format!("{head}{smuggled}").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(simulator.ledger().start_commands("").is_empty());
}

#[tokio::test]
async fn a_power_cut_ends_every_connection_and_an_upload_in_it() {
    let (_simulator, printer, buddy) = one_printer(1.0).await;
    let request = with_key(&buddy, "HEAD", "/api/v1/files/usb", "");
    let mut kept = connect(&buddy).await;
    kept.write_all(request.as_bytes()).await.unwrap();
    assert!(read_head(&mut kept).await.starts_with("HTTP/1.1 200"));
    let mut upload = connect(&buddy).await;
    let head = with_key(&buddy, "PUT", "/api/v1/files/usb/a.gcode", "Content-Length: 10\r\n");
    upload.write_all(format!("{head}G28").as_bytes()).await.unwrap();
    while buddy.get("/api/v1/transfer").await.status() != 200 {}
    printer.person(&Action::Reboot { job: AfterPowerCut::Ask }).unwrap();
    // Not even a request that is on its way already is answered. Writing may fail: the connection is gone.
    let _ = kept.write_all(request.as_bytes()).await;
    assert_eq!(read_to_end(&mut kept).await, "");
    assert_eq!(read_to_end(&mut upload).await, "");
    printer.settled().await;
    assert!(printer.state().files.is_empty());
    assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
}
