//! What people write wrongly: a clear condition, nothing created, nothing that is there changed but suspended.

use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::*;
use crate::backup_policy::needs::{ClaimFacts, Found, SecretFacts};
use crate::backup_policy::{Refusal, refused};

type Mistake = fn(&mut Scene);

const EVERYTHING: &[&str] = &["suspend farm-backup", "suspend farm-prune"];
const BACKUPS: &[&str] = &["suspend farm-backup"];
const NOTHING: &[&str] = &[];
const LIVE_TARGET: &str = "a target that a program uses";

fn used(scene: &mut Scene, claim: &str, mode: &str, nodes: &[(&str, &str)]) {
    let in_use = nodes.iter().map(|(node, pod)| ((*node).to_owned(), (*pod).to_owned())).collect();
    scene.found.claims.insert(claim.into(), Some(ClaimFacts { in_use, ..super::claim(mode) }));
}

#[allow(clippy::semicolon_if_nothing_returned, reason = "each row is one expression")]
fn rows() -> Vec<(&'static str, Mistake, Reason, &'static str, &'static [&'static str])> {
    vec![
        (
            "a minute of 61",
            |s| s.write(&json!({ "schedule": "61 3 * * *" })),
            Reason::InvalidSchedule,
            "its minute \"61\"",
            NOTHING,
        ),
        (
            "30 February",
            |s| s.write(&json!({ "retention": { "pruneSchedule": "0 0 30 2 *" } })),
            Reason::InvalidSchedule,
            "never comes",
            NOTHING,
        ),
        (
            "a further schedule",
            |s| s.write(&json!({ "additionalSchedules": [{ "name": "x", "schedule": "0 25 * * *" }] })),
            Reason::InvalidSchedule,
            "the schedule x",
            NOTHING,
        ),
        (
            "no such zone",
            |s| s.write(&json!({ "timeZone": "Europe/Bielefeld" })),
            Reason::UnknownTimeZone,
            "no time zone",
            NOTHING,
        ),
        (
            "a zone in small letters",
            |s| s.write(&json!({ "timeZone": "europe/berlin" })),
            Reason::UnknownTimeZone,
            "write Europe/Berlin",
            NOTHING,
        ),
        (
            "a copy onto the target",
            |s| {
                s.write(&json!({ "copies": [{ "s3": { "bucket": "backups", "credentialsSecretRef": { "name": "target" } } }] }))
            },
            Reason::InvalidSpec,
            "named twice",
            NOTHING,
        ),
        (
            LIVE_TARGET,
            |s| {
                s.write(&json!({ "target": { "s3": null, "persistentVolumeClaim": { "claimName": "shop" } } }));
                used(s, "shop", "ReadWriteMany", &[("n1", "shop-0")]);
            },
            Reason::VolumeInUse,
            "the volume shop, where backups are to go and where none are known, is in use by the pod shop-0 on n1",
            &["suspend farm-backup", "apply farm-prune"],
        ),
        (
            "a copy into a source",
            |s| s.write(&json!({ "copies": [{ "persistentVolumeClaim": { "claimName": "files" } }] })),
            Reason::InvalidSpec,
            "the volume files is backed up and is where",
            NOTHING,
        ),
        ("no image", |s| s.image = None, Reason::BackupImageUnset, "--backup-image", NOTHING),
        (
            "no Secret",
            |s| drop(s.found.secrets.insert("password".into(), None)),
            Reason::SecretNotFound,
            "create the Secret password with the key password",
            EVERYTHING,
        ),
        (
            "no label",
            |s| drop(s.found.secrets.insert("target".into(), Some(SecretFacts::default()))),
            Reason::SecretNotLabeled,
            "kubectl label secret target printernizer.io/usage=backup",
            EVERYTHING,
        ),
        (
            "another label",
            |s| {
                drop(s.found.secrets.insert(
                    "target".into(),
                    Some(SecretFacts { usage: Some("printer".into()), ..SecretFacts::default() }),
                ))
            },
            Reason::SecretNotLabeled,
            "usage=printer",
            EVERYTHING,
        ),
        (
            "no key",
            |s| {
                drop(s.found.secrets.insert(
                    "password".into(),
                    Some(SecretFacts { usage: Some("backup".into()), ..SecretFacts::default() }),
                ))
            },
            Reason::SecretKeyMissing,
            "add the key password",
            EVERYTHING,
        ),
        (
            "a database's Secret",
            |s| {
                s.write(&json!({ "sources": { "postgres": [{ "host": "db", "database": "d", "credentialsSecretRef": { "name": "db" } }] } }))
            },
            Reason::SecretNotFound,
            "Secret db with the key username",
            &["suspend farm-backup", "apply farm-prune"],
        ),
        (
            "no certificates",
            |s| s.write(&json!({ "target": { "s3": { "caBundleConfigMapRef": { "name": "ca", "key": "ca.crt" } } } })),
            Reason::ConfigMapNotFound,
            "create the ConfigMap ca",
            EVERYTHING,
        ),
        (
            "no volume",
            |s| drop(s.found.claims.insert("files".into(), None)),
            Reason::VolumeNotFound,
            "no PersistentVolumeClaim files",
            BACKUPS,
        ),
        (
            "no volume for copies",
            |s| s.write(&json!({ "copies": [{ "persistentVolumeClaim": { "claimName": "nas" } }] })),
            Reason::VolumeNotFound,
            "no PersistentVolumeClaim nas",
            EVERYTHING,
        ),
        (
            "a volume that goes",
            |s| {
                drop(s.found.claims.insert("files".into(), Some(ClaimFacts { deleted: true, ..ClaimFacts::default() })))
            },
            Reason::VolumeNotFound,
            "is being deleted",
            BACKUPS,
        ),
        (
            "a volume of one pod alone",
            |s| used(s, "files", "ReadWriteOncePod", &[("n1", "shop-0")]),
            Reason::VolumeInUse,
            "which is shop-0",
            BACKUPS,
        ),
        (
            "a volume on two nodes",
            |s| used(s, "files", "ReadWriteOnce", &[("n1", "shop-0"), ("n2", "shop-1")]),
            Reason::VolumeInUse,
            "files on n1 (pod shop-0), files on n2 (pod shop-1)",
            BACKUPS,
        ),
    ]
}

