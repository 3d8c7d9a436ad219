//! When runs are due, what was missed, what a person asks for, and what becomes of CronJobs whose schedule has gone.

use printernizer_crds::backup_policy::RunReason;
use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::*;

#[test]
fn the_next_backup_is_the_first_of_all_schedules_in_the_zone_of_the_policy() {
    let mut scene = scene(&json!({ "additionalSchedules": [{ "name": "noon", "schedule": "0 12 * * *" }] }));
    assert_eq!(done(&scene.look()), ["apply farm-backup", "apply farm-backup-noon", "apply farm-prune"]);
    assert_eq!(scene.status().next_schedule_time, Some(time(at("2026-11-22T11:00:00Z"))), "noon in Berlin");
    let names: Vec<_> =
        scene.status().cron_jobs.iter().map(|c| (c.name.clone(), c.next_schedule_time.clone())).collect();
    assert_eq!(names[0], ("farm-backup".into(), Some(time(at("2026-11-23T02:00:00Z")))));
    assert_eq!(names[2], ("farm-prune".into(), Some(time(at("2026-11-29T04:00:00Z")))));
    scene.write(&json!({ "timeZone": "America/New_York" }));
    scene.look();
    // Three at night is over there only now.
    assert_eq!(scene.status().next_schedule_time, Some(time(at("2026-11-22T17:00:00Z"))));
}

#[test]
fn a_backup_that_was_not_begun_in_time_is_told_once_and_not_made_up_for() {
    let mut scene = scene(&json!({ "schedule": "0 * * * *" }));
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    // Nobody begins the one at ten.
    let late = at("2026-11-22T09:00:00Z") + secs(3600 + 30);
    scene.now = late - secs(1);
    let plan = scene.look();
    assert_eq!((scene.status().last_missed_time, plan.look_again), (None, Some(late)));
    scene.now = late;
    let plan = scene.look();
    assert_eq!(done(&plan), Vec::<String>::new(), "nothing is made up for");
    assert_eq!(scene.status().last_missed_time, Some(time(at("2026-11-22T09:00:00Z"))));
    let text = scene.assert_says(ConditionType::LastBackupSucceeded, "False", Reason::BackupMissed);
    assert!(text.contains("2026-11-22 10:00:00 CET") && text.contains("trigger.manual"), "{text}");
    // The next one, which was begun meanwhile, is none that was missed.
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    scene.assert_says(ConditionType::LastBackupSucceeded, "True", Reason::RunSucceeded);
}

#[test]
fn of_days_without_a_cluster_the_latest_missed_backup_is_told() {
    let mut scene = scene(&json!({ "schedule": "0 * * * *" }));
    scene.look();
    scene.now = at("2026-11-25T12:30:00Z");
    scene.look();
    assert_eq!(scene.status().last_missed_time, Some(time(at("2026-11-25T11:00:00Z"))));
    assert_eq!(scene.status().next_schedule_time, Some(time(at("2026-11-25T12:00:00Z"))), "that may still begin");
    assert_eq!(scene.status().consecutive_failures, 0);
}

#[test]
fn while_it_is_suspended_nothing_is_due_and_nothing_missed() {
    let mut scene = scene(&json!({ "schedule": "0 * * * *" }));
    scene.look();
    scene.write(&json!({ "suspend": true }));
    assert_eq!(done(&scene.look()), ["apply farm-backup", "apply farm-prune"]);
    assert!(scene.cron_jobs.iter().all(|c| c.spec.suspend == Some(true)));
    scene.assert_says(ConditionType::Ready, "True", Reason::Suspended);
    assert_eq!(scene.status().next_schedule_time, None);
    scene.pass(86_400);
    scene.look();
    scene.write(&json!({ "suspend": false }));
    scene.look();
    assert_eq!(scene.status().last_missed_time, None);
    assert_eq!(scene.status().next_schedule_time, Some(time(at("2026-11-23T09:00:00Z"))));
}

#[test]
fn a_changed_schedule_leaves_running_jobs_alone_and_misses_nothing_of_the_old_one() {
    let mut scene = scene(&json!({ "schedule": "0 * * * *" }));
    scene.look();
    scene.begin("farm-backup");
    scene.now = at("2026-11-22T09:59:00Z");
    scene.write(&json!({ "schedule": "30 22 * * *" }));
    assert_eq!(done(&scene.look()), ["apply farm-backup"]);
    assert_eq!((scene.jobs.len(), scene.status().last_missed_time), (1, None));
    assert_eq!(scene.status().next_schedule_time, Some(time(at("2026-11-22T21:30:00Z"))));
}

#[test]
fn a_schedule_that_goes_takes_its_cron_job_along_when_its_last_job_has_ended() {
    let mut scene = scene(&json!({ "additionalSchedules": [{ "name": "noon", "schedule": "0 12 * * *" }] }));
    scene.look();
    let (job, begun) = (scene.begin("farm-backup-noon"), scene.now);
    scene.write(&json!({ "additionalSchedules": [] }));
    assert_eq!(done(&scene.look()), ["suspend farm-backup-noon"]);
    scene.pass(600);
    scene.end(&job, begun, RunReason::Succeeded);
    let plan = scene.look();
    // The others are told which repository it is.
    assert_eq!(done(&plan), ["apply farm-backup", "apply farm-prune", "delete farm-backup-noon"]);
    assert!(matches!(plan.effects[2], Effect::WriteStatus(_)), "what it made is known before it goes");
    assert_eq!(scene.status().last_successful_time, Some(time(begun)));
}

#[test]
fn each_new_text_makes_one_backup_also_while_suspended() {
    let mut scene = scene(&json!({ "suspend": true, "trigger": { "manual": "one" } }));
    scene.look();
    assert_eq!((scene.jobs.len(), scene.status().last_manual_trigger), (1, Some("one".into())));
    // Somebody else looks who did not get as far as writing the status.
    scene.policy.status.as_mut().unwrap().last_manual_trigger = None;
    assert_eq!(done(&scene.look()), Vec::<String>::new());
    assert_eq!((scene.jobs.len(), scene.status().last_manual_trigger), (1, Some("one".into())));
    // Another one waits for its end.
    scene.write(&json!({ "trigger": { "manual": "two" } }));
    assert_eq!(done(&scene.look()), Vec::<String>::new());
    let job = scene.jobs[0].metadata.name.clone().unwrap();
    scene.pass(600);
    scene.end(&job, scene.now - secs(600), RunReason::Succeeded);
    scene.look();
    assert_eq!((scene.jobs.len(), scene.status().last_manual_trigger), (2, Some("two".into())));
    let last = scene.status().last_backup.unwrap();
    assert_eq!((last.job_name, last.reason), (job, RunReason::Succeeded));
    // Kubernetes removes it in time: it is not made again.
    scene.jobs.clear();
    assert_eq!(done(&scene.look()), Vec::<String>::new());
}

#[test]
fn where_a_volume_is_in_use_is_looked_up_shortly_before_a_backup() {
    let mut scene = scene(&json!({}));
    scene.look();
    let plan = scene.look();
    assert_eq!(plan.look_again, Some(at("2026-11-23T02:00:00Z") - secs(30)));
}
