//! What goes wrong in the middle of backups. After each the conditions say it, what was reported as saved is there still, and
//! the next run is good.

use std::time::Duration;

use kube::ResourceExt as _;
use printernizer_crds::ConditionType;
use printernizer_crds::backup_policy::RunReason;

use super::super::super::{NodeError, end};
use super::super::helm;
use super::super::jobs::FARM;
use super::super::{RECOVERY, Trial};
use super::same;
use super::yard::Yard;
use crate::wait_until;

/// How long S3 keeps still when it is slow. restic gives up a request that nobody answers much later.
const STILL: Duration = Duration::from_secs(15);
/// What is new to a backup that is to have something to do, in kilobytes.
const NEWS: usize = 3_000;

impl Trial {
    pub(super) async fn backup_faults(&mut self, yard: &mut Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        self.backup("once", true).await?;
        self.s3_is_slow(yard, say).await?;
        self.a_pod_is_killed(yard, say).await?;
        self.s3_is_full(yard, say).await?;
        self.s3_is_down(yard, say).await?;
        self.the_node_restarts_in_a_prune(yard, say).await
    }

    /// Something new to back up; and a backup of it that S3 keeps waiting, so that it is in the middle.
    async fn stuck(&self, yard: &Yard, policy: &str, name: &str) -> Result<String, NodeError> {
        Yard::write(&yard.volume("models").join(name), NEWS)?;
        yard.s3.pause()?;
        self.plugin(&["backup-now", policy]).await?;
        // Not the pod of the run before.
        let pod = wait_until("the pod of the new run to run", RECOVERY, async || {
            let pod = self.pod_runs(policy).await.map_err(|error| error.to_string())?;
            let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
            if phase.as_deref() == Some("Running") { Ok(pod.name_any()) } else { Err(format!("{phase:?}")) }
        });
        Ok(pod.await?)
    }

    async fn s3_is_slow(&self, yard: &Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let before = yard.points("once").await?;
        self.stuck(yard, "once", "slow.stl").await?;
        // Not a wait for something: the time that passes is the fault.
        tokio::time::sleep(STILL).await;
        yard.s3.go_on()?;
        let run = self.run_status("once", true).await?;
        same("pods of the slow run", &1, &self.pods_of_newest("once").await?)?;
        let now = yard.still_has("once", &before).await?;
        same("recovery points", &(before.len() + 1), &now.len())?;
        say(&format!("S3 keeps still for {} s in the middle: {:?}, {}", STILL.as_secs(), run.reason, run.message));
        Ok(())
    }

    async fn a_pod_is_killed(&self, yard: &Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let before = yard.points("farm").await?;
        let pod = self.stuck(yard, "farm", "killed.stl").await?;
        end(&self.node.processes_of(FARM, &pod).await?)?;
        yard.s3.go_on()?;
        // The Job makes another pod, and the run is good.
        let run = self.run_status("farm", true).await?;
        same("pods of the run", &2, &self.pods_of_newest("farm").await?)?;
        self.backups_say("farm", ConditionType::LastBackupSucceeded, "True").await?;
        let now = yard.still_has("farm", &before).await?;
        same("recovery points", &(before.len() + 1), &now.len())?;
        say(&format!("the pod is killed in the middle: another one makes the recovery point; {}", run.message));
        Ok(())
    }

    async fn s3_is_full(&self, yard: &Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let before = yard.points("once").await?;
        let filler = yard.fill_the_disk(200)?;
        Yard::write(&yard.volume("models").join("full.stl"), NEWS)?;
        let run = self.backup("once", false).await?;
        same("the reason", &RunReason::TargetFull, &run.reason)?;
        let told = self.backups_say("once", ConditionType::LastBackupSucceeded, "False").await?;
        std::fs::remove_file(&filler).map_err(NodeError::file("remove", &filler))?;
        yard.still_has("once", &before).await?;
        self.heals(yard, "once", &before).await?;
        say(&format!("S3 is full: {told}; the next run is good"));
        Ok(())
    }

    async fn s3_is_down(&self, yard: &mut Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let before = yard.points("once").await?;
        yard.s3.stop().await?;
        let run = self.backup("once", false).await?;
        same("the reason", &RunReason::TargetUnreachable, &run.reason)?;
        let told = self.backups_say("once", ConditionType::TargetReachable, "False").await?;
        self.backups_say("once", ConditionType::LastBackupSucceeded, "False").await?;
        // What is saved is old enough, and counts still.
        self.backups_say("once", ConditionType::RecoveryPointObjectiveMet, "True").await?;
        yard.s3.start_again().await?;
        self.heals(yard, "once", &before).await?;
        say(&format!("S3 is down: {told}; the next run is good"));
        Ok(())
    }

    /// The next run is good, the conditions say so, and every point from before is there.
    async fn heals(&self, yard: &Yard, policy: &str, before: &[String]) -> Result<(), NodeError> {
        self.backup(policy, true).await?;
        for wanted in [ConditionType::TargetReachable, ConditionType::LastBackupSucceeded] {
            self.backups_say(policy, wanted, "True").await?;
        }
        let now = yard.still_has(policy, before).await?;
        same("recovery points", &(before.len() + 1), &now.len())
    }

    /// The node restarts while a prune has the repository to itself. Its lock stays; who waits for half an hour takes it away, and
    /// so does a person at once.
    async fn the_node_restarts_in_a_prune(&mut self, yard: &Yard, say: &dyn Fn(&str)) -> Result<(), NodeError> {
        let before = yard.points("farm").await?;
        let locks = yard.bucket().join("farm/locks");
        let held = || std::fs::read_dir(&locks).map_or(0, Iterator::count);
        let had = held();
        let job = self.role_begins("farm", "prune", "restart").await?;
        wait_until("the prune to lock the repository", RECOVERY, async || {
            if held() > had { Ok(()) } else { Err(format!("{had} locks")) }
        })
        .await?;
        yard.s3.pause()?;
        let mut processes = self.node.processes_in(FARM).await?;
        processes.extend(self.node.processes_in(helm::NAMESPACE).await?);
        self.node.restart(&processes).await?;
        yard.s3.go_on()?;
        yard.still_has("farm", &before).await?;
        // Who had ended before would have taken its lock away.
        if held() <= had {
            return Err(NodeError::Wrong(format!(
                "the prune was not in the middle: {} locks, {had} before it",
                held()
            )));
        }
        yard.by_hand("farm", &["unlock", "--remove-all"]).await?;
        self.job_succeeds(&job).await?;
        same("pods of the prune", &2, &self.pods_of("farm", &job).await?)?;
        self.heals(yard, "farm", &before).await?;
        self.role_run("farm", "check", "after").await?;
        self.backups_say("farm", ConditionType::IntegrityVerified, "True").await?;
        say(
            "the node restarts in a prune: the Job's next pod has pruned, every point is there, the check finds no fault",
        );
        Ok(())
    }
}
