//! The API reference, `docs/reference`: a page for each kind, made from the definitions.
//!
//! A page says of every field what `kubectl explain` says, and besides what the API server checks: whether it must be
//! there, its default, its values and limits, and the rules with the words a person is refused with. Nothing is said here
//! that the definition does not hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use printernizer_crds::manifests;
use serde_json::Value;

/// Where the pages are.
pub const FOLDER: &str = "docs/reference";

/// Headings of a table of fields.
const FIELDS: &str = "| field | type | must be there | default | meaning |\n|---|---|---|---|---|\n";

/// The longest rule that is shown, in characters.
const LONGEST_RULE: usize = 200;

/// The pages by the names of their files, from definitions as JSON.
pub fn pages(definitions: &[Value]) -> BTreeMap<String, String> {
    let mut pages: BTreeMap<String, String> = definitions
        .iter()
        .map(|definition| (format!("{}.md", name(definition, "singular")), page(definition)))
        .collect();
    pages.insert("README.md".to_owned(), overview(definitions));
    pages
}

fn header() -> String {
    format!("<!-- {} -->\n", manifests::HEADER.trim_start_matches('#').trim())
}

fn overview(definitions: &[Value]) -> String {
    let mut text = header();
    text.push_str(
        "# API reference\n\nEvery field of every kind, with what the API server checks. The same texts are in the cluster: `kubectl \
         explain\nprintjob.spec`. What the reasons of conditions mean is in [troubleshooting](../troubleshooting.md).\n\n\
         | kind | what it is | short name |\n|---|---|---|\n",
    );
    for definition in definitions {
        let kind = name(definition, "kind");
        let short = definition["spec"]["names"]["shortNames"].as_array().into_iter().flatten();
        let short: Vec<String> = short.filter_map(Value::as_str).map(code).collect();
        let about = cell(words(schema(definition)));
        let _ = writeln!(text, "| [{kind}]({}.md) | {about} | {} |", name(definition, "singular"), short.join(", "));
    }
    text
}

fn page(definition: &Value) -> String {
    let (kind, group) = (name(definition, "kind"), definition["spec"]["group"].as_str().unwrap_or_default());
    let version = &definition["spec"]["versions"][0];
    let schema = schema(definition);
    let mut text = header();
    let _ = write!(
        text,
        "# {kind}\n\n{}\n\n```yaml\napiVersion: {group}/{}\nkind: {kind}\n```\n",
        prose(words(schema)),
        version["name"].as_str().unwrap_or_default()
    );
    columns(&mut text, version);
    let selectable = version["selectableFields"].as_array().into_iter().flatten();
    let selectable: Vec<String> =
        selectable.filter_map(|field| field["jsonPath"].as_str()).map(field_selector).collect();
    if !selectable.is_empty() {
        let _ = write!(text, "\n`kubectl get --field-selector` knows {}.\n", selectable.join(", "));
    }
    for (path, part) in parts(schema) {
        section(&mut text, &path, part);
    }
    text
}

fn field_selector(path: &str) -> String {
    code(path.trim_start_matches('.'))
}

fn columns(text: &mut String, version: &Value) {
    text.push_str("\n| column of `kubectl get` | what it shows |\n|---|---|\n");
    for column in version["additionalPrinterColumns"].as_array().into_iter().flatten() {
        let about = column["description"].as_str().unwrap_or("How long ago the object was made.");
        let wide = if column["priority"].as_i64().unwrap_or(0) > 0 { " Only with `-o wide`." } else { "" };
        let _ = writeln!(text, "| {} | {}{wide} |", column["name"].as_str().unwrap_or_default(), cell(about));
    }
}

/// Every object that has fields, outermost first, with its path. The object's own level is no section, only its rules.
fn parts(schema: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    collect("", schema, &mut found);
    found
}

fn collect<'a>(path: &str, part: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    if !path.is_empty() && part["properties"].is_object() || path.is_empty() && !rules(part).is_empty() {
        found.push((path.to_owned(), part));
    }
    for (name, property) in part["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(&below, property, found);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if part[key].is_object() {
            collect(&format!("{path}{mark}"), &part[key], found);
        }
    }
}

