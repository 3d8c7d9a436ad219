//! What need not be tried: orders of events that come to the same as others do. docs/model.md says of each why nothing is
//! lost by it.
//!
//! A pass reads, decides, and then writes what is still as it was read. As long as nothing it has read changes, it may as
//! well decide just before it writes: so a pass is under way, in a state, only if it decides on what is not so any more, or
//! if it is between two of its writes. A pass that decides on what is about to change is begun together with the event that
//! changes it; such an event has decisions before it.

use printernizer_rules::print_job::status::is_terminal;

use crate::device::AtScreen;
use crate::flight;
use crate::ids::{self, Id};
use crate::model::{Action, Farm};
use crate::operator::{self, Step};
use crate::world::{About, Flight, Job, No, Pass, Printer, Try, TryStep, World};

/// What happens next, after decisions that are still to be written, or that are written by it; and what comes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Passes that decide just before.
    pub decided: Vec<Action>,
    /// What happens.
    pub then: Action,
    /// What comes of it.
    pub next: World,
}

/// A decision, and the pass it begins.
struct Slow {
    decide: Action,
    pass: Pass,
    /// What it has read: jobs, printers with their sessions.
    reads: (u32, u32),
}

impl Farm {
    /// Everything that may happen next, each with what comes of it.
    pub fn events(&self, w: &World) -> Vec<Event> {
        let mut possible = Vec::new();
        self.possible(w, &mut possible);
        let event = |decided: &[Action], then: Action| {
            let mut next = w.clone();
            for action in decided.iter().chain([&then]) {
                self.happens(&mut next, *action);
            }
            Event { decided: decided.to_vec(), then, next }
        };
        if self.whole {
            let mut found: Vec<Event> = possible.into_iter().map(|then| event(&[], then)).collect();
            for one in &mut found {
                self.tidy(&mut one.next);
            }
            found.retain(|e| e.next != *w);
            return found;
        }
        let slow = self.slow(w, &possible);
        // By itself such a decision changes nothing yet.
        possible.retain(|action| slow.iter().all(|s| s.decide != *action));
        let mut found: Vec<Event> = possible.into_iter().map(|then| event(&[], then)).collect();
        for s in &slow {
            found.push(event(&[s.decide], Action::Write(s.pass.about)));
            if w.left.crashes > 0 {
                found.push(event(&[s.decide], Action::NextLeader(Some(flight::bare(Flight::Pass(s.pass))))));
            }
        }
        let mut late = Vec::new();
        for one in &found {
            if matches!(one.then, Action::NextLeader(_) | Action::Window | Action::Long) {
                // Passes end with their process; and a window is not waited for while one is under way.
                continue;
            }
            let touched = touched(w, one);
            let stale = |s: &&Slow| {
                one.decided.iter().all(|d| about(*d) != Some(s.pass.about))
                    && about(one.then) != Some(s.pass.about)
                    && (s.reads.0 & touched.0 != 0 || s.reads.1 & touched.1 != 0)
            };
            let stale: Vec<&Slow> = slow.iter().filter(stale).collect();
            for chosen in choices(&stale, self.size.overlap) {
                let decided: Vec<Action> = chosen.iter().map(|s| s.decide).chain(one.decided.iter().copied()).collect();
                let mut with = event(&decided, one.then);
                self.tidy(&mut with.next);
                // One that has met its conflict, or would be decided so again, need not have been begun.
                let passes = &with.next.operator.passes;
                if chosen.iter().all(|s| passes.iter().any(|p| p.about == s.pass.about)) {
                    late.push(with);
                }
            }
        }
        for one in &mut found {
            self.tidy(&mut one.next);
        }
        found.extend(late);
        found.retain(|e| e.next != *w && e.next.operator.passes.len() <= usize::from(self.size.overlap));
        found
    }

    /// Decisions that may be made now and leave something to write. One that also turns a session to another attempt is
    /// made first, alone, and may be made again.
    fn slow(&self, w: &World, possible: &[Action]) -> Vec<Slow> {
        let jobs = (1 << self.size.jobs) - 1;
        let printers = (1 << self.size.kinds.len()) - 1;
        let begun = |decide: &Action| {
            let subject = about(*decide)?;
            let mut next = w.clone();
            self.happens(&mut next, *decide);
            let place = next.operator.passes.iter().position(|p| p.about == subject)?;
            let pass = next.operator.passes.remove(place);
            let reads = match (subject, pass.printer) {
                (About::Job(no), Some(at)) => (1 << no, 1 << at.no),
                (About::Job(no), None) => (1 << no, printers),
                (_, at) => (jobs, at.map_or(printers, |at| 1 << at.no)),
            };
            (next == *w).then_some(Slow { decide: *decide, pass, reads })
        };
        possible.iter().filter(|a| is_decision(a)).filter_map(begun).collect()
    }

