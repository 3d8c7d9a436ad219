//! What a person does at the machine: dialogs, screen buttons, bed, power, USB drive.
//!
//! An act the screen does not offer is an error for the caller, so that a test script cannot pass by doing nothing.

use std::time::Duration;

use bytes::Bytes;

use super::{Firmware, Problem, Screen, TookEffect, millis};
use crate::{
    ActError, Action, AfterPowerCut, Answer, Outcome, StartCause,
    buddy::usb::{UsbFile, is_print_file},
    fault::Incidents,
};

impl Firmware {
    /// Does it. `modified_unix_seconds` dates files the person brings. Acts on password and identity are not the
    /// firmware's and do nothing here.
    pub(crate) fn person(
        &mut self,
        now: Duration,
        action: &Action,
        incidents: Incidents,
        modified_unix_seconds: i64,
    ) -> Result<(), ActError> {
        match action {
            Action::AnswerDialog { answer } => self.answer(now, *answer),
            Action::Pause => {
                let effect = self.pause_current(now);
                self.expect(effect, "only a running print can be paused")
            }
            Action::Resume => {
                let effect = self.resume_current(now);
                self.expect(effect, "only a paused print can be resumed")
            }
            Action::Stop => {
                let effect = self.stop_current(now);
                self.expect(effect, "only a running or paused print can be stopped")
            }
            Action::PressPrint => {
                let Screen::Preview { path, .. } = &self.screen else {
                    return Err(self.not_now("there is no preview: upload a file to an idle printer first"));
                };
                let path = path.clone();
                self.start_at_screen(now, &path, incidents)
            }
            Action::PrintFile { file_name } => self.start_at_screen(now, &components(file_name), incidents),
            Action::PrintForeignFile { file_name, duration_seconds } => {
                if !is_print_file(file_name) {
                    let reason = "the name needs the extension of a print file, for example .gcode".to_owned();
                    return Err(ActError::UsbRefused { reason });
                }
                let text = format!("G28\n; estimated printing time (normal mode) = {duration_seconds}s\n");
                let file = UsbFile::new(Bytes::from(text), modified_unix_seconds);
                let path = components(file_name);
                self.usb.put(&path, file, true).map_err(|error| ActError::UsbRefused { reason: error.to_string() })?;
                self.start_at_screen(now, &path, incidents)
            }
            Action::LeaveEndScreen => match &self.screen {
                Screen::Finished { .. } | Screen::Stopped { .. } | Screen::Preview { .. } => {
                    self.screen = Screen::Idle;
                    Ok(())
                }
                _ => Err(self.not_now("there is no end screen or preview to leave")),
            },
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
            Action::CutPower => self.cut_power(now),
            Action::RestorePower { job } => self.restore_power(now, *job),
            Action::Reboot { job } => {
                self.cut_power(now)?;
                self.restore_power(now, *job)
            }
            Action::FillUsb => {
                self.usb.filled = true;
                Ok(())
            }
            Action::FreeUsb => {
                self.usb.filled = false;
                Ok(())
            }
            Action::RemoveUsb => {
                self.usb.inserted = false;
                if matches!(self.screen, Screen::Preview { .. }) {
                    self.screen = Screen::Idle;
                }
                self.disturb(now, Problem::UsbMissing);
                Ok(())
            }
            Action::InsertUsb => {
                self.usb.inserted = true;
                Ok(())
            }
            Action::OpenDoor => {
                self.disturb(now, Problem::DoorOpen);
                Ok(())
            }
            Action::RunOutOfFilament => {
                if matches!(self.screen, Screen::Printing { .. } | Screen::Stuck { .. }) {
                    self.disturb(now, Problem::FilamentRunout);
                    Ok(())
                } else {
                    Err(self.not_now("only a running print uses filament"))
                }
            }
            Action::LoadFilament { material } => {
                self.material.clone_from(material);
                Ok(())
            }
            Action::ResetEeprom { job_counter } => {
                self.job_counter = *job_counter;
                Ok(())
            }
            Action::ChangePassword { .. } | Action::ReplaceDevice { .. } => Ok(()),
            Action::ChangeTray { .. }
            | Action::ChangeFilament { .. }
            | Action::UpdateFirmware { .. }
            | Action::SetDeveloperMode { .. } => Err(self.not_now("this kind of printer has no such thing")),
        }
    }

