//! What the network can ask of the firmware, and which of it the firmware takes.
//!
//! A start is taken when idle, on either end screen and from the preview; never is the bed looked at. Stop, pause and
//! resume are judged by the state string the network shows, so while the machine is between two states they are
//! answered well and nothing happens.

use std::{mem, time::Duration};

use super::{Firmware, LinkState, Print, QueuedStart, Screen, millis};
use crate::{
    Event, Outcome, PrintIdentity, StartCause,
    buddy::usb::{FoundFile, UsbError, UsbFile},
    fault::Incidents,
    print_time::print_duration,
};

/// Why a start was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartRefusal {
    #[error("Can't print right now")]
    NotReady,
    #[error("File not found")]
    NoSuchFile,
}

/// Why a command to the job was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandRefusal {
    #[error("No such job")]
    UnknownJob,
    #[error("Not possible in this state")]
    WrongState,
}

/// Whether an accepted command changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TookEffect {
    Yes,
    No,
}

/// The job object's content.
#[derive(Debug, Clone)]
pub(crate) struct JobView {
    pub(crate) id: u16,
    pub(crate) state: LinkState,
    pub(crate) progress_percent: u8,
    pub(crate) time_remaining_seconds: Option<u64>,
    pub(crate) time_printing_seconds: u64,
    pub(crate) file: FoundFile,
}

impl Firmware {
    /// Whether a start would be taken now.
    pub(crate) fn check_start(&self, path: &[String]) -> Result<FoundFile, StartRefusal> {
        let file = self.usb.find(path).ok_or(StartRefusal::NoSuchFile)?;
        let ready = matches!(
            self.screen,
            Screen::Idle | Screen::Preview { .. } | Screen::Finished { .. } | Screen::Stopped { .. }
        );
        if ready && !self.conditions.busy { Ok(file) } else { Err(StartRefusal::NotReady) }
    }

    /// Takes a start: the id is used at once, movement begins after the preparations and questions.
    pub(crate) fn start(
        &mut self,
        now: Duration,
        path: &[String],
        cause: StartCause,
        incidents: Incidents,
    ) -> Result<u16, StartRefusal> {
        let file = self.check_start(path)?;
        self.job_counter = self.job_counter.wrapping_add(1);
        let job_id = self.job_counter;
        self.events.push(Event::JobAccepted {
            cause,
            file_name: file.long_path.clone(),
            identity: PrintIdentity::PrusaLink { job_id },
        });
        let duration = print_duration(&file.file.data);
        let print = Box::new(Print { job_id, cause, file, duration, printed: Duration::ZERO, incidents });
        self.screen = Screen::Starting { print, until: now + millis(self.timings.starting_milliseconds) };
        Ok(job_id)
    }

    /// Takes a start that is looked at only when it is due.
    pub(crate) fn queue_start(&mut self, due: Duration, path: &[String], cause: StartCause, incidents: Incidents) {
        self.queued_start = Some(QueuedStart { due, path: path.to_vec(), cause, incidents });
    }

    /// Whether this id is the current or last job's: the undocumented id probe.
    pub(crate) fn knows_job(&self, job_id: u16) -> bool {
        job_id == self.job_counter
    }

    pub(crate) fn stop(&mut self, now: Duration, job_id: u16) -> Result<TookEffect, CommandRefusal> {
        self.check_command(job_id, &[LinkState::Printing, LinkState::Paused, LinkState::Attention])?;
        Ok(self.stop_current(now))
    }

    /// Stops whatever prints, whoever asks.
    pub(super) fn stop_current(&mut self, now: Duration) -> TookEffect {
        match &self.screen {
            Screen::Question { .. } => {
                if let Some(print) = self.interrupt(now) {
                    self.tell_abandoned(&print);
                }
                TookEffect::Yes
            }
            Screen::Printing { .. } | Screen::Stuck { .. } | Screen::Paused { .. } | Screen::Attention { .. } => {
                if let Some(print) = self.interrupt(now) {
                    self.screen = self.abort(print, now, Outcome::Stopped);
                }
                TookEffect::Yes
            }
            _ => TookEffect::No,
        }
    }

    pub(crate) fn pause(&mut self, now: Duration, job_id: u16) -> Result<TookEffect, CommandRefusal> {
        self.check_command(job_id, &[LinkState::Printing])?;
        Ok(self.pause_current(now))
    }

