//! The project's commands as documents and workflows name them: each one exists. Tests alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use clap::CommandFactory as _;

use super::links;
use crate::workspace::root;

/// What stands after `cargo xtask`, wherever that is.
fn named(text: &str) -> BTreeSet<&str> {
    let after = text.match_indices("cargo xtask ").map(|(at, begin)| &text[at + begin.len()..]);
    let word = |rest: &'_ str| rest.find(|c: char| !c.is_ascii_lowercase() && c != '-' && !c.is_ascii_digit());
    after.map(|rest| &rest[..word(rest).unwrap_or(rest.len())]).filter(|word| !word.is_empty()).collect()
}

#[test]
fn a_command_is_the_word_after_the_programs_name() {
    let text = "`cargo xtask test unit`, `cargo xtask`, run: cargo xtask e2e\n# cargo xtask docs";
    assert_eq!(named(text), BTreeSet::from(["docs", "e2e", "test"]));
}

#[test]
fn every_command_that_documents_and_workflows_name_exists() {
    let root = root();
    let mut texts: BTreeMap<PathBuf, String> = links::files(&root).unwrap();
    for entry in fs::read_dir(root.join(".github/workflows")).unwrap() {
        let path = entry.unwrap().path();
        texts.insert(path.clone(), fs::read_to_string(path).unwrap());
    }
    let known = crate::Arguments::command();
    let known: BTreeSet<&str> = known.get_subcommands().map(clap::Command::get_name).collect();
    let mut unknown = Vec::new();
    for (path, text) in &texts {
        unknown.extend(named(text).difference(&known).map(|name| format!("{}: {name}", path.display())));
    }
    assert_eq!(unknown, Vec::<String>::new(), "there are {known:?}");
}
