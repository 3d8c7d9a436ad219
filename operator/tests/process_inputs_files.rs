//! What is wrong with jobs and their files: each mistake has its own reason and a text that says what to do, costs nothing
//! while it stands, keeps no other job from its printer, and heals by itself when it is corrected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod inputs;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use inputs::{Answer, WebServer, both, message, tries};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions, PrintJob, Reason};
use printernizer_simulator::{Action, AfterPowerCut, Config, Event, SlicedFile};
use serde_json::{Value, json};
use support::{PRINT, Shop, part, part_of};
use tokio::net::TcpListener;

/// First pause before a file that could not be had is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// First pause before an upload is tried again.
const AFTER_UPLOAD: Duration = Duration::from_secs(2);
/// A file of this size is too large.
const TOO_LARGE: u64 = 600 * 1024 * 1024;

fn sliced(material: &str) -> Vec<u8> {
    SlicedFile::lasting(PRINT).plate(&[(1, material)]).build()
}

fn map(name: &str, key: &str) -> Value {
    json!({ "configMap": { "name": name, "key": key } })
}

fn http(url: &str) -> Value {
    json!({ "http": { "url": url } })
}

async fn ask_for(shop: &Shop, name: &str, source: Value, more: Value) {
    let mut job = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": name },
        "spec": { "source": source },
    });
    job["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    shop.farm.jobs().patch(name, &PatchParams::apply("farm"), &Patch::Apply(job)).await.unwrap();
}

/// The version of each job: what is not written keeps it.
async fn versions(shop: &Shop) -> BTreeMap<String, String> {
    let jobs = shop.farm.jobs().list(&ListParams::default()).await.unwrap();
    let version = |job: PrintJob| Some((job.metadata.name?, job.metadata.resource_version?));
    jobs.items.into_iter().filter_map(version).collect()
}

