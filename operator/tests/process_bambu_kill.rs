//! Crash safety with a Bambu Lab printer: the operator is killed before and after each write of one job's life to the
//! API server, and each command to the printer over MQTT and FTPS; the ledger tells whether the part was printed exactly
//! once. Then the same where the printer shows its new print 135 s late, where it has lost its memory meanwhile, where
//! the print is canceled, and where it ends while no operator is there.
//!
//! `PRINTERNIZER_KILL_POINT='after bambu-1 print.project_file #1'` replays one point alone, in the test it belongs to.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests, and the kill points are printed"
)]

mod kill;

use kill::{FEWEST_POINTS, Point, Test, around, cluster, live_all, recorded, since};
use printernizer_e2e::life::{Course, Life, Maker};
use printernizer_e2e::proxy::Write;

/// The start as the printer gets it.
const START: &str = "print.project_file";

fn life(course: Course) -> Life {
    Life::new(Maker::Bambu, course)
}

fn test(name: &'static str) -> Test {
    Test { binary: "process_bambu_kill", name }
}

/// Before and after both halves of the intent, the renaming and the start itself; from the start on there are more.
const FEWEST_DECISIVE: usize = 8;

/// The points around each write from the first of this name until the print is over.
fn decisive(trace: &[Write], from: &str) -> Vec<Point> {
    let over = trace.iter().position(|w| w.name.contains("Finished")).unwrap_or(trace.len());
    since(&trace[..over], from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_never_prints_a_part_twice_on_a_bambu_printer() {
    let cluster = cluster().await;
    let test = test("a_killed_operator_never_prints_a_part_twice_on_a_bambu_printer");
    let Some(trace) = recorded(cluster, life(Course::Printed), test).await else { return };
    for command in ["STOR unproven file", "RNTO unnamed file", "RNTO file", START, "DELE file"] {
        assert!(trace.iter().any(|w| w.name == format!("bambu-1 {command}")), "{command} was not seen: {trace:?}");
    }
    let points: Vec<Point> = trace.iter().flat_map(around).map(|rule| vec![rule]).collect();
    live_all(cluster, life(Course::Printed), test, &points, FEWEST_POINTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_that_shows_itself_late_is_not_started_again_by_whoever_comes_after_a_killed_operator() {
    let cluster = cluster().await;
    let test = test("a_print_that_shows_itself_late_is_not_started_again_by_whoever_comes_after_a_killed_operator");
    let Some(trace) = recorded(cluster, life(Course::EchoLate), test).await else { return };
    let points = decisive(&trace, "intent");
    let early = live_all(cluster, life(Course::EchoLate), test, &points, FEWEST_DECISIVE).await;
    assert!(early > 0, "whoever came after a killed operator always came after the print was shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_has_lost_its_memory_meanwhile_is_not_told_to_print_again() {
    let cluster = cluster().await;
    let test = test("a_printer_that_has_lost_its_memory_meanwhile_is_not_told_to_print_again");
    let Some(trace) = recorded(cluster, life(Course::Rebooted), test).await else { return };
    let points = decisive(&trace, "intent");
    live_all(cluster, life(Course::Rebooted), test, &points, FEWEST_DECISIVE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printer_that_loses_its_memory_before_it_shows_its_new_print_is_not_told_to_print_again() {
    let cluster = cluster().await;
    let test = test("a_printer_that_loses_its_memory_before_it_shows_its_new_print_is_not_told_to_print_again");
    let Some(trace) = recorded(cluster, life(Course::EchoLateRebooted), test).await else { return };
    let points = decisive(&trace, "intent");
    let early = live_all(cluster, life(Course::EchoLateRebooted), test, &points, FEWEST_DECISIVE).await;
    assert!(early > 0, "whoever came after a killed operator always came after the print was shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_cancels_what_it_was_asked_to_cancel_on_a_bambu_printer() {
    let cluster = cluster().await;
    let test = test("a_killed_operator_cancels_what_it_was_asked_to_cancel_on_a_bambu_printer");
    let Some(trace) = recorded(cluster, life(Course::Canceled), test).await else { return };
    let points = decisive(&trace, START);
    live_all(cluster, life(Course::Canceled), test, &points, FEWEST_DECISIVE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bambu_print_that_ended_while_no_operator_was_there_is_not_printed_again() {
    let cluster = cluster().await;
    let test = test("a_bambu_print_that_ended_while_no_operator_was_there_is_not_printed_again");
    let Some(trace) = recorded(cluster, life(Course::PrintedMeanwhile), test).await else { return };
    let points = decisive(&trace, "intent");
    live_all(cluster, life(Course::PrintedMeanwhile), test, &points, FEWEST_DECISIVE).await;
}
