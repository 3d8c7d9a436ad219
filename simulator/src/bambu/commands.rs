//! Messages on the request topic: what they ask, what the firmware makes of them, how they are acknowledged.
//!
//! An acknowledgement repeats the request's fields under the same category, with `result`, and is published on the
//! report topic where every client hears it. Commands of the categories `print` and `system` need a signature unless
//! Developer Mode is on; the simulator knows no signatures, so they are refused then.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    BambuFault, Inner, Printer, RefusalForm,
    card::absolute,
    firmware::{CLAMPED_ID, StartAnswer, StartFaults, StartRequest},
    three_mf::plate_number,
};
use crate::{BambuIdentity, Event, JobCommand, StartCause, fault::RequestFaults, fault::RequestKind};

/// Printers answer with these for commands that are not signed.
const VERIFY_FAILED: u32 = 84_033_543;
const BAD_SIGNATURE: u32 = 84_033_545;

/// One command as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'a> {
    pub(crate) category: &'a str,
    pub(crate) name: &'a str,
    pub(crate) body: &'a Map<String, Value>,
}

/// What is to be published for a command, in this order.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) acknowledgement: Option<Value>,
    pub(crate) full_report: bool,
}

impl<'a> Command<'a> {
    /// The commands of one message; nothing if it is none.
    pub(crate) fn all(message: &'a Value) -> Vec<Self> {
        let Value::Object(categories) = message else { return Vec::new() };
        let command = |(category, body): (&'a String, &'a Value)| {
            let body = body.as_object()?;
            Some(Self { category, name: body.get("command")?.as_str()?, body })
        };
        categories.iter().filter_map(command).collect()
    }

    /// `print.project_file`: what faults are narrowed by.
    pub(crate) fn target(&self) -> String {
        format!("{}.{}", self.category, self.name)
    }

    pub(crate) fn is_start(&self) -> bool {
        (self.category, self.name) == ("print", "project_file")
    }

    fn job_command(&self) -> Option<JobCommand> {
        match (self.category, self.name) {
            ("print", "pause") => Some(JobCommand::Pause),
            ("print", "resume") => Some(JobCommand::Resume),
            ("print", "stop") => Some(JobCommand::Stop),
            _ => None,
        }
    }

    /// The request's fields and these.
    fn echo(&self, keeps_command: bool, more: &Value) -> Value {
        let mut body = self.body.clone();
        if !keeps_command {
            body.remove("command");
        }
        if let Value::Object(more) = more {
            body.extend(more.clone());
        }
        json!({ self.category: body })
    }

    fn text(&self, field: &str) -> String {
        match self.body.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// A client's id as the device keeps it: a 32-bit integer, larger ones clamped.
    fn id(&self, field: &str) -> String {
        let text = self.text(field);
        match text.parse::<u128>() {
            Ok(number) if number >= i32::MAX.unsigned_abs().into() => CLAMPED_ID.to_owned(),
            _ if text.is_empty() => "0".to_owned(),
            _ => text,
        }
    }

    fn start_request(&self) -> StartRequest {
        let plate_path = self.text("param");
        let mapping = self.body.get("ams_mapping").and_then(Value::as_array);
        StartRequest {
            cause: StartCause::ProjectFile,
            identity: BambuIdentity {
                plate: plate_number(&plate_path).unwrap_or(0),
                task_id: self.id("task_id"),
                subtask_id: self.id("subtask_id"),
                project_id: self.id("project_id"),
                subtask_name: self.text("subtask_name"),
            },
            plate_path,
            path: card_path(&self.text("url")),
            md5: self.text("md5"),
            use_ams: self.body.get("use_ams").and_then(Value::as_bool).unwrap_or(false),
            mapping: mapping
                .map(|trays| trays.iter().map(|tray| tray.as_i64().unwrap_or(-1)).collect())
                .unwrap_or_default(),
        }
    }
}

/// Where an address points on the card. Both forms slicers use are understood.
fn card_path(url: &str) -> Option<String> {
    let path =
        ["file:///sdcard/", "file:///mnt/sdcard/", "ftp://"].iter().find_map(|scheme| url.strip_prefix(scheme))?;
    absolute("/", path).filter(|path| path != "/")
}

impl Printer {
    /// Does what the command asks and says what to publish. Everything in it happens at one instant.
    pub(crate) fn command(&self, command: Command<'_>, drawn: &RequestFaults) -> Answers {
        self.life.change(|inner, now| self.handle(inner, now, command, drawn))
    }

    /// A start that never reached the machine.
    pub(crate) fn lost_start(&self, command: Command<'_>, reason: &str) {
        if command.is_start() {
            self.life.change(|inner, _| self.tell_start(inner, command, None, false, reason));
        }
    }

