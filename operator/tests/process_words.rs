//! What the operator tells people, and what it never tells: the story of a job, and the passwords of printers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, PrintRecord, Reason};
use printernizer_simulator::{Config, Fault, FaultKind, Password};
use serde_json::json;
use support::{SOON, Shop};

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_describe_tells_the_story_of_a_job() {
    let shop = Shop::open("story", Config::prusalink(1).time_scale(20.0)).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    let events: Api<Event> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let told = printernizer_e2e::wait_until("the whole story is told", SOON, async || {
        let mut all = events.list(&ListParams::default()).await.map_err(|e| vec![e.to_string()])?.items;
        all.retain(|e| e.regarding.as_ref().is_some_and(|o| o.kind.as_deref() == Some("PrintJob")));
        all.sort_by_key(|e| e.event_time.clone().map(|t| t.0));
        let reasons: Vec<String> = all.iter().filter_map(|e| e.reason.clone()).collect();
        if reasons.last().map(String::as_str) == Some("PrintSucceeded") { Ok(all) } else { Err(reasons) }
    })
    .await
    .unwrap();
    let mut reasons: Vec<&str> = told.iter().filter_map(|e| e.reason.as_deref()).collect();
    // Whether the job is seen waiting for a printer, or for the print to show, depends on who looks first.
    reasons.retain(|r| !["Queued", "StartSent"].contains(r));
    assert_eq!(
        reasons,
        ["FetchingFile", "FileRead", "Assigned", "Uploading", "StartPending", "PrintSeen", "PrintSucceeded"]
    );
    assert!(told.iter().all(|e| e.type_.as_deref() == Some("Normal")), "nothing to warn of");
    let text = kubectl(&shop, &["describe", "printjob", "clip"]).await;
    for words in ["FileRead", "sliced for COREONE", "Assigned", "given to printer prusa-1", "PrintSucceeded"] {
        assert!(text.contains(words), "{words} is missing\n{text}");
    }
    shop.close().await;
}

