//! Commands as documents and workflows name them: the project's own exist, Helm's keep a release whole. Tests alone.

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

/// Helm then renders the newer chart with the older one's values alone, and every value that is new is missing: templates
/// fail on it, or take it for what it is not.
#[test]
fn no_document_upgrades_with_the_values_of_an_older_chart_alone() {
    let texts = links::files(&root()).unwrap();
    let upgrades = texts.values().map(|text| text.matches(" --reset-then-reuse-values").count()).sum::<usize>();
    let wrong: Vec<_> =
        texts.iter().filter(|(_, text)| text.contains(" --reuse-values")).map(|(path, _)| path).collect();
    assert!(wrong.is_empty() && upgrades > 0, "{wrong:?}");
}
