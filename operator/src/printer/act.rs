//! Carries out what was decided about a Printer, in order; the only step that writes.

use printernizer_crds::{PRINTER_FINALIZER, Printer};
use printernizer_rules::identity::Token;
use printernizer_rules::plan::{DeviceCommand, Effect, Plan};

use super::observe::Facts;
use crate::api::{ApiError, Key};
use crate::context::Context;
use crate::fleet::{Attempt, Command, Session};
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
                let stored = context.api.replace_status(&printer, *status).await;
                if let Err(error) = &stored
                    && (matches!(error, ApiError::Dropped(_)) || error.refusal().is_some())
                    && facts.session.as_ref().is_some_and(Session::tells_unstored)
                {
                    context.events.not_stored(&printer, error);
                }
                printer = stored?;
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
                if let (Some(session), Some(attempt)) = (&facts.session, attempt_of(&printer, &key, &what)) {
                    session.command(Command { what, attempt, device_job_id: None, file: None });
                }
            }
            // The rules of a Printer ask for nothing else.
            other => tracing::error!(printer = %key, ?other, "not an effect on a Printer"),
        }
    }
    if let (Some(session), Some(seen)) = (&facts.session, &facts.seen) {
        // Jobs wait until what a printer shows is judged, here and in the schedule; nothing else may tell them of it.
        if session.was_judged(seen) {
            if let Some(job) = printer.status.as_ref().and_then(|s| s.current_job.as_ref()) {
                context.jobs.now(Key::new(&key.namespace, &job.name));
            }
            context.scheduling.wake();
        }
    }
    let again = plan.look_again.into_iter().chain(facts.once_listed()).min();
    Ok(Done { outcome, again })
}

/// The attempt a file on the device belongs to, as the Printer remembers it.
fn attempt_of(printer: &Printer, key: &Key, what: &DeviceCommand) -> Option<Attempt> {
    let DeviceCommand::DeleteFile { remote_name } = what else { return None };
    let status = printer.status.as_ref()?;
    let left = status.left_files.iter().find(|f| f.remote_name == *remote_name);
    let left = left.map(|f| (&f.job_name, &f.job_uid, Token::find(remote_name)));
    let started = status.last_start.as_ref().filter(|l| l.remote_name == *remote_name);
    let (name, uid, token) = started.map(|l| (&l.job_name, &l.job_uid, Token::parse(&l.token))).or(left)?;
    Some(Attempt { job: Key::new(&key.namespace, name), job_uid: uid.clone(), token: token? })
}
