//! Damage and loss: what storage changed, what somebody forgot. Each run that could be deceived by it says so, nothing is forgotten
//! beside it, and what is whole can be had all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::os::unix::fs::PermissionsExt;

use printernizer_crds::backup_policy::RunReason;
use serde_json::json;
use support::{Pod, entries, hold, noise, replace_restic, spoil_a_pack, type_what_is_told};

#[test]
fn a_damaged_pack_is_found_by_the_check_and_by_the_drill() {
    let pod = Pod::new();
    pod.write("models/a", noise(4, 3_000_000));
    pod.succeed(&["backup"]);
    assert_eq!(pod.succeed(&["check"]).read_data_percent, Some(100));
    spoil_a_pack(&pod.path("target"));
    let told = pod.fail(&["check"], RunReason::RepositoryDamaged);
    assert!(told.contains("broken pack"), "{told}");
    pod.fail(&["drill"], RunReason::RepositoryDamaged);
}

#[test]
fn everything_is_read_part_by_part_as_far_as_a_run_comes_in_its_time() {
    let mut pod = Pod::new();
    // A pack is 16 MB: two, and those of the trees.
    pod.write("models/a", noise(4, 30_000_000));
    pod.succeed(&["backup"]);
    pod.set("PRINTERNIZER_BACKUP_PART_BYTES", "8000000");
    // Less than anything takes: a part for each run.
    pod.configuration["seconds"] = json!(1);
    pod.configuration["reading"] = json!({"done": 0, "of": 0});
    let mut before = 0;
    let parts = loop {
        let report = pod.succeed(&["check"]);
        let reading = report.reading.unwrap();
        assert_eq!((report.read_before, reading.done), (Some(before), before + 1), "{}", report.message);
        assert!(report.message.contains(&format!("part {} of {}", reading.done, reading.of)), "{}", report.message);
        assert!(report.read_data_percent.unwrap() < 100);
        if reading.done == reading.of {
            break reading.of;
        }
        before = reading.done;
        pod.configuration["reading"] = json!(reading);
    };
    assert_eq!(parts, 4);
    // With time enough it reads on, and one of the parts has what is damaged.
    pod.configuration["seconds"] = json!(86_400);
    pod.configuration["reading"] = json!({"done": 1, "of": parts});
    let report = pod.succeed(&["check"]);
    assert_eq!(report.reading.map(|reading| (reading.done, reading.of)), Some((parts, parts)));
    spoil_a_pack(&pod.path("target"));
    pod.configuration["reading"] = json!({"done": 0, "of": parts});
    let ended = pod.run(&["check"]);
    assert_eq!(ended.report.reason, RunReason::RepositoryDamaged, "{ended:#?}");
    assert!(ended.report.message.contains("when part "), "{ended:#?}");
    assert!(ended.report.reading.is_none_or(|reading| reading.done < parts));
    // What fits into one part is read at once.
    pod.environment.remove("PRINTERNIZER_BACKUP_PART_BYTES");
    pod.configuration["reading"] = json!({"done": 0, "of": 0});
    let told = pod.fail(&["check"], RunReason::RepositoryDamaged);
    assert!(!told.contains("when part "), "{told}");
}

#[test]
fn a_snapshot_that_cannot_be_loaded_is_damage_and_no_smaller_repository() {
    let pod = Pod::new();
    pod.write("models/a", "one");
    let first = pod.succeed(&["backup"]).snapshot.unwrap();
    let second = pod.succeed(&["backup"]).snapshot.unwrap();
    let listed = pod.by_hand(&["snapshots", "--json", "--tag", &format!("run={second},manifest")]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let file = pod.path("target/snapshots").join(listed[0]["id"].as_str().unwrap());
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&file, "no snapshot").unwrap();
    // As in a pod of its own.
    std::fs::remove_dir_all(pod.path("scratch/cache")).unwrap();
    for command in ["prune", "drill", "backup"] {
        let told = pod.fail(&[command], RunReason::RepositoryDamaged);
        assert!(told.contains("cannot be loaded"), "{told}");
    }
    assert_eq!(entries(&pod.path("target/snapshots")), 4, "nothing was forgotten");

    // What is whole can be had all the same, by its name.
    let shown = pod.command(&["list"]).output().unwrap();
    let text = [shown.stdout, shown.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains(&first) && text.contains("warning") && text.contains("cannot be loaded"), "{text}");
    std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
    pod.fail(&["restore", "--volume", "models=fresh"], RunReason::RepositoryDamaged);
    let restored = pod.succeed(&["restore", "--point", &first, "--volume", "models=fresh"]);
    assert_eq!(restored.snapshot.unwrap(), first);
}

/// Forgets the files of a point, as somebody does who knows nothing of points.
fn lose_a_part(pod: &Pod, point: &str) {
    pod.by_hand(&["forget", "--tag", &format!("run={point},source=files"), "--unsafe-allow-remove-all"]);
}

