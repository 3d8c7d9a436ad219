//! The one try to start a print: gate, intent (a) and (b), second look, send; each a step, so that anything may happen
//! between any two. Mirrors `operator/src/fleet/start.rs` and `start/intent.rs`.

use std::sync::LazyLock;

use dashmap::DashMap;
use printernizer_crds::{PrintJobStatus, PrinterStatus};
use printernizer_rules::device::{DeviceKind, DeviceReport};
use printernizer_rules::print_job::gate::{self, Closed, GateView};
use printernizer_rules::print_job::start::SendAnswer;
use printernizer_rules::print_job::status::is_terminal;

use crate::device::{self, How};
use crate::farm::{self, AGE, NOW, TIMING};
use crate::ids::{self, Id};
use crate::kept::{Kept, Known, once};
use crate::size::Size;
use crate::world::{Attempt, Job, Judged, No, Printer, Try, TryStep, Version, World};
use crate::{api, operator, plain, session};

/// All an answer of the gate depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct GateSeen {
    job: (No, Job),
    printer: (No, Printer),
    kind: DeviceKind,
    report: Kept<DeviceReport>,
    /// Whether that report is too old.
    old: bool,
    /// Whether the printer's own pass has judged a report.
    judged: bool,
    elsewhere: bool,
    /// The id of this try, and whether its intent is written.
    sender: (Id, bool),
}

/// What the gate says: the job's half of the intent, where none is written yet.
type Answer = Result<Option<Kept<PrintJobStatus>>, Kept<Closed>>;

static GATES: Known<GateSeen, Answer> = LazyLock::new(DashMap::new);

/// Asks the real gate.
fn ask(seen: GateSeen) -> Answer {
    once(&GATES, seen, answer)
}

fn answer(seen: &GateSeen) -> Answer {
    let (job, printer) = (farm::job(seen.job.0, &seen.job.1), farm::printer(seen.printer.0, &seen.printer.1));
    let mapping = farm::mapping(&job, &printer, Some(&seen.report));
    let sender = ids::text(seen.sender.0).unwrap_or_default();
    let view = GateView {
        job: &job,
        printer: &printer,
        kind: seen.kind,
        report: &seen.report,
        report_age: if seen.old { TIMING.start_deadline } else { AGE },
        judged: seen.judged,
        unresolved_elsewhere: seen.elsewhere.then_some("farm/another"),
        mapping: mapping.as_ref().map(Vec::as_slice).map_err(String::as_str),
        hold_starts: false,
        sender: seen.sender.1.then_some(sender.as_str()),
        now: *NOW,
        timing: &TIMING,
    };
    gate::check(&view).map_err(|closed| plain::closed(&closed)).map(|()| {
        let number = Some(i64::from(gate::token_of(&job).print_id(&[]))).filter(|_| seen.kind == DeviceKind::Bambu);
        gate::job_half(&view, &sender, number).filter(|_| !seen.sender.1).map(plain::job)
    })
}

/// The printer's half of the intent this try holds.
pub fn printer_half(at: No, trying: &Try) -> Option<Kept<PrinterStatus>> {
    static HALVES: Known<(No, Job, No, Printer), Option<Kept<PrinterStatus>>> = LazyLock::new(DashMap::new);
    once(&HALVES, (trying.attempt.job, trying.job, at, trying.printer), |(no, job, at, printer)| {
        gate::printer_half(&farm::job(*no, job), &farm::printer(*at, printer)).map(plain::printer)
    })
}

/// Begins a try: a new connection, a full report over it, then the gate.
pub fn begin(w: &mut World, size: &Size, at: No, attempt: Attempt) {
    let opened = if w.devices[usize::from(at)].reachable {
        let looked = farm::report(at, size.kind(at), &w.devices[usize::from(at)]);
        session::took(w, at, looked, TIMING.poll_period);
        let sender = w.fresh_id(Some(attempt.job), None);
        open(w, size, at, attempt, looked, false, sender)
    } else {
        Err(plain::closed(&Closed::NotNow(String::new())))
    };
    let s = &mut w.operator.sessions[usize::from(at)];
    match opened {
        Err(closed) => {
            let long = s.closed.is_some_and(|(_, long)| long);
            s.closed = Some((closed, long));
        }
        Ok(trying) => {
            s.watching(|watch| watch.try_alive = true);
            s.trying = Some(trying);
        }
    }
}

/// Reads both objects from the quorum, and asks the gate about them and this report.
fn open(
    w: &World,
    size: &Size,
    at: No,
    attempt: Attempt,
    looked: Kept<DeviceReport>,
    old: bool,
    sender: Id,
) -> Result<Try, Kept<Closed>> {
    let (job, printer) = (w.jobs[usize::from(attempt.job)], w.printers[usize::from(at)]);
    if operator::attempt_of(attempt.job, &job) != attempt {
        return Err(plain::closed(&Closed::Changed("")));
    }
    let elsewhere = unresolved_elsewhere(w, at, attempt.job);
    let seen = GateSeen {
        job: (attempt.job, job),
        printer: (at, printer),
        kind: size.kind(at),
        report: looked,
        old,
        judged: w.operator.sessions[usize::from(at)].judged == Judged::Now,
        elsewhere,
        sender: (sender, false),
    };
    let half = ask(seen)?.ok_or_else(|| plain::closed(&Closed::Changed("")))?;
    let version = |no| Version { no, current: true };
    let versions = (version(attempt.job), version(at));
    Ok(Try { attempt, step: TryStep::Open, job, printer, half, versions, sender, looked, old })
}

