//! The built book, as a browser has it: every link of a page leads to a page and a place that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::links;
use crate::error::Error;

/// Pages that are made of others: all of them in one, the table of contents, and the one for addresses that are not there,
/// whose links are meant from anywhere.
const MADE: [&str; 3] = ["print.html", "toc.html", "404.html"];

/// Every link of the book in this folder that leads nowhere.
pub fn broken(book: &Path) -> Result<Vec<String>, Error> {
    let mut texts = BTreeMap::new();
    read(book, Path::new(""), &mut texts)?;
    let places: BTreeMap<&Path, BTreeSet<&str>> =
        texts.iter().map(|(path, text)| (path.as_path(), values(text, "id").collect())).collect();
    let mut faults = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| !MADE.iter().any(|made| path.as_path() == Path::new(made))) {
        for target in ["href", "src"].into_iter().flat_map(|attribute| values(text, attribute)) {
            if links::is_elsewhere(target) || target.starts_with("//") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { Some(path.clone()) } else { links::resolve(path, file) };
            let there = to.as_ref().is_some_and(|to| book.join(to).is_file());
            let known = to.as_ref().and_then(|to| places.get(to.as_path()));
            if !there || !place.is_empty() && known.is_some_and(|known| !known.contains(place)) {
                faults.push(format!("{}: {target} leads nowhere", path.display()));
            }
        }
    }
    Ok(faults)
}

fn read(book: &Path, folder: &Path, texts: &mut BTreeMap<PathBuf, String>) -> Result<(), Error> {
    let failed = |path: PathBuf| move |cause| Error::Read { path, cause };
    let path = book.join(folder);
    for entry in fs::read_dir(&path).map_err(failed(path.clone()))? {
        let entry = entry.map_err(failed(path.clone()))?;
        let below = folder.join(entry.file_name());
        if entry.path().is_dir() {
            read(book, &below, texts)?;
        } else if below.extension().is_some_and(|extension| extension == "html") {
            texts.insert(below, fs::read_to_string(entry.path()).map_err(failed(entry.path()))?);
        }
    }
    Ok(())
}

/// The values of an attribute.
fn values<'a>(text: &'a str, attribute: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {attribute}=\"");
    text.match_indices(&begin).map(|(at, found)| at + found.len()).collect::<Vec<_>>().into_iter().map(|at| {
        let rest = &text[at..];
        &rest[..rest.find('"').unwrap_or(rest.len())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_no_page_or_to_no_place_of_one_is_told() {
        let book = tempfile::tempdir().unwrap();
        fs::create_dir(book.path().join("adr")).unwrap();
        let good = "<a href=\"adr/b.html#x\">b</a> <a href=\"https://example.com/\">e</a> <h1 id=\"top\">a</h1>";
        let bad = "<a href=\"adr/b.html#y\"></a> <a href=\"c.html\"></a> <img src=\"p.svg\"> <a href=\"#top\"></a>";
        fs::write(book.path().join("a.html"), format!("{good}{bad}")).unwrap();
        fs::write(book.path().join("adr/b.html"), "<h2 id=\"x\"><a href=\"../a.html\">up</a></h2>").unwrap();
        fs::write(book.path().join("print.html"), "<a href=\"nowhere\"></a>").unwrap();
        assert_eq!(
            broken(book.path()).unwrap(),
            ["adr/b.html#y leads nowhere", "c.html leads nowhere", "p.svg leads nowhere"]
                .map(|f| format!("a.html: {f}"))
        );
    }
}
