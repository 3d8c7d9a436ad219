//! The kill points of a life: recorded from a life in which nobody is killed, then lived one by one.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt as _;
use printernizer_e2e::cluster::{self, Cluster};
use printernizer_e2e::farm::Farm;
use printernizer_e2e::life::{self, Life, Stage, Step, Story};
use printernizer_e2e::proxy::{Hook, Rule, Which, Write};
use tokio::sync::Semaphore;

/// A whole life has more kill points than this; fewer mean that the proxies do not see the writes.
pub const FEWEST_POINTS: usize = 25;
/// Between these kills in one point.
const THEN: &str = ", then ";

/// Lives lived at the same time, by all tests together: a life is an operator, a printer and a person.
const LIVES: usize = 3;

static ROOM: Semaphore = Semaphore::const_new(LIVES);

/// Where the operator is killed, in this order.
pub type Point = Vec<Rule>;

/// A test, and the binary it is in: what it takes to run it again.
#[derive(Clone, Copy)]
pub struct Test {
    pub binary: &'static str,
    pub name: &'static str,
}

/// The cluster, with the project's definitions.
pub async fn cluster() -> &'static Cluster {
    let cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    cluster
}

async fn live(cluster: &Cluster, life: Life, kills: &[Rule]) -> Result<Story, String> {
    let stage = Stage { cluster, program: env!("CARGO_BIN_EXE_printernizer").into() };
    let steps: Vec<Step> = kills.iter().cloned().map(Step::Request).collect();
    life::live(&stage, life, &steps).await
}

/// The writes of a life in which nobody is killed; `None` when one point alone was replayed instead.
pub async fn recorded(cluster: &Cluster, life: Life, test: Test) -> Option<Vec<Write>> {
    if let Some(only) = std::env::var("PRINTERNIZER_KILL_POINT").ok().filter(|v| !v.is_empty()) {
        let point: Point = only.split(THEN).map(|rule| rule.parse().unwrap()).collect();
        let story = live(cluster, life, &point).await.unwrap_or_else(|why| panic!("{only}: {why}"));
        assert_eq!(story.kills, point.len(), "{}: this life had no such write", test.name);
        return None;
    }
    let story = live(cluster, life, &[]).await.unwrap_or_else(|why| panic!("nobody was killed, and yet: {why}"));
    assert!(!story.asked, "a person was asked about an undisturbed print");
    assert_eq!(story.start_commands, 1);
    Some(story.trace)
}

/// Both kill points of a write.
pub fn around(write: &Write) -> [Rule; 2] {
    let which = Which::Named { name: write.name.clone(), occurrence: write.occurrence };
    [Hook::StopBefore, Hook::StopAfter].map(|hook| Rule { which: which.clone(), hook })
}

/// The points around each write from the first of this name on, without those that only repeat one.
pub fn since(trace: &[Write], name: &str) -> Vec<Point> {
    let writes = trace.iter().skip_while(|w| !w.name.ends_with(name)).filter(|w| w.occurrence == 1);
    writes.flat_map(around).map(|rule| vec![rule]).collect()
}

fn in_words(point: &Point) -> String {
    point.iter().map(ToString::to_string).collect::<Vec<_>>().join(THEN)
}

/// Lives a life for each point, and tells what came of them: of at least so many points, and as many were met. Gives in
/// how many lives an operator that was started again was there before the printer showed what it had been told to print.
pub async fn live_all(cluster: &Cluster, life: Life, test: Test, points: &[Point], fewest: usize) -> usize {
    assert!(points.len() >= fewest, "only {} kill points", points.len());
    let began = Instant::now();
    for (number, point) in points.iter().enumerate() {
        println!("kill point {}: {}", number + 1, in_words(point));
    }
    let lives = futures::stream::iter(points).map(async |point: &Point| {
        let _room = ROOM.acquire().await.unwrap();
        let began = Instant::now();
        (in_words(point), point.len(), live(cluster, life, point).await, began.elapsed().as_secs_f64())
    });
    let mut lives = lives.buffer_unordered(LIVES);
    let (mut met, mut asked, mut early, mut failed) = (0, 0, 0, BTreeMap::new());
    while let Some((point, kills, story, seconds)) = lives.next().await {
        match story {
            Ok(story) => {
                met += usize::from(story.kills == kills);
                asked += usize::from(story.asked);
                early += usize::from(story.found_nothing_shown);
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
        "{}: {} kill points, {met} met, {asked} put before a person, {early} with a successor before the print was shown, \
         {} failed, {:.0} s",
        test.name,
        points.len(),
        failed.len(),
        began.elapsed().as_secs_f64()
    );
    for (point, why) in &failed {
        println!(
            "\n==== {point}\nreplay: PRINTERNIZER_KILL_POINT='{point}' cargo test -p printernizer --test {} {} -- --nocapture\n{why}",
            test.binary, test.name
        );
    }
    assert!(failed.is_empty(), "failed at: {:#?}", failed.keys().collect::<Vec<_>>());
    // Lives differ a little: writes that come close together are sometimes one, or come in another order.
    assert!(met >= fewest && met * 2 >= points.len(), "only {met} of {} points met", points.len());
    early
}
