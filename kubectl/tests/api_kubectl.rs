//! The commands against a real API server without an operator: what is refused, denied, missing, not reached, and changed by
//! others in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use clap::Parser as _;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use printernizer_kubectl::arguments::Arguments;
use printernizer_kubectl::cluster::Cluster;
use printernizer_kubectl::error::Error;
use printernizer_kubectl::output::Paint;
use printernizer_kubectl::person::Person;
use printernizer_kubectl::run::{Session, command};
use printernizer_simulator::Config;
use secrecy::SecretString;
use serde_json::{Value, json};
use support::{Bench, program};

/// Adds a printer whose bed waits, and the status an operator would have written.
async fn occupied(bench: &Bench, name: &str, id: &str) {
    let printer = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": name },
        "spec": { "model": "Prusa CORE One", "connection": { "prusaLink": {
            "url": "http://192.168.1.51", "credentialsSecretRef": { "name": name } } } },
    });
    bench.farm.printers().create(&PostParams::default(), &serde_json::from_value(printer).unwrap()).await.unwrap();
    on_bed(bench, name, id, "Shelf hook").await;
}

async fn on_bed(bench: &Bench, name: &str, id: &str, part: &str) {
    let status = json!({ "status": {
        "bed": { "occupancyID": id, "displayName": part, "since": "2026-11-22T11:48:00Z" },
        "conditions": [{ "type": "BedCleared", "status": "False", "reason": "PartOnBed", "message": "it lies there",
                         "lastTransitionTime": "2026-11-22T11:48:00Z" }],
    } });
    let params = PatchParams::default();
    bench.farm.printers().patch_status(name, &params, &Patch::Merge(status)).await.unwrap();
}

async fn cleared_for(bench: &Bench, name: &str) -> Option<String> {
    bench.farm.printers().get(name).await.unwrap().spec.bed.cleared_for
}

/// Somebody who says yes, after something else has happened.
struct After<F>(F);

impl<F: Future<Output = ()>, G: Fn() -> F> Person for After<G> {
    fn is_there(&self) -> bool {
        true
    }

    fn ask(&mut self, _: &str) -> Result<String, Error> {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on((self.0)()));
        Ok("y".to_owned())
    }

    fn ask_secret(&mut self, _: &str) -> Result<SecretString, Error> {
        panic!("no secret is asked for")
    }
}

