//! The workflows of `.github`: correct, closed, and each action named by its commit. They cannot be run here; these are the
//! programs that know how they are run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod manifests;

use std::path::{Path, PathBuf};
use std::process::Command;

use manifests::{read, run, tool};
use printernizer_e2e::farm::project;
use printernizer_e2e::tools::{Tool, zizmor};
use tempfile::TempDir;

fn workflows() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(project().join(".github/workflows")).unwrap();
    let mut found: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// A workflow of one job with this step, in a folder of its own.
fn workflow(folder: &TempDir, step: &str) -> PathBuf {
    let path = folder.path().join(".github/workflows/a.yml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let job = format!("runs-on: ubuntu-24.04\n    steps:\n      - {step}\n");
    std::fs::write(&path, format!("name: a\non: push\njobs:\n  a:\n    {job}")).unwrap();
    path
}

/// Without shellcheck and pyflakes, which a machine has or not.
fn actionlint(files: &[PathBuf]) -> Result<String, String> {
    run(tool(Tool::Actionlint).args(["-no-color", "-shellcheck=", "-pyflakes="]).args(files))
}

fn audit(place: &Path) -> Result<String, String> {
    let mut command = Command::new(zizmor().unwrap());
    run(command
        .args(["--offline", "--no-progress", "--color=never", "--strict-collection", "--persona=pedantic"])
        .arg(place))
}

#[test]
fn actionlint_finds_nothing_to_complain_about() {
    actionlint(&workflows()).unwrap();
    let said = actionlint(&[workflow(&TempDir::new().unwrap(), "runs: ls")]).unwrap_err();
    assert!(said.contains("step must run script"), "{said}");
}

#[test]
fn zizmor_finds_no_hole_in_them() {
    audit(&project().join(".github")).unwrap();
    let folder = TempDir::new().unwrap();
    workflow(&folder, "uses: actions/checkout@v7");
    let said = audit(&folder.path().join(".github")).unwrap_err();
    assert!(said.contains("unpinned-uses"), "{said}");
}

#[test]
fn every_action_is_named_by_its_commit_and_says_which_version_that_is() {
    let mut actions = 0;
    for path in workflows() {
        for line in read(&path).lines() {
            let Some(used) = line.trim_start_matches([' ', '-']).strip_prefix("uses: ") else { continue };
            // What is of this project is of the same commit.
            if used.starts_with("./.github/") {
                continue;
            }
            actions += 1;
            let (_, commit) = line.split_once('@').unwrap_or_else(|| panic!("{}: {line}", path.display()));
            let (commit, version) = commit.split_once(" # v").unwrap_or((commit, ""));
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_commit && !version.is_empty(), "{}: {line}", path.display());
        }
    }
    assert!(actions > 0);
}

fn parsed(name: &str) -> serde_json::Value {
    let text = read(&project().join(".github/workflows").join(name));
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn nothing_is_published_that_was_not_tested_and_no_program_of_a_pipe_fails_unseen() {
    let release = parsed("release.yml");
    assert_eq!(release["defaults"]["run"]["shell"], "bash");
    let mut publishing = 0;
    for (name, job) in release["jobs"].as_object().unwrap() {
        let rights = job["permissions"].as_object().unwrap_or_else(|| panic!("{name} has no rights of its own"));
        if rights.values().any(|right| right == "write") {
            publishing += 1;
            assert!(job["needs"].as_array().unwrap().contains(&"test".into()), "{name}");
        }
    }
    assert_eq!(publishing, 1);
    // The tests are those of every day, and run all of them.
    assert_eq!(release["jobs"]["test"]["uses"], "./.github/workflows/ci.yml");
    let ci = parsed("ci.yml");
    let steps = ci["jobs"]["test"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["run"] == "bash .ci/run" && step["if"].is_null()));
    assert!(read(&project().join(".ci/run")).lines().any(|line| line == "cargo xtask test"));
}
