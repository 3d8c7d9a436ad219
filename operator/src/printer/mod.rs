//! The Printer controller: observe, decide (in `rules`), act.

mod act;
mod observe;

use std::sync::Arc;

pub(crate) use observe::{comes_before, has_unresolved_start, job_marks, marks};

use crate::api::{ApiError, Key};
use crate::context::Context;
use crate::reconcile::Done;
use crate::telemetry::metrics::Outcome;

/// One pass over a Printer.
pub async fn reconcile(context: Arc<Context>, key: Key) -> Result<Done, ApiError> {
    let Some(facts) = observe::observe(&context, &key).await? else {
        context.fleet.remove(&key);
        context.printers.forget(&key);
        return Ok(Done { outcome: Outcome::Unchanged, again: None });
    };
    let plan = printernizer_rules::printer::decide(&facts.observed());
    act::act(&context, &facts, plan).await
}