    /// The same state without what makes no difference any more.
    pub fn tidy(&self, w: &mut World) {
        w.operator.passes.iter_mut().for_each(tidy_pass);
        if !self.whole && !w.operator.passes.is_empty() {
            for pass in std::mem::take(&mut w.operator.passes) {
                if !self.is_decided_again(w, &pass) {
                    // They stay in their order.
                    w.operator.passes.push(pass);
                }
            }
        }
        for printer in &mut w.printers {
            tidy_printer(printer);
        }
        for at in 0..w.operator.sessions.len() {
            let printer = w.printers[at];
            if let Some(mut trying) = w.operator.sessions[at].trying {
                let job = w.jobs[usize::from(trying.attempt.job)];
                tidy_try(&mut trying, job, printer);
                w.operator.sessions[at].trying = Some(trying);
            }
            let session = &mut w.operator.sessions[at];
            for deleted in session.deleted_before.iter() {
                let attempt = operator::attempt_of(deleted.job, &w.jobs[usize::from(deleted.job)]);
                if deleted.number < attempt.number && session.serves != Some(deleted) {
                    session.deleted_before.remove(deleted);
                }
            }
        }
    }

    /// Whether a decision that is made now begins this very pass.
    fn is_decided_again(&self, w: &World, pass: &Pass) -> bool {
        // The others are taken out for as long as this is asked: no decision looks at them.
        let again = |decide: Action| {
            let mut next = w.clone();
            let others = std::mem::take(&mut next.operator.passes);
            self.happens(&mut next, decide);
            let same = next.operator.passes.pop().is_some_and(|p| p == *pass);
            next.operator.passes = others;
            same && next == *w
        };
        let holders = |no: No| {
            let held = self.printers().zip(&w.printers).filter(move |(_, p)| operator::holds(p, no));
            [None].into_iter().chain(held.map(|(at, _)| Some(at)))
        };
        match pass.about {
            About::Printer(at) => again(Action::DecidePrinter(at)),
            About::Job(no) => holders(no).any(|holder| again(Action::DecideJob(no, holder))),
            About::Claim => pass.printer.is_some_and(|v| {
                let waiting = |no: &No| w.jobs[usize::from(*no)].status.printer.is_none();
                self.jobs().filter(waiting).any(|no| again(Action::Assign(no, v.no)))
            }),
        }
    }
}

/// Whether a job is one of several with which nothing has happened yet, and not the first of them. Whatever may happen with
/// it may happen with the first, and then the same follows with their names exchanged.
pub fn is_twin(w: &World, no: No) -> bool {
    let untouched = w.operator.passes.is_empty()
        && w.flights.is_empty()
        && w.truth.started.is_empty()
        && w.truth.intended_job.is_empty()
        && w.printers
            .iter()
            .all(|p| p.status.current_job.is_none() && p.status.last_start.is_none() && p.status.left_files.is_empty())
        && w.operator.sessions.iter().all(|s| s.serves.is_none() && s.commands.is_empty())
        && w.devices.iter().all(|d| d.files.is_empty() && d.on_the_way.is_none());
    let same =
        |other: &Job| *other == w.jobs[usize::from(no)] && other.status.attempt <= 1 && !is_terminal(&other.status);
    untouched && w.jobs.iter().take(usize::from(no)).any(same)
}

/// The version of an object that a pass does not write any more makes no difference.
fn tidy_pass(pass: &mut Pass) {
    let left = || pass.steps.iter().skip(usize::from(pass.done));
    let (job, printer) =
        (left().any(|s| matches!(s, Step::WriteJob(_))), left().any(|s| matches!(s, Step::WritePrinter(_))));
    pass.job.iter_mut().for_each(|v| v.current |= !job);
    pass.printer.iter_mut().for_each(|v| v.current |= !printer);
}

/// An id that a person has written, and that is not asked for any more, is as good as any other.
fn tidy_printer(printer: &mut Printer) {
    let status = printer.status;
    let occupancy = ids::read(status.bed.as_ref().and_then(|b| b.occupancy_id.as_deref()));
    let distrust = ids::read(status.distrust.as_ref().map(|d| d.id.as_str()));
    let old = |written: &mut Id, asked: Id| {
        if *written != 0 && *written != asked {
            *written = ids::OLD;
        }
    };
    old(&mut printer.cleared_for, occupancy);
    old(&mut printer.acknowledged, distrust);
}

/// What a try holds as it is stored, or will read again before it looks at it.
fn tidy_try(t: &mut Try, job: Job, printer: Printer) {
    let reads_printer_again = matches!(t.step, TryStep::Open | TryStep::Half | TryStep::Looked);
    if t.versions.1.current || reads_printer_again {
        t.printer = printer;
    }
    if t.versions.0.current || t.step == TryStep::Open {
        t.job = job;
    }
    if t.step != TryStep::Open {
        t.half = t.job.status;
    }
}

