//! Crash safety: the operator is killed before and after each write of one job's life, to the API server and to the
//! printer, started again, and the life goes on to its end. The ledger of the simulated printer then tells whether the
//! part was printed exactly once.
//!
//! `PRINTERNIZER_KILL_POINT='after prusa-1 POST start #1'` replays one point alone. `PRINTERNIZER_KILL_PARALLEL` is the
//! number of lives lived at the same time.

mod kill;

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt as _;
use kill::{Point, live};
use printernizer_e2e::cluster;
use printernizer_e2e::farm::Farm;

/// A life has more writes than this; fewer mean that the proxy does not see them.
const FEWEST_POINTS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_never_prints_a_part_twice_and_never_loses_a_job() {
    let cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    let began = Instant::now();
    let only = std::env::var("PRINTERNIZER_KILL_POINT").ok().filter(|v| !v.is_empty());
    let points: Vec<Point> = if let Some(only) = &only {
        vec![only.parse().unwrap()]
    } else {
        let undisturbed = live(cluster, None).await.unwrap_or_else(|why| panic!("nobody was killed, and yet: {why}"));
        assert!(!undisturbed.asked, "a person was asked about an undisturbed print");
        assert_eq!(undisturbed.start_commands, 1);
        undisturbed.trace.iter().flat_map(Point::around).collect()
    };
    for (number, point) in points.iter().enumerate() {
        println!("kill point {}: {point}", number + 1);
    }
    assert!(only.is_some() || points.len() >= FEWEST_POINTS, "only {} kill points", points.len());

    let parallel = std::env::var("PRINTERNIZER_KILL_PARALLEL").ok().and_then(|v| v.parse().ok()).unwrap_or(3);
    let lives =
        futures::stream::iter(&points).map(async |point| (point, Instant::now(), live(cluster, Some(point)).await));
    let mut lives = lives.buffer_unordered(parallel);
    let (mut killed, mut asked, mut failed) = (0, 0, BTreeMap::new());
    while let Some((point, since, story)) = lives.next().await {
        let seconds = since.elapsed().as_secs_f64();
        match story {
            Ok(story) => {
                killed += usize::from(story.killed_at.is_some());
                asked += usize::from(story.asked);
                let met = if story.killed_at.is_some() { "killed" } else { "no such write this time" };
                let asked = if story.asked { ", a person was asked" } else { "" };
                println!("{point}: {met}{asked}, {seconds:.1} s");
            }
            Err(why) => {
                println!("{point}: FAILED after {seconds:.1} s");
                failed.insert(point.to_string(), why);
            }
        }
    }
    println!(
        "{} kill points, {killed} met, {asked} put before a person, {} failed, {:.0} s",
        points.len(),
        failed.len(),
        began.elapsed().as_secs_f64()
    );
    for (point, why) in &failed {
        println!(
            "\n==== {point}\nreplay: PRINTERNIZER_KILL_POINT='{point}' cargo test -p printernizer --test process_kill -- --nocapture\n{why}"
        );
    }
    assert!(failed.is_empty(), "failed at: {:?}", failed.keys().collect::<Vec<_>>());
    if only.is_some() {
        assert_eq!(killed, 1, "the operator was not killed: this life had no such write");
        return;
    }
    // Lives differ a little: writes that come close together are sometimes one. Most points must be met all the same.
    assert!(killed >= FEWEST_POINTS && killed * 10 >= points.len() * 8, "only {killed} of {} points met", points.len());
}
