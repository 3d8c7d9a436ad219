//! What of a namespace a policy names: Secrets, ConfigMaps and volumes. All of it is looked at before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use printernizer_crds::backup_policy::{BackupPolicySpec, BackupPolicyStatus, Target};
use printernizer_crds::common::ConfigMapKeyReference;
use printernizer_crds::{BackupPolicy, Reason, USAGE_LABEL};

use super::problem::{Problem, Stops};

/// Value of the usage label of Secrets for backups.
pub const USAGE: &str = "backup";
/// Keys of a Secret with access to S3, and the ends of the variables they become.
pub const S3_KEYS: [(&str, &str); 2] = [("accessKeyID", "ACCESS_KEY_ID"), ("secretAccessKey", "SECRET_ACCESS_KEY")];
/// Keys of a Secret with access to PostgreSQL, and the ends of the variables they become.
pub const POSTGRES_KEYS: [(&str, &str); 2] = [("username", "USERNAME"), ("password", "PASSWORD")];

/// What is known of a Secret, without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFacts {
    /// Its usage label.
    pub usage: Option<String>,
    /// Its keys that have a value.
    pub keys: BTreeSet<String>,
}

/// What is known of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Its access modes.
    pub access_modes: BTreeSet<String>,
    /// Whether it is being deleted.
    pub deleted: bool,
    /// Nodes on which other pods have it, each with one of these pods.
    pub in_use: BTreeMap<String, String>,
}

impl ClaimFacts {
    /// Whether several nodes may have it at the same time.
    pub fn is_shared(&self) -> bool {
        ["ReadWriteMany", "ReadOnlyMany"].iter().any(|mode| self.access_modes.contains(*mode))
    }
}

/// What was found of what a policy names, by name; `None` for what is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Secrets.
    pub secrets: BTreeMap<String, Option<SecretFacts>>,
    /// Keys of ConfigMaps.
    pub config_maps: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Volumes.
    pub claims: BTreeMap<String, Option<ClaimFacts>>,
}

/// One key of a Secret or ConfigMap, and what does not run without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Name of the object.
    pub name: &'a str,
    /// The key.
    pub key: &'a str,
    /// What it stops when it is missing.
    pub stops: Stops,
}

/// One volume, and what does not run without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it stops when it is missing.
    pub stops: Stops,
    /// Whether backups are written to it.
    pub is_written: bool,
}

/// The target and its copies.
pub fn targets(spec: &BackupPolicySpec) -> impl Iterator<Item = &Target> {
    std::iter::once(&spec.target).chain(&spec.copies)
}

/// Every key of a Secret.
pub fn secrets(spec: &BackupPolicySpec) -> Vec<Key<'_>> {
    let password = &spec.encryption.password_secret_ref;
    let mut keys = vec![Key { name: &password.name, key: &password.key, stops: Stops::Everything }];
    let mut both = |name, pair: [(&'static str, &str); 2], stops| {
        keys.extend(pair.map(|(key, _)| Key { name, key, stops }));
    };
    for s3 in targets(spec).filter_map(|target| target.s3.as_ref()) {
        both(&s3.credentials_secret_ref.name, S3_KEYS, Stops::Everything);
    }
    for database in &spec.sources.postgres {
        both(&database.credentials_secret_ref.name, POSTGRES_KEYS, Stops::Backups);
    }
    keys
}

/// Every key of a ConfigMap.
pub fn config_maps(spec: &BackupPolicySpec) -> Vec<Key<'_>> {
    fn key(of: &ConfigMapKeyReference, stops: Stops) -> Key<'_> {
        Key { name: &of.name, key: &of.key, stops }
    }
    let s3 = targets(spec).filter_map(|t| t.s3.as_ref()?.ca_bundle_config_map_ref.as_ref());
    let databases = spec.sources.postgres.iter().filter_map(|p| p.ca_bundle_config_map_ref.as_ref());
    s3.map(|of| key(of, Stops::Everything)).chain(databases.map(|of| key(of, Stops::Backups))).collect()
}

/// Every volume that is read, each once.
pub fn sources(spec: &BackupPolicySpec) -> BTreeSet<&str> {
    let files = spec.sources.persistent_volume_claims.iter().map(|v| v.claim_name.as_str());
    files.chain(spec.sources.sqlite.iter().map(|s| s.claim_name.as_str())).collect()
}

/// Every volume, those of targets first.
pub fn claims(spec: &BackupPolicySpec) -> Vec<Claim<'_>> {
    let kept = targets(spec).filter_map(|t| t.persistent_volume_claim.as_ref()).map(|v| v.claim_name.as_str());
    let kept = kept.map(|name| Claim { name, stops: Stops::Everything, is_written: true });
    let read = sources(spec).into_iter().map(|name| Claim { name, stops: Stops::Backups, is_written: false });
    kept.chain(read).collect()
}

