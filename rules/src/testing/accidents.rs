//! docs/accidents.md and docs/security.md name tests. They exist.

use std::path::Path;

/// The rows of the tables of a text whose headings begin with this cell.
fn rows<const CELLS: usize>(text: &'static str, first: &str) -> Vec<[&'static str; CELLS]> {
    let cells = |line: &'static str| -> Vec<&str> { line.trim_matches('|').split('|').map(str::trim).collect() };
    let mut rows = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line.starts_with("| ") && cells(line)[0] == first) {
        let table = lines.by_ref().skip(1).take_while(|line| line.starts_with("| "));
        rows.extend(table.map(|line| {
            let cells = cells(line);
            <[&str; CELLS]>::try_from(cells).unwrap_or_else(|_| panic!("not {CELLS} cells: {line}"))
        }));
    }
    rows
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

/// Fails with every test of these cells that does not exist. Each row is what it is about and its cell of tests.
fn assert_held(document: &str, held: &[(&'static str, &'static str)]) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut missing = Vec::new();
    for (what, cell) in held {
        let tests = tests(cell);
        assert!(!tests.is_empty(), "{document}: no test holds this: {what}");
        for (file, name) in tests {
            let text = std::fs::read_to_string(project.join(file)).unwrap_or_default();
            if !has_test(&text, name) {
                missing.push(format!("{file}: {name}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "{document} names these tests, and they do not exist");
}

#[test]
fn every_accident_is_kept_away_by_tests_that_exist() {
    let rows = rows::<4>(include_str!("../../../docs/accidents.md"), "what happened");
    assert!(rows.len() > 30, "{} accidents were found", rows.len());
    assert!(rows.iter().flatten().all(|cell| !cell.is_empty()), "{rows:#?}");
    assert_held("docs/accidents.md", &rows.iter().map(|[what, _, _, cell]| (*what, *cell)).collect::<Vec<_>>());
}

#[test]
fn every_threat_is_held_by_tests_that_exist() {
    let rows = rows::<4>(include_str!("../../../docs/security.md"), "attack");
    assert!(rows.len() > 15, "{} threats were found", rows.len());
    for [attack, stops, _, _] in &rows {
        assert!(!stops.is_empty(), "nothing is said of what stops this: {attack}");
    }
    assert_held("docs/security.md", &rows.iter().map(|[attack, _, _, cell]| (*attack, *cell)).collect::<Vec<_>>());
}

#[test]
fn a_function_that_is_no_test_does_not_count_as_one() {
    let text = "fn helper() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn waits() {}\n    #[test]\n    fn holds((a, b) in x()) {}";
    assert!(has_test(text, "waits") && has_test(text, "holds"));
    assert!(!has_test(text, "helper") && !has_test(text, "wait") && !has_test(text, "absent"));
}
