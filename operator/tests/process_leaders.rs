//! Several operators: one leads and connects, the others wait; a print is followed through every way a leader can go, and
//! what one has stored of a printer is used by the next one only after a look at it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::sync::atomic::{AtomicI32, Ordering};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions as _, Reason};
use printernizer_e2e::farm::{Operator, OperatorOptions};
use printernizer_e2e::proxy::{Hook, Proxy, Rule, Script, Which};
use printernizer_simulator::{Action, Config, Entry, Event};
use serde_json::json;
use support::{SOON, Shop};

async fn leads(operator: &Operator) {
    printernizer_e2e::wait_until("it leads, and is connected", SOON, async || {
        let leader = operator.metric("printernizer_leader").await.map_err(|e| e.to_string())?;
        let connected = operator.metric("printernizer_sessions_connected").await.map_err(|e| e.to_string())?;
        if leader > 0.5 && connected > 0.5 { Ok(()) } else { Err(format!("{leader} {connected}")) }
    })
    .await
    .unwrap_or_else(|e| panic!("{e}\n{}", operator.tail()));
}

async fn printing(name: &str) -> (Shop, Operator) {
    let shop = Shop::open(name, Config::prusalink(1).time_scale(20.0)).await;
    let second = Operator::start(&shop.options(&["--identity", "second"])).await.unwrap();
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    // The second one is up and well, and has touched nothing.
    assert!(second.metric("printernizer_leader").await.unwrap() < 0.5);
    assert!(second.metric("printernizer_sessions_connected").await.unwrap() < 0.5);
    (shop, second)
}

