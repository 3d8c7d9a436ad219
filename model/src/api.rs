//! The API server: one stored version of each object, and writes that count only on that one. Whoever holds an older
//! version has lost. What must hold of every write is judged here.

use printernizer_crds::printer::StartVerdict;
use printernizer_crds::{ConditionType, Conditions, PrintJobStatus, PrinterStatus};
use printernizer_rules::print_job::status::is_terminal;

use crate::farm;
use crate::kept::Kept;
use crate::operator::Step;
use crate::promises::Broken;
use crate::world::{Attempt, Flight, Name, No, Pass, Try, TryStep, Version, World};

/// Every version of this job that is held is old from now on.
pub fn job_changed(w: &mut World, no: No) {
    let old = |v: &mut Version| v.current &= v.no != no;
    each_pass(w, |p| p.job.iter_mut().for_each(old));
    each_try(w, |t| old(&mut t.versions.0));
    drop_hopeless(w);
}

/// Every version of this printer that is held is old from now on.
pub fn printer_changed(w: &mut World, no: No) {
    let old = |v: &mut Version| v.current &= v.no != no;
    each_pass(w, |p| p.printer.iter_mut().for_each(old));
    each_try(w, |t| old(&mut t.versions.1));
    drop_hopeless(w);
}

/// What will meet a conflict has no effect any more: a pass ends there and is made again, and of a process that is gone
/// nothing is left. A try goes on to its step: while it does, nobody judges its start.
fn drop_hopeless(w: &mut World) {
    w.operator.passes.retain(hopes);
    w.flights.retain(|flight| match flight {
        Flight::Pass(pass) => hopes(pass),
        Flight::Try(_, t) => match t.step {
            TryStep::Open => t.versions.0.current,
            TryStep::Half => t.versions.1.current,
            TryStep::Whole | TryStep::Looked => true,
        },
        Flight::Command(..) => true,
    });
}

/// Whether the next write of a pass is one of the stored version.
fn hopes(pass: &Pass) -> bool {
    match pass.steps.get(usize::from(pass.done)) {
        Some(Step::WriteJob(_)) => pass.job.is_some_and(|v| v.current),
        Some(Step::WritePrinter(_)) => pass.printer.is_some_and(|v| v.current),
        _ => true,
    }
}

/// Every pass, under way or on its way.
pub fn each_pass(w: &mut World, mut change: impl FnMut(&mut Pass)) {
    w.operator.passes.iter_mut().for_each(&mut change);
    for flight in &mut w.flights {
        if let Flight::Pass(pass) = flight {
            change(pass);
        }
    }
}

/// Every try, under way or on its way.
pub fn each_try(w: &mut World, mut change: impl FnMut(&mut Try)) {
    w.operator.sessions.iter_mut().filter_map(|s| s.trying.as_mut()).for_each(&mut change);
    for flight in &mut w.flights {
        if let Flight::Try(_, trying) = flight {
            change(trying);
        }
    }
}

/// A job's status is replaced. The writer has the stored version, and goes on with the new one.
pub fn write_job(w: &mut World, no: No, new: Kept<PrintJobStatus>) {
    let old = w.jobs[usize::from(no)].status;
    let ends = |s: &PrintJobStatus| [ConditionType::Complete, ConditionType::Failed].map(|t| s.conditions.is_true(t));
    if is_terminal(&old) && ends(&old) != ends(&new) {
        w.breaks(Broken::EndTakenBack);
    }
    let attempt = Attempt { job: no, number: No::try_from(new.attempt.max(1)).unwrap_or(No::MAX) };
    if !is_terminal(&old) && is_terminal(&new) {
        if runs(w, attempt) {
            w.breaks(Broken::EndedWhileItRuns);
        }
        if new.conditions.is_true(ConditionType::Complete) && !w.truth.started.has(attempt) {
            w.breaks(Broken::EndedWithoutPrint);
        }
    }
    if let Some(attempt) = new.start.as_ref().and_then(|s| farm::attempt_of(&s.token)) {
        w.truth.intended_job.add(attempt);
    }
    w.jobs[usize::from(no)].status = new;
    job_changed(w, no);
}

/// A printer's status is replaced, likewise.
pub fn write_printer(w: &mut World, no: No, new: Kept<PrinterStatus>) {
    let old = w.printers[usize::from(no)].status;
    let start = |s: &PrinterStatus| s.last_start.as_ref().and_then(|l| Some((farm::attempt_of(&l.token)?, l.verdict)));
    let (before, now) = (start(&old), start(&new));
    if let (Some((was, None)), true) = (before, now.map(|n| n.0) != before.map(|b| b.0))
        && w.truth.started.has(was)
    {
        w.breaks(Broken::StartForgotten);
    }
    if let Some((attempt, verdict)) = now.filter(|_| now != before) {
        if verdict.is_none() {
            w.truth.intended_printer.add(attempt);
            // A start that runs all the same is followed again.
            w.truth.judged_unprinted.remove(attempt);
        }
        match verdict {
            None | Some(StartVerdict::Abandoned) => {}
            Some(StartVerdict::NotSent | StartVerdict::FailedToStart | StartVerdict::NotPrinted) => {
                // What a person starts at the screen a moment after having said otherwise, nobody can know.
                if w.truth.started.has(attempt) && !w.truth.by_person.has(attempt) {
                    w.breaks(Broken::JudgedUnprintedButRan);
                }
                w.truth.judged_unprinted.add(attempt);
            }
            Some(StartVerdict::Succeeded | StartVerdict::Failed | StartVerdict::Cancelled) => {
                if runs(w, attempt) {
                    w.breaks(Broken::EndedWhileItRuns);
                }
                if !w.truth.started.has(attempt) {
                    w.breaks(Broken::EndedWithoutPrint);
                }
            }
        }
    }
    w.printers[usize::from(no)].status = new;
    printer_changed(w, no);
}

/// Whether a machine prints this attempt.
fn runs(w: &World, attempt: Attempt) -> bool {
    let mut devices = w.devices.iter().zip(0..);
    devices.any(|(d, no)| d.name == Name::Ours(attempt) && w.is_active(no) && w.truth.started.has(attempt))
}
