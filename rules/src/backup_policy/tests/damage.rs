//! What was seen damaged or lost is told until the opposite was proven, and nothing is pruned meanwhile.

use printernizer_crds::backup_policy::RunReason;
use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::objectives::drilled;
use super::*;
use ConditionType::{
    IntegrityVerified, LastBackupSucceeded, Ready, RecoveryPointObjectiveMet, RecoveryTimeObjectiveMet, RestoreVerified,
};
use RunReason::{CopyFailed, NoRecoveryPoint, RepositoryDamaged, RestoreDiffers, Succeeded, TargetUnreachable};

/// A check that has read everything.
fn check_all(scene: &mut Scene, reason: RunReason) {
    scene.run_that_says("farm-check", reason, &json!({ "readDataPercent": 100 }));
    scene.look();
}

fn run(scene: &mut Scene, cron_job: &str, reason: RunReason) {
    scene.pass(1);
    scene.run_that_says(cron_job, reason, &json!({ "readDataPercent": 10 }));
    scene.look();
}

/// How much of the data pods of a CronJob are told to read.
fn told_to_read(scene: &Scene, cron_job: &str) -> i64 {
    let pod = scene.cron_job(cron_job).spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let told = pod.containers[0].env.as_ref().unwrap()[0].value.as_deref().unwrap();
    let told: Value = serde_json::from_str(told).unwrap();
    told["verification"]["check"]["readDataPercent"].as_i64().unwrap()
}

fn prune_is_suspended(scene: &Scene) -> bool {
    let due = scene.status().cron_jobs.into_iter().find(|c| c.name == "farm-prune").unwrap();
    let suspended = scene.cron_job("farm-prune").spec.suspend == Some(true);
    assert_eq!(suspended, due.next_schedule_time.is_none(), "what is suspended is not due, and cannot be missed");
    suspended
}

#[test]
fn damage_that_any_run_finds_stays_until_a_later_check_has_read_everything() {
    for by in ["farm-backup", "farm-check", "farm-prune", "farm-drill"] {
        let mut scene = drilled();
        check_all(&mut scene, Succeeded);
        scene.assert_says(IntegrityVerified, "True", Reason::RunSucceeded);
        run(&mut scene, by, RepositoryDamaged);
        scene.assert_says(RestoreVerified, "False", Reason::RepositoryDamaged);
        // A sample may have missed it, a drill reads one point, and who could not look has found nothing.
        for (then, end) in [
            ("farm-check", Succeeded),
            ("farm-backup", Succeeded),
            ("farm-prune", Succeeded),
            ("farm-drill", Succeeded),
            ("farm-check", TargetUnreachable),
            ("farm-check", CopyFailed),
            ("farm-drill", TargetUnreachable),
        ] {
            run(&mut scene, then, end);
            let text = scene.assert_says(IntegrityVerified, "False", Reason::RepositoryDamaged);
            assert!(text.contains(by) && text.contains("as reported"), "{text}");
            assert!(text.contains("create job farm-check-$(date +%s) --from=cronjob/farm-check"), "{text}");
            if (then, end) == ("farm-drill", Succeeded) {
                scene.assert_says(RestoreVerified, "True", Reason::RunSucceeded);
            }
        }
        check_all(&mut scene, CopyFailed);
        assert!(scene.status().last_damage.is_some(), "not all of it was read");
        check_all(&mut scene, Succeeded);
        scene.assert_says(IntegrityVerified, "True", Reason::RunSucceeded);
        assert_eq!(scene.status().last_damage, None);
    }
}

#[test]
fn a_check_that_began_before_the_damage_was_seen_proves_nothing_of_it() {
    let mut scene = drilled();
    let (check, begun) = (scene.begin("farm-check"), scene.now);
    run(&mut scene, "farm-prune", RepositoryDamaged);
    // Whatever the clock of its node says.
    scene.pass(60);
    scene.end_saying(&check, begun + secs(700), Succeeded, &json!({ "readDataPercent": 100 }));
    scene.look();
    scene.assert_says(IntegrityVerified, "False", Reason::RepositoryDamaged);
    // What is heard of late, and was disproved before.
    let damaged = std::mem::take(&mut scene.jobs);
    scene.policy.status = None;
    scene.look();
    check_all(&mut scene, Succeeded);
    scene.jobs.extend(damaged);
    scene.look();
    scene.assert_says(IntegrityVerified, "True", Reason::RunSucceeded);
}