#[test]
fn each_mistake_has_its_reason_and_costs_nothing_but_what_cannot_run() {
    for (what, mistake, reason, words, suspended) in rows() {
        // On a policy that ran.
        let mut scene = scene(&json!({}));
        scene.look();
        let good = scene.clone();
        mistake(&mut scene);
        let plan = scene.look();
        assert_eq!(done(&plan), suspended, "{what}");
        let text = scene.assert_says(ConditionType::Ready, "False", reason);
        assert!(text.contains(words), "{what}: {text}");
        scene.assert_says(ConditionType::Stalled, "True", reason);
        // Corrected, it is as before.
        (scene.policy.spec, scene.found, scene.image) = (good.policy.spec, good.found, good.image);
        scene.look();
        scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
        assert_eq!(scene.status().conditions.condition(ConditionType::Stalled), None, "{what}");
        assert_eq!(scene.cron_jobs, good.cron_jobs, "{what}");
    }
}

#[test]
fn nothing_of_what_cannot_run_is_made() {
    for (what, mistake, reason, ..) in rows() {
        let mut scene = scene(&json!({ "trigger": { "manual": "now" } }));
        mistake(&mut scene);
        let plan = scene.look();
        let mut made = done(&plan);
        if what == LIVE_TARGET {
            // A restore of what may be there takes its Job from it.
            assert_eq!(scene.cron_job("farm-backup").spec.suspend, Some(true));
            made.retain(|made| made != "apply farm-backup");
        }
        assert!(!made.iter().any(|m| m.contains("backup")), "{what}: {made:?}");
        scene.assert_says(ConditionType::Ready, "False", reason);
        // Nor is it due, nor missed.
        for _ in 0..2 {
            let due = scene.status().cron_jobs.into_iter().filter(|c| c.role == Role::Backup);
            assert!(due.into_iter().all(|c| c.next_schedule_time.is_none()), "{what}");
            assert_eq!((scene.status().next_schedule_time, scene.status().last_missed_time), (None, None), "{what}");
            scene.pass(3 * 24 * 60 * 60);
            scene.look();
        }
        scene.assert_says(ConditionType::LastBackupSucceeded, "Unknown", Reason::NothingRunYet);
    }
}

