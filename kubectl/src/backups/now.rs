//! `backup-now`: asks for a backup (`spec.trigger.manual`), and on wish waits for its end.

use jiff::Timestamp;
use kube::ResourceExt as _;
use printernizer_crds::backup_policy::{RunReason, RunStatus};
use printernizer_crds::{BackupPolicy, ConditionType};
use printernizer_rules::backup_policy::names::manual_job_name;
use serde_json::{Value, json};

use super::arguments::BackupNow;
use super::{follow, of_policy, policy_name, words};
use crate::cluster::Change;
use crate::error::{Error, several};
use crate::objects::condition;
use crate::output::{Format, clean, span_of};
use crate::run::Session;

/// Asks for backups.
pub async fn now(session: &mut Session<'_>, arguments: &BackupNow) -> Result<(), Error> {
    let mut policies = Vec::new();
    let mut results = Vec::new();
    if arguments.all {
        policies = session.cluster.list::<BackupPolicy>(false, None).await?;
        if policies.is_empty() {
            let namespace = session.cluster.namespace();
            return Err(Error::NotNow(format!("there are no backup policies in namespace {namespace}")));
        }
    }
    for name in &arguments.policies {
        match session.cluster.get(&policy_name(name)?).await {
            Ok(policy) => policies.push(policy),
            Err(error) => results.push(session.tell(Err(error))?),
        }
    }
    let mut asked = Vec::new();
    for policy in policies {
        let at = session.now;
        let changed = Box::pin(session.cluster.change(policy, |now| Ok(to_write(now, at)))).await;
        let (change, said) = match changed {
            Ok(Change::Written(policy)) => (Ok(policy), "asked for a backup"),
            Ok(Change::Already(policy)) => (Ok(policy), "was asked for a backup already, which has not begun yet"),
            Err(error) => (Err(error), ""),
        };
        if let Ok(policy) = &change {
            asked.push((results.len(), policy.clone()));
        }
        // What is waited for is told at its end, in the form that is asked for.
        let format = arguments.output.output.filter(|_| arguments.wait.is_zero());
        results.push(session.report(change.map(|policy| (policy, said)), format)?);
    }
    for (_, policy) in &asked {
        if let Some(ready) = condition(of_policy(policy), ConditionType::Ready).filter(|c| c.status != "True") {
            let name = policy.name_any();
            session.note(&format!("{name} cannot run as it is written, and waits: {}", words(ready)))?;
        }
    }
    if !arguments.wait.is_zero() {
        // Of several the first ones' time is the others', too.
        let until = tokio::time::Instant::now() + arguments.wait;
        for (index, policy) in asked {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let ended = follow::policy(session, &policy, left, |now| run(now).is_some()).await;
            let told = match ended.as_ref().map(|policy| policy.as_ref().and_then(run)) {
                Ok(Some(run)) => told(session, &policy, run, arguments.output.output),
                Ok(None) => Err(Error::Unfinished(format!(
                    "the backup of {} has not ended within {}; `{}` shows it",
                    policy.name_any(),
                    span_of(arguments.wait),
                    session.flags.command("backups")
                ))),
                Err(_) => Err(ended.err().unwrap_or(Error::Unfinished(String::new()))),
            };
            // What was asked for is done when the backup is.
            results[index] = session.tell(told)?;
        }
    }
    several(&results)
}

/// What is to be written so that a backup is made now; `None` where one was asked for that has not begun yet.
fn to_write(policy: &BackupPolicy, now: Timestamp) -> Option<Value> {
    let asked = policy.spec.trigger.as_ref().and_then(|trigger| trigger.manual.as_ref());
    let begun = policy.status.as_ref().and_then(|status| status.last_manual_trigger.as_ref());
    if asked.is_some() && asked != begun {
        return None;
    }
    // The moment of the command, which no earlier one has had.
    Some(json!({ "trigger": { "manual": now.to_string() } }))
}

/// The run that was asked for, if it has ended.
fn run(policy: &BackupPolicy) -> Option<&RunStatus> {
    let trigger = policy.spec.trigger.as_ref()?.manual.as_ref()?;
    let job = manual_job_name(&policy.name_any(), policy.uid().as_deref()?, trigger);
    policy.status.as_ref()?.last_backup.as_ref().filter(|run| run.job_name == job)
}

/// Says how the run ended.
fn told(session: &mut Session<'_>, policy: &BackupPolicy, run: &RunStatus, form: Option<Format>) -> Result<(), Error> {
    let name = policy.name_any();
    if run.reason != RunReason::Succeeded {
        return Err(Error::Unfinished(format!(
            "the backup of {name} has failed: {:?}: {}",
            run.reason,
            clean(&run.message)
        )));
    }
    let text = match form {
        Some(Format::Name) => format!("{}\n", crate::objects::full_name(policy)),
        Some(form @ (Format::Json | Format::Yaml)) => crate::output::structured(form, run)?,
        _ => {
            let point = run.snapshot.as_deref().map(|id| format!("recovery point {}: ", clean(id))).unwrap_or_default();
            format!("{} backed up: {point}{}\n", crate::objects::full_name(policy), clean(&run.message))
        }
    };
    session.answer(&text)
}

#[cfg(test)]
mod tests {
    use super::super::testing::policy;
    use super::*;
    use crate::objects::testing::now;

    #[test]
    fn each_command_asks_for_one_backup_and_none_that_is_under_way_is_asked_for_again() {
        let asked = |manual: Value, begun: Value| {
            let more = json!({ "spec": { "trigger": { "manual": manual } }, "status": { "lastManualTrigger": begun } });
            to_write(&policy("shop", more, &[]), now())
        };
        let new = Some(json!({ "trigger": { "manual": "2026-11-22T12:00:00Z" } }));
        assert_eq!(asked(Value::Null, Value::Null), new);
        assert_eq!(asked("first".into(), "first".into()), new);
        assert_eq!(asked("second".into(), "first".into()), None);
        assert_eq!(asked("first".into(), Value::Null), None);
    }

    #[test]
    fn only_the_run_that_was_asked_for_is_taken_for_it() {
        let of = |job: &str| {
            let more = json!({
                "spec": { "trigger": { "manual": "now" } },
                "status": { "lastBackup": { "jobName": job, "jobUid": "u", "reason": "Succeeded",
                    "startTime": "2026-11-22T12:00:00Z", "endTime": "2026-11-22T12:01:00Z" } },
            });
            run(&policy("shop", more, &[])).is_some()
        };
        assert!(of(&manual_job_name("shop", "uid-of-shop", "now")));
        assert!(!of(&manual_job_name("shop", "uid-of-shop", "before")) && !of("shop-backup-29400000"));
        assert!(run(&policy("shop", json!({}), &[])).is_none());
    }
}
