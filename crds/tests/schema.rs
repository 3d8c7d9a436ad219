//! What the definitions must look like as a whole: structural, bounded, described, with the right columns and lists;
//! and that the committed manifests say the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod support;

use printernizer_crds::manifests;
use serde_json::{Value, json};
use support::{all, schema, walk};

/// Every part of every definition that does not hold what `fault` asks of it.
fn faults(fault: impl Fn(&str, &Value) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (crd, _) in all() {
        walk(&schema(&crd), &crd.spec.names.kind, &mut |path, part| {
            found.extend(fault(path, part).map(|text| format!("{path}: {text}")));
        });
    }
    found
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_part_has_one_type_and_nothing_the_api_server_does_not_know() {
    none(&faults(|_, part| {
        let unknown = ["anyOf", "oneOf", "allOf", "not", "nullable", "title", "$ref", "$defs", "const"];
        if let Some(key) = unknown.iter().find(|key| !part[**key].is_null()) {
            return Some(format!("has {key}"));
        }
        if part["format"].as_str().is_some_and(|f| !["int32", "int64", "date-time"].contains(&f)) {
            return Some(format!("format {}", part["format"]));
        }
        (!part["type"].is_string()).then(|| format!("type is {}", part["type"]))
    }));
}

#[test]
fn every_property_is_described_in_whole_sentences() {
    let mut found = Vec::new();
    for (crd, _) in all() {
        walk(&schema(&crd), &crd.spec.names.kind, &mut |path, part| {
            for (name, property) in part["properties"].as_object().into_iter().flatten() {
                let text = property["description"].as_str().unwrap_or_default();
                let whole = text.ends_with('.') && text.len() > 5 && !text.contains('\n') && !text.contains("  ");
                // Fields of Kubernetes' own types are described in Kubernetes' own words, which name the field first.
                let begins = text.starts_with(char::is_uppercase) || text.starts_with(name.as_str());
                if !(whole && begins) {
                    found.push(format!("{path}.{name}: {text:?}"));
                }
            }
        });
    }
    none(&found);
}

#[test]
fn whatever_a_person_writes_is_bounded_so_that_rules_stay_cheap() {
    none(&faults(|path, part| {
        if !path.contains(".spec.") {
            return None;
        }
        let limit = match part["type"].as_str()? {
            "string" if part["enum"].is_null() && part["format"].is_null() => "maxLength",
            "array" => "maxItems",
            "object" if part["additionalProperties"].is_object() => "maxProperties",
            "integer" => "maximum",
            _ => return None,
        };
        part[limit].is_null().then(|| format!("no {limit}"))
    }));
}

#[test]
fn lists_of_things_with_a_key_are_maps() {
    let mut lists = Vec::new();
    for (crd, _) in all() {
        walk(&schema(&crd), &crd.spec.names.kind, &mut |path, part| {
            if let Some(type_) = part["x-kubernetes-list-type"].as_str() {
                let keys = part["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
                lists.push(format!("{path} {type_} {}", keys.join(",")).trim_end().to_owned());
            }
        });
    }
    assert_eq!(
        lists,
        [
            "Printer.spec.slots map slot",
            "Printer.spec.startWindows[].days set",
            "Printer.spec.taints map key",
            "Printer.status.conditions map type",
            "Printer.status.leftFiles map remoteName",
            "Printer.status.slots map slot",
            "PrintJob.spec.filaments map index",
            "PrintJob.status.attempts map attempt",
            "PrintJob.status.conditions map type",
            "PrintJob.status.slotMapping map index",
            "BackupPolicy.spec.additionalSchedules map name",
            "BackupPolicy.spec.sources.objects.kinds set",
            "BackupPolicy.spec.sources.persistentVolumeClaims map claimName",
            "BackupPolicy.status.conditions map type",
            "BackupPolicy.status.copies map location",
            "BackupPolicy.status.countedJobs set",
            "BackupPolicy.status.cronJobs map name",
        ]
    );
}

#[test]
fn names_and_columns_are_those_people_type_and_read() {
    let mut seen = Vec::new();
    for (crd, _) in all() {
        let names = &crd.spec.names;
        assert_eq!(names.categories.as_deref(), Some(&["printernizer".to_owned()][..]));
        let columns = crd.spec.versions[0].additional_printer_columns.as_deref().unwrap();
        for column in columns.iter().filter(|c| c.type_ != "date") {
            assert!(column.description.is_some(), "{} {}", names.kind, column.name);
        }
        let of = |wide: bool| {
            let shown = columns.iter().filter(|c| (c.priority.unwrap_or(0) > 0) == wide).map(|c| c.name.as_str());
            shown.collect::<Vec<_>>().join(", ")
        };
        let short = names.short_names.clone().unwrap().join(",");
        seen.push(format!("{} {short}: {}; wide: {}", names.plural, of(false), of(true)));
    }
    assert_eq!(
        seen,
        [
            "printers prn: State, Ready, Reason, Job, Bed, Model, Age; wide: Location, Firmware, Host",
            "printjobs pj: Phase, Printer, Progress, Remaining, Priority, Age; wide: Attempt, Waiting For, Message",
            "printrecords prec: Job, Run, Printer, Outcome, Age; wide: ",
            "backuppolicies bkp: Ready, Last Backup, Within RPO, Restored, Next, Age; wide: Points, Integrity, Message",
        ]
    );
}

#[test]
fn every_column_and_selectable_field_exists() {
    for (crd, _) in all() {
        let (schema, version) = (schema(&crd), &crd.spec.versions[0]);
        let columns = version.additional_printer_columns.iter().flatten().map(|c| c.json_path.as_str());
        let fields = version.selectable_fields.iter().flatten().map(|f| f.json_path.as_str());
        for path in columns.chain(fields).filter(|path| !path.starts_with(".metadata")) {
            let mut part = &schema;
            for name in path.split('[').next().unwrap().split('.').filter(|name| !name.is_empty()) {
                part = &part["properties"][name];
            }
            assert!(part.is_object(), "{}: {path}", crd.spec.names.kind);
        }
        assert!(version.subresources.as_ref().is_some_and(|s| s.status.is_some()), "{}", crd.spec.names.kind);
    }
}

#[test]
fn defaults_that_the_descriptions_promise_are_there() {
    let mut defaults = Vec::new();
    for (crd, _) in all() {
        walk(&schema(&crd)["properties"]["spec"], &crd.spec.names.kind, &mut |path, part| {
            if !part["default"].is_null() {
                defaults.push((path.to_owned(), part["default"].clone()));
            }
        });
    }
    let of = |path: &str| defaults.iter().find(|(p, _)| p == path).map_or(Value::Null, |(_, d)| d.clone());
    for (path, default) in [
        ("Printer.bed", json!({"clearing": "Manual"})),
        ("Printer.bed.clearing", json!("Manual")),
        ("Printer.connection.bambu.mqttPort", json!(8883)),
        ("Printer.connection.bambu.ftpsPort", json!(990)),
        ("Printer.connection.bambu.tls", json!({"verification": "BambuCA"})),
        ("Printer.startWindows[].timeZone", json!("Europe/Berlin")),
        ("Printer.taints[].effect", json!("NoSchedule")),
        ("PrintJob.plate", json!(1)),
        ("PrintJob.priority", json!(0)),
        ("PrintJob.desiredState", json!("Run")),
        ("PrintJob.deletionPolicy", json!("LetFinish")),
        ("PrintJob.retry", json!({"limit": 0})),
        ("PrintJob.tolerations[].operator", json!("Equal")),
        ("PrintJob.options.bambu.timelapse", json!("Auto")),
        ("BackupPolicy.timeZone", json!("Europe/Berlin")),
        ("BackupPolicy.startingDeadlineSeconds", json!(3600)),
        ("BackupPolicy.retention.pruneSchedule", json!("@weekly")),
        ("BackupPolicy.verification.check.readDataPercent", json!(10)),
        ("BackupPolicy.verification.restoreDrill.timeoutSeconds", json!(14400)),
        ("BackupPolicy.sources.postgres[].port", json!(5432)),
        ("BackupPolicy.jobTemplate.activeDeadlineSeconds", json!(86400)),
        ("BackupPolicy.jobTemplate.backoffLimit", json!(1)),
    ] {
        assert_eq!(of(path), default, "{path}");
    }
}

#[test]
fn a_manifest_read_back_is_the_definition_it_was_made_from() {
    for (crd, _) in all() {
        let text = manifests::to_yaml(&crd).unwrap();
        let read: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
            serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, crd);
    }
}

#[test]
fn limits_are_written_as_whole_numbers() {
    for (crd, _) in all() {
        let text = manifests::to_yaml(&crd).unwrap();
        let odd: Vec<&str> = text.lines().filter(|l| l.contains("imum: ") && l.ends_with(".0")).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
}
