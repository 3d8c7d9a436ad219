//! How soon a farm is known again whose leader was killed.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use printernizer_e2e::wait_until;
use printernizer_simulator::Config;

use crate::figures::{Measured, figure};
use crate::results::Results;

/// A Lease lasts 15 s.
const LIMIT: Duration = Duration::from_secs(60);

/// Kills the leader of a farm beside which another process waits.
pub async fn measure(results: &mut Results) {
    let printers = results.printers;
    let mut m = Measured::empty("bench-recovery", Config::bambu(printers as usize)).await;
    m.add(&m.farm.simulator().printers(), printers).await;
    m.settled().await;
    let leases: Api<Lease> = Api::namespaced(m.farm.client(), m.farm.namespace());
    let holder = async || {
        let lease = leases.get("printernizer").await.map_err(|e| e.to_string())?;
        Ok::<_, String>(lease.spec.and_then(|s| s.holder_identity).unwrap_or_default())
    };
    let old = holder().await.unwrap();
    let standby = m.another_operator().await;
    let began = Instant::now();
    std::mem::replace(&mut m.operator, standby).kill().await.unwrap();
    wait_until("another process holds the lease", LIMIT, async || {
        let now = holder().await?;
        if now.is_empty() || now == old { Err(format!("{now:?} holds it")) } else { Ok(()) }
    })
    .await
    .unwrap();
    let acquired = began.elapsed();
    m.connected(printers).await;
    let known = began.elapsed().saturating_sub(acquired);
    figure("from a killed leader to the next one's lease", format!("{:.1} s", acquired.as_secs_f64()), "");
    let what = format!("from that lease to {printers} printers connected");
    figure(&what, format!("{:.2} s", known.as_secs_f64()), "under 5 s");
    (results.lease_seconds, results.recovery_seconds) = (Some(acquired.as_secs_f64()), Some(known.as_secs_f64()));
    m.end().await;
}