/// Carries out a command with this person at the terminal; gives what it said.
async fn carried_out(bench: &Bench, line: &str, person: &mut dyn Person) -> (Result<(), u8>, String) {
    let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
    let (mut out, mut aside) = (Vec::new(), Vec::new());
    let session = Session {
        cluster: Cluster::new(bench.farm.client(), bench.farm.namespace()),
        out: &mut out,
        aside: &mut aside,
        person,
        paint: Paint::default(),
        now: "2026-11-22T12:00:00Z".parse().unwrap(),
        named_namespace: None,
    };
    let result = command(session, &arguments.command).await;
    let said = String::from_utf8(out).unwrap() + &String::from_utf8(aside).unwrap();
    (result.map_err(|e| e.code()), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bed_is_confirmed_for_what_was_shown_and_for_nothing_else() {
    let bench = Bench::open("conflicts", Config::prusalink(0)).await;
    occupied(&bench, "same", "0000000001").await;
    occupied(&bench, "other", "0000000002").await;

    // Another has written the object while the person looked, but the same part lies there.
    let touch = || async {
        let label = Patch::Merge(json!({ "metadata": { "labels": { "shelf": "3" } } }));
        bench.farm.printers().patch("same", &PatchParams::default(), &label).await.unwrap();
    };
    let (result, said) = carried_out(&bench, "x clear-bed same", &mut After(touch)).await;
    assert_eq!(result, Ok(()), "{said}");
    assert!(said.contains("\"Shelf hook\"") && said.contains("same bed confirmed clear"), "{said}");
    assert_eq!(cleared_for(&bench, "same").await.as_deref(), Some("0000000001"));

    // Another print lies there by the time of the answer.
    let next = || on_bed(&bench, "other", "0000000003", "Cable clip");
    let (result, said) = carried_out(&bench, "x clear-bed other", &mut After(next)).await;
    assert_eq!(result, Err(3), "{said}");
    assert!(said.contains("has changed since it was shown") && said.contains("Cable clip"), "{said}");
    assert_eq!(cleared_for(&bench, "other").await, None);

    // Somebody put another Printer in its place.
    let replaced = || async {
        bench.farm.printers().delete("other", &kube::api::DeleteParams::default()).await.unwrap();
        bench
            .until("it is gone", async || bench.farm.printers().get_opt("other").await.unwrap().is_none().then_some(()))
            .await;
        occupied(&bench, "other", "0000000004").await;
    };
    let (result, said) = carried_out(&bench, "x clear-bed other", &mut After(replaced)).await;
    assert_eq!(result, Err(3), "{said}");
    assert_eq!(cleared_for(&bench, "other").await, None);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_to_the_question_that_was_shown() {
    let bench = Bench::open("questions", Config::prusalink(0)).await;
    let job = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "clip" },
        "spec": { "source": { "configMap": { "name": "part", "key": "part.gcode" } } },
    });
    bench.farm.jobs().create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
    let ask = |id: &'static str, words: &'static str| {
        let status = json!({ "status": {
            "phase": "AttentionNeeded",
            "question": { "id": id, "reason": "NoSignOfStart", "shown": { "state": "Idle" } },
            "conditions": [{ "type": "OutcomeUnknown", "status": "True", "reason": "NoSignOfStart", "message": words,
                             "lastTransitionTime": "2026-11-22T11:48:00Z" }],
        } });
        let jobs = bench.farm.jobs();
        async move {
            jobs.patch_status("clip", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        }
    };
    ask("1", "no sign of it").await;
    let (result, said) =
        carried_out(&bench, "x outcome clip failed", &mut After(|| ask("2", "another print runs"))).await;
    assert_eq!(result, Err(3), "{said}");
    assert!(said.contains("no sign of it"), "{said}");
    assert_eq!(bench.farm.jobs().get("clip").await.unwrap().spec.outcome, None);
    let (result, said) = carried_out(&bench, "x outcome clip failed", &mut After(|| async {})).await;
    assert_eq!(result, Ok(()), "{said}");
    let written = serde_json::to_value(bench.farm.jobs().get("clip").await.unwrap().spec.outcome).unwrap();
    assert_eq!(written, json!({ "questionID": "2", "answer": "Failed" }));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_keeps_a_command_from_its_work_is_told_with_what_to_do() {
    let bench = Bench::open("refusals", Config::prusalink(0)).await;
    bench
        .run(&["clear-bed", "prusa-9", "-y"])
        .await
        .with(1, &["there is no printer prusa-9", "there are no printers in it"]);
    occupied(&bench, "prusa-1", "0000000001").await;
    bench.run(&["clear-bed", "prusa-9", "-y"]).await.with(1, &["; there are: prusa-1"]);
    bench.run(&["why", "clip"]).await.with(1, &["there is no job clip", "there are no jobs in it"]);
    bench.run(&["hold", "pod/a"]).await.with(2, &["neither a job nor a printer"]);
    bench.run(&["clear-bed"]).await.with(2, &["--all"]);
    bench.run(&["frobnicate"]).await.with(2, &["frobnicate"]);
    bench.run(&["status", "--context", "nowhere"]).await.with(1, &["kubeconfig", "nowhere"]);
    bench.run(&["status"]).await.with(0, &["1 printer", "prusa-1", "\"Shelf hook\""]);
    bench.run(&["status", "-o", "name"]).await.with(0, &["printer.printernizer.io/prusa-1\n"]);

    // Nobody listens there.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let file = bench.directory().join("closed.yaml");
    std::fs::write(&file, kubeconfig(&format!("http://{closed}"))).unwrap();
    let far = ["status", "--kubeconfig", file.to_str().unwrap()];
    program(env!("CARGO_BIN_EXE_kubectl-printernizer"), &far, "").await.with(1, &["does not answer", "cluster-info"]);
    // Somebody listens, and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    std::fs::write(&file, kubeconfig(&format!("http://{}", silent.local_addr().unwrap()))).unwrap();
    let far = [&far[..], &["--request-timeout", "1s"]].concat();
    program(env!("CARGO_BIN_EXE_kubectl-printernizer"), &far, "").await.with(1, &["within 1 s", "--request-timeout"]);

    let words =
        ["--kubeconfig", bench.cluster.kubeconfig().to_str().unwrap(), "-n", bench.farm.namespace(), "clear-bed", ""];
    let told = program(env!("CARGO_BIN_EXE_kubectl_complete-printernizer"), &words, "").await.with(0, &[]);
    assert_eq!(told.out, "prusa-1\t\"Shelf hook\"\n:4\n");
    bench.close().await;
}

fn kubeconfig(server: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "far",
        "clusters": [{ "name": "far", "cluster": { "server": server } }],
        "users": [{ "name": "far", "user": {} }],
        "contexts": [{ "name": "far", "context": { "cluster": "far", "user": "far" } }],
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_needs_the_rights_that_the_documentation_lists_and_no_others() {
    let bench = Bench::open("rights", Config::prusalink(0)).await;
    occupied(&bench, "prusa-1", "0000000001").await;
    bench.run(&["status", "--as", "nobody"]).await.with(1, &["you have no right", "list the printers", "`view`"]);

    grant(
        &bench,
        "viewer",
        json!([{ "apiGroups": ["printernizer.io"], "resources": ["printers", "printjobs"],
        "verbs": ["get", "list"] }]),
    )
    .await;
    bench
        .until("the rights count", async || (bench.run(&["status", "--as", "viewer"]).await.code == 0).then_some(()))
        .await;
    let clear = ["clear-bed", "prusa-1", "--yes", "--as"];
    bench.run(&[&clear[..], &["viewer"]].concat()).await.with(1, &["you have no right", "patch", "`edit`"]);
    assert_eq!(cleared_for(&bench, "prusa-1").await, None);

    grant(
        &bench,
        "maker",
        json!([{ "apiGroups": ["printernizer.io"], "resources": ["printers", "printjobs"],
        "verbs": ["get", "list", "patch"] }]),
    )
    .await;
    bench
        .until("the rights count", async || (bench.run(&["status", "--as", "maker"]).await.code == 0).then_some(()))
        .await;
    bench.run(&[&clear[..], &["maker"]].concat()).await.with(0, &["bed confirmed clear"]);
    bench.run(&["hold", "printer/prusa-1", "--as", "maker"]).await.with(0, &["held"]);

    // A Printer without the right to its Secret: neither is left behind.
    let add =
        ["add-printer", "prusa-2", "--kind", "prusalink", "--address", "192.168.1.52", "--model", "Prusa CORE One"];
    let add = [&add[..], &["--no-probe", "--secret-file", "-", "--yes", "--wait", "0", "--as"]].concat();
    bench.run_with(&[&add[..], &["maker"]].concat(), "hush-hush").await.with(1, &["you have no right", "create"]);
    let creates = json!([
        { "apiGroups": ["printernizer.io"], "resources": ["printers", "printjobs"], "verbs": ["get", "list", "create"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] },
    ]);
    grant(&bench, "adder", creates).await;
    bench
        .until("the rights count", async || (bench.run(&["status", "--as", "adder"]).await.code == 0).then_some(()))
        .await;
    let added = bench.run_with(&[&add[..], &["adder"]].concat(), "hush-hush").await.with(0, &["prusa-2 created"]);
    assert!(!format!("{added:?}").contains("hush-hush"), "{added:?}");
    bench.close().await;
}

/// Gives this person these rights in the namespace.
async fn grant(bench: &Bench, user: &str, rules: Value) {
    let metadata = json!({ "name": user });
    let role: Role = serde_json::from_value(json!({ "metadata": metadata, "rules": rules })).unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    }))
    .unwrap();
    let (client, namespace) = (bench.farm.client(), bench.farm.namespace());
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &role).await.unwrap();
    Api::namespaced(client, namespace).create(&PostParams::default(), &binding).await.unwrap();
}
