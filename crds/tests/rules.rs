//! Judges every row of `tests/rows` by the CEL rules of the definitions, without an API server.
//!
//! Plain limits of the schema (rows with `schema: true`) are judged by the API server only, in `api_crds.rs`; so is
//! whether the rules are cheap enough for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod support;

use std::collections::BTreeSet;

use kube_cel::{Validator, compile_schema};
use serde_json::Value;
use support::{Row, Rows, all, schema, walk};

/// The fields of a claimed job that may change.
const MUTABLE: [&str; 7] =
    ["deletionPolicy", "desiredState", "order", "outcome", "priority", "result", "ttlSecondsAfterFinished"];

/// What the rules say against a row.
fn judged(schema: &Value, rows: &Rows, row: &Row) -> Vec<String> {
    let verdict = Validator::new().validate_with_defaults(schema, &rows.object(row), rows.before(row).as_ref());
    verdict.err().into_iter().flatten().map(|e| e.message).collect()
}

#[test]
fn every_row_is_judged_as_it_says() {
    let mut wrong = Vec::new();
    for (crd, rows) in all() {
        let schema = schema(&crd);
        for row in rows.rows.iter().filter(|row| !row.schema) {
            let said = judged(&schema, &rows, row);
            if said != row.message.iter().cloned().collect::<Vec<_>>() {
                wrong.push(format!("{}: {}: said {said:?}, not {:?}", crd.spec.names.kind, row.name, row.message));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_row_that_breaks_it_and_no_message_stands_for_two_rules() {
    for (crd, rows) in all() {
        let kind = &crd.spec.names.kind;
        let schema = schema(&crd);
        // A rule of a type that several fields have is one.
        let mut rules = BTreeSet::new();
        walk(&schema, kind, &mut |path, part| {
            for rule in part["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = rule["message"].as_str().unwrap_or_else(|| panic!("{path}: a rule without a message"));
                rules.insert((message.to_owned(), rule["rule"].as_str().map(str::to_owned)));
            }
        });
        let distinct: BTreeSet<_> = rules.iter().map(|(message, _)| message.clone()).collect();
        assert_eq!(distinct.len(), rules.len(), "{kind}: two rules with the same message: {rules:?}");
        let broken: BTreeSet<_> =
            rows.rows.iter().filter(|row| !row.schema).filter_map(|row| row.message.clone()).collect();
        assert_eq!(distinct, broken, "{kind}: rules (left) and messages of rows (right)");
    }
}

#[test]
fn every_rule_compiles() {
    for (crd, _) in all() {
        let schema = schema(&crd);
        walk(&schema, &crd.spec.names.kind, &mut |path, part| {
            let compiled = compile_schema(part);
            assert!(!compiled.has_errors(), "{path}: {:?}", compiled.compilation_errors());
        });
    }
}

#[test]
fn every_field_of_a_claimed_job_has_a_row_that_changes_it() {
    let (crd, rows) = all().into_iter().find(|(crd, _)| crd.spec.names.kind == "PrintJob").unwrap();
    let fields: BTreeSet<String> =
        schema(&crd)["properties"]["spec"]["properties"].as_object().unwrap().keys().cloned().collect();
    let mut changed = (BTreeSet::new(), BTreeSet::new());
    for row in &rows.rows {
        if rows.before(row).is_some_and(|old| old["status"]["printer"].is_object()) {
            let of = if row.message.is_some() { &mut changed.0 } else { &mut changed.1 };
            of.extend(row.object["spec"].as_object().unwrap().keys().cloned());
        }
    }
    let mutable: BTreeSet<String> = MUTABLE.map(str::to_owned).into();
    assert_eq!(changed.1, mutable, "fields that rows change with success");
    assert_eq!(changed.0, &fields - &mutable, "fields that rows change in vain, and all that must not change");
}

#[test]
fn rows_of_one_kind_have_different_names() {
    for (crd, rows) in all() {
        let names: BTreeSet<_> = rows.rows.iter().map(|row| &row.name).collect();
        assert_eq!(names.len(), rows.rows.len(), "{}", crd.spec.names.kind);
    }
}