/// What puts a job right.
enum Cure {
    /// The server answers with the file.
    Serve,
    /// The job says it rightly.
    Spec(Value),
    /// Somebody at the machine, and the Printer's spec.
    Load(&'static str, Action, Value),
}

/// A job that cannot be printed, with what is said of it.
struct Row {
    name: &'static str,
    source: Value,
    more: Value,
    says: (ConditionType, Reason),
    advice: &'static str,
    cure: Cure,
}

fn refused(name: &'static str, source: Value, reason: Reason, advice: &'static str, cure: Cure) -> Row {
    Row { name, source, more: json!({}), says: (ConditionType::Accepted, reason), advice, cure }
}

fn misfit(name: &'static str, file: &str, printer: &str, advice: &'static str, cure: Cure) -> Row {
    let says = (ConditionType::Scheduled, Reason::NoMatchingPrinter);
    let source = map(file, "part.gcode");
    Row { name, source, more: json!({ "printerRef": { "name": printer } }), says, advice, cure }
}

async fn rows(shop: &Shop, server: &WebServer) -> Vec<Row> {
    let whole = part(PRINT);
    let html = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n".to_vec();
    let other_model = String::from_utf8(part(PRINT)).unwrap().replace("COREONE", "MK4S").into_bytes();
    for (name, bytes) in [
        ("bare", b"G28\nG1 X10 Y10 E1\n".to_vec()),
        ("project", SlicedFile::lasting(PRINT).build()),
        ("sliced", sliced("PLA")),
        ("mk4s", other_model),
        ("petg", part_of("PETG", PRINT)),
        ("abs-a1", sliced("ABS")),
    ] {
        shop.farm.add_file(name, bytes).await.unwrap();
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/part.gcode", closed.local_addr().unwrap());
    drop(closed);
    let at = |name: &str, answer: Answer| http(&server.answer(name, answer));
    let good =
        || Cure::Spec(json!({ "source": { "http": null, "configMap": { "name": "part", "key": "part.gcode" } } }));
    let from = |file: &str| Cure::Spec(json!({ "source": map(file, "part.gcode") }));
    let metadata = || "http://169.254.169.254/latest/part.gcode".to_owned();
    let mut rows = vec![
        refused("absent", at("absent", Answer::Absent), Reason::FileNotFound, "/absent", Cure::Serve),
        refused("moved", at("moved", Answer::Redirect(metadata())), Reason::SourceForbidden, "169.254", Cure::Serve),
        refused("large", at("large", Answer::Large(TOO_LARGE)), Reason::FileTooLarge, "slice it smaller", Cure::Serve),
        refused("void", at("void", Answer::File(Vec::new())), Reason::FileEmpty, "slice and upload", Cure::Serve),
        refused("cut", at("cut", Answer::Half(whole.clone())), Reason::SourceUnreachable, "to the end", Cure::Serve),
        refused("login", at("login", Answer::File(html)), Reason::NotAPrintFile, "web page", Cure::Serve),
        refused(
            "torn",
            at("torn", Answer::File(whole[..whole.len() - 60].to_vec())),
            Reason::FileCorrupt,
            "upload it again",
            Cure::Serve,
        ),
        refused("metadata", http(&metadata()), Reason::SourceForbidden, "169.254.169.254", good()),
        refused("nobody", http(&nobody), Reason::SourceUnreachable, "refuses the connection", good()),
        refused(
            "nowhere",
            map("nowhere", "part.gcode"),
            Reason::FileNotFound,
            "create configmap nowhere",
            from("part"),
        ),
        refused(
            "nokey",
            map("part", "other.gcode"),
            Reason::FileNotFound,
            "no key \"other.gcode\"; add it, or correct spec.source.configMap.key: it has only the key \"part.gcode\"",
            from("part"),
        ),
        refused(
            "bare",
            map("bare", "part.gcode"),
            Reason::MachineUnstated,
            "spec.printerRef",
            Cure::Spec(json!({
                "requirements": { "models": ["COREONE"], "materials": ["PLA"] },
            })),
        ),
        refused("project", map("project", "part.gcode"), Reason::Unsliced, "slice it", from("sliced")),
        misfit("mk4s", "mk4s", "prusa-1", "wrong model", from("part")),
        misfit("plain", "part", "bambu-1", "wrong", from("sliced")),
        misfit(
            "petg",
            "petg",
            "prusa-2",
            "no PETG",
            Cure::Load(
                "prusa-2",
                Action::LoadFilament { material: "PETG".into() },
                json!({ "slots": [{ "slot": "Main", "material": "PETG" }] }),
            ),
        ),
        misfit(
            "abs-a1",
            "abs-a1",
            "bambu-2",
            "no ABS",
            Cure::Load(
                "bambu-2",
                Action::ChangeTray { tray: 0, material: "ABS".into(), color: "FFFFFFFF".into() },
                json!({}),
            ),
        ),
    ];
    let digest = refused(
        "digest",
        map("part", "part.gcode"),
        Reason::DigestMismatch,
        "SHA-256",
        Cure::Spec(json!({
            "sha256": null,
        })),
    );
    rows.push(Row { more: json!({ "sha256": "0".repeat(64) }), ..digest });
    let plate = refused(
        "plate",
        map("sliced", "part.gcode"),
        Reason::MissingPlate,
        "only 1",
        Cure::Spec(json!({
            "plate": 1,
        })),
    );
    rows.push(Row { more: json!({ "plate": 2 }), ..plate });
    rows
}

/// Jobs whose printers have no room for their files.
const FULL: [(&str, &str, &str, &str); 2] =
    [("full", "part", "prusa-3", "full"), ("full-a1", "sliced", "bambu-3", "not full")];

/// What the operator has logged.
fn log(shop: &Shop) -> String {
    std::fs::read_to_string(shop.operator.as_ref().unwrap().log()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_cannot_be_printed_say_why_cost_nothing_and_heal_when_corrected() {
    let shop = Shop::open("files", both(3, 3)).await;
    let server = WebServer::start().await;
    let rows = rows(&shop, &server).await;
    let since = Instant::now();
    for row in &rows {
        ask_for(&shop, row.name, row.source.clone(), row.more.clone()).await;
    }
    for (name, file, printer, _) in FULL {
        shop.machine(printer).person(&Action::FillUsb).unwrap();
        ask_for(&shop, name, map(file, "part.gcode"), json!({ "printerRef": { "name": printer } })).await;
    }
    for Row { name, says: (condition, reason), advice, .. } in &rows {
        let status = shop.job_says(name, *condition, *reason).await;
        assert!(status.conditions.is_false(*condition), "{name}");
        let text = message(&status.conditions, *condition);
        assert!(text.contains(advice) && text.len() > 20, "{name}: {text}");
        assert_eq!(status.phase, Some(Phase::Pending), "{name}");
    }
    let before = versions(&shop).await;
    // None of them keeps a good job from its printer.
    for (name, file, printer) in [("good", "part", "prusa-1"), ("good-a1", "sliced", "bambu-1")] {
        ask_for(&shop, name, map(file, "part.gcode"), json!({ "printerRef": { "name": printer } })).await;
        shop.phase(name, Phase::Printing).await;
    }
    assert_eq!(shop.starts("pz-"), 2);
    let after = versions(&shop).await;
    for Row { name, says: (_, reason), .. } in &rows {
        assert_eq!(before[*name], after[*name], "{name} is written again and again: {reason}");
        let most = tries(since.elapsed(), AFTER_FAILURE);
        assert!(server.asked(name) <= most, "{name} was asked for {} times instead of {most}", server.asked(name));
    }
    for (name, _, printer, advice) in FULL {
        let status = shop.job_says(name, ConditionType::Started, Reason::UploadFailed).await;
        let text = message(&status.conditions, ConditionType::Started);
        assert!(text.contains(advice), "{name}: {text}");
        let uploads = log(&shop).lines().filter(|l| l.contains("the upload did not") && l.contains(printer)).count();
        let most = tries(since.elapsed(), AFTER_UPLOAD);
        assert!((1..=most).contains(&uploads), "{name}: {uploads} uploads instead of {most}");
        shop.machine(printer).person(&Action::FreeUsb).unwrap();
    }

    for Row { name, cure, .. } in &rows {
        match cure {
            Cure::Serve => drop(server.answer(name, Answer::File(part(PRINT)))),
            Cure::Spec(spec) => drop(shop.farm.change_job(name, spec.clone()).await.unwrap()),
            Cure::Load(printer, act, spec) => {
                let machine = shop.machine(printer);
                machine.person(act).unwrap();
                if machine.info().bambu.is_some() {
                    // What is loaded stands in full reports, which come every few minutes and with each connection.
                    machine.person(&Action::Reboot { job: AfterPowerCut::Lose }).unwrap();
                }
                shop.farm.change_printer(printer, spec.clone()).await.unwrap();
            }
        }
    }
    for Row { name, .. } in &rows {
        let healed = |s: &printernizer_crds::PrintJobStatus| {
            s.conditions.is_true(ConditionType::Accepted)
                && !s.conditions.has_reason(ConditionType::Scheduled, Reason::NoMatchingPrinter)
                && s.conditions.condition(ConditionType::Scheduled).is_some()
                && s.conditions.condition(ConditionType::Stalled).is_none()
        };
        shop.job(name, "can be printed", healed).await;
    }
    for (name, ..) in FULL {
        shop.phase(name, Phase::Printing).await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_from_a_web_server_is_printed_and_a_changed_one_is_not() {
    let shop = Shop::open("http", Config::prusalink(1).time_scale(20.0)).await;
    let server = WebServer::start().await;
    ask_for(&shop, "clip", http(&server.answer("clip", Answer::File(part(PRINT)))), json!({})).await;
    let status = shop.phase("clip", Phase::Printing).await;
    assert_eq!(status.file.unwrap().printer_model.as_deref(), Some("COREONE"));
    assert!(server.asked("clip") >= 1);

    // What is printed is what was accepted: a file that has changed since is not uploaded.
    shop.print("changed", json!({})).await;
    shop.job_says("changed", ConditionType::Accepted, Reason::FileRead).await;
    let maps: Api<ConfigMap> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let mut map = maps.get("part").await.unwrap();
    map.binary_data = Some([("part.gcode".to_owned(), ByteString(part(1200)))].into());
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
            Event::PhysicalStart { sha256, .. } => Some(sha256),
            _ => None,
        })
        .collect();
    assert_eq!(shas.len(), 2);
    assert_eq!(shas[0], shas[1], "both are the file that was accepted");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_after_its_job_was_accepted_keeps_no_printer_from_others_and_heals() {
    let mut shop = Shop::empty("lost", Config::prusalink(1).time_scale(20.0)).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", part(PRINT)).await.unwrap();
    shop.operate(&[]).await;
    let server = WebServer::start().await;
    let lost = [("changed", part(PRINT + 60)), ("down", part(PRINT + 120)), ("behind", part(PRINT + 240))];
    // Objects of the same second have no order: which of them goes first is said here.
    for ((name, bytes), priority) in lost.iter().zip([20, 10, 5]) {
        let url = server.answer(name, Answer::File(bytes.clone()));
        ask_for(&shop, name, http(&url), json!({ "priority": priority })).await;
    }
    shop.print("other", json!({})).await;
    shop.job_says("other", ConditionType::Accepted, Reason::FileRead).await;
    let mut digests = Vec::new();
    for (name, _) in &lost {
        let status = shop.job_says(name, ConditionType::Accepted, Reason::FileRead).await;
        let sha256 = status.file.unwrap().sha256;
        let cached = format!("cache/{}.{sha256}", shop.farm.namespace());
        std::fs::remove_file(shop.options(&[]).directory.join(cached)).unwrap();
        digests.push(sha256);
    }
    server.answer("changed", Answer::File(part(PRINT + 180)));
    for (name, bytes) in &lost[1..] {
        server.answer(name, Answer::Half(bytes.clone()));
    }

    shop.clear_all().await;
    shop.phase("other", Phase::Printing).await;
    for (name, reason, advice) in
        [("changed", Reason::DigestMismatch, "create a new job"), ("down", Reason::SourceUnreachable, "server is up")]
    {
        let status = shop.job_says(name, ConditionType::Accepted, reason).await;
        let text = message(&status.conditions, ConditionType::Accepted);
        assert!(text.contains(advice) && !text.contains("spec.sha256"), "{name}: {text}");
        assert_eq!((status.waiting_for.as_deref(), status.phase), (Some(reason.as_str()), Some(Phase::Pending)));
        assert_eq!((status.printer, status.avoid, status.refusals), (None, None, 0), "{name}");
    }
    // What one job has learned of the server costs the one behind it no claim, and the printer no time.
    let behind = shop.job_says("behind", ConditionType::Accepted, Reason::FileRead).await;
    assert_eq!((behind.attempt <= 1, server.asked("behind")), (true, 1), "{behind:?}");

    for ((name, bytes), sha256) in lost.iter().zip(&digests) {
        server.answer(name, Answer::File(bytes.clone()));
        let status = shop.job_says(name, ConditionType::Accepted, Reason::FileRead).await;
        assert_eq!(&status.file.unwrap().sha256, sha256, "{name}");
    }
    shop.finish_prints();
    shop.phase("other", Phase::Succeeded).await;
    shop.clear("prusa-1").await;
    shop.phase("changed", Phase::Printing).await;
    shop.close().await;
}
