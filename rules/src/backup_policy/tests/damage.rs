//! What was seen damaged is told until the opposite was proven, and nothing is pruned meanwhile.

use printernizer_crds::backup_policy::RunReason;
use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::objectives::drilled;
use super::*;
use ConditionType::{IntegrityVerified, LastBackupSucceeded, Ready, RecoveryTimeObjectiveMet, RestoreVerified};
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

pub fn prune_is_suspended(scene: &Scene) -> bool {
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

/// What checks are told of a reading of everything.
fn told_of_reading(scene: &Scene) -> Value {
    let pod = scene.cron_job("farm-check").spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let told = pod.containers[0].env.as_ref().unwrap()[0].value.as_deref().unwrap();
    serde_json::from_str::<Value>(told).unwrap()["reading"].clone()
}

#[test]
fn damage_ends_when_checks_have_read_everything_one_part_after_the_other() {
    let mut scene = drilled();
    let read = |scene: &mut Scene, reason, before: i32, done: i32, of: i32| {
        scene.pass(1);
        let more = json!({ "readDataPercent": 30, "readBefore": before, "reading": { "done": done, "of": of } });
        scene.run_that_says("farm-check", reason, &more);
        scene.look();
    };
    assert_eq!(told_of_reading(&scene), Value::Null);
    run(&mut scene, "farm-check", RepositoryDamaged);
    assert_eq!(told_of_reading(&scene), json!({ "done": 0, "of": 0 }));
    read(&mut scene, Succeeded, 0, 3, 10);
    // As far as it came it has read.
    read(&mut scene, TargetUnreachable, 3, 4, 10);
    assert_eq!(told_of_reading(&scene), json!({ "done": 4, "of": 10 }));
    let text = scene.assert_says(IntegrityVerified, "False", Reason::RepositoryDamaged);
    assert!(text.contains("4 of 10 parts") && text.contains("The last look, farm-check-3, failed"), "{text}");
    // What leaves parts out, has other parts, or is behind counts for nothing.
    for (before, done, of) in [(5, 10, 10), (4, 12, 12), (0, 2, 10)] {
        read(&mut scene, Succeeded, before, done, of);
        assert_eq!(told_of_reading(&scene), json!({ "done": 4, "of": 10 }), "{before} {done} {of}");
    }
    // Damage that is found meanwhile is to be disproved from the beginning.
    run(&mut scene, "farm-backup", RepositoryDamaged);
    assert_eq!(told_of_reading(&scene), json!({ "done": 0, "of": 0 }));
    read(&mut scene, Succeeded, 0, 9, 10);
    read(&mut scene, CopyFailed, 9, 10, 10);
    assert!(scene.status().last_damage.is_some() && prune_is_suspended(&scene));
    read(&mut scene, Succeeded, 9, 10, 10);
    let status = scene.status();
    assert_eq!((status.last_damage, status.reading), (None, None));
    assert_eq!(told_of_reading(&scene), Value::Null);
    assert!(!prune_is_suspended(&scene));
    scene.assert_says(IntegrityVerified, "True", Reason::RunSucceeded);

    // One that had begun before has read what was not known to be damaged.
    let (check, begun) = (scene.begin("farm-check"), scene.now);
    run(&mut scene, "farm-backup", RepositoryDamaged);
    scene.end_saying(&check, begun, Succeeded, &json!({ "readBefore": 0, "reading": { "done": 5, "of": 5 } }));
    scene.look();
    assert_eq!(told_of_reading(&scene), json!({ "done": 0, "of": 0 }));
}

/// A policy with a copy, of which some parts were read since damage was seen.
fn half_read() -> Scene {
    let mut scene = drilled();
    scene.found.claims.insert("disk".into(), Some(claim("ReadWriteMany")));
    scene.write(&json!({ "copies": [{ "persistentVolumeClaim": { "claimName": "disk" } }] }));
    scene.look();
    for (by, end) in [("farm-backup", Succeeded), ("farm-check", RepositoryDamaged)] {
        scene.run_that_says(by, end, &json!({ "copyIds": ["id-one"] }));
        scene.look();
        scene.pass(1);
    }
    read(&mut scene, Succeeded, 0, 4);
    assert_eq!(told_of_reading(&scene), json!({ "done": 4, "of": 10 }));
    scene
}

/// A check that reads so many of ten parts, after so many.
fn read(scene: &mut Scene, end: RunReason, before: i32, done: i32) {
    let more = json!({ "readBefore": before, "reading": { "done": done, "of": 10 }, "copyIds": ["id-one"] });
    scene.run_that_says("farm-check", end, &more);
    scene.look();
    scene.pass(1);
}

#[test]
fn what_was_read_at_other_places_proves_nothing_of_those_that_count_now() {
    let disk = |name: &str| json!({ "persistentVolumeClaim": { "claimName": name } });
    let nothing = json!({ "done": 0, "of": 0 });
    // A copy that is new, in the place of another or beside it, and one that a person has given up and another was made for.
    for (copies, acknowledged) in
        [(json!([disk("other")]), ""), (json!([disk("disk"), disk("other")]), ""), (json!([disk("disk")]), "id-one")]
    {
        let mut scene = half_read();
        scene.found.claims.insert("other".into(), Some(claim("ReadWriteMany")));
        let (check, begun) = (scene.begin("farm-check"), scene.now);
        scene.write(&json!({ "copies": copies, "acknowledged": acknowledged }));
        scene.look();
        if !acknowledged.is_empty() {
            scene.run_that_says("farm-backup", Succeeded, &json!({ "copyIds": ["id-two"] }));
            scene.look();
        }
        assert_eq!(told_of_reading(&scene), nothing, "{copies} {acknowledged}");
        // Nor does the check that was told of the former ones.
        let more = json!({ "readBefore": 4, "reading": { "done": 10, "of": 10 }, "copyIds": ["id-one"] });
        scene.end_saying(&check, begun, Succeeded, &more);
        scene.look();
        assert!(scene.status().last_damage.is_some(), "{copies} {acknowledged}");
    }
    // Other backups are to be made; the copy stays, and may be what is damaged.
    for (copies, stays) in [(json!([disk("disk")]), true), (json!([]), false)] {
        let mut scene = half_read();
        scene.write(&json!({ "target": { "s3": { "bucket": "elsewhere" } }, "copies": copies }));
        scene.look();
        let id = scene.status().target_change.unwrap().id;
        scene.write(&json!({ "acknowledged": id }));
        scene.look();
        assert_eq!(scene.status().last_damage.is_some(), stays);
        assert_eq!(told_of_reading(&scene), if stays { nothing.clone() } else { Value::Null });
    }
}

#[test]
fn damage_that_has_ended_is_not_back_when_its_run_is_heard_of_again() {
    let mut scene = half_read();
    read(&mut scene, Succeeded, 4, 10);
    assert_eq!(scene.status().last_damage, None);
    read(&mut scene, TargetUnreachable, 0, 0);
    let before = scene.status();
    // The operator was told no image for a while, and looked at no Jobs.
    let (image, jobs) = (scene.image.take(), std::mem::take(&mut scene.jobs));
    scene.look();
    assert_eq!(scene.status().counted_jobs, before.counted_jobs);
    (scene.image, scene.jobs) = (image, jobs);
    scene.look();
    assert_eq!((scene.status().last_damage, scene.status().consecutive_failures), (None, 0));
    // Nor where it is counted again, and of the good ones Kubernetes keeps no longer those that have disproved it.
    scene.jobs.retain(|job| job.metadata.name.as_deref() == Some("farm-check-2"));
    scene.policy.status.as_mut().unwrap().counted_jobs.clear();
    scene.look();
    assert_eq!(scene.status().last_damage, None);
    assert!(!prune_is_suspended(&scene));
}

#[test]
fn of_all_tries_of_a_check_the_parts_count_that_any_has_read() {
    for (last, is_killed) in [(Some(Succeeded), false), (Some(TargetUnreachable), false), (None, true)] {
        let mut scene = half_read();
        let (job, begun) = (scene.begin("farm-check"), scene.now);
        let read = |done: i32| json!({ "readBefore": 4, "reading": { "done": done, "of": 10 }, "copyIds": ["id-one"] });
        scene.end_saying(&job, begun, TargetUnreachable, &read(7));
        scene.pass(60);
        match last {
            Some(end) => scene.end_saying(&job, begun, end, &read(5)),
            None => scene.end_with(&job, false, None),
        }
        scene.look();
        assert_eq!(told_of_reading(&scene), json!({ "done": 7, "of": 10 }), "{last:?} {is_killed}");
    }
}

#[test]
fn a_long_tale_of_damage_leaves_room_for_what_is_to_be_done() {
    let mut scene = drilled();
    scene.run_that_says("farm-check", RepositoryDamaged, &json!({ "message": "ä".repeat(512) }));
    scene.pass(1);
    scene.run_that_says("farm-check", TargetUnreachable, &json!({ "message": "ö".repeat(512) }));
    scene.look();
    let text = scene.assert_says(IntegrityVerified, "False", Reason::RepositoryDamaged);
    assert!(text.contains("--from=cronjob/farm-check"), "{text}");
}

#[test]
fn what_is_to_be_done_comes_whole_with_the_longest_names() {
    let mut scene = drilled();
    (scene.cron_jobs, scene.policy.status) = (Vec::new(), None);
    scene.policy.metadata.name = Some("p".repeat(52));
    scene.policy.metadata.namespace = Some("n".repeat(63));
    scene.look();
    let check = scene.status().cron_jobs.into_iter().find(|c| c.role == Role::Check).unwrap().name;
    assert_eq!(check.len(), 52);
    for (end, more) in [
        (RepositoryDamaged, json!({ "message": "ä".repeat(512) })),
        (Succeeded, json!({ "readBefore": 0, "reading": { "done": 128, "of": 256 } })),
        (TargetUnreachable, json!({ "message": "ö".repeat(512) })),
    ] {
        scene.run_that_says(&check, end, &more);
        scene.look();
        scene.pass(1);
    }
    for condition in [IntegrityVerified, RestoreVerified] {
        let text = scene.assert_says(condition, "False", Reason::RepositoryDamaged);
        assert!(text.ends_with(&format!("create job {check}-$(date +%s) --from=cronjob/{check}")), "{text}");
        assert!(text.contains("ää") && text.contains("öö") && text.contains("128 of 256 parts"), "{text}");
    }
}

#[test]
fn a_prune_that_runs_by_itself_is_ended_when_damage_is_found_and_one_a_person_began_is_not() {
    for (annotation, is_ended) in [("anything", true), ("cronjob.kubernetes.io/instantiate", false)] {
        let mut scene = drilled();
        let prune = scene.begin("farm-prune");
        scene.annotate(&prune, annotation, "manual");
        scene.pass(1);
        scene.run_that_says("farm-backup", Succeeded, &json!({}));
        scene.look();
        assert!(scene.jobs.iter().any(|job| job.metadata.name.as_ref() == Some(&prune)), "nothing is wrong yet");
        scene.run_that_says("farm-check", RepositoryDamaged, &json!({}));
        let plan = scene.decide();
        assert_eq!(done(&plan).contains(&"delete farm-prune".to_owned()), is_ended, "{:?}", done(&plan));
        plan.effects.into_iter().for_each(|effect| scene.carry_out(effect));
        assert_eq!(scene.jobs.iter().any(|job| job.metadata.name.as_ref() == Some(&prune)), !is_ended);
        if is_ended {
            assert!(done(&scene.look()).contains(&"apply farm-prune".to_owned()));
        }
        assert!(prune_is_suspended(&scene));
        scene.assert_says(IntegrityVerified, "False", Reason::RepositoryDamaged);
        let had = scene.jobs.len();
        scene.look();
        assert_eq!(scene.jobs.len(), had, "nothing more goes");
    }
}

#[test]
fn before_the_first_backup_nothing_is_wrong_with_what_is_not_there_yet() {
    let mut scene = scene(&json!({
        "verification": { "check": { "schedule": "0 1 * * 0" }, "restoreDrill": { "schedule": "0 2 1 * *" } },
        "objectives": { "recoveryTimeSeconds": 3600 },
    }));
    scene.look();
    for by in ["farm-check", "farm-drill"] {
        scene.pass(1);
        scene.run_that_says(by, NoRecoveryPoint, &json!({ "repository": null }));
        scene.look();
    }
    let nothing_is_wrong = |scene: &Scene| {
        for condition in [IntegrityVerified, RestoreVerified, RecoveryTimeObjectiveMet] {
            let text = scene.assert_says(condition, "Unknown", Reason::NothingRunYet);
            assert!(text.contains("no recovery point yet"), "{text}");
        }
    };
    nothing_is_wrong(&scene);
    // Nor was anything wrong then when there is one.
    run(&mut scene, "farm-backup", Succeeded);
    assert!(scene.status().repository.is_some());
    nothing_is_wrong(&scene);
    // Where one was made and none is left, that is told; and a newer one has yet to be verified.
    run(&mut scene, "farm-backup", RunReason::RepositoryMissing);
    for condition in [IntegrityVerified, RestoreVerified, RecoveryTimeObjectiveMet] {
        scene.assert_says(condition, "False", Reason::RepositoryMissing);
    }
    run(&mut scene, "farm-backup", Succeeded);
    scene.assert_says(IntegrityVerified, "Unknown", Reason::NothingRunYet);
    run(&mut scene, "farm-check", NoRecoveryPoint);
    scene.assert_says(IntegrityVerified, "False", Reason::NoRecoveryPoint);
    assert!(scene.status().last_loss.unwrap().job_name.starts_with("farm-check"));
}

#[test]
fn points_that_no_good_run_made_are_lost_too() {
    let mut scene = drilled();
    run(&mut scene, "farm-backup", CopyFailed);
    assert_eq!(scene.status().last_successful_time, None);
    run(&mut scene, "farm-check", NoRecoveryPoint);
    scene.assert_says(IntegrityVerified, "False", Reason::NoRecoveryPoint);
    assert!(scene.status().last_loss.is_some() && prune_is_suspended(&scene));
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
    // What was not there yet in the first try was made by a backup before the second.
    let mut scene = drilled();
    let (job, begun) = (scene.begin("farm-check"), scene.now);
    scene.end_saying(&job, begun, NoRecoveryPoint, &json!({ "repository": null }));
    scene.run_that_says("farm-backup", Succeeded, &json!({}));
    scene.end_saying(&job, begun, Succeeded, &json!({}));
    scene.look();
    scene.assert_says(IntegrityVerified, "True", Reason::RunSucceeded);
    // A backup that was made in the second try was made.
    let mut scene = drilled();
    let (job, begun) = (scene.begin("farm-backup"), scene.now);
    scene.end_saying(&job, begun, TargetUnreachable, &json!({}));
    scene.pass(60);
    scene.end_saying(&job, begun, Succeeded, &json!({}));
    scene.look();
    scene.assert_says(LastBackupSucceeded, "True", Reason::RunSucceeded);
}
