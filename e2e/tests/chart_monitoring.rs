//! Alerts and dashboards: promtool tests each alert as the chart renders it, each has its test and its runbook, and what
//! dashboards ask exists. That a running operator fills every panel is `process_monitoring.rs` of the operator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod manifests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use manifests::{chart, objects, read, run, template, the};
use printernizer_crds::Reason;
use printernizer_crds::print_job::Phase;
use printernizer_crds::printer::PrinterState;
use printernizer_e2e::farm::project;
use printernizer_e2e::monitoring::{alerts, dashboards, documented_metrics, metric_names, panels, queries};
use printernizer_e2e::tools;
use serde_json::{Value, json};

fn promtool() -> Command {
    Command::new(tools::prometheus(&mut |_| {}).unwrap().promtool)
}

/// The PrometheusRule of a release with these further values.
fn rendered(more: &[&str]) -> Value {
    let enabled = "image.repository=x,metrics.prometheusRule.enabled=true";
    let mut arguments = vec!["--set", enabled, "--show-only", "templates/prometheusrule.yaml"];
    arguments.extend(more);
    the(&objects(&template(None, &arguments).unwrap()), "PrometheusRule").clone()
}

/// Its rules, by name.
fn rules(object: &Value) -> BTreeMap<String, Value> {
    let groups = object["spec"]["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule.clone())).collect()
}

/// Names of the files of this kind in a folder, without what they end with.
fn names(folder: &Path, ending: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    files.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

#[test]
fn each_alert_fires_when_it_should_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    std::fs::write(&file, rendered(&[])["spec"].to_string()).unwrap();
    run(promtool().args(["check", "rules"]).arg(&file)).unwrap();
    for name in names(&chart().join("ci/alerts"), ".yaml") {
        let test = read(&chart().join(format!("ci/alerts/{name}.yaml")));
        let copy = folder.path().join("test.yaml");
        std::fs::write(&copy, &test).unwrap();
        run(promtool().args(["test", "rules"]).arg(&copy)).unwrap_or_else(|said| panic!("{name}: {said}"));
        // A test in which it never fires, or always does, shows nothing.
        let test = objects(&test).remove(0);
        let cases = test["tests"].as_array().unwrap().iter().flat_map(|t| t["alert_rule_test"].as_array().unwrap());
        let (mut fires, mut quiet) = (false, false);
        for case in cases {
            assert_eq!(case["alertname"], name, "a test is named after its alert");
            let expected = case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
            fires |= expected;
            quiet |= !expected;
        }
        assert!(fires && quiet, "{name}");
    }
}

#[test]
fn every_alert_has_a_test_and_a_runbook_and_there_are_no_others() {
    let known: BTreeSet<String> = rules(&rendered(&[])).into_keys().collect();
    assert_eq!(names(&chart().join("ci/alerts"), ".yaml"), known, "tests (left) and alerts (right)");
    let mut runbooks = names(&project().join("docs/runbooks"), ".md");
    runbooks.remove("README");
    assert_eq!(runbooks, known, "runbooks (left) and alerts (right)");
    let list = read(&project().join("docs/runbooks/README.md"));
    for (name, rule) in rules(&rendered(&[])) {
        let summary = rule["annotations"]["summary"].as_str().unwrap();
        let row = format!("| [{name}]({name}.md) | {} | {summary} |", rule["labels"]["severity"].as_str().unwrap());
        assert!(list.contains(&row), "docs/runbooks/README.md must have this row:\n{row}");
        let page = read(&project().join(format!("docs/runbooks/{name}.md")));
        assert!(page.starts_with(&format!("# {name}\n\n{summary}")), "{name} must begin with its name and summary");
        for part in ["## What it means", "## How to look", "## What to do"] {
            assert!(page.contains(&format!("\n{part}\n")), "{name}: {part}");
        }
    }
}

#[test]
fn an_alert_says_what_it_is_how_bad_and_where_to_read_on() {
    let known = rules(&rendered(&[]));
    let mut plain: Vec<(String, String)> = alerts().unwrap().into_iter().map(|a| (a.place, a.expression)).collect();
    plain.sort();
    let rendered: Vec<(String, String)> = known
        .iter()
        .map(|(name, rule)| {
            let annotations = &rule["annotations"];
            assert!(name.starts_with("Printernizer"), "{name}");
            assert!(["critical", "warning", "info"].iter().any(|s| rule["labels"]["severity"] == *s), "{name}");
            assert_eq!(annotations["runbook_url"], format!("https://printernizer.io/runbooks/{name}"));
            for text in ["summary", "description"] {
                assert!(annotations[text].as_str().is_some_and(|text| text.ends_with('.')), "{name}: {text}");
            }
            assert!(!annotations["summary"].as_str().unwrap().contains("{{"), "{name}: a summary is one for all");
            (name.clone(), rule["expr"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(rendered, plain, "what is rendered (left) and what is in files/alerts.yaml (right)");
}

#[test]
fn single_alerts_can_be_changed_and_no_others_are() {
    let overrides = json!({ "metrics": { "prometheusRule": {
        "labels": { "team": "workshop" },
        "runbookURL": "https://wiki.example.com/farm/",
        "overrides": {
            "PrinternizerPanics": { "disabled": true },
            "PrinternizerNoLeader": { "for": "10m", "severity": "warning", "labels": { "page": "no" },
                "annotations": { "summary": "Nobody leads." } },
            "PrinternizerQueueSlow": { "expr": "vector(1) > 2" },
        },
    } } });
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), overrides.to_string()).unwrap();
    let (before, after) = (rules(&rendered(&[])), rules(&rendered(&["--values", file.path().to_str().unwrap()])));
    assert_eq!(after.len(), before.len() - 1);
    for (name, rule) in &after {
        let mut expected = before[name].clone();
        expected["labels"]["team"] = json!("workshop");
        expected["annotations"]["runbook_url"] = json!(format!("https://wiki.example.com/farm/{name}"));
        match name.as_str() {
            "PrinternizerNoLeader" => {
                expected["for"] = json!("10m");
                expected["labels"]["severity"] = json!("warning");
                expected["labels"]["page"] = json!("no");
                expected["annotations"]["summary"] = json!("Nobody leads.");
            }
            "PrinternizerQueueSlow" => expected["expr"] = json!("vector(1) > 2"),
            _ => {}
        }
        assert_eq!(rule, &expected, "{name}");
    }
    let placed = rules(&rendered(&["--set", "metrics.prometheusRule.runbookURL=https://a.example/ALERT.md"]));
    assert_eq!(placed["PrinternizerPanics"]["annotations"]["runbook_url"], "https://a.example/PrinternizerPanics.md");
    let set =
        "image.repository=x,metrics.prometheusRule.enabled=true,metrics.prometheusRule.overrides.Nobody.disabled=true";
    let said = template(None, &["--set", set]).unwrap_err();
    assert!(said.contains("overrides.Nobody: there is no such alert; there are Printernizer"), "{said}");
}

#[test]
fn the_dashboards_of_the_chart_are_the_files_and_grafana_finds_them() {
    let set = "image.repository=x,metrics.dashboards.enabled=true";
    let rendered = objects(&template(None, &["--set", set, "--show-only", "templates/dashboards.yaml"]).unwrap());
    let files = dashboards().unwrap();
    assert_eq!(rendered.len(), files.len());
    for (name, dashboard) in files {
        let key = format!("printernizer-{name}");
        let map = rendered.iter().find(|map| map["data"][&key].is_string()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(map["data"][&key].as_str().unwrap()).unwrap(), dashboard, "{name}");
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    }
}

#[test]
fn dashboards_can_be_used_anywhere_and_say_what_they_show() {
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for (file, dashboard) in dashboards().unwrap() {
        let uid = dashboard["uid"].as_str().unwrap().to_owned();
        assert_eq!(format!("{uid}.json"), format!("printernizer-{file}"), "a link to it stays the same");
        assert!(uids.insert(uid) && titles.insert(dashboard["title"].to_string()), "{file}");
        let variables: Vec<&str> =
            dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
        assert_eq!(variables, ["datasource", "namespace", "job"], "{file}");
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()) && places.insert(panel["gridPos"].to_string()),
                "{title}"
            );
            assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{file}: {title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{file}: {title}");
            for target in panel["targets"].as_array().unwrap() {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{file}: {title}");
                let expression = target["expr"].as_str().unwrap();
                let selected = expression.matches("{namespace=~\"$namespace\", job=~\"$job\"").count();
                let metrics = expression.matches("printernizer_").count() + expression.matches("process_").count();
                assert_eq!(selected, metrics, "{file}: {title}: each metric is that of the chosen operators");
            }
        }
        assert!(ids.len() > 10, "{file}");
    }
}

#[test]
fn every_metric_that_is_asked_for_exists_and_is_asked_for_as_what_it_is() {
    let known = documented_metrics().unwrap();
    assert!(known.len() > 30, "{known:?}");
    let mut used = BTreeSet::new();
    let boards = dashboards().unwrap();
    for query in boards.values().flat_map(queries).chain(alerts().unwrap()) {
        for name in metric_names(&query.expression).into_iter().filter(|name| name.starts_with("printernizer_")) {
            let metric = name.strip_suffix("_bucket").unwrap_or(&name).to_owned();
            let kind = known.get(&metric).unwrap_or_else(|| panic!("{}: there is no {metric}", query.place)).as_str();
            assert_eq!(kind == "histogram", name.ends_with("_bucket"), "{}: {name}", query.place);
            if kind == "counter" {
                let grows = ["rate(", "increase("].iter().any(|f| query.expression.contains(&format!("{f}{name}")));
                assert!(grows, "{}: a counter begins at zero again and again: {name}", query.place);
            }
            used.insert(metric);
        }
    }
    // What is there only if it is asked for, or tells what the others tell.
    let unused: Vec<&String> = known.keys().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, ["printernizer_printer_status_condition"], "each metric is on a dashboard");
}

