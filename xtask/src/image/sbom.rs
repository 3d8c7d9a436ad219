//! What is in the image, as CycloneDX 1.6: the crates the program is built from, as cargo resolves them for it, and the
//! packages of Debian or Ubuntu beside it. Made from what cargo tells, because cargo-cyclonedx knows no such packages and
//! lists what only other members of a workspace ask for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::ask;
use super::libraries::{Package, System};
use crate::error::Error;
use crate::workspace::cargo;

/// The list for a program of this package.
pub fn write(package: &str, version: &str, packages: &[Package]) -> Result<String, Error> {
    let mut command = cargo();
    // Neither tests' nor build scripts' dependencies, nor macros: they are not in the program.
    command.args(["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--package", package]);
    command.args(["--format", "{p}\t{l}"]);
    let list = list(package, version, &ask(&mut command)?, packages);
    let text = serde_json::to_string_pretty(&list);
    text.map(|text| text + "\n")
        .map_err(|cause| Error::Failed { program: "the list".to_owned(), told: cause.to_string() })
}

fn list(package: &str, version: &str, tree: &str, packages: &[Package]) -> Value {
    let mut components: Vec<Value> = tree
        .lines()
        .filter_map(component)
        .filter(|found| found.name != package)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|Crate { name, version, licence, of_the_project }| {
            let mut component = json!({ "type": "library", "name": name, "version": version });
            // A package URL is for a crate in the registry; there may be another one under the name of one of ours.
            if of_the_project {
                component["bom-ref"] = json!(format!("{name}@{version}"));
            } else {
                component["purl"] = json!(format!("pkg:cargo/{name}@{version}"));
                component["bom-ref"] = component["purl"].clone();
            }
            if !licence.is_empty() {
                component["licenses"] = json!([{ "expression": licence }]);
            }
            component
        })
        .collect();
    components.extend(packages.iter().map(
        |Package { name, version, architecture, system: System { id, release } }| {
            let distribution = release.as_ref().map_or(String::new(), |release| format!("&distro={id}-{release}"));
            let version_in_purl = version.replace('+', "%2B");
            let purl = format!("pkg:deb/{id}/{name}@{version_in_purl}?arch={architecture}{distribution}");
            json!({ "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl })
        },
    ));
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
    of_the_project: bool,
}

/// A crate in a line `name v1.2.3 (*)<tab>MIT/Apache-2.0`; those of the project have a path.
fn component(line: &str) -> Option<Crate> {
    let (package, licence) = line.split_once('\t')?;
    let mut words = package.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let of_the_project = words.any(|word| word.starts_with("(/"));
    // The slash is how licences were separated before there were expressions.
    let licence = licence.trim().trim_end_matches(" (*)").split('/').map(str::trim).collect::<Vec<_>>().join(" OR ");
    Some(Crate { name: name.to_owned(), version: version.to_owned(), licence, of_the_project })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "app v0.1.0 (/src/app)\tApache-2.0\nserde v1.0.2\tMIT / Apache-2.0\n\
                        ours v0.1.0 (/src/ours)\tApache-2.0\nserde v1.0.2\tMIT / Apache-2.0 (*)\n\
                        ring v0.17.1\tApache-2.0 AND ISC\nours v0.1.0 (/src/ours)\tApache-2.0 (*)\n\n";

    fn listed(id: &str, release: Option<&str>) -> Vec<Value> {
        let system = System { id: id.into(), release: release.map(str::to_owned) };
        let (version, architecture) = ("2.36-9+deb12u10".into(), "amd64".into());
        let libc = Package { name: "libc6".into(), version, architecture, system };
        list("app", "0.1.0", TREE, &[libc])["components"].as_array().unwrap().clone()
    }

    #[test]
    fn the_list_has_each_crate_once_the_projects_own_and_the_packages() {
        let components = listed("debian", Some("12"));
        let names: Vec<&str> = components.iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["ours", "ring", "serde", "libc6"], "the program itself is what the list is of");
        assert_eq!(components[0]["licenses"][0]["expression"], "Apache-2.0");
        assert!(components[0]["purl"].is_null(), "no registry has it");
        assert_eq!(components[0]["bom-ref"], "ours@0.1.0");
        assert_eq!(components[1]["purl"], "pkg:cargo/ring@0.17.1");
        assert_eq!(components[2]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }

    #[test]
    fn a_package_is_of_the_distribution_that_the_machine_says_it_is() {
        let of = |id, release| listed(id, release)[3]["purl"].as_str().unwrap().to_owned();
        let package = "libc6@2.36-9%2Bdeb12u10?arch=amd64";
        assert_eq!(of("debian", Some("12")), format!("pkg:deb/debian/{package}&distro=debian-12"));
        assert_eq!(of("ubuntu", Some("24.04")), format!("pkg:deb/ubuntu/{package}&distro=ubuntu-24.04"));
        assert_eq!(of("debian", None), format!("pkg:deb/debian/{package}"));
    }
}
