//! Another target on a policy with data: nothing runs until a person has decided.

use printernizer_crds::backup_policy::RunReason;
use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::*;

fn other() -> Value {
    json!({ "target": { "s3": { "bucket": "elsewhere" } } })
}

/// A policy with a backup.
fn with_data() -> Scene {
    let mut scene = scene(&json!({}));
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    scene
}

#[test]
fn a_changed_target_of_a_policy_with_data_stops_everything_and_changes_nothing_else() {
    let mut scene = with_data();
    let before = scene.cron_jobs.clone();
    scene.write(&other());
    let plan = scene.look();
    assert_eq!(done(&plan), ["suspend farm-backup", "suspend farm-prune"]);
    for (old, new) in before.iter().zip(&scene.cron_jobs) {
        assert_eq!(old.spec.job_template, new.spec.job_template);
    }
    let change = scene.status().target_change.unwrap();
    assert_eq!((change.from.as_str(), change.to.as_str()), ("s3:AWS/backups", "s3:AWS/elsewhere"));
    let text = scene.assert_says(ConditionType::Ready, "False", Reason::TargetChanged);
    assert!(text.contains(&change.id) && text.contains("nothing runs"), "{text}");
    scene.assert_says(ConditionType::Stalled, "True", Reason::TargetChanged);
    // Not even what a person asks for.
    scene.write(&json!({ "trigger": { "manual": "now" } }));
    assert_eq!(done(&scene.look()), Vec::<String>::new());
    assert_eq!(scene.status().last_manual_trigger, None);
    // The id stays the same, whoever looks.
    scene.pass(60);
    scene.look();
    assert_eq!(scene.status().target_change.unwrap().id, change.id);
}

#[test]
fn a_target_that_is_set_back_goes_on_as_if_nothing_had_been() {
    let mut scene = with_data();
    let (before, jobs) = (scene.status(), scene.cron_jobs.clone());
    scene.write(&other());
    scene.look();
    scene.write(&json!({ "target": { "s3": { "bucket": "backups" } } }));
    let plan = scene.look();
    assert_eq!(done(&plan), ["apply farm-backup", "apply farm-prune"]);
    assert_eq!(scene.cron_jobs, jobs);
    assert_eq!(scene.status().target_change, None);
    assert_eq!(scene.status().repository, before.repository);
    assert_eq!(scene.status().last_successful_time, before.last_successful_time);
}

#[test]
fn a_confirmed_change_begins_anew_and_claims_nothing_of_the_old_place() {
    let mut scene = with_data();
    scene.write(&json!({ "objectives": { "recoveryPointSeconds": 60 } }));
    scene.write(&other());
    scene.write(&json!({ "acknowledged": "something" }));
    scene.look();
    let text = scene.assert_says(ConditionType::Ready, "False", Reason::TargetChanged);
    assert!(text.contains("spec.acknowledged is something") && text.contains("has no effect"), "{text}");
    let id = scene.status().target_change.unwrap().id;
    scene.write(&json!({ "acknowledged": id }));
    assert_eq!(done(&scene.look()), ["apply farm-backup", "apply farm-prune"]);
    let status = scene.status();
    assert_eq!(
        (status.repository.clone(), status.last_successful_time.clone(), status.snapshot_count),
        (None, None, None)
    );
    scene.assert_says(ConditionType::RecoveryPointObjectiveMet, "False", Reason::ObjectiveMissed);
    // A run that was told the old repository's id would begin nothing at the new place.
    let container = serde_json::to_string(&scene.cron_job("farm-backup").spec.job_template).unwrap();
    assert!(!container.contains("repositoryId") && container.contains("elsewhere"), "{container}");
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    assert_eq!(scene.status().repository.unwrap().location, "s3:AWS/elsewhere");
    // What confirmed one change confirms no other.
    scene.write(&json!({ "target": { "s3": { "bucket": "third" } } }));
    scene.look();
    scene.assert_says(ConditionType::Ready, "False", Reason::TargetChanged);
}

#[test]
fn a_run_at_the_old_place_that_ends_after_a_confirmed_change_counts_for_nothing() {
    let mut scene = with_data();
    let job = scene.begin("farm-backup");
    let begun = scene.now;
    scene.write(&other());
    scene.look();
    let id = scene.status().target_change.unwrap().id;
    scene.write(&json!({ "acknowledged": id }));
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    let before = scene.status();
    scene.pass(60);
    scene.end(&job, begun, RunReason::Succeeded);
    scene.look();
    let after = scene.status();
    assert_eq!(after.repository.as_ref().unwrap().location, "s3:AWS/elsewhere");
    assert_eq!((after.last_backup, after.last_successful_time), (before.last_backup, before.last_successful_time));
}

#[test]
fn a_run_at_the_old_place_is_no_recovery_point_of_the_new_one_before_its_first_backup() {
    let mut scene = with_data();
    let (job, begun) = (scene.begin("farm-backup"), scene.now);
    scene.write(&other());
    scene.write(&json!({ "objectives": { "recoveryPointSeconds": 60 } }));
    scene.look();
    let id = scene.status().target_change.unwrap().id;
    scene.write(&json!({ "acknowledged": id }));
    scene.look();
    scene.pass(60);
    scene.end(&job, begun, RunReason::Succeeded);
    scene.look();
    let after = scene.status();
    assert_eq!((after.repository, after.last_backup, after.last_successful_time), (None, None, None));
    scene.assert_says(ConditionType::RecoveryPointObjectiveMet, "False", Reason::ObjectiveMissed);
}