    fn answer(&mut self, now: Duration, answer: Answer) -> Result<(), ActError> {
        if answer == Answer::Abort {
            return match self.screen {
                Screen::Question { .. } | Screen::Attention { .. } => {
                    self.stop_current(now);
                    Ok(())
                }
                _ => Err(self.not_now("there is no dialog to answer")),
            };
        }
        match &self.screen {
            Screen::Question { .. } => {
                if let Some(print) = self.interrupt(now) {
                    self.screen = self.ask_or_print(print, now);
                }
                Ok(())
            }
            Screen::Attention { problem: Problem::UsbMissing, .. } if !self.usb.inserted => {
                Err(self.not_now("insert the USB drive first"))
            }
            Screen::Attention { problem, .. } => {
                let after_power_cut = *problem == Problem::PowerCut;
                if let Some(print) = self.interrupt(now) {
                    self.screen = if after_power_cut {
                        Screen::Recovering { print, until: now + millis(self.timings.recovering_milliseconds) }
                    } else {
                        Screen::Resuming { print, until: now + millis(self.timings.resuming_milliseconds) }
                    };
                }
                Ok(())
            }
            _ => Err(self.not_now("there is no dialog to answer")),
        }
    }

    fn start_at_screen(&mut self, now: Duration, path: &[String], incidents: Incidents) -> Result<(), ActError> {
        if self.usb.find(path).is_none() {
            return Err(ActError::NoSuchFile { file_name: path.join("/") });
        }
        self.start(now, path, StartCause::Screen, incidents)
            .map(|_| ())
            .map_err(|_| self.not_now("a print can be started when idle, in the preview and on end screens only"))
    }

    /// A dialog stops a running print; other screens do not care.
    fn disturb(&mut self, now: Duration, problem: Problem) {
        if matches!(self.screen, Screen::Printing { .. } | Screen::Stuck { .. })
            && let Some(print) = self.interrupt(now)
        {
            self.screen = Screen::Attention { print, problem };
        }
    }

    fn cut_power(&mut self, now: Duration) -> Result<(), ActError> {
        if !self.is_powered() {
            return Err(self.not_now("the power is cut already"));
        }
        let parking = match self.screen {
            Screen::Aborting { outcome, .. } => Some(outcome),
            Screen::Finishing { .. } => Some(Outcome::Finished),
            _ => None,
        };
        let not_yet_printing = matches!(self.screen, Screen::Starting { .. } | Screen::Question { .. });
        let saved = match (self.interrupt(now), parking) {
            (Some(print), Some(outcome)) => {
                self.tell_end(&print, outcome);
                None
            }
            (Some(print), None) if not_yet_printing => {
                self.tell_abandoned(&print);
                None
            }
            (print, _) => print,
        };
        self.queued_start = None;
        self.screen = Screen::Off { saved };
        Ok(())
    }

    fn restore_power(&mut self, now: Duration, job: AfterPowerCut) -> Result<(), ActError> {
        let Screen::Off { saved } = &mut self.screen else {
            return Err(self.not_now("the power is on already"));
        };
        let saved = saved.take();
        self.boots = self.boots.wrapping_add(1);
        self.screen = match (saved, job) {
            (Some(print), AfterPowerCut::Ask) => Screen::Attention { print, problem: Problem::PowerCut },
            (Some(print), AfterPowerCut::Resume) => {
                Screen::Recovering { print, until: now + millis(self.timings.recovering_milliseconds) }
            }
            (Some(print), AfterPowerCut::Lose) => {
                self.tell_end(&print, Outcome::LostPower);
                Screen::Idle
            }
            (None, _) => Screen::Idle,
        };
        Ok(())
    }

    fn part_is_in_use(&self) -> bool {
        match &self.screen {
            Screen::Off { saved } => saved.is_some(),
            Screen::Question { .. } | Screen::Starting { .. } => false,
            screen => screen.is_active(),
        }
    }

    fn expect(&self, effect: TookEffect, hint: &'static str) -> Result<(), ActError> {
        match effect {
            TookEffect::Yes => Ok(()),
            TookEffect::No => Err(self.not_now(hint)),
        }
    }

    fn not_now(&self, hint: &'static str) -> ActError {
        ActError::NotNow { screen: self.screen.describe(), hint }
    }
}

fn components(file_name: &str) -> Vec<String> {
    file_name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
