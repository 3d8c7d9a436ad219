//! Backups on a real API server with Kubernetes' own controllers of CronJobs and Jobs; only the pods end as the tests say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod backup;
mod support;

use backup::{IMAGE, Yard, report};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use printernizer_crds::{BackupPolicy, ConditionType, Reason};
use printernizer_e2e::wait_until;
use printernizer_rules::backup_policy::names::{account_name, manual_job_name};
use printernizer_simulator::Config;
use serde_json::json;
use support::{SOON, Shop};

async fn shop(name: &str) -> Shop {
    let mut shop = Shop::empty(name, Config::prusalink(1)).await;
    Yard::of(&shop).furnish().await;
    shop.operate(&[IMAGE]).await;
    shop
}

fn names<K: kube::ResourceExt>(objects: &[K]) -> Vec<String> {
    objects.iter().map(kube::ResourceExt::name_any).collect()
}

/// What the operator has written so far, events and the Lease apart.
async fn writes(shop: &Shop) -> f64 {
    let text = shop.operator.as_ref().unwrap().metrics().await.unwrap();
    let counted = |line: &&str| {
        line.starts_with("printernizer_api_requests_total{")
            && ["create", "update", "patch", "delete"].iter().any(|verb| line.contains(&format!("verb=\"{verb}\"")))
            && !["events", "leases"].iter().any(|resource| line.contains(&format!("resource=\"{resource}\"")))
    };
    text.lines().filter(counted).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_becomes_cron_jobs_and_what_their_pods_report_becomes_its_status() {
    let mut shop = shop("backup").await;
    let yard = Yard::of(&shop);
    let policy = yard
        .policy(
            "farm",
            &json!({
                "sources": { "persistentVolumeClaims": [{ "claimName": "files" }], "objects": { "kinds": ["PrintJob"] } },
                "additionalSchedules": [{ "name": "noon", "schedule": "0 12 * * *" }],
                "verification": { "check": { "schedule": "@weekly" }, "restoreDrill": { "schedule": "@monthly" } },
                "objectives": { "recoveryPointSeconds": 3600 },
                // Amounts that Kubernetes writes in its own way are no difference for ever.
                "jobTemplate": { "resources": { "requests": { "cpu": "0.0001" }, "limits": { "memory": "0.1Ti" } } },
            }),
        )
        .await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
    let cron_jobs = yard.cron_jobs().await;
    assert_eq!(names(&cron_jobs), ["farm-backup", "farm-backup-noon", "farm-check", "farm-drill", "farm-prune"]);
    let spec = &cron_jobs[0].spec;
    assert_eq!((spec.schedule.as_str(), spec.time_zone.as_deref()), ("0 3 * * *", Some("Europe/Berlin")));
    for meta in cron_jobs.iter().map(|c| &c.metadata) {
        assert_eq!(meta.owner_references.as_ref().unwrap()[0].uid, policy.uid().unwrap());
    }
    // The account that reads the jobs.
    let account = account_name("farm", &policy.uid().unwrap());
    yard.api::<ServiceAccount>().get(&account).await.unwrap();
    yard.api::<RoleBinding>().get(&account).await.unwrap();
    let rights = yard.api::<Role>().get(&account).await.unwrap().rules.unwrap();
    assert_eq!(rights[0].resources.as_deref(), Some(&["printjobs".to_owned()][..]));

    // A run that a person asks for.
    let asked = Timestamp::now();
    let job = yard.asked_for("farm", "before the upgrade").await;
    yard.end_pod_of(&job.name_any(), 0, &report("Backup", "Succeeded", Timestamp::now())).await;
    let status = yard.status("farm", "has a recovery point", |s| s.last_successful_time.is_some()).await;
    let point = status.last_successful_time.clone().unwrap().0;
    assert!(asked - SignedDuration::from_secs(1) <= point && point <= Timestamp::now(), "{point}");
    assert_eq!((status.snapshot_count, status.last_backup.unwrap().job_uid), (Some(7), job.uid().unwrap()));
    assert_eq!(status.repository.unwrap().location, "s3:AWS/backups");
    yard.says("farm", ConditionType::RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet).await;
    yard.says("farm", ConditionType::RestoreVerified, "Unknown", Reason::NothingRunYet).await;

    // It is at rest: a pass that something wakes writes nothing.
    let operator = shop.operator.as_ref().unwrap();
    let passes = async || operator.metric("printernizer_reconcile_total").await.unwrap();
    let settled = wait_until("the last pass has ended", SOON, async || {
        let (before, seen) = (writes(&shop).await, passes().await);
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { "touched": Timestamp::now().to_string() } } }));
        yard.api::<BackupPolicy>().patch("farm", &PatchParams::default(), &patch).await.map_err(|e| e.to_string())?;
        wait_until("it looks", SOON, async || if passes().await > seen { Ok(()) } else { Err("not yet") })
            .await
            .map_err(|e| e.to_string())?;
        let after = writes(&shop).await;
        if after > before { Err(format!("{before} writes, then {after}")) } else { Ok(()) }
    });
    settled.await.unwrap();

    // A Job that runs outlives a changed schedule, a suspension, and an operator.
    let job = yard.asked_for("farm", "a long one").await;
    yard.write("farm", json!({ "schedule": "30 4 * * *", "suspend": true })).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::Suspended).await;
    let changed = yard.api::<CronJob>().get("farm-backup").await.unwrap().spec;
    assert_eq!((changed.schedule.as_str(), changed.suspend), ("30 4 * * *", Some(true)));
    shop.kill_operator().await;
    shop.operate(&[IMAGE]).await;
    let yard = Yard::of(&shop);
    yard.write("farm", json!({ "additionalSchedules": [] })).await;
    wait_until("the schedule that was taken away is gone", SOON, async || {
        let names = names(&yard.cron_jobs().await);
        if names.iter().any(|name| name == "farm-backup-noon") { Err(names) } else { Ok(()) }
    })
    .await
    .unwrap();
    let still = yard.api::<Job>().get(&job.name_any()).await.unwrap();
    assert_eq!((still.uid(), still.metadata.deletion_timestamp), (job.uid(), None));
    assert_eq!(yard.jobs().await.len(), 2, "each text has one Job, whoever looks");
    // It fails twice: the run is one.
    for _ in 0..2 {
        yard.end_pod_of(&job.name_any(), 1, &report("Backup", "TargetUnreachable", Timestamp::now())).await;
    }
    let text = yard.says("farm", ConditionType::LastBackupSucceeded, "False", Reason::TargetUnreachable).await;
    assert!(text.contains("as reported"), "{text}");
    yard.says("farm", ConditionType::TargetReachable, "False", Reason::TargetUnreachable).await;
    let status = yard.status("farm", "has counted it", |s| s.consecutive_failures > 0).await;
    assert_eq!((status.consecutive_failures, status.last_successful_time.unwrap().0), (1, point));

    // What belongs to the policy goes with it, and nothing else.
    yard.api::<BackupPolicy>().delete("farm", &DeleteParams::default()).await.unwrap();
    wait_until("all of it is gone", SOON, async || {
        let left = (names(&yard.cron_jobs().await), names(&yard.jobs().await));
        if left.0.is_empty() && left.1.is_empty() { Ok(()) } else { Err(left) }
    })
    .await
    .unwrap();
    assert!(yard.api::<PersistentVolumeClaim>().get("files").await.unwrap().metadata.deletion_timestamp.is_none());
    yard.api::<Secret>().get("backup-password").await.unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_damage_is_known_the_prune_is_suspended_and_checks_read_everything() {
    let shop = shop("damage").await;
    let yard = Yard::of(&shop);
    let (verification, template) = (json!({ "check": { "schedule": "@weekly" } }), json!({ "backoffLimit": 0 }));
    yard.policy("farm", &json!({ "verification": verification, "jobTemplate": template })).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
    let check = async |name: &str, reason: &str, percent: i32| {
        let (job, began) = (yard.by_hand("farm-check", name).await, Timestamp::now());
        let mut says = report("Check", reason, began);
        says["readDataPercent"] = json!(percent);
        yard.end_pod_of(&job, i32::from(reason != "Succeeded"), &says).await;
        yard.status("farm", "has counted it", |s| s.last_check.as_ref().is_some_and(|run| run.job_name == job)).await
    };
    // What is applied while damage is known, and when it is not any more.
    let applied = async |prune: bool, percent: i32| {
        wait_until("the CronJobs are as they must be", SOON, async || {
            let all = yard.cron_jobs().await;
            let of = |name: &str| all.iter().find(|c| c.name_any() == name).map(|c| &c.spec);
            let (pruning, checking) = (of("farm-prune").ok_or("no prune")?, of("farm-check").ok_or("no check")?);
            let pod = serde_json::to_string(&checking.job_template).map_err(|e| e.to_string())?;
            let told = pod.contains(&format!(r#"\"readDataPercent\":{percent}}}"#));
            let is = (pruning.suspend, checking.suspend, told);
            if is == (Some(prune), Some(false), true) { Ok(()) } else { Err(format!("{is:?}")) }
        })
        .await
        .unwrap();
    };
    applied(false, 10).await;
    assert!(check("first", "RepositoryDamaged", 10).await.last_damage.is_some());
    applied(true, 100).await;
    // By a template from before, or by hand.
    assert!(check("second", "Succeeded", 10).await.last_damage.is_some(), "a sample proves nothing");
    yard.says("farm", ConditionType::IntegrityVerified, "False", Reason::RepositoryDamaged).await;
    assert_eq!(check("third", "Succeeded", 100).await.last_damage, None);
    yard.says("farm", ConditionType::IntegrityVerified, "True", Reason::RunSucceeded).await;
    applied(false, 10).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_point_objective_is_missed_at_the_second() {
    let shop = shop("objective").await;
    let yard = Yard::of(&shop);
    yard.policy("farm", &json!({ "objectives": { "recoveryPointSeconds": 60 } })).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
    // A recovery point of a while ago, and of whole seconds.
    let now = Timestamp::now().as_second();
    let point = Timestamp::from_second(now - 52).unwrap();
    let patch = Patch::Merge(json!({ "status": { "lastSuccessfulTime": point.to_string() } }));
    yard.api::<BackupPolicy>().patch_status("farm", &PatchParams::default(), &patch).await.unwrap();
    yard.says("farm", ConditionType::RecoveryPointObjectiveMet, "True", Reason::ObjectiveMet).await;
    yard.says("farm", ConditionType::RecoveryPointObjectiveMet, "False", Reason::ObjectiveMissed).await;
    let policy = yard.api::<BackupPolicy>().get("farm").await.unwrap();
    let conditions = policy.status.unwrap().conditions;
    let condition = conditions.iter().find(|c| c.type_ == "RecoveryPointObjectiveMet").unwrap();
    let late = condition.last_transition_time.0.duration_since(point + SignedDuration::from_secs(60));
    // Written within the second; a machine that is very busy is forgiven two.
    assert!((0..=2).contains(&late.as_secs()), "{late:?} late");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_wrongly_is_told_runs_nothing_and_heals() {
    let shop = shop("mistakes").await;
    let yard = Yard::of(&shop);
    let policy = yard.policy("farm", &json!({})).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
    let before = yard.cron_jobs().await;
    let versions = |all: &[CronJob]| all.iter().map(kube::ResourceExt::resource_version).collect::<Vec<_>>();

    for (spec, back, reason, words) in [
        (
            json!({ "schedule": "61 3 * * *" }),
            json!({ "schedule": "0 3 * * *" }),
            Reason::InvalidSchedule,
            "its minute \"61\"",
        ),
        (
            json!({ "timeZone": "Europe/Bielefeld" }),
            json!({ "timeZone": "Europe/Berlin" }),
            Reason::UnknownTimeZone,
            "no time zone",
        ),
    ] {
        yard.write("farm", spec).await;
        let text = yard.says("farm", ConditionType::Ready, "False", reason).await;
        assert!(text.contains(words), "{text}");
        yard.says("farm", ConditionType::Stalled, "True", reason).await;
        yard.write("farm", back).await;
        yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
        assert_eq!(versions(&yard.cron_jobs().await), versions(&before), "{reason}");
    }
    // What Kubernetes alone can judge is told as well.
    yard.write("farm", json!({ "jobTemplate": { "nodeSelector": { "no label!": "x" } } })).await;
    let text = yard.says("farm", ConditionType::Ready, "False", Reason::InvalidSpec).await;
    assert!(text.contains("no label!"), "{text}");
    yard.write("farm", json!({ "jobTemplate": { "nodeSelector": null } })).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;

    // What can be no name is refused when it is written, and of another one it is told that it is not there.
    let no_name = json!({ "spec": { "encryption": { "passwordSecretRef": { "name": "backup-password/status" } } } });
    let policies = yard.api::<BackupPolicy>();
    let refused = policies.patch("farm", &PatchParams::default(), &Patch::Merge(no_name)).await.unwrap_err();
    assert!(refused.to_string().contains("should match"), "{refused}");
    yard.write("farm", json!({ "encryption": { "passwordSecretRef": { "name": "backup-password-2" } } })).await;
    yard.says("farm", ConditionType::Ready, "False", Reason::SecretNotFound).await;
    yard.write("farm", json!({ "encryption": { "passwordSecretRef": { "name": "backup-password" } } })).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
    // A stranger's Job is no run that was asked for.
    let name = manual_job_name("farm", &policy.uid().unwrap(), "first");
    let theirs = json!({ "metadata": { "name": name }, "spec": { "suspend": true, "template": {
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "a", "image": "x" }] } } } });
    let theirs: Job = serde_json::from_value(theirs).unwrap();
    yard.api::<Job>().create(&PostParams::default(), &theirs).await.unwrap();
    yard.write("farm", json!({ "trigger": { "manual": "first" } })).await;
    let text = yard.says("farm", ConditionType::Ready, "False", Reason::NameTaken).await;
    assert!(text.contains(&name), "{text}");
    let status = yard.status("farm", "has begun nothing", |_| true).await;
    assert_eq!(status.last_manual_trigger, None);
    // Asked for no more before it goes: else a run would begin in its place.
    yard.write("farm", json!({ "trigger": null })).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
    yard.api::<Job>().delete(&name, &DeleteParams::background()).await.unwrap();
    wait_until("the stranger's Job is gone", SOON, async || match names(&yard.jobs().await) {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    })
    .await
    .unwrap();

    // What is missing suspends what needs it.
    let secrets = yard.api::<Secret>();
    let unlabel = Patch::Merge(json!({ "metadata": { "labels": { "printernizer.io/usage": null } } }));
    secrets.patch("backup-password", &PatchParams::default(), &unlabel).await.unwrap();
    yard.write("farm", json!({ "retention": { "keepDaily": 31 }, "trigger": { "manual": "now" } })).await;
    let text = yard.says("farm", ConditionType::Ready, "False", Reason::SecretNotLabeled).await;
    assert!(text.contains("printernizer.io/usage=backup"), "{text}");
    assert!(yard.cron_jobs().await.iter().all(|c| c.spec.suspend == Some(true)));
    assert_eq!(yard.jobs().await.len(), 0, "nothing runs with a Secret that is not meant for it");
    let label = Patch::Merge(json!({ "metadata": { "labels": { "printernizer.io/usage": "backup" } } }));
    secrets.patch("backup-password", &PatchParams::default(), &label).await.unwrap();
    // Nobody writes the policy: it is looked for again.
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;
    assert!(yard.cron_jobs().await.iter().all(|c| c.spec.suspend == Some(false)));
    let job =
        wait_until("what was asked for begins", SOON, async || yard.jobs().await.pop().ok_or("no Job")).await.unwrap();

    // A volume that is in use ties backups to its node, whatever labels its pod has, and one that is not there keeps them
    // from beginning.
    let user = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "shop-0", "labels": { "printernizer.io/backup-policy": "farm" } },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "a", "image": "x" }],
                  "volumes": [{ "name": "files", "persistentVolumeClaim": { "claimName": "files" } }] },
    });
    yard.api::<Pod>().create(&PostParams::default(), &serde_json::from_value(user).unwrap()).await.unwrap();
    yard.write("farm", json!({ "retention": { "keepDaily": 30 } })).await;
    wait_until("backups run where their volume is", SOON, async || {
        let cron_job = yard.api::<CronJob>().get("farm-backup").await.map_err(|e| e.to_string())?;
        let text = serde_json::to_string(&cron_job.spec.job_template).map_err(|e| e.to_string())?;
        if text.contains(r#""matchFields":[{"key":"metadata.name","operator":"In","values":["node-1"]}]"#) {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await
    .unwrap();
    yard.write("farm", json!({ "sources": { "persistentVolumeClaims": [{ "claimName": "nothing" }] } })).await;
    yard.says("farm", ConditionType::Ready, "False", Reason::VolumeNotFound).await;
    yard.write("farm", json!({ "sources": { "persistentVolumeClaims": [{ "claimName": "files" }] } })).await;
    yard.says("farm", ConditionType::Ready, "True", Reason::PolicyReady).await;

    // Another target, now that there is data.
    yard.end_pod_of(&job.name_any(), 0, &report("Backup", "Succeeded", Timestamp::now())).await;
    yard.says("farm", ConditionType::LastBackupSucceeded, "True", Reason::RunSucceeded).await;
    yard.write("farm", json!({ "target": { "s3": { "bucket": "elsewhere" } } })).await;
    let text = yard.says("farm", ConditionType::Ready, "False", Reason::TargetChanged).await;
    let status = yard.status("farm", "asks", |s| s.target_change.is_some()).await;
    let change = status.target_change.unwrap();
    assert!(text.contains(&change.id), "{text}");
    let told = serde_json::to_string(&yard.cron_jobs().await).unwrap();
    assert!(!told.contains("elsewhere") && !told.contains(r#""suspend":false"#), "{told}");
    yard.write("farm", json!({ "acknowledged": change.id })).await;
    let status = yard.status("farm", "begins anew", |s| s.target_change.is_none()).await;
    assert_eq!((status.repository, status.last_successful_time), (None, None));
    assert!(serde_json::to_string(&yard.cron_jobs().await).unwrap().contains("elsewhere"));
    shop.close().await;
}
