//! What goes wrong with targets, sources and runs: each fault has its reason and a message that says what to do, nothing
//! that was reported as saved is lost, and the next run heals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use printernizer_crds::backup_policy::RunReason;
use serde_json::json;
use support::{Bucket, Pod, entries, hashes, hold, noise, restic, type_what_is_told, until, walk};

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_an_s3_target_is_told_apart() {
    let bucket = Bucket::start().await;
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.use_bucket(&bucket);
    let right = (pod.configuration.clone(), pod.environment.clone());
    let id = pod.succeed(&["backup"]).repository.unwrap().id;

    pod.set("PRINTERNIZER_BACKUP_TARGET_SECRET_ACCESS_KEY", "not-the-secret-of-this-key");
    let told = pod.fail(&["backup"], RunReason::TargetRefused);
    assert!(told.contains("Secret s3-keys") && !told.contains("not-the-secret"), "{told}");

    pod.environment = right.1.clone();
    pod.set("PRINTERNIZER_BACKUP_PASSWORD", "not the password");
    let told = pod.fail(&["backup"], RunReason::WrongPassword);
    assert!(told.contains("former password"), "{told}");

    pod.environment = right.1.clone();
    pod.configuration["target"]["s3"]["bucket"] = json!("nobodys-bucket");
    let told = pod.fail(&["backup"], RunReason::TargetNotFound);
    assert!(told.contains("make the bucket"), "{told}");
    pod.configuration["repositoryId"] = json!(id);
    pod.fail(&["drill"], RunReason::TargetNotFound);

    assert_eq!(bucket.server.buckets(), ["backups"], "a bucket was made");

    pod.configuration = right.0.clone();
    let other = printernizer_e2e::servers::Certificate::new(&[]).unwrap().authority;
    std::fs::write(pod.path("certificates/target/ca.pem"), other).unwrap();
    let told = pod.fail(&["backup"], RunReason::TargetRefused);
    assert!(told.contains("caBundleConfigMapRef"), "{told}");

    std::fs::write(pod.path("certificates/target/ca.pem"), &bucket.authority).unwrap();
    drop(bucket);
    pod.set("PRINTERNIZER_BACKUP_ANSWER_SECONDS", "3");
    let told = pod.fail(&["backup"], RunReason::TargetUnreachable);
    assert!(told.contains("connection refused"), "{told}");
    pod.configuration["target"]["s3"]["endpoint"] = json!("https://no-such-host.invalid");
    pod.fail(&["check"], RunReason::TargetUnreachable);
}

#[test]
fn no_repository_is_made_beside_the_data_of_others() {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.configuration["copies"] = json!([{"persistentVolumeClaim": {"claimName": "second"}}]);
    std::fs::create_dir_all(pod.path("copies/0")).unwrap();
    // As a new file system has it, and an init of restic that was ended before its configuration was written.
    pod.by_hand(&["init"]);
    std::fs::remove_file(pod.path("target/config")).unwrap();
    std::fs::create_dir(pod.path("target/lost+found")).unwrap();
    let before = hashes(&pod.path("target"));
    let told = pod.fail(&["backup"], RunReason::InvalidConfiguration);
    assert!(told.contains("begun at pvc:disk and not finished") && told.contains("empty the folder"), "{told}");
    assert_eq!(hashes(&pod.path("target")), before, "something was written");
    // Before its key was.
    for key in support::walk(&pod.path("target/keys")) {
        std::fs::remove_file(key).unwrap();
    }
    // What cannot be looked into is not empty.
    let index = |mode| std::fs::set_permissions(pod.path("target/index"), PermissionsExt::from_mode(mode)).unwrap();
    index(0o000);
    let told = as_nobody(&pod, &["backup"]);
    assert_eq!(told.report.reason, RunReason::Failed, "{told:#?}");
    assert!(told.report.message.contains("cannot look into"), "{told:#?}");
    index(0o700);
    let of_target = [
        "orders.db",
        "data/orders.db",
        "data/00/rows",
        "index/orders",
        "keys/private.pem",
        "locks/door",
        "snapshots/a",
    ];
    for (place, reason, all) in [
        ("target", RunReason::InvalidConfiguration, &of_target[..]),
        ("copies/0", RunReason::CopyFailed, &["data", "data/orders.db"]),
    ] {
        for live in all {
            let live = pod.path(place).join(live);
            std::fs::create_dir_all(live.parent().unwrap()).unwrap();
            std::fs::write(&live, "rows").unwrap();
            let before = hashes(&pod.path(place));
            let told = pod.fail(&["backup"], reason);
            assert!(told.contains("holds something else"), "{told}");
            assert_eq!(hashes(&pod.path(place)), before, "something was written");
            std::fs::remove_file(&live).unwrap();
        }
    }
    pod.succeed(&["backup"]);
}