#[test]
fn a_volume_that_something_uses_keeps_no_policy_from_its_backups_that_has_any() {
    let spec = json!({ "target": { "s3": null, "persistentVolumeClaim": { "claimName": "nas" } },
        "copies": [{ "persistentVolumeClaim": { "claimName": "disk" } }] });
    let mut scene = scene(&spec);
    for volume in ["nas", "disk"] {
        scene.found.claims.insert(volume.into(), Some(claim("ReadWriteMany")));
    }
    scene.look();
    scene.run("farm-backup", RunReason::Succeeded);
    scene.look();
    // As an operator has written it that did not know of copies.
    scene.policy.status.as_mut().unwrap().copies.clear();
    used(&mut scene, "disk", "ReadWriteMany", &[("n1", "shop-0")]);
    scene.look();
    scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
    // Nor one of which a run is known that came to nothing.
    let status = scene.policy.status.as_mut().unwrap();
    (status.repository, status.last_successful_time) = (None, None);
    status.last_backup.as_mut().unwrap().reason = RunReason::SourceUnavailable;
    scene.look();
    scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
}

#[test]
fn of_two_mistakes_the_one_that_stops_more_is_told_and_both_stop() {
    let mut scene = scene(&json!({}));
    scene.look();
    scene.write(&json!({ "schedule": "61 3 * * *" }));
    scene.found.secrets.insert("password".into(), None);
    assert_eq!(done(&scene.look()), EVERYTHING);
    scene.assert_says(ConditionType::Ready, "False", Reason::SecretNotFound);
}

#[test]
fn without_an_image_nothing_else_is_looked_for_and_nothing_is_done() {
    let mut scene = scene(&json!({}));
    scene.look();
    assert!(scene.status().next_schedule_time.is_some());
    let before = scene.clone();
    scene.image = None;
    scene.found = Found::default();
    assert_eq!(done(&scene.look()), NOTHING);
    let said = scene.assert_says(ConditionType::Ready, "False", Reason::BackupImageUnset);
    assert!(said.contains("--backup-image"), "{said}");
    assert_eq!(scene.status().next_schedule_time, None);
    // Nobody knows what is made meanwhile, nor what is not.
    scene.pass(3 * 24 * 60 * 60);
    scene.look();
    assert_eq!(scene.status().last_missed_time, None);
    assert_eq!(scene.status().cron_jobs, before.status().cron_jobs);
}

#[test]
fn what_cannot_back_up_is_not_due() {
    let mut scene = scene(&json!({}));
    scene.look();
    for (mistake, is_due) in [("schedule", true), ("password", false)] {
        match mistake {
            "schedule" => scene.write(&json!({ "schedule": "61 3 * * *" })),
            _ => drop(scene.found.secrets.insert("password".into(), None)),
        }
        scene.look();
        assert_eq!(scene.status().next_schedule_time.is_some(), is_due, "{mistake}");
    }
}

#[test]
fn what_is_not_watched_is_looked_for_again_soon() {
    let mut scene = scene(&json!({}));
    scene.found.secrets.insert("password".into(), None);
    assert_eq!(scene.look().look_again, Some(scene.now + secs(30)));
}

#[test]
fn a_name_that_is_taken_is_left_to_whom_it_belongs() {
    let mut scene = scene(&json!({}));
    let theirs = json!({ "metadata": { "name": "farm-backup", "uid": "theirs" }, "spec": { "schedule": "* * * * *",
        "jobTemplate": { "spec": { "template": {} } } } });
    scene.cron_jobs.push(serde_json::from_value(theirs).unwrap());
    assert_eq!(done(&scene.look()), ["apply farm-prune"]);
    scene.assert_says(ConditionType::Ready, "False", Reason::NameTaken);
    scene.cron_jobs.remove(0);
    assert_eq!(done(&scene.look()), ["apply farm-backup"]);
}

#[test]
fn what_others_label_and_nobody_wants_is_no_trouble_of_the_policy() {
    let mut scene = scene(&json!({}));
    let theirs = json!({ "metadata": { "name": "theirs", "uid": "theirs" }, "spec": { "schedule": "* * * * *",
        "jobTemplate": { "spec": { "template": {} } } } });
    scene.cron_jobs.push(serde_json::from_value(theirs).unwrap());
    let pod = json!({ "metadata": { "name": "theirs-0", "creationTimestamp": START }, "status": { "phase": "Pending",
        "conditions": [{ "type": "PodScheduled", "status": "False", "message": "no room" }] } });
    scene.pods.push(serde_json::from_value(pod).unwrap());
    scene.pass(60);
    scene.look();
    scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
}

