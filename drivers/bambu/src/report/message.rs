//! One message of a printer: a report, an answer to a command (ours or another program's), the answer to `get_version`,
//! or something of no interest. Whatever has a `result`, or is no `push_status`, is never taken for a report, because
//! it may repeat every parameter of a command. Bytes that are no UTF-8 are replaced: A1 mini firmware 01.07.02.00 sends
//! some. Facts: OpenBambuAPI mqtt.md, bambuddy issue 2732.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::lenient::{bits32, integer, text};
use crate::codes::BUSY_WITH_JOB;
use crate::error::clean_text;
use crate::version::Version;

/// What a message is.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A full or partial report: its `print` object.
    Report {
        full: bool,
        print: Map<String, Value>,
    },
    /// An answer to a command.
    Answer(Answer),
    /// The answer to `get_version`.
    Version {
        sequence_id: Option<String>,
        version: Version,
    },
    Other,
    /// No JSON object.
    Unreadable,
}

/// An answer to a command, of whatever program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) category: String,
    pub(crate) sequence_id: Option<String>,
    pub(crate) command: Option<String>,
    pub(crate) param: Option<String>,
    result: Option<String>,
    reason: Option<String>,
    err_code: Option<u32>,
}

/// Why a printer refused a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The command must be signed: Developer Mode is off.
    VerifyFailed,
    /// It is busy with a job.
    Busy,
    /// Something else.
    Other,
}

/// A printer's refusal of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind.
    pub kind: RefusalKind,
    /// Its error code, where it gave one: module (upper half) and code.
    pub code: Option<u32>,
    /// Its words, shortened.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RefusalKind::VerifyFailed => formatter.write_str(
                "the printer takes no commands: switch on LAN-only mode and Developer Mode at its screen, and copy the \
                 new access code",
            )?,
            RefusalKind::Busy => formatter.write_str("the printer is busy with a job")?,
            RefusalKind::Other => formatter.write_str("the printer refuses the command")?,
        }
        match self.code {
            Some(code) => write!(formatter, " ({:04X}_{:04X}: {})", code >> 16, code & 0xffff, self.reason),
            None => write!(formatter, " ({})", self.reason),
        }
    }
}

impl Answer {
    /// Why it refuses; `None` if it does not. That it does not refuse proves nothing.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let result = self.result.as_deref()?;
        if !result.to_ascii_lowercase().starts_with("fail") {
            return None;
        }
        let reason = clean_text(self.reason.as_deref().unwrap_or(result));
        let verify_failed = matches!(self.err_code, Some(0x0502_4007 | 0x0502_4009))
            || reason.to_ascii_lowercase().contains("verify failed");
        let kind = match self.err_code {
            _ if verify_failed => RefusalKind::VerifyFailed,
            Some(BUSY_WITH_JOB) => RefusalKind::Busy,
            _ => RefusalKind::Other,
        };
        Some(Refusal { kind, code: self.err_code.filter(|code| *code != 0), reason })
    }
}

/// Reads one message. The second value says whether bytes had to be replaced.
pub(crate) fn read(payload: &[u8]) -> (Incoming, bool) {
    let text = String::from_utf8_lossy(payload);
    let damaged = matches!(text, Cow::Owned(_));
    let message = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(members)) => sort(members),
        _ => Incoming::Unreadable,
    };
    (message, damaged)
}

fn sort(mut members: Map<String, Value>) -> Incoming {
    if let Some(Value::Object(print)) = members.remove("print") {
        let is_report = print.get("command").and_then(Value::as_str) == Some("push_status");
        if is_report && !print.contains_key("result") {
            let full = print.get("msg").and_then(integer) == Some(0);
            return Incoming::Report { full, print };
        }
        return Incoming::Answer(answer("print", &print));
    }
    if let Some(Value::Object(info)) = members.remove("info") {
        if info.get("command").and_then(Value::as_str) == Some("get_version")
            && let Some(version) = Version::read(&info)
        {
            return Incoming::Version { sequence_id: info.get("sequence_id").and_then(text), version };
        }
        return Incoming::Answer(answer("info", &info));
    }
    for category in ["system", "pushing"] {
        if let Some(Value::Object(body)) = members.remove(category) {
            return Incoming::Answer(answer(category, &body));
        }
    }
    Incoming::Other
}

