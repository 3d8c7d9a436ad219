//! What people write wrongly about printers: each mistake has its own reason and a text that says what to do, costs nothing
//! while it stands, harms nobody else, and heals by itself when it is corrected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod inputs;
mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use inputs::{both, counting, message, tries};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{Action, Config, Fault, FaultKind, PrinterInfo, UnreachableManner};
use serde_json::{Value, json};
use support::{PRINT, Shop, part};

fn secrets(shop: &Shop) -> Api<Secret> {
    Api::namespaced(shop.farm.client(), shop.farm.namespace())
}

async fn merge_secret(shop: &Shop, name: &str, patch: Value) {
    secrets(shop).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// The password or code of a simulated printer, as it belongs into its Secret.
fn login(info: &PrinterInfo) -> Value {
    match &info.bambu {
        Some(bambu) => json!({ "accessCode": bambu.access_code.as_str() }),
        None => json!({ "password": info.password.as_str() }),
    }
}

/// What is wrong with a printer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    NoSecret,
    NoKey,
    NoLabel,
    WrongCode,
    WrongSerial,
    NobodyThere,
    NoAnswer,
    NoDeveloperMode,
}

use Mistake::{NoAnswer, NoDeveloperMode, NoKey, NoLabel, NoSecret, NobodyThere, WrongCode, WrongSerial};

/// The first pause after a refused password.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);

const MISTAKES: [(&str, Mistake, ConditionType, Reason, &str); 15] = [
    ("prusa-1", NoSecret, ConditionType::Authorized, Reason::SecretNotFound, "create the Secret prusa-1"),
    ("prusa-2", NoKey, ConditionType::Authorized, Reason::SecretKeyMissing, "add the key password"),
    ("prusa-3", NoLabel, ConditionType::Authorized, Reason::SecretNotLabeled, "printernizer.io/usage=printer"),
    ("prusa-4", WrongCode, ConditionType::Authorized, Reason::CredentialsRefused, "copy user and password"),
    ("prusa-5", WrongSerial, ConditionType::Reachable, Reason::WrongSerialNumber, "its serial number is SIM-PRUSA-5"),
    ("prusa-6", NobodyThere, ConditionType::Reachable, Reason::Unreachable, "check that the printer is on"),
    ("prusa-7", NoAnswer, ConditionType::Reachable, Reason::Unreachable, "no answer"),
    ("bambu-1", NoSecret, ConditionType::Authorized, Reason::SecretNotFound, "create the Secret bambu-1"),
    ("bambu-2", NoKey, ConditionType::Authorized, Reason::SecretKeyMissing, "add the key accessCode"),
    ("bambu-3", NoLabel, ConditionType::Authorized, Reason::SecretNotLabeled, "printernizer.io/usage=printer"),
    ("bambu-4", WrongCode, ConditionType::Authorized, Reason::CredentialsRefused, "copy it from the printer's screen"),
    ("bambu-5", WrongSerial, ConditionType::Reachable, Reason::WrongSerialNumber, "039000000BAMBU5"),
    ("bambu-6", NobodyThere, ConditionType::Reachable, Reason::Unreachable, "check that the printer is on"),
    ("bambu-7", NoDeveloperMode, ConditionType::ControlAllowed, Reason::ControlRefused, "switch on Developer Mode"),
    ("bambu-8", NoAnswer, ConditionType::Reachable, Reason::Unreachable, "no answer to the TLS handshake"),
];

/// Where the printer is, as its Printer says it.
fn place(info: &PrinterInfo, mistake: Option<Mistake>) -> Value {
    let nobody = mistake == Some(NobodyThere);
    if let Some(bambu) = &info.bambu {
        let serial = if mistake == Some(WrongSerial) { "03919C000000001" } else { info.serial_number.as_str() };
        let port = if nobody { 1 } else { bambu.mqtt_port };
        json!({ "connection": { "bambu": { "serialNumber": serial, "mqttPort": port } } })
    } else {
        let serial = if mistake == Some(WrongSerial) { "SIM-ANOTHER" } else { info.serial_number.as_str() };
        let url = if nobody { "http://127.0.0.1:1" } else { info.url.as_str() };
        json!({ "connection": { "prusaLink": { "serialNumber": serial, "url": url } } })
    }
}

async fn make(shop: &Shop, name: &str, mistake: Mistake) {
    let info = shop.machine(name).info();
    let key = if info.bambu.is_some() { "accessCode" } else { "password" };
    match mistake {
        NoSecret => drop(secrets(shop).delete(name, &DeleteParams::default()).await.unwrap()),
        NoKey => merge_secret(shop, name, json!({ "data": { key: null } })).await,
        NoLabel => {
            merge_secret(shop, name, json!({ "metadata": { "labels": { "printernizer.io/usage": null } } })).await;
        }
        WrongCode => merge_secret(shop, name, json!({ "stringData": { key: "12345678" } })).await,
        WrongSerial | NobodyThere => drop(shop.farm.change_printer(name, place(&info, Some(mistake))).await.unwrap()),
        NoAnswer => {
            let manner = UnreachableManner::Silent;
            shop.machine(name).fault(Fault::lasting(FaultKind::Unreachable { manner }));
        }
        NoDeveloperMode => shop.machine(name).person(&Action::SetDeveloperMode { enabled: false }).unwrap(),
    }
}

