//! Objectives are missed at the second, and what was proven is proven for a while.

use printernizer_crds::backup_policy::RunReason;
use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::*;
use ConditionType::{
    IntegrityVerified, RecoveryPointObjectiveMet, RecoveryTimeObjectiveMet, RestoreVerified, TargetReachable,
};

#[test]
fn the_recovery_point_objective_is_missed_at_the_second() {
    let mut scene = scene(&json!({ "schedule": "0 * * * *", "objectives": { "recoveryPointSeconds": 5400 } }));
    scene.look();
    scene.assert_says(RecoveryPointObjectiveMet, "Unknown", Reason::NothingRunYet);
    let begun = scene.now;
    scene.run("farm-backup", RunReason::Succeeded);
    let flips = begun + secs(5400);
    let plan = scene.look();
    scene.assert_says(RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet);
    assert!(plan.look_again.unwrap() <= flips);
    // A second before the last moment it looks again at exactly that moment.
    scene.now = flips - secs(1);
    let plan = scene.look();
    scene.assert_says(RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet);
    assert_eq!(plan.look_again, Some(flips));
    scene.now = flips;
    scene.look();
    let text = scene.assert_says(RecoveryPointObjectiveMet, "False", Reason::ObjectiveMissed);
    assert!(text.contains("2026-11-22 09:00:00 CET"), "{text}");
    let since = scene.status().conditions.condition(RecoveryPointObjectiveMet).unwrap().last_transition_time.clone();
    assert_eq!(since, time(flips));
    // A failure makes it no better, a good one does.
    scene.run("farm-backup", RunReason::CopyFailed);
    scene.look();
    scene.assert_says(RecoveryPointObjectiveMet, "False", Reason::ObjectiveMissed);
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    scene.assert_says(RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet);
}

#[test]
fn a_policy_that_never_made_a_backup_misses_its_objective_too() {
    let mut scene = scene(&json!({ "objectives": { "recoveryPointSeconds": 3600 } }));
    scene.look();
    scene.pass(3599);
    let plan = scene.look();
    scene.assert_says(RecoveryPointObjectiveMet, "Unknown", Reason::NothingRunYet);
    assert_eq!(plan.look_again, Some(at("2026-11-22T09:00:00Z")));
    scene.pass(1);
    scene.look();
    scene.assert_says(RecoveryPointObjectiveMet, "False", Reason::ObjectiveMissed);
}

#[test]
fn without_an_objective_none_is_met() {
    let mut scene = scene(&json!({}));
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    for type_ in [RecoveryPointObjectiveMet, RecoveryTimeObjectiveMet] {
        scene.assert_says(type_, "Unknown", Reason::NoObjective);
    }
}

const DRILLED: &str =
    r#"{ "verification": { "restoreDrill": { "schedule": "0 4 * * 0" }, "check": { "schedule": "0 4 * * *" } } }"#;

pub fn drilled() -> Scene {
    let mut scene = scene(&serde_json::from_str(DRILLED).unwrap());
    scene.look();
    scene
}

#[test]
fn the_recovery_time_is_what_the_last_drill_measured() {
    let mut scene = drilled();
    for (seconds, status, reason) in [(600, "True", Reason::ObjectiveMet), (599, "False", Reason::ObjectiveMissed)] {
        scene.write(&json!({ "objectives": { "recoveryTimeSeconds": seconds } }));
        scene.look();
        if seconds == 600 {
            let text = scene.assert_says(RecoveryTimeObjectiveMet, "Unknown", Reason::NothingRunYet);
            assert_eq!(text, "no restore drill has measured it yet", "what is set is not asked for");
            scene.run("farm-drill", RunReason::Succeeded);
            scene.look();
        }
        scene.assert_says(RecoveryTimeObjectiveMet, status, reason);
    }
    scene.run("farm-drill", RunReason::TargetUnreachable);
    scene.look();
    scene.assert_says(RecoveryTimeObjectiveMet, "False", Reason::TargetUnreachable);
}

#[test]
fn a_drill_that_takes_too_long_misses_the_objective_at_the_second_not_at_its_end() {
    let mut scene = drilled();
    scene.write(&json!({ "objectives": { "recoveryTimeSeconds": 900 } }));
    scene.look();
    scene.run("farm-drill", RunReason::Succeeded);
    scene.look();
    let job = scene.begin("farm-drill");
    let begun = scene.now;
    let container = json!([{ "name": "backup", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "state": { "running": { "startedAt": time(begun) } } }]);
    scene.pod(&job, &json!({ "phase": "Running", "containerStatuses": container }));
    scene.pass(899);
    let plan = scene.look();
    scene.assert_says(RecoveryTimeObjectiveMet, "True", Reason::ObjectiveMet);
    assert_eq!(plan.look_again, Some(begun + secs(900)));
    scene.pass(1);
    scene.look();
    scene.assert_says(RecoveryTimeObjectiveMet, "False", Reason::ObjectiveMissed);
}

