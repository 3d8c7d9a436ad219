//! What the API server takes: status writes a second of a client that does nothing else.

use std::time::{Duration, Instant};

use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use printernizer_crds::PrintJob;
use printernizer_e2e::Namespace;
use printernizer_e2e::cluster::{self, Cluster};
use printernizer_e2e::farm::Farm;
use printernizer_simulator::{Config, Simulator};
use serde_json::json;

use crate::figures::figure;

/// Objects written in turn, and writes under way at a time.
const OBJECTS: usize = 200;
const AT_A_TIME: usize = 16;
const SPAN: Duration = Duration::from_secs(10);

/// Merges a small status into PrintJobs again and again: the least that a write can cost.
pub async fn of_small_jobs() -> f64 {
    let cluster: &'static Cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    let client = cluster.client().await.unwrap();
    let namespace = Namespace::create(&client, "ceiling").await.unwrap();
    let simulator = Simulator::start(Config::bambu(0)).await.unwrap();
    let farm = Farm::new(client, namespace.name(), simulator);
    let mut small = Vec::with_capacity(OBJECTS);
    for n in 0..OBJECTS {
        small.push(farm.print(&format!("job-{n}"), "none", json!({})).await.unwrap());
    }
    let jobs = farm.jobs();
    let a_second = rate(small, async |job: PrintJob| {
        let status = json!({ "status": { "message": message(), "phase": "Pending" } });
        jobs.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(status)).await
    })
    .await;
    figure("status writes a second of a bare client", format!("{a_second:.0}"), "");
    namespace.delete().await.unwrap();
    a_second
}

/// Replaces the statuses of jobs that were printed, in the farm they belong to, as the operator does: the least that
/// its own writes can cost. Nobody else may write meanwhile.
pub async fn of_printed_jobs(jobs: &Api<PrintJob>) -> f64 {
    let all = jobs.list(&ListParams::default()).await.unwrap().items;
    let started = |job: &PrintJob| job.status.as_ref().is_some_and(|s| s.start.is_some());
    let printed: Vec<PrintJob> = all.into_iter().filter(started).take(OBJECTS).collect();
    assert!(printed.len() >= AT_A_TIME, "only {} jobs have been printed", printed.len());
    let sizes = printed.iter().map(|job| serde_json::to_vec(job).unwrap().len());
    let bytes = sizes.sum::<usize>() / printed.len();
    let a_second = rate(printed, async |mut job: PrintJob| {
        if let Some(status) = &mut job.status {
            status.message = Some(message());
        }
        jobs.replace_status(&job.name_any(), &PostParams::default(), &job).await
    })
    .await;
    let what = format!("the same of printed jobs of {bytes} bytes each");
    figure(&what, format!("{a_second:.0}"), "");
    a_second
}

/// A text that no write before had.
fn message() -> String {
    format!("written at {}", jiff::Timestamp::now())
}

/// Writes these objects in turn, each only when its last write is answered; how many writes a second this gave.
async fn rate(objects: Vec<PrintJob>, write: impl AsyncFn(PrintJob) -> kube::Result<PrintJob>) -> f64 {
    let share = objects.len().div_ceil(AT_A_TIME);
    let began = Instant::now();
    let writers = objects.chunks(share).map(|mine| {
        let write = &write;
        let mut mine = mine.to_vec();
        async move {
            let mut written = 0_u32;
            for turn in (0..mine.len()).cycle() {
                if began.elapsed() >= SPAN {
                    break;
                }
                mine[turn] = write(mine[turn].clone()).await?;
                written += 1;
            }
            Ok::<_, kube::Error>(written)
        }
    });
    let written = futures::future::try_join_all(writers).await.unwrap();
    f64::from(written.into_iter().sum::<u32>()) / began.elapsed().as_secs_f64()
}
