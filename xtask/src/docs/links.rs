//! Links of the project's Markdown: where they lead, and whether that is there.
//!
//! Only what a browser of the repository and mdBook take for a link counts: nothing in code. Headings are named as GitHub
//! and mdBook name them. Addresses on the internet are nobody's business here: no test asks the internet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::error::Error;

/// Folders that hold nothing of ours to read.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// Every Markdown file below the folder, with its text, by its path from there.
pub fn files(root: &Path) -> Result<BTreeMap<PathBuf, String>, Error> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let entries = fs::read_dir(&path).map_err(|cause| Error::Read { path: path.clone(), cause })?;
        for entry in entries {
            let entry = entry.map_err(|cause| Error::Read { path: path.clone(), cause })?;
            let (name, below) = (entry.file_name(), folder.join(entry.file_name()));
            let name = name.to_string_lossy();
            if entry.path().is_dir() {
                let hidden = name.starts_with('.') && name != ".github";
                if !hidden && !SKIPPED.contains(&name.as_ref()) {
                    folders.push(below);
                }
            } else if below.extension().is_some_and(|extension| extension == "md") {
                let text =
                    fs::read_to_string(entry.path()).map_err(|cause| Error::Read { path: entry.path(), cause })?;
                found.insert(below, text);
            }
        }
    }
    Ok(found)
}

/// Every link that leads nowhere, as `FILE:LINE: what is wrong`.
pub fn broken(root: &Path, files: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let anchors: BTreeMap<&Path, BTreeSet<String>> =
        files.iter().map(|(path, text)| (path.as_path(), anchors(text))).collect();
    let mut faults = Vec::new();
    for (path, text) in files {
        for range in targets(text) {
            let target = &text[range.clone()];
            if let Some(what) = fault(root, path, target, &anchors) {
                let line = text[..range.start].matches('\n').count() + 1;
                faults.push(format!("{}:{line}: {target} {what}", path.display()));
            }
        }
    }
    faults
}

fn fault(root: &Path, from: &Path, target: &str, anchors: &BTreeMap<&Path, BTreeSet<String>>) -> Option<&'static str> {
    if is_elsewhere(target) {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { Some(from.to_owned()) } else { resolve(from, file) };
    let Some(path) = path else { return Some("leads out of the project") };
    if !root.join(&path).exists() {
        return Some("is not there");
    }
    match (anchor, anchors.get(path.as_path())) {
        (None, _) => None,
        (Some(anchor), Some(anchors)) if anchors.contains(anchor) => None,
        (Some(_), Some(_)) => Some("names a heading that is not there"),
        (Some(_), None) => Some("names a heading of a file that has none"),
    }
}

/// Whether a target is an address and not a file.
pub fn is_elsewhere(target: &str) -> bool {
    let scheme = target.split(':').next().unwrap_or_default();
    scheme.len() < target.len() && !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric())
}

/// The file a relative link of a file means, from the root; none if that is outside of it.
pub fn resolve(from: &Path, link: &str) -> Option<PathBuf> {
    let mut path = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if !path.pop() => return None,
            Component::RootDir | Component::Prefix(_) => return None,
            Component::ParentDir | Component::CurDir => {}
        }
    }
    Some(path)
}

/// Where the targets of links and pictures stand in a text.
pub fn targets(text: &str) -> Vec<Range<usize>> {
    let plain = without_code(text);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = plain[at..].find("](").map(|found| at + found + 2) {
        let Some(length) = plain[start..].find([')', '\n']) else { break };
        let target = &plain[start..start + length];
        let target = target.split_whitespace().next().unwrap_or_default();
        if !target.is_empty() {
            found.push(start..start + target.len());
        }
        at = start + length;
    }
    found
}

/// Names by which headings can be jumped to.
fn anchors(text: &str) -> BTreeSet<String> {
    let plain = without_blocks(text);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for line in plain.lines() {
        let heading = line.trim_start_matches('#');
        let level = line.len() - heading.len();
        if !(1..=6).contains(&level) || !heading.starts_with(' ') {
            continue;
        }
        let name = slug(heading.trim());
        let times = seen.entry(name.clone()).or_default();
        anchors.insert(if *times == 0 { name } else { format!("{name}-{times}") });
        *times += 1;
    }
    anchors
}

