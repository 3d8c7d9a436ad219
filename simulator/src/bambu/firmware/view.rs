//! What can be seen of the machine at one instant, for reports, the control API and the endpoints.
//!
//! Only looks; whoever looks has let time pass before.

use super::{CANCELLED, Conditions, Firmware, Phase, Shown};
use crate::{BambuConfig, Tray};

impl Firmware {
    pub(crate) fn conditions(&self) -> Conditions {
        self.conditions
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn shown(&self) -> &Shown {
        &self.shown
    }

    pub(crate) fn print_error(&self) -> u32 {
        match &self.phase {
            Phase::Paused { why, .. } if self.print_error == 0 => why.error(),
            Phase::Interrupted { .. } if self.print_error == 0 => 0x0300_8007,
            Phase::Stopping { cancelled: true, .. } if self.print_error == 0 => CANCELLED,
            _ => self.print_error,
        }
    }

    pub(crate) fn hms(&self) -> &[(u32, u32)] {
        &self.hms
    }

    pub(crate) fn trays(&self) -> &[Tray] {
        &self.trays
    }

    pub(crate) fn external(&self) -> &Tray {
        &self.external
    }

    pub(crate) fn tray_now(&self) -> u8 {
        self.tray_now
    }

    pub(crate) fn ams_version(&self) -> u32 {
        self.ams_version
    }

    pub(crate) fn changes_filament(&self) -> bool {
        self.filament_change_until.is_some()
    }

    pub(crate) fn is_updating(&self) -> bool {
        self.update.is_some()
    }

    pub(crate) fn config(&self) -> &BambuConfig {
        &self.config
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    pub(crate) fn nozzle_diameter(&self) -> &str {
        &self.nozzle_diameter
    }

    pub(crate) fn speed_level(&self) -> u8 {
        self.speed_level
    }

    pub(crate) fn light_on(&self) -> bool {
        self.light_on
    }

    pub(crate) fn is_powered(&self) -> bool {
        !matches!(self.phase, Phase::Off { .. })
    }

    pub(crate) fn boots(&self) -> u32 {
        self.boots
    }

    pub(crate) fn bed_occupied(&self) -> bool {
        self.bed_occupied
    }
}
