//! The gauges of BackupPolicies. Their number is that of the policies, of which a cluster has few; so they carry the policy's
//! name, and an alert can say which backup is in trouble. What is not known of a policy is not shown: a zero would read as
//! the answer "none" or "at once".

use std::collections::BTreeMap;

use printernizer_crds::ConditionType;
use printernizer_crds::backup_policy::Role;

use super::labels::Label as _;
use super::metrics::Maker;
use super::sets::{ByCondition, ByObject, ObjectCondition};

/// What is known of the backups of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupFacts {
    /// Its conditions, each with its status.
    pub conditions: BTreeMap<ConditionType, String>,
    /// How long the last run of each role took that ended.
    pub run_seconds: BTreeMap<Role, i64>,
    /// Backups that failed since the last good one.
    pub consecutive_failures: Option<i64>,
    /// When a backup was due last and not made in time, in seconds since 1970.
    pub last_missed_time: Option<i64>,
    /// When the newest good recovery point was begun, in seconds since 1970.
    pub last_success_time: Option<i64>,
    /// How old the newest recovery point may be.
    pub recovery_point_objective_seconds: Option<i64>,
    /// Whole recovery points at the target.
    pub recovery_points: Option<i64>,
    /// Size of the repository.
    pub repository_bytes: Option<i64>,
    /// How long the last restore drill's restore took.
    pub restore_drill_seconds: Option<i64>,
}

/// One number of each policy.
type OfPolicy = fn(&BackupFacts) -> Option<i64>;

/// The gauges.
#[derive(Clone)]
pub(super) struct Backups {
    conditions: ByCondition,
    run_seconds: ByObject<3>,
    numbers: Vec<(ByObject<2>, OfPolicy)>,
}

impl Backups {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let numbers: [(&str, &str, OfPolicy); 7] = [
            ("consecutive_failures", "Backups of a BackupPolicy that failed since its last good one.", |facts| {
                facts.consecutive_failures
            }),
            (
                "last_missed_timestamp_seconds",
                "When a backup of a BackupPolicy was due last and not made in time, in seconds since 1970.",
                |facts| facts.last_missed_time,
            ),
            (
                "last_success_timestamp_seconds",
                "When the newest good recovery point of a BackupPolicy was begun, in seconds since 1970.",
                |facts| facts.last_success_time,
            ),
            (
                "recovery_point_objective_seconds",
                "How old the newest recovery point of a BackupPolicy may be, by its objectives.",
                |facts| facts.recovery_point_objective_seconds,
            ),
            ("recovery_points", "Whole recovery points of a BackupPolicy at its target.", |facts| {
                facts.recovery_points
            }),
            ("repository_bytes", "Size of the repository of a BackupPolicy.", |facts| facts.repository_bytes),
            (
                "restore_drill_seconds",
                "How long the restore of a BackupPolicy's last good restore drill took.",
                |facts| facts.restore_drill_seconds,
            ),
        ];
        let number = |(name, help, of): (&str, &str, OfPolicy)| {
            let gauge = make.gauges(&format!("backup_{name}"), help, &["policy_namespace", "policy"])?;
            Ok::<_, prometheus::Error>((ByObject::new(gauge), of))
        };
        Ok(Self {
            conditions: ByCondition::new(make.gauges(
                "backup_policy_condition",
                "1 for the status a condition of a BackupPolicy has.",
                &["policy_namespace", "policy", "type", "status"],
            )?),
            run_seconds: ByObject::new(make.gauges(
                "backup_last_run_seconds",
                "How long the last run of a BackupPolicy took that ended, good or bad, by what it did.",
                &["policy_namespace", "policy", "role"],
            )?),
            numbers: numbers.into_iter().map(number).collect::<Result<_, _>>()?,
        })
    }

    /// Shows these policies, by namespace and name, and no others.
    pub(super) fn set(&self, policies: &BTreeMap<(String, String), BackupFacts>) {
        let mut conditions = BTreeMap::new();
        let mut runs = BTreeMap::new();
        for ((namespace, name), facts) in policies {
            for (condition, status) in &facts.conditions {
                let of = ObjectCondition { namespace: namespace.clone(), name: name.clone(), condition: *condition };
                conditions.insert(of, status.as_str());
            }
            for (role, seconds) in &facts.run_seconds {
                runs.insert([namespace.clone(), name.clone(), role.label().to_owned()], *seconds);
            }
        }
        self.conditions.set(&conditions);
        self.run_seconds.set(runs);
        for (gauge, of) in &self.numbers {
            let known = policies
                .iter()
                .filter_map(|((namespace, name), facts)| Some(([namespace.clone(), name.clone()], of(facts)?)));
            gauge.set(known.collect());
        }
    }
}
