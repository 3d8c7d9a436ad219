//! The objects of a policy as they are applied: CronJobs, the Job a person asks for, and the account that reads objects.
//! All are owned by the policy and go with it. Nothing of them ever names the data.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role as RbacRole, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use printernizer_crds::backup_policy::{
    BackupPolicyStatus, ObjectKind, POLICY_LABEL, ROLE_LABEL, ReadingStatus, Role, RunConfiguration,
};
use printernizer_crds::{BackupPolicy, GROUP};
use serde::Serialize;
use serde_json::Value;

use super::damage::ALL_DATA;
use super::names::{account_name, hash, manual_job_name};
use super::pod::{Image, Pod};
use super::schedule::Scheduled;

/// Annotation with a hash of what was applied: a field that is no longer wanted is not seen in what is there.
const APPLIED: &str = "printernizer.io/applied";
/// How many Jobs Kubernetes keeps of a CronJob, good ones and bad ones.
const HISTORY: i32 = 3;
/// How long the Job of a manual run is kept after its end, in seconds: a week.
const MANUAL_TTL_SECONDS: i32 = 7 * 24 * 3600;
/// How much longer the Job of a drill may take than the drill, in seconds: its pod has to begin, and a drill that is ended by its
/// own limit has a report that says so. One that Kubernetes ends has none.
const DRILL_MARGIN_SECONDS: i64 = 15 * 60;

/// Makes the objects of one policy.
#[derive(Clone, Copy, Debug)]
pub struct Maker<'a> {
    /// The policy.
    pub policy: &'a BackupPolicy,
    /// Its status as it is known.
    pub status: &'a BackupPolicyStatus,
    /// Image of the pods.
    pub image: &'a Image,
    /// The node backups must run on.
    pub node: Option<&'a str>,
    /// The node all others must run on.
    pub target_node: Option<&'a str>,
}

/// The account of pods that read objects, and what it may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// The account.
    pub account: Option<ServiceAccount>,
    /// What it may.
    pub role: Option<RbacRole>,
    /// That it may.
    pub binding: Option<RoleBinding>,
}

/// The plural of a kind, as rights name it.
fn plural(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Printer => "printers",
        ObjectKind::PrintJob => "printjobs",
        ObjectKind::PrintRecord => "printrecords",
        ObjectKind::BackupPolicy => "backuppolicies",
    }
}

/// Kinds an objects source asks for; all of them where it names none.
fn kinds(policy: &BackupPolicy) -> Option<Vec<ObjectKind>> {
    let objects = policy.spec.sources.objects.as_ref()?;
    let all = ObjectKind::ALL.to_vec();
    Some(if objects.kinds.is_empty() { all } else { objects.kinds.clone() })
}

