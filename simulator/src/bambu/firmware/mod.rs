//! The firmware of one simulated Bambu printer as a pure state machine: time comes in, ledger events come out.
//!
//! Like the real one it prints on whatever lies on the bed; the events say so. A start is acknowledged first and looked
//! at later, so that an acknowledgement proves nothing. No sockets and no clock here. `start` holds what becomes of a
//! start command, `commands` the other commands of the network, `person` what a person does, `view` what can be seen.

mod commands;
mod person;
pub(crate) mod print;
mod start;
#[cfg(test)]
mod tests;
mod view;

use std::{mem, time::Duration};

use print::{Pause, Pending, Print};
pub(crate) use print::{Phase, StartFaults, StartRequest};
pub(crate) use start::StartAnswer;

use super::{card::Card, config::BambuConfig, config::Tray};
use crate::{Event, Outcome, PrintErrorCode, PrintIdentity, fault::Mishap};

/// Shown for this long after a print was cancelled or failed.
const CANCELLED: u32 = 0x0300_400c;
const BUSY: u32 = 0x0500_4004;
/// How long an error without a dialog is shown.
const TRANSIENT: Duration = Duration::from_secs(2);
/// Ids are 32-bit integers on the device: larger ones are clamped to this.
pub(crate) const CLAMPED_ID: &str = "2147483647";

/// Conditions that faults impose for as long as they are set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) card_read_only: bool,
    pub(crate) card_abnormal: bool,
    pub(crate) card_full: bool,
    pub(crate) busy_start_cancels: bool,
    pub(crate) end_screen_ignores_starts: bool,
    pub(crate) checks_md5: bool,
    pub(crate) wrong_mapping_prints: bool,
    pub(crate) leftover_starts: bool,
    pub(crate) keeps_ids: bool,
}

/// What the report says about the current or last job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) task_id: String,
    pub(crate) subtask_id: String,
    pub(crate) project_id: String,
    pub(crate) subtask_name: String,
    pub(crate) gcode_file: String,
}

/// A firmware update under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    until: Duration,
    version: String,
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Firmware {
    phase: Phase,
    shown: Shown,
    pending: Vec<Pending>,
    print_error: u32,
    /// When the error vanishes by itself.
    print_error_until: Option<Duration>,
    hms: Vec<(u32, u32)>,
    trays: Vec<Tray>,
    external: Tray,
    tray_now: u8,
    /// Counts changes of the AMS, as its `version` does.
    ams_version: u32,
    filament_change_until: Option<Duration>,
    update: Option<Update>,
    bed_occupied: bool,
    speed_level: u8,
    light_on: bool,
    pub(crate) card: Card,
    conditions: Conditions,
    config: BambuConfig,
    model: String,
    nozzle_diameter: String,
    /// Counts power-ups, so that the network side knows that its connections died.
    boots: u32,
    events: Vec<Event>,
}

impl Firmware {
    pub(crate) fn new(
        config: BambuConfig,
        model: &str,
        nozzle_diameter: String,
        bed_occupied: bool,
        card: Card,
    ) -> Self {
        Self {
            phase: Phase::Idle,
            shown: Shown::nothing(),
            pending: Vec::new(),
            print_error: 0,
            print_error_until: None,
            hms: Vec::new(),
            trays: config.trays.clone(),
            external: config.external.clone(),
            tray_now: 255,
            ams_version: 1,
            filament_change_until: None,
            update: None,
            bed_occupied,
            speed_level: 2,
            light_on: true,
            card,
            conditions: Conditions::default(),
            config,
            model: model.to_owned(),
            nozzle_diameter,
            boots: 0,
            events: Vec::new(),
        }
    }

    /// Lets everything happen that is due by `now`, each thing at its own time. True if anything did.
    pub(crate) fn advance(&mut self, now: Duration) -> bool {
        let mut anything = false;
        while let Some(due) = self.next_deadline().filter(|due| *due <= now) {
            if self.print_error_until.is_some_and(|until| until <= due) {
                self.set_error(0, None);
            } else if self.filament_change_until.is_some_and(|until| until <= due) {
                self.filament_change_until = None;
            } else if let Some(update) = self.update.take_if(|update| update.until <= due) {
                self.config.firmware = update.version;
                self.reboot(due);
            } else if !self.pass_pending(due) {
                self.pass(due);
            }
            anything = true;
        }
        anything
    }