#[test]
fn nothing_is_written_where_another_repository_or_none_is() {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.fail(&["drill"], RunReason::NoRecoveryPoint);
    pod.configuration["repositoryId"] = json!("0".repeat(64));
    for command in ["backup", "check", "prune", "drill"] {
        let told = pod.fail(&[command], RunReason::RepositoryMissing);
        assert!(told.contains("pvc:disk"), "{told}");
    }
    assert_eq!(entries(&pod.path("target")), 0);

    pod.configuration["repositoryId"] = json!(null);
    pod.succeed(&["backup"]);
    let before = support::hashes(&pod.path("target"));
    pod.configuration["repositoryId"] = json!("0".repeat(64));
    for command in ["backup", "check", "prune", "drill"] {
        pod.fail(&[command], RunReason::RepositoryReplaced);
    }
    assert_eq!(support::hashes(&pod.path("target")), before);
    std::fs::remove_dir_all(pod.path("target")).unwrap();
    pod.fail(&["backup"], RunReason::TargetNotFound);
}

#[test]
fn a_source_that_is_missing_or_unreadable_makes_no_recovery_point() {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.configuration["sources"]["persistentVolumeClaims"][0]["paths"] = json!(["a", "b"]);
    let told = pod.fail(&["backup"], RunReason::SourceUnavailable);
    assert!(told.contains("path b of volume models"), "{told}");
    assert_eq!(entries(&pod.path("target")), 0, "it touched the target");

    pod.write("models/b", "two");
    pod.configuration["sources"]["persistentVolumeClaims"][0]["excludes"] = json!(["b"]);
    let told = pod.fail(&["backup"], RunReason::SourceUnavailable);
    assert!(told.contains("excludes"), "{told}");

    pod.configuration["sources"]["persistentVolumeClaims"][0] = json!({"claimName": "models"});
    let secret = pod.path("sources/volumes/models/b");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o000)).unwrap();
    let told = as_nobody(&pod, &["backup"]);
    assert_eq!(told.report.reason, RunReason::SourceUnavailable, "{told:#?}");
    assert!(told.report.message.contains("models/b") && told.report.message.contains("runAsUser"), "{told:#?}");
    assert!(!told.success);
    pod.fail(&["drill"], RunReason::NoRecoveryPoint);
}

/// Runs the program as a user who may not read everything, which root may.
fn as_nobody(pod: &Pod, arguments: &[&str]) -> support::Ended {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return pod.run(arguments);
    }
    // The programs are where only root may look.
    let copies = [("program", env!("CARGO_BIN_EXE_printernizer-backup").into()), ("restic", restic())];
    for (name, from) in &copies {
        std::fs::copy(from, pod.path(name)).unwrap();
    }
    let status = Command::new("chown").args(["-R", "65534:65534"]).arg(pod.root.path()).status().unwrap();
    assert!(status.success());
    let usual = pod.command(arguments);
    let mut command = Command::new(pod.path("program"));
    command.env_clear().args(arguments).uid(65534).gid(65534);
    command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", format!("{}:/usr/bin:/bin", pod.root.path().display()));
    pod.ended(command.output().unwrap())
}

#[test]
fn a_snapshot_that_somebody_rewrote_is_not_what_was_backed_up() {
    let pod = Pod::new();
    pod.write("models/a", "one");
    pod.write("models/b", "two");
    let point = pod.succeed(&["backup"]).snapshot.unwrap();
    let tags = format!("run={point},source=files");
    pod.by_hand(&["rewrite", "--forget", "--exclude", "b", "--tag", &tags]);
    let told = pod.fail(&["drill"], RunReason::RestoreDiffers);
    assert!(told.contains("volume models") && told.contains(&point), "{told}");
    std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
    pod.fail(&["restore", "--volume", "models=fresh"], RunReason::RestoreDiffers);
    assert_eq!(entries(&pod.path("restore/fresh")), 0);
}

