//! The commands against a real API server without an operator: what is refused, denied, missing, not reached, and changed by
//! others in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use clap::Parser as _;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use printernizer_crds::print_job::DesiredState;
use printernizer_kubectl::arguments::Arguments;
use printernizer_kubectl::cluster::Cluster;
use printernizer_kubectl::error::Error;
use printernizer_kubectl::objects::Flags;
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
        paint_aside: Paint::default(),
        now: "2026-11-22T12:00:00Z".parse().unwrap(),
        flags: Flags::default(),
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

    // What nobody is shown is confirmed by its id alone.
    bench.run(&["clear-bed", "--all", "--yes"]).await.with(2, &["PRINTER=ID"]);
    bench.run(&["clear-bed", "other", "--yes"]).await.with(2, &["other=ID"]);
    bench.run(&["clear-bed", "other=0000000009", "--yes"]).await.with(3, &["has changed", "0000000002"]);
    assert_eq!(cleared_for(&bench, "other").await, None);

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
async fn only_the_job_that_was_shown_is_stopped_and_nothing_before_all_names_are_understood() {
    let bench = Bench::open("stopping", Config::prusalink(0)).await;
    let make = async |name: &str| {
        let job = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": name },
            "spec": { "source": { "configMap": { "name": "part", "key": "part.gcode" } } },
        });
        bench.farm.jobs().create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
    };
    let wanted = async |name: &str| bench.farm.jobs().get(name).await.unwrap().spec.desired_state;
    make("clip").await;

    // Its print began while the person looked.
    let begins = || async {
        let status = json!({ "status": { "phase": "Printing", "startTime": "2026-11-22T11:59:00Z" } });
        bench.farm.jobs().patch_status("clip", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    };
    let (result, said) = carried_out(&bench, "x cancel clip", &mut After(begins)).await;
    assert_eq!((result, wanted("clip").await), (Err(3), DesiredState::Run), "{said}");
    assert!(said.contains("its print has started since it was shown"), "{said}");

    // Somebody put another job in its place.
    let replaced = || async {
        bench.farm.jobs().delete("clip", &kube::api::DeleteParams::default()).await.unwrap();
        bench
            .until("it is gone", async || bench.farm.jobs().get_opt("clip").await.unwrap().is_none().then_some(()))
            .await;
        make("clip").await;
        begins().await;
    };
    let (result, said) = carried_out(&bench, "x cancel clip", &mut After(replaced)).await;
    assert_eq!((result, wanted("clip").await), (Err(3), DesiredState::Run), "{said}");
    assert!(said.contains("another has its name"), "{said}");

    make("next").await;
    bench.run(&["hold", "next", "pod/a"]).await.with(2, &["neither a job nor a printer"]);
    assert_eq!(wanted("next").await, DesiredState::Run);
    // One was written, so it is not said that nothing was.
    bench.run(&["hold", "next", "clip"]).await.with(1, &["next held", "`pause`", "1 of 2"]);
    assert_eq!(bench.unread(&["status"]), Some(0), "nobody reads on, and that is all there was to do");
    assert_eq!(bench.unread(&["release", "next", "next"]), Some(1), "the rest may be undone");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_not_written_where_the_next_sync_would_be_refused_for_it() {
    let bench = Bench::open("synced", Config::prusalink(0)).await;
    let git = json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "Printer", "metadata": { "name": "prusa-1" },
        "spec": { "model": "Prusa CORE One", "unschedulable": false, "connection": { "prusaLink": {
            "url": "http://192.168.1.51", "credentialsSecretRef": { "name": "prusa-1" } } } },
    });
    let sync = PatchParams::apply("a-gitops-tool").force();
    bench.farm.printers().patch("prusa-1", &sync, &Patch::Apply(&git)).await.unwrap();
    let reason = ["hold", "printer/prusa-1", "--reason", "new belt"];
    bench.run(&reason).await.with(3, &["a-gitops-tool has written spec.unschedulable: false"]);
    bench.run(&["hold", "printer/prusa-1"]).await.with(0, &["held"]);
    bench.farm.printers().patch("prusa-1", &sync, &Patch::Apply(&git)).await.unwrap();
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_exists_is_written_into_only_where_that_takes_nothing_from_anybody() {
    let bench = Bench::open("secrets", Config::prusalink(0)).await;
    let secrets: Api<Secret> = Api::namespaced(bench.farm.client(), bench.farm.namespace());
    let secret = |name: &str, labels: Value| {
        let data = json!({ "username": "older", "password": "older" });
        serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels }, "stringData": data })).unwrap()
    };
    let printers = json!({ "printernizer.io/usage": "printer" });
    secrets.create(&PostParams::default(), &secret("another", json!({}))).await.unwrap();
    secrets.create(&PostParams::default(), &secret("prusa-1", printers)).await.unwrap();
    let add = async |name: &str, secret: &str| {
        let words = ["add-printer", name, "--kind", "prusalink", "--address", "192.168.1.52", "--model", "COREONE"];
        let how = ["--no-probe", "--yes", "--wait", "0", "--secret-file", "-", "--replace-secret", "--secret-name"];
        bench.run_with(&[&words[..], &how[..], &[secret]].concat(), "newer").await
    };
    add("prusa-1", "another").await.with(3, &["has not the label printernizer.io/usage: printer"]);
    add("prusa-1", "prusa-1").await.with(0, &["prusa-1 created"]);
    let held = secrets.get("prusa-1").await.unwrap().data.unwrap();
    assert_eq!(held.keys().collect::<Vec<_>>(), ["password"], "a user of before is no more");
    assert_eq!(held["password"].0, b"newer");
    add("prusa-2", "prusa-1").await.with(3, &["is that of the printer prusa-1"]);
    let kept = secrets.get("another").await.unwrap().data.unwrap();
    assert_eq!((kept["password"].0.as_slice(), kept.len()), (&b"older"[..], 2));

    // A login in an address is told nowhere.
    for words in [
        &["--kind", "prusalink", "--address", "http://maker:hush@host", "--no-probe", "--dry-run", "--model", "M"][..],
        &["--kind", "bambu", "--address", "maker:hush@host", "--no-probe", "--dry-run", "--model", "M"],
        &["http://maker:hush@host"],
    ] {
        let told = bench.run(&[&["add-printer", "prusa-3"], words].concat()).await.with(2, &["login"]);
        assert!(!format!("{told:?}").contains("hush"), "{told:?}");
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_keeps_a_command_from_its_work_is_told_with_what_to_do() {
    let bench = Bench::open("refusals", Config::prusalink(0)).await;
    bench
        .run(&["clear-bed", "prusa-9=1", "-y"])
        .await
        .with(1, &["there is no printer prusa-9", "there are no printers in it"]);
    occupied(&bench, "prusa-1", "0000000001").await;
    bench.run(&["clear-bed", "prusa-9=1", "-y"]).await.with(1, &["; there are: prusa-1"]);
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
    bench.run(&["status", "--as", "viewer"]).await.with(0, &["backups are left out", "list the backup policies"]);
    let clear = ["clear-bed", "prusa-1=0000000001", "--yes", "--as"];
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
    let add = [&add[..], &["--no-probe", "--secret-file", "-", "--yes", "--as"]].concat();
    bench.run_with(&[&add[..], &["maker"]].concat(), "hush-hush").await.with(1, &["you have no right", "create"]);
    let creates = json!([
        { "apiGroups": ["printernizer.io"], "resources": ["printers", "printjobs"], "verbs": ["get", "list", "create"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] },
    ]);
    grant(&bench, "adder", creates).await;
    bench
        .until("the rights count", async || (bench.run(&["status", "--as", "adder"]).await.code == 0).then_some(()))
        .await;
    // Nor may they watch it, which is told.
    let added = bench
        .run_with(&[&add[..], &["adder"]].concat(), "hush-hush")
        .await
        .with(0, &["prusa-2 created", "cannot be watched", "forbidden"]);
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
