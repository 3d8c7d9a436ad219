//! One part, from `kubectl apply` to a finished print: the real operator as a process, a real API server, a printer
//! that speaks the real protocol.

use std::path::PathBuf;
use std::time::Duration;

use printernizer_crds::print_job::Phase;
use printernizer_crds::{ConditionType, Conditions};
use printernizer_e2e::farm::{Farm, Operator, OperatorOptions, project};
use printernizer_e2e::{Namespace, cluster};
use printernizer_simulator::{Config, Simulator};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_printed_once_and_the_bed_waits_for_a_person() {
    let cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    let client = cluster.client().await.unwrap();
    let namespace = Namespace::create(&client, "print").await.unwrap();
    let simulator = Simulator::start(Config::prusalink(1).time_scale(60.0)).await.unwrap();
    let farm = Farm::new(client, namespace.name(), simulator);
    farm.add_printers().await.unwrap();
    let clip = std::fs::read(project().join("examples/files/cable-clip.gcode")).unwrap();
    farm.add_file("clip", clip).await.unwrap();
    farm.print("clip-1", "clip", json!({})).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let operator = Operator::start(&OperatorOptions {
        program: PathBuf::from(env!("CARGO_BIN_EXE_printernizer")),
        kubeconfig: cluster.kubeconfig().to_owned(),
        directory: directory.path().to_owned(),
        namespace: namespace.name().to_owned(),
        simulated_time: 10,
        arguments: Vec::new(),
    })
    .await
    .unwrap();

    // Nobody has said that the bed is clear: nothing starts.
    let told = |e: printernizer_e2e::farm::FarmError| panic!("{e}\n{}", operator.tail());
    farm.job("clip-1", "waits", SOON, |j| {
        j.status
            .as_ref()
            .is_some_and(|s| s.conditions.has_reason(ConditionType::Scheduled, printernizer_crds::Reason::Queued))
    })
    .await
    .unwrap_or_else(told);
    farm.printer("prusa-1", "is ready", SOON, |p| {
        p.status.as_ref().is_some_and(|s| s.conditions.is_true(ConditionType::Ready))
    })
    .await
    .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(farm.clear_beds().await.unwrap(), ["prusa-1"]);

    let told = |e: printernizer_e2e::farm::FarmError| panic!("{e}\n{}", operator.tail());
    let job = farm
        .job("clip-1", "succeeds", SOON, |j| j.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Succeeded)))
        .await
        .unwrap_or_else(told);
    let starts = farm.simulator().ledger().physical_starts("pz-");
    assert_eq!(starts.len(), 1, "{starts:?}");
    assert_eq!(farm.simulator().ledger().starts_on_occupied_bed(), []);
    let status = job.status.unwrap();
    assert_eq!(status.attempt, 1);
    let printer = farm
        .printer("prusa-1", "is released", SOON, |p| p.status.as_ref().is_some_and(|s| s.current_job.is_none()))
        .await
        .unwrap();
    let bed = printer.status.unwrap().bed.unwrap();
    assert_eq!(bed.job.as_deref(), Some("clip-1"));
    assert!(bed.occupancy_id.is_some());

    let status = operator.terminate(Duration::from_secs(10)).await.unwrap();
    assert!(status.success());
    namespace.delete().await.unwrap();
}
