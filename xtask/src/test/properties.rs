//! Which tests are property tests: those written in a `proptest!` block. Cargo's output does not tell them from the
//! others, so the names are read from the sources. It only finds names; it never decides whether a test ran.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::error::Error;

/// Names of the property tests in all Rust files of a folder.
pub fn names(folder: &Path) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|cause| Error::Read { path: folder.clone(), cause })?;
        for entry in entries {
            let path = entry.map_err(|cause| Error::Read { path: folder.clone(), cause })?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.starts_with('.') || name == "target" || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).map_err(|cause| Error::Read { path: path.clone(), cause })?;
                names.extend(in_text(&text));
            }
        }
    }
    Ok(names)
}

/// Names of the functions in `proptest!` blocks. A block ends where a brace closes it on the column where it began.
fn in_text(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut end: Option<String> = None;
    for line in text.lines() {
        let code = line.trim_start();
        let indentation = &line[..line.len() - code.len()];
        if end.as_deref() == Some(line.trim_end()) {
            end = None;
        } else if end.is_some() {
            let name = code.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            names.extend(name.map(|name| name.trim().to_owned()));
        } else if code.starts_with("proptest!") && code.trim_end().ends_with('{') {
            end = Some(format!("{indentation}}}"));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_proptest_blocks_are_found_and_others_are_not() {
        let text = "\
fn farm() -> impl Strategy<Value = Farm> {
}

mod tests {
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_is_given_away_twice(farm in farm()) {
            if true {
            }
        }

        #[test]
        fn order_holds(a in 0..3, b in 0..3) {}
    }

    #[test]
    fn a_table() {}
}
";
        assert_eq!(in_text(text), ["nothing_is_given_away_twice", "order_holds"]);
    }

    #[test]
    fn a_file_without_a_block_has_none() {
        assert!(in_text("#[test]\nfn proptest() {}\n").is_empty());
    }
}
