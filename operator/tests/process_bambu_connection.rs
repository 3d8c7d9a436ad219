//! The connection to a Bambu Lab printer: file servers with manners of their own, clients that push each other out,
//! and everything a person can get wrong about address, code, serial number and key. Each mistake says what to do, and is
//! over as soon as it is put right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod bambu;
mod inputs;
mod support;

use bambu::{A1, CLIP, a1, commands, lasting, opened, printer_advice, printing, prints_to_its_end, succeeds, with};
use inputs::BlackHole;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{
    Action, AfterPowerCut, BambuFault, Event, Fault, FaultKind, JobCommand, Password, PrinterInfo, SlicedFile,
};
use serde_json::json;
use support::Shop;

/// Sets keys of the printer's Secret; null removes one.
async fn change_secret(shop: &Shop, data: serde_json::Value) {
    let secrets: Api<Secret> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let patch = Patch::Merge(json!({ "data": data }));
    secrets.patch(A1, &PatchParams::default(), &patch).await.unwrap();
}

/// `12345678` as it stands in a Secret.
const NEW_CODE: &str = "MTIzNDU2Nzg=";

/// Another program that is connected to the printer.
async fn other_client(shop: &Shop) -> printernizer_bambu::Connection {
    let info = shop.machine(A1).info();
    let reached = info.bambu.clone().unwrap();
    let mut pin = [0_u8; 32];
    for (byte, at) in pin.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&reached.public_key_sha256[at..at + 2], 16).unwrap();
    }
    let address = |port| std::net::SocketAddr::new(reached.host.parse().unwrap(), port);
    let config = printernizer_bambu::Config {
        mqtt: address(reached.mqtt_port),
        ftps: address(reached.ftps_port),
        serial_number: printernizer_bambu::SerialNumber::new(&info.serial_number).unwrap(),
        access_code: secrecy::SecretString::from(reached.access_code.as_str().to_owned()),
        trust: printernizer_bambu::Trust::PinnedKey(pin),
        timeouts: printernizer_bambu::Timeouts::default(),
    };
    printernizer_bambu::Connection::open(&config).await.unwrap()
}

