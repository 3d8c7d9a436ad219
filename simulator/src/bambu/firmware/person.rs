//! What a person does at the machine: screen, bed, power, card, filament.
//!
//! An act the screen does not offer is an error for the caller, so that a test script cannot pass by doing nothing.

use std::time::Duration;

use bytes::Bytes;

use super::{Firmware, Pause, Phase, Shown, Update, millis};
use crate::{
    ActError, Action, AfterPowerCut, Answer, Outcome, SlicedFile, StartCause, Tray,
    bambu::card::{CardFile, absolute},
    fault::Incidents,
};

impl Firmware {
    /// Does it. Acts on access code and identity are not the firmware's and do nothing here.
    pub(crate) fn person(&mut self, now: Duration, action: &Action, incidents: Incidents) -> Result<(), ActError> {
        if !self.is_powered() && !matches!(action, Action::RestorePower { .. }) && needs_power(action) {
            return Err(self.not_now("the power is cut"));
        }
        match action {
            Action::AnswerDialog { answer } => self.answer(now, *answer),
            Action::Pause => self.did(Self::pause, now, "only a running print can be paused"),
            Action::Resume => self.did(Self::resume, now, "only a paused print with filament can be resumed"),
            Action::Stop => self.did(Self::stop, now, "only a running or paused print can be stopped"),
            Action::PrintFile { file_name } => self.start_at_screen(now, file_name, incidents),
            Action::PrintForeignFile { file_name, duration_seconds } => {
                let Some(path) = absolute("/", file_name).filter(|path| self.card.room_bytes(path).is_some()) else {
                    let reason = "there is no card, no room, or no such folder".to_owned();
                    return Err(ActError::UsbRefused { reason });
                };
                let file = SlicedFile::lasting(*duration_seconds).plate(&[(1, "PLA")]).build();
                self.card.put(&path, CardFile::new(Bytes::from(file)));
                self.start_at_screen(now, file_name, incidents)
            }
            Action::LeaveEndScreen => {
                let ended = matches!(self.phase, Phase::Ended { .. });
                if self.phase.is_active() || matches!(self.phase, Phase::Interrupted { .. }) {
                    return Err(self.not_now("there is a print: answer its dialog or stop it"));
                }
                if !ended && self.print_error == 0 && self.hms.is_empty() {
                    return Err(self.not_now("there is no end screen or error to leave"));
                }
                self.set_error(0, None);
                self.hms.clear();
                self.phase = Phase::Idle;
                Ok(())
            }
            Action::TakePartOff if self.part_is_in_use() => {
                Err(self.not_now("the part is still being printed: stop the print first"))
            }
            Action::TakePartOff => {
                self.bed_occupied = false;
                Ok(())
            }
            Action::ObstructBed => {
                self.bed_occupied = true;
                Ok(())
            }
            Action::CutPower => {
                self.cut_power(now);
                Ok(())
            }
            Action::RestorePower { job } => self.restore_power(now, *job),
            Action::Reboot { job } => {
                self.cut_power(now);
                self.restore_power(now, *job)
            }
            Action::FillUsb => {
                self.card.filled = true;
                Ok(())
            }
            Action::FreeUsb => {
                self.card.filled = false;
                Ok(())
            }
            Action::RemoveUsb => {
                self.card.inserted = false;
                Ok(())
            }
            Action::InsertUsb => {
                self.card.inserted = true;
                Ok(())
            }
            Action::OpenDoor => self.disturb(now, Pause::Door),
            Action::RunOutOfFilament => {
                let tray = usize::from(self.tray_now);
                self.disturb(now, Pause::Filament)?;
                *self.trays.get_mut(tray).unwrap_or(&mut self.external) = Tray::default();
                self.ams_version += 1;
                Ok(())
            }
            Action::LoadFilament { material } => {
                self.external = Tray::loaded(material.trim_start_matches("---"), "FFFFFFFF");
                Ok(())
            }
            Action::ChangeTray { tray, material, color } => {
                let slot = match usize::from(*tray) {
                    254 => &mut self.external,
                    slot => match self.trays.get_mut(slot) {
                        Some(slot) => slot,
                        None => return Err(self.not_now("there is no such tray")),
                    },
                };
                *slot = Tray::loaded(material, color);
                self.ams_version += 1;
                Ok(())
            }
            Action::ChangeFilament { seconds } if !self.phase.is_active() => {
                self.filament_change_until = Some(now + Duration::from_secs(*seconds));
                Ok(())
            }
            Action::UpdateFirmware { version, seconds } if !self.phase.is_active() => {
                self.update = Some(Update { until: now + Duration::from_secs(*seconds), version: version.clone() });
                Ok(())
            }
            Action::ChangeFilament { .. } | Action::UpdateFirmware { .. } => {
                Err(self.not_now("the printer is printing"))
            }
            Action::SetDeveloperMode { enabled } => {
                self.config.developer_mode = *enabled;
                Ok(())
            }
            Action::ChangePassword { .. } | Action::ReplaceDevice { .. } => Ok(()),
            Action::PressPrint | Action::ResetEeprom { .. } => {
                Err(self.not_now("this kind of printer has no such thing"))
            }
        }
    }

    fn did(&mut self, act: fn(&mut Self, Duration) -> bool, now: Duration, hint: &'static str) -> Result<(), ActError> {
        if act(self, now) { Ok(()) } else { Err(self.not_now(hint)) }
    }

