//! What becomes of reports: each is counted once, whatever is missing proves nothing, and clocks that are wrong make nothing
//! younger.

use printernizer_crds::backup_policy::RunReason;
use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::*;

#[test]
fn a_good_backup_is_a_recovery_point_of_its_beginning_and_is_counted_once() {
    let mut scene = scene(&json!({}));
    scene.look();
    let begun = scene.now;
    let job = scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    let status = scene.status();
    assert_eq!(status.last_successful_time, Some(time(begun)), "not its end: what was written meanwhile would be lost");
    let last = status.last_backup.clone().unwrap();
    assert_eq!((last.job_name, last.reason, last.bytes_changed), (job, RunReason::Succeeded, Some(10)));
    assert_eq!(last.recovery_point_time, Some(time(begun)));
    assert_eq!((status.snapshot_count, status.repository_size_bytes), (Some(5), Some(5000)));
    assert_eq!(status.repository.unwrap().location, "s3:AWS/backups");
    scene.assert_says(ConditionType::LastBackupSucceeded, "True", Reason::RunSucceeded);
    scene.assert_says(ConditionType::TargetReachable, "True", Reason::TargetAnswers);
    // The next runs are told which repository it is.
    let container = &scene
        .cron_job("farm-backup")
        .spec
        .job_template
        .spec
        .as_ref()
        .unwrap()
        .template
        .spec
        .as_ref()
        .unwrap()
        .containers[0];
    let told = container.env.as_ref().unwrap()[0].value.clone().unwrap();
    assert!(told.contains(r#""repositoryId":"repository-1""#), "{told}");
}

#[test]
fn failures_in_a_row_are_counted_each_once_whenever_they_are_looked_at() {
    let mut scene = scene(&json!({}));
    scene.look();
    scene.run("farm-backup", RunReason::TargetFull);
    scene.look();
    scene.run("farm-backup", RunReason::CopyFailed);
    scene.run("farm-backup", RunReason::SourceUnavailable);
    scene.look();
    assert_eq!(scene.status().consecutive_failures, 3);
    let text = scene.assert_says(ConditionType::LastBackupSucceeded, "False", Reason::SourceUnavailable);
    assert!(text.contains("(3 times in a row): as reported"), "{text}");
    // Kubernetes keeps the last ones only.
    scene.jobs.remove(0);
    scene.look();
    assert_eq!(scene.status().consecutive_failures, 3);
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    assert_eq!(scene.status().consecutive_failures, 0);
}

#[test]
fn the_order_in_which_jobs_are_listed_does_not_matter() {
    let mut scene = scene(&json!({}));
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.pass(60);
    scene.run("farm-backup", RunReason::WrongPassword);
    let mut other = scene.clone();
    other.jobs.reverse();
    other.pods.reverse();
    scene.look();
    other.look();
    assert_eq!(scene.status(), other.status());
    assert_eq!(scene.status().consecutive_failures, 1);
}

#[test]
fn every_end_of_a_run_has_its_reason_and_says_of_the_target_what_it_knows() {
    use ConditionType::{LastBackupSucceeded, TargetReachable};
    for (end, reason, target) in [
        (RunReason::InvalidConfiguration, Reason::InvalidConfiguration, "Unknown"),
        (RunReason::SourceUnavailable, Reason::SourceUnavailable, "Unknown"),
        (RunReason::SourceDamaged, Reason::SourceDamaged, "Unknown"),
        (RunReason::TargetUnreachable, Reason::TargetUnreachable, "False"),
        (RunReason::SourceEmpty, Reason::SourceEmpty, "True"),
        (RunReason::TargetRefused, Reason::TargetRefused, "False"),
        (RunReason::TargetNotFound, Reason::TargetNotFound, "False"),
        (RunReason::TargetFull, Reason::TargetFull, "True"),
        (RunReason::RepositoryMissing, Reason::RepositoryMissing, "True"),
        (RunReason::RepositoryReplaced, Reason::RepositoryReplaced, "True"),
        (RunReason::WrongPassword, Reason::WrongPassword, "True"),
        (RunReason::RepositoryLocked, Reason::RepositoryLocked, "True"),
        (RunReason::RepositoryDamaged, Reason::RepositoryDamaged, "True"),
        (RunReason::CopyFailed, Reason::CopyFailed, "True"),
        (RunReason::Interrupted, Reason::Interrupted, "Unknown"),
        (RunReason::Failed, Reason::RunFailed, "Unknown"),
    ] {
        let mut scene = scene(&json!({}));
        scene.look();
        scene.run("farm-backup", end);
        scene.look();
        scene.assert_says(LastBackupSucceeded, "False", reason);
        assert_eq!(scene.says(TargetReachable).0, target, "{end:?}");
        assert_eq!(scene.status().last_successful_time, None, "{end:?}: a partial failure is a failure");
        assert_documented("BackupPolicy", &scene.status().conditions[..3]);
    }
}

#[test]
fn a_job_without_a_report_that_can_be_read_proves_nothing() {
    let good = |role: &str| {
        json!({ "role": role, "reason": "Succeeded", "message": "", "startTime": START, "endTime": START }).to_string()
    };
    for (ended_well, message, expected, words) in [
        (true, None, RunReason::Failed, "left no report"),
        (true, Some("all well".to_owned()), RunReason::Failed, "left no report"),
        (true, Some(good("Check")), RunReason::Failed, "left no report"),
        (true, Some(format!("{}{}", good("Backup"), " ".repeat(4096))), RunReason::Failed, "left no report"),
        (false, Some(good("Backup")), RunReason::Failed, "reported success and its Job failed"),
        (false, None, RunReason::Failed, "(exit code 1)"),
    ] {
        let mut scene = scene(&json!({}));
        scene.look();
        let job = scene.begin("farm-backup");
        scene.pass(60);
        scene.end_with(&job, ended_well, message.as_deref());
        scene.look();
        let status = scene.status();
        let last = status.last_backup.unwrap();
        assert_eq!(last.reason, expected, "{message:?}");
        assert!(last.message.contains(words), "{}", last.message);
        assert_eq!((status.last_successful_time, status.consecutive_failures), (None, 1), "{message:?}");
    }
}

#[test]
fn what_killed_a_pod_is_told_with_what_to_do() {
    let mut scene = scene(&json!({}));
    scene.look();
    let job = scene.begin("farm-backup");
    scene.end_with(&job, false, None);
    let containers = scene.pods[0].status.as_mut().unwrap().container_statuses.as_mut().unwrap();
    containers[0].state.as_mut().unwrap().terminated.as_mut().unwrap().reason = Some("OOMKilled".into());
    scene.look();
    assert!(scene.status().last_backup.unwrap().message.contains("resources.limits.memory"));
    scene.pass(60);
    // The Job's time was over: its pods are deleted.
    let job = scene.begin("farm-backup");
    scene.end_with(&job, false, None);
    scene.pods.pop();
    let status = scene.jobs[1].status.as_mut().unwrap();
    status.conditions.as_mut().unwrap()[0].reason = Some("DeadlineExceeded".into());
    scene.look();
    let last = scene.status().last_backup.unwrap();
    assert_eq!(last.reason, RunReason::Interrupted);
    assert!(last.message.contains("activeDeadlineSeconds"), "{}", last.message);
}

#[test]
fn of_several_tries_the_last_one_counts() {
    let mut scene = scene(&json!({}));
    scene.look();
    let (job, begun) = (scene.begin("farm-backup"), scene.now);
    scene.pass(60);
    scene.end(&job, begun, RunReason::TargetUnreachable);
    scene.pass(60);
    scene.end(&job, begun, RunReason::Succeeded);
    scene.look();
    assert_eq!(scene.status().last_backup.unwrap().reason, RunReason::Succeeded);
    scene.pods.reverse();
    let mut fresh = scene.clone();
    fresh.policy.status = None;
    fresh.look();
    assert_eq!(fresh.status().last_backup.unwrap().reason, RunReason::Succeeded);
}

#[test]
fn a_node_whose_clock_is_wrong_makes_no_recovery_point_younger() {
    for ahead in [-86_400, -1, 601, 86_400] {
        let mut scene = scene(&json!({}));
        scene.look();
        let (job, begun) = (scene.begin("farm-backup"), scene.now);
        scene.pass(600);
        scene.end(&job, begun + secs(ahead), RunReason::Succeeded);
        scene.look();
        assert_eq!(scene.status().last_successful_time, Some(time(begun)), "{ahead} s ahead");
    }
    let mut scene = scene(&json!({}));
    scene.look();
    let (job, begun) = (scene.begin("farm-backup"), scene.now);
    scene.pass(600);
    scene.end(&job, begun + secs(5), RunReason::Succeeded);
    scene.look();
    assert_eq!(scene.status().last_successful_time, Some(time(begun + secs(5))), "five seconds to begin");
}

#[test]
fn a_status_that_was_lost_is_computed_again_from_what_is_there() {
    let mut scene = scene(&json!({ "verification": { "check": { "schedule": "0 4 * * *" } } }));
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    scene.pass(60);
    scene.run("farm-check", RunReason::Succeeded);
    scene.look();
    let whole = scene.status();
    scene.policy.status = None;
    scene.look();
    let again = scene.status();
    let of = |s: &BackupPolicyStatus| {
        (s.last_backup.clone(), s.last_check.clone(), s.last_successful_time.clone(), s.counted_jobs.clone())
    };
    assert_eq!(of(&again), of(&whole));
    assert_eq!(again.repository, whole.repository);
    // Of a policy whose Jobs are gone as well, the next check says what there is.
    scene.policy.status = None;
    scene.jobs.remove(0);
    scene.look();
    assert!(scene.status().last_successful_time.is_some());
}

#[test]
fn jobs_of_others_count_for_nothing() {
    let mut scene = scene(&json!({}));
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.jobs[0].metadata.owner_references.as_mut().unwrap()[0].uid = "of an older policy of this name".into();
    scene.look();
    assert_eq!(scene.status().last_backup, None);
}

#[test]
fn a_job_whose_pod_is_seen_as_it_was_before_is_counted_when_its_report_is_seen() {
    let mut scene = scene(&json!({ "additionalSchedules": [{ "name": "noon", "schedule": "0 12 * * *" }] }));
    scene.look();
    let (job, begun) = (scene.begin("farm-backup-noon"), scene.now);
    scene.pod(
        &job,
        &json!({ "phase": "Running", "containerStatuses": [{ "name": "backup", "image": "", "imageID": "",
        "ready": true, "restartCount": 0, "state": { "running": { "startedAt": time(begun) } } }] }),
    );
    scene.pass(600);
    scene.end(&job, begun, RunReason::Succeeded);
    let ended = scene.pods.pop().unwrap();
    scene.look();
    assert_eq!((scene.status().last_backup, scene.status().consecutive_failures), (None, 0));
    // Nor is it taken away with its CronJob before.
    scene.write(&json!({ "additionalSchedules": [] }));
    assert_eq!(done(&scene.look()), ["suspend farm-backup-noon"]);
    scene.pods[0].status = ended.status;
    scene.look();
    assert_eq!(scene.status().last_backup.unwrap().reason, RunReason::Succeeded);
    assert_eq!(scene.status().last_successful_time, Some(time(begun)));
}

#[test]
fn a_run_that_is_heard_of_late_says_nothing_of_what_came_after_it() {
    let mut scene = scene(&json!({ "verification": { "check": { "schedule": "0 4 * * *" } } }));
    scene.look();
    scene.run("farm-backup", RunReason::SourceUnavailable);
    scene.run("farm-check", RunReason::RepositoryDamaged);
    let late = std::mem::take(&mut scene.jobs);
    scene.pass(60);
    scene.run("farm-backup", RunReason::Succeeded);
    scene.run("farm-check", RunReason::Succeeded);
    scene.look();
    let before = scene.status();
    scene.jobs.extend(late);
    scene.look();
    let after = scene.status();
    assert_eq!(after.counted_jobs.len(), 4);
    assert_eq!((after.last_backup, after.last_check), (before.last_backup, before.last_check));
    assert_eq!(after.consecutive_failures, 0);
    scene.assert_says(ConditionType::LastBackupSucceeded, "True", Reason::RunSucceeded);
}