    /// When the machine does something by itself next.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        if !self.is_powered() {
            return None;
        }
        let pending =
            self.pending.iter().flat_map(|pending| [pending.name_at, pending.ids_at, pending.state_at]).flatten();
        let single = [
            self.print_error_until,
            self.filament_change_until,
            self.update.as_ref().map(|update| update.until),
            self.phase_deadline(),
        ];
        single.into_iter().flatten().chain(pending).min()
    }

    fn phase_deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Preparing { until, .. }
            | Phase::Pausing { until, .. }
            | Phase::Resuming { until, .. }
            | Phase::Stopping { until, .. }
            | Phase::Finishing { until, .. }
            | Phase::Recovering { until, .. } => Some(*until),
            Phase::Stuck { fails_at, .. } => *fails_at,
            Phase::Running { print, since } => Some(*since + print.next_stretch()),
            Phase::Off { .. }
            | Phase::Idle
            | Phase::Paused { .. }
            | Phase::Ended { .. }
            | Phase::Interrupted { .. } => None,
        }
    }

    /// Takes what happened since the last call, oldest first.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }

    pub(crate) fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Printed so far, the running stretch included.
    pub(crate) fn printed(&self, now: Duration) -> Duration {
        match &self.phase {
            Phase::Running { print, since } => (print.printed + now.saturating_sub(*since)).min(print.duration),
            phase => phase.print().map_or(Duration::ZERO, |print| print.printed),
        }
    }

    fn pass(&mut self, at: Duration) {
        self.phase = match mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Preparing { print, .. } | Phase::Resuming { print, .. } => Phase::Running { print, since: at },
            Phase::Pausing { print, .. } => Phase::Paused { print, why: Pause::User },
            Phase::Recovering { print, .. } => {
                self.events.push(Event::ResumedAfterPowerCut { file_name: print.name(), identity: print.identity() });
                Phase::Running { print, since: at }
            }
            Phase::Stuck { print, .. } => self.stopping(print, at, false),
            Phase::Stopping { print, cancelled, .. } => self.end_badly(print, cancelled),
            Phase::Finishing { print, .. } => {
                self.tell_end(&print, Outcome::Finished);
                self.tray_now = 255;
                // On P1P and A1 the file's name goes with the print; ids and the print's name stay.
                self.shown.gcode_file.clear();
                Phase::Ended { print, failed: false }
            }
            Phase::Running { mut print, .. } => {
                print.printed += print.next_stretch();
                self.after_stretch(print, at)
            }
            other => other,
        };
    }

    fn after_stretch(&mut self, mut print: Box<Print>, at: Duration) -> Phase {
        let due = |print: &Print| {
            print.incidents.mishaps.first().is_some_and(|(percent, _)| print.printed_at(*percent) <= print.printed)
        };
        if !due(&print) {
            return Phase::Finishing { print, until: at + millis(self.config.timings.finishing_milliseconds) };
        }
        match print.incidents.mishaps.remove(0).1 {
            Mishap::Runout => Phase::Paused { print, why: Pause::Filament },
            Mishap::Door => Phase::Paused { print, why: Pause::Door },
            Mishap::Stuck { fails_after } => Phase::Stuck { print, fails_at: fails_after.map(|after| at + after) },
            Mishap::RedScreen => self.fail(print, at, PrintErrorCode(0x0300_4000)),
            Mishap::Fails(code) => self.fail(print, at, code),
        }
    }

    /// The machine gives up, with this error shown for a moment.
    fn fail(&mut self, print: Box<Print>, at: Duration, code: PrintErrorCode) -> Phase {
        self.set_error(code.0, Some(at + TRANSIENT));
        self.end_badly(print, false)
    }

    fn end_badly(&mut self, print: Box<Print>, cancelled: bool) -> Phase {
        if print.begun {
            self.tell_end(&print, if cancelled { Outcome::Stopped } else { Outcome::Failed });
        } else {
            self.events.push(Event::JobAbandoned { file_name: print.name(), identity: print.identity() });
        }
        self.tray_now = 255;
        Phase::Ended { print, failed: true }
    }

    fn stopping(&self, print: Box<Print>, at: Duration, cancelled: bool) -> Phase {
        Phase::Stopping { print, until: at + millis(self.config.timings.stopping_milliseconds), cancelled }
    }

    fn set_error(&mut self, code: u32, until: Option<Duration>) {
        self.print_error = code;
        self.print_error_until = until;
    }

    fn tell_end(&mut self, print: &Print, outcome: Outcome) {
        self.events.push(Event::PhysicalEnd {
            outcome,
            file_name: print.name(),
            identity: print.identity(),
            progress_percent: print.percent_at(print.printed),
        });
    }

    /// Takes the active print off the machine with what has been printed until now.
    fn interrupt(&mut self, now: Duration) -> Option<Box<Print>> {
        let printed = self.printed(now);
        let mut print = match mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Preparing { print, .. }
            | Phase::Running { print, .. }
            | Phase::Stuck { print, .. }
            | Phase::Pausing { print, .. }
            | Phase::Paused { print, .. }
            | Phase::Resuming { print, .. }
            | Phase::Stopping { print, .. }
            | Phase::Finishing { print, .. }
            | Phase::Interrupted { print }
            | Phase::Recovering { print, .. } => print,
            other => {
                self.phase = other;
                return None;
            }
        };
        print.printed = printed;
        Some(print)
    }
}

impl Print {
    /// The path on the card as the ledger writes names: without the leading slash.
    fn name(&self) -> String {
        self.path.trim_start_matches('/').to_owned()
    }

    fn identity(&self) -> PrintIdentity {
        PrintIdentity::Bambu(self.request.identity.clone())
    }
}

impl Shown {
    /// As after a power-up.
    pub(crate) fn nothing() -> Self {
        let zero = || "0".to_owned();
        Self {
            task_id: zero(),
            subtask_id: zero(),
            project_id: zero(),
            subtask_name: String::new(),
            gcode_file: String::new(),
        }
    }
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