fn section(text: &mut String, path: &str, part: &Value) {
    if path.is_empty() {
        text.push_str("\n## Of the whole object\n");
    } else {
        let level = if path.contains(['.', '[', '{']) { "###" } else { "##" };
        let _ = write!(text, "\n{level} {path}\n\n{}\n\n{FIELDS}", prose(words(part)));
    }
    // Whatever is checked of the fields here and has no section of its own.
    let mut checked: Vec<(String, &Value)> = vec![(String::new(), part)];
    if !path.is_empty() {
        let required: Vec<&str> = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in part["properties"].as_object().into_iter().flatten() {
            let must = if required.contains(&name.as_str()) { "yes" } else { "" };
            let default =
                if property["default"].is_null() { String::new() } else { code(&property["default"].to_string()) };
            let (type_, about) = (type_of(&format!("{path}.{name}"), property), meaning(property));
            let _ = writeln!(text, "| {} | {type_} | {must} | {} | {about} |", code(name), cell(&default));
            leaves(name, property, &mut checked);
        }
    }
    let rules: Vec<(&str, &str, &str)> = checked
        .iter()
        .flat_map(|(name, part)| rules(part).into_iter().map(move |(said, rule)| (name.as_str(), said, rule)))
        .collect();
    if rules.is_empty() {
        return;
    }
    text.push_str("\n| refused with | unless |\n|---|---|\n");
    for (name, said, rule) in rules {
        let of = if name.is_empty() { String::new() } else { format!("{}: ", code(name)) };
        let rule = rule.split_whitespace().collect::<Vec<_>>().join(" ");
        // A longer one is nothing to read in a table, and its words say it all.
        let rule = if rule.len() > LONGEST_RULE { String::new() } else { cell(&code(&rule)) };
        let _ = writeln!(text, "| {of}{} | {rule} |", cell(said));
    }
}

/// The parts below a field that are no objects with fields of their own.
fn leaves<'a>(name: &str, part: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    if part["properties"].is_object() {
        return;
    }
    found.push((name.to_owned(), part));
    for key in ["items", "additionalProperties"] {
        if part[key].is_object() {
            leaves(&format!("each of {name}"), &part[key], found);
        }
    }
}