fn slug(heading: &str) -> String {
    let mut text = heading.to_owned();
    // Of a link only its words count.
    while let Some(middle) = text.find("](") {
        let (Some(begin), Some(end)) = (text[..middle].rfind('['), text[middle..].find(')')) else { break };
        let words = text[begin + 1..middle].to_owned();
        text.replace_range(begin..=middle + end, &words);
    }
    let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The text with spaces in place of everything in code: as long as before, so that places stay places.
fn without_code(text: &str) -> String {
    let text = without_blocks(text);
    let mut bytes = text.clone().into_bytes();
    let mut at = 0;
    while let Some(begin) = text[at..].find('`').map(|found| at + found) {
        let ticks = text[begin..].len() - text[begin..].trim_start_matches('`').len();
        let inside = begin + ticks;
        // A span ends with as many ticks as it began with, and with its paragraph.
        let paragraph = text[inside..].find("\n\n").map_or(text.len(), |end| inside + end);
        let end = ends(&text[inside..paragraph], ticks).map(|end| inside + end);
        if let Some(end) = end {
            blank(&mut bytes[begin..end + ticks]);
        }
        at = end.map_or(inside, |end| end + ticks);
    }
    String::from_utf8(bytes).unwrap_or(text)
}

/// Where a run of exactly so many ticks begins.
fn ends(text: &str, ticks: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(begin) = text[at..].find('`').map(|found| at + found) {
        let run = text[begin..].len() - text[begin..].trim_start_matches('`').len();
        if run == ticks {
            return Some(begin);
        }
        at = begin + run;
    }
    None
}

/// The text with spaces in place of its blocks of code.
fn without_blocks(text: &str) -> String {
    let mut bytes = text.as_bytes().to_owned();
    let (mut at, mut fence) = (0, None);
    for line in text.split_inclusive('\n') {
        let begin = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| begin.starts_with(mark));
        if fence.is_some() || mark.is_some() {
            blank(&mut bytes[at..at + line.len()]);
        }
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        at += line.len();
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        targets(text).into_iter().map(|range| &text[range]).collect()
    }

    fn judged(pages: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in pages {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        broken(root.path(), &files(root.path()).unwrap())
    }

    #[test]
    fn links_and_pictures_are_found_and_code_is_none() {
        let text = "[a](b.md) ![p](c.svg \"words\")\n`[no](d.md)` `` [no](`e.md) ``\n```sh\n[no](f.md)\n```\n[at\nlast](g.md#x)";
        assert_eq!(found(text), ["b.md", "c.svg", "g.md#x"]);
    }

    #[test]
    fn a_tick_without_its_second_one_hides_nothing_of_the_next_paragraph() {
        assert_eq!(found("a ` tick\n\n[b](c.md) and ` another"), ["c.md"]);
    }

    #[test]
    fn headings_are_named_as_they_are_jumped_to() {
        let text = "# One: `two` & three\n## A [link](b.md)\n```\n# no heading\n```\n#no\n## same\n## same\n### spec.slots[]\n";
        let anchors: Vec<String> = anchors(text).into_iter().collect();
        assert_eq!(anchors, ["a-link", "one-two--three", "same", "same-1", "specslots"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_told_with_its_line() {
        let faults = judged(&[
            ("README.md", "# R\n[good](docs/a.md#one) [none](docs/b.md)\n\n[wrong](docs/a.md#two) [out](../x.md)"),
            (
                "docs/a.md",
                "# One\n[back](../README.md#r) [here](#one) [there](#three) [web](https://example.com/x#y)\n",
            ),
        ]);
        assert_eq!(
            faults,
            [
                "README.md:2: docs/b.md is not there",
                "README.md:4: docs/a.md#two names a heading that is not there",
                "README.md:4: ../x.md leads out of the project",
                "docs/a.md:2: #three names a heading that is not there",
            ]
        );
    }

    #[test]
    fn every_link_of_this_project_leads_somewhere() {
        let root = crate::workspace::root();
        let files = files(&root).unwrap();
        for known in ["README.md", "CONTRIBUTING.md", "charts/printernizer/README.md", "docs/adr/README.md"] {
            assert!(files.contains_key(Path::new(known)), "{known} was not looked at");
        }
        assert_eq!(broken(&root, &files), Vec::<String>::new());
    }
}
