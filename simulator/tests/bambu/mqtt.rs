//! The broker: who gets in, which topics exist, what reports and acknowledgements look like.

use std::time::Duration;

use printernizer_simulator::{
    Action, BambuConfig, BambuFault, Config, Fault, FaultKind, RefusalForm, Simulator, UnreachableManner,
};
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet};
use serde_json::{Value, json};

use super::{
    a1,
    clients::{Client, info, project_file},
    one_printer, shows,
    starts::{NAME, loaded},
};

fn bambu(fault: BambuFault) -> Fault {
    Fault::lasting(FaultKind::Bambu(fault))
}

#[tokio::test]
async fn only_the_right_code_gets_in_and_the_refusals_code_can_differ() {
    let (_simulator, printer) = a1().await;
    assert_eq!(Client::connect(&printer, "00000000").await.1, Some(ConnectReturnCode::NotAuthorized));
    printer.fault(bambu(BambuFault::LoginRefusal { code: 4 }));
    assert_eq!(Client::connect(&printer, "00000000").await.1, Some(ConnectReturnCode::BadUserNamePassword));
    let code = info(&printer).access_code;
    assert_eq!(Client::connect(&printer, code.as_str()).await.1, Some(ConnectReturnCode::Success));
    printer.person(&Action::ChangePassword { password: printernizer_simulator::Password::new("11111111") }).unwrap();
    assert_eq!(Client::connect(&printer, code.as_str()).await.1, Some(ConnectReturnCode::BadUserNamePassword));
}

#[tokio::test]
async fn wildcards_and_the_request_topic_cost_the_connection_and_a_wrong_serial_number_hears_nothing() {
    let (_simulator, printer) = a1().await;
    let code = info(&printer).access_code;
    let serial_number = printer.info().serial_number;
    for topic in ["#".to_owned(), "device/+/report".to_owned(), format!("device/{serial_number}/request")] {
        let (mut client, _) = Client::connect(&printer, code.as_str()).await;
        client.subscribe(&topic).await;
        assert!(client.has_ended().await, "{topic}");
    }
    let (mut client, _) = Client::connect(&printer, code.as_str()).await;
    client.subscribe(&format!("device/{}/report", serial_number.to_lowercase())).await;
    assert!(matches!(client.packet().await, Some(Packet::SubAck(_))));
    client.send("pushing", "pushall", &json!({})).await;
    client.stream_ping().await;
    assert!(matches!(client.packet().await, Some(Packet::PingResp)), "nothing but the answer to the ping");
}

#[tokio::test]
async fn there_is_room_for_so_many_clients_and_a_newcomer_may_throw_them_out() {
    let (_simulator, printer) = one_printer(BambuConfig { clients: 2, ..BambuConfig::default() }).await;
    let code = info(&printer).access_code;
    let mut first = Client::listening(&printer).await;
    let second = Client::listening(&printer).await;
    assert_eq!(Client::connect(&printer, code.as_str()).await.1, None);
    drop(second);
    super::until(&printer, "one client", |state| state.bambu.as_ref().unwrap().clients == 1).await;
    printer.fault(bambu(BambuFault::SecondClientKicksFirst));
    let _third = Client::listening(&printer).await;
    assert!(first.has_ended().await);
}

#[tokio::test]
async fn only_the_last_client_may_hear_reports() {
    let (_simulator, printer) = a1().await;
    let mut first = Client::listening(&printer).await;
    assert_eq!(first.state().await, "IDLE");
    printer.fault(bambu(BambuFault::OnlyLastClientHears));
    let mut second = Client::listening(&printer).await;
    assert_eq!(second.state().await, "IDLE");
    first.stream_ping().await;
    let mut later = 0;
    while !matches!(first.packet().await, Some(Packet::PingResp)) {
        later += 1;
    }
    // What was sent to it before the other came may still arrive; a full report asked for now does not.
    first.send("pushing", "pushall", &json!({})).await;
    assert_eq!(second.message_that("full", |message| message["print"]["msg"] == 0).await["print"]["msg"], 0);
    first.stream_ping().await;
    assert!(matches!(first.packet().await, Some(Packet::PingResp)), "after {later} older reports");
}