/// Another job with an unresolved start on this device.
fn unresolved_elsewhere(w: &World, at: No, job: No) -> bool {
    let serial = farm::serial(at);
    w.jobs.iter().zip(0..).any(|(other, no)| {
        let status = other.status;
        let started = status.start.is_some() || status.start_time.is_some();
        let here = status.printer.as_ref().is_some_and(|p| p.serial_number == serial);
        no != job && started && here && !is_terminal(&status)
    })
}

/// The next step of the try on this printer, but the send.
pub fn step(w: &mut World, size: &Size, at: No) {
    let Some(mut trying) = w.operator.sessions[usize::from(at)].trying.take() else { return };
    match advance(w, size, at, &mut trying) {
        Ok(()) => w.operator.sessions[usize::from(at)].trying = Some(trying),
        Err(ended) => end(w, at, &trying, ended),
    }
}

/// How a try has ended: what the send came to, or what closed the gate before anything was written.
pub type Ended = Result<SendAnswer, Closed>;

/// One step of a try, as far as the world sees it.
pub fn advance(w: &mut World, size: &Size, at: No, trying: &mut Try) -> Result<(), Ended> {
    let not_sent = |why: &str| Err(Ok(SendAnswer::NotSent(why.into())));
    match trying.step {
        TryStep::Open => {
            if !trying.versions.0.current {
                // Somebody wrote the job meanwhile: both are read and judged again, by the same report.
                let again = open(w, size, at, trying.attempt, trying.looked, trying.old, trying.sender);
                *trying = again.map_err(|closed| Err((*closed).clone()))?;
                return Ok(());
            }
            api::write_job(w, trying.attempt.job, trying.half);
            trying.job.status = trying.half;
            if let Some(intent) = operator::intent_of(trying.job.status) {
                session::intent_recorded(w, at, trying.attempt, intent);
            }
            trying.step = TryStep::Half;
        }
        TryStep::Half => {
            if !trying.versions.1.current {
                // Its own reconcile may have written it: likewise, with the intent that is written.
                trying.job = w.jobs[usize::from(trying.attempt.job)];
                trying.printer = w.printers[usize::from(at)];
                (trying.versions.0.current, trying.versions.1.current) = (true, true);
                if operator::attempt_of(trying.attempt.job, &trying.job) != trying.attempt {
                    return not_sent("the job has moved on");
                }
                return judged_again(w, size, at, trying);
            }
            let Some(half) = printer_half(at, trying) else { return not_sent("the printer is not ready") };
            api::write_printer(w, at, half);
            trying.printer.status = half;
            trying.step = TryStep::Whole;
        }
        TryStep::Whole => {
            if !w.devices[usize::from(at)].reachable {
                return not_sent("no answer");
            }
            trying.looked = farm::report(at, size.kind(at), &w.devices[usize::from(at)]);
            trying.old = false;
            judged_again(w, size, at, trying)?;
            trying.step = TryStep::Looked;
        }
        TryStep::Looked => {}
    }
    Ok(())
}

/// The gate once more, for the try whose intent is written.
fn judged_again(w: &World, size: &Size, at: No, trying: &Try) -> Result<(), Ended> {
    let seen = GateSeen {
        job: (trying.attempt.job, trying.job),
        printer: (at, trying.printer),
        kind: size.kind(at),
        report: trying.looked,
        old: trying.old,
        judged: w.operator.sessions[usize::from(at)].judged == Judged::Now,
        elsewhere: false,
        sender: (trying.sender, true),
    };
    ask(seen).map(drop).map_err(|closed| Ok(SendAnswer::NotSent(closed.to_string())))
}

/// Sends the start, if its deadline is ahead.
pub fn send(w: &mut World, size: &Size, at: No, how: How) {
    let Some(trying) = w.operator.sessions[usize::from(at)].trying.take() else { return };
    let answer = if is_young(&trying) {
        device::arrives(w, size, at, &trying, how)
    } else {
        SendAnswer::NotSent("the deadline has passed".into())
    };
    end(w, at, &trying, Ok(answer));
}

/// Whether the start may still be sent.
pub fn is_young(trying: &Try) -> bool {
    trying.job.status.start.as_ref().is_some_and(|s| *NOW < s.deadline.0)
}

fn end(w: &mut World, at: No, trying: &Try, ended: Ended) {
    let s = &mut w.operator.sessions[usize::from(at)];
    s.trying = None;
    // What came of this try is not said of another attempt.
    if s.serves != Some(trying.attempt) {
        return;
    }
    s.watching(|watch| {
        watch.try_alive = false;
        if let Ok(answer) = &ended {
            watch.sent(plain::answer(answer.clone()));
        }
    });
    let long = s.closed.is_some_and(|(_, long)| long);
    s.closed = ended.err().map(|closed| (plain::closed(&closed), long));
}
