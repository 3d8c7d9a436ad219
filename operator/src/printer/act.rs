//! Carries out what was decided about a Printer, in order; the only step that writes.

use printernizer_crds::PRINTER_FINALIZER;
use printernizer_rules::identity::Token;
use printernizer_rules::plan::{Effect, Plan};

use super::observe::Facts;
use crate::api::{ApiError, Key};
use crate::context::Context;
use crate::fleet::{Attempt, Command};
use crate::reconcile::Done;
use crate::telemetry::metrics::Outcome;

pub(super) async fn act(context: &Context, facts: &Facts, plan: Plan) -> Result<Done, ApiError> {
    let mut printer = facts.printer.clone();
    let key = Key::of(&printer);
    let outcome = if plan.effects.is_empty() { Outcome::Unchanged } else { Outcome::Applied };
    for effect in plan.effects {
        match effect {
            Effect::WritePrinter(status) => {
                let old = printer.status.clone().unwrap_or_default();
                printer = context.api.replace_status(&printer, *status).await?;
                let new = printer.status.clone().unwrap_or_default();
                context.events.conditions(&printer, &old.conditions, &new.conditions);
                if old.state != new.state
                    && let Some(reported) = facts.seen.as_ref().and_then(|s| s.unstored_since)
                {
                    context.metrics.report_reached_status(reported.elapsed());
                }
                let job = new.current_job.or(old.current_job).map(|c| c.name);
                if let Some(name) = job {
                    context.jobs.now(Key::new(&key.namespace, name));
                }
                context.scheduling.wake();
            }
            Effect::AddPrinterFinalizer => {
                printer = context.api.ensure_finalizer(&printer, PRINTER_FINALIZER, &[]).await?;
            }
            Effect::RemovePrinterFinalizer => {
                context.api.remove_finalizer(&printer, PRINTER_FINALIZER).await?;
            }
            Effect::Device(what) => {
                let last = printer.status.as_ref().and_then(|s| s.last_start.as_ref());
                if let (Some(session), Some(last)) = (&facts.session, last)
                    && let Some(token) = Token::parse(&last.token)
                {
                    let job = Key::new(&key.namespace, &last.job_name);
                    let attempt = Attempt { job, job_uid: last.job_uid.clone(), token };
                    session.command(Command { what, attempt, device_job_id: None, file: None });
                }
            }
            // The rules of a Printer ask for nothing else.
            other => tracing::error!(printer = %key, ?other, "not an effect on a Printer"),
        }
    }
    if let (Some(session), Some(seen)) = (&facts.session, &facts.seen) {
        session.was_judged(seen);
    }
    Ok(Done { outcome, again: plan.look_again })
}
