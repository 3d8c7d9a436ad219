//! Faults of one simulated printer: what is wrong, for which requests, how often. Shared with the control API.
//!
//! A fault without `count` lasts until it is cleared; with `count` it is used up that many times. Faults on requests
//! count authorized requests only, so that a login round trip never eats a one-shot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Action, BambuFault, PrintErrorCode};

/// One fault. In JSON: `{"kind": {"delayAnswer": {"milliseconds": 500}}, "method": "GET", "count": 1}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Only requests with this method; all if absent. Ignored by faults that are not about requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only requests whose request target contains this; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// How often it still happens; until cleared if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// What is wrong. Milliseconds are real time (the network's), seconds of the machine are simulated time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FaultKind {
    /// The request waits before it has any effect.
    DelayHandling {
        /// How long.
        milliseconds: u64,
    },
    /// The effect happens at once, the answer comes late.
    DelayAnswer {
        /// How long.
        milliseconds: u64,
    },
    /// The connection ends before the request has any effect.
    DropBeforeHandling,
    /// The effect happens, then the connection ends without an answer.
    DropAfterHandling,
    /// This status is answered and nothing happens.
    Answer {
        /// The status code.
        status: u16,
    },
    /// The effect happens although this status is answered (4.x printers answered 404 to starts they made).
    HandleThenAnswer {
        /// The status code.
        status: u16,
    },
    /// A start is answered with 204 and never happens.
    AcceptWithoutStarting,
    /// A start is answered with 204 at once and happens later, if it is possible then: 204 means "queued". Lost with
    /// the power.
    StartLate {
        /// How much later, in simulated time.
        seconds: u64,
    },
    /// The printer stops reading an upload after some bytes, for a while.
    StallUpload {
        /// Bytes of the body taken before.
        after_bytes: u64,
        /// How long nothing is read.
        milliseconds: u64,
    },
    /// The printer ends the connection in the middle of an upload. Nothing is stored.
    TruncateUpload {
        /// Bytes of the body taken before.
        after_bytes: u64,
    },
    /// The printer cannot be reached.
    Unreachable {
        /// How that looks from the network.
        manner: UnreachableManner,
    },
    /// The USB drive has no room left: uploads get 507.
    UsbFull,
    /// Another serial number is shown.
    WrongSerial {
        /// The number shown.
        serial_number: String,
    },
    /// A menu, selftest or calibration keeps the machine BUSY whenever it does not print. Starts get 409.
    Busy,
    /// `time_printing` keeps a value of an earlier print.
    StaleTimePrinting {
        /// The value shown.
        seconds: u64,
    },
    /// The next print stops at a question in the preview (ATTENTION). Uses the count per print.
    Question {
        /// What is asked.
        question: QuestionKind,
        /// The dialog continues by itself after this time; 30 for new firmware, never for others if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        auto_continue_seconds: Option<u64>,
    },
    /// The next print runs out of filament (ATTENTION).
    FilamentRunout {
        /// Progress at which it happens.
        after_percent: u8,
    },
    /// Someone opens the door during the next print (ATTENTION).
    DoorOpen {
        /// Progress at which it happens.
        after_percent: u8,
    },
    /// The next print hangs at one progress although the printer says PRINTING.
    Stuck {
        /// Progress at which it hangs.
        after_percent: u8,
        /// The printer gives up after this time and ends STOPPED; never if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fails_after_seconds: Option<u64>,
    },
    /// The next print ends in a red error screen: no answer to anything until a reboot. On a Bambu printer it just
    /// fails.
    RedScreen {
        /// Progress at which it happens.
        after_percent: u8,
    },
    /// What only Bambu printers do.
    Bambu(BambuFault),
}

/// How an unreachable printer looks from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UnreachableManner {
    /// Connections are refused and existing ones end.
    Refuse,
    /// Connections stay open and nothing is answered.
    Silent,
}

/// A question in the print preview. The network cannot tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the dialogs' names")]
pub enum QuestionKind {
    WrongPrinter,
    WrongNozzle,
    WrongFilament,
    FilamentNotInserted,
    UnfinishedSelftest,
    NewFirmware,
    FileError,
    ToolMapping,
}

/// Seconds after which the new-firmware dialog continues by itself.
const NEW_FIRMWARE_SECONDS: u64 = 30;

