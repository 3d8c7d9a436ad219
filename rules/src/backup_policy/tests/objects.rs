//! The objects as Kubernetes gets them: security, mounts, variables, owners, and that nothing is applied twice.

use printernizer_crds::backup_policy::{RunConfiguration, RunReason};
use printernizer_crds::{ConditionType, Reason};
use serde_json::json;

use super::*;
use crate::backup_policy::names::account_name;
use crate::backup_policy::needs::ClaimFacts;
use crate::backup_policy::nodes;

/// A policy of everything there is.
fn everything() -> Scene {
    let mut scene = scene(&json!({
        "sources": {
            "persistentVolumeClaims": [{ "claimName": "files", "excludes": ["**/$(HOME)"] }],
            "sqlite": [{ "claimName": "shop", "path": "orders.db" }],
            "postgres": [{ "host": "db", "database": "orders", "credentialsSecretRef": { "name": "db" },
                "caBundleConfigMapRef": { "name": "ca", "key": "db.crt" } }],
            "objects": { "kinds": ["PrintJob"] },
        },
        "target": { "s3": { "caBundleConfigMapRef": { "name": "ca", "key": "s3.crt" } } },
        "copies": [{ "persistentVolumeClaim": { "claimName": "nas", "subPath": "farm" } },
            { "s3": { "bucket": "second", "credentialsSecretRef": { "name": "target" } } }],
        "verification": { "check": { "schedule": "0 1 * * 0" },
            "restoreDrill": { "schedule": "0 2 1 * *", "timeoutSeconds": 7200, "storageClassName": "fast", "scratchSize": "50Gi" } },
        "jobTemplate": { "resources": { "requests": { "cpu": "0.5" }, "limits": { "memory": "1024Mi" } }, "backoffLimit": 2,
            "tolerations": [{ "key": "storage", "operator": "Exists" }], "nodeSelector": { "disk": "fast" } },
    }));
    let secret =
        SecretFacts { usage: Some("backup".into()), keys: ["username".to_owned(), "password".to_owned()].into() };
    scene.found.secrets.insert("db".into(), Some(secret));
    scene.found.config_maps.insert("ca".into(), Some(["db.crt".to_owned(), "s3.crt".to_owned()].into()));
    let in_use = [("n1".to_owned(), "shop-0".to_owned())].into();
    scene.found.claims.insert("shop".into(), Some(ClaimFacts { in_use, ..claim("ReadWriteOnce") }));
    scene.found.claims.insert("nas".into(), Some(claim("ReadWriteMany")));
    scene.look();
    scene
}

/// The account of its pods that read objects.
fn account() -> String {
    account_name("farm", UID)
}

fn pod(scene: &Scene, cron_job: &str) -> Value {
    let template = &scene.cron_job(cron_job).spec.job_template.spec.as_ref().unwrap().template;
    serde_json::to_value(template.spec.as_ref().unwrap()).unwrap()
}