async fn correct(shop: &Shop, name: &str, mistake: Mistake) {
    let info = shop.machine(name).info();
    match mistake {
        NoSecret => {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": name, "labels": { "printernizer.io/usage": "printer" } }, "stringData": login(&info),
            });
            let secret: Secret = serde_json::from_value(secret).unwrap();
            secrets(shop).create(&PostParams::default(), &secret).await.unwrap();
        }
        NoKey | WrongCode => merge_secret(shop, name, json!({ "stringData": login(&info) })).await,
        NoLabel => {
            merge_secret(shop, name, json!({ "metadata": { "labels": { "printernizer.io/usage": "printer" } } })).await;
        }
        WrongSerial | NobodyThere => drop(shop.farm.change_printer(name, place(&info, None)).await.unwrap()),
        NoAnswer => shop.machine(name).clear_faults(),
        NoDeveloperMode => shop.machine(name).person(&Action::SetDeveloperMode { enabled: true }).unwrap(),
    }
}

/// The version of each Printer: what is not written keeps it.
async fn versions(shop: &Shop) -> BTreeMap<String, String> {
    let printers = shop.farm.printers().list(&ListParams::default()).await.unwrap();
    let version = |p: printernizer_crds::Printer| Some((p.metadata.name?, p.metadata.resource_version?));
    printers.items.into_iter().filter_map(version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn printers_that_cannot_be_used_say_why_cost_nothing_and_heal_when_corrected() {
    let mut config = both(8, 8);
    for printer in &mut config.printers {
        printer.bambu.shows_fun = true;
    }
    let mut shop = Shop::empty("wrong", config).await;
    shop.farm.add_file("part", part(PRINT)).await.unwrap();
    let infos = shop.farm.simulator().printers();
    let address: SocketAddr = infos[3].url.trim_start_matches("http://").parse().unwrap();
    let (proxy, logins) = counting(address).await;
    for info in &infos {
        let url = if info.name == "prusa-4" { format!("http://{proxy}") } else { info.url.clone() };
        shop.farm.add_printer(info, &url, json!({})).await.unwrap();
    }
    for (name, mistake, ..) in MISTAKES {
        make(&shop, name, mistake).await;
    }
    shop.operate(&[]).await;
    let since = Instant::now();
    for (name, mistake, condition, reason, advice) in MISTAKES {
        let status = shop.printer_says(name, condition, reason).await;
        let text = message(&status.conditions, condition);
        assert!(text.contains(advice), "{name}, {mistake:?}: {text}");
        assert!(status.conditions.is_false(ConditionType::Ready), "{name}: {:?}", status.conditions);
    }
    let (before, asked) = (versions(&shop).await, shop.machine("bambu-4").requests());
    // Meanwhile the one that is right prints.
    shop.clear("prusa-8").await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    let after = versions(&shop).await;
    for (name, mistake, ..) in MISTAKES {
        assert_eq!(before[name], after[name], "{name} is written again and again: {mistake:?}");
    }
    let refusals = tries(since.elapsed(), AFTER_REFUSAL);
    let tried = shop.machine("bambu-4").requests() - asked;
    assert!(usize::try_from(tried).unwrap() <= refusals, "{tried} tries with a refused code");

    for (name, mistake, ..) in MISTAKES.into_iter().filter(|(name, ..)| *name != "prusa-4") {
        correct(&shop, name, mistake).await;
    }
    for (name, ..) in MISTAKES.into_iter().filter(|(name, ..)| *name != "prusa-4") {
        shop.printer_says(name, ConditionType::Ready, Reason::PrinterReady).await;
    }
    // The others took seconds to heal; meanwhile the refused password was not tried again and again.
    let tried = logins.load(Ordering::SeqCst);
    // A try needs two connections at most.
    let refusals = 2 * tries(since.elapsed(), AFTER_REFUSAL);
    assert!((1..=refusals).contains(&tried), "{tried} connections with a refused password");
    correct(&shop, "prusa-4", WrongCode).await;
    shop.printer_says("prusa-4", ConditionType::Ready, Reason::PrinterReady).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_this_farm_does_not_allow_is_said() {
    let mut shop = Shop::empty("forbidden", Config::prusalink(1)).await;
    let info = shop.farm.simulator().printers().remove(0);
    shop.farm.add_printer(&info, "http://192.0.2.10", json!({})).await.unwrap();
    shop.operate(&[]).await;
    let status = shop.printer_says("prusa-1", ConditionType::Reachable, Reason::AddressForbidden).await;
    assert!(message(&status.conditions, ConditionType::Reachable).contains("192.0.2.10"), "{:?}", status.conditions);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn printers_on_this_machine_are_refused_unless_allowed() {
    let shop = Shop::empty("loopback", Config::prusalink(1)).await;
    shop.farm.add_printers().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut operator = tokio::process::Command::new(env!("CARGO_BIN_EXE_printernizer"))
        .args(["run", "--listen", "127.0.0.1:0", "--namespace", shop.farm.namespace()])
        .args(["--lease-namespace", shop.farm.namespace(), "--cache-dir"])
        .arg(directory.path().join("cache"))
        .env("KUBECONFIG", shop.cluster.kubeconfig())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    shop.printer_says("prusa-1", ConditionType::Reachable, Reason::AddressForbidden).await;
    operator.kill().await.unwrap();
    shop.close().await;
}
