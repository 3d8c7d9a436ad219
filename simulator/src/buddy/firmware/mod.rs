//! The firmware of one simulated Buddy printer as a pure state machine: time comes in, ledger events come out.
//!
//! It prints on whatever lies on the bed, because no printer of this kind checks; the events say so. The job counter
//! is 16 bits in the EEPROM, written before a print is marked started, so it also counts prints given up at a question
//! and survives power cuts. No sockets and no clock here. `commands` holds what the network asks, `person` what a
//! person does.

mod commands;
mod person;
mod screen;
#[cfg(test)]
mod tests;

use std::{mem, time::Duration};

pub(crate) use commands::{CommandRefusal, JobView, StartRefusal, TookEffect};
pub(crate) use screen::LinkState;
use screen::{Print, Problem, Screen};

use super::usb::Usb;
use crate::{
    Event, MachineTimings, Outcome, StartCause,
    fault::{Incidents, Mishap},
};

/// Conditions that faults impose from outside for as long as they are set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// A menu or selftest is open whenever nothing prints.
    pub(crate) busy: bool,
    /// The drive has no room.
    pub(crate) usb_full: bool,
    /// `time_printing` shows this instead.
    pub(crate) stale_time_printing: Option<Duration>,
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Firmware {
    screen: Screen,
    job_counter: u16,
    bed_occupied: bool,
    material: String,
    pub(crate) usb: Usb,
    timings: MachineTimings,
    conditions: Conditions,
    /// Counts power-ups, so that the network side knows that its connections died.
    boots: u32,
    events: Vec<Event>,
    /// A start that was taken from the network and not looked at yet.
    queued_start: Option<QueuedStart>,
}

#[derive(Debug)]
struct QueuedStart {
    due: Duration,
    path: Vec<String>,
    cause: StartCause,
    incidents: Incidents,
}

impl Firmware {
    pub(crate) fn new(job_counter: u16, bed_occupied: bool, material: &str, usb: Usb, timings: MachineTimings) -> Self {
        Self {
            screen: Screen::Idle,
            job_counter,
            bed_occupied,
            material: material.to_owned(),
            usb,
            timings,
            conditions: Conditions::default(),
            boots: 0,
            events: Vec::new(),
            queued_start: None,
        }
    }

    /// Lets everything happen that is due by `now`, each thing at its own time. True if anything did.
    pub(crate) fn advance(&mut self, now: Duration) -> bool {
        let mut anything = false;
        while let Some(due) = self.next_deadline().filter(|due| *due <= now) {
            match self.queued_start.take_if(|queued| queued.due <= due) {
                // Refused by then: whoever asked was told 204 long ago.
                Some(queued) => drop(self.start(due, &queued.path, queued.cause, queued.incidents)),
                None => self.pass(due),
            }
            anything = true;
        }
        anything
    }

