//! The program with real restic, a real S3 server with TLS, and volumes that are folders: what is backed up comes back, and
//! by hand as well; policies leave each other alone; secrets are nowhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use printernizer_crds::backup_policy::RunReason;
use serde_json::json;
use support::{Bucket, MOST_MEMORY, PASSWORD, Pod, finish, hashes, noise, peak_of, restic};

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

#[test]
fn a_prune_and_a_backup_of_two_policies_at_the_same_time_wait_for_each_other_and_lose_nothing() {
    let (one, mut two) = (Pod::new(), Pod::new());
    two.configuration["policy"] = json!("weekly");
    two.configuration["retention"] = json!({"keepLast": 10});
    std::fs::remove_dir(two.path("target")).unwrap();
    symlink(one.path("target"), two.path("target")).unwrap();
    let mut made = Vec::new();
    for round in 0..3 {
        // What the one forgets the other stores at this moment.
        let same = noise(round, 3_000_000);
        one.write("models/a", &same);
        one.succeed(&["backup"]);
        one.write("models/a", noise(round + 100, 1_000_000));
        let newest = one.succeed(&["backup"]).snapshot;
        two.write("models/b", &same);
        let (prune, backup) = (one.start(&["prune"]), two.start(&["backup"]));
        let [prune, backup] =
            [(prune, &one), (backup, &two)].map(|(run, pod)| pod.ended(run.wait_with_output().unwrap()));
        assert!(prune.success && backup.success, "{prune:#?} {backup:#?}");
        assert_eq!((prune.report.snapshot, prune.report.repository.unwrap().snapshot_count), (newest, 1));
        made.extend(backup.report.snapshot);
    }
    one.succeed(&["check"]);
    let listed = finish(&mut two.command(&["list"]));
    assert!(made.len() == 3 && made.iter().all(|point| listed.contains(point)), "{listed}");
    for pod in [&one, &two] {
        pod.succeed(&["drill"]);
    }
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
            assert!(peak_kilobytes > 0 && peak_kilobytes < MOST_MEMORY, "{peak_kilobytes} kB");
        }
    }
}

fn children_of(pid: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).chain([pid.to_string()]).collect()
}

/// How often restic and this program take turns.
const TURNS: usize = 5;

/// What this program costs beside plain restic on the same data, in turns, each into a repository of its own: several calls of
/// restic for one, each of which derives the key anew, so that the goal can be held with much data alone. Run with
/// `cargo test --release -p printernizer-backup --test process_backup -- --ignored --nocapture`.
#[test]
#[ignore = "measures; needs a quiet machine and five times the disk of PRINTERNIZER_FIGURE_MB"]
fn figure_throughput_beside_plain_restic() {
    let megabytes: u32 = std::env::var("PRINTERNIZER_FIGURE_MB").map_or(4_000, |mb| mb.parse().unwrap());
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
    let (repository, beside) = (pod.path("plain"), pod.path("plain-restored"));
    let plain = |arguments: &[&str]| {
        let mut command = Command::new(restic());
        command.env("RESTIC_REPOSITORY", &repository).env("RESTIC_PASSWORD", PASSWORD);
        finish(command.env("RESTIC_CACHE_DIR", pod.path("plain-cache")).args(arguments))
    };
    let latest = format!("latest:{}", source.display());
    let mut peak = 0;
    // Of each turn: what restic took and what this program took, to back up and to restore.
    let mut turns: Vec<[f64; 4]> = Vec::new();
    for turn in 0..TURNS {
        for folder in [&repository, &beside, &pod.path("target"), &pod.path("restore/fresh")] {
            drop(std::fs::remove_dir_all(folder));
        }
        std::fs::create_dir_all(pod.path("target")).unwrap();
        std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
        plain(&["init"]);
        pod.by_hand(&["init"]);
        let mut ours = |arguments: &[&str]| {
            let ended = pod.run(arguments);
            assert!(ended.success, "{ended:#?}");
            peak = peak.max(ended.peak_kilobytes);
        };
        let mut backups = [0.0; 2];
        let mut restores = [0.0; 2];
        // Who is first has no advantage over all turns.
        for whose in [turn % 2, 1 - turn % 2] {
            backups[whose] = timed(&mut || match whose {
                0 => drop(plain(&["backup", source.to_str().unwrap()])),
                _ => ours(&["backup"]),
            });
        }
        for whose in [turn % 2, 1 - turn % 2] {
            restores[whose] = timed(&mut || match whose {
                0 => drop(plain(&["restore", &latest, "--verify", "--target", beside.to_str().unwrap()])),
                _ => ours(&["restore", "--volume", "models=fresh"]),
            });
        }
        turns.push([backups[0], backups[1], restores[0], restores[1]]);
    }
    let median = |of: &dyn Fn(&[f64; 4]) -> f64| {
        let mut all: Vec<f64> = turns.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[TURNS / 2]
    };
    let size = f64::from(megabytes);
    println!("figure: the most memory of this program {peak} kB");
    let shares = [("backup", 0), ("restore", 2)].map(|(what, first)| {
        let (plain, ours) = (median(&|turn| turn[first]), median(&|turn| turn[first + 1]));
        let share = 100.0 * median(&|turn| turn[first] / turn[first + 1]);
        println!(
            "figure: {what} of {size:.0} MB, medians of {TURNS}: restic {:.0} MB/s, this program {:.0} MB/s, of each turn {share:.1} %",
            size / plain,
            size / ours
        );
        share
    });
    assert!(peak > 0 && shares.iter().all(|share| *share >= 95.0), "{turns:?}");
}
