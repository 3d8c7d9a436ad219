//! Copies and prunes that are cut short, or that somebody else works on: by a restic that does not do what it says, and by a
//! repository that was put together by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::path::Path;
use std::process::Command;

use printernizer_crds::backup_policy::RunReason;
use serde_json::{Value, json};
use support::{PASSWORD, Pod, entries, finish, hashes, replace_restic, restic, spoil_a_pack};

fn with_copy() -> Pod {
    let mut pod = Pod::new();
    pod.configuration["copies"] = json!([{"persistentVolumeClaim": {"claimName": "disk", "subPath": "one"}}]);
    std::fs::create_dir_all(pod.path("copies/0")).unwrap();
    pod.write("models/vase.gcode", "G28\n");
    pod
}

/// What the operator tells of the copies that a run has found or made.
fn tell_of_copies(pod: &mut Pod, ids: &[Option<String>]) {
    let places = ["pvc:disk/one", "pvc:second"].into_iter();
    let known = places.zip(ids).filter_map(|(location, id)| Some(json!({"location": location, "id": id.as_ref()?})));
    pod.configuration["copyRepositories"] = known.collect();
}

#[test]
fn a_copy_that_was_emptied_or_exchanged_is_not_begun_anew() {
    let mut pod = with_copy();
    let ids = pod.succeed(&["backup"]).copy_ids;
    assert!(ids[0].is_some() && ids.len() == 1, "{ids:?}");
    tell_of_copies(&mut pod, &ids);
    assert_eq!(pod.succeed(&["check"]).copy_ids, ids);
    let (copy, aside) = (pod.path("copies/0/one"), pod.path("aside"));
    std::fs::rename(&copy, &aside).unwrap();

    // One that is new in the policy is begun beside it.
    pod.configuration["copies"].as_array_mut().unwrap().push(json!({"persistentVolumeClaim": {"claimName": "second"}}));
    std::fs::create_dir_all(pod.path("copies/1")).unwrap();
    let id = ids[0].clone().unwrap();
    let refused = |pod: &Pod, what: &str, commands: &[&str]| {
        for command in commands {
            let ended = pod.run(&[*command]);
            let told = &ended.report.message;
            assert_eq!(ended.report.reason, RunReason::CopyFailed, "{ended:#?}");
            assert!(told.contains(what) && told.contains(&format!("set spec.acknowledged to {id}")), "{told}");
            let (old, new) = (&ended.report.copy_ids[0], &ended.report.copy_ids[1]);
            assert!(old.is_none() && new.is_some(), "{ended:#?}");
        }
        std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
        pod.fail(&["restore", "--copy", "0", "--volume", "models=fresh"], RunReason::CopyFailed);
        let listed = pod.command(&["list", "--copy", "0"]).output().unwrap();
        assert!(!listed.status.success() && String::from_utf8_lossy(&listed.stderr).contains(what), "{listed:?}");
    };
    refused(&pod, "no repository is at pvc:disk/one", &["backup", "check", "prune"]);
    assert_eq!(entries(&copy), 0, "something was written");
    assert_eq!(finish(&mut pod.command(&["list", "--copy", "1"])).lines().count(), 1);

    // Another one, as of a volume that was exchanged.
    let other = with_copy();
    other.succeed(&["backup"]);
    std::fs::rename(other.path("copies/0/one"), &copy).unwrap();
    let before = hashes(&copy.join("snapshots"));
    refused(&pod, "another repository", &["backup"]);
    assert_eq!(hashes(&copy.join("snapshots")), before, "something was written");

    // A person gives up the copy that was; or brings it back.
    std::fs::rename(&copy, pod.path("another")).unwrap();
    let known = std::mem::replace(&mut pod.configuration["copyRepositories"], json!([]));
    assert_ne!(pod.succeed(&["backup"]).copy_ids[0], ids[0]);
    std::fs::remove_dir_all(&copy).unwrap();
    std::fs::rename(&aside, &copy).unwrap();
    pod.configuration["copyRepositories"] = known;
    assert_eq!(pod.succeed(&["backup"]).copy_ids[0], ids[0]);
}