/// A pod that backs up a small volume and then a large one, with a first recovery point of the small one.
fn large() -> Pod {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.succeed(&["backup"]);
    pod.write("large/b", noise(5, 96 << 20));
    pod.configuration["sources"]["persistentVolumeClaims"] = json!([{"claimName": "models"}, {"claimName": "large"}]);
    pod
}

/// Starts a backup and waits until its first part is stored and its second one is being written.
fn halfway(pod: &Pod) -> Child {
    let (snapshots, packs) = (entries(&pod.path("target/snapshots")), walk(&pod.path("target/data")).len());
    let child = pod.start(&["backup"]);
    until("a part to be stored", || entries(&pod.path("target/snapshots")) > snapshots);
    until("a pack of the second part", || walk(&pod.path("target/data")).len() > packs + 1);
    child
}

#[test]
fn a_run_that_is_killed_is_no_recovery_point_and_the_next_one_heals() {
    let mut pod = large();
    let mut child = halfway(&pod);
    killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    assert_eq!(support::finish(&mut pod.command(&["list"])).lines().count(), 1, "the half run counts");
    let drilled = pod.succeed(&["drill"]);
    assert_eq!(drilled.repository.unwrap().snapshot_count, 1);
    let next = pod.succeed(&["backup"]);
    assert_eq!(next.repository.unwrap().snapshot_count, 2);
    assert_eq!(pod.succeed(&["drill"]).snapshot, next.snapshot);
    // Its lock is that of a process that is gone, which shows by nobody replacing it.
    pod.set("PRINTERNIZER_BACKUP_DEAD_LOCK_SECONDS", "1");
    let pruned = pod.succeed(&["prune"]);
    assert_eq!(pruned.repository.unwrap().snapshot_count, 1);
    pod.succeed(&["check"]);
}

#[test]
fn a_run_that_is_told_to_stop_says_so_and_leaves_no_lock() {
    let pod = large();
    let child = halfway(&pod);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let ended = pod.ended(child.wait_with_output().unwrap());
    assert_eq!((ended.report.reason, ended.success), (RunReason::Interrupted, false), "{ended:#?}");
    assert_eq!(ended.report.snapshot, None);
    assert_eq!(entries(&pod.path("target/locks")), 0, "its lock stayed");
    assert_eq!(support::finish(&mut pod.command(&["list"])).lines().count(), 1);
}

#[test]
fn a_run_waits_for_the_lock_of_another_one_and_takes_that_of_a_dead_one_away() {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.succeed(&["backup"]);
    let mut holder = hold(&pod);
    pod.set("PRINTERNIZER_BACKUP_LOCK_SECONDS", "2");
    let told = pod.fail(&["backup"], RunReason::RepositoryLocked);
    assert!(told.contains("next run"), "{told}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    // A lock is not judged by a clock or a process, which are of another node; only by nobody replacing it for long.
    pod.fail(&["backup"], RunReason::RepositoryLocked);
    assert_eq!(entries(&pod.path("target/locks")), 1);
    pod.set("PRINTERNIZER_BACKUP_LOCK_SECONDS", "600");
    pod.set("PRINTERNIZER_BACKUP_DEAD_LOCK_SECONDS", "1");
    pod.succeed(&["backup"]);
}

#[test]
fn pods_that_read_no_database_run_without_its_login() {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.succeed(&["backup"]);
    let database = json!({"host": "db", "port": 5432, "database": "shop", "credentialsSecretRef": {"name": "shop-db"}});
    pod.configuration["sources"]["postgres"] = json!([database]);
    for command in ["check", "prune", "drill"] {
        pod.succeed(&[command]);
    }
    let told = pod.fail(&["backup"], RunReason::InvalidConfiguration);
    assert!(told.contains("POSTGRES_0_USERNAME") && told.contains("Secret shop-db"), "{told}");
}

#[test]
fn a_point_of_the_future_is_not_taken_for_the_newest() {
    let pod = Pod::new();
    pod.write("models/a", "one");
    let point = pod.succeed(&["backup"]).snapshot.unwrap();
    // As a node writes it whose clock is years ahead.
    let mut tags = vec!["backup", "--host", "nightly.farm", "--time", "2099-01-01 00:00:00"];
    tags.extend(["--tag", "run=20990101T000000Z-ffffff", "--tag", "manifest", "--tag", "parts=0"]);
    tags.extend(["--stdin-filename", "/manifest.json", "--stdin-from-command", "--", "echo", "{}"]);
    pod.by_hand(&tags);
    std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
    for command in [&["drill"][..], &["prune"], &["restore", "--volume", "models=fresh"]] {
        let told = pod.fail(command, RunReason::Failed);
        assert!(told.contains("dated 2099-01-01") && told.contains("clock"), "{told}");
    }
    pod.succeed(&["restore", "--point", &point, "--volume", "models=fresh"]);

    // As it looks to a run whose own clock is behind: its point is stored, and not good.
    let ended = pod.run(&["backup"]);
    assert_eq!((ended.report.reason, ended.success), (RunReason::Failed, false), "{ended:#?}");
    assert!(ended.report.message.contains("this clock is behind"), "{ended:#?}");
    let kept = ended.report.snapshot.unwrap();

    type_what_is_told(&pod, &ended.report.message);
    assert_eq!(pod.succeed(&["drill"]).snapshot.unwrap(), kept);
    pod.succeed(&["backup"]);
    assert_eq!(pod.succeed(&["prune"]).repository.unwrap().snapshot_count, 1);
}

#[test]
fn a_drill_takes_away_folders_nobody_may_write_into() {
    let pod = Pod::new();
    pod.write("models/locked/inner/a", "one");
    for folder in ["locked/inner", "locked"] {
        let folder = pod.path("sources/volumes/models").join(folder);
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o555)).unwrap();
    }
    let made = as_nobody(&pod, &["backup"]);
    assert!(made.success, "{made:#?}");
    let drilled = as_nobody(&pod, &["drill"]);
    assert!(drilled.success, "{drilled:#?}");
}