impl Maker<'_> {
    fn name(&self) -> &str {
        self.policy.metadata.name.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.policy.metadata.uid.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.policy.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn labels(&self, role: Option<Role>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            ("app.kubernetes.io/managed-by".to_owned(), "printernizer".to_owned()),
            ("app.kubernetes.io/name".to_owned(), "printernizer-backup".to_owned()),
            (POLICY_LABEL.to_owned(), self.name().to_owned()),
        ]);
        if let Some(role) = role {
            labels.insert(ROLE_LABEL.to_owned(), role.as_label().to_owned());
        }
        labels
    }

    fn meta(&self, name: String, role: Option<Role>) -> ObjectMeta {
        let owner = OwnerReference {
            api_version: format!("{GROUP}/v1alpha1"),
            kind: "BackupPolicy".to_owned(),
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            controller: Some(true),
            // Nothing waits for these objects when a policy is deleted in the foreground; and where owners are checked, as
            // OpenShift does it, blocking would take the right to change the policy's finalizers.
            block_owner_deletion: None,
        };
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace().to_owned()),
            labels: Some(self.labels(role)),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        }
    }

    /// What a run is told. Where damage is known, a check of a sample would prove nothing.
    fn told(&self, role: Role) -> RunConfiguration {
        let spec = &self.policy.spec;
        let here = spec.target.location();
        let mut verification = spec.verification.clone();
        let reads_all = role == Role::Check && self.status.last_damage.is_some();
        if let Some(check) = verification.check.as_mut().filter(|_| reads_all) {
            check.read_data_percent = ALL_DATA;
        }
        RunConfiguration {
            namespace: self.namespace().to_owned(),
            policy: self.name().to_owned(),
            sources: spec.sources.clone(),
            target: spec.target.clone(),
            copies: spec.copies.clone(),
            encryption: spec.encryption.clone(),
            retention: spec.retention.clone(),
            verification,
            repository_id: self.status.repository.as_ref().filter(|r| r.location == here).map(|r| r.id.clone()),
            copy_repositories: self.status.copies.clone(),
            reading: reads_all.then(|| self.status.reading.as_ref().map(ReadingStatus::told).unwrap_or_default()),
            seconds: reads_all.then_some(spec.job_template.active_deadline_seconds),
        }
    }

    fn job(&self, role: Role) -> JobSpec {
        let spec = &self.policy.spec;
        let account = account_name(self.name(), self.uid());
        let pod = Pod {
            spec,
            role,
            told: &self.told(role),
            image: self.image,
            node: if role == Role::Backup { self.node } else { self.target_node },
            account: (role == Role::Backup && spec.sources.objects.is_some()).then_some(account.as_str()),
        };
        let drill = spec.verification.restore_drill.as_ref().filter(|_| role == Role::RestoreDrill);
        // A pod that was moved away is no failure of the run: another one is made, whatever the limit.
        let moved = PodFailurePolicyRule {
            action: "Ignore".to_owned(),
            on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                type_: "DisruptionTarget".to_owned(),
                status: Some("True".to_owned()),
            }]),
            ..PodFailurePolicyRule::default()
        };
        JobSpec {
            active_deadline_seconds: Some(drill.map_or(spec.job_template.active_deadline_seconds, |d| {
                d.timeout_seconds.saturating_add(DRILL_MARGIN_SECONDS)
            })),
            backoff_limit: Some(spec.job_template.backoff_limit),
            pod_failure_policy: Some(PodFailurePolicy { rules: vec![moved] }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(self.labels(Some(role))), ..ObjectMeta::default() }),
                spec: Some(pod.spec()),
            },
            ..JobSpec::default()
        }
    }

    /// The CronJob of a schedule.
    pub fn cron_job(&self, scheduled: &Scheduled, suspend: bool) -> CronJob {
        let spec = &self.policy.spec;
        let role = scheduled.role;
        signed(CronJob {
            metadata: self.meta(scheduled.name.clone(), Some(role)),
            spec: CronJobSpec {
                schedule: scheduled.schedule.clone(),
                time_zone: Some(spec.time_zone.clone()),
                suspend: Some(suspend),
                starting_deadline_seconds: Some(spec.starting_deadline_seconds),
                concurrency_policy: Some("Forbid".to_owned()),
                successful_jobs_history_limit: Some(HISTORY),
                failed_jobs_history_limit: Some(HISTORY),
                job_template: JobTemplateSpec {
                    metadata: Some(ObjectMeta { labels: Some(self.labels(Some(role))), ..ObjectMeta::default() }),
                    spec: Some(self.job(role)),
                },
            },
            status: None,
        })
    }

    /// The Job of the run a person asks for with this text.
    pub fn manual(&self, trigger: &str) -> Job {
        let name = manual_job_name(self.name(), self.uid(), trigger);
        let spec = JobSpec { ttl_seconds_after_finished: Some(MANUAL_TTL_SECONDS), ..self.job(Role::Backup) };
        Job { metadata: self.meta(name, Some(Role::Backup)), spec: Some(spec), status: None }
    }

    /// The role of an account that was made once and reads objects no longer. All three stay: to delete such things is a right
    /// the operator does not have.
    pub fn powerless(&self) -> RbacRole {
        let metadata = self.meta(account_name(self.name(), self.uid()), None);
        signed(RbacRole { metadata, rules: Some(Vec::new()) })
    }

    /// The account that reads objects, if any are backed up.
    pub fn access(&self) -> Access {
        let Some(kinds) = kinds(self.policy) else { return Access::default() };
        let name = account_name(self.name(), self.uid());
        let meta = || self.meta(name.clone(), None);
        let list = |of: &[&str]| of.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rule = PolicyRule {
            api_groups: Some(list(&[GROUP])),
            resources: Some(kinds.into_iter().map(|kind| plural(kind).to_owned()).collect()),
            verbs: list(&["get", "list"]),
            ..PolicyRule::default()
        };
        let to = RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: name.clone(),
        };
        let whom = Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.clone(),
            namespace: Some(self.namespace().to_owned()),
            api_group: None,
        };
        Access {
            account: Some(signed(ServiceAccount { metadata: meta(), ..ServiceAccount::default() })),
            role: Some(signed(RbacRole { metadata: meta(), rules: Some(vec![rule]) })),
            binding: Some(signed(RoleBinding { metadata: meta(), role_ref: to, subjects: Some(vec![whom]) })),
        }
    }
}

