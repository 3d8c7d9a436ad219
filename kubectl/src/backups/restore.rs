//! `restore`: brings a recovery point back, by a Job of its own. Asks before anything that writes, and refuses a volume that a
//! running pod has mounted, which might write into it meanwhile. That volumes are empty the Job itself makes sure.

use std::fmt::Write as _;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use printernizer_crds::backup_policy::{OBJECTS_HEADER, Role, RunReason};
use printernizer_crds::{BackupPolicy, ConditionType};

use super::arguments::Restore;
use super::follow::{self, Ended};
use super::job::{self, Into, Task, Wanted};
use super::{of_policy, policy_name, words};
use crate::error::Error;
use crate::objects::{condition, full_name};
use crate::output::{Format, Style, Table, clean, span_of, structured};
use crate::person::sure;
use crate::run::Session;

/// How long is waited for what is to be read, where nothing is said.
const READING: Duration = Duration::from_secs(600);

/// Restores, lists, or writes objects out.
pub async fn restore(session: &mut Session<'_>, arguments: &Restore) -> Result<(), Error> {
    let policy: BackupPolicy = session.cluster.get(&policy_name(&arguments.policy)?).await?;
    let wanted = Wanted::of(&policy, arguments)?;
    job::spares_the_backups(&policy, &wanted)?;
    let template = template(session, &policy).await?;
    let name = job::name(&policy.name_any(), session.now);
    let mut made = job::job(&policy, &template, &name, &wanted)?;
    if arguments.dry_run {
        made.metadata.namespace = Some(session.cluster.namespace().to_owned());
        return session.answer(&structured(Format::Yaml, &made)?);
    }
    if let Task::Data { parts, overwrite } = &wanted.task {
        let mut claims = Vec::new();
        for claim in wanted.claims() {
            claims.push(session.cluster.get::<PersistentVolumeClaim>(claim).await?);
        }
        if !arguments.even_if_mounted && !claims.is_empty() {
            let pods: Vec<Pod> = session.cluster.list(false, None).await?;
            if let Some(refusal) = mounted(&wanted.claims(), &pods) {
                return Err(Error::NotNow(refusal));
            }
        }
        let title = format!(
            "Restore of {} in namespace {}, {}",
            policy.name_any(),
            session.cluster.namespace(),
            of(&wanted.point)
        );
        let mut text = format!("{}\n", session.paint_aside.paint(Style::Heading, &title));
        let mut table = Table::new(&["WHAT", "INTO"]);
        for part in parts {
            table.row([(part.what.clone(), Style::Plain), (place(&part.into, &claims), Style::Notice)]);
        }
        text.push_str(&table.render("  ", session.paint_aside));
        if !policy.spec.suspend {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "Backups go on meanwhile: spec.suspend holds them.");
        }
        session.evidence(&text)?;
        let question =
            if *overwrite { "In the databases what has the same names is replaced. Restore?" } else { "Restore?" };
        sure(session.person, arguments.sure.yes, question)?;
    }
    let created: Job = session.cluster.create(&made, false).await?;
    let reads = !matches!(wanted.task, Task::Data { .. });
    let wait = arguments.wait.unwrap_or(if reads { READING } else { Duration::ZERO });
    if wait.is_zero() {
        let text = match arguments.output.output {
            Some(Format::Name) => full_name(&created) + "\n",
            Some(form @ (Format::Json | Format::Yaml)) => structured(form, &created)?,
            _ => format!("job.batch/{name} created\n"),
        };
        session.answer(&text)?;
        return session.note(&by_hand(&wanted, &name, session.cluster.namespace()));
    }
    session.note(&format!("job.batch/{name} created; waiting for its end"))?;
    match follow::job(session, &name, wait).await? {
        Some(ended) => told(session, &wanted, &name, ended).await,
        None => Err(Error::Unfinished(format!(
            "job {name} has not ended within {}, and goes on. {}",
            span_of(wait),
            by_hand(&wanted, &name, session.cluster.namespace())
        ))),
    }
}

fn of(point: &str) -> String {
    if point == "latest" { "newest recovery point".to_owned() } else { format!("recovery point {point}") }
}

/// How to go on without this program.
fn by_hand(wanted: &Wanted, job: &str, namespace: &str) -> String {
    let wait = format!("kubectl -n {namespace} wait --for=condition=Complete --timeout=1h job/{job}");
    match wanted.task {
        Task::Objects => {
            format!("When it is done: {wait} && kubectl -n {namespace} logs job/{job} > objects.yaml")
        }
        Task::List => format!("When it is done: {wait} && kubectl -n {namespace} logs job/{job}"),
        Task::Data { .. } => format!("See it: kubectl -n {namespace} logs -f job/{job}"),
    }
}

/// The CronJob of the policy's backups.
async fn template(session: &Session<'_>, policy: &BackupPolicy) -> Result<CronJob, Error> {
    let jobs = policy.status.iter().flat_map(|status| &status.cron_jobs);
    let name = jobs.filter(|job| job.role == Role::Backup).map(|job| job.name.as_str()).min_by_key(|name| name.len());
    let missing = || {
        let ready = condition(of_policy(policy), ConditionType::Ready).filter(|c| c.status != "True").map(words);
        let why = ready.unwrap_or_else(|| "is an operator running, and for this namespace?".to_owned());
        Error::NotNow(format!("the operator has made no CronJob for {} to take a Job from: {why}", policy.name_any()))
    };
    session.cluster.find(name.ok_or_else(missing)?).await?.ok_or_else(missing)
}