#[test]
fn while_damage_is_known_nothing_is_pruned_and_checks_read_everything() {
    let mut scene = drilled();
    assert!(!prune_is_suspended(&scene));
    let usual = told_to_read(&scene, "farm-check");
    assert!(usual < 100);
    run(&mut scene, "farm-check", RepositoryDamaged);
    assert!(prune_is_suspended(&scene));
    assert_eq!((told_to_read(&scene, "farm-check"), told_to_read(&scene, "farm-prune")), (100, usual));
    for going_on in ["farm-backup", "farm-check", "farm-drill"] {
        assert_eq!(scene.cron_job(going_on).spec.suspend, Some(false), "{going_on}");
    }
    let text = scene.assert_says(Ready, "True", Reason::PolicyReady);
    assert!(text.contains("nothing is forgotten"), "{text}");
    check_all(&mut scene, Succeeded);
    assert!(!prune_is_suspended(&scene));
    assert_eq!(told_to_read(&scene, "farm-check"), usual);
    // Also where what was written last is not carried out.
    scene.write(&json!({ "schedule": "61 3 * * *" }));
    scene.look();
    scene.assert_says(Ready, "False", Reason::InvalidSchedule);
    assert_eq!(scene.cron_job("farm-prune").spec.suspend, Some(false));
    scene.pass(1);
    scene.run("farm-check", RepositoryDamaged);
    assert_eq!(done(&scene.look()), ["suspend farm-prune"]);
    // Nobody looks any more: then that is what is to be done.
    scene.write(&json!({ "schedule": "0 3 * * *", "verification": { "check": null } }));
    scene.look();
    let text = scene.assert_says(IntegrityVerified, "False", Reason::RepositoryDamaged);
    assert!(text.contains("set spec.verification.check"), "{text}");
}

#[test]
fn what_was_restored_to_something_else_is_told_until_a_drill_restores_all_of_it() {
    let mut scene = drilled();
    run(&mut scene, "farm-drill", Succeeded);
    run(&mut scene, "farm-drill", RestoreDiffers);
    for (then, end) in
        [("farm-drill", TargetUnreachable), ("farm-backup", Succeeded), ("farm-drill", RunReason::Interrupted)]
    {
        run(&mut scene, then, end);
        let text = scene.assert_says(RestoreVerified, "False", Reason::RestoreDiffers);
        assert!(text.contains("create job farm-drill-$(date +%s) --from=cronjob/farm-drill"), "{text}");
    }
    // A check compares no point with what was backed up.
    check_all(&mut scene, Succeeded);
    scene.assert_says(RestoreVerified, "False", Reason::RestoreDiffers);
    scene.assert_says(IntegrityVerified, "True", Reason::RunSucceeded);
    assert!(prune_is_suspended(&scene));
    // What is worse, and newer, is told first.
    run(&mut scene, "farm-drill", RunReason::RepositoryMissing);
    scene.assert_says(RestoreVerified, "False", Reason::RepositoryMissing);
    run(&mut scene, "farm-drill", Succeeded);
    scene.assert_says(RestoreVerified, "True", Reason::RunSucceeded);
    assert_eq!(scene.status().last_difference, None);
    let loss = scene.status().last_loss.unwrap().job_name;
    scene.write(&json!({ "acknowledged": loss }));
    scene.look();
    assert!(!prune_is_suspended(&scene));
}

