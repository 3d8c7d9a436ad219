//! PrintRecords whose time is over are deleted: once an hour, those of prints that ended longer ago than the farm keeps
//! them, and whose job does not exist any more. A record without an end, or of a job that exists, always stays: it is
//! what keeps a job from being printed a second time.

use std::time::Duration;

use jiff::Timestamp;
use printernizer_crds::PrintRecord;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, ApiError, Key};
use crate::error::of_list;
use crate::scope::Scope;
use crate::tasks::caught;
use crate::telemetry::Heartbeat;

/// Pause between two looks.
const PERIOD: Duration = Duration::from_secs(3600);
/// Pause after a look that did not succeed: right after the definitions were applied the API server may not know them.
const RETRY: Duration = Duration::from_secs(60);

/// Deletes records whose time is over, until cancelled.
pub async fn run(api: Api, scope: Scope, keep: Duration, heartbeat: Heartbeat, cancel: CancellationToken) {
    let mut next = tokio::time::Instant::now();
    loop {
        heartbeat.beat();
        if tokio::time::Instant::now() >= next {
            next = tokio::time::Instant::now() + PERIOD;
            // A namespace that cannot be read keeps no other waiting.
            for namespace in scope.parts() {
                let sweep = sweep(&api, namespace, keep, &heartbeat);
                if let Ok(Err(error)) = caught("looking for old PrintRecords", sweep).await {
                    next = tokio::time::Instant::now() + RETRY;
                    tracing::info!(namespace, error = %of_list(&error), "old PrintRecords cannot be looked for yet; tried again in a minute");
                }
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}

async fn sweep(api: &Api, namespace: Option<&str>, keep: Duration, heartbeat: &Heartbeat) -> Result<(), ApiError> {
    let now = Timestamp::now();
    for record in api.records(namespace, |record| is_over(record, keep, now)).await? {
        // Many records and a slow API server are no reason to start the process again.
        heartbeat.beat();
        let job = Key::new(&record.spec.namespace, &record.spec.name);
        if api.job_exists(&job).await? {
            continue;
        }
        api.delete_record(&record).await?;
        tracing::info!(record = %Key::of(&record), %job, "the record of a print was kept long enough");
    }
    Ok(())
}

/// Whether the print of this record ended longer ago than records are kept.
fn is_over(record: &PrintRecord, keep: Duration, now: Timestamp) -> bool {
    let ended = record.status.as_ref().and_then(|s| s.end_time.as_ref());
    ended.is_some_and(|end| now > end.0 && now.duration_since(end.0).unsigned_abs() >= keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use printernizer_crds::{PrintRecordSpec, PrintRecordStatus};

    #[test]
    fn only_the_record_of_a_print_that_ended_long_ago_is_over() {
        let day = Duration::from_hours(24);
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let record = |ended: Option<Timestamp>| {
            let spec = PrintRecordSpec {
                namespace: "farm".into(),
                name: "clip".into(),
                run_id: String::new(),
                uid: "u".into(),
                printed_on: "prusa-1".into(),
                start_time: Time("2026-01-01T00:00:00Z".parse().unwrap()),
            };
            let status = ended.map(|t| PrintRecordStatus { outcome: None, end_time: Some(Time(t)) });
            PrintRecord { metadata: ObjectMeta::default(), spec, status }
        };
        assert!(is_over(&record(Some(now - 90 * day)), 90 * day, now));
        assert!(!is_over(&record(Some(now - 89 * day)), 90 * day, now));
        assert!(!is_over(&record(Some(now + 100 * day)), 90 * day, now), "a clock that was wrong deletes nothing");
        assert!(!is_over(&record(None), 90 * day, now), "nobody knows when it ended");
    }
}
