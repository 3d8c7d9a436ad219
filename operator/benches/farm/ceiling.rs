//! What the API server takes: status writes a second of a client that does nothing else.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Patch, PatchParams};
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

/// Merges a status into PrintJobs again and again.
pub async fn measure() -> f64 {
    let cluster: &'static Cluster = cluster::shared().await.unwrap();
    Farm::define(cluster).await.unwrap();
    let client = cluster.client().await.unwrap();
    let namespace = Namespace::create(&client, "ceiling").await.unwrap();
    let simulator = Simulator::start(Config::bambu(0)).await.unwrap();
    let farm = Farm::new(client, namespace.name(), simulator);
    let names: Vec<String> = (0..OBJECTS).map(|n| format!("job-{n}")).collect();
    for name in &names {
        farm.print(name, "none", json!({})).await.unwrap();
    }
    let jobs = farm.jobs();
    let began = Instant::now();
    let written = futures::stream::iter(names.iter().cycle().enumerate())
        .take_while(|_| std::future::ready(began.elapsed() < SPAN))
        .map(|(turn, name)| {
            let jobs = &jobs;
            async move {
                let status = json!({ "status": { "message": format!("turn {turn}"), "phase": "Pending" } });
                jobs.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await
            }
        })
        .buffer_unordered(AT_A_TIME)
        .try_fold(0_u32, |written, _| std::future::ready(Ok(written + 1)))
        .await
        .unwrap();
    let a_second = f64::from(written) / began.elapsed().as_secs_f64();
    figure("status writes a second of a bare client", format!("{a_second:.0}"), "");
    namespace.delete().await.unwrap();
    a_second
}
