//! The metrics as Prometheus reads them, and as `docs/metrics.md` lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use printernizer_crds::backup_policy::Role;
use printernizer_crds::printer::PrinterState;
use printernizer_crds::{ConditionType, Reason};

use super::*;

fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn every_series_exists_before_anything_has_happened() {
    let text = Metrics::new().unwrap().text().unwrap();
    for series in [
        "printernizer_reconcile_total{controller=\"print_job\",outcome=\"failed\"}",
        "printernizer_reconcile_duration_seconds_count{controller=\"printer\"}",
        "printernizer_panics_total",
        "printernizer_leader",
        "printernizer_sessions_connected",
        "printernizer_printers{state=\"Offline\"}",
        "printernizer_jobs{phase=\"Pending\"}",
        "printernizer_starts_total{kind=\"bambu\",result=\"unclear\"}",
        "printernizer_unknown_outcomes_total",
        "printernizer_status_writes_total{kind=\"PrintJob\"}",
        "printernizer_report_to_status_seconds_count",
        "printernizer_api_requests_total{code=\"none\",resource=\"leases\",verb=\"update\"}",
        "printernizer_api_request_duration_seconds_count{verb=\"watch\"}",
        "printernizer_attempts_total{outcome=\"Unknown\"}",
        "printernizer_job_refusals_total{reason=\"AlreadyPrinted\"}",
        "printernizer_job_wait_seconds_count",
        "printernizer_lease_renewed_timestamp_seconds",
        "printernizer_queue_depth{controller=\"print_job\"}",
        "printernizer_queue_running{controller=\"printer\"}",
        "printernizer_queue_wait_seconds_count{controller=\"printer\"}",
        "printernizer_reconcile_errors_total{controller=\"scheduling\",reason=\"panic\"}",
        "printernizer_session_connect_failures_total{cause=\"secret_not_labeled\"}",
        "printernizer_session_connects_total",
        "printernizer_session_disconnects_total{cause=\"unreachable\"}",
        "printernizer_starts_withheld_total{kind=\"prusalink\",reason=\"held\"}",
        "printernizer_status_conflicts_total{kind=\"PrintRecord\"}",
        "printernizer_watch_errors_total{kind=\"PrintJob\"}",
        "printernizer_filament_grams_total{material=\"PLA\"}",
        "printernizer_print_seconds_total",
    ] {
        assert_eq!(value(&text, series), Some(0.0), "{series} in\n{text}");
    }
    assert_eq!(value(&text, "printernizer_build_info{version=\"0.1.0\"}"), Some(1.0), "{text}");
    assert!(value(&text, "process_resident_memory_bytes").unwrap() > 0.0);
}