fn answer(category: &str, body: &Map<String, Value>) -> Answer {
    let get = |key: &str| body.get(key).and_then(text);
    Answer {
        category: category.to_owned(),
        sequence_id: get("sequence_id"),
        command: get("command"),
        param: get("param"),
        result: get("result"),
        reason: get("reason"),
        err_code: body.get("err_code").and_then(bits32),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Incoming {
        read(text.as_bytes()).0
    }

    #[test]
    fn a_message_with_a_result_is_an_answer_whatever_else_it_says() {
        let text = r#"{"print":{"command":"push_status","msg":0,"result":"success","gcode_state":"IDLE"}}"#;
        assert!(matches!(of(text), Incoming::Answer(_)));
        let text = r#"{"print":{"sequence_id":"7","result":"success","subtask_name":"x"}}"#;
        assert!(matches!(of(text), Incoming::Answer(Answer { command: None, .. })));
    }

    #[test]
    fn the_echo_of_a_command_without_a_result_is_no_report_and_no_refusal() {
        let text = r#"{"print":{"command":"project_file","sequence_id":7,"subtask_id":"4"}}"#;
        let Incoming::Answer(answer) = of(text) else { panic!() };
        assert_eq!((answer.sequence_id.as_deref(), answer.refusal()), (Some("7"), None));
    }

    #[test]
    fn only_message_zero_is_a_full_report() {
        for (msg, expected) in [("0", true), ("\"0\"", true), ("1", false), ("\"1\"", false), ("null", false)] {
            let text = format!(r#"{{"print":{{"command":"push_status","msg":{msg}}}}}"#);
            assert!(matches!(of(&text), Incoming::Report { full, .. } if full == expected), "{msg}");
        }
        assert!(matches!(of(r#"{"print":{"command":"push_status"}}"#), Incoming::Report { full: false, .. }));
    }

    #[test]
    fn refusals_are_known_in_every_form() {
        let refusal = |body: &str| {
            let Incoming::Answer(answer) = of(&format!(r#"{{"print":{{"sequence_id":"7",{body}}}}}"#)) else {
                panic!()
            };
            answer.refusal().map(|refusal| refusal.kind)
        };
        let verify = Some(RefusalKind::VerifyFailed);
        assert_eq!(refusal(r#""result":"failed","reason":"mqtt message verify failed","err_code":84033543"#), verify);
        assert_eq!(refusal(r#""result":"FAIL","err_code":"84033545""#), verify);
        assert_eq!(refusal(r#""result":"failed","reason":"mqtt message verify failed""#), verify);
        assert_eq!(refusal(r#""result":"fail","err_code":83902468"#), Some(RefusalKind::Busy));
        assert_eq!(refusal(r#""result":"fail","reason":"x""#), Some(RefusalKind::Other));
        assert_eq!(refusal(r#""result":"SUCCESS","reason":"""#), None);
        assert_eq!(refusal(r#""result":"waiting""#), None);
    }

    #[test]
    fn bytes_that_are_no_text_damage_one_value_and_nothing_else() {
        let mut bytes = br#"{"print":{"command":"push_status","msg":1,"subtask_name":"a"#.to_vec();
        bytes.extend([0xff, 0xfe]);
        bytes.extend(br#"","gcode_state":"IDLE"}}"#);
        let (Incoming::Report { print, .. }, damaged) = read(&bytes) else { panic!() };
        assert!(damaged);
        assert_eq!(print["gcode_state"], "IDLE");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (incoming, _) = read(&bytes);
            if let Incoming::Report { full, print } = incoming {
                let mut state = super::super::Merged::default();
                state.merge(&print, full);
                let _ = state.report();
            }
        }
    }
}
