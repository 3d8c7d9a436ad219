//! Applying CustomResourceDefinitions and waiting until the API server really serves them. `Established` is set a
//! moment before the new path answers, so both are awaited, for every served version.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use tokio::time::timeout;

use crate::wait::{WaitTimeout, wait_until};

const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const SERVED_TIMEOUT: Duration = Duration::from_secs(30);

/// Why CRDs could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The manifests cannot be read.
    #[error("cannot read CRD manifests from {path}; run `cargo xtask generate` if they are missing")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing to apply.
    #[error("no CustomResourceDefinition in {origin}; a directory must hold *.yaml files")]
    Empty {
        /// Where they should have been.
        origin: String,
    },
    /// A manifest is not a CustomResourceDefinition.
    #[error("{origin} does not hold CustomResourceDefinitions")]
    Parse {
        /// Where it comes from.
        origin: String,
        /// What and where in the text.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// The API server refused one, or could not be reached.
    #[error("the API server does not take the CRD {name}")]
    Refused {
        /// Its name, `<plural>.<group>`.
        name: String,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("no answer within {} s on applying the CRD {name}", CALL_TIMEOUT.as_secs())]
    NoAnswer {
        /// Its name.
        name: String,
    },
    /// It was taken but is not served; a `NamesAccepted` condition in the text tells of a clash of names.
    #[error("the API server does not serve the CRD")]
    NotServed(#[source] WaitTimeout),
}

/// Applies the CRDs of a YAML file, or of all `*.yaml` and `*.yml` files of a directory (not of its
/// sub-directories), by server-side apply, and returns when all are served. Returns their names, sorted.
pub async fn apply_crds(client: &kube::Client, path: &Path) -> Result<Vec<String>, CrdError> {
    let mut crds = Vec::new();
    for file in manifests(path).map_err(|source| CrdError::Read { path: path.to_owned(), source })? {
        let text = std::fs::read_to_string(&file).map_err(|source| CrdError::Read { path: file.clone(), source })?;
        crds.extend(parse(&file.display().to_string(), &text)?);
    }
    apply(client, &path.display().to_string(), crds).await
}

/// [`apply_crds`] for a text with one or more YAML documents.
pub async fn apply_crds_yaml(client: &kube::Client, text: &str) -> Result<Vec<String>, CrdError> {
    const ORIGIN: &str = "the given text";
    apply(client, ORIGIN, parse(ORIGIN, text)?).await
}

fn manifests(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn parse(origin: &str, text: &str) -> Result<Vec<CustomResourceDefinition>, CrdError> {
    // Decoding checks apiVersion and kind, so that no other object is applied as a CRD.
    serde_saphyr::from_multiple(text)
        .map_err(|source| CrdError::Parse { origin: origin.to_owned(), source: Box::new(source) })
}

async fn apply(
    client: &kube::Client,
    origin: &str,
    crds: Vec<CustomResourceDefinition>,
) -> Result<Vec<String>, CrdError> {
    if crds.is_empty() {
        return Err(CrdError::Empty { origin: origin.to_owned() });
    }
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let parameters = PatchParams::apply("printernizer-e2e").force();
    let mut names = Vec::with_capacity(crds.len());
    for crd in &crds {
        let name = crd.metadata.name.clone().unwrap_or_default();
        match timeout(CALL_TIMEOUT, api.patch(&name, &parameters, &Patch::Apply(crd))).await {
            Ok(Ok(_)) => names.push(name),
            Ok(Err(source)) => return Err(CrdError::Refused { name, source: Box::new(source) }),
            Err(_) => return Err(CrdError::NoAnswer { name }),
        }
    }
    for (crd, name) in crds.iter().zip(&names) {
        established(&api, name).await.map_err(CrdError::NotServed)?;
        for version in crd.spec.versions.iter().filter(|version| version.served) {
            let kind = GroupVersionKind::gvk(&crd.spec.group, &version.name, &crd.spec.names.kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, &crd.spec.names.plural);
            answers(client, &resource).await.map_err(CrdError::NotServed)?;
        }
    }
    names.sort();
    Ok(names)
}

async fn established(api: &Api<CustomResourceDefinition>, name: &str) -> Result<(), WaitTimeout> {
    wait_until(&format!("{name} to be established"), SERVED_TIMEOUT, || async {
        let crd = api.get(name).await.map_err(|error| error.to_string())?;
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            Ok(())
        } else {
            Err(format!("{conditions:?}"))
        }
    })
    .await
}

async fn answers(client: &kube::Client, resource: &ApiResource) -> Result<(), WaitTimeout> {
    let api = Api::<DynamicObject>::all_with(client.clone(), resource);
    let description = format!("the API server to list {}.{}/{}", resource.plural, resource.group, resource.version);
    wait_until(&description, SERVED_TIMEOUT, || async {
        api.list(&ListParams::default().limit(1)).await.map(drop).map_err(|error| error.to_string())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_is_not_taken_for_a_crd() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n";
        assert!(matches!(parse("x.yaml", text), Err(CrdError::Parse { .. })));
    }

    #[test]
    fn a_directory_gives_its_yaml_files_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "notes.txt"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let found = manifests(directory.path()).unwrap();
        assert_eq!(found, vec![directory.path().join("a.yml"), directory.path().join("b.yaml")]);
    }
}
