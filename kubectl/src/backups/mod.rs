//! What a person does with backups: `backups` shows whether more could be lost than is allowed, `backup-now` asks for one, and
//! `restore` brings one back. Rows and needs are pure.

pub mod arguments;
mod follow;
mod job;
mod now;
mod restore;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use printernizer_crds::{BackupPolicy, ConditionType};
use serde::Serialize;

use crate::error::Error;
use crate::objects::{condition, full_name};
use crate::output::{Format, Style, Table, age, clean, structured};
use crate::run::Session;
use crate::status::Need;
use arguments::Backups;

pub use now::now;
pub use restore::restore;

/// Conditions whose False is worth a word, the worst first.
const TROUBLES: [ConditionType; 7] = [
    ConditionType::Ready,
    ConditionType::IntegrityVerified,
    ConditionType::RestoreVerified,
    ConditionType::RecoveryPointObjectiveMet,
    ConditionType::LastBackupSucceeded,
    ConditionType::TargetReachable,
    ConditionType::RecoveryTimeObjectiveMet,
];

/// Shows the policies.
pub async fn show(session: &mut Session<'_>, arguments: &Backups) -> Result<(), Error> {
    let policies: Vec<BackupPolicy> = session.cluster.list(arguments.all_namespaces, None).await?;
    let rows: Vec<Row> = policies.iter().map(row).collect();
    let text = match arguments.output.output {
        Some(Format::Name) => policies.iter().map(|policy| full_name(policy) + "\n").collect(),
        Some(format @ (Format::Json | Format::Yaml)) => structured(format, &rows)?,
        _ if rows.is_empty() => {
            let place = if arguments.all_namespaces {
                "in this cluster".to_owned()
            } else {
                format!("in namespace {}", session.cluster.namespace())
            };
            format!("There are no backup policies {place}. What is lost here is lost.\n")
        }
        wide => table(&rows, arguments.all_namespaces, wide.is_some(), session.now).render("", session.paint),
    };
    session.answer(&text)
}