/// Kinds that are applied.
pub trait Applied: Serialize {
    /// Its metadata.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
}

macro_rules! applied {
    ($($kind:ty),+) => { $(impl Applied for $kind { fn meta_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata } })+ };
}
applied!(CronJob, ServiceAccount, RbacRole, RoleBinding);

/// The object with the hash of all it says.
fn signed<K: Applied>(mut object: K) -> K {
    let text = serde_json::to_string(&object).unwrap_or_default();
    object.meta_mut().annotations = Some(BTreeMap::from([(APPLIED.to_owned(), hash(&text))]));
    object
}

/// Whether what is there says all that is wanted, and nothing that was wanted once.
pub fn is_applied<K: Serialize>(wanted: &K, live: Option<&K>) -> bool {
    let json = |object: &K| serde_json::to_value(object).unwrap_or_default();
    live.is_some_and(|live| says(&json(live), &json(wanted)))
}

/// Whether the first holds everything of the second. Amounts are compared as amounts: Kubernetes writes them its own way.
fn says(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            // Kubernetes leaves out what is empty.
            live.get(name).map_or(is_empty(wanted), |live| says(live, wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| says(live, wanted))
        }
        (Value::String(live), Value::String(wanted)) => live == wanted || is_same_amount(live, wanted),
        (live, wanted) => live == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn is_same_amount(live: &str, wanted: &str) -> bool {
    amount(live).is_some_and(|live| amount(wanted) == Some(live))
}

/// An amount in thousandths, where it is one: rounded up, as Kubernetes keeps requests and limits.
fn amount(text: &str) -> Option<i128> {
    /// Ends of amounts, and what they stand for, in billionths.
    const UNITS: [(&str, i128); 16] = [
        ("Ki", 1_000_000_000 << 10),
        ("Mi", 1_000_000_000 << 20),
        ("Gi", 1_000_000_000 << 30),
        ("Ti", 1_000_000_000 << 40),
        ("Pi", 1_000_000_000 << 50),
        ("Ei", 1_000_000_000 << 60),
        ("n", 1),
        ("u", 1_000),
        ("m", 1_000_000),
        ("k", 1_000_000_000_000),
        ("M", 1_000_000_000_000_000),
        ("G", 1_000_000_000_000_000_000),
        ("T", 1_000_000_000_000_000_000_000),
        ("P", 1_000_000_000_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000_000_000_000),
        ("", 1_000_000_000),
    ];
    let (number, unit) = UNITS.iter().find_map(|(end, unit)| Some((text.strip_suffix(end)?, *unit)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 18 || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?) * 1_000_000;
    let scaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    let exact = scaled.checked_mul(unit)?;
    Some(exact / scale + i128::from(exact % scale > 0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_the_same_however_they_are_written() {
        for (a, b) in
            [("1000m", "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1k", "1000"), ("1", "1.0")]
        {
            assert!(is_same_amount(a, b), "{a} {b}");
        }
        // As the API server gives back what was applied.
        for (a, b) in [("109951162777600m", "0.1Ti"), ("1m", "0.0001"), ("1m", "100u"), ("1m", "1n"), ("2E", "2000P")] {
            assert!(is_same_amount(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("1", "2"),
            ("1M", "1Mi"),
            ("1m", "1"),
            ("m", "m"),
            ("files", "file"),
            ("1.1.1", "1"),
            ("", ""),
            ("1m", "0.0011"),
            ("0", "0.0001"),
            ("n", "u"),
        ] {
            assert!(!is_same_amount(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_kubernetes_adds_is_no_difference_and_what_somebody_changes_is() {
        let wanted = json!({ "a": [{ "b": "1Gi", "empty": {}, "list": [] }], "c": 1 });
        assert!(says(&json!({ "a": [{ "b": "1024Mi", "more": 1 }], "c": 1, "d": 2 }), &wanted));
        for live in [
            json!({ "a": [{ "b": "2Gi" }], "c": 1 }),
            json!({ "a": [{ "b": "1Gi" }, {}], "c": 1 }),
            json!({ "a": [{ "b": "1Gi" }] }),
            json!({ "a": [], "c": 1 }),
        ] {
            assert!(!says(&live, &wanted), "{live}");
        }
    }
}
