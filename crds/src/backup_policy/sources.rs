//! What is backed up: volumes, SQLite and PostgreSQL databases, Kubernetes objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{ConfigMapKeyReference, SecretReference, label_selector_schema};

/// What a path within a volume must look like.
const PATH_RULE: &str =
    r"!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)') && !self.matches('[\\x00-\\x1f\\x7f]')";

/// What the name of a PersistentVolumeClaim must look like.
pub(super) const NAME_RULE: &str =
    r"self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')";

/// What is backed up; at least one thing. All of it becomes one recovery point: a run that could not read one of them has
/// failed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.persistentVolumeClaims) && self.persistentVolumeClaims.size() > 0, has(self.sqlite) && self.sqlite.size() > 0, has(self.postgres) && self.postgres.size() > 0, has(self.objects)].exists(x, x)")
    .message("sources must name what is backed up: at least one of persistentVolumeClaims, sqlite, postgres and objects"))]
pub struct Sources {
    /// Files in volumes. At most 8. A volume that one node alone may mount is read on the node where it is in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["claimName".into()]))]
    pub persistent_volume_claims: Vec<VolumeSource>,
    /// SQLite databases in volumes, copied by SQLite's own online backup while the program that owns them runs. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub sqlite: Vec<SqliteSource>,
    /// PostgreSQL databases, by pg_dump. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub postgres: Vec<PostgresSource>,
    /// Objects of Printernizer in the policy's namespace, as YAML. Never Secrets: keep those where you keep your passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsSource>,
}

/// Files in a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSource {
    /// Name of the PersistentVolumeClaim, in the policy's namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message("claimName must be the name of a PersistentVolumeClaim: lower-case letters, digits, dashes and dots, letters or digits at both ends"))]
    pub claim_name: String,
    /// Paths within the volume, without a slash at the front. Default: all of it. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    #[x_kube(validation = Rule::new(format!("self.all(path, {})", PATH_RULE.replace("self.", "path.")))
        .message("paths are relative to the volume: no slash at the front, no .. in them"))]
    pub paths: Vec<String>,
    /// Patterns of files that are left out, as restic knows them, for example *.tmp or cache/**. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    #[x_kube(validation = Rule::new(r"self.all(pattern, !pattern.matches('[\\x00-\\x1f\\x7f]'))")
        .message("excludes must be patterns without control characters"))]
    pub excludes: Vec<String>,
    /// Whether it may be backed up when there is nothing in it: no file. Default false: such a backup fails, for what was emptied by
    /// mistake would else take the place of what was there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_empty: bool,
}

/// A SQLite database in a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SqliteSource {
    /// Name of the PersistentVolumeClaim, in the policy's namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message("claimName must be the name of a PersistentVolumeClaim: lower-case letters, digits, dashes and dots, letters or digits at both ends"))]
    pub claim_name: String,
    /// Path of the database file within the volume, without a slash at the front.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(PATH_RULE).message("path is relative to the volume: no slash at the front, no .. in it"))]
    pub path: String,
    /// Whether it may be backed up when there is nothing in it: no row. Default false: such a backup fails, for what was emptied by
    /// mistake would else take the place of what was there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_empty: bool,
}

/// A PostgreSQL database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresSource {
    /// Host name or address of the server.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)$')")
        .message("host must be a host name or an address, without port, slash or space"))]
    pub host: String,
    /// Port of the server. Default 5432.
    #[serde(default = "default_postgres_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_$-]*$')")
        .message("database must be the plain name of a database"))]
    pub database: String,
    /// Whether it may be backed up when there is nothing in it: no row. Default false: such a backup fails, for what was emptied by
    /// mistake would else take the place of what was there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_empty: bool,
    /// Secret with the keys username and password, labelled printernizer.io/usage: backup. The user needs to read all of the
    /// database (role pg_read_all_data).
    pub credentials_secret_ref: SecretReference,
    /// ConfigMap key with the PEM certificates the server's is checked against. With it the connection is encrypted and the
    /// server must prove its name; without it the connection is encrypted if the server can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_config_map_ref: Option<ConfigMapKeyReference>,
}

fn default_postgres_port() -> i32 {
    5432
}

/// Objects of Printernizer in the policy's namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectsSource {
    /// Kinds that are backed up. Default: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub kinds: Vec<ObjectKind>,
    /// Labels the objects must have. Default: none, every object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub label_selector: Option<LabelSelector>,
    /// Whether it may be backed up when there is nothing in it: no object. Default false: such a backup fails, for what was emptied by
    /// mistake would else take the place of what was there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_empty: bool,
}

/// Kinds of objects that can be backed up. Never Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum ObjectKind {
    /// Printers.
    Printer,
    /// PrintJobs. Restored ones are copies and never print by themselves.
    PrintJob,
    /// PrintRecords.
    PrintRecord,
    /// BackupPolicies.
    BackupPolicy,
}

impl ObjectKind {
    /// Every kind, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Printer, Self::PrintJob, Self::PrintRecord, Self::BackupPolicy];
}
