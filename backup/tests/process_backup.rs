//! The program with real restic, a real S3 server with TLS, and volumes that are folders: what is backed up comes back, and
//! by hand as well; policies leave each other alone; secrets are nowhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use printernizer_crds::backup_policy::RunReason;
use serde_json::json;
use support::{Bucket, PASSWORD, Pod, finish, hashes, noise, restic};

/// A volume with what volumes have: folders, empty files, links, names that are no plain text.
fn fill(pod: &Pod) {
    pod.write("models/vase.3mf", noise(1, 300_000));
    pod.write("models/parts/größe [1]*.gcode", "G28\n".repeat(5_000));
    pod.write("models/empty", "");
    pod.write("models/cache/thrown-away.bin", noise(2, 10_000));
    pod.write("models/parts/notes.tmp", "never");
    std::fs::create_dir(pod.path("sources/volumes/models/lost+found")).unwrap();
    symlink("vase.3mf", pod.path("sources/volumes/models/latest")).unwrap();
    let odd =
        std::ffi::OsString::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"odd-\xff\xe2\x82"));
    std::fs::write(pod.path("sources/volumes/models").join(odd), "x").unwrap();
}

/// What of it is backed up.
fn kept(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, String> {
    let mut found = hashes(folder);
    found.retain(|path, _| {
        !path.starts_with("cache/thrown-away.bin")
            && !path.starts_with("lost+found")
            && path.extension() != Some("tmp".as_ref())
    });
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_backed_up_to_s3_comes_back_after_the_volume_is_lost() {
    let bucket = Bucket::start().await;
    let mut pod = Pod::new();
    pod.use_bucket(&bucket);
    pod.configuration["sources"]["persistentVolumeClaims"][0]["excludes"] = json!(["*.tmp", "/cache/*", "sources"]);
    pod.configuration["copies"] = json!([{"persistentVolumeClaim": {"claimName": "disk", "subPath": "copies/one"}}]);
    std::fs::create_dir_all(pod.path("copies/0")).unwrap();
    fill(&pod);
    let before = kept(&pod.path("sources/volumes/models"));

    let made = pod.succeed(&["backup"]);
    let facts = made.repository.clone().unwrap();
    assert_eq!(
        (facts.snapshot_count, facts.newest_recovery_point.unwrap().0.as_second()),
        (1, made.start_time.0.as_second())
    );
    assert!(made.message.contains("1 copy made"), "{}", made.message);

    // From now on the policy knows its repository.
    pod.configuration["repositoryId"] = json!(facts.id);
    let drilled = pod.succeed(&["drill"]);
    assert_eq!(drilled.snapshot, made.snapshot);
    assert!(drilled.restore_seconds.unwrap() > 0);

    std::fs::remove_dir_all(pod.path("sources/volumes/models")).unwrap();
    pod.fail(&["backup"], RunReason::SourceUnavailable);
    for (claim, from) in [("fresh", &[][..]), ("from-copy", &["--copy", "0"])] {
        std::fs::create_dir_all(pod.path(&format!("restore/{claim}/lost+found"))).unwrap();
        let volume = format!("models={claim}");
        let restored = pod.succeed(&[&["restore", "--volume", &volume], from].concat());
        assert_eq!(restored.snapshot, made.snapshot);
        assert_eq!(kept(&pod.path(&format!("restore/{claim}"))), before);
    }
    let refused = pod.fail(&["restore", "--volume", "models=fresh"], RunReason::InvalidConfiguration);
    assert!(refused.contains("not empty"), "{refused}");
    std::fs::create_dir_all(pod.path("restore/empty")).unwrap();
    let unknown = ["restore", "--point", "20200101", "--volume", "models=empty"];
    let told = pod.fail(&unknown, RunReason::NoRecoveryPoint);
    assert!(told.contains("no recovery point 20200101"), "{told}");

    let listed = finish(&mut pod.command(&["list"]));
    assert!(listed.contains(&made.snapshot.unwrap()) && listed.contains("volume models"), "{listed}");
    pod.succeed(&["check"]);
    let pruned = pod.succeed(&["prune"]);
    assert_eq!(pruned.repository.unwrap().snapshot_count, 1);
}

#[test]
fn what_was_emptied_makes_no_recovery_point_unless_it_may_be_empty() {
    let mut pod = Pod::new();
    pod.write("models/vase.gcode", "G28\n");
    let made = pod.succeed(&["backup"]).snapshot.unwrap();
    // As another volume looks that is mounted in its place.
    std::fs::remove_file(pod.path("sources/volumes/models/vase.gcode")).unwrap();
    std::fs::create_dir_all(pod.path("sources/volumes/models/lost+found")).unwrap();
    for _ in 0..2 {
        let told = pod.fail(&["backup"], RunReason::SourceEmpty);
        assert!(told.contains("there are no files in volume models") && told.contains("mayBeEmpty: true"), "{told}");
    }
    // It keeps the last one only, and that is still the one that holds something.
    let pruned = pod.succeed(&["prune"]);
    assert_eq!((pruned.repository.unwrap().snapshot_count, pruned.snapshot), (1, Some(made)));
    pod.configuration["sources"]["persistentVolumeClaims"][0]["mayBeEmpty"] = json!(true);
    pod.succeed(&["backup"]);
    pod.succeed(&["drill"]);
}

/// The commands of README.md, as a person would type them who has restic, the password and nothing of this project.
#[test]
fn a_person_restores_with_stock_restic() {
    let mut pod = Pod::new();
    // As the Secret has it that was made of a file.
    pod.set("PRINTERNIZER_BACKUP_PASSWORD", &format!("{PASSWORD}\n"));
    fill(&pod);
    let before = hashes(&pod.path("sources/volumes/models/parts"));
    pod.succeed(&["backup"]);
    let point = pod.succeed(&["backup"]).snapshot.unwrap();
    std::fs::remove_dir_all(pod.path("sources")).unwrap();

    let listed = pod.by_hand(&["snapshots", "--host", "nightly.farm", "--tag", "manifest"]);
    assert!(listed.contains(&format!("run={point}")), "{listed}");
    let parts: serde_json::Value =
        serde_json::from_str(&pod.by_hand(&["snapshots", "--json", "--tag", &format!("run={point},source=files")]))
            .unwrap();
    let id = parts[0]["short_id"].as_str().unwrap();
    let volume = pod.path("sources/volumes/models");
    let target = pod.path("by-hand");
    pod.by_hand(&["restore", &format!("{id}:{}", volume.display()), "--target", target.to_str().unwrap(), "--verify"]);
    assert_eq!(hashes(&target.join("parts")), before);
    let manifest = pod.by_hand(&["dump", "--host", "nightly.farm", "--tag", "manifest", "latest", "/manifest.json"]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["run"], json!(point));
    assert_eq!(manifest["parts"][0]["proof"]["kind"], json!("files"));
}

#[test]
fn two_policies_in_one_repository_leave_each_other_alone() {
    let mut one = Pod::new();
    one.write("models/a", "one");
    let two = |configuration: &mut serde_json::Value| configuration["policy"] = json!("weekly");
    one.succeed(&["backup"]);
    one.succeed(&["backup"]);
    let newest = one.succeed(&["backup"]).snapshot;
    let first = one.configuration.clone();
    two(&mut one.configuration);
    one.succeed(&["backup"]);
    let other = one.succeed(&["backup"]).repository.unwrap();
    assert_eq!(other.snapshot_count, 2, "another policy's points are not counted");

    one.configuration = first;
    let pruned = one.succeed(&["prune"]);
    assert_eq!((pruned.repository.unwrap().snapshot_count, pruned.snapshot), (1, newest));
    two(&mut one.configuration);
    assert_eq!(finish(&mut one.command(&["list"])).lines().count(), 2);
    assert_eq!(one.succeed(&["drill"]).repository.unwrap().snapshot_count, 2);
    // Whole runs went: one with its part and its manifest, and the two of the other policy.
    let left: Vec<serde_json::Value> = serde_json::from_str(&one.by_hand(&["snapshots", "--json"])).unwrap();
    assert_eq!(left.len(), 2 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_arguments_output_or_report_and_the_program_stays_small() {
    let bucket = Bucket::start().await;
    let mut pod = Pod::new();
    pod.use_bucket(&bucket);
    let (id, key) = bucket.server.root();
    let secrets = ["nobody-may-see", id, key];
    pod.write("models/big", noise(3, 48 << 20));
    // One that fails says more.
    for (round, password) in [PASSWORD, "another-password-nobody-may-see"].into_iter().enumerate() {
        pod.set("PRINTERNIZER_BACKUP_PASSWORD", password);
        let child = pod.start(&["backup"]);
        let pid = child.id();
        let mut arguments = Vec::new();
        let mut peak_kilobytes = 0;
        while let Some(peak) = peak_of(pid) {
            peak_kilobytes = peak_kilobytes.max(peak);
            arguments.extend(
                children_of(pid).into_iter().filter_map(|id| std::fs::read(format!("/proc/{id}/cmdline")).ok()),
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let ended = pod.ended(child.wait_with_output().unwrap());
        assert_eq!(ended.success, round == 0, "{ended:#?}");
        let arguments = String::from_utf8_lossy(&arguments.concat()).into_owned();
        assert!(arguments.contains("restic"), "no child was seen");
        let report = std::fs::read_to_string(pod.path("report.json")).unwrap();
        for text in [&arguments, &report, &ended.output] {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
        if round == 0 {
            println!("figure: peak memory of the backup program {peak_kilobytes} kB");
            assert!(peak_kilobytes > 0 && peak_kilobytes < 30_000, "{peak_kilobytes} kB");
        }
    }
}

/// The most memory a process had so far, in kB; None once it has ended.
fn peak_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

fn children_of(pid: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).chain([pid.to_string()]).collect()
}

/// What this program costs beside plain restic on the same data. Run with `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "measures; needs a quiet machine and 3 GB of disk"]
fn figure_throughput_beside_plain_restic() {
    let megabytes: u32 = std::env::var("PRINTERNIZER_FIGURE_MB").map_or(1_000, |mb| mb.parse().unwrap());
    let pod = Pod::new();
    for file in 0..64 {
        pod.write(&format!("models/{file}"), noise(file + 10, megabytes as usize * 1_000_000 / 64));
    }
    let source = pod.path("sources/volumes/models");
    let timed = |work: &mut dyn FnMut()| {
        let begun = std::time::Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    // Once for the page cache.
    drop(hashes(&source));
    let plain_repository = pod.path("plain");
    let plain = |arguments: &[&str]| {
        let mut command = Command::new(restic());
        command.env("RESTIC_REPOSITORY", &plain_repository).env("RESTIC_PASSWORD", PASSWORD);
        finish(command.env("RESTIC_CACHE_DIR", pod.path("plain-cache")).args(arguments))
    };
    plain(&["init"]);
    pod.by_hand(&["init"]);
    let restored = pod.path("plain-restored");
    let target = format!("latest:{}", source.display());
    let plain_backup = timed(&mut || drop(plain(&["backup", source.to_str().unwrap()])));
    let ours_backup = timed(&mut || drop(pod.succeed(&["backup"])));
    let plain_restore =
        timed(&mut || drop(plain(&["restore", &target, "--verify", "--target", restored.to_str().unwrap()])));
    std::fs::remove_dir_all(&restored).unwrap();
    std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
    let ours_restore = timed(&mut || drop(pod.succeed(&["restore", "--volume", "models=fresh"])));
    let megabytes = f64::from(megabytes);
    for (what, plain, ours) in [("backup", plain_backup, ours_backup), ("restore", plain_restore, ours_restore)] {
        println!(
            "figure: {what} of {megabytes:.0} MB: restic {:.0} MB/s, ours {:.0} MB/s, {:.1} %",
            megabytes / plain,
            megabytes / ours,
            100.0 * plain / ours
        );
    }
}