async fn kubectl(shop: &Shop, arguments: &[&str]) -> String {
    let mut kubectl = shop.cluster.kubectl();
    kubectl.args(arguments).args(["--namespace", shop.farm.namespace()]);
    let output = tokio::task::spawn_blocking(move || kubectl.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wide_table_says_in_words_why_each_job_waits() {
    let mut shop = Shop::empty("table", Config::prusalink(2).time_scale(20.0)).await;
    shop.farm.add_printers().await.unwrap();
    for printer in ["prusa-1", "prusa-2"] {
        let nozzle = json!({ "capabilities": { "nozzle": { "hardened": false } } });
        shop.farm.change_printer(printer, nozzle).await.unwrap();
    }
    let plain = String::from_utf8(support::part(support::PRINT)).unwrap();
    let with = |line: &str| plain.replace("; nozzle_diameter = 0.4", &format!("; nozzle_diameter = 0.4\n; {line}"));
    let files = [
        ("part", plain.clone()),
        ("petg", plain.replace("= PLA", "= PETG")),
        ("carbon", with("filament_abrasive = 1")),
        ("tower", with("max_layer_z = 300.00")),
        ("odd", plain.replace("COREONE", "COREONNE")),
    ];
    for (name, file) in &files {
        shop.farm.add_file(name, file.clone().into_bytes()).await.unwrap();
    }
    for (job, file, spec) in [
        ("next", "part", json!({ "priority": 1 })),
        ("later", "part", json!({})),
        ("held", "part", json!({ "desiredState": "Pause" })),
        ("petg", "petg", json!({})),
        ("carbon", "carbon", json!({})),
        ("tower", "tower", json!({})),
        ("odd", "odd", json!({})),
        ("elsewhere", "part", json!({ "printerRef": { "name": "prusa-9" } })),
        ("cellar", "part", json!({ "printerSelector": { "matchLabels": { "room": "cellar" } } })),
    ] {
        shop.farm.print(job, file, spec).await.unwrap();
    }
    shop.operate(&[]).await;
    let rows = [
        (
            "next",
            "WaitingForBed",
            "the next job for prusa-1 (bed not confirmed clear) or prusa-2 (bed not confirmed clear)",
        ),
        ("later", "Queued", "waiting for a printer that fits and is free"),
        ("held", "Held", "held back: set spec.desiredState to Run to print it"),
        ("petg", "NoMatchingPrinter", "2 printers: 2 no PETG"),
        ("carbon", "NoMatchingPrinter", "2 printers: 2 nozzle not hardened (the filament is abrasive)"),
        ("tower", "NoMatchingPrinter", "2 printers: 2 too low for the part (has 270 mm)"),
        ("odd", "NoMatchingPrinter", "did you mean Prusa CORE One?"),
        ("elsewhere", "NoMatchingPrinter", "printer prusa-9 does not exist in this namespace"),
        ("cellar", "NoMatchingPrinter", "2 printers: 2 without the labels of spec.printerSelector"),
    ];
    for (job, reason, words) in rows {
        let told = |s: &printernizer_crds::PrintJobStatus| {
            s.waiting_for.as_deref() == Some(reason) && s.message.as_ref().is_some_and(|m| m.contains(words))
        };
        shop.job(job, &format!("waits for {reason}: {words}"), told).await;
    }
    let table = kubectl(&shop, &["get", "printjobs", "--output", "wide"]).await;
    println!("{table}");
    for (job, reason, words) in rows {
        let row = table.lines().find(|line| line.split_whitespace().next() == Some(job)).unwrap();
        assert!(row.contains(&format!(" {reason} ")) && row.contains(words), "{table}");
    }
    for job in ["next", "petg", "held"] {
        let text = kubectl(&shop, &["describe", "printjob", job]).await;
        println!("{text}");
        let (_, _, words) = rows.into_iter().find(|(name, ..)| *name == job).unwrap();
        assert!(text.contains(words), "{text}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_in_vain_and_contradictions_are_warned_of() {
    let mut shop = Shop::empty("vain", Config::prusalink(1).time_scale(20.0)).await;
    let info = shop.farm.simulator().printers().remove(0);
    let spec = json!({
        "bed": { "clearedFor": "deadbeef" }, "capabilities": { "nozzle": { "diameterMicrometers": 800 } },
    });
    shop.farm.add_printer(&info, &info.url, spec).await.unwrap();
    shop.operate(&[]).await;
    let status = shop.printer_says("prusa-1", ConditionType::SpecMatchesDevice, Reason::Contradicted).await;
    let told = status.conditions.iter().find(|c| c.reason == "Contradicted").unwrap();
    assert!(told.message.contains("0.8 mm") && told.message.contains("0.4 mm"), "{}", told.message);
    let events: Api<Event> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let expected = [("Contradicted", "0.4 mm"), ("NeverConfirmed", "spec.bed.clearedFor is deadbeef")];
    printernizer_e2e::wait_until("both are warned of", SOON, async || {
        let all = events.list(&ListParams::default()).await.map_err(|e| vec![Some(e.to_string())])?.items;
        let warned = |reason: &str, text: &str| {
            all.iter().any(|e| {
                e.type_.as_deref() == Some("Warning")
                    && e.reason.as_deref() == Some(reason)
                    && e.note.as_deref().is_some_and(|n| n.contains(text))
            })
        };
        let missing = expected.iter().any(|(reason, text)| !warned(reason, text));
        if missing { Err(all.into_iter().map(|e| e.note).collect::<Vec<_>>()) } else { Ok(()) }
    })
    .await
    .unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_told_to_nobody_but_the_printer() {
    const PASSWORD: &str = "q7Zr-geheim-9vLx";
    const TYPO: &str = "q7Zr-tippfehler-9vLx";
    let mut config = Config::prusalink(3).time_scale(20.0);
    for printer in &mut config.printers {
        printer.password = Some(Password::new(PASSWORD));
    }
    let mut shop = Shop::empty("secrets", config).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    // One printer has another password than its Secret, one lies, one drops answers: errors of all kinds are told.
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let typo = kube::api::Patch::Merge(json!({ "stringData": { "password": TYPO } }));
    secrets.patch("prusa-2", &kube::api::PatchParams::default(), &typo).await.unwrap();
    let machine = shop.machine("prusa-3");
    machine.fault(Fault { count: Some(3), ..Fault::once(FaultKind::Answer { status: 500 }) });
    machine.fault(Fault::once(FaultKind::DropAfterHandling).on("PUT", "/usb/"));
    machine.fault(Fault::once(FaultKind::Answer { status: 409 }).on("POST", "/usb/"));
    shop.operate(&[]).await;
    shop.printer_says("prusa-2", ConditionType::Authorized, Reason::CredentialsRefused).await;
    shop.clear("prusa-1").await;
    shop.clear("prusa-3").await;
    shop.print("one", json!({ "printerRef": { "name": "prusa-1" } })).await;
    shop.print("three", json!({ "printerRef": { "name": "prusa-3" } })).await;
    shop.phase("one", Phase::Printing).await;
    shop.printer_says("prusa-3", ConditionType::Trusted, Reason::StartRefused).await;
    shop.finish_prints();
    shop.phase("one", Phase::Succeeded).await;

    let operator = shop.operator.as_ref().unwrap();
    let everything = ListParams::default();
    let events: Api<Event> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let records: Api<PrintRecord> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let told = [
        ("log", std::fs::read_to_string(operator.log()).unwrap()),
        ("metrics", operator.metrics().await.unwrap()),
        ("events", serde_json::to_string(&events.list(&everything).await.unwrap().items).unwrap()),
        ("printers", serde_json::to_string(&shop.farm.printers().list(&everything).await.unwrap().items).unwrap()),
        ("jobs", serde_json::to_string(&shop.farm.jobs().list(&everything).await.unwrap().items).unwrap()),
        ("records", serde_json::to_string(&records.list(&everything).await.unwrap().items).unwrap()),
    ];
    for (what, text) in &told[..5] {
        assert!(text.len() > 200, "{what} is too short to say anything: {text}");
    }
    for (what, text) in told {
        // The middle of each, so that neither a prefix nor base64 of the whole hides it.
        for secret in ["geheim", "tippfehler", "cTdaci1nZWhlaW0t", "cTdaci10aXBwZmVobGVy"] {
            assert!(!text.contains(secret), "{what} contains {secret}");
        }
    }
    shop.close().await;
}
