//! The pods of a policy: restricted security, what they mount, what they are told, and the Secrets they are given.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    EphemeralVolumeSource, KeyToPath, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PersistentVolumeClaimSpec, PersistentVolumeClaimTemplate, PersistentVolumeClaimVolumeSource, PodSecurityContext,
    PodSpec, ResourceRequirements, SeccompProfile, SecretKeySelector, SecurityContext, Toleration, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use printernizer_crds::backup_policy::{BackupPolicySpec, CONFIGURATION_VARIABLE, Role, RunConfiguration, Target};
use printernizer_crds::common::ConfigMapKeyReference;

use super::needs::{POSTGRES_KEYS, S3_KEYS};

/// Name of the container.
pub const CONTAINER: &str = "backup";
/// Begin of the names of all variables.
const PREFIX: &str = CONFIGURATION_VARIABLE;
/// User and group of pods where nothing else is written.
const USER: i64 = 65_532;
/// How long a pod that is told to stop has to write its report, in seconds.
const GRACE_SECONDS: i64 = 60;
/// Size of a scratch volume of a storage class where none is written.
const SCRATCH: &str = "10Gi";
/// Where a run writes its report.
const REPORT: &str = "/dev/termination-log";

/// The image of the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// When it is pulled, as Kubernetes writes it.
    pub pull_policy: String,
}

/// What a pod is made for.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// The policy's spec.
    pub spec: &'a BackupPolicySpec,
    /// What the pod does.
    pub role: Role,
    /// What it is told.
    pub told: &'a RunConfiguration,
    /// Its image.
    pub image: &'a Image,
    /// The node it must run on.
    pub node: Option<&'a str>,
    /// The account it reads objects with.
    pub account: Option<&'a str>,
}

/// Volumes and where they are mounted.
#[derive(Default)]
struct Mounts {
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
}

impl Mounts {
    fn add(&mut self, name: &str, path: String, read_only: bool, volume: Volume) {
        let read_only = read_only.then_some(true);
        self.mounts.push(VolumeMount { name: name.to_owned(), mount_path: path, read_only, ..VolumeMount::default() });
        self.volumes.push(Volume { name: name.to_owned(), ..volume });
    }

    /// A volume that is only read is read-only as a whole: then Kubernetes changes no owner of what is in it.
    fn claim(&mut self, name: &str, path: String, claim_name: &str, read_only: bool) {
        let source = PersistentVolumeClaimVolumeSource {
            claim_name: claim_name.to_owned(),
            read_only: read_only.then_some(true),
        };
        self.add(name, path, read_only, Volume { persistent_volume_claim: Some(source), ..Volume::default() });
    }

    fn certificates(&mut self, of: &str, reference: &ConfigMapKeyReference) {
        let items = vec![KeyToPath { key: reference.key.clone(), path: "ca.pem".to_owned(), mode: None }];
        let source = ConfigMapVolumeSource {
            name: reference.name.clone(),
            items: Some(items),
            ..ConfigMapVolumeSource::default()
        };
        let volume = Volume { config_map: Some(source), ..Volume::default() };
        self.add(&format!("certificates-{of}"), format!("/certificates/{of}"), true, volume);
    }
}

