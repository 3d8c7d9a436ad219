//! Where a job's print file comes from: HTTP, S3 or a ConfigMap. Only how it is written; fetching and its limits are the
//! operator's. References stay in the job's own namespace.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::common::{ConfigMapKeyReference, SecretReference};

/// Where the print file comes from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.http), has(self.s3), has(self.configMap)].filter(x, x).size() == 1")
    .message("source must name exactly one of http, s3 and configMap"))]
pub struct Source {
    /// A file fetched by HTTP or HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
    /// An object in an S3 bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Source>,
    /// A small file in a ConfigMap (up to 1 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKeyReference>,
}

/// A file fetched by HTTP or HTTPS.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// Address of the file: https://HOST/PATH or http://HOST/PATH, without user and password in it.
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@ ]+([/?#][^ ]*)?$')")
        .message("url must be https://HOST/PATH or http://HOST/PATH; put user and password into credentialsSecretRef"))]
    pub url: String,
    /// Secret with the credentials, for a server that asks for some. Its keys: username and password, or token (sent as
    /// Bearer); and allowedHosts, the hosts it may be sent to as HOST or HOST:PORT, separated by commas. It must carry the
    /// label printernizer.io/usage: source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
    /// ConfigMap key with the PEM certificates of a private certificate authority, trusted for this source beside the
    /// public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_config_map_ref: Option<ConfigMapKeyReference>,
}

/// An object in an S3 bucket.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Source {
    /// Name of the bucket.
    #[schemars(length(min = 3, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][a-z0-9.-]*[a-z0-9]$')")
        .message("bucket must be the bucket's name alone: lower-case letters, digits, dots and dashes"))]
    pub bucket: String,
    /// Key of the object: its whole name in the bucket, for example clips/cable-clip.gcode.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
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
    /// Secret with the keys accessKeyID and secretAccessKey, for temporary ones sessionToken too; and allowedHosts, the
    /// hosts they may be used for as HOST or HOST:PORT, separated by commas: the endpoint's, at AWS for example
    /// s3.eu-central-1.amazonaws.com. It must carry the label printernizer.io/usage: source. Default: read as anybody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
    /// ConfigMap key with the PEM certificates of a private certificate authority, trusted for this source beside the
    /// public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_config_map_ref: Option<ConfigMapKeyReference>,
}
