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

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt as _;
use kill::{Course, live};
use printernizer_e2e::cluster::{self, Cluster};
use printernizer_e2e::farm::Farm;
use printernizer_e2e::proxy::{Hook, Rule, Which, Write};
use tokio::sync::Semaphore;

/// A whole life has more kill points than this; fewer mean that the proxies do not see the writes.
const FEWEST_POINTS: usize = 25;
/// How far into the recovery the second kill reaches.
const RECOVERY_WRITES: usize = 6;
/// Between these kills in one point.
const THEN: &str = ", then ";

/// Lives lived at the same time, by all tests together: a life is an operator, a printer and a person.
const LIVES: usize = 3;

static ROOM: Semaphore = Semaphore::const_new(LIVES);

type Point = Vec<Rule>;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_never_prints_a_part_twice_and_never_loses_a_job() {
    let cluster = cluster().await;
    let test = "a_killed_operator_never_prints_a_part_twice_and_never_loses_a_job";
    let Some(trace) = recorded(cluster, Course::Printed, test).await else { return };
    let points: Vec<Point> = trace.iter().flat_map(around).map(|rule| vec![rule]).collect();
    assert!(points.len() >= FEWEST_POINTS, "only {} kill points", points.len());
    let met = live_all(cluster, Course::Printed, test, &points).await;
    assert!(met >= FEWEST_POINTS, "only {met} kill points were met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_cancels_what_it_was_asked_to_cancel_and_nothing_is_printed_again() {
    let cluster = cluster().await;
    let test = "a_killed_operator_cancels_what_it_was_asked_to_cancel_and_nothing_is_printed_again";
    let Some(trace) = recorded(cluster, Course::Canceled, test).await else { return };
    // Up to the start this life is like any other.
    let points = since(&trace, "POST start");
    live_all(cluster, Course::Canceled, test, &points).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_print_that_ended_while_no_operator_was_there_is_not_printed_again() {
    let cluster = cluster().await;
    let test = "a_print_that_ended_while_no_operator_was_there_is_not_printed_again";
    let Some(trace) = recorded(cluster, Course::PrintedMeanwhile, test).await else { return };
    let points = since(&trace, "intent");
    live_all(cluster, Course::PrintedMeanwhile, test, &points).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_again_while_it_recovers_never_prints_a_part_twice() {
    let cluster = cluster().await;
    let test = "an_operator_killed_again_while_it_recovers_never_prints_a_part_twice";
    let Some(trace) = recorded(cluster, Course::Printed, test).await else { return };
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
    live_all(cluster, Course::Printed, test, &points).await;
}

async fn cluster() -> &'static Cluster {
    let cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    cluster
}

/// The writes of a life in which nobody is killed; `None` when one point alone was replayed instead.
async fn recorded(cluster: &Cluster, course: Course, test: &str) -> Option<Vec<Write>> {
    if let Some(only) = std::env::var("PRINTERNIZER_KILL_POINT").ok().filter(|v| !v.is_empty()) {
        let point: Point = only.split(THEN).map(|rule| rule.parse().unwrap()).collect();
        let story = live(cluster, course, &point).await.unwrap_or_else(|why| panic!("{only}: {why}"));
        assert_eq!(story.kills, point.len(), "{test}: this life had no such write");
        return None;
    }
    let story = live(cluster, course, &[]).await.unwrap_or_else(|why| panic!("nobody was killed, and yet: {why}"));
    assert!(!story.asked, "a person was asked about an undisturbed print");
    assert_eq!(story.start_commands, 1);
    Some(story.trace)
}

/// Both kill points of a write.
fn around(write: &Write) -> [Rule; 2] {
    let which = Which::Named { name: write.name.clone(), occurrence: write.occurrence };
    [Hook::StopBefore, Hook::StopAfter].map(|hook| Rule { which: which.clone(), hook })
}

/// The points around each write from the first of this name on, without those that only repeat one.
fn since(trace: &[Write], name: &str) -> Vec<Point> {
    let writes = trace.iter().skip_while(|w| !w.name.ends_with(name)).filter(|w| w.occurrence == 1);
    writes.flat_map(around).map(|rule| vec![rule]).collect()
}

fn in_words(point: &Point) -> String {
    point.iter().map(ToString::to_string).collect::<Vec<_>>().join(THEN)
}

/// Lives a life for each point, and tells what came of them. Gives how many points were met.
async fn live_all(cluster: &Cluster, course: Course, test: &str, points: &[Point]) -> usize {
    let began = Instant::now();
    for (number, point) in points.iter().enumerate() {
        println!("kill point {}: {}", number + 1, in_words(point));
    }
    let lives = futures::stream::iter(points).map(async |point: &Point| {
        let _room = ROOM.acquire().await.unwrap();
        let began = Instant::now();
        (in_words(point), point.len(), live(cluster, course, point).await, began.elapsed().as_secs_f64())
    });
    let mut lives = lives.buffer_unordered(LIVES);
    let (mut met, mut asked, mut failed) = (0, 0, BTreeMap::new());
    while let Some((point, kills, story, seconds)) = lives.next().await {
        match story {
            Ok(story) => {
                met += usize::from(story.kills == kills);
                asked += usize::from(story.asked);
                let all = if story.kills == kills { "killed" } else { "no such write this time" };
                let asked = if story.asked { ", a person was asked" } else { "" };
                println!("{point}: {all}{asked}, {seconds:.1} s");
            }
            Err(why) => {
                println!("{point}: FAILED after {seconds:.1} s");
                failed.insert(point, why);
            }
        }
    }
    println!(
        "{} kill points, {met} met, {asked} put before a person, {} failed, {:.0} s",
        points.len(),
        failed.len(),
        began.elapsed().as_secs_f64()
    );
    for (point, why) in &failed {
        println!(
            "\n==== {point}\nreplay: PRINTERNIZER_KILL_POINT='{point}' cargo test -p printernizer --test process_kill {test} -- --nocapture\n{why}"
        );
    }
    assert!(failed.is_empty(), "failed at: {:#?}", failed.keys().collect::<Vec<_>>());
    // Lives differ a little: writes that come close together are sometimes one, or come in another order.
    assert!(met * 2 >= points.len(), "only {met} of {} points met", points.len());
    met
}
