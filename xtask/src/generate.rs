//! `cargo xtask generate`: writes the files that are made from the code, or with `--check` says how they differ.
//!
//! It never touches a file whose text is already right, and removes manifests of kinds that no longer exist.
//! The rules of the manifests stand in `printernizer_crds::manifests`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use printernizer_crds::manifests;
use similar::TextDiff;

use crate::error::Error;
use crate::process::{say, warn};
use crate::workspace;

/// Arguments of `generate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Write nothing; fail and show the difference if a file is not what the code says.
    #[arg(long)]
    check: bool,
}

/// Writes or checks the generated files.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let folder = workspace::root().join("crds/manifests");
    let drift = drift(&folder)?;
    if arguments.check {
        for change in &drift {
            warn(&change.diff);
        }
        if drift.is_empty() {
            say("crds/manifests is what the code says");
            return Ok(ExitCode::SUCCESS);
        }
        warn("crds/manifests differs from the code: run `cargo xtask generate` and commit the result");
        return Ok(ExitCode::FAILURE);
    }
    fs::create_dir_all(&folder).map_err(|cause| Error::Write { path: folder.clone(), cause })?;
    for change in &drift {
        let path = folder.join(&change.name);
        let written = match &change.wanted {
            Some(text) => fs::write(&path, text),
            None => fs::remove_file(&path),
        };
        written.map_err(|cause| Error::Write { path, cause })?;
        let verb = if change.wanted.is_some() { "wrote" } else { "removed" };
        say(&format!("{verb} crds/manifests/{}", change.name));
    }
    if drift.is_empty() {
        say("crds/manifests is already what the code says");
    }
    Ok(ExitCode::SUCCESS)
}

/// One file that is not what the code says.
#[derive(Debug, PartialEq)]
pub struct Change {
    name: String,
    /// The text it should have; none if the file should not be there.
    wanted: Option<String>,
    /// From the file to the code, as a unified diff.
    pub diff: String,
}

/// Every file of the folder that differs from the code.
pub fn drift(folder: &Path) -> Result<Vec<Change>, Error> {
    Ok(compare(&found(folder)?, &wanted()?))
}

fn wanted() -> Result<BTreeMap<String, String>, Error> {
    let mut files = BTreeMap::new();
    for crd in manifests::all() {
        let text = manifests::to_yaml(&crd)
            .map_err(|cause| Error::Yaml { kind: crd.spec.names.kind.clone(), cause: cause.into() })?;
        files.insert(format!("{}.yaml", crd.spec.names.plural), text);
    }
    Ok(files)
}

fn found(folder: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut files = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(cause) => return Err(Error::Read { path: folder.to_owned(), cause }),
    };
    for entry in entries {
        let path = entry.map_err(|cause| Error::Read { path: folder.to_owned(), cause })?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        let text = fs::read_to_string(&path).map_err(|cause| Error::Read { path: path.clone(), cause })?;
        files.insert(name.to_owned(), text);
    }
    Ok(files)
}

fn compare(found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> Vec<Change> {
    let names: std::collections::BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let (old, new) = (found.get(name), wanted.get(name));
        if old == new {
            continue;
        }
        let diff = TextDiff::from_lines(old.map_or("", String::as_str), new.map_or("", String::as_str))
            .unified_diff()
            .context_radius(4)
            .header(&format!("crds/manifests/{name} (file)"), &format!("crds/manifests/{name} (code)"))
            .to_string();
        changes.push(Change { name: name.clone(), wanted: new.cloned(), diff });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn equal_files_are_no_drift() {
        assert_eq!(compare(&files(&[("a.yaml", "x: 1\n")]), &files(&[("a.yaml", "x: 1\n")])), vec![]);
    }

    #[test]
    fn a_changed_line_is_shown_with_its_sign() {
        let changes = compare(&files(&[("a.yaml", "x: 1\ny: 2\n")]), &files(&[("a.yaml", "x: 1\ny: 3\n")]));
        assert_eq!(changes.len(), 1);
        assert!(changes[0].diff.contains("-y: 2\n+y: 3\n"), "{}", changes[0].diff);
        assert!(changes[0].diff.contains(" x: 1\n"), "{}", changes[0].diff);
    }

    #[test]
    fn a_missing_file_and_a_file_of_a_kind_that_is_gone_are_drift() {
        let changes = compare(&files(&[("old.yaml", "x: 1\n")]), &files(&[("new.yaml", "x: 1\n")]));
        let wanted: Vec<_> = changes.iter().map(|c| (c.name.as_str(), c.wanted.as_deref())).collect();
        assert_eq!(wanted, [("new.yaml", Some("x: 1\n")), ("old.yaml", None)]);
    }

    #[test]
    fn every_kind_becomes_a_file_that_begins_with_the_header() {
        let wanted = wanted().unwrap();
        assert_eq!(wanted.keys().collect::<Vec<_>>(), ["printers.yaml", "printjobs.yaml", "printrecords.yaml"]);
        for (name, text) in wanted {
            assert!(text.starts_with(manifests::HEADER), "{name}");
        }
    }

    #[test]
    fn making_the_files_twice_gives_the_same_text() {
        assert_eq!(wanted().unwrap(), wanted().unwrap());
    }
}