/// The values that an expression wants a label to have, `a` and `b` of `label=~"a|b"`.
fn values_of(label: &str, expression: &str) -> Vec<String> {
    let parts = expression.split(['{', ',', '}']).filter_map(|part| part.trim().strip_prefix(label));
    let matchers = parts.filter(|rest| rest.starts_with(['=', '!']));
    let values = matchers.flat_map(|rest| rest.trim_start_matches(['=', '~', '!']).trim_matches('"').split('|'));
    values.map(str::to_owned).collect()
}

#[test]
fn every_reason_phase_and_state_that_is_asked_for_exists() {
    let boards = dashboards().unwrap();
    let mut asked = BTreeMap::from([("reason", 0), ("phase", 0), ("state", 0)]);
    for query in boards.values().flat_map(queries).chain(alerts().unwrap()) {
        for (label, count) in &mut asked {
            for value in values_of(label, &query.expression) {
                let known = match *label {
                    "reason" => Reason::ALL.iter().any(|reason| reason.as_str() == value),
                    "phase" => serde_json::from_value::<Phase>(json!(value)).is_ok(),
                    _ => serde_json::from_value::<PrinterState>(json!(value)).is_ok(),
                };
                assert!(known, "{}: {label} {value:?}", query.place);
                *count += 1;
            }
        }
    }
    assert!(asked.values().all(|count| *count > 0), "{asked:?}");
}
