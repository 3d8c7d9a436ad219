//! What becomes of a start: acknowledged at once, looked at later, and only then refused or begun.
//!
//! The checks and their order follow the error codes printers show. The one place where a machine begins to move is
//! `begin`. A second start while the first is waiting waits behind it, and finds the printer busy or free.

use std::time::Duration;

use super::{
    BUSY, CANCELLED, CLAMPED_ID, Firmware, Pause, Pending, Phase, Print, StartFaults, StartRequest, TRANSIENT, millis,
};
use crate::{
    Event, FilamentUse, Outcome, PrintErrorCode, PrintIdentity, StartCause,
    bambu::three_mf::{Plate, PlateFilament, read_plate},
    fault::Incidents,
};

/// Starts waiting at the same time; more are ignored.
const PENDING_LIMIT: usize = 8;
const BAD_ADDRESS: u32 = 0x0500_4002;
const NO_PRINT_FILE: u32 = 0x0500_4003;
const UPDATING: u32 = 0x0500_4005;
const NO_CARD: u32 = 0x0500_400c;
const WRONG_NOZZLE: u32 = 0x0500_4038;
const WRONG_MODEL: u32 = 0x0500_8036;
const CANNOT_READ: u32 = 0x0500_c010;
const LOADING_FILAMENT: u32 = 0x0502_400d;
const AMS_MAPPING: u32 = 0x0700_8012;
const EXTERNAL_MAPPING: u32 = 0x07ff_8012;
/// The external spool as a tray.
const EXTERNAL_TRAY: u8 = 254;

/// What the machine answers to a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartAnswer {
    /// Acknowledged with success, whatever comes of it.
    Acknowledged {
        /// Whether the machine will look at it.
        accepted: bool,
        reason: &'static str,
    },
    /// Not a word.
    Ignored { reason: &'static str },
}

impl Firmware {
    /// Takes a start from the network.
    pub(crate) fn start(
        &mut self,
        now: Duration,
        request: StartRequest,
        faults: &StartFaults,
        incidents: Incidents,
    ) -> StartAnswer {
        if self.conditions.end_screen_ignores_starts && matches!(self.phase, Phase::Ended { .. }) {
            return StartAnswer::Ignored { reason: "fault: the end screen was not dismissed" };
        }
        if faults.accept_without_starting {
            return StartAnswer::Acknowledged { accepted: false, reason: "fault: acknowledged without starting" };
        }
        if self.phase.is_active() {
            self.refuse_busy(now);
            return StartAnswer::Acknowledged { accepted: false, reason: "busy: 0500_4004" };
        }
        let repeats_clamped = request.identity.task_id == CLAMPED_ID && self.shown.task_id == CLAMPED_ID;
        if repeats_clamped {
            return StartAnswer::Acknowledged {
                accepted: false,
                reason: "looks like the same task: its id was clamped",
            };
        }
        if self.pending.len() >= PENDING_LIMIT {
            return StartAnswer::Ignored { reason: "too many starts are waiting" };
        }
        let later = faults.start_late.unwrap_or_default();
        let accepting = millis(self.config.timings.accepting_milliseconds);
        let (ids_after, state_after) = faults.slow.unwrap_or((Duration::ZERO, accepting));
        self.pending.push(Pending {
            request,
            incidents,
            error: faults.error,
            no_id_echo: faults.no_id_echo,
            name_at: Some(now + later),
            ids_at: Some(now + later + ids_after),
            state_at: (!faults.never).then_some(now + later + state_after),
        });
        self.advance(now);
        StartAnswer::Acknowledged {
            accepted: true,
            reason: if faults.never { "fault: accepted, never starts" } else { "accepted" },
        }
    }

    /// A start that was refused for want of a signature but whose ids appear nevertheless.
    pub(crate) fn echo_only(&mut self, request: &StartRequest) {
        self.show_name(request);
        self.show_ids(request, false);
    }

    /// A start while busy is refused, and on some firmware ends what is being printed.
    fn refuse_busy(&mut self, at: Duration) {
        if self.conditions.busy_start_cancels
            && let Some(print) = self.interrupt(at)
        {
            self.set_error(CANCELLED, Some(at + TRANSIENT));
            self.phase = self.stopping(print, at, true);
        } else {
            self.set_error(BUSY, Some(at + TRANSIENT));
        }
    }

