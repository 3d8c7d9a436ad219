//! BackupPolicy: which CronJobs and Jobs there are to be, and what is known of the backups. `decide` is the way in.
//!
//! Nothing here reads, writes or deletes a backup: pods do. The status is computed from Jobs, from what their pods report, and
//! from the status so far, so that whoever computes it next comes to the same.

pub mod conditions;
mod count;
pub mod cron;
pub mod damage;
mod decide;
mod due;
mod manifest;
pub mod names;
pub mod needs;
mod nodes;
mod own;
pub mod pod;
pub mod problem;
pub mod runs;
pub mod schedule;
mod stuck;
mod target;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role as RbacRole, RoleBinding};
use printernizer_crds::backup_policy::BackupPolicyStatus;
use printernizer_crds::{BackupPolicy, ConditionStatus, ConditionType, Conditions as _, Reason};

pub use decide::decide;
pub use manifest::{Access, is_applied};
pub use pod::Image;

use crate::timing::elapsed;

/// Everything one decision about a BackupPolicy depends on.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The policy, from a quorum read.
    pub policy: &'a BackupPolicy,
    /// Image of its pods; `None` where the operator was not told one.
    pub image: Option<&'a Image>,
    /// CronJobs with the policy's label, and those of the names it wants.
    pub cron_jobs: &'a [CronJob],
    /// Jobs with the policy's label.
    pub jobs: &'a [Job],
    /// Pods with the policy's label.
    pub pods: &'a [Pod],
    /// The account that reads objects, as it is.
    pub access: &'a Access,
    /// What was found of what the policy names.
    pub found: &'a needs::Found,
    /// A fresh random id.
    pub fresh_id: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Apply the account of pods that read objects.
    ApplyAccount(Box<ServiceAccount>),
    /// Apply what it may.
    ApplyRole(Box<RbacRole>),
    /// Apply that it may.
    ApplyBinding(Box<RoleBinding>),
    /// Apply a CronJob. Jobs of it that run are left alone.
    ApplyCronJob(Box<CronJob>),
    /// Suspend the CronJob of this name, and change nothing else of it. Jobs of it that run are left alone.
    Suspend(String),
    /// Create a Job; one of its name that exists is it.
    CreateJob(Box<Job>),
    /// Replace the status.
    WriteStatus(Box<BackupPolicyStatus>),
    /// Delete a CronJob, and with it its Jobs: one that is wanted no more and has no Job that runs; one whose Job waits in vain for a
    /// node; and one whose prune runs while every recovery point is to be kept. The last two are made anew.
    DeleteCronJob(Box<CronJob>),
}

/// What to do now, in this order, and when to look again even if nothing happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Effects in their order.
    pub effects: Vec<Effect>,
    /// When to look again at the latest.
    pub look_again: Option<Timestamp>,
}

impl Plan {
    /// How long it is until then.
    pub fn pause(&self, now: Timestamp) -> Option<std::time::Duration> {
        self.look_again.map(|moment| elapsed(moment, now))
    }
}

/// Why Kubernetes did not carry out what was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be, says the API server.
    Invalid(String),
    /// It may not be, says the API server.
    Forbidden(String),
    /// The Job of this name belongs to something else.
    JobTaken(String),
}

impl Refusal {
    /// Its reason, and what a person is told.
    fn told(&self) -> (Reason, String) {
        match self {
            Self::Invalid(said) => (
                Reason::InvalidSpec,
                format!("Kubernetes does not take what this policy asks for; correct its spec: {said}"),
            ),
            Self::Forbidden(said) => {
                let text = "Kubernetes does not allow what this policy needs: the namespace has a quota or a rule against it, or \
                            the operator lacks a right; it is tried again";
                (Reason::Forbidden, format!("{text}: {said}"))
            }
            Self::JobTaken(name) => {
                let text = "is there already and belongs to something else: delete it, or write another text into \
                            spec.trigger.manual";
                (Reason::NameTaken, format!("the Job {name} {text}"))
            }
        }
    }
}

/// The status that was decided on, after Kubernetes has refused what was to be applied. The run a person asked for was not
/// begun.
pub fn refused(
    policy: &BackupPolicy,
    decided: &BackupPolicyStatus,
    refusal: &Refusal,
    now: Timestamp,
) -> BackupPolicyStatus {
    let mut status = decided.clone();
    status.last_manual_trigger = policy.status.as_ref().and_then(|s| s.last_manual_trigger.clone());
    let before = policy.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
    for type_ in [ConditionType::Ready, ConditionType::Stalled] {
        // It was never so meanwhile: the condition keeps the time of its last change.
        status.conditions.unset(type_);
        status.conditions.extend(before.condition(type_).cloned());
    }
    let at = printernizer_crds::conditions::SetAt {
        time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
        generation: policy.metadata.generation,
    };
    let (reason, text) = refusal.told();
    for (type_, is) in [(ConditionType::Ready, ConditionStatus::False), (ConditionType::Stalled, ConditionStatus::True)]
    {
        status.conditions.set(type_, is, reason, text.clone(), &at);
    }
    status
}
