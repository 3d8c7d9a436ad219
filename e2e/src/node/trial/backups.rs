//! Backups in pods: by the clock, by a person, checked, drilled, pruned, restored, also by hand with stock restic; and what goes
//! wrong with the node, with the pods and with S3 in the middle of them. Judged by hashes of what was restored, by what stock
//! restic finds in the bucket, and by the ledgers of the machines.

mod faults;
mod runs;
mod yard;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use printernizer_crds::backup_policy::RunReason;
use printernizer_crds::{BackupPolicy, ConditionType, Conditions as _, PrintJob};
use printernizer_simulator::Event;
use tokio::process::Command;

use super::super::{NodeError, cell, run};
use super::jobs::{self, FARM};
use super::{RECOVERY, Trial};
use crate::wait_until;
use yard::{ORDERS, Yard, digest, orders};

/// How long the plugin of kubectl may take: it waits for the end of runs.
const PLUGIN: Duration = Duration::from_secs(400);
/// The same for the plugin.
const WAIT: &str = "5m";

impl Trial {
    /// All of it. The farm has printed before, and its jobs are restored.
    pub(super) async fn backups(&mut self, folder: &Path, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let yard = self.furnish(folder).await?;
        say("volumes, PostgreSQL and S3 with TLS are there, and three policies");
        self.backed_up(&yard, say).await?;
        self.proven(say).await?;
        self.restored(&yard, say).await?;
        self.restored_by_hand(&yard, say).await?;
        self.restored_jobs_print_nothing(&yard, say).await?;
        self.fired_by_the_clock(say).await?;
        let mut yard = yard;
        self.backup_faults(&mut yard, say).await
    }

    async fn furnish(&self, folder: &Path) -> Result<Yard, NodeError> {
        let label = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl(&["label", "namespace", FARM, label]).await?;
        let yard = Yard::set(folder).await?;
        let pause = format!("localhost/pause:{}", self.version);
        jobs::apply(self.node.cluster(), &yard.objects(&pause)).await?;
        let limit = format!("--timeout={}s", RECOVERY.as_secs());
        self.kubectl(&["--namespace", FARM, "wait", "--for=condition=Ready", "pod/shop", &limit]).await?;
        for policy in ["farm", "clock", "once"] {
            self.backups_say(policy, ConditionType::Ready, "True").await?;
        }
        Ok(yard)
    }

