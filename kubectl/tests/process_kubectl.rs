//! The commands against a real API server, with a running operator and simulated printers: what a person types does what
//! its word says, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions};
use printernizer_simulator::{Config, Fault, FaultKind};
use serde_json::json;
use support::{Bench, PRINT, on, part};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_runs_a_farm_by_commands_alone() {
    let mut bench = Bench::open("commands", Config::prusalink(4).time_scale(20.0)).await;
    bench.run(&["status"]).await.with(0, &["There are no printers and no jobs in namespace commands-"]);
    bench.farm.add_printers().await.unwrap();
    bench.farm.add_file("part", part("PLA")).await.unwrap();
    bench.operate().await;
    for printer in ["prusa-1", "prusa-2", "prusa-3", "prusa-4"] {
        bench.asks_for_its_bed(printer).await;
    }
    let shown = bench.run(&["status"]).await.with(0, &["4 things wait for a person", "NeverConfirmed"]);
    assert!(shown.out.contains(&bench.proposed("clear-bed prusa-3")) && shown.err.is_empty(), "{shown:?}");
    // Side by side, each on printers of its own.
    tokio::join!(Box::pin(a_print(&bench)), Box::pin(held(&bench)), Box::pin(lost(&bench)), Box::pin(reasons(&bench)));
    // Time is skipped for all printers.
    ended(&bench).await;
    bench.close().await;
}

/// A bed is cleared, and what waits for it prints, is paused and goes on.
async fn a_print(bench: &Bench) {
    bench.farm.print("clip", "part", on("prusa-1")).await.unwrap();
    bench.waits_for("clip", "WaitingForBed").await;
    let why = bench.run(&["why", "clip"]).await.with(0, &["Pending, WaitingForBed", "its bed waits to be cleared"]);
    assert!(why.out.contains(&bench.proposed("clear-bed prusa-1")), "{why:?}");

    // Nobody is asked where nobody is, and nothing is written then.
    let asked = bench.run(&["clear-bed", "prusa-1"]).await.with(2, &["nobody has looked yet", "--yes"]);
    let printer = bench.farm.printers().get("prusa-1").await.unwrap();
    assert_eq!(printer.spec.bed.cleared_for, None);
    let id = printer.status.unwrap().bed.unwrap().occupancy_id.unwrap();
    assert!(asked.err.contains(&bench.proposed(&format!("clear-bed prusa-1={id} --yes"))), "{asked:?}");

    let cleared = bench.clear("prusa-1").await.with(0, &["nobody has looked yet"]);
    assert_eq!(cleared.out, "printer.printernizer.io/prusa-1 bed confirmed clear\n");
    bench.phase("clip", Phase::Printing).await;
    bench.run(&["clear-bed", &format!("prusa-1={id}"), "--yes"]).await.with(3, &["a print is running"]);
    bench.run(&["hold", "clip"]).await.with(3, &["`pause` pauses its print"]);

    // A tool that syncs from Git takes nothing back of what was confirmed.
    let printer = bench.farm.printers().get("prusa-1").await.unwrap();
    let written = printer.spec.bed.cleared_for.clone();
    let managers: Vec<_> = printer.metadata.managed_fields.iter().flatten().filter_map(|m| m.manager.clone()).collect();
    assert!(managers.iter().any(|m| m == "printernizer-cli") && !managers.iter().any(|m| m.starts_with("kubectl")));
    let info = bench.farm.simulator().printers().into_iter().find(|i| i.name == "prusa-1").unwrap();
    let synced = bench.farm.add_printer(&info, &info.url, json!({})).await.unwrap();
    assert_eq!((synced.spec.bed.cleared_for, written.is_some()), (written, true));

    bench.run(&["pause", "clip"]).await.with(0, &["printjob.printernizer.io/clip is asked to pause"]);
    bench.phase("clip", Phase::Paused).await;
    bench.run(&["pause", "job/clip"]).await.with(0, &["was asked to pause already"]);
    bench.run(&["why", "clip"]).await.with(0, &["Paused, PausedAsAsked", "kubectl printernizer resume clip"]);
    bench.run(&["resume", "clip"]).await.with(0, &["is asked to go on"]);
    bench.phase("clip", Phase::Printing).await;
}

