//! Crash safety: the operator is killed before and after each write of one job's life, to the API server and to the
//! printer, started again, and the life goes on to its end. The ledger of the simulated printer then tells whether the
//! part was printed exactly once. Then the same where a print is canceled, where it ends while no operator is there, and
//! where the operator is killed again while it recovers from being killed around the start.
//!
//! `PRINTERNIZER_KILL_POINT='after prusa-1 POST start #1'` replays one point alone, in the test it belongs to.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests, and the kill points are printed"
)]

mod kill;

use kill::{FEWEST_POINTS, Point, Test, around, cluster, live_all, recorded, since};
use printernizer_e2e::life::{Course, Life, Maker};
use printernizer_e2e::proxy::{Hook, Rule, Which};

/// How far into the recovery the second kill reaches.
const RECOVERY_WRITES: usize = 6;
/// Before and after both halves of the intent and the start itself; from the start on there are more.
const FEWEST_AROUND_A_START: usize = 6;

fn life(course: Course) -> Life {
    Life::new(Maker::Prusa, course)
}

fn test(name: &'static str) -> Test {
    Test { binary: "process_kill", name }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_never_prints_a_part_twice_and_never_loses_a_job() {
    let cluster = cluster().await;
    let test = test("a_killed_operator_never_prints_a_part_twice_and_never_loses_a_job");
    let Some(trace) = recorded(cluster, life(Course::Printed), test).await else { return };
    let points: Vec<Point> = trace.iter().flat_map(around).map(|rule| vec![rule]).collect();
    live_all(cluster, life(Course::Printed), test, &points, FEWEST_POINTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_cancels_what_it_was_asked_to_cancel_and_nothing_is_printed_again() {
    let cluster = cluster().await;
    let test = test("a_killed_operator_cancels_what_it_was_asked_to_cancel_and_nothing_is_printed_again");
    let Some(trace) = recorded(cluster, life(Course::Canceled), test).await else { return };
    // Up to the start this life is like any other.
    let points = since(&trace, "POST start");
    live_all(cluster, life(Course::Canceled), test, &points, FEWEST_AROUND_A_START).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_that_ended_while_no_operator_was_there_is_not_printed_again() {
    let cluster = cluster().await;
    let test = test("a_print_that_ended_while_no_operator_was_there_is_not_printed_again");
    let Some(trace) = recorded(cluster, life(Course::PrintedMeanwhile), test).await else {
        return;
    };
    let points = since(&trace, "intent");
    live_all(cluster, life(Course::PrintedMeanwhile), test, &points, FEWEST_AROUND_A_START).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_again_while_it_recovers_never_prints_a_part_twice() {
    let cluster = cluster().await;
    let test = test("an_operator_killed_again_while_it_recovers_never_prints_a_part_twice");
    let Some(trace) = recorded(cluster, life(Course::Printed), test).await else { return };
    // From the first half of the intent to the send. What is stored before a write is what was stored after the one
    // before it, so the second kill is only ever after one.
    let begin = trace.iter().position(|w| w.name.ends_with("intent")).unwrap();
    let end = trace.iter().position(|w| w.name.ends_with("POST start")).unwrap();
    let second = |nth| Rule { which: Which::OfLife { life: 1, nth }, hook: Hook::StopAfter };
    let points: Vec<Point> = trace[begin..=end]
        .iter()
        .flat_map(around)
        .flat_map(|first| (1..=RECOVERY_WRITES).map(move |nth| vec![first.clone(), second(nth)]))
        .collect();
    live_all(cluster, life(Course::Printed), test, &points, FEWEST_AROUND_A_START * RECOVERY_WRITES / 2).await;
}