    fn handle(&self, inner: &mut Inner, now: Duration, command: Command<'_>, drawn: &RequestFaults) -> Answers {
        let target = command.target();
        let kind = request_kind(&target, command.is_start());
        if inner.faults.takes_bambu(kind, &BambuFault::SwallowCommand) {
            if command.is_start() {
                self.tell_start(inner, command, None, false, "fault: swallowed");
            }
            return Answers::default();
        }
        let mut answers = match (command.category, command.name) {
            ("pushing", "pushall") => return Answers { acknowledgement: None, full_report: true },
            ("pushing", name) => {
                inner.reporter.stopped = name == "stop";
                return Answers::default();
            }
            ("info", "get_version") => {
                return Answers { acknowledgement: Some(version(inner, command)), full_report: false };
            }
            _ => self.control(inner, now, command, kind, drawn),
        };
        if inner.faults.takes_bambu(kind, &BambuFault::NoAcknowledgement) {
            answers.acknowledgement = None;
        }
        if inner.faults.has_bambu(&BambuFault::OtherAcknowledgements)
            && let Some(body) = answers.acknowledgement.as_mut().and_then(|message| message.get_mut(command.category))
        {
            write_otherwise(body);
        }
        answers
    }

    /// A command that may move something.
    fn control(
        &self,
        inner: &mut Inner,
        now: Duration,
        command: Command<'_>,
        kind: RequestKind<'_>,
        drawn: &RequestFaults,
    ) -> Answers {
        let refused = inner.faults.take_bambu(kind, |fault| match fault {
            BambuFault::Refuse { form } => Some(*form),
            _ => None,
        });
        let config = inner.firmware.config();
        let keeps_command = config.acknowledges_command;
        if let Some(form) = refused.or((!config.developer_mode).then_some(config.refusal)) {
            return self.refuse(inner, command, form);
        }
        if command.is_start() {
            return self.start(inner, now, command, kind, drawn);
        }
        let firmware = &mut inner.firmware;
        let text = command.text("param");
        let took_effect = match (command.category, command.name) {
            ("print", "pause") => firmware.pause(now),
            ("print", "resume") => firmware.resume(now),
            ("print", "stop") => firmware.stop(now),
            ("print", "print_speed") => firmware.set_speed(text.parse().unwrap_or(0)),
            ("print", "clean_print_error") => {
                firmware.clear_error();
                true
            }
            ("system", "ledctrl") => {
                firmware.set_light(command.text("led_mode") != "off");
                true
            }
            // Printing a file by its path is blocked on current firmware.
            ("print", "gcode_file") => false,
            ("print", "gcode_line" | "print_option" | "ams_filament_setting") => true,
            _ => return Answers::default(),
        };
        if let Some(asked) = command.job_command() {
            let event = Event::JobCommand { command: asked, job_id: None, answer: None, took_effect };
            self.life.record(inner, event);
        }
        // A pause, resume or stop that changes nothing is acknowledged all the same.
        let success = took_effect || command.job_command().is_some();
        let result = if success {
            json!({ "result": "success", "reason": "" })
        } else {
            json!({ "result": "fail", "reason": "" })
        };
        Answers { acknowledgement: Some(command.echo(keeps_command, &result)), full_report: false }
    }

    fn start(
        &self,
        inner: &mut Inner,
        now: Duration,
        command: Command<'_>,
        kind: RequestKind<'_>,
        drawn: &RequestFaults,
    ) -> Answers {
        let mut faults = StartFaults {
            accept_without_starting: drawn.accept_without_starting,
            start_late: drawn.start_late,
            ..StartFaults::default()
        };
        let drawn = &mut inner.faults;
        faults.slow = drawn.take_bambu(kind, |fault| match fault {
            BambuFault::SlowStart { ids_after_seconds, state_after_seconds } => {
                Some((Duration::from_secs(*ids_after_seconds), Duration::from_secs(*state_after_seconds)))
            }
            _ => None,
        });
        faults.error = drawn.take_bambu(kind, |fault| match fault {
            BambuFault::StartError { code } => Some(*code),
            _ => None,
        });
        faults.never = drawn.takes_bambu(kind, &BambuFault::NeverStarts);
        faults.no_id_echo = drawn.takes_bambu(kind, &BambuFault::NoIdEcho);
        let incidents = inner.faults.draw_for_print();
        let keeps_command = inner.firmware.config().acknowledges_command;
        match inner.firmware.start(now, command.start_request(), &faults, incidents) {
            StartAnswer::Acknowledged { accepted, reason } => {
                self.tell_start(inner, command, Some("success"), accepted, reason);
                let result = json!({ "result": "success", "reason": "" });
                Answers { acknowledgement: Some(command.echo(keeps_command, &result)), full_report: false }
            }
            StartAnswer::Ignored { reason } => {
                self.tell_start(inner, command, None, false, reason);
                Answers::default()
            }
        }
    }

