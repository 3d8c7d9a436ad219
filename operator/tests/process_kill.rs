//! Crash safety: the operator is killed before and after each write of one job's life, to the API server and to the
//! printer, started again, and the life goes on to its end. The ledger of the simulated printer then tells whether the
//! part was printed exactly once. Then the same where a print is canceled, and where the operator is killed again while
//! it recovers from being killed around the start.
//!
//! `PRINTERNIZER_KILL_POINT='after prusa-1 POST start #1'` replays one point alone, in the test of that name;
//! `PRINTERNIZER_KILL_PARALLEL` is the number of lives lived at the same time.

mod kill;

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt as _;
use kill::{Course, live};
use printernizer_e2e::cluster::{self, Cluster};
use printernizer_e2e::farm::Farm;
use printernizer_e2e::proxy::{Hook, Rule, Which, Write};

/// A life has more kill points than this; fewer mean that the proxies do not see the writes.
const FEWEST_POINTS: usize = 25;
/// How far into the recovery the second kill reaches.
const RECOVERY_WRITES: usize = 6;
/// Between these kills in one point.
const THEN: &str = ", then ";

type Point = Vec<Rule>;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_never_prints_a_part_twice_and_never_loses_a_job() {
    let cluster = cluster().await;
    let test = "a_killed_operator_never_prints_a_part_twice_and_never_loses_a_job";
    let Some(trace) = recorded(cluster, Course::Printed, test).await else { return };
    let points: Vec<Point> = trace.iter().flat_map(around).map(|rule| vec![rule]).collect();
    live_all(cluster, Course::Printed, test, &points).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_cancels_what_it_was_asked_to_cancel_and_nothing_is_printed_again() {
    let cluster = cluster().await;
    let test = "a_killed_operator_cancels_what_it_was_asked_to_cancel_and_nothing_is_printed_again";
    let Some(trace) = recorded(cluster, Course::Canceled, test).await else { return };
    // Up to the start both lives are the same.
    let since_start = trace.iter().skip_while(|w| !w.name.ends_with("POST start"));
    let points: Vec<Point> = since_start.flat_map(around).map(|rule| vec![rule]).collect();
    live_all(cluster, Course::Canceled, test, &points).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_again_while_it_recovers_never_prints_a_part_twice() {
    let cluster = cluster().await;
    let test = "an_operator_killed_again_while_it_recovers_never_prints_a_part_twice";
    let Some(trace) = recorded(cluster, Course::Printed, test).await else { return };
    // From the first half of the intent to the send.
    let begin = trace.iter().position(|w| w.name.ends_with("intent")).unwrap();
    let end = trace.iter().position(|w| w.name.ends_with("POST start")).unwrap();
    let second =
        |nth| [Hook::StopBefore, Hook::StopAfter].map(|hook| Rule { which: Which::OfLife { life: 1, nth }, hook });
    let points: Vec<Point> = trace[begin..=end]
        .iter()
        .flat_map(around)
        .flat_map(|first| (1..=RECOVERY_WRITES).flat_map(second).map(move |second| vec![first.clone(), second]))
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

fn in_words(point: &Point) -> String {
    point.iter().map(ToString::to_string).collect::<Vec<_>>().join(THEN)
}

/// Lives a life for each point, and tells what came of them.
async fn live_all(cluster: &Cluster, course: Course, test: &str, points: &[Point]) {
    let began = Instant::now();
    for (number, point) in points.iter().enumerate() {
        println!("kill point {}: {}", number + 1, in_words(point));
    }
    assert!(points.len() >= FEWEST_POINTS, "only {} kill points", points.len());
    let parallel = std::env::var("PRINTERNIZER_KILL_PARALLEL").ok().and_then(|v| v.parse().ok()).unwrap_or(3);
    let lives = futures::stream::iter(points).map(async |point: &Point| {
        let began = Instant::now();
        (in_words(point), point.len(), live(cluster, course, point).await, began.elapsed().as_secs_f64())
    });
    let mut lives = lives.buffer_unordered(parallel);
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
    // Lives differ a little: writes that come close together are sometimes one. Most points must be met all the same.
    assert!(met >= FEWEST_POINTS && met * 10 >= points.len() * 7, "only {met} of {} points met", points.len());
}
