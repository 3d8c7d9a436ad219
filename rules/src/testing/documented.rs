//! What docs/troubleshooting.md says of the API's reasons, read as its tables stand there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use printernizer_crds::{ConditionType, Reason};

const TEXT: &str = include_str!("../../../docs/troubleshooting.md");

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The kind.
    pub kind: &'static str,
    /// The condition it stands under.
    pub condition: &'static str,
    /// The reason.
    pub reason: &'static str,
    /// Status, meaning, cause and cure.
    pub cells: [&'static str; 4],
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(rows);

fn rows() -> Vec<Row> {
    let (mut kind, mut condition) = ("", "");
    let mut rows = Vec::new();
    for line in TEXT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            (kind, condition) = (heading, "");
        } else if let Some(heading) = line.strip_prefix("### ") {
            condition = heading;
        } else if let Some(row) = line.strip_prefix("| `") {
            let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
            let [reason, status, meaning, cause, cure] = cells.as_slice() else { panic!("not five cells: {line}") };
            let reason = reason.trim_end_matches('`');
            rows.push(Row { kind, condition, reason, cells: [status, meaning, cause, cure] });
        }
    }
    rows
}

/// Each of these conditions, which the rules set, is told of. Those that repeat another condition's reason are told of
/// where that one stands.
pub fn assert_documented(kind: &str, conditions: &[Condition]) {
    for condition in conditions {
        let repeats = ["Ready", "Stalled"].contains(&condition.type_.as_str());
        let told = |row: &Row| {
            row.kind == kind && row.reason == condition.reason && (repeats || row.condition == condition.type_)
        };
        assert!(
            ROWS.iter().any(told),
            "docs/troubleshooting.md says nothing of {kind} {}={} {}",
            condition.type_,
            condition.status,
            condition.reason
        );
    }
}

#[test]
fn every_reason_is_in_the_troubleshooting_guide_with_its_meaning_and_what_to_do() {
    let told: BTreeSet<&str> = ROWS.iter().map(|r| r.reason).collect();
    let known: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    assert_eq!(known.difference(&told).collect::<Vec<_>>(), Vec::<&&str>::new(), "docs/troubleshooting.md lacks these");
    assert_eq!(told.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "there is no such reason");
    let mut seen = BTreeSet::new();
    for row in ROWS.iter() {
        let [status, meaning, _, cure] = row.cells;
        assert!(["Printer", "PrintJob", "BackupPolicy"].contains(&row.kind), "{row:?}");
        assert!(ConditionType::ALL.iter().any(|c| c.as_str() == row.condition), "no such condition: {row:?}");
        assert!(["True", "False", "Unknown"].contains(&status), "{row:?}");
        let reason = Reason::ALL.iter().find(|r| r.as_str() == row.reason).unwrap();
        assert_eq!(meaning, reason.meaning(), "the meaning of {reason} in docs/troubleshooting.md");
        assert!(!cure.is_empty(), "what to do? {row:?}");
        assert!(seen.insert((row.kind, row.condition, row.reason)), "twice: {row:?}");
    }
}

#[test]
fn every_condition_is_in_the_troubleshooting_guide() {
    let headings: BTreeSet<&str> = TEXT.lines().filter_map(|l| l.strip_prefix("### ")).collect();
    let missing: Vec<_> = ConditionType::ALL.iter().filter(|c| !headings.contains(c.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// All sources of a crate but its tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "testing", "properties", "simulation"].contains(&name) {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_reason_is_given_somewhere() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for folder in ["rules/src", "operator/src"] {
        sources(&project.join(folder), &mut files);
    }
    let mut given = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        // Whoever compares gives nothing.
        for line in
            code.lines().filter(|l| !l.contains("has_reason(") && !l.contains("as_str()") && !l.contains("[Reason::"))
        {
            for rest in line.split("Reason::").skip(1) {
                let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
                given.insert(rest[..end].to_owned());
            }
        }
    }
    let never: Vec<_> = Reason::ALL.iter().filter(|r| !given.contains(r.as_str())).collect();
    assert!(never.is_empty(), "no code gives these reasons: {never:?}");
}