#[test]
fn what_is_the_target_itself_or_another_copy_is_no_copy() {
    let mut pod = with_copy();
    pod.configuration["copies"] =
        json!([{"persistentVolumeClaim": {"claimName": "disk"}}, {"persistentVolumeClaim": {"claimName": "second"}}]);
    let (one, two) = (pod.path("copies/0"), pod.path("copies/1"));
    std::fs::remove_dir(&one).unwrap();
    std::os::unix::fs::symlink(pod.path("target"), &one).unwrap();
    std::fs::create_dir_all(&two).unwrap();
    // As two volumes of one export. The other copy is made.
    for command in ["backup", "check", "prune"] {
        let ended = pod.run(&[command]);
        assert_eq!(ended.report.reason, RunReason::CopyFailed, "{ended:#?}");
        assert!(ended.report.message.contains("are the same repository"), "{ended:#?}");
        assert!(ended.report.copy_ids[0].is_none() && ended.report.copy_ids[1].is_some(), "{ended:#?}");
    }
    std::fs::remove_file(&one).unwrap();
    std::os::unix::fs::symlink(&two, &one).unwrap();
    let ended = pod.run(&["backup"]);
    assert_eq!(ended.report.reason, RunReason::CopyFailed, "{ended:#?}");
    assert!(ended.report.copy_ids[0].is_some() && ended.report.copy_ids[1].is_none(), "{ended:#?}");
    assert!(ended.report.message.contains("pvc:second and pvc:disk are the same repository"), "{ended:#?}");
}