fn is_decision(action: &Action) -> bool {
    matches!(action, Action::DecideJob(..) | Action::DecidePrinter(_) | Action::Assign(..))
}

/// What a decision, or a write, is about.
fn about(action: Action) -> Option<About> {
    match action {
        Action::DecideJob(no, _) => Some(About::Job(no)),
        Action::DecidePrinter(at) => Some(About::Printer(at)),
        Action::Assign(..) => Some(About::Claim),
        Action::Write(about) => Some(about),
        _ => None,
    }
}

/// Jobs, and printers with their sessions, that are not as they were. Time leaves nothing as it was.
fn touched(before: &World, event: &Event) -> (u32, u32) {
    if matches!(event.then, Action::Seconds | Action::Ends(..) | Action::AtScreen(_, AtScreen::Forgotten)) {
        return (u32::MAX, u32::MAX);
    }
    let after = &event.next;
    let bit = |(no, differs): (usize, bool)| if differs { 1_u32 << no } else { 0 };
    let jobs = before.jobs.iter().zip(&after.jobs).map(|(a, b)| a != b).enumerate().map(bit);
    let printers = before.printers.iter().zip(&after.printers).map(|(a, b)| a != b).enumerate().map(bit);
    let sessions = before.operator.sessions.iter().zip(&after.operator.sessions);
    let sessions = sessions.map(|(a, b)| a != b).enumerate().map(bit);
    (jobs.fold(0, |all, bit| all | bit), printers.chain(sessions).fold(0, |all, bit| all | bit))
}

/// Every choice of at least one and at most so many, no two about the same.
fn choices<'a>(from: &[&'a Slow], most: u8) -> Vec<Vec<&'a Slow>> {
    let mut all: Vec<Vec<&Slow>> = vec![Vec::new()];
    for one in from {
        let fits = |chosen: &&Vec<&Slow>| {
            chosen.len() < usize::from(most) && chosen.iter().all(|c| c.pass.about != one.pass.about)
        };
        let with: Vec<Vec<&Slow>> =
            all.iter().filter(fits).map(|chosen| chosen.iter().copied().chain([*one]).collect()).collect();
        all.extend(with);
    }
    all.retain(|chosen| !chosen.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use std::collections::{HashSet, VecDeque};

    use printernizer_rules::device::DeviceKind;

    use super::*;
    use crate::size::{ALL, Budget, Size};

    fn size(jobs: No, budget: Budget) -> Size {
        let kinds = &[DeviceKind::PrusaLink];
        Size {
            name: "test",
            about: "",
            kinds,
            jobs,
            budget,
            attempts: 2,
            blank: false,
            unseen: false,
            overlap: ALL,
            always: false,
        }
    }

    /// Every state of a farm up to so many events.
    fn states(farm: &Farm, depth: usize) -> HashSet<World> {
        let begin = farm.begin();
        let mut seen = HashSet::from([begin.clone()]);
        let mut next = VecDeque::from([(begin, 0)]);
        while let Some((w, at)) = next.pop_front() {
            if at == depth {
                continue;
            }
            for event in farm.events(&w) {
                if farm.is_within(&event.next) && seen.insert(event.next.clone()) {
                    next.push_back((event.next, at + 1));
                }
            }
        }
        seen
    }

    /// Every state that is reached in every order of events is also reached where only some orders are tried: with those
    /// passes that would decide the same again.
    fn nothing_is_lost(size: Size, depth: usize) {
        let (whole, reduced) = (Farm::whole(size), Farm::new(size));
        // What takes one event there may take fewer here, never more.
        let (all, some) = (states(&whole, depth), states(&reduced, depth));
        for w in &all {
            let mut tidy = w.clone();
            reduced.tidy(&mut tidy);
            // A farm that is over may be so a moment earlier: no pass is under way that would change nothing any more, or only
            // a printer, which nothing is started on any more.
            let mut rest = tidy.clone();
            rest.operator.passes.retain(|pass| !matches!(pass.about, About::Printer(_)));
            assert!(some.contains(&tidy) || Farm::is_over(&rest), "not reached: {tidy:#?}");
        }
    }

    #[test]
    fn a_print_reaches_every_state_also_where_passes_are_written_at_once() {
        nothing_is_lost(size(1, Budget { crashes: 0, faults: 0, meddling: 0, long_waits: 0 }), usize::MAX);
    }

    #[test]
    fn a_crash_reaches_every_state_also_where_passes_are_written_at_once() {
        nothing_is_lost(size(1, Budget { crashes: 1, faults: 0, meddling: 0, long_waits: 0 }), 20);
    }
}