fn names(of: &Value, field: &str) -> Vec<String> {
    of.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn pods_of_every_role_keep_to_the_restricted_profile() {
    let scene = everything();
    for cron_job in ["farm-backup", "farm-check", "farm-prune", "farm-drill"] {
        let pod = pod(&scene, cron_job);
        let (of_pod, container) = (&pod["securityContext"], &pod["containers"][0]);
        assert_eq!(of_pod["runAsNonRoot"], true);
        assert_eq!((&of_pod["runAsUser"], &of_pod["runAsGroup"]), (&json!(65532), &json!(65532)));
        assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
        let own = &container["securityContext"];
        assert_eq!(own["capabilities"], json!({ "drop": ["ALL"] }));
        assert_eq!((&own["allowPrivilegeEscalation"], &own["readOnlyRootFilesystem"]), (&json!(false), &json!(true)));
        assert_eq!(
            (&container["image"], &container["terminationMessagePath"]),
            (&json!("backup:1"), &json!("/dev/termination-log"))
        );
        assert_eq!(pod["restartPolicy"], "Never");
        assert_eq!(container["resources"], json!({ "requests": { "cpu": "0.5" }, "limits": { "memory": "1024Mi" } }));
        assert_eq!(pod["tolerations"], json!([{ "key": "storage", "operator": "Exists" }]));
        assert_eq!(pod["nodeSelector"], json!({ "disk": "fast" }));
    }
}

#[test]
fn each_role_has_what_it_needs_and_nothing_more() {
    let scene = everything();
    let backup = pod(&scene, "farm-backup");
    let container = &backup["containers"][0];
    assert_eq!(container["args"], json!(["backup"]));
    assert_eq!(
        names(&container["volumeMounts"], "mountPath"),
        [
            "/sources/volumes/files",
            "/sources/volumes/shop",
            "/certificates/postgres-0",
            "/certificates/target",
            "/copies/0",
            "/scratch"
        ]
    );
    // A backup writes into nothing that it reads, and changes no owner of what is in it.
    assert_eq!(container["volumeMounts"][0]["readOnly"], true);
    assert_eq!(container["volumeMounts"][1]["readOnly"], true);
    assert_eq!(backup["volumes"][0]["persistentVolumeClaim"], json!({ "claimName": "files", "readOnly": true }));
    assert_eq!(backup["volumes"][1]["persistentVolumeClaim"], json!({ "claimName": "shop", "readOnly": true }));
    assert_eq!(
        backup["volumes"][2]["configMap"],
        json!({ "name": "ca", "items": [{ "key": "db.crt", "path": "ca.pem" }] })
    );
    assert_eq!(
        names(&container["env"], "name"),
        [
            "PRINTERNIZER_BACKUP",
            "PRINTERNIZER_BACKUP_PASSWORD",
            "PRINTERNIZER_BACKUP_TARGET_ACCESS_KEY_ID",
            "PRINTERNIZER_BACKUP_TARGET_SECRET_ACCESS_KEY",
            "PRINTERNIZER_BACKUP_COPY_1_ACCESS_KEY_ID",
            "PRINTERNIZER_BACKUP_COPY_1_SECRET_ACCESS_KEY",
            "PRINTERNIZER_BACKUP_POSTGRES_0_USERNAME",
            "PRINTERNIZER_BACKUP_POSTGRES_0_PASSWORD",
        ]
    );
    assert_eq!(container["env"][2]["valueFrom"]["secretKeyRef"], json!({ "name": "target", "key": "accessKeyID" }));
    for (cron_job, role) in [("farm-check", "check"), ("farm-prune", "prune"), ("farm-drill", "drill")] {
        let pod = pod(&scene, cron_job);
        let container = &pod["containers"][0];
        assert_eq!(container["args"], json!([role]));
        assert_eq!(
            names(&container["volumeMounts"], "mountPath"),
            ["/certificates/target", "/copies/0", "/scratch"],
            "{role}"
        );
        assert_eq!(container["env"].as_array().unwrap().len(), 6, "{role}: no database's password");
        assert_eq!((&pod["automountServiceAccountToken"], &pod["affinity"]), (&json!(false), &Value::Null), "{role}");
    }
    assert_eq!(
        (&backup["automountServiceAccountToken"], &backup["serviceAccountName"]),
        (&json!(true), &json!(account()))
    );
    let drill = pod(&scene, "farm-drill");
    let claim = &drill["volumes"][2]["ephemeral"]["volumeClaimTemplate"]["spec"];
    assert_eq!(
        (&claim["storageClassName"], &claim["resources"]["requests"]["storage"]),
        (&json!("fast"), &json!("50Gi"))
    );
    let deadline = |name: &str| scene.cron_job(name).spec.job_template.spec.as_ref().unwrap().active_deadline_seconds;
    assert_eq!((deadline("farm-drill"), deadline("farm-backup")), (Some(7200 + 900), Some(86_400)));
}

#[test]
fn a_backup_runs_where_its_volume_is_in_use_and_follows_it() {
    let mut scene = everything();
    let on = |scene: &Scene| {
        let term = pod(scene, "farm-backup")["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0].clone();
        term["matchFields"][0].clone()
    };
    assert_eq!(on(&scene), json!({ "key": "metadata.name", "operator": "In", "values": ["n1"] }));
    let moved = [("n2".to_owned(), "shop-0".to_owned())].into();
    scene.found.claims.insert("shop".into(), Some(ClaimFacts { in_use: moved, ..claim("ReadWriteOnce") }));
    assert_eq!(done(&scene.look()), ["apply farm-backup"], "and no other");
    assert_eq!(on(&scene)["values"], json!(["n2"]));
    scene.found.claims.insert("shop".into(), Some(claim("ReadWriteOnce")));
    scene.look();
    assert_eq!(pod(&scene, "farm-backup")["affinity"], Value::Null, "what is not in use may go anywhere");
}

#[test]
fn a_run_reads_back_what_it_was_told_whatever_kubernetes_replaces() {
    let scene = everything();
    let env = pod(&scene, "farm-backup")["containers"][0]["env"][0]["value"].as_str().unwrap().to_owned();
    assert!(!env.contains('$'), "{env}");
    let told: RunConfiguration = serde_json::from_str(&env).unwrap();
    assert_eq!(told.sources, scene.policy.spec.sources);
    assert_eq!((told.host(), told.repository_id), ("farm.shop".into(), None));
}

#[test]
fn owners_of_files_are_changed_only_where_something_is_written_or_a_person_wants_it() {
    let group = |spec: Value| {
        let mut scene = scene(&spec);
        scene.found.claims.insert("nas".into(), Some(claim("ReadWriteMany")));
        scene.look();
        pod(&scene, "farm-backup")["securityContext"]["fsGroup"].clone()
    };
    assert_eq!(group(json!({})), Value::Null);
    assert_eq!(group(json!({ "target": { "s3": null, "persistentVolumeClaim": { "claimName": "nas" } } })), 65_532);
    assert_eq!(group(json!({ "jobTemplate": { "fsGroup": 1000 } })), 1000);
}

#[test]
fn everything_is_owned_by_the_policy_and_carries_its_label() {
    let scene = everything();
    let access = scene.access.clone();
    let metas = scene.cron_jobs.iter().map(|c| c.metadata.clone());
    let metas = metas.chain([
        access.account.unwrap().metadata,
        access.role.clone().unwrap().metadata,
        access.binding.unwrap().metadata,
    ]);
    for meta in metas {
        let owner = &meta.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("BackupPolicy", UID, Some(true)));
        assert_eq!(owner.block_owner_deletion, None, "it would take a right to the policy's finalizers");
        assert_eq!(meta.labels.unwrap()["printernizer.io/backup-policy"], "farm");
        assert_eq!(meta.namespace.as_deref(), Some("shop"));
    }
    let rule = &access.role.unwrap().rules.unwrap()[0];
    assert_eq!(rule.resources.as_deref(), Some(&["printjobs".to_owned()][..]));
    assert_eq!(rule.verbs, ["get", "list"]);
    let spec = &scene.cron_job("farm-check").spec;
    assert_eq!(
        (spec.time_zone.as_deref(), spec.concurrency_policy.as_deref()),
        (Some("Europe/Berlin"), Some("Forbid"))
    );
    assert_eq!((spec.starting_deadline_seconds, spec.suspend), (Some(3600), Some(false)));
}

#[test]
fn what_somebody_else_changes_is_set_right_and_what_kubernetes_fills_in_is_left() {
    let mut scene = everything();
    let spec = scene.cron_job_mut("farm-backup").spec.job_template.spec.as_mut().unwrap();
    spec.template.spec.as_mut().unwrap().scheduler_name = Some("default-scheduler".into());
    let resources = spec.template.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap();
    resources
        .requests
        .as_mut()
        .unwrap()
        .insert("cpu".into(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("500m".into()));
    assert_eq!(done(&scene.look()), Vec::<String>::new());
    scene.cron_job_mut("farm-backup").spec.schedule = "* * * * *".into();
    scene.access.role.as_mut().unwrap().rules.as_mut().unwrap()[0].verbs.push("delete".into());
    assert_eq!(done(&scene.look()), [format!("apply Role {}", account()), "apply farm-backup".to_owned()]);
    // What is wanted no more is in no field of what is wanted.
    scene.write(&json!({ "jobTemplate": { "nodeSelector": null } }));
    assert_eq!(done(&scene.look()), ["apply farm-backup", "apply farm-check", "apply farm-prune", "apply farm-drill"]);
}

#[test]
fn an_account_that_reads_objects_no_longer_may_nothing() {
    let mut scene = everything();
    scene.write(&json!({ "sources": { "objects": null } }));
    scene.found.claims.insert("shop".into(), Some(claim("ReadWriteMany")));
    let mut done = done(&scene.look());
    done.retain(|what| what.contains("Role") || what.contains("Account"));
    assert_eq!(done, [format!("apply Role {}", account())]);
    assert_eq!(scene.access.role.as_ref().unwrap().rules, Some(Vec::new()));
    // As the API server may give it back; and what is another's is left alone.
    scene.access.role.as_mut().unwrap().rules = None;
    assert_eq!(super::done(&scene.look()), Vec::<String>::new());
    let theirs = scene.access.role.as_mut().unwrap();
    theirs.rules = serde_json::from_value(json!([{ "verbs": ["get"] }])).unwrap();
    theirs.metadata.owner_references = None;
    assert_eq!(super::done(&scene.look()), Vec::<String>::new());
    scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
}

#[test]
fn a_run_that_waits_for_a_node_where_its_volume_is_no_longer_in_use_is_given_up() {
    let unscheduled = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/3 nodes are available" }] });
    let moved = || ClaimFacts { in_use: [("n2".to_owned(), "shop-0".to_owned())].into(), ..claim("ReadWriteOnce") };
    for (facts, seconds, is_given_up) in [
        (moved(), 299, false),
        (moved(), 300, true),
        // Nothing uses it: the node may take the pod yet.
        (claim("ReadWriteOnce"), 3000, false),
        // It is busy there and no other will do.
        (everything().found.claims["shop"].clone().unwrap(), 3000, false),
    ] {
        let mut scene = everything();
        let job = scene.begin("farm-backup");
        let due = scene.now - SignedDuration::from_secs(20);
        scene.annotate(&job, "batch.kubernetes.io/cronjob-scheduled-timestamp", &due.to_string());
        scene.pod(&job, &unscheduled);
        scene.found.claims.insert("shop".into(), Some(facts));
        scene.look();
        scene.pass(seconds);
        let what = done(&scene.decide());
        assert_eq!(what.contains(&"delete farm-backup".to_owned()), is_given_up, "{seconds} s: {what:?}");
        if !is_given_up {
            scene.look();
            scene.assert_says(ConditionType::Ready, "False", Reason::PodNotStarted);
            continue;
        }
        assert!(!what.contains(&"apply farm-backup".to_owned()), "{what:?}");
        let doomed = scene.decide();
        doomed.effects.into_iter().for_each(|effect| scene.carry_out(effect));
        assert_eq!(scene.jobs.len(), 0, "it goes with its CronJob");
        assert_eq!(scene.status().last_missed_time, Some(time(due)));
        scene.assert_says(ConditionType::LastBackupSucceeded, "False", Reason::BackupMissed);
        assert_eq!(done(&scene.look()), ["apply farm-backup"]);
        scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
    }
    // What a person made of the CronJob is theirs to end.
    let mut scene = everything();
    let job = scene.begin("farm-backup");
    scene.annotate(&job, "cronjob.kubernetes.io/instantiate", "manual");
    scene.pod(&job, &unscheduled);
    scene.found.claims.insert("shop".into(), Some(moved()));
    scene.pass(3000);
    assert_eq!(done(&scene.look()), ["apply farm-backup"]);
    // A run that has begun is nobody's to end.
    let mut scene = everything();
    let job = scene.begin("farm-backup");
    scene.pod(&job, &json!({ "phase": "Running" }));
    scene.found.claims.insert("shop".into(), Some(moved()));
    scene.pass(3000);
    assert_eq!(done(&scene.look()), ["apply farm-backup"]);
}

#[test]
fn pods_run_where_the_volume_of_the_backups_is_in_use_if_one_node_alone_may_have_it() {
    let mut scene = everything();
    let used = |node: &str| {
        let in_use = [(node.to_owned(), "files-0".to_owned())].into();
        Some(ClaimFacts { in_use, ..claim("ReadWriteOnce") })
    };
    let pinned = |scene: &Scene, role: &str| {
        let name = format!("farm-{role}");
        let job = Job { spec: scene.cron_job(&name).spec.job_template.spec.clone(), ..Job::default() };
        nodes::of_job(&job).map(str::to_owned)
    };
    assert_eq!(pinned(&scene, "check"), None);
    assert_eq!(pinned(&scene, "backup").as_deref(), Some("n1"), "where its source is in use");
    // A place of which no backups are known is nothing to be written into, nor to be left there for good: it is looked again soon.
    scene.found.claims.insert("nas".into(), used("n1"));
    let plan = scene.look();
    let others: Vec<String> = ["check", "drill", "prune"].iter().map(|role| format!("apply farm-{role}")).collect();
    let done = done(&plan);
    assert!(
        done.contains(&"suspend farm-backup".to_owned()) && others.iter().all(|one| done.contains(one)),
        "{done:?}"
    );
    assert!(plan.look_again.unwrap() <= scene.now + secs(30));
    let text = scene.assert_says(ConditionType::Ready, "False", Reason::VolumeInUse);
    assert!(text.contains("nas") && text.contains("files-0"), "{text}");
    scene.found.claims.insert("nas".into(), Some(claim("ReadWriteOnce")));
    scene.look();
    scene.run_that_says("farm-backup", RunReason::Succeeded, &json!({ "copyIds": ["of-nas", null] }));
    scene.found.claims.insert("nas".into(), used("n1"));
    scene.look();
    scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
    for role in ["backup", "check", "prune", "drill"] {
        assert_eq!(pinned(&scene, role).as_deref(), Some("n1"), "{role}");
    }
    // Both cannot be had on one node; the others go where they can.
    scene.found.claims.insert("nas".into(), used("n2"));
    scene.look();
    let text = scene.assert_says(ConditionType::Ready, "False", Reason::VolumeInUse);
    assert!(text.contains("nas on n2") && text.contains("shop on n1"), "{text}");
    assert_eq!(pinned(&scene, "check").as_deref(), Some("n2"));
    assert_eq!(scene.cron_job("farm-backup").spec.suspend, Some(true));
}

type Seize = fn(&mut Access);

#[test]
fn an_account_a_role_or_a_binding_of_somebody_else_is_not_taken_over() {
    let metas: [(&str, Seize); 3] = [
        ("ServiceAccount", |a| a.account.as_mut().unwrap().metadata.owner_references = None),
        ("Role", |a| a.role.as_mut().unwrap().metadata.owner_references.as_mut().unwrap()[0].uid = "theirs".into()),
        ("RoleBinding", |a| a.binding.as_mut().unwrap().metadata.owner_references = None),
    ];
    for (kind, seize) in metas {
        let mut scene = everything();
        let good = scene.clone();
        seize(&mut scene.access);
        // Neither it nor what is given to it.
        assert_eq!(done(&scene.look()), ["suspend farm-backup"], "{kind}");
        let text = scene.assert_says(ConditionType::Ready, "False", Reason::NameTaken);
        assert!(text.contains(&format!("{kind} {}", account())), "{text}");
        scene.access = good.access;
        assert_eq!(done(&scene.look()), ["apply farm-backup"], "{kind}");
        scene.assert_says(ConditionType::Ready, "True", Reason::PolicyReady);
    }
}

#[test]
fn a_policy_that_is_deleted_is_left_to_kubernetes() {
    let mut scene = everything();
    scene.policy.metadata.deletion_timestamp = Some(time(scene.now));
    assert_eq!(scene.decide(), Plan::default());
}
