//! Recovery points that are gone: claimed no longer, whichever run finds it, and nothing is pruned until a person has looked.

use printernizer_crds::backup_policy::RunReason;
use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::damage::prune_is_suspended;
use super::objectives::drilled;
use super::*;
use ConditionType::{IntegrityVerified, Ready, RecoveryPointObjectiveMet, RecoveryTimeObjectiveMet, RestoreVerified};
use RunReason::{NoRecoveryPoint, RepositoryDamaged, Succeeded, TargetUnreachable};

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
        // What is confirmed next is written over it, and it stays confirmed.
        scene.write(&json!({ "acknowledged": "of-a-copy" }));
        scene.look();
        assert!(!prune_is_suspended(&scene), "{by}");
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