#[tokio::test]
async fn partial_reports_say_what_changed_and_never_which_trays_are_loaded() {
    let (_simulator, printer) = a1().await;
    let mut client = Client::listening(&printer).await;
    let full = client.full_report().await;
    assert_eq!(full["ams"]["ams"][0]["tray"][2]["tray_type"], "PETG");
    assert_eq!(full["ams"]["ams"][0]["tray"][3], json!({ "id": "3" }), "an empty slot has its id only");
    assert_eq!((&full["home_flag"], &full["sdcard"], &full["fun"]), (&json!(0x907), &json!(true), &Value::Null));
    printer.person(&Action::ChangeTray { tray: 3, material: "ABS".into(), color: "000000FF".into() }).unwrap();
    let partial = client.message_that("told", |message| !message["print"]["ams"].is_null()).await;
    assert_eq!((&partial["print"]["msg"], &partial["print"]["ams"]["version"]), (&json!(1), &json!(2)));
    assert_eq!(partial["print"]["ams"]["ams"], Value::Null);
    assert_eq!(partial["print"]["gcode_state"], Value::Null, "nothing that did not change");
    assert_eq!(client.full_report().await["ams"]["ams"][0]["tray"][3]["tray_type"], "ABS");
}

#[tokio::test]
async fn a_stopped_stream_still_answers_pushall() {
    let (_simulator, printer) = a1().await;
    let mut client = Client::listening(&printer).await;
    client.send("pushing", "stop", &json!({})).await;
    client.full_report().await;
    let next = client.full_report().await;
    client.send("pushing", "start", &json!({})).await;
    let partial = client.message_that("the stream", |message| message["print"]["msg"] == 1).await;
    let number = |report: &Value| report["sequence_id"].as_str().unwrap().parse::<u32>().unwrap();
    assert_eq!(number(&partial["print"]), number(&next) + 1, "nothing was reported in between");
}

#[tokio::test]
async fn reports_can_have_numbers_as_strings_bad_bytes_and_32_kilobytes() {
    let (_simulator, printer) = a1().await;
    let mut client = Client::listening(&printer).await;
    printer.fault(bambu(BambuFault::NumbersAsStrings));
    let report = client.full_report().await;
    assert_eq!((&report["mc_percent"], &report["task_id"]), (&json!("0"), &json!(0)));
    printer.replace_faults(vec![bambu(BambuFault::LargeReports { bytes: 32_254 }), bambu(BambuFault::InvalidUtf8)]);
    client.send("pushing", "pushall", &json!({})).await;
    loop {
        let payload = client.payload().await;
        let Err(bad) = std::str::from_utf8(&payload) else { continue };
        assert!(bad.valid_up_to() > 0);
        let report: Value = serde_json::from_str(&String::from_utf8_lossy(&payload)).unwrap();
        if report["print"]["msg"] == 0 {
            assert!(payload.len() >= 32_254, "{}", payload.len());
            break;
        }
    }
}

#[tokio::test]
async fn reports_may_stop_while_the_connection_stays() {
    let (_simulator, printer) = a1().await;
    let mut client = Client::listening(&printer).await;
    client.full_report().await;
    printer.fault(bambu(BambuFault::ReportsStop));
    client.stream_ping().await;
    while !matches!(client.packet().await, Some(Packet::PingResp)) {}
    client.send("pushing", "pushall", &json!({})).await;
    client.send("info", "get_version", &json!({})).await;
    client.stream_ping().await;
    assert!(matches!(client.packet().await, Some(Packet::PingResp)));
    printer.clear_faults();
    assert_eq!(client.state().await, "IDLE");
}

#[tokio::test]
async fn the_version_names_model_firmware_and_serial_number() {
    let (_simulator, printer) = a1().await;
    let mut client = Client::listening(&printer).await;
    let sequence_id = client.send("info", "get_version", &json!({})).await;
    let answer = client.message_that("a version", |message| !message["info"].is_null()).await;
    assert_eq!(answer["info"]["sequence_id"], sequence_id.as_str());
    let ota = &answer["info"]["module"][0];
    assert_eq!((&ota["name"], &ota["product_name"]), (&json!("ota"), &json!("Bambu Lab A1")));
    assert_eq!((&ota["sw_ver"], &ota["sn"]), (&json!("01.05.00.00"), &json!(printer.info().serial_number)));
}

