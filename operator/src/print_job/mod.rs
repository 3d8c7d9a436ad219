//! The PrintJob controller: observe, decide (in `rules`), act. Print files are read in the background (`desk`).

mod act;
pub mod desk;
mod observe;

use std::sync::Arc;

pub(crate) use act::mark_for_claim;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use printernizer_crds::{PrintJob, PrintRecord, PrintRecordSpec, Printer};

use crate::api::{ApiError, Key};
use crate::context::Context;
use crate::reconcile::Done;
use crate::telemetry::metrics::Outcome;

/// One pass over a PrintJob.
pub async fn reconcile(context: Arc<Context>, key: Key) -> Result<Done, ApiError> {
    let Some(facts) = Box::pin(observe::observe(&context, &key)).await? else {
        context.desk.forget(&key);
        context.jobs.forget(&key);
        return Ok(Done { outcome: Outcome::Unchanged, again: None });
    };
    let plan = printernizer_rules::print_job::decide(&facts.observed());
    act::act(&context, &facts, plan).await
}

/// The second half of a claim, right after the first: what the job's own pass would do now that the printer holds it. The
/// job is the one the first half was decided on; had anybody changed it since, that would be a conflict.
pub(crate) async fn complete_claim(context: &Context, job: PrintJob, printer: Printer) -> Result<Done, ApiError> {
    // Nothing is sent to the printer by it: what was judged is asked by the passes that follow.
    let facts = Box::pin(observe::of(context, job, Some(printer), None)).await?;
    let plan = printernizer_rules::print_job::decide(&facts.observed());
    act::act(context, &facts, plan).await
}

/// The record of a job, as it is created.
pub(crate) fn record_of(spec: PrintRecordSpec) -> PrintRecord {
    let name = record_name(&spec.namespace, &spec.name, &spec.run_id);
    let namespace = Some(spec.namespace.clone());
    let metadata = ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() };
    PrintRecord { metadata, spec, status: None }
}

/// Name of the record of a job: from namespace, name and runID, so that a re-created job finds it.
pub fn record_name(namespace: &str, name: &str, run_id: &str) -> String {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    let mut digest = Sha256::new();
    for part in [namespace, name, run_id] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut hex = String::new();
    for byte in digest.finalize().iter().take(10) {
        let _ = write!(hex, "{byte:02x}");
    }
    let slug: String = name.chars().take(40).collect();
    format!("{}-{hex}", slug.trim_end_matches(['-', '.']))
}
