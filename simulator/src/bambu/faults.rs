//! Faults only a Bambu printer has, as data shared with the control API. Each was seen on real machines by others.
//!
//! Seconds are simulated time (the machine's), bytes and codes are what goes over the wire. How often and for which
//! commands they happen is said by the [`crate::Fault`] around them.

use serde::{Deserialize, Serialize};

/// What is wrong with a Bambu printer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum BambuFault {
    /// A command is taken by the broker and never reaches the machine. Telemetry flows.
    SwallowCommand,
    /// A command has its effect, and no acknowledgement.
    NoAcknowledgement,
    /// A command is refused because it is not signed, as without Developer Mode.
    Refuse {
        /// How that shows.
        form: RefusalForm,
    },
    /// A start is acknowledged, its ids appear, and it ends at once with this error in IDLE.
    StartError {
        /// As shown to people: `0500_4003`.
        code: PrintErrorCode,
    },
    /// A start is acknowledged and its file name appears at once, its ids and its state later. Until then the report
    /// shows the ids and the state of before.
    SlowStart {
        /// When the ids appear.
        ids_after_seconds: u64,
        /// When the state changes; the machine moves from then on.
        state_after_seconds: u64,
    },
    /// A start is acknowledged, its ids appear, and it stays as it is for ever.
    NeverStarts,
    /// The machine never shows the ids it was given; the name it does.
    NoIdEcho,
    /// A start sent to a busy printer cancels what it is printing.
    BusyStartCancels,
    /// A start sent while the end screen was not dismissed is ignored without a word.
    EndScreenIgnoresStarts,
    /// A start whose `md5` is neither empty nor the file's ends in 0500_4003.
    ChecksMd5,
    /// A wrong filament mapping prints with the first loaded tray instead of an error.
    WrongMappingPrints,
    /// The next print fails.
    PrintFails {
        /// Progress at which it happens.
        after_percent: u8,
        /// The error shown for two seconds.
        code: PrintErrorCode,
    },
    /// A sliced file left in the root of the card starts by itself after a power cycle.
    LeftoverFileStarts,
    /// Ids and name of the last job survive a reboot.
    KeepsIdsOverReboot,
    /// Reports and acknowledgements stop while the connection stays up.
    ReportsStop,
    /// Acknowledgements say `SUCCESS` and `FAIL`, and repeat `sequence_id` as a number.
    OtherAcknowledgements,
    /// Numbers are sent as strings and ids as numbers.
    NumbersAsStrings,
    /// Reports contain bytes that are no UTF-8.
    InvalidUtf8,
    /// Full reports have at least this size.
    LargeReports {
        /// Size of the payload.
        bytes: usize,
    },
    /// Another client's arrival ends the connections of those before.
    SecondClientKicksFirst,
    /// Only the client that came last gets reports; the others stay connected and hear nothing.
    OnlyLastClientHears,
    /// The code of the refusal of a wrong access code.
    LoginRefusal {
        /// 3 (unavailable), 4 (bad user or password) or 5 (not authorized); 5 is normal.
        code: u8,
    },
    /// The certificate is not the printer's usual one.
    Certificate {
        /// In what way.
        defect: CertificateDefect,
    },
    /// A client that offers TLS 1.3 gets no answer.
    HangsOnTls13,
    /// The card is write-protected.
    CardReadOnly,
    /// The card is broken though present.
    CardAbnormal,
    /// A data connection that does not resume the control connection's TLS session gets 522.
    SessionReuseRequired,
    /// The passive address is 0.0.0.0.
    PassiveAddressZero,
    /// A finished upload gets no 226.
    LostTransferEnd,
    /// An upload is refused with this code (553: no, full or bad card).
    UploadRefused {
        /// The reply's code.
        code: u16,
    },
    /// The data connection is refused with 425.
    DataConnectionRefused,
    /// Renaming is refused with this code (502 or 550).
    RenameRefused {
        /// The reply's code.
        code: u16,
    },
}

/// How a printer refuses a command that is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalForm {
    /// `result: failed` with err_code 84033543.
    #[default]
    Acknowledgement,
    /// `result: failed` with err_code 84033545.
    BadSignature,
    /// Nothing but the HMS entry 0500_0500_0001_0007.
    Hms,
    /// Both of it.
    AcknowledgementAndHms,
    /// An echo of the request without any `result`; the ids of a start appear, the state stays.
    WithoutResult,
    /// Nothing at all.
    Silent,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CertificateDefect {
    /// The common name is not the serial number.
    WrongName {
        /// The name.
        name: String,
    },
    /// Right name and authority, another key: a pin does not fit.
    OtherKey,
    /// An authority with the same name and another key.
    OtherAuthority,
    /// Its time is over.
    Expired,
}

/// A print error as shown to people: eight hex digits, `0500_4003`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrintErrorCode(pub u32);

impl TryFrom<String> for PrintErrorCode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wanted = "a print error has eight hex digits: 0500_4003";
        let (module, code) = text.split_once('_').ok_or(wanted)?;
        if module.len() != 4 || code.len() != 4 {
            return Err(wanted);
        }
        u32::from_str_radix(&format!("{module}{code}"), 16).map(Self).map_err(|_| wanted)
    }
}

impl From<PrintErrorCode> for String {
    fn from(code: PrintErrorCode) -> Self {
        format!("{:04X}_{:04X}", code.0 >> 16, code.0 & 0xffff)
    }
}

impl std::fmt::Display for PrintErrorCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&String::from(*self))
    }
}
