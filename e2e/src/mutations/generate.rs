//! The changes themselves, made from the schema: what is deleted, changed, emptied, extreme, named by the schema, wrong.

use std::fmt;

use serde_json::{Map, Value, json};

use super::Subject;

/// One change of a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    /// Of what.
    pub subject: Subject,
    /// Which field: a path with slashes from the spec, items of lists by their place.
    pub field: String,
    /// Its new value; `None` to delete it.
    pub value: Option<Value>,
    /// The whole spec after the change.
    pub spec: Value,
}

/// What a digest looks like.
const DIGEST: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
/// More is not shown of a value in a name.
const SHOWN_CHARACTERS: usize = 60;

impl fmt::Display for Mutation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, field) = (self.subject.word(), &self.field);
        let Some(value) = &self.value else { return write!(formatter, "{subject} {field} deleted") };
        let text = value.to_string();
        let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
        write!(formatter, "{subject} {field} = {shown}")?;
        if shown.len() < text.len() { write!(formatter, "... ({} bytes)", text.len()) } else { Ok(()) }
    }
}

/// Everything that can be changed in this spec.
pub(super) fn of(subject: Subject, base: &Value) -> Result<Vec<Mutation>, String> {
    let kind = if subject == Subject::PrintJob { "PrintJob" } else { "Printer" };
    let definitions = printernizer_crds::manifests::all();
    let definition = definitions.iter().find(|d| d.spec.names.kind == kind).ok_or("no such kind")?;
    let schema =
        definition.spec.versions.first().and_then(|v| v.schema.as_ref()).and_then(|s| s.open_api_v3_schema.as_ref());
    let schema = serde_json::to_value(schema).map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    walk(&schema["properties"]["spec"], &mut Vec::new(), base, &mut |field, value, spec| {
        if spec != *base {
            found.push(Mutation { subject, field: field.join("/"), value, spec });
        }
    });
    Ok(found)
}

type Found<'a> = &'a mut dyn FnMut(&[String], Option<Value>, Value);

/// All changes of the fields of an object, or of the items of a list, of this schema at this place of the spec.
fn walk(schema: &Value, field: &mut Vec<String>, base: &Value, found: Found<'_>) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let items = schema["items"].is_object().then(|| ("0", &schema["items"]));
    for (name, schema) in properties.map(|(name, schema)| (name.as_str(), schema)).chain(items) {
        field.push(name.to_owned());
        // What lies within is changed in a spec that has it.
        let mut with = base.clone();
        if at(&with, field).is_none() {
            set(&mut with, field, example(name, schema));
            found(field, at(&with, field).cloned(), with.clone());
        } else {
            let mut without = base.clone();
            remove(&mut without, field);
            found(field, None, without);
        }
        for value in values(name, schema, at(&with, field)) {
            let mut changed = with.clone();
            set(&mut changed, field, value.clone());
            if changed != with {
                found(field, Some(value), changed);
            }
        }
        walk(schema, field, &with, found);
        field.pop();
    }
}