async fn connects(shop: &Shop) {
    shop.printer(A1, "is reachable", |s| s.conditions.is_true(ConditionType::Reachable)).await;
    shop.clear(A1).await;
    shop.print(CLIP, json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_server_that_wants_its_session_resumed_and_says_an_address_of_zeros_gets_the_file() {
    let faults = vec![lasting(BambuFault::PassiveAddressZero), lasting(BambuFault::SessionReuseRequired)];
    prints_to_its_end(with("ftps", faults).await, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_end_is_never_confirmed_is_known_by_its_size_and_the_part_printed_once() {
    let shop = with("lost226", vec![lasting(BambuFault::LostTransferEnd)]).await;
    shop.phase(CLIP, Phase::Printing).await;
    let answers: Vec<_> = shop
        .ledger()
        .into_iter()
        .filter_map(|e| if let Event::Upload { answer, .. } = e.event { Some(answer) } else { None })
        .collect();
    assert_eq!(answers, [None], "one upload without a last word");
    assert_eq!(commands(&shop), 1);
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_without_a_pinned_key_is_known_by_its_authority_or_not_at_all() {
    let mut shop = Shop::empty("authority", a1()).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", SlicedFile::lasting(bambu::PRINT).plate(&[(1, "PLA")]).build()).await.unwrap();
    let tls = json!({ "verification": "BambuCA", "publicKeySHA256": null });
    shop.farm.change_printer(A1, json!({ "connection": { "bambu": { "tls": tls } } })).await.unwrap();
    let machine = shop.machine(A1);
    let reached = machine.info().bambu.unwrap();
    shop.operate(&[]).await;
    let advice = printer_advice(&shop, ConditionType::Reachable, Reason::WrongProtocol).await;
    assert!(advice.contains(&reached.public_key_sha256), "the key that could be pinned: {advice}");
    assert_eq!(machine.requests(), 0, "nobody logs in at a printer that is not proven");
    shop.close_operator().await;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authority.pem");
    std::fs::write(&file, &reached.certificate_authority_pem).unwrap();
    shop.operate(&["--bambu-authorities", file.to_str().unwrap()]).await;
    connects(&shop).await;
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_is_tried_again_and_the_part_is_printed_once() {
    let cut = Fault::once(FaultKind::TruncateUpload { after_bytes: 100 });
    let refused = Fault::once(FaultKind::Bambu(BambuFault::DataConnectionRefused));
    prints_to_its_end(with("cut", vec![cut, refused]).await, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pushes_ours_out_ends_no_print() {
    let shop = printing("kicked").await;
    let machine = shop.machine(A1);
    machine.fault(lasting(BambuFault::SecondClientKicksFirst));
    let mut theirs = other_client(&shop).await;
    // Ours comes back, and pushes theirs out.
    let pushed_out = async { while theirs.changed().await.is_ok() {} };
    tokio::time::timeout(support::SOON, pushed_out).await.expect("ours comes back");
    assert_eq!(commands(&shop), 1);
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_while_a_report_connection_that_broke_is_made_anew() {
    let stall = Fault::once(FaultKind::StallUpload { after_bytes: 16, milliseconds: 3_000 });
    let shop = with("outlives", vec![stall, lasting(BambuFault::SecondClientKicksFirst)]).await;
    shop.phase(CLIP, Phase::Uploading).await;
    let machine = shop.machine(A1);
    let has_begun = |m: &printernizer_simulator::PrinterState| m.files.iter().any(|f| f.starts_with("up-"));
    shop.machine_shows(A1, "a file that has begun to arrive", has_begun).await;
    let mut theirs = other_client(&shop).await;
    let pushed_out = async { while theirs.changed().await.is_ok() {} };
    tokio::time::timeout(support::SOON, pushed_out).await.expect("ours comes back");
    assert!(has_begun(&machine.state()), "the file is still arriving");
    shop.phase(CLIP, Phase::Printing).await;
    let uploads = shop.ledger().into_iter().filter(|e| matches!(e.event, Event::Upload { .. })).count();
    assert_eq!(uploads, 1, "{:?}", shop.ledger());
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code_says_where_the_right_one_is_and_is_not_tried_again_and_again() {
    let shop = opened("code", a1(), Vec::new()).await;
    shop.printer(A1, "is reachable", |s| s.conditions.is_true(ConditionType::Reachable)).await;
    let machine = shop.machine(A1);
    machine.person(&Action::ChangePassword { password: Password::new("12345678") }).unwrap();
    machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    let advice = printer_advice(&shop, ConditionType::Authorized, Reason::CredentialsRefused).await;
    assert!(advice.contains("code"), "{advice}");
    let refused = machine.requests();
    // Long enough for dozens of tries, were they as frequent as polls.
    assert!(!machine.wait_for(std::time::Duration::from_secs(6), |_| machine.requests() > refused + 1).await);
    change_secret(&shop, json!({ "accessCode": NEW_CODE })).await;
    connects(&shop).await;
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_is_lost_on_its_way_gets_a_new_connection_and_is_carried_out() {
    let shop = printing("swallow").await;
    let machine = shop.machine(A1);
    shop.machine_shows(A1, "RUNNING", |m| m.link_state.as_deref() == Some("RUNNING")).await;
    // Reports go on, and whatever is sent to the printer is lost.
    machine.fault(lasting(BambuFault::SwallowCommand));
    let before = machine.state().bambu.unwrap().logins;
    shop.want(CLIP, "Cancel").await;
    let anew = |m: &printernizer_simulator::PrinterState| m.bambu.as_ref().is_some_and(|b| b.logins > before);
    shop.machine_shows(A1, "a new connection", anew).await;
    let advice = printer_advice(&shop, ConditionType::Reachable, Reason::Unreachable).await;
    assert!(advice.contains("drops what is sent") && advice.contains("restart"), "{advice}");
    assert_eq!(shop.commands(JobCommand::Stop), 0);
    machine.clear_faults();
    shop.phase(CLIP, Phase::Cancelled).await;
    assert_eq!(shop.effects(JobCommand::Stop), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_only_the_file_server_refuses_is_told_and_not_tried_again_and_again() {
    let shop = printing("filecode").await;
    let machine = shop.machine(A1);
    // The connection that reports is let in already, and goes on.
    machine.person(&Action::ChangePassword { password: Password::new("12345678") }).unwrap();
    let deletes = |shop: &Shop| shop.ledger().iter().filter(|e| matches!(e.event, Event::Delete { .. })).count();
    let before = deletes(&shop);
    // Its file is deleted now.
    succeeds(&shop).await;
    let advice = printer_advice(&shop, ConditionType::Authorized, Reason::CredentialsRefused).await;
    assert!(advice.contains("code"), "{advice}");
    let refused = machine.requests();
    // Long enough for dozens of tries, were they as frequent as the rules ask for the deletion.
    assert!(!machine.wait_for(std::time::Duration::from_secs(6), |_| machine.requests() > refused + 1).await);
    assert_eq!(deletes(&shop), before);
    change_secret(&shop, json!({ "accessCode": NEW_CODE })).await;
    shop.machine_shows(A1, "no file", |m| m.files.is_empty()).await;
    // The same for an upload.
    machine.person(&Action::ChangePassword { password: Password::new("87654321") }).unwrap();
    shop.print("next", json!({})).await;
    shop.clear(A1).await;
    printer_advice(&shop, ConditionType::Authorized, Reason::CredentialsRefused).await;
    change_secret(&shop, json!({ "accessCode": "ODc2NTQzMjE=" })).await;
    shop.phase("next", Phase::Printing).await;
    assert_eq!(commands(&shop), 2);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_whose_developer_mode_is_switched_on_later_prints_with_its_new_code() {
    let mut config = a1();
    config.printers[0].bambu.developer_mode = false;
    let shop = opened("developer", config, Vec::new()).await;
    shop.clear(A1).await;
    shop.print(CLIP, json!({})).await;
    let advice = printer_advice(&shop, ConditionType::ControlAllowed, Reason::ControlRefused).await;
    assert!(advice.contains("Developer Mode"), "{advice}");
    shop.job(CLIP, "waits again", |s| s.attempt == 2 && s.printer.is_none()).await;
    // Switching it on restarts the printer and changes the code.
    let machine = shop.machine(A1);
    machine.person(&Action::SetDeveloperMode { enabled: true }).unwrap();
    machine.person(&Action::ChangePassword { password: Password::new("12345678") }).unwrap();
    machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    printer_advice(&shop, ConditionType::Authorized, Reason::CredentialsRefused).await;
    change_secret(&shop, json!({ "accessCode": NEW_CODE })).await;
    shop.printer_says(A1, ConditionType::ControlAllowed, Reason::NotProvenYet).await;
    bambu::acknowledge(&shop).await;
    shop.clear(A1).await;
    shop.printer_says(A1, ConditionType::ControlAllowed, Reason::ControlProven).await;
    assert_eq!(commands(&shop), 2);
    prints_to_its_end(shop, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_the_code_says_which_key_is_missing() {
    let shop = opened("key", a1(), Vec::new()).await;
    change_secret(&shop, json!({ "accessCode": null, "code": NEW_CODE })).await;
    let machine = shop.machine(A1);
    machine.person(&Action::ChangePassword { password: Password::new("12345678") }).unwrap();
    machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    let advice = printer_advice(&shop, ConditionType::Authorized, Reason::SecretKeyMissing).await;
    assert!(advice.contains("accessCode") && advice.contains(A1), "{advice}");
    change_secret(&shop, json!({ "accessCode": NEW_CODE })).await;
    connects(&shop).await;
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_printer_under_the_same_address_gets_no_code_and_no_job() {
    let shop = opened("other", a1(), Vec::new()).await;
    shop.clear(A1).await;
    let machine = shop.machine(A1);
    let serial = machine.info().serial_number;
    machine.fault(Fault::lasting(FaultKind::WrongSerial { serial_number: "03919C000000001".into() }));
    machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
    let unready = |s: &printernizer_crds::PrinterStatus| {
        s.conditions
            .iter()
            .any(|c| c.reason == Reason::WrongSerialNumber.to_string() && c.message.contains("03919C000000001"))
    };
    shop.printer(A1, "says which printer it found", unready).await;
    let asked = machine.requests();
    shop.print(CLIP, json!({})).await;
    shop.job(CLIP, "waits", |s| s.conditions.is_false(ConditionType::Scheduled)).await;
    // The handshake ends before a client says anything.
    assert_eq!(machine.requests(), asked);
    machine.clear_faults();
    assert_eq!(machine.info().serial_number, serial);
    shop.printer(A1, "is reachable", |s| s.conditions.is_true(ConditionType::Reachable)).await;
    shop.clear(A1).await;
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_the_pinned_one_gets_no_code_and_heals_when_the_pin_is_put_right() {
    let shop = opened("pin", a1(), Vec::new()).await;
    shop.printer(A1, "is reachable", |s| s.conditions.is_true(ConditionType::Reachable)).await;
    let machine = shop.machine(A1);
    let right = machine.info().bambu.unwrap().public_key_sha256;
    let pin = |sha256: &str| json!({ "connection": { "bambu": { "tls": { "verification": "PinnedKey", "publicKeySHA256": sha256 } } } });
    shop.farm.change_printer(A1, pin(&"0".repeat(64))).await.unwrap();
    let advice = printer_advice(&shop, ConditionType::Reachable, Reason::WrongProtocol).await;
    assert!(advice.contains(&right), "the key that was found, to compare it: {advice}");
    let asked = machine.requests();
    shop.farm.change_printer(A1, pin(&right)).await.unwrap();
    connects(&shop).await;
    assert!(machine.requests() > asked);
    prints_to_its_end(shop, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_what_is_sent_is_told_and_the_part_is_printed_once_when_it_is_mended() {
    let mut shop = Shop::empty("hole", a1()).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", SlicedFile::lasting(bambu::PRINT).plate(&[(1, "PLA")]).build()).await.unwrap();
    let hole = BlackHole::open().await;
    let nowhere = hole.address.port();
    let reached = shop.machine(A1).info().bambu.unwrap();
    let ports = |mqtt: u16, ftps: u16| json!({ "connection": { "bambu": { "mqttPort": mqtt, "ftpsPort": ftps } } });
    shop.farm.change_printer(A1, ports(nowhere, nowhere)).await.unwrap();
    shop.operate(&[]).await;
    let told = |advice: &str| {
        assert!(
            advice.contains(&hole.address.to_string()) && advice.contains("check that the printer is on"),
            "{advice}"
        );
    };
    told(&printer_advice(&shop, ConditionType::Reachable, Reason::Unreachable).await);
    shop.print(CLIP, json!({})).await;
    shop.job_says(CLIP, ConditionType::Scheduled, Reason::Queued).await;
    assert_eq!(shop.machine(A1).requests(), 0);

    // Reports come through, files do not.
    shop.farm.change_printer(A1, ports(reached.mqtt_port, nowhere)).await.unwrap();
    shop.clear(A1).await;
    let status = shop.job_says(CLIP, ConditionType::Started, Reason::UploadFailed).await;
    told(&status.conditions.condition(ConditionType::Started).unwrap().message);
    shop.printer_says(A1, ConditionType::Reachable, Reason::Connected).await;
    assert_eq!(commands(&shop), 0);

    shop.farm.change_printer(A1, ports(reached.mqtt_port, reached.ftps_port)).await.unwrap();
    // It may be another machine that is reached now, and this one has no print to be known by.
    shop.clear(A1).await;
    shop.phase(CLIP, Phase::Printing).await;
    succeeds(&shop).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (1, 1));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_printers_of_one_bambu_share_neither_its_connection_nor_its_print() {
    let shop = printing("twins").await;
    let machine = shop.machine(A1);
    let logins = || machine.state().bambu.unwrap().logins;
    let before = logins();
    let twin = PrinterInfo { name: "twin".into(), ..machine.info() };
    shop.farm.add_printer(&twin, &twin.url, json!({})).await.unwrap();
    let status = shop.printer_says("twin", ConditionType::Ready, Reason::DuplicateDevice).await;
    let told = &status.conditions.condition(ConditionType::Ready).unwrap().message;
    assert!(told.contains(&format!("{}/{A1}", shop.farm.namespace())) && told.contains("delete one of them"), "{told}");
    shop.print("next", json!({ "printerRef": { "name": "twin" } })).await;
    // What it would have is not known, for it was never asked.
    shop.job_says("next", ConditionType::Scheduled, Reason::Queued).await;
    succeeds(&shop).await;
    assert_eq!((logins(), commands(&shop)), (before, 1), "the other Printer has never connected");
    // What was printed lies on the one bed there is, also for the Printer that is left.
    shop.printer(A1, "is released", |s| s.current_job.is_none()).await;
    shop.farm.printers().delete(A1, &DeleteParams::default()).await.unwrap();
    let status = shop.printer_says("twin", ConditionType::Ready, Reason::PrinterReady).await;
    let id = status.bed.unwrap().occupancy_id.unwrap();
    shop.printer_says("twin", ConditionType::BedCleared, Reason::NeverConfirmed).await;
    shop.job_says("next", ConditionType::Scheduled, Reason::WaitingForBed).await;
    assert_eq!(commands(&shop), 1);
    machine.person(&Action::TakePartOff).unwrap();
    shop.farm.change_printer("twin", json!({ "bed": { "clearedFor": id } })).await.unwrap();
    shop.phase("next", Phase::Printing).await;
    assert_eq!((commands(&shop), shop.starts("pz-")), (2, 2));
    shop.close().await;
}
