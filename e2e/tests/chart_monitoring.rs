//! Alerts and dashboards: promtool tests each alert as the chart renders it, each has its test and its runbook, and what
//! dashboards ask exists. That a running operator fills every panel is `process_monitoring.rs` of the operator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

// The program's own words for its labels; nothing else of the operator is needed here.
#[path = "../../operator/src/telemetry/labels.rs"]
#[allow(dead_code, unreachable_pub, reason = "only the words are of interest")]
mod labels;
mod manifests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use labels::{Answer, Label, Outcome, PassError, StartResult, StatusKind, Withheld};
use manifests::{chart, objects, read, release, run, template, the};
use printernizer_crds::print_job::{ClaimedPrinter, Outcome as AttemptOutcome, Phase};
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{ConditionStatus, ConditionType, PrintJob, PrintJobStatus, Reason};
use printernizer_e2e::farm::project;
use printernizer_e2e::monitoring::{alerts, dashboards, documented_metrics, metric_names, panels, queries, wanted};
use printernizer_e2e::tools;
use printernizer_rules::device::DeviceKind;
use printernizer_rules::print_job::status;
use serde_json::{Value, json};

fn promtool() -> Command {
    Command::new(tools::prometheus(&mut |_| {}).unwrap().promtool)
}

/// What every metric is asked for with, as it stands in the file of alerts.
const WRITTEN: &str = r#"namespace="printernizer",job="printernizer""#;

/// The PrometheusRule of a release with these further values.
fn rendered(more: &[&str]) -> Value {
    rendered_as("printernizer", more)
}

/// The same of a release of another name.
fn rendered_as(name: &str, more: &[&str]) -> Value {
    let enabled = "image.repository=x,metrics.prometheusRule.enabled=true";
    let mut arguments = vec!["--set", enabled, "--show-only", "templates/prometheusrule.yaml"];
    arguments.extend(more);
    the(&objects(&release(name, None, &arguments).unwrap()), "PrometheusRule").clone()
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
            assert_eq!(annotations["runbook_url"], Value::Null, "{name}: no page is published yet");
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
fn alerts_ask_for_their_own_release_only() {
    let plain = alerts().unwrap();
    for alert in &plain {
        let (asked, own) = (
            alert.expression.matches("printernizer_").count(),
            alert.expression.matches(&format!("{{{WRITTEN}")).count(),
        );
        assert!(asked > 0 && asked == own, "{}: each metric is that of one release", alert.place);
    }
    let assert_selector = |object: &Value, selector: &str| {
        let found = rules(object);
        for alert in &plain {
            assert_eq!(found[&alert.place]["expr"], alert.expression.replace(WRITTEN, selector), "{}", alert.place);
        }
    };
    // Prometheus' operator calls the job after the Service, unless a `jobLabel` says otherwise.
    let elsewhere = ["--namespace", "workshop", "--set", "metrics.serviceMonitor.enabled=true,image.repository=x"];
    let all = objects(&release("second", None, &elsewhere).unwrap());
    assert_eq!(the(&all, "ServiceMonitor")["spec"]["jobLabel"], Value::Null);
    let service = the(&all, "Service")["metadata"].clone();
    assert_eq!(service["namespace"], "workshop");
    let selector = format!("namespace=\"workshop\",job={}", service["name"]);
    assert_selector(&rendered_as("second", &["--namespace", "workshop"]), &selector);
    let given = r#"cluster=~"a|b",job!="x""#;
    let values = json!({ "metrics": { "prometheusRule": { "selector": given } } });
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), values.to_string()).unwrap();
    assert_selector(&rendered(&["--values", file.path().to_str().unwrap()]), given);
}