#[test]
fn copies_that_have_changed_places_are_told_as_such() {
    let mut pod = with_copy();
    pod.configuration["copies"].as_array_mut().unwrap().push(json!({"persistentVolumeClaim": {"claimName": "second"}}));
    std::fs::create_dir_all(pod.path("copies/1")).unwrap();
    let ids = pod.succeed(&["backup"]).copy_ids;
    let names: Vec<&String> = ids.iter().flatten().collect();
    tell_of_copies(&mut pod, &ids);
    let (one, two, aside) = (pod.path("copies/0/one"), pod.path("copies/1"), pod.path("aside"));
    std::fs::rename(&one, &aside).unwrap();
    std::fs::rename(&two, &one).unwrap();
    std::fs::rename(&aside, &two).unwrap();
    let told = pod.fail(&["backup"], RunReason::CopyFailed);
    assert!(told.contains("the copy of pvc:second") && told.contains("have changed places"), "{told}");
    assert!(
        told.contains(&format!("set spec.acknowledged to {}, and when that is done to {}", names[0], names[1])),
        "{told}"
    );
    // As a person does who gives both up, one after the other: then each counts where it is.
    tell_of_copies(&mut pod, &[None, ids[1].clone()]);
    let told = pod.fail(&["backup"], RunReason::CopyFailed);
    assert!(told.contains(&format!("set spec.acknowledged to {}", names[1])), "{told}");
    tell_of_copies(&mut pod, &[]);
    let now = pod.succeed(&["backup"]).copy_ids;
    assert_eq!(now, [ids[1].clone(), ids[0].clone()]);
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
fn a_check_that_finds_damage_says_whether_the_copy_is_whole() {
    let pod = with_copy();
    pod.succeed(&["backup"]);
    spoil_a_pack(&pod.path("target"));
    let told = pod.fail(&["check"], RunReason::RepositoryDamaged);
    assert!(told.contains("is whole by its structure and 100 % of its data") && told.contains("broken pack"), "{told}");
    spoil_a_pack(&pod.path("copies/0/one"));
    let told = pod.fail(&["check"], RunReason::RepositoryDamaged);
    assert!(told.contains("is not known to be whole either"), "{told}");
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

#[test]
fn a_copy_that_does_not_answer_is_told_of_the_copy_and_the_others_are_looked_at() {
    let mut pod = Pod::new();
    pod.write("models/vase.gcode", "G28\n");
    let copy = |claim: &str| json!({"persistentVolumeClaim": {"claimName": claim}});
    pod.configuration["copies"] = json!([copy("second"), copy("third")]);
    for place in ["copies/0", "copies/1"] {
        std::fs::create_dir_all(pod.path(place)).unwrap();
    }
    pod.succeed(&["backup"]);
    pod.succeed(&["backup"]);
    std::fs::rename(pod.path("copies/0"), pod.path("away")).unwrap();
    let told = pod.fail(&["check"], RunReason::CopyFailed);
    assert!(told.contains("is whole by") && told.contains("pvc:second") && !told.contains("pvc:third"), "{told}");
    let ended = pod.run(&["prune"]);
    assert_eq!((ended.report.reason, ended.success), (RunReason::CopyFailed, false), "{ended:#?}");
    assert!(ended.report.message.contains("pvc:second"), "{ended:#?}");
    assert_eq!(ended.report.repository.unwrap().snapshot_count, 1);
    assert_eq!(finish(&mut pod.command(&["list", "--copy", "1"])).lines().count(), 1, "it was not pruned");

    // Damage is damage wherever it is.
    spoil_a_pack(&pod.path("copies/1"));
    let told = pod.fail(&["check"], RunReason::RepositoryDamaged);
    assert!(told.contains("pvc:second") && told.contains("pvc:third is damaged"), "{told}");
}

#[test]
fn a_point_that_a_prune_forgets_while_it_is_copied_is_missed_by_nobody() {
    let mut pod = with_copy();
    let copies = std::mem::replace(&mut pod.configuration["copies"], json!([]));
    let first = pod.succeed(&["backup"]).snapshot.unwrap();
    pod.configuration["copies"] = copies;
    let usual = pod.environment.clone();
    // As soon as the first point is to be copied it is gone.
    let forget = format!("forget --tag run={first} --unsafe-allow-remove-all >&2");
    let there = format!("RESTIC_REPOSITORY=$RESTIC_FROM_REPOSITORY RESTIC_PASSWORD={PASSWORD} REAL {forget}");
    let once = pod.path("once");
    let script = format!(r#"case " $* " in *" copy "*) mkdir {} && {there};; esac; exec REAL "$@""#, once.display());
    replace_restic(&mut pod, &script);
    pod.succeed(&["backup"]);
    assert!(once.exists(), "nothing was copied");
    pod.environment = usual;
    assert_eq!(finish(&mut pod.command(&["list", "--copy", "0"])).lines().count(), 1);
}

#[test]
fn what_a_copy_lost_and_the_target_has_is_copied_again_and_nothing_is_forgotten_there_before() {
    let mut pod = with_copy();
    pod.configuration["retention"] = json!({"keepLast": 2});
    for _ in 0..3 {
        pod.succeed(&["backup"]);
    }
    let newest = pod.succeed(&["backup"]).snapshot.unwrap();
    let copy = pod.path("copies/0/one");
    let by_hand = |arguments: &[&str]| {
        let mut command = Command::new(restic());
        command.env("RESTIC_REPOSITORY", &copy).env("RESTIC_PASSWORD", PASSWORD);
        finish(command.env("RESTIC_CACHE_DIR", pod.path("scratch/cache")).args(arguments))
    };
    by_hand(&["forget", "--tag", &format!("run={newest},source=files"), "--unsafe-allow-remove-all"]);
    let told = pod.fail(&["prune"], RunReason::CopyFailed);
    assert!(told.contains("the target has") && told.contains("2 kept"), "{told}");
    assert_eq!(finish(&mut pod.command(&["list", "--copy", "0"])).lines().count(), 3);
    pod.succeed(&["backup"]);
    pod.succeed(&["prune"]);
    assert_eq!(finish(&mut pod.command(&["list", "--copy", "0"])).lines().count(), 2);
}
