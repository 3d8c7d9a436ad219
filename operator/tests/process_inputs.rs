//! What people write wrongly: each mistake has its own reason and a text that says what to do, harms nobody else, and
//! heals by itself when it is corrected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, Reason};
use printernizer_simulator::{Config, Fault, FaultKind};
use serde_json::json;
use support::{PRINT, Shop, part};
use tokio::net::{TcpListener, TcpStream};

/// Passes connections on to `target`, and counts them.
async fn counting(target: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(target).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (address, count)
}

fn message(conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition], type_: ConditionType) -> String {
    conditions.iter().find(|c| c.type_ == type_.as_str()).map(|c| c.message.clone()).unwrap_or_default()
}

async fn merge_secret(shop: &Shop, name: &str, patch: serde_json::Value) {
    let secrets: Api<Secret> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn printers_that_cannot_be_connected_say_why_and_heal_when_corrected() {
    let mut shop = Shop::empty("wrong", Config::prusalink(6).time_scale(20.0)).await;
    let infos = shop.farm.simulator().printers();
    let address: SocketAddr = infos[3].url.trim_start_matches("http://").parse().unwrap();
    let (proxy, logins) = counting(address).await;
    for (index, info) in infos.iter().enumerate() {
        let url = match index {
            3 => format!("http://{proxy}"),
            5 => "http://127.0.0.1:1".to_owned(),
            _ => info.url.clone(),
        };
        shop.farm.add_printer(info, &url, json!({})).await.unwrap();
    }
    let secrets: Api<Secret> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let original = secrets.get("prusa-1").await.unwrap();
    secrets.delete("prusa-1", &DeleteParams::default()).await.unwrap();
    merge_secret(&shop, "prusa-2", json!({ "data": { "password": null } })).await;
    merge_secret(&shop, "prusa-3", json!({ "metadata": { "labels": { "printernizer.io/usage": null } } })).await;
    merge_secret(&shop, "prusa-4", json!({ "stringData": { "password": "not-the-password" } })).await;
    let wrong = FaultKind::WrongSerial { serial_number: "SIM-ANOTHER".into() };
    shop.machine("prusa-5").fault(Fault::lasting(wrong));
    shop.operate(&[]).await;
    let since = std::time::Instant::now();

    for (name, condition, reason, advice) in [
        ("prusa-1", ConditionType::Authorized, Reason::SecretNotFound, "create the Secret prusa-1"),
        ("prusa-2", ConditionType::Authorized, Reason::SecretKeyMissing, "add the key password"),
        ("prusa-3", ConditionType::Authorized, Reason::SecretNotLabeled, "printernizer.io/usage=printer"),
        ("prusa-4", ConditionType::Authorized, Reason::CredentialsRefused, "copy user and password"),
        ("prusa-5", ConditionType::Reachable, Reason::WrongSerialNumber, "SIM-ANOTHER"),
        ("prusa-6", ConditionType::Reachable, Reason::Unreachable, "check that the printer is on"),
    ] {
        let status = shop.printer_says(name, condition, reason).await;
        let text = message(&status.conditions, condition);
        assert!(text.contains(advice), "{name}: {text}");
        assert!(status.conditions.is_false(ConditionType::Ready), "{name}: {:?}", status.conditions);
    }

    let mut again = Secret { data: original.data, type_: original.type_, ..Secret::default() };
    again.metadata.name = Some("prusa-1".into());
    again.metadata.labels = original.metadata.labels;
    secrets.create(&PostParams::default(), &again).await.unwrap();
    merge_secret(&shop, "prusa-2", json!({ "stringData": { "password": infos[1].password.as_str() } })).await;
    merge_secret(&shop, "prusa-3", json!({ "metadata": { "labels": { "printernizer.io/usage": "printer" } } })).await;
    shop.machine("prusa-5").clear_faults();
    let url = json!({ "connection": { "prusaLink": { "url": infos[5].url } } });
    shop.farm.change_printer("prusa-6", url).await.unwrap();
    for name in ["prusa-1", "prusa-2", "prusa-3", "prusa-5", "prusa-6"] {
        shop.printer_says(name, ConditionType::Ready, Reason::PrinterReady).await;
    }
    // The others took seconds to heal; meanwhile the refused password was not tried again and again.
    let tried = logins.load(Ordering::SeqCst);
    // The pauses begin with half a minute and double; the first try needs two connections at most.
    let pauses = usize::try_from(since.elapsed().as_secs() / 30).unwrap();
    assert!((1..=2 + pauses).contains(&tried), "{tried} connections with a refused password");
    merge_secret(&shop, "prusa-4", json!({ "stringData": { "password": infos[3].password.as_str() } })).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn jobs_whose_file_cannot_be_used_say_why() {
    let shop = Shop::open("files", Config::prusalink(1).time_scale(20.0)).await;
    let html = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n".to_vec();
    shop.farm.add_file("html", html).await.unwrap();
    shop.farm.add_file("empty", Vec::new()).await.unwrap();
    shop.farm.add_file("bare", b"G28\nG1 X10 Y10 E1\n".to_vec()).await.unwrap();
    let whole = part(PRINT);
    shop.farm.add_file("half", whole[..whole.len() - 60].to_vec()).await.unwrap();
    let source = |source: serde_json::Value| {
        let mut spec = json!({ "source": { "configMap": null } });
        spec["source"].as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        spec
    };
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = refused.local_addr().unwrap();
    drop(refused);
    shop.farm.print("page", "html", json!({})).await.unwrap();
    shop.farm.print("nothing", "empty", json!({})).await.unwrap();
    shop.farm.print("half", "half", json!({})).await.unwrap();
    shop.farm.print("bare", "bare", json!({})).await.unwrap();
    shop.farm.print("missing", "not-there", json!({})).await.unwrap();
    shop.print("digest", json!({ "sha256": "0".repeat(64) })).await;
    for (name, what) in [
        ("metadata", json!({ "http": { "url": "http://169.254.169.254/latest/clip.gcode" } })),
        ("nobody", json!({ "http": { "url": format!("http://{nobody}/clip.gcode") } })),
    ] {
        let mut job = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": name },
            "spec": source(what),
        });
        job["spec"]["source"].as_object_mut().unwrap().remove("configMap");
        shop.farm.jobs().patch(name, &PatchParams::apply("farm"), &Patch::Apply(job)).await.unwrap();
    }
    for (name, reason, advice) in [
        ("page", Reason::NotAPrintFile, ""),
        ("nothing", Reason::FileEmpty, ""),
        ("half", Reason::FileCorrupt, ""),
        ("bare", Reason::MachineUnstated, "spec.printerRef"),
        ("missing", Reason::FileNotFound, "not-there"),
        ("digest", Reason::DigestMismatch, "SHA-256"),
        ("metadata", Reason::SourceForbidden, "169.254.169.254"),
        ("nobody", Reason::SourceUnreachable, ""),
    ] {
        let status = shop.job_says(name, ConditionType::Accepted, reason).await;
        assert!(status.conditions.is_false(ConditionType::Accepted), "{name}");
        let text = message(&status.conditions, ConditionType::Accepted);
        assert!(text.contains(advice) && text.len() > 20, "{name}: {text}");
        assert_eq!(status.phase, Some(Phase::Pending));
    }
    // None of them keeps a good job from its printer, and a file that appears is found.
    assert_eq!(shop.starts("pz-"), 0);
    shop.farm.add_file("not-there", part(PRINT)).await.unwrap();
    shop.phase("missing", Phase::Printing).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_from_a_web_server_is_printed_and_a_changed_one_is_not() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let shop = Shop::open("http", Config::prusalink(1).time_scale(20.0)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                let body = part(PRINT);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            });
        }
    });
    let job = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "clip" },
        "spec": { "source": { "http": { "url": format!("http://{address}/clip.gcode") } } },
    });
    shop.farm.jobs().patch("clip", &PatchParams::apply("farm"), &Patch::Apply(job)).await.unwrap();
    let status = shop.phase("clip", Phase::Printing).await;
    assert_eq!(status.file.unwrap().printer_model.as_deref(), Some("COREONE"));
    assert!(requests.load(Ordering::SeqCst) >= 1);

    // What is printed is what was accepted: a file that has changed since is not uploaded.
    shop.print("changed", json!({})).await;
    shop.job_says("changed", ConditionType::Accepted, Reason::FileRead).await;
    let maps: Api<ConfigMap> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let mut map = maps.get("part").await.unwrap();
    map.binary_data = Some([("part.gcode".to_owned(), k8s_openapi::ByteString(part(1200)))].into());
    maps.replace("part", &PostParams::default(), &map).await.unwrap();
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    shop.clear("prusa-1").await;
    // The bytes are still in the cache, under their digest: the part that was accepted is printed.
    shop.phase("changed", Phase::Printing).await;
    let shas: Vec<String> = shop
        .ledger()
        .into_iter()
        .filter_map(|e| match e.event {
            printernizer_simulator::Event::PhysicalStart { sha256, .. } => Some(sha256),
            _ => None,
        })
        .collect();
    assert_eq!(shas.len(), 2);
    assert_eq!(shas[0], shas[1], "both are the file that was accepted");
    shop.close().await;
}
