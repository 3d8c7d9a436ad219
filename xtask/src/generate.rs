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
use crate::{reference, workspace};

/// The definitions as they are applied.
const MANIFESTS: &str = "crds/manifests";
/// The definitions as templates of the chart.
const TEMPLATES: &str = "charts/printernizer/templates/crds";
/// Folders of generated files, each with what the names of those end with.
const FOLDERS: [(&str, &str); 3] = [(MANIFESTS, "yaml"), (TEMPLATES, "yaml"), (reference::FOLDER, "md")];
/// Names the definitions for `kubectl apply -k`. Of its possible names the one that is no manifest by its ending.
const KUSTOMIZATION: &str = "Kustomization";

/// Arguments of `generate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Write nothing; fail and show the difference if a file is not what the code says.
    #[arg(long)]
    check: bool,
}

/// Writes or checks the generated files.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let root = workspace::root();
    let drift = drift(&root)?;
    if arguments.check {
        for change in &drift {
            warn(&change.diff);
        }
        if drift.is_empty() {
            say("the generated files are what the code says");
            return Ok(ExitCode::SUCCESS);
        }
        warn("generated files differ from the code: run `cargo xtask generate` and commit the result");
        return Ok(ExitCode::FAILURE);
    }
    for (folder, _) in FOLDERS {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).map_err(|cause| Error::Write { path: folder, cause })?;
    }
    for change in &drift {
        let path = root.join(&change.name);
        let written = match &change.wanted {
            Some(text) => fs::write(&path, text),
            None => fs::remove_file(&path),
        };
        written.map_err(|cause| Error::Write { path, cause })?;
        let verb = if change.wanted.is_some() { "wrote" } else { "removed" };
        say(&format!("{verb} {}", change.name));
    }
    if drift.is_empty() {
        say("the generated files are already what the code says");
    }
    Ok(ExitCode::SUCCESS)
}

/// One file that is not what the code says.
#[derive(Debug, PartialEq)]
pub struct Change {
    /// From the workspace's folder.
    name: String,
    /// The text it should have; none if the file should not be there.
    wanted: Option<String>,
    /// From the file to the code, as a unified diff.
    pub diff: String,
}

/// Every generated file of the workspace that differs from the code.
pub fn drift(root: &Path) -> Result<Vec<Change>, Error> {
    Ok(compare(&found(root)?, &wanted()?))
}

fn wanted() -> Result<BTreeMap<String, String>, Error> {
    let mut files = BTreeMap::new();
    let mut kustomization =
        format!("{}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n", manifests::HEADER);
    let mut definitions = Vec::new();
    for crd in manifests::all() {
        let failed = |cause| Error::Yaml { kind: crd.spec.names.kind.clone(), cause };
        let text = manifests::to_yaml(&crd).map_err(|cause| failed(cause.into()))?;
        definitions.push(serde_json::to_value(&crd).map_err(|cause| failed(cause.into()))?);
        let name = format!("{}.yaml", crd.spec.names.plural);
        kustomization.extend(["  - ", &name, "\n"]);
        files.insert(format!("{TEMPLATES}/{name}"), template(&text));
        files.insert(format!("{MANIFESTS}/{name}"), text);
    }
    files.insert(format!("{MANIFESTS}/{KUSTOMIZATION}"), kustomization);
    let pages = reference::pages(&definitions);
    files.extend(pages.into_iter().map(|(name, text)| (format!("{}/{name}", reference::FOLDER), text)));
    Ok(files)
}

/// A definition as a template of the chart: rendered if it is wanted, with the labels and annotations of the release.
fn template(manifest: &str) -> String {
    let header = manifests::HEADER.trim_start_matches('#').trim();
    // What Helm would read as its own.
    let text = manifest.strip_prefix(manifests::HEADER).unwrap_or(manifest).replace("{{", "{{ \"{{\" }}");
    let (before, after) = text.split_once("\nspec:\n").unwrap_or((&text, ""));
    format!(
        "{{{{- /* {header} */}}}}\n{{{{- if .Values.crds.enabled }}}}\n{before}\n  labels:\n    {{{{- include \
         \"printernizer.labels\" . | nindent 4 }}}}\n  {{{{- with include \"printernizer.crdAnnotations\" . }}}}\n  \
         annotations:\n    {{{{- . | nindent 4 }}}}\n  {{{{- end }}}}\nspec:\n{after}{{{{- end }}}}\n"
    )
}

fn found(root: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut files = BTreeMap::new();
    for (folder, ending) in FOLDERS {
        let path = root.join(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(Error::Read { path, cause }),
        };
        for entry in entries {
            let file = entry.map_err(|cause| Error::Read { path: path.clone(), cause })?.path();
            let Some(name) = file.file_name().and_then(|n| n.to_str()) else { continue };
            if name != KUSTOMIZATION && file.extension().is_none_or(|extension| extension != ending) {
                continue;
            }
            let text = fs::read_to_string(&file).map_err(|cause| Error::Read { path: file.clone(), cause })?;
            files.insert(format!("{folder}/{name}"), text);
        }
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
            .header(&format!("{name} (file)"), &format!("{name} (code)"))
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
    fn every_kind_becomes_a_manifest_a_template_and_a_page_that_say_where_they_come_from() {
        let wanted = wanted().unwrap();
        for folder in [MANIFESTS, TEMPLATES] {
            let names: Vec<&str> = wanted
                .keys()
                .filter_map(|name| name.strip_prefix(folder))
                .filter(|name| name.ends_with("yaml"))
                .collect();
            assert_eq!(
                names,
                ["/backuppolicies.yaml", "/printers.yaml", "/printjobs.yaml", "/printrecords.yaml"],
                "{folder}"
            );
        }
        let pages: Vec<&str> = wanted.keys().filter_map(|name| name.strip_prefix(reference::FOLDER)).collect();
        assert_eq!(pages, ["/README.md", "/backuppolicy.md", "/printer.md", "/printjob.md", "/printrecord.md"]);
        let header = manifests::HEADER.trim_start_matches('#').trim();
        for (name, text) in &wanted {
            assert!(text.lines().next().unwrap().contains(header), "{name}");
        }
        let kustomization = &wanted[&format!("{MANIFESTS}/{KUSTOMIZATION}")];
        assert!(
            kustomization
                .ends_with("\n  - printers.yaml\n  - printjobs.yaml\n  - printrecords.yaml\n  - backuppolicies.yaml\n")
        );
    }

    #[test]
    fn a_template_has_the_labels_of_the_release_and_what_helm_would_read_is_quoted() {
        let manifest = format!("{}metadata:\n  name: a.b\nspec:\n  text: a {{{{ b }}}}\n", manifests::HEADER);
        let template = template(&manifest);
        let (before, after) = template.split_once("\nspec:\n").unwrap();
        assert!(before.contains("\nmetadata:\n  name: a.b\n  labels:\n"), "{template}");
        assert_eq!(after, "  text: a {{ \"{{\" }} b }}\n{{- end }}\n");
    }

    #[test]
    fn making_the_files_twice_gives_the_same_text() {
        assert_eq!(wanted().unwrap(), wanted().unwrap());
    }
}