#[test]
fn points_that_a_good_run_saw_broken_are_damage() {
    for by in ["farm-backup", "farm-drill"] {
        let mut scene = drilled();
        check_all(&mut scene, Succeeded);
        run(&mut scene, "farm-drill", Succeeded);
        let broken = json!({ "repository": { "brokenCount": 1 } });
        scene.pass(1);
        scene.run_that_says(by, Succeeded, &broken);
        scene.look();
        let text = scene.assert_says(IntegrityVerified, "False", Reason::RepositoryDamaged);
        assert!(text.contains("saw recovery points that are no longer whole"), "{text}");
        scene.assert_says(RestoreVerified, "True", Reason::RunSucceeded);
        assert!(prune_is_suspended(&scene), "{by}");
        // What is worse is not hidden by the next good run.
        run(&mut scene, "farm-check", RepositoryDamaged);
        scene.pass(1);
        scene.run_that_says("farm-backup", Succeeded, &broken);
        scene.look();
        for type_ in [IntegrityVerified, RestoreVerified] {
            scene.assert_says(type_, "False", Reason::RepositoryDamaged);
        }
        if by == "farm-backup" {
            scene.assert_says(LastBackupSucceeded, "True", Reason::RunSucceeded);
        }
    }
}

#[test]
fn what_a_try_has_proven_wrong_is_not_undone_by_the_next_try_of_the_same_run() {
    for (by, says, reason) in [
        ("farm-check", IntegrityVerified, RepositoryDamaged),
        ("farm-drill", RestoreVerified, RepositoryDamaged),
        ("farm-drill", RestoreVerified, RestoreDiffers),
    ] {
        let mut scene = drilled();
        let (job, begun) = (scene.begin(by), scene.now);
        scene.pass(60);
        scene.end_saying(&job, begun, reason, &json!({ "readDataPercent": 10 }));
        scene.pass(60);
        // Its second pod: the Job is complete now.
        scene.end_saying(&job, begun, Succeeded, &json!({ "readDataPercent": 10 }));
        scene.look();
        assert_eq!(scene.says(says).0, "False", "{by} {reason:?}");
        assert!(prune_is_suspended(&scene), "{by} {reason:?}");
    }
    // A backup that was made in the second try was made.
    let mut scene = drilled();
    let (job, begun) = (scene.begin("farm-backup"), scene.now);
    scene.end_saying(&job, begun, TargetUnreachable, &json!({}));
    scene.pass(60);
    scene.end_saying(&job, begun, Succeeded, &json!({}));
    scene.look();
    scene.assert_says(LastBackupSucceeded, "True", Reason::RunSucceeded);
}

const OLDER: &str = "20261101T020000Z-aaaaaa";
const EXPECTED: &str = "20261122T080000Z-bbbbbb";
const NEWER: &str = "20261122T081000Z-cccccc";
const NEWEST: &str = "20261122T082000Z-dddddd";

/// A policy with a good recovery point that was verified.
fn with_point() -> Scene {
    let mut scene = drilled();
    scene.write(&json!({ "objectives": { "recoveryPointSeconds": 86_400 } }));
    scene.look();
    scene.run_that_says("farm-backup", Succeeded, &json!({ "snapshot": EXPECTED }));
    for proof in ["farm-check", "farm-drill"] {
        scene.run_that_says(proof, Succeeded, &json!({ "snapshot": EXPECTED }));
    }
    scene.look();
    scene.assert_says(IntegrityVerified, "True", Reason::RunSucceeded);
    scene.pass(1);
    scene
}

