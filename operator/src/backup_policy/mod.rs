//! The BackupPolicy controller: observe, decide (in `rules`), act. It makes CronJobs and Jobs and reads what became of them;
//! no backup passes through it.

mod act;
mod observe;
mod watching;

use std::sync::Arc;

pub(crate) use watching::watch;

use crate::api::{ApiError, Key};
use crate::context::Context;
use crate::reconcile::Done;
use crate::telemetry::metrics::Outcome;

/// One pass over a BackupPolicy.
pub async fn reconcile(context: Arc<Context>, key: Key) -> Result<Done, ApiError> {
    let Some(facts) = observe::observe(&context, &key).await? else {
        context.policies.forget(&key);
        return Ok(Done { outcome: Outcome::Unchanged, again: None });
    };
    let observed = facts.observed(context.backup_image.as_ref());
    let plan = printernizer_rules::backup_policy::decide(&observed);
    Box::pin(act::act(&context, &facts, plan)).await
}