async fn follows(mut shop: Shop, second: Operator) {
    leads(&second).await;
    shop.operator = Some(second);
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_asked_to_end_gives_its_lease_back() {
    let (mut shop, second) = printing("handover").await;
    let leases: Api<Lease> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let holder = async || leases.get("printernizer").await.unwrap().spec.unwrap().holder_identity.unwrap_or_default();
    let first = holder().await;
    assert!(!first.is_empty());
    shop.close_operator().await;
    // Given back, not run out: whoever ended holds it no more, and the next one need not wait.
    assert_ne!(holder().await, first);
    follows(shop, second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_by_the_next_one() {
    let (mut shop, second) = printing("killed").await;
    shop.kill_operator().await;
    follows(shop, second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_lease_was_taken_ends_and_touches_nothing_more() {
    let mut shop = Shop::open("taken", Config::prusalink(1).time_scale(20.0)).await;
    shop.print("clip", json!({})).await;
    shop.phase("clip", Phase::Printing).await;
    let leases: Api<Lease> = Api::namespaced(shop.farm.client(), shop.farm.namespace());
    let lease = leases.get("printernizer").await.unwrap();
    let renewed = lease.spec.unwrap().renew_time.unwrap();
    let taken = json!({ "spec": { "holderIdentity": "somebody-else", "renewTime": renewed } });
    leases.patch("printernizer", &PatchParams::default(), &Patch::Merge(taken)).await.unwrap();
    let mut operator = shop.operator.take().unwrap();
    let ended = tokio::time::timeout(SOON, operator.ended()).await.expect("it ends").unwrap();
    assert!(!ended.success(), "losing leadership is no success: {ended}");
    let log = std::fs::read_to_string(operator.log()).unwrap();
    assert!(log.contains("leadership"), "{log}");
    let held = leases.get("printernizer").await.unwrap().spec.unwrap().holder_identity;
    assert_eq!(held.as_deref(), Some("somebody-else"), "the new holder's lease is left alone");
    // The print goes on, and whoever leads next follows it.
    shop.operate(&["--identity", "third"]).await;
    shop.printer_says("prusa-1", ConditionType::Idle, Reason::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

/// An operator through a proxy, with these rules for what becomes of its writes.
async fn led_through(shop: &mut Shop, rules: Vec<Rule>) -> (Script, Proxy) {
    let script = Script::new(rules);
    let proxy = Proxy::api(shop.farm.client(), script.clone()).await.unwrap();
    let options = shop.options(&[]);
    let options = OperatorOptions { kubeconfig: proxy.kubeconfig(&options.directory).unwrap(), ..options };
    shop.operator = Some(Operator::start(&options).await.unwrap());
    (script, proxy)
}

fn rule(name: &str, occurrence: usize, hook: Hook) -> Rule {
    Rule { which: Which::Named { name: name.to_owned(), occurrence }, hook }
}

/// Somebody prints at the screen while nobody leads, and for a while the next leader cannot store what it makes of the
/// printer: what is stored still says Ready and clear. Nothing may rely on that.
async fn next_leader_looks_first(name: &str, claimed: bool) {
    let mut shop = Shop::empty(name, Config::prusalink(1).time_scale(20.0)).await;
    shop.farm.add_printers().await.unwrap();
    shop.farm.add_file("part", support::part(support::PRINT)).await.unwrap();
    let given = rule("PUT printjobs/clip/status Assigned claim", 1, Hook::StopAfter);
    let (first, _proxy) = led_through(&mut shop, vec![given]).await;
    shop.clear_all().await;
    if claimed {
        shop.print("clip", json!({})).await;
        tokio::time::timeout(SOON, first.stopped()).await.expect("the job is given to the printer");
        shop.kill_operator().await;
    } else {
        shop.close_operator().await;
        shop.print("clip", json!({})).await;
    }
    let vase = Action::PrintForeignFile { file_name: "VASE.GCO".into(), duration_seconds: 60 };
    shop.machine("prusa-1").person(&vase).unwrap();
    let started = |e: &Entry| matches!(e.event, Event::PhysicalStart { .. });
    shop.ledger_shows("the foreign print", |e| e.iter().any(started)).await;
    shop.skip(120);
    let ended = |e: &Entry| matches!(e.event, Event::PhysicalEnd { .. });
    shop.ledger_shows("its end", |e| e.iter().any(ended)).await;

    let holds = if claimed { " claim" } else { "" };
    let judgments = ["Unknown{} clear", "Finished{} occupied", "Idle{} occupied"];
    let refused = judgments.iter().flat_map(|judgment| {
        let name = format!("PUT printers/prusa-1/status {}", judgment.replace("{}", holds));
        (1..=5).map(move |occurrence| rule(&name, occurrence, Hook::Refuse(500)))
    });
    let refused: Vec<Rule> = refused.collect();
    let rules = refused.len();
    let (second, _proxy) = led_through(&mut shop, refused).await;
    let priority = AtomicI32::new(0);
    printernizer_e2e::wait_until("it has looked at the printer, and stored that", SOON, async || {
        // Wakes the schedule.
        let another = json!({ "priority": priority.fetch_add(1, Ordering::Relaxed) });
        let asked = shop.farm.change_job("clip", another).await;
        let printer = shop.farm.printers().get("prusa-1").await.map_err(|e| e.to_string())?;
        let conditions = printer.status.unwrap_or_default().conditions;
        let looked = conditions.is_false(ConditionType::BedCleared);
        if looked { Ok(()) } else { Err(format!("{:?} {conditions:?}", asked.map(drop))) }
    })
    .await
    .unwrap();
    assert!(rules - second.unmet().len() >= 3, "it was to store nothing for a while: {:?}", second.trace());
    let next = if claimed { " upload" } else { " claim" };
    let taken: Vec<String> = second.trace().iter().map(ToString::to_string).filter(|w| w.contains(next)).collect();
    assert!(taken.is_empty(), "{taken:?}");
    let files = shop.ledger().into_iter().filter(|e| matches!(e.event, Event::Upload { .. }));
    assert_eq!(files.count(), 0, "no byte came to the printer");

    shop.clear("prusa-1").await;
    shop.phase("clip", Phase::Printing).await;
    shop.finish_prints();
    shop.phase("clip", Phase::Succeeded).await;
    assert_eq!(shop.starts("pz-"), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_given_to_no_printer_before_the_next_leader_has_looked_at_it() {
    next_leader_looks_first("unclaimed", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_given_to_a_printer_sends_it_no_byte_before_the_next_leader_has_looked_at_it() {
    next_leader_looks_first("claimed", true).await;
}
