//! docs/accidents.md names tests. They exist.

use std::path::Path;

const TEXT: &str = include_str!("../../../docs/accidents.md");

/// The rows of its tables, without their headings.
fn rows() -> impl Iterator<Item = [&'static str; 4]> {
    let rows = TEXT.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| what happened"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.try_into().unwrap_or_else(|_| panic!("not four cells: {line}"))
    })
}

/// Files of tests, each with the names that stand after it.
fn tests(cell: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut file = "";
    let mut named = Vec::new();
    for word in cell.split('`').skip(1).step_by(2) {
        if Path::new(word).extension().is_some_and(|e| e == "rs") { file = word } else { named.push((file, word)) }
    }
    named
}

/// Whether this is the name of a test in this text.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = [format!("fn {name}("), format!("async fn {name}(")];
    let found = lines.iter().position(|line| begins.iter().any(|b| line.starts_with(b.as_str())));
    let attributes = found.map(|at| lines[..at].iter().rev().take_while(|line| line.starts_with("#[")));
    attributes.is_some_and(|mut a| a.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test")))
}

#[test]
fn every_accident_is_kept_away_by_tests_that_exist() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut missing = Vec::new();
    let mut accidents = 0;
    for [what, seen, why_not, cell] in rows() {
        accidents += 1;
        assert!(![what, seen, why_not].iter().any(|c| c.is_empty()), "{what}");
        let tests = tests(cell);
        assert!(!tests.is_empty(), "no test keeps it away: {what}");
        for (file, name) in tests {
            let text = std::fs::read_to_string(project.join(file)).unwrap_or_default();
            if !has_test(&text, name) {
                missing.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(accidents > 30, "{accidents} rows were found in docs/accidents.md");
    assert_eq!(missing, Vec::<String>::new(), "docs/accidents.md names these tests, and they do not exist");
}

#[test]
fn a_function_that_is_no_test_does_not_count_as_one() {
    let text = "fn helper() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn waits() {}\n    #[test]\n    fn holds((a, b) in x()) {}";
    assert!(has_test(text, "waits") && has_test(text, "holds"));
    assert!(!has_test(text, "helper") && !has_test(text, "wait") && !has_test(text, "absent"));
}