/// A fault that happens to one print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    Runout,
    Door,
    Stuck { fails_after: Option<Duration> },
    RedScreen,
    Fails(PrintErrorCode),
}

/// Everything that will happen to one print, drawn from the faults when it is accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Incidents {
    /// Questions in the preview, asked one after the other.
    pub(crate) questions: Vec<(QuestionKind, Option<Duration>)>,
    /// Mishaps by progress in percent, sorted.
    pub(crate) mishaps: Vec<(u8, Mishap)>,
}

/// What faults do to one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestFaults {
    pub(crate) delay_handling: Option<Duration>,
    pub(crate) delay_answer: Option<Duration>,
    pub(crate) drop_before: bool,
    pub(crate) drop_after: bool,
    pub(crate) answer: Option<u16>,
    pub(crate) handle_then_answer: Option<u16>,
    pub(crate) accept_without_starting: bool,
    pub(crate) start_late: Option<Duration>,
    pub(crate) stall_upload: Option<(u64, Duration)>,
    pub(crate) truncate_upload: Option<u64>,
}

/// What kind of request faults are drawn for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestKind<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) is_start: bool,
    pub(crate) is_upload: bool,
}

/// The faults set on one printer.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Fault {
    /// A fault that lasts until cleared, on all requests.
    pub const fn lasting(kind: FaultKind) -> Self {
        Self { kind, method: None, path_contains: None, count: None }
    }

    /// A fault that happens once.
    pub const fn once(kind: FaultKind) -> Self {
        Self { kind, method: None, path_contains: None, count: Some(1) }
    }

    /// The same fault, for requests with this method and a target containing this text only.
    #[must_use]
    pub fn on(mut self, method: &str, path_contains: &str) -> Self {
        self.method = Some(method.to_owned());
        self.path_contains = Some(path_contains.to_owned());
        self
    }

    fn matches(&self, request: RequestKind<'_>) -> bool {
        self.count != Some(0)
            && self.method.as_deref().is_none_or(|method| method.eq_ignore_ascii_case(request.method))
            && self.path_contains.as_deref().is_none_or(|part| request.target.contains(part))
    }
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn replace(&mut self, faults: Vec<Fault>) {
        self.0 = faults;
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.0.clone()
    }

    /// Draws what happens to this request and uses the counts up.
    pub(crate) fn draw_for_request(&mut self, request: RequestKind<'_>) -> RequestFaults {
        let mut drawn = RequestFaults::default();
        for fault in self.0.iter_mut().filter(|fault| fault.matches(request)) {
            match fault.kind {
                FaultKind::DelayHandling { milliseconds } => {
                    drawn.delay_handling = Some(Duration::from_millis(milliseconds));
                }
                FaultKind::DelayAnswer { milliseconds } => {
                    drawn.delay_answer = Some(Duration::from_millis(milliseconds));
                }
                FaultKind::DropBeforeHandling => drawn.drop_before = true,
                FaultKind::DropAfterHandling => drawn.drop_after = true,
                FaultKind::Answer { status } => drawn.answer = Some(status),
                FaultKind::HandleThenAnswer { status } => drawn.handle_then_answer = Some(status),
                FaultKind::AcceptWithoutStarting if request.is_start => drawn.accept_without_starting = true,
                FaultKind::StartLate { seconds } if request.is_start => {
                    drawn.start_late = Some(Duration::from_secs(seconds));
                }
                FaultKind::StallUpload { after_bytes, milliseconds } if request.is_upload => {
                    drawn.stall_upload = Some((after_bytes, Duration::from_millis(milliseconds)));
                }
                FaultKind::TruncateUpload { after_bytes } if request.is_upload => {
                    drawn.truncate_upload = Some(after_bytes);
                }
                _ => continue,
            }
            use_up(fault);
        }
        self.forget_used_up();
        drawn
    }

    /// Draws what will happen to a print that is just being accepted and uses the counts up.
    pub(crate) fn draw_for_print(&mut self) -> Incidents {
        let mut incidents = Incidents::default();
        for fault in self.0.iter_mut().filter(|fault| fault.count != Some(0)) {
            match fault.kind {
                FaultKind::Question { question, auto_continue_seconds } => {
                    let seconds = match (question, auto_continue_seconds) {
                        (QuestionKind::NewFirmware, None) => Some(NEW_FIRMWARE_SECONDS),
                        (_, seconds) => seconds,
                    };
                    incidents.questions.push((question, seconds.map(Duration::from_secs)));
                }
                FaultKind::FilamentRunout { after_percent } => incidents.mishaps.push((after_percent, Mishap::Runout)),
                FaultKind::DoorOpen { after_percent } => incidents.mishaps.push((after_percent, Mishap::Door)),
                FaultKind::Stuck { after_percent, fails_after_seconds } => {
                    let fails_after = fails_after_seconds.map(Duration::from_secs);
                    incidents.mishaps.push((after_percent, Mishap::Stuck { fails_after }));
                }
                FaultKind::RedScreen { after_percent } => incidents.mishaps.push((after_percent, Mishap::RedScreen)),
                FaultKind::Bambu(BambuFault::PrintFails { after_percent, code }) => {
                    incidents.mishaps.push((after_percent, Mishap::Fails(code)));
                }
                _ => continue,
            }
            use_up(fault);
        }
        incidents.mishaps.sort_by_key(|(percent, _)| *percent);
        self.forget_used_up();
        incidents
    }

    /// What a person does, with what will happen to the print it starts, if any. A refused act uses nothing up.
    pub(crate) fn draw_for_act<E>(
        &mut self,
        action: &Action,
        act: impl FnOnce(Incidents) -> Result<(), E>,
    ) -> Result<(), E> {
        if !action.starts_print() {
            return act(Incidents::default());
        }
        let before = self.list();
        act(self.draw_for_print()).inspect_err(|_| self.replace(before))
    }

    /// Draws the first fault of Bambu printers that fits the request and that `pick` knows, and uses its count up.
    pub(crate) fn take_bambu<T>(
        &mut self,
        request: RequestKind<'_>,
        pick: impl Fn(&BambuFault) -> Option<T>,
    ) -> Option<T> {
        let picked = self.0.iter_mut().filter(|fault| fault.matches(request)).find_map(|fault| match &fault.kind {
            FaultKind::Bambu(kind) => pick(kind).map(|picked| (picked, fault)),
            _ => None,
        });
        let (picked, fault) = picked?;
        use_up(fault);
        self.forget_used_up();
        Some(picked)
    }

    /// Whether this fault of Bambu printers fits the request; uses its count up.
    pub(crate) fn takes_bambu(&mut self, request: RequestKind<'_>, wanted: &BambuFault) -> bool {
        self.take_bambu(request, |fault| (fault == wanted).then_some(())).is_some()
    }

    /// A condition of Bambu printers: the first fault that `pick` knows. Its count is not used up.
    pub(crate) fn bambu<T>(&self, pick: impl Fn(&BambuFault) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|fault| match &fault.kind {
            FaultKind::Bambu(kind) => pick(kind),
            _ => None,
        })
    }

    /// Whether this condition of Bambu printers is set.
    pub(crate) fn has_bambu(&self, wanted: &BambuFault) -> bool {
        self.bambu(|fault| (fault == wanted).then_some(())).is_some()
    }

    pub(crate) fn unreachable(&self) -> Option<UnreachableManner> {
        self.0.iter().find_map(|fault| match fault.kind {
            FaultKind::Unreachable { manner } => Some(manner),
            _ => None,
        })
    }

    pub(crate) fn busy(&self) -> bool {
        self.0.iter().any(|fault| fault.kind == FaultKind::Busy)
    }

    pub(crate) fn usb_full(&self) -> bool {
        self.0.iter().any(|fault| fault.kind == FaultKind::UsbFull)
    }

    pub(crate) fn stale_time_printing(&self) -> Option<Duration> {
        self.0.iter().find_map(|fault| match fault.kind {
            FaultKind::StaleTimePrinting { seconds } => Some(Duration::from_secs(seconds)),
            _ => None,
        })
    }

    pub(crate) fn wrong_serial(&self) -> Option<&str> {
        self.0.iter().find_map(|fault| match &fault.kind {
            FaultKind::WrongSerial { serial_number } => Some(serial_number.as_str()),
            _ => None,
        })
    }

    fn forget_used_up(&mut self) {
        self.0.retain(|fault| fault.count != Some(0));
    }
}

fn use_up(fault: &mut Fault) {
    if let Some(count) = &mut fault.count {
        *count = count.saturating_sub(1);
    }
}