#[tokio::test]
async fn without_developer_mode_commands_are_refused_in_one_of_many_forms() {
    let hms = json!([{ "attr": 0x0500_0500, "code": 0x0001_0007 }]);
    // form, err_code acknowledged (0 for one without a result), HMS, ids echoed
    let table = [
        (RefusalForm::Acknowledgement, Some(84_033_543), false, false),
        (RefusalForm::BadSignature, Some(84_033_545), false, false),
        (RefusalForm::AcknowledgementAndHms, Some(84_033_543), true, false),
        (RefusalForm::Hms, None, true, false),
        (RefusalForm::WithoutResult, Some(0), false, true),
        (RefusalForm::Silent, None, false, false),
    ];
    for (form, code, has_hms, echoes) in table {
        let (simulator, printer, mut client) = loaded().await;
        printer.fault(bambu(BambuFault::Refuse { form }));
        if let Some(code) = code {
            let answer = client.acknowledged("print", "project_file", &project_file(NAME, 100)).await;
            let expected = if code == 0 { Value::Null } else { json!("failed") };
            assert_eq!(answer["result"], expected, "{form:?}");
            assert_eq!(answer["err_code"].as_u64().unwrap_or(0), code, "{form:?}");
        } else {
            client.send("print", "project_file", &project_file(NAME, 100)).await;
        }
        let report = client.full_report().await;
        assert_eq!(report["hms"] == hms, has_hms, "{form:?}");
        assert_eq!(report["subtask_id"] == "102", echoes, "{form:?}");
        assert_eq!(report["gcode_state"], "IDLE", "{form:?}");
        assert_eq!(simulator.ledger().physical_starts("").len(), 0, "{form:?}");
    }
}

#[tokio::test]
async fn acknowledgements_can_be_written_otherwise() {
    let (_simulator, printer, mut client) = loaded().await;
    printer.fault(bambu(BambuFault::OtherAcknowledgements));
    for (command, more, result) in
        [("project_file", project_file(NAME, 100), "SUCCESS"), ("gcode_file", json!({ "param": NAME }), "FAIL")]
    {
        let sequence_id: u64 = client.send("print", command, &more).await.parse().unwrap();
        let answer = client.message_that("answered", |message| message["print"]["sequence_id"] == sequence_id).await;
        assert_eq!(answer["print"]["result"], result, "{command}");
    }
}

#[tokio::test]
async fn the_fun_bit_says_whether_commands_must_be_signed() {
    let config = BambuConfig { developer_mode: false, shows_fun: true, ..BambuConfig::default() };
    let (_simulator, printer) = one_printer(config).await;
    let mut client = Client::listening(&printer).await;
    let bit = |report: &Value| u64::from_str_radix(report["fun"].as_str().unwrap(), 16).unwrap() & 0x2000_0000 != 0;
    assert!(bit(&client.full_report().await));
    let speed = |level: &str| json!({ "param": level });
    assert_eq!(client.acknowledged("print", "print_speed", &speed("3")).await["result"], "failed");
    assert_eq!(client.full_report().await["spd_lvl"], 2);
    printer.person(&Action::SetDeveloperMode { enabled: true }).unwrap();
    assert!(!bit(&client.full_report().await));
    assert_eq!(client.acknowledged("print", "print_speed", &speed("3")).await["result"], "success");
    assert_eq!(client.full_report().await["spd_lvl"], 3);
}

#[tokio::test]
async fn a_power_cut_ends_the_connection_and_a_silent_printer_keeps_it() {
    let (_simulator, printer) = a1().await;
    let mut client = Client::listening(&printer).await;
    printer.person(&Action::CutPower).unwrap();
    assert!(client.has_ended().await);
    printer.settled().await;
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", info(&printer).mqtt_port)).await.is_err());
    printer.person(&Action::RestorePower { job: printernizer_simulator::AfterPowerCut::Ask }).unwrap();
    printer.settled().await;
    let mut client = Client::listening(&printer).await;
    assert_eq!(client.state().await, "IDLE");
    printer.fault(Fault::lasting(FaultKind::Unreachable { manner: UnreachableManner::Silent }));
    client.send("pushing", "pushall", &json!({})).await;
    let full = client.message_that("full", |message| message["print"]["msg"] == 0);
    assert!(tokio::time::timeout(Duration::from_millis(300), full).await.is_err());
    printer.clear_faults();
    assert!(client.has_ended().await);
    assert_eq!(shows(&printer), "IDLE");
}

#[tokio::test]
async fn hundreds_of_printers_report_in_one_process() {
    let simulator = Simulator::start(Config::bambu(200)).await.unwrap();
    let mut states = tokio::task::JoinSet::new();
    for info in simulator.printers() {
        let printer = simulator.printer(&info.name).unwrap();
        states.spawn(async move { Client::listening(&printer).await.state().await });
    }
    assert_eq!(states.join_all().await, vec!["IDLE"; 200]);
}
