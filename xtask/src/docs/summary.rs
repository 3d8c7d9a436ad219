//! The book's table of contents, `docs/SUMMARY.md`: every page of `docs` stands in it once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::links;

/// The table of contents.
pub const FILE: &str = "docs/SUMMARY.md";

/// What is wrong with it: pages it lacks, or has twice. That its own links lead somewhere is checked with all others.
pub fn faults(files: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let summary = Path::new(FILE);
    let Some(text) = files.get(summary) else { return vec![format!("{FILE} is not there")] };
    let mut listed = BTreeSet::new();
    let mut faults = Vec::new();
    for range in links::targets(text) {
        let target = &text[range];
        if let Some(path) = links::resolve(summary, target)
            && !listed.insert(path)
        {
            faults.push(format!("{FILE} has {target} twice"));
        }
    }
    let pages = files.keys().filter(|path| path.starts_with("docs") && path.as_path() != summary);
    faults.extend(pages.filter(|path| !listed.contains(*path)).map(|path| format!("{FILE} lacks {}", path.display())));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(summary: &str) -> Vec<String> {
        let pages = ["docs/a.md", "docs/runbooks/b.md", "docs/adr/0001-c.md", "README.md", "charts/README.md"];
        let mut files: BTreeMap<PathBuf, String> = pages.iter().map(|path| (path.into(), String::new())).collect();
        files.insert(FILE.into(), summary.to_owned());
        faults(&files)
    }

    #[test]
    fn a_page_that_is_missing_or_there_twice_is_told() {
        assert_eq!(judged("[A](a.md) [B](runbooks/b.md) [C](adr/0001-c.md)"), Vec::<String>::new());
        let faults = judged("[A](a.md) [C](adr/0001-c.md) [A again](./a.md)");
        assert_eq!(faults, ["docs/SUMMARY.md has ./a.md twice", "docs/SUMMARY.md lacks docs/runbooks/b.md"]);
    }

    #[test]
    fn every_page_every_runbook_and_every_decision_is_in_the_book() {
        let files = links::files(&crate::workspace::root()).unwrap();
        assert_eq!(faults(&files), Vec::<String>::new());
    }
}
