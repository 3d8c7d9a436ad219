//! When two objects of the same spec are in the same state: what differs between any two of them is left out.

use serde_json::{Value, json};

/// Reasons that pass by themselves.
const ON_THE_WAY: [&str; 2] = ["Connecting", "FetchingFile"];
/// What is remembered of a device that was reached once, and never said of one that was not.
const REMEMBERED: [&str; 2] = ["ControlAllowed", "SpecMatchesDevice"];

/// What says how a job ended.
const ENDS: [&str; 2] = ["Complete", "Failed"];

/// What the operator says of an object, without what is random or a time. `None` while it is not of this generation, or
/// on its way to somewhere else.
pub(super) fn state(object: &Value) -> Option<Value> {
    let generation = object["metadata"]["generation"].as_i64()?;
    let status = &object["status"];
    if status["observedGeneration"].as_i64() != Some(generation) {
        return None;
    }
    let conditions = status["conditions"].as_array()?;
    if conditions.iter().filter_map(|c| c["reason"].as_str()).any(|reason| ON_THE_WAY.contains(&reason)) {
        return None;
    }
    let mut ids = Vec::new();
    collect_ids(status, &mut ids);
    let is = |c: &Value, type_: &str| c["type"] == type_;
    let away = conditions.iter().any(|c| is(c, "Reachable") && c["status"] != "True");
    let ended = conditions.iter().any(|c| ENDS.iter().any(|type_| is(c, type_)) && c["status"] == "True");
    let counts = |c: &&Value| {
        let remembered = away && REMEMBERED.iter().any(|type_| is(c, type_));
        // How far a job had come before it ended is its own.
        let before_the_end = ended && !ENDS.iter().any(|type_| is(c, type_));
        !remembered && !before_the_end
    };
    let mut told: Vec<Value> = conditions.iter().filter(counts).map(|c| said(c, &ids)).collect();
    told.sort_by_key(|c| c["type"].as_str().unwrap_or_default().to_owned());
    Some(json!({ "phase": status["phase"], "state": status["state"], "conditions": told }))
}

fn said(condition: &Value, ids: &[String]) -> Value {
    let mut message = condition["message"].as_str().unwrap_or_default().to_owned();
    for id in ids {
        message = message.replace(id.as_str(), "ID");
    }
    let words = message.split(' ').map(|word| if is_time(word) { "TIME" } else { word });
    let message = words.collect::<Vec<_>>().join(" ");
    json!({ "type": condition["type"], "status": condition["status"], "reason": condition["reason"], "message": message })
}

fn is_time(word: &str) -> bool {
    word.trim_end_matches(['.', ',', ';', ':']).parse::<jiff::Timestamp>().is_ok()
}

/// Random ids that people are asked to repeat.
fn collect_ids(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(id) = value.as_str().filter(|id| id.len() >= 8 && (name.ends_with("ID") || name == "id")) {
                    ids.push(id.to_owned());
                }
                collect_ids(value, ids);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_ids(item, ids)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(reason: &str, message: &str, observed: i64) -> Value {
        json!({
            "metadata": { "generation": 2 },
            "status": {
                "observedGeneration": observed, "bed": { "occupancyID": "a1b2c3d4" },
                "conditions": [{ "type": "Ready", "status": "False", "reason": reason, "message": message,
                    "lastTransitionTime": "2026-11-21T00:00:00Z" }],
            },
        })
    }

    #[test]
    fn ids_and_times_make_no_difference_and_words_do() {
        let one = state(&object("Unconfirmed", "say a1b2c3d4 by 2026-11-21T00:00:00Z, please", 2));
        let other = state(&object("Unconfirmed", "say ID by 2027-01-02T03:04:05Z, please", 2));
        assert!(one.is_some() && one == other);
        assert_ne!(one, state(&object("Unconfirmed", "something else", 2)));
    }

    #[test]
    fn what_is_old_or_on_its_way_is_no_state() {
        assert_eq!(state(&object("Unconfirmed", "", 1)), None);
        assert_eq!(state(&object("Connecting", "", 2)), None);
    }

    #[test]
    fn what_is_remembered_of_a_device_counts_only_while_it_is_reached() {
        let printer = |reachable: &str, remembered: bool| {
            let mut object = object("Unconfirmed", "", 2);
            let mut conditions = vec![json!({ "type": "Reachable", "status": reachable, "reason": "X" })];
            conditions.extend(remembered.then(|| json!({ "type": "ControlAllowed", "status": "True", "reason": "X" })));
            object["status"]["conditions"] = json!(conditions);
            state(&object)
        };
        assert_eq!(printer("False", true), printer("False", false));
        assert_ne!(printer("True", true), printer("True", false));
    }
}
