//! What every kind of printer offers to the simulator and its control API, for a Bambu printer.

use std::{
    pin::Pin,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use tokio::sync::watch;

use super::{CommandGuard, Inner, PrintErrorCode, Printer, USERNAME, certificate::DeviceKey};
use crate::{
    ActError, Action, BambuInfo, BambuState, Event, Fault, FaultKind, PrinterInfo, PrinterKind, PrinterState,
    machine::Machine,
};

impl Printer {
    fn login_info(&self, inner: &Inner) -> PrinterInfo {
        PrinterInfo {
            name: self.life.name().to_owned(),
            kind: PrinterKind::Bambu,
            url: format!("mqtts://{}", self.mqtt),
            serial_number: inner.serial_number.clone(),
            username: USERNAME.to_owned(),
            password: inner.access_code.clone(),
            model: inner.firmware.model().to_owned(),
            bambu: Some(BambuInfo {
                host: self.mqtt.ip().to_string(),
                mqtt_port: self.mqtt.port(),
                ftps_port: self.ftps.port(),
                access_code: inner.access_code.clone(),
                certificate_authority_pem: self.authority.pem(),
                public_key_sha256: inner.device_key.public_key_sha256(),
            }),
        }
    }
}

impl Machine for Printer {
    fn info(&self) -> PrinterInfo {
        self.life.look(|inner, _| self.login_info(inner))
    }

    fn state(&self) -> PrinterState {
        self.life.look(|inner, now| {
            let firmware = &inner.firmware;
            let print = firmware.phase().print();
            let shown = firmware.shown();
            PrinterState {
                info: self.login_info(inner),
                screen: firmware.phase().describe(),
                link_state: firmware.phase().gcode_state().map(str::to_owned),
                job_id: None,
                last_job_id: 0,
                file_name: print.map(|print| print.path.trim_start_matches('/').to_owned()),
                progress_percent: print.map(|print| print.percent_at(firmware.printed(now))),
                bed_occupied: firmware.bed_occupied(),
                powered: firmware.is_powered(),
                usb_inserted: firmware.card.inserted,
                files: firmware.card.paths().iter().map(|path| path.trim_start_matches('/').to_owned()).collect(),
                faults: inner.faults.list(),
                bambu: Some(BambuState {
                    task_id: shown.task_id.clone(),
                    subtask_id: shown.subtask_id.clone(),
                    project_id: shown.project_id.clone(),
                    subtask_name: shown.subtask_name.clone(),
                    gcode_file: shown.gcode_file.clone(),
                    print_error: PrintErrorCode(firmware.print_error()),
                    trays: firmware.trays().to_vec(),
                    external: firmware.external().clone(),
                    clients: inner.clients.count(),
                    logins: inner.clients.came(),
                }),
            }
        })
    }

    fn person(&self, action: &Action) -> Result<(), ActError> {
        self.life.change(|inner, now| {
            let boots = inner.firmware.boots();
            inner.faults.draw_for_act(action, |incidents| inner.firmware.person(now, action, incidents))?;
            match action {
                Action::ChangePassword { password } => inner.access_code = password.clone(),
                Action::ReplaceDevice { serial_number } => {
                    inner.serial_number.clone_from(serial_number);
                    if let Ok(key) = DeviceKey::generate() {
                        inner.device_key = key;
                    }
                }
                _ => {}
            }
            if inner.firmware.boots() != boots {
                inner.after_reboot(now);
            }
            self.life.record(inner, Event::Person { act: action.without_secret() });
            Ok(())
        })
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        self.life.wake();
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.life.changes()
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            for endpoint in [&self.mqtt_boots, &self.ftps_boots] {
                crate::endpoint::settled(|| self.link(), endpoint).await;
            }
        })
    }

    fn set_guard(&self, guard: Arc<dyn CommandGuard>) -> bool {
        *self.guard.write().unwrap_or_else(PoisonError::into_inner) = Some(guard);
        true
    }

    fn add_fault(&self, fault: Fault) {
        self.life.change(|inner, _| inner.faults.add(fault));
    }

    fn replace_faults(&self, faults: Vec<Fault>) {
        self.life.change(|inner, _| inner.faults.replace(faults));
    }

    fn knows_fault(&self, kind: &FaultKind) -> bool {
        matches!(
            kind,
            FaultKind::Bambu(_)
                | FaultKind::DelayHandling { .. }
                | FaultKind::DropBeforeHandling
                | FaultKind::DropAfterHandling
                | FaultKind::AcceptWithoutStarting
                | FaultKind::StartLate { .. }
                | FaultKind::StallUpload { .. }
                | FaultKind::TruncateUpload { .. }
                | FaultKind::Unreachable { .. }
                | FaultKind::UsbFull
                | FaultKind::WrongSerial { .. }
                | FaultKind::FilamentRunout { .. }
                | FaultKind::DoorOpen { .. }
                | FaultKind::Stuck { .. }
                | FaultKind::RedScreen { .. }
        )
    }
}
