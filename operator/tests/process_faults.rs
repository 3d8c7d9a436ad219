//! A fixed part of the fault campaign, one life or two for each kind of thing that can go wrong. `cargo xtask faults`
//! lives all of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests, and each life is told of"
)]

use printernizer_e2e::cluster;
use printernizer_e2e::farm::Farm;
use printernizer_e2e::faults::{Plan, live_all};
use printernizer_e2e::life::Stage;

/// Lives at a time. Most of a life is waiting.
const AT_A_TIME: usize = 4;

const PLANS: &[&str] = &[
    // The API server: lost, late and refused, at the decisive writes.
    "prusa: drop-after PUT printjobs/clip-1/status Starting claim upload intent #1",
    "bambu: drop-before PUT printers/bambu-1/status Idle claim intent clear #1",
    "prusa: late PUT printjobs/clip-1/status Starting claim upload intent #1",
    "bambu: answer-409 PUT printers/bambu-1/status Idle claim intent clear #1",
    // The printer: lost answers, and none.
    "prusa: drop-after prusa-1 POST start #1",
    "prusa: drop-before prusa-1 POST start #1",
    "bambu: drop-after bambu-1 print.project_file #1",
    "bambu: silent-before bambu-1 print.project_file #1",
    // Watches.
    "prusa: cut-watches-before PUT printers/prusa-1/status Idle claim intent clear #1",
    "bambu: expire-watches-before PUT printers/bambu-1/status Idle claim intent clear #1",
    "prusa: ancient-after PUT printers/prusa-1/status Idle claim intent clear #1",
    // The process, its clock and its disk.
    "prusa: clock-ahead-before PUT printers/prusa-1/status Idle claim intent clear #1",
    "bambu, with two operators: sigstop-before PUT printers/bambu-1/status Idle claim intent clear #1",
    "prusa, with two operators: sigstop-after prusa-1 POST start #1",
    "prusa: disk-full",
    // Printers that restart, and printers that lie.
    "bambu: reboot-after PUT printers/bambu-1/status Idle claim clear #1",
    "prusa: printer {\"kind\":\"acceptWithoutStarting\",\"count\":1}",
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_once_a_part_is_printed_once_and_its_job_ends() {
    let cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    let stage = Stage { cluster, program: env!("CARGO_BIN_EXE_printernizer").into() };
    let plans: Vec<Plan> = PLANS.iter().map(|name| name.parse().unwrap()).collect();
    let told = live_all(&stage, &plans, AT_A_TIME, &mut |line| println!("{line}")).await;
    // Each of these requests is there in every life; where it is not, its name has changed.
    assert_eq!((told.passed, told.failed, told.unmet), (PLANS.len(), 0, 0));
}
