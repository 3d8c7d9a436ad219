//! Time, as far as rules tell it apart. Every decision is made at the same moment; when time passes, what lies ahead comes
//! to lie in the past. Three spans are enough: seconds (deadlines of starts and pauses between attempts pass), a window of
//! observation, and a quarter of an hour.

use std::sync::LazyLock;

use dashmap::DashMap;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use printernizer_crds::print_job::StartIntent;
use printernizer_crds::{ConditionType, PrintJobStatus, PrinterStatus};

use crate::farm::{NOW, TIMING};
use crate::kept::{Kept, Known, once};
use crate::operator::Step;
use crate::size::Size;
use crate::world::{Flight, Judged, Line, Try, TryStep, World};
use crate::{api, session};

/// Seconds, or a quarter of an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// Ten seconds and a bit.
    Seconds,
    /// A quarter of an hour.
    Long,
}

static JOBS: Known<(Kept<PrintJobStatus>, Span), Kept<PrintJobStatus>> = LazyLock::new(DashMap::new);
static PRINTERS: Known<(Kept<PrinterStatus>, Span), Kept<PrinterStatus>> = LazyLock::new(DashMap::new);

type Steps = Kept<Vec<Step>>;
static STEPS: Known<(Steps, Span), Steps> = LazyLock::new(DashMap::new);
static INTENTS: Known<Kept<StartIntent>, Kept<StartIntent>> = LazyLock::new(DashMap::new);

fn to_past(time: &mut Time) {
    time.0 = time.0.min(*NOW);
}

fn long_ago() -> Timestamp {
    NOW.checked_sub(TIMING.unready_limit).unwrap_or(*NOW)
}

/// A job's status, so much later.
fn job_later(status: Kept<PrintJobStatus>, span: Span) -> Kept<PrintJobStatus> {
    once(&JOBS, (status, span), |_| {
        let mut new = (*status).clone();
        new.not_before.iter_mut().for_each(to_past);
        new.start.iter_mut().for_each(|s| to_past(&mut s.deadline));
        if span == Span::Long {
            new.avoid.iter_mut().for_each(|a| to_past(&mut a.until));
            new.assigned_time.iter_mut().for_each(|t| t.0 = long_ago());
        }
        Kept::new(new)
    })
}

/// A printer's status, so much later.
fn printer_later(status: Kept<PrinterStatus>, span: Span) -> Kept<PrinterStatus> {
    once(&PRINTERS, (status, span), |_| {
        let mut new = (*status).clone();
        new.last_start.iter_mut().for_each(|l| to_past(&mut l.deadline));
        if span == Span::Long {
            let ready = new.conditions.iter_mut().filter(|c| c.type_ == ConditionType::Ready.as_str());
            ready.for_each(|c| c.last_transition_time = Time(long_ago()));
        }
        Kept::new(new)
    })
}

/// What was decided, so much later.
fn steps_later(steps: Steps, span: Span) -> Steps {
    once(&STEPS, (steps, span), |_| Kept::new(steps.iter().map(|s| step_later(s, span)).collect()))
}

/// An intent, later than its deadline.
fn intent_later(intent: Kept<StartIntent>) -> Kept<StartIntent> {
    once(&INTENTS, intent, |_| {
        let mut new = (*intent).clone();
        to_past(&mut new.deadline);
        Kept::new(new)
    })
}

fn step_later(step: &Step, span: Span) -> Step {
    match step {
        Step::WriteJob(status) => Step::WriteJob(job_later(*status, span)),
        Step::WritePrinter(status) => Step::WritePrinter(printer_later(*status, span)),
        Step::Device(command) => Step::Device(*command),
    }
}

fn later(w: &mut World, span: Span) {
    for job in &mut w.jobs {
        job.status = job_later(job.status, span);
    }
    for printer in &mut w.printers {
        printer.status = printer_later(printer.status, span);
    }
    api::each_pass(w, |p| p.steps = steps_later(p.steps, span));
    api::each_try(w, |t| {
        t.job.status = job_later(t.job.status, span);
        t.printer.status = printer_later(t.printer.status, span);
        t.half = job_later(t.half, span);
        t.old = true;
    });
    for session in &mut w.operator.sessions {
        session.intent = session.intent.map(intent_later);
    }
}

/// Seconds pass: long enough for a start's deadline, and for the pause after a refusal.
pub fn seconds(w: &mut World) {
    later(w, Span::Seconds);
}

/// Minutes pass in which nobody is heard of: no start that was on its way is written any more.
pub fn minutes_unseen(w: &mut World) {
    seconds(w);
    w.flights.retain(|f| !matches!(f, Flight::Try(_, Try { step: TryStep::Looked, .. })));
}

/// Minutes pass, in which every session that does not start anything polls, so that a print that ends now was seen.
pub fn minutes(w: &mut World, size: &Size) {
    minutes_unseen(w);
    for at in (0..).take(w.printers.len()) {
        if w.operator.sessions[usize::from(at)].trying.is_none() {
            session::poll(w, size, at);
        }
    }
}

/// Whether nothing is under way that takes less than a window: then a window may pass.
pub fn is_quiet(w: &World) -> bool {
    let idle = w.operator.sessions.iter().all(|s| s.trying.is_none() && s.commands.is_empty());
    let steady = |d: &crate::world::Device| d.on_the_way.is_none() && d.shows.is_none();
    w.operator.passes.is_empty() && idle && w.devices.iter().all(steady)
}

/// A window of observation passes: five minutes in which every session polls, and every device shows the same.
pub fn window(w: &mut World, size: &Size) {
    minutes(w, size);
    for at in (0..).take(w.printers.len()) {
        session::watched_for_a_window(w, at);
    }
}

/// A quarter of an hour passes in which nothing comes of any wait.
pub fn long(w: &mut World, size: &Size) {
    window(w, size);
    later(w, Span::Long);
    for s in &mut w.operator.sessions {
        if let Line::Down { long } = &mut s.line {
            *long = true;
        }
        if let Some((_, long)) = &mut s.closed {
            *long = true;
        }
        s.unjudged_long = s.judged != Judged::Now;
        s.undeleted.1 |= !s.undeleted.0.is_empty();
    }
}