impl Pod<'_> {
    /// The pod's spec.
    pub fn spec(&self) -> PodSpec {
        let template = &self.spec.job_template;
        let group = template.fs_group.unwrap_or(USER);
        let user = template.run_as_user.unwrap_or(USER);
        let mounts = self.mounts();
        let tolerations = template.tolerations.iter().map(|t| Toleration {
            key: t.key.clone(),
            operator: Some(format!("{:?}", t.operator)),
            value: t.value.clone(),
            effect: t.effect.clone(),
            toleration_seconds: None,
        });
        let container = Container {
            name: CONTAINER.to_owned(),
            image: Some(self.image.name.clone()),
            image_pull_policy: Some(self.image.pull_policy.clone()),
            args: Some(vec![self.role.as_label().to_owned()]),
            env: Some(self.environment()),
            resources: template.resources.as_ref().map(|r| ResourceRequirements {
                requests: quantities(&r.requests),
                limits: quantities(&r.limits),
                ..ResourceRequirements::default()
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                ..SecurityContext::default()
            }),
            termination_message_path: Some(REPORT.to_owned()),
            termination_message_policy: Some("File".to_owned()),
            volume_mounts: Some(mounts.mounts),
            ..Container::default()
        };
        PodSpec {
            restart_policy: Some("Never".to_owned()),
            service_account_name: self.account.map(str::to_owned),
            automount_service_account_token: Some(self.account.is_some()),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(user),
                run_as_group: Some(group),
                // Owners are changed only where something is written that would else be root's, or where a person wants it.
                fs_group: template.fs_group.or(self.writes_volumes().then_some(group)),
                fs_group_change_policy: Some("OnRootMismatch".to_owned()),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            node_selector: (!template.node_selector.is_empty()).then(|| template.node_selector.clone()),
            tolerations: (!template.tolerations.is_empty()).then(|| tolerations.collect()),
            affinity: self.node.map(on_node),
            volumes: Some(mounts.volumes),
            containers: vec![container],
            ..PodSpec::default()
        }
    }

    fn targets(&self) -> impl Iterator<Item = (String, &Target)> {
        let copies = self.spec.copies.iter().enumerate().map(|(i, copy)| (format!("copy-{i}"), copy));
        std::iter::once(("target".to_owned(), &self.spec.target)).chain(copies)
    }

    /// Whether it writes into a volume that is not one of the sources.
    fn writes_volumes(&self) -> bool {
        let drill = self.spec.verification.restore_drill.as_ref().filter(|_| self.role == Role::RestoreDrill);
        self.targets().any(|(_, target)| target.persistent_volume_claim.is_some())
            || drill.is_some_and(|drill| drill.storage_class_name.is_some())
    }

    fn mounts(&self) -> Mounts {
        let mut mounts = Mounts::default();
        let sources = &self.spec.sources;
        if self.role == Role::Backup {
            for (i, claim) in super::needs::sources(self.spec).into_iter().enumerate() {
                // Also of a SQLite database, which is copied without a write beside it.
                mounts.claim(&format!("source-{i}"), format!("/sources/volumes/{claim}"), claim, true);
            }
            for (i, database) in sources.postgres.iter().enumerate() {
                if let Some(reference) = &database.ca_bundle_config_map_ref {
                    mounts.certificates(&format!("postgres-{i}"), reference);
                }
            }
        }
        for (i, (name, target)) in self.targets().enumerate() {
            if let Some(volume) = &target.persistent_volume_claim {
                let path = if i == 0 { "/target".to_owned() } else { format!("/copies/{}", i - 1) };
                mounts.claim(&name, path, &volume.claim_name, false);
            }
            if let Some(reference) = target.s3.as_ref().and_then(|s3| s3.ca_bundle_config_map_ref.as_ref()) {
                mounts.certificates(&name, reference);
            }
        }
        mounts.add("scratch", "/scratch".to_owned(), false, self.scratch());
        mounts
    }

    /// Room for what is copied before it is stored, for restic's cache, and for what a drill restores.
    fn scratch(&self) -> Volume {
        let drill = self.spec.verification.restore_drill.as_ref().filter(|_| self.role == Role::RestoreDrill);
        let size = drill.and_then(|drill| drill.scratch_size.clone());
        let Some(class) = drill.and_then(|drill| drill.storage_class_name.clone()) else {
            let empty = EmptyDirVolumeSource { size_limit: size.map(Quantity), medium: None };
            return Volume { empty_dir: Some(empty), ..Volume::default() };
        };
        let storage = Quantity(size.unwrap_or_else(|| SCRATCH.to_owned()));
        let spec = PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: Some(class),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), storage)])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        };
        let template = PersistentVolumeClaimTemplate { metadata: None, spec };
        let ephemeral = EphemeralVolumeSource { volume_claim_template: Some(template) };
        Volume { ephemeral: Some(ephemeral), ..Volume::default() }
    }

    fn environment(&self) -> Vec<EnvVar> {
        // Kubernetes replaces `$(NAME)` in values. In JSON a dollar can be written without one.
        let told = serde_json::to_string(self.told).unwrap_or_default().replace('$', "\\u0024");
        let told = EnvVar { name: CONFIGURATION_VARIABLE.to_owned(), value: Some(told), value_from: None };
        let password = &self.spec.encryption.password_secret_ref;
        let mut all = vec![told, secret(format!("{PREFIX}_PASSWORD"), &password.name, &password.key)];
        let mut both = |of: &str, name: &str, keys: [(&str, &str); 2]| {
            all.extend(keys.map(|(key, end)| secret(format!("{PREFIX}_{of}_{end}"), name, key)));
        };
        for (name, target) in self.targets() {
            if let Some(s3) = &target.s3 {
                let of = name.to_uppercase().replace('-', "_");
                both(&of, &s3.credentials_secret_ref.name, S3_KEYS);
            }
        }
        if self.role == Role::Backup {
            for (i, database) in self.spec.sources.postgres.iter().enumerate() {
                both(&format!("POSTGRES_{i}"), &database.credentials_secret_ref.name, POSTGRES_KEYS);
            }
        }
        all
    }
}

fn secret(variable: String, name: &str, key: &str) -> EnvVar {
    let selector = SecretKeySelector { name: name.to_owned(), key: key.to_owned(), optional: None };
    let from = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: variable, value: None, value_from: Some(from) }
}

fn quantities(of: &BTreeMap<String, String>) -> Option<BTreeMap<String, Quantity>> {
    let quantities = of.iter().map(|(name, amount)| (name.clone(), Quantity(amount.clone())));
    (!of.is_empty()).then(|| quantities.collect())
}

/// The node of this name, also where its host has another one.
fn on_node(name: &str) -> Affinity {
    let is = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![name.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![is]), match_expressions: None };
    let required = NodeSelector { node_selector_terms: vec![term] };
    let affinity = NodeAffinity {
        required_during_scheduling_ignored_during_execution: Some(required),
        preferred_during_scheduling_ignored_during_execution: None,
    };
    Affinity { node_affinity: Some(affinity), ..Affinity::default() }
}
