//! The farm left alone: nothing fails any more, what was under way goes on, machines print to their ends, and a diligent
//! person clears, answers and acknowledges. However bad things were before, every job must end then, and every printer be
//! free.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use printernizer_crds::print_job::DesiredState;
use printernizer_rules::print_job::status::is_terminal;

use crate::device::{self, AtScreen, How};
use crate::model::{Farm, finish};
use crate::world::{Budget, Doing, End, TryStep, World};
use crate::{operator, people, session, start, time};

/// Rounds within which it must be over.
const ROUNDS: usize = 400;

impl Farm {
    /// Whether everything ends from here on. Asked where nothing is under way: what is under way comes there, in the
    /// farm left alone as in the one that is explored.
    pub fn comes_to_its_end(&self, w: &World) -> bool {
        if !time::is_quiet(w) {
            return true;
        }
        let mut now = Self::calmed(w);
        let mut path = Vec::new();
        for _ in 0..ROUNDS {
            let mut hasher = DefaultHasher::new();
            now.hash(&mut hasher);
            let here = hasher.finish();
            let known = self.tame.contains_key(&here);
            path.push(here);
            if known || is_over(&now) {
                for passed in path {
                    self.tame.insert(passed, ());
                }
                return true;
            }
            let before = now.clone();
            self.round(&mut now);
            if now == before {
                return false;
            }
        }
        false
    }

    /// The same farm, in which nothing fails any more.
    pub fn calmed(w: &World) -> World {
        let left = Budget { crashes: 0, faults: 0, meddling: 0, long_waits: 0 };
        World { left, flights: Vec::new(), ..w.clone() }
    }

    /// One round: everybody does what there is to do; only when there is nothing, time passes.
    pub fn round(&self, w: &mut World) {
        let before = w.clone();
        for at in self.printers() {
            Self::machine(w, at);
            self.end_try(w, at);
        }
        finish(w);
        for at in self.printers() {
            if w.operator.sessions[usize::from(at)].trying.is_none() {
                session::poll(w, &self.size, at);
            }
            operator::decide_printer(w, at);
            finish(w);
        }
        for no in self.jobs() {
            let holder = self.printers().zip(&w.printers).find(|(_, p)| operator::holds(p, no)).map(|(at, _)| at);
            operator::decide_job(w, no, holder);
            finish(w);
        }
        for at in self.printers() {
            for command in w.operator.sessions[usize::from(at)].commands.clone() {
                session::carry_out(w, &self.size, at, command);
                self.end_try(w, at);
            }
        }
        for no in self.jobs() {
            for at in self.printers() {
                operator::claim(w, no, at);
                finish(w);
            }
        }
        self.person(w);
        self.tidy(w);
        if *w == before {
            self.time_passes(w);
            self.tidy(w);
        }
    }

    fn machine(w: &mut World, at: u8) {
        let device = &mut w.devices[usize::from(at)];
        (device.reachable, device.shows, device.filament) = (true, None, true);
        device::lands(w, at);
        if device::is_possible(w, at, AtScreen::Answers(true)) {
            device::at_screen(w, at, AtScreen::Answers(true));
        }
        // What the operator will not resume, because nothing says that the pause was its own, a person does.
        let ours = w.jobs.iter().any(|j| j.status.paused_by_us && j.wants == DesiredState::Run);
        if device::is_possible(w, at, AtScreen::Resumes) && !ours {
            device::at_screen(w, at, AtScreen::Resumes);
        }
    }

    fn end_try(&self, w: &mut World, at: u8) {
        while let Some(trying) = &w.operator.sessions[usize::from(at)].trying {
            if trying.step == TryStep::Looked {
                start::send(w, &self.size, at, How::Properly);
            } else {
                start::step(w, &self.size, at);
            }
        }
    }

    fn person(&self, w: &mut World) {
        for at in self.printers() {
            if people::may_clear(w, at) {
                people::clear_bed(w, at);
            }
            people::acknowledges(w, at);
        }
        for no in self.jobs() {
            if let Some(answer) = people::answer(w, no) {
                people::answers(w, no, answer);
            }
            let job = &mut w.jobs[usize::from(no)];
            if job.wants == DesiredState::Pause {
                job.wants = DesiredState::Run;
            }
        }
    }

    fn time_passes(&self, w: &mut World) {
        let before = w.clone();
        time::seconds(w);
        for at in self.printers() {
            if w.devices[usize::from(at)].doing == Doing::Printing {
                device::ends(w, at, End::Finished);
            }
        }
        if *w == before && time::is_quiet(w) {
            time::window(w, &self.size);
        }
        if *w == before && time::is_quiet(w) {
            time::long(w, &self.size);
        }
    }
}

/// Whether nothing is left to do.
pub fn is_over(w: &World) -> bool {
    let free = |p: &crate::world::Printer| {
        p.status.current_job.is_none() && p.status.last_start.as_ref().is_none_or(|l| l.verdict.is_some())
    };
    w.jobs.iter().all(|j| is_terminal(&j.status))
        && w.printers.iter().all(free)
        && (w.truth.late || w.devices.iter().all(|d| d.files.is_empty()))
}