    fn answer(&mut self, now: Duration, answer: Answer) -> Result<(), ActError> {
        match (&self.phase, answer) {
            (Phase::Interrupted { .. }, Answer::Continue) => {
                if let Some(print) = self.interrupt(now) {
                    self.recover(print, now);
                }
                Ok(())
            }
            (Phase::Interrupted { .. }, Answer::Abort) => {
                if let Some(print) = self.interrupt(now) {
                    self.tell_end(&print, Outcome::LostPower);
                }
                Ok(())
            }
            (Phase::Paused { .. }, Answer::Continue) => {
                self.did(Self::resume, now, "load filament into the tray first")
            }
            (Phase::Paused { .. }, Answer::Abort) => self.did(Self::stop, now, "the print is over"),
            _ if self.print_error != 0 => {
                self.set_error(0, None);
                Ok(())
            }
            _ => Err(self.not_now("there is no dialog to answer")),
        }
    }

    fn start_at_screen(&mut self, now: Duration, file_name: &str, incidents: Incidents) -> Result<(), ActError> {
        let path = absolute("/", file_name).filter(|path| self.card.find(path).is_some());
        let Some(path) = path else { return Err(ActError::NoSuchFile { file_name: file_name.to_owned() }) };
        if self.phase.is_active() {
            return Err(self.not_now("the printer is printing"));
        }
        self.start_locally(now, &path, StartCause::Screen, incidents);
        self.advance(now);
        Ok(())
    }

    fn disturb(&mut self, now: Duration, why: Pause) -> Result<(), ActError> {
        if !matches!(self.phase, Phase::Running { .. } | Phase::Stuck { .. }) {
            return Err(self.not_now("only a running print notices"));
        }
        if let Some(print) = self.interrupt(now) {
            self.phase = Phase::Paused { print, why };
        }
        Ok(())
    }

    /// As the end of a firmware update does it: nothing was printing.
    pub(super) fn reboot(&mut self, at: Duration) {
        self.cut_power(at);
        // The power is off now, so it can be restored.
        let _ = self.restore_power(at, AfterPowerCut::Lose);
    }

    fn cut_power(&mut self, now: Duration) {
        let over = match self.phase {
            Phase::Stopping { cancelled: true, .. } => Some(Outcome::Stopped),
            Phase::Stopping { .. } => Some(Outcome::Failed),
            Phase::Finishing { .. } => Some(Outcome::Finished),
            _ => None,
        };
        let mut saved = self.interrupt(now);
        if let Some(print) = saved.take_if(|print| over.is_some() || !print.begun) {
            match over {
                Some(outcome) if print.begun => self.tell_end(&print, outcome),
                _ => self.abandon(&print.request),
            }
        }
        for pending in std::mem::take(&mut self.pending) {
            self.abandon(&pending.request);
        }
        self.filament_change_until = None;
        self.update = None;
        self.phase = Phase::Off { saved };
    }

    fn restore_power(&mut self, now: Duration, job: AfterPowerCut) -> Result<(), ActError> {
        let Phase::Off { saved } = &mut self.phase else {
            return Err(self.not_now("the power is on already"));
        };
        let saved = saved.take();
        self.boots = self.boots.wrapping_add(1);
        self.set_error(0, None);
        self.hms.clear();
        self.tray_now = 255;
        if !self.conditions.keeps_ids {
            self.shown = Shown::nothing();
        }
        self.phase = Phase::Idle;
        match (saved, job) {
            (Some(print), AfterPowerCut::Ask) => self.phase = Phase::Interrupted { print },
            (Some(print), AfterPowerCut::Resume) => self.recover(print, now),
            (Some(print), AfterPowerCut::Lose) => self.tell_end(&print, Outcome::LostPower),
            (None, _) => {}
        }
        if self.conditions.leftover_starts
            && matches!(self.phase, Phase::Idle)
            && let Some(path) = self.card.leftover()
        {
            self.start_locally(now, &path, StartCause::LeftoverFile, Incidents::default());
        }
        Ok(())
    }

    /// Goes on with a print that power was cut from: its ids are gone unless the machine keeps them.
    fn recover(&mut self, print: Box<super::Print>, now: Duration) {
        self.shown.gcode_file = print.name();
        self.phase = Phase::Recovering { print, until: now + millis(self.config.timings.recovering_milliseconds) };
    }

    fn part_is_in_use(&self) -> bool {
        match &self.phase {
            Phase::Off { saved } => saved.is_some(),
            Phase::Interrupted { .. } => true,
            phase => phase.is_active() && phase.print().is_some_and(|print| print.begun),
        }
    }

    fn not_now(&self, hint: &'static str) -> ActError {
        ActError::NotNow { screen: self.phase.describe(), hint }
    }
}

/// Whether an act happens at the screen. Bed, card and spools can be handled without power.
fn needs_power(action: &Action) -> bool {
    !matches!(
        action,
        Action::TakePartOff
            | Action::ObstructBed
            | Action::FillUsb
            | Action::FreeUsb
            | Action::RemoveUsb
            | Action::InsertUsb
            | Action::LoadFilament { .. }
            | Action::ChangeTray { .. }
            | Action::ReplaceDevice { .. }
    )
}