    /// Does the next thing of a waiting start that is due. False if there is none.
    pub(super) fn pass_pending(&mut self, due: Duration) -> bool {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= due);
        for index in 0..self.pending.len() {
            if is_due(self.pending[index].name_at) {
                self.pending[index].name_at = None;
                let request = self.pending[index].request.clone();
                self.show_name(&request);
                return true;
            }
            if is_due(self.pending[index].ids_at) {
                self.pending[index].ids_at = None;
                let request = self.pending[index].request.clone();
                self.show_ids(&request, self.pending[index].no_id_echo);
                let identity = PrintIdentity::Bambu(request.identity);
                let file_name = request.path.unwrap_or_default().trim_start_matches('/').to_owned();
                self.events.push(Event::JobAccepted { cause: request.cause, file_name, identity });
                return true;
            }
            if is_due(self.pending[index].state_at) {
                let pending = self.pending.remove(index);
                self.look_at(due, pending);
                return true;
            }
        }
        false
    }

    fn show_name(&mut self, request: &StartRequest) {
        let path = request.path.as_deref().unwrap_or_default();
        path.trim_start_matches('/').clone_into(&mut self.shown.gcode_file);
    }

    fn show_ids(&mut self, request: &StartRequest, no_ids: bool) {
        let id = |id: &String| if no_ids { "0".to_owned() } else { id.clone() };
        self.shown.task_id = id(&request.identity.task_id);
        self.shown.subtask_id = id(&request.identity.subtask_id);
        self.shown.project_id = id(&request.identity.project_id);
        self.shown.subtask_name.clone_from(&request.identity.subtask_name);
    }

    fn look_at(&mut self, at: Duration, pending: Pending) {
        if self.phase.is_active() {
            self.abandon(&pending.request);
            self.refuse_busy(at);
            return;
        }
        let checked = match pending.error {
            Some(code) => Err(code.0),
            None => self.check(&pending.request),
        };
        match checked {
            Ok((plate, path)) => {
                // The question after a power loss does not protect the part on the bed.
                if let Some(lost) = self.interrupt(at) {
                    self.tell_end(&lost, Outcome::LostPower);
                }
                self.set_error(0, None);
                self.hms.clear();
                let Some(file) = self.card.find(&path).cloned() else { return };
                let print = Box::new(Print {
                    request: pending.request,
                    path,
                    file,
                    duration: plate.duration,
                    layers: plate.layers,
                    printed: Duration::ZERO,
                    incidents: pending.incidents,
                    filaments: Vec::new(),
                    begun: false,
                });
                self.phase = self.begin(print, at, &plate);
            }
            Err(code) => {
                self.abandon(&pending.request);
                self.set_error(code, None);
                if !matches!(self.phase, Phase::Interrupted { .. }) {
                    self.phase = Phase::Idle;
                }
            }
        }
    }

    pub(super) fn abandon(&mut self, request: &StartRequest) {
        let file_name = request.path.as_deref().unwrap_or_default().trim_start_matches('/').to_owned();
        self.events.push(Event::JobAbandoned { file_name, identity: PrintIdentity::Bambu(request.identity.clone()) });
    }

    /// What the machine finds when it looks at the request: the plate and where it lies, or the error it shows.
    fn check(&self, request: &StartRequest) -> Result<(Plate, String), u32> {
        if self.update.is_some() {
            return Err(UPDATING);
        }
        if self.filament_change_until.is_some() {
            return Err(LOADING_FILAMENT);
        }
        if !self.card.inserted {
            return Err(NO_CARD);
        }
        if self.conditions.card_abnormal {
            return Err(CANNOT_READ);
        }
        let path = request.path.clone().ok_or(BAD_ADDRESS)?;
        let file = self.card.find(&path).filter(|file| !file.open).ok_or(CANNOT_READ)?;
        if self.conditions.checks_md5 && !request.md5.is_empty() && !request.md5.eq_ignore_ascii_case(&file.md5()) {
            return Err(NO_PRINT_FILE);
        }
        let plate = read_plate(&file.data, &request.plate_path).map_err(|_| NO_PRINT_FILE)?;
        let model = model_id(&self.model);
        if plate.printer_model_id.as_deref().is_some_and(|wanted| model.is_some_and(|model| wanted != model)) {
            return Err(WRONG_MODEL);
        }
        if plate.nozzle_diameter.as_deref().is_some_and(|wanted| wanted != self.nozzle_diameter) {
            return Err(WRONG_NOZZLE);
        }
        Ok((plate, path))
    }

    /// Begins to move, or pauses because the trays do not fit. This is the one place a physical start happens.
    fn begin(&mut self, mut print: Box<Print>, at: Duration, plate: &Plate) -> Phase {
        match self.filaments(&print.request, &plate.filaments) {
            Err(code) => return Phase::Paused { print, why: Pause::Mapping(PrintErrorCode(code)) },
            Ok(filaments) => print.filaments = filaments,
        }
        print.begun = true;
        self.tray_now = print.filaments.first().map_or(EXTERNAL_TRAY, |used| used.tray);
        self.events.push(Event::PhysicalStart {
            cause: print.request.cause,
            file_name: print.name(),
            sha256: print.file.sha256.clone(),
            identity: print.identity(),
            filaments: print.filaments.clone(),
            bed_occupied: std::mem::replace(&mut self.bed_occupied, true),
        });
        Phase::Preparing { print, until: at + millis(self.config.timings.preparing_milliseconds) }
    }

    /// Tries again after a pause before the first movement.
    pub(super) fn begin_again(&mut self, print: Box<Print>, at: Duration) -> Phase {
        match read_plate(&print.file.data, &print.request.plate_path) {
            Ok(plate) => self.begin(print, at, &plate),
            Err(_) => self.fail(print, at, PrintErrorCode(NO_PRINT_FILE)),
        }
    }

    /// Which tray each filament of the plate comes from, or the error shown for it.
    fn filaments(&self, request: &StartRequest, wanted: &[PlateFilament]) -> Result<Vec<FilamentUse>, u32> {
        let used = |filament: &PlateFilament, tray: u8| {
            let loaded = self.trays.get(usize::from(tray)).unwrap_or(&self.external);
            FilamentUse {
                filament: filament.id,
                wanted_material: filament.material.clone(),
                tray,
                material: loaded.material.clone(),
                color: loaded.color.clone(),
            }
        };
        if !request.use_ams {
            if self.external.is_empty() {
                return Err(EXTERNAL_MAPPING);
            }
            return Ok(wanted.iter().map(|filament| used(filament, EXTERNAL_TRAY)).collect());
        }
        let mut filaments = Vec::new();
        for filament in wanted {
            let mapped = filament.id.checked_sub(1).and_then(|index| request.mapping.get(index));
            let tray = match mapped {
                Some(254 | 255) if self.external.is_empty() => Err(EXTERNAL_MAPPING),
                Some(254 | 255) => Ok(EXTERNAL_TRAY),
                Some(tray) => usize::try_from(*tray)
                    .ok()
                    .filter(|tray| self.trays.get(*tray).is_some_and(|tray| !tray.is_empty()))
                    .and_then(|tray| u8::try_from(tray).ok())
                    .ok_or(AMS_MAPPING),
                None => Err(AMS_MAPPING),
            };
            let any_tray =
                || self.trays.iter().position(|tray| !tray.is_empty()).and_then(|tray| u8::try_from(tray).ok());
            let tray = match (tray, any_tray()) {
                (Err(_), Some(tray)) if self.conditions.wrong_mapping_prints => tray,
                (tray, _) => tray?,
            };
            filaments.push(used(filament, tray));
        }
        if self.trays.is_empty() { Err(AMS_MAPPING) } else { Ok(filaments) }
    }

    /// A start that nobody asked for over the network: the screen, or the machine itself. Its ids are 0.
    pub(super) fn start_locally(&mut self, at: Duration, path: &str, cause: StartCause, incidents: Incidents) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let stem = name.strip_suffix(".3mf").unwrap_or(name);
        let stem = stem.strip_suffix(".gcode").unwrap_or(stem);
        let request = StartRequest {
            cause,
            identity: crate::BambuIdentity {
                plate: 1,
                task_id: "0".to_owned(),
                subtask_id: "0".to_owned(),
                project_id: "0".to_owned(),
                subtask_name: stem.to_owned(),
            },
            plate_path: "Metadata/plate_1.gcode".to_owned(),
            path: Some(path.to_owned()),
            md5: String::new(),
            use_ams: false,
            mapping: Vec::new(),
        };
        let accepting = millis(self.config.timings.accepting_milliseconds);
        self.pending.push(Pending {
            request,
            incidents,
            error: None,
            no_id_echo: false,
            name_at: Some(at),
            ids_at: Some(at),
            state_at: Some(at + accepting),
        });
    }
}

/// What slicers call the model; `None` if the simulator does not know it, and then it is not checked.
fn model_id(model: &str) -> Option<&'static str> {
    Some(match model {
        "A1" => "N2S",
        "A1 mini" => "N1",
        "P1P" => "C11",
        "P1S" => "C12",
        "X1C" => "BL-P001",
        _ => return None,
    })
}
