//! The workflows of `.github`: correct, closed, and each action named by its commit. They cannot be run here; these are the
//! programs that know how they are run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod manifests;

use std::path::{Path, PathBuf};
use std::process::Command;

use manifests::{chart, objects, read, run, the, tool};
use printernizer_e2e::farm::project;
use printernizer_e2e::tools::{KUBERNETES, Tool, zizmor};
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

/// With shellcheck, and without pyflakes: there is no Python in them.
fn actionlint(files: &[PathBuf]) -> Result<String, String> {
    run(tool(Tool::Actionlint).args(["-no-color", "-shellcheck=shellcheck", "-pyflakes="]).args(files))
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
    let said = actionlint(&[workflow(&TempDir::new().unwrap(), "run: cp $GITHUB_REF_NAME out")]).unwrap_err();
    assert!(said.contains("SC2086"), "{said}");
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
            for passed in ["test", "e2e"] {
                assert!(job["needs"].as_array().unwrap().contains(&passed.into()), "{name}: {passed}");
            }
        }
    }
    assert_eq!(publishing, 1);
    // The tests are those of every day, and run all of them.
    assert_eq!(release["jobs"]["test"]["uses"], "./.github/workflows/ci.yml");
    let ci = parsed("ci.yml");
    let steps = ci["jobs"]["test"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["run"] == "bash .ci/run" && step["if"].is_null()));
    assert!(read(&project().join(".ci/run")).lines().any(|line| line == "cargo xtask test"));
    // So is the trial on a whole node, which no test of every day runs: it needs root.
    assert_eq!(release["jobs"]["e2e"]["uses"], "./.github/workflows/e2e.yml");
    let e2e = parsed("e2e.yml");
    assert!(e2e["on"].as_object().unwrap().contains_key("workflow_call"));
    let jobs = e2e["jobs"].as_object().unwrap();
    assert_eq!(jobs.len(), 1);
    let steps = jobs["node"]["steps"].as_array().unwrap();
    let trial = |step: &&serde_json::Value| step["run"].as_str().is_some_and(|run| run.ends_with(" cargo xtask e2e"));
    assert!(steps.iter().find(trial).unwrap()["if"].is_null());
}

/// The step of the release is run as it is written, in a folder that is the checkout.
#[test]
fn the_chart_of_a_release_installs_what_was_published_with_it() {
    let folder = TempDir::new().unwrap();
    let charts = folder.path().join("charts");
    std::fs::create_dir(&charts).unwrap();
    run(Command::new("cp").arg("--recursive").arg(chart()).arg(&charts)).unwrap();
    let release = parsed("release.yml");
    let steps = release["jobs"]["build"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"] == "Chart that names what is published with it").unwrap();
    let helm = tool(Tool::Helm);
    let version = env!("CARGO_PKG_VERSION");
    let mut shell = Command::new("bash");
    shell.current_dir(&folder).args(["--noprofile", "--norc", "-eo", "pipefail", "-c"]);
    shell.arg(format!("helm() {{ '{}' \"$@\"; }}\n{}", helm.get_program().display(), step["run"].as_str().unwrap()));
    shell.envs(helm.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("GITHUB_REPOSITORY", "Workshop/Farm").env("GITHUB_SERVER_URL", "https://git.example.com");
    run(shell.env("VERSION", version)).unwrap();

    let mut template = tool(Tool::Helm);
    template.args(["template", "printernizer", "--kube-version", KUBERNETES]);
    template.args(["--set", "metrics.prometheusRule.enabled=true"]);
    let rendered = run(template.arg(folder.path().join(format!("out/printernizer-{version}.tgz")))).unwrap();
    let rendered = objects(&rendered);
    let operator = &the(&rendered, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(operator["image"], format!("ghcr.io/workshop/farm:{version}"));
    assert!(
        !operator["args"].to_string().contains("--backup-image"),
        "it brings rights with it, and is asked for by name"
    );
    let alert = &the(&rendered, "PrometheusRule")["spec"]["groups"][0]["rules"][0];
    let page = format!("https://git.example.com/Workshop/Farm/blob/v{version}/docs/runbooks/PrinternizerNoLeader.md");
    assert_eq!(alert["annotations"]["runbook_url"], page);
    // Under these names the images are pushed.
    let pushed = release["jobs"]["publish"].to_string();
    for name in
        [r#"image=\"ghcr.io/${GITHUB_REPOSITORY,,}\""#, r#"backup=\"$image-backup\""#, "docker://$image:$VERSION"]
    {
        assert!(pushed.contains(name), "{name}");
    }
}