/// The print comes to its end, and its bed waits.
async fn ended(bench: &Bench) {
    bench.farm.simulator().skip_time(std::time::Duration::from_secs(PRINT));
    bench.phase("clip", Phase::Succeeded).await;
    bench.run(&["cancel", "clip", "--yes"]).await.with(3, &["has ended (Succeeded)"]);
    bench.asks_for_its_bed("prusa-1").await;
    let overview: serde_json::Value =
        serde_json::from_str(&bench.run(&["status", "-o", "json"]).await.with(0, &[]).out).unwrap();
    let bed = overview["needs"].as_array().unwrap().iter().find(|n| n["command"] == "clear-bed prusa-1").unwrap();
    assert!(bed["what"].as_str().unwrap().contains("\"clip\""), "{bed}");
}

/// A job and a printer are held and released; then the job is stopped.
async fn held(bench: &Bench) {
    bench.farm.print("next", "part", on("prusa-2")).await.unwrap();
    bench.waits_for("next", "WaitingForBed").await;
    bench.run(&["pause", "next"]).await.with(3, &["`hold` keeps it from starting"]);
    bench.run(&["hold", "next"]).await.with(0, &["printjob.printernizer.io/next held"]);
    bench.phase("next", Phase::Held).await;
    let why = bench.run(&["why", "next"]).await.with(0, &["Held, Held"]);
    assert!(why.out.contains(&bench.proposed("release next")), "{why:?}");
    bench.run(&["release", "next"]).await.with(0, &["printjob.printernizer.io/next released"]);
    bench.waits_for("next", "WaitingForBed").await;

    let held = ["hold", "printer/prusa-2", "--reason", "new belt"];
    bench.run(&held).await.with(0, &["printer.printernizer.io/prusa-2 held: it gets no new jobs"]);
    bench.clear("prusa-2").await.with(0, &["bed confirmed clear"]);
    bench.waits_for("next", "WaitingForPrinter").await;
    let why = bench.run(&["why", "next"]).await.with(0, &["it is held: new belt"]);
    assert!(!why.out.contains("release printer/"), "somebody holds it: {why:?}");
    bench.run(&["release", "printer/prusa-2"]).await.with(0, &["printer.printernizer.io/prusa-2 released"]);
    bench.phase("next", Phase::Printing).await;
    bench.run(&["cancel", "next"]).await.with(2, &["Printing", "--yes"]);
    bench.run(&["cancel", "next", "--yes", "-o", "name"]).await.with(0, &["printjob.printernizer.io/next\n"]);
    bench.phase("next", Phase::Cancelled).await;
}

/// A start is lost, a person says so, and the job prints with its next attempt.
async fn lost(bench: &Bench) {
    let machine = bench.farm.machine("prusa-3").unwrap();
    machine.fault(Fault::once(FaultKind::DropBeforeHandling).on("POST", "/api/v1/files/usb/"));
    bench.farm.print("lost", "part", on("prusa-3")).await.unwrap();
    bench.waits_for("lost", "WaitingForBed").await;
    bench.clear("prusa-3").await.with(0, &[]);
    bench.job("lost", "is asked about", |s| s.conditions.is_true(ConditionType::OutcomeUnknown)).await;
    let evidence = bench.run(&["outcome", "lost"]).await.with(0, &["shows no sign of it", "Seen printing", "never"]);
    for answer in ["succeeded", "failed", "not-printed"] {
        assert!(evidence.out.contains(&bench.proposed(&format!("outcome lost {answer}"))), "{evidence:?}");
    }
    bench.run(&["outcome", "lost", "not-printed"]).await.with(2, &["shows no sign of it", "--yes"]);
    let answered = bench.run(&["outcome", "lost", "not-printed", "--yes"]).await.with(0, &[]);
    assert_eq!(answered.out, "printjob.printernizer.io/lost answered\n");
    // Only a person knows now what lies on the bed.
    bench.asks_for_its_bed("prusa-3").await;
    bench.clear("prusa-3").await.with(0, &["perhaps"]);
    let printing = bench.phase("lost", Phase::Printing).await;
    assert_eq!(printing.status.unwrap().attempt, 2);
    bench.run(&["outcome", "lost", "failed", "--yes"]).await.with(3, &["nothing is asked (it is Printing"]);
    bench.run(&["cancel", "lost", "--yes"]).await.with(0, &[]);
    bench.phase("lost", Phase::Cancelled).await;
}