/// Message and expression of each rule of this part.
fn rules(part: &Value) -> Vec<(&str, &str)> {
    let rules = part["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.filter_map(|rule| Some((rule["message"].as_str()?, rule["rule"].as_str()?))).collect()
}

/// The type in words; one with fields of its own leads to its section.
fn type_of(path: &str, part: &Value) -> String {
    let linked = |said: &str, path: &str| format!("[{said}](#{})", anchor(path));
    match part["type"].as_str().unwrap_or_default() {
        "array" if part["items"]["properties"].is_object() => linked("list", &format!("{path}[]")),
        "array" => format!("list of {}", type_of(&format!("{path}[]"), &part["items"])),
        "object" if part["properties"].is_object() => linked("object", path),
        "object" if part["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&format!("{path}{{}}"), &part["additionalProperties"]))
        }
        "string" if part["format"] == "date-time" => "time".to_owned(),
        other => other.to_owned(),
    }
}

/// The place of a section's heading, as GitHub and mdBook name it.
fn anchor(path: &str) -> String {
    path.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').flat_map(char::to_lowercase).collect()
}

/// Description, then values and limits.
fn meaning(part: &Value) -> String {
    let mut text = cell(words(part));
    let items = if part["items"].is_object() { &part["items"] } else { &part["additionalProperties"] };
    for (part, whose) in [(part, ""), (items, "each ")] {
        if let Some(values) = part["enum"].as_array() {
            let values: Vec<String> = values.iter().filter_map(Value::as_str).map(code).collect();
            let _ =
                write!(text, " {}: {}.", if whose.is_empty() { "One of" } else { "Each one of" }, values.join(", "));
        }
        for (least, most, unit) in [
            ("minLength", "maxLength", " characters"),
            ("minItems", "maxItems", " entries"),
            ("minProperties", "maxProperties", " entries"),
            ("minimum", "maximum", ""),
        ] {
            if let Some(limits) = limits(&part[least], &part[most], unit) {
                let _ = write!(text, " ({whose}{limits})");
            }
        }
    }
    text
}

fn limits(least: &Value, most: &Value, unit: &str) -> Option<String> {
    match (whole(least), whole(most)) {
        (Some(least), Some(most)) if least == most => Some(format!("{least}{unit}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (None, None) => None,
    }
}

/// A limit as it was meant: 99, where JSON has 99.0.
fn whole(value: &Value) -> Option<String> {
    value.as_f64().map(|number| format!("{number}"))
}

fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn name<'a>(definition: &'a Value, which: &str) -> &'a str {
    definition["spec"]["names"][which].as_str().unwrap_or_default()
}

fn words(part: &Value) -> &str {
    part["description"].as_str().unwrap_or_default()
}

/// Text that stands in no table, so that nothing in it is taken for markup.
fn prose(text: &str) -> String {
    text.replace('<', "&lt;").replace('*', "\\*")
}

/// The same in a table.
fn cell(text: &str) -> String {
    let code = text.starts_with('`');
    let text = text.replace('|', "\\|").replace(['\n', '\r'], " ");
    if code { text } else { prose(&text) }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition() -> Value {
        json!({"spec": {
            "group": "example.com",
            "names": {"kind": "Lamp", "singular": "lamp", "shortNames": ["lp"]},
            "versions": [{
                "name": "v1",
                "additionalPrinterColumns": [{"name": "Lit", "description": "Whether it burns."},
                                             {"name": "Bulb", "description": "Which bulb.", "priority": 1}],
                "selectableFields": [{"jsonPath": ".status.lit"}],
                "schema": {"openAPIV3Schema": {
                    "description": "Lamp gives light.",
                    "x-kubernetes-validations": [{"message": "a lamp has a cord", "rule": "has(self.spec.cord)"}],
                    "properties": {
                        "spec": {"type": "object", "description": "What is wanted.", "required": ["watts"], "properties": {
                            "watts": {"type": "integer", "description": "Power in watts.", "default": 5,
                                      "minimum": 1.0, "maximum": 99.0},
                            "mode": {"type": "string", "description": "How it burns <steadily | not>.", "enum": ["On", "Off"]},
                            "cord": {"type": "object", "description": "Its cord.", "properties": {
                                "color": {"type": "string", "description": "Of the cord.", "maxLength": 7,
                                    "x-kubernetes-validations": [{"message": "color must be one", "rule": "self == 'a' ||\n  self == 'b'"}]}}},
                            "names": {"type": "array", "description": "Names.", "maxItems": 3,
                                      "items": {"type": "string", "minLength": 1, "maxLength": 9}},
                            "bulbs": {"type": "array", "description": "Bulbs.",
                                      "items": {"type": "object", "description": "A bulb.", "properties": {
                                          "since": {"type": "string", "format": "date-time", "description": "Since when."}}}}
                        }}
                    }
                }}
            }]
        }})
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|l| l == line), "no line {line}\nin\n{text}");
    }

    #[test]
    fn a_field_is_told_with_its_type_default_limits_and_whether_it_must_be_there() {
        let text = page(&definition());
        has(&text, "| `watts` | integer | yes | `5` | Power in watts. (1 to 99) |");
        has(&text, "| `mode` | string |  |  | How it burns &lt;steadily \\| not>. One of: `On`, `Off`. |");
        has(&text, "| `names` | list of string |  |  | Names. (at most 3 entries) (each 1 to 9 characters) |");
        has(&text, "| `since` | time |  |  | Since when. |");
    }

    #[test]
    fn an_object_leads_to_its_own_section_and_so_does_a_list_of_objects() {
        let text = page(&definition());
        has(&text, "| `cord` | [object](#speccord) |  |  | Its cord. |");
        has(&text, "### spec.cord");
        has(&text, "| `bulbs` | [list](#specbulbs) |  |  | Bulbs. |");
        has(&text, "### spec.bulbs[]");
        has(&text, "## spec");
    }

    #[test]
    fn a_rule_is_told_with_the_words_a_person_is_refused_with_where_its_field_is() {
        let text = page(&definition());
        let (_, cord) = text.split_once("### spec.cord").unwrap();
        has(cord, "| `color`: color must be one | `self == 'a' \\|\\| self == 'b'` |");
        let (_, whole) = text.split_once("## Of the whole object").unwrap();
        has(whole, "| a lamp has a cord | `has(self.spec.cord)` |");
    }

    #[test]
    fn columns_and_fields_to_select_by_are_told() {
        let text = page(&definition());
        has(&text, "| Lit | Whether it burns. |");
        has(&text, "| Bulb | Which bulb. Only with `-o wide`. |");
        has(&text, "`kubectl get --field-selector` knows `status.lit`.");
        has(&overview(&[definition()]), "| [Lamp](lamp.md) | Lamp gives light. | `lp` |");
    }

    #[test]
    fn every_rule_and_every_field_of_the_real_definitions_is_on_a_page() {
        for crd in manifests::all() {
            let definition = serde_json::to_value(&crd).unwrap();
            let text = page(&definition);
            let (mut fields, mut rules_told) = (0, 0);
            count(schema(&definition), &mut fields, &mut rules_told);
            let rows = |heading: &str| {
                let tables = text.split(heading).skip(1);
                tables.map(|t| t.lines().skip(1).take_while(|l| l.starts_with("| ")).count()).sum::<usize>()
            };
            let outermost = schema(&definition)["properties"].as_object().unwrap().len();
            assert_eq!(rows(FIELDS.trim_end()), fields - outermost, "{}", crd.spec.names.kind);
            assert_eq!(rows("| refused with | unless |\n|---|---|"), rules_told, "{}", crd.spec.names.kind);
        }
    }

    fn count(part: &Value, fields: &mut usize, rules_told: &mut usize) {
        *rules_told += rules(part).len();
        for property in part["properties"].as_object().into_iter().flatten() {
            *fields += 1;
            count(property.1, fields, rules_told);
        }
        for key in ["items", "additionalProperties"] {
            if part[key].is_object() {
                count(&part[key], fields, rules_told);
            }
        }
    }
}