#[test]
fn a_pod_that_does_not_begin_is_told_after_a_while() {
    let waiting = |reason: &str| {
        json!({ "phase": "Pending", "containerStatuses": [{ "name": "backup", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": { "waiting": { "reason": reason, "message": "why" } } }] })
    };
    let unscheduled = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/3 nodes are available" }] });
    for (status, patience, words) in [
        (waiting("ImagePullBackOff"), 30, "ImagePullBackOff: why"),
        (waiting("CreateContainerConfigError"), 30, "CreateContainerConfigError: why"),
        (waiting("ContainerCreating"), 180, "its volumes"),
        (unscheduled, 30, "0/3 nodes are available"),
    ] {
        let mut scene = scene(&json!({}));
        scene.look();
        let job = scene.begin("farm-backup");
        scene.pod(&job, &status);
        scene.pass(patience - 1);
        assert_eq!(scene.look().look_again, Some(scene.now + secs(1)));
        scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
        scene.pass(1);
        assert_eq!(done(&scene.look()), NOTHING, "it is told, and nothing is stopped");
        let text = scene.assert_says(ConditionType::Ready, "False", Reason::PodNotStarted);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_job_that_gets_no_pod_is_told_after_a_while() {
    let mut scene = scene(&json!({}));
    scene.look();
    let job = scene.begin("farm-backup");
    scene.jobs[0].status.as_mut().unwrap().active = None;
    scene.pass(179);
    assert_eq!(scene.look().look_again, Some(scene.now + secs(1)));
    scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
    scene.pass(1);
    assert_eq!(done(&scene.look()), NOTHING);
    let text = scene.assert_says(ConditionType::Ready, "False", Reason::PodNotStarted);
    assert!(text.contains(&format!("the Job {job} has no pod: a quota")), "{text}");
    // One that was tried before and waits for its next try is none of these.
    scene.pod(&job, &json!({ "phase": "Failed" }));
    scene.look();
    scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
}

#[test]
fn what_kubernetes_refuses_is_told_without_being_written_again_and_again() {
    let scene = scene(&json!({}));
    let plan = scene.decide();
    let Some(Effect::WriteStatus(decided)) = plan.effects.last() else { panic!("{plan:?}") };
    let mut policy = scene.policy.clone();
    let said = "CronJob is invalid: spec.tolerations";
    let refusal = Refusal::Invalid(said.to_owned());
    policy.status = Some(refused(&policy, decided, &refusal, scene.now));
    let condition = policy.status.as_ref().unwrap().conditions.condition(ConditionType::Ready).cloned().unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "InvalidSpec"));
    assert!(condition.message.ends_with(said), "{}", condition.message);
    let again = refused(&policy, decided, &refusal, scene.now + secs(60));
    assert_eq!(Some(again), policy.status);
}

#[test]
fn a_run_that_kubernetes_refuses_to_begin_is_still_asked_for() {
    let mut scene = scene(&json!({ "trigger": { "manual": "one" } }));
    for (refusal, reason, words) in [
        (Refusal::Forbidden("exceeded quota".into()), Reason::Forbidden, "the namespace has a quota"),
        (Refusal::Invalid("no such thing".into()), Reason::InvalidSpec, "correct its spec: no such thing"),
        (Refusal::JobTaken("a-job".into()), Reason::NameTaken, "the Job a-job is there already"),
    ] {
        let plan = scene.decide();
        assert!(done(&plan).iter().any(|what| what.starts_with("create farm-backup-")), "{plan:?}");
        let Some(Effect::WriteStatus(decided)) = plan.effects.last() else { panic!("{plan:?}") };
        scene.policy.status = Some(refused(&scene.policy, decided, &refusal, scene.now));
        let text = scene.assert_says(ConditionType::Ready, "False", reason);
        assert!(text.contains(words), "{text}");
        assert_eq!(scene.status().last_manual_trigger, None);
    }
    scene.look();
    assert_eq!((scene.jobs.len(), scene.status().last_manual_trigger), (1, Some("one".into())));
}
