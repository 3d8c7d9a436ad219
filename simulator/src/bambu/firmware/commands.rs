//! The other commands of the network: pause, resume, stop, speed, light, clearing an error.
//!
//! An acknowledgement says that a command was understood, not that it changed anything.

use std::time::Duration;

use super::{Firmware, Pause, Phase, millis};

impl Firmware {
    /// True if the machine acts on it.
    pub(crate) fn pause(&mut self, now: Duration) -> bool {
        if !matches!(self.phase, Phase::Running { .. } | Phase::Preparing { .. } | Phase::Stuck { .. }) {
            return false;
        }
        if let Some(print) = self.interrupt(now) {
            self.phase = Phase::Pausing { print, until: now + millis(self.config.timings.pausing_milliseconds) };
        }
        self.advance(now);
        true
    }

    /// True if the machine acts on it. Whatever caused the pause, the screen's button does the same.
    pub(crate) fn resume(&mut self, now: Duration) -> bool {
        let Phase::Paused { why, .. } = self.phase else { return false };
        if why == Pause::Filament && self.current_tray_is_empty() {
            return false;
        }
        if let Some(print) = self.interrupt(now) {
            self.phase = if print.begun {
                Phase::Resuming { print, until: now + millis(self.config.timings.pausing_milliseconds) }
            } else {
                self.begin_again(print, now)
            };
        }
        self.advance(now);
        true
    }

    /// True if the machine acts on it.
    pub(crate) fn stop(&mut self, now: Duration) -> bool {
        if !self.phase.is_active() || matches!(self.phase, Phase::Stopping { .. } | Phase::Finishing { .. }) {
            return false;
        }
        if let Some(print) = self.interrupt(now) {
            self.set_error(0, None);
            self.phase = self.stopping(print, now, true);
        }
        self.advance(now);
        true
    }

    /// 1 silent to 4 ludicrous; also while idle. True if it is one of them.
    pub(crate) fn set_speed(&mut self, level: u8) -> bool {
        let known = (1..=4).contains(&level);
        if known {
            self.speed_level = level;
        }
        known
    }

    pub(crate) fn set_light(&mut self, on: bool) {
        self.light_on = on;
    }

    /// Takes an error off the screen. Dialogs of a print stay.
    pub(crate) fn clear_error(&mut self) {
        self.set_error(0, None);
    }

    /// The mainboard says that a command was not signed.
    pub(crate) fn show_verify_failure(&mut self) {
        let entry = (0x0500_0500, 0x0001_0007);
        if !self.hms.contains(&entry) {
            self.hms.push(entry);
        }
    }

    fn current_tray_is_empty(&self) -> bool {
        self.trays.get(usize::from(self.tray_now)).unwrap_or(&self.external).is_empty()
    }
}
