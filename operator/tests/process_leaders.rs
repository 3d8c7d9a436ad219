//! Several operators: one leads and connects, the others wait; a print is followed through every way a leader can go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Reason};
use printernizer_e2e::farm::Operator;
use printernizer_simulator::Config;
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