/// What is restored into, in words.
fn place(into: &Into, claims: &[PersistentVolumeClaim]) -> String {
    match into {
        Into::Database(name) => format!("database {name}"),
        Into::Claim(name) => {
            let found = claims.iter().find(|claim| claim.name_any() == *name).and_then(|claim| claim.status.as_ref());
            let size = found.and_then(|status| status.capacity.as_ref()?.get("storage"));
            let size = size.map(|size| format!(" ({})", clean(&size.0))).unwrap_or_default();
            format!("volume {name}{size}")
        }
    }
}

/// Why these volumes must not be written to: pods that have not ended have them.
fn mounted(claims: &[&str], pods: &[Pod]) -> Option<String> {
    let alive = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    };
    let of = |pod: &Pod| -> Vec<String> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let names = volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()));
        names.filter(|name| claims.contains(&name.as_str())).collect()
    };
    let users: Vec<String> = pods
        .iter()
        .filter(alive)
        .flat_map(|pod| of(pod).into_iter().map(|claim| format!("{claim} by pod {}", pod.name_any())))
        .collect();
    (!users.is_empty()).then(|| {
        format!(
            "in use: {}; end what runs there (`kubectl scale --replicas=0`), restore into another volume, or say \
             --even-if-mounted",
            users.join(", ")
        )
    })
}

/// Says how the Job ended, with what it has written.
async fn told(session: &mut Session<'_>, wanted: &Wanted, name: &str, ended: Ended) -> Result<(), Error> {
    let succeeded = ended.failed.is_none() && ended.report.as_ref().is_none_or(|r| r.reason == RunReason::Succeeded);
    if !succeeded {
        let why = match (&ended.report, &ended.failed) {
            (Some(report), _) => format!("{:?}: {}", report.reason, report.message),
            (None, Some(why)) => why.clone(),
            (None, None) => String::new(),
        };
        return Err(Error::Unfinished(format!("job {name} has failed: {}", clean(&why))));
    }
    if matches!(wanted.task, Task::Data { .. }) {
        let said = ended.report.map(|report| clean(&report.message)).unwrap_or_default();
        return session.answer(&format!("job.batch/{name} done: {said}\n"));
    }
    let Some(pod) = ended.pod else {
        return Err(Error::Unfinished(format!("the pod of job {name} is gone, and with it what it has written")));
    };
    let log = session.cluster.logs(&pod).await?;
    match wanted.task {
        Task::Objects => session.answer(objects(&log)?),
        _ => session.answer(&log),
    }
}

/// The objects in a pod's log. They are told with their length: of a log that has grown too long a node keeps the end.
fn objects(log: &str) -> Result<&str, Error> {
    let cut = || {
        Error::Unfinished(
            "the node has not kept the whole log of the pod, so objects are missing: restore them by hand with restic"
                .to_owned(),
        )
    };
    let begin = log.find(OBJECTS_HEADER).ok_or_else(cut)?;
    let (length, rest) = log[begin + OBJECTS_HEADER.len()..].split_once('\n').ok_or_else(cut)?;
    let length: usize = length.trim().parse().map_err(|_| cut())?;
    rest.get(..length).ok_or_else(cut)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, phase: &str, claim: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name }, "status": { "phase": phase },
            "spec": { "containers": [], "volumes": [
                { "name": "a", "emptyDir": {} }, { "name": "b", "persistentVolumeClaim": { "claimName": claim } } ] },
        }))
        .unwrap()
    }

    #[test]
    fn a_volume_is_in_use_while_a_pod_that_has_not_ended_has_it() {
        let pods = [pod("shop-1", "Running", "data"), pod("shop-2", "Pending", "data"), pod("old", "Succeeded", "new")];
        let said = mounted(&["data", "new"], &pods).unwrap();
        assert!(said.starts_with("in use: data by pod shop-1, data by pod shop-2;"), "{said}");
        assert_eq!(mounted(&["new"], &pods), None);
    }

    #[test]
    fn objects_are_whole_or_not_there() {
        let log = |length: usize| format!("unlocked\n{OBJECTS_HEADER}{length}\nkind: Printer\n# Succeeded: 1 object\n");
        assert_eq!(objects(&log(14)).unwrap(), "kind: Printer\n");
        assert_eq!(objects(&log(0)).unwrap(), "");
        for cut in [log(4000), log(14).replace("unlocked\n# ", ""), "Printer\n".to_owned(), String::new()] {
            assert!(objects(&cut).unwrap_err().to_string().contains("objects are missing"), "{cut}");
        }
    }

    #[test]
    fn what_is_overwritten_is_told_with_its_size() {
        let claim: PersistentVolumeClaim = serde_json::from_value::<Value>(json!({
            "metadata": { "name": "data" }, "status": { "capacity": { "storage": "10Gi" } } }))
        .and_then(serde_json::from_value)
        .unwrap();
        let claims = [claim];
        assert_eq!(place(&Into::Claim("data".into()), &claims), "volume data (10Gi)");
        assert_eq!(place(&Into::Claim("other".into()), &claims), "volume other");
        assert_eq!(place(&Into::Database("orders".into()), &claims), "database orders");
    }
}