    fn refuse(&self, inner: &mut Inner, command: Command<'_>, form: RefusalForm) -> Answers {
        let keeps_command = inner.firmware.config().acknowledges_command;
        if matches!(form, RefusalForm::Hms | RefusalForm::AcknowledgementAndHms) {
            inner.firmware.show_verify_failure();
        }
        let failed =
            |code: u32| json!({ "result": "failed", "reason": "mqtt message verify failed", "err_code": code });
        let (acknowledgement, said) = match form {
            RefusalForm::Acknowledgement | RefusalForm::AcknowledgementAndHms => {
                (Some(command.echo(keeps_command, &failed(VERIFY_FAILED))), Some("failed"))
            }
            RefusalForm::BadSignature => (Some(command.echo(keeps_command, &failed(BAD_SIGNATURE))), Some("failed")),
            RefusalForm::WithoutResult => (Some(command.echo(keeps_command, &json!({}))), Some("")),
            RefusalForm::Hms | RefusalForm::Silent => (None, None),
        };
        if command.is_start() {
            if form == RefusalForm::WithoutResult {
                inner.firmware.echo_only(&command.start_request());
            }
            self.tell_start(inner, command, said, false, "not signed");
        }
        Answers { acknowledgement, full_report: false }
    }

    fn tell_start(&self, inner: &Inner, command: Command<'_>, said: Option<&str>, accepted: bool, reason: &str) {
        let request = command.start_request();
        let event = Event::StartCommand {
            cause: StartCause::ProjectFile,
            file_name: request.path.unwrap_or_else(|| command.text("url")).trim_start_matches('/').to_owned(),
            answer: None,
            acknowledgement: said.map(str::to_owned),
            identity: Some(crate::PrintIdentity::Bambu(request.identity)),
            accepted,
            reason: reason.to_owned(),
        };
        self.life.record(inner, event);
    }
}

/// As some firmware writes an acknowledgement: the result in capitals, the number of the request as a number.
fn write_otherwise(acknowledgement: &mut Value) {
    if let Some(result) = acknowledgement["result"].as_str() {
        acknowledgement["result"] = json!(result.to_uppercase());
    }
    if let Some(number) = acknowledgement["sequence_id"].as_str().and_then(|text| text.parse::<i64>().ok()) {
        acknowledgement["sequence_id"] = json!(number);
    }
}

pub(super) fn request_kind(target: &str, is_start: bool) -> RequestKind<'_> {
    RequestKind { method: "PUBLISH", target, is_start, is_upload: false }
}

/// The modules of the machine.
fn version(inner: &Inner, command: Command<'_>) -> Value {
    let firmware = &inner.firmware;
    let serial_number = inner.shown_serial_number();
    let product = format!("Bambu Lab {}", firmware.model());
    let module = |name: &str, version: &str, hardware: &str| {
        json!({
            "name": name, "sw_ver": version, "hw_ver": hardware, "sn": serial_number, "loader_ver": "00.00.00.00",
            "product_name": if name == "ota" { product.as_str() } else { "" }, "project_name": "N2S", "visible": true,
        })
    };
    let mut modules = vec![module("ota", &firmware.config().firmware, "OTA"), module("esp32", "00.03.12.31", "AP05")];
    if !firmware.trays().is_empty() {
        modules.push(module("ams_f1/0", "00.00.07.94", "AMS_F102"));
    }
    let sequence = command.body.get("sequence_id").cloned().unwrap_or_else(|| json!("0"));
    json!({ "info": { "command": "get_version", "sequence_id": sequence, "module": modules, "result": "success", "reason": "" } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_forms_point_on_the_card() {
        let table = [
            ("ftp:///a.gcode.3mf", Some("/a.gcode.3mf")),
            ("ftp://a.gcode.3mf", Some("/a.gcode.3mf")),
            ("ftp:///model/a.gcode.3mf", Some("/model/a.gcode.3mf")),
            ("file:///sdcard/a.gcode.3mf", Some("/a.gcode.3mf")),
            ("file:///media/usb0/a.gcode.3mf", None),
            ("http://somewhere/a.gcode.3mf", None),
            ("ftp:///", None),
            ("ftp://../a", None),
        ];
        for (url, expected) in table {
            assert_eq!(card_path(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn ids_are_32_bit_integers_on_the_device() {
        for (sent, kept) in [
            (json!("17"), "17"),
            (json!(17), "17"),
            (json!("2147483646"), "2147483646"),
            (json!("2147483648"), CLAMPED_ID),
            (json!("1732190123456"), CLAMPED_ID),
            (json!(""), "0"),
        ] {
            let message = json!({ "print": { "command": "project_file", "task_id": sent } });
            assert_eq!(Command::all(&message)[0].id("task_id"), kept);
        }
    }
}
