//! What is in the image, as CycloneDX 1.6: the crates the program is built from, as cargo resolves them for it, and the
//! Debian packages beside it. Made from what cargo tells, because cargo-cyclonedx knows no Debian packages and lists
//! what only other members of a workspace ask for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::ask;
use super::libraries::Package;
use crate::error::Error;
use crate::workspace::cargo;

/// The list for a program of this package.
pub fn write(package: &str, version: &str, debian: &[Package]) -> Result<String, Error> {
    let mut command = cargo();
    // Neither tests' nor build scripts' dependencies, nor macros: they are not in the program.
    command.args(["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--package", package]);
    command.args(["--format", "{p}\t{l}"]);
    let list = list(package, version, &ask(&mut command)?, debian);
    let text = serde_json::to_string_pretty(&list);
    text.map(|text| text + "\n")
        .map_err(|cause| Error::Failed { program: "the list".to_owned(), told: cause.to_string() })
}

fn list(package: &str, version: &str, tree: &str, debian: &[Package]) -> Value {
    let mut components: Vec<Value> = tree
        .lines()
        .filter_map(component)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|Crate { name, version, licence }| {
            let purl = format!("pkg:cargo/{name}@{version}");
            let mut component =
                json!({ "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl });
            if !licence.is_empty() {
                component["licenses"] = json!([{ "expression": licence }]);
            }
            component
        })
        .collect();
    components.extend(debian.iter().map(|Package { name, version, architecture }| {
        let purl = format!("pkg:deb/debian/{name}@{}?arch={architecture}", version.replace('+', "%2B"));
        json!({ "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl })
    }));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "application", "bom-ref": package, "name": package, "version": version,
            "licenses": [{ "expression": "Apache-2.0" }],
        } },
        "components": components,
    })
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
}

/// A crate of others in a line `name v1.2.3 (*)<tab>MIT/Apache-2.0`; those of the workspace have a path.
fn component(line: &str) -> Option<Crate> {
    let (package, licence) = line.split_once('\t')?;
    let mut words = package.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    if words.any(|word| word.starts_with("(/")) {
        return None;
    }
    // The slash is how licences were separated before there were expressions.
    let licence = licence.trim().trim_end_matches(" (*)").split('/').map(str::trim).collect::<Vec<_>>().join(" OR ");
    Some(Crate { name: name.to_owned(), version: version.to_owned(), licence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_each_crate_of_others_once_and_the_packages() {
        let tree = "app v0.1.0 (/src/app)\tApache-2.0\nserde v1.0.2\tMIT / Apache-2.0\nours v0.1.0 (/src/ours)\tApache-2.0\n\
                    serde v1.0.2\tMIT / Apache-2.0 (*)\nring v0.17.1\tApache-2.0 AND ISC\n\n";
        let libc = Package { name: "libc6".into(), version: "2.36-9+deb12u10".into(), architecture: "amd64".into() };
        let list = list("app", "0.1.0", tree, &[libc]);
        let urls: Vec<&str> =
            list["components"].as_array().unwrap().iter().map(|c| c["purl"].as_str().unwrap()).collect();
        let debian = "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64";
        assert_eq!(urls, ["pkg:cargo/ring@0.17.1", "pkg:cargo/serde@1.0.2", debian]);
        assert_eq!(list["components"][1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }
}