    /// A person asks for a backup of everything, while a pod has one of the volumes.
    async fn backed_up(&self, yard: &Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let begun = Instant::now();
        self.plugin(&["backup-now", "farm"]).await?;
        let pod = self.pod_runs("farm").await?;
        let running = begun.elapsed();
        let status = self.run_ended("farm", true).await?;
        let node = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()).and_then(|a| a.node_affinity.as_ref());
        let pinned = serde_json::to_string(&node).unwrap_or_default();
        if !pinned.contains(cell::NAME) {
            return Err(NodeError::Wrong(format!(
                "a volume is in use on {}, and the pod may be elsewhere: {pinned}",
                cell::NAME
            )));
        }
        for wanted in [
            ConditionType::TargetReachable,
            ConditionType::LastBackupSucceeded,
            ConditionType::RecoveryPointObjectiveMet,
        ] {
            self.backups_say("farm", wanted, "True").await?;
        }
        say(&format!(
            "backup-now: the pod runs {:.1} s after the command, on the node that has the volume in use; {status}",
            running.as_secs_f64()
        ));
        let held = yard.points("farm").await?;
        if held.len() == 1 { Ok(()) } else { Err(NodeError::Wrong(format!("one recovery point was made: {held:?}"))) }
    }

    /// Check, drill and prune, each as a Job of its CronJob.
    async fn proven(&self, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        self.backups_say("farm", ConditionType::IntegrityVerified, "Unknown").await?;
        for role in ["check", "drill", "prune"] {
            self.role_run("farm", role, "now").await?;
        }
        for wanted in
            [ConditionType::IntegrityVerified, ConditionType::RestoreVerified, ConditionType::RecoveryTimeObjectiveMet]
        {
            self.backups_say("farm", wanted, "True").await?;
        }
        let known = wait_until("the runs to be known", RECOVERY, async || {
            let status = self.policy("farm").await.map_err(|error| error.to_string())?.status.unwrap_or_default();
            let (check, drill, prune) = (status.last_check, status.last_restore_drill, status.last_prune);
            check.zip(drill).zip(prune).ok_or_else(|| "not all".to_owned())
        });
        let ((check, drill), prune) = known.await?;
        for run in [check, drill, prune] {
            say(&format!("{}: {:?}: {}", run.job_name, run.reason, run.message));
        }
        Ok(())
    }

    /// What was in the volume is destroyed, and comes back into another, from the target and from the copy.
    async fn restored(&self, yard: &Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let models = yard.volume("models");
        let before = digest(&models)?;
        let saved = yard.desk().with_extension("saved");
        std::fs::rename(&models, &saved).map_err(NodeError::file("move", &models))?;
        let restore = ["restore", "farm", "--volume", "models=models-restored", "--volume", "shop=shop-restored"];
        let more = ["--postgres", "shop=shop_restored", "--yes", "--wait", WAIT];
        let said = self.plugin(&[restore.as_slice(), &more].concat()).await?;
        let copy = ["restore", "farm", "--copy", "1", "--volume", "models=models-from-copy", "--yes", "--wait", WAIT];
        self.plugin(&copy).await?;
        for name in ["models-restored", "models-from-copy"] {
            same("the volume", &before, &digest(&yard.volume(name))?)?;
        }
        same("orders in SQLite", &ORDERS, &orders(&yard.volume("shop-restored").join("orders.db"))?)?;
        let rows =
            yard.postgres.execute("shop_restored", "SELECT count(*) FROM orders WHERE what = 'part ' || id").await?;
        same("orders in PostgreSQL", &ORDERS.to_string(), &rows)?;
        std::fs::rename(&saved, &models).map_err(NodeError::file("move", &saved))?;
        say(&format!("restore, the volume destroyed: {}; {before}, from the target and from the copy", said.trim()));
        Ok(())
    }

    /// With stock restic, as the documentation says.
    async fn restored_by_hand(&self, yard: &Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let point = yard.points("farm").await?.pop().unwrap_or_default();
        let desk = yard.desk();
        let tag = format!("run={point},source=files");
        let listed = yard.by_hand("farm", &["snapshots", "--json", "--tag", &tag]).await?;
        let listed: serde_json::Value =
            serde_json::from_str(&listed).map_err(|error| NodeError::Wrong(format!("{error}: {listed}")))?;
        let snapshot = listed[0]["id"].as_str().unwrap_or_default();
        let from = format!("{snapshot}:/sources/volumes/models");
        yard.by_hand("farm", &["restore", &from, "--target", &desk.display().to_string()]).await?;
        same("the volume, by hand", &digest(&yard.volume("models"))?, &digest(&desk)?)?;
        yard.by_hand("farm", &["check", "--read-data"]).await?;
        say(&format!("by hand with stock restic: the same from {from}; check --read-data finds no fault"));
        Ok(())
    }

    /// The farm's jobs are deleted, and come back from the backup, with the operators at work.
    async fn restored_jobs_print_nothing(&self, yard: &Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let starts = self.starts().await?;
        let objects = self.plugin(&["restore", "farm", "--objects"]).await?;
        self.kubectl(&["--namespace", FARM, "delete", "printjobs", "--all"]).await?;
        let file = yard.desk().with_extension("objects.yaml");
        std::fs::write(&file, objects).map_err(NodeError::file("write", &file))?;
        self.kubectl(&["--namespace", FARM, "apply", "--filename", &file.display().to_string()]).await?;
        let all: Vec<PrintJob> = wait_until("every restored job to be known as a copy", RECOVERY, async || {
            let all = self.jobs.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
            let accepted = |job: &PrintJob| {
                let status = job.status.as_ref();
                status.and_then(|s| s.conditions.condition(ConditionType::Accepted)).map(|c| c.reason.clone())
            };
            let others: Vec<_> = all
                .iter()
                .map(|job| (job.name_any(), accepted(job)))
                .filter(|(_, reason)| reason.as_deref() != Some("CopyOfPrintedJob"))
                .collect();
            if all.is_empty() || !others.is_empty() { Err(format!("{} jobs, {others:?}", all.len())) } else { Ok(all) }
        })
        .await?;
        same("starts on the machines", &starts, &self.starts().await?)?;
        // Nothing is backed up by itself until somebody says that all is restored.
        for policy in ["farm", "once", "clock"] {
            same("suspension of a restored policy", &true, &self.policy(policy).await?.spec.suspend)?;
            let go_on = r#"{"spec":{"suspend":false}}"#;
            self.kubectl(&["--namespace", FARM, "patch", "backuppolicy", policy, "--type=merge", "--patch", go_on])
                .await?;
        }
        say(&format!(
            "{} restored jobs are copies, and none was started: the ledgers have {starts} starts still",
            all.len()
        ));
        Ok(())
    }

    /// How often machines have begun a part.
    async fn starts(&self) -> Result<usize, NodeError> {
        let ledger = self.machines.ledger().await?;
        Ok(ledger.iter().filter(|entry| matches!(entry.event, Event::PhysicalStart { .. })).count())
    }

    /// Kubernetes' clock makes Jobs of the policy that has one for each minute; then it is suspended.
    async fn fired_by_the_clock(&self, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let ended = wait_until("a backup by the clock to succeed", RECOVERY, async || {
            let status = self.policy("clock").await.map_err(|error| error.to_string())?.status.unwrap_or_default();
            // Nobody has asked for one.
            status
                .last_backup
                .filter(|run| run.reason == RunReason::Succeeded)
                .ok_or_else(|| format!("{:?}", status.last_missed_time))
        });
        let run = ended.await?;
        self.kubectl(&["--namespace", FARM, "patch", "backuppolicy", "clock", "--type=merge", "--patch", SUSPEND])
            .await?;
        say(&format!("by the clock: {}, {}: {}", run.job_name, run.start_time.0, run.message));
        Ok(())
    }

    async fn policy(&self, name: &str) -> Result<BackupPolicy, NodeError> {
        let api: Api<BackupPolicy> = Api::namespaced(self.node.cluster().client().await?, FARM);
        Ok(api.get(name).await?)
    }

    /// Waits until a condition of a policy has this status; gives its message.
    pub(super) async fn backups_say(
        &self,
        policy: &str,
        type_: ConditionType,
        status: &str,
    ) -> Result<String, NodeError> {
        let what = format!("{policy} to say {type_}={status}");
        let found = wait_until(&what, RECOVERY, async || {
            let now = self.policy(policy).await.map_err(|error| error.to_string())?;
            let conditions = now.status.map(|status| status.conditions).unwrap_or_default();
            match conditions.condition(type_) {
                Some(condition) if condition.status == status => {
                    Ok(format!("{}: {}", condition.reason, condition.message))
                }
                other => Err(format!("{other:?}")),
            }
        });
        Ok(found.await?)
    }

    /// `kubectl printernizer`, as a person would.
    async fn plugin(&self, arguments: &[&str]) -> Result<String, NodeError> {
        let mut command = Command::new(plugin()?);
        command.env("KUBECONFIG", self.node.cluster().kubeconfig()).args(["--namespace", FARM]).args(arguments);
        run(&mut command, PLUGIN).await
    }
}

/// What ends the policy of each minute, and one of its schedules, whose CronJob is deleted then.
const SUSPEND: &str = r#"{"spec":{"suspend":true,"verification":{"check":null}}}"#;

/// The plugin of kubectl, which is built into the same folder as this program.
fn plugin() -> Result<PathBuf, NodeError> {
    let this = std::env::current_exe().map_err(|source| NodeError::Run { program: "this".to_owned(), source })?;
    let plugin = this.with_file_name("kubectl-printernizer");
    if plugin.is_file() {
        return Ok(plugin);
    }
    let advice = "cargo xtask e2e builds it".to_owned();
    Err(NodeError::Missing { what: plugin.display().to_string(), advice })
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), NodeError> {
    if expected == found { Ok(()) } else { Err(NodeError::Wrong(format!("{what}: {found:?}, and was {expected:?}"))) }
}