/// The values a field of this schema is given, whatever it is now.
fn values(name: &str, schema: &Value, now: Option<&Value>) -> Vec<Value> {
    let mut values: Vec<Value> = schema["enum"].as_array().cloned().unwrap_or_default();
    values.push(Value::Null);
    match schema["type"].as_str() {
        Some("string") => {
            let now = now.and_then(Value::as_str).unwrap_or_default();
            let longest = schema["maxLength"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(253);
            values.extend([
                example(name, schema),
                json!(""),
                json!(" "),
                json!(format!("{now}x")),
                json!("x".repeat(longest)),
                json!("x".repeat(longest + 1)),
                json!("two\nlines\u{1b}[31m"),
                json!("Größe ☃"),
                json!("../../etc/passwd"),
                json!(7),
            ]);
        }
        Some("integer") => {
            let limit = |name: &str| schema[name].as_f64().and_then(|n| format!("{n}").parse::<i64>().ok());
            let (least, most) = (limit("minimum").unwrap_or(i64::MIN), limit("maximum").unwrap_or(i64::MAX));
            let numbers = [least, least.saturating_sub(1), most, most.saturating_add(1), 0, 1, -1, i64::MAX];
            values.extend(numbers.map(|n| json!(n)));
            values.extend([json!(1.5), json!("7"), example(name, schema)]);
        }
        Some("boolean") => values.extend([json!(true), json!(false), json!("true")]),
        Some("array") => {
            let one = example(name, &schema["items"]);
            let most = schema["maxItems"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(64);
            values.extend([json!([]), json!([one]), json!([one, one]), json!([null]), json!("one")]);
            values.push(Value::Array(vec![one; most + 1]));
        }
        _ => {
            values.extend([json!({}), json!({ "unknownField": 1 }), json!("text"), json!([])]);
            if schema["additionalProperties"].is_object() {
                values.extend([json!({ "": "" }), json!({ "key": "value" }), json!({ "key": 7 })]);
            }
        }
    }
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// A value that a person might write there. What has a form is written in it.
fn example(name: &str, schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("string") => json!(match name {
            "from" => "08:00",
            "to" => "12:30",
            "color" => "#112233",
            "machineHourRate" => "2.50",
            "timeZone" => "Europe/London",
            "notAfter" => "2030-01-01T00:00:00Z",
            "url" => "http://127.0.0.1:9/part.gcode",
            "endpoint" => "http://127.0.0.1:9",
            "host" => "127.0.0.1",
            "bucket" => "parts",
            "region" => "eu-central-1",
            "slot" => "Main",
            "serialNumber" => "0390000000EXAMPLE",
            "sha256" | "publicKeySHA256" => DIGEST,
            _ => "example",
        }),
        Some("integer") => {
            schema["minimum"].as_f64().map_or(json!(1), |least| json!(format!("{}", least + 1.0).parse().unwrap_or(1)))
        }
        Some("boolean") => json!(true),
        Some("array") => json!([example(name, &schema["items"])]),
        _ if schema["additionalProperties"].is_object() => json!({ "example": "value" }),
        _ => {
            let required: Vec<&str> =
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let properties = schema["properties"].as_object().into_iter().flatten();
            let needed = properties.filter(|(name, _)| required.contains(&name.as_str()));
            Value::Object(needed.map(|(name, schema)| (name.clone(), example(name, schema))).collect::<Map<_, _>>())
        }
    }
}

fn at<'a>(value: &'a Value, field: &[String]) -> Option<&'a Value> {
    field.iter().try_fold(value, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

/// Sets a field; the object or list it is in is there.
fn set(value: &mut Value, field: &[String], new: Value) {
    let Some((last, parents)) = field.split_last() else { return };
    let Some(parent) = parent(value, parents) else { return };
    match (parent, last.parse::<usize>()) {
        (Value::Array(items), Ok(index)) if index < items.len() => items[index] = new,
        (Value::Array(items), _) => items.push(new),
        (Value::Object(fields), _) => drop(fields.insert(last.clone(), new)),
        _ => {}
    }
}

fn remove(value: &mut Value, field: &[String]) {
    let Some((last, parents)) = field.split_last() else { return };
    match (parent(value, parents), last.parse::<usize>()) {
        (Some(Value::Array(items)), Ok(index)) if index < items.len() => drop(items.remove(index)),
        (Some(Value::Object(fields)), _) => drop(fields.remove(last)),
        _ => {}
    }
}

fn parent<'a>(value: &'a mut Value, field: &[String]) -> Option<&'a mut Value> {
    field.iter().try_fold(value, |value, name| match value {
        Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
        other => other.get_mut(name),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn made(schema: &Value, base: &Value) -> Vec<(String, Option<Value>, Value)> {
        let mut all = Vec::new();
        walk(schema, &mut Vec::new(), base, &mut |field, value, spec| all.push((field.join("/"), value, spec)));
        all
    }

    #[test]
    fn a_field_that_is_there_is_deleted_and_one_that_is_not_is_added_with_what_lies_within() {
        let schema = json!({ "properties": {
            "there": { "type": "string", "maxLength": 3 },
            "outer": { "type": "object", "required": ["inner"], "properties": {
                "inner": { "type": "integer", "minimum": 1, "maximum": 9 },
            } },
            "list": { "type": "array", "maxItems": 2, "items": { "type": "object", "properties": {
                "kind": { "type": "string", "enum": ["A", "B"] },
            } } },
        } });
        let all = made(&schema, &json!({ "there": "abc" }));
        let has = |field: &str, value: Option<Value>, spec: Value| all.contains(&(field.to_owned(), value, spec));
        assert!(has("there", None, json!({})));
        assert!(has("there", Some(json!("xxxx")), json!({ "there": "xxxx" })), "one too long");
        assert!(
            has("outer/inner", Some(json!(10)), json!({ "there": "abc", "outer": { "inner": 10 } })),
            "one too many"
        );
        assert!(has("outer/inner", None, json!({ "there": "abc", "outer": {} })));
        assert!(has("list/0/kind", Some(json!("B")), json!({ "there": "abc", "list": [{ "kind": "B" }] })));
        assert!(has("list", Some(json!([{}, {}, {}])), json!({ "there": "abc", "list": [{}, {}, {}] })));
    }

    #[test]
    fn every_field_of_the_definitions_is_changed_each_change_once_and_there_are_more_than_a_thousand() {
        let all = crate::mutations::all().unwrap();
        assert!(all.len() >= 1_000, "{}", all.len());
        for field in
            ["connection/bambu/tls/verification", "slots/0/material", "startWindows/0/days/0", "taints/0/effect"]
        {
            assert!(all.iter().any(|m| m.field == field), "{field}");
        }
        let names: HashSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len(), "each can be asked for again");
    }
}
