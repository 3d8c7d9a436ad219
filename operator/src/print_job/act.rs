//! Carries out what was decided about a PrintJob, in order; the only step that writes.

use printernizer_crds::print_job::{Outcome as PrintOutcome, Phase};
use printernizer_crds::{
    ConditionType, Conditions, PRINT_JOB_FINALIZER, PRINTER_FINALIZER, PrintJob, PrintRecord, Printer,
};
use printernizer_rules::plan::{DeviceCommand, Effect, Plan};

use super::observe::Facts;
use super::record_name;
use crate::api::{ApiError, Key};
use crate::context::Context;
use crate::fleet::Command;
use crate::reconcile::Done;
use crate::telemetry::metrics::{Material, Outcome};

pub(super) async fn act(context: &Context, facts: &Facts, plan: Plan) -> Result<Done, ApiError> {
    let mut job = facts.job.clone();
    let mut printer = facts.printer.clone();
    let key = Key::of(&job);
    let outcome = if plan.effects.is_empty() { Outcome::Unchanged } else { Outcome::Applied };
    let mut again = plan.look_again;
    for effect in plan.effects {
        match effect {
            Effect::WritePrinter(status) => {
                if let Some(object) = printer.as_ref() {
                    let old = object.status.clone().unwrap_or_default();
                    let written = context.api.replace_status(object, *status).await?;
                    let new = written.status.clone().unwrap_or_default();
                    context.events.conditions(&written, &old.conditions, &new.conditions);
                    context.printers.now(Key::of(&written));
                    printer = Some(written);
                }
            }
            Effect::WriteJob(status) => {
                let old = job.clone();
                job = context.api.replace_status(&job, *status).await?;
                tell(context, &old, &job);
                if let Some(printer) = &printer {
                    context.printers.now(Key::of(printer));
                }
            }
            Effect::AddPrinterFinalizer | Effect::RemovePrinterFinalizer => {
                tracing::error!(job = %key, "not an effect on a PrintJob");
            }
            Effect::RemoveJobFinalizer => context.api.remove_finalizer(&job, PRINT_JOB_FINALIZER).await?,
            Effect::FinishRecord(status) => {
                let name = record_name(&key.namespace, &key.name, &job.spec.run_id);
                let record = context.api.get::<PrintRecord>(&Key::new(&key.namespace, name)).await?;
                let uid = job.metadata.uid.as_deref();
                if let Some(record) =
                    record.filter(|r| Some(r.spec.uid.as_str()) == uid && r.status.as_ref() != Some(&status))
                {
                    context.api.replace_status(&record, status).await?;
                }
            }
            Effect::DeleteJob => context.api.delete_job(&job).await?,
            Effect::FetchFile => {
                if let Some(retry) = context.desk.fetch(&job) {
                    again = Some(again.map_or(retry, |a| a.min(retry)));
                }
            }
            Effect::Device(what) => command(context, facts, &job, what),
        }
    }
    Ok(Done { outcome, again })
}

fn command(context: &Context, facts: &Facts, job: &PrintJob, what: DeviceCommand) {
    let Some(session) = &facts.session else { return };
    let file = match &what {
        DeviceCommand::Upload { .. } => context.desk.at_hand(job),
        _ => None,
    };
    let device_job_id = job.status.as_ref().and_then(|s| s.device_job_id.clone());
    session.command(Command { what, attempt: facts.attempt.clone(), device_job_id, file });
}

/// Events and metrics of what has changed.
fn tell(context: &Context, old: &PrintJob, new: &PrintJob) {
    let (before, after) = (old.status.clone().unwrap_or_default(), new.status.clone().unwrap_or_default());
    context.events.conditions(new, &before.conditions, &after.conditions);
    let asked = |s: &printernizer_crds::PrintJobStatus| s.conditions.is_true(ConditionType::OutcomeUnknown);
    if asked(&after) && !asked(&before) {
        context.metrics.outcome_unknown();
    }
    if after.attempts.len() != before.attempts.len() || after.attempts.last() != before.attempts.last() {
        let Some(attempt) = after.attempts.last() else { return };
        context.metrics.attempt_ended(attempt.outcome);
        let printed =
            matches!(attempt.outcome, PrintOutcome::Succeeded | PrintOutcome::Failed | PrintOutcome::Cancelled);
        if printed {
            // Of a print whose end nobody saw it is not known how long it took.
            let times = attempt.start_time.as_ref().zip(attempt.end_time.as_ref());
            let took = times.and_then(|(start, end)| end.0.duration_since(start.0).try_into().ok()).unwrap_or_default();
            let filaments = after.file.iter().flat_map(|f| &f.filaments).filter_map(|f| {
                let grams: f64 = f.grams.as_deref()?.parse().ok()?;
                Some((Material::of(f.material.as_deref().unwrap_or_default()), grams))
            });
            context.metrics.print_ended(took, filaments);
        }
    }
    if after.phase != before.phase && matches!(after.phase, Some(Phase::Pending)) {
        context.scheduling.wake();
    }
}

/// The finalizers and the annotation that stand before a claim is made.
pub(crate) async fn mark_for_claim(
    context: &Context,
    job: &PrintJob,
    printer: &Printer,
) -> Result<(PrintJob, Printer), ApiError> {
    let run = [(printernizer_crds::RUN_ANNOTATION, printernizer_rules::print_job::run_annotation(job))];
    tokio::try_join!(
        context.api.ensure_finalizer(job, PRINT_JOB_FINALIZER, &run),
        context.api.ensure_finalizer(printer, PRINTER_FINALIZER, &[])
    )
}
