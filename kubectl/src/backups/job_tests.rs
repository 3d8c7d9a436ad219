//! What is asked for, and the Job that comes of it.

use clap::Parser as _;
use serde_json::{Value, json};

use super::super::testing::policy;
use super::*;
use crate::arguments::{Arguments, Command};
use crate::objects::testing::now;

fn asked(more: &str) -> Result<Wanted, String> {
    let line = format!("x restore shop {more}");
    let parsed = Arguments::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
    let Command::Restore(arguments) = parsed.command else { panic!("{line}") };
    let copies = json!({ "spec": { "copies": [{ "persistentVolumeClaim": { "claimName": "second" } }] } });
    Wanted::of(&policy("shop", copies, &[]), &arguments).map_err(|error| error.to_string())
}

#[test]
fn what_is_asked_for_is_told_to_the_program_by_the_policys_own_order() {
    for (more, arguments, claims) in [
        ("--list", "list", vec![]),
        ("--list --copy 1", "list --copy 0", vec![]),
        ("--volume models=models", "restore --point latest --volume models=models", vec!["models"]),
        ("--point 4f2a --volume app=new", "restore --point 4f2a --volume app=new", vec!["new"]),
        ("--postgres orders=orders_back", "restore --point latest --postgres 0=orders_back", vec![]),
        ("--postgres orders=orders --overwrite", "restore --point latest --postgres 0=orders --overwrite", vec![]),
        ("--postgres db-2/stock=stock", "restore --point latest --postgres 2=stock", vec![]),
        (
            "--volume models=new --volume app=other --postgres orders=back --copy 1",
            "restore --point latest --volume models=new --volume app=other --postgres 0=back --copy 0",
            vec!["new", "other"],
        ),
    ] {
        let wanted = asked(more).unwrap();
        assert_eq!(wanted.arguments().join(" "), arguments);
        assert_eq!(wanted.claims(), claims, "{more}");
    }
}

#[test]
fn what_the_policy_has_not_and_what_names_nothing_is_refused_with_what_there_is() {
    for (more, words) in [
        ("", "required"),
        ("--volume modls=models", "does not back up the volume modls; it has: app, models"),
        ("--list --copy 2", "has 1 copies, and no number 2"),
        ("--volume models=models --overwrite", "--postgres"),
        ("--list --copy 0", "0 is not in 1..=9"),
        ("--volume models", "WHAT=DESTINATION"),
        ("--volume models=", "WHAT=DESTINATION"),
        ("--volume models=../etc", "no name of a PersistentVolumeClaim"),
        ("--postgres stock=back", "write HOST/DATABASE=back; there are db-1/orders, db-1/stock, db-2/stock"),
        ("--postgres users=back", "does not back up the PostgreSQL database users"),
        ("--postgres orders=a;b", "no plain name of a database"),
        ("--objects", "does not back up objects"),
        ("--objects --volume models=models", "cannot be used with"),
        ("--list --objects", "cannot be used with"),
        ("--point --x --list", "unexpected argument"),
        ("--point=-x --list", "no id of a recovery point"),
        ("--point a/b --volume models=models", "no id of a recovery point"),
    ] {
        let said = asked(more.trim()).unwrap_err();
        assert!(said.contains(words), "{more}: {said}");
    }
}

#[test]
fn the_volume_with_the_backups_is_no_destination() {
    let more = json!({ "spec": { "copies": [{ "persistentVolumeClaim": { "claimName": "second" } }] } });
    let of = |into: &str| {
        let wanted = asked(&format!("--volume models={into}")).unwrap();
        spares_the_backups(&policy("shop", more.clone(), &[]), &wanted)
    };
    assert!(of("models").is_ok());
    for into in ["backups", "second"] {
        assert!(of(into).unwrap_err().to_string().contains("the backups themselves"), "{into}");
    }
}

#[test]
fn a_job_has_a_name_that_fits_into_a_label() {
    assert_eq!(name("shop", now()), "shop-restore-20261122-120000000");
    let long = name(&format!("{}-x", "a".repeat(35)), now());
    assert_eq!((long.len(), long.ends_with("a-restore-20261122-120000000")), (62, true), "{long}");
}

/// A CronJob as the operator makes one.
/// What the operator tells the pods of this policy.
fn told(policy: &BackupPolicy) -> String {
    let mut told = json!(policy.spec);
    told["namespace"] = json!("farm");
    told["policy"] = json!(policy.name_any());
    told.to_string()
}

fn template() -> CronJob {
    template_for(&policy("shop", json!({}), &[]))
}

