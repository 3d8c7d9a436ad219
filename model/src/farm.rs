//! From the small state to the objects the rules take, and back: printers, jobs, reports, connections.

use std::sync::LazyLock;
use std::time::Duration;

use dashmap::DashMap;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use printernizer_crds::common::{DeviceIdentity, Nozzle};
use printernizer_crds::print_job::{FileFilament, FileStatus, OutcomeAnswer, PrintJobSpec, SlotChoice, Source};
use printernizer_crds::printer::{BedSpec, Capabilities, Connection, PrinterSpec, SlotSpec};
use printernizer_crds::{PrintJob, Printer};
use printernizer_rules::device::{DeviceKind, DeviceProgress, DeviceReport, DeviceSlot, DeviceState, Link, LinkFault};
use printernizer_rules::identity::Token;
use printernizer_rules::scheduling;
use printernizer_rules::timing::Timing;

use crate::ids;
use crate::kept::{Kept, Known, once};
use crate::world::{self, Attempt, Device, Doing, End, Line, Name, No};

/// Every decision is made at this moment: deadlines come nearer instead of time going on.
pub static NOW: LazyLock<Timestamp> =
    LazyLock::new(|| Timestamp::from_second(1_795_262_400).unwrap_or(Timestamp::UNIX_EPOCH));
/// The farm's own windows.
pub static TIMING: LazyLock<Timing> = LazyLock::new(Timing::default);
/// Age of a live report: less than a poll period.
pub const AGE: Duration = Duration::from_secs(1);

fn metadata(name: String, uid: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some("farm".into()),
        uid: Some(uid),
        generation: Some(1),
        creation_timestamp: Some(Time(*NOW)),
        ..ObjectMeta::default()
    }
}

/// UID of a job.
pub fn job_uid(no: No) -> String {
    format!("0000000{no}-0000-4000-8000-000000000000")
}

/// UID of a printer.
pub fn printer_uid(no: No) -> String {
    format!("c0ffee0{no}-0000-4000-8000-000000000000")
}

/// Serial number of a device.
pub fn serial(no: No) -> String {
    format!("SN-{no}")
}

/// The job with this UID.
pub fn job_no(uid: &str) -> Option<No> {
    uid.get(7..8)?.parse().ok()
}

/// The printer with this UID.
pub fn printer_no(uid: &str) -> Option<No> {
    uid.get(7..8)?.parse().ok()
}

/// The token of an attempt.
pub fn token(attempt: Attempt) -> Token {
    Token::new(&job_uid(attempt.job), i32::from(attempt.number))
}

/// The file's name on a device.
pub fn remote_name(attempt: Attempt) -> String {
    token(attempt).remote_name(&job_name(attempt.job), "bgcode")
}

/// The attempt a name on a device is of.
pub fn attempt_of(name: &str) -> Option<Attempt> {
    let token = Token::find(name).or_else(|| Token::parse(name))?;
    let job = (0..4).find(|no| token.is_of_job(&job_uid(*no)))?;
    Some(Attempt { job, number: No::try_from(token.attempt()).ok()? })
}

/// Name of a job.
pub fn job_name(no: No) -> String {
    format!("job-{no}")
}

/// The PrintJob as the API server gives it out.
pub fn job(no: No, job: &world::Job) -> PrintJob {
    let spec = PrintJobSpec {
        desired_state: job.wants,
        outcome: job.answer.and_then(|(id, answer)| Some(OutcomeAnswer { question_id: ids::text(id)?, answer })),
        ..PrintJobSpec::new(Source::default())
    };
    PrintJob { metadata: metadata(job_name(no), job_uid(no)), spec, status: Some((*job.status).clone()) }
}

/// The Printer as the API server gives it out.
pub fn printer(no: No, printer: &world::Printer) -> Printer {
    let nozzle = Nozzle { diameter_micrometers: Some(400), ..Nozzle::default() };
    let slot = SlotSpec { slot: "Main".into(), material: "PLA".into(), ..SlotSpec::default() };
    let spec = PrinterSpec {
        capabilities: Some(Capabilities { nozzle: Some(nozzle), ..Capabilities::default() }),
        slots: vec![slot],
        bed: BedSpec { cleared_for: ids::text(printer.cleared_for), ..BedSpec::default() },
        acknowledged: ids::text(printer.acknowledged),
        ..PrinterSpec::new("Prusa CORE One", Connection::default())
    };
    let metadata = metadata(format!("printer-{no}"), printer_uid(no));
    Printer { metadata, spec, status: Some((*printer.status).clone()) }
}