/// What cannot be, whatever the namespace holds, and the API server does not compare.
pub fn contradiction(policy: &BackupPolicy) -> Option<Problem> {
    let spec = &policy.spec;
    let wrong = |text: String| Some(Problem::new(Stops::Changes, Reason::InvalidSpec, text));
    let mut places = BTreeSet::new();
    for place in targets(spec).map(Target::location) {
        if !places.insert(place.clone()) {
            return wrong(format!(
                "{place} is named twice: give spec.target and each of spec.copies a place of its own"
            ));
        }
    }
    let read = sources(spec);
    let written = targets(spec).filter_map(|t| t.persistent_volume_claim.as_ref()).map(|v| v.claim_name.as_str());
    if let Some(both) = written.into_iter().find(|name| read.contains(name)) {
        return wrong(format!("the volume {both} is backed up and is where backups go: name another target"));
    }
    None
}

/// Volumes that are to hold backups, of a policy of which nothing is known yet: no backup, and no run that would have had them.
fn new_volumes<'a>(spec: &'a BackupPolicySpec, status: &BackupPolicyStatus) -> impl Iterator<Item = &'a str> {
    let runs = [&status.last_backup, &status.last_check, &status.last_prune, &status.last_restore_drill];
    let is_new = status.repository.is_none() && runs.iter().all(|run| run.is_none());
    let volumes = targets(spec).filter_map(|target| target.persistent_volume_claim.as_ref());
    volumes.filter(move |_| is_new).map(|volume| volume.claim_name.as_str())
}

/// Whether there are any.
pub fn has_new_volume(spec: &BackupPolicySpec, status: &BackupPolicyStatus) -> bool {
    new_volumes(spec, status).next().is_some()
}

/// A volume that is to hold backups, of which none are known, and that is used by something else: by mistake, most likely, and
/// Kubernetes would change the group of all that is in it. Or it has backups of which this cluster has not heard: what looks at
/// them and restores them goes on.
pub fn live_target(spec: &BackupPolicySpec, status: &BackupPolicyStatus, found: &Found) -> Option<Problem> {
    let (name, node, pod) = new_volumes(spec, status).find_map(|name| {
        let (node, pod) = found.claims.get(name)?.as_ref()?.in_use.first_key_value()?;
        Some((name, node, pod))
    })?;
    let text = format!(
        "the volume {name}, where backups are to go and where none are known, is in use by the pod {pod} on {node}: is it the right \
         one? No backup is made: name a volume that nothing else uses, or end that pod until the first backup is made there"
    );
    Some(Problem::new(Stops::Backups, Reason::VolumeInUse, text))
}

/// The first of what the policy names that is not there as it must be.
pub fn missing(spec: &BackupPolicySpec, found: &Found) -> Option<Problem> {
    let mut problems: Vec<Problem> = secrets(spec).iter().filter_map(|key| secret_problem(key, found)).collect();
    problems.extend(config_maps(spec).iter().filter_map(|key| config_map_problem(key, found)));
    problems.extend(claims(spec).iter().filter_map(|claim| claim_problem(claim, found)));
    // What stops most is told.
    let most = problems.iter().map(|problem| problem.stops).max()?;
    problems.into_iter().find(|problem| problem.stops == most)
}

fn secret_problem(Key { name, key, stops }: &Key<'_>, found: &Found) -> Option<Problem> {
    let problem = |reason, text: String| Some(Problem::new(*stops, reason, text));
    let Some(facts) = found.secrets.get(*name).and_then(Option::as_ref) else {
        return problem(
            Reason::SecretNotFound,
            format!("create the Secret {name} with the key {key} and the label {USAGE_LABEL}={USAGE}"),
        );
    };
    match facts.usage.as_deref() {
        Some(USAGE) => {}
        None => {
            let text = format!(
                "label the Secret {name}: kubectl label secret {name} {USAGE_LABEL}={USAGE}; no other is given to the pods"
            );
            return problem(Reason::SecretNotLabeled, text);
        }
        Some(other) => {
            let text = format!(
                "the Secret {name} has the label {USAGE_LABEL}={other}, and for backups it must be {USAGE}: make another \
                 Secret, or kubectl label --overwrite secret {name} {USAGE_LABEL}={USAGE}"
            );
            return problem(Reason::SecretNotLabeled, text);
        }
    }
    if facts.keys.contains(*key) {
        return None;
    }
    problem(Reason::SecretKeyMissing, format!("add the key {key}, with a value, to the Secret {name}"))
}

fn config_map_problem(Key { name, key, stops }: &Key<'_>, found: &Found) -> Option<Problem> {
    let keys = found.config_maps.get(*name).and_then(Option::as_ref);
    if keys.is_some_and(|keys| keys.contains(*key)) {
        return None;
    }
    let text = match keys {
        None => format!("create the ConfigMap {name} with the PEM certificates in its key {key}"),
        Some(_) => format!("add the key {key} with PEM certificates to the ConfigMap {name}"),
    };
    Some(Problem::new(*stops, Reason::ConfigMapNotFound, text))
}

fn claim_problem(Claim { name, stops, .. }: &Claim<'_>, found: &Found) -> Option<Problem> {
    let facts = found.claims.get(*name).and_then(Option::as_ref);
    let text = match facts {
        None => format!("there is no PersistentVolumeClaim {name}: create it, or correct its name"),
        Some(facts) if facts.deleted => format!("the PersistentVolumeClaim {name} is being deleted"),
        Some(_) => return None,
    };
    Some(Problem::new(*stops, Reason::VolumeNotFound, text))
}
