//! Carries out what was decided about a BackupPolicy, in order; the only step that writes. What Kubernetes refuses becomes a
//! condition of the policy: nobody looks into the log for a typing error.

use std::time::Duration;

use k8s_openapi::api::batch::v1::CronJob;
use printernizer_crds::BackupPolicy;
use printernizer_crds::backup_policy::BackupPolicyStatus;
use printernizer_rules::backup_policy::{Effect, Plan, Refusal, refused};

use super::observe::Facts;
use crate::api::{ApiError, Key};
use crate::context::Context;
use crate::reconcile::Done;
use crate::telemetry::metrics::Outcome;

/// How soon what was refused is tried again, should what refused it have changed.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

pub(super) async fn act(context: &Context, facts: &Facts, plan: Plan) -> Result<Done, ApiError> {
    let outcome = if plan.effects.is_empty() { Outcome::Unchanged } else { Outcome::Applied };
    let again = plan.pause(facts.now);
    let mut effects = plan.effects.into_iter();
    while let Some(effect) = effects.next() {
        if let Some(refusal) = carry_out(context, &facts.policy, effect).await? {
            let decided = effects.find_map(|effect| match effect {
                Effect::WriteStatus(status) => Some(*status),
                _ => None,
            });
            let stored = facts.policy.status.clone();
            let decided = decided.or_else(|| stored.clone()).unwrap_or_default();
            let status = refused(&facts.policy, &decided, &refusal, facts.now);
            let changed = stored.as_ref() != Some(&status);
            if changed {
                write(context, &facts.policy, status).await?;
            }
            let outcome = if changed { Outcome::Applied } else { Outcome::Unchanged };
            return Ok(Done { outcome, again: Some(after_refusal(again)) });
        }
    }
    Ok(Done { outcome, again })
}

/// When to look again after a refusal: what is refused keeps no condition from changing when its time has come.
fn after_refusal(planned: Option<Duration>) -> Duration {
    planned.map_or(AFTER_REFUSAL, |planned| planned.min(AFTER_REFUSAL))
}

/// Carries out one effect. What Kubernetes refuses is no error.
async fn carry_out(context: &Context, policy: &BackupPolicy, effect: Effect) -> Result<Option<Refusal>, ApiError> {
    let api = &context.api;
    let done = match effect {
        Effect::ApplyAccount(object) => api.apply(object.as_ref()).await,
        Effect::ApplyRole(object) => api.apply(object.as_ref()).await,
        Effect::ApplyBinding(object) => api.apply(object.as_ref()).await,
        Effect::ApplyCronJob(object) => api.apply(object.as_ref()).await,
        Effect::Suspend(name) => {
            let key = Key::new(policy.metadata.namespace.clone().unwrap_or_default(), name);
            api.merge::<CronJob>(&key, &serde_json::json!({ "spec": { "suspend": true } })).await
        }
        Effect::CreateJob(job) => match api.create_owned(job.as_ref()).await {
            Ok(false) => return Ok(Some(Refusal::JobTaken(job.metadata.name.unwrap_or_default()))),
            made => made.map(drop),
        },
        Effect::WriteStatus(status) => write(context, policy, *status).await,
        Effect::DeleteCronJob(cron_job) => api.delete(cron_job.as_ref()).await,
    };
    match done {
        Ok(()) => Ok(None),
        Err(error) => error.refusal().map(Some).ok_or(error),
    }
}

async fn write(context: &Context, policy: &BackupPolicy, status: BackupPolicyStatus) -> Result<(), ApiError> {
    let before = policy.status.clone().unwrap_or_default();
    let written = context.api.replace_status(policy, status).await?;
    let after = written.status.clone().unwrap_or_default();
    context.events.conditions(&written, &before.conditions, &after.conditions);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_tried_again_and_no_condition_waits_for_that() {
        let seconds = |s| Duration::from_secs(s);
        assert_eq!(after_refusal(None), seconds(60));
        assert_eq!(after_refusal(Some(seconds(3600))), seconds(60));
        assert_eq!(after_refusal(Some(seconds(7))), seconds(7));
    }
}
