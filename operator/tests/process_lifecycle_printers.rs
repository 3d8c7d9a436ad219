//! Printers that move, are exchanged, lose their Secret or fall silent, while they print and while they do not: a print is
//! followed to its end, and nothing is started on a machine nobody has looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod inputs;
mod lifecycle;
mod support;

use std::net::SocketAddr;

use futures::future::join_all;
use inputs::{counting, message};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lifecycle::{At, Stage, each_is_printed_once, open, reach_all, stage};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, PrinterStatus, Reason};
use printernizer_simulator::{Action, Fault, FaultKind, Password, UnreachableManner};
use serde_json::{Value, json};
use support::Shop;

/// Moves the machine to another address; gives the new one.
async fn move_away(shop: &Shop, stage: &Stage) -> SocketAddr {
    let info = shop.machine(stage.printer).info();
    let passed_on = async |port: u16| counting(SocketAddr::from(([127, 0, 0, 1], port))).await.0;
    let (address, moved) = if let Some(bambu) = &info.bambu {
        let (mqtt, ftps) = (passed_on(bambu.mqtt_port).await, passed_on(bambu.ftps_port).await);
        (mqtt, json!({ "bambu": { "mqttPort": mqtt.port(), "ftpsPort": ftps.port() } }))
    } else {
        let address: SocketAddr = info.url.trim_start_matches("http://").parse().unwrap();
        let http = passed_on(address.port()).await;
        (http, json!({ "prusaLink": { "url": format!("http://{http}") } }))
    };
    shop.farm.change_printer(stage.printer, json!({ "connection": moved })).await.unwrap();
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_moves_to_another_address_keeps_its_print_and_its_jobs() {
    const STAGES: [Stage; 4] = [
        stage("printing", "prusa-1", At::Printing),
        stage("printing-a1", "bambu-1", At::Printing),
        stage("waiting", "prusa-2", At::Pending),
        stage("waiting-a1", "bambu-2", At::Pending),
    ];
    let shop = open("moved", &STAGES).await;
    reach_all(&shop, &STAGES, &json!({})).await;
    for s in &STAGES {
        let address = move_away(&shop, s).await.to_string();
        let there = |p: &PrinterStatus| {
            p.conditions.is_true(ConditionType::Reachable)
                && p.device.as_ref().is_some_and(|d| d.host.as_deref() == Some(address.as_str()))
        };
        shop.printer(s.printer, "is connected there", there).await;
    }
    for s in STAGES.iter().filter(|s| s.at == At::Pending) {
        shop.clear(s.printer).await;
    }
    for s in &STAGES {
        s.prints(&shop).await;
    }
    each_is_printed_once(&shop, &STAGES).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_in_the_place_of_another_gets_no_job_before_a_person_has_said_so_and_looked_at_its_bed() {
    const STAGES: [Stage; 4] = [
        stage("idle", "prusa-1", At::Pending),
        stage("idle-a1", "bambu-1", At::Pending),
        stage("printing", "prusa-2", At::Printing),
        stage("printing-a1", "bambu-2", At::Printing),
    ];
    let shop = open("exchanged", &STAGES).await;
    let (printing, idle): (Vec<_>, Vec<_>) = STAGES.into_iter().partition(|s| s.at == At::Printing);
    for s in &idle {
        // The bed of the machine that goes is clear; nothing is said of that of the one that comes.
        shop.clear(s.printer).await;
        let machine = shop.machine(s.printer);
        machine.person(&Action::ReplaceDevice { serial_number: new_serial(s) }).unwrap();
        cut(&shop, s).await;
        let status = shop.printer_says(s.printer, ConditionType::Reachable, Reason::WrongSerialNumber).await;
        let text = message(&status.conditions, ConditionType::Reachable);
        assert!(text.contains(&new_serial(s)), "{s:?}: {text}");
        shop.farm.print(s.job, if s.is_bambu() { "sliced" } else { "part" }, here(s)).await.unwrap();
        shop.job_says(s.job, ConditionType::Scheduled, Reason::WaitingForPrinter).await;
        let mut new = json!({ "serialNumber": new_serial(s) });
        if let Some(bambu) = machine.info().bambu {
            new["tls"] = json!({ "publicKeySHA256": bambu.public_key_sha256 });
        }
        let kind = if s.is_bambu() { "bambu" } else { "prusaLink" };
        shop.farm.change_printer(s.printer, json!({ "connection": { kind: new } })).await.unwrap();
        let status = shop.printer_says(s.printer, ConditionType::Ready, Reason::PrinterReady).await;
        assert_eq!(status.device.unwrap().serial_number, Some(new_serial(s)));
        shop.printer_says(s.printer, ConditionType::BedCleared, Reason::NeverConfirmed).await;
        shop.job_says(s.job, ConditionType::Scheduled, Reason::WaitingForBed).await;
        assert_eq!(s.commands(&shop), 0);
        shop.clear(s.printer).await;
        s.prints(&shop).await;
    }

    // What prints is not ended by what answers in its place, and is followed again when it is back.
    reach_all(&shop, &printing, &json!({})).await;
    join_all(printing.iter().map(async |s| {
        let machine = shop.machine(s.printer);
        machine.fault(Fault::lasting(FaultKind::WrongSerial { serial_number: new_serial(s) }));
        cut(&shop, s).await;
        shop.printer_says(s.printer, ConditionType::Reachable, Reason::WrongSerialNumber).await;
        let status = s.is(&shop, Phase::Printing).await;
        assert!(status.conditions.is_true(ConditionType::Started), "{s:?}");
        machine.clear_faults();
        shop.printer_says(s.printer, ConditionType::Reachable, Reason::Connected).await;
        s.prints(&shop).await;
    }))
    .await;
    each_is_printed_once(&shop, &STAGES).await;
    shop.close().await;
}

fn here(stage: &Stage) -> Value {
    json!({ "printerRef": { "name": stage.printer } })
}

fn new_serial(stage: &Stage) -> String {
    let number = stage.printer.trim_start_matches(|c: char| !c.is_ascii_digit());
    if stage.is_bambu() { format!("03919C00000000{number}") } else { format!("SIM-NEW-{number}") }
}

/// Ends the machine's connections; the next ones find it as it is.
async fn cut(shop: &Shop, stage: &Stage) {
    let machine = shop.machine(stage.printer);
    let faults = machine.state().faults;
    let manner = UnreachableManner::Refuse;
    machine.fault(Fault::lasting(FaultKind::Unreachable { manner }));
    shop.printer_says(stage.printer, ConditionType::Reachable, Reason::Unreachable).await;
    machine.replace_faults(faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_changed_or_gone_while_it_prints_ends_no_print() {
    const STAGES: [Stage; 4] = [
        stage("changed", "prusa-1", At::Printing),
        stage("changed-a1", "bambu-1", At::Printing),
        stage("gone", "prusa-2", At::Printing),
        stage("gone-a1", "bambu-2", At::Printing),
    ];
    let shop = open("rotated", &STAGES).await;
    let secrets: Api<Secret> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    reach_all(&shop, &STAGES, &json!({})).await;
    join_all(STAGES.iter().map(async |s| {
        if s.job.starts_with("changed") {
            let machine = shop.machine(s.printer);
            machine.person(&Action::ChangePassword { password: Password::new("87654321") }).unwrap();
            if s.is_bambu() {
                // Whoever is connected stays so.
                cut(&shop, s).await;
            }
            shop.printer_says(s.printer, ConditionType::Authorized, Reason::CredentialsRefused).await;
            let key = if s.is_bambu() { "accessCode" } else { "password" };
            let new = Patch::Merge(json!({ "stringData": { key: "87654321" } }));
            secrets.patch(s.printer, &PatchParams::default(), &new).await.unwrap();
        } else {
            // A connection that stands needs no Secret; the next one does.
            let machine = shop.machine(s.printer);
            let manner = UnreachableManner::Refuse;
            machine.fault(Fault::lasting(FaultKind::Unreachable { manner }));
            shop.printer_says(s.printer, ConditionType::Reachable, Reason::Unreachable).await;
            let mut secret = secrets.get(s.printer).await.unwrap();
            secrets.delete(s.printer, &DeleteParams::default()).await.unwrap();
            machine.clear_faults();
            shop.printer_says(s.printer, ConditionType::Authorized, Reason::SecretNotFound).await;
            let status = s.is(&shop, Phase::Printing).await;
            assert!(status.conditions.is_true(ConditionType::Started), "{s:?}");
            (secret.metadata.uid, secret.metadata.resource_version) = (None, None);
            secrets.create(&PostParams::default(), &secret).await.unwrap();
        }
        shop.printer_says(s.printer, ConditionType::Authorized, Reason::CredentialsAccepted).await;
        s.prints(&shop).await;
    }))
    .await;
    each_is_printed_once(&shop, &STAGES).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_takes_connections_and_never_answers_keeps_nobody_waiting_but_its_own_job() {
    const STAGES: [Stage; 5] = [
        stage("printing", "prusa-1", At::Printing),
        stage("printing-a1", "bambu-1", At::Printing),
        stage("assigned", "prusa-2", At::Starting),
        stage("uploading-a1", "bambu-2", At::Uploading),
        stage("good", "prusa-3", At::Printing),
    ];
    let shop = open("silent", &STAGES).await;
    reach_all(&shop, &STAGES[..4], &json!({})).await;
    for s in &STAGES[..4] {
        let manner = UnreachableManner::Silent;
        shop.machine(s.printer).fault(Fault::lasting(FaultKind::Unreachable { manner }));
    }
    // The good one does not notice.
    STAGES[4].reach(&shop, &json!({})).await;
    for s in &STAGES[..2] {
        shop.printer_says(s.printer, ConditionType::Reachable, Reason::Unreachable).await;
        // Nobody ends it; when it lasts, a person is called, and the job goes on when the printer answers.
        shop.job_says(s.job, ConditionType::Started, Reason::PrinterUnreachable).await;
    }
    // Nothing was started of these: any other printer may have them.
    for s in &STAGES[2..4] {
        let status = shop.job(s.job, "has given its printer back", |s| s.printer.is_none() && s.attempt == 2).await;
        assert!(status.attempts.iter().all(|a| a.printer == s.printer), "{:?}", status.attempts);
    }
    for s in &STAGES[..4] {
        s.free(&shop);
        shop.printer_says(s.printer, ConditionType::Reachable, Reason::Connected).await;
    }
    for s in &STAGES[..2] {
        s.prints(&shop).await;
    }
    // Their files go as soon as the printers can be asked.
    for s in &STAGES[2..4] {
        shop.machine_shows(s.printer, "no file", |m| m.files.is_empty()).await;
        assert_eq!(s.commands(&shop), 0, "{s:?}");
    }
    each_is_printed_once(&shop, [&STAGES[0], &STAGES[1], &STAGES[4]]).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_is_deleted_and_created_again_asks_for_its_bed_and_goes_on() {
    const STAGES: [Stage; 6] = [
        stage("idle", "prusa-1", At::Pending),
        stage("idle-a1", "bambu-1", At::Pending),
        stage("starting", "prusa-2", At::Starting),
        stage("starting-a1", "bambu-2", At::Starting),
        stage("printing", "prusa-3", At::Printing),
        stage("printing-a1", "bambu-3", At::Printing),
    ];
    let shop = open("again", &STAGES).await;
    reach_all(&shop, &STAGES, &json!({})).await;
    for s in &STAGES {
        shop.farm.printers().delete(s.printer, &DeleteParams::default()).await.unwrap();
    }
    for s in &STAGES[..4] {
        // What was not started goes back to the queue, and nothing keeps the Printer.
        shop.printer_is_gone(s.printer).await;
        let status = shop.job(s.job, "has no printer", |s| s.printer.is_none()).await;
        assert_ne!(status.phase, Some(Phase::AttentionNeeded), "{s:?}");
        s.free(&shop);
    }
    for s in &STAGES[4..] {
        let status = shop.printer_says(s.printer, ConditionType::Ready, Reason::BeingDeleted).await;
        let text = message(&status.conditions, ConditionType::Ready);
        assert!(text.contains(s.job), "{text}");
    }
    for info in shop.farm.simulator().printers() {
        if STAGES[..4].iter().any(|s| s.printer == info.name) {
            shop.farm.add_printer(&info, &info.url, json!({})).await.unwrap();
        }
    }
    for s in &STAGES[..4] {
        shop.printer_says(s.printer, ConditionType::BedCleared, Reason::NeverConfirmed).await;
        shop.job_says(s.job, ConditionType::Scheduled, Reason::WaitingForBed).await;
        assert_eq!(s.commands(&shop), 0, "{s:?}");
        shop.clear(s.printer).await;
        s.prints(&shop).await;
    }
    each_is_printed_once(&shop, &STAGES).await;
    for s in &STAGES[4..] {
        shop.printer_is_gone(s.printer).await;
    }
    shop.close().await;
}
