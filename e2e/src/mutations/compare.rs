//! When two objects of the same spec are in the same state: what differs between any two of them is left out.

use serde_json::Value;

/// What the operator says of an object, without what is random, a time, or a name of its own. `None` while it is not
/// of this generation, or on its way to somewhere else.
pub(super) fn state(object: &Value, own: &[(&str, &str)]) -> Option<Value> {
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
    let mut told: Vec<Value> = conditions.iter().map(|c| said(c, own, &ids)).collect();
    told.sort_by_key(|c| c["type"].as_str().unwrap_or_default().to_owned());
    Some(serde_json::json!({ "phase": status["phase"], "state": status["state"], "conditions": told }))
}

/// Reasons that pass by themselves.
const ON_THE_WAY: [&str; 2] = ["Connecting", "FetchingFile"];

fn said(condition: &Value, own: &[(&str, &str)], ids: &[String]) -> Value {
    let mut message = condition["message"].as_str().unwrap_or_default().to_owned();
    for (name, instead) in own.iter().filter(|(name, _)| !name.is_empty()) {
        message = message.replace(name, instead);
    }
    for id in ids {
        message = message.replace(id.as_str(), "ID");
    }
    serde_json::json!({
        "type": condition["type"], "status": condition["status"], "reason": condition["reason"], "message": message,
    })
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
    use serde_json::json;

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
    fn names_ids_and_times_make_no_difference_and_words_do() {
        let own = [("left", "X")];
        let one = state(&object("Unconfirmed", "left: say a1b2c3d4", 2), &own);
        let other = state(&object("Unconfirmed", "X: say ID", 2), &own);
        assert!(one.is_some() && one == other);
        assert_ne!(one, state(&object("Unconfirmed", "something else", 2), &own));
    }

    #[test]
    fn what_is_old_or_on_its_way_is_no_state() {
        assert_eq!(state(&object("Unconfirmed", "", 1), &[]), None);
        assert_eq!(state(&object("Connecting", "", 2), &[]), None);
    }
}