#[test]
fn beside_a_point_that_lost_parts_nothing_is_forgotten_until_a_person_has_looked() {
    let mut pod = Pod::new();
    pod.configuration["retention"] = json!({"keepLast": 3});
    let points: Vec<String> = (0..5_u8)
        .map(|n| {
            pod.write("models/a", noise(n.into(), 100_000));
            pod.succeed(&["backup"]).snapshot.unwrap()
        })
        .collect();
    // To the keep rules the newest three would be all that is wanted.
    let (whole, lost) = points.split_at(2);
    for point in lost {
        lose_a_part(&pod, point);
    }
    let (snapshots, packs) = (entries(&pod.path("target/snapshots")), support::hashes(&pod.path("target/data")));
    let told = pod.fail(&["prune"], RunReason::RepositoryDamaged);
    assert!(lost.iter().all(|point| told.contains(point)) && told.contains("nothing was forgotten"), "{told}");
    assert_eq!(entries(&pod.path("target/snapshots")), snapshots, "something was forgotten");
    assert_eq!(support::hashes(&pod.path("target/data")), packs, "what was forgotten by mistake is gone for good");
    // What was forgotten by mistake is there for who looks for it.
    pod.by_hand(&["recover"]);
    assert_eq!(entries(&pod.path("target/snapshots")), snapshots + 1);

    for _ in lost {
        type_what_is_told(&pod, &pod.fail(&["prune"], RunReason::RepositoryDamaged));
    }
    assert_eq!(pod.succeed(&["prune"]).repository.unwrap().snapshot_count, 2);
    assert_eq!(pod.succeed(&["drill"]).snapshot.as_ref(), whole.last());
}

#[test]
fn an_older_point_is_never_taken_for_the_newest_that_lost_parts() {
    let pod = Pod::new();
    pod.write("models/a", "one");
    let first = pod.succeed(&["backup"]).snapshot.unwrap();
    let second = pod.succeed(&["backup"]).snapshot.unwrap();
    lose_a_part(&pod, &second);
    std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
    for command in [&["check"][..], &["drill"], &["restore", "--volume", "models=fresh"]] {
        let told = pod.fail(command, RunReason::RepositoryDamaged);
        assert!(told.contains(&second) && told.contains("lack parts"), "{told}");
    }
    let shown = pod.command(&["list"]).output().unwrap();
    let (points, warning) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(points.contains(&first) && warning.contains(&second), "{points}{warning}");
    pod.succeed(&["restore", "--point", &first, "--volume", "models=fresh"]);

    // Backups go on and say it, and a newer point that is whole can be drilled.
    let made = pod.succeed(&["backup"]);
    assert!(made.message.contains(&second), "{}", made.message);
    assert_eq!(made.previous_snapshot, Some(first));
    assert_eq!(made.repository.unwrap().broken_count, Some(1));
    let drilled = pod.succeed(&["drill"]);
    assert_eq!(drilled.snapshot, made.snapshot);
    assert!(drilled.message.contains(&second), "{}", drilled.message);
    let told = pod.fail(&["check"], RunReason::RepositoryDamaged);
    // Of two faults both are told.
    spoil_a_pack(&pod.path("target"));
    let both = pod.fail(&["check"], RunReason::RepositoryDamaged);
    assert!(both.len() > told.len() && both.contains("lack parts") && both.contains("is damaged"), "{both}");
}

#[test]
fn points_that_are_gone_are_a_loss_though_their_repository_is_there() {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    let id = pod.succeed(&["backup"]).repository.unwrap().id;
    pod.by_hand(&["forget", "--host", "nightly.farm", "--unsafe-allow-remove-all"]);
    // Of a policy that has made none yet, in a repository that others use.
    for command in ["check", "prune"] {
        assert_eq!(pod.succeed(&[command]).repository.unwrap().snapshot_count, 0);
    }
    pod.configuration["repositoryId"] = json!(id);
    for command in ["check", "prune", "drill"] {
        let told = pod.fail(&[command], RunReason::NoRecoveryPoint);
        assert!(told.contains("where there were some"), "{told}");
    }
    let made = pod.succeed(&["backup"]);
    assert!(made.message.contains("no recovery point from before is left"), "{}", made.message);
    assert_eq!((made.previous_snapshot, made.repository.unwrap().snapshot_count), (None, 1));
    pod.succeed(&["check"]);
}

#[test]
fn a_lock_that_looks_young_for_ever_is_told_with_what_to_type() {
    let mut pod = Pod::new();
    pod.write("models/a", "one");
    pod.succeed(&["backup"]);
    let usual = pod.environment.clone();
    // A dead run's; and as restic does where the clock of that run was ahead: nothing.
    pod.set("PRINTERNIZER_BACKUP_LOCK_SECONDS", "8");
    pod.set("PRINTERNIZER_BACKUP_DEAD_LOCK_SECONDS", "1");
    let mut holder = hold(&pod);
    holder.kill().unwrap();
    holder.wait().unwrap();
    replace_restic(&mut pod, r#"case " $* " in *" unlock "*) exit 0;; esac; exec REAL "$@""#);
    let told = pod.fail(&["backup"], RunReason::RepositoryLocked);
    assert!(told.contains("restic unlock --remove-all"), "{told}");
    assert_eq!(entries(&pod.path("target/locks")), 1);
    pod.environment = usual;
    pod.by_hand(&["unlock", "--remove-all"]);
    pod.succeed(&["backup"]);
}
