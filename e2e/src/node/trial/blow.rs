//! What happens to the operator while machines print, and how it gets over it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use nix::unistd::Pid;

use super::super::NodeError;
use super::helm::{NAMESPACE, RELEASE};
use super::jobs::Middle;
use super::{RECOVERY, Trial, today};
use crate::wait_until;

/// Something that happens to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// The pod that leads is deleted with no time to end: kubelet leaves it two seconds.
    LeaderLost,
    /// The release becomes today's.
    Upgrade,
    /// `kubectl rollout restart`.
    RolloutRestart,
    /// containerd, kubelet and every process of the operator's pods are killed, and the first two started again.
    NodeRestart,
}

impl fmt::Display for Blow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LeaderLost => "loss of the pod that leads",
            Self::Upgrade => "helm upgrade",
            Self::RolloutRestart => "kubectl rollout restart",
            Self::NodeRestart => "restart of the node",
        })
    }
}

impl Blow {
    /// In which middle of a round it comes.
    pub(super) fn middle(self) -> Middle {
        match self {
            // There is something of each kind that the older operator has stored.
            Self::Upgrade => Middle { ended: true, calm: false },
            // With both operators gone for longer than a short print takes at this speed, a start that nobody saw through would
            // be judged after the protocol's five minutes, and a person asked. A machine's day is longer than that.
            Self::NodeRestart => Middle { ended: false, calm: true },
            Self::LeaderLost | Self::RolloutRestart => Middle::default(),
        }
    }

    /// How often the operator's containers have been started again afterwards.
    pub(super) fn restarts(self) -> i32 {
        // All others end with other pods.
        i32::from(self == Self::NodeRestart)
    }
}

/// What is found out before the moment, so that nothing is in the way when it comes.
pub(super) struct Target {
    processes: Vec<Pid>,
    /// Who leads: pod, and process in it.
    leader: Leader,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Leader {
    pod: String,
    holder: String,
}

impl Trial {
    /// Finds out whom a blow will meet.
    pub(super) async fn aim(&self) -> Result<Target, NodeError> {
        Ok(Target { processes: self.node.processes_in(NAMESPACE).await?, leader: self.leader().await? })
    }

    /// Lets it happen, and waits until an operator leads again.
    pub(super) async fn strike(&mut self, blow: Blow, target: Target) -> Result<(), NodeError> {
        let pods: Api<Pod> = Api::namespaced(self.node.cluster().client().await?, NAMESPACE);
        let deployment = format!("deployment/{RELEASE}");
        let Target { processes, leader } = target;
        match blow {
            Blow::LeaderLost => {
                let at_once = DeleteParams::default().grace_period(0);
                pods.delete(&leader.pod, &at_once).await?;
            }
            Blow::Upgrade => {
                self.helm.upgrade(self.node.cluster().kubeconfig(), &today(), &self.version).await?;
            }
            Blow::RolloutRestart => {
                self.kubectl(&["--namespace", NAMESPACE, "rollout", "restart", &deployment]).await?;
            }
            Blow::NodeRestart => self.node.restart(&processes).await?,
        }
        // After a restart of the node nobody but kubelet knows at first that nothing runs; this waits for that as well.
        wait_until("the operator's containers to have been started as often as they must", RECOVERY, async || {
            let restarts = self.restarts().await.map_err(|error| error.to_string())?;
            let all = !restarts.is_empty() && restarts.values().all(|count| *count >= blow.restarts());
            if all { Ok(()) } else { Err(format!("{restarts:?}")) }
        })
        .await?;
        let limit = format!("--timeout={}s", RECOVERY.as_secs());
        self.kubectl(&["--namespace", NAMESPACE, "rollout", "status", &deployment, &limit]).await?;
        // The process that led is gone, so that another one must lead now.
        wait_until("another operator to lead", RECOVERY, async || {
            let now = self.leader().await.map_err(|error| error.to_string())?;
            if now.holder == leader.holder { Err(format!("{} leads still", now.holder)) } else { Ok(()) }
        })
        .await?;
        Ok(())
    }

    /// Whether the operator's containers were started again exactly as often as the blow has it.
    pub(super) async fn was_restarted(&self, times: i32) -> Result<(), NodeError> {
        let restarts = self.restarts().await?;
        if restarts.values().all(|count| *count == times) {
            return Ok(());
        }
        Err(NodeError::Wrong(format!("the operator's containers were to be started again {times} times: {restarts:?}")))
    }

    /// How often each container of the operator was started again, by pod.
    async fn restarts(&self) -> Result<BTreeMap<String, i32>, NodeError> {
        let pods: Api<Pod> = Api::namespaced(self.node.cluster().client().await?, NAMESPACE);
        let pods = pods.list(&ListParams::default()).await?.items;
        let count = |pod: Pod| {
            let name = pod.name_any();
            let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
            (name, containers.iter().map(|container| container.restart_count).sum())
        };
        Ok(pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).map(count).collect())
    }

    /// Who leads.
    async fn leader(&self) -> Result<Leader, NodeError> {
        let leases: Api<Lease> = Api::namespaced(self.node.cluster().client().await?, NAMESPACE);
        let lease = leases.get(RELEASE).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let mut found = self.operators().await?.into_iter().filter(|name| holder.starts_with(name.as_str()));
        let pod = found
            .next()
            .ok_or_else(|| NodeError::Wrong(format!("the Lease is held by {holder:?}, which is no pod")))?;
        Ok(Leader { pod, holder })
    }

    /// The names of the operator's pods.
    pub(super) async fn operators(&self) -> Result<Vec<String>, NodeError> {
        let pods: Api<Pod> = Api::namespaced(self.node.cluster().client().await?, NAMESPACE);
        Ok(pods.list(&ListParams::default()).await?.items.into_iter().map(|pod| pod.name_any()).collect())
    }
}
