//! Copies and prunes that are cut short, or that somebody else works on: by a restic that does not do what it says, and by a
//! repository that was put together by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use printernizer_crds::backup_policy::RunReason;
use serde_json::{Value, json};
use support::{PASSWORD, Pod, entries, finish, restic};

/// Lets the pod find a script in the place of restic; `REAL` in it is restic.
fn replace_restic(pod: &mut Pod, script: &str) {
    let folder = pod.path("programs");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("restic");
    let script = format!("#!/bin/sh\n{}\n", script.replace("REAL", &restic().display().to_string()));
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    pod.set("PATH", &format!("{}:/usr/bin:/bin", folder.display()));
}

fn with_copy() -> Pod {
    let mut pod = Pod::new();
    pod.configuration["copies"] = json!([{"persistentVolumeClaim": {"claimName": "disk", "subPath": "one"}}]);
    std::fs::create_dir_all(pod.path("copies/0")).unwrap();
    pod.write("models/vase.gcode", "G28\n");
    pod
}

#[test]
fn a_copy_counts_only_when_it_is_seen_at_its_place() {
    let mut pod = with_copy();
    let usual = pod.environment.clone();
    replace_restic(&mut pod, r#"case " $* " in *" copy "*) exit 0;; esac; exec REAL "$@""#);
    let told = pod.fail(&["backup"], RunReason::CopyFailed);
    assert!(told.contains("is not whole there"), "{told}");
    pod.environment = usual;
    // The next run copies what is missing.
    pod.succeed(&["backup"]);
    assert_eq!(finish(&mut pod.command(&["list", "--copy", "0"])).lines().count(), 2);
}

#[test]
fn a_prune_that_is_cut_short_leaves_nothing_that_looks_like_damage() {
    let mut pod = Pod::new();
    pod.write("models/vase.gcode", "G28\n");
    pod.succeed(&["backup"]);
    let newest = pod.succeed(&["backup"]).snapshot;
    let usual = pod.environment.clone();
    // What is forgotten first is, and then the pod goes.
    let script = r#"case " $* " in *" --dry-run "*) ;; *" forget "*) mkdir ONCE || exit 1;; esac; exec REAL "$@""#;
    let once = pod.path("once");
    replace_restic(&mut pod, &script.replace("ONCE", &once.display().to_string()));
    pod.fail(&["prune"], RunReason::Failed);
    assert!(once.exists(), "nothing was forgotten");
    pod.environment = usual;
    let pruned = pod.succeed(&["prune"]);
    assert_eq!((pruned.repository.unwrap().snapshot_count, pruned.snapshot), (1, newest));
}

#[test]
fn what_was_copied_twice_is_kept_once() {
    let mut pod = with_copy();
    pod.configuration["retention"] = json!({"keepLast": 2});
    let (copy, aside) = (pod.path("copies/0/one"), pod.path("aside"));
    pod.succeed(&["backup"]);
    // As two runs leave it that copy the same point at the same time.
    std::fs::rename(copy.join("snapshots"), &aside).unwrap();
    std::fs::create_dir(copy.join("snapshots")).unwrap();
    pod.succeed(&["backup"]);
    for entry in std::fs::read_dir(&aside).unwrap() {
        let entry = entry.unwrap();
        std::fs::rename(entry.path(), copy.join("snapshots").join(entry.file_name())).unwrap();
    }
    assert_eq!(snapshots(&pod, &copy), 2 + 2 + 2);
    pod.succeed(&["prune"]);
    // Both points, each with its manifest.
    assert_eq!(snapshots(&pod, &copy), 2 + 2);
    assert_eq!(finish(&mut pod.command(&["list", "--copy", "0"])).lines().count(), 2);
    assert_eq!(entries(&aside), 0);
}

/// How many snapshots stock restic finds.
fn snapshots(pod: &Pod, repository: &Path) -> usize {
    let mut command = Command::new(restic());
    command.env("RESTIC_REPOSITORY", repository).env("RESTIC_PASSWORD", PASSWORD);
    let said = finish(command.env("RESTIC_CACHE_DIR", pod.path("scratch/cache")).args(["snapshots", "--json"]));
    serde_json::from_str::<Vec<Value>>(&said).unwrap().len()
}