#[test]
fn a_target_is_free_as_long_as_there_is_no_backup() {
    let mut scene = scene(&json!({}));
    scene.look();
    scene.run("farm-backup", RunReason::TargetUnreachable);
    scene.look();
    scene.write(&other());
    assert_eq!(done(&scene.look()), ["apply farm-backup", "apply farm-prune"]);
    scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
}

#[test]
fn a_first_backup_that_was_under_way_when_the_target_changed_is_not_forgotten() {
    let mut scene = scene(&json!({}));
    scene.look();
    let (job, begun) = (scene.begin("farm-backup"), scene.now);
    scene.pass(5);
    scene.write(&other());
    scene.look();
    scene.end(&job, begun, RunReason::Succeeded);
    scene.look();
    assert_eq!(scene.status().target_change.unwrap().from, "s3:AWS/backups");
}

#[test]
fn how_a_target_is_reached_may_change_freely() {
    let mut scene = with_data();
    scene.write(&json!({ "target": { "s3": { "region": "eu-central-1", "forcePathStyle": true } } }));
    assert_eq!(done(&scene.look()), ["apply farm-backup", "apply farm-prune"]);
    assert_eq!(scene.status().target_change, None);
}

/// The copies that pods of a CronJob are told of.
fn told_of(scene: &Scene, cron_job: &str) -> Value {
    let pod = scene.cron_job(cron_job).spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let told = pod.containers[0].env.as_ref().unwrap()[0].value.as_deref().unwrap();
    serde_json::from_str::<Value>(told).unwrap()["copyRepositories"].clone()
}

#[test]
fn a_copy_is_known_by_the_id_that_was_seen_first_until_a_person_gives_it_up() {
    let disk = |path: &str| json!({ "persistentVolumeClaim": { "claimName": "disk", "subPath": path } });
    let mut scene = scene(&json!({ "copies": [disk("one"), disk("two")] }));
    scene.found.claims.insert("disk".into(), Some(claim("ReadWriteMany")));
    scene.look();
    let run = |scene: &mut Scene, reason, ids: Value| {
        scene.pass(1);
        scene.run_that_says("farm-backup", reason, &json!({ "copyIds": ids }));
        scene.look();
    };
    let known = |one: Option<&str>, two: Option<&str>| -> Value {
        let both = [("pvc:disk/one", one), ("pvc:disk/two", two)].into_iter();
        both.filter_map(|(location, id)| Some(json!({ "location": location, "id": id? }))).collect()
    };
    // The first could not be made yet.
    run(&mut scene, RunReason::CopyFailed, json!([null, "id-two"]));
    assert_eq!(told_of(&scene, "farm-backup"), known(None, Some("id-two")));
    run(&mut scene, RunReason::Succeeded, json!(["id-one", "another"]));
    let both: Value = [known(None, Some("id-two")), known(Some("id-one"), None)]
        .iter()
        .flat_map(|known| known.as_array().unwrap().clone())
        .collect();
    for role in ["farm-backup", "farm-prune"] {
        assert_eq!(told_of(&scene, role), both);
    }
    // What was confirmed before stays so, though there is one field for all.
    scene.write(&json!({ "acknowledged": "id-two" }));
    scene.look();
    assert_eq!(told_of(&scene, "farm-backup"), known(Some("id-one"), None));
    run(&mut scene, RunReason::Succeeded, json!(["id-one", "another"]));
    assert_eq!(scene.status().copies.len(), 2);
    // Though its id stands in the spec, a copy that was given up and is seen again is known again.
    scene.write(&json!({ "acknowledged": "id-one" }));
    scene.look();
    assert_eq!(told_of(&scene, "farm-backup"), known(None, Some("another")));
    run(&mut scene, RunReason::Succeeded, json!(["id-one", "another"]));
    scene.pass(1);
    scene.look();
    assert_eq!(scene.status().copies.len(), 2);
    // It is given up again when it is written again.
    for (acknowledged, left) in [(json!(null), 2), (json!("id-one"), 1)] {
        scene.write(&json!({ "acknowledged": acknowledged }));
        scene.look();
        assert_eq!(scene.status().copies.len(), left);
    }
    // Two that have changed places, and are to stay so.
    run(&mut scene, RunReason::Succeeded, json!(["id-one", null]));
    for given_up in ["another", "id-one"] {
        scene.write(&json!({ "acknowledged": given_up }));
        scene.look();
    }
    assert_eq!(scene.status().copies, []);
    run(&mut scene, RunReason::Succeeded, json!(["another", "id-one"]));
    assert_eq!(told_of(&scene, "farm-backup"), known(Some("another"), Some("id-one")));
    // What is the target itself, or another copy, is none; nor where it was known as one.
    let mut same = scene.clone();
    same.policy.status.as_mut().unwrap().copies.clear();
    run(&mut same, RunReason::Succeeded, json!(["repository-1", "another"]));
    assert_eq!(told_of(&same, "farm-backup"), known(None, Some("another")));
    run(&mut same, RunReason::Succeeded, json!(["another", "another"]));
    assert_eq!(told_of(&same, "farm-backup"), known(None, Some("another")));
    let mut was_known = scene.clone();
    was_known.policy.status.as_mut().unwrap().copies[0].id = "repository-1".into();
    was_known.look();
    assert_eq!(told_of(&was_known, "farm-backup"), known(None, Some("id-one")));
    // Nobody wants the first any more.
    scene.write(&json!({ "copies": [disk("two")] }));
    scene.look();
    assert_eq!(told_of(&scene, "farm-backup"), known(None, Some("id-one")));
}
