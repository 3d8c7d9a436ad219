//! What a print is to the machine, from the request to its end, and the phases it goes through.
//!
//! Plain data; the rules are in the sibling files. Times are simulated.

use std::time::Duration;

use crate::{BambuIdentity, FilamentUse, PrintErrorCode, StartCause, bambu::card::CardFile, fault::Incidents};

/// A start as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct StartRequest {
    pub(crate) cause: StartCause,
    pub(crate) identity: BambuIdentity,
    /// `Metadata/plate_N.gcode`
    pub(crate) plate_path: String,
    /// Absolute path on the card; `None` if the printer does not understand the address.
    pub(crate) path: Option<String>,
    /// As sent, empty if none.
    pub(crate) md5: String,
    pub(crate) use_ams: bool,
    /// Global tray per project filament, -1 for unused.
    pub(crate) mapping: Vec<i64>,
}

/// What faults do to one start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StartFaults {
    pub(crate) accept_without_starting: bool,
    pub(crate) start_late: Option<Duration>,
    pub(crate) error: Option<PrintErrorCode>,
    /// When the ids and when the state appear.
    pub(crate) slow: Option<(Duration, Duration)>,
    pub(crate) never: bool,
    pub(crate) no_id_echo: bool,
}

/// A start that was acknowledged and whose state has not changed yet.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) request: StartRequest,
    pub(crate) incidents: Incidents,
    pub(crate) error: Option<PrintErrorCode>,
    pub(crate) no_id_echo: bool,
    /// When its file name appears; `None` once it has.
    pub(crate) name_at: Option<Duration>,
    /// When its ids appear; `None` once they have.
    pub(crate) ids_at: Option<Duration>,
    /// When the machine looks at it; never if `None`.
    pub(crate) state_at: Option<Duration>,
}

/// One print.
#[derive(Debug, Clone)]
pub(crate) struct Print {
    pub(crate) request: StartRequest,
    /// Absolute path.
    pub(crate) path: String,
    pub(crate) file: CardFile,
    pub(crate) duration: Duration,
    pub(crate) layers: u32,
    /// Printed so far, not counting a stretch that is running.
    pub(crate) printed: Duration,
    pub(crate) incidents: Incidents,
    /// What it uses; empty until the machine has begun.
    pub(crate) filaments: Vec<FilamentUse>,
    /// Whether the machine has begun to move.
    pub(crate) begun: bool,
}

/// Why a print pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    User,
    Filament,
    Door,
    /// The trays do not fit the mapping.
    Mapping(PrintErrorCode),
}

/// What the machine is at.
#[derive(Debug)]
pub(crate) enum Phase {
    Off {
        saved: Option<Box<Print>>,
    },
    Idle,
    Preparing {
        print: Box<Print>,
        until: Duration,
    },
    Running {
        print: Box<Print>,
        since: Duration,
    },
    Stuck {
        print: Box<Print>,
        fails_at: Option<Duration>,
    },
    /// On the way to a pause; RUNNING on the wire.
    Pausing {
        print: Box<Print>,
        until: Duration,
    },
    Paused {
        print: Box<Print>,
        why: Pause,
    },
    /// On the way back to the part; PAUSE on the wire.
    Resuming {
        print: Box<Print>,
        until: Duration,
    },
    /// Parking after a stop or failure.
    Stopping {
        print: Box<Print>,
        until: Duration,
        cancelled: bool,
    },
    Finishing {
        print: Box<Print>,
        until: Duration,
    },
    /// FINISH or FAILED.
    Ended {
        print: Box<Print>,
        failed: bool,
    },
    /// After a power loss: the screen asks whether to go on. The network shows IDLE.
    Interrupted {
        print: Box<Print>,
    },
    /// Going on after a power loss.
    Recovering {
        print: Box<Print>,
        until: Duration,
    },
}

impl Print {
    pub(crate) fn percent_at(&self, printed: Duration) -> u8 {
        let share = printed.as_secs_f64() / self.duration.as_secs_f64().max(1e-9) * 100.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
        let percent = share.clamp(0.0, 100.0) as u8;
        percent
    }