#[test]
fn the_newest_points_that_a_look_does_not_see_any_more_are_a_loss() {
    let older = json!({ "snapshot": OLDER, "repository": { "newestRecoveryPoint": "2026-11-01T02:00:00Z" } });
    let none = json!({ "snapshot": null, "repository": { "snapshotCount": 0, "newestRecoveryPoint": null } });
    for (by, end, says, left) in [
        ("farm-check", Succeeded, &older, Some("2026-11-01T02:00:00Z")),
        ("farm-check", RepositoryDamaged, &older, Some("2026-11-01T02:00:00Z")),
        ("farm-prune", Succeeded, &older, Some("2026-11-01T02:00:00Z")),
        ("farm-drill", Succeeded, &older, Some("2026-11-01T02:00:00Z")),
        ("farm-check", Succeeded, &none, None),
    ] {
        let mut scene = with_point();
        scene.run_that_says(by, end, says);
        scene.look();
        let status = scene.status();
        assert_eq!(status.last_successful_time, left.map(|text| time(at(text))), "{by}");
        let loss = status.last_loss.unwrap();
        assert!(loss.job_name.starts_with(by) && loss.message.contains(EXPECTED), "{loss:?}");
        let text = scene.assert_says(RecoveryPointObjectiveMet, "False", Reason::ObjectiveMissed);
        assert!(text.contains(EXPECTED), "{text}");
        let reason = if end == RepositoryDamaged { Reason::RepositoryDamaged } else { Reason::NoRecoveryPoint };
        scene.assert_says(IntegrityVerified, "False", reason);
        assert_eq!(scene.says(RestoreVerified).0, "False");
        // A newer point is none of those, and has yet to be verified.
        scene.pass(1);
        scene.run_that_says(
            "farm-backup",
            Succeeded,
            &json!({ "snapshot": NEWER, "previousSnapshot": left.map(|_| OLDER) }),
        );
        scene.look();
        scene.assert_says(RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet);
        assert_ne!(scene.says(RestoreVerified).0, "True");
        for proof in ["farm-check", "farm-drill"] {
            scene.run_that_says(proof, Succeeded, &json!({ "snapshot": NEWER, "readDataPercent": 100 }));
        }
        scene.look();
        scene.assert_says(IntegrityVerified, "True", Reason::RunSucceeded);
        scene.assert_says(RestoreVerified, "True", Reason::RunSucceeded);
    }
}

#[test]
fn what_lost_points_held_is_pruned_only_when_a_person_has_acknowledged_the_loss() {
    let mut scene = with_point();
    for (by, says, next) in [
        ("farm-check", json!({ "snapshot": OLDER }), json!({ "snapshot": EXPECTED, "previousSnapshot": OLDER })),
        (
            "farm-backup",
            json!({ "snapshot": NEWER, "repository": { "snapshotCount": 1 } }),
            json!({ "snapshot": NEWEST, "previousSnapshot": NEWER }),
        ),
    ] {
        assert!(!prune_is_suspended(&scene), "{by}");
        scene.run_that_says(by, Succeeded, &says);
        scene.look();
        let loss = scene.status().last_loss.unwrap().job_name;
        assert!(loss.starts_with(by) && prune_is_suspended(&scene), "{loss}");
        let text = scene.assert_says(Ready, "True", Reason::PolicyReady);
        assert!(text.contains(&format!("set spec.acknowledged to {loss}")), "{text}");
        // Neither a newer point nor another text brings prunes back.
        scene.pass(1);
        scene.run_that_says("farm-backup", Succeeded, &next);
        scene.write(&json!({ "acknowledged": "farm-check-1" }));
        scene.look();
        assert!(prune_is_suspended(&scene), "{by}");
        scene.write(&json!({ "acknowledged": loss }));
        scene.look();
        assert!(!prune_is_suspended(&scene), "{by}");
        scene.assert_says(Ready, "True", Reason::PolicyReady);
        scene.pass(1);
    }
}

#[test]
fn a_backup_that_sees_the_former_points_gone_has_made_one_and_tells_the_loss() {
    let previous = json!({ "snapshot": NEWER, "previousSnapshot": OLDER });
    let only = json!({ "snapshot": NEWER, "repository": { "snapshotCount": 1 } });
    for says in [previous, only] {
        let mut scene = with_point();
        let begun = scene.now;
        scene.run_that_says("farm-backup", Succeeded, &says);
        scene.look();
        let status = scene.status();
        assert_eq!(status.last_successful_time, Some(time(begun)));
        assert_eq!(status.last_recovery_point.as_deref(), Some(NEWER));
        assert!(status.last_loss.unwrap().message.contains(EXPECTED));
        scene.assert_says(RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet);
        for type_ in [IntegrityVerified, RestoreVerified] {
            let text = scene.assert_says(type_, "False", Reason::NoRecoveryPoint);
            assert!(text.contains("are gone"), "{text}");
        }
        assert_documented("BackupPolicy", &scene.status().conditions);
    }
}