    pub(super) fn pause_current(&mut self, now: Duration) -> TookEffect {
        if !matches!(self.screen, Screen::Printing { .. } | Screen::Stuck { .. }) {
            return TookEffect::No;
        }
        if let Some(print) = self.interrupt(now) {
            self.screen = Screen::Pausing { print, until: now + millis(self.timings.pausing_milliseconds) };
        }
        TookEffect::Yes
    }

    pub(crate) fn resume(&mut self, now: Duration, job_id: u16) -> Result<TookEffect, CommandRefusal> {
        self.check_command(job_id, &[LinkState::Paused])?;
        Ok(self.resume_current(now))
    }

    pub(super) fn resume_current(&mut self, now: Duration) -> TookEffect {
        if !matches!(self.screen, Screen::Paused { .. }) {
            return TookEffect::No;
        }
        if let Some(print) = self.interrupt(now) {
            self.screen = Screen::Resuming { print, until: now + millis(self.timings.resuming_milliseconds) };
        }
        TookEffect::Yes
    }

    /// The job object, absent the instant a print has ended.
    pub(crate) fn job(&self, now: Duration) -> Option<JobView> {
        if !self.screen.has_job() {
            return None;
        }
        let print = self.screen.print()?;
        let printed = self.printed(now);
        let shown = self.conditions.stale_time_printing.unwrap_or(printed);
        Some(JobView {
            id: print.job_id,
            state: self.link_state()?,
            progress_percent: print.percent_at(printed),
            time_remaining_seconds: (!printed.is_zero()).then(|| print.duration.saturating_sub(printed).as_secs()),
            time_printing_seconds: shown.as_secs(),
            file: print.file.clone(),
        })
    }

    /// Whether this file is being printed.
    pub(crate) fn is_printing_file(&self, long_path: &str) -> bool {
        self.screen.is_active()
            && self.screen.print().is_some_and(|print| print.file.long_path.eq_ignore_ascii_case(long_path))
    }

    /// Puts an uploaded file in place. On a machine that does nothing this opens the file's preview, which also
    /// leaves an end screen; not so if the file is to be printed at once.
    pub(crate) fn store_upload(
        &mut self,
        path: &[String],
        file: UsbFile,
        replace: bool,
        preview: bool,
    ) -> Result<FoundFile, UsbError> {
        self.check_room(path, u64::try_from(file.data.len()).unwrap_or(u64::MAX), replace)?;
        self.usb.put(path, file, replace)?;
        let stored = self.usb.find(path).ok_or(UsbError::NotFound)?;
        if preview && !self.screen.is_active() && self.is_powered() && !self.conditions.busy {
            self.screen = Screen::Preview { path: path.to_vec(), long_name: stored.long_path.clone() };
        }
        Ok(stored)
    }

    /// Whether an upload could be stored here, before its bytes are taken.
    pub(crate) fn check_room(&self, path: &[String], size_bytes: u64, replace: bool) -> Result<(), UsbError> {
        self.usb.check_room(path, size_bytes, replace)?;
        if self.conditions.usb_full { Err(UsbError::Full) } else { Ok(()) }
    }

    /// Removes a file or empty folder. The file of an end screen or preview leaves that screen first.
    pub(crate) fn remove(&mut self, path: &[String]) -> Result<(), UsbError> {
        let long_path = self.usb.find(path).map(|found| found.long_path);
        self.usb.remove(path)?;
        if let Some(long_path) = long_path {
            let shown = match &self.screen {
                Screen::Finished { print } | Screen::Stopped { print } => Some(&print.file.long_path),
                Screen::Preview { long_name, .. } => Some(long_name),
                _ => None,
            };
            if shown == Some(&long_path) {
                drop(mem::replace(&mut self.screen, Screen::Idle));
            }
        }
        Ok(())
    }

    fn check_command(&self, job_id: u16, states: &[LinkState]) -> Result<(), CommandRefusal> {
        if !self.knows_job(job_id) {
            return Err(CommandRefusal::UnknownJob);
        }
        match self.link_state() {
            Some(state) if states.contains(&state) => Ok(()),
            _ => Err(CommandRefusal::WrongState),
        }
    }
}
