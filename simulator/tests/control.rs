//! The control API and the program itself, as a test in another process uses them.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod common;

use std::{process::Stdio, time::Duration};

use common::{Buddy, PATIENCE, gcode, one_printer};
use printernizer_simulator::{Config, Entry, Error, PrinterInfo, Simulator};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

async fn call(url: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let client = common::http_client(|builder| builder);
    let request = client.request(method, format!("{url}{path}"));
    let request = body.into_iter().fold(request, |request, body| request.json(&body));
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn a_print_is_played_and_judged_over_the_control_api() {
    let (simulator, _printer, buddy) = one_printer(1.0).await;
    let url = simulator.control_url();
    assert_eq!(call(&url, Method::GET, "/healthz", None).await, (200, json!("ok")));
    assert_eq!(buddy.upload("a.gcode", gcode(1000)).await.status(), 201);
    let (status, state) =
        call(&url, Method::POST, "/printers/prusa-1/person", Some(json!({"action": "pressPrint"}))).await;
    assert_eq!((status, &state["lastJobId"]), (200, &json!(1)));
    assert_eq!(call(&url, Method::POST, "/clock/skip", Some(json!({"seconds": 2000}))).await.0, 204);
    let (_, state) = call(&url, Method::GET, "/printers/prusa-1", None).await;
    assert_eq!((&state["linkState"], &state["bedOccupied"]), (&json!("FINISHED"), &json!(true)));
    let (_, ledger) = call(&url, Method::GET, "/ledger?printer=prusa-1", None).await;
    let events: Vec<_> = ledger.as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["upload", "person", "jobAccepted", "physicalStart", "physicalEnd"]);
    assert_eq!(ledger[3]["cause"], "screen");
    assert_eq!(ledger[3]["bedOccupied"], false);
    let (_, rest) = call(&url, Method::GET, "/ledger?after=3", None).await;
    assert_eq!(rest.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn faults_are_set_listed_and_cleared() {
    let (simulator, _printer, buddy) = one_printer(1.0).await;
    let url = simulator.control_url();
    let path = "/printers/prusa-1/faults";
    let faults = json!([
        {"kind": "busy"},
        {"kind": {"answer": {"status": 503}}, "method": "GET", "pathContains": "/api/v1/info", "count": 1},
    ]);
    assert_eq!(call(&url, Method::PUT, path, Some(faults.clone())).await, (200, faults));
    assert_eq!(buddy.state().await, "BUSY");
    assert_eq!(buddy.get("/api/v1/info").await.status(), 503);
    assert_eq!(buddy.get("/api/v1/info").await.status(), 200);
    assert_eq!(call(&url, Method::GET, path, None).await.1, json!([{"kind": "busy"}]));
    let silent = json!({"kind": {"unreachable": {"manner": "refuse"}}});
    assert_eq!(call(&url, Method::POST, path, Some(silent)).await.0, 200);
    assert!(buddy.request(Method::GET, "/api/version").send().await.unwrap_err().is_connect());
    assert_eq!(call(&url, Method::DELETE, path, None).await.0, 204);
    assert_eq!(buddy.state().await, "IDLE");
}

#[tokio::test]
async fn the_control_api_says_what_is_wrong() {
    let (simulator, _printer, _buddy) = one_printer(1.0).await;
    let url = simulator.control_url();
    let person = "/printers/prusa-1/person";
    // method, path, body, status, part of the message
    let table = [
        (Method::GET, "/printers/none", None, 404, "GET /printers lists the names"),
        (Method::POST, person, Some(json!({"action": "dance"})), 422, "dance"),
        (Method::POST, person, Some(json!({"action": "stop"})), 409, "only a running or paused print can be stopped"),
        (Method::POST, person, Some(json!({"action": "printFile", "fileName": "x.gcode"})), 409, "x.gcode"),
        (Method::PUT, "/printers/prusa-1/faults", Some(json!([{"kind": "busy", "cuont": 1}])), 422, "cuont"),
        (
            Method::POST,
            "/printers/prusa-1/faults",
            Some(json!({"kind": {"answer": {"status": 1, "stat": 2}}})),
            422,
            "stat",
        ),
        (Method::POST, person, Some(json!({"action": "reboot", "jbo": "lose"})), 422, "jbo"),
        (Method::POST, "/printers", Some(json!({"name": "prusa-1"})), 409, "already"),
    ];
    for (method, path, body, status, message) in table {
        let (got, answer) = call(&url, method, path, body).await;
        assert_eq!(got, status, "{path}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(message), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_printer_can_be_added_while_running_and_the_ledger_never_shows_a_password() {
    let (simulator, _printer, _buddy) = one_printer(1.0).await;
    let url = simulator.control_url();
    let (status, info) =
        call(&url, Method::POST, "/printers", Some(json!({"name": "late", "password": "geheim"}))).await;
    assert_eq!(status, 201);
    let late = Buddy::new(serde_json::from_value::<PrinterInfo>(info).unwrap());
    assert_eq!(late.state().await, "IDLE");
    let change = json!({"action": "changePassword", "password": "geheimer"});
    assert_eq!(call(&url, Method::POST, "/printers/late/person", Some(change)).await.0, 200);
    assert_eq!(late.get("/api/v1/status").await.status(), 401);
    let (_, ledger) = call(&url, Method::GET, "/ledger", None).await;
    assert!(ledger.to_string().contains("changePassword") && !ledger.to_string().contains("geheim"));
    assert!(!format!("{:?}", simulator.printers()).contains("geheim"));
}

#[tokio::test]
async fn hundreds_of_printers_answer_in_one_process() {
    let simulator = Simulator::start(Config::prusalink(300)).await.unwrap();
    // One client for all: making one takes longer than asking a printer.
    let client = Buddy::new(simulator.printers().remove(0)).client;
    let mut answers = tokio::task::JoinSet::new();
    for info in simulator.printers() {
        let buddy = Buddy { info, client: client.clone() };
        answers.spawn(async move { buddy.json("/api/v1/info").await["serial"] == buddy.info.serial_number.as_str() });
    }
    assert_eq!(answers.join_all().await, vec![true; 300]);
}

#[tokio::test]
async fn dropping_the_simulator_ends_its_printers_and_unusable_settings_are_refused() {
    let (simulator, _printer, buddy) = one_printer(1.0).await;
    assert_eq!(buddy.state().await, "IDLE");
    drop(simulator);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while buddy.request(Method::GET, "/api/version").send().await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "still answering");
    }
    let abroad = Config { control: "0.0.0.0:0".parse().unwrap(), ..Config::prusalink(1) };
    assert!(matches!(Simulator::start(abroad).await, Err(Error::NotLoopback { .. })));
    let frozen = Config::prusalink(1).time_scale(0.0);
    assert!(matches!(Simulator::start(frozen).await, Err(Error::TimeScale { .. })));
}

/// The program with these arguments, and the line it prints when it is ready.
async fn program(arguments: &[&str]) -> (Child, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_printer-simulator"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn the_program_says_when_it_is_ready_writes_the_ledger_and_ends_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.jsonl");
    let arguments = ["--prusalink", "2", "--time-scale", "60", "--exit-with-stdin", "--ledger", file.to_str().unwrap()];
    let (mut child, ready) = program(&arguments).await;
    assert!(ready["control"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let infos: Vec<PrinterInfo> = serde_json::from_value(ready["printers"].clone()).unwrap();
    assert_eq!(infos.len(), 2);
    let buddy = Buddy::new(infos[1].clone());
    buddy.upload_then_print("a.gcode", 1000).await;
    let lines = std::fs::read_to_string(&file).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let entries: Vec<Entry> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(serde_json::to_value(entries).unwrap(), Value::from(events.clone()));
    let names: Vec<_> = events.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["upload", "startCommand", "jobAccepted", "physicalStart"]);
    assert_eq!(events[3]["printer"], "prusa-2");
    drop(child.stdin.take());
    assert!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn the_program_tells_how_to_reach_bambu_printers_and_plays_people_at_them() {
    let (mut child, ready) = program(&["--bambu", "2", "--exit-with-stdin"]).await;
    let printer = &ready["printers"][1];
    assert_eq!(
        (&printer["kind"], &printer["model"], &printer["host"]),
        (&json!("Bambu"), &json!("A1"), &json!("127.0.0.1"))
    );
    assert_eq!(printer["serialNumber"], "039000000BAMBU2");
    assert_eq!(printer["accessCode"].as_str().unwrap().len(), 8);
    assert_ne!(printer["accessCode"], ready["printers"][0]["accessCode"]);
    assert!(printer["certificateAuthorityPem"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    let info: PrinterInfo = serde_json::from_value(printer.clone()).unwrap();
    let bambu = info.bambu.clone().unwrap();
    assert!(bambu.mqtt_port != bambu.ftps_port && bambu.public_key_sha256.len() == 64);
    assert_eq!(serde_json::to_value(info).unwrap(), *printer);
    let url = ready["control"].as_str().unwrap();
    let foreign = json!({"action": "printForeignFile", "fileName": "visitor.gcode.3mf", "durationSeconds": 60});
    let (status, state) = call(url, Method::POST, "/printers/bambu-2/person", Some(foreign)).await;
    assert_eq!((status, &state["bambu"]["gcodeFile"]), (200, &json!("visitor.gcode.3mf")));
    assert_eq!(
        (&state["bambu"]["printError"], &state["bambu"]["subtaskName"]),
        (&json!("0000_0000"), &json!("visitor"))
    );
    assert_eq!(call(url, Method::POST, "/clock/skip", Some(json!({"seconds": 600}))).await.0, 204);
    let (_, ledger) = call(url, Method::GET, "/ledger", None).await;
    let entries: Vec<Entry> = serde_json::from_value(ledger.clone()).unwrap();
    assert_eq!(serde_json::to_value(&entries).unwrap(), ledger);
    let events: Vec<_> = ledger.as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["person", "jobAccepted", "physicalStart", "physicalEnd"]);
    assert_eq!((&ledger[2]["cause"], &ledger[2]["plate"]), (&json!("screen"), &json!(1)));
    assert_eq!((&ledger[2]["filaments"][0]["tray"], &ledger[3]["outcome"]), (&json!(254), &json!("finished")));
    drop(child.stdin.take());
    assert!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_fault_or_act_of_another_kind_of_printer_is_refused() {
    let mut config = Config::prusalink(1);
    config.printers.extend(Config::bambu(1).printers);
    let simulator = Simulator::start(config).await.unwrap();
    let url = simulator.control_url();
    let echo = json!({"kind": {"bambu": {"slowStart": {"idsAfterSeconds": 1, "stateAfterSeconds": 2}}}, "count": 1});
    let start_error = json!({"kind": {"bambu": {"startError": {"code": "0500_4003"}}}});
    let busy = json!({"kind": "busy"});
    let pause = json!({"action": "changeFilament", "seconds": 5});
    let eeprom = json!({"action": "resetEeprom"});
    for (path, body, status) in [
        ("/printers/prusa-1/faults", &echo, 422),
        ("/printers/bambu-1/faults", &busy, 422),
        ("/printers/prusa-1/person", &pause, 409),
        ("/printers/bambu-1/person", &eeprom, 409),
        ("/printers/bambu-1/person", &pause, 200),
        ("/printers/prusa-1/faults", &busy, 200),
        ("/printers/bambu-1/faults", &echo, 200),
        ("/printers/bambu-1/faults", &start_error, 200),
    ] {
        assert_eq!(call(&url, Method::POST, path, Some(body.clone())).await.0, status, "{path} {body}");
    }
    assert_eq!(call(&url, Method::GET, "/printers/bambu-1/faults", None).await.1, json!([echo, start_error]));
    let nonsense = json!({"kind": {"bambu": {"startError": {"code": "busy"}}}});
    assert_eq!(call(&url, Method::POST, "/printers/bambu-1/faults", Some(nonsense)).await.0, 422);
}

#[tokio::test]
async fn printers_and_control_api_listen_on_the_address_they_are_told() {
    let arguments = ["--prusalink", "1", "--bambu", "1", "--listen", "127.0.0.2", "--control", "127.0.0.2:0"];
    let (_child, ready) = program(&arguments).await;
    let control = ready["control"].as_str().unwrap();
    assert!(control.starts_with("http://127.0.0.2:"), "{control}");
    let (_, printers) = call(control, Method::GET, "/printers", None).await;
    let printers = printers.as_array().unwrap();
    assert!(printers[0]["url"].as_str().unwrap().starts_with("http://127.0.0.2:"), "{printers:?}");
    assert_eq!(printers[1]["host"], "127.0.0.2");
    let port = u16::try_from(printers[1]["mqttPort"].as_u64().unwrap()).unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.2", port)).await.is_ok());
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn the_program_ends_on_sigterm_and_explains_bad_arguments() {
    let (mut child, _) = program(&["--prusalink", "1"]).await;
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    assert!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_printer-simulator"));
    let output =
        timeout(Duration::from_secs(20), command.args(["--prusalink", "1", "--control", "192.0.2.1:80"]).output());
    let output = output.await.unwrap().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("not a loopback address"));
}
