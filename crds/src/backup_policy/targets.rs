//! Where backups go: an S3 bucket or a volume.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::sources::NAME_RULE;
use crate::common::{ConfigMapKeyReference, SecretReference};

/// A place for backups: exactly one of s3 and persistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.s3) != has(self.persistentVolumeClaim)")
    .message("a target must be exactly one of s3 and persistentVolumeClaim"))]
pub struct Target {
    /// An S3 bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Target>,
    /// A directory in a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<VolumeTarget>,
}

/// An S3 bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Target {
    /// Name of the bucket. It must exist.
    #[schemars(length(min = 3, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][a-z0-9.-]*[a-z0-9]$')")
        .message("bucket must be the bucket's name alone: lower-case letters, digits, dots and dashes"))]
    pub bucket: String,
    /// Prefix of the repository's keys within the bucket, for example farms/kornwestheim. Default: the bucket itself. Give
    /// each cluster its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$')")
        .message("prefix must be names separated by single slashes: letters, digits, dots, dashes and underscores, none at the front or the end"))]
    pub prefix: Option<String>,
    /// Address of the S3 service, for example https://s3.example.com. Default: the region's at AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@ ]+/?$')").message("endpoint must be https://HOST or http://HOST"))]
    pub endpoint: Option<String>,
    /// Region of the bucket. Default us-east-1, which most services other than AWS accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')")
        .message("region must be a name such as eu-central-1"))]
    pub region: Option<String>,
    /// Whether the bucket's name goes into the path, as most services other than AWS need it. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_path_style: bool,
    /// Secret with the keys accessKeyID and secretAccessKey, labelled printernizer.io/usage: backup.
    pub credentials_secret_ref: SecretReference,
    /// ConfigMap key with the PEM certificates of a private certificate authority, trusted for this target instead of the
    /// public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_config_map_ref: Option<ConfigMapKeyReference>,
}

/// A directory in a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeTarget {
    /// Name of the PersistentVolumeClaim, in the policy's namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message("claimName must be the name of a PersistentVolumeClaim: lower-case letters, digits, dashes and dots, letters or digits at both ends"))]
    pub claim_name: String,
    /// Directory of the repository within the volume, without a slash at the front. Default: the volume itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$')")
        .message("subPath must be names separated by single slashes: letters, digits, dots, dashes and underscores, none at the front or the end"))]
    pub sub_path: Option<String>,
}

impl Target {
    /// The target as people write it, without credentials: what status and messages name it by, and what a changed target is
    /// known by. An S3 target's is its endpoint, bucket and prefix; how it is reached does not change what it is.
    pub fn location(&self) -> String {
        match (&self.s3, &self.persistent_volume_claim) {
            (Some(s3), _) => {
                let endpoint = s3.endpoint.as_deref().map_or("AWS", |e| e.trim_end_matches('/'));
                let prefix = s3.prefix.as_deref().map(|p| format!("/{p}")).unwrap_or_default();
                format!("s3:{endpoint}/{}{prefix}", s3.bucket)
            }
            (None, Some(volume)) => {
                let path = volume.sub_path.as_deref().map(|p| format!("/{p}")).unwrap_or_default();
                format!("pvc:{}{path}", volume.claim_name)
            }
            (None, None) => String::new(),
        }
    }
}