fn template_for(policy: &BackupPolicy) -> CronJob {
    serde_json::from_value(json!({
        "metadata": { "name": "shop-backup", "ownerReferences": [] },
        "spec": { "schedule": "40 * * * *", "suspend": true, "jobTemplate": {
            "metadata": { "labels": { "printernizer.io/backup-policy": "shop", "printernizer.io/backup-role": "backup" } },
            "spec": { "backoffLimit": 1, "activeDeadlineSeconds": 86_400, "template": {
                "metadata": { "labels": { "printernizer.io/backup-policy": "shop", "printernizer.io/backup-role": "backup" } },
                "spec": {
                    "restartPolicy": "Never", "affinity": { "nodeAffinity": {} }, "serviceAccountName": "shop-backup",
                    "automountServiceAccountToken": true, "securityContext": { "runAsUser": 65_532, "runAsGroup": 65_532 },
                    "containers": [{
                        "name": "backup", "image": "registry.example/backup:1", "args": ["backup"],
                        "env": [{ "name": "PRINTERNIZER_BACKUP", "value": told(policy) }],
                        "volumeMounts": [
                            { "name": "source-0", "mountPath": "/sources/volumes/models", "readOnly": true },
                            { "name": "target", "mountPath": "/target" },
                            { "name": "scratch", "mountPath": "/scratch" },
                        ],
                    }],
                    "volumes": [
                        { "name": "source-0", "persistentVolumeClaim": { "claimName": "models" } },
                        { "name": "target", "persistentVolumeClaim": { "claimName": "backups" } },
                        { "name": "scratch", "emptyDir": {} },
                    ],
                },
            } },
        } },
    }))
    .unwrap()
}

#[test]
fn a_restore_reaches_the_repository_as_backups_do_and_needs_no_source() {
    let wanted = asked("--volume models=new").unwrap();
    let job = job(&policy("shop", json!({}), &[]), &template(), "shop-restore-1", &wanted).unwrap();
    let made = serde_json::to_value(job).unwrap();
    let labels = json!({ "printernizer.io/backup-policy": "shop", "printernizer.io/backup-role": "restore" });
    assert_eq!(made["metadata"], json!({ "name": "shop-restore-1", "labels": labels }));
    let spec = &made["spec"];
    assert_eq!((&spec["backoffLimit"], &spec["ttlSecondsAfterFinished"]), (&json!(0), &json!(604_800)));
    assert_eq!((&spec["activeDeadlineSeconds"], &spec["suspend"]), (&json!(86_400), &Value::Null));
    assert_eq!(spec["template"]["metadata"]["labels"], labels);
    let pod = &spec["template"]["spec"];
    assert_eq!((&pod["affinity"], &pod["automountServiceAccountToken"]), (&Value::Null, &json!(false)));
    assert_eq!(pod["securityContext"]["fsGroup"], 65_532, "a new volume belongs to root");
    let container = &pod["containers"][0];
    assert_eq!(container["args"], json!(["restore", "--point", "latest", "--volume", "models=new"]));
    let variable = json!({ "name": "PRINTERNIZER_BACKUP", "value": told(&policy("shop", json!({}), &[])) });
    assert_eq!(container["env"], json!([variable]));
    assert_eq!(
        container["volumeMounts"],
        json!([
            { "name": "target", "mountPath": "/target" },
            { "name": "scratch", "mountPath": "/scratch" },
            { "name": "restore-0", "mountPath": "/restore/new" },
        ])
    );
    assert_eq!(
        pod["volumes"],
        json!([
            { "name": "target", "persistentVolumeClaim": { "claimName": "backups" } },
            { "name": "scratch", "emptyDir": {} },
            { "name": "restore-0", "persistentVolumeClaim": { "claimName": "new" } },
        ])
    );
}

#[test]
fn a_list_writes_to_no_volume() {
    let job = job(&policy("shop", json!({}), &[]), &template(), "x", &asked("--list").unwrap()).unwrap();
    let made = serde_json::to_value(job).unwrap();
    let pod = &made["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["args"], json!(["list"]));
    assert!(!pod["volumes"].to_string().contains("restore-"), "{pod}");
    assert_eq!(pod["securityContext"]["fsGroup"], Value::Null);
    assert!(job_of_nothing().unwrap_err().to_string().contains("not one of the operator's"));
}

fn job_of_nothing() -> Result<Job, Error> {
    job(&policy("shop", json!({}), &[]), &CronJob::default(), "x", &asked("--list").unwrap())
}

#[test]
fn a_cron_job_that_lags_behind_the_policy_restores_into_no_other_database_and_from_no_other_place() {
    let database = |name: &str| json!({ "host": "db-1", "database": name, "credentialsSecretRef": { "name": "db" } });
    let before =
        policy("shop", json!({ "spec": { "sources": { "postgres": [database("users"), database("orders")] } } }), &[]);
    let after = policy("shop", json!({ "spec": { "sources": { "postgres": [database("orders")] } } }), &[]);
    let restored = |template: &BackupPolicy, more: &str| {
        job(&after, &template_for(template), "x", &asked(more).unwrap()).map(drop).map_err(|error| error.to_string())
    };
    let refused = restored(&before, "--postgres orders=orders --overwrite").unwrap_err();
    let words = "its CronJob has the databases db-1:5432/users, db-1:5432/orders, the policy says db-1:5432/orders";
    assert!(refused.contains(words), "{refused}");
    assert_eq!(restored(&after, "--postgres orders=orders"), Ok(()));
    assert_eq!(restored(&before, "--volume models=models"), Ok(()), "volumes are told by their names");

    let copies = json!({ "spec": { "copies": [{ "persistentVolumeClaim": { "claimName": "third" } }] } });
    let refused = restored(&policy("shop", copies, &[]), "--list").unwrap_err();
    assert!(refused.contains("the places") && refused.contains("third"), "{refused}");
}
