//! Where a repository is, as restic is told: its address, its options, its key and the certificates it is checked against.

use std::path::PathBuf;

use printernizer_crds::backup_policy::Target;

use crate::configuration::{AccessKey, Told};

/// Where a repository is.
#[derive(Clone, Debug)]
pub struct Location {
    /// For a person.
    pub name: String,
    /// For restic.
    pub address: String,
    /// Options of restic's S3 backend: region, and where the bucket's name goes.
    pub options: Vec<String>,
    /// The bucket, if it is one.
    pub bucket: Option<Bucket>,
    /// The key, of an S3 bucket.
    pub key: Option<AccessKey>,
    /// The certificates, if not the public ones.
    pub authority: Option<PathBuf>,
    /// The folder, of a volume.
    pub folder: Option<PathBuf>,
    /// What to look at when the place does not answer or refuses.
    pub advice: Advice,
}

/// A bucket of an S3 service.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Address of the service.
    pub endpoint: String,
    /// Its name.
    pub name: String,
    /// The region it is in.
    pub region: String,
    /// Whether its name goes into the path.
    pub path_style: bool,
}

/// What a person may look at.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// The Secret with the key.
    pub secret: String,
    /// Whether the bucket's name is put before the host's.
    pub bucket_in_host: bool,
}

impl Location {
    /// The place of a target: the n-th copy, or the target itself.
    pub fn of(told: &Told, copy: Option<usize>) -> Option<Self> {
        let configuration = &told.configuration;
        let target: &Target = match copy {
            None => &configuration.target,
            Some(index) => configuration.copies.get(index)?,
        };
        let name = target.location();
        if let Some(s3) = &target.s3 {
            let region = s3.region.as_deref().unwrap_or("us-east-1");
            let endpoint = match s3.endpoint.as_deref() {
                Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
                None if region.starts_with("cn-") => format!("https://s3.{region}.amazonaws.com.cn"),
                None => format!("https://s3.{region}.amazonaws.com"),
            };
            // No name goes before an address.
            let path_style = s3.force_path_style || is_address(&endpoint);
            let prefix = s3.prefix.as_deref().map(|p| format!("/{p}")).unwrap_or_default();
            let lookup = if path_style { "path" } else { "dns" };
            return Some(Self {
                name,
                address: format!("s3:{endpoint}/{}{prefix}", s3.bucket),
                options: vec![format!("s3.region={region}"), format!("s3.bucket-lookup={lookup}")],
                key: match copy {
                    None => told.secrets.target.clone(),
                    Some(index) => told.secrets.copies.get(index).cloned().flatten(),
                },
                bucket: Some(Bucket { endpoint, name: s3.bucket.clone(), region: region.to_owned(), path_style }),
                authority: s3.ca_bundle_config_map_ref.as_ref().map(|_| told.layout.target_authority(copy)),
                folder: None,
                advice: Advice {
                    secret: s3.credentials_secret_ref.name.clone(),
                    bucket_in_host: !path_style && s3.endpoint.is_some(),
                },
            });
        }
        let volume = target.persistent_volume_claim.as_ref()?;
        let mount = told.layout.target(copy);
        let folder = volume.sub_path.as_deref().map_or_else(|| mount.clone(), |path| mount.join(path));
        Some(Self {
            name,
            address: format!("local:{}", folder.display()),
            options: Vec::new(),
            bucket: None,
            key: None,
            authority: None,
            folder: Some(mount),
            advice: Advice::default(),
        })
    }

    /// Whether one process of restic can reach both: it knows one key and one set of options for all S3 buckets.
    pub fn shares_access(&self, other: &Self) -> bool {
        match (&self.key, &other.key) {
            (Some(one), Some(two)) => one.is(two) && self.options == other.options,
            _ => true,
        }
    }
}

/// Whether the host of this URL is an address and not a name.
fn is_address(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    host.starts_with('[') || host.split(':').next().is_some_and(|host| host.parse::<std::net::Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_name() {
        for address in ["http://10.0.0.7:9000", "https://10.0.0.7", "https://[::1]:9000"] {
            assert!(is_address(address), "{address}");
        }
        assert!(!is_address("https://s3.example.com:9000") && !is_address("https://10.example.com"));
    }
}
