//! Everything one decision about a BackupPolicy depends on. Reads only. Of Secrets it keeps which keys there are, never a value.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::DynamicObject;
use printernizer_crds::backup_policy::POLICY_LABEL;
use printernizer_crds::{BackupPolicy, USAGE_LABEL};
use printernizer_rules::backup_policy::names::account_name;
use printernizer_rules::backup_policy::needs::{self, ClaimFacts, Found, SecretFacts};
use printernizer_rules::backup_policy::runs::controller_of;
use printernizer_rules::backup_policy::schedule::schedules;
use printernizer_rules::backup_policy::{Access, Image, Observed};

use crate::api::{ApiError, Key, version};
use crate::context::Context;
use crate::fleet::fresh_id;

/// What was observed, owned.
pub(super) struct Facts {
    pub(super) policy: BackupPolicy,
    pub(super) now: Timestamp,
    cron_jobs: Vec<CronJob>,
    jobs: Vec<Job>,
    pods: Vec<Pod>,
    access: Access,
    found: Found,
    fresh_id: String,
}

impl Facts {
    /// The policy, and nothing else that it could depend on.
    fn alone(policy: BackupPolicy) -> Self {
        Self {
            policy,
            now: Timestamp::now(),
            cron_jobs: Vec::new(),
            jobs: Vec::new(),
            pods: Vec::new(),
            access: Access::default(),
            found: Found::default(),
            fresh_id: fresh_id(),
        }
    }

    /// As the rules take it.
    pub(super) fn observed<'a>(&'a self, image: Option<&'a Image>) -> Observed<'a> {
        Observed {
            policy: &self.policy,
            image,
            cron_jobs: &self.cron_jobs,
            jobs: &self.jobs,
            pods: &self.pods,
            access: &self.access,
            found: &self.found,
            fresh_id: &self.fresh_id,
            now: self.now,
        }
    }
}

/// Observes; `None` when the policy is gone.
pub(super) async fn observe(context: &Context, key: &Key) -> Result<Option<Facts>, ApiError> {
    let api = &context.api;
    let Some(policy) = api.get::<BackupPolicy>(key).await? else { return Ok(None) };
    // Without an image nothing is made, and the operator need have no right to look at anything else.
    if context.backup_image.is_none() {
        context.policies.has_read(key, std::iter::once(version(&policy)));
        return Ok(Some(Facts::alone(policy)));
    }
    let label = format!("{POLICY_LABEL}={}", key.name);
    let (mut cron_jobs, jobs) = tokio::try_join!(
        api.labelled::<CronJob>(&key.namespace, &label),
        api.labelled::<Job>(&key.namespace, &label),
    )?;
    // After the Jobs: of one that has ended, what its pods have left is seen.
    let pods = api.labelled::<Pod>(&key.namespace, &label).await?;
    let read = cron_jobs.iter().map(version).chain(jobs.iter().map(version)).chain(pods.iter().map(version));
    context.policies.has_read(key, std::iter::once(version(&policy)).chain(read));
    // Whose name it is that is wanted and carries no label of ours?
    for wanted in schedules(&policy).map(|schedules| schedules.all).unwrap_or_default() {
        if !cron_jobs.iter().any(|c| c.metadata.name.as_ref() == Some(&wanted.name)) {
            cron_jobs.extend(api.get::<CronJob>(&Key::new(&key.namespace, wanted.name)).await?);
        }
    }
    let access = access(context, &policy, key).await?;
    let found = found(context, &policy, key).await?;
    let now = Timestamp::now();
    Ok(Some(Facts { policy, now, cron_jobs, jobs, pods, access, found, fresh_id: fresh_id() }))
}

async fn access(context: &Context, policy: &BackupPolicy, key: &Key) -> Result<Access, ApiError> {
    let uid = policy.metadata.uid.as_deref().unwrap_or_default();
    let name = Key::new(&key.namespace, account_name(&key.name, uid));
    if policy.spec.sources.objects.is_none() {
        // What an account was given that once read them.
        return Ok(Access { role: context.api.get(&name).await?, ..Access::default() });
    }
    let (account, role, binding) =
        tokio::try_join!(context.api.get(&name), context.api.get(&name), context.api.get(&name))?;
    Ok(Access { account, role, binding })
}

/// Looks for everything the policy names, each thing once.
async fn found(context: &Context, policy: &BackupPolicy, key: &Key) -> Result<Found, ApiError> {
    let (api, spec) = (&context.api, &policy.spec);
    let at = |name: &str| Key::new(&key.namespace, name);
    let mut found = Found::default();
    let names =
        |keys: Vec<needs::Key<'_>>| -> BTreeSet<String> { keys.iter().map(|key| key.name.to_owned()).collect() };
    for name in names(needs::secrets(spec)) {
        let facts = api.secret(&at(&name)).await?.as_ref().map(secret_facts);
        found.secrets.insert(name, facts);
    }
    for name in names(needs::config_maps(spec)) {
        let map = api.config_map(&at(&name)).await?;
        let keys = map.map(|map| {
            let text = map.data.into_iter().flatten().map(|(key, _)| key);
            text.chain(map.binary_data.into_iter().flatten().map(|(key, _)| key)).collect()
        });
        found.config_maps.insert(name, keys);
    }
    let claims: BTreeSet<&str> = needs::claims(spec).iter().map(|claim| claim.name).collect();
    for name in claims {
        let facts = api.get::<PersistentVolumeClaim>(&at(name)).await?.as_ref().map(claim_facts);
        found.claims.insert(name.to_owned(), facts);
    }
    let status = policy.status.clone().unwrap_or_default();
    let alone = |facts: &Option<ClaimFacts>| facts.as_ref().is_some_and(|facts| !facts.is_shared());
    if found.claims.values().any(alone) || needs::has_new_volume(spec, &status) {
        for (claim, node, pod) in in_use(context, &key.namespace).await? {
            if let Some(Some(facts)) = found.claims.get_mut(&claim) {
                facts.in_use.insert(node, pod);
            }
        }
    }
    Ok(found)
}