#[test]
fn what_happens_is_counted_where_it_belongs() {
    let metrics = Metrics::new().unwrap();
    metrics.reconciled(Controller::Printer, Outcome::Panicked, Duration::from_millis(3));
    metrics.started(DeviceKind::PrusaLink, StartResult::Refused);
    metrics.set_printers(|state| i64::from(state == PrinterState::Printing) * 7);
    metrics.print_ended(
        Duration::from_mins(1),
        [(Material::of("pla "), 12.5), (Material::of("Wood"), 3.0), (Material::Abs, f64::NAN), (Material::Pc, -1.0)],
    );
    let text = metrics.text().unwrap();
    for (series, expected) in [
        ("printernizer_reconcile_total{controller=\"printer\",outcome=\"panicked\"}", 1.0),
        ("printernizer_reconcile_errors_total{controller=\"printer\",reason=\"panic\"}", 1.0),
        ("printernizer_starts_total{kind=\"prusalink\",result=\"refused\"}", 1.0),
        ("printernizer_printers{state=\"Printing\"}", 7.0),
        ("printernizer_filament_grams_total{material=\"PLA\"}", 12.5),
        ("printernizer_filament_grams_total{material=\"other\"}", 3.0),
        ("printernizer_filament_grams_total{material=\"ABS\"}", 0.0),
        ("printernizer_filament_grams_total{material=\"PC\"}", 0.0),
        ("printernizer_print_seconds_total", 60.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
}

#[test]
fn a_panic_is_counted_wherever_it_happens() {
    let metrics = Metrics::new().unwrap();
    metrics.count_panics();
    let before = value(&metrics.text().unwrap(), "printernizer_panics_total").unwrap();
    assert!(std::panic::catch_unwind(|| panic!("a bug")).is_err());
    let after = value(&metrics.text().unwrap(), "printernizer_panics_total").unwrap();
    // Other tests of the process may panic at the same time.
    assert!(after > before, "{before} {after}");
}

#[test]
fn a_reason_is_shown_from_its_first_occurrence_on_and_goes_back_to_zero() {
    let metrics = Metrics::new().unwrap();
    let series = "printernizer_jobs_waiting{reason=\"Queued\"}";
    metrics.set_jobs_waiting(&BTreeMap::new());
    assert_eq!(value(&metrics.text().unwrap(), series), None);
    metrics.set_jobs_waiting(&BTreeMap::from([(Reason::Queued, 3)]));
    assert_eq!(value(&metrics.text().unwrap(), series), Some(3.0));
    metrics.set_jobs_waiting(&BTreeMap::from([(Reason::Held, 1)]));
    let text = metrics.text().unwrap();
    assert_eq!(value(&text, series), Some(0.0));
    assert_eq!(value(&text, "printernizer_jobs_waiting{reason=\"Held\"}"), Some(1.0));
}

/// Names and labels never come from outside, so their number is known: what a farm adds are reasons, the few series of each
/// BackupPolicy, and printers only where somebody asks for them.
#[test]
fn the_number_of_series_does_not_depend_on_the_farm() {
    let text = Metrics::new().unwrap().text().unwrap();
    let series = text.lines().filter(|line| line.starts_with("printernizer_")).count();
    assert!(series < 700, "{series}");
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    for family in Metrics::new().unwrap().registry.gather() {
        let (name, kind) = (family.name().to_owned(), format!("{:?}", family.get_field_type()));
        assert_eq!(kind == "COUNTER", name.ends_with("_total"), "{name}");
        // What a policy's last run took is one number, and there are not many.
        let one_number = name.contains("timestamp") || name.starts_with("printernizer_backup_");
        assert_eq!(kind == "HISTOGRAM", name.ends_with("_seconds") && !one_number, "{name}");
        for unit in ["_ms", "_milliseconds", "_minutes", "_hours", "_kilograms", "_percent"] {
            assert!(!name.contains(unit), "{name}: not a base unit");
        }
        assert!(family.help().ends_with('.'), "{name}: {}", family.help());
    }
}

/// The reasons that stand in the table of a condition with this status.
fn documented(condition: &str, status: &str) -> BTreeSet<String> {
    let document = include_str!("../../../docs/troubleshooting.md");
    let table = document.split(&format!("\n### {condition}\n")).nth(1).unwrap().split("\n##").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let reasons = rows.filter_map(|row| row.split_once("` | ")).filter(|(_, rest)| rest.starts_with(status));
    reasons.map(|(reason, _)| reason.to_owned()).collect()
}

#[test]
fn every_refusal_of_a_job_is_counted() {
    let counted = REFUSALS.iter().map(|reason| reason.as_str().to_owned());
    let counted: BTreeSet<String> = counted.chain(["FetchingFile".to_owned()]).collect();
    assert_eq!(counted, documented("Accepted", "False"));
}

#[test]
fn the_documentation_lists_every_metric_as_it_is() {
    let metrics = Metrics::new().unwrap();
    let some = BTreeMap::from([(Reason::Queued, 1)]);
    metrics.set_jobs_waiting(&some);
    metrics.set_jobs_waiting_since(&some);
    metrics.set_printers_not_ready(&some);
    let condition = ConditionType::Ready;
    let ready = ObjectCondition { namespace: "farm".into(), name: "core-one".into(), condition };
    metrics.set_printer_conditions(&BTreeMap::from([(ready, "True")]));
    let everything = BackupFacts {
        conditions: BTreeMap::from([(condition, "True".to_owned())]),
        run_seconds: BTreeMap::from([(Role::Backup, 1)]),
        consecutive_failures: Some(0),
        last_missed_time: Some(1),
        last_success_time: Some(1),
        recovery_point_objective_seconds: Some(1),
        recovery_points: Some(1),
        repository_bytes: Some(1),
        restore_drill_seconds: Some(1),
    };
    metrics.set_backups(&BTreeMap::from([(("farm".to_owned(), "nightly".to_owned()), everything)]));
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in metrics.registry.gather() {
        let labels: Vec<String> = family
            .get_metric()
            .first()
            .map(|m| m.get_label().iter().map(|l| format!("`{}`", l.name())).collect())
            .unwrap_or_default();
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        writeln!(table, "| `{}` | {kind} | {} | {} |", family.name(), labels.join(", "), family.help()).unwrap();
    }
    let document = include_str!("../../../docs/metrics.md");
    assert!(document.contains(&table), "docs/metrics.md must have this table:\n{table}");
}