#[test]
fn a_run_that_is_told_to_stop_while_copies_are_made_says_that_its_point_is_kept() {
    let mut pod = Pod::new();
    pod.write("models/b", noise(6, 96 << 20));
    std::fs::create_dir_all(pod.path("copies/0")).unwrap();
    pod.configuration["copies"] = json!([{"persistentVolumeClaim": {"claimName": "second"}}]);
    let child = pod.start(&["backup"]);
    until("a pack at the copy", || pod.path("copies/0/data").is_dir() && !walk(&pod.path("copies/0/data")).is_empty());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let ended = pod.ended(child.wait_with_output().unwrap());
    assert_eq!((ended.report.reason, ended.success), (RunReason::CopyFailed, false), "{ended:#?}");
    let message = &ended.report.message;
    assert!(message.contains("told to stop while it was copied to pvc:second"), "{message}");
    assert!(!message.contains("counts as a recovery point"), "{message}");
    assert_eq!(pod.succeed(&["drill"]).snapshot, ended.report.snapshot);
}

#[test]
fn a_copy_that_fails_fails_the_run_and_leaves_the_recovery_point() {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.configuration["copies"] = json!([{"persistentVolumeClaim": {"claimName": "second"}}]);
    let ended = pod.run(&["backup"]);
    assert_eq!((ended.report.reason, ended.success), (RunReason::CopyFailed, false), "{ended:#?}");
    assert!(ended.report.message.contains("pvc:second"), "{ended:#?}");
    let first = ended.report.snapshot.unwrap();
    assert_eq!(ended.report.repository.unwrap().snapshot_count, 1);
    assert_eq!(pod.succeed(&["drill"]).snapshot.unwrap(), first);

    // Once the place is there, the copy gets what it has missed.
    std::fs::create_dir_all(pod.path("copies/0")).unwrap();
    pod.succeed(&["backup"]);
    let listed = support::finish(&mut pod.command(&["list", "--copy", "0"]));
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains(&first), "{listed}");
    pod.succeed(&["prune"]);
    assert_eq!(support::finish(&mut pod.command(&["list", "--copy", "0"])).lines().count(), 1);
    pod.succeed(&["check"]);
}

#[test]
fn what_the_run_is_told_wrongly_costs_nothing_else() {
    let mut pod = Pod::new();
    pod.set("PRINTERNIZER_BACKUP_PASSWORD", "");
    let told = pod.fail(&["backup"], RunReason::InvalidConfiguration);
    assert!(told.contains("key password of Secret backup-password"), "{told}");
    pod.configuration = json!("no configuration");
    pod.fail(&["check"], RunReason::InvalidConfiguration);
    assert_eq!(entries(&pod.path("target")), 0);
}