#[test]
fn a_backup_that_was_never_read_back_is_not_verified() {
    let mut scene = scene(&json!({}));
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    for type_ in [IntegrityVerified, RestoreVerified] {
        scene.assert_says(type_, "Unknown", Reason::NotVerified);
    }
    let mut scene = drilled();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    for type_ in [IntegrityVerified, RestoreVerified] {
        scene.assert_says(type_, "Unknown", Reason::NothingRunYet);
    }
    scene.run("farm-drill", RunReason::Succeeded);
    scene.look();
    scene.assert_says(IntegrityVerified, "Unknown", Reason::NothingRunYet);
    let text = scene.assert_says(RestoreVerified, "True", Reason::RunSucceeded);
    assert!(text.contains("the recovery point of 2026-11-22 03:00:00 CET (0a1b2c3d)"), "{text}");
}

#[test]
fn what_a_look_has_found_wrong_is_false_and_what_could_not_look_is_unknown() {
    for (end, status, reason) in [
        (RunReason::RepositoryDamaged, "False", Reason::RepositoryDamaged),
        (RunReason::WrongPassword, "False", Reason::WrongPassword),
        (RunReason::RepositoryMissing, "False", Reason::RepositoryMissing),
        (RunReason::RestoreDiffers, "False", Reason::RestoreDiffers),
        (RunReason::NoRecoveryPoint, "False", Reason::NoRecoveryPoint),
        (RunReason::TargetUnreachable, "Unknown", Reason::TargetUnreachable),
        (RunReason::Interrupted, "Unknown", Reason::Interrupted),
        (RunReason::Failed, "Unknown", Reason::RunFailed),
    ] {
        let mut scene = drilled();
        scene.run("farm-backup", RunReason::Succeeded);
        scene.look();
        scene.pass(1);
        scene.run("farm-check", end);
        scene.pass(1);
        scene.run("farm-drill", end);
        scene.look();
        scene.assert_says(IntegrityVerified, status, reason);
        scene.assert_says(RestoreVerified, status, reason);
    }
}

#[test]
fn that_a_target_answered_long_ago_says_nothing_of_now() {
    let mut scene = drilled();
    // Sunday at nine in Berlin; then nights without a word of the target.
    scene.run("farm-check", RunReason::Succeeded);
    scene.look();
    scene.assert_says(TargetReachable, "True", Reason::TargetAnswers);
    scene.now = at("2026-11-23T02:00:00Z");
    scene.run("farm-backup", RunReason::SourceUnavailable);
    scene.look();
    scene.assert_says(TargetReachable, "True", Reason::TargetAnswers);
    let flips = at("2026-11-24T02:00:00Z");
    scene.now = flips - secs(1);
    assert_eq!(scene.look().look_again, Some(flips));
    scene.assert_says(TargetReachable, "True", Reason::TargetAnswers);
    scene.now = flips;
    scene.look();
    let text = scene.assert_says(TargetReachable, "Unknown", Reason::VerificationOutdated);
    assert!(text.contains("2026-11-22 09:10:00 CET"), "{text}");
    let told = scene.status().conditions.condition(TargetReachable).cloned();
    assert_documented("BackupPolicy", told.as_slice());
}

#[test]
fn a_recovery_time_that_was_measured_long_ago_is_met_no_longer() {
    let mut scene = drilled();
    scene.write(&json!({ "objectives": { "recoveryTimeSeconds": 600 } }));
    scene.look();
    scene.run("farm-drill", RunReason::Succeeded);
    scene.look();
    let flips = at("2026-12-06T03:00:00Z");
    scene.now = flips - secs(1);
    scene.look();
    scene.assert_says(RecoveryTimeObjectiveMet, "True", Reason::ObjectiveMet);
    scene.now = flips;
    scene.look();
    scene.assert_says(RecoveryTimeObjectiveMet, "Unknown", Reason::VerificationOutdated);
    scene.write(&json!({ "verification": { "restoreDrill": null } }));
    scene.look();
    scene.assert_says(RecoveryTimeObjectiveMet, "Unknown", Reason::NotVerified);
}

#[test]
fn what_was_verified_more_than_two_periods_ago_is_verified_no_longer() {
    let mut scene = drilled();
    // Sunday, after the drill of that morning.
    scene.run("farm-drill", RunReason::Succeeded);
    scene.look();
    let flips = at("2026-12-06T03:00:00Z");
    scene.now = flips - secs(1);
    assert_eq!(scene.look().look_again, Some(flips));
    scene.assert_says(RestoreVerified, "True", Reason::RunSucceeded);
    scene.now = flips;
    scene.look();
    scene.assert_says(RestoreVerified, "Unknown", Reason::VerificationOutdated);
    scene.write(&json!({ "verification": { "restoreDrill": null } }));
    scene.look();
    scene.assert_says(RestoreVerified, "Unknown", Reason::NotVerified);
}