fn secret_facts(secret: &Secret) -> SecretFacts {
    let data = secret.data.iter().flatten();
    SecretFacts {
        usage: secret.metadata.labels.as_ref().and_then(|labels| labels.get(USAGE_LABEL)).cloned(),
        keys: data.filter(|(_, value)| !value.0.trim_ascii().is_empty()).map(|(key, _)| key.clone()).collect(),
    }
}

fn claim_facts(claim: &PersistentVolumeClaim) -> ClaimFacts {
    // What was bound counts; before that, what was asked for.
    let bound = claim.status.as_ref().and_then(|s| s.access_modes.clone()).filter(|modes| !modes.is_empty());
    let asked = || claim.spec.as_ref().and_then(|s| s.access_modes.clone());
    ClaimFacts {
        access_modes: bound.or_else(asked).unwrap_or_default().into_iter().collect(),
        deleted: claim.metadata.deletion_timestamp.is_some(),
        in_use: BTreeMap::new(),
    }
}

/// A volume, the node on which it is in use, and the pod that uses it.
type Use = (String, String, String);

/// Which volumes are in use on which node by which pod, of pods that are no policy's.
async fn in_use(context: &Context, namespace: &str) -> Result<Vec<Use>, ApiError> {
    let by = |pod: &DynamicObject| controller_of(&pod.metadata).map(str::to_owned);
    let uses = context.api.each::<Pod, _>(namespace, |pod| Some((by(&pod), uses_of(&pod)))).await?;
    // After the pods: the Job of each of them is seen, unless it is gone.
    let runs = context.api.labelled::<Job>(namespace, POLICY_LABEL).await?;
    let runs: BTreeSet<String> = runs.into_iter().filter_map(|job| job.metadata.uid).collect();
    Ok(uses_of_others(uses, &runs))
}

/// What is in use by pods that are none of these runs', given which controller each has. A label alone makes no pod a run's.
fn uses_of_others(uses: Vec<(Option<String>, Vec<Use>)>, runs: &BTreeSet<String>) -> Vec<Use> {
    let others = uses.into_iter().filter(|(by, _)| !by.as_ref().is_some_and(|by| runs.contains(by)));
    others.flat_map(|(_, uses)| uses).collect()
}

/// Volumes a pod has on its node.
fn uses_of(pod: &DynamicObject) -> Vec<Use> {
    let (spec, phase) = (&pod.data["spec"], pod.data["status"]["phase"].as_str());
    let (Some(node), Some(name)) = (spec["nodeName"].as_str(), pod.metadata.name.as_deref()) else { return Vec::new() };
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return Vec::new();
    }
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let claims = volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
    claims.map(|claim| (claim.to_owned(), node.to_owned(), name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(labels: &serde_json::Value, node: Option<&str>, phase: &str) -> DynamicObject {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "shop-0", "labels": labels },
            "spec": { "volumes": [{ "name": "a", "persistentVolumeClaim": { "claimName": "files" } }, { "name": "b", "emptyDir": {} }] },
            "status": { "phase": phase },
        });
        if let Some(node) = node {
            pod["spec"]["nodeName"] = json!(node);
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_volume_is_in_use_where_a_pod_has_it_that_has_not_ended() {
        let of = |labels, node, phase| uses_of(&pod(&labels, node, phase));
        let used = vec![("files".to_owned(), "n1".to_owned(), "shop-0".to_owned())];
        assert_eq!(of(json!({}), Some("n1"), "Running"), used);
        assert_eq!(of(json!({}), Some("n1"), "Pending"), used, "it is being mounted");
        assert_eq!(of(json!({}), Some("n1"), "Succeeded"), []);
        assert_eq!(of(json!({}), None, "Pending"), []);
        assert_eq!(of(json!({ POLICY_LABEL: "farm" }), Some("n1"), "Running"), used, "a label is anybody's");
    }

    #[test]
    fn what_the_pods_of_a_run_use_ties_no_backup_to_a_node() {
        let of = |claim: &str| vec![(claim.to_owned(), "n1".to_owned(), "a pod".to_owned())];
        let uses = vec![(Some("run".to_owned()), of("a")), (Some("shop".to_owned()), of("b")), (None, of("c"))];
        assert_eq!(uses_of_others(uses, &["run".to_owned()].into()), [of("b"), of("c")].concat());
    }

    #[test]
    fn of_a_secret_only_its_label_and_the_keys_that_have_a_value_are_kept() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "labels": { "printernizer.io/usage": "backup" } },
            "data": { "password": "aGlkZGVu", "empty": "", "line": "Cg==" },
        });
        let facts = secret_facts(&serde_json::from_value(secret).unwrap());
        assert_eq!(facts, SecretFacts { usage: Some("backup".into()), keys: ["password".to_owned()].into() });
    }
}