/// A policy in one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say it")]
pub struct Row {
    pub namespace: String,
    pub name: String,
    /// When the newest good recovery point was begun: what was written since would be lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Timestamp>,
    /// Its objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_point_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_recovery_point_objective: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_points: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    pub suspended: bool,
    /// The worst that is wrong, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Conditions of a policy.
fn of_policy(policy: &BackupPolicy) -> &[Condition] {
    policy.status.as_ref().map_or(&[], |status| status.conditions.as_slice())
}

/// The worst condition that does not hold.
fn trouble(policy: &BackupPolicy) -> Option<(ConditionType, &Condition)> {
    let is_false = |type_: &ConditionType| Some((*type_, condition(of_policy(policy), *type_)?));
    TROUBLES.iter().filter_map(is_false).find(|(_, condition)| condition.status == "False")
}

fn words(condition: &Condition) -> String {
    clean(&format!("{}: {}", condition.reason, condition.message))
}

fn row(policy: &BackupPolicy) -> Row {
    let status = policy.status.as_ref();
    let holds = |type_| match condition(of_policy(policy), type_)?.status.as_str() {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    };
    Row {
        namespace: policy.namespace().unwrap_or_default(),
        name: policy.name_any(),
        last_successful_time: status.and_then(|s| s.last_successful_time.as_ref()).map(|t| t.0),
        recovery_point_seconds: policy.spec.objectives.recovery_point_seconds,
        within_recovery_point_objective: holds(ConditionType::RecoveryPointObjectiveMet),
        recovery_points: status.and_then(|s| s.snapshot_count),
        repository_bytes: status.and_then(|s| s.repository_size_bytes),
        integrity_verified: holds(ConditionType::IntegrityVerified),
        restore_verified: holds(ConditionType::RestoreVerified),
        next_schedule_time: status.and_then(|s| s.next_schedule_time.as_ref()).map(|t| t.0),
        suspended: policy.spec.suspend,
        trouble: match trouble(policy) {
            Some((_, condition)) => Some(words(condition)),
            None if status.is_none() => Some("no operator has looked at it yet".to_owned()),
            None => None,
        },
    }
}

fn table(rows: &[Row], all: bool, wide: bool, now: Timestamp) -> Table {
    let mut header = Vec::new();
    header.extend(all.then_some("NAMESPACE"));
    header.extend(["POLICY", "NEWEST", "ALLOWED", "POINTS", "INTEGRITY", "RESTORED", "NEXT"]);
    header.extend(wide.then_some("SIZE"));
    header.extend(rows.iter().any(|r| r.trouble.is_some()).then_some("TROUBLE"));
    let mut table = Table::new(&header);
    for row in rows {
        let mut cells = Vec::new();
        let mut cell = |text: String, style: Style| cells.push((text, style));
        if all {
            cell(row.namespace.clone(), Style::Plain);
        }
        cell(row.name.clone(), Style::Plain);
        let style = match row.within_recovery_point_objective {
            Some(true) => Style::Good,
            Some(false) => Style::Bad,
            None => Style::Plain,
        };
        cell(row.last_successful_time.map_or_else(|| "none".to_owned(), |time| age(time, now)), style);
        cell(row.recovery_point_seconds.map(span).unwrap_or_default(), Style::Plain);
        cell(row.recovery_points.map(|n| n.to_string()).unwrap_or_default(), Style::Plain);
        for proof in [row.integrity_verified, row.restore_verified] {
            let (word, style) = match proof {
                Some(true) => ("yes", Style::Good),
                Some(false) => ("no", Style::Bad),
                None => ("not known", Style::Plain),
            };
            cell(word.to_owned(), style);
        }
        let next = match row.next_schedule_time {
            _ if row.suspended => "suspended".to_owned(),
            Some(time) => format!("in {}", age(now, time)),
            None => String::new(),
        };
        cell(next, Style::Plain);
        if wide {
            cell(row.repository_bytes.map(size).unwrap_or_default(), Style::Plain);
        }
        cell(row.trouble.clone().unwrap_or_default(), Style::Bad);
        table.row(cells);
    }
    table
}

/// Seconds as people write them.
fn span(seconds: i64) -> String {
    match seconds {
        s if s >= 172_800 && s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// Bytes as people write them, rounded down.
fn size(bytes: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes < 10 * unit => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

/// What of a policy waits for a person.
pub fn need(policy: &BackupPolicy) -> Option<Need> {
    let (type_, condition) = trouble(policy)?;
    let name = policy.name_any();
    let another_would_help =
        matches!(type_, ConditionType::RecoveryPointObjectiveMet | ConditionType::LastBackupSucceeded);
    Some(Need {
        kind: "backup policy",
        namespace: policy.namespace().unwrap_or_default(),
        command: another_would_help.then(|| format!("backup-now {name}")),
        name,
        what: words(condition),
        // No print waits for it, but what would be lost can be lost any minute.
        urgent: type_ != ConditionType::RecoveryTimeObjectiveMet,
    })
}

/// The name of a policy, also where it was written as `backuppolicy/NAME`, as `-o name` prints it.
fn policy_name(text: &str) -> Result<String, Error> {
    let Some((kind, name)) = text.split_once('/') else { return Ok(text.to_owned()) };
    match kind.split('.').next().unwrap_or_default().to_lowercase().as_str() {
        "bkp" | "backuppolicy" | "backuppolicies" => Ok(name.to_owned()),
        _ => Err(Error::Usage(format!("{text:?} is no backup policy"))),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use serde_json::{Value, json};

    use super::*;
    use crate::objects::testing::merge;

    /// A policy with a status: all well unless the conditions say otherwise.
    pub(crate) fn policy(name: &str, more: Value, rows: &[(&str, &str, &str, &str)]) -> BackupPolicy {
        let defaults =
            [("Ready", "True", "X", "runs as it says"), ("RecoveryPointObjectiveMet", "True", "X", "no more is lost")];
        let kept = defaults.into_iter().filter(|d| rows.iter().all(|r| r.0 != d.0));
        let conditions: Vec<Value> = kept
            .chain(rows.iter().copied())
            .map(|(type_, status, reason, message)| {
                json!({ "type": type_, "status": status, "reason": reason, "message": message,
                        "lastTransitionTime": "2026-11-22T11:48:00Z" })
            })
            .collect();
        let mut object = json!({
            "apiVersion": "printernizer.io/v1alpha1", "kind": "BackupPolicy",
            "metadata": { "name": name, "namespace": "farm", "uid": format!("uid-of-{name}") },
            "spec": {
                "schedule": "@hourly",
                "sources": {
                    "persistentVolumeClaims": [{ "claimName": "models" }],
                    "sqlite": [{ "claimName": "app", "path": "shop.db" }, { "claimName": "app", "path": "a=b/users.db" }],
                    "postgres": [
                        { "host": "db-1", "database": "orders", "credentialsSecretRef": { "name": "db" } },
                        { "host": "db-1", "database": "stock", "credentialsSecretRef": { "name": "db" } },
                        { "host": "db-2", "database": "stock", "credentialsSecretRef": { "name": "db" } },
                    ],
                },
                "target": { "persistentVolumeClaim": { "claimName": "backups" } },
                "encryption": { "passwordSecretRef": { "name": "backup", "key": "password" } },
                "retention": { "keepDaily": 30 },
                "objectives": { "recoveryPointSeconds": 3600 },
            },
            "status": {
                "conditions": conditions, "lastSuccessfulTime": "2026-11-22T11:40:00Z", "snapshotCount": 30,
                "nextScheduleTime": "2026-11-22T12:40:00Z", "repositorySizeBytes": 5_368_709_120_i64,
                "cronJobs": [{ "role": "Backup", "name": format!("{name}-backup"), "schedule": "40 * * * *",
                               "timeZone": "Etc/UTC" }],
            },
        });
        merge(&mut object, more);
        serde_json::from_value(object).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::policy;
    use super::*;
    use crate::objects::testing::now;
    use crate::output::Paint;

    #[test]
    fn policies_are_shown_with_what_could_be_lost() {
        let full = [
            ("RecoveryPointObjectiveMet", "False", "ObjectiveMissed", "5 hours could be lost"),
            ("LastBackupSucceeded", "False", "TargetFull", "the bucket is full"),
            ("IntegrityVerified", "True", "X", "whole"),
        ];
        let old = json!({ "status": { "lastSuccessfulTime": "2026-11-22T07:00:00Z" } });
        let proven = [("IntegrityVerified", "True", "X", "whole"), ("RestoreVerified", "True", "X", "restored")];
        let rows: Vec<Row> = [
            policy("files", json!({ "spec": { "suspend": true } }), &proven),
            policy("shop", old, &full),
            policy(
                "unseen",
                json!({ "status": null, "spec": { "objectives": { "recoveryPointSeconds": null } } }),
                &[],
            ),
        ]
        .iter()
        .map(row)
        .collect();
        let expected = "\
POLICY  NEWEST  ALLOWED  POINTS  INTEGRITY  RESTORED   NEXT       SIZE     TROUBLE
files   20m     1h       30      yes        yes        suspended  5.0 GiB
shop    5h      1h       30      yes        not known  in 40m     5.0 GiB  ObjectiveMissed: 5 hours could be lost
unseen  none                     not known  not known                      no operator has looked at it yet
";
        assert_eq!(table(&rows, false, true, now()).render("", Paint::default()), expected);
    }

    #[test]
    fn of_several_troubles_the_worst_is_told_and_a_backup_is_proposed_where_one_helps() {
        let told = |rows: &[(&str, &str, &str, &str)]| need(&policy("shop", json!({}), rows));
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("RestoreVerified", "Unknown", "X", "never")]), None, "what is not known is no fault");
        let late = ("RecoveryPointObjectiveMet", "False", "ObjectiveMissed", "5 hours could be lost");
        let damaged = ("IntegrityVerified", "False", "RepositoryDamaged", "a pack is damaged");
        let said = told(&[late]).unwrap();
        assert_eq!((said.what.as_str(), said.urgent), ("ObjectiveMissed: 5 hours could be lost", true));
        assert_eq!(said.command.as_deref(), Some("backup-now shop"));
        let said = told(&[late, damaged]).unwrap();
        assert_eq!((said.what.as_str(), said.command), ("RepositoryDamaged: a pack is damaged", None));
        let slow = told(&[("RecoveryTimeObjectiveMet", "False", "X", "too slow")]).unwrap();
        assert!(!slow.urgent);
    }

    #[test]
    fn a_policy_is_named_as_kubectl_names_it() {
        for name in ["shop", "bkp/shop", "backuppolicy.printernizer.io/shop", "BackupPolicies/shop"] {
            assert_eq!(policy_name(name).unwrap(), "shop", "{name}");
        }
        assert!(policy_name("job/shop").is_err());
    }

    #[test]
    fn times_and_sizes_are_written_as_people_write_them() {
        assert_eq!([60, 90, 3600, 86_400, 172_800].map(span), ["1m", "90s", "1h", "24h", "2d"]);
        assert_eq!([7, 1024, 1_600_000, 64 << 30].map(size), ["7 B", "1.0 KiB", "1.5 MiB", "64 GiB"]);
    }
}