#[test]
fn what_a_look_cannot_have_seen_is_no_loss() {
    let newer = json!({ "snapshot": NEWER });
    let older = json!({ "snapshot": OLDER });
    for (by, end, says) in [
        ("farm-check", Succeeded, &newer),
        ("farm-backup", Succeeded, &json!({ "snapshot": NEWER, "previousSnapshot": EXPECTED })),
        // A program that does not say which was the newest before.
        ("farm-backup", Succeeded, &newer),
        // Who did not get as far as the repository.
        ("farm-check", TargetUnreachable, &older),
    ] {
        let mut scene = with_point();
        scene.run_that_says(by, end, says);
        scene.look();
        assert_eq!(scene.status().last_loss, None, "{by}: {says}");
    }
    // One that may have looked before the point was made, whatever the next backup came to meanwhile.
    for then in [None, Some(RunReason::RepositoryLocked)] {
        let mut scene = drilled();
        let (check, begun) = (scene.begin("farm-check"), scene.now);
        scene.run_that_says("farm-backup", Succeeded, &json!({ "snapshot": EXPECTED }));
        scene.look();
        if let Some(then) = then {
            scene.run("farm-backup", then);
            scene.look();
        }
        scene.end_saying(&check, begun, Succeeded, &older);
        scene.look();
        assert_eq!(scene.status().last_loss, None, "{then:?}");
        assert_eq!(scene.status().last_recovery_point.as_deref(), Some(EXPECTED));
    }
}

#[test]
fn recovery_points_that_any_run_finds_gone_are_claimed_no_longer_until_there_is_a_newer_one() {
    for end in [RunReason::RepositoryMissing, RunReason::RepositoryReplaced, NoRecoveryPoint] {
        for by in ["farm-backup", "farm-check", "farm-prune", "farm-drill"] {
            let mut scene = drilled();
            let objectives = json!({ "recoveryPointSeconds": 86_400, "recoveryTimeSeconds": 86_400 });
            scene.write(&json!({ "objectives": objectives }));
            scene.look();
            for cron_job in ["farm-backup", "farm-check", "farm-drill"] {
                scene.run(cron_job, RunReason::Succeeded);
            }
            scene.look();
            let all = [RecoveryPointObjectiveMet, RecoveryTimeObjectiveMet, IntegrityVerified, RestoreVerified];
            assert!(all.iter().all(|type_| scene.says(*type_).0 == "True"), "{by}");
            scene.pass(1);
            scene.run(by, end);
            scene.look();
            // Whatever comes of later attempts.
            for then in [None, Some(RunReason::TargetUnreachable), Some(RunReason::Failed)] {
                if let Some(then) = then {
                    scene.pass(1);
                    scene.run("farm-backup", then);
                    scene.look();
                }
                for type_ in all {
                    assert_eq!(scene.says(type_).0, "False", "{type_} after {end:?} of {by}, then {then:?}");
                }
                scene.assert_says(RecoveryPointObjectiveMet, "False", Reason::ObjectiveMissed);
            }
            scene.pass(1);
            scene.run("farm-backup", RunReason::Succeeded);
            scene.look();
            scene.assert_says(RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet);
            for type_ in [IntegrityVerified, RestoreVerified] {
                assert_ne!(scene.says(type_).0, "True", "{type_}: the new one was never read back");
            }
            scene.pass(1);
            scene.run("farm-check", RunReason::Succeeded);
            scene.run("farm-drill", RunReason::Succeeded);
            scene.look();
            assert!(all.iter().all(|type_| scene.says(*type_).0 == "True"), "{by}");
        }
    }
}

#[test]
fn a_loss_that_is_heard_of_late_takes_nothing_of_a_newer_backup() {
    let mut scene = drilled();
    scene.write(&json!({ "objectives": { "recoveryPointSeconds": 86_400 } }));
    scene.look();
    scene.run("farm-check", RunReason::NoRecoveryPoint);
    let late = std::mem::take(&mut scene.jobs);
    scene.pass(60);
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    scene.jobs.extend(late);
    scene.look();
    scene.assert_says(RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet);
}
