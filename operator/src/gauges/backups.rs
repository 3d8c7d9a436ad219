//! What is known of the backups of each BackupPolicy, from its status alone: so it is right again as soon as an operator
//! leads, whatever the one before it had counted. What a status does not say is not known, and is not shown.

use std::sync::Arc;

use printernizer_crds::backup_policy::{Role, RunReason, RunStatus};
use printernizer_crds::{BackupPolicy, ConditionType};

use crate::api::Key;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::BackupFacts;

/// Shows these policies and no others.
pub(super) fn of_policies(metrics: &Metrics, policies: &[Arc<BackupPolicy>]) {
    let of = |policy: &Arc<BackupPolicy>| {
        let Key { namespace, name } = Key::of(policy.as_ref());
        ((namespace, name), facts(policy))
    };
    metrics.set_backups(&policies.iter().map(of).collect());
}

/// What the policy's status says.
fn facts(policy: &BackupPolicy) -> BackupFacts {
    let Some(status) = &policy.status else { return BackupFacts::default() };
    let conditions = status.conditions.iter().filter_map(|condition| {
        // One of another version is left out: its type could be anything.
        let known = ConditionType::ALL.iter().find(|known| known.as_str() == condition.type_)?;
        Some((*known, condition.status.clone()))
    });
    let runs = [
        (Role::Backup, &status.last_backup),
        (Role::Check, &status.last_check),
        (Role::Prune, &status.last_prune),
        (Role::RestoreDrill, &status.last_restore_drill),
    ];
    let good = |run: &&RunStatus| run.reason == RunReason::Succeeded;
    BackupFacts {
        conditions: conditions.collect(),
        run_seconds: runs.into_iter().filter_map(|(role, run)| Some((role, seconds(run.as_ref()?)))).collect(),
        // Before the first run has ended nothing is known of any.
        consecutive_failures: status.last_backup.as_ref().map(|_| i64::from(status.consecutive_failures)),
        last_missed_time: status.last_missed_time.as_ref().map(|time| time.0.as_second()),
        last_success_time: status.last_successful_time.as_ref().map(|time| time.0.as_second()),
        recovery_point_objective_seconds: policy.spec.objectives.recovery_point_seconds,
        recovery_points: status.snapshot_count.map(i64::from),
        repository_bytes: status.repository_size_bytes,
        restore_drill_seconds: status.last_restore_drill.as_ref().filter(good).and_then(|run| run.restore_seconds),
    }
}

/// How long the run took. A clock that was set back in between makes no negative time.
fn seconds(run: &RunStatus) -> i64 {
    run.end_time.0.duration_since(run.start_time.0).as_secs().max(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(name: &str, objectives: &Value, status: &Value) -> Arc<BackupPolicy> {
        let value = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "BackupPolicy",
            "metadata": { "name": name, "namespace": "farm" },
            "spec": {
                "schedule": "@hourly", "sources": { "objects": {} },
                "target": { "persistentVolumeClaim": { "claimName": "backups" } },
                "encryption": { "passwordSecretRef": { "name": "backup", "key": "password" } },
                "retention": { "keepLast": 3 }, "objectives": objectives,
            },
            "status": status,
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn run(reason: &str, restore_seconds: Option<i64>) -> Value {
        json!({
            "jobName": "j", "jobUid": "u", "startTime": "2026-11-22T02:00:00Z", "endTime": "2026-11-22T02:01:30Z",
            "reason": reason, "restoreSeconds": restore_seconds,
        })
    }

    /// The series of backups, without the prefix.
    fn shown(metrics: &Metrics) -> Vec<String> {
        let text = metrics.text().unwrap();
        text.lines().filter_map(|line| line.strip_prefix("printernizer_backup_")).map(str::to_owned).collect()
    }

    #[test]
    fn a_policy_shows_what_its_status_says() {
        let metrics = Metrics::new().unwrap();
        let at = "2026-11-22T02:01:30Z";
        let status = json!({
            "conditions": [
                { "type": "Ready", "status": "True", "reason": "X", "message": "", "lastTransitionTime": at },
                { "type": "OfAnotherVersion", "status": "True", "reason": "X", "message": "", "lastTransitionTime": at },
            ],
            "lastBackup": run("TargetFull", None), "lastRestoreDrill": run("Succeeded", Some(61)),
            "lastSuccessfulTime": "2026-11-22T01:00:00Z", "lastMissedTime": "2026-11-21T23:00:00Z",
            "snapshotCount": 30, "repositorySizeBytes": 5_000_000_000_i64, "consecutiveFailures": 2,
        });
        of_policies(&metrics, &[policy("nightly", &json!({ "recoveryPointSeconds": 3600 }), &status)]);
        let of = "policy=\"nightly\",policy_namespace=\"farm\"";
        assert_eq!(
            shown(&metrics),
            [
                format!("consecutive_failures{{{of}}} 2"),
                format!("last_missed_timestamp_seconds{{{of}}} 1795302000"),
                format!("last_run_seconds{{{of},role=\"Backup\"}} 90"),
                format!("last_run_seconds{{{of},role=\"RestoreDrill\"}} 90"),
                format!("last_success_timestamp_seconds{{{of}}} 1795309200"),
                format!("policy_condition{{{of},status=\"False\",type=\"Ready\"}} 0"),
                format!("policy_condition{{{of},status=\"True\",type=\"Ready\"}} 1"),
                format!("policy_condition{{{of},status=\"Unknown\",type=\"Ready\"}} 0"),
                format!("recovery_point_objective_seconds{{{of}}} 3600"),
                format!("recovery_points{{{of}}} 30"),
                format!("repository_bytes{{{of}}} 5000000000"),
                format!("restore_drill_seconds{{{of}}} 61"),
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_no_zero() {
        let metrics = Metrics::new().unwrap();
        let before_the_first_run = json!({ "conditions": [], "cronJobs": [] });
        of_policies(
            &metrics,
            &[policy("new", &json!({}), &before_the_first_run), policy("unseen", &json!({}), &json!(null))],
        );
        assert_eq!(shown(&metrics), [""; 0]);
        // A drill that failed has restored nothing, in whatever time.
        let failed = json!({ "lastRestoreDrill": run("RestoreDiffers", Some(5)) });
        of_policies(&metrics, &[policy("new", &json!({}), &failed)]);
        assert_eq!(
            shown(&metrics),
            ["last_run_seconds{policy=\"new\",policy_namespace=\"farm\",role=\"RestoreDrill\"} 90"]
        );
    }

    #[test]
    fn a_policy_that_is_gone_takes_its_series_along_and_so_does_a_number_that_is_not_known_any_more() {
        let metrics = Metrics::new().unwrap();
        let known = json!({ "snapshotCount": 3, "repositorySizeBytes": 7 });
        let both = [policy("a", &json!({}), &known), policy("b", &json!({}), &known)];
        of_policies(&metrics, &both);
        assert_eq!(shown(&metrics).len(), 4);
        of_policies(&metrics, &[policy("a", &json!({}), &json!({ "snapshotCount": 4 }))]);
        assert_eq!(shown(&metrics), ["recovery_points{policy=\"a\",policy_namespace=\"farm\"} 4"]);
        of_policies(&metrics, &[]);
        assert_eq!(shown(&metrics), [""; 0]);
    }
}
