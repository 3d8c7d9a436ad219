//! What the tests of manifests share: the project's files, YAML as values, programs that succeed or say why not.

#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::print_stdout, reason = "progress of a build")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use printernizer_e2e::farm::project;
use printernizer_e2e::tools::{KUBERNETES, Tool};
use serde_json::Value;

/// Set to write what is rendered instead of comparing it.
const WRITE: &str = "PRINTERNIZER_WRITE_RENDERED";

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of a text with one or more YAML documents.
pub fn objects(text: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// The only object of this kind.
pub fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}: {found:#?}");
    found[0]
}

/// Runs a program; what it printed, or with everything it said why it did not succeed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
    }
}

/// A program of the cache, built now if it is not there. Settings of this machine's person are not meant.
pub fn tool(tool: Tool) -> Command {
    let path = tool.ensure(&mut |line| println!("{line}")).unwrap();
    let mut command = Command::new(path);
    let nowhere = std::env::temp_dir().join("printernizer-no-settings");
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, &nowhere);
    }
    command.env_remove("KUBECONFIG");
    command
}

pub fn chart() -> PathBuf {
    project().join("charts/printernizer")
}

/// The values files for which the chart is checked, by name.
pub fn values() -> Vec<(String, PathBuf)> {
    let folder = chart().join("ci");
    let mut found: Vec<(String, PathBuf)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.strip_suffix("-values.yaml")?.to_owned(), path.clone())))
        .collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
    found
}

/// `helm template` of the chart, as a release `printernizer` in the namespace `printernizer`.
pub fn template(values: Option<&Path>, more: &[&str]) -> Result<String, String> {
    release("printernizer", values, more)
}

/// The same as a release of another name.
pub fn release(name: &str, values: Option<&Path>, more: &[&str]) -> Result<String, String> {
    let mut command = tool(Tool::Helm);
    command.args(["template", name]).arg(chart());
    command.args(["--namespace", "printernizer", "--kube-version", KUBERNETES]);
    if let Some(values) = values {
        command.arg("--values").arg(values);
    }
    run(command.args(more))
}

pub fn kustomize(folder: &str) -> Result<String, String> {
    run(tool(Tool::Kustomize).arg("build").arg(project().join(folder)))
}

/// Fails with the difference if the file is not the text; writes it instead if asked to.
pub fn assert_file(path: &Path, text: &str) {
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    let new = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(new.path(), text).unwrap();
    let difference = run(Command::new("diff").args(["--unified", "--new-file"]).arg(path).arg(new.path()));
    panic!(
        "{} is not what is rendered now; if that is meant, write it with {WRITE}=1 and read the difference:\n{}",
        path.display(),
        difference.unwrap_err()
    );
}