/// Jobs that wait or have ended for reasons of their own: each is told with what a person must know.
async fn reasons(bench: &Bench) {
    bench.farm.add_file("petg", part("PETG")).await.unwrap();
    bench.farm.add_file("page", b"<!DOCTYPE html><html>log in</html>".to_vec()).await.unwrap();
    bench.run(&["hold", "printer/prusa-4"]).await.with(0, &[]);
    let copy = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob",
        "metadata": { "name": "copy", "annotations": { "printernizer.io/run": "another" } },
        "spec": { "source": { "configMap": { "name": "part", "key": "part.gcode" } } },
    });
    bench.farm.jobs().create(&kube::api::PostParams::default(), &serde_json::from_value(copy).unwrap()).await.unwrap();
    let coarse =
        json!({ "printerRef": { "name": "prusa-4" }, "requirements": { "nozzle": { "diameterMicrometers": 600 } } });
    let shelf = json!({ "printerSelector": { "matchLabels": { "shelf": "3" } } });
    let past = json!({ "printerRef": { "name": "prusa-4" }, "notAfter": "2026-01-01T00:00:00Z" });
    let low = json!({ "printerRef": { "name": "prusa-4" }, "priority": -1 });
    for (job, file, spec, reason, words) in [
        ("petg", "petg", json!({}), "NoMatchingPrinter", &["4 printers: 4 no PETG", "prusa-2  no    no PETG"][..]),
        ("elsewhere", "part", on("prusa-9"), "NoMatchingPrinter", &["printer prusa-9 does not exist"]),
        ("coarse", "part", coarse, "NoMatchingPrinter", &["wrong nozzle (has 0.4 mm; the job wants 0.6 mm)"]),
        ("shelf", "part", shelf, "NoMatchingPrinter", &["without the labels of spec.printerSelector"]),
        ("missing", "nothing", json!({}), "FileNotFound", &["Pending, FileNotFound"]),
        ("page", "page", json!({}), "NotAPrintFile", &["Pending, NotAPrintFile"]),
        ("kept", "part", json!({ "desiredState": "Pause" }), "Held", &["Held, Held", "release kept"]),
        ("first", "part", on("prusa-4"), "WaitingForPrinter", &["it is held (spec.unschedulable)"]),
        ("second", "part", low, "Queued", &["Pending, Queued", "before it"]),
        ("copy", "", json!({}), "CopyOfPrintedJob", &["Pending, CopyOfPrintedJob", "runID"]),
        ("late", "part", past, "DeadlineExceeded", &["Failed, DeadlineExceeded"]),
        ("gone", "part", json!({ "desiredState": "Cancel" }), "Cancelled", &["Cancelled, Cancelled"]),
    ] {
        if !file.is_empty() {
            bench.farm.print(job, file, spec).await.unwrap();
        }
        let says = |s: &printernizer_crds::PrintJobStatus| {
            let failed = s.conditions.condition(ConditionType::Failed).filter(|c| c.status == "True");
            s.waiting_for.as_deref() == Some(reason) || failed.is_some_and(|c| c.reason == reason)
        };
        bench.job(job, reason, says).await;
        bench.run(&["why", job]).await.with(0, &[job, reason]).with(0, words);
    }
    for job in ["first", "second"] {
        bench.run(&["cancel", job, "--yes"]).await.with(0, &["is asked to stop for good"]);
        bench.phase(job, Phase::Cancelled).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn printers_of_both_kinds_are_added_tried_and_found_usable() {
    let mut config = Config::prusalink(2);
    config.printers.extend(Config::bambu(1).printers);
    let mut bench = Bench::open("adding", config).await;
    bench.operate().await;
    let infos = bench.farm.simulator().printers();
    let prusa = infos.iter().find(|i| i.name == "prusa-1").unwrap();
    let password = prusa.password.as_str();

    let add = ["add-printer", "prusa-1", "--kind", "prusalink", "--address", &prusa.url, "--secret-file", "-"];
    let wrong = bench.run_with(&[&add[..], &["--yes"]].concat(), "wrong").await.with(1, &["refuses the login"]);
    assert!(!wrong.err.contains("wrong\n"), "{wrong:?}");
    nothing_of(&bench, "prusa-1").await;

    let good = [
        &add[..],
        &[
            "--model",
            "Prusa CORE One",
            "--material",
            "PLA",
            "--nozzle",
            "0.4",
            "--location",
            "shelf 3",
            "--wait",
            "180s",
        ],
    ]
    .concat();
    bench.run_with(&good, password).await.with(2, &["--yes", "Prusa CORE One", &prusa.serial_number]);
    nothing_of(&bench, "prusa-1").await;
    let dry = bench.run_with(&[&good[..], &["--dry-run"]].concat(), password).await.with(0, &["kind: Printer"]);
    assert!(!format!("{dry:?}").contains(password) && dry.err.contains("printernizer.io/usage"), "{dry:?}");
    nothing_of(&bench, "prusa-1").await;
    let added = bench.run_with(&[&good[..], &["--yes"]].concat(), password).await.with(0, &["The operator can use it"]);
    assert_eq!(added.out, "secret/prusa-1 written\nprinter.printernizer.io/prusa-1 created\n");
    assert!(!format!("{added:?}").contains(password) && added.err.contains(&bench.proposed("clear-bed prusa-1")));
    bench.run_with(&[&good[..], &["--yes"]].concat(), password).await.with(3, &["there is a printer prusa-1 already"]);
    let again = [&["add-printer", "twin"][..], &good[2..], &["--yes"]].concat();
    bench.run_with(&again, password).await.with(3, &["printer prusa-1 stands for the device"]);
    nothing_of(&bench, "twin").await;
    bench.run(&["clear-bed", "--location", "shelf 4"]).await.with(3, &["locations are: shelf 3"]);
    bench.run(&["clear-bed", "--location", "shelf 3"]).await.with(2, &["prusa-1", "--yes"]);
    bench.clear("prusa-1").await.with(0, &["prusa-1 bed confirmed clear"]);
    // An older Secret is not written over unasked.
    let second = infos.iter().find(|i| i.name == "prusa-2").unwrap();
    let taken =
        ["add-printer", "prusa-2", "--kind", "prusalink", "--address", &second.url, "--secret-file", "-", "--yes"];
    let taken = [&taken[..], &["--model", "COREONE", "--secret-name", "prusa-1", "--wait", "0"]].concat();
    bench.run_with(&taken, second.password.as_str()).await.with(3, &["there is a Secret prusa-1 already"]);
    assert!(bench.farm.printers().get_opt("prusa-2").await.unwrap().is_none());

    let a1 = infos.iter().find(|i| i.bambu.is_some()).unwrap();
    let bambu = a1.bambu.as_ref().unwrap();
    let (mqtt, ftps) = (bambu.mqtt_port.to_string(), bambu.ftps_port.to_string());
    let add = ["add-printer", "a1", "--kind", "bambu", "--address", &bambu.host, "--mqtt-port", &mqtt];
    let add = [&add[..], &["--ftps-port", &ftps, "--secret-file", "-", "--yes", "--wait", "180s"]].concat();
    let code = bambu.access_code.as_str();
    bench.run_with(&add, code).await.with(2, &["compare with its screen", &a1.serial_number]);
    let add = [&add[..], &["--serial-number", &a1.serial_number]].concat();
    let told = bench.run_with(&add, code).await.with(3, &["--public-key-sha256", &bambu.public_key_sha256]);
    assert!(!format!("{told:?}").contains(code), "{told:?}");
    nothing_of(&bench, "a1").await;
    let add = [&add[..], &["--public-key-sha256", &bambu.public_key_sha256]].concat();
    bench.run_with(&add, "99999999").await.with(1, &["refuses the access code"]);
    nothing_of(&bench, "a1").await;
    let added = bench.run_with(&add, code).await.with(0, &["The operator can use it", "AMS1-1 PLA"]);
    assert!(!format!("{added:?}").contains(code), "{added:?}");
    let printer = bench.farm.printers().get("a1").await.unwrap();
    assert_eq!(printer.spec.model, "Bambu Lab A1");
    bench.close().await;
}

/// Neither a Printer nor a Secret of this name was written.
async fn nothing_of(bench: &Bench, name: &str) {
    let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
        kube::Api::namespaced(bench.farm.client(), bench.farm.namespace());
    assert!(
        secrets.get_opt(name).await.unwrap().is_none() && bench.farm.printers().get_opt(name).await.unwrap().is_none()
    );
}