#[test]
fn a_group_of_which_no_alert_is_left_is_not_there() {
    let groups = rendered(&[])["spec"]["groups"].as_array().unwrap().clone();
    assert!(groups.len() > 1);
    let alerts = groups[0]["rules"].as_array().unwrap().iter().map(|rule| rule["alert"].as_str().unwrap());
    let off: Vec<String> =
        alerts.map(|alert| format!("metrics.prometheusRule.overrides.{alert}.disabled=true")).collect();
    assert_eq!(rendered(&["--set", &off.join(",")])["spec"]["groups"], json!(groups[1..]));
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
            "PrinternizerStatusLate": { "severity": "info", "labels": { "severity": "page" } },
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
            "PrinternizerStatusLate" => expected["labels"]["severity"] = json!("page"),
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
            let defaults = &panel["fieldConfig"]["defaults"];
            // Bars next to each other count nothing twice, and a width that has two readings in it.
            let width = match panel["interval"].as_str() {
                Some("1d") => "[1d]",
                _ => "[$__interval]",
            };
            let bars = defaults["custom"]["drawStyle"] == "bars";
            assert_eq!(bars, panel["interval"].is_string(), "{file}: {title}");
            for target in panel["targets"].as_array().unwrap() {
                let expression = target["expr"].as_str().unwrap();
                assert_eq!(bars, expression.contains(width), "{file}: {title}: {expression}");
                let share = panel["type"] == "stat" && expression.contains(" / sum(");
                assert!(!share || defaults["mappings"].is_array(), "{file}: {title}: a share of nothing is no number");
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{file}: {title}");
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

fn is_one<L: Label>(value: &str) -> bool {
    L::ALL.iter().any(|known| known.label() == value)
}

#[test]
fn every_value_of_a_label_that_is_asked_for_exists() {
    let boards = dashboards().unwrap();
    let mut asked = BTreeSet::new();
    for query in boards.values().flat_map(queries).chain(alerts().unwrap()) {
        for (metric, label, value) in wanted(&query.expression) {
            let known = match (metric.trim_start_matches("printernizer_"), label.as_str()) {
                ("reconcile_errors_total", "reason") => is_one::<PassError>(&value),
                ("starts_withheld_total", "reason") => is_one::<Withheld>(&value),
                (_, "reason") => is_one::<Reason>(&value),
                (_, "phase") => is_one::<Phase>(&value),
                (_, "state") => is_one::<PrinterState>(&value),
                (_, "type") => is_one::<ConditionType>(&value),
                (_, "status") => ["True", "False", "Unknown"].contains(&value.as_str()),
                ("reconcile_total", "outcome") => is_one::<Outcome>(&value),
                ("attempts_total", "outcome") => is_one::<AttemptOutcome>(&value),
                ("starts_total", "result") => is_one::<StartResult>(&value),
                ("api_requests_total", "code") => is_one::<Answer>(&value),
                ("starts_total" | "starts_withheld_total", "kind") => is_one::<DeviceKind>(&value),
                (_, "kind") => is_one::<StatusKind>(&value),
                _ => panic!("{}: this test does not know {label} of {metric}", query.place),
            };
            assert!(known, "{}: {metric} {label} {value:?}", query.place);
            asked.insert(label);
        }
    }
    for label in ["reason", "phase", "state", "outcome", "result", "code", "type", "status"] {
        assert!(asked.contains(label), "{label}: {asked:?}");
    }
}

/// What a job may wait for without anybody being told: it passes by itself or turns into something that is told, or
/// somebody wants it so.
const PASSES: [&str; 14] = [
    "AlreadyPrinted",
    "BackingOff",
    "BeingDeleted",
    "ClaimReleased",
    "CopyOfPrintedJob",
    "Held",
    "NotShown",
    "PausedAsAsked",
    "PrinterAsks",
    "PrinterSilent",
    "Queued",
    "StartSent",
    "Uploading",
    "Assigned",
];

/// What is written of a job as it ends, so that nothing waits for it.
const ENDS: [&str; 4] = ["Cancelled", "DeadlineExceeded", "PrintFailed", "PrintSucceeded"];

/// What the rules make of a job of which just this is known: its phase, and what it waits for.
fn job_with(condition: ConditionType, is: ConditionStatus, reason: Reason) -> (Phase, Option<String>) {
    let job: PrintJob = serde_json::from_value(json!({
        "apiVersion": "printernizer.io/v1alpha1", "kind": "PrintJob", "metadata": { "name": "j" },
        "spec": { "source": { "configMap": { "name": "a", "key": "b" } } },
    }))
    .unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let mut of_job = PrintJobStatus::default();
    if condition != ConditionType::Accepted {
        status::set(&mut of_job, &job, now, ConditionType::Accepted, ConditionStatus::True, Reason::FileRead, "");
    }
    if condition == ConditionType::Started {
        of_job.printer = Some(ClaimedPrinter::default());
    }
    status::set(&mut of_job, &job, now, condition, is, reason, "");
    (of_job.phase.unwrap(), of_job.waiting_for)
}

#[test]
fn of_all_a_job_can_wait_for_each_is_told_or_passes_by_itself() {
    let asked: BTreeSet<_> = alerts().unwrap().iter().flat_map(|alert| wanted(&alert.expression)).collect();
    let told_by_phase = ("printernizer_jobs".to_owned(), "phase".to_owned(), "AttentionNeeded".to_owned());
    assert!(asked.contains(&told_by_phase));
    let of_waits = |metric: &str| metric.starts_with("printernizer_jobs_waiting");
    let alerted = asked.iter().filter(|(metric, label, _)| of_waits(metric) && label == "reason");
    let alerted: BTreeSet<&str> = alerted.map(|(_, _, reason)| reason.as_str()).collect();

    // The tables of reasons are held to the rules by tests of theirs.
    let page = read(&project().join("docs/troubleshooting.md"));
    let jobs = page.split("\n## PrintJob\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let (mut waits, mut before_a_person) = (BTreeSet::new(), BTreeSet::new());
    for section in jobs.split("\n### ").skip(1) {
        let title = section.lines().next().unwrap();
        let condition = *ConditionType::ALL.iter().find(|condition| condition.as_str() == title).unwrap();
        for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_end_matches('`')).collect();
            let is = match cells[1] {
                "True" => ConditionStatus::True,
                "False" => ConditionStatus::False,
                _ => ConditionStatus::Unknown,
            };
            let reason = *Reason::ALL.iter().find(|reason| reason.as_str() == cells[0]).unwrap();
            let (phase, waiting_for) = job_with(condition, is, reason);
            let Some(waiting_for) = waiting_for.filter(|reason| !ENDS.contains(&reason.as_str())) else { continue };
            if phase == Phase::AttentionNeeded {
                before_a_person.insert(waiting_for)
            } else {
                waits.insert(waiting_for)
            };
        }
    }
    assert!(before_a_person.len() >= 10, "{before_a_person:?}");
    let expected: BTreeSet<&str> = alerted.iter().copied().chain(PASSES).collect();
    assert_eq!(waits.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "what jobs wait for (left)");
    let both: Vec<&&str> = PASSES.iter().filter(|reason| alerted.contains(*reason)).collect();
    assert!(both.is_empty(), "{both:?}");
}