    /// When the machine does something by itself next.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let queued = self.queued_start.as_ref().map(|queued| queued.due);
        self.screen_deadline().into_iter().chain(queued).min()
    }

    fn screen_deadline(&self) -> Option<Duration> {
        match &self.screen {
            Screen::Starting { until, .. }
            | Screen::Pausing { until, .. }
            | Screen::Resuming { until, .. }
            | Screen::Recovering { until, .. }
            | Screen::Aborting { until, .. }
            | Screen::Finishing { until, .. } => Some(*until),
            Screen::Question { continues_at, .. } => *continues_at,
            Screen::Stuck { fails_at, .. } => *fails_at,
            Screen::Printing { print, since } => Some(*since + next_stretch(print)),
            Screen::Off { .. }
            | Screen::Red { .. }
            | Screen::Idle
            | Screen::Preview { .. }
            | Screen::Paused { .. }
            | Screen::Attention { .. }
            | Screen::Finished { .. }
            | Screen::Stopped { .. } => None,
        }
    }

    /// Takes what happened since the last call, oldest first.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }

    pub(crate) fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// The state the network shows, `None` while nothing answers.
    pub(crate) fn link_state(&self) -> Option<LinkState> {
        match self.screen.link_state() {
            Some(LinkState::Idle | LinkState::Finished | LinkState::Stopped)
                if self.conditions.busy && !self.screen.is_active() =>
            {
                Some(LinkState::Busy)
            }
            state => state,
        }
    }

    pub(crate) fn screen_text(&self) -> String {
        self.screen.describe()
    }

    pub(crate) fn is_powered(&self) -> bool {
        !matches!(self.screen, Screen::Off { .. })
    }

    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.screen, Screen::Starting { .. })
    }

    pub(crate) fn boots(&self) -> u32 {
        self.boots
    }

    pub(crate) fn last_job_id(&self) -> u16 {
        self.job_counter
    }

    pub(crate) fn bed_occupied(&self) -> bool {
        self.bed_occupied
    }

    pub(crate) fn material(&self) -> &str {
        &self.material
    }

    /// Long path and progress of the print on the screen, end screens included.
    pub(crate) fn shown_print(&self, now: Duration) -> Option<(String, u8)> {
        let print = self.screen.print()?;
        Some((print.file.long_path.clone(), print.percent_at(self.printed(now))))
    }

    /// Printed so far, the running stretch included.
    fn printed(&self, now: Duration) -> Duration {
        match &self.screen {
            Screen::Printing { print, since } => (print.printed + now.saturating_sub(*since)).min(print.duration),
            screen => screen.print().map_or(Duration::ZERO, |print| print.printed),
        }
    }

    fn pass(&mut self, at: Duration) {
        self.screen = match mem::replace(&mut self.screen, Screen::Idle) {
            Screen::Starting { print, .. } | Screen::Question { print, .. } => self.ask_or_print(print, at),
            Screen::Pausing { print, .. } => Screen::Paused { print },
            Screen::Resuming { print, .. } => Screen::Printing { print, since: at },
            Screen::Recovering { print, .. } => {
                self.tell_resumed(&print);
                Screen::Printing { print, since: at }
            }
            Screen::Stuck { print, .. } => self.abort(print, at, Outcome::Failed),
            Screen::Aborting { print, outcome, .. } => {
                self.tell_end(&print, outcome);
                Screen::Stopped { print }
            }
            Screen::Finishing { print, .. } => {
                self.tell_end(&print, Outcome::Finished);
                Screen::Finished { print }
            }
            Screen::Printing { mut print, .. } => {
                print.printed += next_stretch(&print);
                self.after_stretch(print, at)
            }
            other => other,
        };
    }

    /// Asks the next question of the preview, or begins to print. This is the one place a physical start happens.
    fn ask_or_print(&mut self, mut print: Box<Print>, at: Duration) -> Screen {
        if !print.incidents.questions.is_empty() {
            let (question, continues_after) = print.incidents.questions.remove(0);
            return Screen::Question { print, question, continues_at: continues_after.map(|after| at + after) };
        }
        self.events.push(Event::PhysicalStart {
            cause: print.cause,
            file_name: print.file.long_path.clone(),
            sha256: print.file.file.sha256.clone(),
            identity: print.identity(),
            filaments: Vec::new(),
            bed_occupied: mem::replace(&mut self.bed_occupied, true),
        });
        Screen::Printing { print, since: at }
    }

    fn after_stretch(&mut self, mut print: Box<Print>, at: Duration) -> Screen {
        let due = |print: &Print| {
            print.incidents.mishaps.first().is_some_and(|(percent, _)| print.printed_at(*percent) <= print.printed)
        };
        if !due(&print) {
            return Screen::Finishing { print, until: at + millis(self.timings.finishing_milliseconds) };
        }
        match print.incidents.mishaps.remove(0).1 {
            Mishap::Runout => Screen::Attention { print, problem: Problem::FilamentRunout },
            Mishap::Door => Screen::Attention { print, problem: Problem::DoorOpen },
            Mishap::Stuck { fails_after } => Screen::Stuck { print, fails_at: fails_after.map(|after| at + after) },
            Mishap::RedScreen | Mishap::Fails(_) => {
                self.tell_end(&print, Outcome::Failed);
                Screen::Red { file_name: print.file.long_path }
            }
        }
    }

    fn abort(&mut self, mut print: Box<Print>, at: Duration, outcome: Outcome) -> Screen {
        print.printed = print.printed.min(print.duration);
        Screen::Aborting { print, until: at + millis(self.timings.aborting_milliseconds), outcome }
    }

    fn tell_end(&mut self, print: &Print, outcome: Outcome) {
        self.events.push(Event::PhysicalEnd {
            outcome,
            file_name: print.file.long_path.clone(),
            identity: print.identity(),
            progress_percent: print.percent_at(print.printed),
        });
    }

    fn tell_abandoned(&mut self, print: &Print) {
        self.events.push(Event::JobAbandoned { file_name: print.file.long_path.clone(), identity: print.identity() });
    }

    fn tell_resumed(&mut self, print: &Print) {
        self.events
            .push(Event::ResumedAfterPowerCut { file_name: print.file.long_path.clone(), identity: print.identity() });
    }

    /// Takes the print off the screen with what has been printed until now.
    fn interrupt(&mut self, now: Duration) -> Option<Box<Print>> {
        let printed = self.printed(now);
        let mut print = match mem::replace(&mut self.screen, Screen::Idle) {
            Screen::Starting { print, .. }
            | Screen::Question { print, .. }
            | Screen::Printing { print, .. }
            | Screen::Stuck { print, .. }
            | Screen::Pausing { print, .. }
            | Screen::Paused { print }
            | Screen::Resuming { print, .. }
            | Screen::Attention { print, .. }
            | Screen::Recovering { print, .. }
            | Screen::Aborting { print, .. }
            | Screen::Finishing { print, .. } => print,
            other => {
                self.screen = other;
                return None;
            }
        };
        print.printed = printed;
        Some(print)
    }
}

/// How long the print runs until its next mishap or its end.
fn next_stretch(print: &Print) -> Duration {
    let until = print.incidents.mishaps.first().map_or(print.duration, |(percent, _)| print.printed_at(*percent));
    until.saturating_sub(print.printed)
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
