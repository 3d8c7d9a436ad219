//! What can be wrong with a printer, for each kind of it: every fault its simulator knows that a person can mend at the
//! machine, at each step of the protocol it can happen at.

use printernizer_simulator::{
    BambuFault, Fault, FaultKind, PrintErrorCode, QuestionKind, RefusalForm, UnreachableManner,
};

use crate::life::Maker;

/// Longer than the operator waits for an answer to an upload or a start.
const LATE_MILLISECONDS: u64 = 5_000;
/// Shorter.
const SLOW_MILLISECONDS: u64 = 2_000;

/// Everything that can be wrong with a printer.
pub(super) fn of(maker: Maker) -> Vec<Fault> {
    let mut faults = match maker {
        Maker::Prusa => prusa(),
        Maker::Bambu => bambu(),
    };
    let manners = [UnreachableManner::Refuse, UnreachableManner::Silent];
    faults.extend(manners.map(|manner| Fault::lasting(FaultKind::Unreachable { manner })));
    faults.extend([
        Fault::lasting(FaultKind::UsbFull),
        Fault::lasting(FaultKind::WrongSerial { serial_number: "SOMEBODY-ELSES".into() }),
        Fault::once(FaultKind::FilamentRunout { after_percent: 50 }),
        Fault::once(FaultKind::DoorOpen { after_percent: 50 }),
        Fault::once(FaultKind::Stuck { after_percent: 50, fails_after_seconds: Some(60) }),
        Fault::once(FaultKind::RedScreen { after_percent: 50 }),
    ]);
    faults
}

/// At the requests of PrusaLink: questions, uploads, starts, deletions.
fn prusa() -> Vec<Fault> {
    let mut faults = Vec::new();
    for method in ["GET", "PUT", "POST", "DELETE"] {
        let kinds = [
            FaultKind::DelayHandling { milliseconds: SLOW_MILLISECONDS },
            FaultKind::DelayAnswer { milliseconds: LATE_MILLISECONDS },
            FaultKind::DropBeforeHandling,
            FaultKind::DropAfterHandling,
            FaultKind::Answer { status: 404 },
            FaultKind::Answer { status: 409 },
            FaultKind::Answer { status: 500 },
            FaultKind::Answer { status: 503 },
            FaultKind::HandleThenAnswer { status: 404 },
            FaultKind::HandleThenAnswer { status: 500 },
        ];
        faults.extend(kinds.map(|kind| Fault::once(kind).on(method, "/api/v1/")));
    }
    faults.extend([
        Fault::once(FaultKind::StallUpload { after_bytes: 100, milliseconds: SLOW_MILLISECONDS }),
        Fault::once(FaultKind::StallUpload { after_bytes: 100, milliseconds: 15_000 }),
        Fault::once(FaultKind::TruncateUpload { after_bytes: 100 }),
        Fault::once(FaultKind::AcceptWithoutStarting),
        Fault::once(FaultKind::StartLate { seconds: 30 }),
        Fault::once(FaultKind::StartLate { seconds: 200 }),
        Fault::lasting(FaultKind::Busy),
        Fault::lasting(FaultKind::StaleTimePrinting { seconds: 5_000 }),
    ]);
    let questions = [
        QuestionKind::WrongPrinter,
        QuestionKind::WrongNozzle,
        QuestionKind::WrongFilament,
        QuestionKind::FilamentNotInserted,
        QuestionKind::UnfinishedSelftest,
        QuestionKind::NewFirmware,
        QuestionKind::FileError,
        QuestionKind::ToolMapping,
    ];
    let asked = |question| Fault::once(FaultKind::Question { question, auto_continue_seconds: None });
    faults.extend(questions.map(asked));
    faults
}

/// At the commands of MQTT and FTPS, and beyond them.
fn bambu() -> Vec<Fault> {
    let start = |fault| Fault::once(fault).on("PUBLISH", "print.project_file");
    let at_start = |fault| start(FaultKind::Bambu(fault));
    let once = |fault| Fault::once(FaultKind::Bambu(fault));
    let lasting = |fault| Fault::lasting(FaultKind::Bambu(fault));
    let slow =
        |ids_after_seconds, state_after_seconds| BambuFault::SlowStart { ids_after_seconds, state_after_seconds };
    let refusals = [
        RefusalForm::Acknowledgement,
        RefusalForm::BadSignature,
        RefusalForm::Hms,
        RefusalForm::AcknowledgementAndHms,
        RefusalForm::WithoutResult,
        RefusalForm::Silent,
    ];
    let mut faults: Vec<Fault> = refusals.map(|form| at_start(BambuFault::Refuse { form })).into();
    faults.extend([
        at_start(BambuFault::SwallowCommand),
        at_start(BambuFault::NoAcknowledgement),
        at_start(BambuFault::StartError { code: PrintErrorCode(0x0500_4003) }),
        at_start(BambuFault::StartError { code: PrintErrorCode(0x0500_4004) }),
        at_start(slow(30, 60)),
        at_start(slow(135, 140)),
        at_start(slow(210, 215)),
        at_start(BambuFault::NeverStarts),
        at_start(BambuFault::NoIdEcho),
        start(FaultKind::AcceptWithoutStarting),
        start(FaultKind::StartLate { seconds: 60 }),
        start(FaultKind::DelayHandling { milliseconds: SLOW_MILLISECONDS }),
        start(FaultKind::DropBeforeHandling),
        start(FaultKind::DropAfterHandling),
        once(BambuFault::PrintFails { after_percent: 50, code: PrintErrorCode(0x0300_8000) }),
        once(BambuFault::LostTransferEnd),
        once(BambuFault::UploadRefused { code: 553 }),
        once(BambuFault::DataConnectionRefused),
        once(BambuFault::RenameRefused { code: 502 }),
        once(BambuFault::RenameRefused { code: 550 }),
        Fault::once(FaultKind::StallUpload { after_bytes: 100, milliseconds: SLOW_MILLISECONDS }),
        Fault::once(FaultKind::TruncateUpload { after_bytes: 100 }),
    ]);
    for command in ["STOR", "RNTO", "DELE"] {
        let kinds = [FaultKind::DropBeforeHandling, FaultKind::DropAfterHandling];
        faults.extend(kinds.map(|kind| Fault { method: Some(command.into()), ..Fault::once(kind) }));
    }
    let conditions = [
        BambuFault::EndScreenIgnoresStarts,
        BambuFault::ChecksMd5,
        BambuFault::LeftoverFileStarts,
        BambuFault::KeepsIdsOverReboot,
        BambuFault::ReportsStop,
        BambuFault::OtherAcknowledgements,
        BambuFault::NumbersAsStrings,
        BambuFault::InvalidUtf8,
        BambuFault::LargeReports { bytes: 32 * 1024 },
        BambuFault::SecondClientKicksFirst,
        BambuFault::OnlyLastClientHears,
        BambuFault::LoginRefusal { code: 3 },
        BambuFault::HangsOnTls13,
        BambuFault::CardReadOnly,
        BambuFault::CardAbnormal,
        BambuFault::SessionReuseRequired,
        BambuFault::PassiveAddressZero,
        BambuFault::RenameRefused { code: 502 },
    ];
    faults.extend(conditions.map(lasting));
    faults
}