    pub(crate) fn printed_at(&self, percent: u8) -> Duration {
        self.duration.mul_f64(f64::from(percent.min(100)) / 100.0)
    }

    /// How long it runs until its next mishap or its end.
    pub(crate) fn next_stretch(&self) -> Duration {
        let until = self.incidents.mishaps.first().map_or(self.duration, |(percent, _)| self.printed_at(*percent));
        until.saturating_sub(self.printed)
    }
}

impl Phase {
    /// The print on the machine, ended ones included.
    pub(crate) fn print(&self) -> Option<&Print> {
        match self {
            Self::Off { saved } => saved.as_deref(),
            Self::Idle => None,
            Self::Preparing { print, .. }
            | Self::Running { print, .. }
            | Self::Stuck { print, .. }
            | Self::Pausing { print, .. }
            | Self::Paused { print, .. }
            | Self::Resuming { print, .. }
            | Self::Stopping { print, .. }
            | Self::Finishing { print, .. }
            | Self::Ended { print, .. }
            | Self::Interrupted { print }
            | Self::Recovering { print, .. } => Some(print),
        }
    }

    /// Whether the machine is busy with a print. The question after a power loss is none to the machine.
    pub(crate) fn is_active(&self) -> bool {
        !matches!(self, Self::Off { .. } | Self::Idle | Self::Ended { .. } | Self::Interrupted { .. })
    }

    /// `gcode_state`, `None` without power.
    pub(crate) fn gcode_state(&self) -> Option<&'static str> {
        Some(match self {
            Self::Off { .. } => return None,
            Self::Idle | Self::Interrupted { .. } => "IDLE",
            Self::Preparing { .. } => "PREPARE",
            Self::Running { .. }
            | Self::Stuck { .. }
            | Self::Pausing { .. }
            | Self::Stopping { .. }
            | Self::Finishing { .. }
            | Self::Recovering { .. } => "RUNNING",
            Self::Paused { .. } | Self::Resuming { .. } => "PAUSE",
            Self::Ended { failed: false, .. } => "FINISH",
            Self::Ended { failed: true, .. } => "FAILED",
        })
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        let (what, print) = match self {
            Self::Off { .. } => return "off".to_owned(),
            Self::Idle => return "idle".to_owned(),
            Self::Preparing { print, .. } => ("preparing", print),
            Self::Running { print, .. } => ("printing", print),
            Self::Stuck { print, .. } => ("printing (stuck)", print),
            Self::Pausing { print, .. } => ("pausing", print),
            Self::Paused { print, why } => (why.describe(), print),
            Self::Resuming { print, .. } => ("resuming", print),
            Self::Stopping { print, .. } => ("stopping", print),
            Self::Finishing { print, .. } => ("finishing", print),
            Self::Ended { print, failed: false } => ("finished", print),
            Self::Ended { print, failed: true } => ("failed", print),
            Self::Interrupted { print } => ("asking whether to go on with", print),
            Self::Recovering { print, .. } => ("recovering", print),
        };
        format!("{what} {}", print.path.trim_start_matches('/'))
    }
}

impl Pause {
    fn describe(self) -> &'static str {
        match self {
            Self::User => "paused",
            Self::Filament => "paused (filament)",
            Self::Door => "paused (cover)",
            Self::Mapping(_) => "paused (mapping)",
        }
    }

    /// The error shown meanwhile.
    pub(crate) fn error(self) -> u32 {
        match self {
            Self::User => 0,
            Self::Filament => 0x0300_8004,
            Self::Door => 0x0300_8001,
            Self::Mapping(code) => code.0,
        }
    }

    /// `stg_cur`
    pub(crate) fn stage(self) -> i32 {
        match self {
            Self::User => 16,
            Self::Filament => 6,
            Self::Door => 17,
            Self::Mapping(_) => 77,
        }
    }
}
