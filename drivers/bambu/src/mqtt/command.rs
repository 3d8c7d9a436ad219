//! Commands and questions as JSON, and which answer belongs to which. Numbers of commands begin at random, because all
//! programs connected to a printer see each other's answers and others count from 0 or 20000. Facts: OpenBambuAPI
//! mqtt.md; Bambu Studio captures (sequence_id); A1 mini answers carry no command.

use serde_json::{Map, Value, json};

use crate::report::Answer;

/// What a command's answer must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) category: &'static str,
    pub(super) sequence_id: String,
    pub(super) command: String,
    pub(super) param: String,
}

impl Expected {
    /// Whether this is the answer. What an answer leaves out does not count against it, its number must be there.
    pub(super) fn is_met_by(&self, answer: &Answer) -> bool {
        let absent_or = |found: &Option<String>, expected: &str| found.as_deref().is_none_or(|f| f == expected);
        answer.category == self.category
            && answer.sequence_id.as_deref() == Some(self.sequence_id.as_str())
            && absent_or(&answer.command, &self.command)
            && absent_or(&answer.param, &self.param)
    }
}

/// The first number of a connection's commands.
pub(super) fn first_sequence_id() -> u32 {
    rand::random_range(1_000_000_000..1_900_000_000)
}

/// The question for a full report.
pub(super) fn pushall(sequence_id: &str) -> Vec<u8> {
    json!({"pushing": {"sequence_id": sequence_id, "command": "pushall", "version": 1, "push_target": 1}})
        .to_string()
        .into_bytes()
}

/// The question for the versions of all parts.
pub(super) fn get_version(sequence_id: &str) -> Vec<u8> {
    json!({"info": {"sequence_id": sequence_id, "command": "get_version"}}).to_string().into_bytes()
}

/// A command in the category `print`: its members get this number.
pub(super) fn print(mut members: Map<String, Value>, sequence_id: String) -> (Vec<u8>, Expected) {
    let text = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let expected = Expected {
        category: "print",
        command: text("command"),
        param: text("param"),
        sequence_id: sequence_id.clone(),
    };
    members.insert("sequence_id".into(), Value::String(sequence_id));
    (json!({"print": members}).to_string().into_bytes(), expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Incoming, read};

    fn is_met(text: &str) -> bool {
        let (_, expected) =
            print(Map::from_iter([("command".into(), "pause".into()), ("param".into(), "".into())]), "7".into());
        let Incoming::Answer(answer) = read(text.as_bytes()).0 else { panic!("an answer") };
        expected.is_met_by(&answer)
    }

    #[test]
    fn only_the_answer_with_our_number_to_our_command_is_ours() {
        assert!(is_met(r#"{"print":{"sequence_id":"7","command":"pause","param":"","result":"success"}}"#));
        assert!(is_met(r#"{"print":{"sequence_id":7,"result":"success"}}"#), "as an A1 mini answers");
        assert!(!is_met(r#"{"print":{"sequence_id":"8","command":"pause","result":"success"}}"#));
        assert!(!is_met(r#"{"print":{"command":"pause","result":"success"}}"#));
        assert!(!is_met(r#"{"print":{"sequence_id":"7","command":"stop","result":"success"}}"#), "another program's");
        assert!(!is_met(r#"{"print":{"sequence_id":"7","param":"x","result":"success"}}"#));
        assert!(!is_met(r#"{"system":{"sequence_id":"7","command":"pause","result":"success"}}"#));
    }

    #[test]
    fn a_command_carries_its_number_as_a_text() {
        let (bytes, _) = print(Map::from_iter([("command".into(), "stop".into())]), "1000000007".into());
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value, json!({"print": {"command": "stop", "sequence_id": "1000000007"}}));
    }
}