/// What every job's file says of itself.
pub fn file() -> FileStatus {
    let filament = FileFilament { index: 1, material: Some("PLA".into()), color: None, grams: None, millimeters: None };
    FileStatus {
        sha256: "0".repeat(64),
        size_bytes: 1_000_000,
        format: "BinaryGcode".into(),
        printer_model: Some("COREONE".into()),
        nozzle_diameter_micrometers: Some(400),
        filaments: vec![filament],
        ..FileStatus::default()
    }
}

/// The number of the print, as a device of this kind shows it.
fn number(kind: DeviceKind, device: &Device) -> Option<String> {
    match (kind, device.name) {
        (_, Name::None) => None,
        (DeviceKind::Bambu, Name::Ours(attempt)) => Some(token(attempt).print_id(&[]).to_string()),
        (DeviceKind::Bambu, _) => Some(format!("{}", 1000 + u32::from(device.number))),
        (DeviceKind::PrusaLink, _) => Some(device.number.to_string()),
    }
}

/// What a report tells of.
type Shown = (No, DeviceKind, Doing, Name, u8, bool);

/// What a device says now. A lagging one says what it said before.
pub fn report(no: No, kind: DeviceKind, device: &Device) -> Kept<DeviceReport> {
    static REPORTS: Known<Shown, Kept<DeviceReport>> = LazyLock::new(DashMap::new);
    let shown = (no, kind, device.doing, device.name, device.number, device.filament);
    device.shows.unwrap_or_else(|| once(&REPORTS, shown, |_| Kept::new(truthful_report(no, kind, device))))
}

fn truthful_report(no: No, kind: DeviceKind, device: &Device) -> DeviceReport {
    let has_print = matches!(device.doing, Doing::Asking | Doing::Printing | Doing::Paused { .. });
    let name = match device.name {
        Name::None => None,
        Name::Older => Some("older.gcode".to_owned()),
        Name::Foreign => Some(format!("vase{}.gcode", device.number)),
        Name::Ours(attempt) => Some(remote_name(attempt)),
    };
    let percent = i32::from(device.doing != Doing::Asking);
    DeviceReport {
        state: match device.doing {
            Doing::Nothing => DeviceState::Idle,
            Doing::Asking => DeviceState::Attention,
            Doing::Printing => DeviceState::Printing,
            Doing::Paused { .. } => DeviceState::Paused,
            Doing::Shows(End::Finished) => DeviceState::Finished,
            Doing::Shows(End::Failed) => DeviceState::Failed,
            Doing::Shows(End::Stopped) => DeviceState::Stopped,
        },
        has_print,
        identity: DeviceIdentity { id: number(kind, device), name, file: None },
        progress: has_print.then(|| DeviceProgress { percent, ..DeviceProgress::default() }),
        slots: vec![DeviceSlot {
            slot: "Main".into(),
            loaded: Some(true),
            material: Some(if device.filament { "PLA" } else { "PETG" }.into()),
            ..DeviceSlot::default()
        }],
        serial_number: Some(serial(no)),
        ..DeviceReport::default()
    }
}

/// The connection as the rules see it.
pub fn link(line: Line, report: Option<Kept<DeviceReport>>) -> Link {
    match (line, report) {
        (Line::Live, Some(report)) => Link::Live { report: (*report).clone(), age: AGE },
        (Line::Connecting | Line::Live, _) => Link::Connecting,
        (Line::Down { long }, _) => Link::Down {
            cause: LinkFault::Unreachable,
            message: "no answer".into(),
            silent_for: if long { TIMING.unready_limit } else { TIMING.stale_after },
        },
    }
}

/// The slots a job's filaments are taken from, computed as the operator does.
pub fn mapping(job: &PrintJob, printer: &Printer, report: Option<&DeviceReport>) -> Result<Vec<SlotChoice>, String> {
    let capabilities = match report {
        Some(report) => scheduling::capabilities_reported(printer, report),
        None => scheduling::capabilities(printer),
    };
    scheduling::fits(&scheduling::requirements(job), printer, &capabilities).map_err(|m| m.to_string())
}
